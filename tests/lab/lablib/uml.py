"""Kernels: boot a node, cut its power, read its console."""
import functools
import os
import resource
import shutil
import subprocess

from . import net
from .proc import MARK, LabError, group_members, kill_group, run

READY = "bascule-lab: ready"  # printed on the console by lab-ready.service when the boot is over
SHM_NEEDED = 6 << 30


def make_disks(lab, base):
    """Roots are copy-on-write files that appear at first boot; backing disks are sparse copies of the prepared one."""
    lab.disks.mkdir(parents=True, mode=0o700)
    lab.exchange.mkdir()
    (lab.disks / "base").symlink_to(base)
    for node in lab.nodes.values():
        if node.disk_mib:
            run(["cp", "--sparse=always", "--reflink=auto", str(base / "disk"), str(node.disk)])


def boot(lab, node):
    if is_on(lab, node):
        raise LabError(f"{node.id} is already on")
    shutil.rmtree(lab.uml_dir / node.id, ignore_errors=True)
    root = os.path.realpath(lab.disks / "base")
    root = f"{root}/root.ext4" if os.path.isdir(root) else root
    argv = ["linux.uml", f"mem={node.memory}", f"umid={node.id}", f"uml_dir={lab.uml_dir}",
            f"ubd0={node.cow},{root}", "root=/dev/ubda", "rw",
            "init=/usr/lib/bascule-lab/init", f"labseed={node.seed}", f"labexchange={lab.exchange}",
            f"labbuild={lab.build}", f"labhost={node.id}",
            # A periodic tick. The one-shot timer of User-Mode Linux 6.1 can be lost: the signal that comes while the one
            # before it is handled is dropped, and the kernel stands still, for a while or for ever.
            "highres=off", "nohz=off",
            "net.ifnames=0", "selinux=0", "con=null", "con0=fd:0,fd:1", "noreboot", "quiet", "loglevel=4", "systemd.show_status=0"]
    if node.disk_mib:
        argv.append(f"ubd1={node.disk}")
    for index, link in enumerate(node.links):
        argv.append(f"vec{index}:transport=tap,ifname={node.tap(link)},depth=128,gro=1,mac={node.mac(link)}")
    env = dict(os.environ, **{MARK: lab.name})
    if shutil.disk_usage("/dev/shm").free < SHM_NEEDED:
        env["TMPDIR"] = str(lab.disks)  # the kernels' memory is a file: keep it out of a small /dev/shm
    with open(node.console, "wb") as console:
        kernel = subprocess.Popen(net.inside(lab, argv), stdin=subprocess.DEVNULL, stdout=console,
                                  stderr=subprocess.STDOUT, env=env, cwd=node.dir, start_new_session=True,
                                  preexec_fn=functools.partial(_prepare, _cpu(lab, node)))
    (node.dir / "pid").write_text(str(kernel.pid))


def _cpu(lab, node):
    """One CPU per node, the sites on different ones. A kernel of this kind stops and continues its programs by ptrace;
    across two CPUs each of these costs an interrupt and a wake-up, and everything takes two to three times as long."""
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[list(reversed(lab.nodes)).index(node.id) % len(cpus)]


def _prepare(cpu):
    os.sched_setaffinity(0, {cpu})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def pid_of(lab, node):
    """The node's main process, or None when it is off. A pid that now belongs to something else counts as off."""
    try:
        pid = int((node.dir / "pid").read_text())
        # Not the command line: that reads empty for an instant while the process executes another program.
        here = os.readlink(f"/proc/{pid}/cwd")
    except (OSError, ValueError):
        return None
    return pid if here == str(node.dir) else None


def is_on(lab, node):
    pid = pid_of(lab, node)
    return pid is not None and pid in group_members(pid)


def power_off(lab, node):
    """The power cut: the whole process group dies at once. Nothing is flushed that the host did not flush."""
    pid = pid_of(lab, node)
    if pid is not None:
        kill_group(pid)
    (node.dir / "pid").unlink(missing_ok=True)


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
