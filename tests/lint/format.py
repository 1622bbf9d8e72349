#!/usr/bin/env python3
"""Tracked C++ files are as clang-format-19 would write them. Formats with --fix FILE ... what it is given."""
import pathlib
import subprocess
import sys

import common

TOOL = "clang-format-19"


def check_paths(root, names):
    """One sentence for each file that would change; names relative to root."""
    found = []
    for start in range(0, len(names), 50):
        some = names[start:start + 50]
        run = subprocess.run([TOOL, "--dry-run", "-Werror", "--ferror-limit=1", *some], cwd=root, capture_output=True,
                             text=True, timeout=120)
        if run.returncode == 0:
            continue
        bad = {line.split(":")[0] for line in run.stderr.splitlines() if ": error:" in line}
        found += [f"{name}: not formatted; run {TOOL} -i on it" for name in sorted(bad)] or [run.stderr]
    return found


def self_test():
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        style = pathlib.Path(__file__).parent.parent.parent / ".clang-format"
        pathlib.Path(folder, ".clang-format").write_text(style.read_text())
        pathlib.Path(folder, "good.cpp").write_text("int main() { return 0; }\n")
        pathlib.Path(folder, "bad.cpp").write_text("int main( ) {return 0;}\n")
        found = check_paths(folder, ["good.cpp", "bad.cpp"])
    return [] if len(found) == 1 and found[0].startswith("bad.cpp") else [f"wanted bad.cpp alone, found {found}"]


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        sentences = self_test()
    else:
        sentences = check_paths(sys.argv[1], list(common.cpp(common.tracked(sys.argv[1]))))
    print("\n".join(sentences))
    raise SystemExit(1 if sentences else 0)
