// The keys of a cell in etcd. Every part that comes from outside has passed core::valid_name, so no part holds a slash.
#pragma once

#include <fmt/format.h>

#include <string>

namespace bascule::runtime::keys {

inline std::string root(const std::string& cell) { return "/bascule/" + cell + "/"; }
inline std::string format(const std::string& r) { return r + "format"; }
inline std::string host_info(const std::string& r, const std::string& h) { return r + "hosts/" + h + "/info"; }
inline std::string host_lease(const std::string& r, const std::string& h) { return r + "hosts/" + h + "/lease"; }
inline std::string host_fence(const std::string& r, const std::string& h) { return r + "hosts/" + h + "/fence"; }
inline std::string host_maintenance(const std::string& r, const std::string& h) {
  return r + "hosts/" + h + "/maintenance";
}
inline std::string disarmed(const std::string& r) { return r + "ha-disarmed"; }
inline std::string vm_prefix(const std::string& r, const std::string& v) { return r + "vms/" + v + "/"; }
inline std::string vm_spec(const std::string& r, const std::string& v) { return vm_prefix(r, v) + "spec"; }
inline std::string vm_layout(const std::string& r, const std::string& v) { return vm_prefix(r, v) + "layout"; }
inline std::string vm_right(const std::string& r, const std::string& v) { return vm_prefix(r, v) + "right"; }
inline std::string vm_op(const std::string& r, const std::string& v) { return vm_prefix(r, v) + "op"; }
inline std::string vm_status(const std::string& r, const std::string& v, const std::string& h) {
  return vm_prefix(r, v) + "status/" + h;
}
inline std::string vm_last(const std::string& r, const std::string& v, const std::string& what) {
  return vm_prefix(r, v) + "last/" + what;
}
inline std::string vm_restored(const std::string& r, const std::string& v) { return vm_prefix(r, v) + "restored"; }
inline std::string restore(const std::string& r) { return r + "restore"; }
inline std::string image(const std::string& r, const std::string& i) { return r + "images/" + i; }
inline std::string op(const std::string& r, const std::string& id) { return r + "ops/" + id; }
inline std::string progress(const std::string& r, const std::string& id) { return r + "progress/" + id; }
inline std::string audit_head(const std::string& r) { return r + "audit-head"; }
inline std::string audit_prefix(const std::string& r) { return r + "audit/"; }
/// Twelve digits keep etcd's byte order equal to the sequence.
inline std::string audit(const std::string& r, std::int64_t n) { return audit_prefix(r) + fmt::format("{:012}", n); }
inline std::string audit_heads(const std::string& r) { return r + "audit-heads/"; }
inline std::string audit_heads(const std::string& r, const std::string& h) { return audit_heads(r) + h + "/"; }
inline std::string signed_head(const std::string& r, const std::string& h, std::int64_t n) {
  return audit_heads(r, h) + fmt::format("{:012}", n);
}
inline std::string idempotency(const std::string& r, const std::string& digest) { return r + "idem/" + digest; }
inline std::string alert(const std::string& r, const std::string& id) { return r + "alerts/" + id; }
/// How VMs fared, day by day. Beside the cell's own prefix, not below it: that one is listed whole and watched by every
/// host, and must not grow with the days.
inline std::string history_root(const std::string& cell) { return "/bascule-history/" + cell + "/"; }
inline std::string history_vm(const std::string& h, const std::string& v) { return h + v + "/"; }
/// Of a VM as it was made at that revision: one that is made again under the same name shares nothing with it.
inline std::string history(const std::string& h, const std::string& v, std::int64_t incarnation) {
  return history_vm(h, v) + fmt::format("{:019}/", incarnation);
}
inline std::string history_day(const std::string& h, const std::string& v, std::int64_t incarnation,
                               const std::string& day) {
  return history(h, v, incarnation) + day;
}
inline std::string probe(const std::string& r, const std::string& h) { return r + "probe/" + h; }

}  // namespace bascule::runtime::keys
