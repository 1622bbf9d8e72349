// A resource with two volumes, as the storage tests use it.
#pragma once

#include <string>

#include "storage/resource.hpp"

namespace bascule::storage {

inline Resource sample_resource(const std::string& self = "a1", const std::string& peer = "b1") {
  Resource r;
  r.vm = "web";
  r.hosts = {Endpoint{self, "10.77.2.11", 7800, 0}, Endpoint{peer, "10.77.2.12", 7800, 1}};
  r.volumes = {Volume{"root", 0, 100, 1024, {"/dev/loop7", "/dev/loop3"}},
               Volume{"data", 1, 101, 20480, {"/dev/vg0/bascule-web-data-l1", ""}}};
  return r;
}

}  // namespace bascule::storage
