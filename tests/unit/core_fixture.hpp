// A small cell for tests of the decisions: hosts a1, a2 (site A) and b1, b2 (site B), VM vm1 on a1/b1.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "hostd/core/error.hpp"
#include "hostd/core/view.hpp"

namespace bascule::core::test {

inline const Leg kLegA{"a1", "la"};
inline const Leg kLegB{"b1", "lb"};

inline HostView host(const std::string& id, Site site) {
  HostView h;
  h.info.revision = 1;
  h.info.value.id = id;
  h.info.value.site = site;
  h.info.value.accel = "kvm";
  h.info.value.qemu_version = "7.2.22";
  h.info.value.cpus = 4;
  h.info.value.memory_mib = 600;
  h.info.value.pool_free_mib = 1000;
  h.info.value.networks = {"clients"};
  return h;
}

inline VmSpec spec(const std::string& name = "vm1") {
  VmSpec s;
  s.name = name;
  s.project = "blue";
  s.cpus = 2;
  s.memory_mib = 256;
  s.nominal_host = "a1";
  s.peer_host = "b1";
  s.power = Power::on;
  s.volumes = {{"root", 64, ""}};
  s.nics = {{"clients", name == "vm1" ? "52:54:00:00:00:01" : ""}};
  return s;
}

inline Layout layout() {
  Layout l;
  l.port = 7800;
  l.volumes = {{"root", 100, 64, {kLegA, kLegB}}};
  return l;
}

/// Held by a1 at epoch 3, both legs in sync, nobody migrates.
inline Right right() {
  Right r;
  r.epoch = 3;
  r.host = "a1";
  r.insync["root"] = {kLegA, kLegB};
  return r;
}

/// Running on a1, replicated.
inline VmView running_vm() {
  VmView vm;
  vm.spec = {spec(), 10, 20};
  vm.layout = {layout(), 11, 11};
  vm.right = {right(), 12, 30};
  VmStatus a;
  a.domain = DomainState::running;
  a.role = "Primary";
  a.connection = "Connected";
  a.suspended = "no";
  a.volumes["root"] = {"UpToDate", "UpToDate", "Established", 0};
  VmStatus b = a;
  b.domain = DomainState::absent;
  b.role = "Secondary";
  vm.status = {{"a1", a}, {"b1", b}};
  return vm;
}

inline VmView stopped_vm() {
  VmView vm = running_vm();
  vm.spec.value.power = Power::off;
  vm.status["a1"].domain = DomainState::absent;
  vm.status["a1"].role = "Secondary";
  return vm;
}

inline CellView cell() {
  CellView view;
  view.revision = 0xabc;
  view.synced = true;
  view.hosts["a1"] = host("a1", Site::a);
  view.hosts["a2"] = host("a2", Site::a);
  view.hosts["b1"] = host("b1", Site::b);
  view.hosts["b2"] = host("b2", Site::b);
  view.vms["vm1"] = running_vm();
  return view;
}

/// An error as one text, "code: sentence"; "ok" for a value.
template <class T>
std::string text(const Result<T>& result) {
  if (result.has_value()) return "ok";
  return std::string(to_string(result.error().code)) + ": " + result.error().what;
}

}  // namespace bascule::core::test
