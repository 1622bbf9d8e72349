// One life of the shipped hostd on a simulated machine: the same objects as hostd/app.cpp makes, on simulated ports.
#pragma once

#include "hostd/config.hpp"
#include "hostd/guardian.hpp"
#include "hostd/ha_loop.hpp"
#include "hostd/node.hpp"
#include "hostd/observer.hpp"
#include "hostd/worker.hpp"
#include "tests/sim/cell.hpp"
#include "tests/sim/ports.hpp"

namespace bascule::sim {

class Hostd {
 public:
  Hostd(Cell& cell, Machine& machine);
  Hostd(const Hostd&) = delete;
  Hostd& operator=(const Hostd&) = delete;
  ~Hostd() { process.kill(); }
  void start();
  void libvirt_changed();
  void domain_event(core::DomainEvent event);
  void resource_event(const std::string& resource);
  void answer_fence(const std::string& resource, std::function<void(int)> tell);
  void ask_for(core::Request request, std::function<void(const core::Result<runtime::CellStore::Accepted>&)> told);
  /// A backup file is written back; told how it went.
  void restore(std::vector<core::RestoreStep> parts, std::function<void(const core::Result<>&)> told);
  /// A second operator agrees.
  void approve(const std::string& operation);

  Process process;
  std::optional<Inside> made_in{process};  ///< what is made below reads this machine's clocks
  Config config;
  SimKv kv;
  runtime::CellStore cell;
  SimVmHost vms;
  SimDrbd drbd;
  NoteStore notes;
  SimWatchdog watchdog;
  SimPeers peers;
  SimPower power;
  Node node;
  Guardian guardian;
  HaLoop ha;
  Observer observer;
  Worker worker;

 private:
  boost::asio::awaitable<void> announce();
  boost::asio::awaitable<void> decide(std::string resource, std::function<void(int)> tell);
  boost::asio::awaitable<void> submit(core::Request request,
                                      std::function<void(const core::Result<runtime::CellStore::Accepted>&)> told);
  boost::asio::awaitable<void> restore_all(std::vector<core::RestoreStep> parts,
                                           std::function<void(const core::Result<>&)> told);
  boost::asio::awaitable<void> steer(std::string operation);
  Cell& world_;
  Machine& machine_;
};

}  // namespace bascule::sim
