#include "storage/config_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "hostd/runtime/spawn.hpp"

namespace bascule::storage {
namespace {

using core::Errc;
using core::fail;
using core::Result;
using runtime::Descriptor;

constexpr std::size_t kMaxConfig = 256 * 1024;

core::Error failed(std::string_view act, const std::string& path, int error) {
  return fail(Errc::io, fmt::format("cannot {} {}: {}", act, path, std::generic_category().message(error)));
}

Result<> write_all(const std::string& path, std::string_view text) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.get() < 0) return failed("write", path, errno);
  if (::fchmod(file.get(), 0600) != 0) return failed("protect", path, errno);
  while (!text.empty()) {
    const ssize_t n = ::write(file.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed("write", path, errno);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  // Before the rename: after a power cut the name must not stand for an empty file.
  if (::fsync(file.get()) != 0) return failed("flush", path, errno);
  return {};
}

/// The names in the folder of `path`, flushed.
Result<> flush_folder(const std::string& path) {
  const std::string folder = path.substr(0, path.rfind('/'));
  Descriptor file(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.get() < 0 || ::fsync(file.get()) != 0) return failed("flush", folder, errno);
  return {};
}

/// Ours by its first line; an empty one holds nobody's work: a power cut may have left it so.
bool ours(const std::string& text, std::string_view mark) { return text.empty() || text.starts_with(mark); }

}  // namespace

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) {
    if (errno == ENOENT) return fail(Errc::not_found, path + " does not exist");
    return failed("read", path, errno);
  }
  std::string text(limit, '\0');
  std::size_t done = 0;
  while (done < limit) {
    const ssize_t n = ::read(file.get(), text.data() + done, limit - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("read", path, errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  text.resize(done);
  return text;
}

Result<> replace_file(const std::string& path, std::string_view text, std::string_view mark, bool take_over) {
  const auto present = read_file(path, kMaxConfig);
  if (present && *present == text) return {};
  if (!present && present.error().code != Errc::not_found) return present.error();
  if (present && !ours(*present, mark)) {
    if (!take_over) {
      return fail(Errc::conflict, path + " was not written by hostd; it was left alone, move it away");
    }
    if (::rename(path.c_str(), (path + ".before-bascule").c_str()) != 0) return failed("set aside", path, errno);
  }
  const std::string fresh = path + ".new";  // not *.res: drbdadm never reads it half written
  if (auto ok = write_all(fresh, text); !ok) return ok;
  if (::rename(fresh.c_str(), path.c_str()) != 0) return failed("replace", path, errno);
  return flush_folder(path);
}

Result<> remove_file(const std::string& path, std::string_view mark) {
  const auto present = read_file(path, mark.size());
  if (!present) return present.error().code == Errc::not_found ? Result<>{} : present.error();
  if (!ours(*present, mark)) return fail(Errc::conflict, path + " was not written by hostd; it was left alone");
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failed("remove", path, errno);
  return {};
}

}  // namespace bascule::storage
