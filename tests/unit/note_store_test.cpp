// A host's notes: what is read back, and what a full or damaged disk does to them.
#include "hostd/note_store.hpp"

#include <gtest/gtest.h>

namespace bascule::testkit {
namespace {

/// Notes in memory.
struct Kept final : NotePort {
  core::Result<std::optional<std::string>> read() override { return text; }
  core::Result<> write(const std::string& fresh) override {
    if (full) return core::fail(core::Errc::io, "no space is left");
    text = fresh;
    return {};
  }
  core::Result<std::vector<LostDisk>> lost_disks() override {
    if (unreadable) return core::fail(core::Errc::io, "not readable");
    return lost;
  }
  core::Result<> drop_lost_disk(const LostDisk&) override {
    lost.clear();
    return {};
  }
  std::optional<std::string> text;
  std::vector<LostDisk> lost;
  bool full{}, unreadable{};
};

TEST(Notes, DamagedOnesAreNotTakenForNone) {
  auto port = std::make_unique<Kept>();
  auto& text = port->text;
  NoteStore store(std::move(port));
  EXPECT_TRUE(store.load()) << "a first start";
  ASSERT_TRUE(store.keep(core::leg_failed(store.notes(), "vm1", "la", true)));
  EXPECT_TRUE(store.load());
  EXPECT_EQ(store.notes().vms.at("vm1").failed, std::vector<std::string>{"la"});
  text = text->substr(0, text->size() / 2);
  EXPECT_FALSE(store.load());
  text = "";
  EXPECT_FALSE(store.load());
}

TEST(Notes, AFullDiskKeepsNoHostFromStartingAndLosesNoFailedDisk) {
  auto port = std::make_unique<Kept>();
  auto& kept = *port;
  kept.lost = {{"vm1", 0}};
  kept.full = true;
  NoteStore store(std::move(port));
  EXPECT_TRUE(store.load());
  EXPECT_EQ(store.notes().vms.at("vm1").lost, std::vector<std::uint16_t>{0});
  EXPECT_EQ(kept.lost.size(), 1U) << "for the next start";
  EXPECT_FALSE(store.keep(core::disk_lost(store.notes(), "vm1", 1))) << "what is to guard a decision is an error";
}

/// What the kernel's helper has written down is dropped when it is in the notes, and not before.
TEST(Notes, ALostDiskIsTakenUpBeforeItIsDropped) {
  auto own = std::make_unique<Kept>();
  auto& port = *own;
  NoteStore store(std::move(own));
  port.lost = {{"vm1", 0}};
  port.unreadable = true;
  EXPECT_FALSE(store.load()) << "nothing is decided without it";
  EXPECT_FALSE(port.lost.empty());
  port.unreadable = false;
  EXPECT_TRUE(store.load());
  EXPECT_TRUE(port.lost.empty());
  EXPECT_EQ(store.notes().vms.at("vm1").lost, std::vector<std::uint16_t>{0});
}

}  // namespace
}  // namespace bascule::testkit
