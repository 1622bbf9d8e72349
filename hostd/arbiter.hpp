// Answers the kernel's question (fence-peer): waits, looks, asks core::decide_loss, commits R1, answers. Decides
// nothing.
#pragma once

#include <string>

#include "hostd/node.hpp"
#include "hostd/runtime/fence/fence_server.hpp"

namespace bascule {

/// One question about one resource; ends only with a settled answer. hostd may be restarted meanwhile: the helper asks
/// the next one, which looks anew.
boost::asio::awaitable<runtime::FenceAnswer> decide_fence(Node& node, std::string resource);

}  // namespace bascule
