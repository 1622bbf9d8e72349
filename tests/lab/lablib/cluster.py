"""A lab as a whole: up, down, status."""
import contextlib
import fcntl
import os
import pathlib
import shutil
import time

from . import net, pki, proc, remote, rootfs, seed, supervisor, uml
from .plan import Lab
from .proc import LabError, run, wait_for

BOOT_SECONDS = 420  # alone it takes 8 s; a machine that also builds and tests is slow
ANSWER_SECONDS = 120
LOCK_SECONDS = 60


@contextlib.contextmanager
def locked(lab):
    """One command at a time changes a lab. The lock goes with its process, however that ends."""
    folder = lab.run.parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{lab.name}.lock"
    end = time.monotonic() + LOCK_SECONDS
    while True:
        lock = open(path, "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.stat(path).st_ino == os.fstat(lock.fileno()).st_ino:
                break
        except BlockingIOError:
            if time.monotonic() > end:
                raise LabError(f"another command is working on lab {lab.name}") from None
            time.sleep(0.2)
        lock.close()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.close()
        with contextlib.suppress(OSError):
            folder.rmdir()


def clean(lab):
    """Removes everything a lab of this name has or had, however far it came. Safe to repeat."""
    proc.kill_all(lambda: sorted(set(proc.marked_pids(lab.name)) | set(net.namespace_pids(lab))))
    net.remove(lab)
    for folder in (lab.run, lab.disks):
        if folder.exists():
            shutil.rmtree(folder)
    rootfs.remove_leftovers(lab)
    with contextlib.suppress(OSError):
        lab.disks.parent.rmdir()


def up(lab, say, build):
    """Boots the lab. `build` is called once the processes of an interrupted lab are gone; it may run beside the root."""
    if _is_up(lab.name):
        raise LabError(f"lab {lab.name} is already up (./lab status --name {lab.name})")
    clean(lab)
    lab.run.mkdir(parents=True, mode=0o700)
    lab.uml_dir.mkdir()
    os.makedirs(lab.build, exist_ok=True)
    base = build(lambda: rootfs.base(lab, say))
    say("certificates, disks, network")
    pki.make_all(lab)
    seed.make_ssh_keys(lab)
    seed.make_power_password(lab)
    uml.make_disks(lab, base)
    net.make(lab)
    for node in lab.nodes.values():
        node.dir.mkdir(parents=True)
        seed.render(lab, node)
    lab.save()
    say(f"booting {', '.join(lab.nodes)}")
    for node in lab.nodes.values():
        uml.boot(lab, node)
    for node in lab.nodes.values():
        wait_booted(lab, node)
        say(f"{node.id} is up")
    if lab.fresh:
        _forget_seeds(lab)
    else:
        wait_for("etcd with all its members healthy", lambda: etcd_healthy(lab), 120, every=0.5)
        say("etcd is healthy on all members")
    supervisor.start(lab)
    lab.complete = True
    lab.save()


def _forget_seeds(lab):
    """A machine of nobody's has its seed once, at its first boot; from then on what is on its disk is its operator's."""
    for node in lab.nodes.values():
        remote.execute(lab, node, ["sync"])
        shutil.rmtree(node.seed)
        node.seed.mkdir(mode=0o755)


def _is_up(name):
    with contextlib.suppress(LabError):
        lab = Lab(name).load()
        return lab.complete and any(uml.is_on(lab, node) for node in lab.nodes.values())
    return False


def down(lab):
    clean(lab)


def wait_booted(lab, node):
    wait_for(f"{node.id} to boot", lambda: uml.is_ready(lab, node), BOOT_SECONDS)
    wait_for(f"{node.id} to answer", lambda: remote.is_reachable(lab, node), ANSWER_SECONDS)


def power(lab, node, on):
    """Power as a person switches it. A node that is on already is only waited for."""
    if on:
        uml.boot(lab, node)
        wait_booted(lab, node)
    else:
        remote.drop(lab, node)
        uml.power_off(lab, node)


def curl(lab, user, url, timeout=5):
    """One request in the lab's namespace with a certificate of the lab's CA; (HTTP status, body)."""
    done = run(net.inside(lab, ["curl", "-s", "-m", str(timeout), "-w", "\n%{http_code}", "--cacert", str(lab.pki / "ca.pem"),
                                "--cert", str(lab.pki / f"{user}.pem"), "--key", str(lab.pki / f"{user}.key"), url]),
               check=False, timeout=timeout + 5)
    body, _, status = done.stdout.rpartition("\n")
    return int(status or 0), body


def etcd_healthy(lab):
    """True when every member answers that it can commit."""
    return all('"true"' in curl(lab, node.id, f"https://{node.address('mgmt')}:2379/health")[1] for node in lab.voters)


def status(lab):
    """What is on, healthy and cut, as plain values."""
    nodes = []
    for node in lab.nodes.values():
        on = uml.is_on(lab, node)
        entry = {"id": node.id, "kind": node.kind, "site": node.site, "on": on, "address": node.address("mgmt"),
                 "wanted": uml.wanted(node), "faults": [kind for kind, node_id in lab.faults if node_id == node.id],
                 "cut": [link for node_id, link in lab.cuts if node_id == node.id]}
        if node in lab.voters:
            entry["etcd"] = on and '"true"' in curl(lab, node.id, f"https://{node.address('mgmt')}:2379/health")[1]
        if node.kind == "host":
            awake = on and "hang" not in entry["faults"]
            done = remote.execute(lab, node, ["systemctl", "is-active", "hostd", "libvirtd"], check=False) if awake else None
            words = done.stdout.split() if done else []
            entry["hostd"], entry["libvirtd"] = words if len(words) == 2 else ("unknown", "unknown")
        nodes.append(entry)
    return {"name": lab.name, "namespace": lab.ns, "pool": lab.pool, "nodes": nodes}


def user_environment(lab, user):
    """Environment of hostctl for one of the lab's users."""
    endpoints = [f"https://{host.address('mgmt')}:8443" for host in lab.hosts]
    return {"BASCULE_ENDPOINTS": ",".join(endpoints), "BASCULE_CA": str(lab.pki / "ca.pem"),
            "BASCULE_CERT": str(lab.pki / f"{user}.pem"), "BASCULE_KEY": str(lab.pki / f"{user}.key")}


def program(lab, name):
    """Path of a program of the build, or of its guest image."""
    path = pathlib.Path(lab.build) / ("" if name == "guest.img" else "bin") / name
    if not path.is_file():
        raise LabError(f"{path} is not built")
    return path
