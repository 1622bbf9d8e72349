#include "api/console_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include "hostd/codec/digest.hpp"

namespace bascule::api {
namespace fs = std::filesystem;
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr std::string_view kRoot = "/console/";
constexpr std::size_t kTagBytes = 16;  // of the SHA-256 of a file

/// Only what a browser needs of this console; anything else in the folder is a mistake and is told.
constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kTypes{{
    {".html", "text/html; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".svg", "image/svg+xml"},
    {".txt", "text/plain; charset=utf-8"},
}};

// No script, style, image or connection but this host's own; nobody frames it; no text becomes markup.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

std::string tag_of(const std::string& content) { return '"' + codec::sha256(content).substr(0, 2 * kTagBytes) + '"'; }

/// If-None-Match: `*`, or a list that holds this tag; weak ones count.
bool names(std::string_view list, std::string_view tag) {
  while (!list.empty()) {
    const auto comma = list.find(',');
    auto one = list.substr(0, comma);
    while (!one.empty() && one.front() == ' ') one.remove_prefix(1);
    while (!one.empty() && one.back() == ' ') one.remove_suffix(1);
    if (one.starts_with("W/")) one.remove_prefix(2);
    if (one == tag || one == "*") return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
  return false;
}

void protect(HttpReply& out) {
  out.headers.emplace_back("Content-Security-Policy", kPolicy);
  out.headers.emplace_back("X-Frame-Options", "DENY");
  out.headers.emplace_back("Referrer-Policy", "no-referrer");
  out.headers.emplace_back("Cross-Origin-Opener-Policy", "same-origin");
  out.headers.emplace_back("Cross-Origin-Resource-Policy", "same-origin");
}

HttpReply redirect() {
  HttpReply out = reply("the console is at /console/\n", 308, "text/plain; charset=utf-8");
  out.headers.emplace_back("Location", std::string(kRoot));
  protect(out);
  return out;
}

}  // namespace

Result<> ConsoleFiles::add(const std::string& path, const std::string& address) {
  const std::string_view name = std::string_view(path).substr(path.rfind('/') + 1);
  const auto dot = name.rfind('.');
  const auto ending = dot == std::string_view::npos ? std::string_view() : name.substr(dot);
  const auto* type = std::ranges::find(kTypes, ending, &std::pair<std::string_view, std::string_view>::first);
  if (type == kTypes.end()) return fail(Errc::invalid, path + " is of no kind that the console has");
  if (files_.size() == kFiles) return fail(Errc::invalid, fmt::format("there are more than {} files", kFiles));
  std::ifstream in(path, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(in), {}};
  if (!in) return fail(Errc::io, "cannot read " + path);
  File file;
  file.type = type->second;
  file.etag = tag_of(content);
  file.named_by_content = address.starts_with("/console/assets/");
  file.body = std::make_shared<const std::string>(std::move(content));
  files_[name == "index.html" && !file.named_by_content ? std::string(kRoot) : address] = std::move(file);
  return {};
}

Result<ConsoleFiles> ConsoleFiles::load(const std::string& folder) {
  ConsoleFiles out{""};
  std::uint64_t bytes = 0;
  for (const std::string part : {"", "assets/"}) {
    std::error_code ec;
    fs::directory_iterator it(folder + '/' + part, ec);
    if (ec && part.empty()) return fail(Errc::io, "cannot read " + folder + ": " + ec.message());
    for (; !ec && it != fs::directory_iterator(); it.increment(ec)) {
      const std::string name = it->path().filename().string();
      const auto kind = it->symlink_status(ec).type();
      if (kind == fs::file_type::directory && part.empty() && name == "assets") continue;
      const std::string path = folder + '/' + part + name;
      if (kind != fs::file_type::regular) return fail(Errc::invalid, path + " is not a plain file");
      bytes += it->file_size(ec);
      if (bytes > kBytes) return fail(Errc::invalid, fmt::format("its files have more than {} bytes", kBytes));
      if (auto ok = out.add(path, std::string(kRoot) + part + name); !ok) return ok.error();
    }
  }
  if (!out.files_.contains(kRoot)) return fail(Errc::invalid, folder + " has no index.html");
  return out;
}

std::optional<HttpReply> ConsoleFiles::answer(const HttpRequest& request) const {
  const auto address = std::string_view(request.target).substr(0, request.target.find('?'));
  if (address != "/" && address != "/console" && !address.starts_with(kRoot)) return std::nullopt;
  const bool head = request.method == "HEAD";
  if (request.method != "GET" && !head) {
    auto out = problem(405, "Method not allowed", "this address takes GET, HEAD", request.target);
    out.headers.emplace_back("Allow", "GET, HEAD");
    return out;
  }
  HttpReply out;
  const auto it = files_.find(address);
  if (files_.empty()) {
    out = problem(fail(Errc::not_found,
                       "the web console is not served by this host: " + why_ + "; hostctl does everything it does"),
                  request.target);
  } else if (!address.starts_with(kRoot)) {
    out = redirect();
  } else if (it == files_.end()) {
    out = problem(fail(Errc::not_found, "the console has no such file; open /console/"), request.target);
  } else {
    const File& file = it->second;
    out.content_type = file.type;
    out.body = file.body;
    out.cache = file.named_by_content ? "private, max-age=31536000, immutable" : "no-cache";
    out.headers.emplace_back("ETag", file.etag);
    protect(out);
    const std::string* known = request.header("if-none-match");
    if (known != nullptr && names(*known, file.etag)) out.status = 304;
  }
  out.body_stays = head || out.status == 304;
  return out;
}

}  // namespace bascule::api
