#include "hostd/runtime/say.hpp"

#include <spdlog/details/null_mutex.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "hostd/runtime/journal.hpp"

namespace bascule {
namespace {

constexpr auto kProgram = "hostd";

std::unique_ptr<runtime::Journal> journal;  // null: not under journald. Set once, before there is a second thread

/// As systemd.exec(5) says: the variable alone may be inherited by a program whose output goes elsewhere.
bool under_journal() {
  const char* named = std::getenv("JOURNAL_STREAM");
  if (named == nullptr) return false;
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    struct stat s{};
    if (::fstat(fd, &s) == 0 && fmt::format("{}:{}", s.st_dev, s.st_ino) == named) return true;
  }
  return false;
}

spdlog::level::level_enum level_of(const msg::Message& message) {
  switch (message.level) {
    case msg::Level::info: return spdlog::level::info;
    case msg::Level::warn: return spdlog::level::warn;
    case msg::Level::error: return spdlog::level::err;
    case msg::Level::critical: break;
  }
  return spdlog::level::critical;
}

int priority_of(spdlog::level::level_enum level) {
  if (level >= spdlog::level::critical) return LOG_CRIT;
  if (level == spdlog::level::err) return LOG_ERR;
  if (level == spdlog::level::warn) return LOG_WARNING;
  return level == spdlog::level::info ? LOG_INFO : LOG_DEBUG;
}

runtime::Journal::Record record_of(spdlog::level::level_enum level, std::string_view text) {
  return {fmt::format("MESSAGE={}", text), fmt::format("PRIORITY={}", priority_of(level)),
          fmt::format("SYSLOG_IDENTIFIER={}", kProgram)};
}

/// Lines that are no events.
class JournalSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    journal->add(record_of(message.level, std::string_view(message.payload.data(), message.payload.size())));
  }
  void flush_() override { journal->flush(); }
};

/// An event's name, which say_text() hands over as the function it comes from.
class NameFlag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/, spdlog::memory_buf_t& to) override {
    if (message.source.empty()) return;
    const std::string_view name(message.source.funcname);
    to.append(name.data(), name.data() + name.size());
    to.append(std::string_view(": "));
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<NameFlag>(); }
};

void send(const msg::Message& message, const About& about, std::string_view text) {
  auto record = record_of(level_of(message), text);
  record.push_back(fmt::format("MESSAGE_ID={}", message.id));
  record.push_back(fmt::format("BASCULE_MESSAGE={}", message.name));
  const auto add = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) record.push_back(fmt::format("BASCULE_{}={}", name, value));
  };
  add("VM", about.vm);
  add("HOST", about.host);
  add("OPERATION", about.operation);
  add("EPOCH", about.epoch == 0 ? std::string() : std::to_string(about.epoch));
  add("VOLUME", about.volume);
  add("ALERT", about.alert);
  add("CALLER", about.caller);
  journal->add(std::move(record));
}

}  // namespace

void start_log() {
  // journald stamps the time. The API's thread writes, too.
  if (under_journal()) {
    journal = std::make_unique<runtime::Journal>();
    spdlog::set_default_logger(std::make_shared<spdlog::logger>(kProgram, std::make_shared<JournalSink>()));
    return;
  }
  auto log = spdlog::stdout_logger_mt(kProgram);
  auto form = std::make_unique<spdlog::pattern_formatter>();
  form->add_flag<NameFlag>('*').set_pattern("%l: %*%v");
  log->set_formatter(std::move(form));
  spdlog::set_default_logger(std::move(log));
  spdlog::flush_on(spdlog::level::info);
}

bool heard(const msg::Message& message) { return spdlog::default_logger_raw()->should_log(level_of(message)); }

void say_text(const msg::Message& message, const About& about, std::string_view text) {
  if (journal) return send(message, about, text);
  // Names are literals, so they end with a zero.
  spdlog::default_logger_raw()->log(spdlog::source_loc{"", 1, message.name.data()}, level_of(message),
                                    spdlog::string_view_t(text.data(), text.size()));
}

}  // namespace bascule
