// One transfer by libcurl: blocking, bounded in time, TLS always checked. Thread rule: any thread; not the io thread.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "hostd/core/error.hpp"

namespace bascule::alert {

struct Transfer {
  std::string url;
  std::string ca;                     ///< a PEM file instead of the system's authorities; empty: those
  std::string username, password;     ///< never shown
  std::chrono::milliseconds limit{};  ///< for all of it
  const std::atomic<bool>* stop{};    ///< true: it ends
};

struct MailTransfer : Transfer {
  std::string from;
  std::vector<std::string> to;
  std::string text;
};
/// Over TLS from the start or by STARTTLS, never without. The value: what the server said no to although it took the
/// message (a recipient it does not know); empty: nothing. Errors: refused, unavailable, timeout, in one sentence.
core::Result<std::string> send_mail(const MailTransfer& mail);

struct PostTransfer : Transfer {
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};
/// The value: the beginning of the answer. Errors as above; refused: a status other than 2xx. No redirect is followed.
core::Result<std::string> post(const PostTransfer& request);

}  // namespace bascule::alert
