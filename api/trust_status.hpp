// What the server has to say about its certificates and revocation lists.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bascule::api {

struct TrustStatus {
  std::int64_t certificate_ends_s{};       ///< Unix time; 0: not known
  std::optional<std::int64_t> crl_ends_s;  ///< of the list that ends first; nullopt: none is used
  std::string problem;                     ///< why newer files were not taken; empty: those in use are the newest
  std::vector<std::string> standing;       ///< warnings that the files in use gave
  std::uint64_t reloads{};

  /// Everything a person should see to, at that Unix time.
  std::vector<std::string> warnings(std::int64_t now_s) const;
};

}  // namespace bascule::api
