// A TCP proxy in the test's own loop that can lose answers, hold requests back, or hang.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <memory>
#include <string>

namespace bascule::testkit {

class Proxy {
 public:
  enum class Mode : std::uint8_t {
    pass,
    lose_answers,     ///< the first answer that comes is thrown away, and the client's side closed
    lose_one_answer,  ///< the same once, on whatever connection it comes; then pass
    hold_requests,    ///< what the client sends is kept; it reaches the server at release(), even if
                      ///< the client left
    refuse,           ///< new connections are closed at once, the old ones were
  };
  Proxy(boost::asio::io_context& io, std::uint16_t target);
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;
  ~Proxy();
  [[nodiscard]] std::string url() const;
  void set(Mode mode);
  void release();

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace bascule::testkit
