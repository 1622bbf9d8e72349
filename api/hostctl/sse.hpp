// Server-sent events, read from pieces of any size (WHATWG HTML, "Interpreting an event stream").
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace bascule::hostctl {

struct SseEvent {
  std::string type{"message"};
  std::string data;
  std::string id;  ///< the last id seen, also when this event carried none
};

class SseParser {
 public:
  /// A line or an event longer than this ends the stream: hostd's events stay below 16 KiB.
  static constexpr std::size_t kMaxEventBytes = 256 * 1024;

  /// Calls `on_event` for each event that became complete. False: the stream is not one we can read.
  bool feed(std::string_view piece, const std::function<void(const SseEvent&)>& on_event);
  const std::string& last_id() const { return last_id_; }
  /// What the server asked us to wait before a reconnect; -1 = nothing.
  long retry_ms() const { return retry_ms_; }
  /// After the connection was lost: forgets the half-read event, keeps the id.
  void reset();

 private:
  void line(std::string_view text, const std::function<void(const SseEvent&)>& on_event);
  void field(std::string_view name, std::string_view value);

  std::string buffer_;  ///< the line being read
  std::string data_, type_, last_id_, id_;
  bool has_data_{};
  bool after_cr_{};  ///< the next \n belongs to the \r before it
  bool started_{};   ///< a byte order mark is skipped only at the start
  long retry_ms_{-1};
};

}  // namespace bascule::hostctl
