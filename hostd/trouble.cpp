#include "hostd/trouble.hpp"

#include <optional>
#include <set>

#include "hostd/runtime/clock.hpp"
#include "hostd/runtime/say.hpp"

namespace bascule {
using core::AlertKind;
using core::Mono;

namespace {
constexpr std::chrono::seconds kLook{5};

std::optional<msg::Message> message_of(AlertKind kind) {
  if (kind == AlertKind::split_brain) return msg::split_brain;
  if (kind == AlertKind::vm_down) return msg::vm_down;
  if (kind == AlertKind::vm_unprotected) return msg::vm_unprotected;
  return std::nullopt;  // the rest is told where it happens
}
}  // namespace

void TroubleTeller::look(Mono now) {
  const auto& view = cell_.view();
  if (!view.synced) return;
  std::set<std::string> stands;
  core::AlertFacts facts;
  facts.wall = runtime::wall_ms();
  for (const auto& event : core::alert_events(view, {}, rules_, facts, cell_.self())) {
    const auto& alert = event.alert;
    const auto message = message_of(alert.kind);
    const auto* vm = view.vm(alert.vm);
    if (!message || vm == nullptr || vm->right.value.host != cell_.self()) continue;
    stands.insert(alert.id);
    auto& seen = seen_.try_emplace(alert.id, Seen{now, alert.vm}).first->second;
    if (seen.told || now - seen.since < event.patience) continue;
    seen.told = true;
    say(*message, {.vm = alert.vm, .host = cell_.self(), .epoch = vm->right.value.epoch, .alert = alert.id}, "{}. {}",
        alert.title, alert.what);
  }
  for (auto it = seen_.begin(); it != seen_.end();) {
    if (stands.contains(it->first)) {
      ++it;
      continue;
    }
    if (it->second.told) {
      say(msg::trouble_over, {.vm = it->second.vm, .host = cell_.self(), .alert = it->first}, "{} is over", it->first);
    }
    it = seen_.erase(it);
  }
}

boost::asio::awaitable<void> TroubleTeller::run() {
  while (true) {
    look(std::chrono::duration_cast<Mono>(runtime::Clock::now().time_since_epoch()));
    co_await runtime::pause(kLook);
  }
}

}  // namespace bascule
