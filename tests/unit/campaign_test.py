#!/usr/bin/env python3
"""The campaign's judgement finds what is wrong: real ledger programs over doctored logs and legs, doctored samples and records.
campaign_test.py FOLDER_OF_PROGRAMS"""
import copy
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lab"))

from lablib import faults  # noqa: E402
from lablib.campaign import judge, plan, report, state  # noqa: E402
from lablib.campaign.watch import Sample, Vm, parse_report, parse_sample  # noqa: E402

PROGRAMS = pathlib.Path(sys.argv.pop() if len(sys.argv) > 1 else "build/dev/bin")
MAC = "52:54:00:ca:00:01"
RECORDS = 60


def ledger_run(folder, port, count):
    """The guest's program over a file; what it acknowledged is in folder/log."""
    log = folder / "log"
    collect = subprocess.Popen([PROGRAMS / "ledger-collect", "--listen", f"127.0.0.1:{port}", "--log", log])
    try:
        until = time.monotonic() + 20
        while not log.exists() or not log.stat().st_size:
            assert time.monotonic() < until, "the collector did not start"
            time.sleep(0.01)
        subprocess.run([PROGRAMS / "ledger", "--device", folder / "leg", "--offset", "0", "--mac", MAC, "--collector", f"127.0.0.1:{port}",
                        "--rate", "1000", "--count", str(count)], check=True, timeout=60)
        while log.read_text().count("event=record") < count:
            assert time.monotonic() < until, "not all was reported"
            time.sleep(0.01)
    finally:
        collect.send_signal(signal.SIGTERM)
        collect.wait(20)
    return log.read_text()


class TheJudgeOfTheLegs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.held = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.held.name)
        with open(cls.folder / "leg", "wb") as leg:
            leg.truncate(2 << 20)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        cls.log = ledger_run(cls.folder, port, RECORDS)

    @classmethod
    def tearDownClass(cls):
        cls.held.cleanup()

    def verdict(self, log):
        path = self.folder / "doctored"
        path.write_text(log)
        done = subprocess.run([PROGRAMS / "ledger-check", "--json", "--offset", "0", "--leg", self.folder / "leg", "--log", path],
                              capture_output=True, text=True, timeout=60)
        return judge.verdict(done.stdout if done.returncode in (0, 1) else done.stderr)

    def records(self):
        return [line for line in self.log.splitlines() if "event=record" in line]

    def test_a_whole_log_is_clean(self):
        said = self.verdict(self.log)
        self.assertEqual((said["clean"], said["acknowledged"], said["lost"], said["double"]), (True, RECORDS, 0, 0), said)

    def test_an_acknowledged_record_that_is_not_on_the_leg_is_lost(self):
        more = re.sub(r" seq=\d+", f" seq={RECORDS + 3}", self.records()[-1])
        said = self.verdict(self.log + more + "\n")
        self.assertGreater(said["lost"], 0, said)
        self.assertFalse(said["clean"])

    def test_one_number_with_two_contents_is_two_runners(self):
        other = re.sub(r" run=\w+", " run=" + "ab" * 16, re.sub(r" sum=\w+", " sum=0123456789abcdef", self.records()[20]))
        said = self.verdict(self.log + other + "\n")
        self.assertGreater(said["double"], 0, said)

    def test_what_is_no_judgement_is_not_clean(self):
        self.assertFalse(judge.verdict("ledger-check: cannot open")["clean"])

    def test_online_the_same_is_found_without_the_legs(self):
        vm = Vm(MAC)
        for line in self.log.splitlines():
            fields = parse_report(line)
            if fields:
                vm.take(fields)
        self.assertEqual((vm.acknowledged, vm.newest, vm.wrong), (RECORDS, RECORDS, []))
        old = parse_report(self.records()[5])
        vm.take({**old, "run": "cd" * 16, "event": "start", "seq": str(RECORDS)})
        self.assertEqual(vm.wrong, [])
        vm.take(old)
        self.assertIn("two runners", vm.wrong[-1])
        vm.take({**old, "run": "ef" * 16, "event": "start", "seq": str(RECORDS - 7)})
        self.assertIn("records lost", vm.wrong[-1])


def sample(at, host, state, ticks=0):
    return Sample(at, host, {"c1": (state, ticks)} if state else {}, {"0": ("Connected", "Primary/Secondary", "UpToDate/UpToDate", "r-----")})


class WhatIsSeenOfTheHosts(unittest.TestCase):
    def test_one_runner_after_the_other_is_well(self):
        seen = [sample(t / 2, "a1", "running") for t in range(10)] + [sample(5 + t / 2, "b1", "running") for t in range(10)]
        self.assertEqual(judge.double_runs(seen), [])

    def test_a_host_that_says_nothing_any_more_does_not_count(self):
        seen = [sample(1.0, "a1", "running")] + [sample(1 + t / 2, "b1", "paused" if t < 6 else "running") for t in range(20)]
        self.assertEqual(judge.double_runs(seen), [])

    def test_an_instant_at_a_hand_over_is_well(self):
        seen = [sample(0.0, "a1", "running"), sample(0.2, "b1", "running"), sample(0.5, "a1", "paused"),
                sample(0.7, "b1", "running"), sample(1.0, "a1", "")]
        self.assertEqual(judge.double_runs(seen), [])

    def test_two_that_run_at_once_are_found(self):
        seen = [sample(t / 2, host, "running") for t in range(6) for host in ("a1", "b1")]
        self.assertEqual(len(judge.double_runs(seen)), 1)
        self.assertIn("c1 ran on two hosts", judge.double_runs(seen)[0])

    def test_a_sample_is_read(self):
        vms, drbd = parse_sample(["vm c1 running 812", "drbd 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate s-----", "nonsense"])
        self.assertEqual(vms, {"c1": ("running", 812)})
        self.assertEqual(drbd, {"0": ("Connected", "Primary/Secondary", "UpToDate/UpToDate", "s-----")})

    def test_operations(self):
        ops = [{"id": "1", "kind": "vm-migrate", "vm": "c1", "object": "", "state": word, "todo": "look"}
               for word in ("done", "undone", "running", "needs-operator")]
        stuck, asks = judge.operations(ops)
        self.assertEqual((len(stuck), len(asks)), (1, 1))


class TheFile(unittest.TestCase):
    def setUp(self):
        args = types.SimpleNamespace(seed=7, first=1)
        self.state = state.fresh(args, "lab campaign <script>")
        self.state["vms"] = {"c1": {"mac": MAC, "acknowledged": 10}}
        self.state["faults"] = [{"n": 1, "round": 1, "kind": "power-cut", "host": "a1", "meanwhile": "idle", "beside": [], "at": 1.0,
                                 "ran_before": {}, "outage_s": {"c1": 24.1}, "ran_after": {}, "operations": ["<b>"], "judge": "well"}]
        seen = {"hosts": {"a1": [[0, 9, "running"]]}, "acknowledged": [[0, 9, "acknowledged"]]}
        self.state["rounds"] = [{"round": 1, "plan": "p", "meanwhile": "idle", "began": 0.0, "healed": 3.0, "ended": 40.0, "settled_s": 5,
                                 "violations": [], "skipped": [], "operations": [], "rebooted": {}, "ran_after": {}, "timeline": {"c1": seen}}]

    def test_the_totals_have_their_names_and_count_what_was_found(self):
        names = ("faults", "records_acknowledged", "records_lost", "double_runs", "operations_stuck", "violations")
        clean = judge.totals(self.state)
        self.assertEqual([clean[name] for name in names], [1, 10, 0, 0, 0, 0])
        bad = copy.deepcopy(self.state)
        bad["violations"] = [{"round": 1, "class": kind, "text": "", "evidence": ""}
                             for kind in ("double-run", "records-lost", "stuck", "not-in-sync", "asks")]
        bad["verdicts"] = [{"lost": 3, "double": 2}]
        found = judge.totals(bad)
        self.assertEqual([found[name] for name in names], [1, 10, 4, 3, 3, 5])

    def test_it_is_written_whole_and_read_again(self):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/c.json"
            state.save(self.state, path)
            again = state.load(path, types.SimpleNamespace(seed=7))
            self.assertEqual(again["faults"], self.state["faults"])
            with self.assertRaises(Exception):
                state.load(path, types.SimpleNamespace(seed=8))

    def test_the_report_escapes_what_it_shows(self):
        self.state["totals"] = judge.totals(self.state)
        page = report.page(self.state)
        self.assertNotIn("<script", page)
        self.assertNotIn("<b>", page)
        self.assertIn("power-cut on a1", page)


class ThePlan(unittest.TestCase):
    def drawn(self, seed, count):
        return [plan.draw_round(seed, number, 2, ["a1", "b1"], ["w", "a1", "b1"]) for number in range(1, count + 1)]

    def test_a_seed_says_all(self):
        self.assertEqual(self.drawn(5, 200), self.drawn(5, 200))
        self.assertNotEqual(self.drawn(5, 20), self.drawn(6, 20))
        self.assertEqual(self.drawn(5, 200)[150], plan.draw_round(5, 151, 2, ["a1", "b1"], ["w", "a1", "b1"]))

    def test_every_kind_comes_and_a_quarter_loses_a_host(self):
        kinds = [act.kind for todo in self.drawn(1, 2000) for act in todo.acts]
        self.assertEqual(set(kinds), set(faults.KINDS))
        self.assertGreater(sum(kind in plan.HOST_LOST for kind in kinds) / len(kinds), 0.25)

    def test_every_kind_is_of_one_class(self):
        for kind in faults.KINDS:
            self.assertEqual(sum(kind in kinds for kinds in judge.CLASSES.values()), 1, kind)

    def test_both_disks_are_never_broken_at_once(self):
        self.assertFalse(plan.fits("disk-error", "b1", [("disk-flaky", "a1")]))
        self.assertFalse(plan.fits("hostd-hung", "a1", [("watchdog-broken", "a1")]))
        self.assertTrue(plan.fits("link-repl", "a1", [("hang", "a1")]))

    def test_the_last_good_leg_is_left(self):
        self.assertFalse(plan.fits("disk-error", "b1", [("power-cut", "a1")]))
        self.assertFalse(plan.fits("power-cut", "a1", [("disk-error", "b1")]))
        self.assertTrue(plan.fits("power-cut", "a1", [("disk-error", "a1")]))


if __name__ == "__main__":
    unittest.main()
