"""The real hostctl against a fake API: watching, lists, events, completion, the man page."""
import json
import pathlib
import re
import signal
import subprocess
import time

import hostctl_rig as rig


def step(index, state="done", percent=None, **more):
    """One move of an operation's script."""
    def move(op):
        if index is not None:
            op["steps"][index].update(state=state, took_ms=120)
        op["progress"] = {"step": "", "percent": percent, "text": "64 of 128 MiB"} if percent is not None else {}
        op.update(more)
    return move


class Watch(rig.HostctlTest):
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


class Reading(rig.HostctlTest):
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



class Events(rig.HostctlTest):
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


class Shell(rig.HostctlTest):
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
        self.assertEqual(self.complete("--endpoint", self.a.endpoint, "vm", "start", "w", BASCULE_ENDPOINTS=rig.down_endpoint()), ["web"])
        began = time.monotonic()
        self.assertEqual(self.complete("vm", "start", "d", BASCULE_ENDPOINTS=rig.down_endpoint()), [])
        self.a.faults, self.a.hang_seconds = ["hang"], 60
        self.assertEqual(self.complete("vm", "start", "d"), [])
        self.assertLess(time.monotonic() - began, 20)

    def test_the_bash_script_completes(self):
        self.cell.vms = {"db": {"name": "db"}}
        script = ('eval "$(hostctl completion bash)"; COMP_WORDS=(hostctl vm start ""); COMP_CWORD=3; _hostctl; '
                  'echo "${COMPREPLY[@]}"')
        env = self.environment(BASCULE_ENDPOINTS=self.a.endpoint, PATH=f"{pathlib.Path(rig.PROGRAM[0]).parent}:/usr/bin:/bin")
        done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=20)
        self.assertEqual(done.stdout.split(), ["db"], done.stderr)

    def test_how_a_vm_fared_is_told_with_what_nobody_saw_apart(self):
        def times(up, down, unknown, protected):
            return {"from_ms": 1700006400000, "to_ms": 1700179200000, "up_ms": up, "down_ms": down, "unknown_ms": unknown,
                    "off_ms": 0, "protected_ms": protected, "resync_ms": 0, "failovers": 1}
        outage = {"from_ms": 1700010000000, "to_ms": 1700010014000, "why": "host-lost \x1b[2J", "operation": "op-1"}
        days = [{**times(86386000, 14000, 0, 43200000), "day": "2023-11-15", "behind_kib": [0, 2048] + [0] * 22,
                 "outages": [outage], "more_outages": 3},
                {**times(82800000, 0, 3600000, 82800000), "day": "2023-11-16", "behind_kib": [], "outages": [], "more_outages": 0}]
        total = {**times(169186000, 14000, 3600000, 126000000), "outages": 4, "longest_outage_ms": 14000, "protected": 0.74}
        self.cell.vms["db"] = {"name": "db", "history": {"vm": "db", "days": days, "sum": total}}
        lines = self.ctl("vm", "history", "db", "--days", "2").stdout.splitlines()
        self.assertEqual(self.cell.requests[-1][2], "/v1/vms/db/history?days=2")
        text = "\n".join(lines)
        self.assertIn("available:    99.99 % of the time", text)
        self.assertIn("1 h 0 min by any host: had it been down then, 97.90 %", text)
        self.assertIn("protected:    74.46 % of that time", text)
        self.assertIn("4, 14.0 s in all, the longest 14.0 s", text)
        self.assertRegex(text, r"2023-11-16 +100.00 % +23 h 0 min +- +1 h 0 min +- +100.00 % +-")
        self.assertRegex(text, r"2023-11-15 +99.98 % .* 14.0 s +- +- +50.00 % +2(.0)? MiB")
        self.assertRegex(text, r"host-lost \\x1b\[2J +op-1")
        self.assertIn("and 3 more that day", text)
        self.assertEqual(json.loads(self.ctl("--json", "vm", "history", "db").stdout)["sum"]["outages"], 4)
        self.ctl("vm", "history", "db", "--days", "401", exit_code=1)
        self.cell.vms["db"]["history"] = {"vm": "db", "days": [], "sum": {}}
        self.assertIn("Nothing is known of VM db yet", self.ctl("vm", "history", "db").stdout)
        self.assertEqual(self.complete("vm", "history", "d"), ["db"])

    def test_drills_are_told_the_longest_overdue_first(self):
        def made(vm, every, due, last):
            return {"name": vm, "vm": vm, "project": "acme", "every_days": every, **({"due_ms": due} if due else {}),
                    "overdue": every > 0 and due < 1700000000000,
                    **({"last": {"what": last, "when_ms": 1690000000000, "host": "b1\x1b", "operation": "op-1"}} if last else {})}
        drills = [made("any", 0, 0, "vm-migrate"), made("late", 90, 1697776000000, "vm-failover"), made("never", 30, 0, ""),
                  made("well", 365, 1721536000000, "vm-failback")]
        self.cell.drills = {d["vm"]: d for d in drills}
        lines = self.ctl("drills").stdout.splitlines()
        self.assertRegex(lines[1], r"^never made, OVERDUE +never +acme +30 d +- +- +- +-$")
        self.assertRegex(lines[2], r"^2023-10-20T04:26:40Z, OVERDUE +late .* vm-failover +b1\\x1b +op-1$")
        self.assertRegex(lines[3], r"^2024-07-21T04:26:40Z +well +acme +365 d +2023-07-22T04:26:40Z +vm-failback")
        self.assertRegex(lines[4], r"^not asked for +any +acme +- +2023-07-22T04:26:40Z +vm-migrate")
        self.assertEqual([d["vm"] for d in json.loads(self.ctl("--json", "drills", "--project", "acme").stdout)],
                         ["never", "late", "well", "any"])
        self.assertIn("/v1/drills?project=acme&limit=", self.cell.requests[-1][2])
        self.cell.drills = {}
        self.assertEqual(self.ctl("drills").stdout, "No VMs.\n")

    def test_alerts_say_to_whom_they_went_and_why_not(self):
        sent = {"state": "sent", "by": "b1", "tries": 0, "repeat": True, "error": ""}
        failed = {"state": "failed", "by": "a1", "tries": 3, "repeat": False, "error": "Login denied \x1b[2J"}
        self.cell.alerts = {a["id"]: a for a in [
            {"id": "host-silent-a1", "title": "host a1 is silent", "severity": "warning", "created_ms": 1700000000000, "acked_ms": 0,
             "ended_ms": 1700000060000, "deliveries": {"mail": failed}},
            {"id": "failover-done-op-1", "title": "VM web runs", "severity": "info", "created_ms": 1700000001000, "acked_ms": 5,
             "ended_ms": 0, "deliveries": {"sms": sent}}]}
        lines = self.ctl("alert", "list").stdout.splitlines()
        self.assertRegex(lines[1], "info +acknowledged +VM web runs +failover-done-op-1 +sms sent by b1, maybe twice")
        self.assertRegex(lines[2], r"warning +over +host a1 is silent +host-silent-a1 +mail failed by a1 \(3 tries\)")
        self.assertRegex(lines[-1], r"host-silent-a1 to mail: Login denied \\x1b\[2J")
        self.assertEqual(self.complete("alert", "ack", "f"), ["failover-done-op-1"])

    def test_an_alert_is_tried_and_taken_notice_of(self):
        self.assertIn("test-1", self.ctl("alert", "test", "--reason", "does it arrive").stdout)
        self.assertIn("acknowledged", self.ctl("alert", "ack", "host-silent-a1", "--reason", "on it").stdout)
        self.assertEqual([(c[1], c[3]) for c in self.cell.changes],
                         [("/v1/alerts/actions/test", "does it arrive"), ("/v1/alerts/host-silent-a1/actions/ack", "on it")])
        self.ctl("alert", "ack", "host-silent-a1", exit_code=1)

    def test_every_command_and_option_is_in_the_man_page(self):
        page = (rig.ROOT / "packaging/hostctl.1").read_text().replace("\\-", "-")
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
        done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", str(rig.ROOT / "packaging/hostctl.1")],
                              capture_output=True, text=True, timeout=20, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
        self.assertEqual(done.stderr, "")


if __name__ == "__main__":
    rig.main()
