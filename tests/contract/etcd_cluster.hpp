// A real etcd cluster of three on loopback, with mTLS, whose members can be killed, stopped and
// brought back.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "hostd/runtime/etcd/etcd_store.hpp"

namespace bascule::testkit {

/// Runs to its end; the program by absolute path. Output is thrown away. The exit status.
int run_program(const std::vector<std::string>& argv);
/// A port of 127.0.0.1 that was free a moment ago.
std::uint16_t free_port();

class EtcdCluster {
 public:
  static constexpr std::size_t kMembers = 3;

  /// Makes the certificates and starts the members, with these arguments more; does not wait for
  /// them.
  explicit EtcdCluster(std::vector<std::string> more_arguments = {});
  EtcdCluster(const EtcdCluster&) = delete;
  EtcdCluster& operator=(const EtcdCluster&) = delete;
  ~EtcdCluster();

  static bool available();  ///< etcd and openssl are installed

  void kill(std::size_t member);
  void start(std::size_t member);
  void freeze(std::size_t member);
  void thaw(std::size_t member);
  /// Every member runs again.
  void heal();

  [[nodiscard]] std::uint16_t port(std::size_t member) const { return members_[member].client_port; }
  [[nodiscard]] std::string url(std::size_t member) const;
  /// Short timings, so that the tests are quick.
  [[nodiscard]] runtime::etcd::EtcdOptions options() const;
  /// Certificates: "client" is good; "foreign" is by another CA, whose certificate is "foreign-ca".
  [[nodiscard]] std::string file(const std::string& name) const { return (folder_ / name).string(); }
  /// Another client. True if it worked.
  [[nodiscard]] bool etcdctl(std::vector<std::string> arguments) const;

 private:
  struct Member {
    std::uint16_t client_port{0};
    std::uint16_t peer_port{0};
    pid_t pid{-1};
    bool frozen{false};
  };
  void make_certificates() const;

  std::vector<std::string> more_arguments_;
  std::filesystem::path folder_;
  std::array<Member, kMembers> members_;
};

}  // namespace bascule::testkit
