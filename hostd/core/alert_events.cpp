// What asks for an alert, and its words.
#include <fmt/format.h>

#include <algorithm>

#include "hostd/core/alert.hpp"
#include "hostd/core/alert_text.hpp"
#include "hostd/core/explain.hpp"

namespace bascule::core {
namespace {

std::string site_of(const CellView& view, const std::string& host) {
  const HostView* h = view.host(host);
  return h == nullptr || h->info.revision == 0 ? std::string() : std::string(to_string(h->info.value.site));
}

std::string placed(const CellView& view, const std::string& host) {
  const std::string site = site_of(view, host);
  return site.empty() ? host : fmt::format("{} (site {})", host, site);
}

std::string as_id(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (good || (!out.empty() && out.back() != '-')) out += good ? c : '-';
  }
  return out.substr(0, 60);
}

/// It should run, does not, and nothing that would change that is at work.
bool lies(VmState state) {
  return state == VmState::down || state == VmState::frozen || state == VmState::crashed || state == VmState::paused ||
         state == VmState::unknown;
}

struct Finder {
  const CellView& view;
  const AlertRules& rules;
  const AlertFacts& facts;
  const std::string& self;
  const AlertBook& book;
  std::vector<AlertEvent> out{};

  Alert& add(AlertKind kind, Severity severity, std::string id, Mono patience = {}, std::string first = {}) {
    AlertEvent& e = out.emplace_back();
    e.alert.kind = kind;
    e.alert.severity = severity;
    e.alert.id = std::move(id);
    e.patience = patience;
    e.first = std::move(first);
    return e.alert;
  }
  /// Null when it is written already: an operation gives one of a kind.
  Alert* of_operation(AlertKind kind, Severity severity, const Operation& op) {
    std::string id = std::string(to_string(kind)) + '-' + op.id;
    if (book.contains(id)) return nullptr;
    Alert& a = add(kind, severity, std::move(id), {}, op.writer.host);
    a.vm = op.vm;
    a.operation = op.id;
    a.host = op.target_host;
    a.site = site_of(view, op.target_host);
    return &a;
  }

  void operations();
  void decided(const Operation& op, Alert& a);
  void failover(const Operation& op);
  void needs_a_person(const Operation& op, Alert& a);
  void hosts();
  void vms();
  void vm_state_of(const std::string& name, const VmView& vm);
  void parts();
  void heartbeat();
};

std::string lost_of(const Operation& op) {
  const auto it = op.result.find("lost_host");
  return it == op.result.end() ? op.source_host : it->second;
}

void Finder::decided(const Operation& op, Alert& a) {
  const std::string lost = lost_of(op);
  a.title =
      fmt::format("VM {} fails over to {}{}", op.vm, op.target_host, lost.empty() ? "" : ", " + lost + " is lost");
  a.what = fmt::format("VM {} is being started on {}. {} {}: {}", op.vm, placed(view, op.target_host),
                       op.author.role == "host" ? "Decided by host" : "Asked for by", op.author.name, op.reason);
  a.did = fmt::format("Operation {} takes the run-right{} and starts the guest with every confirmed write.", op.id,
                      lost.empty() ? "" : " from " + lost);
  a.todo = fmt::format("Look at host {}: docs/runbooks/host-dead.md. See how it ends: hostctl op follow {}. Once that "
                       "host is back, a person brings the VM home: hostctl vm failback {}",
                       lost.empty() ? "that was lost" : lost, op.id, op.vm);
  a.hint = "hostctl why " + op.vm;
}

void Finder::failover(const Operation& op) {
  const auto severity = op.author.role == "host" ? Severity::critical : Severity::info;
  if (Alert* a = of_operation(AlertKind::failover_decided, severity, op)) decided(op, *a);
  if (op.state == OpState::done) {
    Alert* b = of_operation(AlertKind::failover_done, Severity::info, op);
    if (b == nullptr) return;
    b->title = fmt::format("VM {} runs on {} again", op.vm, op.target_host);
    b->what = fmt::format("The failover of VM {} to {} is done, {} ms after its decision.", op.vm,
                          placed(view, op.target_host), op.finished_ms - op.created_ms);
    b->did = "The guest was started with every confirmed write; it has one leg until the lost host is back.";
    b->todo = fmt::format("When the lost host is back and both legs are in sync: hostctl vm failback {}", op.vm);
    b->hint = "hostctl vm show " + op.vm;
  } else if (op.state == OpState::undone) {
    Alert* b = of_operation(AlertKind::failover_failed, Severity::critical, op);
    if (b == nullptr) return;
    b->title = fmt::format("the failover of VM {} to {} failed", op.vm, op.target_host);
    b->what = fmt::format("Operation {} was undone: {}", op.id, op.error);
    b->did = "Its steps were undone. Where the rules still allow it, hostd tries again by itself, with growing pauses.";
    b->todo = fmt::format("hostctl why {} says what is waited for; hostctl op show {} what went wrong", op.vm, op.id);
    b->hint = "hostctl why " + op.vm;
  }
}

void Finder::needs_a_person(const Operation& op, Alert& a) {
  const std::string object = op.vm.empty() ? std::string() : " of VM " + op.vm;
  a.title = fmt::format("{}{} needs a person", to_string(op.kind), object);
  a.what = fmt::format("Operation {} ({}{}) stopped half-way: {}", op.id, to_string(op.kind), object, op.error);
  a.did = "It stopped where it was; nothing further is touched by itself.";
  a.todo = fmt::format("{}. All of it: hostctl op show {}", op.todo, op.id);
  a.hint = op.vm.empty() ? "hostctl op list" : "hostctl op list --vm " + op.vm;
}

void Finder::operations() {
  for (const auto& [id, v] : view.operations) {
    const Operation& op = v.value;
    if (facts.wall - std::max(op.created_ms, op.finished_ms) > AlertLimits::fresh_ms) continue;
    if (op.kind == OpKind::vm_failover) failover(op);
    if (op.state != OpState::needs_operator) continue;
    if (Alert* a = of_operation(AlertKind::needs_operator, Severity::critical, op)) needs_a_person(op, *a);
  }
}

void Finder::hosts() {
  for (const auto& [id, h] : view.hosts) {
    if (!h.silent || h.info.revision == 0 || id == self) continue;
    const bool expected = h.maintenance.revision != 0;
    Alert& a = add(AlertKind::host_silent, expected ? Severity::info : Severity::warning, "host-silent-" + id);
    a.host = id;
    a.site = site_of(view, id);
    const auto vms = std::ranges::count_if(view.vms, [&](const auto& v) {
      return v.second.right.value.host == id && v.second.spec.value.power == Power::on;
    });
    a.title = fmt::format("host {} is silent", id);
    a.what = fmt::format("Host {} does not renew its lease{}; {} VM(s) that should run were there.", placed(view, id),
                         expected ? " (it is in maintenance)" : "", vms);
    a.did = "Its VMs with protection 'ha' start on the other site when the takeover time has passed. Others wait.";
    a.todo = "See docs/runbooks/host-dead.md; hostctl host list, and for each VM hostctl why VM";
    a.hint = "hostctl host show " + id;
  }
}

void Finder::vm_state_of(const std::string& name, const VmView& vm) {
  const auto& spec = vm.spec.value;
  const std::string& host = vm.right.value.host;
  const VmState state = vm_state(view, vm);
  const auto here = vm.status.find(host);
  if (lies(state)) {
    // Its client did that from inside, as it may.
    const bool asked = here != vm.status.end() && own_act(here->second);
    Alert& a =
        add(AlertKind::vm_down, asked ? Severity::info : Severity::critical, "vm-down-" + name, Mono(rules.down_ms));
    a.title = fmt::format("VM {} is {}", name, to_string(state));
    a.what = why(view, name);
    a.did = "Nothing is at work on it.";
    a.todo = fmt::format("hostctl why {} says what is waited for now; docs/operations.md what to do about it", name);
    a.hint = "hostctl why " + name;
  }
  if (replicates(spec.protection) && !vm_protected(vm)) {
    Alert& a = add(AlertKind::vm_unprotected, Severity::warning, "vm-unprotected-" + name, Mono(rules.unprotected_ms));
    a.title = fmt::format("VM {} has no second leg in sync", name);
    a.what = fmt::format("For {} minutes: {}", rules.unprotected_ms / 60'000, why(view, name));
    a.did = "The VM runs on with the legs that it has. A leg that comes back is resynced by itself.";
    a.todo = fmt::format("hostctl why {}; docs/runbooks/link-cut.md, docs/runbooks/disk-dying.md", name);
    a.hint = "hostctl why " + name;
  }
  const bool parted = here != vm.status.end() && here->second.connection == "StandAlone";
  if (parted && replicates(spec.protection) && vm.operation.revision == 0) {
    Alert& a = add(AlertKind::split_brain, Severity::critical, "split-brain-" + name, AlertLimits::split_patience);
    a.title = fmt::format("VM {}: DRBD refuses the link between its legs", name);
    a.what = fmt::format("DRBD on {} stays StandAlone: the two legs of VM {} may both hold something of their own.",
                         host, name);
    a.did = "Nothing is discarded by a program. The VM runs on, on the legs of its record.";
    a.todo = fmt::format(
        "docs/runbooks/split-brain.md; then hostctl volume repair {}, which a second operator approves", name);
    a.hint = "hostctl why " + name;
  }
}

void Finder::vms() {
  for (const auto& [name, vm] : view.vms) {
    const bool wanted = vm.spec.revision != 0 && vm.right.revision != 0 && vm.spec.value.power == Power::on;
    if (!wanted) continue;
    const std::size_t from = out.size();
    vm_state_of(name, vm);
    for (std::size_t i = from; i < out.size(); ++i) {
      out[i].alert.vm = name;
      out[i].alert.host = vm.right.value.host;
      out[i].alert.site = site_of(view, vm.right.value.host);
    }
  }
}

void Finder::parts() {
  for (const auto& voter : facts.voters_lost) {
    Alert& a = add(AlertKind::etcd_voter_lost, Severity::warning, "etcd-voter-lost-" + as_id(voter),
                   AlertLimits::voter_patience);
    a.title = fmt::format("etcd member {} is not reached", voter);
    a.what = fmt::format("Host {} does not reach the etcd member {} or it sees no leader; {} of {} are reached.", self,
                         voter, facts.voters - facts.voters_lost.size(), facts.voters);
    a.did = "Guests run on. With one more voter lost, nothing can be changed and no lost host's VM is started.";
    a.todo = "docs/runbooks/witness-lost.md; never restore a member from a copy: remove it and add it empty";
    a.hint = "etcdctl endpoint status";
  }
  for (const auto& [path, ends] : facts.certificates) {
    const WallMs left = ends - facts.wall;
    if (left > WallMs{rules.certificate_days} * 24 * 3600 * 1000) continue;
    Alert& a = add(AlertKind::certificate_expiring, Severity::warning,
                   fmt::format("certificate-expiring-{}-{}", self, as_id(path)), {}, self);
    a.host = self;
    a.site = site_of(view, self);
    a.title = left <= 0 ? fmt::format("a certificate of host {} has expired", self)
                        : fmt::format("a certificate of host {} expires in {} days", self, left / (24 * 3600 * 1000));
    a.what = fmt::format("{} on host {} ends at {}.", path, self, utc_text(ends));
    a.did = "Nothing. Without a valid certificate this host reaches neither etcd nor the other hosts.";
    a.todo = "docs/runbooks/certificate-expiring.md";
    a.hint = "openssl x509 -enddate";
  }
}

void Finder::heartbeat() {
  if (rules.heartbeat_minute < 0) return;
  const bool any = std::ranges::any_of(rules.lists, &AlertList::heartbeat);
  const WallMs late = facts.wall % kDayMs - WallMs{rules.heartbeat_minute} * 60'000;
  if (!any || late < 0 || late > AlertLimits::heartbeat_late_ms) return;
  std::size_t silent = 0, running = 0, wanted = 0, unprotected = 0, waiting = 0, open = 0;
  for (const auto& [id, h] : view.hosts) silent += h.alive() ? 0 : 1;
  for (const auto& [name, vm] : view.vms) {
    if (vm.spec.value.power != Power::on) continue;
    ++wanted;
    running += lies(vm_state(view, vm)) ? 0 : 1;
    unprotected += replicates(vm.spec.value.protection) && !vm_protected(vm) ? 1 : 0;
  }
  for (const auto& [id, op] : view.operations) waiting += op.value.state == OpState::needs_operator ? 1 : 0;
  for (const auto& [id, a] : book) {
    const Alert& v = a.value;
    open += v.severity != Severity::info && v.acked_ms == 0 && (v.ended_ms == 0 || !is_state(v.kind)) ? 1 : 0;
  }
  const bool armed = view.disarmed.revision == 0;
  const bool well = silent == 0 && running == wanted && unprotected == 0 && facts.voters_lost.empty() && armed;
  Alert& a = add(AlertKind::heartbeat, Severity::info, "heartbeat-" + utc_text(facts.wall).substr(0, 10));
  a.title = well ? "all is well" : "daily report: NOT all is well";
  a.what =
      fmt::format("Hosts: {} of {} alive. VMs: {} of {} that should run do, {} without a second leg in sync. etcd: {} "
                  "of {} members reached. Automatic failover is {}. Operations that need a person: {}. Alerts that "
                  "nobody acknowledged: {}.",
                  view.hosts.size() - silent, view.hosts.size(), running, wanted, unprotected,
                  facts.voters - facts.voters_lost.size(), facts.voters, armed ? "armed" : "DISARMED", waiting, open);
  a.todo = well ? "Nothing. When this message does not come one day, look at the cell and at the way of its alerts."
                : "hostctl alert list, hostctl host list, hostctl vm list";
  a.hint = well ? "" : "hostctl alert list";
}

void trim(Alert& a) {
  a.title = one_line(a.title, AlertLimits::title_bytes);
  for (std::string* text : {&a.what, &a.did, &a.todo}) *text = one_line(*text, AlertLimits::text_bytes);
  a.hint = one_line(a.hint, 80);
}

}  // namespace

bool is_state(AlertKind kind) {
  switch (kind) {
    case AlertKind::host_silent:
    case AlertKind::vm_down:
    case AlertKind::vm_unprotected:
    case AlertKind::split_brain:
    case AlertKind::etcd_voter_lost:
    case AlertKind::certificate_expiring: return true;
    case AlertKind::test:
    case AlertKind::heartbeat:
    case AlertKind::failover_decided:
    case AlertKind::failover_done:
    case AlertKind::failover_failed:
    case AlertKind::needs_operator: break;
  }
  return false;
}

std::vector<AlertEvent> alert_events(const CellView& view, const AlertBook& book, const AlertRules& rules,
                                     const AlertFacts& facts, const std::string& self) {
  Finder f{view, rules, facts, self, book};
  f.operations();
  f.hosts();
  f.vms();
  f.parts();
  f.heartbeat();
  for (AlertEvent& e : f.out) trim(e.alert);
  return std::move(f.out);
}

Alert test_alert(const std::string& id, const std::string& author, const std::string& reason, const std::string& self,
                 WallMs now) {
  Alert a;
  a.id = id;
  a.kind = AlertKind::test;
  a.host = self;
  a.title = "test of the alerts, asked for by " + author;
  a.what = fmt::format("{} asked for a test of the alerts: {}", author, reason);
  a.did = "One message to every list of recipients, whatever its severity.";
  a.todo = "Nothing, if this has reached you. Who got it, and who did not and why: hostctl alert list";
  a.created_ms = now;
  a.reporter = self;
  trim(a);
  return a;
}

Result<Alert> acknowledged(Alert alert, const std::string& who, const std::string& reason, WallMs now) {
  if (alert.acked_ms != 0) {
    return fail(Errc::conflict, fmt::format("alert {} was acknowledged by {} already (\"{}\"); nothing was changed",
                                            alert.id, alert.acked_by, alert.ack_reason));
  }
  alert.acked_by = who;
  alert.ack_reason = reason;
  alert.acked_ms = now;
  return alert;
}

}  // namespace bascule::core
