// Every record with every field set to a value that is not its default, made from the codec's own list of fields; and
// the fields the struct really has, so that the list cannot forget one.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "hostd/codec/describe.hpp"

namespace bascule::codec::test {

/// Visits like the decoder and writes a value into each field.
struct Filler {
  int next{1};

  void fill(std::string& v) { v = "t\u00e9xt \"" + std::to_string(next++) + "\"\n"; }
  void fill(bool& v) { v = true; }
  template <class T>
    requires(std::is_integral_v<T> && !std::is_same_v<T, bool>)
  void fill(T& v) {
    v = static_cast<T>(std::numeric_limits<T>::max() - static_cast<T>(next++));
  }
  template <class T>
    requires(std::is_enum_v<T>)
  void fill(T& v) {
    v = static_cast<T>(1);  // the second value: no default is that
  }
  template <class T>
  void fill(std::optional<T>& v) {
    v.emplace();
    fill(*v);
  }
  template <class T>
  void fill(std::vector<T>& v) {
    v.resize(2);
    for (auto& item : v) fill(item);
  }
  template <class T>
  void fill(std::map<std::string, T>& v) {
    for (const auto* key : {"one", "tw\u00f6"}) fill(v[key]);
  }
  template <class T>
    requires(std::is_class_v<T>)
  void fill(T& v) {
    describe(*this, v);
  }
  template <class T>
  void operator()(const char*, T& value) {
    fill(value);
  }
};

template <class T>
T full() {
  T record{};
  Filler{}.fill(record);
  return record;
}

/// What describe() visits: names and addresses, in order.
struct Lister {
  std::vector<std::string> names;
  std::vector<const void*> places;
  template <class T>
  void operator()(const char* name, T& value) {
    names.emplace_back(name);
    places.push_back(&value);
  }
};

template <class... T>
std::vector<const void*> addresses(const T&... fields) {
  return {static_cast<const void*>(&fields)...};
}

// The fields of a struct by structured binding, which compiles only with exactly as many names as there are fields.
// When a line here stops compiling, a field was added: give it a name here and a place in describe().
#define BASCULE_FIELDS(type, ...)                                  \
  inline std::vector<const void*> fields_of(const core::type& v) { \
    const auto& [__VA_ARGS__] = v;                                 \
    return addresses(__VA_ARGS__);                                 \
  }
BASCULE_FIELDS(VolumeSpec, a, b, c)
BASCULE_FIELDS(NicSpec, a, b)
BASCULE_FIELDS(VmSpec, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o)
BASCULE_FIELDS(Leg, a, b)
BASCULE_FIELDS(VolumeLayout, a, b, c, d)
BASCULE_FIELDS(Layout, a, b)
BASCULE_FIELDS(Writer, a, b, c)
BASCULE_FIELDS(Right, a, b, c, d, e, f)
BASCULE_FIELDS(VmStatus::Volume, a, b, c, d)
BASCULE_FIELDS(VmStatus, a, b, c, d, e, f, g)
BASCULE_FIELDS(HostInfo, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s)
BASCULE_FIELDS(HostLease, a, b, c, d)
BASCULE_FIELDS(FenceIntent, a, b, c, d, e)
BASCULE_FIELDS(Maintenance, a, b, c)
BASCULE_FIELDS(LastCare, a, b, c, d)
BASCULE_FIELDS(Disarmed, a, b, c)
BASCULE_FIELDS(Image, a, b, c, d)
BASCULE_FIELDS(Step, a, b, c, d, e)
BASCULE_FIELDS(Who, a, b, c)
BASCULE_FIELDS(Operation, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, w)
BASCULE_FIELDS(Progress, a, b, c, d, e)
BASCULE_FIELDS(AuditRecord, a, b, c, d, e, f, g, h, i, j, k)
BASCULE_FIELDS(AuditHead, a, b)
BASCULE_FIELDS(SignedHead, a, b, c, d, e, f, g)
BASCULE_FIELDS(VmNote, a, b, c, d, e)
BASCULE_FIELDS(Notes, a, b, c, d)
BASCULE_FIELDS(Restore, a, b, c, d, e)
BASCULE_FIELDS(Restored, a, b)
BASCULE_FIELDS(Delivery, a, b, c, d, e, f, g, h, i)
BASCULE_FIELDS(Alert, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s)
BASCULE_FIELDS(Outage, a, b, c, d)
BASCULE_FIELDS(HistoryDay, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s)
#undef BASCULE_FIELDS

}  // namespace bascule::codec::test
