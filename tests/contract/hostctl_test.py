"""Contract tests of the real hostctl binary against a fake API. Usage: hostctl_test.py PATH_TO_HOSTCTL [unittest args]"""
import hashlib
import json
import os
import pathlib
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import hostctl_fake as fake

HOSTCTL = ""
ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = tempfile.TemporaryDirectory(prefix="hostctl-test-")
PKI = pathlib.Path(FOLDER.name)


def setUpModule():
    fake.make_pki(PKI)


def tearDownModule():
    FOLDER.cleanup()


def down_endpoint():
    """An address nobody listens at."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"https://127.0.0.1:{s.getsockname()[1]}"


MANIFEST = """kind: vm
name: db
project: acme
memory_mib: 256
volumes:
  - {name: root, size_mib: 128}
"""


class Base(unittest.TestCase):
    def setUp(self):
        self.cell = fake.Cell()
        self.hosts = []
        self.a = self.host("a1")
        self.home = tempfile.TemporaryDirectory(dir=PKI)

        self.addCleanup(self.home.cleanup)

    def tearDown(self):
        for host in self.hosts:
            host.stop()

    def host(self, name, certificate="host"):
        self.hosts.append(fake.Host(self.cell, PKI, name, certificate))
        return self.hosts[-1]

    def environment(self, **more):
        return {"HOME": self.home.name, "PATH": "/usr/bin:/bin", "BASCULE_CA": str(PKI / "ca.pem"),
                "BASCULE_CERT": str(PKI / "operator.pem"), "BASCULE_KEY": str(PKI / "operator.key"), **more}

    def words(self, endpoints, args):
        endpoints = [self.a.endpoint] if endpoints is None else endpoints
        return [HOSTCTL, *[w for e in endpoints for w in ("--endpoint", e)], *args]

    def ctl(self, *args, endpoints=None, env=None, stdin="", exit_code=0):
        done = subprocess.run(self.words(endpoints, args), env=self.environment(**(env or {})), input=stdin, text=True,
                              capture_output=True, timeout=30)
        self.assertEqual(done.returncode, exit_code, f"{args}\n{done.stdout}\n{done.stderr}")
        return done

    def manifest(self, text=MANIFEST, name="vm.yaml"):
        path = pathlib.Path(self.home.name) / name
        path.write_text(text)
        return str(path)

    def changes(self):
        return [(method, path) for method, path, _, _ in self.cell.changes]


class Endpoints(Base):
    def test_an_endpoint_that_is_down_is_skipped_and_the_answering_one_is_remembered(self):
        b = self.host("b1")
        endpoints = [down_endpoint(), b.endpoint]
        self.ctl("vm", "list", endpoints=endpoints)
        kept = pathlib.Path(self.home.name, ".cache/bascule/endpoint").read_text()
        self.assertEqual(kept, b.endpoint)

    def test_the_remembered_endpoint_is_asked_first(self):
        b = self.host("b1")
        both = [self.a.endpoint, b.endpoint]
        self.a.faults = ["drop-before"]
        self.ctl("vm", "list", endpoints=both)
        self.cell.requests.clear()
        self.ctl("vm", "list", endpoints=both)
        self.assertEqual([r[0] for r in self.cell.requests], ["b1"])

    def test_a_host_without_quorum_is_skipped(self):
        b = self.host("b1")
        self.a.faults = [(503, "unavailable", "etcd has no quorum here")]
        self.ctl("vm", "list", endpoints=[self.a.endpoint, b.endpoint])
        self.assertEqual([r[0] for r in self.cell.requests], ["a1", "b1"])

    def test_a_host_that_hangs_does_not_take_the_others_time(self):
        b = self.host("b1")
        self.a.faults, self.a.hang_seconds = ["hang"], 8
        began = time.monotonic()
        self.ctl("--timeout", "4", "vm", "list", endpoints=[self.a.endpoint, b.endpoint])
        self.assertLess(time.monotonic() - began, 4)

    def test_nobody_reachable_is_exit_3_and_names_every_endpoint(self):
        endpoints = [down_endpoint(), down_endpoint()]
        done = self.ctl("vm", "list", endpoints=endpoints, exit_code=3)
        for endpoint in endpoints:
            self.assertIn(endpoint, done.stderr)

    def test_a_server_with_another_name_is_not_trusted(self):
        stranger = self.host("b1", "elsewhere")
        done = self.ctl("vm", "list", endpoints=[stranger.endpoint], exit_code=3)
        self.assertIn("certificate is not accepted", done.stderr)
        self.assertEqual(self.cell.requests, [])

    def test_a_server_of_another_ca_is_not_trusted(self):
        done = self.ctl("vm", "list", env={"BASCULE_CA": str(PKI / "foreign.pem")}, exit_code=3)
        self.assertIn("certificate is not accepted", done.stderr)

    def test_a_refused_client_certificate_is_exit_2_and_not_an_unknown_outcome(self):
        env = {"BASCULE_CERT": str(PKI / "stranger.pem"), "BASCULE_KEY": str(PKI / "stranger.key")}
        done = self.ctl("vm", "start", "db", "--reason", "x", env=env, exit_code=2)
        self.assertIn("refused your certificate", done.stderr)

    def test_settings_come_from_the_configuration_file(self):
        folder = pathlib.Path(self.home.name, ".config/bascule")
        folder.mkdir(parents=True)
        (folder / "hostctl.toml").write_text(f'endpoints = ["{self.a.endpoint}"]\nca = "{PKI}/ca.pem"\n'
                                             f'cert = "{PKI}/operator.pem"\nkey = "{PKI}/operator.key"\n')
        done = subprocess.run([HOSTCTL, "vm", "list"], env={"HOME": self.home.name}, capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_missing_setting_or_file_is_exit_1(self):
        env = {"HOME": self.home.name}
        done = subprocess.run([HOSTCTL, "vm", "list"], env=env, capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--endpoint", done.stderr)
        self.assertIn("no-such.pem", self.ctl("vm", "list", env={"BASCULE_CA": "/no-such.pem"}, exit_code=1).stderr)
        self.assertIn("not the key of", self.ctl("vm", "list", env={"BASCULE_KEY": str(PKI / "ca.key")}, exit_code=1).stderr)


class Changes(Base):
    def test_a_change_without_a_reason_sends_nothing(self):
        for words in (["vm", "start", "db"], ["vm", "start", "db", "--reason", ""], ["vm", "start", "db", "--reason", "a\x1bb"],
                      ["apply", "-f", self.manifest()], ["op", "cancel", "op-1"]):
            done = self.ctl(*words, exit_code=1)
            self.assertIn("reason", done.stderr)
        self.assertEqual(self.cell.requests, [])

    def test_the_reason_and_a_new_key_go_with_every_change(self):
        self.ctl("vm", "migrate", "db", "--to", "b1", "--policy", "gentle", "--reason", "maintenance of a1")
        self.ctl("vm", "migrate", "db", "--reason", "again")
        self.assertEqual(self.cell.changes[0],
                         ("POST", "/v1/vms/db/actions/migrate", {"target": "b1", "policy": "gentle"}, "maintenance of a1"))
        keys = [headers["idempotency-key"] for _, _, _, headers in self.cell.requests]
        self.assertEqual(len(set(keys)), 2)
        for key in keys:
            self.assertRegex(key, r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")

    def test_a_lost_answer_is_asked_for_again_elsewhere_and_nothing_is_done_twice(self):
        b = self.host("b1")
        self.a.faults = ["drop-answer"]
        done = self.ctl("--json", "vm", "start", "db", "--reason", "x", endpoints=[self.a.endpoint, b.endpoint])
        self.assertEqual(self.changes(), [("POST", "/v1/vms/db/actions/start")])
        self.assertTrue(json.loads(done.stdout)["replayed"])
        first, second = self.cell.requests
        self.assertEqual((first[0], second[0]), ("a1", "b1"))
        self.assertEqual(first[3]["idempotency-key"], second[3]["idempotency-key"])

    def test_a_lost_answer_is_asked_for_again_at_the_only_endpoint(self):
        self.a.faults = ["drop-answer", "drop-before"]
        self.ctl("vm", "start", "db", "--reason", "x")
        self.assertEqual(self.changes(), [("POST", "/v1/vms/db/actions/start")])
        self.assertEqual(len(self.cell.requests), 3)

    def test_an_unknown_outcome_is_exit_3_and_tells_the_key_that_settles_it(self):
        self.a.faults = ["drop-answer"] + ["drop-before"] * 20
        done = self.ctl("vm", "start", "db", "--reason", "x", exit_code=3)
        self.assertIn("may or may not", done.stderr)
        key = re.search(r"--idempotency-key ([0-9a-f-]+)", done.stderr).group(1)
        self.assertLessEqual(len(self.cell.requests), 4)
        self.a.faults = []
        done = self.ctl("vm", "start", "db", "--reason", "x", "--idempotency-key", key)
        self.assertIn("as asked before", done.stdout)
        self.assertEqual(len(self.cell.changes), 1)

    def test_each_refusal_has_its_exit_code_and_shows_the_servers_sentence(self):
        for status, code, exit_code in ((400, "invalid", 1), (403, "forbidden", 2), (404, "not_found", 2), (409, "conflict", 2),
                                        (412, "stale", 2), (507, "exhausted", 2), (503, "unavailable", 3), (500, "internal", 3)):
            self.a.faults = [(status, code, f"sentence of {code}")]
            done = self.ctl("vm", "start", "db", "--reason", "x", exit_code=exit_code)
            self.assertIn(f"sentence of {code}", done.stderr)

    def test_a_dry_run_shows_the_steps_and_changes_nothing(self):
        done = self.ctl("vm", "migrate", "db", "--reason", "x", "--dry-run")
        self.assertIn("live-migrate", done.stdout)
        self.assertIn("nothing was changed", done.stdout)
        self.assertEqual(self.cell.changes, [])

    def test_names_are_escaped_in_paths(self):
        self.ctl("vm", "show", "../hosts", exit_code=2)
        self.assertEqual(self.cell.requests[-1][2], "/v1/vms/..%2Fhosts")

    def test_sizes_and_arguments_are_checked_before_anything_is_sent(self):
        for words in (["volume", "grow", "db/data", "--size", "big", "--reason", "x"], ["volume", "grow", "db", "--size", "1G", "--reason", "x"],
                      ["vm", "resize", "db", "--reason", "x"], ["vm", "migrate", "db", "--policy", "fast", "--reason", "x"],
                      ["vm", "fly", "db"], ["vm"], [], ["--timeout", "0", "vm", "list"]):
            self.ctl(*words, exit_code=1)
        self.assertEqual(self.cell.requests, [])
        self.ctl("volume", "grow", "db/data", "--size", "2G", "--reason", "x")
        self.assertEqual(self.cell.changes, [("POST", "/v1/volumes/db/data/actions/grow", {"size_mib": 2048}, "x")])


class Apply(Base):
    def test_applying_twice_says_unchanged(self):
        path = self.manifest()
        self.assertIn("operation op-1", self.ctl("apply", "-f", path, "--reason", "new").stdout)
        self.assertEqual(self.ctl("apply", "-f", path, "--reason", "again").stdout, "VM db: unchanged\n")
        self.assertEqual(len(self.cell.changes), 1)

    def test_the_body_is_the_manifest_without_its_kind(self):
        self.ctl("apply", "-f", "-", "--reason", "new", stdin=MANIFEST + "hosts: {nominal: a1, peer: b1}\nnetworks: [{network: clients}]\n")
        self.assertEqual(self.cell.changes[0][2], {
            "name": "db", "project": "acme", "memory_mib": 256, "volumes": [{"name": "root", "size_mib": 128}],
            "hosts": {"nominal": "a1", "peer": "b1"}, "networks": [{"network": "clients"}]})

    def test_several_documents_are_applied_in_order_with_keys_of_their_own(self):
        text = MANIFEST + "---\n" + MANIFEST.replace("name: db", "name: web")
        self.ctl("apply", "-f", self.manifest(text), "--reason", "new")
        self.assertEqual([p for _, p in self.changes()], ["/v1/vms/db", "/v1/vms/web"])
        self.assertEqual(len(self.cell.keys), 2)

    def test_one_bad_document_stops_all_before_anything_is_sent(self):
        path = self.manifest(MANIFEST + "---\n" + MANIFEST.replace("memory_mib: 256", "memroy_mib: 256"))
        done = self.ctl("apply", "-f", path, "--reason", "new", exit_code=1)
        self.assertIn(f"{path}:11: memroy_mib is not a field here; did you mean 'memory_mib'?", done.stderr)
        self.assertEqual(self.cell.requests, [])

    def test_a_refused_document_stops_the_rest_and_says_so(self):
        self.a.faults = [None, (409, "conflict", "it is busy")]
        text = "---\n".join(MANIFEST.replace("name: db", f"name: vm{i}") for i in range(3))
        done = self.ctl("apply", "-f", self.manifest(text), "--reason", "new", exit_code=2)
        self.assertIn("1 more not applied", done.stderr)
        self.assertEqual(len(self.cell.changes), 1)

    def test_a_file_that_is_not_there_is_exit_1(self):
        self.assertIn("/no-such", self.ctl("apply", "-f", "/no-such", "--reason", "x", exit_code=1).stderr)


def step(index, state="done", percent=None, **more):
    """One move of an operation's script."""
    def move(op):
        if index is not None:
            op["steps"][index].update(state=state, took_ms=120)
        op["progress"] = {"step": "", "percent": percent, "text": "64 of 128 MiB"} if percent is not None else {}
        op.update(more)
    return move


class Watch(Base):
    def run_script(self, *moves):
        self.a.script = list(moves)

    def test_watch_follows_to_the_end_and_exits_0_only_when_done(self):
        self.run_script(step(0), step(1, "pending", 40), step(1, state="done", **{"result": {"downtime_ms": "43"}}),
                        lambda op: op.update(state="done", finished_ms=1700000002400))
        done = self.ctl("vm", "migrate", "db", "--reason", "x", "--watch")
        self.assertIn("  + open-window on a1 (120 ms)\n", done.stdout)
        self.assertIn("1/2 live-migrate on a1 40 %: 64 of 128 MiB", done.stdout)
        self.assertTrue(done.stdout.endswith("done: vm-migrate db in 2.4 s, downtime 43 ms\n"), done.stdout)
        self.assertNotIn("\x1b", done.stdout)

    def test_an_undone_operation_is_exit_4_and_one_for_a_person_exit_5(self):
        self.run_script(lambda op: op.update(state="undone", error="the link broke"))
        done = self.ctl("vm", "migrate", "db", "--reason", "x", "--watch", exit_code=4)
        self.assertIn("why: the link broke", done.stdout)
        self.run_script(lambda op: op.update(state="needs-operator", error="both paused", todo="look at b1"))
        done = self.ctl("vm", "migrate", "db", "--reason", "x", "--watch", exit_code=5)
        self.assertIn("to do: look at b1", done.stdout)

    def test_with_json_only_the_finished_operation_is_on_stdout(self):
        self.run_script(step(0), lambda op: op.update(state="done"))
        done = self.ctl("--json", "vm", "migrate", "db", "--reason", "x", "--watch")
        self.assertEqual(json.loads(done.stdout)["state"], "done")
        self.assertIn("open-window", done.stderr)

    def test_following_goes_on_over_a_host_that_fails(self):
        b = self.host("b1")
        self.run_script(step(0), step(0), lambda op: op.update(state="done"))
        self.ctl("vm", "migrate", "db", "--reason", "x")
        self.a.faults = [None] + ["drop-before"] * 50
        done = self.ctl("op", "follow", "op-1", endpoints=[self.a.endpoint, b.endpoint])
        self.assertIn("done: vm-migrate db", done.stdout)

    def test_ctrl_c_leaves_the_operation_running_and_says_how_to_go_on(self):
        words = self.words(None, ["vm", "migrate", "db", "--reason", "x", "--watch"])
        child = subprocess.Popen(words, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 10
        while len(self.cell.requests) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=10)
        self.assertEqual(child.returncode, 3, out + err)
        self.assertIn("operation op-1 goes on", err)
        self.assertIn("hostctl op follow op-1", err)
        self.assertIn("hostctl op cancel op-1", err)
        self.assertEqual(self.changes(), [("POST", "/v1/vms/db/actions/migrate")])

    def test_on_a_terminal_a_bar_is_drawn_and_taken_away(self):
        self.run_script(step(0), step(1, "pending", 50), step(1), lambda op: op.update(state="done"))
        text = self.on_terminal(["vm", "migrate", "db", "--reason", "x", "--watch"])
        self.assertIn("[###############.....] 1/2 live-migrate on a1 50 %", text)
        self.assertIn("\r\x1b[K", text)
        self.assertIn("\x1b[32mdone\x1b[0m", text)

    def on_terminal(self, args, **env):
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(HOSTCTL, self.words(None, args), self.environment(TERM="xterm", **env))
        text = b""
        while select.select([fd], [], [], 20)[0]:
            try:
                piece = os.read(fd, 65536)
            except OSError:
                break
            if not piece:
                break
            text += piece
        os.waitpid(pid, 0)
        os.close(fd)
        return text.decode()

    def test_what_the_server_says_cannot_drive_the_terminal(self):
        evil = "\x1b]0;owned\x07\x9b2J\u202e"
        self.cell.vms["db"] = {"name": evil, "project": evil, "state": evil, "host": evil, "cpus": 1, "memory_mib": 1, "why": evil}
        self.cell.operation("vm-start", evil, [(evil, evil)], error=evil, todo=evil, reason=evil)
        self.cell.record(evil, evil, evil)
        self.a.faults = [None] * 7 + [(409, "conflict", evil)]
        for args in (["vm", "list"], ["vm", "show", "db"], ["why", "db"], ["op", "list"], ["op", "show", "op-1"],
                     ["--json", "vm", "list"], ["audit", "list"], ["vm", "show", "db"]):
            text = self.on_terminal(args, NO_COLOR="1")
            self.assertTrue(text, args)
            self.assertNotRegex(text.replace("\r\n", "\n"), "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", args)


class Reading(Base):
    def test_lists_are_fetched_page_by_page(self):
        for i in range(450):
            self.cell.vms[f"vm{i:03}"] = {"name": f"vm{i:03}", "project": "p", "state": "off", "memory_mib": 64, "cpus": 1}
        done = self.ctl("--json", "vm", "list")
        self.assertEqual(len(json.loads(done.stdout)), 450)
        self.assertEqual(len(self.cell.requests), 3)

    def test_an_empty_list_says_so_and_is_an_empty_array_for_programs(self):
        self.assertIn("No VMs", self.ctl("vm", "list").stdout)
        self.assertEqual(json.loads(self.ctl("--json", "vm", "list").stdout), [])
        self.assertIn("No operations", self.ctl("op", "list").stdout)

    def test_json_of_one_object_is_the_apis(self):
        self.cell.vms["db"] = {"name": "db", "new_field": [1, 2.5, None], "project": "ü"}
        self.assertEqual(json.loads(self.ctl("--json", "vm", "show", "db").stdout), self.cell.vms["db"])

    def test_a_host_that_is_not_well_is_shown_and_is_exit_2(self):
        body = {"host": "a1", "ok": False, "etcd": False, "libvirt": True, "drbd": True, "sentence": "no quorum: nothing can change"}
        self.a.health = (503, body)
        self.assertIn("no quorum", self.ctl("health", exit_code=2).stdout)
        self.assertEqual(json.loads(self.ctl("--json", "health", exit_code=2).stdout), body)

    def test_version_tells_both(self):
        self.assertRegex(self.ctl("version").stdout, r"hostctl \d+\.\d+\.\d+\nhostd   9\.9 on a1")


class Audit(Base):
    def setUp(self):
        super().setUp()
        self.a.audit_page = 7
        for i in range(30):
            self.cell.record(f"reason {i}, ü", "vm-start requested", "vm/db")

    def test_a_whole_chain_is_exit_0(self):
        self.assertIn("ok: 30 records", self.ctl("audit", "verify").stdout)
        self.assertTrue(json.loads(self.ctl("--json", "audit", "verify").stdout)["ok"])

    def test_a_changed_record_is_exit_2_and_is_named(self):
        self.cell.audit[16]["why"] = "nothing happened"
        done = self.ctl("audit", "verify", exit_code=2)
        self.assertIn("record 17 was changed", done.stdout)
        self.assertIn("records 1 to 16 are as they were written", done.stdout)

    def test_a_removed_record_is_exit_2(self):
        del self.cell.audit[10]
        self.assertIn("record 11 is missing", self.ctl("audit", "verify", exit_code=2).stdout)

    def test_reordered_records_are_exit_2(self):
        self.cell.audit[4], self.cell.audit[5] = self.cell.audit[5], self.cell.audit[4]
        self.ctl("audit", "verify", exit_code=2)

    def test_the_newest_records_are_listed(self):
        done = self.ctl("--json", "audit", "list", "--limit", "10")
        self.assertEqual([r["sequence"] for r in json.loads(done.stdout)], list(range(21, 31)))
        self.assertIn("reason 29, ü", self.ctl("audit", "list").stdout)


class Events(Base):
    def test_a_broken_stream_goes_on_elsewhere_with_the_last_id(self):
        b = self.host("b1")
        self.cell.events = [(i, "vm.changed", f"vm{i}") for i in range(1, 9)]
        self.a.events_per_stream = 3
        words = self.words([self.a.endpoint, b.endpoint], ["--json", "events", "--follow"])
        child = subprocess.Popen(words, env=self.environment(), stdout=subprocess.PIPE, text=True)
        try:
            seen = [json.loads(child.stdout.readline()) for _ in range(8)]
        finally:
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=10)
        self.assertEqual([e["data"]["revision"] for e in seen], list(range(1, 9)))
        self.assertEqual(child.returncode, 0)
        self.assertEqual([r[3].get("last-event-id") for r in self.cell.requests][:2], [None, "3"])

    def test_without_follow_it_ends_when_the_kept_events_were_shown(self):
        self.cell.events = [(1, "vm.changed", "db"), (2, "operation.changed", "op-1")]
        out = self.ctl("events").stdout
        self.assertEqual(len(out.splitlines()), 2)
        self.assertIn("operation.changed", out)


class Images(Base):
    def test_a_file_is_streamed_with_its_reason(self):
        path = pathlib.Path(self.home.name, "disk.raw")
        path.write_bytes(os.urandom(3_000_001))
        self.ctl("image", "import", "guest", str(path), "--reason", "für den 50% Test")
        self.assertEqual(self.cell.changes, [("PUT", "/v1/images/guest", hashlib.sha256(path.read_bytes()).hexdigest(),
                                              "für den 50% Test")])

    def test_a_server_that_refuses_early_is_heard_before_everything_is_sent(self):
        path = pathlib.Path(self.home.name, "disk.raw")
        with open(path, "wb") as f:
            f.truncate(400 << 20)
        self.a.image_limit = 1 << 20
        done = self.ctl("image", "import", "guest", str(path), "--reason", "x", exit_code=2)
        self.assertIn("larger than this host takes", done.stderr)

    def test_what_cannot_be_an_image_is_refused_here(self):
        empty = pathlib.Path(self.home.name, "empty")
        empty.touch()
        for name, file in (("guest", "/no-such"), ("guest", str(empty)), ("guest", self.home.name), ("Bad Name", __file__)):
            self.ctl("image", "import", name, file, "--reason", "x", exit_code=1)
        self.assertEqual(self.cell.requests, [])


class Shell(Base):
    def complete(self, *words, **more):
        done = self.ctl("__complete", "--", *words, endpoints=[], env={"BASCULE_ENDPOINTS": self.a.endpoint, **more})
        return [line.split("\t")[0] for line in done.stdout.splitlines()]

    def test_commands_options_and_values_come_from_the_tree(self):
        self.assertEqual(self.complete("vm", "mi"), ["migrate"])
        self.assertIn("--policy", self.complete("vm", "migrate", "db", "--"))
        self.assertIn("--endpoint", self.complete("vm", "migrate", "db", "--"))
        self.assertEqual(self.complete("vm", "migrate", "--policy", "g"), ["gentle"])
        self.assertEqual(self.complete("--ca", ""), [":files"])
        self.assertEqual(self.complete("completion", ""), ["bash", "zsh", "fish"])

    def test_names_are_asked_from_the_cell_and_a_dead_one_costs_little(self):
        self.cell.vms = {n: {"name": n} for n in ("db", "dns", "web")}
        self.assertEqual(self.complete("vm", "start", "d"), ["db", "dns"])
        self.assertEqual(self.complete("--endpoint", self.a.endpoint, "vm", "start", "w", BASCULE_ENDPOINTS=down_endpoint()), ["web"])
        began = time.monotonic()
        self.assertEqual(self.complete("vm", "start", "d", BASCULE_ENDPOINTS=down_endpoint()), [])
        self.a.faults, self.a.hang_seconds = ["hang"], 5
        self.assertEqual(self.complete("vm", "start", "d"), [])
        self.assertLess(time.monotonic() - began, 3)

    def test_the_bash_script_completes(self):
        self.cell.vms = {"db": {"name": "db"}}
        script = ('eval "$(hostctl completion bash)"; COMP_WORDS=(hostctl vm start ""); COMP_CWORD=3; _hostctl; '
                  'echo "${COMPREPLY[@]}"')
        env = self.environment(BASCULE_ENDPOINTS=self.a.endpoint, PATH=f"{pathlib.Path(HOSTCTL).parent}:/usr/bin:/bin")
        done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=20)
        self.assertEqual(done.stdout.split(), ["db"], done.stderr)

    def test_every_command_and_option_is_in_the_man_page(self):
        page = (ROOT / "packaging/hostctl.1").read_text().replace("\\-", "-")
        page = re.sub(r"\\f[BIRP]", "", page)
        for line in self.ctl("__commands", endpoints=[]).stdout.splitlines():
            words = line.split()
            options = [w for w in words if w.startswith("--")]
            command = " ".join(w for w in words if not w.startswith("--"))
            if command and not options:
                self.assertTrue(re.search(rf'(?m)^\.B[IR]? "?{re.escape(command)}\b', page),
                                f"{command} is not in packaging/hostctl.1")
            for option in options:
                self.assertTrue(option in page, f"{line} is not in packaging/hostctl.1")

    def test_the_man_page_has_no_faults(self):
        done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", str(ROOT / "packaging/hostctl.1")],
                              capture_output=True, text=True, timeout=20, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
        self.assertEqual(done.stderr, "")


if __name__ == "__main__":
    HOSTCTL = str(pathlib.Path(sys.argv.pop(1)).resolve())
    unittest.main()
