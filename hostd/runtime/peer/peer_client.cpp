#include "hostd/runtime/peer/peer_client.hpp"

#include "hostd/codec/codec.hpp"

namespace bascule::runtime {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;

namespace {
constexpr std::string_view kPath = "/v1/lease-promise";
constexpr std::string_view kPromised = R"({"promised":true})";
constexpr std::size_t kMaxWords = 400;  // of a refusal, in a message
}  // namespace

Result<std::unique_ptr<PeerClient>> PeerClient::make(asio::any_io_executor executor, etcd::TlsFiles tls) {
  auto context = etcd::load_tls(tls);
  if (!context) return context.error();
  return std::unique_ptr<PeerClient>(new PeerClient(std::move(executor), std::move(*context)));
}

asio::awaitable<Result<>> PeerClient::ask_promise(std::string host, std::string address, core::HostLease lease,
                                                  Deadline deadline) {
  auto connection = std::exchange(idle_[address], nullptr);
  if (connection == nullptr || !connection->reusable()) {
    const auto endpoint = etcd::parse_endpoint("https://" + address);
    if (!endpoint) co_return endpoint.error();
    auto opened = co_await etcd::open_connection(executor_, *endpoint, tls_, deadline);
    if (!opened) co_return fail(Errc::unavailable, "host " + host + " is not reached: " + opened.error().what);
    connection = std::move(*opened);
  }
  const std::string body = codec::encode(lease);
  const auto exchange = co_await connection->post(kPath, body, deadline);
  using Outcome = etcd::Exchange::Outcome;
  if (exchange.outcome == Outcome::not_sent) co_return fail(Errc::unavailable, "host " + host + ": " + exchange.why);
  if (exchange.outcome == Outcome::unknown) co_return fail(Errc::outcome_unknown, "host " + host + ": " + exchange.why);
  if (connection->reusable()) idle_[address] = connection;
  // safety: S1. Only this very answer is a promise; another status, or other words, are none.
  if (exchange.status == 200 && exchange.body == kPromised) co_return Result<>{};
  co_return fail(Errc::refused, "host " + host + " does not promise: " + exchange.body.substr(0, kMaxWords));
}

}  // namespace bascule::runtime
