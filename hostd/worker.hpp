// The shell around core::next_work and core::reconcile: it carries out what they say and decides nothing.
#pragma once

#include <set>
#include <string>

#include "hostd/core/engine.hpp"
#include "hostd/core/reconcile.hpp"
#include "hostd/node.hpp"

namespace bascule {

class Worker {
 public:
  explicit Worker(Node& node) : node_(node) {}
  /// For ever; run it once. Looks only at operations at work and at VMs that changed.
  boost::asio::awaitable<void> run();

 private:
  boost::asio::awaitable<void> work(std::string op, std::string vm, core::Work work);
  boost::asio::awaitable<void> mend(std::string vm);
  void look_later(const std::string& vm);
  boost::asio::awaitable<void> measure();
  void stays_off(const std::string& vm);
  core::Result<> drop_note(const std::string& vm, std::uint16_t volume);
  boost::asio::awaitable<void> forgive(std::string vm);
  boost::asio::awaitable<core::Result<std::vector<std::uint16_t>>> whole_again(std::string vm);
  boost::asio::awaitable<void> settle(std::string vm);
  boost::asio::awaitable<void> see_volumes(std::string vm);
  boost::asio::awaitable<core::Result<>> attach_again(std::string vm);
  boost::asio::awaitable<void> attach_later(std::string vm, std::chrono::seconds after);
  void see_frozen(const std::string& vm);
  boost::asio::awaitable<void> watch_frozen(std::string vm);
  void owe(const std::string& vm);
  boost::asio::awaitable<void> stop_while_owed(std::string vm, std::chrono::steady_clock::time_point since);
  boost::asio::awaitable<core::Result<>> apply(std::string vm, core::Remedy remedy);
  boost::asio::awaitable<void> publish(std::string vm);
  std::optional<core::VmStatus> untold(const std::string& vm) const;
  void touch_untold();
  boost::asio::awaitable<void> forget();
  void note(const std::string& vm);
  void note_etcd();
  void start_operations();
  void start_remedies();

  Node& node_;
  std::set<std::string> busy_ops_, busy_vms_, publishing_;
  std::set<std::string> window_looked_at_;    ///< VMs whose window was asked for since this hostd started
  std::set<std::string> frozen_;              ///< VMs whose I/O stands still for the kernel's question
  std::set<std::string> look_at_;             ///< VMs to reconcile
  std::set<std::string> later_;               ///< VMs that are looked at again in a while
  std::map<std::string, int> attach_pauses_;  ///< by VM: how often a failing disk was left alone for a while
  std::map<std::string, std::chrono::steady_clock::time_point> owed_since_;  ///< R4: VMs whose record is untrue
  bool forgetting_{}, measuring_{};
  bool was_synced_{};
};

}  // namespace bascule
