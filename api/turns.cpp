#include "api/turns.hpp"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace bascule::api {
namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

namespace {
constexpr std::chrono::milliseconds kShort{1};           // a call this short needs no pause
constexpr std::chrono::milliseconds kLongestPause{100};  // however long the thread was busy
}  // namespace

Turns::Turns(asio::any_io_executor executor)
    : executor_(std::move(executor)), lines_(std::make_shared<Lines>(executor_)) {}

asio::awaitable<void> Turns::take(std::string name, bool staff) {
  const auto lines = lines_;
  if (lines->busy) {
    Timer turn(executor_, Clock::time_point::max());
    (staff ? lines->staff : lines->others).push(name, &turn);
    co_await turn.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  lines->busy = true;
  lines->began = Clock::now();
  asio::post(executor_, [lines] { give_back(lines); });
}

void Turns::give_back(const std::shared_ptr<Lines>& lines) {
  const auto took = Clock::now() - lines->began;
  if (took < kShort) return give(lines);
  lines->pause.expires_after(std::min<Clock::duration>(took, kLongestPause));
  lines->pause.async_wait([lines](const boost::system::error_code& ended) {
    if (!ended) give(lines);
  });
}

void Turns::give(const std::shared_ptr<Lines>& lines) {
  const bool staff = !lines->staff.empty() && (lines->others.empty() || !lines->staff_was_last);
  const auto next = (staff ? lines->staff : lines->others).pop();
  lines->staff_was_last = staff;
  lines->busy = next.has_value();
  if (next) (*next)->cancel();
}

}  // namespace bascule::api
