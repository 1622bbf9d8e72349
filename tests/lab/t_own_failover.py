#!/usr/bin/python3
"""Failover on real kernels, in the fast profile: a client's VM on two sites, one fault after the other, and in the end the
judge over every record it ever acknowledged. On a lab that is up already: LAB_NAME=x tests/lab/t_own_failover.py"""
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lablib import cluster, faults, ledger, net, own  # noqa: E402
from lablib.attack import UnderAttack, pace  # noqa: E402
from lablib.case import expect, main, sh  # noqa: E402
from lablib.client_vm import NAME, ClientVm  # noqa: E402
from lablib.plan import PROJECT  # noqa: E402
from lablib.power_switch import PowerSwitch  # noqa: E402
from lablib.proc import LabError, wait_for  # noqa: E402
from lablib.recipients import Recipients  # noqa: E402
from lablib.trial import SLOWEST_SECONDS, Trial, bring_home, longest_gap, reports_since  # noqa: E402

HOME = "a1"
MESSAGE_IDS = dict(re.findall(r'Message (\w+)\{"[\w-]+", "([0-9a-f]{32})"', (PROJECT / "hostd/runtime/messages.hpp").read_text()))
state = {}


def the_vm():
    """The lab of this file, booted for its first scenario; its VM at home, in sync, its records coming in."""
    if "vm" not in state:
        state["vm"] = ClientVm(own.boot("own-failover"))
    vm = state["vm"]
    faults.heal(vm.lab)
    faults.boot(vm.lab, faults.dead(vm.lab))
    vm.job.hosts_ready()
    if "prepared" not in state:
        vm.prepare()
        state["prepared"] = True
    wait_for("the VM to run", lambda: vm.ask("vm", "show", NAME)["state"] == "running", 120, every=0.5)
    vm.in_sync()
    bring_home(vm, HOME)
    return vm


def trial(kind):
    vm = the_vm()
    row = Trial(vm, kind).run()
    print(f"      {row}", flush=True)
    expect(row["human"] == "no", f"a person is asked for: {row}")
    return vm, row


def acted(row, text):
    expect(any(text in act for act in row.get("acts", [])), f"no {text!r}: {row}")


def in_the_journal(lab, host, operation):
    """The failover's decision, its takeover and its end: each is found once by its MESSAGE_ID and the operation's id."""
    for event in ("failover_decided", "takeover_won", "failover_done"):
        said = sh(lab, host, "journalctl", "--quiet", "--no-pager", "-o", "cat", f"MESSAGE_ID={MESSAGE_IDS[event]}", f"BASCULE_OPERATION={operation}")
        expect(len(said.splitlines()) == 1 and NAME in said, f"{event} of {operation} on {host}: {said!r}")


def test_power_cut():
    """Power cut: the other site starts the VM after 8 to 9.5 s of silence, the host comes back and starts nothing, a person fails it back live."""
    vm, row = trial("power-cut")
    acted(row, "vm-failover to b1: done")
    # By the clock of the host that decided; the wall's also counts what this machine stood still.
    expect(8000 <= int(row["absent_ms"]) <= 9500 and row["decided_after_s"] <= 20.0, f"decided too early or too late: {row}")
    why = vm.ask("op", "list")
    record = next(op for op in why if op["kind"] == "vm-failover")
    for key in ("lost_host", "absent_ms", "witness", "drbd", "last_word", "record", "power_off_confirmed"):
        expect(key in record["result"], f"the record of why lacks {key}: {record['result']}")
    _history_tells(vm, record)
    in_the_journal(vm.lab, "b1", record["id"])
    _drill_was(vm, "vm-failover", "b1", record["id"])
    expect(vm.where() == "b1", "it went home by itself")
    checks = {check["what"]: check["ready"] for check in vm.ask("vm", "show", NAME)["failback"]["checks"]}
    expect(set(checks) == {"legs", "link", "verify", "capacity", "host", "lease"}, f"the readiness report: {checks}")
    vm.failback()
    vm.runs_only_on(HOME)
    _drill_was(vm, "vm-failback", HOME, next(op["id"] for op in vm.ask("op", "list") if op["kind"] == "vm-failback"))


def _drill_was(vm, what, host, operation):
    """It counts as an exercise: what was last, where it ran afterwards, by which operation."""
    last = next(d["last"] for d in vm.ask("drills") if d["vm"] == NAME)
    expect((last["what"], last["host"], last["operation"]) == (what, host, operation), f"the last exercise: {last}")


def _history_tells(vm, op):
    """The outage is in the VM's history: from its host's last sign of life until it ran again, once, and none of that as up."""
    def told():
        days = vm.ask("vm", "history", NAME, "--days", "2")["days"]
        return [o for day in days for o in day["outages"] if o.get("operation") == op["id"]]
    found = wait_for("its outage in the history", told, 40, every=1)
    took = (found[0]["to_ms"] - found[0]["from_ms"]) / 1000
    print(f"      history: down for {took:.1f} s, {found[0]['why']}", flush=True)
    expect(len(found) == 1 and found[0]["why"] == "host-lost", f"the outages: {found}")
    expect(found[0]["from_ms"] < op["created_ms"] < found[0]["to_ms"], f"it was decided at {op['created_ms']}: {found}")
    expect(op["finished_ms"] - op["created_ms"] < took * 1000 < 60_000, f"it lay for {took} s: {op}")


def test_alerts():
    """A lost host's mail and SMS arrive within 5 s of the decision, each once; one whose sender is killed on its way arrives once, too."""
    vm = the_vm()
    b1 = vm.lab.node("b1")
    with Recipients(vm.lab) as told:
        vm.job.hosts_ready()
        tried = _killed_on_its_way(vm, told, b1)
        vm.in_sync()
        known = {op["id"] for op in vm.ask("op", "list")}
        faults.make(vm.lab, "power-cut", vm.lab.node(HOME))
        op = wait_for("the failover", lambda: next((op for op in vm.ask("op", "list") if op["kind"] == "vm-failover" and
                                                    op["id"] not in known), None), 60, every=0.2)
        alert, decided = f"failover-decided-{op['id']}", op["created_ms"] / 1000
        wait_for("its mail and SMS", lambda: told.mails(alert) and told.messages(b1, alert), 60, every=0.2)
        mail, (at, text) = told.mails(alert)[0], told.messages(b1, alert)[0]
        print(f"      mail {mail['at'] - decided:.2f} s after the decision, SMS {at - decided:.2f} s: {text.splitlines()[-1]}", flush=True)
        expect(mail["at"] - decided <= 5 and at - decided <= 5, "later than 5 s after the decision")
        expect("hostctl vm failback" in mail["text"] and "may be a repeat" not in mail["text"], mail["text"])
        time.sleep(3)
        counts = [len(told.mails(a)) for a in (alert, tried)] + [len(told.messages(b1, a)) for a in (alert, tried)]
        expect(counts == [1, 1, 1, 1], f"mails and SMS: {counts}")
        faults.heal(vm.lab)
        vm.job.hosts_ready()
        expect(vm.ask("alert", "ack", alert, "--reason", "scenario")["acked_by"] != "", "nobody acknowledged it")
    vm.in_sync()


def _killed_on_its_way(vm, told, host):
    """hostd dies while it sends a mail, on a host without a guest, whose watchdog does not mind. The alert's id once the mail is there."""
    for _ in range(3):
        told.stall(20, "test-")
        tried = vm.ask("--endpoint", f"https://{host.address('mgmt')}:8443", "alert", "test", "--reason", "scenario")["id"]
        wait_for("its mail on its way", told.stalled, 60, every=0.2)
        sender = next(alert for alert in vm.ask("alert", "list") if alert["id"] == tried)["deliveries"]["mail"]["by"]
        if sender == host.id:
            break
        wait_for("the mail of another host", lambda: told.mails(tried), 60, every=0.2)
        vm.ask("alert", "ack", tried, "--reason", "scenario")
    expect(sender == host.id, f"{sender} sends it, not {host.id}, which was asked first")
    sh(vm.lab, host.id, "systemctl", "kill", "-s", "KILL", "hostd")
    wait_for("the mail after all", lambda: told.mails(tried), 60, every=0.2)
    expect("may be a repeat" in told.mails(tried)[0]["text"], "it does not say that it may be a repeat")
    vm.job.hosts_ready()
    return tried


def test_power_cut_with_a_power_switch():
    """With a power switch that confirms, the restart is decided long before the takeover time is over."""
    vm = the_vm()
    with PowerSwitch(vm.lab):
        row = Trial(vm, "power-cut").run()
    print(f"      {row}", flush=True)
    acted(row, "vm-failover to b1: done")
    expect(row["power_off_confirmed"] == "yes" and int(row["absent_ms"]) < 8000 and row["decided_after_s"] <= 20.0,
           f"decided without the switch, or too late: {row}")


def test_hang_and_wake():
    """A host stands still, the other takes over, it wakes: its watchdog ends it before its guest writes."""
    vm, row = trial("hang")
    acted(row, "vm-failover to b1: done")
    expect(row["rebooted"] == ["a1"], f"the woken host was not reset: {row}")


def test_qemu_killed():
    """A guest whose QEMU dies is started again on the same host."""
    vm, row = trial("qemu-killed")
    acted(row, "vm-restart to a1: done")
    expect(vm.where() == HOME, "it moved")


def test_link_cut():
    """The replication link is cut: the guest stands still, then goes on alone; the leg comes back by itself."""
    _vm, row = trial("link-repl")
    expect("acts" not in row, f"something was started: {row}")
    expect(1.0 < row["silence_s"] < 20.0 and "note" not in row, f"it did not stand still, or went on only with the link: {row}")


def test_etcd_lost():
    """Every etcd member stands still for longer than the watchdog: promises between the hosts keep the guest running."""
    vm = the_vm()
    began = time.time()
    for node in vm.lab.voters:
        faults.make(vm.lab, "etcd-hung", node)
    time.sleep(20)
    vm.records_go_on()
    gap, _ = longest_gap(reports_since(vm.lab, began), time.time())
    faults.heal(vm.lab)
    expect(not faults.dead(vm.lab), "a host was reset")
    expect(gap < 12, f"the guest stood still for {gap:.1f} s")
    wait_for("etcd to be healthy", lambda: cluster.etcd_healthy(vm.lab), 120, every=0.5)
    vm.job.hosts_ready()
    vm.runs_only_on(HOME)


def test_leaders_site_dies():
    """The other site dies together with etcd's leader: no VM of this site stops for good, it goes on alone."""
    vm = the_vm()
    _lead(vm.lab, "b1")
    began = time.time()
    faults.make(vm.lab, "power-cut", vm.lab.node("b1"))
    time.sleep(5)  # a watchdog's time; and what was on its way
    vm.records_go_on()
    gap, _ = longest_gap(reports_since(vm.lab, began), time.time())
    expect(vm.domain(HOME) == "running" and not faults.dead(vm.lab), "the surviving site stopped its VM")
    expect(gap < 10, f"the guest stood still for {gap:.1f} s")
    faults.heal(vm.lab)
    vm.job.hosts_ready()
    vm.in_sync()


def _lead(lab, host):
    """Moves etcd's leadership to a host. Only the member that leads can hand it over, so each is asked."""
    def etcdctl(member, *words):
        return sh(lab, host, "sh", "-c", ". /etc/profile.d/lab.sh; ETCDCTL_ENDPOINTS=https://"
                  f"{member.address('mgmt')}:2379 etcdctl {' '.join(words)}", check=False)

    def leads():
        said = json.loads(etcdctl(lab.node(host), "endpoint", "status", "-w", "json") or "[]")
        member = said[0]["Status"]["header"]["member_id"] if said else 0
        if said and said[0]["Status"]["leader"] == member:
            return True
        for voter in lab.voters if said else []:
            etcdctl(voter, "move-leader", f"{member:x}")
        return False
    wait_for(f"{host} to lead etcd", leads, 60, every=0.5)


def _says(vm, word):
    try:
        return vm.ask("vm", "show", NAME)["state"] == word
    except LabError:
        return False


def test_zombie_with_a_broken_watchdog():
    """First lock broken: hostd hangs, the watchdog does not fire, all links are cut. The frozen copy never writes; woken, it is
    cleaned away without a reboot, and its leg comes back."""
    vm = the_vm()
    vm.do("vm", "migrate", NAME, "--to", "b1")
    faults.make(vm.lab, "watchdog-broken", vm.lab.node(HOME))
    vm.job.hosts_ready()
    vm.in_sync()
    vm.failback()
    node = vm.lab.node(HOME)
    faults.make(vm.lab, "hostd-hung", node)
    faults.make(vm.lab, "links-all", node)
    wait_for("the VM to run on b1", lambda: vm.domain("b1") == "running", 60, every=0.5)
    ledger.wait_records(vm.lab, 20, 60)
    expect(node not in faults.dead(vm.lab), "the host was reset although its watchdog is broken")
    expect(vm.domain(HOME) not in ("absent", "unknown"), "the zombie is gone already: nothing was shown")
    net.heal(vm.lab)
    faults.KINDS["hostd-hung"][2](vm.lab, node)
    wait_for("the zombie to be gone", lambda: vm.domain(HOME) == "absent", 60, every=0.5)
    vm.in_sync()
    vm.runs_only_on("b1")
    faults.heal(vm.lab)


def test_helper_delayed():
    """Second lock delayed: the fence helper answers late. The guest stands still as long, and loses nothing."""
    vm = the_vm()
    node = vm.lab.node(HOME)
    faults.make(vm.lab, "fence-delayed", node)
    began = time.time()
    faults.make(vm.lab, "link-repl", node)
    # As the kernel says: the link is gone, and "s" is the guest's I/O that stands still.
    wait_for("the guest's I/O to stand still", lambda: re.search(r" cs:(?!Connected).* s[^ ]{5}$", faults.run_in(vm.lab, HOME, "cat", "/proc/drbd"), re.M),
             30, every=0.2)
    ledger.wait_records(vm.lab, 10, SLOWEST_SECONDS)
    gap, _ = longest_gap(reports_since(vm.lab, began), time.time())
    expect(gap >= faults.DELAY_SECONDS - 2, f"it went on after {gap:.1f} s, before the answer")
    expect(node not in faults.dead(vm.lab), "the host was reset")
    faults.heal(vm.lab)
    vm.in_sync()
    wait_for("the late helpers to end", lambda: not faults.run_in(vm.lab, HOME, "pgrep", "-f", f"[h]ostd-fence-peer|[s]leep {faults.DELAY_SECONDS}").strip(), 60)


def test_helper_killed():
    """The fence helper is killed: hostd makes the kernel ask again, and the guest goes on without the link."""
    _vm, row = trial("helper-killed")
    expect("acts" not in row, f"something was started: {row}")
    expect("note" not in row, f"it went on only with the link: {row}")
    expect(row["silence_s"] > 4.0, f"the helper was not killed: {row}")


def test_helper_gives_up():
    """The fence helper gives up while etcd is away, so that the kernel has got a no: with etcd back the guest goes on."""
    vm = the_vm()
    node, before = vm.lab.node(HOME), _noes(vm)
    for voter in vm.lab.voters:
        faults.make(vm.lab, "etcd-hung", voter)
    faults.make(vm.lab, "helper-gives-up", node)
    wait_for("the kernel to get its no", lambda: _noes(vm) > before, 60, every=0.5)
    expect(vm.stands_still(3), "records are confirmed by one leg while the record lists two")
    for voter in vm.lab.voters:
        faults.KINDS["etcd-hung"][2](vm.lab, voter)
    vm.records_go_on()
    expect("WFConnection" in faults.run_in(vm.lab, HOME, "cat", "/proc/drbd"), "the link is back: nothing was shown")
    faults.heal(vm.lab)
    vm.in_sync()


def _noes(vm):
    """How often the kernel got a no from its helper. Its own buffer is small, and forgets."""
    return faults.run_in(vm.lab, HOME, "journalctl", "-kq", "--no-pager", "-o", "cat").count("fence-peer helper broken, returned 1")


def test_disarmed():
    """Disarmed, a lost host's VM stays down and says why; a person's failover starts it, and armed is armed again."""
    vm = the_vm()
    vm.do("ha", "disarm")
    try:
        faults.make(vm.lab, "power-cut", vm.lab.node(HOME))
        wait_for("the VM to say why it stays down", lambda: "disarmed by" in vm.ask("why", NAME)["why"], 60, every=0.5)
        time.sleep(12)  # beyond the takeover time
        expect("disarmed by" in vm.ask("why", NAME)["why"] and vm.domain("b1") == "absent", f"it was started: {vm.ask('why', NAME)['why']}")
        vm.do("vm", "failover", NAME, "--host-is-off")
        vm.runs_only_on("b1")
    finally:
        vm.do("ha", "arm")
    faults.heal(vm.lab)
    vm.job.hosts_ready()
    vm.in_sync()


def test_maintenance():
    """Maintenance moves a host's VMs away live and keeps them away; its end moves nothing back."""
    vm = the_vm()
    vm.do("host", "maintenance", HOME, "on")
    try:
        wait_for("the VM to be on b1", lambda: vm.domain("b1") == "running" and vm.domain(HOME) == "absent", 120, every=0.5)
        wait_for("its migration to end", lambda: _says(vm, "running"), 60, every=0.5)
        said = vm.refused("vm", "failback", NAME)
        expect("maintenance" in said, said)
    finally:
        vm.do("host", "maintenance", HOME, "off")
    time.sleep(3)
    vm.runs_only_on("b1")


def test_api_under_attack():
    """10,000 clients who come to stay idle, slow heads, mute ones and wrk against the API of the host that runs the VM, while its QEMU is killed
    and then its replication link is cut: the lease is renewed in time, the operator is answered, the VM comes back as always."""
    vm = the_vm()
    began = sh(vm.lab, HOME, "date", "+@%s").strip()
    with UnderAttack(vm.lab, HOME) as attack:
        for kind in ("qemu-killed", "link-repl"):
            row = Trial(vm, kind).run()
            print(f"      {row}", flush=True)
            expect(row["human"] == "no" and not row["rebooted"], f"under attack a person is asked for, or a host was reset: {row}")
            if kind == "qemu-killed":
                acted(row, "vm-restart to a1: done")
    seen, quiet = attack.summary(), pace(vm.lab, "b1")
    print(f"      {seen}; b1: {quiet}", flush=True)
    expect(vm.where() == HOME, "the VM moved")
    expect(seen["idle"].get("shaken", 0) >= 1000 and seen["wrk"] > 100, f"nothing was attacked: {seen}")
    expect(not seen["failed"] and seen["operator"] >= 20, f"the operator was not served: {seen}")
    # A renewal counts for 1 s in this profile, and is made every 0.5 s. What b1, which nobody attacks, is late, the machine is.
    expect(seen["after"]["io_late_s"] - quiet["io_late_s"] < 0.5, f"the io thread was late: {seen}")
    expect(seen["after"]["lease_gap_s"] < max(1.5, quiet["lease_gap_s"]), f"a renewal of the lease was missed: {seen}")
    refused = {host.id: sh(vm.lab, host.id, "journalctl", "-u", "hostd", "--since", began, "-g", "lease not renewed", check=False)
               for host in vm.lab.hosts}
    expect("lease not renewed" not in refused[HOME] or "lease not renewed" in refused["b1"], refused[HOME])


def test_judged():
    """Across all of it no acknowledged record was lost, torn or doubled, and never two copies wrote."""
    vm = the_vm()
    print(f"      {vm.remove()}", flush=True)
    own.end(vm.lab.name)
    state.clear()


test_judged.once = True
main(globals(), tries=3)
