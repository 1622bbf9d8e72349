// What the VmHost contract needs of a hypervisor under test: two hosts, guests that behave as asked, a daemon to break.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hostd/runtime/libvirt/vm_host.hpp"

namespace bascule::test {

/// busy: deaf, and its memory never comes to rest; panics: says through its panic device, at once, that it has
/// panicked.
enum class Guest : std::uint8_t { deaf, obedient, busy, panics };

class Rig {
 public:
  Rig() = default;
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;
  virtual ~Rig() = default;

  virtual runtime::VmHost& a() = 0;
  virtual runtime::VmHost& b() = 0;
  /// A VM of this name whose disk boots such a guest. The only disk that both hosts see is that of "shared".
  virtual core::DomainSpec spec(const std::string& name, Guest guest) = 0;
  virtual std::string missing_disk() = 0;
  virtual std::string migration_address() = 0;
  /// A host id that leads to b's daemon, whose certificate does not carry that name.
  virtual std::string impostor() = 0;
  virtual void kill_daemon_a() = 0;
  virtual void start_daemon_a() = 0;
  virtual void freeze_daemon_a() = 0;  ///< takes calls, answers none
  /// True when the call that starts this VM has been sent to the frozen daemon.
  virtual bool start_was_sent(const std::string& name) = 0;
  /// Something that changes when the QEMU process of the VM is another one.
  virtual std::string process_of(const std::string& name) = 0;
  /// True as soon as the guest does work; false when it did none until the limit.
  virtual bool advances_within(const std::string& name, std::chrono::milliseconds limit) = 0;
  /// For a guest that should: its firmware alone may take a busy machine many seconds.
  bool advances(const std::string& name) { return advances_within(name, std::chrono::seconds(40)); }

  boost::asio::io_context io;
  std::vector<core::DomainEvent> events_a, events_b;

  void listen() {
    a().on_event([this](const core::DomainEvent& e) { events_a.push_back(e); });
    b().on_event([this](const core::DomainEvent& e) { events_b.push_back(e); });
  }

  /// Turns the io_context until `done` or the limit.
  bool until(const std::function<bool()>& done, std::chrono::milliseconds limit = std::chrono::seconds(40)) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      io.restart();
      io.run_one_for(std::chrono::milliseconds(20));
    }
    return true;
  }

  template <class T>
  using Pending = std::shared_ptr<std::optional<core::Result<T>>>;
  /// Starts a call and lets it go on while others are made.
  template <class T>
  Pending<T> begin(boost::asio::awaitable<core::Result<T>> call) {
    auto out = std::make_shared<std::optional<core::Result<T>>>();
    boost::asio::co_spawn(io, std::move(call), [out](const std::exception_ptr& error, core::Result<T> result) {
      if (error) std::rethrow_exception(error);
      out->emplace(std::move(result));
    });
    return out;
  }
  template <class T>
  core::Result<T> finish(const Pending<T>& pending, std::chrono::milliseconds limit = std::chrono::seconds(60)) {
    if (!until([&] { return pending->has_value(); }, limit))
      return core::fail(core::Errc::internal, "no answer in time");
    return std::move(**pending);
  }
  template <class T>
  core::Result<T> get(boost::asio::awaitable<core::Result<T>> call) {
    return finish<T>(begin<T>(std::move(call)));
  }
};

std::unique_ptr<Rig> make_fake_rig();
/// Null, with the reason, when this machine cannot run private libvirt daemons.
std::unique_ptr<Rig> make_real_rig(std::string& why_not);

}  // namespace bascule::test
