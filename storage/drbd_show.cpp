#include "storage/drbd_show.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

namespace bascule::storage {
namespace {

using core::Errc;
using core::fail;

constexpr std::size_t kMaxText = 256 * 1024;
constexpr std::size_t kMaxDepth = 8;

using Words = std::vector<std::string_view>;

bool blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/// Tokens: words, "quoted words" without their quotes, and the marks { } ;
class Tokens {
 public:
  explicit Tokens(std::string_view text) : text_(text) {}
  /// Empty at the end. `mark` says whether the token is one of { } ;
  std::optional<std::string_view> next(bool& mark) {
    for (;;) {
      while (at_ < text_.size() && blank(text_[at_])) ++at_;
      if (at_ < text_.size() && text_[at_] == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
        continue;
      }
      break;
    }
    if (at_ >= text_.size()) return std::nullopt;
    const std::size_t start = at_;
    mark = is_mark(text_[at_]);
    if (mark) return text_.substr(at_++, 1);
    if (text_[at_] == '"') {
      const auto end = std::min(text_.find('"', at_ + 1), text_.size());
      at_ = std::min(end + 1, text_.size());
      return text_.substr(start + 1, end - start - 1);
    }
    while (at_ < text_.size() && !blank(text_[at_]) && !is_mark(text_[at_])) ++at_;
    return text_.substr(start, at_ - start);
  }

 private:
  static bool is_mark(char c) { return c == '{' || c == '}' || c == ';'; }
  std::string_view text_;
  std::size_t at_{};
};

struct Reader {
  ShownResource shown;
  std::vector<std::string_view> path;  // names of the open blocks
  std::optional<std::uint32_t> minor;  // of the volume block we are in

  bool within(std::string_view block) const { return std::ranges::find(path, block) != path.end(); }

  void statement(const Words& words) {
    if (words.size() < 2) return;
    const bool in_volume = !path.empty() && path.back() == "volume";
    if (in_volume && words[0] == "device" && words.size() >= 3 && words[words.size() - 2] == "minor") {
      std::uint32_t value = 0;
      const auto text = words.back();
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (error == std::errc{} && end == text.data() + text.size()) minor = value;
    } else if (in_volume && words[0] == "disk" && minor && within("_this_host") && words[1] != "none") {
      shown.disk[*minor] = std::string(words[1]);
    } else if (words[0] == "address" && words.size() >= 3) {
      const std::string text = std::string(words[1]) + ":" + std::string(words[2]);
      if (within("_this_host")) shown.local_address = text;
      if (within("_remote_host")) shown.remote_address = text;
    } else if (words[0] == "allow-two-primaries") {
      shown.allow_two_primaries = words[1] == "yes";
    } else if ((words[0] == "_this_host" || words[0] == "_remote_host") && words.size() >= 3) {
      // DRBD 9: `path { _this_host ipv4 10.0.0.1:7800; _remote_host ipv4 10.0.0.2:7800; }`
      const std::string text = std::string(words[1]) + ":" + std::string(words[2]);
      (words[0] == "_this_host" ? shown.local_address : shown.remote_address) = text;
    }
  }
};

}  // namespace

core::Result<ShownResource> parse_show(std::string_view text) {
  if (text.size() > kMaxText) return fail(Errc::invalid, "drbdsetup show: the output is too long");
  Tokens tokens(text);
  Reader reader;
  Words words;
  bool mark = false;
  while (const auto token = tokens.next(mark)) {
    if (!mark) {
      if (words.size() < 16) words.push_back(*token);
    } else if (*token == ";") {
      reader.statement(words);
      words.clear();
    } else if (*token == "{") {
      if (reader.path.size() >= kMaxDepth) return fail(Errc::invalid, "drbdsetup show: blocks nested too deep");
      reader.path.push_back(words.empty() ? std::string_view{} : words.front());
      if (reader.path.back() == "volume") reader.minor.reset();
      words.clear();
    } else {
      if (reader.path.empty()) return fail(Errc::invalid, "drbdsetup show: unbalanced blocks");
      reader.path.pop_back();
      words.clear();
    }
  }
  if (!reader.path.empty()) return fail(Errc::invalid, "drbdsetup show: the output ends early");
  return reader.shown;
}

}  // namespace bascule::storage
