#!/usr/bin/python3
"""Every kind of fault, one after the other, beside a running guest on a lab that is up; the judge at the end. Writes the
table of docs/failover.md.

    ./lab up --timing fast && tests/lab/fault_table.py [KIND...] [--json FILE] [--table FILE]"""
import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lablib import faults, trial  # noqa: E402
from lablib.client_vm import ClientVm  # noqa: E402
from lablib.plan import Lab  # noqa: E402
from lablib.proc import LabError  # noqa: E402

APART = ("watchdog-broken", "fence-delayed", "helper-gives-up", "power-silent", "power-refuses")  # beside another fault: t_own_failover.py


def table(rows, verdict):
    lines = ["| fault on the host that runs the VM | restart decided after | guest running again after | silence | done by itself | a person |",
             "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        decided = f"{row['decided_after_s']} s" if "decided_after_s" in row else "-"
        again = f"{row['running_after_s']} s" if row.get("running_after_s") else "goes on"
        lines.append(f"| {row['kind']} | {decided} | {again} | {row.get('silence_s', '-')} s | {'; '.join(row.get('acts', ['-']))} | {row.get('human', row.get('failed'))} |")
    return "\n".join([*lines, "", f"The judge over all of it: {verdict}", ""])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*")
    parser.add_argument("--json")
    parser.add_argument("--table")
    args = parser.parse_args()
    lab = Lab(os.environ.get("LAB_NAME", "lab")).load()
    vm = ClientVm(lab)
    vm.prepare()
    home = vm.where()
    rows = []
    for kind in args.kinds or [kind for kind in faults.KINDS if kind not in APART]:
        start = time.monotonic()
        one = trial.Trial(vm, kind)
        try:
            one.run()
            trial.bring_home(vm, home)
        except LabError as err:
            one.row["failed"] = str(err)[:300]
        rows.append(one.row)
        print(json.dumps(one.row), f"({time.monotonic() - start:.0f} s)", flush=True)
        if "failed" in one.row:
            break
    verdict = vm.remove() if "failed" not in rows[-1] else "not judged"
    print(verdict)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as out:
            json.dump({"rows": rows, "verdict": verdict}, out, indent=1)
    if args.table:
        with open(args.table, "w", encoding="utf-8") as out:
            out.write(table(rows, verdict))
    return 0 if verdict.startswith("CLEAN") else 1


if __name__ == "__main__":
    sys.exit(main())
