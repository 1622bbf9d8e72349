// What the connections of one server share. Private to the server.
// Thread rule: io thread only; `files` runs the blocking writes of uploads.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>

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

/// A connection that was not let in, and since when: it gives way when places are short.
struct Stranger {
  Stoppable* connection{};
  std::chrono::steady_clock::time_point since;
};
using Strangers = std::list<Stranger>;  ///< oldest first

struct ServerState {
  ServerState(boost::asio::any_io_executor e, ServerOptions o, CellPort& c, ConsoleFiles files)
      : executor(e), options(std::move(o)), cell(c), router(c, std::move(files)), turns(e), ended(e), stop(e) {}

  boost::asio::any_io_executor executor;
  ServerOptions options;
  CellPort& cell;
  Router router;
  std::unique_ptr<Trust> trust;
  boost::asio::thread_pool files{1};

  Turns turns;            ///< of the calls, on the io thread
  runtime::Signal ended;  ///< a connection or handshake ended: there may be room
  runtime::Signal stop;
  bool stopping{};
  std::size_t connections{}, others{}, clients{}, streams{}, uploads{};
  Strangers shaking;  ///< in their handshake
  Strangers refused;  ///< known, but beyond a limit or nobody: told so when they ask, then ended
  std::map<std::string, std::size_t> connections_of, streams_of;  ///< by name, see name_of
  std::set<Stoppable*> open;

  const ServerLimits& limits() const { return options.limits; }
};

/// "client/blue/alice": whom a limit is kept for.
std::string name_of(const core::Caller& caller);

/// One place in a limited number, given back when it goes.
class Place {
 public:
  explicit Place(std::size_t& count) : count_(&count) { ++count; }
  ~Place() { --*count_; }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

 private:
  std::size_t* count_;
};
/// The same by name.
class NamedPlace {
 public:
  NamedPlace(std::map<std::string, std::size_t>& counts, std::string name) : counts_(counts), name_(std::move(name)) {
    ++counts_[name_];
  }
  ~NamedPlace() {
    if (--counts_[name_] == 0) counts_.erase(name_);
  }
  NamedPlace(const NamedPlace&) = delete;
  NamedPlace& operator=(const NamedPlace&) = delete;

 private:
  std::map<std::string, std::size_t>& counts_;
  std::string name_;
};

/// One of these, for as long as it lives.
class Standing {
 public:
  Standing(Strangers& all, Stoppable& connection)
      : all_(all), at_(all.insert(all.end(), {&connection, std::chrono::steady_clock::now()})) {}
  ~Standing() { all_.erase(at_); }
  Standing(const Standing&) = delete;
  Standing& operator=(const Standing&) = delete;

 private:
  Strangers& all_;
  Strangers::iterator at_;
};

/// One connection from its handshake to its end; never throws.
boost::asio::awaitable<void> serve(std::shared_ptr<ServerState> state, boost::asio::ip::tcp::socket socket);

}  // namespace bascule::api
