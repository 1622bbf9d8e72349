// The cell as one thing: any endpoint will do, a down one is skipped, a lost answer is asked for again with the same
// key.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/hostctl/json.hpp"
#include "api/hostctl/settings.hpp"
#include "api/hostctl/transport.hpp"
#include "hostd/core/error.hpp"

namespace bascule::hostctl {

/// How often a change whose answer was lost is sent again, over all endpoints.
inline constexpr int kMaxRounds = 4;

struct Answer {
  unsigned status{};
  Json body;
  std::string etag;
  Endpoint from;
};

/// Exit codes, as the man page lists them.
enum class Exit : int { done = 0, invalid = 1, refused = 2, unknown = 3, undone = 4, needs_operator = 5 };
Exit exit_of(core::Errc code);

/// The error in a server's answer (RFC 9457), as one sentence.
core::Error error_of(const HttpResponse& response, const Endpoint& from);

/// Random (version 4) UUID.
std::string new_key();
/// Percent-encodes everything but unreserved characters.
std::string encode_part(std::string_view text);
/// The same for the header Bascule-Reason: everything but visible ASCII, and % itself.
std::string encode_header(std::string_view text);

/// Whether an answer with 503 is one, or a reason to ask the next endpoint.
enum class Unwell : std::uint8_t { ask_another, is_an_answer };

class Client {
 public:
  /// `memory`: a file that keeps the endpoint that answered last; empty = not kept.
  Client(Settings settings, std::unique_ptr<Transport> transport, std::string memory);

  core::Result<Answer> get(const std::string& target, Unwell unwell = Unwell::ask_another);
  /// Sends a change with its key until an endpoint answers. `request.headers` carries the key.
  core::Result<Answer> change(const HttpRequest& request);
  /// One attempt at a stream without end, on the endpoint that answered last; a failure moves on to the next.
  core::Result<HttpResponse> stream(const HttpRequest& request, int quiet_ms,
                                    const std::function<bool(std::string_view)>& on_piece);

  Transport& transport() { return *transport_; }
  const Settings& settings() const { return settings_; }
  const std::vector<std::string>& troubles() const { return troubles_; }

 private:
  core::Result<Answer> round(const HttpRequest& request, Unwell unwell, std::int64_t deadline_ms, bool& unknown);
  core::Result<Answer> accept(const HttpResponse& response, const Endpoint& from);
  core::Error nobody(const core::Error& last, bool all_answered) const;
  void remember(std::size_t index);

  Settings settings_;
  std::unique_ptr<Transport> transport_;
  std::string memory_;
  std::size_t current_{};              ///< the endpoint that answered last
  std::vector<std::string> troubles_;  ///< what each endpoint said in the last failed round
};

}  // namespace bascule::hostctl
