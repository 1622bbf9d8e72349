#include "hostd/runtime/cell/heads.hpp"

#include <openssl/evp.h>
#include <openssl/pem.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "hostd/codec/codec.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "hostd/runtime/cell/txn.hpp"
#include "hostd/runtime/clock.hpp"
#include "hostd/runtime/etcd/recipes.hpp"
#include "hostd/runtime/say.hpp"

namespace bascule::runtime {
namespace asio = boost::asio;
namespace kv = core::kv;
using core::Errc;
using core::fail;
using core::Result;

namespace {
constexpr std::chrono::seconds kDeadline{3};  // DESIGN section 4, renew_timeout
constexpr std::size_t kDeletesAtOnce = 32;    // kHeadsPerHost and some, should it have been larger before
}  // namespace

HeadStore::HeadStore(KvStore& store, const std::string& cell, std::string self)
    : kv_(store), root_(keys::root(cell)), self_(std::move(self)) {}

asio::awaitable<Result<std::vector<core::SignedHead>>> HeadStore::all() {
  auto listing = co_await range_all(kv_, keys::audit_heads(root_), Clock::now() + kDeadline);
  if (!listing) co_return listing.error();
  std::vector<core::SignedHead> out;
  for (const auto& item : listing->kvs) {
    auto head = codec::decode<core::SignedHead>(item.value);
    // One that cannot be read vouches for nothing; those of the other hosts still do.
    if (!head)
      say(msg::audit_head_unreadable, {.host = self_}, "countersigned head {} cannot be read: {}", item.key,
          head.error().what);
    else
      out.push_back(std::move(*head));
  }
  co_return out;
}

asio::awaitable<Result<>> HeadStore::add(core::SignedHead head) {
  auto own = co_await range_all(kv_, keys::audit_heads(root_, self_), Clock::now() + kDeadline);
  if (!own) co_return own.error();
  kv::Txn txn;
  const std::string key = keys::signed_head(root_, self_, head.sequence);
  put(txn, key, codec::encode(head));
  std::size_t left = own->kvs.size();
  for (const auto& item : own->kvs) {  // by number: the oldest first
    if (left < core::kHeadsPerHost || txn.success.size() > kDeletesAtOnce) break;
    if (item.key != key) del(txn, item.key);
    --left;
  }
  auto reply = co_await kv_.txn(std::move(txn), Clock::now() + kDeadline);
  if (!reply) co_return reply.error();
  co_return Result<>{};
}

Result<std::string> sign_text(const std::string& text, const std::string& key_file) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> in(std::fopen(key_file.c_str(), "re"), &std::fclose);
  if (!in) return fail(Errc::io, "cannot read the key " + key_file);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      PEM_read_PrivateKey(in.get(), nullptr, nullptr, nullptr), &EVP_PKEY_free);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  const auto bad = fail(Errc::invalid, "the key " + key_file + " cannot sign");
  if (!key || !context) return bad;
  const bool own_hash = EVP_PKEY_is_a(key.get(), "ED25519") == 1 || EVP_PKEY_is_a(key.get(), "ED448") == 1;
  const auto* in_text = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t size = 0;
  if (EVP_DigestSignInit(context.get(), nullptr, own_hash ? nullptr : EVP_sha256(), nullptr, key.get()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, in_text, text.size()) != 1) {
    return bad;
  }
  std::vector<unsigned char> signature(size);
  if (EVP_DigestSign(context.get(), signature.data(), &size, in_text, text.size()) != 1) return bad;
  std::string out(4 * ((size + 2) / 3) + 1, '\0');
  const int written =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), signature.data(), static_cast<int>(size));
  out.resize(static_cast<std::size_t>(written));
  return out;
}

}  // namespace bascule::runtime
