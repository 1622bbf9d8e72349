// Uploads of images: streamed to a temporary file, by a thread of their own, and handed to the cell.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/read.hpp>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "api/message.hpp"
#include "api/session.hpp"

namespace bascule::api {
namespace asio = boost::asio;
namespace http = boost::beast::http;
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr std::size_t kPiece = std::size_t{256} * 1024;

/// A new file that goes away again unless it is kept.
class Temporary {
 public:
  explicit Temporary(std::string path) : path_(std::move(path)) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-vararg): POSIX
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    error_ = fd_ < 0 ? errno : 0;
  }
  ~Temporary() {
    if (fd_ >= 0) ::close(fd_);
    if (fd_ >= 0 && !kept_) ::unlink(path_.c_str());
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  int fd() const { return fd_; }
  int error() const { return error_; }
  void keep() { kept_ = true; }

 private:
  std::string path_;
  int fd_{-1};
  int error_{};
  bool kept_{};
};

/// On the io thread.
asio::awaitable<Result<std::string>> upload_path(std::shared_ptr<ServerState> state, std::string name,
                                                 std::uint64_t bytes) {
  try {
    co_return state->cell.image_upload_path(name, bytes);
  } catch (const std::exception& e) {
    co_return fail(Errc::internal, e.what());
  }
}

/// On the io thread.
asio::awaitable<HttpReply> import_there(std::shared_ptr<ServerState> state, std::shared_ptr<const Call> call,
                                        std::shared_ptr<const Welcome> welcome, std::string path,
                                        core::Request request) {
  auto asking = still_welcome(state, std::move(welcome));
  if (auto ok = co_await std::move(asking); !ok) {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
    co_return Router::refusal(*call, ok.error());
  }
  try {
    auto task = state->cell.import_image(call->caller, call->part(2), std::move(path), std::move(request.reason),
                                         std::move(request.idempotency_key));
    auto done = co_await std::move(task);
    co_return done ? accepted(*done, false) : Router::refusal(*call, done.error());
  } catch (const std::exception& e) {
    co_return Router::refusal(*call, fail(Errc::internal, e.what()));
  }
}

/// Runs on the file thread: a full page cache must not hold up the others.
asio::awaitable<int> write_all(std::shared_ptr<Temporary> file, std::span<const char> data) {
  while (!data.empty()) {
    const ssize_t n = ::write(file->fd(), data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) co_return n < 0 ? errno : ENOSPC;
    data = data.subspan(static_cast<std::size_t>(n));
  }
  co_return 0;
}

core::Error disk_error(int error) {
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return fail(Errc::exhausted, "the disk of the image folder is full; nothing was imported");
  }
  return fail(Errc::io, "the upload cannot be written: " + std::generic_category().message(error));
}

}  // namespace

/// What the head alone forbids, with the status HTTP has for it.
std::optional<HttpReply> Session::refuse_upload(const HeadParser& head, const Call& call) const {
  const auto& target = call.request.target;
  if (!has_content_type(call.request, "application/octet-stream")) {
    return problem(415, "Unsupported type", "an image must be application/octet-stream; nothing was changed", target);
  }
  const auto length = head.content_length();
  if (!length || head.chunked()) return problem(411, "Length required", "an upload needs Content-Length", target);
  if (*length == 0) return problem(fail(Errc::invalid, "the image is empty"), target);
  if (*length > state_->options.max_image_bytes) {
    return problem(
        413, "Too large",
        fmt::format("this host takes images of at most {} bytes ([images] limit_mib)", state_->options.max_image_bytes),
        target);
  }
  if (state_->uploads >= limits().uploads) {
    return problem(fail(Errc::unavailable, "other uploads are at work on this host; try again, or ask another host"),
                   target);
  }
  return std::nullopt;
}

asio::awaitable<Result<>> Session::receive(HeadParser& head, std::string path) {
  const auto file = std::make_shared<Temporary>(path);
  if (file->fd() < 0) co_return disk_error(file->error());
  http::request_parser<http::buffer_body> parser(std::move(head));
  parser.body_limit(state_->options.max_image_bytes);
  std::vector<char> piece(kPiece);
  while (!parser.is_done()) {
    parser.get().body().data = piece.data();
    parser.get().body().size = piece.size();
    within(limits().piece_time);
    auto [ec, n] = co_await http::async_read(stream_, buffer_, parser, kToken);
    if (ec && ec != http::error::need_buffer) {
      co_return fail(Errc::invalid, "the upload ended early; nothing was imported");
    }
    const std::size_t got = piece.size() - parser.get().body().size;
    auto writing = write_all(file, std::span<const char>(piece.data(), got));
    const int error = co_await asio::co_spawn(state_->files, std::move(writing), asio::use_awaitable);
    if (error != 0) co_return disk_error(error);
  }
  file->keep();
  co_return Result<>{};
}

asio::awaitable<bool> Session::upload(HeadParser& head, SharedCall call, Clock::time_point began) {
  const bool keep = head.keep_alive();
  auto refusal = refuse_upload(head, *call);
  auto request = change_of(*call, {});
  if (!request && !refusal) refusal = Router::refusal(*call, request.error());
  Result<std::string> path = fail(Errc::internal, "no path");
  std::optional<Place> place;
  if (!refusal) {
    place.emplace(state_->uploads);
    auto asking = upload_path(state_, call->part(2), *head.content_length());
    auto given = co_await carry_out_on<Result<std::string>>(state_->io_thread, "an upload", std::move(asking));
    if (given) path = std::move(*given);
    if (!path) refusal = Router::refusal(*call, path.error());
  }
  if (refusal) {
    place.reset();
    co_return co_await answer_and_drain(&call->route, std::move(*refusal), true, began);
  }
  if (!co_await go_on_sending(head)) co_return false;
  auto received = co_await receive(head, *path);
  if (!received) {
    co_return co_await answer_and_drain(&call->route, Router::refusal(*call, received.error()), true, began);
  }
  stream_.next_layer().expires_never();
  auto work = import_there(state_, call, welcome_, *path, std::move(*request));
  auto reply = co_await carry_out_on<HttpReply>(state_->io_thread, "an import", std::move(work));
  if (!reply) co_return false;
  co_return co_await answer(&call->route, std::move(*reply), keep, began);
}

}  // namespace bascule::api
