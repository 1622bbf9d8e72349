// Two private libvirtd with QEMU under TCG, made by libvirt_private.sh; needs root.
#include <fcntl.h>
#include <linux/sockios.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/detached.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "hostd/runtime/libvirt/event_loop.hpp"
#include "hostd/runtime/libvirt/libvirt_host.hpp"
#include "tests/contract/libvirt_rig.hpp"

extern "C" {
extern const unsigned char bascule_guest_begin[];
extern const unsigned char bascule_guest_end[];
}

namespace bascule::test {
namespace {
namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kMoreThanSmall = 4096;  // bytes that the kernel holds for a socket

std::string read_text(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

class PrivateDaemons {
 public:
  PrivateDaemons() {
    std::string name = "/tmp/bascule-libvirt-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) return;
    dir = name;
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      setpgid(0, 0);
      const int out = open((dir / "out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
      dup2(out, 1);
      dup2(out, 2);
      execl("/bin/bash", "bash", LIBVIRT_PRIVATE_SH, dir.c_str(), static_cast<char*>(nullptr));
      _exit(127);
    }
  }
  PrivateDaemons(const PrivateDaemons&) = delete;
  PrivateDaemons& operator=(const PrivateDaemons&) = delete;
  ~PrivateDaemons() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);  // and with it, by --kill-child, the namespaces and all that is in them
      waitpid(pid_, nullptr, 0);
    }
    std::error_code ignored;
    if (std::getenv("BASCULE_KEEP") == nullptr) fs::remove_all(dir, ignored);
  }
  bool ready() const {
    for (int i = 0; i < 200 && !fs::exists(dir / "ready"); ++i) std::this_thread::sleep_for(milliseconds(50));
    return fs::exists(dir / "ready");
  }
  void tell(const std::string& host, const std::string& word) const {
    std::ofstream(dir / host / "control") << word << std::endl;
  }
  std::string uri(const std::string& host) const {
    return "qemu+unix:///system?socket=" + (dir / host / "run/libvirt-sock").string();
  }
  fs::path dir;

 private:
  pid_t pid_{-1};
};

class RealRig final : public Rig {
 public:
  RealRig() {
    if (!daemons_.ready()) return;
    loop_ = read_text(daemons_.dir / "loop");
    while (!loop_.empty() && loop_.back() == '\n') loop_.pop_back();
    a_ = make("a1");
    b_ = make("b1");
    listen();
    for (auto* host : {a_.get(), b_.get()}) boost::asio::co_spawn(io, host->run(), boost::asio::detached);
    daemons_.tell("a1", "start");
    daemons_.tell("b1", "start");
    good_ = until([&] { return a_->connected() && b_->connected(); });
  }
  ~RealRig() override {
    for (auto* host : {a_.get(), b_.get()}) {
      if (host != nullptr) host->stop();
    }
    io.restart();
    io.run_for(seconds(2));
  }
  bool good() const { return good_; }
  std::string log() const { return read_text(daemons_.dir / "out") + read_text(daemons_.dir / "a1/libvirtd.log"); }

  runtime::VmHost& a() override { return *a_; }
  runtime::VmHost& b() override { return *b_; }
  core::DomainSpec spec(const std::string& name, Guest guest) override {
    core::DomainSpec out;
    out.name = name;
    out.uuid = core::domain_uuid("test", name);
    out.memory_mib = 64;
    out.panic_device = guest == Guest::panics;
    out.disks = {{0, disk_of(name), "disk"}};
    out.nics = {{"br-test", "52:54:00:00:00:01"}};
    write_guest(out.disks[0].device, guest);
    return out;
  }
  std::string impostor() override {
    std::error_code ignored;
    fs::create_directory_symlink(daemons_.dir / "b1", daemons_.dir / "impostor", ignored);
    return "impostor";
  }
  std::string missing_disk() override { return (daemons_.dir / "no-such-disk.img").string(); }
  std::string migration_address() override { return "127.0.0.1"; }
  void kill_daemon_a() override { daemons_.tell("a1", "kill"); }
  void start_daemon_a() override { daemons_.tell("a1", "start"); }
  void freeze_daemon_a() override {
    const auto stopped = daemons_.dir / "a1/stopped";
    fs::remove(stopped);
    daemons_.tell("a1", "stop");
    if (!until([&] { return fs::exists(stopped); })) throw std::runtime_error("the daemon did not stop");
  }
  /// By what this process has written to the daemon's sockets and it has not read: a start carries the definition. What
  /// the adapter sends by itself until it gives the connection up, a list and three signs of life, is 1 KiB each at
  /// most.
  bool start_was_sent(const std::string& /*name*/) override {
    const std::string socket = (daemons_.dir / "a1/run/libvirt-sock").string();
    for (int fd = 0; fd < 1024; ++fd) {
      sockaddr_un peer{};
      socklen_t size = sizeof peer - 1;
      if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0 || peer.sun_family != AF_UNIX) continue;
      int unread = 0;
      if (peer.sun_path == socket && ioctl(fd, SIOCOUTQ, &unread) == 0 && unread > kMoreThanSmall) return true;
    }
    return false;
  }
  std::string process_of(const std::string& name) override {
    std::string out;
    for (const auto& entry : fs::directory_iterator("/proc")) {
      const auto pid = entry.path().filename().string();
      if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
      const auto command = read_text(entry.path() / "cmdline");
      if (command.find("qemu-system") == std::string::npos) continue;
      if (command.find("guest=" + name + ",") != std::string::npos) out += pid + " ";
    }
    return out;
  }
  bool advances_within(const std::string& name, milliseconds limit) override {
    const auto before = counter(name);
    return until([&] { return counter(name) != before; }, limit);
  }

 private:
  std::unique_ptr<runtime::LibvirtHost> make(const std::string& host) {
    runtime::LibvirtOptions options;
    options.uri = daemons_.uri(host);
    options.cell = "test";
    options.host = host;
    options.peer_uri = "qemu+unix:///system?socket=" + daemons_.dir.string() + "/{host}/run/libvirt-sock";
    options.xml.any_disk_path = true;
    return std::make_unique<runtime::LibvirtHost>(io.get_executor(), std::move(options));
  }
  std::string disk_of(const std::string& name) const {
    return name == "shared" ? loop_ : (daemons_.dir / (name + ".img")).string();
  }
  static void write_guest(const std::string& path, Guest guest) {
    std::vector<unsigned char> sector(bascule_guest_begin, bascule_guest_end);
    sector.resize(4096);
    sector[509] = static_cast<unsigned char>(2 | (guest == Guest::obedient ? 1 : 0) | (guest == Guest::busy ? 4 : 0) |
                                             (guest == Guest::panics ? 8 : 0));
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    struct stat info{};
    fstat(fd, &info);
    if (S_ISREG(info.st_mode) && ftruncate(fd, 8 << 20) != 0) std::abort();
    if (write(fd, sector.data(), sector.size()) != static_cast<ssize_t>(sector.size())) std::abort();
    fsync(fd);
    close(fd);
  }
  std::uint32_t counter(const std::string& name) const {
    const int fd = open(disk_of(name).c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
    alignas(4096) std::array<unsigned char, 4096> block{};
    const auto got = read(fd, block.data(), block.size());
    close(fd);
    if (got < 516) std::abort();
    return static_cast<std::uint32_t>(block[512]) | static_cast<std::uint32_t>(block[513]) << 8U |
           static_cast<std::uint32_t>(block[514]) << 16U;
  }

  PrivateDaemons daemons_;
  runtime::libvirt::EventLoop loop_thread_;
  std::string loop_;
  std::unique_ptr<runtime::LibvirtHost> a_, b_;
  bool good_{false};
};

}  // namespace

std::unique_ptr<Rig> make_real_rig(std::string& why_not) {
  if (geteuid() != 0) {
    why_not = "needs root for private namespaces";
    return nullptr;
  }
  for (const char* tool :
       {"/usr/sbin/libvirtd", "/usr/bin/qemu-system-x86_64", "/usr/bin/unshare", "/usr/bin/openssl"}) {
    if (!fs::exists(tool)) {
      why_not = std::string(tool) + " is not installed";
      return nullptr;
    }
  }
  auto rig = std::make_unique<RealRig>();
  if (!rig->good()) {
    why_not = "the private libvirt daemons did not come up: " + rig->log();
    return nullptr;
  }
  return rig;
}

}  // namespace bascule::test
