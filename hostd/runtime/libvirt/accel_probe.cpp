#include "hostd/runtime/libvirt/accel_probe.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "hostd/runtime/process.hpp"

extern "C" {
extern const unsigned char bascule_probe_begin[];
extern const unsigned char bascule_probe_end[];
}

namespace bascule::runtime::libvirt {
namespace {

constexpr int proof = (0x2a << 1) | 1;     // isa-debug-exit's status for the payload's value
constexpr off_t disk_bytes = 1024 * 1024;  // the firmware does not boot a disk of one sector

/// The payload as a disk in memory: no file is left anywhere.
class MemoryDisk {
 public:
  MemoryDisk() : fd_(memfd_create("bascule-probe", MFD_CLOEXEC)) {
    const auto size = static_cast<std::size_t>(bascule_probe_end - bascule_probe_begin);
    ok_ = fd_ >= 0 && ftruncate(fd_, disk_bytes) == 0 &&
          pwrite(fd_, bascule_probe_begin, size, 0) == static_cast<ssize_t>(size);
    if (!ok_) error_ = std::strerror(errno);
  }
  MemoryDisk(const MemoryDisk&) = delete;
  MemoryDisk& operator=(const MemoryDisk&) = delete;
  ~MemoryDisk() {
    if (fd_ >= 0) close(fd_);
  }
  bool ok() const { return ok_; }
  const std::string& error() const { return error_; }
  /// Good in a child of this process, as long as this object lives.
  std::string path() const { return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd_); }

 private:
  int fd_;
  bool ok_{false};
  std::string error_;
};

Argv probe_argv(const std::string& qemu, core::Accel accel, const std::string& disk) {
  return {qemu,
          "-accel",
          std::string(core::to_string(accel)),
          "-machine",
          "q35",
          "-m",
          "64",
          "-nodefaults",
          "-no-user-config",
          "-display",
          "none",
          "-monitor",
          "none",
          "-serial",
          "none",
          "-parallel",
          "none",
          "-no-reboot",
          "-device",
          "isa-debug-exit,iobase=0xf4,iosize=4",
          "-drive",
          "if=none,id=d,format=raw,readonly=on,file=" + disk,
          "-device",
          "virtio-blk-pci,drive=d"};
}

std::string reason_of(const Outcome& outcome, std::chrono::milliseconds limit) {
  switch (outcome.end) {
    case Outcome::End::deadline:
      return "the probe guest did not come to its end in " + std::to_string(limit.count()) + " ms";
    case Outcome::End::signalled: return "QEMU was ended by signal " + std::to_string(outcome.status);
    case Outcome::End::exited: break;
  }
  const auto line = outcome.err.substr(0, outcome.err.find('\n'));
  return "QEMU ended with status " + std::to_string(outcome.status) + " before the probe guest did: " + line;
}

}  // namespace

boost::asio::awaitable<core::Result<>> run_probe_guest(core::Accel accel, std::string qemu,
                                                       std::chrono::milliseconds limit) {
  const MemoryDisk disk;
  if (!disk.ok()) co_return core::fail(core::Errc::io, "no memory for the probe guest: " + disk.error());
  Command command;
  command.argv = probe_argv(qemu, accel, disk.path());
  command.deadline = limit;
  command.max_output = 4096;
  const auto outcome = co_await run(std::move(command));
  if (!outcome) co_return outcome.error();
  if (outcome->end == Outcome::End::exited && outcome->status == proof) co_return core::Result<>{};
  co_return core::fail(core::Errc::refused, reason_of(*outcome, limit));
}

boost::asio::awaitable<AccelProbe> probe_accel(std::string qemu, std::chrono::milliseconds limit) {
  AccelProbe out;
  if (access("/dev/kvm", R_OK | W_OK) != 0) {
    out.sentence = std::string("tcg: /dev/kvm cannot be used: ") + std::strerror(errno);
    co_return out;
  }
  const auto ran = co_await run_probe_guest(core::Accel::kvm, std::move(qemu), limit);
  if (ran) {
    out.accel = core::Accel::kvm;
    out.sentence = "kvm: a probe guest ran";
  } else {
    out.sentence = "tcg: KVM is present but runs no guest here: " + ran.error().what;
  }
  co_return out;
}

}  // namespace bascule::runtime::libvirt
