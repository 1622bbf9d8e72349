"""Faults of every kind, made on real kernels and healed again. What is broken is remembered in the lab's state file, so
that `heal` mends all of it, also what an interrupted command left."""
import contextlib
import os
import signal

from . import cluster, net, remote, uml
from .proc import LabError, group_members, run, wait_for

HOSTD, LIBVIRTD, ETCD = "hostd", "libvirtd", "etcd"
DELAY_SECONDS = 12  # of a delayed fence helper: beyond the takeover time of the fast profile
HELPER = "/usr/libexec/bascule/hostd-fence-peer"
SLOW = "while :; do kill -STOP $(pidof etcd); sleep 0.35; kill -CONT $(pidof etcd); sleep 0.25; done"


def _sh(lab, node, script, check=True, timeout=60):
    return remote.execute(lab, node, ["sh", "-c", script], check=check, timeout=timeout, stdin=None).stdout


def _signal(lab, node, unit, name):
    _sh(lab, node, f"systemctl kill -s {name} {unit}")


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
        uml.boot(lab, node)
    cluster.wait_booted(lab, node)


def _panic(lab, node):
    with contextlib.suppress(LabError):
        remote.execute(lab, node, ["sh", "-c", "echo c >/proc/sysrq-trigger"], check=False, timeout=5)
    remote.drop(lab, node)
    wait_for(f"{node.id} to have ended", lambda: not uml.is_on(lab, node) or _kill_rest(lab, node), 20)


def _kill_rest(lab, node):
    """A panicked kernel's main process is gone; what is left of its group goes with it."""
    uml.power_off(lab, node)
    return True


def _disk(lab, node, table):
    """The device below the volume group gets another table, live."""
    _sh(lab, node, f"""set -e
      size=$(dmsetup table labdisk | cut -d' ' -f2); dev=$(basename $(readlink -f /dev/ubdb))
      echo "{table}" | sed "s/SIZE/$size/; s/DEV/\\/dev\\/$dev/" | dmsetup reload labdisk
      dmsetup suspend --noflush labdisk; dmsetup resume labdisk""")


def _netem(lab, node, how):
    for iface in ("vec0", "vec1"):
        _sh(lab, node, f"tc qdisc replace dev {iface} root netem {how}")


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


def _softdog(lab, node, options):
    """The watchdog's module with other options. Once started it cannot be unloaded: the host is booted anew."""
    conf = node.seed / "etc/modprobe.d/softdog.conf"
    conf.parent.mkdir(exist_ok=True)
    conf.write_text(f"options softdog {options}\n" if options else "")
    _power_off(lab, node)
    power_on(lab, node)


def _delay_helper(lab, node):
    _sh(lab, node, f"""rm -f {HELPER}; printf '#!/bin/sh\\nsleep {DELAY_SECONDS}\\nexec /opt/bascule/bin/hostd-fence-peer "$@"\\n' >{HELPER}
      chmod 0755 {HELPER}""")


def _nothing(_lab, _node):
    return


def _stop_pulses(lab, node):
    _sh(lab, node, "systemctl stop lab-slow-etcd; kill -CONT $(pidof etcd)", check=False)


# kind: (what it is, how it is made, how it is healed)
KINDS = {
    "power-cut": ("the host's power is gone; heal boots it", _power_off, power_on),
    "hang": ("the whole machine stands still; heal wakes it", lambda lab, n: _freeze(lab, n, False), lambda lab, n: _wake(lab, n)),
    "kernel-panic": ("its kernel panics and does not come back; heal boots it", _panic, power_on),
    "hostd-killed": ("hostd gets SIGKILL; systemd starts it again", lambda lab, n: _signal(lab, n, HOSTD, "KILL"), _nothing),
    "hostd-hung": ("hostd stands still", lambda lab, n: _signal(lab, n, HOSTD, "STOP"), lambda lab, n: _signal(lab, n, HOSTD, "CONT")),
    "libvirtd-killed": ("libvirtd gets SIGKILL; systemd starts it again", lambda lab, n: _signal(lab, n, LIBVIRTD, "KILL"), _nothing),
    "libvirtd-hung": ("libvirtd stands still", lambda lab, n: _signal(lab, n, LIBVIRTD, "STOP"), lambda lab, n: _signal(lab, n, LIBVIRTD, "CONT")),
    "qemu-killed": ("every guest's QEMU gets SIGKILL", lambda lab, n: _sh(lab, n, "pkill -KILL -x 'qemu-system-x86' || pkill -KILL qemu-system"), _nothing),
    "link-repl": ("its replication link is cut", _cut("repl"), _nothing),
    "link-mgmt": ("its management link is cut: etcd, API, libvirt", _cut("mgmt"), _nothing),
    "link-client": ("its clients' link is cut", _cut("client"), _nothing),
    "links-all": ("all its links are cut", _cut("mgmt", "repl", "client"), _nothing),
    "witness-lost": ("the witness' power is gone", _witness_off, lambda lab, _n: power_on(lab, _witness(lab))),
    "witness-and-link": ("the witness' power is gone and the host's replication link cut", _witness_and_link,
                         lambda lab, _n: power_on(lab, _witness(lab))),
    "etcd-killed": ("its etcd member gets SIGKILL; systemd starts it again", lambda lab, n: _signal(lab, n, ETCD, "KILL"), _nothing),
    "etcd-hung": ("its etcd member stands still", lambda lab, n: _signal(lab, n, ETCD, "STOP"), lambda lab, n: _signal(lab, n, ETCD, "CONT")),
    "etcd-slow": ("its etcd member stands still 0.35 s in every 0.6 s, as over a bad disk",
                  lambda lab, n: _sh(lab, n, f"systemd-run -q --unit lab-slow-etcd sh -c '{SLOW}'"), _stop_pulses),
    "disk-error": ("its backing disk fails every access (dm-error)", lambda lab, n: _disk(lab, n, "0 SIZE error"),
                   lambda lab, n: _disk(lab, n, "0 SIZE linear DEV 0")),
    "disk-flaky": ("its backing disk fails 3 s in every 6 (dm-flakey)", lambda lab, n: _disk(lab, n, "0 SIZE flakey DEV 0 3 3"),
                   lambda lab, n: _disk(lab, n, "0 SIZE linear DEV 0")),
    "clock-jump": ("its clock jumps one hour ahead", lambda lab, n: _sh(lab, n, "date -s '+1 hour' >/dev/null"),
                   lambda lab, n: _sh(lab, n, "date -s '-1 hour' >/dev/null")),
    "loss-20": ("20 % of what it sends on management and replication is lost", lambda lab, n: _netem(lab, n, "loss 20%"), _no_netem),
    "delay-100": ("what it sends on management and replication comes 100 ms late", lambda lab, n: _netem(lab, n, "delay 100ms"), _no_netem),
    "watchdog-broken": ("its watchdog only says that it would fire", lambda lab, n: _softdog(lab, n, "soft_noboot=1"),
                        lambda lab, n: _softdog(lab, n, "")),
    "fence-delayed": (f"its fence helper begins {DELAY_SECONDS} s late", _delay_helper,
                      lambda lab, n: _sh(lab, n, f"ln -sfn /opt/bascule/bin/hostd-fence-peer {HELPER}")),
}


def _wake(lab, node):
    """What the freeze left: the machine goes on, and mostly finds that its watchdog has ended it."""
    _freeze(lab, node, True)


def make(lab, kind, node):
    if kind not in KINDS:
        raise LabError(f"no fault {kind!r}; there are: {', '.join(KINDS)}")
    if [kind, node.id] in lab.faults:
        return
    lab.faults.append([kind, node.id])
    lab.save()
    KINDS[kind][1](lab, node)


def heal(lab):
    """Mends everything, in the reverse order; a host that is off is booted. Safe to repeat."""
    net.heal(lab)
    for kind, host in list(reversed(lab.faults)):
        node = lab.node(host)
        if uml.is_on(lab, node) or kind in ("power-cut", "kernel-panic", "witness-lost", "witness-and-link"):
            KINDS[kind][2](lab, node)
        lab.faults.remove([kind, host])
        lab.save()


def dead(lab):
    """Nodes that ended by themselves: not those whose power a fault has taken."""
    meant = {host for kind, host in lab.faults if kind in ("power-cut", "kernel-panic")}
    meant |= {"w" for kind, _host in lab.faults if kind.startswith("witness")}
    return [node for node in lab.nodes.values() if node.id not in meant and not uml.is_on(lab, node)]


def boot(lab, nodes):
    for node in nodes:
        power_on(lab, node)
    return [node.id for node in nodes]


def why_ended(node):
    """The last word of a console about a reset: 'watchdog', 'panic' or ''."""
    text = uml.console(node)
    if "softdog: Initiating system reboot" in text:
        return "watchdog"
    return "panic" if "Kernel panic" in text else ""


def run_in(lab, host, *command):
    return run(remote.argv(lab, lab.node(host), list(command)), check=False, timeout=60).stdout
