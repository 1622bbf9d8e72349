#!/usr/bin/env python3
"""Compares the boundary table with what built code imports from libvirt.

Usage: boundary.py SOURCE_DIR EXACT_BINARY [OTHER_BINARY ...]
EXACT_BINARY links the whole libvirt adapter: its imports and the table must be equal. Each OTHER_BINARY that exists
(hostd) may import only what is in the table. No binary may need libvirt-qemu, libvirt-lxc or libvirt-admin, load a
library by itself, or name a monitor command.
"""
import pathlib
import re
import subprocess
import sys

FORBIDDEN_LIBRARIES = ("libvirt-qemu", "libvirt-lxc", "libvirt-admin")
# What would reach QEMU or a guest around libvirt's own calls.
FORBIDDEN_TEXT = (b"virDomainQemu", b"qemu:commandline", b"libvirt-qemu", b"qmp_capabilities", b"guest-exec")
MIGRATE_FLAGS = {"VIR_MIGRATE_LIVE", "VIR_MIGRATE_PEER2PEER", "VIR_MIGRATE_PAUSED", "VIR_MIGRATE_ABORT_ON_ERROR",
                 "VIR_MIGRATE_TLS", "VIR_MIGRATE_AUTO_CONVERGE", "VIR_MIGRATE_PARALLEL"}


def table(path):
    rows, commands, section = {}, [], None
    for line in path.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        match = re.match(r"\| `(\w[\w-]*)` \| (.+) \|$", line)
        if not match:
            continue
        if section == "QMP commands":
            commands.append(match[1])
        elif match[1] in rows:
            raise SystemExit(f"{path}: {match[1]} is listed twice")
        else:
            rows[match[1]] = match[2].strip()
    return rows, commands


def run(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


def imports(binary):
    names = set()
    for line in run("nm", "-D", "--undefined-only", str(binary)).splitlines():
        name = line.split()[-1].split("@")[0]
        if re.match(r"vir[A-Z]", name):
            names.add(name)
    return names


def check_binary(binary, rows, exact):
    errors = []
    found = imports(binary)
    errors += [f"{binary.name} imports {n}, which is not in the table" for n in sorted(found - rows.keys())]
    if exact:
        errors += [f"{n} is in the table, but nothing uses it" for n in sorted(rows.keys() - found)]
        if not found:
            errors.append(f"{binary.name} imports nothing of libvirt: wrong binary")
    needed = run("readelf", "-d", str(binary))
    errors += [f"{binary.name} is linked with {lib}" for lib in FORBIDDEN_LIBRARIES if lib in needed]
    content = binary.read_bytes()
    errors += [f"{binary.name} holds the text {text.decode()}" for text in FORBIDDEN_TEXT if text in content]
    return errors


def check_sources(root):
    errors = []
    home = root / "hostd/runtime/libvirt"
    for folder in ("hostd", "storage", "migration", "api", "images"):
        for path in sorted((root / folder).rglob("*.[ch]pp")):
            text = path.read_text(errors="replace")
            if home not in path.parents and re.search(r"#\s*include\s*<libvirt/", text):
                errors.append(f"{path.relative_to(root)} includes libvirt; only hostd/runtime/libvirt may")
            for flag in sorted(set(re.findall(r"VIR_MIGRATE_(?!PARAM_)\w+", text)) - MIGRATE_FLAGS):
                errors.append(f"{path.relative_to(root)} uses {flag}, which is not allowed")
            for header in re.findall(r"#\s*include\s*<libvirt/([\w-]+)", text):
                if header not in ("libvirt", "virterror"):
                    errors.append(f"{path.relative_to(root)} includes libvirt/{header}")
    return errors


def main():
    root, exact, others = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
    rows, commands = table(root / "hostd/runtime/libvirt/boundary.md")
    errors = [f"QMP command {c} is listed, but QMP is not used" for c in commands]
    errors += [f"{name} has no reason" for name, why in rows.items() if len(why) < 5]
    errors += check_binary(exact, rows, exact=True)
    checked = [exact.name]
    for other in map(pathlib.Path, filter(None, others)):
        if other.exists():
            errors += check_binary(other, rows, exact=False)
            checked.append(other.name)
    errors += check_sources(root)
    for error in errors:
        print(error)
    print(f"{len(rows)} libvirt symbols in the table; checked {', '.join(checked)}; {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
