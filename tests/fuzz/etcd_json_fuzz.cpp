// Any bytes may come from etcd's port. Decoding ends with a value that fits the question, or with
// an error; a watch hands out nothing twice or backwards, whatever the stream says. First byte:
// which decoder.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "hostd/runtime/etcd/base64.hpp"
#include "hostd/runtime/etcd/connection.hpp"
#include "hostd/runtime/etcd/decode.hpp"
#include "hostd/runtime/etcd/watch_cursor.hpp"

namespace {

using namespace bascule;
using namespace bascule::runtime;
namespace kv = core::kv;

[[noreturn]] void broken(const char* what) {
  std::fprintf(stderr, "etcd_json_fuzz: %s\n", what);
  std::abort();
}

void check_text(const std::string& text) {
  if (text.empty() || text.size() > 1000) broken("an error without words, or with too many");
  for (const char c : text) {
    if (c < ' ' || c > '~') broken("somebody else's bytes in a sentence of ours");
  }
}

void transaction(std::string_view text) {
  kv::Txn asked;
  asked.success = {kv::Put{"a", "1"}, kv::Delete{"b"}, kv::get("c")};
  asked.failure = {kv::get("a")};
  const auto answer = etcd::decode_txn(text, asked);
  if (!answer) return check_text(answer.error().what);
  const auto& branch = answer->reply.succeeded ? asked.success : asked.failure;
  if (answer->reply.responses.size() != branch.size()) broken("an answer that does not fit the question");
  for (std::size_t i = 0; i < branch.size(); ++i) {
    const bool fits = answer->reply.responses[i].index() == branch[i].index();
    if (!fits) broken("a response of another kind than asked for");
  }
  if (answer->reply.revision < 0) broken("a negative revision");
}

void stream(std::string_view text) {
  etcd::WatchCursor cursor(5);
  kv::Revision last = 4;
  while (!text.empty()) {
    const auto end = text.find('\n');
    auto message = etcd::decode_watch(text.substr(0, end));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    if (!message) {
      check_text(message.error().what);
      continue;
    }
    const auto step = cursor.accept(*std::move(message));
    if (step.act == etcd::WatchCursor::Step::Act::finish) return;
    const kv::Revision before = last;
    for (const kv::Event& event : step.item.events) {
      if (event.kv.mod_revision <= before || event.kv.mod_revision < last) broken("a change twice, or backwards");
      last = event.kv.mod_revision;
    }
    if (cursor.next() != last + 1) broken("the watch would resume at the wrong place");
  }
}

void error(std::string_view text) {
  for (const unsigned status : {400U, 404U, 408U, 429U, 500U, 503U}) {
    for (const bool writes : {true, false}) {
      const core::Error made = etcd::decode_error(status, text, writes);
      check_text(made.what);
      if (made.code == core::Errc::unavailable) broken("an answer that claims that nothing was sent");
    }
  }
}

void base64(std::string_view text) {
  const auto bytes = etcd::from_base64(text);
  std::string again;
  etcd::append_base64(again, bytes ? std::string_view(*bytes) : text);
  if (bytes && again != text) broken("two texts for the same bytes");
  if (!bytes && etcd::from_base64(again) != text) broken("base64 does not keep the bytes");
}

void endpoint(std::string_view text) {
  const auto parsed = etcd::parse_endpoint(text);
  if (parsed && (parsed->host.find_first_of("\r\n/@ ") != std::string::npos || parsed->port == 0)) {
    broken("a host that could be something else in a request");
  }
}

}  // namespace

// libFuzzer's name for the entry point.
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'T': transaction(text); break;
    case 'W': stream(text); break;
    case 'S': static_cast<void>(etcd::decode_status(text)); break;
    case 'E': error(text); break;
    case 'B': base64(text); break;
    case 'U': endpoint(text); break;
    default: return -1;
  }
  return 0;
}
