// The real server on loopback before a fake cell, driven by lines on stdin; see api_test.py.
//   api_rig CA CERT KEY IMAGE_FOLDER [few] [TIME=MS] [roomy=N] [unsent=BYTES] [console=FOLDER] [port=N]
//                                                    prints "port N", then answers each line with one line
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>
#include <iostream>
#include <map>
#include <sstream>
#include <thread>

#include "api/server.hpp"
#include "hostd/identities.hpp"
#include "tests/testkit/fake_cell.hpp"

namespace asio = boost::asio;
namespace core = bascule::core;
using bascule::test::FakeCell;

namespace {

/// As few as a test can hold.
void make_few(bascule::api::ServerLimits& l) {
  l.streams_per_name = 3;
  l.per_name = 20;
  l.clients = 6;
}

/// One time, by its name: a test shortens what its slow client is to meet and nothing else, or an honest client on a
/// busy machine would meet it too.
void set_time(bascule::api::ServerLimits& l, const std::string& name, int ms) {
  const std::map<std::string, std::chrono::milliseconds*> times{
      {"handshake", &l.handshake_time}, {"header", &l.header_time},  {"body", &l.body_time}, {"write", &l.write_time},
      {"idle", &l.idle_time},           {"heartbeat", &l.heartbeat}, {"stop", &l.stop_time}};
  if (const auto it = times.find(name); it != times.end()) *it->second = std::chrono::milliseconds(ms);
}

/// Room for this many connections of one client, to see what holding them costs.
void make_room(bascule::api::ServerLimits& l, std::size_t connections) {
  l.others = l.clients = l.per_name = connections;
  l.connections = connections + 128;
  l.handshakes_per_address = l.handshakes;
  l.idle_time = l.handshake_time = std::chrono::minutes(10);  // a slow machine needs a while to make them all
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
}

/// How late this io thread comes to a timer, as the renewal of a host's lease beside a server would; and how much it
/// worked between two of them, which does not depend on how busy the machine is.
struct Beat {
  static constexpr std::chrono::milliseconds kEvery{100};
  std::chrono::nanoseconds worst{}, most_work{};

  static std::chrono::nanoseconds work_so_far() {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
  }

  asio::awaitable<void> run() {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    while (true) {
      const auto before = work_so_far();
      timer.expires_after(kEvery);
      co_await timer.async_wait(asio::use_awaitable);
      most_work = std::max(most_work, work_so_far() - before);
      worst = std::max<std::chrono::nanoseconds>(worst, std::chrono::steady_clock::now() - timer.expiry());
    }
  }
  /// Both since it was asked last, in microseconds.
  std::string tell() {
    using std::chrono::microseconds;
    std::ostringstream out;
    out << std::chrono::duration_cast<microseconds>(worst).count() << ' '
        << std::chrono::duration_cast<microseconds>(most_work).count();
    worst = most_work = {};
    return out.str();
  }
};

std::optional<core::Errc> errc_of(const std::string& word) {
  for (int i = 0; i <= static_cast<int>(core::Errc::internal); ++i) {
    if (core::to_string(static_cast<core::Errc>(i)) == word) return static_cast<core::Errc>(i);
  }
  return std::nullopt;
}

/// The driver sends small decimal numbers; anything else counts as 0.
int number(const std::string& text) {
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// What a full disk or a lack of descriptors does to a reload: no file tells when it is over.
std::atomic<bool> mapping_fails{false};  // read by the API's thread

/// One leg falls behind by this much, or catches up (0); as the record and the holder would say it.
void set_behind(FakeCell& cell, const std::string& name, int kib) {
  auto& vm = cell.edit().vms.at(name);
  const std::string& holder = vm.right.value.host;
  for (const auto& v : vm.layout.value.volumes) {
    auto& legs = vm.right.value.insync[v.name];
    legs = v.legs;
    if (kib > 0) std::erase_if(legs, [&](const core::Leg& leg) { return leg.host != holder; });
    vm.status[holder].volumes[v.name] = {"UpToDate", kib > 0 ? "Inconsistent" : "UpToDate",
                                         kib > 0 ? "SyncSource" : "Established", static_cast<std::uint64_t>(kib)};
  }
  vm.right.revision = cell.changed("vm.changed", name, vm.spec.value.project);
}

std::string obey(FakeCell& cell, bascule::api::Server& server, Beat& beat, const std::string& line) {
  std::istringstream in(line);
  std::string verb, a, b;
  in >> verb >> a >> b;
  if (verb == "vm") return cell.add_vm(a, b, true), "ok";
  if (verb == "vms") {
    for (int i = 0; i < number(a); ++i) {
      std::ostringstream name;
      name << "vm-" << i;
      cell.add_vm(name.str(), i % 2 == 0 ? "blue" : "green", i % 3 != 0);
    }
    return "ok";
  }
  if (verb == "history") return cell.set_history(a, number(b)), "ok";
  if (verb == "alert") {  // ID KIND SEVERITY [over]
    std::string severity, over;
    in >> severity >> over;
    return cell.add_alert(a, b, severity, over == "over"), "ok";
  }
  if (verb == "drill") {
    cell.edit().vms.at(a).spec.value.drill_every_days = static_cast<std::uint32_t>(number(b));
    return cell.touch_vm(a), "ok";
  }
  if (verb == "promises") return cell.refuses_promises = a == "no", "ok";
  if (verb == "touch") return cell.touch_vm(a), "ok";
  if (verb == "touches") {
    for (int i = 0; i < number(b); ++i) cell.touch_vm(a);
    return "ok";
  }
  if (verb == "finish") {
    const auto state = core::parse_op_state(b);
    return state && cell.finish(a, *state) ? "ok" : "no";
  }
  if (verb == "progress") return cell.progress(a, number(b)), "ok";
  if (verb == "forget") return cell.forget_events(), "ok";
  if (verb == "synced") return cell.set_synced(a == "yes"), "ok";
  if (verb == "head") {
    cell.heads.push_back({"cell", a, number(b), std::string(64, 'a'), 1, "c2ln", "pem"});
    return "ok";
  }
  if (verb == "lost") {
    cell.edit().hosts.at(a).silent = b == "yes";
    return cell.changed("host.changed", a, {}), "ok";
  }
  if (verb == "behind") return set_behind(cell, a, number(b)), "ok";
  if (verb == "silent") return cell.edit().hosts.at(a).silent = b == "yes", "ok";
  if (verb == "sick") return cell.set_health({false, true, false, true, "libvirt is not reached"}), "ok";
  if (verb == "well") return cell.set_health({true, true, true, true, "all is well"}), "ok";
  if (verb == "fail") {
    const auto code = errc_of(a);
    if (!code) return "no";
    cell.fail_next({*code, "secret sentence of the cell"});
    return "ok";
  }
  if (verb == "submitted") return std::to_string(cell.submitted);
  if (verb == "revision") return std::to_string(cell.view().revision);
  if (verb == "spec") return std::to_string(cell.view().vms.at(a).spec.revision);
  if (verb == "late") return beat.tell();
  if (verb == "four-eyes") return cell.four_eyes.verbs = {a, b}, "ok";
  if (verb == "mapping") return mapping_fails = a == "fails", "ok";
  if (verb == "stop") return server.stop(), "ok";
  return "what?";
}

asio::awaitable<void> listen(FakeCell& cell, bascule::api::Server& server, Beat& beat) {
  asio::posix::stream_descriptor in(co_await asio::this_coro::executor, ::dup(STDIN_FILENO));
  std::string buffer;
  while (true) {
    auto [ec, n] =
        co_await asio::async_read_until(in, asio::dynamic_buffer(buffer), '\n', asio::as_tuple(asio::use_awaitable));
    if (ec) {
      server.stop();
      co_return;
    }
    const std::string line = buffer.substr(0, n - 1);
    buffer.erase(0, n);
    std::string answer;
    if (line.starts_with("hold ")) {  // the io thread, by something that takes long; answered before
      std::cout << "ok" << std::endl;
      std::this_thread::sleep_for(std::chrono::milliseconds(number(line.substr(5))));
      continue;
    }
    if (line.starts_with("reload")) {
      const auto done = co_await server.reload();
      std::cout << (done ? "ok" : "kept") << std::endl;
      continue;
    }
    try {
      answer = obey(cell, server, beat, line);
    } catch (const std::exception& e) {
      answer = std::string("wrong: ") + e.what();
    }
    std::cout << answer << std::endl;
  }
}

asio::awaitable<void> run(asio::io_context& io, bascule::api::Server& server) {
  co_await server.run();
  std::cout << "stopped" << std::endl;
  io.stop();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  spdlog::set_default_logger(spdlog::stderr_logger_mt("rig"));
  asio::io_context io(1);
  FakeCell cell(io.get_executor(), argv[4]);
  bascule::api::ServerOptions options;
  options.listen = "127.0.0.1:0";
  options.tls = {argv[1], argv[2], argv[3]};
  options.max_image_bytes = std::uint64_t{128} << 20U;
  for (int i = 5; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "few") make_few(options.limits);
    if (const auto at = word.find('='); at != std::string::npos)
      set_time(options.limits, word.substr(0, at), number(word.substr(at + 1)));
    if (word.starts_with("roomy=")) make_room(options.limits, static_cast<std::size_t>(number(word.substr(6))));
    if (word.starts_with("unsent=")) options.limits.unsent_per_name = static_cast<std::size_t>(number(word.substr(7)));
    if (word.starts_with("crl=")) options.tls.crls.push_back(word.substr(word.find('=') + 1));
    if (word.starts_with("identities=")) {
      const std::string file = word.substr(word.find('=') + 1);
      options.identities = {file, [file]() -> core::Result<bascule::api::IdentityMap> {
                              if (mapping_fails) return core::fail(core::Errc::io, "no descriptor is left");
                              return bascule::load_identities(file);
                            }};
    }
    if (word.starts_with("console=")) options.console = word.substr(word.find('=') + 1);
    if (word.starts_with("port=")) options.listen = "127.0.0.1:" + word.substr(word.find('=') + 1);
  }
  options.limits.files_time = std::chrono::milliseconds(100);
  auto server = bascule::api::Server::make(io.get_executor(), std::move(options), cell);
  if (!server) {
    std::cerr << server.error().what << '\n';
    return 1;
  }
  std::cout << "port " << (*server)->port() << std::endl;
  Beat beat;
  asio::co_spawn(io, beat.run(), asio::detached);
  asio::co_spawn(io, listen(cell, **server, beat), asio::detached);
  asio::co_spawn(io, run(io, **server), asio::detached);
  io.run();
  return 0;
}
