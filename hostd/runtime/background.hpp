// Coroutines that nobody waits for.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <string>

namespace bascule::runtime {

/// Runs the task on the executor. Errors are values here, so an exception that leaves it is a bug: it is logged with
/// `what` and the process ends by abort(). Guests run on, systemd starts hostd again, and operations resume from their
/// journal; a daemon that goes on without one of its loops would look alive and do nothing.
void run_in_background(const boost::asio::any_io_executor& executor, std::string what,
                       boost::asio::awaitable<void> task);

}  // namespace bascule::runtime
