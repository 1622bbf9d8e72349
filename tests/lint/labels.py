#!/usr/bin/env python3
"""The code and the model name each other: `// safety: R4. Why it holds. [model: R4_stop]`.

A label in such brackets stands in tests/model/*.pml, every label of the table in tests/model/README.md is named by a `// safety:`
comment, and such a comment that cites a rule of the protocol (R1 to R6, H, U) before its first full stop names a label."""
import re

import common

FOLDERS = ("hostd/", "storage/", "fence-peer/", "api/")
MODEL, TABLE = "tests/model/", "tests/model/README.md"
COMMENT = re.compile(r"^[ \t]*//[^\n]*(?:\n[ \t]*//[^\n]*)*", re.M)
NAMED = re.compile(r"\[model: *([^\]]*)\]")
RULE = re.compile(r"\b(?:R[1-6]|H|U)\b")
LABEL = re.compile(r"\b(?:[A-Z][0-9]?_[a-z][a-z_]*|DELAY)\b")


def proofs(text):
    """(position, words) of each `// safety:` comment; (position, None) of a label outside of one."""
    for block in COMMENT.finditer(text):
        words = " ".join(line.strip().lstrip("/").strip() for line in block[0].splitlines())
        parts = re.split(r"\bsafety: ", words)
        if NAMED.search(parts[0]):
            yield block.start(), None
        for part in parts[1:]:
            yield block.start(), part


def table_of(text):
    """The labels of the section that maps rules to labels: the second column of its table."""
    section = text.partition("## Rules, labels, functions")[2]
    rows = [row.split("|") for row in section.splitlines() if row.startswith("|")][2:]
    return [label for row in rows for label in LABEL.findall(row[2])]


def check(files):
    models = "\n".join(text for path, text in files.items() if path.startswith(MODEL) and path.endswith(".pml"))
    known = set(LABEL.findall(models))
    found, named = [], set()
    for path, text in common.cpp(files).items():
        if not path.startswith(FOLDERS):
            continue
        for position, words in proofs(text):
            where = f"{path}:{common.line_of(text, position)}"
            if words is None:
                found.append(f"{where}: a label of the model belongs to a `// safety:` comment")
                continue
            labels = [label for match in NAMED.finditer(words) for label in re.split(r"[,\s]+", match[1].strip())]
            found += [f"{where}: the model has no label '{label}'" for label in labels if label not in known]
            named.update(labels)
            if not labels and RULE.search(words.partition(".")[0]):
                found.append(f"{where}: it cites a rule and names no label of the model: [model: ...]")
    table = table_of(files.get(TABLE, ""))
    found += [f"{TABLE}: the model has no label '{label}'" for label in table if label not in known]
    found += [f"{TABLE}: no `// safety:` comment names '{label}'" for label in table if label not in named]
    found += [f"{TABLE}: '{label}' is named in the code and not in the table" for label in sorted(named & known - set(table))]
    if not table:
        found.append(f"{TABLE}: no table of rules and labels")
    return found


_TABLE = "## Rules, labels, functions\n| rule | label | C++ |\n| --- | --- | --- |\n| R4 | %s | `x` |\n"
_PML = {"tests/model/a.pml": "/* R4_stop */ x; /* R4_shrink */\n#define DELAY(h) y\n"}
_ONE = {**_PML, TABLE: _TABLE % "R4_stop"}
BAD = [
    ({**_ONE, "hostd/x.cpp": "// safety: R4. Why. [model: R4_stop]\n// safety: R4. [model: R4_gone]\n"}, "no label 'R4_gone'"),
    ({**_ONE, "hostd/x.cpp": "// safety: R4. Why.\n// It goes on. [model: R4_stop]\nf();\n// safety: R4. Why.\nf();\n"}, "names no label"),
    ({**_ONE, "hostd/x.cpp": "f();\n"}, "no `// safety:` comment names 'R4_stop'"),
    ({**_ONE, "hostd/x.cpp": "// Why. [model: R4_stop]\n"}, "belongs to a `// safety:` comment"),
    ({**_ONE, "tests/x.cpp": "// safety: R4. Why. [model: R4_stop]\n"}, "no `// safety:` comment names 'R4_stop'"),
    ({**_ONE, "hostd/x.cpp": "// safety: R4. Why. [model: R4_stop, R4_shrink]\n"}, "'R4_shrink' is named in the code"),
    ({**_PML, TABLE: _TABLE % "R4_stop, R4_gone", "hostd/x.cpp": "// safety: R4. [model: R4_stop]\n"}, "no label 'R4_gone'"),
    ({**_PML, TABLE: "## Rules\n", "hostd/x.cpp": "\n"}, "no table"),
    ({**_PML, TABLE: _TABLE % "DELAY", "hostd/x.cpp": "\n"}, "names 'DELAY'"),
]
GOOD = [
    {**_ONE, "hostd/x.cpp": "  // safety: R4, S2. Why,\n  // in two lines.\n  // [model: R4_stop]\n  f();\n// safety: S1. A clock.\n"},
    {**_PML, TABLE: _TABLE % "R4_stop, DELAY", "storage/x.hpp": "// safety: R4. [model: R4_stop,\n// DELAY]\n"},
    {**_ONE, "hostd/x.cpp": "// safety: R4. One. [model: R4_stop]\n// safety: S3. Another, of R4's.\n"},
]

if __name__ == "__main__":
    common.main(check, BAD, GOOD)
