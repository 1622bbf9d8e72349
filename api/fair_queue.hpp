// A bounded queue that is fair between those who stand in it: one of each name in turn, whoever sends many. No I/O, no
// threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace bascule::api {

template <class T>
class FairQueue {
 public:
  void push(const std::string& name, T item) {
    auto& line = lines_[name];
    if (line.empty()) order_.push_back(name);
    line.push_back(std::move(item));
    ++size_;
  }

  /// The first of the name whose turn it is; of those that `may` lets come.
  template <class May>
  std::optional<T> pop_if(May may) {
    const auto next = std::find_if(order_.begin(), order_.end(), may);
    if (next == order_.end()) return std::nullopt;
    const std::string name = std::move(*next);
    order_.erase(next);
    const auto line = lines_.find(name);
    std::optional<T> out(std::move(line->second.front()));
    line->second.pop_front();
    --size_;
    if (line->second.empty())
      lines_.erase(line);
    else
      order_.push_back(name);
    return out;
  }
  std::optional<T> pop() {
    return pop_if([](const std::string&) { return true; });
  }

  /// The newest of the name that has most: what a full queue throws out.
  std::optional<T> drop() {
    auto most = lines_.begin();
    for (auto it = lines_.begin(); it != lines_.end(); ++it) {
      if (it->second.size() > most->second.size()) most = it;
    }
    if (most == lines_.end()) return std::nullopt;
    std::optional<T> out(std::move(most->second.back()));
    most->second.pop_back();
    --size_;
    if (most->second.empty()) {
      std::erase(order_, most->first);
      lines_.erase(most);
    }
    return out;
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::size_t size_of(const std::string& name) const {
    const auto line = lines_.find(name);
    return line == lines_.end() ? 0 : line->second.size();
  }

 private:
  std::map<std::string, std::deque<T>> lines_;  ///< none is empty
  std::deque<std::string> order_;               ///< of the names: the next one first
  std::size_t size_{};
};

}  // namespace bascule::api
