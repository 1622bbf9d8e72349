// hostd-fence-peer: what the kernel runs, through drbdadm, when a DRBD primary has lost its peer. It carries the
// question to hostd and hostd's answer to the kernel; by itself it answers nothing but "not won", which leaves I/O
// frozen. Small and static: it must work when little else does. No allocation, no library but libc.
//
//   hostd-fence-peer [SOCKET [SECONDS]]       DRBD_RESOURCE names the resource
//   hostd-fence-peer lost-disk FOLDER         and DRBD_VOLUME the volume: its disk here has failed
//
// Exit code, bound by the kernel to this loss of the link: 4 = the peer is excluded by a committed record, 7 = its
// power is confirmed off, 1 = stay frozen. A lost disk is written down in FOLDER, durably, whether hostd runs or hangs:
// the kernel waits for that before it tells the peer and sends another write there (R5). 0 = written.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace {

constexpr const char* kSocket = "/run/bascule/fence.sock";
constexpr int kNotWon = 1;
constexpr long kLimitSeconds = 850;  // below cmd-timeout-long of the generated configuration (900 s, drbdadm's maximum)
constexpr long kAgainMs = 200;       // hostd was restarted, or is not up yet
constexpr std::size_t kMaxName = 64;
constexpr std::size_t kMaxPath = 256;
constexpr long kMaxVolume = 65534;      // DRBD_VOLUME_MAX
constexpr unsigned kWriteSeconds = 10;  // a root disk that stands still must not hold the guest's I/O for ever

long now_ms() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool good_name(const char* name) {
  const std::size_t length = std::strlen(name);
  if (length == 0 || length > kMaxName) return false;
  for (const char* c = name; *c != '\0'; ++c) {
    const bool good = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-';
    if (!good) return false;
  }
  return true;
}

/// The answer, or 0 when there was none: ask again.
int ask(const char* path, const char* name, long until) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return 0;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int answer = 0;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    char line[kMaxName + 16];
    const int length = std::snprintf(line, sizeof line, "fence-peer %s\n", name);
    // A hostd that closes at this instant must not end this program by SIGPIPE: it asks anew.
    if (length > 0 && send(fd, line, static_cast<std::size_t>(length), MSG_NOSIGNAL) == length) {
      // hostd may need long, and may stand still: silence is waited out, never read as an answer.
      const long left = until - now_ms();
      pollfd wait{fd, POLLIN, 0};
      char reply[3] = {};
      if (left > 0 && poll(&wait, 1, static_cast<int>(left)) == 1 && read(fd, reply, 2) == 2 && reply[1] == '\n') {
        if (reply[0] == '4' || reply[0] == '7' || reply[0] == '1') answer = reply[0] - '0';
      }
    }
  }
  close(fd);
  return answer;
}

/// An empty file <resource>.<volume>; true when it is on the disk.
bool write_down(const char* folder, int parent, const char* name, long volume) {
  char path[kMaxPath + kMaxName + 16];
  const int length = std::snprintf(path, sizeof path, "%s/%s.%ld", folder, name, volume);
  if (length <= 0 || static_cast<std::size_t>(length) >= sizeof path) return false;
  const int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  const bool kept = file >= 0 && fsync(file) == 0 && fsync(parent) == 0;
  if (!kept) std::fprintf(stderr, "hostd-fence-peer: %s: %s\n", path, std::strerror(errno));
  return kept;
}

/// hostd takes up what is in the folder (note_store.hpp). The number is one volume's with DRBD 8.4; drbdadm of DRBD 9
/// names all of the resource, whichever it was: each of them is then held for lost.
int lost_disk(const char* folder, const char* name, const char* volumes) {
  alarm(kWriteSeconds);
  const int parent = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (parent < 0) {
    std::fprintf(stderr, "hostd-fence-peer: %s: %s\n", folder, std::strerror(errno));
    return 1;
  }
  bool kept = *volumes >= '0' && *volumes <= '9';
  for (const char* c = volumes; *c != '\0';) {
    char* end = nullptr;
    const long volume = std::strtol(c, &end, 10);
    const bool number = *c >= '0' && *c <= '9' && volume <= kMaxVolume && (*end == ' ' || *end == '\0');
    if (!number) return 1;
    kept = write_down(folder, parent, name, volume) && kept;
    c = *end == ' ' ? end + 1 : end;
  }
  return kept ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "lost-disk") == 0) {
    const char* of = std::getenv("DRBD_RESOURCE");
    const char* volume = std::getenv("DRBD_VOLUME");
    if (of != nullptr && good_name(of) && volume != nullptr) return lost_disk(argv[2], of, volume);
    std::fprintf(stderr, "hostd-fence-peer: DRBD_RESOURCE and DRBD_VOLUME do not name a volume; nothing is kept\n");
    return 1;
  }
  const char* path = argc > 1 ? argv[1] : kSocket;
  const long seconds = argc > 2 ? std::strtol(argv[2], nullptr, 10) : kLimitSeconds;
  const char* name = std::getenv("DRBD_RESOURCE");
  if (name == nullptr || !good_name(name) || std::strlen(path) >= sizeof(sockaddr_un::sun_path) || seconds < 0) {
    std::fprintf(stderr, "hostd-fence-peer: DRBD_RESOURCE is not the name of a resource; I/O stays frozen\n");
    return kNotWon;
  }
  const long until = now_ms() + seconds * 1000;
  while (now_ms() < until) {
    const int answer = ask(path, name, until);
    if (answer != 0) {
      std::fprintf(stderr, "hostd-fence-peer: %s: hostd says %d\n", name, answer);
      return answer;
    }
    const timespec pause{0, kAgainMs * 1000000};
    nanosleep(&pause, nullptr);
  }
  std::fprintf(stderr, "hostd-fence-peer: %s: no answer from hostd within %ld s; I/O stays frozen\n", name, seconds);
  return kNotWon;
}
