#include "hostd/codec/codec.hpp"

#include <array>
#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parse.hpp>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "hostd/codec/describe.hpp"
#include "hostd/codec/digest.hpp"
#include "hostd/core/audit_chain.hpp"

namespace bascule::codec {
namespace {

using nlohmann::json;

constexpr std::size_t kParseBytes = 8192;  // on the stack, enough for most records; larger ones go to the heap

template <class T>
concept Enum = std::is_enum_v<T>;
template <class T>
concept Integer = std::is_integral_v<T> && !std::is_same_v<T, bool>;

// ---- encode -------------------------------------------------------------------------------
template <class T>
json to_json(const std::vector<T>& v);
template <class T>
json to_json(const std::map<std::string, T>& v);
template <class T>
json to_json(const T& v);

struct Encoder {
  json object = json::object();
  template <class T>
  void operator()(const char* name, T& value) {
    object[name] = to_json(value);
  }
  template <class T>
  void operator()(const char* name, std::optional<T>& value) {
    if (value) object[name] = to_json(*value);
  }
};

template <class T>
json to_json(const std::vector<T>& v) {
  json out = json::array();
  for (const auto& item : v) out.push_back(to_json(item));
  return out;
}
template <class T>
json to_json(const std::map<std::string, T>& v) {
  json out = json::object();
  for (const auto& [key, item] : v) out[key] = to_json(item);
  return out;
}
template <class T>
json to_json(const T& v) {
  if constexpr (Enum<T>) {
    return std::string(core::to_string(v));
  } else if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
    return v;
  } else {
    Encoder e;
    T copy = v;  // describe() takes a mutable reference because the decoder shares it
    describe(e, copy);
    return std::move(e.object);
  }
}

// ---- decode -------------------------------------------------------------------------------
// Boost.JSON: it parses into one block of memory, several times faster than nlohmann's tree. Writing stays with the
// latter, which replaces bytes that are not UTF-8.
namespace in = boost::json;
struct Decoder;
struct Failure {
  std::string field;  ///< path of the first field that does not fit; empty = none
  const char* wanted{"as expected"};
};

bool from_json(const in::value& j, std::string& v, Failure& f) {
  if (!j.is_string()) return f.wanted = "a string", false;
  v = std::string_view(j.get_string());
  return true;
}
bool from_json(const in::value& j, bool& v, Failure& f) {
  if (!j.is_bool()) return f.wanted = "true or false", false;
  v = j.get_bool();
  return true;
}
template <Integer T>
bool from_json(const in::value& j, T& v, Failure& f) {
  f.wanted = "an integer in range";
  const auto take = [&v](auto n) {
    if (!std::in_range<T>(n)) return false;
    v = static_cast<T>(n);
    return true;
  };
  if (j.is_uint64()) return take(j.get_uint64());
  return j.is_int64() && take(j.get_int64());
}

#define BASCULE_ENUM(type, parse)                              \
  bool from_json(const in::value& j, type& v, Failure& f) {    \
    f.wanted = "one of the known words";                       \
    if (!j.is_string()) return false;                          \
    const auto word = parse(std::string_view(j.get_string())); \
    if (!word) return false;                                   \
    v = *word;                                                 \
    return true;                                               \
  }
BASCULE_ENUM(core::Site, core::parse_site)
BASCULE_ENUM(core::Power, core::parse_power)
BASCULE_ENUM(core::Protection, core::parse_protection)
BASCULE_ENUM(core::DomainState, core::parse_domain_state)
BASCULE_ENUM(core::OpKind, core::parse_op_kind)
BASCULE_ENUM(core::OpState, core::parse_op_state)
BASCULE_ENUM(core::StepKind, core::parse_step_kind)
BASCULE_ENUM(core::StepState, core::parse_step_state)
BASCULE_ENUM(core::Severity, core::parse_severity)
BASCULE_ENUM(core::AlertKind, core::parse_alert_kind)
BASCULE_ENUM(core::DeliveryState, core::parse_delivery_state)
BASCULE_ENUM(core::HistoryState, core::parse_history_state)
BASCULE_ENUM(core::OutageWhy, core::parse_outage_why)
#undef BASCULE_ENUM

template <class T>
bool from_json(const in::value& j, std::optional<T>& v, Failure& f);
template <class T>
bool from_json(const in::value& j, std::vector<T>& v, Failure& f);
template <class T>
bool from_json(const in::value& j, std::map<std::string, T>& v, Failure& f);
template <class T>
  requires(std::is_class_v<T>)
bool from_json(const in::value& j, T& v, Failure& f);

struct Decoder {
  const in::object& object;
  Failure& failure;
  template <class T>
  void operator()(const char* name, T& value) {
    if (!failure.field.empty()) return;
    const auto* field = object.if_contains(name);
    if (field == nullptr || field->is_null()) return;
    if (from_json(*field, value, failure)) return;
    failure.field = failure.field.empty() ? name : name + ("." + failure.field);
  }
};

template <class T>
bool from_json(const in::value& j, std::optional<T>& v, Failure& f) {
  T inner{};
  if (!from_json(j, inner, f)) return false;
  v = std::move(inner);
  return true;
}
template <class T>
bool from_json(const in::value& j, std::vector<T>& v, Failure& f) {
  if (!j.is_array()) return f.wanted = "a list", false;
  v.clear();
  v.reserve(j.get_array().size());
  for (const auto& item : j.get_array()) {
    T inner{};
    if (!from_json(item, inner, f)) return false;
    v.push_back(std::move(inner));
  }
  return true;
}
template <class T>
bool from_json(const in::value& j, std::map<std::string, T>& v, Failure& f) {
  if (!j.is_object()) return f.wanted = "an object", false;
  v.clear();
  for (const auto& [key, item] : j.get_object()) {
    T inner{};
    if (!from_json(item, inner, f)) return false;
    v.emplace(std::string(key), std::move(inner));
  }
  return true;
}
template <class T>
  requires(std::is_class_v<T>)
bool from_json(const in::value& j, T& v, Failure& f) {
  if (!j.is_object()) return f.wanted = "an object", false;
  Decoder d{j.get_object(), f};
  describe(d, v);
  return f.field.empty();
}

}  // namespace

template <class T>
std::string encode(const T& record) {
  // replace: a record may carry bytes that are not UTF-8 (a process's message); never throw for them.
  return to_json(record).dump(-1, ' ', false, json::error_handler_t::replace);
}

template <class T>
core::Result<T> decode(std::string_view text) {
  if (text.size() > kMaxBytes<T>) return core::fail(core::Errc::invalid, "record is too large");
  std::array<unsigned char, kParseBytes> first{};
  in::monotonic_resource memory(first.data(), first.size());
  boost::system::error_code wrong;
  const auto j = in::parse({text.data(), text.size()}, wrong, &memory);
  if (wrong == in::error::too_deep) return core::fail(core::Errc::invalid, "record is nested too deeply");
  if (wrong) return core::fail(core::Errc::invalid, "record is not JSON");
  T value{};
  Failure f;
  if (!from_json(j, value, f)) {
    const std::string where = f.field.empty() ? "record" : "field '" + f.field + "'";
    return core::fail(core::Errc::invalid, where + " is not " + f.wanted);
  }
  return value;
}

#define BASCULE_RECORD(T)                   \
  template std::string encode<T>(const T&); \
  template core::Result<T> decode<T>(std::string_view);
BASCULE_RECORD(core::VmSpec)
BASCULE_RECORD(core::Layout)
BASCULE_RECORD(core::Right)
BASCULE_RECORD(core::VmStatus)
BASCULE_RECORD(core::HostInfo)
BASCULE_RECORD(core::HostLease)
BASCULE_RECORD(core::FenceIntent)
BASCULE_RECORD(core::Maintenance)
BASCULE_RECORD(core::LastCare)
BASCULE_RECORD(core::Disarmed)
BASCULE_RECORD(core::Restore)
BASCULE_RECORD(core::Restored)
BASCULE_RECORD(core::Image)
BASCULE_RECORD(core::Operation)
BASCULE_RECORD(core::Progress)
BASCULE_RECORD(core::AuditRecord)
BASCULE_RECORD(core::AuditHead)
BASCULE_RECORD(core::Notes)
BASCULE_RECORD(core::Alert)
BASCULE_RECORD(core::SignedHead)
BASCULE_RECORD(core::HistoryDay)
#undef BASCULE_RECORD

std::string audit_hash(const core::AuditRecord& record) { return sha256(core::canonical(record)); }

}  // namespace bascule::codec
