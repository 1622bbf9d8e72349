#include "hostd/core/signed_head.hpp"

#include "hostd/core/audit_chain.hpp"

namespace bascule::core {
namespace {
constexpr std::string_view kWord = "bascule audit head 1";

void add(std::string& out, std::string_view text) {
  out += std::to_string(text.size());
  out += ':';
  out += text;
  out += ',';
}
}  // namespace

std::string signed_text(const SignedHead& head) {
  std::string out;
  add(out, kWord);
  add(out, head.cell);
  add(out, head.host);
  add(out, std::to_string(head.sequence));
  add(out, head.hash);
  add(out, std::to_string(head.when_ms));
  return out;
}

bool signature_due(const SignedHead& last, const AuditHead& head, WallMs now, WallMs interval) {
  if (head.sequence <= last.sequence) return false;
  const bool much = head.sequence - last.sequence >= kRecordsPerSignature;
  return last.sequence == 0 || much || now < last.when_ms || now - last.when_ms >= interval;
}

std::optional<std::string> chain_goes_on(AuditHead& from, const std::vector<AuditRecord>& records,
                                         const std::function<std::string(const AuditRecord&)>& hash) {
  for (const auto& record : records) {
    if (record.sequence != from.sequence + 1) {
      return "record " + std::to_string(from.sequence + 1) + " is missing: after " + std::to_string(from.sequence) +
             " comes " + std::to_string(record.sequence);
    }
    const std::string number = std::to_string(record.sequence);
    if (record.previous != (from.sequence == 0 ? first_previous() : from.hash)) {
      return "record " + number + " does not follow the one this host knows as record " +
             std::to_string(from.sequence) + ": the chain was written anew";
    }
    if (hash(record) != record.hash) return "record " + number + " was changed after it was written";
    from = {record.sequence, record.hash};
  }
  return std::nullopt;
}

}  // namespace bascule::core
