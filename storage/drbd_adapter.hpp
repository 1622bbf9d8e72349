// DrbdPort over drbdsetup and drbdmeta of this host. Decides nothing but the order of commands and
// what their answers mean. Thread rule: the executor given, one thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "storage/drbd_commands.hpp"
#include "storage/drbd_port.hpp"
#include "storage/drbd_show.hpp"

namespace bascule::storage {

struct DrbdPaths {
  std::string config{"/etc/drbd.d"};                ///< included by the package's /etc/drbd.conf
  std::string version{"/sys/module/drbd/version"};  ///< there once the module is loaded
};

class DrbdAdapter final : public DrbdPort {
 public:
  /// Errors: unavailable (no module), invalid (version, options, or `host` is not `uname -n`:
  /// drbdadm picks its section of a configuration by that name, also when the kernel calls it).
  static core::Result<std::unique_ptr<DrbdAdapter>> make(const boost::asio::any_io_executor& executor, std::string host,
                                                         DrbdOptions options, DrbdPaths paths = {});
  ~DrbdAdapter() override;

  /// "8.4.11"
  const std::string& version_text() const { return version_text_; }

  Task<> write_config(Resource resource) override;
  Task<> remove_config(std::string name) override;
  Task<> create_metadata(Resource resource, std::string volume) override;
  Task<> up_standalone(Resource resource) override;
  Task<> mark_stale(Resource resource, std::string volume) override;
  using DrbdPort::connect;
  Task<> connect(Resource resource, Discard discard) override;
  Task<> disconnect(std::string name, bool force) override;
  Task<> new_current_uuid_clear_bitmap(Resource resource, std::string volume) override;
  Task<> promote(std::string name, PromotionProof proof) override;
  Task<std::string> generation(Resource resource, std::string volume) override;
  Task<> demote(std::string name) override;
  Task<> set_two_primaries(std::string name, bool allow) override;
  Task<bool> two_primaries(std::string name) override;
  Task<> verify(Resource resource, std::string volume) override;
  Task<> resize(Resource resource, std::string volume, std::uint64_t size_mib) override;
  Task<> detach(Resource resource, std::string volume, bool force) override;
  Task<> ask_again(Resource resource) override;
  Task<> suspend_io(std::string name) override;
  Task<> resume_io(std::string name) override;
  Task<> fail_io(Resource resource) override;
  Task<> down(std::string name) override;
  Task<ResourceState> query(std::string name) override;
  void listen(Changed changed, Trouble trouble) override;
  void stop() override;
  bool following() const override;

 private:
  struct Stream;
  DrbdAdapter() = default;
  static boost::asio::awaitable<void> follow(std::shared_ptr<Stream> stream);
  static boost::asio::awaitable<core::Error> follow_once(std::shared_ptr<Stream> stream);

  /// One command; refusal carries `what`.
  Task<> act(Argv argv, std::string what);
  /// The same, repeated while DRBD answers with the failure `code`, at most `attempts` times in
  /// all.
  Task<> act_patiently(Argv argv, std::string what, int code, int attempts);
  Task<ShownResource> show(std::string name);
  Running devices(std::string name, const ResourceState& state) const;
  Task<> check_never_written(Running now, ResourceState state);
  Task<Running> running(std::string name, ResourceState state);
  Task<> attach(DrbdCommands commands, Volume volume, std::optional<std::string> attached);
  Task<> make_peer_known(DrbdCommands commands, ShownResource shown);
  Task<> wait_for_connection(std::string name, bool connection, std::string what);
  core::Result<DrbdCommands> commands(Resource resource) const;
  core::Result<> write(const Resource& resource) const;

  boost::asio::any_io_executor executor_;
  std::string host_, version_text_;
  DrbdVersion version_{};
  DrbdOptions options_;
  DrbdPaths paths_;
  std::shared_ptr<Stream> stream_;
};

}  // namespace bascule::storage
