#!/usr/bin/python3
"""A slice of a campaign of random faults, always the same, on a lab in the fast profile. On a lab that is up already:
LAB_NAME=x tests/lab/t_own_campaign.py"""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lablib.case import expect, main  # noqa: E402
from lablib.plan import PROJECT  # noqa: E402

SEED, ROUNDS, FIRST = 390, 3, 1  # what they are: `./lab campaign --seed 390 --rounds 3 --dry-run --json x`
SECONDS = 900


def test_a_slice():
    """A few rounds of random faults beside two VMs: no record lost, nothing ran twice, nothing is stuck, every fault is in the file."""
    with tempfile.TemporaryDirectory() as folder:
        path, page = f"{folder}/campaign.json", f"{folder}/campaign.html"
        argv = [str(PROJECT / "lab"), "campaign", "--name", os.environ.get("LAB_NAME", "own-campaign"), "--seed", str(SEED),
                "--first", str(FIRST), "--rounds", str(ROUNDS), "--minutes", "5", "--json", path, "--html", page,
                "--no-build", "--build-dir", str(PROJECT / "build" / "dev")]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=SECONDS, check=False)
        said = "\n".join(line for line in done.stdout.splitlines() if "#" in line or "totals" in line)
        print("\n".join(f"      {line}" for line in said.splitlines()), flush=True)
        expect(done.returncode == 0, done.stdout)
        with open(path, encoding="utf-8") as file:
            state = json.load(file)
        with open(page, encoding="utf-8") as file:
            expect("</html>" in file.read(), "the report is not whole")
    totals = state["totals"]
    expect(totals["faults"] == len(state["faults"]) >= ROUNDS, totals)
    expect(totals["records_acknowledged"] > 1000, totals)
    expect([totals[name] for name in ("records_lost", "double_runs", "operations_stuck", "violations")] == [0] * 4, totals)
    expect(sum(one["final"] and one["clean"] for one in state["verdicts"]) == 2, state["verdicts"])


main(globals())
