#!/usr/bin/env python3
"""Files stay small. A file over the cap stands in sizes.txt with its reason, and may shrink but not grow there."""
import pathlib

import common

CAP = 400
CODE = common.CPP + (".py", ".cmake", ".S", ".c", ".h")
LIST = pathlib.Path(__file__).with_name("sizes.txt")


def exceptions(text):
    out = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            path, lines, reason = line.split(None, 2)
            out[path] = (int(lines), reason)
    return out


def check(files, listed=None):
    listed = exceptions(LIST.read_text()) if listed is None else listed
    found = []
    for path, text in files.items():
        if not path.endswith(CODE):
            continue
        lines = text.count("\n")
        limit = listed[path][0] if path in listed else CAP
        if lines > limit:
            found.append(f"{path}: {lines} lines, at most {limit}; split it along what it does, or argue in {LIST.name}")
        elif path in listed and lines <= CAP:
            found.append(f"{LIST.name}: {path} has {lines} lines now and needs no exception")
        elif path in listed and lines < limit:
            found.append(f"{LIST.name}: {path} shrank to {lines} lines; write that number, so that it does not grow again")
    found += [f"{LIST.name}: there is no file {path}" for path in listed if path not in files]
    return found


BAD = [
    ({"a.cpp": "x\n" * 401}, "401 lines, at most 400"),
    ({"a.py": "x\n" * 401}, "at most 400"),
    ({"big.cpp": "x\n" * 501}, "501 lines, at most 500"),
    ({"big.cpp": "x\n" * 450}, "shrank to 450"),
    ({"big.cpp": "x\n" * 400}, "needs no exception"),
    ({"a.cpp": "x\n"}, "no file big.cpp"),
]
GOOD = [{"a.cpp": "x\n" * 400, "big.cpp": "x\n" * 500, "docs/long.md": "x\n" * 900}]

if __name__ == "__main__":
    import sys
    sample = {"big.cpp": (500, "a sample")}
    testing = sys.argv[1:] == ["--self-test"]
    common.main((lambda files: check(files, sample)) if testing else check, BAD, GOOD)
