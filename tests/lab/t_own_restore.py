#!/usr/bin/python3
"""All of etcd is lost, on real kernels: a client's VM that wrote alone when it happened comes back from a backup of the cell and from
its legs, and the judge reads every record that it ever acknowledged. On a lab that is up already: LAB_NAME=x tests/lab/t_own_restore.py"""
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lablib import cluster, faults, ledger, own, remote  # noqa: E402
from lablib.case import expect, main, sh  # noqa: E402
from lablib.client_vm import NAME, ClientVm  # noqa: E402
from lablib.proc import wait_for  # noqa: E402

HOSTD = "/usr/sbin/hostd"
state = {}


def the_vm():
    """The lab of this file, booted for its first scenario; its VM on a1, in sync."""
    if "vm" not in state:
        state["vm"] = ClientVm(own.boot("own-restore"))
        state["vm"].prepare()
        state["vm"].in_sync()
    return state["vm"]


def fails(lab, host, *command):
    """What a command says that must not succeed."""
    done = remote.execute(lab, lab.node(host), list(command), check=False, timeout=60)
    expect(done.returncode != 0, f"{' '.join(command)} on {host}: {done.stdout}")
    return done.stdout + done.stderr


def lose_etcd(lab):
    for node in lab.voters:
        sh(lab, node.id, "sh", "-c", "systemctl stop etcd; rm -rf /var/lib/etcd/default")


def new_etcd(lab):
    for node in lab.voters:
        sh(lab, node.id, "sed", "-i", "s/^ETCD_INITIAL_CLUSTER_TOKEN=.*/ETCD_INITIAL_CLUSTER_TOKEN=anew/", "/etc/default/etcd")
        sh(lab, node.id, "systemctl", "start", "--no-block", "etcd")
    wait_for("the new etcd to be healthy", lambda: cluster.etcd_healthy(lab), 120, every=0.5)


def keys(lab):
    return sh(lab, "w", "sh", "-c", ". /etc/profile.d/lab.sh; etcdctl get --prefix /bascule/ --keys-only")


def test_back_from_a_backup():
    """A VM that wrote without its other leg when all of etcd was lost is restored, adopted and started; nothing acknowledged is lost."""
    vm = the_vm()
    lab = vm.lab
    file = str(lab.run / "cell.json")
    vm.job.hostctl(["cell", "backup", file])
    before = vm.ask("vm", "show", NAME)

    faults.make(lab, "link-repl", lab.node("a1"))
    wait_for("a1 to go on alone", lambda: [leg["host"] for leg in vm.ask("vm", "show", NAME)["right"]["insync"]["system"]] == ["a1"], 60, every=0.5)
    epoch = vm.ask("vm", "show", NAME)["right"]["epoch"]
    vm.records_go_on()
    lose_etcd(lab)
    vm.records_go_on()  # without etcd, without its other leg
    expect("hostd runs on this host" in fails(lab, "a1", HOSTD, "--new-cluster"), "hostd runs, and that is not seen")
    sh(lab, "a1", "virsh", "destroy", NAME)
    wait_for("hostd to let go of the legs", lambda: "ro:Secondary" in sh(lab, "a1", "cat", "/proc/drbd"), 60, every=0.5)
    for host in ("a1", "b1"):
        sh(lab, host, "systemctl", "stop", "hostd")

    new_etcd(lab)
    sh(lab, "a1", "systemctl", "start", "hostd")
    time.sleep(8)
    expect(not keys(lab).strip(), "a host has joined a cluster that it does not know: " + keys(lab))
    sh(lab, "a1", "systemctl", "stop", "hostd")
    for host in ("a1", "b1"):
        said = sh(lab, host, HOSTD, "--new-cluster")
        expect("is forgotten" in said, said)
        sh(lab, host, "systemctl", "start", "hostd")
    vm.job.hosts_ready()

    drbd = {host: sh(lab, host, "cat", "/proc/drbd") for host in ("a1", "b1")}
    expect("would restore 1 VMs" in vm.job.hostctl(["cell", "restore", file, "--reason", "scenario", "--dry-run"]), "no dry run")
    expect(vm.ask("vm", "list") == [], "a dry run has written something")
    vm.job.hostctl(["cell", "restore", file, "--reason", "scenario"])
    vm.job.hostctl(["cell", "restore", file, "--reason", "scenario"])  # changes nothing
    shown = vm.ask("vm", "show", NAME)
    expect((shown["power"], "right" in shown, shown["volumes"]) == ("off", False, before["volumes"]), shown)
    expect("vm adopt" in vm.ask("why", NAME)["why"], vm.ask("why", NAME))
    expect("no run-right" in vm.refused("vm", "start", NAME), "it may be started without a record")
    time.sleep(8)
    for host in ("a1", "b1"):
        expect(vm.domain(host) == "absent", f"a guest is on {host}")
        expect([line.split()[1:4] for line in sh(lab, host, "cat", "/proc/drbd").splitlines() if " cs:" in line] ==
               [line.split()[1:4] for line in drbd[host].splitlines() if " cs:" in line], f"the legs on {host} were touched")

    said = vm.refused("vm", "adopt", NAME, "--host", "b1", watch=True)
    expect("older" in said and "adopt it on a1" in said, said)
    operation = vm.start_operation("vm", "adopt", NAME, "--host", "a1")
    vm.until_step(operation, "await-approval")
    result = vm.operation(operation)["result"]
    expect("held the run-right" in result["leg_a1"] and "generation" in result["leg_b1"], result)
    expect(result["compared"] == "system: the leg on a1 is newer than the one on b1", result)
    expect("second operator" in vm.refused("op", "approve", operation), "one person is enough")
    expect("right" not in vm.ask("vm", "show", NAME), "it has a record before anybody approved")
    vm.job.hostctl(["op", "approve", operation, "--reason", "looked at both"], user="operator2")
    ended = vm.ended(operation)
    expect(ended["state"] == "done", ended)
    right = vm.ask("vm", "show", NAME)["right"]
    expect(right["host"] == "a1" and right["epoch"] > epoch and [leg["host"] for leg in right["insync"]["system"]] == ["a1"], right)

    vm.do("vm", "start", NAME)
    vm.runs_only_on("a1")
    faults.heal(lab)
    vm.in_sync()
    vm.do("vm", "migrate", NAME)
    vm.runs_only_on("b1")
    expect("the chain is whole" in vm.job.hostctl(["audit", "verify"]), "the chain")
    print(f"      {json.dumps(result)}", flush=True)


def test_judged():
    """Every record that the guest ever acknowledged is on both legs."""
    vm = the_vm()
    for host in ("a1", "b1"):
        kept = sh(vm.lab, host, "sh", "-c", "lvs --noheadings -o lv_name vg0 | tr -d ' ' | grep -e '-repair$'").split()
        expect(len(kept) == 1, f"{host} keeps {kept}")
        sh(vm.lab, host, "lvremove", "-f", f"vg0/{kept[0]}")
    vm.do("vm", "stop", NAME)
    ledger.stop_collector(vm.collector)
    print(f"      {vm.job.judge(NAME, 'system')}", flush=True)
    vm.do("vm", "remove", NAME)


def test_nothing_is_left():
    """The lab is taken down again."""
    vm = the_vm()
    own.end(vm.lab.name)
    state.clear()


main(globals())
