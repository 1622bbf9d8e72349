#include "hostd/app.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/utsname.h>
#include <systemd/sd-daemon.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "api/server.hpp"
#include "hostd/alert/loop.hpp"
#include "hostd/arbiter.hpp"
#include "hostd/cell_service.hpp"
#include "hostd/countersigner.hpp"
#include "hostd/ha_loop.hpp"
#include "hostd/history_loop.hpp"
#include "hostd/identities.hpp"
#include "hostd/observer.hpp"
#include "hostd/pacer.hpp"
#include "hostd/runtime/background.hpp"
#include "hostd/runtime/etcd/etcd_store.hpp"
#include "hostd/runtime/fence/fence_server.hpp"
#include "hostd/runtime/libvirt/accel_probe.hpp"
#include "hostd/runtime/libvirt/event_loop.hpp"
#include "hostd/runtime/libvirt/libvirt_host.hpp"
#include "hostd/runtime/peer/peer_client.hpp"
#include "hostd/runtime/power/agent_power.hpp"
#include "hostd/runtime/say.hpp"
#include "hostd/runtime/watchdog/device_watchdog.hpp"
#include "hostd/steps/step.hpp"
#include "hostd/trouble.hpp"
#include "hostd/worker.hpp"
#include "storage/drbd_adapter.hpp"
#include "storage/pool_adapter.hpp"

namespace bascule {
namespace asio = boost::asio;
namespace {

constexpr std::uint64_t kHostReserveMib = 1024;  // left to the host itself when [capacity] is silent
constexpr std::chrono::seconds kStartPause{1};

std::string new_instance() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}", device(), device());
}

/// The kernel's boot id; a machine without one has a fixed text, so that a restart of hostd still looks like one.
std::string boot_id() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id;
}

/// Everything of one hostd, in the order it is made; destroyed in reverse.
struct App {
  const Config& config;
  runtime::libvirt::EventLoop libvirt_loop;
  asio::io_context io{1};
  std::string instance = new_instance();
  std::unique_ptr<runtime::KvStore> kv;
  std::unique_ptr<runtime::CellStore> cell;
  std::unique_ptr<runtime::HeadStore> heads;
  std::unique_ptr<runtime::HistoryStore> history_store;
  std::unique_ptr<Countersigner> countersigner;
  std::unique_ptr<runtime::LibvirtHost> vms;
  std::unique_ptr<storage::DrbdAdapter> drbd;
  std::unique_ptr<storage::PoolPort> pool;
  runtime::Descriptor state;  ///< the lock of this host's notes
  ImageStore images;
  NoteStore notes;
  std::unique_ptr<runtime::DeviceWatchdog> watchdog;
  std::unique_ptr<runtime::PeerClient> peers;
  std::unique_ptr<runtime::AgentPower> power;
  std::unique_ptr<Node> node;
  std::unique_ptr<Guardian> guardian;
  std::unique_ptr<HaLoop> ha;
  std::unique_ptr<runtime::FenceServer> fence;
  std::unique_ptr<Observer> observer;
  std::unique_ptr<Worker> worker;
  std::unique_ptr<Pacer> pacer;
  std::unique_ptr<alert::Loop> alerts;
  std::unique_ptr<HistoryLoop> history;
  std::unique_ptr<TroubleTeller> trouble;
  std::unique_ptr<CellService> service;
  std::unique_ptr<api::Server> server;

  explicit App(const Config& c)
      : config(c), images(c.images.path, c.images.limit_mib), notes(std::make_unique<NoteFile>(c.state_path)) {}

  core::Result<> build();
  asio::awaitable<void> run();
  asio::awaitable<void> reload();
  core::HostInfo host_info(const core::HostCapacity& capacity, const runtime::libvirt::AccelProbe& probe) const;
  asio::awaitable<void> announce();
  api::CellPort::Health health() const;
};

core::Result<> App::build() {
  std::error_code ec;
  std::filesystem::create_directories(NoteFile::lost_folder(config.state_path), ec);
  if (ec) return core::fail(core::Errc::io, "cannot make " + config.state_path + ": " + ec.message());
  auto locked = lock_state(config.state_path);
  if (!locked) return locked.error();
  state = std::move(*locked);
  if (auto ok = images.open(); !ok) return ok;
  if (auto ok = notes.load(); !ok) return ok;
  runtime::etcd::EtcdOptions etcd;
  // R6: members of another cluster, or with less than this host has seen, are not used.
  etcd.cluster_id = notes.notes().cluster_id;
  etcd.revision = notes.notes().highest;
  etcd.endpoints = config.etcd.endpoints;
  etcd.tls = {config.etcd.tls.ca, config.etcd.tls.cert, config.etcd.tls.key};
  auto store = runtime::etcd::make_etcd_store(io.get_executor(), std::move(etcd));
  if (!store) return store.error();
  kv = std::move(*store);
  cell = std::make_unique<runtime::CellStore>(io.get_executor(), *kv, config.cell, config.host, instance);
  heads = std::make_unique<runtime::HeadStore>(*kv, config.cell, config.host);
  history_store = std::make_unique<runtime::HistoryStore>(*kv, config.cell);
  countersigner = std::make_unique<Countersigner>(
      *cell, *heads,
      CountersignOptions{config.cell, config.api.tls.cert, config.api.tls.key, config.state_path + "/audit-head.json",
                         std::chrono::minutes(config.countersign_minutes)});
  runtime::LibvirtOptions libvirt;
  libvirt.uri = config.libvirt_uri;
  libvirt.cell = config.cell;
  libvirt.host = config.host;
  vms = std::make_unique<runtime::LibvirtHost>(io.get_executor(), std::move(libvirt));
  storage::DrbdOptions options;
  options.fence_peer = config.replication.fence_peer;
  options.lost_disks = NoteFile::lost_folder(config.state_path);
  // A dead peer is to be noticed before it is suspect: then its power switch is asked, and not while DRBD calls it
  // alive.
  options.ping_int_s =
      static_cast<std::uint32_t>(std::max<std::int64_t>(1, (config.timing.suspect.count() + 1000) / 2000));
  options.timeout_ds = std::min<std::uint32_t>(options.timeout_ds, options.ping_int_s * 10 - 1);
  const core::Mono ping(1000 * options.ping_int_s + 100 * options.ping_timeout_ds);
  core::Timing timing = config.timing;
  timing.drbd_ping = ping;
  if (auto sums = core::check(timing); !sums) return sums.error();
  spdlog::info("timing:\n{}", core::describe(timing));
  auto made = storage::DrbdAdapter::make(io.get_executor(), config.host, options);
  if (!made) return made.error();
  drbd = std::move(*made);
  storage::PoolConfig pool_config{*storage::parse_pool_kind(config.pool.kind), config.pool.path, config.pool.group,
                                  config.pool.thin_pool};
  pool = storage::make_pool(io.get_executor(), pool_config);
  node = std::make_unique<Node>(config, *cell, *vms, *drbd, *pool, images, notes);
  // A watchdog that the hostd before left running is taken over before anything that may take long.
  watchdog = std::make_unique<runtime::DeviceWatchdog>(config.watchdog.device);
  auto made_peers =
      runtime::PeerClient::make(io.get_executor(), {config.api.tls.ca, config.api.tls.cert, config.api.tls.key});
  if (!made_peers) return made_peers.error();
  peers = std::move(*made_peers);
  power = std::make_unique<runtime::AgentPower>(config.power);
  guardian = std::make_unique<Guardian>(*node, *watchdog, *peers, instance, boot_id());
  ha = std::make_unique<HaLoop>(*node, *guardian, *power);
  node->facts = [this] { return ha->facts(); };
  node->arm = [this] { return guardian->arm(); };
  node->prove_watchdog = [this](bool on) { guardian->prove(on); };
  auto made_fence = runtime::FenceServer::make(io.get_executor(), config.fence_socket, [this](std::string resource) {
    return decide_fence(*node, std::move(resource));
  });
  if (!made_fence) return made_fence.error();
  fence = std::move(*made_fence);
  node->helpers = [this](const std::string& resource) { return fence->waiting(resource); };
  observer = std::make_unique<Observer>(*node);
  worker = std::make_unique<Worker>(*node);
  pacer = std::make_unique<Pacer>(*cell, config.timing.renew);
  alerts = std::make_unique<alert::Loop>(*cell, config.alerts, config.cell, instance,
                                         std::vector{config.api.tls.cert, config.etcd.tls.cert});
  history = std::make_unique<HistoryLoop>(*cell, *history_store);
  trouble = std::make_unique<TroubleTeller>(*cell, config.alerts.rules);
  service = std::make_unique<CellService>(
      *cell, *heads, *history_store, *countersigner, images, [this] { return health(); },
      [this] { return pacer->pace(); },
      [this](const std::string& host, const core::HostLease& lease) { return guardian->promise(host, lease); },
      config.four_eyes, !config.alerts.to.empty());
  api::ServerOptions server_options;
  server_options.listen = config.api.listen;
  server_options.tls = {config.api.tls.ca, config.api.tls.cert, config.api.tls.key, config.api.crl};
  if (!config.api.identities.empty()) {
    server_options.identities = {config.api.identities, [this] { return load_identities(config.api.identities); }};
  }
  server_options.console = config.api.console;
  server_options.max_image_bytes = config.images.limit_mib * 1024 * 1024;
  auto made_server = api::Server::make(io.get_executor(), std::move(server_options), *service);
  if (!made_server) return made_server.error();
  server = std::move(*made_server);
  return {};
}

core::HostInfo App::host_info(const core::HostCapacity& capacity, const runtime::libvirt::AccelProbe& probe) const {
  core::HostInfo info;
  info.id = config.host;
  info.site = config.site;
  info.api_address = config.api.listen;
  info.replication_address = config.replication.address;
  info.migration_address = config.migration_address;
  info.first_port = config.replication.first_port;
  info.last_port = config.replication.last_port;
  info.hostd_version = BASCULE_VERSION;
  info.libvirt_version = capacity.libvirt_version;
  info.qemu_version = capacity.qemu_version;
  info.drbd_version = drbd->version_text();
  utsname name{};
  if (::uname(&name) == 0) info.kernel = name.release;
  info.accel = core::to_string(probe.accel);
  info.instance = instance;
  info.cpus = config.cpus != 0 ? config.cpus : capacity.cpus;
  info.memory_mib = config.memory_mib != 0                  ? config.memory_mib
                    : capacity.memory_mib > kHostReserveMib ? capacity.memory_mib - kHostReserveMib
                                                            : 0;
  info.pool_kind = config.pool.kind;
  for (const auto& [network, bridge] : config.networks) info.networks.push_back(network);
  return info;
}

/// Tells the cell what this host is, as soon as libvirt and etcd answer.
asio::awaitable<void> App::announce() {
  auto probe = co_await runtime::libvirt::probe_accel();
  spdlog::info("{}", probe.sentence);
  node->accel = probe.accel;
  while (true) {
    auto capacity = co_await vms->capacity();
    auto free = co_await pool->free_mib();
    if (capacity && free && cell->view().synced) {
      core::HostInfo info = host_info(*capacity, probe);
      info.pool_free_mib = *free;
      auto done = co_await cell->put_info(std::move(info));
      auto marked = co_await cell->mark_format();
      if (done && marked) break;
    }
    if (!free) say(msg::pool_unreadable, {.host = config.host}, "pool: {}", free.error().what);
    co_await steps::pause(kStartPause);
  }
  std::set<std::string> known;
  for (const auto& [name, image] : cell->view().images) {
    if (image.value.host == config.host) known.insert(name);
  }
  // Not in a cell that is empty: what all of etcd knew may just be lost, and the images with it.
  if (cell->view().audit.revision != 0) images.forget_unknown(known);
  spdlog::info("host {} announced", config.host);
}

api::CellPort::Health App::health() const {
  api::CellPort::Health h;
  h.etcd = cell->view().synced;
  h.libvirt = vms->connected();
  h.drbd = drbd->following();
  h.ok = h.etcd && h.libvirt && h.drbd;
  if (!cell->refusal().empty())
    h.sentence += cell->refusal() + ". ";
  else if (!h.etcd)
    h.sentence += "etcd is not reached: guests run on, changes are refused. ";
  if (!h.libvirt) h.sentence += "libvirt is not reached: guests run on, none can be started or moved here. ";
  if (!h.drbd) h.sentence += "DRBD's events are not read: states shown may be old. ";
  if (h.ok) h.sentence = "everything this host needs answers";
  if (!countersigner->problem().empty()) h.warnings.push_back(countersigner->problem());
  return h;
}

/// The log and `hostctl health` tell how it went.
asio::awaitable<void> App::reload() { static_cast<void>(co_await server->reload()); }

asio::awaitable<void> App::run() {
  const auto executor = co_await asio::this_coro::executor;
  runtime::run_in_background(executor, "the view of the cell", cell->run());
  runtime::run_in_background(executor, "the watchdog", guardian->run());
  runtime::run_in_background(executor, "failover", ha->run());
  runtime::run_in_background(executor, "the pace of the io thread", pacer->beat());
  runtime::run_in_background(executor, "the pace of the lease", pacer->watch_lease());
  runtime::run_in_background(executor, "DRBD's questions", fence->run());
  runtime::run_in_background(executor, "libvirt", vms->run());
  runtime::run_in_background(executor, "the worker", worker->run());
  runtime::run_in_background(executor, "alerts", alerts->run());
  runtime::run_in_background(executor, "the history of the VMs", history->run());
  runtime::run_in_background(executor, "old history", history->tidy());
  runtime::run_in_background(executor, "telling troubles", trouble->run());
  runtime::run_in_background(executor, "countersigning the audit chain", countersigner->run());
  runtime::run_in_background(executor, "announcing the host", announce());
  runtime::run_in_background(executor, "the API", server->run());
  ::sd_notify(0, "READY=1");
  say(msg::hostd_started, {.host = config.host}, "hostd {} of host {} is up", BASCULE_VERSION, config.host);
  asio::signal_set signals(executor, SIGTERM, SIGINT, SIGHUP);
  for (int signal = SIGHUP; signal == SIGHUP;) {
    auto [ec, number] = co_await signals.async_wait(asio::as_tuple(asio::use_awaitable));
    signal = ec ? SIGTERM : number;
    // Not waited for: a SIGTERM is heard meanwhile.
    if (signal == SIGHUP) runtime::run_in_background(executor, "reading certificates again", reload());
  }
  ::sd_notify(0, "STOPPING=1");
  say(msg::hostd_stopping, {.host = config.host}, "stopping; guests run on");
  alerts->stop();
  guardian->release();
  fence->stop();
  server->stop();
  vms->stop();
  io.stop();
}

}  // namespace

int run_app(const Config& config) {
  say(msg::hostd_begins, {.host = config.host}, "hostd {} of host {} begins", BASCULE_VERSION, config.host);
  // Until it is waited for: a reload that comes with the start must not end hostd.
  std::signal(SIGHUP, SIG_IGN);
  App app(config);
  if (auto ok = app.build(); !ok) {
    say(msg::hostd_not_started, {.host = config.host}, "hostd does not start: {}", ok.error().what);
    return 1;
  }
  runtime::run_in_background(app.io.get_executor(), "hostd", app.run());
  app.io.run();
  return 0;
}

}  // namespace bascule
