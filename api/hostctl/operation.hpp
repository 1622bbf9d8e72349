// An operation as hostctl shows it, and the lines that follow it to its end.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "api/hostctl/client.hpp"
#include "api/hostctl/json.hpp"

namespace bascule::hostctl {

struct StepView {
  std::string kind, host, state, note;
  std::int64_t took_ms{};
};

struct OpView {
  std::string id, kind, vm, object, state, error, todo, reason, author;
  std::int64_t created_ms{}, finished_ms{};
  bool cancel_requested{};
  std::vector<StepView> steps;
  std::string progress_step, progress_text;
  int percent{-1};  ///< of the running step; -1 = not known
  std::vector<std::pair<std::string, std::string>> result;

  bool finished() const { return state == "done" || state == "undone" || state == "needs-operator"; }
  std::size_t done_steps() const;
  /// The step at work, or null when none is.
  const StepView* current() const;
};

OpView op_view(const Json& json);
Exit exit_of(const OpView& op);

/// "vm-migrate web" and the like.
std::string title(const OpView& op);
/// One line about the running step: bar, steps done, name, percent, text. At most `columns` wide.
std::string status_line(const OpView& op, std::size_t columns);
/// How it ended, for people: one or more lines.
std::string ending(const OpView& op, bool colour);
std::string render_steps(const std::vector<StepView>& steps, bool colour, std::size_t columns);

/// Turns successive views into output. On a terminal the last line is redrawn; elsewhere lines are only added.
class Follower {
 public:
  Follower(bool tty, bool colour, std::size_t columns) : tty_(tty), colour_(colour), columns_(columns) {}
  std::string update(const OpView& op);
  /// Before something else is printed: takes the redrawn line away.
  std::string clear();

 private:
  std::string finished_step(const StepView& step) const;

  bool tty_, colour_;
  std::size_t columns_;
  bool titled_{}, drawn_{};
  std::vector<std::string> states_;  ///< of the steps, as last printed
  std::string last_plain_;
};

}  // namespace bascule::hostctl
