#include "hostd/runtime/etcd/encode.hpp"

#include "hostd/runtime/etcd/base64.hpp"

namespace bascule::runtime::etcd {
namespace {

namespace kv = core::kv;

void append_bytes(std::string& out, std::string_view name, std::string_view bytes) {
  out += '"';
  out += name;
  out += "\":\"";
  append_base64(out, bytes);
  out += '"';
}

/// 64-bit numbers travel as strings.
void append_number(std::string& out, std::string_view name, std::int64_t number) {
  out += '"';
  out += name;
  out += "\":\"";
  out += std::to_string(number);
  out += '"';
}

/// Target and result are always spelt out: left away, etcd takes VERSION and EQUAL.
void append_compare(std::string& out, const kv::Compare& compare) {
  out += R"({"result":"EQUAL",)";
  switch (compare.target) {
    case kv::Compare::Target::mod_revision:
      out += R"("target":"MOD",)";
      append_number(out, "mod_revision", compare.number);
      break;
    case kv::Compare::Target::create_revision:
      out += R"("target":"CREATE",)";
      append_number(out, "create_revision", compare.number);
      break;
    case kv::Compare::Target::version:
      out += R"("target":"VERSION",)";
      append_number(out, "version", compare.number);
      break;
    case kv::Compare::Target::value:
      out += R"("target":"VALUE",)";
      append_bytes(out, "value", compare.value);
      break;
  }
  out += ',';
  append_bytes(out, "key", compare.key);
  out += '}';
}

void append_op(std::string& out, const kv::Op& op) {
  if (const auto* put = std::get_if<kv::Put>(&op)) {
    out += R"({"request_put":{)";
    append_bytes(out, "key", put->key);
    out += ',';
    append_bytes(out, "value", put->value);
  } else if (const auto* del = std::get_if<kv::Delete>(&op)) {
    out += R"({"request_delete_range":{)";
    append_bytes(out, "key", del->key);
  } else {
    const auto& range = std::get<kv::Range>(op);
    out += R"({"request_range":{)";
    append_bytes(out, "key", range.key);
    if (!range.end.empty()) {
      out += ',';
      append_bytes(out, "range_end", range.end);
    }
    out += ',';
    append_number(out, "limit", range.limit == 0 ? kv::kMaxRangeLimit : range.limit);
    if (range.revision != 0) {
      out += ',';
      append_number(out, "revision", range.revision);
    }
    if (range.keys_only) out += R"(,"keys_only":true)";
  }
  out += "}}";
}

template <class List, class Append>
void append_list(std::string& out, std::string_view name, const List& list, Append append) {
  out += '"';
  out += name;
  out += "\":[";
  bool first = true;
  for (const auto& item : list) {
    if (!first) out += ',';
    first = false;
    append(out, item);
  }
  out += ']';
}

}  // namespace

std::string encode_txn(const kv::Txn& txn) {
  std::string out;
  out.reserve(512);
  out += '{';
  append_list(out, "compare", txn.compares, append_compare);
  out += ',';
  append_list(out, "success", txn.success, append_op);
  out += ',';
  append_list(out, "failure", txn.failure, append_op);
  out += '}';
  return out;
}

std::string encode_watch(std::string_view prefix, kv::Revision from) {
  std::string out = R"({"create_request":{)";
  append_bytes(out, "key", prefix);
  out += ',';
  append_bytes(out, "range_end", kv::prefix_end(std::string(prefix)));
  out += ',';
  append_number(out, "start_revision", from);
  out += "}}";
  return out;
}

}  // namespace bascule::runtime::etcd
