#include "api/hostctl/sse.hpp"

#include <charconv>

namespace bascule::hostctl {

void SseParser::reset() {
  buffer_.clear();
  data_.clear();
  type_.clear();
  id_ = last_id_;
  has_data_ = after_cr_ = started_ = false;
}

bool SseParser::feed(std::string_view piece, const std::function<void(const SseEvent&)>& on_event) {
  for (const char c : piece) {
    if (c == '\n' && after_cr_) {
      after_cr_ = false;
      continue;
    }
    after_cr_ = c == '\r';
    if (c == '\n' || c == '\r') {
      line(buffer_, on_event);
      buffer_.clear();
    } else {
      buffer_ += c;
    }
    if (buffer_.size() + data_.size() > kMaxEventBytes) return false;
  }
  return true;
}

void SseParser::line(std::string_view text, const std::function<void(const SseEvent&)>& on_event) {
  if (!started_ && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  started_ = true;
  if (text.empty()) {
    last_id_ = id_;
    if (has_data_) on_event({type_.empty() ? "message" : type_, data_, last_id_});
    data_.clear();
    type_.clear();
    has_data_ = false;
    return;
  }
  const std::size_t colon = text.find(':');
  if (colon == 0) return;  // a comment: the server's keep-alive
  std::string_view value = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  field(text.substr(0, colon), value);
}

void SseParser::field(std::string_view name, std::string_view value) {
  if (name == "data") {
    if (has_data_) data_ += '\n';
    data_ += value;
    has_data_ = true;
  } else if (name == "event") {
    type_ = value;
  } else if (name == "id") {
    if (value.find('\0') == std::string_view::npos) id_ = value;
  } else if (name == "retry") {
    long ms = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), ms);
    if (error == std::errc() && end == value.data() + value.size() && ms >= 0) retry_ms_ = ms;
  }
}

}  // namespace bascule::hostctl
