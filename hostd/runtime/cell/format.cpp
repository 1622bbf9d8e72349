#include "hostd/runtime/cell/format.hpp"

#include <fmt/format.h>

#include <charconv>

#include "hostd/runtime/cell/keys.hpp"
#include "hostd/runtime/cell/store.hpp"
#include "hostd/runtime/say.hpp"

namespace bascule::runtime {
namespace asio = boost::asio;
namespace kv = core::kv;

namespace {
constexpr std::chrono::seconds kMarkDeadline{3};
constexpr std::size_t kShown = 20;  // of a value that is no number
}  // namespace

std::optional<std::string> format_refusal(std::string_view value) {
  std::int64_t format = 0;
  const auto [end, wrong] = std::from_chars(value.data(), value.data() + value.size(), format);
  const bool number = wrong == std::errc{} && end == value.data() + value.size();
  if (number && format >= 1 && format <= kCellFormat) return std::nullopt;
  const std::string said = number ? std::to_string(format) : "'" + std::string(value.substr(0, kShown)) + "'";
  return fmt::format(
      "the cell's records have format {}, and this hostd ({}) reads up to {}: it decides and changes nothing, guests "
      "run on. Install the version that the other hosts have",
      said, BASCULE_VERSION, kCellFormat);
}

void CellStore::see_format(const std::optional<std::string>& value) {
  auto why = value ? format_refusal(*value) : std::nullopt;
  if (why.value_or("") == refusal_) return;
  refusal_ = why.value_or("");
  if (refusal_.empty())
    say(msg::format_known, {.host = self_}, "the cell's records have a format that this hostd reads");
  else
    say(msg::format_refused, {.host = self_}, "{}", refusal_);
}

asio::awaitable<core::Result<>> CellStore::mark_format() {
  kv::Txn txn;
  txn.compares.push_back(kv::Compare::mod_revision(keys::format(root_), 0));
  txn.success.emplace_back(kv::Put{keys::format(root_), std::to_string(kCellFormat)});
  auto reply = co_await write(std::move(txn), Clock::now() + kMarkDeadline);
  if (!reply) co_return reply.error();
  co_return core::Result<>{};
}

}  // namespace bascule::runtime
