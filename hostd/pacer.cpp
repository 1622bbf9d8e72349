#include "hostd/pacer.hpp"

#include <algorithm>
#include <optional>

#include "hostd/runtime/say.hpp"

namespace bascule {
namespace asio = boost::asio;

namespace {
constexpr std::chrono::milliseconds kEvery{100};
constexpr std::chrono::seconds kWindow{60};
}  // namespace

asio::awaitable<void> Pacer::beat() {
  auto window = Clock::now() + kWindow;
  while (true) {
    const auto due = Clock::now() + kEvery;
    co_await runtime::pause(kEvery);
    const auto now = Clock::now();
    io_late_.note(now - due);
    if (now < window) continue;
    io_late_.next();
    lease_gap_.next();
    window = now + kWindow;
  }
}

asio::awaitable<void> Pacer::watch_lease() {
  core::Revision known = 0;
  std::optional<Clock::time_point> last;
  while (true) {
    const auto seen = cell_.changed().count();
    const auto* own = cell_.view().host(cell_.self());
    const core::Revision revision = own == nullptr ? 0 : own->lease.revision;
    if (revision != known) {
      const auto now = Clock::now();
      if (last) {
        const auto gap = now - *last;
        lease_gap_.note(gap);
        if (gap > 2 * renew_) {
          ++late_renewals_;
          say(msg::lease_late, {.host = cell_.self()}, "the host lease was renewed {} ms after the time before",
              std::chrono::duration_cast<std::chrono::milliseconds>(gap).count());
        }
      }
      known = revision;
      last = now;
    }
    co_await cell_.changed().wait(seen, Clock::time_point::max());
  }
}

api::CellPort::Pace Pacer::pace() const { return {io_late_.seconds(), lease_gap_.seconds(), late_renewals_}; }

}  // namespace bascule
