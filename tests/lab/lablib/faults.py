"""Faults of every kind, made on real kernels and healed again. What is broken is remembered in the lab's state file, so
that `heal` mends all of it, also what an interrupted command left.

What is done inside a host ends with its reboot. A broken disk and a broken watchdog stay broken: they are also said on the
kernel's command line of its next boot."""
import contextlib
import os
import signal
import time

from . import cluster, net, remote, uml
from .proc import LabError, group_members, run, wait_for

HOSTD, LIBVIRTD, ETCD = "hostd", "libvirtd", "etcd"
START_SECONDS = 30  # for a unit that systemd starts again
DELAY_SECONDS = 12  # of a delayed fence helper: beyond the takeover time of the fast profile
PATIENCE_SECONDS = 3  # of a fence helper that gives up
HELPER = "/usr/libexec/bascule/hostd-fence-peer"
NETEM = {"loss-20": "loss 20%", "delay-100": "delay 100ms"}
QUOTA = "/run/systemd/system/etcd.service.d"
SLOW = "while :; do kill -STOP $(pidof etcd); sleep 0.35; kill -CONT $(pidof etcd); sleep 0.25; done"


def _sh(lab, node, script, check=True, timeout=60):
    return remote.execute(lab, node, ["sh", "-c", script], check=check, timeout=timeout, stdin=None).stdout


def _signal(lab, node, unit, name):
    """To the unit's main process alone: libvirtd's unit has children that are not to be hit. One that is just being started
    again is waited for; one that is not there needs no SIGCONT."""
    def sent():
        done = remote.execute(lab, node, ["systemctl", "kill", "--kill-whom=main", "-s", name, unit], check=False)
        return done.returncode == 0 or name == "CONT"
    wait_for(f"{unit} on {node.id} to run", sent, START_SECONDS)


def _kill_guests(lab, node):
    if remote.execute(lab, node, ["pkill", "-KILL", "qemu-system"], check=False).returncode != 0:
        raise LabError(f"no guest runs on {node.id}")


def _freeze(lab, node, go_on):
    """The whole machine stands still: its main process and the children that are not stopped by ptrace anyway."""
    main = uml.pid_of(lab, node)
    if main is None:
        return
    held = node.dir / "frozen"
    if go_on:
        pids = [int(word) for word in held.read_text().split()] if held.exists() else []
        held.unlink(missing_ok=True)
    else:
        pids = [pid for pid in group_members(main) if pid == main or _state(pid) != "t"]
        held.write_text(" ".join(map(str, pids)))
    for pid in pids:
        if uml.in_node(pid, node):  # the list may be of a kernel that is gone
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT if go_on else signal.SIGSTOP)


def _state(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _power_off(lab, node):
    remote.drop(lab, node)
    uml.power_off(lab, node)


def power_on(lab, node):
    if not uml.is_on(lab, node):
        remote.drop(lab, node)
        (node.dir / "frozen").unlink(missing_ok=True)
    cluster.power(lab, node, True)


def _power_cycle(lab, node):
    _power_off(lab, node)
    power_on(lab, node)


def _panic(lab, node):
    """A machine that stays where its panic left it, with its power on: only its power switch or a person ends that."""
    uml.will_stick(node)
    with contextlib.suppress(LabError):
        remote.execute(lab, node, ["sh", "-c", "echo c >/proc/sysrq-trigger"], check=False, timeout=5)
    remote.drop(lab, node)
    wait_for(f"{node.id} to have ended", lambda: not uml.is_on(lab, node), 20)


def _disk(kind):
    """The device below the volume group gets another table, live, and at each boot until it is mended."""
    def do(lab, node):
        uml.boot_words(node, {"labdisk": kind})
        _sh(lab, node, f"/usr/local/lib/lab-disk {kind}")
    return do


def _mend_disk(lab, node):
    """A good disk again. A thin pool or a file system that has given up, or never came up, needs a reboot, as a real one."""
    uml.boot_words(node, {"labdisk": None})
    _sh(lab, node, "/usr/local/lib/lab-disk linear")
    if _sh(lab, node, "/usr/local/lib/lab-disk health", check=False).strip() != "good":
        _power_cycle(lab, node)


def _netem(lab, node):
    """All that is wrong with what the host sends: an interface has one such rule."""
    how = [NETEM[kind] for kind, host in lab.faults if host == node.id and kind in NETEM]
    for iface in ("vec0", "vec1"):
        _sh(lab, node, f"tc qdisc replace dev {iface} root netem {' '.join(how)}")


def _no_netem(lab, node):
    for iface in ("vec0", "vec1"):
        _sh(lab, node, f"tc qdisc del dev {iface} root", check=False)


def _witness(lab):
    return lab.nodes["w"]


def _cut(*links):
    def do(lab, node):
        for link in links:
            net.cut(lab, node, link)
    return do


def _witness_off(lab, _node):
    _power_off(lab, _witness(lab))


def _witness_and_link(lab, node):
    _witness_off(lab, node)
    net.cut(lab, node, "repl")


def _softdog(broken):
    """Its module with another option. It has no knob at run time, and once started it cannot be unloaded."""
    def do(lab, node):
        uml.boot_words(node, {"softdog.soft_noboot": "1" if broken else None})
        _power_cycle(lab, node)
    return do


def _clock(seconds):
    """The machine's clock, relative to this machine's."""
    return lambda lab, node: _sh(lab, node, f"date -s @{time.time() + seconds:.3f} >/dev/null")


def _etcd_quota(lab, node):
    """Not a full file system: a quota of one byte, so that the next write raises etcd's own alarm NOSPACE. The alarm is the
    whole cluster's: every member refuses every write until it is disarmed."""
    _sh(lab, node, f"""set -e; . /etc/profile.d/lab.sh; mkdir -p {QUOTA}
      printf '[Service]\nEnvironment=ETCD_QUOTA_BACKEND_BYTES=1\n' >{QUOTA}/lab-quota.conf
      systemctl daemon-reload; systemctl restart etcd""", timeout=120)
    wait_for("the alarm NOSPACE", lambda: "NOSPACE" in _sh(lab, node, """. /etc/profile.d/lab.sh
      etcdctl put lab-quota 1; etcdctl alarm list""", check=False), 60)


def _etcd_no_quota(lab, node):
    _sh(lab, node, f"rm -f {QUOTA}/lab-quota.conf; systemctl daemon-reload; systemctl restart etcd", timeout=120)
    wait_for("the alarm to be disarmed", lambda: remote.execute(lab, node, ["sh", "-c", """. /etc/profile.d/lab.sh
      etcdctl alarm disarm && test -z "$(etcdctl alarm list)" && etcdctl del lab-quota"""], check=False).returncode == 0, 60)


def _delay_helper(lab, node):
    _sh(lab, node, f"""rm -f {HELPER}; printf '#!/bin/sh\\nsleep {DELAY_SECONDS}\\nexec /opt/bascule/bin/hostd-fence-peer "$@"\\n' >{HELPER}
      chmod 0755 {HELPER}""")


def _link_and_helper(act):
    """The replication link is cut, and the first helper that asks about it comes to `act`; later ones are good."""
    def do(lab, node):
        _sh(lab, node, f"""rm -f {HELPER} /run/lab-helper
          printf '#!/bin/sh\\nmkdir /run/lab-helper 2>/dev/null && {act}\\nexec /opt/bascule/bin/hostd-fence-peer "$@"\\n' >{HELPER}
          chmod 0755 {HELPER}""")
        net.cut(lab, node, "repl")
    return do


def _good_helper(lab, node):
    _sh(lab, node, f"ln -sfn /opt/bascule/bin/hostd-fence-peer {HELPER}; rm -rf /run/lab-helper")


def _nothing(_lab, _node):
    return


def _stop_pulses(lab, node):
    _sh(lab, node, "systemctl stop lab-slow-etcd; kill -CONT $(pidof etcd)", check=False)


BOOT_WORDS = ("labdisk", "softdog.soft_noboot")
ON_WITNESS = ("power-cut", "hang", "kernel-panic", "link-mgmt", "clock-jump")
STAYS_DEAD = ("power-cut", "kernel-panic", "witness-lost", "witness-and-link")  # until heal boots it
WITHOUT_HOST = ("hang", "site-fibre", "power-silent", "power-refuses")          # healed from outside


# kind: (what it is, how it is made, how it is healed)
KINDS = {
    "power-cut": ("the host's power is gone; heal boots it", _power_off, power_on),
    "hang": ("the whole machine stands still; heal wakes it", lambda lab, n: _freeze(lab, n, False), lambda lab, n: _wake(lab, n)),
    "kernel-panic": ("its kernel panics and does not come back; heal boots it", _panic, power_on),
    "hostd-killed": ("hostd gets SIGKILL; systemd starts it again", lambda lab, n: _signal(lab, n, HOSTD, "KILL"), _nothing),
    "hostd-hung": ("hostd stands still", lambda lab, n: _signal(lab, n, HOSTD, "STOP"), lambda lab, n: _signal(lab, n, HOSTD, "CONT")),
    "libvirtd-killed": ("libvirtd gets SIGKILL; systemd starts it again", lambda lab, n: _signal(lab, n, LIBVIRTD, "KILL"), _nothing),
    "libvirtd-hung": ("libvirtd stands still", lambda lab, n: _signal(lab, n, LIBVIRTD, "STOP"), lambda lab, n: _signal(lab, n, LIBVIRTD, "CONT")),
    "qemu-killed": ("every guest's QEMU gets SIGKILL", _kill_guests, _nothing),
    "link-repl": ("its replication link is cut", _cut("repl"), _nothing),
    "link-mgmt": ("its management link is cut: etcd, API, libvirt", _cut("mgmt"), _nothing),
    "link-client": ("its clients' link is cut", _cut("client"), _nothing),
    "links-all": ("all its links are cut", _cut("mgmt", "repl", "client"), _nothing),
    "site-fibre": ("the sites do not reach each other, on management and replication; both reach the witness",
                   lambda lab, _n: net.part(lab, True), lambda lab, _n: net.part(lab, False)),
    "witness-lost": ("the witness' power is gone", _witness_off, lambda lab, _n: power_on(lab, _witness(lab))),
    "witness-and-link": ("the witness' power is gone and the host's replication link cut", _witness_and_link,
                         lambda lab, _n: power_on(lab, _witness(lab))),
    "etcd-killed": ("its etcd member gets SIGKILL; systemd starts it again", lambda lab, n: _signal(lab, n, ETCD, "KILL"), _nothing),
    "etcd-hung": ("its etcd member stands still", lambda lab, n: _signal(lab, n, ETCD, "STOP"), lambda lab, n: _signal(lab, n, ETCD, "CONT")),
    "etcd-slow": ("its etcd member stands still 0.35 s in every 0.6 s, as over a bad disk",
                  lambda lab, n: _sh(lab, n, f"systemctl -q is-active lab-slow-etcd || systemd-run -q --unit lab-slow-etcd sh -c '{SLOW}'"), _stop_pulses),
    "etcd-stopped": ("its etcd member is stopped", lambda lab, n: _sh(lab, n, f"systemctl stop {ETCD}"),
                     lambda lab, n: _sh(lab, n, f"systemctl start --no-block {ETCD}")),
    "etcd-disk-full": ("its etcd member has no space left: a tiny quota raises the cluster's alarm NOSPACE", _etcd_quota, _etcd_no_quota),
    "disk-error": ("its backing disk fails every access (dm-error)", _disk("error"), _mend_disk),
    "disk-flaky": ("its backing disk fails 3 s in every 6 (dm-flakey)", _disk("flakey"), _mend_disk),
    "clock-jump": ("its clock jumps one hour ahead", _clock(3600), _clock(0)),
    "loss-20": ("20 % of what it sends on management and replication is lost", _netem, _no_netem),
    "delay-100": ("what it sends on management and replication comes 100 ms late", _netem, _no_netem),
    "watchdog-broken": ("its watchdog only says that it would fire; boots the host anew", _softdog(True), _softdog(False)),
    "power-silent": ("its power switch takes commands and neither carries them out nor answers", _nothing, _nothing),
    "power-refuses": ("its power switch answers every command with a failure", _nothing, _nothing),
    "fence-delayed": (f"its fence helper begins {DELAY_SECONDS} s late", _delay_helper,
                      _good_helper),
    "helper-killed": ("its replication link is cut, and the fence helper that asks about it gets SIGKILL",
                      _link_and_helper("kill -KILL $$"), _good_helper),
    "helper-gives-up": (f"its replication link is cut, and the fence helper waits {PATIENCE_SECONDS} s for hostd instead of 850",
                        _link_and_helper(f"exec /opt/bascule/bin/hostd-fence-peer /run/bascule/fence.sock {PATIENCE_SECONDS}"), _good_helper),
}


def _wake(lab, node):
    """What the freeze left: the machine goes on, and mostly finds that its watchdog has ended it."""
    _freeze(lab, node, True)


def make(lab, kind, node):
    if kind not in KINDS:
        raise LabError(f"no fault {kind!r}; there are: {', '.join(KINDS)}")
    if kind.startswith("etcd-") and node not in lab.voters:
        raise LabError(f"{kind}: {node.id} has no etcd member; these have: {', '.join(voter.id for voter in lab.voters)}")
    if node.kind != "host" and not kind.startswith("etcd-") and kind not in ON_WITNESS:
        raise LabError(f"{kind} is for a host; {node.id} is none")
    if [kind, node.id] not in lab.faults:  # known first: what an interrupted command did is healed too
        lab.faults.append([kind, node.id])
        lab.save()
    KINDS[kind][1](lab, node)


def heal(lab):
    """Mends everything; a host that a fault or the power switch ended is booted. First what is mended from outside, then what needs a host that
    answers. Safe to repeat."""
    net.heal(lab)
    for node in lab.nodes.values():
        uml.boot_words(node, {name: None for name in BOOT_WORDS})
    faults = sorted(reversed(lab.faults), key=lambda fault: (fault[0] not in WITHOUT_HOST, fault[0] not in STAYS_DEAD))
    for kind, host in faults:
        node = lab.node(host)
        if kind not in WITHOUT_HOST and kind not in STAYS_DEAD:
            _answering(lab, node)
        if kind in WITHOUT_HOST or kind in STAYS_DEAD or uml.is_on(lab, node):
            KINDS[kind][2](lab, node)
        lab.faults.remove([kind, host])
        lab.save()
    for node in lab.nodes.values():
        if uml.wanted(node) in ("switched-off", "stuck"):
            power_on(lab, node)


def _answering(lab, node):
    """A host that its watchdog has just ended boots first; one that was switched off stays off."""
    if uml.wanted(node) == "on":
        power_on(lab, node)


def dead(lab):
    """Nodes that ended by themselves, also those that their firmware has booted again since; `boot` makes it forgotten."""
    return [node for node in lab.nodes.values() if uml.ended(lab, node)]


def boot(lab, nodes):
    """Waits until these are up, booting what is off."""
    for node in nodes:
        power_on(lab, node)
        uml.ended(lab, node, forget=True)
    return [node.id for node in nodes]


def run_in(lab, host, *command):
    return run(remote.argv(lab, lab.node(host), list(command)), check=False, timeout=60).stdout
