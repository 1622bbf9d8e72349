// Drives the libvirt adapter alone on a lab host, without hostd: for measuring, and for looking at one call.
//   vm_host_tool HOST format DEVICE            write the test guest (counts on sector 1) to a device
//   vm_host_tool HOST count DEVICE             print that counter
//   vm_host_tool HOST start|off|observe|resume|shutdown VM [DEVICE [MEMORY_MIB]]
//   vm_host_tool HOST list | capacity | probe | watch SECONDS
//   vm_host_tool HOST migrate VM DEST ADDRESS  progress every 200 ms, total time at the end
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <optional>
#include <vector>

#include "hostd/runtime/libvirt/accel_probe.hpp"
#include "hostd/runtime/libvirt/event_loop.hpp"
#include "hostd/runtime/libvirt/libvirt_host.hpp"

extern "C" {
extern const unsigned char bascule_guest_begin[];
extern const unsigned char bascule_guest_end[];
}

namespace {
using namespace bascule;
using Clock = std::chrono::steady_clock;
const auto began = Clock::now();

std::ostream& say() {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began).count();
  return std::cout << "[" << ms << " ms] ";
}

template <class T>
core::Result<T> wait(boost::asio::io_context& io, boost::asio::awaitable<core::Result<T>> call) {
  auto out = std::make_shared<std::optional<core::Result<T>>>();
  boost::asio::co_spawn(io, std::move(call),
                        [out](const std::exception_ptr&, core::Result<T> r) { out->emplace(std::move(r)); });
  while (!out->has_value()) io.run_one();
  return std::move(**out);
}

int report(const core::Result<>& result) {
  if (result) {
    say() << "ok\n";
    return 0;
  }
  say() << to_string(result.error().code) << ": " << result.error().what << "\n";
  return 1;
}

void print(const core::DomainInfo& d) {
  say() << d.name << " " << to_string(d.state) << " (" << to_string(d.reason) << ")\n";
}

int device(const std::string& verb, const char* path) {
  const int fd = open(path, (verb == "format" ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
  alignas(4096) std::array<unsigned char, 4096> block{};
  if (fd < 0) return std::cerr << path << ": " << std::strerror(errno) << "\n", 1;
  if (verb == "format") {
    std::memcpy(block.data(), bascule_guest_begin, static_cast<std::size_t>(bascule_guest_end - bascule_guest_begin));
    block[509] = 2 | 1 | 4;
    return pwrite(fd, block.data(), block.size(), 0) == 4096 && fsync(fd) == 0 ? 0 : 1;
  }
  if (pread(fd, block.data(), block.size(), 0) != 4096) return 1;
  std::cout << (block[512] | block[513] << 8 | block[514] << 16) << "\n";
  return 0;
}

boost::asio::awaitable<void> progress(runtime::LibvirtHost& host, std::string vm, std::shared_ptr<bool> done) {
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor);
  while (!*done) {
    timer.expires_after(std::chrono::milliseconds(200));
    co_await timer.async_wait(boost::asio::use_awaitable);
    const auto stats = co_await host.migration_progress(vm);
    if (stats && stats->job == core::MigrationStats::Job::running) {
      say() << core::percent_done(*stats) << " %, pass " << stats->iteration << ", " << stats->memory_bps / 1048576
            << " MiB/s\n";
    }
  }
}

core::DomainSpec spec_of(const std::vector<std::string>& args) {
  core::DomainSpec spec;
  spec.name = args.at(2);
  spec.uuid = core::domain_uuid("lab", spec.name);
  spec.memory_mib = args.size() > 4 ? std::strtoull(args[4].c_str(), nullptr, 10) : 128;
  spec.disks = {{0, args.at(3), "disk"}};
  return spec;
}

int command(boost::asio::io_context& io, runtime::LibvirtHost& host, const std::vector<std::string>& args) {
  const auto& verb = args.at(1);
  const auto& me = args.at(0);
  if (verb == "list") {
    const auto all = wait(io, host.list());
    if (!all) return report(all.error());
    for (const auto& d : *all) print(d);
    return 0;
  }
  if (verb == "capacity") {
    const auto c = wait(io, host.capacity());
    if (!c) return report(c.error());
    say() << c->memory_mib << " MiB, " << c->cpus << " CPUs, libvirt " << c->libvirt_version << ", QEMU "
          << c->qemu_version << "\n";
    return 0;
  }
  if (verb == "watch") {
    const auto end = Clock::now() + std::chrono::seconds(std::strtol(args.at(2).c_str(), nullptr, 10));
    while (Clock::now() < end) io.run_one_until(end);
    return 0;
  }
  const auto& vm = args.at(2);
  if (verb == "start") return report(wait(io, host.start(spec_of(args), {{vm, me, 1, 1}})));
  if (verb == "resume") return report(wait(io, host.resume(vm, {{vm, me, 1, 1}})));
  if (verb == "off") return report(wait(io, host.force_off(vm)));
  if (verb == "shutdown") return report(wait(io, host.request_shutdown(vm)));
  if (verb == "observe") {
    const auto info = wait(io, host.observe(vm));
    if (!info) return report(info.error());
    print(*info);
    const auto stats = wait(io, host.completed_migration(vm));
    if (stats && stats->job != core::MigrationStats::Job::none) {
      say() << "last migration: " << stats->elapsed_ms << " ms, downtime " << stats->downtime_ms << " ms (net "
            << stats->downtime_net_ms << ")\n";
    }
    return 0;
  }
  if (verb == "migrate") {
    core::MigrationParams params;
    params.target_address = args.at(4);
    const auto done = std::make_shared<bool>(false);
    boost::asio::co_spawn(io, progress(host, vm, done), boost::asio::detached);
    const auto result = wait(io, host.migrate(vm, args.at(3), params));
    *done = true;
    return report(result);
  }
  std::cerr << "unknown verb " << verb << "\n";
  return 2;
}
}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (args.size() < 2) return std::cerr << "usage: see the head of vm_host_tool.cpp\n", 2;
  if (args[1] == "format" || args[1] == "count") return device(args[1], args.at(2).c_str());
  boost::asio::io_context io;
  if (args[1] == "probe") {
    boost::asio::co_spawn(io, runtime::libvirt::probe_accel(),
                          [](const std::exception_ptr&, const auto& probe) { say() << probe.sentence << "\n"; });
    io.run();
    return 0;
  }
  runtime::libvirt::EventLoop loop;
  runtime::LibvirtOptions options;
  options.cell = "lab";
  options.host = args[0];
  runtime::LibvirtHost host(io.get_executor(), options);
  host.on_event([](const core::DomainEvent& e) {
    say() << "event: " << to_string(e.kind) << " " << e.info.name << " " << to_string(e.info.state) << " ("
          << to_string(e.info.reason) << ")\n";
  });
  boost::asio::co_spawn(io, host.run(), boost::asio::detached);
  const auto end = Clock::now() + std::chrono::seconds(20);
  while (!host.connected() && Clock::now() < end) io.run_one_until(end);
  const int rc = command(io, host, args);
  host.stop();
  return rc;
}
