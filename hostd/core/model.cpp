#include "hostd/core/model.hpp"

#include <array>

#include "hostd/core/words.hpp"

namespace bascule::core {
namespace {

constexpr std::array kSite{Word<Site>{Site::a, "A"}, Word<Site>{Site::b, "B"}};
constexpr std::array kPower{Word<Power>{Power::off, "off"}, Word<Power>{Power::on, "on"}};
constexpr std::array kProtection{Word<Protection>{Protection::ha, "ha"}, Word<Protection>{Protection::mirror, "mirror"},
                                 Word<Protection>{Protection::backup, "backup"},
                                 Word<Protection>{Protection::none, "none"}};
constexpr std::array kDomain{
    Word<DomainState>{DomainState::absent, "absent"},   Word<DomainState>{DomainState::running, "running"},
    Word<DomainState>{DomainState::paused, "paused"},   Word<DomainState>{DomainState::shutting_down, "shutting-down"},
    Word<DomainState>{DomainState::crashed, "crashed"}, Word<DomainState>{DomainState::unknown, "unknown"},
};
constexpr std::array kOpKind{
    Word<OpKind>{OpKind::vm_create, "vm-create"},
    Word<OpKind>{OpKind::vm_update, "vm-update"},
    Word<OpKind>{OpKind::vm_start, "vm-start"},
    Word<OpKind>{OpKind::vm_shutdown, "vm-shutdown"},
    Word<OpKind>{OpKind::vm_power_off, "vm-power-off"},
    Word<OpKind>{OpKind::vm_reset, "vm-reset"},
    Word<OpKind>{OpKind::vm_migrate, "vm-migrate"},
    Word<OpKind>{OpKind::vm_remove, "vm-remove"},
    Word<OpKind>{OpKind::volume_grow, "volume-grow"},
    Word<OpKind>{OpKind::volume_verify, "volume-verify"},
    Word<OpKind>{OpKind::volume_repair, "volume-repair"},
    Word<OpKind>{OpKind::vm_adopt, "vm-adopt"},
    Word<OpKind>{OpKind::vm_copy, "vm-copy"},
    Word<OpKind>{OpKind::watchdog_prove, "watchdog-prove"},
    Word<OpKind>{OpKind::image_import, "image-import"},
    Word<OpKind>{OpKind::image_remove, "image-remove"},
    Word<OpKind>{OpKind::vm_failover, "vm-failover"},
    Word<OpKind>{OpKind::vm_restart, "vm-restart"},
    Word<OpKind>{OpKind::vm_failback, "vm-failback"},
    Word<OpKind>{OpKind::host_maintenance, "host-maintenance"},
    Word<OpKind>{OpKind::ha_disarm, "ha-disarm"},
    Word<OpKind>{OpKind::ha_arm, "ha-arm"},
};
constexpr std::array kOpState{
    Word<OpState>{OpState::running, "running"},
    Word<OpState>{OpState::undoing, "undoing"},
    Word<OpState>{OpState::done, "done"},
    Word<OpState>{OpState::undone, "undone"},
    Word<OpState>{OpState::needs_operator, "needs-operator"},
};
constexpr std::array kStepKind{
    Word<StepKind>{StepKind::make_leg, "make-leg"},
    Word<StepKind>{StepKind::connect, "connect"},
    Word<StepKind>{StepKind::skip_first_sync, "skip-first-sync"},
    Word<StepKind>{StepKind::grant, "grant"},
    Word<StepKind>{StepKind::join_peer, "join-peer"},
    Word<StepKind>{StepKind::fill, "fill"},
    Word<StepKind>{StepKind::hand_over, "hand-over"},
    Word<StepKind>{StepKind::admit_start, "admit-start"},
    Word<StepKind>{StepKind::take_right, "take-right"},
    Word<StepKind>{StepKind::promote, "promote"},
    Word<StepKind>{StepKind::start_domain, "start-domain"},
    Word<StepKind>{StepKind::shutdown, "shutdown"},
    Word<StepKind>{StepKind::destroy, "destroy"},
    Word<StepKind>{StepKind::reset, "reset"},
    Word<StepKind>{StepKind::demote, "demote"},
    Word<StepKind>{StepKind::admit_migration, "admit-migration"},
    Word<StepKind>{StepKind::mark_migration, "mark-migration"},
    Word<StepKind>{StepKind::prepare_target, "prepare-target"},
    Word<StepKind>{StepKind::open_window, "open-window"},
    Word<StepKind>{StepKind::promote_target, "promote-target"},
    Word<StepKind>{StepKind::live_migrate, "live-migrate"},
    Word<StepKind>{StepKind::resume_target, "resume-target"},
    Word<StepKind>{StepKind::demote_source, "demote-source"},
    Word<StepKind>{StepKind::close_window, "close-window"},
    Word<StepKind>{StepKind::confirm, "confirm"},
    Word<StepKind>{StepKind::grow_leg, "grow-leg"},
    Word<StepKind>{StepKind::resize_drbd, "resize-drbd"},
    Word<StepKind>{StepKind::resize_guest_disk, "resize-guest-disk"},
    Word<StepKind>{StepKind::record_size, "record-size"},
    Word<StepKind>{StepKind::verify, "verify"},
    Word<StepKind>{StepKind::seed_leg, "seed-leg"},
    Word<StepKind>{StepKind::snapshot_leg, "snapshot-leg"},
    Word<StepKind>{StepKind::await_sync, "await-sync"},
    Word<StepKind>{StepKind::cut_link, "cut-link"},
    Word<StepKind>{StepKind::compare_legs, "compare-legs"},
    Word<StepKind>{StepKind::await_approval, "await-approval"},
    Word<StepKind>{StepKind::discard_leg, "discard-leg"},
    Word<StepKind>{StepKind::survey_legs, "survey-legs"},
    Word<StepKind>{StepKind::confirm_legs, "confirm-legs"},
    Word<StepKind>{StepKind::adopt_right, "adopt-right"},
    Word<StepKind>{StepKind::prove_watchdog, "prove-watchdog"},
    Word<StepKind>{StepKind::drop_right, "drop-right"},
    Word<StepKind>{StepKind::remove_leg, "remove-leg"},
    Word<StepKind>{StepKind::remove_image, "remove-image"},
};
constexpr std::array kStepState{
    Word<StepState>{StepState::pending, "pending"},
    Word<StepState>{StepState::done, "done"},
    Word<StepState>{StepState::failed, "failed"},
    Word<StepState>{StepState::undone, "undone"},
};

}  // namespace

std::string care_of(const Operation& op) {
  if (op.kind == OpKind::vm_copy || proves_other_host(op.kind)) return std::string(to_string(op.kind));
  if (op.kind == OpKind::volume_verify) return std::string(to_string(op.kind)) + '.' + op.object;
  return {};
}

bool io_stands_still(std::string_view suspended) { return !suspended.empty() && suspended != "no"; }

bool is_move(OpKind kind) { return kind == OpKind::vm_migrate || kind == OpKind::vm_failback; }

bool proves_other_host(OpKind kind) { return is_move(kind) || kind == OpKind::vm_failover; }

std::string_view to_string(Site v) { return word<Site>(kSite, v); }
std::string_view to_string(Power v) { return word<Power>(kPower, v); }
std::string_view to_string(Protection v) { return word<Protection>(kProtection, v); }
std::string_view to_string(DomainState v) { return word<DomainState>(kDomain, v); }
std::string_view to_string(OpKind v) { return word<OpKind>(kOpKind, v); }
std::string_view to_string(OpState v) { return word<OpState>(kOpState, v); }
std::string_view to_string(StepKind v) { return word<StepKind>(kStepKind, v); }
std::string_view to_string(StepState v) { return word<StepState>(kStepState, v); }
std::optional<Site> parse_site(std::string_view s) { return value<Site>(kSite, s); }
std::optional<Power> parse_power(std::string_view s) { return value<Power>(kPower, s); }
std::optional<Protection> parse_protection(std::string_view s) { return value<Protection>(kProtection, s); }
std::optional<DomainState> parse_domain_state(std::string_view s) { return value<DomainState>(kDomain, s); }
std::optional<OpKind> parse_op_kind(std::string_view s) { return value<OpKind>(kOpKind, s); }
std::optional<OpState> parse_op_state(std::string_view s) { return value<OpState>(kOpState, s); }
std::optional<StepKind> parse_step_kind(std::string_view s) { return value<StepKind>(kStepKind, s); }
std::optional<StepState> parse_step_state(std::string_view s) { return value<StepState>(kStepState, s); }

}  // namespace bascule::core
