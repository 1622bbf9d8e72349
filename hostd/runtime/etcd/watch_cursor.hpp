// Where a watch stands, and what each message of the stream means for it. Pure: no connection, no
// clock.
#pragma once

#include <cstdint>
#include <string>

#include "hostd/core/kv.hpp"
#include "hostd/runtime/etcd/decode.hpp"
#include "hostd/runtime/etcd/kv_store.hpp"

namespace bascule::runtime::etcd {

class WatchCursor {
 public:
  explicit WatchCursor(core::kv::Revision from) : next_(from < 1 ? 1 : from) {}

  /// The first revision not yet delivered: where a new stream starts.
  [[nodiscard]] core::kv::Revision next() const { return next_; }

  struct Step {
    enum class Act : std::uint8_t {
      nothing,    ///< read on
      deliver,    ///< hand out `item`, read on
      finish,     ///< hand out `item`, it is final
      reconnect,  ///< this stream is of no use any more; `item.detail` says why
    };
    Act act{Act::nothing};
    WatchItem item;
  };
  Step accept(WatchMessage message);

 private:
  core::kv::Revision next_;
};

}  // namespace bascule::runtime::etcd
