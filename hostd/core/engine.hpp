// How an operation advances. The journal (`ops/<id>`) is the only state: whoever reads it knows what is next, so a
// restarted hostd goes on where the record says. Pure; hostd/worker.cpp is the shell that carries it out.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "hostd/core/error.hpp"
#include "hostd/core/model.hpp"

namespace bascule::core {

struct Work {
  enum class Kind : std::uint8_t { none, run, undo } kind{Kind::none};
  std::size_t step{};
  bool operator==(const Work&) const = default;
};

/// What `self` has to do for this operation now. Steps are run in order and undone in reverse; each is idempotent,
/// because a crash between the act and the commit makes it run again.
Work next_work(const Operation& op, const std::string& self);

/// How a step ended, as its executor reports it.
struct Outcome {
  bool ok{};
  std::string note;   ///< one line for people
  std::string error;  ///< !ok: what happened and what state things are in
  std::string todo;   ///< !ok: what a person should do if nothing else can
  std::int64_t took_ms{};
  std::map<std::string, std::string> result;  ///< added to the operation's result
  /// A change of the run-right that must become true together with the step's end (one transaction).
  std::optional<Right> right;
  Revision right_revision{};  ///< compared; 0 = the record must not exist
  /// Compared too, when a right is written: the lease of this host as it was when the right was taken from it.
  std::string lease_of;
  Revision lease_revision{};
};

/// The record after a step was run or undone.
Operation after_run(Operation op, std::size_t step, const Outcome& outcome, WallMs now);
Operation after_undo(Operation op, std::size_t step, const Outcome& outcome, WallMs now);

/// From here on the operation only goes forward: the guest may be running elsewhere, or data is gone.
bool past_no_return(const Operation& op);

/// Cancel asked by a person. Errors: conflict when finished or past the point of no return.
Result<Operation> with_cancel(Operation op);

/// What a person says to an operation at work.
enum class Steer : std::uint8_t { cancel, approve };

/// A second person agrees to what the operation waits to do. Errors: conflict (it does not wait for that), forbidden
/// (the person who asked for it).
Result<Operation> with_approval(Operation op, const Who& who);

/// What else is written in the transaction that finishes the operation.
struct Finish {
  bool release_vm{};               ///< delete vms/<vm>/op
  std::optional<VmSpec> put_spec;  ///< vms/<vm>/spec
  bool delete_vm{};                ///< every key of the VM
  std::optional<std::string> delete_image;
  bool adopted{};                ///< vms/<vm>/restored is over: the VM has a record
  bool disarm{};                 ///< failover is switched off now: it waited for a second operator
  std::optional<LastCare> care;  ///< vms/<vm>/last/<care_of(op)>
};
Finish finish_effects(const Operation& op);

}  // namespace bascule::core
