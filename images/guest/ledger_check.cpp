// ledger-check: the judge. Exit 0: clean; 1: something was found, or nothing was acknowledged;
// 2: it could not judge.
#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "images/guest/judge.hpp"

namespace bascule::ledger {
namespace {

constexpr std::size_t kBlocksPerRead = 128;
constexpr int kExitClean = 0;
constexpr int kExitFound = 1;
constexpr int kExitNoJudgement = 2;

struct Settings {
  std::vector<std::string> legs;
  std::string log;
  std::string vm;
  std::uint64_t offset = kDefaultOffset;
  bool json = false;
};

// Byte by byte over the ledger's range, valid or not.
Result<Seqs> compare(const Medium& a, const Medium& b, std::uint64_t offset, std::uint64_t blocks) {
  Seqs differ;
  std::vector<Block> left(kBlocksPerRead);
  std::vector<Block> right(kBlocksPerRead);
  for (std::uint64_t at = 0; at < blocks; at += kBlocksPerRead) {
    const std::size_t count = std::min<std::size_t>(kBlocksPerRead, blocks - at);
    const std::uint64_t from = offset + at * kBlockBytes;
    if (auto r = a.read(from, std::span(left).first(count)); !r) return r.error();
    if (auto r = b.read(from, std::span(right).first(count)); !r) return r.error();
    for (std::size_t i = 0; i < count; ++i) {
      if (left[i].bytes != right[i].bytes) differ.push_back(at + i);
    }
  }
  return differ;
}

Result<Verdict> check(const Settings& settings) {
  std::optional<Mac> vm;
  if (!settings.vm.empty()) {
    vm = parse_mac(settings.vm);
    if (!vm) return Error{"'" + settings.vm + "' is not a MAC like 52:54:00:aa:bb:cc"};
  }
  // The log first: what it holds by now was durable before, so a running VM can be judged too.
  std::ifstream file(settings.log);
  if (!file) return Error{"cannot open " + settings.log + ": " + std::strerror(errno)};
  const auto log = read_log(file);
  if (!log) return log.error();

  std::vector<Medium> media;
  std::vector<Leg> legs;
  for (const std::string& path : settings.legs) {
    auto medium = Medium::open(path, Medium::Mode::read);
    if (!medium) return medium.error();
    auto ring = read_ring(*medium, settings.offset);
    if (!ring) return ring.error();
    media.push_back(std::move(*medium));
    legs.push_back({.path = path, .ring = std::move(*ring)});
  }
  std::optional<Seqs> differ;
  if (legs.size() == 2) {
    const std::size_t slots = std::min(legs[0].ring.slots.size(), legs[1].ring.slots.size());
    auto compared = compare(media[0], media[1], settings.offset, 1 + slots);
    if (!compared) return compared.error();
    differ = std::move(*compared);
  }
  return judge(*log, legs, vm, std::move(differ));
}

}  // namespace
}  // namespace bascule::ledger

int main(int argc, char** argv) {
  using namespace bascule::ledger;
  Settings settings;
  CLI::App app{"Judges a ledger: records lost, torn, duplicated, or written by two runners."};
  app.add_option("--leg", settings.legs, "the disk, or one leg of it; twice to compare both legs")
      ->required()
      ->expected(1, 2);
  app.add_option("--log", settings.log, "the collector's log")->required();
  app.add_option("--offset", settings.offset, "where the ledger begins, bytes");
  app.add_option("--vm", settings.vm, "MAC of the VM meant, if the log has several");
  app.add_flag("--json", settings.json, "machine-readable");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitClean : kExitNoJudgement;
  }
  const auto verdict = check(settings);
  if (!verdict) {
    std::fprintf(stderr, "ledger-check: %s\n", verdict.error().what.c_str());
    return kExitNoJudgement;
  }
  std::fputs((settings.json ? to_json(*verdict) : to_text(*verdict)).c_str(), stdout);
  return verdict->clean() ? kExitClean : kExitFound;
}
