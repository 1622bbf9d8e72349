#!/usr/bin/env python3
"""The files speak of the project alone: no path of somebody's machine, no tracker numbers, no tools of the trade."""
import re

import common

# Put together from pieces, so that this file does not find itself.
PLACES = [r"(?<![\w.~-])/(wo" r"rk|ho" r"me/\w+|Us" r"ers)/", r"(?<![\w.])/tmp/(br" r"ief|build-|bash_)", r"(?<![\w.-])/ro" r"ot/\w"]
WORDS = [r"\b(iss" r"ue|tic" r"ket|PR)\s*#\d+", r"\bassist" r"ants?\b", r"\bCla" r"ude\b", r"\bChat" r"GPT\b", r"\bCo-auth" r"ored-by\b",
         r"\bas an A" r"I\b", r"\bpro" r"mpt engineering\b", r"\bw" r"orkplace\b"]
HOSTS = [r"https?://[\w.-]*\b(proxy|mirror|registry|artifactory|nexus)\b[\w.-]*"]
PATTERNS = [(p, "a path of one machine") for p in PLACES] + [(p, "not a word of this project") for p in WORDS] + [
    (p, "a host of one network") for p in HOSTS]
# /root in an image or a lab host is that host's own.
EXCEPT = re.compile(r"^tests/lab/|^images/")


def check(files):
    found = []
    for path, text in files.items():
        if path == "tests/lint/own_words.py" or path == "LICENSE":
            continue
        for pattern, why in PATTERNS:
            if "ro" r"ot" in pattern and EXCEPT.match(path):
                continue
            for match in re.finditer(pattern, text, re.I if why.startswith("not a word") else 0):
                found.append(f"{path}:{common.line_of(text, match.start())}: '{match[0]}' is {why}")
    return found


BAD = [({"docs/x.md": line}, why) for line, why in [
    ("see /wo" "rk/main/x\n", "a path of one machine"), ("in /tmp/br" "ief/x\n", "a path of one machine"),
    ("in /ho" "me/joe/x\n", "a path of one machine"), ("fixes iss" "ue #12\n", "not a word"),
    ("the assist" "ant said\n", "not a word"), ("https://pypi.proxy.example/x\n", "a host of one network")]]
GOOD = [{"docs/x.md": "work/x, ./home/x, /tmp/demo.json, an issue of data, TLS session, https://deb.debian.org/x, ~/work/x\n"},
        {"tests/lab/x.py": "/root/.ssh\n"}]

if __name__ == "__main__":
    common.main(check, BAD, GOOD)
