"""Kernels: boot a node, cut its power, read its console.

Each node has a file `power` that says what is wanted of it: on, off, switched-off (by the power switch), or stuck (it has
power and nothing runs: a panic that nobody ends). The supervisor boots what is wanted on and has ended by itself; the lock beside that file keeps it, the power
switch and the lab's commands apart."""
import contextlib
import fcntl
import functools
import json
import os
import resource
import shutil
import subprocess

from . import kernel, net
from .proc import MARK, LabError, group_members, group_of, kill_group, run

READY = "bascule-lab: ready"  # printed on the console by lab-ready.service when the boot is over
SHM_NEEDED = 6 << 30
NICE = -10


def make_disks(lab, base):
    """Roots are copy-on-write files that appear at first boot; backing disks are sparse copies of the prepared one."""
    lab.disks.mkdir(parents=True, mode=0o700)
    lab.exchange.mkdir()
    (lab.disks / "base").symlink_to(base)
    for node in lab.nodes.values():
        if node.disk_mib and lab.fresh:
            with open(node.disk, "xb") as disk:
                disk.truncate(node.disk_mib << 20)
        elif node.disk_mib:
            run(["cp", "--sparse=always", "--reflink=auto", str(base / "disk"), str(node.disk)])


@contextlib.contextmanager
def _switching(node):
    """One process at a time switches a node. Held for an instant, unlike the lab's lock: a power switch must answer."""
    with open(node.dir / "power.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def wanted(node):
    try:
        return (node.dir / "power").read_text()
    except FileNotFoundError:
        return "off"


def _want(node, state):
    new = node.dir / "power.new"
    new.write_text(state)
    os.replace(new, node.dir / "power")


def boot(lab, node, only_if_wanted=False):
    """Boots a node that is off, with what is left of its last kernel cleared away; True when it did."""
    with _switching(node):
        if is_on(lab, node) or (only_if_wanted and wanted(node) != "on"):
            return False
        _clear_away(node)
        _start(lab, node)
        _want(node, "on")
    return True


def leave_off(lab, node):
    """A node that has ended stays so, as after an orderly power-off."""
    with _switching(node):
        if not is_on(lab, node):
            _want(node, "off")


def will_stick(node):
    """What ends the node next is no reason to boot it again."""
    with _switching(node):
        _want(node, "stuck")


def note_end(node, why):
    """That the node ended by itself is known until `ended` is asked to forget it, also when it runs again."""
    (node.dir / "ended").write_text(why)


def ended(lab, node, forget=False):
    """True when a node that nobody switched off has ended since this was last forgotten."""
    known = (node.dir / "ended").exists()
    if forget:
        (node.dir / "ended").unlink(missing_ok=True)
    return known or (wanted(node) == "on" and not is_on(lab, node))


def boot_words(node, change=None):
    """Words for the node's kernel command line at each boot from now on, by name; `change` is a dict, None removes a name."""
    path = node.dir / "boot-words.json"
    words = json.loads(path.read_text()) if path.exists() else {}
    if change is not None:
        words = {name: value for name, value in {**words, **change}.items() if value is not None}
        path.write_text(json.dumps(words))
    return [f"{name}={value}" for name, value in words.items()]


def _start(lab, node):
    shutil.rmtree(lab.uml_dir / node.id, ignore_errors=True)
    root = os.path.realpath(lab.disks / "base")
    root = f"{root}/root.ext4" if os.path.isdir(root) else root
    argv = [*kernel.command(), f"mem={node.memory}", f"umid={node.id}", f"uml_dir={lab.uml_dir}",
            f"ubd0={node.cow},{root}", "root=/dev/ubda", "rw",
            "init=/usr/lib/bascule-lab/init", f"labseed={node.seed}", f"labexchange={lab.exchange}",
            f"labbuild={'' if lab.image else lab.build}", f"labhost={node.id}",
            # A periodic tick. The one-shot timer of User-Mode Linux 6.1 can be lost: the signal that comes while the one
            # before it is handled is dropped, and the kernel stands still, for a while or for ever.
            "highres=off", "nohz=off",
            "net.ifnames=0", "selinux=0", "con=null", "con0=fd:0,fd:1", "noreboot", "quiet", "loglevel=4", "systemd.show_status=0",
            *boot_words(node)]
    if node.disk_mib:
        disk = node.disk.stat()
        if disk.st_size != node.disk_mib << 20:
            raise LabError(f"{node.disk} has {disk.st_size} bytes instead of {node.disk_mib} MiB ({disk.st_blocks * 512} of them in use): "
                           "this machine has cut it off, no host did; make the lab anew")
        # t: no discards and no zeroing of ranges, which become fallocate on this file.
        argv.append(f"ubd1t={node.disk}")
    for index, link in enumerate(node.links):
        argv.append(f"vec{index}:transport=tap,ifname={node.tap(link)},depth=128,gro=1,mac={node.mac(link)}")
    env = dict(os.environ, **{MARK: lab.name})
    if shutil.disk_usage("/dev/shm").free < SHM_NEEDED:
        env["TMPDIR"] = str(lab.disks)  # the kernels' memory is a file: keep it out of a small /dev/shm
    if node.console.exists():
        os.replace(node.console, node.dir / "console.before.log")
    with open(node.console, "wb") as console:
        started = subprocess.Popen(net.inside(lab, argv), stdin=subprocess.DEVNULL, stdout=console,
                                   stderr=subprocess.STDOUT, env=env, cwd=node.dir, start_new_session=True,
                                   preexec_fn=functools.partial(_prepare, _cpu(lab, node)))
    (node.dir / "pid").write_text(str(started.pid))


def _cpu(lab, node):
    """One CPU per node, the sites on different ones. A kernel of this kind stops and continues its programs by ptrace;
    across two CPUs each of these costs an interrupt and a wake-up, and everything takes two to three times as long."""
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[list(reversed(lab.nodes)).index(node.id) % len(cpus)]


def prefer(lab, node):
    """Ahead of builds and tests on this machine: a host that gets no CPU for a second is a host that failed. Each kernel is a
    session of its own, and where the scheduler groups by session (autogroup) only the group's own niceness counts between them."""
    pid = pid_of(lab, node)
    with contextlib.suppress(OSError, TypeError):
        with open(f"/proc/{pid}/autogroup", "r+") as group:
            if not group.read().endswith(f" {NICE}\n"):
                group.seek(0)
                group.write(str(NICE))


def _prepare(cpu):
    os.sched_setaffinity(0, {cpu})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def in_node(pid, node):
    """Not by the command line: that reads empty for an instant while the process executes another program."""
    try:
        return os.readlink(f"/proc/{pid}/cwd") == str(node.dir)
    except OSError:
        return False


def _last_pid(node):
    try:
        return int((node.dir / "pid").read_text())
    except (OSError, ValueError):
        return None


def pid_of(lab, node):
    """The node's main process, or None when it is off. A pid that now belongs to something else counts as off."""
    pid = _last_pid(node)
    return pid if pid is not None and in_node(pid, node) else None


def is_on(lab, node):
    pid = pid_of(lab, node)
    return pid is not None and group_of(pid) == pid


def _clear_away(node):
    """Kills the node's process group, also the helpers that outlive a main process that ended by itself: they hold its
    memory and the locks of its disks."""
    pid = _last_pid(node)
    if pid is None:
        return
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    if any(in_node(member, node) for member in group_members(pid)):
        kill_group(pid)
    (node.dir / "pid").unlink(missing_ok=True)


def power_off(lab, node, state="off"):
    """The power cut: the whole process group dies at once, and is gone on return. Nothing is flushed that the host did
    not flush."""
    with _switching(node):
        _want(node, state)
        _clear_away(node)


def console(node):
    try:
        return node.console.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def is_ready(lab, node):
    if READY in console(node):
        return True
    if not is_on(lab, node):
        tail = "\n".join(console(node).splitlines()[-15:])
        raise LabError(f"{node.id} died while booting; the end of its console:\n{tail}")
    return False


def why_ended(node):
    """What the console says of the end of a node: watchdog, panic, power-off, halt, reboot or ''."""
    said = console(node)[-4000:]
    for words, why in (("softdog: Initiating system reboot", "watchdog"), ("Kernel panic", "panic"),
                       ("reboot: Power down", "power-off"), ("reboot: System halted", "halt"),
                       ("reboot: Restarting system", "reboot")):
        if words in said:
            return why
    return ""
