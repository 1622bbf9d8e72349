// A host that vouches for the audit chain: what it signs, what it keeps, and what it does not sign.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "hostd/codec/codec.hpp"
#include "hostd/countersigner.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "tests/contract/etcd_testing.hpp"
#include "tests/testkit/fake_kv.hpp"

namespace bascule::testkit {
namespace {

namespace fs = std::filesystem;
namespace keys = runtime::keys;
using core::Errc;
using testing::HasSubstr;

constexpr core::WallMs kMinute = 60'000;

class Countersigning : public testing::Test {
 protected:
  Countersigning() {
    fs::create_directories(folder_);
    const std::string make =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=a1 -keyout " + folder_ +
        "/key -out " + folder_ + "/pem 2>/dev/null";
    EXPECT_EQ(std::system(make.c_str()), 0);
    append(3);
    boost::asio::co_spawn(io_, cell_.run(), boost::asio::detached);
    EXPECT_TRUE(wait_for(io_, 10s, [this] { return cell_.view().synced; }));
  }
  ~Countersigning() override { fs::remove_all(folder_); }

  void write(std::size_t index) {
    const auto& r = chain_[index];
    ASSERT_TRUE(kv_.apply_now(put(keys::audit(root_, r.sequence), codec::encode(r))));
  }
  /// The records from there on get their links again, as somebody who can write to etcd would make them.
  void link(std::size_t from) {
    for (std::size_t i = from; i < chain_.size(); ++i) {
      auto& r = chain_[i];
      r.sequence = static_cast<std::int64_t>(i) + 1;
      r.previous = i == 0 ? std::string(64, '0') : chain_[i - 1].hash;
      r.hash = codec::audit_hash(r);
      write(i);
    }
    const core::AuditHead head{chain_.back().sequence, chain_.back().hash};
    ASSERT_TRUE(kv_.apply_now(put(keys::audit_head(root_), codec::encode(head))));
  }
  void append(int n) {
    const auto from = chain_.size();
    for (int i = 0; i < n; ++i) {
      core::AuditRecord r;
      r.when_ms = 1;
      r.who = {"olga", "operator", {}};
      r.what = "vm-start requested";
      chain_.push_back(r);
    }
    link(from);
  }
  void settle() {
    const auto at = kv_.revision();
    ASSERT_TRUE(wait_for(io_, 5s, [&] { return cell_.view().revision >= at; }));
  }
  core::Result<bool> look(core::WallMs now) {
    settle();
    return run(io_, signer_->look(now));
  }
  std::string refusal(core::WallMs now) {
    auto done = look(now);
    EXPECT_FALSE(done);
    if (done) return {};
    EXPECT_EQ(done.error().code, Errc::refused);
    return done.error().what;
  }
  std::vector<core::SignedHead> heads() { return run(io_, heads_.all()).value(); }
  void restart() { signer_ = make(); }
  std::unique_ptr<Countersigner> make() {
    return std::make_unique<Countersigner>(
        cell_, heads_,
        CountersignOptions{"c", folder_ + "/pem", folder_ + "/key", folder_ + "/head.json", std::chrono::minutes(15)});
  }

  const std::string folder_ = (fs::temp_directory_path() / ("countersigner-" + std::to_string(::getpid()))).string();
  const std::string root_ = keys::root("c");
  boost::asio::io_context io_;
  FakeKv kv_{io_.get_executor()};
  runtime::CellStore cell_{io_.get_executor(), kv_, "c", "a1", "instance"};
  runtime::HeadStore heads_{kv_, "c", "a1"};
  std::vector<core::AuditRecord> chain_;
  std::unique_ptr<Countersigner> signer_ = make();
};

TEST_F(Countersigning, ItSignsWhenThereIsNewsAndItsTimeHasCome) {
  EXPECT_TRUE(look(kMinute).value());
  ASSERT_EQ(heads().size(), 1U);
  const auto head = heads().front();
  EXPECT_EQ(head.sequence, 3);
  EXPECT_EQ(head.hash, chain_[2].hash);
  EXPECT_EQ(head.cell, "c");
  EXPECT_EQ(head.host, "a1");
  EXPECT_THAT(head.certificate, HasSubstr("BEGIN CERTIFICATE"));
  EXPECT_FALSE(look(60 * kMinute).value()) << "there is no news";
  append(1);
  EXPECT_FALSE(look(10 * kMinute).value()) << "its time has not come";
  EXPECT_TRUE(look(16 * kMinute).value());
  EXPECT_EQ(signer_->signed_up_to(), 4);
  append(core::kRecordsPerSignature);
  EXPECT_TRUE(look(17 * kMinute).value()) << "much has happened";
  append(1);
  EXPECT_TRUE(look(2 * kMinute).value()) << "the clock went back";
}

TEST_F(Countersigning, OnlyTheNewestHeadsStay) {
  for (int i = 1; i <= 20; ++i) {
    append(1);
    EXPECT_TRUE(look(i * 20 * kMinute).value());
  }
  const auto all = heads();
  ASSERT_EQ(all.size(), core::kHeadsPerHost);
  EXPECT_EQ(all.front().sequence, 8);
  EXPECT_EQ(all.back().sequence, 23);
}

TEST_F(Countersigning, AChainWrittenAnewIsNotSigned) {
  EXPECT_TRUE(look(kMinute).value());
  chain_[1].why = "another reason";
  link(1);
  EXPECT_THAT(refusal(60 * kMinute), HasSubstr("its newest record has the hash " + chain_[2].hash));
  append(2);
  EXPECT_THAT(refusal(60 * kMinute), HasSubstr("record 4 does not follow the one this host knows as record 3"));
  restart();
  EXPECT_THAT(refusal(60 * kMinute), HasSubstr("record 4 does not follow")) << "it is kept on the host's own disk";
  EXPECT_EQ(heads().size(), 1U);
}

TEST_F(Countersigning, AShorterChainAndAChangedRecordAreNotSigned) {
  append(3);
  EXPECT_TRUE(look(kMinute).value());
  chain_.resize(4);
  link(3);
  EXPECT_THAT(refusal(60 * kMinute), HasSubstr("it ends at record 4 now"));
  append(4);
  chain_[6].why = "changed";
  write(6);
  EXPECT_THAT(refusal(60 * kMinute), HasSubstr("record 7 was changed"));
  fs::remove(folder_ + "/head.json");
  restart();
  EXPECT_THAT(refusal(60 * kMinute), HasSubstr("record 7 was changed")) << "from the first record on";
}

TEST_F(Countersigning, WithoutItsKeyOrMemoryItSaysSo) {
  fs::rename(folder_ + "/key", folder_ + "/key2");
  EXPECT_EQ(look(kMinute).error().code, Errc::io);
  std::ofstream(folder_ + "/key") << "no key";
  EXPECT_EQ(look(kMinute).error().code, Errc::invalid);
  std::ofstream(folder_ + "/head.json") << "{\"sequence\":";
  restart();
  EXPECT_THAT(look(kMinute).error().what, HasSubstr("is damaged"));
  EXPECT_TRUE(heads().empty());
}

}  // namespace
}  // namespace bascule::testkit
