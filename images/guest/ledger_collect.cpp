// ledger-collect: outside, on the client network. Appends every report it receives to a log, one
// line each, flushed at once. What is not a report is counted and never logged as one.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>

#include "images/guest/report.hpp"
#include "images/guest/udp.hpp"

namespace bascule::ledger {
namespace {

constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
constexpr int kPollMs = 1000;
constexpr int kReceiveBuffer = 4 << 20;  // bytes; rides out a stall of this machine

volatile std::sig_atomic_t stop_asked = 0;
void ask_stop(int) { stop_asked = 1; }

int complain(const std::string& what) {
  std::fprintf(stderr, "ledger-collect: %s: %s\n", what.c_str(), std::strerror(errno));
  return 1;
}

// One write per line on an O_APPEND file: a line is whole or at the very end of the file.
bool append(int log, std::string line) {
  line += '\n';
  return ::write(log, line.data(), line.size()) == static_cast<ssize_t>(line.size());
}

// An earlier collector that was killed may have left half a line.
bool end_last_line(int log) {
  const off_t size = ::lseek(log, 0, SEEK_END);
  if (size <= 0) return size == 0;
  char last = 0;
  if (::pread(log, &last, 1, size - 1) != 1) return false;
  return last == '\n' || append(log, " # cut off");
}

int open_socket(const sockaddr_in& address) {
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return -1;
  ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
  if (::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return socket;
  ::close(socket);
  return -1;
}

class Collector {
 public:
  Collector(int socket, int log) : socket_(socket), log_(log) {}

  bool run() {
    while (stop_asked == 0) {
      pollfd wait{.fd = socket_, .events = POLLIN, .revents = 0};
      if (::poll(&wait, 1, kPollMs) < 0 && errno != EINTR) return false;
      if ((wait.revents & POLLIN) != 0 && !receive()) return false;
      if (!note_garbage()) return false;
    }
    noted_at_ = 0;
    return note_garbage();
  }

 private:
  bool receive() {
    std::array<char, kMaxReportBytes + 1> buffer{};  // one more: too long is seen as too long
    sockaddr_in from{};
    socklen_t length = sizeof from;
    const ssize_t got =
        ::recvfrom(socket_, buffer.data(), buffer.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 0) return errno == EINTR || errno == EAGAIN || errno == ECONNREFUSED;
    auto report = parse_report({buffer.data(), static_cast<std::size_t>(got)});
    if (!report) {
      ++garbage_;
      garbage_from_ = to_text(from);
      return true;
    }
    return append(log_, to_text(Received{.mono_ns = now_ns(CLOCK_MONOTONIC),
                                         .wall_ns = now_ns(CLOCK_REALTIME),
                                         .from = to_text(from),
                                         .report = std::move(*report)}));
  }

  // At most one line a second, so that a flood does not fill the disk.
  bool note_garbage() {
    const std::uint64_t now = now_ns(CLOCK_MONOTONIC);
    if (garbage_ == noted_ || (noted_at_ != 0 && now < noted_at_ + kNsPerSecond)) return true;
    noted_ = garbage_;
    noted_at_ = now;
    return append(log_, "# not a report: " + std::to_string(garbage_) + " so far, last from " + garbage_from_);
  }

  int socket_;
  int log_;
  std::uint64_t garbage_ = 0;
  std::uint64_t noted_ = 0;
  std::uint64_t noted_at_ = 0;
  std::string garbage_from_;
};

int run(const sockaddr_in& address, const std::string& path) {
  const int log = ::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (log < 0 || !end_last_line(log)) return complain("cannot use the log " + path);
  const int socket = open_socket(address);
  if (socket < 0) return complain("cannot listen on " + to_text(address));
  if (!append(log, "# collector started on " + to_text(address)) || !Collector(socket, log).run())
    return complain("stopped");
  return 0;
}

}  // namespace
}  // namespace bascule::ledger

int main(int argc, char** argv) {
  using namespace bascule::ledger;
  CLI::App app{"Writes down what ledgers report."};
  std::string listen;
  std::string log;
  app.add_option("--listen", listen, "ADDR[:PORT], UDP")->required();
  app.add_option("--log", log, "file to append to")->required();
  CLI11_PARSE(app, argc, argv);
  const auto address = parse_address(listen);
  if (!address) {
    std::fprintf(stderr, "ledger-collect: '%s' is not an address\n", listen.c_str());
    return 2;
  }
  struct sigaction action{};
  action.sa_handler = ask_stop;
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
  return run(*address, log);
}
