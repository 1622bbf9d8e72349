#!/usr/bin/python3
"""A live migration under fire: each fault at each step, on real kernels; it must end with the VM running on exactly one side,
the window closed, both ends agreeing, and nobody asked. Writes one line per cell, and the table of docs/failover.md.

    ./lab up --timing fast && tests/lab/crash_matrix.py [STEP/WHO/KIND...] [--table FILE]"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lablib import faults  # noqa: E402
from lablib.case import sh  # noqa: E402
from lablib.client_vm import NAME, ClientVm  # noqa: E402
from lablib.plan import Lab  # noqa: E402
from lablib.proc import LabError  # noqa: E402
from lablib.trial import Firmware, bring_home, settle  # noqa: E402

STEPS = ("mark-migration", "prepare-target", "open-window", "promote-target", "live-migrate", "resume-target", "demote-source",
         "close-window")
FAULTS = (("source", "hostd-killed"), ("target", "hostd-killed"), ("source", "power-cut"), ("target", "power-cut"),
          ("source", "link-repl"), ("target", "libvirtd-killed"), ("source", "libvirtd-killed"), ("source", "qemu-killed"),
          ("source", "hang"), ("source", "link-mgmt"), ("source", "etcd-killed"))
BROKEN_SECONDS = 15  # beyond the takeover time of the fast profile


def cell(vm, step, who, kind):
    """One crash; how the operation ended, where the VM runs."""
    lab = vm.lab
    source = vm.where()
    target = vm.other(source)
    victim = lab.node(source if who == "source" else target)
    with Firmware(lab):
        ident = vm.start_operation("vm", "migrate", NAME, "--to", target)
        vm.until_step(ident, step)
        faults.make(lab, kind, victim)
        if not kind.endswith("killed"):
            time.sleep(BROKEN_SECONDS)
        faults.heal(lab)
        settle(vm)
    end = vm.ended(ident)
    for host in (source, target):
        shown = sh(lab, host, "drbdsetup", "show", "vm-" + NAME, check=False)
        if "allow-two-primaries" in shown and "allow-two-primaries no" not in shown:
            raise LabError(f"the window is open on {host}")
    asked = end["todo"] if end["state"] == "needs-operator" else ""
    return end["state"], "target" if vm.where() == target else "source", asked


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cells", nargs="*", help="such as live-migrate/source/power-cut; all when absent")
    parser.add_argument("--table")
    args = parser.parse_args()
    lab = Lab(os.environ.get("LAB_NAME", "lab")).load()
    vm = ClientVm(lab)
    vm.prepare()
    wanted = [tuple(text.split("/")) for text in args.cells] or [(step, who, kind) for step in STEPS for who, kind in FAULTS]
    lines, bad = [], 0
    for step, who, kind in wanted:
        start = time.monotonic()
        try:
            state, side, asked = cell(vm, step, who, kind)
            bring_home(vm, "a1")
            said = f"{state}, runs on the {side}{'; asked: ' + asked if asked else ''}"
        except LabError as err:
            said, bad = f"FAILED: {str(err)[:300]}", bad + 1
        lines.append(f"| {step} | {kind} of the {who} | {said} |")
        print(lines[-1], f"({time.monotonic() - start:.0f} s)", flush=True)
        if "FAILED" in said:
            break
    verdict = vm.remove() if not bad else "not judged"
    print(verdict)
    if args.table:
        with open(args.table, "w", encoding="utf-8") as out:
            out.write("\n".join(["| at step | fault | the migration ended |", "| --- | --- | --- |", *lines, "",
                                 f"The judge over all of it: {verdict}", ""]))
    return 0 if verdict.startswith("CLEAN") else 1


sys.exit(main())
