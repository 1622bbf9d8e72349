"""One fault beside a running guest: what happened, when, and whether a person was needed."""
import threading
import time

from . import faults, ledger
from .client_vm import NAME
from .proc import LabError, wait_for

SETTLE_SECONDS = 180   # from the healing to both legs in sync and nothing at work
SLOWEST_SECONDS = 60   # for a guest to be back while the fault stands
# Kinds after which the guest goes on by itself, or that end by themselves: watched for so long at least.
WATCH_SECONDS = 22
# Kinds that stop the guest where it is, so that it must start again somewhere while the fault stands.
STOPS = {"power-cut", "hang", "kernel-panic", "links-all", "qemu-killed"}


def reports_since(lab, wall):
    """Times (s since the epoch, on this machine) at which records came in, from `wall` on; the last one before comes first."""
    times = []
    with open(ledger.log_path(lab), encoding="ascii", errors="replace") as log:
        for line in log:
            if line.startswith("recv_mono") and "event=record" in line:
                times.append(int(line.split("recv_wall=")[1].split()[0]) / 1e9)
    before = [t for t in times if t < wall]
    return before[-1:] + [t for t in times if t >= wall]


def _ready(vm):
    try:
        vm.job.hosts_ready()
        return True
    except LabError:
        return False


def longest_gap(times, until):
    """(seconds, when it ended) of the longest silence; one that still lasts ends at `until`."""
    gaps = [(b - a, b) for a, b in zip(times, times[1:] + [until])]
    return max(gaps, default=(0.0, until))


def settle(vm):
    """Until nothing is at work, the VM runs on one host, both legs are in sync and its records go on."""
    wait_for("the hosts to answer", lambda: _ready(vm), SETTLE_SECONDS, every=1)

    def calm():
        try:
            return not any(op["state"] in ("running", "undoing") for op in vm.ask("op", "list"))
        except LabError:
            return False
    wait_for("every operation to have ended", calm, SETTLE_SECONDS, every=0.5)
    wait_for("the VM to run", lambda: vm.ask("vm", "show", NAME)["state"] == "running", SETTLE_SECONDS, every=0.5)
    vm.in_sync(SETTLE_SECONDS)
    vm.runs_only_on(vm.where())


class Firmware:
    """What real machines have: a host that ended by itself (its watchdog, most likely) is booted again after a moment."""

    def __init__(self, lab):
        self.lab, self.booted, self._end = lab, [], threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _run(self):
        while not self._end.wait(2):
            dead = faults.dead(self.lab)
            if dead and not self._end.wait(3):
                self.booted += faults.boot(self.lab, dead)


class Trial:
    """Makes one fault on the host that runs the VM, watches, heals, and brings the VM home."""

    def __init__(self, vm, kind):
        self.vm, self.lab, self.kind = vm, vm.lab, kind
        self.row = {"kind": kind}

    def run(self):
        vm, lab = self.vm, self.lab
        home = vm.where()
        vm.in_sync()
        known = {op["id"] for op in vm.ask("op", "list")}
        began = time.time()
        with Firmware(lab) as firmware:
            faults.make(lab, self.kind, lab.node(home))
            self._while_broken(began)
            healed = time.time()
            faults.heal(lab)
            settle(vm)
        self.row["rebooted"] = firmware.booted
        self.row["healed_s"] = round(time.time() - healed, 1)
        self._measure(began, known)
        return self.row

    def _while_broken(self, began):
        if self.kind not in STOPS:
            time.sleep(max(0.0, began + WATCH_SECONDS - time.time()))
        count = ledger.reports(self.lab)
        time.sleep(2)  # what was on its way
        count = max(count, ledger.reports(self.lab))
        try:
            wait_for("records again", lambda: ledger.reports(self.lab) >= count + 10, SLOWEST_SECONDS, every=0.2)
        except LabError:
            self.row["note"] = "no record while it was broken"

    def _measure(self, began, known):
        vm = self.vm
        new = [op for op in vm.ask("op", "list") if op["id"] not in known]
        acts = sorted((op for op in new if op["kind"] in ("vm-failover", "vm-restart")), key=lambda op: op["created_ms"])
        gap, end = longest_gap(reports_since(self.lab, began), time.time())
        self.row["silence_s"] = round(gap, 1)
        self.row["running_after_s"] = round(end - began, 1) if gap > 1 else 0.0
        if acts:
            self.row["decided_after_s"] = round(acts[0]["created_ms"] / 1000 - began, 1)
            seen = acts[0].get("result", {})
            self.row.update({name: seen[name] for name in ("absent_ms", "power_off_confirmed") if name in seen})
            self.row["acts"] = [f"{op['kind']} to {op['target_host']}: {op['state']}" for op in acts]
        stuck = [op for op in new if op["state"] == "needs-operator"]
        self.row["human"] = "; ".join(op["todo"] for op in stuck) or "no"


def bring_home(vm, home):
    """After a trial: the VM back on `home`, by a person's failback."""
    if vm.where() != home:
        vm.failback()
        vm.in_sync()
