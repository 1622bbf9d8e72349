"""hostd's events in a real journald, on private paths: found by MESSAGE_ID and fields, explained by journalctl -x.

    journal_test.py JOURNAL_RIG HOSTD"""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
JOURNALD = "/lib/systemd/systemd-journald"
ID = dict(re.findall(r'Message (\w+)\{"[\w-]+", "([0-9a-f]{32})"', (ROOT / "hostd/runtime/messages.hpp").read_text()))
SECONDS = 30
SKIPPED = 77


def run(*argv, **more):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False, **more)


def private():
    """This process in mounts of its own, with an empty /run, journal and catalog, and a journald over them."""
    for place in ("/run", "/var/log", "/var/lib/systemd", "/usr/lib/systemd/catalog"):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    for folder in ("/run/systemd/journal", "/run/systemd/journald.conf.d", "/var/lib/systemd/catalog"):
        os.makedirs(folder)
    pathlib.Path("/run/systemd/journald.conf.d/test.conf").write_text("[Journal]\nReadKMsg=no\nAudit=no\nStorage=volatile\n")
    pathlib.Path("/run/machine-id").write_text("0a" * 16 + "\n")
    subprocess.run(["mount", "--bind", "/run/machine-id", "/etc/machine-id"], check=True)
    pathlib.Path("/usr/lib/systemd/catalog/bascule.catalog").write_text((ROOT / "packaging/catalog/bascule.catalog").read_text())
    subprocess.run(["journalctl", "--update-catalog"], check=True)
    return subprocess.Popen([JOURNALD], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def as_a_unit(*argv, stderr=None):
    """Runs it as systemd would: stdout and, where not given, stderr are journald's, JOURNAL_STREAM names them."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.connect("/run/systemd/journal/stdout")
        stream.sendall(b"hostd\n\n6\n1\n0\n0\n0\n")
        at = os.fstat(stream.fileno())
        return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stderr or stream, timeout=60, check=False,
                              env={**os.environ, "JOURNAL_STREAM": f"{at.st_dev}:{at.st_ino}"}).returncode


def found(*match):
    done = run("journalctl", "--no-pager", "-o", "json", "--output-fields=MESSAGE,MESSAGE_ID,PRIORITY,SYSLOG_IDENTIFIER,BASCULE_MESSAGE,BASCULE_VM,"
               "BASCULE_HOST,BASCULE_OPERATION,BASCULE_EPOCH,BASCULE_VOLUME,BASCULE_ALERT,BASCULE_CALLER,_TRANSPORT", *match)
    return [{key: value for key, value in json.loads(line).items() if key == "_TRANSPORT" or not key.startswith("_")} for line in done.stdout.splitlines()]


def wait_for(count, *match):
    end = time.monotonic() + SECONDS
    while len(found(*match)) < count and time.monotonic() < end:
        time.sleep(0.05)
    return found(*match)


class Journal(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.journald = private()
        end = time.monotonic() + SECONDS
        while not all(os.path.exists(f"/run/systemd/journal/{name}") for name in ("socket", "stdout")):
            if time.monotonic() > end:
                raise RuntimeError("journald does not listen")
            time.sleep(0.02)
        code = as_a_unit(RIG)
        if code != 0:
            raise RuntimeError(f"{RIG}: exit {code}")
        wait_for(1, f"MESSAGE_ID={ID['disk_failed']}")

    @classmethod
    def tearDownClass(cls):
        cls.journald.terminate()
        cls.journald.wait(SECONDS)

    def test_an_operation_finds_its_decision_and_nothing_else(self):
        one = found(f"MESSAGE_ID={ID['failover_decided']}", "BASCULE_OPERATION=op-1")
        self.assertEqual(one, [{"MESSAGE": "web1: host a1 is lost (operation op-1)", "MESSAGE_ID": ID["failover_decided"], "PRIORITY": "4",
                                "SYSLOG_IDENTIFIER": "hostd", "BASCULE_MESSAGE": "failover-decided", "BASCULE_VM": "web1", "BASCULE_HOST": "b1",
                                "BASCULE_OPERATION": "op-1", "_TRANSPORT": "journal"}])
        self.assertEqual([one["BASCULE_VM"] for one in found("BASCULE_MESSAGE=failover-decided")], ["web1", "web2"])

    def test_the_epoch_the_volume_and_all_else_that_is_known_are_fields(self):
        self.assertEqual(found(f"MESSAGE_ID={ID['takeover_won']}")[0]["BASCULE_EPOCH"], "7")
        disk = found(f"MESSAGE_ID={ID['disk_failed']}")[0]
        self.assertEqual([disk[f"BASCULE_{name}"] for name in ("VOLUME", "ALERT", "CALLER")], ["v1", "x-1", "alice"])
        self.assertEqual(disk["PRIORITY"], "3")
        self.assertNotIn("BASCULE_EPOCH", disk)

    def test_an_operation_is_followed_from_its_beginning_to_what_a_person_must_do(self):
        names = [one["BASCULE_MESSAGE"] for one in found("BASCULE_OPERATION=op-1")]
        self.assertEqual(names, ["failover-decided", "takeover-won", "operation-begun", "operation-needs-person"])
        self.assertIn("To do: look", found(f"MESSAGE_ID={ID['operation_needs_person']}")[0]["MESSAGE"])

    def test_a_text_with_a_line_break_makes_no_field(self):
        two = found("BASCULE_OPERATION=op-2")
        self.assertEqual([one["MESSAGE_ID"] for one in two], [ID["failover_decided"]])
        self.assertIn("\nMESSAGE_ID=x", two[0]["MESSAGE"])

    def test_a_plain_line_has_its_level_and_no_id(self):
        plain = [one for one in found("SYSLOG_IDENTIFIER=hostd") if "step take-right" in one["MESSAGE"]]
        self.assertEqual([(one["PRIORITY"], one.get("MESSAGE_ID")) for one in plain], [("6", None)])

    def test_journalctl_x_says_what_it_means_and_what_to_do(self):
        said = run("journalctl", "--no-pager", "-x", f"MESSAGE_ID={ID['failover_decided']}", "BASCULE_VM=web1").stdout
        self.assertIn("failover-decided web1", said)
        self.assertIn("What to do: hostctl op follow ID", said)
        known = {line.split()[0] for line in run("journalctl", "--list-catalog").stdout.splitlines() if "Bascule" in line}
        self.assertEqual(known, set(ID.values()))

    def test_hostd_says_there_why_it_refuses_its_configuration(self):
        self.assertEqual(as_a_unit(HOSTD, "--config", "/nowhere/hostd.toml"), 2)
        said = wait_for(1, f"MESSAGE_ID={ID['config_refused']}")
        self.assertEqual([one["PRIORITY"] for one in said], ["3"])
        self.assertIn("/nowhere/hostd.toml", said[0]["MESSAGE"])

    def test_a_journald_that_hangs_holds_up_nobody(self):
        self.journald.send_signal(signal.SIGSTOP)
        try:
            with tempfile.TemporaryFile("w+") as said:
                began = time.monotonic()
                self.assertEqual(as_a_unit(RIG, "6000", stderr=said), 0)
                took = time.monotonic() - began
                said.seek(0)
                # One or two may be the machine's own doing; a journald that is waited for holds up each once its buffer is full.
                self.assertLessEqual(int(said.read()), 2, "events held their thread up")
            self.assertLess(took, 30, "it ends although its last words are not taken")
        finally:
            self.journald.send_signal(signal.SIGCONT)
        as_a_unit(RIG, "1")
        self.assertTrue(wait_for(1, f"MESSAGE_ID={ID['promise_missing']}", "BASCULE_HOST=b1"))

    def test_without_journald_the_name_stands_before_the_text(self):
        env = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
        lines = run(RIG, env=env).stdout.splitlines()
        self.assertIn("warning: failover-decided: web1: host a1 is lost (operation op-1)", lines)
        self.assertIn("info: op-1: step take-right (try 1)", lines)
        # Inherited, but this stdout is a pipe.
        lines = run(RIG, env={**env, "JOURNAL_STREAM": "1:1"}).stdout.splitlines()
        self.assertIn("error: disk-failed: gone", lines)


if __name__ == "__main__":
    if sys.argv[1] != "--inner":
        if os.geteuid() != 0 or not os.path.exists(JOURNALD) or run("unshare", "--mount", "true").returncode != 0:
            print("skipped: a private journald needs root, mount namespaces and systemd")
            sys.exit(SKIPPED)
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, "-B", *sys.argv[:1], "--inner", *sys.argv[1:]])
    RIG, HOSTD = sys.argv[2:4]
    unittest.main(argv=sys.argv[:1])
