#include "api/json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core_fixture.hpp"
#include "hostd/core/explain.hpp"

namespace bascule::api::json {
namespace {

using core::Errc;
using nlohmann::json;
using ::testing::HasSubstr;

std::string error_of(const std::string& body) {
  std::string reason;
  const auto spec = put_vm(body, "web", reason);
  if (spec) return "accepted";
  EXPECT_EQ(spec.error().code, Errc::invalid);
  EXPECT_THAT(spec.error().what, HasSubstr("nothing was changed"));
  return spec.error().what;
}

TEST(PutVmBody, EveryFieldIsTaken) {
  std::string reason;
  const auto spec =
      put_vm(R"({"name":"web","project":"blue","cpus":2,"memory_mib":256,"hosts":{"nominal":"a1","peer":"b1"},
    "power":"on","drill_every_days":90,"migration_policy":"gentle","volumes":[{"name":"root","size_mib":64,"image":"debian"}],
    "networks":[{"network":"clients","mac":"52:54:00:00:00:01"}],"reason":"new shop"})",
             "web", reason);
  ASSERT_TRUE(spec.has_value()) << spec.error().what;
  core::VmSpec wanted;
  wanted.name = "web";
  wanted.project = "blue";
  wanted.cpus = 2;
  wanted.memory_mib = 256;
  wanted.nominal_host = "a1";
  wanted.peer_host = "b1";
  wanted.power = core::Power::on;
  wanted.drill_every_days = 90;
  wanted.migration_policy = "gentle";
  wanted.volumes = {{"root", 64, "debian"}};
  wanted.nics = {{"clients", "52:54:00:00:00:01"}};
  EXPECT_EQ(*spec, wanted);
  EXPECT_EQ(reason, "new shop");
}

TEST(PutVmBody, WhatIsLeftOutHasItsDefault) {
  std::string reason;
  const auto spec = put_vm(R"({"project":"blue","memory_mib":64,"volumes":[]})", "web", reason);
  ASSERT_TRUE(spec.has_value()) << spec.error().what;
  EXPECT_EQ(spec->cpus, 1U);
  EXPECT_EQ(spec->power, core::Power::off);
  EXPECT_EQ(spec->migration_policy, "standard");
  EXPECT_EQ(spec->nominal_host + spec->peer_host + reason, "");
}

TEST(PutVmBody, WhatIsShownOfAVmCanBePutBack) {
  auto view = core::test::cell();
  auto shown = json::parse(vm(view, view.vms["vm1"], core::Role::operator_));
  for (const char* live : {"host", "state", "status", "right", "protected", "revision"}) shown.erase(live);
  std::string reason;
  const auto spec = put_vm(shown.dump(), "vm1", reason);
  ASSERT_TRUE(spec.has_value()) << spec.error().what;
  EXPECT_EQ(*spec, view.vms["vm1"].spec.value);
}

TEST(ShownVm, WhatIsFreeOnAHostIsNotAClients) {
  auto view = core::test::cell();
  auto& right = view.vms["vm1"].right;
  right.value.host = "b1", right.revision = 7;
  for (const auto role : {core::Role::operator_, core::Role::client}) {
    const auto checks = json::parse(vm(view, view.vms["vm1"], role))["failback"]["checks"];
    const bool client = role == core::Role::client;
    int hidden = 0;
    for (const auto& check : checks) hidden += check["text"] == "the provider sees to it" ? 1 : 0;
    EXPECT_EQ(hidden, client ? 3 : 0);
    EXPECT_EQ(checks.dump().find(" MiB and ") == std::string::npos, client);
  }
  view.hosts["b1"].silent = true;
  view.vms["vm1"].status["a1"].waits = "host a1 has 12 MiB of memory free";
  for (const auto role : {core::Role::operator_, core::Role::client}) {
    const bool told = role == core::Role::operator_;
    EXPECT_EQ(vm(view, view.vms["vm1"], role).find("12 MiB") != std::string::npos, told);
    EXPECT_EQ(why(view, view.vms["vm1"], role).find("12 MiB") != std::string::npos, told);
  }
  view.hosts["b1"].silent = false;
  view.vms["vm1"].status["b1"].domain = core::DomainState::absent;
  view.vms["vm1"].status["b1"].waits = std::string(core::kOwnAct) + "; `hostctl vm start vm1` starts it";
  EXPECT_THAT(vm(view, view.vms["vm1"], core::Role::client), HasSubstr("the guest switched itself off"));
  EXPECT_THAT(why(view, view.vms["vm1"], core::Role::client), HasSubstr("the guest switched itself off"));
  view.hosts["b1"].silent = true;
  view.disarmed = {{"olga", "network work", 1}, 5, 5};
  for (const auto role : {core::Role::operator_, core::Role::client}) {
    EXPECT_EQ(why(view, view.vms["vm1"], role).find("olga") != std::string::npos, role == core::Role::operator_);
  }
}

TEST(PutVmBody, AFaultIsNamedByItsField) {
  const struct {
    const char* body;
    const char* words;
  } table[] = {
      {"", "project is missing"},
      {"{\"project\":\"blue\"}", "memory_mib is missing"},
      {"null", "an object"},
      {"{}x", "not JSON"},
      {"{\"project\":null}", "project: a string"},
      {"{\"memory_mb\":1}", "unknown field 'memory_mb'"},
      {"{\"memory_mib\":true}", "memory_mib: a whole number"},
      {"{\"cpus\":-1}", "cpus: a whole number"},
      {"{\"cpus\":1.0}", "cpus: a whole number"},
      {"{\"cpus\":4294967296}", "cpus: a whole number"},
      {"{\"memory_mib\":18446744073709551616}", "memory_mib: a whole number"},
      {"{\"hosts\":[]}", "hosts: an object"},
      {"{\"hosts\":{\"third\":\"c1\"}}", "hosts: unknown field 'third'"},
      {"{\"volumes\":[{\"name\":\"r\"}]}", "volumes[0]: size_mib is missing"},
      {"{\"volumes\":[{\"name\":\"r\",\"size_mib\":1},{\"name\":\"/\",\"size_mib\":1}]}", "volumes[1]: name"},
      {"{\"networks\":[{\"network\":\"c\",\"mac\":\"01:00:00:00:00:00\"}]}", "networks[0]: mac"},
      {"{\"power\":\"ON\"}", "power: on or off"},
      {"{\"reason\":\"a\",\"reason\":\"b\"}", "'reason' is there twice"},
      {"{\"hosts\":{\"peer\":\"a\",\"peer\":\"b\"}}", "'peer' is there twice"},
      {"{\"name\":\"other\"}", "name: is not the one in the path"},
  };
  for (const auto& [body, words] : table) EXPECT_THAT(error_of(body), HasSubstr(words)) << body;
  EXPECT_THAT(error_of("{\"project\":\"" + std::string(200, 'b') + "\"}"), HasSubstr("project: at most"));
  EXPECT_THAT(error_of(std::string(100000, '[')), HasSubstr("nested"));
  EXPECT_THAT(error_of(std::string(100000, '[') + std::string(100000, ']')), HasSubstr("nested"));
}

TEST(PutVmBody, AnErrorRepeatsAClientsTextOnlyCutAndPrintable) {
  const std::string error = error_of("{\"" + std::string(1000, 'x') + "\\u0007\":1}");
  EXPECT_LT(error.size(), 120U);
  EXPECT_THAT(error_of("{\"a\\u001bb\":1}"), HasSubstr("'a?b'"));
}

TEST(ActionBodies, TakeTheirArgumentsAndNothingElse) {
  std::string reason;
  EXPECT_TRUE(only_reason("", reason).has_value());
  EXPECT_TRUE(only_reason("{\"reason\":\"r\"}", reason).has_value());
  EXPECT_EQ(reason, "r");
  EXPECT_FALSE(only_reason("{\"force\":true}", reason).has_value());
  EXPECT_EQ(migrate("{\"target\":\"b1\",\"policy\":\"gentle\"}", reason)->policy, "gentle");
  EXPECT_FALSE(migrate("{\"target\":\"b1;rm\"}", reason).has_value());
  EXPECT_FALSE(migrate("{\"targets\":\"b1\"}", reason).has_value());
  EXPECT_EQ(resize("{\"cpus\":2}", reason)->cpus, 2U);
  EXPECT_FALSE(resize("{}", reason).has_value());
  EXPECT_FALSE(resize("{\"cpus\":0}", reason).has_value());
  EXPECT_EQ(grow("{\"size_mib\":128}", reason)->size_mib, 128U);
  EXPECT_FALSE(grow("{}", reason).has_value());
  EXPECT_FALSE(grow("{\"size_mib\":\"128\"}", reason).has_value());
}

TEST(Shown, NoRecordShowsItsInnerFields) {
  auto view = core::test::cell();
  core::Versioned<core::Operation> op;
  op.value.id = "op-1";
  op.value.spec = view.vms["vm1"].spec.value;
  op.value.restore = op.value.spec;
  op.revision = 5;
  const auto shown = json::parse(operation(view, op));
  for (const char* inner : {"writer", "spec", "restore"}) EXPECT_FALSE(shown.contains(inner)) << inner;
  EXPECT_EQ(shown["revision"], 5);
  EXPECT_FALSE(json::parse(vm(view, view.vms["vm1"], core::Role::operator_))["right"].contains("writer"));
}

TEST(Shown, ALegThatIsNotInTheRecordIsNotInSync) {
  auto view = core::test::cell();
  auto& vm = view.vms["vm1"];
  EXPECT_TRUE(json::parse(volume(vm, vm.layout.value.volumes[0]))["insync"].get<bool>());
  vm.right.value.insync["root"] = {core::test::kLegA};
  const auto shown = json::parse(volume(vm, vm.layout.value.volumes[0]));
  EXPECT_FALSE(shown["insync"].get<bool>());
  EXPECT_TRUE(shown["legs"][0]["insync"].get<bool>());
  EXPECT_FALSE(shown["legs"][1]["insync"].get<bool>());
}

TEST(Shown, ADrillSaysWhatWasLastAndWhatIsDueAsFarAsItIsKnown) {
  auto vm = core::test::running_vm();
  vm.spec.value.drill_every_days = 1;
  EXPECT_EQ(drill(vm, 1), R"({"every_days":1,"overdue":true,"project":"blue","vm":"vm1"})");
  vm.last["vm-failover"] = {7, true, "b1", "op-1"};
  const auto shown = json::parse(drill(vm, 1));
  EXPECT_EQ(shown["due_ms"], 7 + core::kDayMs);
  EXPECT_FALSE(shown["overdue"].get<bool>());
  EXPECT_EQ(shown["last"], json::parse(R"({"what":"vm-failover","when_ms":7,"host":"b1","operation":"op-1"})"));
}

TEST(Shown, AListEndsWithItsCursorAndRevision) {
  EXPECT_EQ(list({}, "", 7), R"({"items":[],"revision":7})");
  EXPECT_EQ(list({"1", "2"}, "b\"", 7), R"({"items":[1,2],"next":"b\"","revision":7})");
}

}  // namespace
}  // namespace bascule::api::json
