"""What hostd costs on top of the parts it drives, in a lab of its own: migrations beside `virsh`, memory, idle work."""
import os
import pathlib
import re
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lab"))

from lablib import cluster, proc, remote, work  # noqa: E402
from lablib.case import sh  # noqa: E402
from lablib.client_vm import NAME, ClientVm  # noqa: E402
from lablib.ledger import log_path  # noqa: E402
from lablib.plan import Lab  # noqa: E402
from lablib.proc import LabError, wait_for  # noqa: E402

LAB = "bench"
RESOURCE = f"vm-{NAME}"
SETTLE = 3  # seconds of reports before and after a move, so that its gap is between reports
IDLE_SECONDS = 60


def say(text):
    print(f"  {text}", flush=True)


class LabOfOwn:
    """`with LabOfOwn() as lab`: booted, and taken down whatever happens."""

    def __enter__(self):
        self.lab = Lab(LAB)
        proc.mark(LAB)
        with cluster.locked(self.lab):
            work.up(self.lab, 2, lambda text: None, build=True)
        return self.lab

    def __exit__(self, *error):
        with cluster.locked(self.lab):
            cluster.down(self.lab)


# Migration.

def _longest_silence(lab, begin, end):
    """Milliseconds between two of the guest's reports, at most, from `begin` to `end` (seconds of the monotonic clock).

    The guest reports fifty times a second, so an undisturbed stretch shows 20."""
    times = []
    with open(log_path(lab), encoding="ascii") as log:
        for line in log:
            found = re.search(r"^recv_mono=(\d+)", line)
            if found and begin <= int(found.group(1)) / 1e9 <= end:
                times.append(int(found.group(1)) / 1e6)
    if len(times) < 10:
        raise LabError(f"{len(times)} reports around a migration: too few to judge it")
    return max(later - earlier for earlier, later in zip(times, times[1:]))


def _watched(vm, move):
    """Runs move() between two quiet stretches; (seconds that move() returned, longest silence in ms)."""
    time.sleep(SETTLE)
    begin = time.monotonic()
    seconds = move()
    vm.records_go_on()
    time.sleep(SETTLE)
    return seconds, _longest_silence(vm.lab, begin - SETTLE, time.monotonic())


def _by_virsh(lab, source, target):
    """The same flags as hostd's, without PAUSED: libvirt itself lets the guest run on arrival."""
    address = lab.node(target).address("repl")
    said = sh(lab, source, "bash", "-c", 'begin=$(date +%s%N); "$@" >&2 || exit; echo $(($(date +%s%N) - begin))', "-",
              "virsh", "migrate", "--live", "--p2p", "--tls", "--abort-on-error", "--auto-converge", "--tls-destination",
              target, "--listen-address", address, NAME, f"qemu+tls://{target}/system", f"tcp://{address}", timeout=240)
    return int(said) / 1e9


def _by_hostd(vm, target):
    ident = vm.start_operation("vm", "migrate", NAME, "--to", target)
    seen = vm.ended(ident)
    if seen["state"] != "done":
        raise LabError(f"the migration ended {seen['state']}: {seen['error']}")
    for step in seen["steps"]:
        vm.parts.setdefault(step["kind"], []).append(step["took_ms"])
    return (seen["finished_ms"] - seen["created_ms"]) / 1000


def _without_hostd(lab):
    """Both legs Primary by hand, nobody but virsh at work."""
    for host in ("a1", "b1"):
        sh(lab, host, "systemctl", "stop", "hostd")
        sh(lab, host, "drbdsetup", "net-options", *_peers(lab, host), "--allow-two-primaries=yes")
    for host in ("a1", "b1"):
        wait_for("both legs Primary", lambda h=host: remote.execute(lab, lab.node(h), ["drbdadm", "primary", RESOURCE],
                                                                     check=False).returncode == 0, 20)


def _with_hostd(lab, holder):
    for host in ("a1", "b1"):
        if host != holder:
            sh(lab, host, "drbdadm", "secondary", RESOURCE)
    for host in ("a1", "b1"):
        sh(lab, host, "drbdsetup", "net-options", *_peers(lab, host), "--allow-two-primaries=no")
        sh(lab, host, "systemctl", "start", "hostd")


def _peers(lab, host):
    """DRBD 8.4 names a connection by its two addresses: read them from its own list."""
    said = sh(lab, host, "drbdsetup", "show", RESOURCE)
    ends = re.findall(r"address\s+ipv4\s+([0-9.:]+);", said)
    if len(ends) != 2:
        raise LabError(f"{host}: two addresses expected in\n{said}")
    mine = next(end for end in ends if end.startswith(lab.node(host).address("repl") + ":"))
    return f"ipv4:{mine}", f"ipv4:{next(end for end in ends if end != mine)}"


def migration(vm, rounds):
    """There and back, by virsh and by hostd in turn, so that both meet the same machine."""
    for target in ("b1", "a1"):
        _by_hostd(vm, target)  # the first QEMU of a host takes twice as long: its files come from the disk
    virsh, hostd = [], []
    vm.parts.clear()
    for number in range(rounds):
        _without_hostd(vm.lab)
        for source, target in (("a1", "b1"), ("b1", "a1")):
            virsh.append(_watched(vm, lambda s=source, t=target: _by_virsh(vm.lab, s, t)))
        _with_hostd(vm.lab, "a1")
        vm.job.hosts_ready()
        vm.in_sync()
        wait_for("hostd to know the VM again", lambda: vm.ask("vm", "show", NAME)["state"] == "running", 60)
        for target in ("b1", "a1"):
            hostd.append(_watched(vm, lambda t=target: _by_hostd(vm, t)))
        say(f"round {number + 1} of {rounds}: seconds and ms of silence, virsh {_pairs(virsh[-2:])}; hostd {_pairs(hostd[-2:])}")
    seconds = [statistics.median(move[0] for move in moves) for moves in (virsh, hostd)]
    silence = [statistics.median(move[1] for move in moves) for moves in (virsh, hostd)]
    return {"moves_each": 2 * rounds, "virsh_seconds": seconds[0], "hostd_seconds": seconds[1],
            "total_ratio": seconds[1] / seconds[0], "virsh_silence_ms": silence[0], "hostd_silence_ms": silence[1],
            "more_silence_ms": silence[1] - silence[0],
            "steps_ms": {kind: statistics.median(took) for kind, took in vm.parts.items()}}


def _pairs(moves):
    return ", ".join(f"{seconds:.1f} s {silence:.0f} ms" for seconds, silence in moves)


# Size.

SMALL_VM = """kind: vm
name: {name}
project: bench
cpus: 1
memory_mib: 128
hosts: {{nominal: {nominal}, peer: {peer}}}
power: off
volumes:
  - {{name: system, size_mib: 8}}
networks:
  - {{network: clients, mac: "52:54:00:ba:5d:{number:02x}"}}
"""


def _define(vm, first, last):
    """VMs first..last-1, switched off, with a replicated volume each; four at work at a time."""
    waiting = []
    for number in range(first, last):
        name = f"idle-{number:03}"
        sides = ("a1", "b1") if number % 2 else ("b1", "a1")
        path = vm.lab.run / f"{name}.yaml"
        path.write_text(SMALL_VM.format(name=name, number=number, nominal=sides[0], peer=sides[1]))
        waiting.append(vm.start_operation("apply", "-f", str(path)))
        if len(waiting) >= 4:
            _done(vm, waiting.pop(0))
    for ident in waiting:
        _done(vm, ident)


def _done(vm, ident):
    seen = vm.ended(ident)
    if seen["state"] != "done":
        raise LabError(f"a VM could not be defined: {seen['error']}")


def _idle(lab, host):
    """One minute of hostd at rest: resident KiB, CPU in ms, times it woke."""
    pid = sh(lab, host, "systemctl", "show", "-P", "MainPID", "hostd").strip()

    def look():
        woke = 0
        for line in sh(lab, host, "bash", "-c", f"cat /proc/{pid}/task/*/status").splitlines():
            woke += int(line.split()[1]) if line.startswith("voluntary_ctxt_switches") else 0
        stat = sh(lab, host, "cat", f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
        return woke, (int(stat[11]) + int(stat[12])) * 1000 // os.sysconf("SC_CLK_TCK")
    before = look()
    time.sleep(IDLE_SECONDS)
    after = look()
    status = sh(lab, host, "cat", f"/proc/{pid}/status")
    resident = int(re.search(r"VmRSS:\s+(\d+)", status).group(1))
    return {"resident_kib": resident, "cpu_ms": after[1] - before[1], "woke": after[0] - before[0]}


def size(vm, few, many):
    """hostd's memory and its idle minute with few and with many VMs; the larger of the two hosts counts."""
    out = {"few": few, "many": many}
    for label, first, last in (("few", 0, few), ("many", few, many)):
        _define(vm, first, last)
        say(f"{last} VMs are defined")
        time.sleep(10)  # what the last of them left to do
        seen = [_idle(vm.lab, node.id) for node in vm.lab.hosts]
        for key in seen[0]:
            out[f"{key}_{label}"] = max(host[key] for host in seen)
        say(f"{last} VMs: {out[f'resident_kib_{label}'] / 1024:.1f} MiB, in a minute {out[f'cpu_ms_{label}']} ms of CPU, "
            f"woke {out[f'woke_{label}']} times")
    out["woke_ratio"] = out["woke_many"] / max(out["woke_few"], 1)
    return out


def measure(rounds, few, many):
    """many = 0: migration alone."""
    with LabOfOwn() as lab:
        vm = ClientVm(lab)
        vm.parts = {}  # the steps of hostd's migrations, ms
        vm.prepare()
        moved = migration(vm, rounds)
        vm.remove()
        return {"migration": moved, **({"size": size(vm, few, many)} if many else {})}
