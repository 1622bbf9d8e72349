// This host's image folder: uploads are checked by qemu-img, turned into raw, hashed and kept as <name>.raw.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <set>
#include <string>

#include "hostd/core/error.hpp"

namespace bascule {

class ImageStore {
 public:
  ImageStore(std::string folder, std::uint64_t limit_mib) : folder_(std::move(folder)), limit_mib_(limit_mib) {}

  /// Makes the folder and removes what an interrupted upload left, and images no record names.
  core::Result<> open();
  /// Removes kept files that `known` does not name; call once after the cell's records were read.
  void forget_unknown(const std::set<std::string>& known);

  /// A new temporary path for an upload of `bytes`. Errors: exhausted with the room left.
  core::Result<std::string> upload_path(const std::string& name, std::uint64_t bytes);

  struct Prepared {
    std::string name, path, sha256;
    std::uint64_t size_bytes{};
  };
  /// Checks format (raw or qcow2, no backing or data file), converts to raw, hashes. Removes `temporary` on success.
  boost::asio::awaitable<core::Result<Prepared>> prepare(std::string temporary, std::string name);
  /// Gives a prepared image its final name, durably.
  core::Result<> keep(const Prepared& image);
  void discard(const std::string& path);
  core::Result<> remove(const std::string& name);
  std::string path_of(const std::string& name) const { return folder_ + "/" + name + ".raw"; }

 private:
  std::uint64_t used_bytes() const;
  std::string folder_;
  std::uint64_t limit_mib_;
  std::uint64_t counter_{0};
  boost::asio::thread_pool pool_{1};  ///< hashing: one image at a time
};

}  // namespace bascule
