#include "api/stream.hpp"

#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <utility>

#include "api/json.hpp"

namespace bascule::api {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::size_t kBatch = 200;  // events per write, about 20 KiB
constexpr std::size_t kFilterBytes = 200;
constexpr std::size_t kObjectBytes = 64;

std::string text_of(const Event& e) {
  return "id: " + std::to_string(e.revision) + "\nevent: " + e.type + "\ndata: " + json::event(e) + "\n\n";
}

/// Splits at commas; only lower-case letters and dots.
Result<std::vector<std::string>> types_of(const std::string& text) {
  std::vector<std::string> out;
  if (text.size() > kFilterBytes) return fail(Errc::invalid, "type: it is too long");
  if (text.empty()) return out;
  std::string_view left = text;
  while (true) {
    const auto comma = left.find(',');
    const auto word = left.substr(0, comma);
    const bool plain = std::ranges::all_of(word, [](char c) { return (c >= 'a' && c <= 'z') || c == '.'; });
    if (word.empty() || !plain) return fail(Errc::invalid, "type: words such as vm or vm.changed, joined by commas");
    out.emplace_back(word);
    if (comma == std::string_view::npos) break;
    left.remove_prefix(comma + 1);
  }
  return out;
}

/// Waits for news or for the subscriber's end.
asio::awaitable<void> wait_for_news(CellPort& cell, core::Revision after, runtime::Signal& left,
                                    std::chrono::milliseconds most) {
  using namespace asio::experimental::awaitable_operators;
  auto news = cell.wait_event(after, most.count());
  auto end = left.wait(left.count(), Clock::now() + most);
  auto either = std::move(news) || std::move(end);
  co_await std::move(either);
}

}  // namespace

Result<Subscription> Subscription::of(const Call& call) {
  Subscription s;
  const std::string* last = call.request.header("last-event-id");
  const std::string& text = last != nullptr ? *last : call.query("after");
  s.from_oldest = text.empty();
  if (!text.empty()) {
    const auto revision = parse_number(text);
    if (!revision) return fail(Errc::invalid, "Last-Event-ID: the id of an event is needed");
    s.after = *revision;
  }
  auto types = types_of(call.query("type"));
  if (!types) return types.error();
  s.types = std::move(*types);
  s.object = call.query("object");
  if (s.object.size() > kObjectBytes) return fail(Errc::invalid, "object: it is too long");
  return s;
}

bool Subscription::wants(const Event& e) const {
  if (!object.empty() && object != e.object) return false;
  if (types.empty()) return true;
  return std::ranges::any_of(types, [&](const std::string& t) {
    return e.type == t || (e.type.starts_with(t) && e.type.size() > t.size() && e.type[t.size()] == '.');
  });
}

Follower::Follower(const Call& call, Subscription subscription, asio::any_io_executor executor,
                   std::chrono::milliseconds heartbeat)
    : call_(call),
      subscription_(std::move(subscription)),
      heartbeat_(heartbeat),
      left_(std::move(executor)),
      after_(subscription_.from_oldest ? call.parts.cell.events_kept_after() : subscription_.after),
      out_(": events\nretry: 1000\n\n"),
      last_(Clock::now()) {
  // An id from the future belongs to another cell, or to one that was set up anew.
  reset_ = after_ > call.parts.cell.view().revision;
}

void Follower::leave() {
  gone_ = true;
  left_.notify();
}

asio::awaitable<std::string> Follower::next() {
  CellPort& cell = call_.parts.cell;
  while (!gone_) {
    auto batch = cell.events_after(after_, kBatch);
    if (!batch || reset_) {
      reset_ = false;
      after_ = cell.view().revision;
      out_ += text_of({after_, "reset", {}, {}});
    } else {
      for (const auto& e : *batch) {
        after_ = e.revision;
        if (call_.sees(e.project) && subscription_.wants(e)) out_ += text_of(e);
      }
    }
    if (!out_.empty()) {
      last_ = Clock::now();
      co_return std::exchange(out_, {});
    }
    if (batch && !batch->empty()) continue;
    // News that this subscriber does not see must not keep the heartbeat away.
    const auto quiet = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - last_);
    if (quiet < heartbeat_) co_await wait_for_news(cell, after_, left_, heartbeat_ - quiet);
    if (Clock::now() - last_ >= heartbeat_) out_ = ": still here\n\n";
  }
  co_return std::string();
}

}  // namespace bascule::api
