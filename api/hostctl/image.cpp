#include <fmt/format.h>
#include <sys/stat.h>
#include <array>
#include <fstream>

#include "api/hostctl/change.hpp"
#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/text.hpp"
#include "hostd/core/model.hpp"
#include "hostd/core/names.hpp"

namespace bascule::hostctl {
namespace {
constexpr std::int64_t kRedrawMs = 200;

/// What can be known without the server: a regular file that is not empty and not larger than a volume may be.
core::Result<std::uint64_t> check_file(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return core::fail(core::Errc::io, path + ": cannot be read; nothing was sent");
  if (!S_ISREG(info.st_mode))
    return core::fail(core::Errc::invalid, path + ": is not a regular file; nothing was sent");
  if (info.st_size == 0) return core::fail(core::Errc::invalid, path + ": is empty; nothing was sent");
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size > core::Limits::volume_mib * 1024 * 1024) {
    return core::fail(core::Errc::invalid, fmt::format("{}: {} is more than a volume can hold ({}); nothing was sent",
                                                       path, bytes(size), mib(core::Limits::volume_mib)));
  }
  std::ifstream in(path, std::ios::binary);
  std::array<char, 4> magic{};
  if (!in.read(magic.data(), 1)) return core::fail(core::Errc::io, path + ": cannot be read; nothing was sent");
  return size;
}

class UploadProgress {
 public:
  UploadProgress(Session& session, std::uint64_t total) : session_(session), total_(total), began_(now_ms()) {}

  void at(std::uint64_t sent) {
    if (!session_.error_tty) return;
    const std::int64_t now = now_ms();
    if (sent < total_ && now - drawn_ < kRedrawMs) return;
    drawn_ = now;
    const auto rate = static_cast<std::uint64_t>(static_cast<double>(sent) * 1000.0 /
                                                 static_cast<double>(std::max<std::int64_t>(now - began_, 1)));
    const std::string tail = sent < total_ ? bytes(rate) + "/s" : "sent; the host checks and hashes it";
    session_.note(fmt::format("\r\x1b[K{} of {} ({} %)  {}", bytes(sent), bytes(total_), sent * 100 / total_, tail));
    shown_ = true;
  }
  void clear() {
    if (std::exchange(shown_, false)) session_.note("\r\x1b[K");
  }

 private:
  Session& session_;
  std::uint64_t total_;
  std::int64_t began_, drawn_{};
  bool shown_{};
};

}  // namespace

Exit image_import(Session& session) {
  const std::string& file = session.args.files.front();
  if (auto r = core::check_name("NAME", session.args.name); !r) return session.fail(r.error());
  const auto size = check_file(file);
  if (!size) return session.fail(size.error());
  Change change;
  change.method = "PUT";
  change.path = paths::one(paths::kImages, session.args.name);
  change.object = "image " + session.args.name;
  change.upload = true;
  auto client = session.client();
  if (!client) return session.fail(client.error());
  HttpRequest request = request_of(session, change);
  UploadProgress progress(session, *size);
  request.file = file;
  request.file_bytes = *size;
  request.headers["Content-Type"] = "application/octet-stream";
  request.on_sent = [&progress](std::uint64_t sent) { progress.at(sent); };
  auto answer = (*client)->change(request);
  progress.clear();
  if (!answer) return session.fail(answer.error());
  return report(session, change, submission_of(answer->body));
}

Exit image_remove(Session& session) {
  Change change;
  change.method = "DELETE";
  change.path = paths::one(paths::kImages, session.args.name);
  change.object = "image " + session.args.name;
  return carry_out(session, change);
}

}  // namespace bascule::hostctl
