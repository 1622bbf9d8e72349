#include "hostd/runtime/libvirt/handle.hpp"

namespace bascule::runtime::libvirt {
namespace {

core::Errc code_of(int code) {
  switch (code) {
    case VIR_ERR_NO_DOMAIN: return core::Errc::not_found;
    case VIR_ERR_OPERATION_ABORTED: return core::Errc::cancelled;
    case VIR_ERR_OPERATION_TIMEOUT: return core::Errc::conflict;  // another job of libvirt's holds the domain
    case VIR_ERR_NO_MEMORY: return core::Errc::exhausted;
    case VIR_ERR_INVALID_ARG:
    case VIR_ERR_INTERNAL_ERROR:
    default: return core::Errc::refused;
  }
}

}  // namespace

int last_code() {
  const auto* error = virGetLastError();
  return error == nullptr ? VIR_ERR_OK : error->code;
}

core::Error last_error(virConnectPtr connection, Call call, const std::string& what) {
  const auto* error = virGetLastError();
  const std::string words = error != nullptr && error->message != nullptr ? error->message : "no reason given";
  const int code = error == nullptr ? VIR_ERR_OK : error->code;
  if (virConnectIsAlive(connection) != 1) {
    // safety: no answer came back, so a change may still have been carried out by libvirtd.
    if (call == Call::change) {
      return core::fail(core::Errc::outcome_unknown,
                        what + ": the connection to libvirt was lost in mid-call (" + words +
                            "); it may or may not have happened, look at the domain first");
    }
    return core::fail(core::Errc::unavailable, what + ": the connection to libvirt was lost (" + words + ")");
  }
  return core::fail(code_of(code), what + ": " + words);
}

}  // namespace bascule::runtime::libvirt
