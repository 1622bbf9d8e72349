// The fake keeps the promises that t_storage.py shows of the real DRBD; hostd's tests stand on that.
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <optional>

#include "tests/testkit/fake_drbd.hpp"
#include "tests/unit/storage_fixture.hpp"

namespace bascule::testkit {
namespace {
namespace asio = boost::asio;
using namespace storage;
using core::Errc;
using core::Result;

class Fake : public ::testing::Test {
 protected:
  template <class T>
  Result<T> wait(Task<T> task) {
    std::optional<Result<T>> result;
    asio::io_context io;
    asio::co_spawn(io, std::move(task), [&](const std::exception_ptr&, Result<T> r) { result.emplace(std::move(r)); });
    io.run();
    return std::move(*result);
  }
  Errc code(Task<> task) {
    const auto r = wait(std::move(task));
    return r ? Errc::internal : r.error().code;
  }
  bool ok(Task<> task) { return wait(std::move(task)).has_value(); }
  static PromotionProof proof(const FakeDrbd& d) { return {"web", d.host(), 1, 7}; }

  void make(FakeDrbd& d) {
    for (const char* v : {"root", "data"}) EXPECT_TRUE(ok(d.create_metadata(resource, v)));
    EXPECT_TRUE(ok(d.up_standalone(resource)));
  }
  void join() {
    make(a);
    make(b);
    EXPECT_TRUE(ok(a.connect(resource)));
    EXPECT_TRUE(ok(b.connect(resource)));
    for (const char* v : {"root", "data"}) EXPECT_TRUE(ok(a.new_current_uuid_clear_bitmap(resource, v)));
  }
  Fake() { resource.volumes[1].backing[1] = "/dev/loop9"; }

  FakeDrbdWorld world;
  FakeDrbd a{world, "a1"}, b{world, "b1"};
  Resource resource = sample_resource();
  const std::string name = "vm-web";
};

TEST_F(Fake, AFreshLegIsNeitherPromotedNorCalledInSyncAlone) {
  make(a);
  EXPECT_EQ(code(a.promote(name, proof(a))), Errc::conflict);
  EXPECT_EQ(code(a.new_current_uuid_clear_bitmap(resource, "root")), Errc::conflict);
  EXPECT_EQ(code(a.set_two_primaries(name, true)), Errc::conflict);
}

TEST_F(Fake, LivesFromFirstSyncThroughAWindowToTheOtherSide) {
  join();
  EXPECT_TRUE(in_sync(*wait(b.query(name)), resource));
  EXPECT_EQ(code(a.promote(name, proof(b))), Errc::conflict) << "another host's proof";
  EXPECT_TRUE(ok(a.promote(name, proof(a))));
  EXPECT_EQ(code(b.promote(name, proof(b))), Errc::refused);
  EXPECT_TRUE(ok(a.set_two_primaries(name, true)));
  EXPECT_TRUE(*wait(b.two_primaries(name)));
  EXPECT_TRUE(ok(b.promote(name, proof(b))));
  EXPECT_FALSE(world.split(name));
  EXPECT_EQ(code(a.set_two_primaries(name, false)), Errc::refused);
  EXPECT_TRUE(ok(a.demote(name)));
  EXPECT_TRUE(ok(a.set_two_primaries(name, false)));
  EXPECT_EQ(wait(a.query(name))->peer_role, Role::primary);
}

TEST_F(Fake, ACutFreezesThePrimaryUntilItHealsOrWins) {
  join();
  EXPECT_TRUE(ok(a.promote(name, proof(a))));
  world.cut();
  EXPECT_TRUE(wait(a.query(name))->suspended_fencing);
  EXPECT_EQ(wait(b.query(name))->volumes.at(0).disk, Disk::up_to_date) << "a secondary keeps UpToDate: no permission";
  world.heal();
  EXPECT_FALSE(wait(a.query(name))->frozen());
  world.cut();
  a.fence_won(name);
  EXPECT_FALSE(wait(a.query(name))->frozen());
}

TEST_F(Fake, APlainDisconnectOutdatesTheSecondaryAndAForcedOneDoesNot) {
  join();
  EXPECT_TRUE(ok(a.promote(name, proof(a))));
  EXPECT_TRUE(ok(b.disconnect(name, true)));
  EXPECT_EQ(wait(b.query(name))->volumes.at(0).disk, Disk::up_to_date);
  EXPECT_TRUE(ok(b.connect(resource)));
  EXPECT_TRUE(ok(b.disconnect(name, false)));
  EXPECT_EQ(wait(b.query(name))->volumes.at(0).disk, Disk::outdated);
  EXPECT_EQ(code(b.promote(name, proof(b))), Errc::conflict);
}

TEST_F(Fake, ForceTakesAFreshLegOrAnOutdatedOneAsTheProofSays) {
  const auto forced = [&](storage::Force force) {
    auto p = proof(a);
    p.force = force;
    return p;
  };
  make(a);
  EXPECT_EQ(code(a.promote(name, forced(storage::Force::outdated))), Errc::conflict) << "never written is not outdated";
  EXPECT_TRUE(ok(a.promote(name, forced(storage::Force::fresh))));
  EXPECT_EQ(wait(a.query(name))->volumes.at(0).disk, Disk::up_to_date);
  EXPECT_TRUE(ok(a.demote(name)));
  EXPECT_EQ(code(a.promote(name, forced(storage::Force::fresh))), Errc::conflict) << "it has been used since";
}

TEST_F(Fake, ALegThatGivesUpItsDataIsSecondary) {
  join();
  EXPECT_TRUE(ok(a.promote(name, proof(a))));
  EXPECT_TRUE(ok(b.disconnect(name, true)));
  EXPECT_EQ(code(a.connect(resource, storage::Discard::own_data)), Errc::conflict);
  EXPECT_TRUE(ok(b.connect(resource, storage::Discard::own_data)));
  EXPECT_TRUE(in_sync(*wait(b.query(name)), resource));
}

TEST_F(Fake, TellsChangesAndAnswersUnknownWhenAskedTo) {
  int told = 0;
  b.listen([&](const ResourceState&) { ++told; }, nullptr);
  join();
  EXPECT_GT(told, 0);
  world.unknown_next.insert("a1");
  EXPECT_EQ(code(a.promote(name, proof(a))), Errc::outcome_unknown);
  EXPECT_EQ(wait(a.query(name))->role, Role::primary) << "it happened all the same";
  EXPECT_EQ(code(a.create_metadata(resource, "root")), Errc::conflict);
}

TEST_F(Fake, ThePoolKeepsItsLimit) {
  FakePool pool(200);
  EXPECT_EQ(*wait(pool.create({"web", "root", "l1"}, 64)), "/fake/bascule-web-root-l1");
  EXPECT_EQ(wait(pool.create({"web", "data", "l1"}, 200)).error().code, Errc::exhausted);
  EXPECT_TRUE(ok(pool.grow({"web", "root", "l1"}, 128)));
  EXPECT_EQ(*wait(pool.free_mib()), 71U);
  EXPECT_TRUE(ok(pool.remove({"web", "root", "l1"})));
  EXPECT_EQ(wait(pool.activate({"web", "root", "l1"})).error().code, Errc::not_found);
}

}  // namespace
}  // namespace bascule::testkit
