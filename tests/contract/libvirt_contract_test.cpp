// The contract of VmHost, on the fake and on libvirtd with QEMU. One rig per kind for the whole run: a daemon takes
// seconds to start. Each test leaves no VM behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "tests/contract/libvirt_rig.hpp"

namespace bascule::test {
namespace {
using core::DomainEvent;
using core::DomainReason;
using core::DomainState;
using core::Errc;
using std::chrono::seconds;
using Job = core::MigrationStats::Job;
using ::testing::HasSubstr;

struct Kind {
  const char* name;
  std::unique_ptr<Rig> rig;
  std::string why_not;
};
Kind& fake_kind() {
  static Kind kind{"fake", nullptr, ""};
  return kind;
}
Kind& real_kind() {
  static Kind kind{"real", nullptr, ""};
  return kind;
}

class Rigs : public ::testing::Environment {
 public:
  void SetUp() override {
    fake_kind().rig = make_fake_rig();
    real_kind().rig = make_real_rig(real_kind().why_not);
    if (!real_kind().rig) std::cout << "SKIPPED on libvirt: " << real_kind().why_not << "\n";
  }
  void TearDown() override {
    fake_kind().rig.reset();
    real_kind().rig.reset();
  }
};
const auto* const rigs = ::testing::AddGlobalTestEnvironment(new Rigs);

class VmHost : public ::testing::TestWithParam<Kind& (*)()> {
 protected:
  void SetUp() override {
    kind_ = &GetParam()();
    // With BASCULE_REQUIRE_LIBVIRT the real one must run: a skip would hide that nothing was tested.
    if (!kind_->rig && std::getenv("BASCULE_REQUIRE_LIBVIRT") != nullptr) FAIL() << kind_->why_not;
    if (!kind_->rig) GTEST_SKIP() << kind_->why_not;
    rig().events_a.clear();
    rig().events_b.clear();
  }
  void TearDown() override {
    if (!kind_->rig) return;
    for (const char* name : {"vm1", "vm2", "shared"}) {
      EXPECT_TRUE(rig().get(rig().a().force_off(name)));
      EXPECT_TRUE(rig().get(rig().b().force_off(name)));
    }
  }
  Rig& rig() const { return *kind_->rig; }
  static core::StartProof proof(const std::string& vm, const std::string& host = "a1") {
    return core::StartProof{{vm, host, 1, 10}};
  }
  static core::ResumeProof resume_proof(const std::string& vm, const std::string& host) {
    return core::ResumeProof{{vm, host, 2, 20}};
  }
  void start(const std::string& name, Guest guest = Guest::deaf) const {
    const auto done = rig().get(rig().a().start(rig().spec(name, guest), proof(name)));
    ASSERT_TRUE(done) << done.error().what;
  }
  DomainState state_on_a(const std::string& name) const { return rig().get(rig().a().observe(name))->state; }
  DomainState state_on_b(const std::string& name) const { return rig().get(rig().b().observe(name))->state; }
  static bool saw(const std::vector<DomainEvent>& events, const std::string& name, DomainState state,
                  std::optional<DomainReason> reason = {}) {
    return std::ranges::any_of(events, [&](const DomainEvent& e) {
      return e.kind == DomainEvent::Kind::changed && e.info.name == name && e.info.state == state &&
             (!reason || e.info.reason == *reason);
    });
  }
  static std::string seen(const std::vector<DomainEvent>& events) {
    std::string out;
    for (const auto& e : events) {
      out += std::string(to_string(e.kind)) + " " + e.info.name + " " + std::string(to_string(e.info.state)) + " (" +
             std::string(to_string(e.info.reason)) + "); ";
    }
    return out;
  }
  core::MigrationParams params() const {
    core::MigrationParams out;
    out.target_address = rig().migration_address();
    return out;
  }
  Kind* kind_{};
};

TEST_P(VmHost, StartsAVmAndListsIt) {
  start("vm1");
  const auto info = rig().get(rig().a().observe("vm1"));
  ASSERT_TRUE(info);
  EXPECT_EQ(info->state, DomainState::running);
  EXPECT_EQ(info->reason, DomainReason::started);
  EXPECT_EQ(info->uuid, core::domain_uuid("test", "vm1"));
  const auto all = rig().get(rig().a().list());
  ASSERT_TRUE(all);
  EXPECT_THAT(*all, ::testing::ElementsAre(*info));
  EXPECT_TRUE(rig().advances("vm1"));
  EXPECT_TRUE(rig().until([&] { return saw(rig().events_a, "vm1", DomainState::running, DomainReason::started); }));
}

TEST_P(VmHost, RefusesASecondStartAndLeavesTheFirstAlone) {
  start("vm1");
  const auto process = rig().process_of("vm1");
  const auto again = rig().get(rig().a().start(rig().spec("vm1", Guest::deaf), proof("vm1")));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::conflict) << again.error().what;
  EXPECT_EQ(rig().process_of("vm1"), process);
  EXPECT_TRUE(rig().advances("vm1"));
}

TEST_P(VmHost, StartsNothingWithoutAProofForThisVmAndHost) {
  for (const auto& bad : {proof("vm1", "b1"), proof("vm2", "a1"), core::StartProof{{"vm1", "a1", 1, 0}},
                          core::StartProof{{"vm1", "a1", 0, 10}}}) {
    const auto done = rig().get(rig().a().start(rig().spec("vm1", Guest::deaf), bad));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Errc::internal);
  }
  EXPECT_EQ(state_on_a("vm1"), DomainState::absent);
}

TEST_P(VmHost, SaysWhichDiskCouldNotBeOpenedAndLeavesNothing) {
  auto spec = rig().spec("vm1", Guest::deaf);
  spec.disks[0].device = rig().missing_disk();
  const auto done = rig().get(rig().a().start(spec, proof("vm1")));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::refused);
  EXPECT_THAT(done.error().what, HasSubstr(rig().missing_disk()));
  EXPECT_EQ(state_on_a("vm1"), DomainState::absent);
}

TEST_P(VmHost, RefusesASpecOutOfLimits) {
  auto spec = rig().spec("vm1", Guest::deaf);
  spec.cpus = 0;
  EXPECT_EQ(rig().get(rig().a().start(spec, proof("vm1"))).error().code, Errc::invalid);
}

TEST_P(VmHost, AnswersAbsentForAVmThatIsNotHere) {
  const auto info = rig().get(rig().a().observe("vm1"));
  ASSERT_TRUE(info) << info.error().what;
  EXPECT_EQ(info->state, DomainState::absent);
  for (auto* call :
       {+[](Rig& r) { return r.get(r.a().reset("vm1")); }, +[](Rig& r) { return r.get(r.a().request_shutdown("vm1")); },
        +[](Rig& r) { return r.get(r.a().abort_migration("vm1")); },
        +[](Rig& r) { return r.get(r.a().block_resize("vm1", 0, 8 << 20)); },
        +[](Rig& r) { return r.get(r.a().set_max_downtime("vm1", 300)); }}) {
    const auto done = call(rig());
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Errc::not_found) << done.error().what;
  }
}

TEST_P(VmHost, AGuestThatSaysItHasPanickedIsEnded) {
  start("vm1", Guest::panics);
  EXPECT_TRUE(rig().until([&] { return saw(rig().events_a, "vm1", DomainState::absent, DomainReason::failed); }))
      << seen(rig().events_a);
  EXPECT_EQ(state_on_a("vm1"), DomainState::absent);
}

TEST_P(VmHost, AGuestThatIgnoresThePowerButtonRunsOn) {
  start("vm1", Guest::deaf);
  ASSERT_TRUE(rig().advances("vm1"));
  ASSERT_TRUE(rig().get(rig().a().request_shutdown("vm1")));
  EXPECT_FALSE(rig().until([&] { return saw(rig().events_a, "vm1", DomainState::absent); }, seconds(2)));
  EXPECT_EQ(state_on_a("vm1"), DomainState::running);
}

TEST_P(VmHost, AGuestThatObeysThePowerButtonEndsAndSaysSo) {
  start("vm1", Guest::obedient);
  ASSERT_TRUE(rig().advances("vm1"));
  ASSERT_TRUE(rig().get(rig().a().request_shutdown("vm1")));
  EXPECT_TRUE(
      rig().until([&] { return saw(rig().events_a, "vm1", DomainState::absent, DomainReason::guest_shutdown); }));
  EXPECT_EQ(state_on_a("vm1"), DomainState::absent);
}

TEST_P(VmHost, ForceOffEndsAVmAndMayBeRepeated) {
  start("vm1");
  ASSERT_TRUE(rig().get(rig().a().force_off("vm1")));
  EXPECT_EQ(state_on_a("vm1"), DomainState::absent);
  EXPECT_EQ(rig().process_of("vm1"), "");
  EXPECT_TRUE(rig().until([&] { return saw(rig().events_a, "vm1", DomainState::absent, DomainReason::destroyed); }));
  EXPECT_TRUE(rig().get(rig().a().force_off("vm1")));
}

TEST_P(VmHost, ResetLeavesTheVmRunning) {
  start("vm1");
  ASSERT_TRUE(rig().advances("vm1"));
  const auto process = rig().process_of("vm1");
  ASSERT_TRUE(rig().get(rig().a().reset("vm1")));
  EXPECT_EQ(rig().process_of("vm1"), process);
  EXPECT_TRUE(rig().advances("vm1"));
}

TEST_P(VmHost, ResumeOfARunningVmIsNothingAndNeedsAProof) {
  start("vm1");
  EXPECT_TRUE(rig().get(rig().a().resume("vm1", resume_proof("vm1", "a1"))));
  EXPECT_EQ(rig().get(rig().a().resume("vm1", resume_proof("vm1", "b1"))).error().code, Errc::internal);
}

TEST_P(VmHost, TellsAGuestThatItsDiskHasGrownAndNeverShrinksOne) {
  start("vm1");
  EXPECT_TRUE(rig().get(rig().a().block_resize("vm1", 0, 16 << 20)));
  const auto shrunk = rig().get(rig().a().block_resize("vm1", 0, 4 << 20));
  ASSERT_FALSE(shrunk);
  EXPECT_EQ(shrunk.error().code, Errc::invalid) << shrunk.error().what;
  EXPECT_EQ(rig().get(rig().a().block_resize("vm1", 7, 16 << 20)).error().code, Errc::refused);
  EXPECT_EQ(state_on_a("vm1"), DomainState::running);
}

TEST_P(VmHost, ReportsTheMachine) {
  const auto host = rig().get(rig().a().capacity());
  ASSERT_TRUE(host);
  EXPECT_GT(host->memory_mib, 100U);
  EXPECT_GT(host->free_memory_mib, 10U);
  EXPECT_GT(host->cpus, 0U);
  EXPECT_THAT(host->libvirt_version, ::testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
  EXPECT_THAT(host->qemu_version, ::testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
}

TEST_P(VmHost, AbortingWhereNothingMigratesIsAConflict) {
  start("vm1");
  EXPECT_EQ(rig().get(rig().a().abort_migration("vm1")).error().code, Errc::conflict);
  EXPECT_EQ(rig().get(rig().a().migration_progress("vm1"))->job, Job::none);
  EXPECT_EQ(state_on_a("vm1"), DomainState::running);
}

TEST_P(VmHost, ALostDaemonIsReportedAndTheVmIsFoundAgainUnharmed) {
  start("vm1");
  const auto process = rig().process_of("vm1");
  rig().kill_daemon_a();
  const auto event = [&](DomainEvent::Kind kind) {
    return std::ranges::find(rig().events_a, kind, &DomainEvent::kind) != rig().events_a.end();
  };
  ASSERT_TRUE(rig().until([&] { return event(DomainEvent::Kind::disconnected); }));
  EXPECT_FALSE(rig().a().connected());
  EXPECT_EQ(rig().get(rig().a().observe("vm1")).error().code, Errc::unavailable);
  EXPECT_EQ(rig().get(rig().a().force_off("vm1")).error().code, Errc::unavailable);
  EXPECT_TRUE(rig().advances("vm1"));
  rig().start_daemon_a();
  ASSERT_TRUE(rig().until([&] { return event(DomainEvent::Kind::connected); }));
  EXPECT_TRUE(rig().a().connected());
  const auto connected = std::ranges::find(rig().events_a, DomainEvent::Kind::connected, &DomainEvent::kind);
  ASSERT_EQ(connected->all.size(), 1U);
  EXPECT_EQ(connected->all[0].name, "vm1");
  EXPECT_EQ(state_on_a("vm1"), DomainState::running);
  EXPECT_EQ(rig().process_of("vm1"), process);
  ASSERT_TRUE(rig().get(rig().a().force_off("vm1")));
  EXPECT_TRUE(rig().until([&] { return saw(rig().events_a, "vm1", DomainState::absent); }))
      << "events were not registered again; seen: " << seen(rig().events_a);
}

TEST_P(VmHost, AChangeWhoseAnswerIsLostHasAnUnknownOutcomeAndAReadIsUnavailable) {
  start("vm1");
  rig().freeze_daemon_a();
  const auto change = rig().begin(rig().a().reset("vm1"));
  const auto stop = rig().begin(rig().a().force_off("vm1"));
  const auto read = rig().begin(rig().a().observe("vm1"));
  rig().until([] { return false; }, std::chrono::milliseconds(300));
  EXPECT_FALSE(change->has_value());
  rig().kill_daemon_a();
  // The lookup before the change is a read: where the answer is lost decides.
  const auto is_lost = ::testing::AnyOf(Errc::outcome_unknown, Errc::unavailable);
  EXPECT_THAT(rig().finish<void>(change).error().code, is_lost);
  EXPECT_THAT(rig().finish<void>(stop).error().code, is_lost);
  EXPECT_EQ(rig().finish<core::DomainInfo>(read).error().code, Errc::unavailable);
  rig().start_daemon_a();
  ASSERT_TRUE(rig().until([&] { return rig().a().connected(); }));
}

TEST_P(VmHost, AStartWhoseAnswerIsLostHasAnUnknownOutcome) {
  auto spec = rig().spec("vm1", Guest::deaf);
  // Long enough to be told from what else is sent.
  for (int i = 2; i <= 8; ++i) spec.nics.push_back({"br-test", "52:54:00:00:00:0" + std::to_string(i)});
  rig().freeze_daemon_a();
  const auto pending = rig().begin(rig().a().start(spec, proof("vm1")));
  EXPECT_TRUE(rig().until([&] { return rig().start_was_sent("vm1"); }, seconds(15))) << "nothing reached the daemon";
  rig().kill_daemon_a();
  EXPECT_EQ(rig().finish<void>(pending).error().code, Errc::outcome_unknown);
  rig().start_daemon_a();
  ASSERT_TRUE(rig().until([&] { return rig().a().connected(); }));
}

TEST_P(VmHost, MigratesLiveAndTheGuestRunsOnlyAfterTheResume) {
  start("shared");
  ASSERT_TRUE(rig().advances("shared"));
  const auto done = rig().get(rig().a().migrate("shared", "b1", params()));
  ASSERT_TRUE(done) << done.error().what;
  EXPECT_EQ(state_on_a("shared"), DomainState::absent);
  const auto there = rig().get(rig().b().observe("shared"));
  EXPECT_EQ(there->state, DomainState::paused);
  EXPECT_EQ(there->reason, DomainReason::user);
  EXPECT_FALSE(rig().advances_within("shared", std::chrono::milliseconds(1500)))
      << "it runs before the right was handed over";
  const auto resumed = rig().get(rig().b().resume("shared", resume_proof("shared", "b1")));
  ASSERT_TRUE(resumed) << resumed.error().what;
  EXPECT_TRUE(rig().advances("shared"));
  const auto stats = rig().get(rig().b().completed_migration("shared"));
  ASSERT_TRUE(stats);
  EXPECT_EQ(stats->job, Job::completed);
  EXPECT_GT(stats->downtime_ms, 0U);
  EXPECT_TRUE(rig().until([&] { return saw(rig().events_a, "shared", DomainState::absent, DomainReason::migrated); }));
  EXPECT_TRUE(rig().until([&] { return saw(rig().events_b, "shared", DomainState::running); }));
  EXPECT_TRUE(rig().until([&] {
    return std::ranges::any_of(rig().events_a, [](const DomainEvent& e) {
      return e.kind == DomainEvent::Kind::job_completed && e.stats.job == Job::completed;
    });
  }));
}

TEST_P(VmHost, AMigrationGivenUpLeavesTheGuestRunningHere) {
  start("shared", Guest::busy);
  ASSERT_TRUE(rig().advances("shared"));
  auto slow = params();
  slow.bandwidth_mib = 1;
  slow.downtime_ms = 10;
  const auto pending = rig().begin(rig().a().migrate("shared", "b1", slow));
  ASSERT_TRUE(rig().until([&] {
    const auto stats = rig().get(rig().a().migration_progress("shared"));
    return stats && stats->job == Job::running && stats->memory_total > 0;
  }));
  const auto second = rig().get(rig().a().migrate("shared", "b1", slow));
  EXPECT_EQ(second.error().code, Errc::conflict) << second.error().what;
  EXPECT_TRUE(rig().get(rig().a().set_max_downtime("shared", 20)));
  EXPECT_TRUE(rig().get(rig().a().set_bandwidth("shared", 1)));
  EXPECT_FALSE(pending->has_value()) << "it converged: the guest is not busy enough";
  ASSERT_TRUE(rig().get(rig().a().abort_migration("shared")));
  const auto ended = rig().finish<void>(pending);
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, Errc::cancelled) << ended.error().what;
  EXPECT_EQ(state_on_a("shared"), DomainState::running);
  EXPECT_EQ(state_on_b("shared"), DomainState::absent);
  EXPECT_TRUE(rig().advances("shared"));
}

TEST_P(VmHost, AMigrationToAHostThatIsNotThereLeavesTheGuestRunningHere) {
  start("shared");
  const auto done = rig().get(rig().a().migrate("shared", "c1", params()));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::refused) << done.error().what;
  EXPECT_EQ(state_on_a("shared"), DomainState::running);
  EXPECT_TRUE(rig().advances("shared"));
}

TEST_P(VmHost, AMigrationToAHostWhoseCertificateNamesAnotherIsRefused) {
  start("shared");
  const auto done = rig().get(rig().a().migrate("shared", rig().impostor(), params()));
  ASSERT_FALSE(done) << "the memory of a guest went to a host that did not prove its name";
  EXPECT_EQ(done.error().code, Errc::refused) << done.error().what;
  EXPECT_EQ(state_on_a("shared"), DomainState::running);
  EXPECT_EQ(state_on_b("shared"), DomainState::absent);
  EXPECT_TRUE(rig().advances("shared"));
}

TEST_P(VmHost, RefusesMigrationParametersThatAreNotAddressesOrInLimits) {
  start("vm1");
  for (auto change :
       {+[](core::MigrationParams& p) { p.target_address = "b1"; },
        +[](core::MigrationParams& p) { p.target_address = "127.0.0.1:1/x"; },
        +[](core::MigrationParams& p) { p.parallel = 1000; }, +[](core::MigrationParams& p) { p.downtime_ms = 0; }}) {
    auto bad = params();
    change(bad);
    EXPECT_EQ(rig().get(rig().a().migrate("vm1", "b1", bad)).error().code, Errc::invalid);
  }
  EXPECT_EQ(rig().get(rig().a().migrate("vm1", "b1/../x", params())).error().code, Errc::invalid);
}

INSTANTIATE_TEST_SUITE_P(, VmHost, ::testing::Values(&fake_kind, &real_kind), [](const auto& info) {
  return std::string(info.param == fake_kind ? "OnTheFake" : "OnLibvirt");
});

}  // namespace
}  // namespace bascule::test
