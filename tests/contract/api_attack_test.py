"""The real server over mTLS under attack: an operator's requests go on, the thread that renews the lease is in time, memory is
bounded. The machine that runs this may be busy: what counts is that requests are answered, not how fast, and how much the
thread works between two beats of a timer, beside how late it is (how late a process of its own, one on each CPU, wakes is taken off).
    api_attack_test.py API_RIG [test ...]"""
import http.client
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

from api_client import Rig, tls
from api_pki import Pki

HERE = Path(__file__).resolve().parent
ATTACKERS = "127.0.0.2"  # another address than the operator's
LEASE = 1.0    # seconds a renewal may take in the fast profile
WORK = LEASE / 4  # of the io thread between two beats, which are 0.1 s apart: this much later the next could be
ENOUGH = 10    # answers to the operator
LONGEST = 240  # seconds that a busy machine has for an attack
PATIENCE = 20  # seconds an operator waits for one answer
MIB = 1024
CONTROL = """
import os, select, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
worst = 0.0
while True:
    due = time.monotonic() + 0.1
    told = select.select([sys.stdin], [], [], 0.1)[0]
    if told:
        if not sys.stdin.readline():
            break
        print(worst, flush=True)
        worst = 0.0
    else:
        worst = max(worst, time.monotonic() - due)
"""
KINDS = [("mute", 300), ("stall", 300), ("head", 120, "client"), ("body", 120, "client"), ("deaf", 120, "client2"),
         ("greedy", 60, "green"), ("storm", 100, "client")]
PKI = None


def talk(process):
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline()


class Attack:
    """api_attack.py in a process of its own."""

    def __init__(self, port, kind, count, certificate="", source=ATTACKERS, *more):
        self.count = count
        self.process = subprocess.Popen(
            [sys.executable, "-B", HERE / "api_attack.py", PKI.folder, str(port), kind, str(count), certificate, "--source", source,
             *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def met(self):
        return json.loads(talk(self.process))

    def end(self):
        out, _ = self.process.communicate(timeout=60)
        if self.process.returncode != 0:
            raise AssertionError(f"the attack ended with {self.process.returncode}")
        return json.loads(out.splitlines()[-1])


class Operator:
    """Asks all the time, over a connection that is kept and over new ones in turn."""

    def __init__(self, port, folder):
        self.port, self.context = port, tls(folder, "operator")
        self.answered, self.failures, self.worst = 0, [], 0.0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.kept = self.connect()
        self.ask(self.kept, "/v1/vms?limit=1000")  # made anew it takes a while, and is kept
        self.thread.start()

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=self.context)

    def ask(self, connection, target):
        began = time.monotonic()
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                self.answered += 1
            else:
                self.failures.append(answer.status)
        except (OSError, http.client.HTTPException) as err:
            self.failures.append(repr(err))
            connection.close()
        self.worst = max(self.worst, time.monotonic() - began)

    def run(self):
        while not self.over.wait(0.02):
            self.ask(self.kept, "/v1/vms?limit=100")
            fresh = self.connect()
            self.ask(fresh, "/v1/version")
            fresh.close()
        self.kept.close()

    def end(self):
        self.over.set()
        self.thread.join()


class UnderAttack(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="bascule-attack-")
        self.addCleanup(self.folder.cleanup)
        # The io thread may be on any CPU, and one of them may be busier than the others.
        self.controls = [subprocess.Popen([sys.executable, "-c", CONTROL, str(cpu)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                         for cpu in sorted(os.sched_getaffinity(0))]
        for control in self.controls:
            self.addCleanup(control.communicate)

    def rig(self, *words):
        rig = Rig(RIG, PKI, Path(self.folder.name) / "images", *words)
        self.addCleanup(rig.close)
        rig.tell("vms 300")
        return rig

    def machine_late(self):
        return max(float(talk(control)) for control in self.controls)

    def during(self, rig, attacks, seconds, until=None):
        """Runs the attacks beside an operator for a while, on a busy machine for longer; what was met, and whether the io
        thread was in time."""
        operator = Operator(rig.port, PKI)
        time.sleep(0.3)
        before = operator.answered
        rig.tell("late")
        self.machine_late()
        running = [Attack(rig.port, *attack) for attack in attacks]
        try:
            began = time.monotonic()
            done = until or (lambda _: time.monotonic() > began + seconds)

            def enough():
                met = [attack.met() for attack in running]
                reached = all(m.get("connected", 0) > attack.count / 2 for m, attack in zip(met, running))
                return reached and operator.answered >= before + ENOUGH and done(met)
            while not enough() and time.monotonic() < began + LONGEST:
                time.sleep(0.2)
            out = {"kib": rig.memory_kib()}
            out["late_s"], out["work_s"] = (int(word) / 1e6 for word in rig.tell("late").split())
            out["machine_late_s"] = self.machine_late()
        finally:
            met = [attack.end() for attack in running]
            operator.end()
        out.update(met=met, answered=operator.answered - before, worst_s=operator.worst)
        print(f"  {' + '.join(a[0] for a in attacks)}: {json.dumps(out)}", flush=True)
        self.assertEqual(operator.failures, [], out)
        self.assertGreaterEqual(out["answered"], ENOUGH, out)
        for attack, seen in zip(attacks, met):
            self.assertGreater(seen.get("connected", 0), attack[1] / 2, f"{attack[0]} attacked nobody")
        self.assertLess(out["work_s"], WORK, f"the lease would have waited: {out}")
        self.assertLess(out["late_s"] - out["machine_late_s"], LEASE, f"the lease waited: {out}")
        return out

    def test_each_kind_alone(self):
        rig = self.rig()
        for attack in KINDS:
            self.during(rig, [attack], 1.5)

    def test_all_at_once(self):
        rig = self.rig()
        out = self.during(rig, KINDS, 5)
        self.assertLess(out["kib"], 192 * MIB, "memory is not bounded")

    def test_ten_thousand_idle_connections_are_held(self):
        before = (rig := self.rig("roomy=10000")).memory_kib()
        out = self.during(rig, [("idle", 10_000, "client")], 0, lambda met: met[0].get("open", 0) >= 10_000)
        grown = out["kib"] - before
        print(f"  10,000 idle connections: {grown / 1024:.0f} MiB, {grown / 10_000:.1f} KiB each", flush=True)
        self.assertGreaterEqual(out["met"][0]["shaken"], 10_000)
        self.assertNotIn("cut", out["met"][0])
        self.assertLess(grown, 10_000 * 128, "a connection at rest has two TLS records' room on each side, and little more")

    def test_beyond_the_limits_they_give_way_to_one_another(self):
        rig = self.rig()
        attacks = [("idle", 1000, "client", f"127.0.0.{i}") for i in (2, 3)] + [("mute", 500, "", "127.0.0.4")]
        out = self.during(rig, attacks, 5)
        self.assertLessEqual(sum(m.get("open", 0) for m in out["met"]), 512)
        self.assertLess(out["kib"], 128 * MIB)

    def test_answers_that_nobody_reads_are_bounded(self):
        rig = self.rig("unsent=1000000")
        rig.tell("vms 1000")
        deaf = [("deaf", 40, "auditor", ATTACKERS, "--list", "/v1/vms?limit=1000")]
        refusals = 'bascule_api_refused_total{what="unsent"}'
        out = self.during(rig, deaf, 0, lambda _: refusals in self.metrics(rig))
        self.assertLess(out["kib"], 64 * MIB)
        self.assertIn(refusals, self.metrics(rig), "answers were made for whoever leaves all unread")

    def metrics(self, rig):
        connection = http.client.HTTPSConnection("127.0.0.1", rig.port, timeout=PATIENCE, context=tls(PKI, "operator"))
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def test_wrk_through_stunnel(self):
        for program in ("wrk", "stunnel4"):
            self.assertTrue(shutil.which(program), f"{program} is not installed (tests/lab/packages-test.txt)")
        rig = self.rig()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = Path(self.folder.name) / "stunnel.conf"
        config.write_text(f"foreground = yes\npid =\ndebug = err\n[api]\nclient = yes\naccept = 127.0.0.1:{port}\n"
                          f"connect = 127.0.0.1:{rig.port}\nCAfile = {PKI.pem('ca')}\nverifyChain = yes\n"
                          f"cert = {PKI.pem('client')}\nkey = {PKI.key('client')}\n")
        tunnel = subprocess.Popen(["stunnel4", config], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(tunnel.wait)
        self.addCleanup(tunnel.terminate)
        end = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            self.assertLess(time.monotonic(), end, "stunnel does not listen")
            time.sleep(0.05)
        load = subprocess.Popen(["wrk", "-t", "1", "-c", "60", "-d", "5s", "--timeout", "10s",
                                 f"http://127.0.0.1:{port}/v1/vms?limit=100"], stdout=subprocess.PIPE, text=True)
        self.during(rig, [("storm", 20, "client2")], 0, lambda _: load.poll() is not None)
        said = load.communicate(timeout=30)[0]
        print("  wrk: " + "; ".join(line.strip() for line in said.splitlines()[-4:]), flush=True)
        requests = int(said.split(" requests in ")[0].split()[-1])
        self.assertGreater(requests, 500, said)
        self.assertNotIn("Non-2xx", said)
        self.assertNotIn("Socket errors", said)


if __name__ == "__main__":
    RIG = sys.argv[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    os.environ.pop("SSL_CERT_FILE", None)
    with tempfile.TemporaryDirectory(prefix="bascule-attack-pki-") as folder:
        PKI = Pki(folder)
        unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=1)
