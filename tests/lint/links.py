#!/usr/bin/env python3
"""Links in the documents lead somewhere: files, folders, headings. Web links are not followed."""
import posixpath
import re

import common

LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)")
# A path of the tree in backticks: at least one slash, known top folder. `...`, placeholders and options are not paths.
PATH = re.compile(r"`((?:hostd|storage|migration|api|tests|images|docs|cmake|packaging)/[\w./-]+)`")
FENCE = re.compile(r"^```.*?^```", re.S | re.M)


def anchors(text):
    names = set()
    for heading in re.findall(r"^#+ +(.+?)\s*$", FENCE.sub("", text), re.M):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        names.add(name)
    return names


def check(files):
    folders = {posixpath.dirname(f) for f in files}
    folders |= {"/".join(f.split("/")[:n]) for f in folders for n in range(1, f.count("/") + 2)}
    found = []
    for path, text in files.items():
        if not path.endswith(".md"):
            continue
        body = FENCE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)
        for match in LINK.finditer(body):
            target = match[1] or match[2]
            where = f"{path}:{common.line_of(body, match.start())}"
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = posixpath.normpath(posixpath.join(posixpath.dirname(path), name)) if name else path
            if file not in files and file not in folders:
                found.append(f"{where}: {target} leads nowhere")
            elif anchor and file in files and anchor not in anchors(files[file]):
                found.append(f"{where}: {file} has no heading #{anchor}")
        for match in PATH.finditer(body):
            file = match[1].rstrip("/.")
            if ".." not in file and file not in files and file not in folders:
                found.append(f"{path}:{common.line_of(body, match.start())}: there is no {file}")
    return found


BAD = [
    ({"docs/a.md": "see [b](b.md)\n"}, "leads nowhere"),
    ({"docs/a.md": "see [b](../x/b.md)\n"}, "leads nowhere"),
    ({"a.md": "see [b](#none)\n# Some\n"}, "no heading #none"),
    ({"a.md": "see [b](b.md#none)\n", "b.md": "# Some\n"}, "no heading #none"),
    ({"a.md": "see `hostd/gone.cpp`\n"}, "no hostd/gone.cpp"),
    ({"a.md": "![p](p.png)\n"}, "leads nowhere"),
]
GOOD = [
    {"docs/a.md": "[b](b.md) [c](b.md#some-heading) [d](../hostd) [e](https://x.org/y) `hostd/core/x.hpp` `hostd/core`\n",
     "docs/b.md": "# Some heading\n", "hostd/core/x.hpp": ""},
    {"a.md": "```\n[b](gone.md)\n```\n`tests/<name>` `api/...x`\n"},
]

if __name__ == "__main__":
    common.main(check, BAD, GOOD)
