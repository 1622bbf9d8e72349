#!/usr/bin/env python3
"""Alert rules and dashboard name only metrics that hostd has, and runbooks that exist. (Whether the rules fire when they should is
promtool's to say: packaging/prometheus/rules_test.yml.)"""
import re

import common

METRIC = re.compile(r"\bbascule_[a-z_]+\b")
RUNBOOK = re.compile(r"docs/runbooks/[\w-]+\.md")
DERIVED = re.compile(r"_(bucket|count|sum)$")  # of a histogram


def check(files):
    source = files.get("api/metrics.cpp", "")
    known = set(re.findall(r'"(bascule_[a-z_]+)"', source))
    found = []
    for path, text in files.items():
        if not path.startswith(("packaging/prometheus/", "packaging/grafana/")):
            continue
        for name in sorted(set(METRIC.findall(text))):
            if name not in known and DERIVED.sub("", name) not in known:
                found.append(f"{path}: hostd has no metric {name}")
        for name in sorted(set(RUNBOOK.findall(text))):
            if name not in files:
                found.append(f"{path}: there is no {name}")
    return found


SOURCE = {"api/metrics.cpp": 'Name("bascule_hosts") Name("bascule_request_seconds")'}
BAD = [
    ({**SOURCE, "packaging/prometheus/r.yml": "expr: bascule_hostes > 0"}, "no metric bascule_hostes"),
    ({**SOURCE, "packaging/grafana/d.json": '"bascule_gone_bucket"'}, "no metric bascule_gone_bucket"),
    ({**SOURCE, "packaging/prometheus/r.yml": "see docs/runbooks/none.md"}, "no docs/runbooks/none.md"),
]
GOOD = [{**SOURCE, "packaging/prometheus/r.yml": "expr: bascule_hosts > 0 bascule_request_seconds_bucket docs/runbooks/a.md",
         "docs/runbooks/a.md": ""}]

if __name__ == "__main__":
    common.main(check, BAD, GOOD)
