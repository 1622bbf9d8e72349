// hostctl audit verify: the chain of the cell, or of a file that audit export wrote, checked on this machine alone.
#include <fmt/format.h>
#include <charconv>
#include <fstream>

#include "api/hostctl/audit.hpp"
#include "api/hostctl/chain.hpp"
#include "api/hostctl/export.hpp"
#include "api/hostctl/heads.hpp"
#include "api/hostctl/lists.hpp"
#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/table.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {

constexpr std::size_t kMaxHeadsFile = 64 * 1024 * 1024;

/// A record somebody noted earlier: a chain that was written anew from some point on does not hold it any more.
struct KnownRecord {
  explicit KnownRecord(const std::string& text) {
    if (text.empty()) return;
    hash = text.substr(text.find(':') + 1);
    // Its form was checked with the command line: at most 15 digits, then the colon.
    std::from_chars(text.data(), text.data() + text.size(), wanted);
  }
  std::optional<std::string> differs(const core::AuditRecord& r) const {
    if (r.sequence != wanted || r.hash == hash) return std::nullopt;
    return fmt::format("record {} is not the one you know: it has the hash {}", wanted, r.hash);
  }
  std::int64_t wanted{};
  std::string hash;
};

/// Everything that is held against the records, in the order in which they come.
class Verifier {
 public:
  Verifier(const HeadJudge& judge, const std::string& known) : judge_(judge), known_(known) {}

  bool head(core::SignedHead head) {
    if (problem_) return false;
    problem_ = judge_.fault(head);
    if (!problem_) problem_ = heads_.add(std::move(head));
    return !problem_;
  }
  bool record(const core::AuditRecord& record) {
    const bool go_on = checker_.add(record);
    if (checker_.broken()) return go_on;
    problem_ = heads_.meet(record);
    if (!problem_) problem_ = known_.differs(record);
    return !problem_;
  }
  /// `newest`: the last record there should be.
  void finish(std::int64_t newest) {
    if (!problem_) problem_ = checker_.problem();
    const std::int64_t last = checker_.last_sequence();
    if (!problem_) problem_ = heads_.end(last);
    if (!problem_ && last < newest) {
      problem_ = last + 1 == newest ? fmt::format("record {} is missing at the end", newest)
                                    : fmt::format("records {} to {} are missing at the end", last + 1, newest);
    }
    if (!problem_ && known_.wanted > last) {
      problem_ = fmt::format("record {}, which you know, is missing at the end", known_.wanted);
    }
  }
  void fail(std::string sentence) {
    if (!problem_) problem_ = checker_.problem();
    if (!problem_) problem_ = std::move(sentence);
  }

  const std::optional<std::string>& problem() const { return problem_; }
  const ChainChecker& checker() const { return checker_; }
  std::string signatures() const { return heads_.summary(checker_.last_sequence()); }

 private:
  const HeadJudge& judge_;
  KnownRecord known_;
  HeadLine heads_;
  ChainChecker checker_;
  std::optional<std::string> problem_;
};

Exit tell(Session& session, const Verifier& v) {
  const auto& checker = v.checker();
  if (v.problem()) {
    const std::string good = checker.count() == 0
                                 ? std::string("no record before it could be checked")
                                 : fmt::format("records 1 to {} are as they were written", checker.last_sequence());
    if (session.args.json) {
      Json j = Json::object();
      j.set("ok", Json::of(false)).set("checked", checker.count()).set("problem", std::string_view(*v.problem()));
      session.json(j);
    } else {
      session.print(paint(session.colour, Colour::red, "broken") + ": " + safe(*v.problem()) + "\n  " + good + "\n");
    }
    return Exit::refused;
  }
  if (session.args.json) {
    Json j = Json::object();
    j.set("ok", Json::of(true)).set("checked", checker.count()).set("head", std::string_view(checker.head()));
    j.set("signatures", std::string_view(v.signatures()));
    session.json(j);
  } else if (checker.count() == 0) {
    session.print("ok: the audit chain has no records yet\n");
  } else {
    session.print(fmt::format("{}: {} records, the chain is whole\n  newest: {}:{}\n  {}\n",
                              paint(session.colour, Colour::green, "ok"), checker.count(), checker.last_sequence(),
                              checker.head(), safe(v.signatures())));
  }
  return Exit::done;
}

/// Heads kept elsewhere, as hostd writes them to the journal: one a line, whatever stands before the JSON.
core::Result<> read_heads(const std::string& file, Verifier& v) {
  auto text = read_file(file, kMaxHeadsFile);
  if (!text) return text.error();
  std::size_t found = 0;
  for (std::size_t from = 0; from < text->size();) {
    const std::size_t to = std::min(text->find('\n', from), text->size());
    const std::string_view line = std::string_view(*text).substr(from, to - from);
    from = to + 1;
    const auto brace = line.find('{');
    if (brace == std::string_view::npos) continue;
    auto j = Json::parse(line.substr(brace));
    if (!j || !j->has("signature")) continue;
    ++found;
    if (!v.head(head_of(*j))) return {};
  }
  if (found == 0) return core::fail(core::Errc::invalid, file + ": no countersigned head is in it");
  return {};
}

core::Result<> live(Session& session, Verifier& v) {
  auto client = session.client();
  if (!client) return client.error();
  if (auto ok = whole_chain_allowed(**client); !ok) return ok;
  // Read first: records written while we check may be missing from the pages, never the other way round.
  auto newest = newest_record(**client);
  if (!newest) return newest.error();
  auto r = each_item(**client, paths::kAuditHeads, [&](const Json& item) { return v.head(head_of(item)); });
  if (!r || v.problem()) return r;
  r = each_item(**client, paths::kAudit + "?from=1", [&](const Json& item) { return v.record(record_of(item)); });
  if (!r) return r;
  v.finish(*newest);
  return {};
}

core::Result<> offline(const std::string& file, Verifier& v) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return core::fail(core::Errc::io, file + ": cannot be opened");
  std::int64_t newest = 0;
  ExportReader reader;
  reader.head = [&](core::SignedHead head) { return v.head(std::move(head)); };
  reader.record = [&](const core::AuditRecord& record) { return v.record(record); };
  reader.end = [&](const core::AuditHead& last) { newest = last.sequence; };
  auto r = read_export(in, reader);
  if (!r)
    v.fail(r.error().what);
  else
    v.finish(newest);
  return {};
}

}  // namespace

Exit audit_verify(Session& session) {
  auto ca = session.ca();
  if (!ca) return session.fail(ca.error());
  auto judge = HeadJudge::make(*ca);
  if (!judge) return session.fail(judge.error());
  Verifier v(*judge, session.args.known);
  core::Result<> r;
  if (!session.args.object.empty()) r = read_heads(session.args.object, v);
  if (r && !v.problem()) r = session.args.files.empty() ? live(session, v) : offline(session.args.files.front(), v);
  if (!r) return session.fail(r.error());
  return tell(session, v);
}

}  // namespace bascule::hostctl
