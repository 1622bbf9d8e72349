#!/usr/bin/python3
"""What tests/image/run runs: the host image, from its build to a cell of hosts that were booted from it."""
import os
import pathlib
import re
import shutil
import socket
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))
sys.path.insert(0, str(HERE))

import broken_root  # noqa: E402
import image_lab  # noqa: E402
import machine  # noqa: E402
from lablib import faults  # noqa: E402
from lablib.case import expect, sh  # noqa: E402
from lablib.client_vm import NAME  # noqa: E402
from lablib.plan import PROJECT  # noqa: E402
from lablib.proc import run, wait_for  # noqa: E402
from lablib.trial import Trial  # noqa: E402

CHECK = PROJECT / "images/host/check"
LYNIS_LEAST = 75  # the hardening index; docs/host-image.md says what it names and why it stays
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
        # Neither the machine nor the lab's hosts have KVM, and one build serves both: QEMU from backports, all else as for a real host.
        image_lab.build_image(work / "disk", image_lab.packages(work), "--emulation", "--seed", str(seed))
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
        _firewall(host)


def test_lynis():
    """lynis, carried into the machine, gives it at least the index that docs/host-image.md promises."""
    with machine.Machine(_disk(), state["key"], work) as host:
        host.wait()
        index = _lynis(host)
        expect(index >= LYNIS_LEAST, f"lynis' hardening index is {index}, below {LYNIS_LEAST}")


def _next_kernel(host, kernel):
    """What an upgrade of the kernel does puts its entry where the image's own is."""
    host.ssh(f"kernel-install add {kernel} /boot/vmlinuz-{kernel} /boot/initrd.img-{kernel}")
    entries = host.ssh("ls", "/boot/efi/loader/entries").stdout.split()
    expect(entries == [f"bascule-{kernel}.conf"], f"entries of the boot loader: {entries}")
    text = host.ssh("cat", f"/boot/efi/loader/entries/{entries[0]}").stdout
    expect("root=LABEL=bascule-root" in text and f"/bascule/{kernel}/linux" in text and "lockdown=integrity" in text, text)


def _echo(port):
    """What comes back from the machine's port 9999: the word that was sent, or nothing."""
    with socket.create_connection(("127.0.0.1", port), 5) as one:
        one.settimeout(5)
        try:
            one.sendall(b"hello\n")
            return one.recv(100).decode()
        except OSError:
            return ""


def _firewall(host):
    """A program that listens on a port of its own is not reached; without the firewall it would be."""
    host.ssh("systemd-run", "--quiet", "--unit", "echo-test", "systemd-socket-activate", "-l", "9999", "--inetd", "-a", "/bin/cat")
    wait_for("the listener", lambda: ":9999 " in host.ssh("ss", "-Hltn").stdout, 30)
    said = _echo(host.echo_port)
    expect(said == "", f"port 9999 answered {said!r}")
    host.ssh("nft", "flush", "ruleset")
    said = _echo(host.echo_port)
    expect(said == "hello\n", f"port 9999 does not answer without the firewall either: {said!r}")


def _lynis(host):
    """Debian's lynis, carried into the machine: the image has it not."""
    packed = work / "lynis.tar"
    run(["tar", "-C", "/", "-cf", str(packed), "usr/sbin/lynis", "usr/share/lynis", "etc/lynis"])
    with open(packed, "rb") as file:
        host.ssh("tar", "-C", "/", "--no-overwrite-dir", "--no-same-owner", "-xpf", "-", stdin=file)
    said = host.ssh("lynis", "audit", "system", "--quick", "--no-colors", check=False, timeout=1500).stdout
    keep = pathlib.Path(os.environ.get("BASCULE_LYNIS", work / "lynis.txt"))
    keep.write_text(said)
    found = re.search(r"Hardening index\s*:\s*(\d+)", said)
    expect(found, "lynis did not end:\n" + said[-2000:])
    print(f"      lynis: hardening index {found[1]}, {len(re.findall('^  ! ', said, re.MULTILINE))} warnings", flush=True)
    return int(found[1])


def the_vm():
    if "vm" not in state:
        _disk()
        state["vm"] = image_lab.boot("own-image", work / "disk/host-root.tar.zst")
    return state["vm"]


def test_hosts_from_the_image():
    """The lab's hosts are booted from the image's root: hostd is the installed one, in its own unit, and a VM runs and is in sync."""
    vm = the_vm()
    for host in vm.lab.hosts:
        said = sh(vm.lab, host.id, "systemctl", "show", "-p", "FragmentPath", "-p", "ExecMainPID", "-p", "ProtectSystem", "hostd")
        expect("FragmentPath=/lib/systemd/system/hostd.service" in said and "ProtectSystem=strict" in said, said)
        pid = re.search(r"ExecMainPID=(\d+)", said)[1]
        expect(sh(vm.lab, host.id, "readlink", f"/proc/{pid}/exe").strip() == "/usr/sbin/hostd", "it is another hostd")
        owner = sh(vm.lab, host.id, "dpkg", "-S", "/usr/sbin/hostd").strip()
        expect(owner == "bascule-hostd: /usr/sbin/hostd", owner)
        changed = sh(vm.lab, host.id, "dpkg", "--verify", "bascule-hostd", check=False).splitlines()
        changed = [line for line in changed if not re.match(r"missing +/usr/share/man/", line)]  # the image has no manuals
        expect(not changed, "\n".join(changed))
    vm.in_sync()
    vm.runs_only_on("a1")


def test_hardened_while_it_works():
    """On the host that runs the VM every rule is ok or cannot apply to a kernel of this kind; hostd's exposure is what docs/security.md says."""
    vm = the_vm()
    shutil.copyfile(CHECK, vm.lab.exchange / "check")
    said = sh(vm.lab, "a1", "bash", "/lab/check", "--running", check=False, timeout=300)
    lines = said.splitlines()
    expect(lines and not [line for line in lines if line.startswith("not ok")], "\n".join(line for line in lines if not line.startswith("ok")))
    print(f"      {lines[-1]}", flush=True)
    for line in lines:
        if line.startswith("n/a"):
            print(f"      {line}", flush=True)
    exposure = sh(vm.lab, "a1", "systemd-analyze", "security", "hostd.service", "--no-pager").strip().splitlines()[-1]
    print(f"      {exposure.split(' ', 1)[-1]}", flush=True)


def test_live_migration():
    """The VM moves to the other site and back, live."""
    vm = the_vm()
    for target in ("b1", "a1"):
        vm.do("vm", "migrate", NAME, "--to", target)
        vm.runs_only_on(target)


def test_power_cut():
    """Power cut: the VM starts on the other site, the host boots from its disk again and is hardened and in sync as before."""
    vm = the_vm()
    row = Trial(vm, "power-cut").run()
    print(f"      {row}", flush=True)
    expect(any("vm-failover to b1: done" in act for act in row.get("acts", [])), f"{row}")
    expect(row["human"] == "no", f"a person is asked for: {row}")
    vm.in_sync()


def test_judged():
    """No acknowledged record was lost, torn or doubled, on either leg."""
    vm = the_vm()
    faults.heal(vm.lab)
    wait_for("the VM to run", lambda: vm.ask("vm", "show", NAME)["state"] == "running", 120, every=0.5)
    print(f"      {vm.remove()}", flush=True)


if __name__ == "__main__":
    image_lab.scenarios(globals(), "own-image", work, KEPT)
