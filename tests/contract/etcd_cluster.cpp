#include "tests/contract/etcd_cluster.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>

namespace bascule::testkit {
namespace {

constexpr const char* kEtcd = "/usr/bin/etcd";
constexpr const char* kEtcdctl = "/usr/bin/etcdctl";
constexpr const char* kOpenssl = "/usr/bin/openssl";

std::vector<char*> pointers(const std::vector<std::string>& argv) {
  std::vector<char*> out;
  for (const std::string& argument : argv) out.push_back(const_cast<char*>(argument.c_str()));
  out.push_back(nullptr);
  return out;
}

/// The child dies with this process, whatever happens to it.
pid_t spawn(const std::vector<std::string>& argv, const std::string& log) {
  const std::vector<char*> arguments = pointers(argv);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(out, 1);
  ::dup2(out, 2);
  ::setenv("ETCDCTL_API", "3", 1);
  ::execv(arguments.front(), arguments.data());
  ::_exit(127);
}

}  // namespace

int run_program(const std::vector<std::string>& argv) {
  const pid_t pid = spawn(argv, "/dev/null");
  int status = -1;
  if (pid > 0) ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  const bool good = ::bind(fd, plain, size) == 0 && ::getsockname(fd, plain, &size) == 0;
  ::close(fd);
  if (!good) throw std::runtime_error("no free port");
  return ntohs(address.sin_port);
}

bool EtcdCluster::available() { return ::access(kEtcd, X_OK) == 0 && ::access(kOpenssl, X_OK) == 0; }

EtcdCluster::EtcdCluster(std::vector<std::string> more_arguments) : more_arguments_(std::move(more_arguments)) {
  std::string pattern = (std::filesystem::temp_directory_path() / "bascule-etcd-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  folder_ = pattern;
  make_certificates();
  for (Member& member : members_) {
    member.client_port = free_port();
    member.peer_port = free_port();
  }
  for (std::size_t i = 0; i < kMembers; ++i) start(i);
}

EtcdCluster::~EtcdCluster() {
  for (std::size_t i = 0; i < kMembers; ++i) kill(i);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void EtcdCluster::make_certificates() const {
  const auto make = [this](const std::string& name, const std::string& ca, const std::vector<std::string>& more) {
    std::vector<std::string> argv{kOpenssl,
                                  "req",
                                  "-x509",
                                  "-newkey",
                                  "ec",
                                  "-pkeyopt",
                                  "ec_paramgen_curve:P-256",
                                  "-nodes",
                                  "-days",
                                  "2",
                                  "-subj",
                                  "/O=lab",
                                  "-keyout",
                                  file(name + ".key"),
                                  "-out",
                                  file(name + ".pem")};
    if (!ca.empty()) argv.insert(argv.end(), {"-CA", file(ca + ".pem"), "-CAkey", file(ca + ".key")});
    argv.insert(argv.end(), more.begin(), more.end());
    if (run_program(argv) != 0) throw std::runtime_error("openssl could not make the certificate " + name);
  };
  const std::string both = "extendedKeyUsage=serverAuth,clientAuth";
  for (const std::string ca : {"ca", "foreign-ca"}) make(ca, "", {});
  // The gateway calls its own member with the server's certificate, so that needs both uses.
  make("server", "ca",
       {"-addext", "basicConstraints=CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", both});
  make("client", "ca", {"-addext", "basicConstraints=CA:FALSE", "-addext", both});
  make("foreign", "foreign-ca", {"-addext", "basicConstraints=CA:FALSE", "-addext", both});
}

void EtcdCluster::start(std::size_t i) {
  Member& member = members_[i];
  if (member.pid > 0) return;
  const auto peer = [this](std::size_t m) { return "http://127.0.0.1:" + std::to_string(members_[m].peer_port); };
  std::string cluster;
  for (std::size_t m = 0; m < kMembers; ++m) {
    cluster += (m == 0 ? "m" : ",m") + std::to_string(m) + "=" + peer(m);
  }
  const std::string name = "m" + std::to_string(i);
  std::vector<std::string> argv{kEtcd,
                                "--name",
                                name,
                                "--data-dir",
                                file(name),
                                "--listen-client-urls",
                                url(i),
                                "--advertise-client-urls",
                                url(i),
                                "--listen-peer-urls",
                                peer(i),
                                "--initial-advertise-peer-urls",
                                peer(i),
                                "--initial-cluster",
                                cluster,
                                "--initial-cluster-token",
                                folder_.filename().string(),
                                "--client-cert-auth",
                                "--trusted-ca-file",
                                file("ca.pem"),
                                "--cert-file",
                                file("server.pem"),
                                "--key-file",
                                file("server.key"),
                                "--heartbeat-interval",
                                "50",
                                "--election-timeout",
                                "500",
                                "--pre-vote",
                                "--logger",
                                "zap",
                                "--log-level",
                                "warn"};
  argv.insert(argv.end(), more_arguments_.begin(), more_arguments_.end());
  member.pid = spawn(argv, file(name + ".log"));
}

void EtcdCluster::kill(std::size_t i) {
  Member& member = members_[i];
  if (member.pid <= 0) return;
  ::kill(member.pid, SIGKILL);
  ::waitpid(member.pid, nullptr, 0);
  member.pid = -1;
  member.frozen = false;
}

void EtcdCluster::freeze(std::size_t i) {
  if (members_[i].pid > 0) members_[i].frozen = ::kill(members_[i].pid, SIGSTOP) == 0;
}

void EtcdCluster::thaw(std::size_t i) {
  if (members_[i].pid > 0 && members_[i].frozen) ::kill(members_[i].pid, SIGCONT);
  members_[i].frozen = false;
}

void EtcdCluster::heal() {
  for (std::size_t i = 0; i < kMembers; ++i) {
    thaw(i);
    start(i);
  }
}

std::string EtcdCluster::url(std::size_t member) const {
  return "https://127.0.0.1:" + std::to_string(members_[member].client_port);
}

runtime::etcd::EtcdOptions EtcdCluster::options() const {
  runtime::etcd::EtcdOptions options;
  for (std::size_t i = 0; i < kMembers; ++i) options.endpoints.push_back(url(i));
  options.tls = {file("ca.pem"), file("client.pem"), file("client.key")};
  options.connect_timeout = std::chrono::milliseconds(500);
  options.probe_every = std::chrono::milliseconds(200);
  options.probe_timeout = std::chrono::milliseconds(400);
  return options;
}

bool EtcdCluster::etcdctl(std::vector<std::string> arguments) const {
  std::string all;
  for (std::size_t i = 0; i < kMembers; ++i) all += (i == 0 ? "" : ",") + url(i);
  std::vector<std::string> argv{kEtcdctl, "--endpoints",      all,     "--cacert",         file("ca.pem"),
                                "--cert", file("client.pem"), "--key", file("client.key"), "--command-timeout",
                                "5s"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return run_program(argv) == 0;
}

}  // namespace bascule::testkit
