// The generated domain, read back by libxml2: what is in it is an allow-list, so nothing else can slip in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libxml/parser.h>
#include <libxml/tree.h>

#include <fstream>
#include <memory>
#include <set>

#include "hostd/runtime/libvirt/domain_xml.hpp"

namespace bascule::runtime::libvirt {
namespace {
using ::testing::HasSubstr;
using ::testing::Not;

core::DomainSpec full_spec(core::Accel accel = core::Accel::tcg) {
  core::DomainSpec spec;
  spec.accel = accel;
  spec.name = "vm1";
  spec.uuid = core::domain_uuid("lab", "vm1");
  spec.cpus = 4;
  spec.memory_mib = 2048;
  for (std::uint32_t i = 0; i < core::Limits::volumes_per_vm; ++i) {
    spec.disks.push_back({i, "/dev/drbd" + std::to_string(8 + i), "vol" + std::to_string(i)});
  }
  spec.nics = {{"br-client", "52:54:00:00:00:01"}, {"br_b.10", "52:54:00:00:00:02"}};
  return spec;
}

struct Document {
  explicit Document(const std::string& text)
      : doc(xmlReadMemory(text.data(), static_cast<int>(text.size()), "x", nullptr,
                          XML_PARSE_NONET | XML_PARSE_NOERROR)) {}
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;
  ~Document() { xmlFreeDoc(doc); }
  xmlDocPtr doc;
};

std::string text_of(const xmlChar* text) { return reinterpret_cast<const char*>(text); }

/// Every element as a path, every attribute as path@name, every value with them.
void walk(const xmlNode* node, const std::string& path, std::multimap<std::string, std::string>& out) {
  for (; node != nullptr; node = node->next) {
    if (node->type != XML_ELEMENT_NODE) {
      const bool blank = node->type == XML_TEXT_NODE && xmlIsBlankNode(node) == 1;
      EXPECT_TRUE(blank || node->type == XML_TEXT_NODE) << "only elements and text, at " << path;
      continue;
    }
    const auto here = path + "/" + text_of(node->name);
    EXPECT_EQ(node->ns, nullptr) << "a foreign namespace could carry QEMU arguments: " << here;
    EXPECT_EQ(node->nsDef, nullptr) << here;
    const std::unique_ptr<xmlChar, decltype(xmlFree)> content(xmlNodeGetContent(node), xmlFree);
    out.emplace(here, node->children != nullptr && node->children->next == nullptr ? text_of(content.get()) : "");
    for (const auto* a = node->properties; a != nullptr; a = a->next) {
      const std::unique_ptr<xmlChar, decltype(xmlFree)> value(xmlNodeGetContent(reinterpret_cast<const xmlNode*>(a)),
                                                              xmlFree);
      out.emplace(here + "@" + text_of(a->name), text_of(value.get()));
    }
    walk(node->children, here, out);
  }
}

std::multimap<std::string, std::string> parse(const std::string& xml) {
  const Document document(xml);
  std::multimap<std::string, std::string> out;
  EXPECT_NE(document.doc, nullptr) << xml;
  if (document.doc != nullptr) walk(xmlDocGetRootElement(document.doc), "", out);
  return out;
}

std::string one(const std::multimap<std::string, std::string>& parsed, const std::string& path) {
  EXPECT_EQ(parsed.count(path), 1U) << path;
  const auto it = parsed.find(path);
  return it == parsed.end() ? "" : it->second;
}

const std::set<std::string> allowed{"/domain",
                                    "/domain@type",
                                    "/domain/name",
                                    "/domain/uuid",
                                    "/domain/memory",
                                    "/domain/memory@unit",
                                    "/domain/memoryBacking",
                                    "/domain/memoryBacking/allocation",
                                    "/domain/memoryBacking/allocation@mode",
                                    "/domain/vcpu",
                                    "/domain/iothreads",
                                    "/domain/os",
                                    "/domain/os/type",
                                    "/domain/os/type@arch",
                                    "/domain/os/type@machine",
                                    "/domain/features",
                                    "/domain/features/acpi",
                                    "/domain/features/apic",
                                    "/domain/cpu",
                                    "/domain/cpu@mode",
                                    "/domain/cpu@match",
                                    "/domain/cpu@check",
                                    "/domain/cpu/model",
                                    "/domain/cpu/model@fallback",
                                    "/domain/clock",
                                    "/domain/clock@offset",
                                    "/domain/clock/timer",
                                    "/domain/clock/timer@name",
                                    "/domain/clock/timer@tickpolicy",
                                    "/domain/clock/timer@present",
                                    "/domain/on_poweroff",
                                    "/domain/on_reboot",
                                    "/domain/on_crash",
                                    "/domain/pm",
                                    "/domain/pm/suspend-to-mem",
                                    "/domain/pm/suspend-to-mem@enabled",
                                    "/domain/pm/suspend-to-disk",
                                    "/domain/pm/suspend-to-disk@enabled",
                                    "/domain/devices",
                                    "/domain/devices/disk",
                                    "/domain/devices/disk@type",
                                    "/domain/devices/disk@device",
                                    "/domain/devices/disk/driver",
                                    "/domain/devices/disk/driver@name",
                                    "/domain/devices/disk/driver@type",
                                    "/domain/devices/disk/driver@cache",
                                    "/domain/devices/disk/driver@io",
                                    "/domain/devices/disk/driver@discard",
                                    "/domain/devices/disk/driver@error_policy",
                                    "/domain/devices/disk/driver@rerror_policy",
                                    "/domain/devices/disk/driver@iothread",
                                    "/domain/devices/disk/driver@ioeventfd",
                                    "/domain/devices/disk/source",
                                    "/domain/devices/disk/source@dev",
                                    "/domain/devices/disk/target",
                                    "/domain/devices/disk/target@dev",
                                    "/domain/devices/disk/target@bus",
                                    "/domain/devices/disk/boot",
                                    "/domain/devices/disk/boot@order",
                                    "/domain/devices/disk/serial",
                                    "/domain/devices/interface",
                                    "/domain/devices/interface@type",
                                    "/domain/devices/interface/mac",
                                    "/domain/devices/interface/mac@address",
                                    "/domain/devices/interface/source",
                                    "/domain/devices/interface/source@bridge",
                                    "/domain/devices/interface/model",
                                    "/domain/devices/interface/model@type",
                                    "/domain/devices/interface/rom",
                                    "/domain/devices/interface/rom@enabled",
                                    "/domain/devices/controller",
                                    "/domain/devices/controller@type",
                                    "/domain/devices/controller@model",
                                    "/domain/devices/memballoon",
                                    "/domain/devices/memballoon@model",
                                    "/domain/devices/rng",
                                    "/domain/devices/rng@model",
                                    "/domain/devices/rng/backend",
                                    "/domain/devices/rng/backend@model"};

TEST(DomainXml, HoldsNothingThatIsNotOnTheAllowList) {
  std::set<std::string> made;
  for (const auto accel : {core::Accel::tcg, core::Accel::kvm}) {
    const auto xml = domain_xml(full_spec(accel));
    ASSERT_TRUE(xml) << xml.error().what;
    for (const auto& [path, value] : parse(*xml)) made.insert(path);
  }
  for (const auto& path : made) EXPECT_TRUE(allowed.contains(path)) << path;
  for (const auto& path : allowed) EXPECT_TRUE(made.contains(path)) << path << " is allowed but never made";
}

TEST(DomainXml, HasAPanicDeviceOnlyForAVmThatAskedForIt) {
  auto spec = full_spec();
  spec.panic_device = true;
  const auto parsed = parse(*domain_xml(spec));
  EXPECT_EQ(parsed.count("/domain/devices/panic"), 1U);
}

TEST(DomainXml, HasNoWayIntoTheGuest) {
  // By name, as the design lists them, in case the allow-list above is ever widened without thought.
  const auto parsed = parse(*domain_xml(full_spec()));
  for (const char* device : {"graphics", "video",    "console",   "serial",     "channel", "parallel", "input",
                             "hostdev",  "redirdev", "smartcard", "filesystem", "sound",   "tpm",      "shmem",
                             "watchdog", "panic",    "vsock",     "emulator",   "hub",     "memory"}) {
    EXPECT_EQ(parsed.count(std::string("/domain/devices/") + device), 0U) << device;
  }
  for (const char* top : {"metadata", "commandline", "sysinfo", "seclabel", "launchSecurity", "keywrap", "genid"}) {
    EXPECT_EQ(parsed.count(std::string("/domain/") + top), 0U) << top;
  }
  for (const char* boot : {"kernel", "initrd", "cmdline", "loader", "nvram", "boot", "bootmenu"}) {
    EXPECT_EQ(parsed.count(std::string("/domain/os/") + boot), 0U) << boot;
  }
  EXPECT_EQ(one(parsed, "/domain/devices/memballoon@model"), "none");
  EXPECT_EQ(one(parsed, "/domain/devices/controller@model"), "none");
  EXPECT_EQ(one(parsed, "/domain/devices/controller@type"), "usb");
}

TEST(DomainXml, SaysWhatWasAskedFor) {
  const auto parsed = parse(*domain_xml(full_spec()));
  EXPECT_EQ(one(parsed, "/domain@type"), "qemu");
  EXPECT_EQ(one(parsed, "/domain/name"), "vm1");
  EXPECT_EQ(one(parsed, "/domain/uuid"), core::domain_uuid("lab", "vm1"));
  EXPECT_EQ(one(parsed, "/domain/memory"), "2048");
  EXPECT_EQ(one(parsed, "/domain/memory@unit"), "MiB");
  EXPECT_EQ(one(parsed, "/domain/vcpu"), "4");
  EXPECT_EQ(one(parsed, "/domain/os/type@machine"), "pc-q35-7.2");
  EXPECT_EQ(one(parsed, "/domain/on_poweroff"), "destroy");
  EXPECT_EQ(one(parsed, "/domain/on_reboot"), "restart");
  EXPECT_EQ(one(parsed, "/domain/on_crash"), "destroy");
  EXPECT_EQ(one(parsed, "/domain/cpu@mode"), "custom");
  EXPECT_EQ(parsed.count("/domain/devices/disk"), 8U);
  EXPECT_EQ(parsed.count("/domain/devices/interface"), 2U);
  for (const auto& [path, value] :
       {std::pair{"cache", "none"}, {"discard", "unmap"}, {"type", "raw"}, {"error_policy", "stop"}}) {
    const auto [from, to] = parsed.equal_range(std::string("/domain/devices/disk/driver@") + path);
    for (auto it = from; it != to; ++it) EXPECT_EQ(it->second, value) << path;
  }
}

std::string first(core::Accel accel, const std::string& path) {
  const auto parsed = parse(*domain_xml(full_spec(accel)));
  const auto it = parsed.find(path);
  return it == parsed.end() ? "none" : it->second;
}

TEST(DomainXml, TakesTheMemoryOfAnEmulatedGuestAtOnceAndLeavesKvmAlone) {
  EXPECT_EQ(first(core::Accel::tcg, "/domain/memoryBacking/allocation@mode"), "immediate");
  EXPECT_EQ(first(core::Accel::kvm, "/domain/memoryBacking/allocation@mode"), "none");
}

TEST(DomainXml, GivesAnEmulatedGuestNoThreadsOfItsOwnForTheDisk) {
  const std::string driver = "/domain/devices/disk/driver";
  EXPECT_EQ(first(core::Accel::kvm, "/domain@type"), "kvm");
  EXPECT_EQ(first(core::Accel::kvm, driver + "@io"), "native");
  EXPECT_EQ(first(core::Accel::kvm, driver + "@iothread"), "1");
  EXPECT_EQ(first(core::Accel::kvm, driver + "@ioeventfd"), "none");
  EXPECT_EQ(first(core::Accel::tcg, "/domain@type"), "qemu");
  EXPECT_EQ(first(core::Accel::tcg, driver + "@io"), "threads");
  EXPECT_EQ(first(core::Accel::tcg, driver + "@iothread"), "none");
  EXPECT_EQ(first(core::Accel::tcg, driver + "@ioeventfd"), "off");
}

TEST(DomainXml, IsValidByLibvirtsOwnSchema) {
  if (access("/usr/bin/virt-xml-validate", X_OK) != 0) GTEST_SKIP() << "virt-xml-validate is not installed";
  auto spec = full_spec();
  for (const auto accel : {core::Accel::tcg, core::Accel::kvm}) {
    spec.accel = accel;
    char name[] = "/tmp/bascule-xml-XXXXXX";
    const int fd = mkstemp(name);
    ASSERT_GE(fd, 0);
    close(fd);
    std::ofstream(name) << *domain_xml(spec);
    const std::string command = std::string("/usr/bin/virt-xml-validate ") + name + " domain >/dev/null 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0);  // NOLINT(cert-env33-c): a test, with a name of its own making
    std::ofstream(name) << "<domain type='qemu'><name>x</name><bad/></domain>";
    EXPECT_NE(std::system(command.c_str()), 0)
        << "the validator finds nothing wrong with anything";  // NOLINT(cert-env33-c)
    unlink(name);
  }
}

TEST(DomainXml, EscapesWhatCouldEndAnAttributeOrAnElement) {
  EXPECT_EQ(xml_escape("a'b\"c<d>e&f"), "a&apos;b&quot;c&lt;d&gt;e&amp;f");
  const auto spec = [] {
    auto s = full_spec();
    s.disks = {{0, "/tmp/a'/><serial>&.img", "disk"}};
    return s;
  }();
  const auto parsed = parse(*domain_xml(spec, {.any_disk_path = true}));
  EXPECT_EQ(one(parsed, "/domain/devices/disk/source@file"), "/tmp/a'/><serial>&.img");
  EXPECT_EQ(parsed.count("/domain/devices/disk/serial"), 1U);
}

TEST(DomainXml, TakesOnlyDrbdDevicesUnlessATestSaysOtherwise) {
  auto spec = full_spec();
  for (const char* bad : {"/dev/sda", "/dev/drbd", "/dev/drbd1/../sda", "/dev/drbd01", "/dev/drbd1048576",
                          "/dev/drbd1 ", "/etc/passwd", ""}) {
    spec.disks = {{0, bad, "disk"}};
    EXPECT_FALSE(domain_xml(spec)) << bad;
  }
  spec.disks = {{0, "/dev/drbd1048575", "disk"}};
  EXPECT_TRUE(domain_xml(spec));
}

}  // namespace
}  // namespace bascule::runtime::libvirt
