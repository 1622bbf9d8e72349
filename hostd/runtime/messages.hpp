// Every event that an operator searches for or alerts on: its name, its MESSAGE_ID in the journal, how loud it is, what
// it means and what to do. An id is for ever: a new meaning is a new id, and one that is gone is not used again.
// docs/messages.md and packaging/catalog/bascule.catalog are made of this file: tests/lint/messages.py --write.
#pragma once

#include <cstdint>
#include <string_view>

namespace bascule::msg {

enum class Level : std::uint8_t { info, warn, error, critical };

struct Message {
  std::string_view name;  ///< BASCULE_MESSAGE
  std::string_view id;    ///< MESSAGE_ID
  Level level{};
  std::string_view means, todo;
};

// clang-format off

// hostd itself
inline constexpr Message hostd_begins{"hostd-begins", "9b46c32ffa2e417baf3d94811de09679", Level::info,
    "hostd begins to start: it reads its state and takes over a watchdog that the hostd before left running.",
    "Nothing."};
inline constexpr Message hostd_started{"hostd-started", "d4e6bfd2e59a4e2284db8509e001c492", Level::info,
    "hostd is up and answers its API; guests were not touched by its start.",
    "Nothing."};
inline constexpr Message hostd_stopping{"hostd-stopping", "c5cd76fe7fb14ca4be8ebe70462f85ac", Level::info,
    "hostd ends because it was asked to; guests run on.",
    "Have it back within the watchdog's time if guests run here."};
inline constexpr Message hostd_not_started{"hostd-not-started", "39c25fa0c2ca495aa451f462cbd2bc4e", Level::error,
    "hostd ends because a part that it needs cannot be made; systemd tries again.",
    "Mend what the text names; hostd --check looks at the configuration alone."};
inline constexpr Message hostd_broke{"hostd-broke", "eec01f1eb2c84472baceb6f44706a847", Level::critical,
    "A bug: an exception left one of hostd's loops. hostd ends and systemd starts it anew; guests run on.",
    "Report it with the journal of that minute."};
inline constexpr Message config_refused{"config-refused", "3d9ca4f0fe7c444494e5ab48d64aedb1", Level::error,
    "hostd.toml is refused and hostd does not start.",
    "Mend the line that the text names; hostd --check says what is wrong next."};
inline constexpr Message notes_not_kept{"notes-not-kept", "40a1a731d3de4e9886aeb6c2c7740112", Level::critical,
    "What this host must remember over a restart cannot be written; nothing is started or promoted without it.",
    "Mend or make room on the disk below /var/lib/bascule."};

// the host's lease, promises, the watchdog
inline constexpr Message lease_late{"lease-late", "64fd2a675dc44911b3adc1a4252c35b4", Level::warn,
    "This host's lease was renewed later than twice its interval; the others count its silence from the last renewal.",
    "Once is harmless; if it repeats look at etcd's disk, the network and the load of this host."};
inline constexpr Message lease_not_renewed{"lease-not-renewed", "51687efb757a4445850e08f0c06b7bff", Level::warn,
    "etcd has not taken a renewal of this host's lease for renew_timeout, so this host may soon count as lost.",
    "Look at etcd and the management network; guests go on by promises while their other hosts answer."};
inline constexpr Message failsafe_entered{"failsafe-entered", "3cc3838497b747d592d0a790aba8ea44", Level::warn,
    "The lease is not renewed: this host asks the others for promises, and ends guests that have none in time.",
    "Bring etcd's quorum or the management network back."};
inline constexpr Message failsafe_left{"failsafe-left", "b7d18b60891d45a5aaaed488a4b8502b", Level::info,
    "The lease is renewed again, or no guest is here any more that another host could take over.",
    "Nothing."};
inline constexpr Message promise_given{"promise-given", "e18237ccf8ce4cb78c215d45bdb7560a", Level::info,
    "This host promised another one not to take its VMs over for the takeover time.",
    "Look why that host does not reach etcd."};
inline constexpr Message promise_missing{"promise-missing", "c7ddb9d676eb4fbda3f8e13d50ba2cd8", Level::warn,
    "Another host did not give a promise; guests that it could take over are ended here in time.",
    "Look at that host and at the network to it."};
inline constexpr Message guest_ended_for_safety{"guest-ended-for-safety", "6454325f8ee84ed0bf989a8e1c3a18b4", Level::critical,
    "hostd ends a guest because neither etcd nor its other host says that it may go on; it may soon start there.",
    "Bring the network or etcd back; hostctl why VM says what becomes of it."};
inline constexpr Message guest_not_ended{"guest-not-ended", "baa38c3311824e31a8a9aca51609dc9f", Level::critical,
    "A guest that has to end cannot be ended; the watchdog resets this host if that lasts.",
    "Look at libvirt and QEMU of this host."};
inline constexpr Message watchdog_armed{"watchdog-armed", "ce1fd98d26424fb3a4e74ee7efc06a50", Level::info,
    "The watchdog runs and resets this host unless hostd pets it.",
    "Nothing."};
inline constexpr Message watchdog_not_armed{"watchdog-not-armed", "74f9eb5b2d63454684f38a0132be03de", Level::critical,
    "The watchdog cannot be armed; no guest starts on this host before it is.",
    "Look at [watchdog] in hostd.toml, and who else holds the device."};
inline constexpr Message watchdog_not_petted{"watchdog-not-petted", "532aab30fca24c21979aff07731ce015", Level::error,
    "The watchdog's device refused a pet; this host is reset if that lasts.",
    "Look at the device and its driver."};
inline constexpr Message watchdog_too_late{"watchdog-too-late", "16b1f2189bbf4c5b8bbef3abba1338ff", Level::critical,
    "This host stood still for so long that the others may count it as lost: it resets itself now.",
    "Find what held the machine up: its disk, its memory, its hypervisor."};
inline constexpr Message watchdog_off{"watchdog-off", "4eea5e45f2594a46bc6b0266d8f14db7", Level::info,
    "No guest is here, so the watchdog was switched off where its device allows it.",
    "Nothing."};
inline constexpr Message watchdog_left_armed{"watchdog-left-armed", "34216cfec4bb4b039f88027cd9c4d013", Level::warn,
    "hostd ends while guests run here: the watchdog resets this host unless hostd is back in time.",
    "Start hostd again at once."};
inline constexpr Message watchdog_not_off{"watchdog-not-off", "0be13a7045d043a6a5a280a7905cfbb3", Level::warn,
    "hostd ends and the watchdog's device cannot be switched off.",
    "Start hostd again at once, or expect a reset."};
inline constexpr Message watchdog_proved{"watchdog-proved", "58fc020b41dd40fb9e243828c3bac0f2", Level::info,
    "The watchdog of a host fired when it was not petted, and within its time.",
    "Nothing."};
inline constexpr Message watchdog_not_proved{"watchdog-not-proved", "70b87847ab5f429a8f69191f35c35142", Level::error,
    "The watchdog of a host did not fire, or not as it should.",
    "Run no VM there that has to be safe without power fencing; docs/failover.md."};

// other hosts, their power
inline constexpr Message host_silent{"host-silent", "585cbbea28d94527aa07766a45cebc87", Level::warn,
    "The lease of another host has not changed for the suspect time; its VMs are not taken over yet.",
    "docs/runbooks/host-dead.md."};
inline constexpr Message host_back{"host-back", "8637faeb081d43239674bfce5fccb9aa", Level::info,
    "A host that was silent renews its lease again.",
    "Nothing; its VMs are where they were last started."};
inline constexpr Message host_switching_off{"host-switching-off", "c175532ec7244f049babb16891c7dc11", Level::warn,
    "This host asks the power switch of a silent host to switch it off.",
    "docs/runbooks/host-dead.md."};
inline constexpr Message host_switched_off{"host-switched-off", "ed194532f2ab41518c0c0a00acea6818", Level::warn,
    "The power switch says that a host is off: its VMs need not wait for the takeover time.",
    "docs/runbooks/host-dead.md."};
inline constexpr Message host_not_switched_off{"host-not-switched-off", "d55e6bf534d14191a0e41209ea88589d", Level::warn,
    "A silent host was not switched off; the takeover time runs on as without power fencing.",
    "Look at the power switch and [power] in hostd.toml."};
inline constexpr Message fence_not_recorded{"fence-not-recorded", "0ed0e385b261478a98ddba61013c7225", Level::warn,
    "How a power-off ended is not in etcd; its intent stays, and that host cannot renew its lease before it is void.",
    "Look at etcd."};

// failover
inline constexpr Message failover_decided{"failover-decided", "f111df7e58bd4f298531704e5f18cd23", Level::warn,
    "A VM's host is lost and this host has asked for its start on the other side.",
    "hostctl op follow ID; docs/runbooks/host-dead.md."};
inline constexpr Message restart_decided{"restart-decided", "d3128cfad2f84e12ab2b82de09137e69", Level::warn,
    "A guest ended by itself and this host has asked for its start.",
    "Look inside the guest if it repeats."};
inline constexpr Message care_decided{"care-decided", "33230790934b4de5acfbb9bc8fafc04b", Level::info,
    "This host has asked by itself for something that was due: a copy, a verify, a way home.",
    "Nothing."};
inline constexpr Message decision_not_taken{"decision-not-taken", "33c9159cb89a41828fbf47c59f640168", Level::warn,
    "What this host decided by itself was refused or not written; it decides anew on what is there then.",
    "Nothing, unless it repeats with the same reason."};
inline constexpr Message start_waits{"start-waits", "a1d04fd4e8c44938ad51857ce1ded85e", Level::info,
    "A VM that should run is not started here yet, and the text says what is waited for.",
    "hostctl why VM."};
inline constexpr Message takeover_won{"takeover-won", "e075ed65fa2f4a5daf4476b2af946ca1", Level::warn,
    "This host has taken the run-right of a lost host, comparing its lease: that host cannot renew it unseen.",
    "Nothing; the VM starts here next."};
inline constexpr Message takeover_lost{"takeover-lost", "7f8e6dd49638404ea4ab0650fb8b245d", Level::warn,
    "The takeover of a run-right was not written: the lost host renewed its lease, or another write came first.",
    "Nothing; it is decided anew."};
inline constexpr Message failover_done{"failover-done", "19a85a510026436d9d16af6fe908e3e6", Level::warn,
    "A VM of a lost host runs on the other side.",
    "Mend the lost host; going home is yours to ask: hostctl vm failback VM."};
inline constexpr Message failover_failed{"failover-failed", "383a2258e5524393bcbe5a65afd206a3", Level::error,
    "A VM of a lost host was not started on the other side.",
    "hostctl op show ID, hostctl why VM; docs/failover.md."};

// operations
inline constexpr Message operation_begun{"operation-begun", "ce66ca37174940cea4f4366434b2cc54", Level::info,
    "An operation is accepted, and its reason is in the audit chain.",
    "Nothing."};
inline constexpr Message operation_done{"operation-done", "3e6a7a3566ba49fa96b94ed69291b103", Level::info,
    "An operation ended as it was asked.",
    "Nothing."};
inline constexpr Message operation_undone{"operation-undone", "831d925878914fea9c2e4f3edb61bc1a", Level::warn,
    "An operation failed or was cancelled, and what it had done was undone.",
    "hostctl op show ID says why."};
inline constexpr Message operation_needs_person{"operation-needs-person", "9aaec0423a3e462db06da958aed76c39", Level::error,
    "An operation stopped where no program may decide, and a person has to.",
    "hostctl op show ID has the line that says what to do."};
inline constexpr Message step_failed{"step-failed", "c334d3836fc742a384c76af0542ea16e", Level::warn,
    "A step of an operation failed on this host; it is tried again where that can help, else undone.",
    "Nothing before the operation ends."};
inline constexpr Message step_not_recorded{"step-not-recorded", "5e81f6f9c4b14daaa822fe85cce4e539", Level::warn,
    "A step was carried out and its end is not in etcd; it is looked for again, and not done twice.",
    "Look at etcd if it repeats."};
inline constexpr Message migration_begun{"migration-begun", "694620003556431b8b50879268a07674", Level::info,
    "A running VM begins to move to its other host.",
    "Nothing; hostctl op follow ID."};
inline constexpr Message migration_done{"migration-done", "3617eacab08740229b8d63b9210cfaf2", Level::info,
    "A VM has moved and runs on its other host.",
    "Nothing."};
inline constexpr Message migration_undone{"migration-undone", "a4135df1029a478ebe01f26c20cef164", Level::warn,
    "A migration was undone: the VM runs where it was.",
    "hostctl op show ID says why."};
inline constexpr Message ha_disarmed{"ha-disarmed", "31d7fa132d834e57becb5d2c5b8fc343", Level::warn,
    "Automatic failover is switched off in the whole cell.",
    "hostctl ha arm when the work is done."};
inline constexpr Message ha_armed{"ha-armed", "fb4c8ddf3942435face2f3d3b344b64d", Level::info,
    "Automatic failover is on.",
    "Nothing."};
inline constexpr Message maintenance_changed{"maintenance-changed", "7aedb53ad71e4f7ea3944fb6763ae9d8", Level::info,
    "A host begins or ends maintenance: no VM is started on it or moved to it meanwhile.",
    "hostctl host maintenance HOST off when the work is done."};

// guests
inline constexpr Message vm_started{"vm-started", "80922ce4b69e40c287e76010afd447ac", Level::info,
    "A VM was started as somebody asked.",
    "Nothing."};
inline constexpr Message vm_stopped{"vm-stopped", "c62fefdee2694852a0141a4a29629a8f", Level::info,
    "A VM was stopped as somebody asked.",
    "Nothing."};
inline constexpr Message vm_restarted{"vm-restarted", "66141951ef5248208161c27f558824c4", Level::warn,
    "A VM whose guest had ended by itself runs again.",
    "Look inside the guest if it repeats."};
inline constexpr Message guest_state{"guest-state", "c4ad33c8b382494b8d23093c02159ba7", Level::info,
    "libvirt tells that a guest's state has changed on this host, and why.",
    "Nothing, unless nobody asked for it: hostctl why VM."};
inline constexpr Message address_not_announced{"address-not-announced", "cd49555319f447d68393b98f2ecb40f2", Level::warn,
    "A guest was started and its address could not be announced on its bridge; the switches learn it when it speaks.",
    "Look at the bridge."};
inline constexpr Message vm_down{"vm-down", "f7c647a889344858ba6e12e0cfc3ac8a", Level::warn,
    "A VM of this host should run, does not, and nothing is at work on it.",
    "hostctl why VM."};
inline constexpr Message vm_unprotected{"vm-unprotected", "815642b3742a4c31ab5cd40afe9b1631", Level::warn,
    "A VM of this host has had no second leg in sync for long.",
    "hostctl why VM; docs/runbooks/link-cut.md, docs/runbooks/disk-dying.md."};
inline constexpr Message split_brain{"split-brain", "720da107a3de4658bc9b9f1f24944317", Level::critical,
    "DRBD refuses the link between the legs of a VM: both may hold something of their own.",
    "docs/runbooks/split-brain.md; nothing is discarded by a program."};
inline constexpr Message trouble_over{"trouble-over", "347a5a3ebd4640f682d3884bc62aa396", Level::info,
    "What vm-down, vm-unprotected or split-brain told of a VM is over.",
    "Nothing."};

// legs, disks, I/O
inline constexpr Message io_frozen{"io-frozen", "dba53c9e4318407d9ee916aa30afbfef", Level::warn,
    "The kernel holds back the writes of a VM, so that none is confirmed that the other side would lack.",
    "Wait some seconds; hostctl why VM if it lasts."};
inline constexpr Message io_resumed{"io-resumed", "388fa52d4f8947d7b81bf974a6ada79e", Level::info,
    "The writes of a VM go on.",
    "Nothing."};
inline constexpr Message io_stopped_for_record{"io-stopped-for-record", "df7a633df0784934af5ba115d8064be0", Level::warn,
    "A leg is not up to date and etcd could not be told: hostd stops the VM's writes until the record is true.",
    "Bring etcd back."};
inline constexpr Message io_not_stopped{"io-not-stopped", "4b3c59739a9d4cb19a7465eb5fc19ac4", Level::error,
    "Writes of a VM that have to stop could not be stopped; it is tried again.",
    "Look at DRBD of this host."};
inline constexpr Message fence_asked{"fence-asked", "aafa3a71af71456ea9ada324559564d7", Level::info,
    "The kernel has lost the other leg of a VM and asks whether it may go on alone.",
    "Nothing; fence-answered follows."};
inline constexpr Message fence_answered{"fence-answered", "a4e61c0d42eb433685be5542373454d0", Level::warn,
    "The VM goes on without its other leg, which is out of its record now.",
    "Mend the link or the other host; the leg resyncs by itself."};
inline constexpr Message fence_refused{"fence-refused", "7b78a065fb8c430591227c8e411ca088", Level::info,
    "The VM may not go on alone, or need not: another host has its right, or the link is back.",
    "hostctl why VM if it stays frozen."};
inline constexpr Message record_distrusted{"record-distrusted", "81eedf68dd374d31ae139a000b0b8d12", Level::error,
    "A record is not acted on, because this host remembers a newer one or a failed disk: etcd may have been restored.",
    "docs/failover.md, on a cell that went back in time."};
inline constexpr Message leg_left{"leg-left", "e7f9a78e823c4d99a84c5cc35bbcad50", Level::warn,
    "A leg is no longer in a VM's record: it will not run before it was resynced.",
    "hostctl why VM."};
inline constexpr Message leg_back{"leg-back", "6334cba92896485794d296c2357b7415", Level::info,
    "A leg is in sync and in a VM's record again.",
    "Nothing."};
inline constexpr Message disk_failed{"disk-failed", "564ca204e3384a5ea4d55ed0d9afc049", Level::error,
    "A leg of a VM has lost its disk here; the VM goes on with the other leg.",
    "docs/runbooks/disk-dying.md."};
inline constexpr Message disk_whole{"disk-whole", "bcb133d65973478b9ee71688b3e3dcb9", Level::info,
    "Legs that had lost their disk are whole again.",
    "Nothing."};
inline constexpr Message disk_fails_again{"disk-fails-again", "ad062f75aad94dc4ad3488911116adea", Level::warn,
    "A disk failed each time it was attached; it is tried ever more rarely.",
    "docs/runbooks/disk-dying.md."};
inline constexpr Message volumes_unseen{"volumes-unseen", "2325ad61189543a7a9fd2e93f7bb36d2", Level::warn,
    "DRBD's state of a VM's volumes could not be read.",
    "Look at DRBD of this host if it repeats."};
inline constexpr Message mend_failed{"mend-failed", "b1e9080c45d44e929b4afb4dc4b810b1", Level::warn,
    "What hostd does by itself to keep a VM in order failed; it is tried again.",
    "hostctl why VM if it repeats."};
inline constexpr Message drbd_events_lost{"drbd-events-lost", "b98f8bf1969b4f1098528d61219f1ca7", Level::warn,
    "DRBD's events are not read for now; states shown may be old.",
    "Look at drbdsetup and the module if it repeats."};
inline constexpr Message pool_unreadable{"pool-unreadable", "87b86d1447e64aaf96e6803230f497ad", Level::warn,
    "The free space of the pool cannot be read or told.",
    "Look at [pool] in hostd.toml and the volume group."};

// etcd, libvirt, records
inline constexpr Message etcd_away{"etcd-away", "1decb052bdfe45c1a56432cff6ad0d42", Level::warn,
    "This host does not hear from etcd: changes are refused, guests run on.",
    "Bring etcd's quorum back; never restore a member from a copy."};
inline constexpr Message etcd_back{"etcd-back", "759e107947c9446682b7095837356922", Level::info,
    "This host reads the cell from etcd.",
    "Nothing."};
inline constexpr Message record_unreadable{"record-unreadable", "1b965777e8374589ac7954502f2da024", Level::error,
    "A record in etcd cannot be read; the last good one stays in use.",
    "Find out who wrote it: hostctl audit verify."};
inline constexpr Message libvirt_away{"libvirt-away", "368880ed9d7a4d45b14d9ae1f7ad9e64", Level::warn,
    "libvirt is not reached: guests run on, none is started or moved here.",
    "Look at libvirtd."};
inline constexpr Message libvirt_back{"libvirt-back", "ae129a808d304476b8365710e04071b6", Level::info,
    "libvirt is reached and has told which guests are here.",
    "Nothing."};

// audit, certificates, API
inline constexpr Message audit_head{"audit-head", "194f5093d1f7428d9ffe9cacd1e82970", Level::info,
    "This host has countersigned the audit chain; the line is proof against whoever can write to etcd.",
    "Keep it on a log server: hostctl audit verify --heads."};
inline constexpr Message audit_broken{"audit-broken", "1f6dd700f6da484ca832bd8a6518612a", Level::critical,
    "The audit chain is not the one that this host countersigned, or it cannot be signed.",
    "Find out who wrote to etcd; docs/security.md."};
inline constexpr Message audit_head_unreadable{"audit-head-unreadable", "ba593354ef95493294d6c4299129a1b2", Level::error,
    "A countersigned head in etcd cannot be read and vouches for nothing.",
    "Find out who wrote it."};
inline constexpr Message trust_reloaded{"trust-reloaded", "b74f2c2ac4fc40c6a8c8f8e79c74d04b", Level::info,
    "Certificates, revocation lists and identities were read again and are in use.",
    "Nothing."};
inline constexpr Message trust_refused{"trust-refused", "b6375ef2e8b448f289fc8fb681627b3e", Level::error,
    "Certificates, revocation lists or identities on the disk are not good; those in use stay.",
    "Bring good ones; hostctl health tells whether they are taken."};
inline constexpr Message trust_warning{"trust-warning", "80d757795d084025bd6894f8ff9cb1ea", Level::warn,
    "A certificate or a revocation list ends soon or is missing.",
    "docs/runbooks/certificate-expiring.md."};
inline constexpr Message connections_ended{"connections-ended", "be66efdb5b53413e9f4f91549998fea7", Level::warn,
    "Connections of those whose certificates are not accepted any more were ended.",
    "Nothing."};
inline constexpr Message certificate_unreadable{"certificate-unreadable", "32b1f9fdf02e4d85a8d40a3a676a15cf", Level::warn,
    "A certificate whose end alerts should tell of cannot be read.",
    "Look at the file."};
inline constexpr Message api_refused{"api-refused", "38f7e38bb9a648bd8fa7d49dcfb5d64d", Level::warn,
    "Somebody asked for what his role may not do, or nobody is known by his certificate; told once a minute for each.",
    "Nothing, unless it is unexpected: the name is in BASCULE_CALLER."};
inline constexpr Message api_failed{"api-failed", "8532a7510157486ca456e0801b14b42f", Level::error,
    "A call failed by a fault of hostd or of a part below it; the caller got a 500 without detail.",
    "Report it with this line."};
inline constexpr Message api_cut{"api-cut", "092c4e6cdad940d1839ab25b41cb4988", Level::warn,
    "hostd stopped and API connections did not end in time.",
    "Nothing."};
inline constexpr Message console_missing{"console-missing", "3dd36ddf9eeb4252a8674579257a6f83", Level::warn,
    "The web console is not served.",
    "Install bascule-console, or empty [api] console."};

// alerts
inline constexpr Message alert_sent{"alert-sent", "413f55aa9ede42d29696d6da081274b5", Level::info,
    "A message of an alert was taken by a list's server.",
    "Nothing."};
inline constexpr Message alert_not_sent{"alert-not-sent", "20bbd107a5734caa892756411640cf45", Level::warn,
    "A message of an alert was not taken; it is tried again.",
    "Look at that list's server; hostctl alert list."};
inline constexpr Message alerts_wrong{"alerts-wrong", "9655c324d3194c58b072ae71829fe02e", Level::error,
    "[alerts] names something that cannot be used: alerts to that list do not go out.",
    "Mend what the text names; hostd --check."};
inline constexpr Message alert_not_recorded{"alert-not-recorded", "021d91ce55524e9584acdd997bb6c4b3", Level::warn,
    "A record of an alert could not be written; the next round decides anew.",
    "Look at etcd if it repeats."};
// the cell's records
inline constexpr Message format_refused{"format-refused", "21ce75d877a24e1580143fc439008dde", Level::critical,
    "The cell's records have a format that this hostd does not know: it decides and changes nothing; guests run on.",
    "Install the version that the other hosts have."};
inline constexpr Message format_known{"format-known", "439fe7ae79244d7d827e8532f24810f2", Level::info,
    "The cell's records have a format that this hostd knows again.",
    "Nothing."};

// how a VM fared
inline constexpr Message history_unreadable{"history-unreadable", "7c197371188a48c8b09fbc2b6786de62", Level::error,
    "A VM's record of a day cannot be read: that day counts as not seen.",
    "Report it with this line."};
inline constexpr Message history_not_recorded{"history-not-recorded", "820504e4df7b4e55a95afb13b6549594", Level::warn,
    "What was seen of a VM could not be written; it is remembered for half an hour and written with the next try.",
    "Look at etcd if it repeats."};
// clang-format on

}  // namespace bascule::msg
