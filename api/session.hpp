// One connection. Private to the server; the only files that include it are session*.cpp and upload.cpp.
// Thread rule: the API's own thread.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <optional>

#include "api/crossing.hpp"
#include "api/state.hpp"
#include "api/stream.hpp"

namespace bascule::api {

inline constexpr auto kToken = boost::asio::as_tuple(boost::asio::use_awaitable);

/// IMF-fixdate, made once a second.
const std::string& date();

class Session final : public Stoppable {
 public:
  Session(std::shared_ptr<ServerState> state, Guest guest);
  ~Session() override;
  boost::asio::awaitable<void> run();
  void stop() override;
  void abort() override;
  bool welcome_still() override;

 private:
  using SharedCall = std::shared_ptr<const Call>;  ///< the io thread may work on it when this connection has gone
  using HeadParser = boost::beast::http::request_parser<boost::beast::http::empty_body>;
  using Clock = std::chrono::steady_clock;

  boost::asio::awaitable<bool> shake_hands();
  boost::asio::awaitable<void> requests();
  boost::asio::awaitable<void> welcome();
  boost::asio::awaitable<void> turn_away();
  /// One request and its answer. False: the connection ends.
  boost::asio::awaitable<bool> one();
  boost::asio::awaitable<bool> wait_for_request();
  boost::asio::awaitable<bool> bad_head(boost::system::error_code ec);
  boost::asio::awaitable<bool> dispatch(HeadParser& head, Call call, Clock::time_point began);
  /// The call carried out on the io thread.
  boost::asio::awaitable<HttpReply> handled(SharedCall call);
  bool unsent_is_too_much() const;
  boost::asio::awaitable<bool> change(HeadParser& head, Call call, Clock::time_point began);
  boost::asio::awaitable<void> until_peer_leaves();
  boost::asio::awaitable<bool> subscribe(SharedCall call, Clock::time_point began);
  boost::asio::awaitable<void> follow(SharedCall call, Subscription subscription);
  boost::asio::awaitable<bool> write(std::string text);

  // upload.cpp
  boost::asio::awaitable<bool> upload(HeadParser& head, SharedCall call, Clock::time_point began);
  std::optional<HttpReply> refuse_upload(const HeadParser& head, const Call& call) const;
  boost::asio::awaitable<core::Result<>> receive(HeadParser& head, std::string path);

  boost::asio::awaitable<bool> go_on_sending(const HeadParser& head);
  /// Answers, counts, and tells whether the connection goes on.
  boost::asio::awaitable<bool> answer(const Route* route, HttpReply reply, bool keep, Clock::time_point began);
  /// For a refusal while a body is still coming: it is read and thrown away, so that the answer can be heard.
  boost::asio::awaitable<bool> answer_and_drain(const Route* route, HttpReply reply, bool body,
                                                Clock::time_point began);
  std::optional<core::Error> admit();
  void within(std::chrono::milliseconds time) { stream_.next_layer().expires_after(time); }
  const ServerLimits& limits() const { return state_->limits(); }

  std::shared_ptr<ServerState> state_;
  std::string address_;
  boost::asio::ssl::stream<boost::beast::tcp_stream> stream_;
  boost::beast::flat_buffer buffer_;
  core::Result<core::Caller> identity_;
  std::shared_ptr<Welcome> welcome_ = std::make_shared<Welcome>();
  std::uint64_t generation_;  ///< of the files that its handshake was judged by
  bool known_{};              ///< the handshake is over
  bool idle_{true};
  bool wrote_too_slowly_{};
};

}  // namespace bascule::api
