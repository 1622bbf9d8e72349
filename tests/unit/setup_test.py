"""bascule-setup's look at a machine, on machines that do not exist: a good one, and one with each thing wrong."""
import contextlib
import importlib.util
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "packaging/setup/bascule_setup.py"
spec = importlib.util.spec_from_file_location("bascule_setup", PROGRAM)
setup = importlib.util.module_from_spec(spec)
sys.dont_write_bytecode = True
spec.loader.exec_module(setup)

PING = "10 packets transmitted, 10 received, {loss}% packet loss, time 1800ms\nrtt min/avg/max/mdev = {rtt}/{rtt}/{rtt}/0.1 ms\n"
CONFIG = (ROOT / "packaging/hostd.toml").read_text().replace('kind = "lvm"', 'kind = "lvm-thin"').replace("# thin_pool", "thin_pool")
PEERS = ["--peer", "b1=192.0.2.21", "--peer", "witness=192.0.2.5"]


class Fake(setup.Machine):
    """A good host; what differs is given as commands, files and paths."""

    def __init__(self, **more):
        self.commands = {
            "timedatectl": (0, "yes\n"), "hostd": (0, ""), "systemctl show": (0, "0\n"), "modinfo": (0, "8.4.11\n"),
            "drbdadm": (0, "DRBDADM_BUILDTAG=x\nDRBD_KERNEL_VERSION=8.4.11\nDRBDADM_VERSION=9.22.0\n"),
            "systemctl is-enabled drbd.service": (1, "disabled\n"), "qemu-system-x86_64": (0, "QEMU emulator version 7.2.15\n"),
            "systemctl is-enabled libvirtd-tls.socket": (0, "enabled\n"), "systemctl is-active libvirtd-tls.socket": (0, "active\n"), "vgs": (0, "  51200.00\n"), "lvs": (0, "  204800.00 10.00\n"),
            "etcd": (0, "etcd Version: 3.4.23\n"), "openssl verify": (0, "OK\n"), "openssl x509 -noout -in /etc/bascule/pki/host.pem -checkend": (0, ""),
            "openssl x509 -noout -in /etc/bascule/pki/host.pem -ext": (0, "    URI:urn:bascule:host:a1, DNS:a1\n"),
            "ping": (0, PING.format(loss=0, rtt="0.80")), **more.get("commands", {})}
        self.files = {"/etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n', "/proc/cpuinfo": "flags\t\t: fpu vmx\n",
                      "/sys/class/watchdog/watchdog0/identity": "iTCO_wdt\n", "/etc/bascule/hostd.toml": CONFIG, **more.get("files", {})}
        self.paths = {"/dev/kvm", "/dev/watchdog", "/sys/class/net/br-client/bridge", "/var/lib/etcd",
                      *(f"/etc/bascule/pki/{name}" for name in ("ca.pem", "host.pem", "host.key"))} - set(more.get("without", ()))
        self.names, self.key_mode, self.flush = more.get("names", {"b1": ["192.0.2.21"]}), more.get("key_mode", 0o600), more.get("flush", 2.0)

    def run(self, *argv):
        for words in range(len(argv), 0, -1):
            if " ".join(argv[:words]) in self.commands:
                return self.commands[" ".join(argv[:words])]
        return 127, ""

    def read(self, path):
        return self.files.get(path)

    def exists(self, path):
        return path in self.paths

    def mode(self, path):
        return self.key_mode

    def list(self, path):
        return ["watchdog0"]

    def resolves(self, name):
        return self.names.get(name, [])

    def fsync_ms(self, folder):
        return self.flush


def look(*words, machine):
    """(exit code, {check: finding}) as --json says it."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = setup.main([*PEERS, "--json", *words], machine)
    said = json.loads(out.getvalue())
    assert said["ok"] == (code == 0)
    return code, {one["check"]: one for one in said["findings"]}


class Setup(unittest.TestCase):
    def test_a_good_host_and_a_good_witness_have_nothing_to_mend(self):
        for role in ("host", "witness"):
            code, found = look("--role", role, "--measure", machine=Fake())
            self.assertEqual((code, [one for one in found.values() if one["level"] != "good"]), (0, []))
        code, found = look(machine=Fake())
        self.assertEqual(set(found), {"system", "clock", "configuration", "virtualization", "watchdog", "drbd", "libvirt", "pool", "network clients",
                                      "etcd", "certificates", "link to b1", "link to witness"})

    def test_without_dbus_chrony_says_whether_the_clock_is_right(self):
        _code, found = look(machine=Fake(commands={"timedatectl": (1, "no bus"), "chronyc": (0, "Reference ID    : C0000201\nLeap status     : Normal\n")}))
        self.assertEqual(found["clock"]["level"], "good")

    def test_each_thing_that_is_wrong_is_named_with_what_mends_it(self):
        rtt = {"ping": (0, PING.format(loss=0, rtt="60.00"))}
        cases = [
            ("virtualization", "firmware", {"without": ["/dev/kvm"], "files": {"/proc/cpuinfo": "flags\t\t: fpu\n"}}),
            ("virtualization", "modprobe kvm_intel", {"without": ["/dev/kvm"]}),
            ("watchdog", "load the driver", {"without": ["/dev/watchdog"]}),
            ("watchdog", "RuntimeWatchdogSec=off", {"commands": {"systemctl show": (0, "10s\n")}}),
            ("drbd", "linux-image-amd64", {"commands": {"modinfo": (1, "")}}),
            ("drbd", "9.22", {"commands": {"drbdadm": (0, "DRBDADM_VERSION=9.15.0\n")}}),
            ("drbd", "drbd-utils", {"commands": {"drbdadm": (127, "")}}),
            ("drbd.service", "disable --now drbd", {"commands": {"systemctl is-enabled drbd.service": (0, "enabled\n")}}),
            ("libvirt", "bascule-hostd", {"commands": {"qemu-system-x86_64": (127, "")}}),
            ("libvirt", "does not listen", {"commands": {"systemctl is-active libvirtd-tls.socket": (3, "inactive\n")}}),
            ("libvirt", "libvirtd-tls.socket", {"commands": {"systemctl is-enabled libvirtd-tls.socket": (1, "disabled\n")}}),
            ("pool", "vgcreate vg0", {"commands": {"vgs": (5, "")}}),
            ("pool", "lvcreate --type thin-pool", {"commands": {"lvs": (5, "")}}),
            ("network clients", "br-client", {"without": ["/sys/class/net/br-client/bridge"]}),
            ("etcd", "3.4.23", {"commands": {"etcd": (0, "etcd Version: 3.3.25\n")}}),
            ("certificates", "cell's CA", {"without": ["/etc/bascule/pki/host.pem"]}),
            ("certificates", "chmod 600", {"key_mode": 0o644}),
            ("certificates", "anew", {"commands": {"openssl verify": (2, "unable to get local issuer certificate\n")}}),
            ("certificates", "who this host is", {"commands": {"openssl x509 -noout -in /etc/bascule/pki/host.pem -ext": (0, "URI:urn:bascule:host:b1\n")}}),
            ("configuration", "does not start", {"commands": {"hostd": (2, "hostd.toml: line 3\n")}}),
            ("configuration", "bascule-hostd", {"commands": {"hostd": (127, "")}}),
            ("configuration", "mend that line", {"files": {"/etc/bascule/hostd.toml": "cell = \n"}}),
            ("name b1", "/etc/hosts", {"names": {}}),
            ("link to b1", "every write", {"commands": rtt}),
            ("link to witness", "heartbeat", {"commands": rtt}),
            ("link to b1", "network", {"commands": {"ping": (1, "10 packets transmitted, 0 received, 100% packet loss\n")}}),
        ]
        for check, mend, wrong in cases:
            with self.subTest(check=check, mend=mend):
                code, found = look(machine=Fake(**wrong))
                self.assertEqual((code, found[check]["level"]), (1, "bad"))
                self.assertIn(mend, found[check]["found"] + found[check]["mend"])

    def test_what_is_only_to_be_known_does_not_fail_the_look(self):
        cases = [
            ("system", {"files": {"/etc/os-release": 'ID=debian\nVERSION_ID="13"\n'}}),
            ("clock", {"commands": {"timedatectl": (0, "no\n")}}), ("clock", {"commands": {"timedatectl": (1, "no bus")}}),
            ("clock", {"commands": {"timedatectl": (1, "no bus"), "chronyc": (0, "Leap status     : Not synchronised\n")}}),
            ("watchdog", {"files": {"/sys/class/watchdog/watchdog0/identity": "Software Watchdog\n"}}),
            ("pool", {"commands": {"lvs": (0, "  204800.00 99.00\n")}}),
            ("link to b1", {"commands": {"ping": (0, PING.format(loss=10, rtt="0.80"))}}),
            ("link to b1", {"commands": {"ping": (0, PING.format(loss=0, rtt="9.00"))}}),
            ("certificates", {"commands": {"openssl x509 -noout -in /etc/bascule/pki/host.pem -checkend": (1, "")}}),
            ("etcd's disk", {"flush": 30.0}), ("etcd's disk", {"flush": None}),
            ("configuration", {"files": {"/etc/bascule/hostd.toml": None}}),
            ("etcd", {"commands": {"etcd": (127, "")}}),
        ]
        for check, wrong in cases:
            with self.subTest(check=check, wrong=wrong):
                code, found = look("--measure", machine=Fake(**wrong))
                self.assertEqual((code, found[check]["level"]), (0, "warn"))
                self.assertTrue(found[check]["mend"])

    def test_the_witness_needs_etcd_and_no_disks_or_guests(self):
        nothing = {"/dev/kvm", "/dev/watchdog", "/sys/class/net/br-client/bridge"}
        self.assertEqual(look("--role", "witness", machine=Fake(without=nothing))[0], 0)
        self.assertEqual(look("--role", "witness", machine=Fake(commands={"etcd": (127, "")}))[0], 1)

    def test_a_wrong_peer_or_target_is_refused(self):
        for words in (["--peer", "b1"], ["--peer", "b1=;x"], ["--peer", "-x=192.0.2.1"], ["--ssh", "host:-oProxyCommand=x"], ["--ssh", "a1"]):
            with self.subTest(words=words), contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit) as ended:
                setup.main(words, Fake())
            self.assertNotEqual(ended.exception.code, 0)

    def over_ssh(self, script, *targets):
        """--ssh with another program in ssh's place."""
        with tempfile.TemporaryDirectory() as folder:
            fake = pathlib.Path(folder, "ssh")
            fake.write_text("#!/bin/sh\n" + script)
            fake.chmod(0o700)
            done = subprocess.run([sys.executable, "-B", str(PROGRAM), "--json", *PEERS, *(word for t in targets for word in ("--ssh", t))], text=True,
                                  capture_output=True, timeout=50, check=False, env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})
        return done.returncode, json.loads(done.stdout)["machines"]

    def test_over_ssh_the_program_is_sent_there_with_its_role(self):
        there = 'while [ "$1" != -- ]; do shift; done\necho "$2" >&2; shift 2; exec "$@" --config /nowhere\n'
        _code, found = self.over_ssh(there, "host:root@192.0.2.11", "witness:root@192.0.2.5")
        self.assertEqual(list(found), ["host root@192.0.2.11", "witness root@192.0.2.5"])
        checks = [{one["check"] for one in looks} for looks in found.values()]
        self.assertTrue({"watchdog", "drbd", "link to b1"} <= checks[0] and "etcd" in checks[1] and "watchdog" not in checks[1], checks)

    def test_a_machine_that_cannot_be_reached_is_something_to_mend(self):
        for script in ("echo 'ssh: connect to host: Connection refused' >&2; exit 255\n", "echo not json\n"):
            code, found = self.over_ssh(script, "host:root@192.0.2.11")
            self.assertEqual((code, found["host root@192.0.2.11"][0]["level"]), (1, "bad"))
            self.assertIn("could not be looked at", found["host root@192.0.2.11"][0]["found"])

    def test_on_this_machine_it_ends_and_says_something(self):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = setup.main(["--role", "witness"])
        self.assertIn(code, (0, 1))
        self.assertRegex(out.getvalue(), r"witness:\n(.*\n)+(\d+ to mend|nothing to mend)\n")


if __name__ == "__main__":
    unittest.main()
