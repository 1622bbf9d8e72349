// One suite for PeerPort, the promises between hosts while etcd is away: on the simulator's, where b1's shipped hostd
// answers, and on the real client against the real server, over mTLS on loopback.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <filesystem>
#include <optional>

#include "api/server.hpp"
#include "etcd_cluster.hpp"
#include "hostd/runtime/peer/peer_client.hpp"
#include "tests/sim/hostd.hpp"
#include "tests/testkit/fake_cell.hpp"

namespace bascule::test {
namespace {

namespace asio = boost::asio;
using core::Errc;
using core::HostLease;
using core::Result;
using std::chrono::milliseconds;

constexpr milliseconds kPatience{20'000};      // for an answer that must come, on a machine that may stand still
constexpr milliseconds kLittlePatience{1000};  // for one that will not
constexpr milliseconds kEnds{9000};            // after the patience is over, an ask has ended, or hangs

class PeerRig {
 public:
  PeerRig() = default;
  PeerRig(const PeerRig&) = delete;
  PeerRig& operator=(const PeerRig&) = delete;
  virtual ~PeerRig() = default;
  /// Asks the other host once, with `patience`.
  virtual Result<> ask(HostLease lease) = 0;
  virtual void other_refuses() = 0;
  virtual void other_stands_still(bool on) = 0;
  virtual void other_is_gone() = 0;
  virtual void other_is_back() = 0;
  milliseconds patience{kPatience};
};

/// a1 asks, b1's hostd answers; both have read the cell from etcd.
class SimPeerRig final : public PeerRig {
 public:
  SimPeerRig() : cell_({}) {
    for (const char* host : {"a1", "b1"}) cell_.boot(host);
    run(5 * sim::kSecond);
  }
  Result<> ask(HostLease lease) override {
    lease.boot = "boot-" + std::to_string(cell_.machine("a1").boot);
    auto slot = std::make_shared<std::optional<Result<>>>();
    auto& hostd = *cell_.machine("a1").hostd;
    const auto begun = cell_.engine.now_us();
    hostd.process.post([&hostd, lease, slot, time = patience] {
      asio::co_spawn(hostd.process.executor(), call(hostd, lease, time, slot), asio::detached);
    });
    const sim::Us limit = (patience + kEnds).count() * sim::kMs;
    while (!*slot && cell_.engine.now_us() - begun < limit) run(10 * sim::kMs);
    return slot->value_or(core::fail(Errc::internal, "never answered"));
  }
  // What it is at work on is refused to the host that it would take over.
  void other_refuses() override { ++cell_.machine("b1").hostd->node.taking_over["a1"]; }
  void other_stands_still(bool on) override { cell_.hang_hostd("b1", on); }
  void other_is_gone() override {
    cell_.machine("b1").kept_off = true;
    cell_.power_cut("b1");
  }
  void other_is_back() override {
    cell_.machine("b1").kept_off = false;
    cell_.boot("b1");
    run(5 * sim::kSecond);
  }

 private:
  static asio::awaitable<void> call(sim::Hostd& hostd, HostLease lease, milliseconds time,
                                    std::shared_ptr<std::optional<Result<>>> slot) {
    auto asked = hostd.peers.ask_promise("b1", "b1:1", std::move(lease), runtime::Clock::now() + time);
    *slot = co_await std::move(asked);
  }
  void run(sim::Us length) { cell_.run_until(cell_.engine.now_us() + length); }
  sim::Cell cell_;
};

/// The cell's certificates, made once for all tests.
class Certificates {
 public:
  Certificates() {
    std::string pattern = (std::filesystem::temp_directory_path() / "bascule-peer-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
    folder = pattern;
    if (testkit::run_program({"/usr/bin/python3", BASCULE_API_PKI, pattern}) != 0)
      throw std::runtime_error("the certificates were not made");
  }
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;
  ~Certificates() {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  std::filesystem::path folder;
};

const std::filesystem::path& certificates() {
  static const Certificates made;
  return made.folder;
}

/// The real client on one io_context, the real server before a fake cell on the same.
class RealPeerRig final : public PeerRig {
 public:
  RealPeerRig() {
    cell_ = std::make_unique<FakeCell>(io_.get_executor(), folder_.string());
    auto client = runtime::PeerClient::make(io_.get_executor(), {file("ca.pem"), file("host.pem"), file("host.key")});
    if (!client) throw std::runtime_error(client.error().what);
    client_ = std::move(*client);
    serve("server");
  }
  ~RealPeerRig() override { stop(); }
  Result<> ask(HostLease lease) override { return ask_at("127.0.0.1:" + std::to_string(port_), std::move(lease)); }
  Result<> ask_at(const std::string& address, HostLease lease) {
    std::optional<Result<>> out;
    const auto begun = std::chrono::steady_clock::now();
    asio::co_spawn(io_, client_->ask_promise("a1", address, std::move(lease), runtime::Clock::now() + patience),
                   [&out](const std::exception_ptr& bug, Result<> r) {
                     if (bug) std::rethrow_exception(bug);
                     out.emplace(std::move(r));
                   });
    while (!out && std::chrono::steady_clock::now() - begun < patience + kEnds) run(milliseconds(10));
    return out.value_or(core::fail(Errc::internal, "never answered"));
  }
  void other_refuses() override { cell_->refuses_promises = true; }
  /// Takes connections and never says a word.
  void other_stands_still(bool on) override {
    stop();
    if (!on) return serve("server");
    deaf_.emplace(io_, asio::ip::tcp::endpoint(asio::ip::make_address("127.0.0.1"), port_));
  }
  void other_is_gone() override { stop(); }
  void other_is_back() override { serve("server"); }

  /// On the same port, so that the client meets the connection it has kept.
  void serve(const std::string& certificate) {
    stop();
    api::ServerOptions options;
    options.listen = "127.0.0.1:" + std::to_string(port_);
    options.tls = {file("ca.pem"), file(certificate + ".pem"), file(certificate + ".key")};
    auto made = api::Server::make(io_.get_executor(), std::move(options), *cell_);
    if (!made) throw std::runtime_error(made.error().what);
    server_ = std::move(*made);
    port_ = server_->port();
    ended_ = false;
    asio::co_spawn(io_, server_->run(), [this](const std::exception_ptr&) { ended_ = true; });
    run(milliseconds(20));
  }
  std::map<std::string, HostLease>& promised() { return cell_->promised; }

 private:
  std::string file(const std::string& name) const { return (folder_ / name).string(); }
  void run(milliseconds length) {
    io_.restart();
    io_.run_for(length);
  }
  void stop() {
    deaf_.reset();
    if (!server_) return;
    server_->stop();
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(8);
    while (!ended_ && std::chrono::steady_clock::now() < until) run(milliseconds(10));
    server_.reset();
  }

  asio::io_context io_{1};
  std::filesystem::path folder_{certificates()};
  std::uint16_t port_{testkit::free_port()};
  bool ended_{true};
  std::unique_ptr<FakeCell> cell_;
  std::unique_ptr<runtime::PeerClient> client_;
  std::unique_ptr<api::Server> server_;
  std::optional<asio::ip::tcp::acceptor> deaf_;
};

HostLease lease(std::uint64_t number) {
  HostLease l;
  l.instance = "b1-1";
  l.number = number;
  l.boot = "boot-1";
  return l;
}

class Promise : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string(GetParam()) == "sim")
      rig_ = std::make_unique<SimPeerRig>();
    else
      rig_ = std::make_unique<RealPeerRig>();
  }
  std::unique_ptr<PeerRig> rig_;
};

TEST_P(Promise, IsGivenByAHostThatSaysSoAndAskedForAgain) {
  for (std::uint64_t i = 1; i <= 3; ++i) {
    const auto given = rig_->ask(lease(1000 + i));
    EXPECT_TRUE(given) << given.error().what;
  }
}

TEST_P(Promise, IsRefusedWithTheOtherHostsWords) {
  rig_->other_refuses();
  const auto given = rig_->ask(lease(1000));
  ASSERT_FALSE(given);
  EXPECT_EQ(given.error().code, Errc::refused);
  EXPECT_THAT(given.error().what, testing::HasSubstr("takeover"));
}

TEST_P(Promise, SilenceIsNoneAndEndsInTime) {
  ASSERT_TRUE(rig_->ask(lease(1000)));
  rig_->other_stands_still(true);
  rig_->patience = kLittlePatience;
  for (int i = 0; i < 2; ++i) {  // on the connection that was kept, and on a new one
    const auto given = rig_->ask(lease(1001));
    ASSERT_FALSE(given);
    EXPECT_THAT(given.error().code, testing::AnyOf(Errc::unavailable, Errc::outcome_unknown)) << given.error().what;
  }
  rig_->other_stands_still(false);
  rig_->patience = kPatience;
  // The first ask may meet what is left of the connection that hung.
  auto given = rig_->ask(lease(1002));
  if (!given) given = rig_->ask(lease(1003));
  EXPECT_TRUE(given) << given.error().what;
}

TEST_P(Promise, AHostThatIsGoneGivesNoneUntilItIsBack) {
  ASSERT_TRUE(rig_->ask(lease(1000)));
  rig_->other_is_gone();
  rig_->patience = kLittlePatience;
  const auto none = rig_->ask(lease(1001));
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().code, testing::AnyOf(Errc::unavailable, Errc::outcome_unknown));
  rig_->other_is_back();
  rig_->patience = kPatience;
  auto given = rig_->ask(lease(1002));
  if (!given) given = rig_->ask(lease(1003));
  EXPECT_TRUE(given) << given.error().what;
}

INSTANTIATE_TEST_SUITE_P(Both, Promise, testing::Values("sim", "real"),
                         [](const auto& which) { return std::string(which.param); });

TEST(RealPromise, IsAskedForInTheNameOfTheCertificate) {
  RealPeerRig rig;
  ASSERT_TRUE(rig.ask(lease(7)));
  ASSERT_TRUE(rig.promised().contains("b1")) << "host.pem is b1's";
  EXPECT_EQ(rig.promised()["b1"].number, 7U);
}

TEST(RealPromise, CountsOnlyFromTheHostThatWasMeant) {
  RealPeerRig rig;
  rig.serve("elsewhere");  // of the cell's CA, but another address
  EXPECT_EQ(rig.ask(lease(7)).error().code, Errc::unavailable);
  rig.serve("foreign-server");  // the address, but another CA
  EXPECT_EQ(rig.ask(lease(7)).error().code, Errc::unavailable);
  EXPECT_TRUE(rig.promised().empty());
  rig.serve("server");
  EXPECT_TRUE(rig.ask(lease(8)));
}

}  // namespace
}  // namespace bascule::test
