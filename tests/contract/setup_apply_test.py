"""A cell made by bascule-setup below one folder: real certificates by openssl, hostd's own check of its configuration, three real members of etcd.

    setup_apply_test.py HOSTD"""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "packaging/setup/bascule_setup.py"
ADDRESSES = {"a1": "192.0.2.11", "b1": "192.0.2.21", "witness": "192.0.2.5"}  # of packaging/setup/cell.toml
NAMES = tuple(ADDRESSES)
SECONDS = 40
SKIPPED = 77


def run(*argv, **more):
    return subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
                          check=False, **more)


class Cell(unittest.TestCase):
    """One walk; each test is a stage of it, in the order of their names."""

    @classmethod
    def setUpClass(cls):
        cls.home = pathlib.Path(tempfile.mkdtemp(prefix="bascule-setup."))
        cls.addClassCleanup(shutil.rmtree, cls.home, ignore_errors=True)
        cls.members = []
        text = (ROOT / "packaging/setup/cell.toml").read_text().replace('kind = "lvm-thin"', 'kind = "loop"')
        (cls.home / "cell.toml").write_text(text)
        cls.path = {**os.environ, "PATH": f"{pathlib.Path(HOSTD).parent}:{os.environ['PATH']}"}

    @classmethod
    def tearDownClass(cls):
        for member in cls.members:
            member.send_signal(signal.SIGKILL)
            member.wait()

    def network(self):
        """One for each machine, joined by a bridge: a member of etcd looks at the address that another one comes from. {name: process id}"""
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "address", "add", "192.0.2.1/24", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        out = {}
        for name, address in ADDRESSES.items():
            place = subprocess.Popen(["unshare", "--net", "sleep", "600"], stdin=subprocess.DEVNULL)
            self.members.append(place)
            end = time.monotonic() + SECONDS
            while os.readlink(f"/proc/{place.pid}/ns/net") == os.readlink("/proc/self/ns/net") and time.monotonic() < end:
                time.sleep(0.02)
            run("ip", "link", "add", f"v-{name}", "type", "veth", "peer", "name", "eth0", "netns", place.pid)
            run("ip", "link", "set", f"v-{name}", "master", "br0", "up")
            for words in (("address", "add", f"{address}/24", "dev", "eth0"), ("link", "set", "eth0", "up"), ("link", "set", "lo", "up")):
                self.assertEqual(run("nsenter", "-t", place.pid, "-n", "ip", *words).returncode, 0)
            out[name] = place.pid
        return out

    def setup_(self, *words, code=0):
        done = run(sys.executable, "-B", PROGRAM, *words, cwd=self.home, env=self.path)
        self.assertEqual(done.returncode, code, done.stdout)
        return done.stdout

    def apply(self, name, code=0):
        return self.setup_("apply", "--answers", "cell.toml", "--as", name, "--root", self.home / name, "--yes", code=code)

    def test_1_a_machine_waits_for_its_certificate(self):
        for name in NAMES:
            self.assertIn(f"--machine {name} host.csr", self.apply(name, code=3))
            pki = self.home / name / "etc/bascule/pki"
            self.assertEqual(((pki / "host.key").stat().st_mode & 0o777, sorted(path.name for path in pki.iterdir())), (0o600, ["host.csr", "host.key"]))

    def test_2_the_ca_signs_what_cell_toml_says_not_what_the_request_says(self):
        self.setup_("ca", "init", "--folder", "ca", "--cell", "main")
        self.assertEqual([(self.home / "ca" / name).stat().st_mode & 0o777 for name in (".", "hosts-ca.key", "people-ca.key")], [0o700, 0o600, 0o600])
        for name in NAMES:
            shutil.copy(self.home / name / "etc/bascule/pki/host.csr", self.home / f"{name}.csr")
            self.setup_("ca", "sign", "--folder", "ca", "--answers", "cell.toml", "--machine", name, f"{name}.csr", code=1)  # nobody says yes
            self.setup_("ca", "sign", "--folder", "ca", "--answers", "cell.toml", "--machine", name, "--yes", f"{name}.csr")
            self.assertIn("stays", self.setup_("ca", "sign", "--folder", "ca", "--answers", "cell.toml", "--machine", name, "--yes", f"{name}.csr", code=1))
        lying = self.home / "lying.csr"
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.home / "lying.key", "-subj", "/CN=a1", "-addext",
            "subjectAltName=URI:urn:bascule:operator:mallory,DNS:a1", "-out", lying)
        self.setup_("ca", "sign", "--folder", "ca", "--client", "blue:carl", "--yes", "lying.csr")
        said = run("openssl", "x509", "-noout", "-subject", "-issuer", "-ext", "subjectAltName,extendedKeyUsage", "-in", self.home / "lying.pem").stdout
        for words in ("CN = client blue carl", "people-ca", "URI:urn:bascule:client:blue:carl", "TLS Web Client"):
            self.assertIn(words, said)
        for words in ("mallory", "DNS:", "Server"):
            self.assertNotIn(words, said)
        self.setup_("ca", "sign", "--folder", "ca", "--operator", "a:b", "--yes", "lying.csr", code=1)

    def test_3_with_it_the_machine_is_made_and_then_nothing_is_left(self):
        for name in NAMES:
            pki = self.home / name / "etc/bascule/pki"
            shutil.copy(self.home / "witness.pem" if name == "a1" else self.home / f"{name}.pem", pki / "host.pem")
            for ca in ("ca.pem", "api-ca.pem"):
                shutil.copy(self.home / "ca" / ca, pki / ca)
        self.assertIn("is not the certificate of", self.apply("a1", code=1))  # another machine's
        shutil.copy(self.home / "a1.pem", self.home / "a1/etc/bascule/pki/host.pem")
        for name in NAMES:
            self.assertIn("nothing is left to do", self.apply(name))
            before = sorted((path, path.stat().st_mtime_ns) for path in (self.home / name).rglob("*"))
            self.apply(name)
            self.assertEqual(sorted((path, path.stat().st_mtime_ns) for path in (self.home / name).rglob("*")), before, "a second run changes nothing")
        self.assertEqual(run(HOSTD, "--config", self.home / "a1/etc/bascule/hostd.toml", "--check").returncode, 0)
        self.assertFalse((self.home / "witness/etc/bascule/hostd.toml").exists())

    def test_4_a_configuration_that_hostd_refuses_takes_no_place(self):
        path = self.home / "a1/etc/bascule/hostd.toml"
        good = path.read_text()
        text = (self.home / "cell.toml").read_text()
        (self.home / "cell.toml").write_text(text.replace('clients = "br-client"', 'clients = "br-client", "c-2" = "br-2"').replace("[watchdog]", '[watchdog]\ndevice = "/x"'))
        fake = self.home / "bin"
        fake.mkdir()
        (fake / "hostd").write_text("#!/bin/sh\necho 'line 3: no'\nexit 2\n")
        (fake / "hostd").chmod(0o755)
        kept, self.__class__.path = self.path, {**self.path, "PATH": f"{fake}:{self.path['PATH']}"}
        try:
            self.assertIn("is not written: line 3: no", self.apply("a1", code=1))
        finally:
            self.__class__.path = kept
            (self.home / "cell.toml").write_text(text)
        self.assertEqual(path.read_text(), good)
        self.assertEqual(list(path.parent.glob("hostd.toml*")), [path])

    def test_5_three_members_of_etcd_agree_and_let_in_machines_alone(self):
        for name, place in self.network().items():
            values = dict(line.split("=", 1) for line in (self.home / name / "etc/default/etcd").read_text().splitlines() if line.startswith("ETCD_"))
            env = {**os.environ, **{key: value.strip('"') for key, value in values.items()}}
            (self.home / name / "var/lib/etcd").mkdir(parents=True)
            with open(self.home / f"{name}.log", "w", encoding="utf-8") as log:
                self.members.append(subprocess.Popen(["nsenter", "-t", str(place), "-n", "etcd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env))
        pki = self.home / "a1/etc/bascule/pki"

        def ask(cert, key):
            return run("etcdctl", "--endpoints", ",".join(f"https://{address}:2379" for address in ADDRESSES.values()), "--cacert", pki / "ca.pem",
                       "--cert", cert, "--key", key, "--command-timeout", "3s", "endpoint", "health", env={**os.environ, "ETCDCTL_API": "3"})
        end = time.monotonic() + SECONDS
        while ask(pki / "host.pem", pki / "host.key").stdout.count("is healthy") < 3:
            self.assertLess(time.monotonic(), end, (self.home / "a1.log").read_text()[-2000:])
            time.sleep(0.3)
        refused = ask(self.home / "lying.pem", self.home / "lying.key").stdout  # a client of the API's
        self.assertEqual((refused.count("is healthy"), refused.count("is unhealthy")), (0, 3), refused)
        self.assertIn("has data already", self.changed_member())

    def changed_member(self):
        text = (self.home / "cell.toml").read_text()
        (self.home / "cell.toml").write_text(text.replace('cell = "main"', 'cell = "other"'))
        try:
            return self.apply("a1", code=1)
        finally:
            (self.home / "cell.toml").write_text(text)

    def test_6_what_is_withdrawn_stands_in_the_list_for_the_api(self):
        self.setup_("ca", "request", "alice")
        self.setup_("ca", "sign", "--folder", "ca", "--operator", "alice", "--yes", "alice.csr")
        self.setup_("ca", "crl", "--folder", "ca")

        def verify(name):
            return run("openssl", "verify", "-CAfile", "ca/api-ca.pem", "-CRLfile", "ca/ca.crl", "-crl_check", name, cwd=self.home)
        self.assertEqual(verify("alice.pem").returncode, 0, verify("alice.pem").stdout)
        self.setup_("ca", "revoke", "--folder", "ca", "alice.pem")
        self.setup_("ca", "crl", "--folder", "ca")
        self.assertIn("certificate revoked", verify("alice.pem").stdout)
        self.assertEqual(verify("a1.pem").returncode, 0)


if __name__ == "__main__":
    if sys.argv[1] != "--inner":
        missing = [tool for tool in ("openssl", "etcd", "etcdctl", "unshare", "nsenter", "ip") if shutil.which(tool) is None]
        if missing or os.geteuid() != 0 or run("unshare", "--net", "true").returncode != 0:
            print(f"skipped: this needs root, network namespaces and {', '.join(missing) or 'no other tool'}")
            sys.exit(SKIPPED)
        os.execvp("unshare", ["unshare", "--net", sys.executable, "-B", *sys.argv[:1], "--inner", *sys.argv[1:]])
    HOSTD = str(pathlib.Path(sys.argv[2]).resolve())
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    unittest.main(argv=sys.argv[:1])
