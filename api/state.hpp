// What the connections of one server share. Private to the server.
// Thread rule: the API's own thread only, but for what says otherwise; `files` runs the blocking writes of uploads.
#pragma once

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "api/fair_queue.hpp"
#include "api/router.hpp"
#include "api/server.hpp"
#include "api/trust.hpp"
#include "api/turns.hpp"
#include "hostd/runtime/signal.hpp"

namespace bascule::api {

/// A connection as the server stops it.
class Stoppable {
 public:
  virtual ~Stoppable() = default;
  virtual void stop() = 0;   ///< end when the call at work is answered; at once when there is none
  virtual void abort() = 0;  ///< end now
  /// False: whoever is at the other end would not be let in any more, or is somebody else by now.
  virtual bool welcome_still() = 0;
};

/// A connection that was not let in, from where and since when: it gives way when places are short.
struct Stranger {
  Stoppable* connection{};
  std::string address;
  std::chrono::steady_clock::time_point since;
};
using Strangers = std::list<Stranger>;  ///< oldest first

/// A connection as it was accepted. `address` is whom a limit before the handshake is kept for.
struct Guest {
  boost::asio::ip::tcp::socket socket;
  std::string address;
  std::chrono::steady_clock::time_point since;
};

/// Whether the caller at a connection's other end is let in by the files in use now, for calls that wait for their turn
/// on the io thread. Written by the API's thread, read by the io thread.
struct Welcome {
  enum class Word : std::uint8_t { yes, no, not_asked_yet };
  std::atomic<bool> over{};            ///< not any more
  std::atomic<bool> left{};            ///< the connection is gone: nobody asks again
  std::atomic<std::uint64_t> asked{};  ///< Trust::generation when it was asked last
  Word word(std::uint64_t generation) const {
    if (over) return Word::no;
    if (asked >= generation) return Word::yes;
    return left ? Word::no : Word::not_asked_yet;
  }
};

struct ServerState {
  ServerState(boost::asio::any_io_executor own, boost::asio::any_io_executor io, ServerOptions o, CellPort& c,
              ConsoleFiles files)
      : executor(own),
        io_thread(io),
        options(std::move(o)),
        cell(c),
        router(c, std::move(files)),
        turns(io),
        ended(own),
        stop(own) {}

  boost::asio::any_io_executor executor;   ///< the API's own thread
  boost::asio::any_io_executor io_thread;  ///< the cell's: whoever reads or changes it runs there
  ServerOptions options;
  CellPort& cell;  ///< used on the io thread only
  Router router;   ///< `open` and the metrics here, `handle` on the io thread
  std::unique_ptr<Trust> trust;
  std::atomic<std::uint64_t> generation{};  ///< of `trust`, for the io thread
  boost::asio::thread_pool files{1};

  Turns turns;            ///< of the calls; used on the io thread only
  runtime::Signal ended;  ///< a connection or handshake ended: there may be room
  runtime::Signal stop;
  bool stopping{};
  FairQueue<Guest> door;  ///< accepted, before their handshake
  std::size_t connections{}, others{}, clients{}, streams{}, uploads{};
  std::size_t unsent{};  ///< bytes of answers to clients and auditors that these have not taken yet
  std::map<std::string, std::size_t> unsent_of;
  Strangers shaking;  ///< in their handshake
  Strangers refused;  ///< known, but beyond a limit or nobody: told so when they ask, then ended
  std::map<std::string, std::size_t> connections_of, streams_of;  ///< by name, see name_of
  std::set<Stoppable*> open;

  const ServerLimits& limits() const { return options.limits; }
};

/// "client/blue/alice": whom a limit is kept for.
std::string name_of(const core::Caller& caller);

/// On the io thread, when the turn of a call has come. Errors: forbidden when its caller is not let in any more,
/// unavailable when that is not known in time; nothing may be done.
boost::asio::awaitable<core::Result<>> still_welcome(std::shared_ptr<const ServerState> state,
                                                     std::shared_ptr<const Welcome> welcome);

/// Neither those who mend a cell nor those whose leases depend on an answer.
inline bool is_other(core::Role role) { return role == core::Role::client || role == core::Role::auditor; }

/// One place in a limited number, given back when it goes.
class Place {
 public:
  explicit Place(std::size_t& count, std::size_t places = 1) : count_(&count), places_(places) { count += places; }
  ~Place() { *count_ -= places_; }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

 private:
  std::size_t* count_;
  std::size_t places_;
};
/// The same by name.
class NamedPlace {
 public:
  NamedPlace(std::map<std::string, std::size_t>& counts, std::string name, std::size_t places = 1)
      : counts_(counts), name_(std::move(name)), places_(places) {
    counts_[name_] += places_;
  }
  ~NamedPlace() {
    if ((counts_[name_] -= places_) == 0) counts_.erase(name_);
  }
  NamedPlace(const NamedPlace&) = delete;
  NamedPlace& operator=(const NamedPlace&) = delete;

 private:
  std::map<std::string, std::size_t>& counts_;
  std::string name_;
  std::size_t places_;
};

/// One of these, for as long as it lives.
class Standing {
 public:
  Standing(Strangers& all, Stoppable& connection, std::string address)
      : all_(all), at_(all.insert(all.end(), {&connection, std::move(address), std::chrono::steady_clock::now()})) {}
  ~Standing() { all_.erase(at_); }
  Standing(const Standing&) = delete;
  Standing& operator=(const Standing&) = delete;

 private:
  Strangers& all_;
  Strangers::iterator at_;
};

/// One connection from its handshake to its end; never throws.
boost::asio::awaitable<void> serve(std::shared_ptr<ServerState> state, Guest guest);

}  // namespace bascule::api
