#!/usr/bin/env python3
"""Every call that can start a VM, promote a leg or let I/O go on stands under a `// safety:` comment that proves it."""
import re

import common

NEAR = 8  # lines between the comment's first word and the call
AFTER = 12  # a list of command lines is made first and run below
CALLS = [
    r"[.>]promote\s*\(",                  # storage::DrbdPort
    r"\bvms\s*[.>]+\s*(start|resume|migrate)\s*\(",  # VmHost
    r"\bvirDomain(Create\w*|Resume|Restore\w*|Migrate\w*ToURI\w*)\s*\(",
    r'"resume-io"',
    r"(?<![:\w])(?<!== )(?:storage::)?Force::(outdated|fresh)\b",  # comparing needs no argument
    r"(?<![:\w])(?<!== )(?:storage::)?Discard::own_data\b",
    r"[.>]\w*clear_bitmap\s*\(",         # equal legs without a sync
]
LISTS = r"[.>](primary|skip_first_sync|resume_io)\s*\("  # command lines that do it, run below
FOLDERS = ("hostd/", "storage/", "migration/", "api/")


def check(files):
    found = []
    for path, text in common.cpp(files).items():
        if not path.startswith(FOLDERS):
            continue
        code = common.code_only(text, keep_strings=True).splitlines()
        lines = text.splitlines()
        for number, line in enumerate(code):
            made = re.search(LISTS, line)
            if not made and not any(re.search(call, line) for call in CALLS):
                continue
            near = lines[max(0, number - NEAR):number + (AFTER if made else 1)]
            if not any("// safety:" in before for before in near):
                found.append(f"{path}:{number + 1}: '{line.strip()[:70]}' has no `// safety:` comment within {NEAR} lines")
    return found


BAD = [({"hostd/x.cpp": line}, "no `// safety:`") for line in [
    "const auto f = given ? storage::Force::outdated : storage::Force::no;\n",
    "auto ok = co_await c.node.drbd.connect(*resource, storage::Discard::own_data);\n",
    "co_return co_await node.drbd.promote(name, proof);\n",
    "drbd->promote(name);\n",
    "auto ok = co_await c.node.vms.start(spec, proof);\n",
    "auto ok = co_await c.node.vms.resume(vm, proof);\n",
    "virDomainCreateXML(c, x, 0);\n",
    "if (virDomainResume(d) < 0) return;\n",
    'argv = {"resume-io", minor};\n',
    "const auto list = now->primary();\nrun(list);\n",
    "// safety: too far away\n" + "\n" * NEAR + "virDomainResume(d);\n",
]]
GOOD = [
    {"hostd/x.cpp": "// safety: the record names this host\nvirDomainResume(d);\n"},
    {"hostd/x.cpp": "// safety: a proof that\n// takes two lines\n\nco_await drbd.promote(n);\n"},
    {"hostd/x.cpp": "virtual Task<> promote(std::string name) = 0;\n// never calls virDomainResume(d)\nvms.observe(x);\n"},
    {"storage/x.cpp": "auto list = now->primary();\nfor (;;) {\n  // safety: the record\n  run(list);\n}\n"},
    {"tests/x.cpp": "drbd.promote(n);\n"},
]

if __name__ == "__main__":
    common.main(check, BAD, GOOD)
