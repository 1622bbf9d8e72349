#include "hostd/core/audit_chain.hpp"

namespace bascule::core {
namespace {
void add(std::string& out, const std::string& text) {
  out += std::to_string(text.size());
  out += ':';
  out += text;
  out += ',';
}
}  // namespace

std::string canonical(const AuditRecord& r) {
  std::string out;
  add(out, std::to_string(r.sequence));
  add(out, std::to_string(r.when_ms));
  add(out, r.who.name);
  add(out, r.who.role);
  add(out, r.who.project);
  add(out, r.why);
  add(out, r.what);
  add(out, r.object);
  add(out, r.project);
  add(out, r.operation);
  add(out, r.result);
  add(out, r.previous);
  return out;
}

std::string first_previous() { return std::string(kHashHexChars, '0'); }

}  // namespace bascule::core
