"""What tests/packages/run runs. Each check is a sentence; the first that fails of building or installing ends the run."""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

import clean_root
from lablib.plan import PROJECT
from lablib.proc import LabError, run

PACKAGES = ("bascule-console", "bascule-hostctl", "bascule-hostd", "bascule-setup", "bascule-witness")
EXPOSURE = 30  # systemd-analyze's tenths: what is left is argued in docs/security.md
CONSOLE_KINDS = (".html", ".js", ".css", ".svg", ".txt")  # api/console_files.cpp
CONSOLE_BYTES = 4 << 20
BUILD_SECONDS = 1000  # 188 files, on 2 idle cores
EXAMPLE = "usr/share/doc/bascule-hostd/examples/hostd.toml"


class Failed(Exception):
    pass


def expect(condition, why):
    if not condition:
        raise Failed(why)


class Run:
    def __init__(self):
        self.passed, self.failed = 0, 0

    def check(self, sentence, function):
        start, why = time.monotonic(), ""
        try:
            function()
        except (Failed, LabError) as err:
            why = str(err)
        except Exception:  # a bug of the check is a failure of it
            why = traceback.format_exc()
        self.passed += not why
        self.failed += bool(why)
        print(f"{'not ok' if why else 'ok'} - {sentence} ({time.monotonic() - start:.1f} s)", flush=True)
        for line in why.splitlines():
            print(f"    {line}", flush=True)
        return not why


def build(folder):
    """lintian is part of packaging/build: an error or a warning that no override argues ends it."""
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        child = subprocess.Popen([str(PROJECT / "packaging/build"), str(folder)], stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = child.wait(BUILD_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # the compilers too
            child.wait()
            code = f"none after {BUILD_SECONDS} s"
        log.seek(0)
        expect(code == 0, f"exit {code}\n" + "\n".join(log.read().splitlines()[-40:]))


def found(folder):
    debs = sorted(folder.glob("bascule-*.deb"))
    names = tuple(sorted(path.name.split("_")[0] for path in debs if "-dbgsym" not in path.name))
    expect(names == PACKAGES, f"{folder} holds {names}, not {PACKAGES}")
    return [path for path in debs if "-dbgsym" not in path.name]


def installed(root, debs):
    for deb in debs:
        (root.path / "tmp" / deb.name).write_bytes(deb.read_bytes())
    root.inside("dpkg", "--install", *[f"/tmp/{deb.name}" for deb in debs])
    for deb in debs:
        (root.path / "tmp" / deb.name).unlink()
    said = root.inside("dpkg", "--verify", *PACKAGES, check=False)
    expect(said.returncode == 0 and not said.stdout, said.stdout)
    expect(not list((root.path / "etc/systemd/system").rglob("*hostd*")), "hostd is enabled by its installation")


def programs(root):
    version = re.match(r"bascule \((\S+)\)", (PROJECT / "debian/changelog").read_text())[1]
    for program in ("hostctl", "hostd"):
        said = root.inside(program, "--version").stdout.strip()
        expect(said.split()[-1] == version, f"{program} --version says {said!r}, not {version}")
    said = json.loads(root.inside("bascule-setup", "--json", check=False).stdout)
    expect(not said["ok"] and {"watchdog", "pool"} & {one["check"] for one in said["findings"]}, f"bascule-setup says {said}")
    answers = "/usr/share/doc/bascule-setup/examples/cell.toml"
    said = root.inside("bascule-setup", "apply", "--answers", answers, "--as", "a1", "--dry-run", check=False).stdout
    expect("vgcreate vg0" in said or "no disk of this machine" in said, f"bascule-setup apply says {said}")
    said = root.inside("bascule-setup", "apply", "--answers", answers, "--as", "witness", "--root", "/tmp/witness", "--yes", check=False)
    expect(said.returncode == 3 and (root.path / "tmp/witness/etc/bascule/pki/host.csr").exists(), f"bascule-setup apply: exit {said.returncode}, {said}")
    shutil.rmtree(root.path / "tmp/witness")
    helper = root.inside("/usr/libexec/bascule/hostd-fence-peer", check=False)
    expect(helper.returncode == 1, f"hostd-fence-peer without a resource: exit {helper.returncode}, not 1 (stay frozen)")


def configuration(root):
    """The shipped one is taken as it is; one with a typo is refused with its key."""
    text = (root.path / EXAMPLE).read_text()
    expect(text == (PROJECT / "packaging/hostd.toml").read_text(), "the example is not packaging/hostd.toml")
    place = root.path / "etc/bascule/hostd.toml"
    try:
        place.write_text(text)
        root.inside("hostd", "--check")
        place.write_text(text.replace("[watchdog]", "[wachdog]"))
        said = root.inside("hostd", "--check", check=False)
        expect(said.returncode == 2 and "wachdog" in said.stderr, f"a typo: exit {said.returncode}, {said.stderr}")
    finally:
        place.unlink()


def manuals(root):
    """Every command and option that the programs know has its place in their manual page."""
    pages = {}
    for name, section in (("hostd", 8), ("hostd-fence-peer", 8), ("hostd.toml", 5), ("hostctl", 1), ("bascule-setup", 8)):
        packed = root.path / f"usr/share/man/man{section}/{name}.{section}.gz"
        pages[name] = run(["zcat", str(packed)]).stdout.replace("\\-", "-")
    for program, *words in (("hostd",), ("bascule-setup",), ("bascule-setup", "apply"), *(("bascule-setup", "ca", word) for word in
                            ("init", "request", "sign", "revoke", "crl"))):
        for option in set(re.findall(r"--[a-z-]+", root.inside(program, *words, "--help").stdout)) - {"--help"}:
            expect(option in pages[program], f"{program}.8 does not name {option} of {words}")
    words = re.sub(r'^\.[BIR]+ |"', "", pages["hostctl"], flags=re.MULTILINE)
    known = [line.strip() for line in root.inside("hostctl", "__commands").stdout.splitlines() if line.strip()]
    commands = {line.split(" --")[0] for line in known}
    expect(len(commands) > 20, f"hostctl names {len(commands)} commands")
    for command in sorted(commands):
        expect(re.search(rf"^{re.escape(command)}\b", words, re.MULTILINE), f"hostctl.1 does not name '{command}'")
    for option in sorted({line.split(" ")[-1] for line in known if " --" in line}):
        expect(option in words, f"hostctl.1 does not name {option}")


def completion(root):
    """The script that bash loads by the command's name (with .bash behind it, as bash-completion looks for it) asks hostctl."""
    said = root.inside("bash", "-c", "source /usr/share/bash-completion/completions/hostctl.bash; complete -p hostctl").stdout
    expect("-F" in said, said)
    said = root.inside("hostctl", "__complete", "--", "vm", "mi").stdout
    expect(said.startswith("migrate"), said)
    for place in ("zsh/vendor-completions/_hostctl", "fish/vendor_completions.d/hostctl.fish"):
        expect((root.path / "usr/share" / place).stat().st_size, f"{place} is empty")


def units(root):
    said = run(["systemd-analyze", "verify", f"--root={root.path}", "--man=no", "hostd.service"], check=False)
    ours = [line for line in (said.stdout + said.stderr).splitlines() if "hostd" in line]
    expect(said.returncode == 0 and not ours, "\n".join(ours) or said.stderr)
    for manual in re.findall(r"man:(\S+)\((\d)\)", (root.path / "lib/systemd/system/hostd.service").read_text()):
        expect((root.path / "usr/share/man/man{1}/{0}.{1}.gz".format(*manual)).exists(), f"Documentation= names {manual}")


def exposure(root):
    unit = root.path / "lib/systemd/system/hostd.service"
    said = run(["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", str(unit)], check=False)
    expect(said.returncode == 0, "\n".join(line for line in said.stdout.splitlines() if "✗" in line or "Overall" in line))
    print("      " + said.stdout.strip().splitlines()[-1].split(" ", 1)[1], flush=True)


def console(root):
    """What hostd takes, and nothing else: api/console_files.cpp refuses the folder otherwise."""
    folder = root.path / "usr/share/bascule/console"
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    for path in files:
        expect(path.is_file() and not path.is_symlink() and path.suffix in CONSOLE_KINDS, f"hostd does not take {path.name}")
        expect(path.parent in (folder, folder / "assets"), f"hostd does not take the folder of {path}")
    expect(sum(path.stat().st_size for path in files) <= CONSOLE_BYTES, "larger than hostd takes")
    page = (folder / "index.html").read_text()
    named = re.findall(r'(?:src|href)="/console/([^"]+)"', page)
    expect(len(named) >= 3, f"index.html names {named}")
    for name in named:
        expect((folder / name).is_file(), f"index.html names {name}, which is not there")
    expect(re.search(r'default = "(.*?)"|console = "(.*?)"', (root.path / EXAMPLE).read_text())[2] == "/usr/share/bascule/console",
           "the configuration's default is another folder")


def extras(root):
    json.loads((root.path / "usr/share/bascule/grafana/bascule.json").read_text())
    expect((root.path / "usr/share/bascule/prometheus/bascule.rules.yml").is_file(), "there are no alert rules")
    words = (root.path / "usr/lib/modules-load.d/bascule.conf").read_text().split("\n")
    expect("drbd" in words, "drbd is not loaded at boot")
    expect((root.path / "usr/share/doc/bascule-witness/examples/etcd").is_file(), "the witness has no example")


def catalog(root):
    """The journal's catalog has every event of hostd, which systemd's own trigger has read in."""
    wanted = set(re.findall(r'Message \w+\{"[\w-]+", "([0-9a-f]{32})"', (PROJECT / "hostd/runtime/messages.hpp").read_text()))
    known = {line.split()[0] for line in root.inside("journalctl", "--list-catalog").stdout.splitlines() if "Bascule" in line}
    expect(wanted and known == wanted, f"journalctl knows {len(known)} of {len(wanted)} events")


def purged(root):
    root.inside("dpkg", "--purge", *PACKAGES)
    left = root.changes()
    expect(not left, "\n".join(left))


def main():
    options = argparse.ArgumentParser(prog="tests/packages/run")
    options.add_argument("--packages", type=pathlib.Path, help="folder of packages that are built already")
    args = options.parse_args()
    result = Run()
    with tempfile.TemporaryDirectory(prefix="bascule-packages.") as made:
        folder = args.packages or pathlib.Path(made)
        ready = args.packages or result.check("the packages are built, and lintian finds no error or warning", lambda: build(folder))
        debs = []
        if ready and result.check("all packages are there", lambda: debs.extend(found(folder))):
            with clean_root.root(debs) as root:
                look(result, root, debs)
    print(f"{result.passed} passed, {result.failed} failed", flush=True)
    return 1 if result.failed or not result.passed else 0


def look(result, root, debs):
    if not result.check("they install on a clean Debian 12 that has what they depend on", lambda: installed(root, debs)):
        return
    for sentence, function in (
            ("hostctl and hostd run and say their version", programs),
            ("hostd takes the shipped configuration, and refuses one with a typo", configuration),
            ("every command and option stands in its manual page", manuals),
            ("the shells complete hostctl's commands", completion),
            ("systemd finds nothing wrong with hostd.service", units),
            (f"systemd-analyze security says at most {EXPOSURE / 10}", exposure),
            ("hostd can serve the console's files", console),
            ("journalctl -x can explain every event", catalog),
            ("alert rules, dashboard, modules and the witness' example are there", extras),
            ("purged, they leave nothing behind", purged)):
        result.check(sentence, lambda function=function: function(root))


if __name__ == "__main__":
    sys.exit(main())
