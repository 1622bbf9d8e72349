#include "hostd/countersigner.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "hostd/codec/codec.hpp"
#include "hostd/runtime/clock.hpp"
#include "hostd/runtime/say.hpp"
#include "hostd/runtime/spawn.hpp"

namespace bascule {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr std::chrono::seconds kLook{20};
constexpr std::size_t kPage = 100;  // records read at once: a few milliseconds of the io thread
constexpr std::size_t kMaxFileBytes = 64 * 1024;
constexpr std::chrono::minutes kRepeat{10};  // a problem is told again

Result<std::string> read_small(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text(kMaxFileBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.empty() || text.size() > kMaxFileBytes) return fail(Errc::io, "cannot read " + path);
  return text;
}

/// Whole or not at all, also after a power cut.
Result<> write_whole(const std::string& path, const std::string& text) {
  const auto failed = [&] { return fail(Errc::io, "cannot write " + path + ": " + std::strerror(errno)); };
  const std::string fresh = path + ".new";
  const runtime::Descriptor fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (fd.get() < 0) return failed();
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || ::fsync(fd.get()) != 0) {
    return failed();
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) return failed();
  return {};
}

}  // namespace

Countersigner::Countersigner(runtime::CellStore& cell, runtime::HeadStore& heads, CountersignOptions options)
    : cell_(cell), heads_(heads), options_(std::move(options)) {}

Result<> Countersigner::load() {
  std::error_code ec;
  if (!std::filesystem::exists(options_.file, ec) && !ec) return {};
  auto text = read_small(options_.file);
  if (!text) return text.error();
  auto read = codec::decode<core::SignedHead>(*text);
  if (!read || read->sequence < 1) {
    return fail(Errc::invalid, options_.file + " is damaged: this host does not know any more what it signed. "
                                               "Verify the chain (hostctl audit verify), then remove the file");
  }
  last_ = std::move(*read);
  return {};
}

core::Error Countersigner::broken(const std::string& what) const {
  return fail(Errc::refused,
              fmt::format("the audit chain is not the one this host countersigned up to record {} (hash {}): {}. It is "
                          "not signed further. Find out who wrote to etcd, or, after a restore of etcd, remove {} and "
                          "restart hostd",
                          last_.sequence, last_.hash, what, options_.file));
}

/// Every record after the last one signed, up to `head`.
asio::awaitable<Result<core::AuditHead>> Countersigner::checked(core::AuditHead head) {
  core::AuditHead good{last_.sequence, last_.hash};
  while (good.sequence < head.sequence) {
    auto page = co_await cell_.audit(good.sequence + 1, kPage);
    if (!page) co_return page.error();
    if (page->empty()) {
      co_return broken(fmt::format("records {} to {} are missing", good.sequence + 1, head.sequence));
    }
    if (auto wrong = core::chain_goes_on(good, *page, codec::audit_hash)) co_return broken(*wrong);
  }
  co_return good;
}

Result<core::SignedHead> Countersigner::sign(const core::AuditHead& head, core::WallMs now) const {
  auto certificate = read_small(options_.certificate);
  if (!certificate) return certificate.error();
  core::SignedHead out{options_.cell, cell_.self(), head.sequence, head.hash, now, {}, std::move(*certificate)};
  auto signature = runtime::sign_text(core::signed_text(out), options_.key);
  if (!signature) return signature.error();
  out.signature = std::move(*signature);
  return out;
}

asio::awaitable<Result<bool>> Countersigner::look(core::WallMs now) {
  if (!loaded_) {
    if (auto ok = load(); !ok) co_return ok.error();
    loaded_ = true;
  }
  if (!cell_.view().synced) co_return false;
  const core::AuditHead head = cell_.view().audit.value;
  if (head.sequence < last_.sequence) {
    co_return broken(fmt::format("it ends at record {} now", head.sequence));
  }
  if (head.sequence == last_.sequence && head.hash != last_.hash) {
    co_return broken("its newest record has the hash " + head.hash);
  }
  const auto interval = std::chrono::duration_cast<std::chrono::milliseconds>(options_.interval).count();
  if (!core::signature_due(last_, head, now, interval)) co_return false;
  auto good = co_await checked(head);
  if (!good) co_return good.error();
  auto made = sign(*good, now);
  if (!made) co_return made.error();
  // On the own disk first: what the cell was shown is never more than what this host remembers.
  const std::string text = codec::encode(*made);
  if (auto kept = write_whole(options_.file, text); !kept) co_return kept.error();
  last_ = *made;
  // Wherever the journal is sent, the head is safe from whoever can write to etcd: hostctl audit verify --heads.
  say(msg::audit_head, {.host = cell_.self()}, "audit head: {}", text);
  if (auto done = co_await heads_.add(std::move(*made)); !done) co_return done.error();
  co_return true;
}

asio::awaitable<void> Countersigner::run() {
  auto told = runtime::Clock::time_point{};
  while (true) {
    auto done = co_await look(runtime::wall_ms());
    // etcd that is away is told by others, and the next look makes up for it.
    const bool ours = !done && done.error().code != Errc::unavailable && done.error().code != Errc::timeout &&
                      done.error().code != Errc::outcome_unknown;
    const std::string problem = ours ? done.error().what : std::string();
    const auto now = runtime::Clock::now();
    if (!problem.empty() && (problem != problem_ || now - told > kRepeat)) {
      say(msg::audit_broken, {.host = cell_.self()}, "audit: {}", problem);
      told = now;
    }
    if (done || ours) problem_ = problem;
    co_await runtime::pause(kLook);
  }
}

}  // namespace bascule
