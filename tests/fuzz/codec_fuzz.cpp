// Any bytes may stand in etcd. Decoding ends with a value or an error; what was decoded encodes to a text that decodes
// to the same value. First byte: which record.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "hostd/codec/codec.hpp"
#include "hostd/core/history.hpp"
#include "hostd/core/audit_chain.hpp"

namespace {

using namespace bascule;

[[noreturn]] void broken(const char* what) {
  std::fprintf(stderr, "codec_fuzz: %s\n", what);
  std::abort();
}

template <class T>
void round_trip(std::string_view text) {
  const auto first = codec::decode<T>(text);
  if (!first) {
    if (first.error().code != core::Errc::invalid || first.error().what.empty()) broken("an error without words");
    return;
  }
  const auto second = codec::decode<T>(codec::encode(*first));
  // A record may grow over the limit when it is written out with every default.
  if (!second && second.error().what != "record is too large") broken("what was encoded does not decode");
  if (second && !(*first == *second)) broken("a record changed on its way through the codec");
}

}  // namespace

// libFuzzer's name for the entry point.
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'S': round_trip<core::VmSpec>(text); break;
    case 'L': round_trip<core::Layout>(text); break;
    case 'R': round_trip<core::Right>(text); break;
    case 'V': round_trip<core::VmStatus>(text); break;
    case 'H': round_trip<core::HostInfo>(text); break;
    case 'E': round_trip<core::HostLease>(text); break;
    case 'I': round_trip<core::Image>(text); break;
    case 'O': round_trip<core::Operation>(text); break;
    case 'P': round_trip<core::Progress>(text); break;
    case 'A': round_trip<core::AuditRecord>(text); break;
    case 'D': round_trip<core::AuditHead>(text); break;
    case 'T': round_trip<core::Alert>(text); break;
    case 'Y': round_trip<core::HistoryDay>(text); break;
    default: return -1;
  }
  return 0;
}
