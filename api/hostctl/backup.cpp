// `cell backup`: what the API says of the whole cell, into one file. What the file is, and the way back from it:
// docs/cell-backup.md.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "api/hostctl/audit.hpp"
#include "api/hostctl/backup.hpp"
#include "api/hostctl/chain.hpp"
#include "api/hostctl/lists.hpp"
#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {
/// How often the lists are read again because the cell was changed meanwhile.
constexpr int kAttempts = 5;

/// The file, new and readable by its owner alone; gone again unless it was kept.
class NewFile {
 public:
  explicit NewFile(std::string path) : path_(std::move(path)) {
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd_ < 0) error_ = errno;
  }
  ~NewFile() {
    if (fd_ < 0) return;
    ::close(fd_);
    if (!kept_) ::unlink(path_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  core::Result<> write(std::string_view text) {
    while (error_ == 0 && !text.empty()) {
      const auto n = ::write(fd_, text.data(), text.size());
      if (n >= 0)
        text.remove_prefix(static_cast<std::size_t>(n));
      else if (errno != EINTR)
        error_ = errno;
    }
    return state();
  }
  core::Result<> keep() {
    if (error_ == 0 && ::fsync(fd_) != 0) error_ = errno;
    kept_ = error_ == 0;
    return state();
  }
  core::Result<> state() const {
    if (error_ == 0) return {};
    if (error_ == EEXIST) return core::fail(core::Errc::invalid, path_ + ": is there already; it was left as it is");
    return core::fail(core::Errc::io, path_ + ": " + std::strerror(error_) + "; no backup was made");
  }

 private:
  std::string path_;
  int fd_{-1};
  int error_{};
  bool kept_{};
};

struct Head {
  std::int64_t sequence{};
  std::string hash;
  bool operator==(const Head&) const = default;
};

core::Result<Head> head_of(Client& client) {
  auto answer = client.get(paths::kAudit + "?limit=1");
  if (!answer) return answer.error();
  return Head{answer->body["head"].integer("sequence"), answer->body["head"].text("hash")};
}

/// Every list of the cell but the audit chain, as text: members of the document.
core::Result<std::string> lists_of(Client& client) {
  std::string out;
  for (const auto& [name, path] : {std::pair<const char*, std::string>{"hosts", paths::kHosts},
                                   {"images", paths::kImages},
                                   {"vms", paths::kVms + "?fields=full"},
                                   {"volumes", paths::kVolumes},
                                   {"operations", paths::kOperations}}) {
    out += fmt::format(",\n\"{}\": [", name);
    const char* separator = "\n";
    auto r = each_item(client, path, [&](const Json& item) {
      out += separator + item.dump();
      separator = ",\n";
      return true;
    });
    if (!r) return r.error();
    out += "]";
  }
  auto ha = client.get(paths::kHa);
  if (!ha) return ha.error();
  return out + ",\n\"ha\": " + ha->body.dump();
}

struct State {
  Head head;
  std::string lists;
};

/// The lists of a moment in which nobody changed anything: the chain has the same end before and after.
core::Result<State> still(Session& session, Client& client) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    auto before = head_of(client);
    if (!before) return before.error();
    auto lists = lists_of(client);
    if (!lists) return lists.error();
    auto after = head_of(client);
    if (!after) return after.error();
    if (*before == *after) return State{std::move(*before), std::move(*lists)};
    session.note("the cell was changed meanwhile; reading it again\n");
  }
  return core::fail(core::Errc::conflict,
                    fmt::format("the cell was changed each of {} times while it was read; no backup "
                                "was made. Ask again when fewer operations end",
                                kAttempts));
}

/// The audit chain up to `head`, recomputed on the way.
core::Result<> write_chain(Client& client, const Head& head, NewFile& file) {
  ChainChecker checker;
  core::Result<> result;
  const char* separator = "\n";
  if (head.sequence == 0) return result;
  auto r = each_item(client, paths::kAudit + "?from=1", [&](const Json& item) {
    if (!checker.add(record_of(item))) return false;
    result = file.write(separator + item.dump());
    separator = ",\n";
    return result.has_value() && checker.last_sequence() < head.sequence;
  });
  if (!r) return r.error();
  if (!result) return result.error();
  if (checker.broken()) {
    return core::fail(core::Errc::conflict, "the audit chain is broken: " + checker.problem().value_or("") +
                                                "; no backup was made. Look at it with hostctl audit verify");
  }
  if (checker.last_sequence() != head.sequence || checker.head() != head.hash) {
    return core::fail(core::Errc::conflict, "the audit chain does not end as it did; no backup was made");
  }
  return {};
}

core::Result<Head> make(Session& session, NewFile& file) {
  if (auto r = file.state(); !r) return r.error();
  auto client = session.client();
  if (!client) return client.error();
  auto me = (*client)->get("/v1/whoami");
  if (!me) return me.error();
  const std::string role = me->body.text("role");
  if (role != "operator" && role != "auditor") {
    return core::fail(core::Errc::forbidden,
                      "a " + role + " sees a part of the cell; an operator or auditor makes a backup of it");
  }
  auto state = still(session, **client);
  if (!state) return state.error();
  auto ended = Json::object();
  ended.set("sequence", state->head.sequence).set("hash", std::string_view(state->head.hash));
  std::string text =
      fmt::format("{{\"kind\": \"{}\",\n\"format\": {},\n\"hostctl\": {},\n\"made_ms\": {},\n\"made_by\": {},\n"
                  "\"audit_head\": {}",
                  kBackupKind, kBackupFormat, Json::of(std::string_view(BASCULE_VERSION)).dump(), now_ms(),
                  me->body.dump(), ended.dump());
  if (auto r = file.write(text + state->lists + ",\n\"audit\": ["); !r) return r.error();
  if (auto r = write_chain(**client, state->head, file); !r) return r.error();
  if (auto r = file.write("]}\n"); !r) return r.error();
  if (auto r = file.keep(); !r) return r.error();
  return state->head;
}

}  // namespace

Exit cell_backup(Session& session) {
  const std::string& path = session.args.files.front();
  NewFile file(path);
  auto made = make(session, file);
  if (!made) return session.fail(made.error());
  if (session.args.json) {
    Json j = Json::object();
    j.set("file", std::string_view(path)).set("format", kBackupFormat).set("records", made->sequence);
    session.json(j.set("head", std::string_view(made->hash)));
  } else {
    session.print(fmt::format("{}: the cell's records and {} audit records, the chain is whole\n  newest: {}:{}\n",
                              safe(path), made->sequence, made->sequence, safe(made->hash)));
  }
  return Exit::done;
}

}  // namespace bascule::hostctl
