#include "hostd/runtime/libvirt/domain_process.hpp"

// glibc 2.36 forgot to say so itself.
extern "C" {
#include <sys/pidfd.h>
}

#include <array>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>
#include <fstream>

namespace bascule::runtime::libvirt {
namespace asio = boost::asio;
using core::Errc;
using core::fail;

namespace {

constexpr std::size_t kCommandLineLimit = 65536;  // QEMU's of a VM with all its disks is below 8 KiB

std::string head_of(const std::string& path, std::size_t limit) {
  std::ifstream file(path, std::ios::binary);
  std::string text(limit, '\0');
  file.read(text.data(), static_cast<std::streamsize>(limit));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

/// 0 when there is none.
pid_t pid_in(const std::string& path) {
  constexpr std::size_t longest = 16;
  const std::string text = head_of(path, longest);
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  return error == std::errc{} && pid > 1 ? pid : 0;
}

/// "-uuid" and the uuid, as two arguments.
bool runs(pid_t pid, const std::string& uuid) {
  const std::string wanted = std::string("\0-uuid\0", 7) + uuid + '\0';
  return head_of("/proc/" + std::to_string(pid) + "/cmdline", kCommandLineLimit).find(wanted) != std::string::npos;
}

}  // namespace

core::Result<DomainProcess> DomainProcess::open(const asio::any_io_executor& executor, const std::string& folder,
                                                const Target& vm) {
  const auto none = [&] { return fail(Errc::not_found, "the QEMU process of '" + vm.name + "' was not found"); };
  const pid_t pid = pid_in(folder + '/' + vm.name + ".pid");
  if (pid == 0) return none();
  const int fd = pidfd_open(pid, 0);
  if (fd < 0) return none();
  asio::posix::stream_descriptor handle(executor, fd);
  // Looked at after it was opened: the number cannot have gone to another process in between without the handle, which
  // holds the first one, being readable.
  if (!runs(pid, vm.uuid)) return none();
  return DomainProcess(std::move(handle));
}

asio::awaitable<bool> DomainProcess::ended() {
  boost::system::error_code error;
  co_await handle_.async_wait(asio::posix::stream_descriptor::wait_read,
                              asio::redirect_error(asio::use_awaitable, error));
  co_return !error;
}

}  // namespace bascule::runtime::libvirt
