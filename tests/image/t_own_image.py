#!/usr/bin/python3
"""What tests/image/run runs: the host image, from its build to a machine that is booted from it."""
import os
import pathlib
import re
import shutil
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))
sys.path.insert(0, str(HERE))

import broken_root  # noqa: E402
import built  # noqa: E402
import machine  # noqa: E402
from lablib.case import expect, main  # noqa: E402
from lablib.plan import CACHE, PROJECT  # noqa: E402
from lablib.proc import run  # noqa: E402

CHECK = PROJECT / "images/host/check"
KEPT = os.environ.get("BASCULE_KEPT")  # a folder of an earlier run, or for this one: what it built is taken, and stays
work = pathlib.Path(KEPT or tempfile.mkdtemp(prefix="image-run.", dir="/var/tmp"))
state = {}


def _results(text):
    """Sentences of the rules by verdict."""
    found = {"ok": set(), "not ok": set(), "n/a": set()}
    for verdict, sentence in re.findall(r"^(ok|not ok|n/a) - (.*?)(?:: .*)?$", text, re.MULTILINE):
        found[verdict].add(sentence)
    return found


def _disk():
    if "disk" not in state:
        state["disk"], state["key"] = work / "disk/host.raw", work / "key"
        if state["disk"].exists():
            return state["disk"]
        _, seed = machine.make_seed(work)
        # QEMU from backports, as a host without KVM has it; all else as for a real host.
        built.image(work / "disk", built.packages(work), "--emulation", "--seed", str(seed))
    return state["disk"]


def test_build():
    """One command makes a root and a disk; every rule that a root can show is ok."""
    _disk()
    names = sorted(path.name for path in (work / "disk").iterdir())
    expect(names == ["host-root.tar.zst", "host.packages", "host.raw"], f"the build left {names}")
    table = run(["sfdisk", "--dump", str(state["disk"])]).stdout
    expect("label: gpt" in table and table.count("start=") == 2 and "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" in table, table)
    own = [line for line in (work / "disk/host.packages").read_text().splitlines() if line.startswith("bascule-")]
    print(f"      {', '.join(own)}; {len((work / 'disk/host.packages').read_text().splitlines())} packages", flush=True)


def test_check_finds():
    """The check finds everything that is wrong with a root on which one thing is wrong for each rule."""
    _disk()
    root = work / "broken"
    root.mkdir()
    run(["tar", "-C", str(root), "--numeric-owner", "-xf", str(work / "disk/host-root.tar.zst")], timeout=600)
    whole = _results(run([str(CHECK), str(root)], timeout=300).stdout)
    expect(not whole["not ok"], f"before anything is broken: {whole['not ok']}")
    wanted = broken_root.break_all(root)
    done = run([str(CHECK), str(root)], check=False, timeout=300)
    found = _results(done.stdout)
    shutil.rmtree(root)
    expect(done.returncode == 1, f"exit {done.returncode}")
    expect(wanted <= found["not ok"], f"not found: {sorted(wanted - found['not ok'])}")
    expect(found["not ok"] <= wanted, f"found what is not wrong: {sorted(found['not ok'] - wanted)}")
    settings = {rule for rule in whole["ok"] if rule.startswith("kernel setting")}  # one rule in the code, broken for two of them
    expect(whole["ok"] - wanted <= settings, f"nothing breaks these rules: {sorted(whole['ok'] - wanted - settings)}")
    print(f"      {len(wanted)} rules of {len(whole['ok'])} broken and found", flush=True)


def test_disk_boots():
    """The disk boots by EFI and systemd-boot with Debian's kernel to the end of its boot; every rule is ok there, running."""
    with machine.Machine(_disk(), state["key"], work) as host:
        seconds = host.wait()
        kernel = host.ssh("uname", "-r").stdout.strip()
        print(f"      {kernel}, booted after {seconds:.0f} s; {host.ssh('systemctl', 'is-system-running', check=False).stdout.strip()}", flush=True)
        print("      " + host.ssh("systemd-analyze", check=False).stdout.strip().splitlines()[0], flush=True)
        drbd = host.ssh("head", "-n", "1", "/proc/drbd").stdout.strip()
        print(f"      {drbd}; watchdog: {host.ssh('cat', '/sys/class/watchdog/watchdog0/identity', check=False).stdout.strip()}", flush=True)
        _next_kernel(host, kernel)
        host.ssh("cat > check && chmod 0700 check", input=CHECK.read_text())
        said = host.ssh("./check", "--running", check=False, timeout=600)
        (work / "check.txt").write_text(said.stdout)
        expect(said.returncode == 0, "\n".join(line for line in said.stdout.splitlines() if not line.startswith("ok")))
        print(f"      check --running: {said.stdout.splitlines()[-1]}", flush=True)


def _next_kernel(host, kernel):
    """What an upgrade of the kernel does puts its entry where the image's own is."""
    host.ssh(f"kernel-install add {kernel} /boot/vmlinuz-{kernel} /boot/initrd.img-{kernel}")
    entries = host.ssh("ls", "/boot/efi/loader/entries").stdout.split()
    expect(entries == [f"bascule-{kernel}.conf"], f"entries of the boot loader: {entries}")
    text = host.ssh("cat", f"/boot/efi/loader/entries/{entries[0]}").stdout
    expect("root=LABEL=bascule-root" in text and f"/bascule/{kernel}/linux" in text and "lockdown=integrity" in text, text)


if __name__ == "__main__":
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        main(globals())
    finally:
        if not KEPT:
            shutil.rmtree(work, ignore_errors=True)
