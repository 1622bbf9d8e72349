#include "hostd/runtime/libvirt/domain_xml.hpp"

#include <algorithm>

namespace bascule::runtime::libvirt {
namespace {
using core::DomainDisk;
using core::DomainNic;
using core::DomainSpec;
using core::Errc;
using core::fail;
using core::Result;

std::string quoted(std::string_view text) { return "'" + xml_escape(text) + "'"; }

bool printable_path(std::string_view path) {
  return path.size() > 1 && path.size() < 256 && path.front() == '/' &&
         std::ranges::all_of(path, [](char c) { return c > ' ' && c < 0x7f; });
}

// cache=none: acknowledged writes are on the replicated device, and libvirt holds a migration safe. A write error
// stops the guest rather than being shown to it. The I/O thread (without KVM: QEMU's worker threads) keeps QEMU's main
// loop, and so the monitor, answering while DRBD holds writes back.
void add_disk(std::string& xml, const DomainDisk& disk, bool kvm, bool as_file) {
  xml += as_file ? "  <disk type='file' device='disk'>\n" : "  <disk type='block' device='disk'>\n";
  xml += "   <driver name='qemu' type='raw' cache='none' discard='unmap' error_policy='stop' rerror_policy='stop'";
  xml += kvm ? " io='native' iothread='1'/>\n" : " io='threads' ioeventfd='off'/>\n";
  xml += std::string("   <source ") + (as_file ? "file=" : "dev=") + quoted(disk.device) + "/>\n";
  xml += "   <target dev='" + disk_target(disk.index) + "' bus='virtio'/>\n";
  xml += "   <boot order='" + std::to_string(disk.index + 1) + "'/>\n";
  xml += "   <serial>" + xml_escape(disk.serial.substr(0, 20)) + "</serial>\n";  // virtio-blk: 20 bytes
  xml += "  </disk>\n";
}

// No boot ROM: its size would have to be the same on both hosts, and nothing boots from the network.
void add_nic(std::string& xml, const DomainNic& nic) {
  xml += "  <interface type='bridge'>\n";
  xml += "   <mac address=" + quoted(nic.mac) + "/>\n";
  xml += "   <source bridge=" + quoted(nic.bridge) + "/>\n";
  xml += "   <model type='virtio'/>\n   <rom enabled='no'/>\n  </interface>\n";
}

void add_machine(std::string& xml, const DomainSpec& spec) {
  xml += " <vcpu>" + std::to_string(spec.cpus) + "</vcpu>\n";
  if (spec.accel == core::Accel::kvm) xml += " <iothreads>1</iothreads>\n";
  xml += std::string(" <os>\n  <type arch='x86_64' machine='") + machine_type + "'>hvm</type>\n </os>\n";
  xml += " <features>\n  <acpi/>\n  <apic/>\n </features>\n";
  xml += " <cpu mode='custom' match='exact' check='partial'>\n  <model fallback='forbid'>" +
         xml_escape(spec.cpu_model) + "</model>\n </cpu>\n";
  xml += " <clock offset='utc'>\n  <timer name='rtc' tickpolicy='catchup'/>\n"
         "  <timer name='pit' tickpolicy='delay'/>\n  <timer name='hpet' present='no'/>\n </clock>\n";
  xml += " <on_poweroff>destroy</on_poweroff>\n <on_reboot>restart</on_reboot>\n <on_crash>destroy</on_crash>\n";
  // A sleeping guest would look stopped; there is no verb to wake it.
  xml += " <pm>\n  <suspend-to-mem enabled='no'/>\n  <suspend-to-disk enabled='no'/>\n </pm>\n";
}

}  // namespace

std::string disk_target(std::uint32_t index) {
  BASCULE_CHECK(index < core::Limits::volumes_per_vm);
  return std::string("vd") + static_cast<char>('a' + static_cast<char>(index));
}

std::string xml_escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&apos;"; break;
      default: out += c;
    }
  }
  return out;
}

Result<std::string> domain_xml(const DomainSpec& spec, const XmlOptions& options) {
  DomainSpec checked = spec;
  if (options.any_disk_path) {
    for (auto& disk : checked.disks) {
      if (!printable_path(disk.device)) return fail(Errc::invalid, "disks: not an absolute path");
      disk.device = "/dev/drbd" + std::to_string(disk.index);
    }
  }
  if (auto ok = core::check(checked); !ok) return ok.error();

  std::string xml;
  xml.reserve(4096);
  xml += std::string("<domain type='") + (spec.accel == core::Accel::kvm ? "kvm" : "qemu") + "'>\n";
  xml += " <name>" + xml_escape(spec.name) + "</name>\n <uuid>" + xml_escape(spec.uuid) + "</uuid>\n";
  xml += " <memory unit='MiB'>" + std::to_string(spec.memory_mib) + "</memory>\n";
  // QEMU takes the memory of an emulated guest at its start, not page by page while the guest boots: where there is no
  // KVM, in a machine inside a machine, a page fault is dear. hostd counts all of it from the start either way.
  if (spec.accel != core::Accel::kvm) xml += " <memoryBacking>\n  <allocation mode='immediate'/>\n </memoryBacking>\n";
  add_machine(xml, spec);
  xml += " <devices>\n";
  for (const auto& disk : spec.disks) {
    add_disk(xml, disk, spec.accel == core::Accel::kvm, options.any_disk_path && !disk.device.starts_with("/dev/"));
  }
  for (const auto& nic : spec.nics) add_nic(xml, nic);
  if (spec.panic_device) xml += "  <panic model='isa'/>\n";  // the guest may say that it panicked; see on_crash
  xml += "  <controller type='usb' model='none'/>\n  <memballoon model='none'/>\n"
         "  <rng model='virtio'>\n   <backend model='random'>/dev/urandom</backend>\n  </rng>\n"
         " </devices>\n</domain>\n";
  return xml;
}

}  // namespace bascule::runtime::libvirt
