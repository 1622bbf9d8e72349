// Files of DRBD's configuration: hostd replaces its own, and what a power cut left empty, and nobody else's.
#include "storage/config_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace bascule::storage {
namespace {

constexpr std::string_view kMark = "# ours";

class ConfigFile : public testing::Test {
 protected:
  ConfigFile() {
    char name[] = "/tmp/bascule-config-XXXXXX";
    folder_ = ::mkdtemp(name);
    path_ = folder_ + "/vm-web.res";
  }
  ~ConfigFile() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& text) { std::ofstream(path_) << text; }
  std::string now() { return read_file(path_, 1000).value(); }
  std::string folder_, path_;
};

TEST_F(ConfigFile, IsMadeAndReplacedWhenItIsOurs) {
  ASSERT_TRUE(replace_file(path_, "# ours\none\n", kMark, false));
  ASSERT_TRUE(replace_file(path_, "# ours\ntwo\n", kMark, false));
  EXPECT_EQ(now(), "# ours\ntwo\n");
  EXPECT_FALSE(std::filesystem::exists(path_ + ".new"));
}

TEST_F(ConfigFile, OfSomebodyElseIsLeftAlone) {
  write("resource web {}\n");
  EXPECT_THAT(replace_file(path_, "# ours\n", kMark, false).error().what, testing::HasSubstr("not written by hostd"));
  EXPECT_THAT(remove_file(path_, kMark).error().what, testing::HasSubstr("not written by hostd"));
  EXPECT_EQ(now(), "resource web {}\n");
  ASSERT_TRUE(replace_file(path_, "# ours\n", kMark, true));
  EXPECT_TRUE(std::filesystem::exists(path_ + ".before-bascule"));
}

TEST_F(ConfigFile, ThatAPowerCutLeftEmptyIsNobodys) {
  write("");
  ASSERT_TRUE(replace_file(path_, "# ours\none\n", kMark, false));
  EXPECT_EQ(now(), "# ours\none\n");
  write("");
  ASSERT_TRUE(remove_file(path_, kMark));
  EXPECT_FALSE(std::filesystem::exists(path_));
}

}  // namespace
}  // namespace bascule::storage
