#include "storage/events2.hpp"

#include <algorithm>
#include <charconv>

namespace bascule::storage {
namespace {

using core::Errc;
using core::fail;

template <class E>
struct Word {
  std::string_view text;
  E value;
};

template <class E, std::size_t N>
std::optional<E> lookup(const Word<E> (&words)[N], std::string_view text) {
  for (const auto& word : words) {
    if (word.text == text) return word.value;
  }
  return std::nullopt;
}
template <class E, std::size_t N>
std::string_view text_of(const Word<E> (&words)[N], E value) {
  for (const auto& word : words) {
    if (word.value == value) return word.text;
  }
  return "?";
}

constexpr Word<EventAction> kActions[] = {
    {"exists", EventAction::exists},   {"create", EventAction::create}, {"change", EventAction::change},
    {"destroy", EventAction::destroy}, {"call", EventAction::call},     {"response", EventAction::response},
    {"rename", EventAction::rename},
};
constexpr Word<EventObject> kObjects[] = {
    {"resource", EventObject::resource},
    {"device", EventObject::device},
    {"connection", EventObject::connection},
    {"peer-device", EventObject::peer_device},
    {"path", EventObject::path},
    {"helper", EventObject::helper},
    {"-", EventObject::none},
};
constexpr Word<Role> kRoles[] = {
    {"Unknown", Role::unknown}, {"Primary", Role::primary}, {"Secondary", Role::secondary}};
constexpr Word<Disk> kDisks[] = {
    {"DUnknown", Disk::unknown},          {"Diskless", Disk::diskless}, {"Attaching", Disk::attaching},
    {"Detaching", Disk::detaching},       {"Failed", Disk::failed},     {"Negotiating", Disk::negotiating},
    {"Inconsistent", Disk::inconsistent}, {"Outdated", Disk::outdated}, {"Consistent", Disk::consistent},
    {"UpToDate", Disk::up_to_date},
};
constexpr Word<Connection> kConnections[] = {
    {"Unknown", Connection::unknown},
    {"StandAlone", Connection::stand_alone},
    {"Disconnecting", Connection::disconnecting},
    {"Unconnected", Connection::unconnected},
    {"Timeout", Connection::timeout},
    {"BrokenPipe", Connection::broken_pipe},
    {"NetworkFailure", Connection::network_failure},
    {"ProtocolError", Connection::protocol_error},
    {"TearDown", Connection::tear_down},
    {"Connecting", Connection::connecting},
    {"Connected", Connection::connected},
};
constexpr Word<Replication> kReplications[] = {
    {"Unknown", Replication::unknown},
    {"Off", Replication::off},
    {"Established", Replication::established},
    {"StartingSyncS", Replication::starting_sync_source},
    {"StartingSyncT", Replication::starting_sync_target},
    {"WFBitMapS", Replication::bitmap_source},
    {"WFBitMapT", Replication::bitmap_target},
    {"WFSyncUUID", Replication::waiting_uuid},
    {"SyncSource", Replication::sync_source},
    {"SyncTarget", Replication::sync_target},
    {"PausedSyncS", Replication::paused_sync_source},
    {"PausedSyncT", Replication::paused_sync_target},
    {"VerifyS", Replication::verify_source},
    {"VerifyT", Replication::verify_target},
    {"Ahead", Replication::ahead},
    {"Behind", Replication::behind},
};

/// Takes the next word off the line; words are separated by blanks.
std::string_view take(std::string_view& line) {
  const auto start = line.find_first_not_of(' ');
  if (start == std::string_view::npos) {
    line = {};
    return {};
  }
  line.remove_prefix(start);
  const auto end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

/// "2026-11-23T01:50:54.123456+00:00"
bool is_timestamp(std::string_view word) {
  return word.size() >= 20 && word[0] >= '0' && word[0] <= '9' && word[4] == '-' && word[10] == 'T';
}

}  // namespace

std::string_view to_string(Role v) { return text_of(kRoles, v); }
std::string_view to_string(Disk v) { return text_of(kDisks, v); }
std::string_view to_string(Connection v) { return text_of(kConnections, v); }
std::string_view to_string(Replication v) { return text_of(kReplications, v); }
std::optional<Role> parse_role(std::string_view s) { return lookup(kRoles, s); }
std::optional<Disk> parse_disk(std::string_view s) { return lookup(kDisks, s); }
std::optional<Connection> parse_connection(std::string_view s) { return lookup(kConnections, s); }
std::optional<Replication> parse_replication(std::string_view s) { return lookup(kReplications, s); }

std::optional<std::string_view> Event::find(std::string_view key) const {
  for (std::size_t i = 0; i < field_count; ++i) {
    if (fields[i].key == key) return fields[i].value;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> Event::number(std::string_view key) const {
  const auto text = find(key);
  if (!text || text->empty()) return std::nullopt;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc{} || end != text->data() + text->size()) return std::nullopt;
  return value;
}

core::Result<Event> parse_event(std::string_view line) {
  if (line.size() > EventLimits::line_bytes) return fail(Errc::invalid, "events2: a line is too long");
  if (std::ranges::any_of(line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; })) {
    return fail(Errc::invalid, "events2: a line holds control characters");
  }
  Event event;
  std::string_view word = take(line);
  if (is_timestamp(word)) {
    event.timestamp = word;
    word = take(line);
  }
  if (word.empty()) return fail(Errc::invalid, "events2: a line without an action");
  const std::string_view object = take(line);
  // "- skipped 12": the kernel dropped notifications; what we know is no longer complete.
  if (word == "-" && object == "skipped") {
    event.action = EventAction::skipped;
    event.object = EventObject::none;
    return event;
  }
  if (object.empty()) return fail(Errc::invalid, "events2: a line without an object");
  event.action = lookup(kActions, word).value_or(EventAction::unknown);
  event.object = lookup(kObjects, object).value_or(EventObject::unknown);
  for (word = take(line); !word.empty(); word = take(line)) {
    if (event.field_count == event.fields.size()) return fail(Errc::invalid, "events2: a line with too many fields");
    const auto colon = word.find(':');  // only the first: values such as addresses hold more
    Event::Field& field = event.fields[event.field_count++];
    field.key = word.substr(0, colon);
    if (colon != std::string_view::npos) field.value = word.substr(colon + 1);
  }
  return event;
}

}  // namespace bascule::storage
