// Following an operation by asking for it, on any host: no state is kept that a host's failure could take away.
#include <fmt/format.h>

#include "api/hostctl/operation.hpp"
#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {
constexpr int kAskEveryMs = 500;
/// Without any answer for so long the outcome is called unknown; a takeover of the API by another host takes seconds.
constexpr std::int64_t kSilenceMs = 60'000;
constexpr int kRetryMs = 1000;

void how_to_go_on(Session& s, const std::string& id) {
  s.note(fmt::format("hostctl: operation {} goes on without us.\n  follow: hostctl op follow {}\n"
                     "  cancel: hostctl op cancel {} --reason TEXT\n",
                     safe(id), safe(id), safe(id)));
}

class Following {
 public:
  Following(Session& session, Client& client, std::string id)
      : session_(session),
        client_(client),
        id_(std::move(id)),
        tty_(session.args.json ? session.error_tty : session.tty),
        view_(tty_, session.colour && tty_, session.columns) {}

  Exit run() {
    client_.transport().catch_interrupt();
    std::int64_t heard_ms = now_ms();
    while (true) {
      auto answer = client_.get(paths::one(paths::kOperations, id_));
      if (client_.transport().interrupted()) return left();
      if (answer) {
        heard_ms = now_ms();
        lost_ = false;
        const OpView op = op_view(answer->body);
        show(view_.update(op));
        if (op.finished()) return finish(op, answer->body);
      } else if (answer.error().code != core::Errc::unavailable) {
        show(view_.clear());
        return session_.fail(answer.error());
      } else {
        if (now_ms() - heard_ms > kSilenceMs) return gave_up(answer.error());
        say_lost(answer.error());
      }
      if (!client_.transport().pause(answer ? kAskEveryMs : kRetryMs)) return left();
    }
  }

 private:
  /// Progress is for people: with --json it must not stand among the JSON.
  void show(const std::string& text) {
    if (text.empty()) return;
    if (session_.args.json)
      session_.note(text);
    else
      session_.print(text);
  }
  void say_lost(const core::Error& error) {
    if (lost_) return;
    lost_ = true;
    show(view_.clear());
    session_.note("hostctl: " + safe(error.what) + "; trying again\n");
  }
  Exit finish(const OpView& op, const Json& body) {
    if (session_.args.json) session_.json(body);
    return exit_of(op);
  }
  Exit left() {
    show(view_.clear());
    how_to_go_on(session_, id_);
    return Exit::unknown;
  }
  Exit gave_up(const core::Error& error) {
    show(view_.clear());
    session_.fail(error);
    how_to_go_on(session_, id_);
    return Exit::unknown;
  }

  Session& session_;
  Client& client_;
  std::string id_;
  bool tty_;
  Follower view_;
  bool lost_{};
};

}  // namespace

Exit follow(Session& session, const std::string& operation) {
  auto client = session.client();
  if (!client) return session.fail(client.error());
  return Following(session, **client, operation).run();
}

Exit op_follow(Session& session) { return follow(session, session.args.name); }

}  // namespace bascule::hostctl
