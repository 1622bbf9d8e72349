#include "tests/testkit/fake_cell.hpp"

#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <utility>

#include "hostd/codec/codec.hpp"
#include "hostd/core/drills.hpp"
#include "hostd/core/engine.hpp"
#include "hostd/core/names.hpp"
#include "hostd/core/plan.hpp"
#include "hostd/core/plan_rules.hpp"
#include "hostd/core/right.hpp"

namespace bascule::test {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr std::uint64_t kMib = 1024 * 1024;

core::HostView host(const std::string& id, core::Site site) {
  core::HostView h;
  auto& i = h.info.value;
  i.id = id;
  i.site = site;
  i.api_address = "127.0.0.1:8443";
  i.cpus = 64;
  i.memory_mib = core::Limits::memory_mib;
  i.pool_free_mib = core::Limits::volume_mib;
  i.pool_kind = "loop";
  i.accel = "kvm";
  i.networks = {"clients"};
  i.last_port = 65000;
  h.info.revision = h.lease.revision = 1;
  return h;
}

struct Name {
  std::string operator()(const auto& v) const { return v.vm; }
  std::string operator()(const core::PutVm& v) const { return codec::encode(v.spec); }
  std::string operator()(const core::ImportImage& v) const { return v.image.name + v.image.sha256; }
  std::string operator()(const core::RemoveImage& v) const { return v.image; }
  std::string operator()(const core::ResizeVm& v) const { return fmt::format("{} {} {}", v.vm, v.cpus, v.memory_mib); }
  std::string operator()(const core::GrowVolume& v) const {
    return fmt::format("{} {} {}", v.vm, v.volume, v.size_mib);
  }
  std::string operator()(const core::VerifyVolume& v) const { return v.vm + v.volume; }
  std::string operator()(const core::MigrateVm& v) const { return v.vm + v.target + v.policy; }
  std::string operator()(const core::StartVm& v) const { return fmt::format("{} {}", v.vm, v.with_failed_disk); }
  std::string operator()(const core::FailoverVm& v) const { return fmt::format("{} {}", v.vm, v.host_is_off); }
  std::string operator()(const core::FailbackVm& v) const { return v.vm + v.policy; }
  std::string operator()(const core::AdoptVm& v) const { return v.vm + v.host; }
  std::string operator()(const core::ProveWatchdog& v) const { return v.host; }
  std::string operator()(const core::SetMaintenance& v) const { return fmt::format("{} {}", v.host, v.on); }
  std::string operator()(const core::SetArmed& v) const { return fmt::format("{}", v.armed); }
};

/// What two requests with one idempotency key must agree in.
std::string text_of(const core::Request& r) {
  return fmt::format("{} {} {}", r.verb.index(), std::visit(Name{}, r.verb), r.reason);
}

core::Who who_of(const core::Caller& c) {
  static constexpr const char* kRoles[] = {"operator", "client", "auditor", "host"};
  return {c.name, kRoles[static_cast<std::size_t>(c.role)], c.project};
}

core::VmStatus status(core::DomainState domain, bool primary, const core::Layout& layout) {
  core::VmStatus s;
  s.domain = domain;
  s.role = primary ? "Primary" : "Secondary";
  s.connection = "Connected";
  s.suspended = "no";
  for (const auto& v : layout.volumes) s.volumes[v.name] = {"UpToDate", "UpToDate", "Established", 0};
  return s;
}

void settle(core::VmView& vm, core::Revision revision) {
  const auto& spec = vm.spec.value;
  vm.right = {core::first_right(vm.layout.value, spec.nominal_host), revision, revision};
  for (const auto& v : vm.layout.value.volumes) vm.right.value.insync[v.name] = v.legs;
  vm.status[spec.nominal_host] = status(core::DomainState::absent, false, vm.layout.value);
  vm.status[spec.peer_host] = status(core::DomainState::absent, false, vm.layout.value);
}

}  // namespace

FakeCell::FakeCell(asio::any_io_executor executor, std::string folder)
    : folder_(std::move(folder)), news_(std::move(executor)) {
  view_.synced = true;
  view_.revision = 100;
  forgotten_ = 100;
  view_.hosts["a1"] = host("a1", core::Site::a);
  view_.hosts["b1"] = host("b1", core::Site::b);
}

core::Revision FakeCell::changed(const std::string& type, const std::string& object, const std::string& project) {
  ++view_.revision;
  events_.push_back({view_.revision, type, object, project});
  news_.notify();
  return view_.revision;
}

void FakeCell::add_vm(const std::string& name, const std::string& project, bool running) {
  core::VmSpec spec;
  spec.name = name;
  spec.project = project;
  spec.cpus = 1;
  spec.memory_mib = 64;
  spec.nominal_host = "a1";
  spec.peer_host = "b1";
  spec.power = running ? core::Power::on : core::Power::off;
  spec.volumes = {{"root", 64, ""}};
  spec.nics = {{"clients", ""}};
  BASCULE_CHECK(core::give_macs(view_, spec).has_value());
  auto layout = core::lay_out(view_, spec, fmt::format("r{}", view_.revision));
  BASCULE_CHECK(layout.has_value());
  const auto revision = changed("vm.changed", name, project);
  auto& vm = view_.vms[name];
  vm.spec = {spec, revision, revision};
  vm.layout = {*layout, revision, revision};
  settle(vm, revision);
  if (running) vm.status["a1"] = status(core::DomainState::running, true, *layout);
}

void FakeCell::touch_vm(const std::string& name) {
  auto& vm = view_.vms.at(name);
  vm.spec.revision = changed("vm.changed", name, vm.spec.value.project);
}

void FakeCell::forget_events() {
  events_.clear();
  forgotten_ = view_.revision;
}

void FakeCell::append_audit(core::AuditRecord record) {
  auto& head = view_.audit.value;
  if (audit_.empty()) head.hash = std::string(64, '0');
  record.sequence = ++head.sequence;
  record.when_ms = kNow;
  record.previous = head.hash;
  record.hash = codec::audit_hash(record);
  head.hash = record.hash;
  view_.audit.revision = view_.revision;
  audit_.push_back(std::move(record));
}

api::Submitted FakeCell::commit(const core::Plan& plan, const core::Request& request) {
  api::Submitted out;
  core::Operation op = plan.operation;
  op.id = fmt::format("op-{:011x}-{:016x}", kNow, view_.revision);
  op.author = who_of(request.caller);
  op.reason = request.reason;
  op.created_ms = kNow;
  const bool at_once = op.steps.empty();
  if (at_once) {
    op.state = core::OpState::done;
    op.finished_ms = kNow;
  }
  const auto revision = changed("operation.changed", op.id, op.project);
  view_.operations[op.id] = {op, revision, revision};
  if (!op.vm.empty()) {
    auto& vm = view_.vms[op.vm];
    if (!at_once) vm.operation = {op.id, revision, revision};
    if (plan.spec) vm.spec = {*plan.spec, vm.spec.created == 0 ? revision : vm.spec.created, revision};
    if (plan.layout) vm.layout = {*plan.layout, revision, revision};
    out.revision = vm.spec.revision;
    changed("vm.changed", op.vm, op.project);
  }
  if (plan.image) {
    view_.images[plan.image->name] = {*plan.image, revision, revision};
    changed("image.changed", plan.image->name, {});
  }
  core::AuditRecord record;
  record.who = op.author;
  record.why = op.reason;
  record.what = std::string(core::to_string(op.kind)) + " requested";
  record.object = plan.object;
  record.project = op.project;
  record.operation = op.id;
  append_audit(std::move(record));
  out.operation = op.id;
  return out;
}

asio::awaitable<Result<api::Submitted>> FakeCell::submit(core::Request request) {
  ++submitted;
  if (next_failure_) {
    const core::Error error = *next_failure_;
    next_failure_.reset();
    co_return error;
  }
  const auto who = who_of(request.caller);
  const std::string key = who.role + '/' + who.project + '/' + who.name + '/' + request.idempotency_key;
  const bool keyed = !request.idempotency_key.empty() && !request.dry_run;
  if (const auto it = answers_.find(key); keyed && it != answers_.end()) {
    if (it->second.request != text_of(request)) {
      co_return fail(Errc::conflict, "this idempotency key was used for another request; nothing was changed");
    }
    api::Submitted again = it->second.submitted;
    again.replayed = true;
    co_return again;
  }
  request.four_eyes = four_eyes;
  auto plan = core::plan(view_, request, "a1");
  if (!plan) co_return plan.error();
  api::Submitted out;
  out.unchanged = plan->unchanged;
  out.revision = plan->compare_spec;
  if (request.dry_run) out.plan = plan->operation.steps;
  if (!plan->unchanged && !request.dry_run) {
    out = commit(*plan, request);
    const core::Revision now = view_.revision;
    if (plan->maintenance) {
      auto& slot = view_.hosts[plan->operation.target_host].maintenance;
      slot = {};
      if (*plan->maintenance) slot = {{request.caller.name, request.reason, 1}, now, now};
      changed("host.changed", plan->operation.target_host, {});
    }
    if (plan->armed) view_.disarmed = {};
    if (plan->armed && !*plan->armed) view_.disarmed = {{request.caller.name, request.reason, 1}, now, now};
    if (plan->armed) changed("ha.changed", {}, {});
  }
  if (keyed) answers_[key] = {text_of(request), out};
  co_return out;
}

void FakeCell::put_alert(const core::Alert& alert, const core::Caller& caller, const std::string& why) {
  const auto revision = changed("alert.changed", alert.id, {});
  alerts_[alert.id] = {alert, revision, revision};
  core::AuditRecord record;
  record.who = who_of(caller);
  record.why = why;
  record.what = alert.acked_ms == 0 ? "alert test requested" : "alert acknowledged";
  record.object = "alert/" + alert.id;
  append_audit(std::move(record));
}

asio::awaitable<Result<std::string>> FakeCell::test_alert(core::Request r) {
  ++submitted;
  if (next_failure_) co_return *std::exchange(next_failure_, std::nullopt);
  const std::size_t number =
      r.idempotency_key.empty() ? alerts_.size() + 1 : std::hash<std::string>{}(r.idempotency_key);
  const std::string id = fmt::format("test-{}", number);
  if (!alerts_.contains(id)) put_alert(core::test_alert(id, r.caller.name, r.reason, "a1", kNow), r.caller, r.reason);
  co_return id;
}

asio::awaitable<Result<>> FakeCell::acknowledge(core::Caller caller, std::string id, std::string reason) {
  ++submitted;
  if (next_failure_) co_return *std::exchange(next_failure_, std::nullopt);
  if (!alerts_.contains(id)) co_return fail(Errc::not_found, "there is no alert '" + id + "'");
  auto next = core::acknowledged(alerts_.at(id).value, caller.name, reason, kNow);
  if (!next) co_return next.error();
  put_alert(*next, caller, reason);
  co_return Result<>{};
}

asio::awaitable<Result<>> FakeCell::steer(core::Caller caller, std::string operation, core::Steer how, std::string) {
  const auto it = view_.operations.find(operation);
  const bool client = caller.role == core::Role::client;
  if (it == view_.operations.end() || (client && !caller.owns(it->second.value.project))) {
    co_return fail(Errc::not_found, "there is no operation '" + operation + "'");
  }
  if (client && it->second.value.author.name != caller.name) {
    co_return fail(Errc::forbidden, "only an operator, or the client who asked for it, cancels an operation");
  }
  const core::Who who{caller.name, client ? "client" : "operator", caller.project};
  auto next =
      how == core::Steer::cancel ? core::with_cancel(it->second.value) : core::with_approval(it->second.value, who);
  if (!next) co_return next.error();
  it->second.value = std::move(*next);
  it->second.revision = changed("operation.changed", operation, it->second.value.project);
  co_return Result<>{};
}

void FakeCell::apply_end(const core::Operation& op) {
  if (core::finish_effects(op).disarm)
    view_.disarmed = {{op.author.name, op.reason, 1}, view_.revision, view_.revision};
  if (op.vm.empty()) return;
  auto& vm = view_.vms[op.vm];
  const auto effects = core::finish_effects(op);
  vm.operation = {};
  if (effects.care) vm.last[core::care_of(op)] = *effects.care;
  if (effects.put_spec) vm.spec = {*effects.put_spec, vm.spec.created, view_.revision};
  if (effects.delete_vm) {
    view_.vms.erase(op.vm);
    changed("vm.removed", op.vm, op.project);
    return;
  }
  const bool done = op.state == core::OpState::done;
  if (done && op.kind == core::OpKind::vm_create) settle(vm, view_.revision);
  const auto domain = vm.spec.value.power == core::Power::on ? core::DomainState::running : core::DomainState::absent;
  if (done && op.kind == core::OpKind::vm_migrate) {
    vm.status[op.source_host] = status(core::DomainState::absent, false, vm.layout.value);
    vm.right.value.host = op.target_host;
    ++vm.right.value.epoch;
    vm.right.revision = view_.revision;
  }
  vm.status[vm.right.value.host] = status(domain, domain == core::DomainState::running, vm.layout.value);
  changed("vm.changed", op.vm, op.project);
}

bool FakeCell::finish(const std::string& id, core::OpState state) {
  const auto it = view_.operations.find(id);
  if (it == view_.operations.end() || core::finished(it->second.value.state)) return false;
  auto& op = it->second.value;
  op.state = state;
  op.finished_ms = kNow + 1234;
  if (state == core::OpState::done && core::is_move(op.kind)) op.result[core::kRanOn] = op.target_host;
  for (auto& step : op.steps)
    step.state = state == core::OpState::done ? core::StepState::done : core::StepState::undone;
  if (state != core::OpState::done) op.error = "the test said so";
  if (state == core::OpState::needs_operator) op.todo = "nothing, it is a test";
  it->second.revision = changed("operation.changed", id, op.project);
  view_.progress.erase(id);
  apply_end(op);
  return true;
}

void FakeCell::progress(const std::string& id, int percent) {
  auto& p = view_.progress[id];
  p.step = "live-migrate";
  p.percent = percent;
  p.text = "copying memory";
  const auto it = view_.operations.find(id);
  changed("operation.progress", id, it == view_.operations.end() ? "" : it->second.value.project);
}

asio::awaitable<Result<std::vector<core::AuditRecord>>> FakeCell::audit(std::int64_t from, std::size_t limit) {
  if (!view_.synced) co_return fail(Errc::unavailable, "etcd is not reached; ask another host");
  std::vector<core::AuditRecord> out;
  for (const auto& r : audit_) {
    if (r.sequence >= from && out.size() < limit) out.push_back(r);
  }
  co_return out;
}

asio::awaitable<Result<std::vector<core::SignedHead>>> FakeCell::audit_heads() {
  if (!view_.synced) co_return fail(Errc::unavailable, "etcd is not reached; ask another host");
  co_return heads;
}

Result<std::vector<api::Event>> FakeCell::events_after(core::Revision after, std::size_t limit) {
  if (after < forgotten_) return fail(Errc::stale, "events that old are not kept; list again");
  std::vector<api::Event> out;
  for (const auto& e : events_) {
    if (e.revision > after && out.size() < limit) out.push_back(e);
  }
  return out;
}

asio::awaitable<Result<>> FakeCell::wait_event(core::Revision after, std::int64_t timeout_ms) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  while (events_.empty() || events_.back().revision <= after) {
    if (std::chrono::steady_clock::now() >= deadline) co_return fail(Errc::timeout, "no event in that time");
    co_await news_.wait(news_.count(), deadline);
  }
  co_return Result<>{};
}

Result<std::string> FakeCell::image_upload_path(const std::string& name, std::uint64_t bytes) {
  if (auto ok = core::check_name("name", name); !ok) return ok.error();
  if (name == "no-room" || bytes > 64 * kMib) return fail(Errc::exhausted, "the image folder may hold 64 MiB");
  return fmt::format("{}/{}.{}.part", folder_, name, ++uploads_);
}

asio::awaitable<Result<api::Submitted>> FakeCell::import_image(core::Caller caller, std::string name,
                                                               std::string temporary, std::string reason,
                                                               std::string idempotency_key) {
  std::ifstream in(temporary, std::ios::binary);
  std::array<char, 65536> piece{};
  std::uint64_t bytes = 0;
  std::uint64_t sum = 0;  // stands for the hash
  bool vmdk = false;
  while (in.read(piece.data(), piece.size()), in.gcount() > 0) {
    const std::string_view part(piece.data(), static_cast<std::size_t>(in.gcount()));
    vmdk = vmdk || (bytes == 0 && part.starts_with("VMDK"));
    bytes += part.size();
    for (const char c : part) sum = sum * 31 + static_cast<unsigned char>(c);
  }
  std::filesystem::remove(temporary);
  if (vmdk) co_return fail(Errc::invalid, "the image is 'vmdk'; only raw and qcow2 are imported");
  core::Request request;
  request.verb = core::ImportImage{{name, bytes, fmt::format("{:064x}", sum), "a1"}};
  request.caller = std::move(caller);
  request.reason = std::move(reason);
  request.idempotency_key = std::move(idempotency_key);
  auto task = submit(std::move(request));
  co_return co_await std::move(task);
}

}  // namespace bascule::test
