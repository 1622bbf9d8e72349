"""The guest's records: the collector on the client network, and the judge over both legs."""
import os
import signal
import subprocess

from . import cluster, net, remote
from .plan import PLAN
from .proc import LabError, run, wait_for

PORT = 7777


class NotClean(LabError):
    """The judge's verdict: no slowness of a machine is an excuse for it."""


def log_path(lab):
    return lab.run / "collector.log"


def start_collector(lab):
    """Starts ledger-collect in the lab's namespace; it ends with the lab."""
    address = PLAN["links"]["client"]["outer"].split("/")[0]
    argv = [str(cluster.program(lab, "ledger-collect")), "--listen", f"{address}:{PORT}", "--log", str(log_path(lab))]
    with open(lab.run / "collector.err", "ab") as errors:
        child = subprocess.Popen(net.inside(lab, argv), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                                 start_new_session=True)

    def started():
        if child.poll() is not None:
            raise LabError(f"the collector ended at once; see {lab.run / 'collector.err'}")
        return log_path(lab).exists() and log_path(lab).stat().st_size
    wait_for("the collector to start", started, 10)
    return child


def stop_collector(child):
    os.kill(child.pid, signal.SIGTERM)
    child.wait(10)


def reports(lab):
    """How many reports the collector has written down. Its notes begin with '#'."""
    try:
        with open(log_path(lab), "rb") as log:
            return sum(1 for line in log if not line.startswith(b"#"))
    except FileNotFoundError:
        return 0


def wait_records(lab, count, seconds):
    """Waits until `count` more reports have come in; returns how many there are."""
    start = reports(lab)
    wait_for(f"{count} more records from the guest", lambda: reports(lab) >= start + count, seconds, every=0.5)
    return reports(lab)


def fetch_leg(lab, node, device):
    """Copies a backing device out of a host, past its page cache; returns the file."""
    name = f"leg-{node.id}.raw"
    remote.execute(lab, node, ["dd", f"if={device}", f"of=/lab/{name}", "bs=1M", "iflag=direct", "conv=sparse", "status=none"],
                   timeout=180)
    return lab.exchange / name


def judge(lab, legs):
    """ledger-check over legs = [file, ...]; its text when all is clean, NotClean with it otherwise."""
    argv = [str(cluster.program(lab, "ledger-check")), "--log", str(log_path(lab))]
    for leg in legs:
        argv += ["--leg", str(leg)]
    done = run(argv, check=False, timeout=120)
    if done.returncode != 0:
        raise NotClean(f"ledger-check: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def leg_device(lab, node, vm, volume):
    """The backing device of a volume's leg on a host, found by its name: a logical volume or a loop pool's file."""
    done = remote.execute(lab, node, ["find", "/dev/vg0/", "/var/lib/bascule/volumes/", "-name", f"bascule-{vm}-{volume}-*"],
                          check=False)
    found = done.stdout.split()
    if len(found) != 1:
        raise LabError(f"{node.id}: one leg of {vm}/{volume} expected, found {found}")
    return found[0]
