#!/usr/bin/python3
"""The lab itself: two at once, one that was killed while coming up, and what is left after `down`."""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lablib import cluster  # noqa: E402
from lablib.case import expect, main, sh  # noqa: E402
from lablib.plan import CACHE, PROJECT, Lab  # noqa: E402
from lablib.proc import LabError, run, wait_for  # noqa: E402

NAMES = ("own-one", "own-two")
LAB = str(PROJECT / "lab")


def _up(name):
    return subprocess.Popen([LAB, "up", "--no-build", "--hosts", "1", "--name", name], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _down():
    for name in NAMES:
        run([LAB, "down", "--name", name], timeout=120)


def _traces():
    """Everything on this machine that mentions a lab of ours."""
    found = [line for line in run(["ps", "axo", "pid,stat,args"]).stdout.splitlines()
             if any(name in line for name in NAMES) and str(os.getpid()) not in line.split()]
    found += [line for line in run(["ip", "netns", "list"]).stdout.splitlines() if any(name in line for name in NAMES)]
    found += [line for line in pathlib.Path("/proc/mounts").read_text().splitlines() if any(name in line for name in NAMES)]
    for top in ("/run", "/var/lib", "/var/cache", "/tmp", "/var/tmp", "/dev/shm"):
        found += [str(path) for name in NAMES for path in pathlib.Path(top).glob(f"*{name}*")]
    found += [str(path) for name in NAMES for path in pathlib.Path("/run/bascule-lab").glob(f"{name}*")]
    found += [str(path) for name in NAMES for path in pathlib.Path("/var/lib/bascule-lab").glob(f"{name}*")]
    return found + [str(path) for path in CACHE.glob("tmp-own-*")]


def _nothing_left():
    try:
        wait_for("every trace to go", lambda: not _traces(), 30, every=1)
    except LabError:
        expect(False, "left behind:\n" + "\n".join(_traces()))


def test_two_labs():
    """Two labs at once have the same addresses and do not see each other; taking one down leaves the other healthy."""
    starting = [_up(name) for name in NAMES]
    try:
        for lab in starting:
            _, said = lab.communicate(timeout=300)
            expect(lab.returncode == 0, f"lab up: {said}")
        one, two = (Lab(name).load() for name in NAMES)
        ids = [sh(lab, "a1", "cat", "/etc/machine-id").strip() for lab in (one, two)]
        expect(ids[0] != ids[1], "both labs answered as the same host")
        run([LAB, "down", "--name", NAMES[0]], timeout=120)
        wait_for("the second lab's etcd to be healthy", lambda: cluster.etcd_healthy(two), 30)
        expect(sh(two, "a1", "cat", "/etc/machine-id").strip() == ids[1], "the second lab's host is gone")
    finally:
        _down()
    _nothing_left()


def test_killed_up():
    """An `up` that is killed at any moment leaves nothing that the next `up` and `down` do not clean."""
    try:
        for seconds in (0.3, 1.0, 4.0, 12.0):
            starting = _up(NAMES[0])
            try:
                starting.communicate(timeout=seconds)
                _down()  # a fast machine was up before the kill
            except subprocess.TimeoutExpired:
                starting.kill()
                starting.communicate()
        again = _up(NAMES[0])
        _, said = again.communicate(timeout=300)
        expect(again.returncode == 0, f"up after killed ones: {said}")
        lab = Lab(NAMES[0]).load()
        wait_for("etcd", lambda: cluster.etcd_healthy(lab), 30)
        kernels = [line for line in run(["ps", "axo", "args"]).stdout.splitlines()
                   if f"uml_dir={lab.uml_dir}" in line and "umid=a1" in line]
        expect(kernels, "no kernel of the lab")
    finally:
        _down()
    _nothing_left()


main(globals(), tries=3)
