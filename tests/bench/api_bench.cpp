// Load on the REST server over loopback, as many kept-alive mTLS connections as asked for; the server runs on its one
// thread, the load on another.
//   api_bench PKI_FOLDER [--vms N] [--connections N] [--seconds N] [--path P] [--rate N] [--json]
// Without --rate every connection asks again at once (closed loop): the most the server gives. With it requests start
// on a schedule and their time counts from there (open loop): what users see at that load.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <charconv>
#include <cstring>
#include <thread>

#include "api/server.hpp"
#include "tests/testkit/fake_cell.hpp"

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;
using asio::ip::tcp;

namespace {

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);

struct Options {
  std::string pki, path{"/v1/vms"};
  int vms{1000}, connections{64}, seconds{5}, rate{0}, changes{0};
  bool json{};
};

struct Totals {
  std::vector<double> ms;
  std::size_t bytes{}, failed{};
  int connected{};
};

struct Load {
  Load(const Options& o, std::uint16_t p) : options(o), port(p) {}
  const Options& options;
  std::uint16_t port;
  asio::io_context io{1};
  asio::ssl::context tls{asio::ssl::context::tls_client};
  Totals totals;
  Clock::time_point begin{}, end{};
  std::int64_t started{};
  asio::steady_timer gate{io};
};

double thread_cpu_seconds(clockid_t clock) {
  timespec t{};
  ::clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

/// Reads one answer: head, then Content-Length bytes. Returns its size, 0 when it is no 200.
asio::awaitable<std::size_t> read_answer(asio::ssl::stream<tcp::socket>& stream, std::vector<char>& buffer) {
  std::size_t have = 0;
  std::size_t wanted = 0;
  while (wanted == 0 || have < wanted) {
    if (have == buffer.size()) buffer.resize(buffer.size() * 2);
    auto [ec, n] = co_await stream.async_read_some(asio::buffer(buffer.data() + have, buffer.size() - have), kToken);
    if (ec) co_return 0;
    have += n;
    if (wanted != 0) continue;
    const std::string_view text(buffer.data(), have);
    const auto head = text.find("\r\n\r\n");
    if (head == std::string_view::npos) continue;
    const auto field = text.find("Content-Length: ");
    std::size_t length = 0;
    if (!text.starts_with("HTTP/1.1 200") || field > head) co_return 0;
    std::from_chars(text.data() + field + 16, text.data() + head, length);
    wanted = head + 4 + length;
    if (buffer.size() < wanted) buffer.resize(wanted);
  }
  co_return have;
}

/// When the next request of this load is due: at once, or on the schedule all connections share.
Clock::time_point next_due(Load& load) {
  if (load.options.rate == 0) return Clock::now();
  return load.begin + std::chrono::nanoseconds(1'000'000'000LL * load.started++ / load.options.rate);
}

asio::awaitable<void> connection(Load& load) {
  asio::ssl::stream<tcp::socket> stream(load.io, load.tls);
  const tcp::endpoint server(asio::ip::make_address("127.0.0.1"), load.port);
  auto [refused] = co_await stream.lowest_layer().async_connect(server, kToken);
  stream.lowest_layer().set_option(tcp::no_delay(true));
  auto [unshaken] = co_await stream.async_handshake(asio::ssl::stream_base::client, kToken);
  if (refused || unshaken) {
    ++load.totals.failed;
    co_return;
  }
  const std::string request = "GET " + load.options.path + " HTTP/1.1\r\nHost: a1\r\n\r\n";
  std::vector<char> buffer(65536);
  if (++load.totals.connected == load.options.connections) {  // all are there: the clock starts
    load.begin = Clock::now();
    load.end = load.begin + std::chrono::seconds(load.options.seconds);
    load.gate.cancel();
  } else {
    co_await load.gate.async_wait(kToken);
  }
  asio::steady_timer timer(load.io);
  while (true) {
    const auto due = next_due(load);
    if (due >= load.end) break;
    if (due > Clock::now()) {
      timer.expires_at(due);
      co_await timer.async_wait(kToken);
    }
    auto [ec, n] = co_await asio::async_write(stream, asio::buffer(request), kToken);
    auto reading = read_answer(stream, buffer);
    const std::size_t bytes = ec ? 0 : co_await std::move(reading);
    if (bytes == 0) {
      ++load.totals.failed;
      co_return;
    }
    load.totals.bytes += bytes;
    load.totals.ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - due).count());
  }
}

/// A cell at work: one VM changes this often.
asio::awaitable<void> change(bascule::test::FakeCell& cell, int per_second) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  if (per_second <= 0) co_return;
  for (int i = 0;; ++i) {
    timer.expires_after(std::chrono::milliseconds(1000 / per_second));
    co_await timer.async_wait(asio::use_awaitable);
    cell.touch_vm(fmt::format("vm-{}", i % 100));
  }
}

bool parse(int argc, char** argv, Options& o) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view a = argv[i];
    const auto number = [&](int& out) {
      if (++i >= argc) return false;
      return std::from_chars(argv[i], argv[i] + std::strlen(argv[i]), out).ec == std::errc{};
    };
    bool good = true;
    if (a == "--vms")
      good = number(o.vms);
    else if (a == "--connections")
      good = number(o.connections);
    else if (a == "--seconds")
      good = number(o.seconds);
    else if (a == "--rate")
      good = number(o.rate);
    else if (a == "--changes")
      good = number(o.changes);
    else if (a == "--json")
      o.json = true;
    else if (a == "--path" && i + 1 < argc)
      o.path = argv[++i];
    else if (o.pki.empty() && !a.starts_with("-"))
      o.pki = a;
    else
      return false;
    if (!good) return false;
  }
  return !o.pki.empty();
}

void report(const Options& o, Totals& t, double seconds, double server_cpu) {
  std::ranges::sort(t.ms);
  const auto quantile = [&](double q) {
    return t.ms.empty() ? 0.0 : t.ms[static_cast<std::size_t>(q * static_cast<double>(t.ms.size() - 1))];
  };
  const double rate = static_cast<double>(t.ms.size()) / seconds;
  const double kib = t.ms.empty() ? 0 : static_cast<double>(t.bytes) / static_cast<double>(t.ms.size()) / 1024;
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  fmt::print(
      fmt::runtime(
          o.json
              ? "{{\"path\":\"{}\",\"vms\":{},\"connections\":{},\"rate_wanted\":{},\"per_second\":{:.0f},\"p50_ms\":{:"
                ".2f},"
                "\"p99_ms\":{:.2f},\"max_ms\":{:.2f},\"kib\":{:.1f},\"server_cpu\":{:.2f},\"failed\":{}}}\n"
              : "GET {}: {} VMs, {} connections, wanted {}/s: {:.0f}/s, p50 {:.2f} ms, p99 {:.2f} ms, max {:.2f} ms, "
                "{:.1f} KiB each, server CPU {:.2f}, {} failed\n"),
      o.path, o.vms, o.connections, o.rate, rate, quantile(0.5), quantile(0.99), quantile(1), kib, server_cpu / seconds,
      t.failed);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    fmt::print(stderr, "usage: api_bench PKI_FOLDER [--vms N] [--connections N] [--seconds N] [--path P] [--rate N] "
                       "[--changes N] [--json]\n");
    return 2;
  }
  spdlog::set_default_logger(spdlog::stderr_logger_mt("bench"));
  asio::io_context server_io(1);
  bascule::test::FakeCell cell(server_io.get_executor(), options.pki);
  for (int i = 0; i < options.vms; ++i) cell.add_vm(fmt::format("vm-{}", i), "blue", i % 2 == 0);
  bascule::api::ServerOptions server_options;
  server_options.listen = "127.0.0.1:0";
  server_options.tls = {options.pki + "/ca.pem", options.pki + "/server.pem", options.pki + "/server.key"};
  auto server = bascule::api::Server::make(server_io.get_executor(), std::move(server_options), cell);
  if (!server) {
    fmt::print(stderr, "{}\n", server.error().what);
    return 1;
  }
  asio::co_spawn(server_io, (*server)->run(), asio::detached);
  asio::co_spawn(server_io, change(cell, options.changes), asio::detached);
  Load load(options, (*server)->port());
  std::jthread server_thread([&] { server_io.run(); });
  clockid_t server_clock{};
  ::pthread_getcpuclockid(server_thread.native_handle(), &server_clock);

  load.tls.load_verify_file(options.pki + "/ca.pem");
  load.tls.use_certificate_chain_file(options.pki + "/operator.pem");
  load.tls.use_private_key_file(options.pki + "/operator.key", asio::ssl::context::pem);
  load.tls.set_verify_mode(asio::ssl::verify_peer);
  load.gate.expires_at(Clock::time_point::max());
  for (int i = 0; i < options.connections; ++i) asio::co_spawn(load.io, connection(load), asio::detached);
  const double before = thread_cpu_seconds(server_clock);
  load.io.run();
  const double cpu = thread_cpu_seconds(server_clock) - before;
  const double seconds = std::chrono::duration<double>(Clock::now() - load.begin).count();
  asio::post(server_io, [&] { server_io.stop(); });
  server_thread.join();
  report(options, load.totals, seconds, cpu);
  return load.totals.failed == 0 && !load.totals.ms.empty() ? 0 : 1;
}
