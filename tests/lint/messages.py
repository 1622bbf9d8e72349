#!/usr/bin/env python3
"""The catalog of events (hostd/runtime/messages.hpp) is whole, used, and what docs/messages.md and the journal's catalog are made of.

    messages.py --write ROOT    writes both anew"""
import pathlib
import re
import sys

import common

TABLE, DOC, CATALOG = "hostd/runtime/messages.hpp", "docs/messages.md", "packaging/catalog/bascule.catalog"
SAY = "hostd/runtime/say.cpp"
TEXT = r'((?:"(?:[^"\\]|\\.)*"\s*)+)'
ENTRY = re.compile(r'inline constexpr Message (\w+)\{' + TEXT + r',\s*' + TEXT + r',\s*Level::(\w+),\s*' + TEXT + r',\s*' + TEXT + r'\};')
SECTION = re.compile(r"^// ([a-zA-Z][^\n]*)$", re.M)
LOUD = re.compile(r"\bspdlog::(?:warn|error|critical)\s*\(")
USE = re.compile(r"\bmsg::([a-z]\w*)\b")


def words(literals):
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals)).replace('\\"', '"').replace("\\\\", "\\")


def entries(text):
    """[(section, variable, name, id, level, what it means, what to do)] in the order of the table."""
    marks = [(match.start(), match[1]) for match in SECTION.finditer(text) if "clang-format" not in match[1]]
    out = []
    for match in ENTRY.finditer(text):
        section = next((title for at, title in reversed(marks) if at < match.start()), "")
        out.append((section, match[1], words(match[2]), words(match[3]), match[4], words(match[5]), words(match[6])))
    return out


def doc(table):
    out = ["# What hostd says", "",
           "Made by `tests/lint/messages.py --write .` of [messages.hpp](../hostd/runtime/messages.hpp); do not edit it.", "",
           "Under systemd each event is a record of the journal with `MESSAGE_ID=`, `BASCULE_MESSAGE=` (its name), `PRIORITY=` and, where",
           "known, `BASCULE_VM=`, `BASCULE_HOST=` (the host it is about), `BASCULE_OPERATION=`, `BASCULE_EPOCH=`, `BASCULE_VOLUME=`,",
           "`BASCULE_ALERT=`, `BASCULE_CALLER=`. Names and ids never change. `journalctl -x` shows what it means and what to do; on a",
           "terminal (`hostd --config FILE`) the name stands before the text.", "",
           "    journalctl -u hostd -p warning                             # what may need somebody",
           "    journalctl BASCULE_VM=web1                                 # all that happened to a VM on this host",
           "    journalctl BASCULE_MESSAGE=failover-decided -x             # by name; MESSAGE_ID=... finds the same",
           "    journalctl BASCULE_OPERATION=op-... -o json                # for programs", "",
           "The journal is a log, not the record: an event is written after what it tells of, and a host that dies between the two never",
           "writes it. Who did what stands in the audit chain. What is not listed here (steps, decisions in between) is plain text at level",
           "`info` without an id, and its words may change."]
    section = None
    for title, _, name, ident, level, means, todo in table:
        if title != section:
            section = title
            out += ["", f"## {title[0].upper()}{title[1:]}", "| name | level | what it means | what to do | MESSAGE_ID |",
                    "| --- | --- | --- | --- | --- |"]
        cells = [f"`{name}`", level, means, todo, f"`{ident}`"]
        out.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(out) + "\n"


def catalog(table):
    out = ["# For journalctl -x. Made by tests/lint/messages.py of hostd/runtime/messages.hpp; do not edit it."]
    for _, _, name, ident, _, means, todo in table:
        out += ["", f"-- {ident}", f"Subject: {name} @BASCULE_VM@", "Defined-By: Bascule", "Documentation: man:hostd(8)", "", means, "",
                f"What to do: {todo}".replace("docs/", "/usr/share/doc/bascule-hostd/")]
    return "\n".join(out) + "\n"


def check(files):
    table = entries(files.get(TABLE, ""))
    found = []
    seen = {}
    for _, variable, name, ident, level, means, todo in table:
        where = f"{TABLE}: {variable}"
        if not re.fullmatch(r"[0-9a-f]{32}", ident):
            found.append(f"{where}: its id is not 32 hexadecimal digits")
        if name != variable.replace("_", "-"):
            found.append(f"{where}: its name is {name}")
        if level not in ("info", "warn", "error", "critical"):
            found.append(f"{where}: its level is {level}")
        if not means.endswith(".") or not todo.endswith("."):
            found.append(f"{where}: what it means and what to do are sentences")
        for kind, value in (("id", ident), ("name", name)):
            if (kind, value) in seen:
                found.append(f"{where}: has the {kind} of {seen[kind, value]}")
            seen[kind, value] = variable
    declared = len(re.findall(r"\bconstexpr Message \w+\{", files.get(TABLE, "")))
    if declared != len(table):
        found.append(f"{TABLE}: {declared - len(table)} entries cannot be read: name, id, Level::x, what it means, what to do")
    names, used = {entry[1] for entry in table}, set()
    for path, text in common.cpp(files).items():
        if path == TABLE or path.startswith("tests/"):
            continue
        code = common.code_only(text)
        for match in USE.finditer(code):
            used.add(match[1])
            if match[1] not in names:
                found.append(f"{path}:{common.line_of(code, match.start())}: {match[1]} is not in {TABLE}")
        for match in LOUD.finditer(code):
            found.append(f"{path}:{common.line_of(code, match.start())}: what is louder than info is an event: say(msg::...) with an entry")
    found += [f"{TABLE}: nothing says {name}" for name in sorted(names - used)]
    for path, made in ((DOC, doc(table)), (CATALOG, catalog(table))):
        if files.get(path) != made:
            found.append(f"{path} is not what {TABLE} says: tests/lint/messages.py --write .")
    return found


def sample(entry, more=None, doc_of=None):
    table = entries(doc_of or entry)
    return {TABLE: entry, DOC: doc(table), CATALOG: catalog(table), **(more or {"hostd/x.cpp": 'say(msg::one, {}, "x");'})}


ONE = '// things\ninline constexpr Message one{"one", "' + "0a" * 16 + '", Level::info,\n    "It is "\n    "one.", "Nothing."};\n'
TWO = ONE + ONE.replace("Message one", "Message two")
BAD = [
    (sample(ONE.replace("0a0a", "0a", 1)), "32 hexadecimal"),
    (sample(ONE.replace('"one"', '"two"')), "its name is two"),
    (sample(ONE.replace("Level::info", "Level::loud")), "its level is loud"),
    (sample(ONE.replace("one.", "one")), "are sentences"),
    (sample(TWO), "has the id of one"),
    (sample(TWO), "nothing says two"),
    (sample(ONE.replace(', "Nothing."', "")), "cannot be read"),
    (sample(ONE, {"hostd/x.cpp": 'say(msg::one, {}, "x"); say(msg::none, {}, "y");'}), "none is not in"),
    (sample(ONE, {"hostd/x.cpp": "int x;"}), "nothing says one"),
    (sample(ONE, {"hostd/x.cpp": 'say(msg::one, {}, "x"); spdlog::warn("y");'}), "louder than info"),
    (sample(ONE, doc_of=ONE.replace("It is", "It was")), "docs/messages.md is not"),
    ({**sample(ONE), CATALOG: ""}, "bascule.catalog is not"),
]
GOOD = [sample(ONE), sample(ONE, {"hostd/x.cpp": '// msg::none\nsay(msg::one, {}, "msg::none"); spdlog::info("z");'})]

if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        root = pathlib.Path(sys.argv[2])
        known = entries((root / TABLE).read_text())
        (root / DOC).write_text(doc(known))
        (root / CATALOG).parent.mkdir(exist_ok=True)
        (root / CATALOG).write_text(catalog(known))
    else:
        common.main(check, BAD, GOOD)
