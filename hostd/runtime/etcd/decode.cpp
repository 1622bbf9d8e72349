#include "hostd/runtime/etcd/decode.hpp"

#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "hostd/runtime/etcd/base64.hpp"

namespace bascule::runtime::etcd {
namespace {

namespace kv = core::kv;
using core::Errc;
using core::fail;
using core::Result;
using Json = nlohmann::json;

constexpr std::size_t kMaxErrorText = 300;  // bytes of somebody else's text in a sentence of ours

/// Reads fields of objects and remembers whether one was not what it has to be.
class Reader {
 public:
  /// nullptr when missing; bad when `object` is no object.
  const Json* find(const Json& object, const char* name) {
    if (!object.is_object()) {
      bad(name);
      return nullptr;
    }
    const auto field = object.find(name);
    return field == object.end() ? nullptr : &*field;
  }
  const Json* object(const Json& parent, const char* name) {
    const Json* field = find(parent, name);
    if (field != nullptr && !field->is_object()) {
      bad(name);
      return nullptr;
    }
    return field;
  }
  const Json* list(const Json& parent, const char* name) {
    const Json* field = find(parent, name);
    if (field != nullptr && !field->is_array()) {
      bad(name);
      return nullptr;
    }
    return field;
  }
  template <class Integer>
  Integer number(const Json& parent, const char* name) {
    const Json* field = find(parent, name);
    if (field == nullptr) return 0;
    const auto* text = field->get_ptr<const Json::string_t*>();
    Integer value = 0;
    if (text != nullptr) {
      const char* end = text->data() + text->size();
      const auto [last, error] = std::from_chars(text->data(), end, value);
      if (error == std::errc{} && last == end && !text->empty()) return value;
    }
    bad(name);
    return 0;
  }
  /// A revision or a count: never negative.
  std::int64_t count(const Json& parent, const char* name) {
    const auto value = number<std::int64_t>(parent, name);
    if (value >= 0) return value;
    bad(name);
    return 0;
  }
  bool boolean(const Json& parent, const char* name) {
    const Json* field = find(parent, name);
    if (field == nullptr) return false;
    if (const auto* value = field->get_ptr<const Json::boolean_t*>()) return *value;
    bad(name);
    return false;
  }
  std::string text(const Json& parent, const char* name) {
    const Json* field = find(parent, name);
    if (field == nullptr) return {};
    if (const auto* value = field->get_ptr<const Json::string_t*>()) return *value;
    bad(name);
    return {};
  }
  std::string bytes(const Json& parent, const char* name) {
    const Json* field = find(parent, name);
    if (field == nullptr) return {};
    if (const auto* value = field->get_ptr<const Json::string_t*>()) {
      if (auto decoded = from_base64(*value)) return *std::move(decoded);
    }
    bad(name);
    return {};
  }
  void bad(const char* name) {
    if (bad_.empty()) bad_ = name;
  }
  [[nodiscard]] bool good() const { return bad_.empty(); }
  [[nodiscard]] core::Error error(std::string_view what) const {
    return fail(Errc::internal, "etcd's answer to " + std::string(what) + " is not understood at \"" + bad_ + "\".");
  }

 private:
  std::string bad_;
};

std::optional<Json> parse(std::string_view body) {
  Json document = Json::parse(body, nullptr, false);
  if (!document.is_object()) return std::nullopt;
  return document;
}

core::Error not_json(std::string_view what) {
  return fail(Errc::internal, "etcd's answer to " + std::string(what) + " is not a JSON object.");
}

Header read_header(Reader& reader, const Json& parent) {
  Header header;
  const Json* object = reader.object(parent, "header");
  if (object == nullptr) {
    reader.bad("header");
    return header;
  }
  header.cluster_id = reader.number<std::uint64_t>(*object, "cluster_id");
  header.member_id = reader.number<std::uint64_t>(*object, "member_id");
  header.raft_term = reader.number<std::uint64_t>(*object, "raft_term");
  header.revision = reader.count(*object, "revision");
  return header;
}

kv::KeyValue read_kv(Reader& reader, const Json& object) {
  kv::KeyValue pair;
  pair.key = reader.bytes(object, "key");
  if (pair.key.empty()) reader.bad("key");
  pair.value = reader.bytes(object, "value");
  pair.create_revision = reader.count(object, "create_revision");
  pair.mod_revision = reader.count(object, "mod_revision");
  if (pair.mod_revision == 0) reader.bad("mod_revision");
  pair.version = reader.count(object, "version");
  return pair;
}

kv::RangeReply read_range(Reader& reader, const Json& object) {
  kv::RangeReply reply;
  reply.more = reader.boolean(object, "more");
  const Json* list = reader.list(object, "kvs");
  if (list == nullptr) return reply;
  reply.kvs.reserve(list->size());
  for (const Json& item : *list) reply.kvs.push_back(read_kv(reader, item));
  return reply;
}

kv::OpReply read_response(Reader& reader, const Json& item, const kv::Op& asked) {
  const auto inner = [&](const char* name) {
    const Json* object = reader.object(item, name);
    if (object == nullptr) reader.bad(name);
    return object;
  };
  if (std::holds_alternative<kv::Put>(asked)) {
    inner("response_put");
    return kv::PutReply{};
  }
  if (std::holds_alternative<kv::Delete>(asked)) {
    const Json* object = inner("response_delete_range");
    return kv::DeleteReply{object == nullptr ? 0 : reader.count(*object, "deleted")};
  }
  const Json* object = inner("response_range");
  return object == nullptr ? kv::RangeReply{} : read_range(reader, *object);
}

std::string readable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kMaxErrorText)) out += c >= ' ' && c < 127 ? c : ' ';
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

/// grpc status codes, as far as they are told apart.
enum class Grpc : std::int64_t {
  invalid_argument = 3,
  not_found = 5,
  permission_denied = 7,
  resource_exhausted = 8,
  out_of_range = 11,
  unimplemented = 12,
  unauthenticated = 16,
};

/// The plain integer of an error's "code" or "grpc_code"; -1 when there is none.
std::int64_t grpc_code(const Json& object, const char* name) {
  const auto field = object.find(name);
  if (field == object.end()) return -1;
  const auto* number = field->get_ptr<const Json::number_integer_t*>();
  return number == nullptr ? -1 : *number;
}

/// Is this status and code a definite no, and which one?
Errc definite(unsigned status, std::int64_t code, std::string_view message, bool writes) {
  switch (static_cast<Grpc>(code)) {
    case Grpc::resource_exhausted:
      // grpc itself says so of an answer that is too large, when the request has been carried out.
      return message.starts_with("etcdserver:") || !writes ? Errc::exhausted : Errc::outcome_unknown;
    case Grpc::permission_denied:
    case Grpc::unauthenticated: return Errc::forbidden;
    case Grpc::out_of_range: return message.find("compacted") == message.npos ? Errc::refused : Errc::stale;
    case Grpc::invalid_argument:
    case Grpc::not_found:
    case Grpc::unimplemented: return Errc::refused;
  }
  if (code >= 0) return Errc::outcome_unknown;
  if (status == 401 || status == 403) return Errc::forbidden;
  // 408 and 429 without etcd's own code may come from something between us and etcd.
  if (status >= 400 && status < 500 && status != 408 && status != 429) return Errc::refused;
  return Errc::outcome_unknown;
}

}  // namespace

Result<TxnAnswer> decode_txn(std::string_view body, const kv::Txn& asked) {
  const auto document = parse(body);
  if (!document) return not_json("a transaction");
  Reader reader;
  TxnAnswer answer;
  answer.header = read_header(reader, *document);
  answer.reply.revision = answer.header.revision;
  answer.reply.succeeded = reader.boolean(*document, "succeeded");
  const std::vector<kv::Op>& branch = answer.reply.succeeded ? asked.success : asked.failure;
  const Json* list = reader.list(*document, "responses");
  if ((list == nullptr ? 0 : list->size()) != branch.size()) reader.bad("responses");
  if (!reader.good()) return reader.error("a transaction");
  for (std::size_t i = 0; i < branch.size(); ++i) {
    answer.reply.responses.push_back(read_response(reader, (*list)[i], branch[i]));
  }
  if (!reader.good()) return reader.error("a transaction");
  return answer;
}

Result<StatusAnswer> decode_status(std::string_view body) {
  const auto document = parse(body);
  if (!document) return not_json("a status request");
  Reader reader;
  StatusAnswer answer;
  answer.header = read_header(reader, *document);
  answer.version = reader.text(*document, "version");
  answer.leader = reader.number<std::uint64_t>(*document, "leader");
  if (const Json* list = reader.list(*document, "errors")) {
    for (const Json& item : *list) {
      if (const auto* text = item.get_ptr<const Json::string_t*>()) answer.errors.push_back(readable(*text));
    }
  }
  if (!reader.good()) return reader.error("a status request");
  return answer;
}

Result<WatchMessage> decode_watch(std::string_view line) {
  const auto document = parse(line);
  if (!document) return not_json("a watch");
  Reader reader;
  WatchMessage message;
  if (const Json* error = reader.object(*document, "error")) {
    message.failed = true;
    message.reason = readable(reader.text(*error, "message"));
    return message;
  }
  const Json* result = reader.object(*document, "result");
  if (result == nullptr) return not_json("a watch");
  message.header = read_header(reader, *result);
  message.created = reader.boolean(*result, "created");
  message.canceled = reader.boolean(*result, "canceled");
  message.compact_revision = reader.count(*result, "compact_revision");
  message.reason = readable(reader.text(*result, "cancel_reason"));
  if (const Json* list = reader.list(*result, "events")) {
    message.events.reserve(list->size());
    for (const Json& item : *list) {
      const std::string type = reader.text(item, "type");
      if (!type.empty() && type != "PUT" && type != "DELETE") reader.bad("type");
      const Json* pair = reader.object(item, "kv");
      if (pair == nullptr) {
        reader.bad("kv");
        break;
      }
      const auto kind = type == "DELETE" ? kv::Event::Kind::del : kv::Event::Kind::put;
      message.events.push_back({kind, read_kv(reader, *pair)});
    }
  }
  if (!reader.good()) return reader.error("a watch");
  return message;
}

core::Error decode_error(unsigned status, std::string_view body, bool writes) {
  std::int64_t code = -1;
  std::string text;
  if (const auto document = parse(body)) {
    // Plain calls put the fields at the top, streaming ones inside "error".
    const auto inner = document->find("error");
    const bool streaming = inner != document->end() && inner->is_object();
    const Json& fields = streaming ? *inner : *document;
    code = grpc_code(fields, streaming ? "grpc_code" : "code");
    Reader reader;
    text = reader.text(fields, "message");
    if (text.empty() && !streaming) text = reader.text(fields, "error");
  } else {
    text = body.substr(0, kMaxErrorText);
  }
  text = readable(text);
  const Errc errc = definite(status, code, text, writes);
  return fail(errc, "etcd answered " + std::to_string(status) + (text.empty() ? "." : ": " + text + "."));
}

}  // namespace bascule::runtime::etcd
