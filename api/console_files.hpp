// The web console as hostd serves it: a fixed list of files, read once at start. A request names an entry of that list
// or nothing; no path from a request ever reaches the file system.
// Thread rule: values after load(); reading is free.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/http.hpp"

namespace bascule::api {

class ConsoleFiles {
 public:
  static constexpr std::size_t kFiles = 64;
  static constexpr std::uint64_t kBytes = std::uint64_t{4} << 20U;  // all together, kept in memory

  /// None: `why` is told to who opens the console.
  explicit ConsoleFiles(std::string why = "no folder is configured for it ([api] console)") : why_(std::move(why)) {}
  /// Every regular file of `folder` and of its folder `assets`. Errors: io, invalid (a link, a kind of file that is not
  /// known, too many, too large, no index.html).
  static core::Result<ConsoleFiles> load(const std::string& folder);

  /// The answer when this address is the console's; nullopt: it is the API's.
  std::optional<HttpReply> answer(const HttpRequest& request) const;
  std::size_t size() const { return files_.size(); }

 private:
  struct File {
    std::string_view type;
    std::string etag;
    bool named_by_content{};  ///< below assets/: the name changes with the content
    std::shared_ptr<const std::string> body;
  };
  core::Result<> add(const std::string& path, const std::string& address);

  std::string why_;
  std::map<std::string, File, std::less<>> files_;  ///< by the address that names them
};

}  // namespace bascule::api
