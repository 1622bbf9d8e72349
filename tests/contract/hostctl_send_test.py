"""The real hostctl against a fake API: endpoints, changes, apply, uploads."""
import hashlib
import json
import os
import pathlib
import re
import subprocess
import time

import hostctl_rig as rig


class Endpoints(rig.HostctlTest):
    def test_an_endpoint_that_is_down_is_skipped_and_the_answering_one_is_remembered(self):
        b = self.host("b1")
        endpoints = [rig.down_endpoint(), b.endpoint]
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
        self.a.faults, self.a.hang_seconds = ["hang"], 60
        began = time.monotonic()
        self.ctl("--timeout", "20", "vm", "list", endpoints=[self.a.endpoint, b.endpoint])
        self.assertLess(time.monotonic() - began, 20)

    def test_nobody_reachable_is_exit_3_and_names_every_endpoint(self):
        endpoints = [rig.down_endpoint(), rig.down_endpoint()]
        done = self.ctl("vm", "list", endpoints=endpoints, exit_code=3)
        for endpoint in endpoints:
            self.assertIn(endpoint, done.stderr)

    def test_a_server_with_another_name_is_not_trusted(self):
        stranger = self.host("b1", "elsewhere")
        done = self.ctl("vm", "list", endpoints=[stranger.endpoint], exit_code=3)
        self.assertIn("certificate is not accepted", done.stderr)
        self.assertEqual(self.cell.requests, [])

    def test_a_server_of_another_ca_is_not_trusted(self):
        done = self.ctl("vm", "list", env={"BASCULE_CA": str(rig.PKI / "foreign.pem")}, exit_code=3)
        self.assertIn("certificate is not accepted", done.stderr)

    def test_a_refused_client_certificate_is_exit_2_and_not_an_unknown_outcome(self):
        env = {"BASCULE_CERT": str(rig.PKI / "stranger.pem"), "BASCULE_KEY": str(rig.PKI / "stranger.key")}
        done = self.ctl("vm", "start", "db", "--reason", "x", env=env, exit_code=2)
        self.assertIn("refused your certificate", done.stderr)

    def test_settings_come_from_the_configuration_file(self):
        folder = pathlib.Path(self.home.name, ".config/bascule")
        folder.mkdir(parents=True)
        (folder / "hostctl.toml").write_text(f'endpoints = ["{self.a.endpoint}"]\nca = "{rig.PKI}/ca.pem"\n'
                                             f'cert = "{rig.PKI}/operator.pem"\nkey = "{rig.PKI}/operator.key"\n')
        done = subprocess.run([rig.PROGRAM[0], "vm", "list"], env={"HOME": self.home.name}, capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_missing_setting_or_file_is_exit_1(self):
        env = {"HOME": self.home.name}
        done = subprocess.run([rig.PROGRAM[0], "vm", "list"], env=env, capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--endpoint", done.stderr)
        self.assertIn("no-such.pem", self.ctl("vm", "list", env={"BASCULE_CA": "/no-such.pem"}, exit_code=1).stderr)
        self.assertIn("not the key of", self.ctl("vm", "list", env={"BASCULE_KEY": str(rig.PKI / "ca.key")}, exit_code=1).stderr)


class Changes(rig.HostctlTest):
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


class Apply(rig.HostctlTest):
    def test_applying_twice_says_unchanged(self):
        path = self.manifest()
        self.assertIn("operation op-1", self.ctl("apply", "-f", path, "--reason", "new").stdout)
        self.assertEqual(self.ctl("apply", "-f", path, "--reason", "again").stdout, "VM db: unchanged\n")
        self.assertEqual(len(self.cell.changes), 1)

    def test_the_body_is_the_manifest_without_its_kind(self):
        self.ctl("apply", "-f", "-", "--reason", "new", stdin=rig.MANIFEST + "hosts: {nominal: a1, peer: b1}\nnetworks: [{network: clients}]\n")
        self.assertEqual(self.cell.changes[0][2], {
            "name": "db", "project": "acme", "memory_mib": 256, "volumes": [{"name": "root", "size_mib": 128}],
            "hosts": {"nominal": "a1", "peer": "b1"}, "networks": [{"network": "clients"}]})

    def test_several_documents_are_applied_in_order_with_keys_of_their_own(self):
        text = rig.MANIFEST + "---\n" + rig.MANIFEST.replace("name: db", "name: web")
        self.ctl("apply", "-f", self.manifest(text), "--reason", "new")
        self.assertEqual([p for _, p in self.changes()], ["/v1/vms/db", "/v1/vms/web"])
        self.assertEqual(len(self.cell.keys), 2)

    def test_one_bad_document_stops_all_before_anything_is_sent(self):
        path = self.manifest(rig.MANIFEST + "---\n" + rig.MANIFEST.replace("memory_mib: 256", "memroy_mib: 256"))
        done = self.ctl("apply", "-f", path, "--reason", "new", exit_code=1)
        self.assertIn(f"{path}:11: memroy_mib is not a field here; did you mean 'memory_mib'?", done.stderr)
        self.assertEqual(self.cell.requests, [])

    def test_a_refused_document_stops_the_rest_and_says_so(self):
        self.a.faults = [None, (409, "conflict", "it is busy")]
        text = "---\n".join(rig.MANIFEST.replace("name: db", f"name: vm{i}") for i in range(3))
        done = self.ctl("apply", "-f", self.manifest(text), "--reason", "new", exit_code=2)
        self.assertIn("1 more not applied", done.stderr)
        self.assertEqual(len(self.cell.changes), 1)

    def test_a_file_that_is_not_there_is_exit_1(self):
        self.assertIn("/no-such", self.ctl("apply", "-f", "/no-such", "--reason", "x", exit_code=1).stderr)


class Images(rig.HostctlTest):
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


if __name__ == "__main__":
    rig.main()
