"""Helper of the scenario tests t_*.py. A file defines functions test_*; each one's docstring is a sentence, its name.

    from lablib.case import main, expect
    def test_links(lab):
        '''A cut management link is seen by etcd and heals.'''
    main(globals())

A scenario gets the shared lab (up, healed, all on). t_own_*.py files get none and boot their own.

`main(globals(), tries=3)` is for scenarios that stand alone: one that fails while this machine stood still is done again, as times then
say nothing about what is tested. On a calm machine the first failure counts. A function with `once = True` is never done again.
Run one alone:  LAB_NAME=mine tests/lab/t_x.py [test_name]   (after ./lab up --name mine)
"""
import os
import sys
import time
import traceback

from . import cluster, faults, ledger, own, remote
from .lag import Standstill
from .plan import Lab
from .proc import LabError, mark, wait_for

STOOD_STILL = 0.5  # seconds; a machine that did so for as long may be why a scenario failed


class Failed(Exception):
    """An expectation that does not hold."""


def expect(condition, why):
    if not condition:
        raise Failed(why)


def sh(lab, host, *command, check=True, timeout=60, **kw):
    """Output of a command in a host."""
    return remote.execute(lab, lab.node(host), list(command), check=check, timeout=timeout, **kw).stdout


def restore(lab):
    """After each scenario: faults and links mended, all nodes on, etcd healthy again."""
    with cluster.locked(lab):
        faults.heal(lab.load())
        for node in lab.nodes.values():
            cluster.power(lab, node, True)
    wait_for("etcd to be healthy after the scenario", lambda: cluster.etcd_healthy(lab), 120, every=0.5)


def explain(lab):
    """What each host says after a failure, before anything is mended: a machine that ran the tests may be gone soon."""
    said = []
    for host in lab.hosts:
        for command in (["cat", "/proc/drbd"], ["virsh", "list", "--all"],
                        ["journalctl", "-n", "40", "--no-pager", "-o", "short-precise", "_TRANSPORT=kernel", "+",
                         "_SYSTEMD_UNIT=hostd.service", "+", "_SYSTEMD_UNIT=libvirtd.service"]):
            said.append(f"--- {host.id}: {' '.join(command)}")
            try:
                said.append(sh(lab, host.id, *command, check=False, timeout=30).rstrip())
            except LabError as err:
                said.append(str(err))
    return "\n".join(said)


def _attempt(function, lab):
    """(why it failed or "", for how long the machine stood still meanwhile, whether the failure counts all the same)."""
    why, counts = "", getattr(function, "once", False)
    with Standstill() as machine:
        try:
            function(lab) if lab else function()
        except (Failed, LabError) as err:
            why = str(err)
            counts = counts or isinstance(err, ledger.NotClean)
        except Exception:  # a bug in the scenario is a failure of it, not the end of the suite
            why = traceback.format_exc()
    if why:
        why += f"\n(the machine stood still for {machine.seconds:.1f} s at most meanwhile)"
    for one in ([lab] if lab else list(own.booted.values())) if why else []:
        why += "\n" + explain(one)
    if lab:
        try:
            restore(lab)
        except LabError as err:
            why, counts = why or f"the lab does not come back: {err}", True
    return why, machine.seconds, counts


def _run(name, function, lab, tries):
    sentence = " ".join((function.__doc__ or name).split())
    start = time.monotonic()
    why, still, counts = _attempt(function, lab)
    while why and still >= STOOD_STILL and not counts and tries > 1:
        print(f"    the machine stood still for {still:.1f} s: once more, as it failed:", flush=True)
        _indent(why)
        tries -= 1
        why, still, counts = _attempt(function, lab)
    print(f"{'not ok' if why else 'ok'} - {sentence} ({time.monotonic() - start:.1f} s)", flush=True)
    _indent(why)
    return not why


def _indent(text):
    for line in text.splitlines():
        print(f"    {line}", flush=True)


def main(names, tries=1):
    wanted = sys.argv[1:]
    lab = None
    if not os.path.basename(sys.argv[0]).startswith("t_own_"):
        lab = Lab(os.environ.get("LAB_NAME", "lab")).load()
        mark(lab.name)
    tests = [(name, value) for name, value in names.items() if name.startswith("test_") and (not wanted or name in wanted)]
    good = [_run(name, function, lab, tries) for name, function in tests]
    sys.exit(0 if good and all(good) else 1)
