#!/usr/bin/env python3
"""Tracked Python files have no unused, undefined or twice defined names (pyflakes). A merge once left two bodies of one."""
import pathlib
import subprocess
import sys

import common

TOOL = "pyflakes3"


def check_paths(root, names):
    """pyflakes' lines, one for each finding; names relative to root."""
    run = subprocess.run([TOOL, *names], cwd=root, capture_output=True, text=True, timeout=120)
    return (run.stdout + run.stderr).splitlines()


def self_test():
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "good.py").write_text("def one():\n    return 1\n")
        pathlib.Path(folder, "bad.py").write_text("def one():\n    return 1\n\n\ndef one():\n    return 2\n")
        found = check_paths(folder, ["good.py", "bad.py"])
    return [] if len(found) == 1 and found[0].startswith("bad.py:5") else [f"wanted bad.py line 5 alone, found {found}"]


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        sentences = self_test()
    else:
        sentences = check_paths(sys.argv[1], [name for name in common.tracked(sys.argv[1]) if name.endswith(".py")])
    print("\n".join(sentences))
    raise SystemExit(1 if sentences else 0)
