// Only for the two files that see Asio's TLS.
#pragma once

#include <boost/asio/ssl/context.hpp>

#include "hostd/runtime/etcd/connection.hpp"

namespace bascule::runtime::etcd {

class TlsContext {
 public:
  boost::asio::ssl::context context{boost::asio::ssl::context::tls_client};
};

}  // namespace bascule::runtime::etcd
