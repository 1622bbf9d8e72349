#include <CLI/CLI.hpp>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <exception>

#include "api/hostctl/session.hpp"
#include "hostd/core/names.hpp"

int main(int argc, char** argv) {
  using namespace bascule::hostctl;
  std::setlocale(LC_CTYPE, "C.UTF-8");
  std::signal(SIGPIPE, SIG_IGN);  // a server that hangs up is an error value, not our end
  try {
    Args args;
    const auto app = make_app(args);
    if (const int code = parse(*app, args, argc, argv); code >= 0) return code;
    Session session(args, *app);
    if (args.changes) {
      if (auto r = bascule::core::check_reason(args.reason); !r) return static_cast<int>(session.fail(r.error()));
    }
    return static_cast<int>(args.run(session));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "hostctl: this is a bug in hostctl: %s\n", e.what());
    return static_cast<int>(Exit::unknown);
  }
}
