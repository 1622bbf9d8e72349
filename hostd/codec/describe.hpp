// One list of fields per record, used by the encoder and the decoder alike, so the two cannot drift.
#pragma once

#include "hostd/core/alert.hpp"
#include "hostd/core/history.hpp"
#include "hostd/core/model.hpp"
#include "hostd/core/notes.hpp"
#include "hostd/core/restore_record.hpp"
#include "hostd/core/signed_head.hpp"

namespace bascule::codec {

// clang-format off
template <class A> void describe(A& a, core::VolumeSpec& v) { a("name", v.name); a("size_mib", v.size_mib); a("image", v.image); }
template <class A> void describe(A& a, core::NicSpec& v) { a("network", v.network); a("mac", v.mac); }
template <class A> void describe(A& a, core::VmSpec& v) {
  a("name", v.name); a("project", v.project); a("cpus", v.cpus); a("memory_mib", v.memory_mib);
  a("nominal_host", v.nominal_host); a("peer_host", v.peer_host); a("power", v.power);
  a("protection", v.protection); a("priority", v.priority); a("restart_on_panic", v.restart_on_panic); a("copy_at", v.copy_at); a("drill_every_days", v.drill_every_days); a("migration_policy", v.migration_policy); a("volumes", v.volumes); a("nics", v.nics);
}
template <class A> void describe(A& a, core::Leg& v) { a("host", v.host); a("id", v.id); }
template <class A> void describe(A& a, core::VolumeLayout& v) { a("name", v.name); a("minor", v.minor); a("size_mib", v.size_mib); a("legs", v.legs); }
template <class A> void describe(A& a, core::Layout& v) { a("port", v.port); a("volumes", v.volumes); }
template <class A> void describe(A& a, core::Writer& v) { a("host", v.host); a("instance", v.instance); a("number", v.number); }
template <class A> void describe(A& a, core::Right& v) {
  a("epoch", v.epoch); a("host", v.host); a("migrating_to", v.migrating_to); a("insync", v.insync);
  a("restarts", v.restarts); a("writer", v.writer);
}
template <class A> void describe(A& a, core::VmStatus::Volume& v) {
  a("disk", v.disk); a("peer_disk", v.peer_disk); a("replication", v.replication); a("out_of_sync_kib", v.out_of_sync_kib);
}
template <class A> void describe(A& a, core::VmStatus& v) {
  a("domain", v.domain); a("domain_reason", v.domain_reason); a("role", v.role); a("connection", v.connection);
  a("suspended", v.suspended); a("volumes", v.volumes); a("waits", v.waits);
}
template <class A> void describe(A& a, core::HostInfo& v) {
  a("id", v.id); a("site", v.site); a("api_address", v.api_address); a("replication_address", v.replication_address);
  a("migration_address", v.migration_address); a("hostd_version", v.hostd_version); a("libvirt_version", v.libvirt_version);
  a("qemu_version", v.qemu_version); a("drbd_version", v.drbd_version); a("kernel", v.kernel); a("accel", v.accel);
  a("instance", v.instance); a("cpus", v.cpus); a("memory_mib", v.memory_mib); a("pool_free_mib", v.pool_free_mib);
  a("pool_kind", v.pool_kind); a("networks", v.networks); a("first_port", v.first_port); a("last_port", v.last_port);
}
template <class A> void describe(A& a, core::HostLease& v) { a("instance", v.instance); a("number", v.number); a("boot", v.boot); a("guarding", v.guarding); }
template <class A> void describe(A& a, core::FenceIntent& v) { a("by", v.by); a("boot", v.boot); a("why", v.why); a("confirmed", v.confirmed); a("writer", v.writer); }
template <class A> void describe(A& a, core::Maintenance& v) { a("author", v.author); a("reason", v.reason); a("since_ms", v.since_ms); }
template <class A> void describe(A& a, core::Disarmed& v) { a("author", v.author); a("reason", v.reason); a("since_ms", v.since_ms); }
template <class A> void describe(A& a, core::LastCare& v) { a("when_ms", v.when_ms); a("good", v.good); a("text", v.text); a("operation", v.operation); }
template <class A> void describe(A& a, core::Image& v) { a("name", v.name); a("size_bytes", v.size_bytes); a("sha256", v.sha256); a("host", v.host); }
template <class A> void describe(A& a, core::Step& v) { a("kind", v.kind); a("host", v.host); a("state", v.state); a("note", v.note); a("took_ms", v.took_ms); }
template <class A> void describe(A& a, core::Who& v) { a("name", v.name); a("role", v.role); a("project", v.project); }
template <class A> void describe(A& a, core::Operation& v) {
  a("id", v.id); a("kind", v.kind); a("vm", v.vm); a("project", v.project); a("object", v.object); a("author", v.author);
  a("reason", v.reason); a("created_ms", v.created_ms); a("finished_ms", v.finished_ms); a("state", v.state);
  a("cancel_requested", v.cancel_requested); a("steps", v.steps); a("error", v.error); a("todo", v.todo);
  a("source_host", v.source_host); a("target_host", v.target_host); a("size_mib", v.size_mib); a("spec", v.spec); a("restore", v.restore);
  a("result", v.result); a("idempotency", v.idempotency); a("writer", v.writer);
}
template <class A> void describe(A& a, core::Progress& v) {
  a("step", v.step); a("percent", v.percent); a("text", v.text); a("done_bytes", v.done_bytes); a("total_bytes", v.total_bytes);
}
template <class A> void describe(A& a, core::AuditRecord& v) {
  a("sequence", v.sequence); a("when_ms", v.when_ms); a("who", v.who); a("why", v.why); a("what", v.what);
  a("object", v.object); a("project", v.project); a("operation", v.operation); a("result", v.result);
  a("previous", v.previous); a("hash", v.hash);
}
template <class A> void describe(A& a, core::VmNote& v) { a("epoch", v.epoch); a("revision", v.revision); a("failed", v.failed); a("lost", v.lost); a("others", v.others); }
template <class A> void describe(A& a, core::Notes& v) { a("cluster_id", v.cluster_id); a("highest", v.highest); a("vms", v.vms); a("addresses", v.addresses); }
template <class A> void describe(A& a, core::SignedHead& v) {
  a("cell", v.cell); a("host", v.host); a("sequence", v.sequence); a("hash", v.hash); a("when_ms", v.when_ms);
  a("signature", v.signature); a("certificate", v.certificate);
}
template <class A> void describe(A& a, core::AuditHead& v) { a("sequence", v.sequence); a("hash", v.hash); }
template <class A> void describe(A& a, core::Restore& v) { a("file", v.file); a("head", v.head); a("vms", v.vms); a("written", v.written); a("ended", v.ended); }
template <class A> void describe(A& a, core::Restored& v) { a("epoch", v.epoch); a("host", v.host); }
template <class A> void describe(A& a, core::Delivery& v) {
  a("state", v.state); a("by", v.by); a("instance", v.instance); a("bundle", v.bundle); a("tries", v.tries); a("when_ms", v.when_ms);
  a("accepted", v.accepted); a("repeat", v.repeat); a("error", v.error);
}
template <class A> void describe(A& a, core::Alert& v) {
  a("id", v.id); a("kind", v.kind); a("severity", v.severity); a("vm", v.vm); a("host", v.host); a("site", v.site);
  a("operation", v.operation); a("title", v.title); a("what", v.what); a("did", v.did); a("todo", v.todo); a("hint", v.hint);
  a("created_ms", v.created_ms); a("ended_ms", v.ended_ms); a("reporter", v.reporter); a("acked_by", v.acked_by);
  a("ack_reason", v.ack_reason); a("acked_ms", v.acked_ms); a("deliveries", v.deliveries);
}
template <class A> void describe(A& a, core::Outage& v) { a("from_ms", v.from_ms); a("to_ms", v.to_ms); a("why", v.why); a("operation", v.operation); }
template <class A> void describe(A& a, core::HistoryDay& v) {
  a("day", v.day); a("since_ms", v.since_ms); a("until_ms", v.until_ms); a("up_ms", v.up_ms); a("down_ms", v.down_ms);
  a("unknown_ms", v.unknown_ms); a("off_ms", v.off_ms); a("protected_ms", v.protected_ms); a("resync_ms", v.resync_ms);
  a("behind_kib", v.behind_kib); a("outages", v.outages); a("more_outages", v.more_outages); a("failovers", v.failovers);
  a("state", v.state); a("both_legs", v.both_legs); a("epoch", v.epoch); a("unsure_ms", v.unsure_ms);
  a("last_failover", v.last_failover); a("by", v.by);
}
// clang-format on

}  // namespace bascule::codec
