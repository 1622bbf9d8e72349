#include "hostd/runtime/journal.hpp"

#include <fmt/format.h>
#include <sys/uio.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

namespace bascule::runtime {

struct Journal::Waiting {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Record> records;
  std::size_t dropped{};
  bool sending{}, ending{};

  bool idle() const { return records.empty() && dropped == 0 && !sending; }
};

namespace {

/// May wait for ever for a journald that does not read.
void send(Journal::Record record) {
  std::vector<iovec> parts;
  parts.reserve(record.size());
  for (auto& field : record) parts.push_back({field.data(), field.size()});
  // Nobody is there to be told of an error.
  static_cast<void>(::sd_journal_sendv(parts.data(), static_cast<int>(parts.size())));
}

Journal::Record of_dropped(std::size_t count) {
  return {fmt::format("MESSAGE={} lines were dropped: journald did not take them", count),
          fmt::format("PRIORITY={}", LOG_WARNING), "SYSLOG_IDENTIFIER=hostd"};
}

}  // namespace

Journal::Journal() : waiting_(std::make_shared<Waiting>()) {
  thread_ = std::thread([w = waiting_] {
    std::unique_lock lock(w->mutex);
    while (true) {
      w->changed.wait(lock, [&] { return !w->records.empty() || w->dropped > 0 || w->ending; });
      if (w->ending) return;
      Record next;
      if (w->records.empty()) {
        next = of_dropped(std::exchange(w->dropped, 0));
      } else {
        next = std::move(w->records.front());
        w->records.pop_front();
      }
      w->sending = true;
      lock.unlock();
      send(std::move(next));
      lock.lock();
      w->sending = false;
      w->changed.notify_all();
    }
  });
}

Journal::~Journal() {
  flush();
  bool held_up = false;
  {
    const std::lock_guard lock(waiting_->mutex);
    waiting_->ending = true;
    held_up = waiting_->sending;
  }
  waiting_->changed.notify_all();
  if (held_up)
    thread_.detach();  // the process' end ends it
  else
    thread_.join();
}

void Journal::add(Record record) {
  {
    const std::lock_guard lock(waiting_->mutex);
    if (waiting_->records.size() < kWaiting)
      waiting_->records.push_back(std::move(record));
    else
      ++waiting_->dropped;
  }
  waiting_->changed.notify_all();
}

void Journal::flush() {
  std::unique_lock lock(waiting_->mutex);
  waiting_->changed.wait_for(lock, kFlush, [&] { return waiting_->idle(); });
}

}  // namespace bascule::runtime
