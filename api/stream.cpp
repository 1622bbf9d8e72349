#include "api/stream.hpp"

#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>

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

/// Waits for news or for the server's stop.
asio::awaitable<void> wait_for_news(CellPort& cell, core::Revision after, runtime::Signal& stop,
                                    std::chrono::milliseconds most) {
  using namespace asio::experimental::awaitable_operators;
  auto news = cell.wait_event(after, most.count());
  auto end = stop.wait(stop.count(), Clock::now() + most);
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

asio::awaitable<void> follow_events(const Call& call, Subscription subscription, EventSink& sink, runtime::Signal& stop,
                                    const bool& stopping, std::chrono::milliseconds heartbeat) {
  CellPort& cell = call.parts.cell;
  core::Revision after = subscription.from_oldest ? cell.events_kept_after() : subscription.after;
  // An id from the future belongs to another cell, or to one that was set up anew.
  const bool strange = after > cell.view().revision;
  std::string out = ": events\nretry: 1000\n\n";
  bool reset = strange;
  auto last_write = Clock::now();
  while (!stopping) {
    auto batch = cell.events_after(after, kBatch);
    if (!batch || reset) {
      reset = false;
      after = cell.view().revision;
      out += text_of({after, "reset", {}, {}});
    } else {
      for (const auto& e : *batch) {
        after = e.revision;
        if (call.sees(e.project) && subscription.wants(e)) out += text_of(e);
      }
    }
    if (!out.empty()) {
      auto writing = sink.write(std::move(out));
      if (!co_await std::move(writing)) co_return;
      out.clear();
      last_write = Clock::now();
    }
    if (batch && !batch->empty()) continue;
    // News that this subscriber does not see must not keep the heartbeat away.
    const auto quiet = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - last_write);
    if (quiet < heartbeat) co_await wait_for_news(cell, after, stop, heartbeat - quiet);
    if (Clock::now() - last_write >= heartbeat) out = ": still here\n\n";
  }
}

}  // namespace bascule::api
