// One HTTPS conversation with one endpoint at a time. The only file that compiles Beast is transport.cpp.
// Thread rule: one thread; every call runs the io_context inside and returns when it is done.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "api/hostctl/settings.hpp"
#include "hostd/core/error.hpp"

namespace bascule::hostctl {

/// Lists are paged by the server; no answer of the API comes near this.
inline constexpr std::uint64_t kMaxAnswerBytes = 32ULL * 1024 * 1024;

struct HttpRequest {
  std::string method{"GET"};
  std::string target;
  std::map<std::string, std::string> headers;
  std::string body;
  std::string file;  ///< sent as the body instead of `body`
  std::uint64_t file_bytes{};
  std::function<void(std::uint64_t sent)> on_sent;  ///< upload progress
};

struct HttpResponse {
  unsigned status{};
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::string body;
  std::string header(const std::string& name) const {
    const auto it = headers.find(name);
    return it == headers.end() ? std::string() : it->second;
  }
};

/// What became of an attempt that brought no answer, as the error's code:
/// unavailable = the request was not sent; outcome_unknown = it may have been carried out;
/// forbidden = the server refused our certificate; cancelled = Ctrl-C; io/invalid = a local file.
class Transport {
 public:
  static core::Result<std::unique_ptr<Transport>> make(const Settings& settings);
  virtual ~Transport() = default;

  virtual core::Result<HttpResponse> exchange(const Endpoint& endpoint, const HttpRequest& request, int timeout_ms) = 0;
  /// A body without end. `on_piece` returns false to stop. Any status but 200 comes back as a response.
  /// `quiet_ms`: no byte for so long ends the stream as unavailable.
  virtual core::Result<HttpResponse> stream(const Endpoint& endpoint, const HttpRequest& request, int timeout_ms,
                                            int quiet_ms, const std::function<bool(std::string_view)>& on_piece) = 0;
  /// Waits; false when interrupted.
  virtual bool pause(int ms) = 0;
  /// From now on Ctrl-C ends the current call instead of the program.
  virtual void catch_interrupt() = 0;
  virtual bool interrupted() const = 0;
};

}  // namespace bascule::hostctl
