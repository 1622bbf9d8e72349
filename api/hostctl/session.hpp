// One run of hostctl: its arguments, its connection to the cell, and its output.
#pragma once

#include <memory>
#include <string>

#include "api/hostctl/args.hpp"
#include "api/hostctl/client.hpp"
#include "api/hostctl/json.hpp"
#include "api/hostctl/settings.hpp"

namespace bascule::hostctl {

class Session {
 public:
  Session(Args& args, CLI::App& app);

  const Args& args;
  CLI::App& app;
  bool tty{}, error_tty{};  ///< stdout, stderr
  bool colour{};
  std::size_t columns{};  ///< of the terminal; 0 = unlimited

  /// Connects on first use. An error says which setting is missing.
  core::Result<Client*> client();
  /// The CA's file alone, for what needs no connection.
  core::Result<std::string> ca() const;
  /// For completion: a short time limit.
  void hurry(int seconds) { hurry_s_ = seconds; }

  void print(const std::string& text);  ///< stdout; already safe
  void note(const std::string& text);   ///< stderr; already safe
  void json(const Json& value) { print(value.dump(2) + "\n"); }
  /// Prints the error, returns its exit code.
  Exit fail(const core::Error& error);
  /// A change's idempotency key: the given one, else one made for this run.
  const std::string& key();

 private:
  std::unique_ptr<Client> client_;
  std::string key_;
  int hurry_s_{};
};

std::int64_t now_ms();

// The commands. Each returns the exit code and has printed what there was to say.
Exit host_list(Session&);
Exit host_show(Session&);
Exit host_maintenance(Session&);
Exit ha_status(Session&);
Exit ha_arm(Session&);
Exit ha_disarm(Session&);
Exit image_list(Session&);
Exit image_import(Session&);
Exit image_remove(Session&);
Exit vm_list(Session&);
Exit vm_show(Session&);
Exit vm_history(Session&);
Exit vm_start(Session&);
Exit vm_stop(Session&);
Exit vm_off(Session&);
Exit vm_reset(Session&);
Exit vm_migrate(Session&);
Exit vm_failover(Session&);
Exit vm_failback(Session&);
Exit vm_resize(Session&);
Exit vm_remove(Session&);
Exit volume_list(Session&);
Exit volume_grow(Session&);
Exit volume_verify(Session&);
Exit op_list(Session&);
Exit op_show(Session&);
Exit op_follow(Session&);
Exit op_cancel(Session&);
Exit op_approve(Session&);
Exit vm_copy(Session&);
Exit volume_repair(Session&);
Exit vm_adopt(Session&);
Exit watchdog_prove(Session&);
Exit apply(Session&);
Exit alert_list(Session&);
Exit alert_test(Session&);
Exit alert_ack(Session&);
Exit events(Session&);
Exit audit_list(Session&);
Exit audit_verify(Session&);
Exit audit_export(Session&);
Exit cell_backup(Session&);
Exit drills(Session&);
Exit cell_restore(Session&);
Exit why(Session&);
Exit health(Session&);
Exit version(Session&);
Exit completion(Session&);
Exit complete_words(Session&);
Exit commands(Session&);

/// Follows an operation to its end (or to Ctrl-C) and prints how it ended.
Exit follow(Session& session, const std::string& operation);

}  // namespace bascule::hostctl
