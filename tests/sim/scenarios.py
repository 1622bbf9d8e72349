#!/usr/bin/python3
"""Plays every folder of scenarios/ and holds its story against the golden one beside it.

    tests/sim/scenarios.py build/dev/bin/bascule-sim [NAME...] [--rewrite]

`scenario` is what happens, in the words of schedule.hpp; `story` what came of it. --rewrite writes the stories anew: look at
the difference before it is committed. --can-fail shows that a violation and a changed story are seen."""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent / "scenarios"
SECONDS = 60
# Not part of a story: how much work the simulator had, and ids that follow from the clock.
NOISE = (re.compile(r"^.* simulated, .*$"), re.compile(r"op-[0-9a-f]{11}-[0-9a-f]{16}"))


def play(program, scenario):
    """(exit status, the story without its noise)"""
    done = subprocess.run([program, "--scenario", str(scenario)], capture_output=True, text=True, timeout=SECONDS, check=False,
                          stdin=subprocess.DEVNULL)
    lines = done.stdout.splitlines() + done.stderr.splitlines()
    return done.returncode, "\n".join(NOISE[1].sub("op", line) for line in lines if not NOISE[0].match(line)) + "\n"


def judge(program, folder, rewrite=False):
    """What is wrong with it; empty: nothing."""
    status, story = play(program, folder / "scenario")
    golden = folder / "story"
    if status != 0:
        return story.splitlines()[-1] if story.strip() else f"exit {status}"
    if rewrite:
        golden.write_text(story, encoding="utf-8")
        return ""
    if not golden.exists():
        return "it has no story yet: --rewrite"
    if golden.read_text(encoding="utf-8") != story:
        old, new = golden.read_text(encoding="utf-8").splitlines(), story.splitlines()
        where = next((i for i, (a, b) in enumerate(zip(old, new)) if a != b), min(len(old), len(new)))
        return f"another story from line {where + 1} on: {new[where] if where < len(new) else '(it ends)'}"
    return ""


def can_fail(program):
    """A changed story, a text that cannot be read, and a broken lock are seen."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        scenario = folder / "scenario"
        scenario.write_text("cell seed=1\nat 1s power-cut a1 for 20s\n", encoding="utf-8")
        if judge(program, folder, rewrite=True) or judge(program, folder):
            return "a good scenario is not good"
        (folder / "story").write_text("another\n", encoding="utf-8")
        if not judge(program, folder):
            return "a changed story is not seen"
        scenario.write_text("at 1s no-such-thing a1\n", encoding="utf-8")
        if not judge(program, folder):
            return "a text that makes no sense is not seen"
        # The watchdogs never fire, and the checker is told that they do: a host that wakes late runs its guest a second time.
        scenario.write_text("cell seed=26 vms=3 watchdogs=broken judge-one-runner=yes\nat 7s hang a1 for 11s\n", encoding="utf-8")
        if "S1" not in judge(program, folder):
            return "two runners are not seen"
    return ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rewrite", action="store_true")
    parser.add_argument("--can-fail", action="store_true")
    args = parser.parse_args()
    if args.can_fail:
        wrong = can_fail(args.program)
        print(wrong or "ok")
        return 1 if wrong else 0
    folders = sorted(f for f in HERE.iterdir() if (f / "scenario").exists() and (not args.names or f.name in args.names))
    bad = 0
    for folder in folders:
        wrong = judge(args.program, folder, args.rewrite)
        bad += bool(wrong)
        if wrong:
            print(f"{folder.name}: {wrong}")
    print(f"{len(folders)} scenarios, {bad} not as they should be")
    return 1 if bad or not folders else 0


sys.exit(main())
