// The transactions of a backup file that is written back into an empty cell.
#include "transactions_fixture.hpp"

namespace bascule::testkit {
namespace {

/// A cell into which a backup file is written back.
class Restoring : public Transactions {
 protected:
  Restoring() {
    for (const auto& key : {keys::vm_spec(root_, "vm1"), keys::vm_layout(root_, "vm1"), keys::vm_right(root_, "vm1"),
                            keys::vm_status(root_, "vm1", "a1"), keys::vm_status(root_, "vm1", "b1")}) {
      kv::Txn gone;
      gone.success.emplace_back(kv::Delete{key});
      EXPECT_TRUE(store_.kv.apply_now(gone));
    }
    settle();
    step_.file = step_.head.hash = std::string(64, 'f');
    step_.head.sequence = 9;
    step_.vms = 1;
    step_.spec = core::test::spec();
    step_.spec.power = core::Power::off;
    step_.layout = core::test::layout();
    step_.restored = {3, "a1"};
  }
  core::Result<core::RestorePlan> restore(core::RestoreStep::Kind kind) {
    step_.kind = kind;
    auto step = step_;
    return run(io_, cell_.restore(std::move(step), {"olga", "operator", {}}, "etcd was lost", 1));
  }
  using Kind = core::RestoreStep::Kind;
  core::RestoreStep step_;
};

TEST_F(Restoring, WritesDefinitionAndLayoutAndNothingThatPermitsAnything) {
  for (const auto kind : {Kind::begin, Kind::vm, Kind::end}) ASSERT_TRUE(restore(kind));
  EXPECT_EQ(get<core::VmSpec>(keys::vm_spec(root_, "vm1")), step_.spec);
  EXPECT_EQ(get<core::Layout>(keys::vm_layout(root_, "vm1")), step_.layout);
  EXPECT_EQ(get<core::Restored>(keys::vm_restored(root_, "vm1")), step_.restored);
  EXPECT_FALSE(get<core::Right>(keys::vm_right(root_, "vm1")));
  EXPECT_EQ(operations(), 0U);
  const auto chain = audit();
  ASSERT_EQ(chain.size(), 3U);
  EXPECT_THAT(chain[0].result, testing::HasSubstr("9:" + step_.head.hash));
  EXPECT_EQ(chain[1].object, "vm/vm1");
}

TEST_F(Restoring, LosesAgainstWhoeverIsFasterInTheCellThatWasEmpty) {
  store_.before = [&] { set(keys::audit_head(root_), core::AuditHead{1, std::string(64, '0')}); };
  const auto done = restore(Kind::begin);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::conflict);
  EXPECT_FALSE(get<core::Restore>(keys::restore(root_)));
}

TEST_F(Restoring, NobodysWordOnAnAlertComesBetweenItsParts) {
  ASSERT_TRUE(restore(Kind::begin));
  const auto test = run(io_, cell_.test_alert("test-1", {"olga", "operator", {}}, "is it heard", 1));
  ASSERT_FALSE(test);
  EXPECT_THAT(test.error().what, testing::HasSubstr("is being restored"));
  const auto word = run(io_, cell_.acknowledge("a-1", {"olga", "operator", {}}, "seen", 1));
  ASSERT_FALSE(word);
  EXPECT_EQ(word.error().code, Errc::conflict);
  for (const auto kind : {Kind::vm, Kind::end}) EXPECT_TRUE(restore(kind));
  EXPECT_TRUE(run(io_, cell_.test_alert("test-1", {"olga", "operator", {}}, "is it heard", 1)));
}

TEST_F(Restoring, WritesNothingInADryRunOrASecondTime) {
  step_.dry_run = true;
  for (const auto kind : {Kind::begin, Kind::vm}) ASSERT_TRUE(restore(kind));
  EXPECT_FALSE(get<core::Restore>(keys::restore(root_)));
  step_.dry_run = false;
  for (const auto kind : {Kind::begin, Kind::vm, Kind::begin, Kind::vm, Kind::end, Kind::end})
    ASSERT_TRUE(restore(kind));
  EXPECT_EQ(audit().size(), 3U);
}

}  // namespace
}  // namespace bascule::testkit
