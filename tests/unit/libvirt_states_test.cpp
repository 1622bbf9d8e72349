#include "hostd/runtime/libvirt/states.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace bascule::runtime::libvirt {
namespace {
using core::DomainReason;
using core::DomainState;
using Job = core::MigrationStats::Job;

class Params {
 public:
  void number(const char* field, unsigned long long value) {  // NOLINT(google-runtime-int): libvirt's type
    add(field, VIR_TYPED_PARAM_ULLONG).value.ul = value;
  }
  void integer(const char* field, int value) { add(field, VIR_TYPED_PARAM_INT).value.i = value; }
  void boolean(const char* field, bool value) { add(field, VIR_TYPED_PARAM_BOOLEAN).value.b = value ? 1 : 0; }
  void text(const char* field, char* value) { add(field, VIR_TYPED_PARAM_STRING).value.s = value; }
  Stats read(int type) const { return stats_of(list_.data(), static_cast<int>(list_.size()), type); }

 private:
  virTypedParameter& add(const char* field, int type) {
    virTypedParameter param{};
    std::strncpy(param.field, field, VIR_TYPED_PARAM_FIELD_LENGTH - 1);
    param.type = type;
    list_.push_back(param);
    return list_.back();
  }
  std::vector<virTypedParameter> list_;
};

TEST(StateOf, TellsAnArrivedGuestFromOneOnItsWay) {
  const auto arrived = state_of(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER);
  EXPECT_EQ(arrived.state, DomainState::paused);
  EXPECT_EQ(arrived.reason, DomainReason::user);
  EXPECT_EQ(state_of(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION).reason, DomainReason::migrating);
  EXPECT_EQ(state_of(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_IOERROR).reason, DomainReason::io_error);
  EXPECT_EQ(state_of(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_POSTCOPY_FAILED).reason, DomainReason::unresumable);
  EXPECT_EQ(state_of(VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_MIGRATION_CANCELED).reason,
            DomainReason::migration_cancelled);
}

TEST(StateOf, NeverTakesANumberItDoesNotKnowForRunningOrAbsent) {
  for (const int state : {static_cast<int>(VIR_DOMAIN_NOSTATE), static_cast<int>(VIR_DOMAIN_PMSUSPENDED), 99, -1}) {
    EXPECT_EQ(state_of(state, 0).state, DomainState::unknown) << state;
  }
  EXPECT_EQ(state_of_event(99, 0)->state, DomainState::unknown);
}

TEST(StateOfEvent, AGuestBeingReceivedDoesNotRun) {
  const auto seen = state_of_event(VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_MIGRATED);
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->state, DomainState::paused);
  EXPECT_EQ(seen->reason, DomainReason::migrating);
  EXPECT_EQ(state_of_event(VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED)->state, DomainState::running);
}

TEST(StateOfEvent, SaysWhyAGuestEnded) {
  const auto reason = [](int detail) { return state_of_event(VIR_DOMAIN_EVENT_STOPPED, detail)->reason; };
  EXPECT_EQ(reason(VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN), DomainReason::guest_shutdown);
  EXPECT_EQ(reason(VIR_DOMAIN_EVENT_STOPPED_DESTROYED), DomainReason::destroyed);
  EXPECT_EQ(reason(VIR_DOMAIN_EVENT_STOPPED_MIGRATED), DomainReason::migrated);
  EXPECT_EQ(reason(VIR_DOMAIN_EVENT_STOPPED_FAILED), DomainReason::failed);
  EXPECT_FALSE(state_of_event(VIR_DOMAIN_EVENT_DEFINED, 0));
  EXPECT_FALSE(state_of_event(VIR_DOMAIN_EVENT_UNDEFINED, 0));
}

TEST(StatsOf, ReadsAMigrationAndItsUnits) {
  Params params;
  params.integer(VIR_DOMAIN_JOB_OPERATION, VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT);
  params.number(VIR_DOMAIN_JOB_TIME_ELAPSED, 1500);
  params.number(VIR_DOMAIN_JOB_DOWNTIME, 300);
  params.number(VIR_DOMAIN_JOB_MEMORY_TOTAL, 1 << 20);
  params.number(VIR_DOMAIN_JOB_MEMORY_REMAINING, 4096);
  params.number(VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE, 25);
  params.number(VIR_DOMAIN_JOB_MEMORY_ITERATION, 3);
  params.integer(VIR_DOMAIN_JOB_AUTO_CONVERGE_THROTTLE, 30);
  params.number("something-new", 7);
  const auto stats = params.read(VIR_DOMAIN_JOB_UNBOUNDED);
  EXPECT_TRUE(stats.migration);
  EXPECT_EQ(stats.values.job, Job::running);
  EXPECT_EQ(stats.values.elapsed_ms, 1500U);
  EXPECT_EQ(stats.values.downtime_ms, 300U);
  EXPECT_EQ(stats.values.memory_total, 1U << 20U);
  EXPECT_EQ(stats.values.memory_remaining, 4096U);
  EXPECT_EQ(stats.values.dirty_pages_per_s, 25U);
  EXPECT_EQ(stats.values.iteration, 3U);
  EXPECT_EQ(stats.values.throttle_percent, 30U);
}

TEST(StatsOf, OtherJobsAreNotMigrations) {
  Params params;
  params.integer(VIR_DOMAIN_JOB_OPERATION, VIR_DOMAIN_JOB_OPERATION_DUMP);
  EXPECT_FALSE(params.read(VIR_DOMAIN_JOB_UNBOUNDED).migration);
  EXPECT_FALSE(Params{}.read(VIR_DOMAIN_JOB_NONE).migration);
}

TEST(StatsOf, ACompletedJobWithoutSuccessFailedOrWasGivenUp) {
  char words[] = "no route to host";
  Params failed;
  failed.boolean(VIR_DOMAIN_JOB_SUCCESS, false);
  failed.text(VIR_DOMAIN_JOB_ERRMSG, words);
  EXPECT_EQ(failed.read(VIR_DOMAIN_JOB_COMPLETED).values.job, Job::failed);
  EXPECT_EQ(failed.read(VIR_DOMAIN_JOB_COMPLETED).values.error, words);
  Params given_up;
  given_up.boolean(VIR_DOMAIN_JOB_SUCCESS, false);
  EXPECT_EQ(given_up.read(VIR_DOMAIN_JOB_COMPLETED).values.job, Job::cancelled);
  Params done;
  done.boolean(VIR_DOMAIN_JOB_SUCCESS, true);
  EXPECT_EQ(done.read(VIR_DOMAIN_JOB_COMPLETED).values.job, Job::completed);
}

}  // namespace
}  // namespace bascule::runtime::libvirt
