#include "hostd/alert/spool.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "hostd/core/alert_text.hpp"
#include "hostd/runtime/spawn.hpp"

namespace bascule::alert {
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr std::size_t kNameBytes = 200;  // below every file system's 255

/// Letters, digits, dots and hyphens: no path, no field separator of gammu's.
std::string plain(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
    out += good ? c : '-';
  }
  return out.substr(0, kNameBytes - 60);
}

}  // namespace

SpoolFile spool_file(const std::string& format, const std::string& to, const std::string& text, const std::string& key,
                     core::WallMs when) {
  const std::string digits = to.starts_with('+') ? to.substr(1) : to;
  if (format == "gammu") {  // OUT<priority><date>_<time>_<serial>_<number>_<anything>.txt
    std::string stamp = core::utc_text(when);
    std::erase_if(stamp, [](char c) { return c == '-' || c == ':'; });
    return {fmt::format("OUTA{}_{}_00_{}_bascule-{}.txt", stamp.substr(0, 8), stamp.substr(9, 6), to, plain(key)),
            text};
  }
  return {fmt::format("bascule-{}-{}", plain(key), digits), fmt::format("To: {}\n\n{}\n", digits, text)};
}

Result<> put_into(const std::string& folder, const SpoolFile& file) {
  const auto failed = [&](const char* what) {
    return fail(Errc::io, fmt::format("{} in {}: {}", what, folder, std::strerror(errno)));
  };
  const runtime::Descriptor at(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat about{};
  if (at.get() < 0 || ::fstat(at.get(), &about) != 0) return failed("the spool folder cannot be opened");
  // Without a name until it is whole: no daemon finds half of it.
  const runtime::Descriptor fd(::openat(at.get(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0660));
  if (fd.get() < 0) return failed("no file can be made");
  const auto wrote = ::write(fd.get(), file.text.data(), file.text.size());
  if (wrote != static_cast<ssize_t>(file.text.size())) return failed("the file is not written whole");
  // The daemon reads it by its group. hostd's unit lets it change no file's group: a folder with the setgid bit, as
  // smstools makes it, gives its own.
  struct stat made{};
  if (::fstat(fd.get(), &made) != 0) return failed("no file can be made");
  if (made.st_gid != about.st_gid && ::fchown(fd.get(), static_cast<uid_t>(-1), about.st_gid) != 0)
    return failed("the folder's group does not get it (chmod g+s the folder)");
  if (::fchmod(fd.get(), 0660) != 0 || ::fsync(fd.get()) != 0) return failed("the file is not kept");
  const std::string self = fmt::format("/proc/self/fd/{}", fd.get());
  if (::linkat(AT_FDCWD, self.c_str(), at.get(), file.name.c_str(), AT_SYMLINK_FOLLOW) != 0 && errno != EEXIST) {
    return failed("the file gets no name");
  }
  ::fsync(at.get());
  return {};
}

}  // namespace bascule::alert
