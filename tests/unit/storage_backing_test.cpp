#include <gtest/gtest.h>

#include "storage/backing.hpp"
#include "storage/drbd_commands.hpp"
#include "storage/drbd_show.hpp"

namespace bascule::storage {
namespace {
using core::Errc;

const PoolConfig kThick{PoolKind::lvm, "", "vg0", ""};
const PoolConfig kThin{PoolKind::lvm_thin, "", "vg0", "thin"};
const PoolConfig kLoop{PoolKind::loop, "/var/lib/bascule/volumes", "", ""};

TEST(Backing, MetadataIsWhatDrbdWasSeenToTake) {
  EXPECT_EQ(metadata_sectors(65 * 2048), 80U);         // measured: 65 MiB leave 66520 KiB
  EXPECT_EQ(metadata_sectors(2147483648ULL), 65608U);  // 1 TiB: 32 MiB of bitmap
  EXPECT_EQ(metadata_sectors((1ULL << 18)), 80U);
  EXPECT_EQ(metadata_sectors((1ULL << 18) + 1), 88U);
}

TEST(Backing, ABackingDeviceAlwaysLeavesTheSizeAskedForAndNotMuchMore) {
  for (const std::uint64_t size : {1ULL, 64ULL, 1024ULL, 102400ULL, 1048576ULL, 16777216ULL}) {
    const std::uint64_t mib = backing_mib(size);
    const std::uint64_t left = mib * 2048 - metadata_sectors(mib * 2048);
    EXPECT_GE(left, size * 2048) << size;
    EXPECT_LT(left - size * 2048, 2048U) << size;
  }
  EXPECT_EQ(backing_mib(64), 65U);
  EXPECT_EQ(backing_mib(1048576), 1048576U + 33U);
}

TEST(Backing, NamesCarryTheLegAndFitTheDeviceMapper) {
  EXPECT_EQ(*device_name({"web", "data", "l1"}, kThick), "bascule-web-data-l1");
  EXPECT_FALSE(device_name({"web", "data", ""}, kThick));
  EXPECT_FALSE(device_name({"web", "../data", "l1"}, kLoop));
  EXPECT_FALSE(device_name({"Web", "data", "l1"}, kLoop));
  const std::string forty(40, 'a');
  EXPECT_TRUE(device_name({forty, forty, "l1"}, kThick).has_value());
  const auto long_name = device_name({forty, forty, forty}, kThick);
  ASSERT_FALSE(long_name.has_value());
  EXPECT_NE(long_name.error().what.find("too long together for LVM by"), std::string::npos);
  EXPECT_TRUE(device_name({forty, forty, forty}, kLoop).has_value());
}

TEST(Backing, CommandsAreAbsoluteAndNeverWipeWhatIsThere) {
  EXPECT_EQ(create_volume(kThick, "n", 65),
            (Argv{"/usr/sbin/lvcreate", "--yes", "--wipesignatures", "n", "--addtag", "bascule_new", "--name", "n",
                  "--zero", "n", "--size", "65m", "vg0"}));
  EXPECT_EQ(create_volume(kThin, "n", 65),
            (Argv{"/usr/sbin/lvcreate", "--yes", "--wipesignatures", "n", "--addtag", "bascule_new", "--name", "n",
                  "--virtualsize", "65m", "--thinpool", "thin", "vg0"}));
  EXPECT_EQ(zero_device("/dev/vg0/n", 0, false),
            (Argv{"/usr/sbin/blkdiscard", "--zeroout", "--offset", "0", "/dev/vg0/n"}));
  EXPECT_EQ(zero_device("/dev/vg0/n", 4096, true),
            (Argv{"/usr/sbin/blkdiscard", "--zeroout", "--offset", "4096", "--force", "/dev/vg0/n"}));
  EXPECT_EQ(retag_volume(kThick, "n", "a", "b"),
            (Argv{"/usr/sbin/lvchange", "--yes", "--addtag", "a", "--deltag", "b", "vg0/n"}));
  EXPECT_EQ(extend_volume(kThick, "n", 9), (Argv{"/usr/sbin/lvextend", "--yes", "--size", "9m", "vg0/n"}));
  EXPECT_EQ(remove_volume(kThick, "n"), (Argv{"/usr/sbin/lvremove", "--yes", "vg0/n"}));
  EXPECT_EQ(loop_attach("/p/n.img"),
            (Argv{"/usr/sbin/losetup", "--find", "--show", "--nooverlap", "--direct-io=on", "/p/n.img"}));
  EXPECT_EQ(file_path(kLoop, "n"), "/var/lib/bascule/volumes/n.img");
}

TEST(Backing, ReadsLvsAsLvmPrintsIt) {
  const char* text = R"({
      "report": [ { "lv": [
              {"lv_name":"thin", "lv_size":"3221225472", "lv_tags":"", "pool_lv":"", "lv_active":"active", "data_percent":"1.04"},
              {"lv_name":"bascule-web-data-l1", "lv_size":"71303168", "lv_tags":"bascule_grow_68157440,bascule_ready", "pool_lv":"", "lv_active":"", "data_percent":""},
              {"lv_name":"bascule-web-root-l1", "lv_size":"68157440", "lv_tags":"bascule_ready", "pool_lv":"thin", "lv_active":"active", "data_percent":"0.00"}
          ] } ] })";
  const auto list = parse_lvs(text);
  ASSERT_TRUE(list.has_value());
  ASSERT_EQ(list->size(), 3U);
  const LvInfo* lv = find_lv(*list, "bascule-web-data-l1");
  ASSERT_NE(lv, nullptr);
  EXPECT_TRUE(lv->has_tag(kTagReady));
  EXPECT_FALSE(lv->has_tag(kTagNew));
  EXPECT_FALSE(lv->active);
  EXPECT_EQ(pending_growth(*lv), 68157440U);
  EXPECT_FALSE(pending_growth((*list)[0]).has_value());
  EXPECT_DOUBLE_EQ((*list)[0].data_percent, 1.04);
  const auto space = lvm_space(kThin, {}, *list);
  EXPECT_EQ(space->total_mib, 3072U);
  EXPECT_EQ(space->free_mib, 3072U - 65U);
  EXPECT_EQ(lvm_space({PoolKind::lvm_thin, "", "vg0", "other"}, {}, *list).error().code, Errc::not_found);
}

TEST(Backing, ReadsVgsAndLosetup) {
  const auto vg = parse_vgs(
      R"({"report":[{"vg":[{"vg_name":"vg0","vg_size":"8573157376","vg_free":"3000000512","vg_extent_size":"4194304"}]}]})",
      "vg0");
  ASSERT_TRUE(vg.has_value());
  EXPECT_EQ(lvm_space(kThick, *vg, {})->free_mib, 2861U);
  EXPECT_EQ(parse_vgs(R"({"report":[{"vg":[]}]})", "vg0").error().code, Errc::not_found);
  EXPECT_TRUE(parse_losetup("")->empty());
  const auto loops =
      parse_losetup(R"({"loopdevices":[{"name":"/dev/loop0","back-file":"/p/n.img","dio":true,"ro":false}]})");
  ASSERT_TRUE(loops.has_value());
  EXPECT_EQ(loops->front().device, "/dev/loop0");
  EXPECT_TRUE(loops->front().direct_io);
}

TEST(Backing, TakesNothingElseForAReport) {
  for (const char* bad : {"", "null", "[]", "{", "{}", R"({"report":{}})", R"({"report":[]})",
                          R"({"report":[{"lv":{}}]})", R"({"report":[{"lv":[{"lv_name":7}]}]})",
                          R"({"report":[{"lv":[{"lv_name":"a","lv_size":"x"}]}]})", R"({"report":[{"lv":[5]}]})"}) {
    EXPECT_EQ(parse_lvs(bad).error().code, Errc::invalid) << bad;
    EXPECT_FALSE(parse_vgs(bad, "vg0").has_value()) << bad;
  }
  EXPECT_FALSE(parse_losetup(R"({"loopdevices":[{"name":"/dev/loop0"}]})").has_value());
  EXPECT_FALSE(parse_losetup(R"({"loopdevices":5})").has_value());
  EXPECT_FALSE(parse_lvs(std::string(200'000, '[')).has_value());
}

TEST(Backing, SaysHowMuchIsFreeAndNeeded) {
  EXPECT_TRUE(check_room(kThick, {1000, 65}, 65).has_value());
  const auto full = check_room(kThin, {3072, 64}, 65);
  ASSERT_FALSE(full.has_value());
  EXPECT_EQ(full.error().code, Errc::exhausted);
  EXPECT_EQ(full.error().what,
            "the pool vg0/thin has 64 MiB free of 3072 MiB and 65 MiB are needed; nothing was changed, make room or "
            "enlarge the pool");
}

TEST(Backing, ChecksThePoolsConfiguration) {
  for (const auto& good : {kThick, kThin, kLoop}) EXPECT_TRUE(check(good).has_value());
  for (const char* bad : {"", "relative", "/", "/a/", "/a b", "/a/../b", "/a\n"}) {
    EXPECT_FALSE(check(PoolConfig{PoolKind::loop, bad, "", ""}).has_value()) << bad;
  }
  for (const char* bad : {"", "-vg", "vg 0", "vg/x", "vg;x", ".vg"}) {
    EXPECT_FALSE(check(PoolConfig{PoolKind::lvm, "", bad, ""}).has_value()) << bad;
    EXPECT_FALSE(check(PoolConfig{PoolKind::lvm_thin, "", "vg0", bad}).has_value()) << bad;
  }
  EXPECT_EQ(parse_pool_kind("lvm-thin"), PoolKind::lvm_thin);
  EXPECT_FALSE(parse_pool_kind("zfs").has_value());
}

/// Recorded from drbdsetup 8.4 with a dual-primary window open.
constexpr const char* kShow84 = R"(resource vm-web {
    options {
        on-no-data-accessible	suspend-io;
    }
    net {
        timeout         	20; # 1/10 seconds
        ping-int        	1; # seconds
        allow-two-primaries	yes;
        verify-alg      	"crc32c";
    }
    _remote_host {
        address			ipv4 10.77.0.1:7800;
    }
    _this_host {
        address			ipv4 10.77.0.2:7800;
        volume 0 {
            device			minor 100;
            disk			"/dev/loop0";
            meta-disk			internal;
            disk {
                fencing         	resource-and-stonith;
            }
        }
        volume 1 {
            device			minor 101;
        }
    }
}
)";

TEST(Show, ReadsWhat84Prints) {
  const auto shown = parse_show(kShow84);
  ASSERT_TRUE(shown.has_value());
  EXPECT_EQ(shown->disk, (std::map<std::uint32_t, std::string>{{100, "/dev/loop0"}}));
  EXPECT_EQ(shown->local_address, "ipv4:10.77.0.2:7800");
  EXPECT_EQ(shown->remote_address, "ipv4:10.77.0.1:7800");
  EXPECT_TRUE(shown->allow_two_primaries);
}

TEST(Show, ReadsWhat9Prints) {
  const auto shown = parse_show(R"(resource "vm-web" {
    _this_host {
        node-id			0;
        volume 0 {
            device			minor 100;
            disk			"/dev/vg0/x";
            meta-disk			internal;
        }
    }
    connection {
        _peer_node_id 1;
        path {
            _this_host ipv4 10.0.0.1:7800;
            _remote_host ipv4 10.0.0.2:7800;
        }
        net {
            allow-two-primaries	no;
            _name           	"b1";
        }
        volume 0 {
            disk {
                c-max-rate 700M;
            }
        }
    }
})");
  ASSERT_TRUE(shown.has_value());
  EXPECT_EQ(shown->disk.at(100), "/dev/vg0/x");
  EXPECT_EQ(shown->local_address, "ipv4:10.0.0.1:7800");
  EXPECT_EQ(shown->remote_address, "ipv4:10.0.0.2:7800");
  EXPECT_FALSE(shown->allow_two_primaries);
}

TEST(Show, RefusesTextThatBreaksOff) {
  EXPECT_FALSE(parse_show("resource x { net {").has_value());
  EXPECT_FALSE(parse_show("}").has_value());
  EXPECT_FALSE(parse_show("a{a{a{a{a{a{a{a{a{").has_value());
  EXPECT_TRUE(parse_show("")->remote_address.empty());
  EXPECT_TRUE(parse_show("resource x { disk \"unterminated").error().code == Errc::invalid);
}

TEST(Failures, AreReadFromWhatDrbdsetupSays) {
  EXPECT_EQ(failure_code("100: Failure: (124) Device is attached to a disk (use detach first)\n"), 124);
  EXPECT_EQ(failure_code(
                "??: Failure: (162) Invalid configuration request\nadditional info from kernel:\nunknown connection"),
            failure::no_connection);
  EXPECT_EQ(failure_code("900: State change failed: (-12) Device is held open by someone"), failure::held_open);
  EXPECT_EQ(failure_code("Device '100' is configured!"), 0);
  EXPECT_EQ(failure_code("Failure: ("), 0);
  EXPECT_EQ(failure_code(""), 0);
}

}  // namespace
}  // namespace bascule::storage
