#include "api/trust.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

namespace bascule::api {
using core::Errc;
using core::fail;
using core::Result;

namespace {
constexpr std::int64_t kDayS = 86'400;
constexpr std::int64_t kCertificateDays = 14;  // time to have one made
constexpr std::int64_t kCrlDays = 1;
constexpr int kMostDoublings = 5;  // of the looks until a reload that failed is tried again: about two minutes
}  // namespace

std::vector<std::string> TrustStatus::warnings(std::int64_t now_s) const {
  std::vector<std::string> out = standing;
  if (!problem.empty()) out.push_back(problem);
  if (certificate_ends_s != 0 && certificate_ends_s - now_s < kCertificateDays * kDayS) {
    out.push_back(certificate_ends_s <= now_s
                      ? "this host's certificate has expired: nobody can connect who checks it"
                      : fmt::format("this host's certificate ends in {} days", (certificate_ends_s - now_s) / kDayS));
  }
  if (crl_ends_s && *crl_ends_s <= now_s) {
    out.push_back("the revocation list has expired: what it withdraws stays withdrawn, what was withdrawn since is let "
                  "in. Bring a new one ([api] crl)");
  } else if (crl_ends_s && *crl_ends_s - now_s < kCrlDays * kDayS) {
    out.push_back("the revocation list ends within a day");
  }
  return out;
}

Trust::Trust(ServerTls files, bool allow_tls12, IdentitySource identities)
    : files_(std::move(files)), allow_tls12_(allow_tls12), identities_(std::move(identities)) {}

Result<std::unique_ptr<Trust>> Trust::make(ServerTls files, bool allow_tls12, IdentitySource identities) {
  std::unique_ptr<Trust> out(new Trust(std::move(files), allow_tls12, std::move(identities)));
  if (auto ok = out->load(); !ok) return ok.error();
  return out;
}

/// Which files there are; their times change with their content.
std::string Trust::stamp() const {
  std::string out;
  const auto add = [&](const std::string& path) {
    struct stat s{};
    if (!path.empty() && ::stat(path.c_str(), &s) == 0) {
      out += fmt::format("{} {} {} {}.{:09};", s.st_dev, s.st_ino, s.st_size, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
    } else {
      out += "none;";
    }
  };
  for (const auto* path : {&files_.ca, &files_.cert, &files_.key, &identities_.file}) add(*path);
  for (const auto& path : files_.crls) add(path);
  return out;
}

bool Trust::files_changed() {
  std::string now = stamp();
  const bool still = now == seen_;
  seen_ = std::move(now);
  if (!still) return false;
  // What failed may have failed for a reason that passes, which no file tells: no descriptor was left, a disk hung.
  const bool again = failures_ != 0 && ++looks_ >= 1 << std::min(failures_, kMostDoublings);
  return again || seen_ != read_;
}

Result<> Trust::load() {
  read_ = seen_ = stamp();
  auto next = load_tls(files_, allow_tls12_);
  if (!next) return next.error();
  for (const auto& [issuer, made] : loaded_.crl_made) {
    if (!next->cas.contains(issuer)) continue;  // nobody it issued is let in any more
    const auto it = next->crl_made.find(issuer);
    if (it == next->crl_made.end() || it->second < made) {
      return fail(Errc::invalid,
                  "[api] crl: the list of '" + issuer +
                      "' is gone, or older than the one in use: it would let in again what was withdrawn");
    }
  }
  IdentityMap map;
  if (identities_.load) {
    auto read = identities_.load();
    if (!read) return read.error();
    map = std::move(*read);
  }
  loaded_ = std::move(*next);
  map_ = std::move(map);
  status_.certificate_ends_s = loaded_.certificate_ends_s;
  status_.crl_ends_s = loaded_.crl_ends_s;
  status_.standing = loaded_.warnings;
  status_.problem.clear();
  return {};
}

Result<> Trust::reload() {
  auto done = load();
  failures_ = done ? 0 : failures_ + 1;
  looks_ = 0;
  if (done)
    ++status_.reloads;
  else
    status_.problem = "certificates, revocation lists or identities on the disk are not good and were not taken, those "
                      "in use stay: " +
                      done.error().what;
  return done;
}

}  // namespace bascule::api
