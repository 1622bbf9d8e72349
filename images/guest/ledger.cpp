// ledger: behaves like a client's database. Appends records to its disk and reports each to a
// collector only after the flush returned. Any doubt about the disk ends it: it never papers over.
#include <getopt.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#include "images/guest/journal.hpp"
#include "images/guest/report.hpp"
#include "images/guest/udp.hpp"

namespace bascule::ledger {
namespace {

constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
constexpr std::uint64_t kMaxRate = 10'000;  // records a second
constexpr int kErrorRepeats = 3;            // an error report must not hang on one datagram
constexpr unsigned kErrorPauseUs = 200'000;
constexpr const char* kUsage = "usage: ledger --device PATH --collector ADDR[:PORT] (--mac MAC | --interface NAME)\n"
                               "              [--offset BYTES] [--rate RECORDS_PER_SECOND] [--count RECORDS]\n";

struct Settings {
  std::string device;
  sockaddr_in collector{};
  Mac mac{};
  std::uint64_t offset = kDefaultOffset;
  std::uint64_t rate = 50;
  std::uint64_t count = 0;  // 0: until asked to stop
};

volatile std::sig_atomic_t stop_asked = 0;
void ask_stop(int) { stop_asked = 1; }

std::optional<Mac> mac_of(const std::string& interface) {
  if (interface.find('/') != interface.npos) return {};
  std::ifstream file("/sys/class/net/" + interface + "/address");
  std::string line;
  if (!std::getline(file, line)) return {};
  return parse_mac(line);
}

template <class T>
bool assign(T& out, const std::optional<T>& value) {
  if (value) out = *value;
  return value.has_value();
}

bool number(const char* text, std::uint64_t& out) {
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, out);
  return error == std::errc{} && stop == end;
}

std::optional<Settings> parse_arguments(int argc, char** argv) {
  static const std::array<option, 8> kOptions{{{"device", required_argument, nullptr, 'd'},
                                               {"collector", required_argument, nullptr, 'c'},
                                               {"mac", required_argument, nullptr, 'm'},
                                               {"interface", required_argument, nullptr, 'i'},
                                               {"offset", required_argument, nullptr, 'o'},
                                               {"rate", required_argument, nullptr, 'r'},
                                               {"count", required_argument, nullptr, 'n'},
                                               {}}};
  Settings out;
  bool collector = false;
  bool mac = false;
  int key = 0;
  while ((key = ::getopt_long(argc, argv, "", kOptions.data(), nullptr)) != -1) {
    bool good = true;
    switch (key) {
      case 'd': out.device = optarg; break;
      case 'c': good = collector = assign(out.collector, parse_address(optarg)); break;
      case 'm': good = mac = assign(out.mac, parse_mac(optarg)); break;
      case 'i': good = mac = assign(out.mac, mac_of(optarg)); break;
      case 'o': good = number(optarg, out.offset); break;
      case 'r': good = number(optarg, out.rate) && out.rate > 0 && out.rate <= kMaxRate; break;
      case 'n': good = number(optarg, out.count); break;
      default: return {};
    }
    if (!good) {
      std::fprintf(stderr, "ledger: bad value '%s'\n", optarg);
      return {};
    }
  }
  if (optind != argc || out.device.empty() || !collector || !mac) return {};
  return out;
}

template <class T>
Result<T> random_value() {
  T out{};
  // Waits, if it must, until the kernel has gathered its entropy: two runs must never look alike.
  if (::getrandom(&out, sizeof out, 0) != static_cast<ssize_t>(sizeof out))
    return Error{std::string("no random numbers: ") + std::strerror(errno)};
  return out;
}

class Reporter {
 public:
  Reporter(int socket, const sockaddr_in& to) : socket_(socket), to_(to) {}

  // A database goes on when its client cannot be reached, so a lost report is not an error; it
  // only makes a record that nobody may hold us to.
  void send(const Report& report) const {
    const std::string text = to_text(report);
    static_cast<void>(
        ::sendto(socket_, text.data(), text.size(), MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&to_), sizeof to_));
  }

  void send_error(Report report, const Error& error) const {
    std::fprintf(stderr, "ledger: %s\n", error.what.c_str());
    report.event = Event::error;
    report.text = error.what;
    for (int i = 0; i < kErrorRepeats; ++i) {
      send(report);
      ::usleep(kErrorPauseUs);
    }
  }

 private:
  int socket_;
  sockaddr_in to_;
};

// Sleeps until `due` or a signal, and returns when the next record is due: late is not made up for.
std::uint64_t pace(std::uint64_t due, std::uint64_t period_ns) {
  const timespec until{.tv_sec = static_cast<time_t>(due / kNsPerSecond),
                       .tv_nsec = static_cast<long>(due % kNsPerSecond)};
  ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
  return std::max(due, now_ns(CLOCK_MONOTONIC)) + period_ns;
}

Result<> write_records(Journal& journal, const Settings& settings, const Reporter& reporter) {
  const std::uint64_t period_ns = kNsPerSecond / settings.rate;
  std::uint64_t due = now_ns(CLOCK_MONOTONIC);
  for (std::uint64_t written = 0; settings.count == 0 || written < settings.count; ++written) {
    due = pace(due, period_ns);
    if (stop_asked != 0) return {};
    const auto nonce = random_value<std::uint64_t>();
    if (!nonce) return nonce.error();
    const auto record =
        journal.append({.mono_ns = now_ns(CLOCK_MONOTONIC), .wall_ns = now_ns(CLOCK_REALTIME), .nonce = *nonce});
    if (!record) return record.error();
    reporter.send(report_of(*record));  // append() has flushed
  }
  return {};
}

Result<Journal> open_journal(const Settings& settings, const Id& run, const Id& new_disk) {
  auto medium = Medium::open(settings.device, Medium::Mode::write);
  if (!medium) return medium.error();
  return Journal::open(std::move(*medium), {.offset = settings.offset,
                                            .mac = settings.mac,
                                            .run = run,
                                            .new_disk = new_disk,
                                            .wall_ns = now_ns(CLOCK_REALTIME)});
}

int run(const Settings& settings) {
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) {
    std::fprintf(stderr, "ledger: no socket: %s\n", std::strerror(errno));
    return 1;
  }
  const Reporter reporter(socket, settings.collector);
  Report state{.mac = settings.mac};
  const auto stamp = [&state](Event event) {
    state.event = event;
    state.mono_ns = now_ns(CLOCK_MONOTONIC);
    state.wall_ns = now_ns(CLOCK_REALTIME);
    return state;
  };
  const auto run_id = random_value<Id>();
  const auto disk_id = random_value<Id>();
  if (!run_id || !disk_id) {
    reporter.send_error(stamp(Event::error), run_id ? disk_id.error() : run_id.error());
    return 1;
  }
  state.run = *run_id;
  auto journal = open_journal(settings, *run_id, *disk_id);
  if (!journal) {
    reporter.send_error(stamp(Event::error), journal.error());
    return 1;
  }
  const auto where = [&](Event event) {
    state.disk = journal->header().disk;
    state.seq = journal->last();
    state.sum = journal->last_sum();
    return stamp(event);
  };
  reporter.send(where(Event::start));
  if (auto r = write_records(*journal, settings, reporter); !r) {
    reporter.send_error(where(Event::error), r.error());
    return 1;
  }
  reporter.send(where(Event::stop));
  return 0;
}

}  // namespace
}  // namespace bascule::ledger

int main(int argc, char** argv) {
  using namespace bascule::ledger;
  const auto settings = parse_arguments(argc, argv);
  if (!settings) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  struct sigaction action{};
  action.sa_handler = ask_stop;  // without SA_RESTART: a signal ends the sleep
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);  // a file's size limit becomes an I/O error like any other
  return run(*settings);
}
