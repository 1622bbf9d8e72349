// The watchdog's device, with the kernel's side of it played here: ioctl is wrapped (-Wl,--wrap=ioctl), the device is a
// file.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/watchdog.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "hostd/runtime/watchdog/device_watchdog.hpp"

namespace {

/// What the kernel knows of the device.
struct Kernel {
  std::string identity{"iTCO_wdt"};
  int timeout{30};
  int grain{1};  ///< time-outs are multiples of it
  int pets{};
  bool nowayout{}, disabled{};
} kernel;

}  // namespace

extern "C" int __wrap_ioctl(int, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void* where = va_arg(list, void*);
  va_end(list);
  const auto number = [where]() -> int& { return *static_cast<int*>(where); };
  switch (request) {
    case WDIOC_GETSUPPORT: {
      auto& info = *static_cast<watchdog_info*>(where);
      info = {};
      std::strncpy(reinterpret_cast<char*>(info.identity), kernel.identity.c_str(), sizeof info.identity - 1);
      return 0;
    }
    case WDIOC_SETTIMEOUT:
      kernel.timeout = (number() + kernel.grain - 1) / kernel.grain * kernel.grain;
      number() = kernel.timeout;
      return 0;
    case WDIOC_GETTIMEOUT: number() = kernel.timeout; return 0;
    case WDIOC_GETBOOTSTATUS: number() = 0; return 0;
    case WDIOC_KEEPALIVE: ++kernel.pets; return 0;
    case WDIOC_SETOPTIONS:
      if (kernel.nowayout) {
        errno = EBUSY;
        return -1;
      }
      kernel.disabled = true;
      return 0;
    default: errno = ENOTTY; return -1;
  }
}

namespace bascule::runtime {
namespace {

class Watchdog : public testing::Test {
 protected:
  Watchdog() {
    kernel = {};
    char name[] = "/tmp/bascule-watchdog-XXXXXX";
    folder_ = ::mkdtemp(name);
    path_ = folder_ + "/watchdog";
    std::ofstream(path_).flush();
  }
  ~Watchdog() override {
    for (const auto* name : {"NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(name);
    std::filesystem::remove_all(folder_);
  }
  /// What was written to the device: "V" is the word that switches it off when it is closed.
  std::string written() {
    std::ifstream in(path_);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  /// systemd's end of the notifications.
  int listen() {
    const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = folder_ + "/notify";
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
    return fd;
  }
  /// The next notification, with a '+' when a descriptor came with it.
  std::string notification(int fd) {
    char text[256];
    char control[256];
    iovec part{text, sizeof text};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const auto length = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (length < 0) return {};
    std::string out(text, static_cast<std::size_t>(length));
    for (auto* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_type != SCM_RIGHTS) continue;
      int received = -1;
      std::memcpy(&received, CMSG_DATA(c), sizeof received);
      ::close(received);
      out += '+';
    }
    return out;
  }

  std::string folder_, path_;
};

TEST_F(Watchdog, IsArmedWithTheTimeAskedForOrNotAtAll) {
  DeviceWatchdog dog(path_);
  EXPECT_FALSE(dog.armed());
  EXPECT_FALSE(dog.pet());
  ASSERT_TRUE(dog.arm(4, false));
  EXPECT_TRUE(dog.armed());
  EXPECT_EQ(kernel.timeout, 4);
  EXPECT_TRUE(dog.pet());
  EXPECT_EQ(kernel.pets, 1);
  kernel = {};
  kernel.grain = 30;
  DeviceWatchdog coarse(path_);
  auto refused = coarse.arm(4, false);
  ASSERT_FALSE(refused) << "30 s instead of 4";
  EXPECT_EQ(refused.error().code, core::Errc::refused);
  EXPECT_FALSE(coarse.armed());
  EXPECT_EQ(written(), "V") << "it does not go on counting with a time nobody reckons with";
}

TEST_F(Watchdog, ASoftdogNeedsTheOperatorsWord) {
  kernel.identity = "Software Watchdog";
  DeviceWatchdog dog(path_);
  ASSERT_FALSE(dog.arm(4, false));
  EXPECT_FALSE(dog.armed());
  auto taken = dog.arm(4, true);
  ASSERT_TRUE(taken);
  EXPECT_TRUE(taken->softdog);
}

TEST_F(Watchdog, OneThatIsToResetTheMachineDoesSoSoonAndIsNeverPettedAgain) {
  DeviceWatchdog dog(path_);
  ASSERT_TRUE(dog.arm(10, false));
  ASSERT_TRUE(dog.expire_now());
  EXPECT_EQ(kernel.timeout, 1);
  EXPECT_FALSE(dog.pet());
  EXPECT_EQ(kernel.pets, 0);
}

TEST_F(Watchdog, GoesOnCountingWhenHostdEnds) {
  {
    DeviceWatchdog dog(path_);
    ASSERT_TRUE(dog.arm(4, false));
  }
  EXPECT_EQ(written(), "");
  EXPECT_FALSE(kernel.disabled);
}

TEST_F(Watchdog, IsSwitchedOffOnlyWhereTheDriverSaysSo) {
  DeviceWatchdog dog(path_);
  ASSERT_TRUE(dog.arm(4, false));
  kernel.nowayout = true;
  EXPECT_FALSE(dog.disarm());
  EXPECT_TRUE(dog.armed());
  kernel.nowayout = false;
  EXPECT_TRUE(dog.disarm());
  EXPECT_FALSE(dog.armed());
}

TEST_F(Watchdog, IsGivenToSystemdAndTakenBackByTheNextHostd) {
  const int systemd = listen();
  {
    DeviceWatchdog dog(path_);
    ASSERT_TRUE(dog.arm(4, false));
    EXPECT_EQ(notification(systemd), "FDSTORE=1\nFDNAME=watchdog+");
  }
  constexpr int kFirst = 3;  // SD_LISTEN_FDS_START
  const int saved = ::dup(kFirst);
  const int device = ::open(path_.c_str(), O_WRONLY);
  ASSERT_EQ(::dup2(device, kFirst), kFirst);
  ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  ::setenv("LISTEN_FDS", "1", 1);
  ::setenv("LISTEN_FDNAMES", "watchdog", 1);
  {
    DeviceWatchdog next(path_);
    EXPECT_TRUE(next.armed()) << "from the first instant: it runs";
    auto info = next.arm(4, false);
    ASSERT_TRUE(info);
    EXPECT_TRUE(info->handed_over);
    EXPECT_EQ(kernel.pets, 0) << "its time is not made longer before there is a proof";
    EXPECT_EQ(notification(systemd), "") << "it is kept already";
  }
  ::close(device);
  if (saved >= 0) {
    ::dup2(saved, kFirst);
    ::close(saved);
  }
  ::close(systemd);
}

}  // namespace
}  // namespace bascule::runtime
