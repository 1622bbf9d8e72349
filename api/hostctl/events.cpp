#include <fmt/format.h>

#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/sse.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {
/// hostd sends a comment at least every 15 s; three missing ones mean the connection is dead.
constexpr int kQuietMs = 45'000;
/// Without --follow: what the cell still keeps arrives at once, then the stream falls quiet.
constexpr int kDrainMs = 1'500;
constexpr int kReconnectMs = 1'000;
constexpr int kMaxReconnectMs = 15'000;
constexpr int kStartTries = 3;  ///< rounds over all endpoints before the first answer

class Events {
 public:
  Events(Session& session, Client& client) : session_(session), client_(client), last_id_(session.args.since) {}

  Exit run() {
    client_.transport().catch_interrupt();
    const int tries = kStartTries * static_cast<int>(client_.settings().endpoints.size());
    for (int failures = 0;; ++failures) {
      auto answer = once();
      if (client_.transport().interrupted()) return Exit::done;
      if (!readable_)
        return session_.fail(core::fail(core::Errc::internal, "the server sent an event stream we cannot read"));
      if (answer && answer->status != 200) {
        const core::Error error = error_of(*answer, client_.settings().endpoints.front());
        if (error.code != core::Errc::unavailable) return session_.fail(error);
      }
      if (heard_ && !session_.args.follow) return Exit::done;
      if (std::exchange(fresh_, false)) failures = 0;
      if (!heard_ && failures + 1 >= tries) {
        return session_.fail(answer ? core::fail(core::Errc::unavailable, "no endpoint gives events now")
                                    : answer.error());
      }
      const int pause = parser_.retry_ms() >= 0 ? static_cast<int>(std::min<long>(parser_.retry_ms(), kMaxReconnectMs))
                                                : std::min(kReconnectMs << std::min(failures, 4), kMaxReconnectMs);
      if (!client_.transport().pause(pause)) return Exit::done;
    }
  }

 private:
  core::Result<HttpResponse> once() {
    HttpRequest request;
    request.target = paths::query(paths::kEvents, {{"type", session_.args.type}, {"object", session_.args.object}});
    request.headers["Accept"] = "text/event-stream";
    if (!last_id_.empty()) request.headers["Last-Event-ID"] = last_id_;
    parser_.reset();
    return client_.stream(request, session_.args.follow ? kQuietMs : kDrainMs, [this](std::string_view piece) {
      heard_ = fresh_ = true;
      readable_ = parser_.feed(piece, [this](const SseEvent& e) { show(e); });
      return readable_;
    });
  }

  void show(const SseEvent& e) {
    if (!e.id.empty()) last_id_ = e.id;
    const auto data = Json::parse(e.data);
    if (session_.args.json) {
      Json j = Json::object();
      j.set("id", std::string_view(e.id)).set("type", std::string_view(e.type));
      j.set("data", data ? *data : Json::of(std::string_view(e.data)));
      session_.print(j.dump() + "\n");  // one line each: a stream has no closing bracket
      return;
    }
    if (e.type == "reset") {
      session_.note("hostctl: some events were missed: they are no longer kept; list again what you follow\n");
      return;
    }
    const std::string object = data && data->is_object() ? data->text("object") : e.data;
    session_.print(fmt::format("{:>10}  {:<20} {}\n", safe(e.id), safe(e.type), safe(object)));
  }

  Session& session_;
  Client& client_;
  SseParser parser_;
  std::string last_id_;
  bool heard_{}, fresh_{}, readable_{true};
};

}  // namespace

Exit events(Session& session) {
  auto client = session.client();
  if (!client) return session.fail(client.error());
  return Events(session, **client).run();
}

}  // namespace bascule::hostctl
