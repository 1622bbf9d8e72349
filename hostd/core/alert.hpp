// Alerts: what an operator on call must know, as records of the cell, and who sends what when. Pure; the shell is
// hostd/alert. A record is made once per event (its id is derived from the event), a message of it goes to each list of
// recipients of hostd.toml; a host claims it by a compare, sends, and marks it sent after the server's confirmation.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hostd/core/timing.hpp"
#include "hostd/core/view.hpp"

namespace bascule::core {

enum class Severity : std::uint8_t { info, warning, critical };

enum class AlertKind : std::uint8_t {
  test,       ///< a person asked for it
  heartbeat,  ///< once a day: all is well, or not
  failover_decided,
  failover_done,
  failover_failed,
  needs_operator,
  host_silent,
  vm_down,         ///< it should run, and nothing is at work on it
  vm_unprotected,  ///< for long
  split_brain,     ///< DRBD refuses the link: both legs may hold something of their own
  etcd_voter_lost,
  certificate_expiring,
};

enum class DeliveryState : std::uint8_t { claimed, failed, sent };

/// One message to one list of recipients.
struct Delivery {
  DeliveryState state{};
  std::string by;        ///< the host that has claimed it, tried it or sent it
  std::string instance;  ///< of its hostd
  std::string bundle;    ///< several alerts went in one message: its id; empty: alone
  std::uint32_t tries{};
  WallMs when_ms{};
  std::vector<std::string> accepted;  ///< recipients that have it although the try failed for others
  bool repeat{};                      ///< a host that had claimed it was lost before its mark: it may be a repeat
  std::string error;                  ///< of the last try; of one that was sent: recipients that were refused
  bool operator==(const Delivery&) const = default;
};

/// `alerts/<id>`.
struct Alert {
  std::string id;  ///< lower-case letters, digits and hyphens
  AlertKind kind{};
  Severity severity{};
  std::string vm, host, site, operation;
  std::string title;            ///< a few words, for subjects and SMS
  std::string what, did, todo;  ///< what happened, what Bascule did, what a person must do
  std::string hint;             ///< the one command, for SMS
  WallMs created_ms{};
  WallMs ended_ms{};     ///< a state that is over since then; 0: it lasts, or it was a moment
  std::string reporter;  ///< the host that wrote it
  std::string acked_by, ack_reason;
  WallMs acked_ms{};
  std::map<std::string, Delivery> deliveries;  ///< by the name of the list
  bool operator==(const Alert&) const = default;
};

using AlertBook = std::map<std::string, Versioned<Alert>>;

/// A list of recipients, as far as decisions go: [alerts.to.NAME].
struct AlertList {
  std::string name;
  Severity least{Severity::warning};  ///< this and worse
  WallMs after_ms{};                  ///< 0: at once; else only what nobody acknowledged for so long
  bool heartbeat{};                   ///< gets the daily message
  bool operator==(const AlertList&) const = default;
};

struct AlertRules {
  std::vector<AlertList> lists;  ///< none: this host makes and sends nothing
  int heartbeat_minute{-1};      ///< of the day in UTC; -1: never
  WallMs unprotected_ms{WallMs{15} * 60'000};
  WallMs down_ms{WallMs{2} * 60'000};
  std::size_t storm_messages{10};  ///< to one list within storm_ms; what is more is bundled
  WallMs storm_ms{WallMs{10} * 60'000};
  int certificate_days{14};
};

/// Of a message: the list and the bundle, or the list and the only alert's id.
using AlertJob = std::pair<std::string, std::string>;
struct AlertOutcome {
  bool sent{};
  std::string error;
  std::vector<std::string> accepted;
};

/// What this host knows beside the records, now.
struct AlertFacts {
  Mono now{};
  WallMs wall{};
  std::string instance;
  std::set<std::string> busy;                  ///< alerts on which a write of this host is under way
  std::set<AlertJob> sending;                  ///< messages that are being sent by this host
  std::map<AlertJob, AlertOutcome> outcomes;   ///< how those ended that are not marked yet
  std::set<std::string> voters_lost;           ///< etcd members that this host does not reach
  std::size_t voters{};                        ///< in all
  std::map<std::string, WallMs> certificates;  ///< by path: when it ends
};

/// What this host has timed itself, on its own clock; lost without harm.
struct AlertMemory {
  struct Seen {
    std::string what;
    Mono since{};
  };
  std::map<std::string, Seen> events;      ///< states and events that are seen now, by alert id
  std::map<std::string, Seen> calm;        ///< states that an alert speaks of and that are not seen now
  std::map<std::string, Seen> deliveries;  ///< by "list/alert"
};

/// One transaction: all or nothing, each record compared with the revision it was decided on (0: absent).
struct AlertChange {
  std::string id;
  Revision revision{};
  std::optional<Alert> next;  ///< nullopt: it is forgotten
};
using AlertWrite = std::vector<AlertChange>;

struct AlertMessage {
  AlertJob job;
  std::vector<Alert> alerts;  ///< one, or a bundle
  std::string key;            ///< the same whoever sends it: Message-ID, idempotency key, name of a file
  bool repeat{};
  std::vector<std::string> accepted;
};

struct AlertRound {
  std::vector<AlertWrite> writes;
  std::vector<AlertMessage> sends;
  std::vector<AlertJob> settled;  ///< outcomes that are in the record, or that nobody wants any more
};

struct AlertLimits {
  static constexpr std::size_t standing = 500;     ///< records; at 4 KiB they are 2 MB of etcd's 2 GiB
  static constexpr std::size_t most = 600;         ///< above that none is made
  static constexpr std::size_t forget_batch = 40;  ///< in one transaction
  static constexpr std::size_t bundle = 40;        ///< alerts in one message
  static constexpr std::size_t text_bytes = 1000;  ///< of what, did and todo each
  static constexpr std::size_t title_bytes = 120;  ///< of a title
  static constexpr std::size_t lists = 16;         ///< of recipients
  static constexpr WallMs kept_ms = WallMs{7} * 24 * 3600 * 1000;
  static constexpr WallMs fresh_ms = 3600 * 1000;  ///< an operation's end that is older is history
  static constexpr WallMs give_up_ms = 24 * 3600 * 1000;
  static constexpr WallMs heartbeat_late_ms = 6 * 3600 * 1000;
  static constexpr Mono send{20'000};             ///< one message, whatever the server does
  static constexpr Mono claim{60'000};            ///< a claim that does not end is another host's to take
  static constexpr Mono claim_of_silent{25'000};  ///< the same when its host is silent: longer than `send`
  static constexpr Mono rank_pause{3'000};        ///< a host comes after those before it in the alphabet
  static constexpr Mono first_retry{5'000};
  static constexpr Mono longest_retry{15 * 60'000};
  static constexpr Mono calm{60'000};  ///< a state is over when it was not seen for so long
  static constexpr Mono voter_patience{60'000};
  static constexpr Mono split_patience{60'000};
  static constexpr WallMs gather_ms = 30'000;  ///< before a bundle goes out
};
static_assert(AlertLimits::send < AlertLimits::claim_of_silent && AlertLimits::claim_of_silent < AlertLimits::claim);

/// What to write and send now. `memory` is this host's own, from round to round.
AlertRound alert_round(const CellView& view, const AlertBook& book, const AlertRules& rules, const AlertFacts& facts,
                       AlertMemory& memory, const std::string& self);

/// One event or state that asks for an alert.
struct AlertEvent {
  Alert alert;  ///< without times, reporter and deliveries
  Mono patience{};
  std::string first;  ///< the host that writes it at once; empty: the first of the alphabet that lives
};
/// Everything that asks for an alert now.
std::vector<AlertEvent> alert_events(const CellView& view, const AlertBook& book, const AlertRules& rules,
                                     const AlertFacts& facts, const std::string& self);
/// It speaks of a state that can be over, not of a moment.
bool is_state(AlertKind kind);

/// An alert that a person asked for, to every list.
Alert test_alert(const std::string& id, const std::string& author, const std::string& reason, const std::string& self,
                 WallMs now);
/// Error conflict: it is acknowledged already.
Result<Alert> acknowledged(Alert alert, const std::string& who, const std::string& reason, WallMs now);
/// 1..140 lower-case letters, digits, hyphens.
bool valid_alert_id(std::string_view id);

/// The pause after `tries` failed tries.
Mono retry_pause(std::uint32_t tries);

std::string_view to_string(Severity v);
std::string_view to_string(AlertKind v);
std::string_view to_string(DeliveryState v);
std::optional<Severity> parse_severity(std::string_view s);
std::optional<AlertKind> parse_alert_kind(std::string_view s);
std::optional<DeliveryState> parse_delivery_state(std::string_view s);

}  // namespace bascule::core
