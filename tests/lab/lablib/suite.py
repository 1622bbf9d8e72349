"""`lab test`: unit, contract and lint tests, the scenarios on a lab, those that boot labs of their own, fuzz targets."""
import os
import re
import subprocess
import time
import xml.etree.ElementTree

from . import cluster, work
from .plan import HERE, PROJECT, Lab
from .proc import LabError, mark, run

LABELS = "unit|contract|lint|sim"
BUILD_SECONDS = 1500
CTEST_SECONDS = 1500
FILE_SECONDS = 1800  # one t_*.py
WHY_CHARACTERS = 600  # of the sentence that is repeated at the end
FUZZ_SECONDS = 20  # each target; two run at a time
NAME = "test"


class Tally:
    def __init__(self):
        self.passed, self.failed, self.start = 0, [], time.monotonic()

    def add(self, ok, name, why=""):
        if ok:
            self.passed += 1
        else:
            self.failed.append(f"{name}\n    {why}" if why else name)

    def head(self, text):
        print(f"\n== {text} ({time.monotonic() - self.start:.0f} s)", flush=True)

    def close(self):
        for name in self.failed:
            print(f"failed: {name}")
        print(f"{self.passed} passed, {len(self.failed)} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


def main(args):
    tally = Tally()
    lab = Lab(NAME)
    lab.build = str(PROJECT / "build" / "dev")
    with cluster.locked(lab):
        cluster.clean(lab)
    try:
        if _built(tally):
            _ctest(tally)
            if not args.quick:
                _scenarios(tally, lab)
                _fuzz(tally)
    finally:
        with cluster.locked(lab):
            cluster.clean(lab)
    return tally.close()


def _built(tally):
    tally.head("build (dev)")
    try:
        run(["cmake", "--preset", "dev"], cwd=PROJECT, timeout=120)
        run(["cmake", "--build", "--preset", "dev"], cwd=PROJECT, timeout=BUILD_SECONDS)
    except LabError as err:
        print(err)
        tally.add(False, "build")
        return False
    tally.add(True, "build")
    return True


def _ctest(tally):
    tally.head("unit, contract and lint tests")
    report = PROJECT / "build" / "dev" / "ctest.xml"
    report.unlink(missing_ok=True)
    try:
        done = subprocess.run(["ctest", "--preset", "dev", "-L", LABELS, "-j", "2", "--no-tests=error", "--timeout", "300",
                               "--output-junit", str(report)], cwd=PROJECT, stdin=subprocess.DEVNULL, timeout=CTEST_SECONDS,
                              check=False)
    except subprocess.TimeoutExpired:
        tally.add(False, f"ctest: no end after {CTEST_SECONDS} s")
        return
    try:
        cases = xml.etree.ElementTree.parse(report).getroot().iter("testcase")
    except (OSError, xml.etree.ElementTree.ParseError):
        tally.add(False, "ctest made no report")
        return
    bad = 0
    for case in cases:
        ok = case.get("status") in ("run", "notrun", "disabled") and case.find("failure") is None
        bad += not ok
        tally.add(ok, case.get("name"))
    if done.returncode != 0 and not bad:
        tally.add(False, f"ctest: exit {done.returncode}")


def _fuzz(tally):
    tally.head(f"fuzz targets, {FUZZ_SECONDS} s each, with the address and undefined-behaviour sanitizers")
    done = subprocess.run([str(PROJECT / "tests" / "fuzz" / "run-all"), str(FUZZ_SECONDS)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=BUILD_SECONDS, check=False)
    said = [line for line in done.stdout.splitlines() if not line.startswith("[")]  # ninja's progress
    print("\n".join(said[-60:]), flush=True)
    tally.add(done.returncode == 0, "fuzz targets")


def _scenarios(tally, lab):
    files = sorted(HERE.glob("t_*.py"))
    own = [path for path in files if path.name.startswith("t_own_")]
    shared = [path for path in files if path not in own]
    tally.head("the shared lab boots")
    try:
        with cluster.locked(lab):
            _boot(lab)
        tally.add(True, "lab up")
        for path in shared:
            _file(tally, path, {"LAB_NAME": lab.name})
    except LabError as err:
        print(err)
        tally.add(False, "lab up")
    finally:
        with cluster.locked(lab):
            cluster.clean(lab)
    for path in own:
        _file(tally, path, {})


def _boot(lab):
    before = dict(os.environ)
    mark(lab.name)
    try:
        work.up(lab, 2, print, build=False)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _file(tally, path, environment):
    """Runs one file of scenarios and counts its lines; a file that dies is one failure more."""
    tally.head(path.name)
    try:
        done = subprocess.run(["/usr/bin/python3", str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=FILE_SECONDS, check=False,
                              env=dict(os.environ, **environment))
        said, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as err:
        said, code = (err.stdout or b"").decode(errors="replace"), f"no end after {FILE_SECONDS} s"
    print(said, end="", flush=True)
    # What follows a line is said of it; its first line says why it failed.
    lines = re.findall(r"^(ok|not ok) - (.*?)(?: \([\d.]+ s\))?$(?:\n    (.*))?", said, re.MULTILINE)
    for verdict, name, why in lines:
        tally.add(verdict == "ok", f"{path.name}: {name}", why[:WHY_CHARACTERS])
    if not lines or (code != 0 and all(verdict == "ok" for verdict, *_ in lines)):
        tally.add(False, f"{path.name}: {code}")
