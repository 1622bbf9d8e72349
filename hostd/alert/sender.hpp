// One message on its way to one list of recipients. Thread rule: `send` blocks and may run on any thread but the io
// thread; the settings do not change.
#pragma once

#include <atomic>
#include <string>

#include "hostd/alert/settings.hpp"
#include "hostd/core/alert.hpp"

namespace bascule::alert {

class Sender {
 public:
  Sender(std::string cell, std::string host, const Settings& settings)
      : cell_(std::move(cell)), host_(std::move(host)), settings_(settings) {}

  /// Sent means: the server, gateway or folder has confirmed it for every recipient. Within core::AlertLimits::send.
  core::AlertOutcome send(const core::AlertMessage& message) const;
  /// Transfers at work end soon, as failed.
  void stop() { stop_ = true; }

 private:
  core::AlertOutcome mail(const Target& target, const core::AlertMessage& message) const;
  core::AlertOutcome webhook(const Target& target, const core::AlertMessage& message) const;
  core::AlertOutcome sms(const Target& target, const core::AlertMessage& message) const;
  core::Result<> sms_to(const Target& target, const core::AlertMessage& message, const std::string& number,
                        const std::string& text, std::chrono::milliseconds left) const;

  std::string cell_, host_;
  const Settings& settings_;
  std::atomic<bool> stop_{};
};

}  // namespace bascule::alert
