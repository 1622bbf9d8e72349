#include "api/hostctl/operation.hpp"

#include <fmt/format.h>
#include <algorithm>

#include "api/hostctl/table.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {
constexpr std::size_t kBarColumns = 20;
constexpr int kPlainEveryPercent = 10;

const char* mark(const std::string& state) {
  if (state == "done") return "+";
  if (state == "failed") return "!";
  if (state == "undone") return "-";
  return " ";
}
}  // namespace

std::size_t OpView::done_steps() const {
  return static_cast<std::size_t>(std::ranges::count(steps, std::string("done"), &StepView::state));
}

const StepView* OpView::current() const {
  if (finished()) return nullptr;
  for (const auto& s : steps) {
    if (s.state == "pending" && state != "undoing") return &s;
  }
  if (state != "undoing") return nullptr;
  // Undoing goes backwards: what is still done or failed at the end is next.
  for (auto it = steps.rbegin(); it != steps.rend(); ++it) {
    if (it->state == "done" || it->state == "failed") return &*it;
  }
  return nullptr;
}

OpView op_view(const Json& json) {
  OpView op;
  op.id = json.text("id");
  op.kind = json.text("kind");
  op.vm = json.text("vm");
  op.object = json.text("object");
  op.state = json.text("state");
  op.error = json.text("error");
  op.todo = json.text("todo");
  op.reason = json.text("reason");
  op.author = json["author"].is_object() ? json["author"].text("name") : json.text("author");
  op.created_ms = json.integer("created_ms");
  op.finished_ms = json.integer("finished_ms");
  op.cancel_requested = json.flag("cancel_requested");
  for (const auto& s : json["steps"].items()) {
    op.steps.push_back({s.text("kind"), s.text("host"), s.text("state"), s.text("note"), s.integer("took_ms")});
  }
  const Json progress = json["progress"];
  op.progress_step = progress.text("step");
  op.progress_text = progress.text("text");
  op.percent = static_cast<int>(std::clamp<std::int64_t>(progress.integer("percent", -1), -1, 100));
  for (const auto& [name, value] : json["result"].members()) op.result.emplace_back(name, value.text());
  return op;
}

Exit exit_of(const OpView& op) {
  if (op.state == "done") return Exit::done;
  if (op.state == "undone") return Exit::undone;
  if (op.state == "needs-operator") return Exit::needs_operator;
  return Exit::unknown;
}

std::string title(const OpView& op) {
  std::string out = op.kind;
  if (!op.vm.empty()) out += " " + op.vm;
  if (!op.object.empty()) out += (op.vm.empty() ? " " : "/") + op.object;
  return safe(out);
}

std::string status_line(const OpView& op, std::size_t columns) {
  const std::size_t all = std::max<std::size_t>(op.steps.size(), 1);
  const StepView* step = op.current();
  const double part = step != nullptr && op.percent >= 0 && op.state == "running" ? op.percent / 100.0 : 0.0;
  const double share = (static_cast<double>(op.done_steps()) + part) / static_cast<double>(all);
  const auto full = std::min(kBarColumns, static_cast<std::size_t>(share * static_cast<double>(kBarColumns)));
  std::string out = "[" + std::string(full, '#') + std::string(kBarColumns - full, '.') + "] ";
  out += fmt::format("{}/{}", op.done_steps(), op.steps.size());
  if (op.state != "running") out += " " + safe(op.state);
  if (step != nullptr) out += " " + safe(step->kind) + (step->host.empty() ? "" : " on " + safe(step->host));
  if (op.percent >= 0) out += fmt::format(" {} %", op.percent);
  if (!op.progress_text.empty()) out += ": " + safe(op.progress_text);
  if (op.cancel_requested) out += " (cancel requested)";
  return columns == 0 ? out : fit(out, columns);
}

std::string ending(const OpView& op, bool colour) {
  const std::string took = op.finished_ms > op.created_ms ? " in " + duration_ms(op.finished_ms - op.created_ms) : "";
  std::string out = paint(colour, colour_of_state(op.state), safe(op.state)) + ": " + title(op) + took;
  for (const auto& [name, value] : op.result) {
    const bool ms = name.ends_with("_ms");
    std::string label = ms ? name.substr(0, name.size() - 3) : name;
    std::ranges::replace(label, '_', ' ');
    out += fmt::format(", {} {}{}", safe(label), safe(value), ms ? " ms" : "");
  }
  if (!op.error.empty()) out += "\n  why: " + safe(op.error);
  if (!op.todo.empty()) out += "\n  to do: " + safe(op.todo);
  return out + "\n";
}

std::string render_steps(const std::vector<StepView>& steps, bool colour, std::size_t columns) {
  Table table({">#", "STEP", "HOST", "STATE", ">TOOK", "NOTE"});
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto& s = steps[i];
    table.add({std::to_string(i + 1),
               s.kind,
               s.host,
               {s.state, colour_of_state(s.state)},
               s.took_ms > 0 ? duration_ms(s.took_ms) : "",
               s.note});
  }
  return table.render(colour, columns);
}

std::string Follower::clear() {
  if (!drawn_) return {};
  drawn_ = false;
  return "\r\x1b[K";
}

std::string Follower::finished_step(const StepView& s) const {
  std::string line = fmt::format("  {} {}{}", mark(s.state), safe(s.kind), s.host.empty() ? "" : " on " + safe(s.host));
  if (s.state != "done") line += " " + safe(s.state);
  if (s.took_ms > 0) line += " (" + duration_ms(s.took_ms) + ")";
  if (!s.note.empty()) line += ": " + safe(s.note);
  const Colour c = s.state == "failed" ? Colour::red : s.state == "undone" ? Colour::yellow : Colour::none;
  return paint(colour_, c, tty_ && columns_ > 0 ? fit(line, columns_) : line) + "\n";
}

std::string Follower::update(const OpView& op) {
  std::string out = clear();
  if (!titled_) {
    out += paint(colour_, Colour::bold, title(op)) + "  operation " + safe(op.id) + "\n";
    titled_ = true;
  }
  states_.resize(op.steps.size(), "pending");
  for (std::size_t i = 0; i < op.steps.size(); ++i) {
    if (op.steps[i].state == states_[i]) continue;
    states_[i] = op.steps[i].state;
    out += finished_step(op.steps[i]);
  }
  if (op.finished()) return out + ending(op, colour_);
  if (tty_) {
    out += status_line(op, columns_ > 0 ? columns_ - 1 : 79);
    drawn_ = true;
    return out;
  }
  // In a log a line per tenth is enough.
  const StepView* step = op.current();
  if (step == nullptr || op.percent < 0) return out;
  const std::string key = step->kind + step->host + std::to_string(op.percent / kPlainEveryPercent);
  if (key != last_plain_) out += "    " + status_line(op, 0) + "\n";
  last_plain_ = key;
  return out;
}

}  // namespace bascule::hostctl
