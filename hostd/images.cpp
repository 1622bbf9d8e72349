#include "hostd/images.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "hostd/codec/digest.hpp"
#include "hostd/core/names.hpp"
#include "hostd/runtime/process.hpp"

namespace bascule {
namespace asio = boost::asio;
namespace fs = std::filesystem;
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr char kQemuImg[] = "/usr/bin/qemu-img";
constexpr std::uint64_t kMib = 1024 * 1024;
constexpr std::chrono::minutes kConvertDeadline{60};  // a large image on a slow disk; the upload took longer
constexpr std::uint64_t kAddressSpace = std::uint64_t{2} << 30U;  // qemu-img on a hostile file stays below

Result<> sync_path(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC);  // NOLINT(cppcoreguidelines-pro-type-vararg): POSIX
  if (fd < 0) return fail(Errc::io, "cannot open " + path);
  const int done = ::fsync(fd);
  ::close(fd);
  if (done != 0) return fail(Errc::io, "cannot flush " + path);
  return {};
}

Result<std::string> hash_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);  // NOLINT(cppcoreguidelines-pro-type-vararg): POSIX
  if (fd < 0) return fail(Errc::io, "cannot read " + path);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  std::vector<unsigned char> buffer(kMib);
  ssize_t n = 0;
  while ((n = ::read(fd, buffer.data(), buffer.size())) > 0) {
    EVP_DigestUpdate(context.get(), buffer.data(), static_cast<std::size_t>(n));
  }
  ::close(fd);
  if (n < 0) return fail(Errc::io, "cannot read " + path);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  EVP_DigestFinal_ex(context.get(), digest.data(), &size);
  return codec::hex({digest.data(), size});
}

asio::awaitable<Result<std::string>> hash_in_pool(std::string path) { co_return hash_file(path); }

struct ImageInfo {
  std::string format;
  std::uint64_t virtual_bytes{};
};

/// Only what cannot reach another file: raw, or qcow2 without backing or data file.
Result<ImageInfo> read_info(const std::string& json) {
  const auto info = nlohmann::json::parse(json, nullptr, false);
  if (!info.is_object()) return fail(Errc::invalid, "qemu-img cannot tell what this file is; it was not imported");
  ImageInfo out;
  if (const auto f = info.find("format"); f != info.end() && f->is_string()) out.format = *f;
  if (const auto s = info.find("virtual-size"); s != info.end() && s->is_number_unsigned()) out.virtual_bytes = *s;
  if (out.format != "raw" && out.format != "qcow2") {
    return fail(Errc::invalid, "the image is '" + out.format + "'; only raw and qcow2 are imported");
  }
  if (info.contains("backing-filename") || info.contains("full-backing-filename")) {
    return fail(Errc::invalid, "the image has a backing file; flatten it first (qemu-img convert), then import it");
  }
  if (const auto specific = info.find("format-specific"); specific != info.end()) {
    const auto data = specific->find("data");
    if (data != specific->end() && (data->contains("data-file") || data->contains("encrypt"))) {
      return fail(Errc::invalid, "the image has an external data file or is encrypted; import a plain one");
    }
  }
  if (out.virtual_bytes == 0) return fail(Errc::invalid, "the image is empty");
  return out;
}

}  // namespace

Result<> ImageStore::open() {
  std::error_code ec;
  fs::create_directories(folder_, ec);
  if (ec) return fail(Errc::io, "cannot make the image folder " + folder_ + ": " + ec.message());
  for (const auto& entry : fs::directory_iterator(folder_, ec)) {
    if (entry.path().extension() == ".part") fs::remove(entry.path(), ec);
  }
  return {};
}

void ImageStore::forget_unknown(const std::set<std::string>& known) {
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(folder_, ec)) {
    if (entry.path().extension() == ".raw" && !known.contains(entry.path().stem().string()))
      fs::remove(entry.path(), ec);
  }
}

std::uint64_t ImageStore::used_bytes() const {
  std::uint64_t used = 0;
  std::error_code ec;
  for (auto it = fs::directory_iterator(folder_, ec); !ec && it != fs::directory_iterator(); it.increment(ec)) {
    if (it->is_regular_file(ec)) used += it->file_size(ec);
  }
  return used;
}

Result<std::string> ImageStore::upload_path(const std::string& name, std::uint64_t bytes) {
  const std::uint64_t used = used_bytes();
  const std::uint64_t limit = limit_mib_ * kMib;
  // Twice: the upload and its raw copy stand side by side for a moment.
  if (used + 2 * bytes > limit) {
    return fail(Errc::exhausted,
                fmt::format("the image folder may hold {} MiB and has {} MiB; this upload needs {} MiB "
                            "while it is converted. Remove images or raise [images] limit_mib",
                            limit_mib_, used / kMib, 2 * bytes / kMib + 1));
  }
  std::error_code ec;
  const auto space = fs::space(folder_, ec);
  if (!ec && space.available < 2 * bytes) {
    return fail(Errc::exhausted, fmt::format("the disk of the image folder has {} MiB free", space.available / kMib));
  }
  return fmt::format("{}/{}.{}.part", folder_, name, ++counter_);
}

namespace {

/// qemu-img on a file that anybody may have made.
asio::awaitable<Result<runtime::Outcome>> inspect(std::vector<std::string> words, std::string file) {
  runtime::Command command;
  command.argv = {"/usr/bin/prlimit", fmt::format("--as={}", kAddressSpace), "--cpu=60", kQemuImg};
  command.argv.insert(command.argv.end(), words.begin(), words.end());
  command.argv.push_back(std::move(file));
  co_return co_await runtime::run(std::move(command));
}

/// A qcow2 file that was cut short unfolds without an error, into zeros where its data should be.
asio::awaitable<Result<>> check_whole(std::string format, std::string file) {
  if (format == "raw") co_return Result<>{};
  std::vector<std::string> words{"check", "-f", std::move(format), "--output=json"};
  auto told = co_await inspect(std::move(words), std::move(file));
  if (!told) co_return told.error();
  const auto report = nlohmann::json::parse(told->out, nullptr, false);
  const auto number = [&report](const char* field) {
    const auto it = report.find(field);
    return it != report.end() && it->is_number_unsigned() ? it->get<std::uint64_t>() : 0;
  };
  const std::uint64_t bad = report.is_object() ? number("corruptions") + number("check-errors") : 1;
  constexpr int kLeaksOnly = 3;  // qemu-img(1): space is wasted, nothing is wrong
  const bool finished = told->ok() || (told->end == runtime::Outcome::End::exited && told->status == kLeaksOnly);
  if (bad == 0 && finished) co_return Result<>{};
  co_return fail(Errc::invalid, fmt::format("the image is damaged or was cut short (qemu-img check finds {} errors); "
                                            "it was not imported",
                                            bad));
}

}  // namespace

asio::awaitable<Result<ImageStore::Prepared>> ImageStore::prepare(std::string temporary, std::string name) {
  std::vector<std::string> info{"info", "--output=json"};
  auto told = co_await inspect(std::move(info), temporary);
  if (!told) co_return told.error();
  if (!told->ok()) co_return fail(Errc::invalid, "qemu-img refuses this file; it was not imported");
  auto checked = read_info(told->out);
  if (!checked) co_return checked.error();
  if (checked->virtual_bytes > limit_mib_ * kMib) {
    co_return fail(Errc::exhausted, fmt::format("the image unfolds to {} MiB, more than [images] limit_mib ({})",
                                                checked->virtual_bytes / kMib, limit_mib_));
  }
  if (auto whole = co_await check_whole(checked->format, temporary); !whole) co_return whole.error();
  Prepared out;
  out.name = name;
  out.path = temporary + ".raw.part";
  out.size_bytes = checked->virtual_bytes;
  runtime::Command convert;
  convert.deadline = kConvertDeadline;
  convert.argv = {kQemuImg, "convert", "-f", checked->format, "-O", "raw", temporary, out.path};
  auto converted = co_await runtime::run(std::move(convert));
  discard(temporary);
  if (!converted) co_return converted.error();
  if (!converted->ok()) {
    discard(out.path);
    co_return fail(Errc::io, "qemu-img could not convert the image: " + converted->err.substr(0, 300));
  }
  auto hashing = hash_in_pool(out.path);
  auto hashed = co_await asio::co_spawn(pool_, std::move(hashing), asio::use_awaitable);
  if (!hashed) co_return hashed.error();
  out.sha256 = *hashed;
  co_return out;
}

Result<> ImageStore::keep(const Prepared& image) {
  if (auto flushed = sync_path(image.path, O_RDONLY); !flushed) return flushed;
  std::error_code ec;
  fs::rename(image.path, path_of(image.name), ec);
  if (ec) return fail(Errc::io, "cannot keep the image: " + ec.message());
  return sync_path(folder_, O_RDONLY | O_DIRECTORY);
}

void ImageStore::discard(const std::string& path) {
  std::error_code ec;
  if (path.starts_with(folder_ + "/") && path.ends_with(".part")) fs::remove(path, ec);
}

Result<> ImageStore::remove(const std::string& name) {
  if (auto ok = core::check_name("name", name); !ok) return ok;
  std::error_code ec;
  fs::remove(path_of(name), ec);
  if (ec) return fail(Errc::io, "cannot remove the image file: " + ec.message());
  return {};
}

}  // namespace bascule
