#!/usr/bin/python3
"""What is not replicated all the time, on real kernels: a VM with one leg, a cold copy and its start by a person, the repair
of the split brain that follows, and a watchdog that is made to fire. On a lab that is up already:
LAB_NAME=x tests/lab/t_own_care.py"""
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lablib import demo, faults, net, own  # noqa: E402
from lablib.case import expect, main  # noqa: E402
from lablib.proc import LabError, wait_for  # noqa: E402

OPERATION_SECONDS = 180
MAC = "52:54:00:0c:a7:e5"
FIRST, SECOND, THIRD = "A" * 4096, "B" * 4096, "C" * 4096

state = {}


def the_lab():
    """The lab of this file, booted for its first scenario. Its pool is thin, as a lab's always is: the snapshots of a thick one
    need dm-snapshot, which the lab's kernel does not have."""
    if "lab" not in state:
        state["lab"] = lab = own.boot("own-care")
        demo.Demo(lab).hosts_ready()
    return state["lab"]


class Cell:
    """hostctl for one VM; its guest is a machine without a system: only its volume matters."""

    def __init__(self, lab, vm):
        self.lab, self.vm, self.job = lab, vm, demo.Demo(lab)

    def ask(self, *words):
        return json.loads(self.job.hostctl(["--json", *words]))

    def do(self, *words, user="operator"):
        """A change, followed to its end: the operation. LabError when it does not end done."""
        self.job.hostctl([*words, "--reason", "scenario", "--watch"], OPERATION_SECONDS, user)

    def refused(self, *words, user="operator", watch=False):
        try:
            said = self.job.hostctl([*words, "--reason", "scenario", *(["--watch"] if watch else [])], OPERATION_SECONDS, user)
        except LabError as err:
            return str(err)
        raise LabError(f"{' '.join(words)}: was accepted: {said}")

    def apply(self, **fields):
        definition = {"kind": "vm", "name": self.vm, "project": "demo", "memory_mib": 64, "power": "on",
                      "hosts": {"nominal": "a1", "peer": "b1"}, "volumes": [{"name": "data", "size_mib": 32}], "networks": [{"network": "clients", "mac": MAC}], **fields}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(definition, file)
            file.flush()
            self.do("apply", "-f", file.name)

    def show(self):
        return self.ask("vm", "show", self.vm)

    def run(self, host, script):
        return faults.run_in(self.lab, host, "sh", "-c", script)

    def write(self, host, text):
        """Into the first block of the replicated volume, as the guest there would."""
        self.run(host, f"printf %s {text} | dd of=/dev/drbd$(drbdadm sh-minor vm-{self.vm}) bs=4096 count=1 oflag=direct conv=notrunc,fsync")

    def leg(self, host, end=""):
        """The first block of the backing device, or of a snapshot of it."""
        return self.run(host, f"lv=$(lvs --noheadings -o lv_name vg0 | tr -d ' ' | grep -E '^bascule-{self.vm}-data-[a-z0-9]+{end}$'); "
                              "lvchange --yes -K -ay vg0/$lv; dd if=/dev/vg0/$lv bs=4096 count=1 iflag=direct 2>/dev/null")

    def running_on(self, host):
        wait_for(f"{self.vm} to run on {host}",
                 lambda: self.show()["state"] == "running" and self.show()["host"] == host, 60, every=0.5)

    def at(self, operation):
        """The step that it is at."""
        return next((step["kind"] for step in self.ask("op", "show", operation)["steps"] if step["state"] == "pending"), "")

    def announced_on(self, host):
        """The switch between the clients and the hosts has learnt where the VM is; its guest never says a word."""
        tap = self.lab.node(host).tap("client")
        wait_for(f"its address to be known behind {host}", lambda: f"{MAC} dev {tap}" in net.addresses(self.lab), 60)

    def remove(self):
        self.do("vm", "off", self.vm)
        self.do("vm", "remove", self.vm)


def cell_of(vm):
    """The cell for one VM, without what an earlier try of its scenario left."""
    lab = the_lab()
    faults.heal(lab)
    faults.boot(lab, faults.dead(lab))
    cell = Cell(lab, vm)
    cell.job.hosts_ready()
    if any(known["name"] == vm for known in cell.ask("vm", "list")):
        cell.remove()
    return cell


def test_one_leg():
    """Protection none: one leg, on the VM's own host, and nothing of it on the other."""
    cell = cell_of("single")
    cell.apply(protection="none")
    cell.running_on("a1")
    cell.announced_on("a1")
    cell.write("a1", FIRST)
    expect(cell.leg("a1") == FIRST, "the volume is not written")
    expect("bascule-single" not in cell.run("b1", "lvs --noheadings -o lv_name vg0"), "there is a leg on b1")
    expect("one leg" in cell.ask("why", "single")["why"], cell.ask("why", "single"))
    said = cell.refused("vm", "migrate", "single", "--to", "b1")
    expect("in sync" in said, said)
    cell.do("vm", "off", "single")
    cell.do("vm", "start", "single")
    expect(cell.leg("a1") == FIRST, "the volume has lost its content over a stop")
    cell.remove()


def test_cold_copy():
    """Protection backup: the copy is made by the calendar and by hand; after the loss of the host a person starts it, naming
    what is given up; that host comes back, its newer data is kept; repaired only once a second operator approves."""
    lab, cell = the_lab(), cell_of("cold")
    for _ in range(3):
        cell.apply(protection="backup", copy_at=["02:30"])
        cell.running_on("a1")
        copy = wait_for("the first copy to end", lambda: cell.show().get("last", {}).get("vm-copy"), 90, every=1)
        if copy["good"]:
            break
        print(f"      the first copy has failed: {copy}", flush=True)
        cell.remove()
    expect(copy["good"], f"the first copy always fails: {copy}")
    cell.write("a1", FIRST)
    expect(cell.leg("b1") != FIRST, "the copy follows every write")
    cell.do("vm", "copy", "cold")
    expect(cell.leg("b1") == FIRST, "the copy does not hold what was written before it")
    cell.write("a1", SECOND)
    expect(cell.leg("b1") == FIRST, "the copy follows every write")
    wait_for("the link to be closed", lambda: all(s["connection"] == "StandAlone" for s in cell.show()["status"].values()), 60)

    faults.make(lab, "power-cut", lab.node("a1"))
    wait_for("a1 to be seen as silent", lambda: "--sacrifice a1" in cell.ask("why", "cold")["why"], 60, every=1)
    said = cell.refused("vm", "failover", "cold", "--host-is-off")
    expect("--sacrifice a1" in said, said)
    said = cell.refused("vm", "failover", "cold", "--sacrifice", "a1")
    expect("power must be confirmed off" in said, said)
    cell.do("vm", "failover", "cold", "--host-is-off", "--sacrifice", "a1")
    cell.running_on("b1")
    cell.announced_on("b1")
    expect(cell.leg("b1") == FIRST, "it does not run on the copy")
    cell.write("b1", THIRD)
    faults.heal(lab)
    cell.job.hosts_ready()
    cell.running_on("b1")
    expect(cell.leg("a1") == SECOND, "the data that was given up is not kept")

    said = cell.refused("vm", "copy", "cold", watch=True)
    expect("volume repair cold" in said, said)
    operation = cell.ask("volume", "repair", "cold", "--reason", "scenario")["operation"]
    wait_for("it to wait for approval", lambda: cell.at(operation) == "await-approval", 90, every=1)
    shown = cell.ask("op", "show", operation)["result"]
    expect("KiB written since the legs parted" in shown["leg_a1"] and "generation" in shown["leg_b1"], shown)
    expect(cell.leg("a1") == SECOND, "a leg was changed before anybody approved")
    said = cell.refused("op", "approve", operation)
    expect("second operator" in said, said)
    cell.job.hostctl(["op", "approve", operation, "--reason", "looked at both"], user="operator2")
    cell.job.hostctl(["op", "follow", operation], OPERATION_SECONDS)
    expect(cell.leg("a1") == THIRD, "the legs are not equal after the repair")
    expect(cell.leg("a1", "-repair") == SECOND and cell.leg("b1", "-repair") == THIRD, "what the legs held is not kept")
    cell.running_on("b1")
    cell.remove()
    for host in ("a1", "b1"):
        expect("bascule-cold" not in cell.run(host, "lvs --noheadings -o lv_name vg0"), f"something is left on {host}")


def test_compared_by_the_calendar():
    """A verify begins by the calendar; the leg that differs leaves the record, is resynced by a person's disconnect, and is back."""
    cell = cell_of("equal")
    cell.apply()
    cell.running_on("a1")
    cell.write("a1", FIRST)
    wait_for("both legs to be in sync", lambda: cell.show()["protected"], 60, every=0.5)
    cell.run("b1", f"printf %s {SECOND} | dd of=/dev/vg0/$(lvs --noheadings -o lv_name vg0 | tr -d ' ' | grep ^bascule-equal-data) bs=4096 count=1 "
                   "oflag=direct conv=notrunc")
    expect(cell.leg("b1") == SECOND, "the leg was not changed below DRBD")
    cell.run("a1", "printf '[verify]\\nat = \"%s\"\\n' $(date -u +%H:%M) >>/etc/bascule/hostd.toml; systemctl restart hostd")
    try:
        cell.job.hosts_ready()
        cell.running_on("a1")
        wait_for("a verify with its verdict", lambda: "volume-verify.data" in cell.show().get("last", {}), 150, every=0.5)
        found = cell.show()["last"]["volume-verify.data"]
        expect(not found["good"] and "4 KiB differ" in found["text"], found)
        wait_for("the other leg to be out of the record", lambda: [leg["host"] for leg in cell.show()["right"]["insync"]["data"]] == ["a1"], 30, every=0.5)
        cell.run("a1", "drbdadm disconnect vm-equal")
        wait_for("both legs to be in sync again", lambda: cell.show()["protected"], 60, every=0.5)
        expect(cell.leg("b1") == FIRST, "the leg was not resynced")
        cell.do("volume", "verify", "equal/data")
        expect(cell.show()["last"]["volume-verify.data"]["good"], cell.show()["last"])
    finally:
        cell.run("a1", "sed -i '/^.verify.$/,$d' /etc/bascule/hostd.toml; systemctl restart hostd")
        cell.job.hosts_ready()
    cell.remove()


def test_watchdog_is_proved():
    """`watchdog prove` lets the watchdog of an idle host fire and says how long it took."""
    lab, cell = the_lab(), cell_of("nobody")
    said = cell.refused("watchdog", "prove", "b1")
    expect("not in maintenance" in said, said)
    cell.do("host", "maintenance", "b1", "on")
    try:
        cell.do("watchdog", "prove", "b1")
        shown = next(op for op in cell.ask("op", "list") if op["kind"] == "watchdog-prove")
        took = int(shown["result"]["fired_after_ms"])
        print(f"      {shown['steps'][0]['note']}", flush=True)
        expect(1000 < took < 30_000, f"fired after {took} ms")
    finally:
        faults.boot(lab, faults.dead(lab))
        cell.job.hosts_ready()
        cell.do("host", "maintenance", "b1", "off")


def test_nothing_is_left():
    """The lab is taken down again."""
    lab = the_lab()
    own.end(lab.name)
    state.clear()


test_nothing_is_left.once = True
main(globals(), tries=3)
