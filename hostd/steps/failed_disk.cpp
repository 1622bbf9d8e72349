// The way out where the only leg a VM has left has lost its disk (R5): a person says that it is used all the same.
#include <fmt/format.h>

#include <boost/algorithm/string.hpp>

#include <algorithm>

#include "hostd/steps/step.hpp"

namespace bascule::steps {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;
using runtime::Clock;

namespace {

constexpr std::chrono::seconds kNegotiates{10};  // with a connected peer DRBD first finds out which leg is newer
constexpr std::chrono::milliseconds kLook{200};
constexpr const char* kLegs = "failed_legs";  // in the operation's result, for its undo

struct Failed {
  std::uint16_t index{};
  std::string volume, leg;
};

/// Nobody could be started from another leg instead, nor does the guest work on one.
Result<> only_leg(const std::string& self, const core::Right& right, const std::string& volume, const Look& seen,
                  const storage::VolumeState& state) {
  const auto listed = right.insync.find(volume);
  if (listed == right.insync.end() || listed->second.size() != 1 || listed->second.front().host != self) {
    return fail(Errc::conflict, "the record does not list the leg of volume " + volume + " on " + self +
                                    " alone: it is resynced from the other one; nothing was changed");
  }
  // As Secondary the two legs compare their generations when they meet; a guest that runs on the other one has the
  // record changed over to it.
  if (seen.connected() && seen.state.role == storage::Role::primary && state.peer_disk == storage::Disk::up_to_date) {
    return fail(Errc::conflict, "the guest works on the other leg of volume " + volume +
                                    ", which is UpToDate: the record changes over to it by itself; nothing was "
                                    "changed");
  }
  return {};
}

Result<std::vector<Failed>> failed_volumes(const Node& node, const std::string& vm, const core::VmView& view,
                                           const Look& seen) {
  std::vector<Failed> out;
  const auto& layout = view.layout.value;
  for (std::size_t i = 0; i < layout.volumes.size(); ++i) {
    const auto index = static_cast<std::uint16_t>(i);
    const auto state = seen.state.volumes.find(index);
    const auto* leg = core::leg_of(layout.volumes[i], node.self());
    if (leg == nullptr) continue;
    if (state == seen.state.volumes.end()) return fail(Errc::unavailable, "the legs are not up yet");
    const bool noted = core::leg_noted(node.notes.notes(), vm, layout, i, node.self());
    if (!noted && state->second.disk != storage::Disk::diskless) continue;
    auto ok = only_leg(node.self(), view.right.value, layout.volumes[i].name, seen, state->second);
    if (!ok) return ok.error();
    out.push_back({index, layout.volumes[i].name, leg->id});
  }
  return out;
}

bool negotiating(const Look& seen, const std::vector<Failed>& failed) {
  return std::ranges::any_of(failed, [&](const Failed& f) {
    const auto it = seen.state.volumes.find(f.index);
    return it != seen.state.volumes.end() &&
           (it->second.disk == storage::Disk::attaching || it->second.disk == storage::Disk::negotiating);
  });
}

/// They are there, whole by DRBD's own account, and a guest that waited for one does not any more.
Result<> whole_now(const Node& node, const Look& seen, const std::vector<Failed>& failed) {
  for (const auto& f : failed) {
    const auto it = seen.state.volumes.find(f.index);
    const auto disk = it == seen.state.volumes.end() ? storage::Disk::unknown : it->second.disk;
    if (disk == storage::Disk::up_to_date || disk == storage::Disk::consistent) continue;
    return fail(Errc::refused, fmt::format("the disk of volume {} on {} is {} now: it is not used, and counts as "
                                           "failed as before",
                                           f.volume, node.self(), storage::to_string(disk)));
  }
  if (seen.state.suspended_no_data) {
    return fail(Errc::refused, "the guest's I/O still stands still (" + seen.describe() +
                                   "): bring the other leg back, or restart this host and say it again");
  }
  return {};
}

Result<> note(Node& node, const std::string& vm, const std::vector<std::string>& legs, bool failed) {
  Result<> all{};
  for (const auto& leg : legs) {
    auto kept = node.notes.keep(core::leg_failed(node.notes.notes(), vm, leg, failed));
    if (!kept) all = kept;
  }
  return all;
}

/// Attaches them and takes their notes back. The ids of the legs; none: nothing had failed.
asio::awaitable<Result<std::vector<std::string>>> use(Node& node, std::string vm, std::string who) {
  // safety: R6. Not on a record of the past. [model: R6_distrust]
  if (auto ok = trusted(node, vm); !ok) co_return ok.error();
  auto seen = co_await look(node, vm);
  if (!seen) co_return seen.error();
  const auto* view = node.cell.view().vm(vm);
  if (view == nullptr) co_return fail(Errc::not_found, "VM " + vm + " is gone");
  auto failed = failed_volumes(node, vm, *view, *seen);
  if (!failed) co_return failed.error();
  if (failed->empty()) co_return std::vector<std::string>{};
  // What the kernel's helper wrote down, under the legs' names: what it writes from now on is another failure.
  const auto layout = view->layout.value;
  const auto right = view->right;  // as it was decided on: the view may be another after a wait
  auto named = node.notes.keep(core::legs_named(node.notes.notes(), vm, layout, node.self()));
  if (named) named = node.notes.drop_lost_disks(vm);
  if (!named) co_return named.error();
  auto resource = co_await resolved_resource(node, vm);
  if (!resource) co_return resource.error();
  // safety: R1, S7. A guest that stands still goes on by the attach: the record was this host's a moment ago, and says
  // who let it. [model: R4_resume]
  auto told = co_await node.cell.commit_right(vm, right.value, right.revision,
                                              "a leg whose disk has failed is used again, by the word of " + who,
                                              runtime::wall_ms());
  if (!told) co_return told.error();
  // safety: R5, S2. An operator has signed for it (Planner); the record, just committed, lists these legs alone, so no
  // other host could be started instead; where the guest still stands here, DRBD refuses a disk that lacks what another
  // leg has confirmed since (it compares the data generation that the device last showed). [model: R5_noted]
  auto up = co_await node.drbd.up_standalone(*resource);
  if (!up) co_return up.error();
  const auto until = Clock::now() + kNegotiates;
  seen = co_await look(node, vm);
  while (seen && negotiating(*seen, *failed) && Clock::now() < until) {
    co_await pause(kLook);
    seen = co_await look(node, vm);
  }
  if (!seen) co_return seen.error();
  if (auto ok = whole_now(node, *seen, *failed); !ok) co_return ok.error();
  // Not suspended since DRBD was asked. A hostd that is killed before this leaves them noted, and the step runs again.
  std::vector<std::string> legs;
  for (const auto& f : *failed) legs.push_back(f.leg);
  auto kept = note(node, vm, legs, false);
  if (!kept) {
    static_cast<void>(note(node, vm, legs, true));
    co_return kept.error();
  }
  co_return legs;
}

}  // namespace

Answer use_failed_disks(Context c) {
  auto used = co_await use(c.node, c.op.vm, c.op.author.name);
  if (!used) co_return used.error();
  core::Outcome out = done(used->empty() ? "no disk had failed" : "goes on from a disk that had failed");
  if (!used->empty()) out.result[kLegs] = boost::algorithm::join(*used, " ");
  co_return out;
}

Answer undo_use_failed_disks(Context c) {
  const auto legs = c.op.result.find(kLegs);
  if (legs == c.op.result.end()) co_return done();
  auto here = co_await c.node.vms.observe(c.op.vm);
  if (!here) co_return here.error();
  if (here->state != core::DomainState::absent) {
    co_return done("its guest goes on from the disk that had failed: that is not taken back");
  }
  std::vector<std::string> ids;
  boost::algorithm::split(ids, legs->second, [](char at) { return at == ' '; });
  auto kept = note(c.node, c.op.vm, ids, true);
  if (!kept) co_return kept.error();
  co_return done("the disk counts as failed again");
}

}  // namespace bascule::steps
