"""The real hostctl against a fake API: `cell backup`."""
import json
import pathlib
import stat

import hostctl_rig as rig


class Backup(rig.HostctlTest):
    def setUp(self):
        super().setUp()
        self.file = pathlib.Path(self.home.name) / "cell.json"
        for n in range(450):
            self.cell.record(f"reason {n}", "vm_start requested", "vm/db")
            self.cell.vms[f"vm-{n:03}"] = {"name": f"vm-{n:03}", "project": "acme", "right": {"epoch": n}}
        self.a.audit_page = 100

    def backup(self, *more, **kw):
        return self.ctl(*more, "cell", "backup", str(self.file), **kw)

    def test_the_file_holds_every_page_of_everything_and_is_the_callers_alone(self):
        said = self.backup().stdout
        made = json.loads(self.file.read_text())
        self.assertEqual((made["kind"], made["format"]), ("bascule-cell-backup", 1))
        self.assertEqual([vm["right"]["epoch"] for vm in made["vms"]], list(range(450)))
        self.assertEqual(made["audit"], self.cell.audit)
        self.assertEqual(made["audit_head"], {"sequence": 450, "hash": self.cell.audit[-1]["hash"]})
        self.assertEqual(made["made_by"]["name"], "alice")
        self.assertEqual([made[k] for k in ("hosts", "images", "volumes", "operations", "ha")], [[], [], [], [], {"armed": True}])
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.assertIn(f"450:{self.cell.audit[-1]['hash']}", said)

    def test_a_cell_without_records_has_a_backup_too(self):
        self.cell.audit.clear()
        self.backup()
        self.assertEqual(json.loads(self.file.read_text())["audit"], [])

    def test_a_file_that_is_there_is_left_as_it_is(self):
        self.file.write_text("older")
        self.assertIn("is there already", self.backup(exit_code=1).stderr)
        self.assertEqual(self.file.read_text(), "older")
        link = self.file.with_name("link.json")
        link.symlink_to(self.file.with_name("elsewhere"))
        self.ctl("cell", "backup", str(link), exit_code=1)
        self.assertFalse(self.file.with_name("elsewhere").exists())

    def test_a_broken_chain_is_told_and_leaves_no_file(self):
        self.cell.audit[300]["why"] = "something else"
        self.assertIn("the audit chain is broken", self.backup(exit_code=2).stderr)
        self.assertFalse(self.file.exists())

    def test_a_cell_that_changes_meanwhile_is_read_again(self):
        times = [2]

        def change():
            if times[0]:
                times[0] -= 1
                self.cell.record("meanwhile", "vm_stop requested", "vm/db")
                self.cell.vms["vm-000"]["right"]["epoch"] += 1000
        self.a.meanwhile = change
        said = self.backup()
        self.assertEqual(said.stderr.count("reading it again"), 2)
        made = json.loads(self.file.read_text())
        self.assertEqual((made["vms"][0]["right"]["epoch"], made["audit_head"]["sequence"], len(made["audit"])), (2000, 452, 452))

    def test_one_that_never_stands_still_has_no_backup(self):
        self.a.meanwhile = lambda: self.cell.record("again", "vm_stop requested", "vm/db")
        self.assertIn("no backup was made", self.backup(exit_code=2).stderr)
        self.assertFalse(self.file.exists())

    def test_a_client_sees_a_part_and_is_refused(self):
        self.cell.role = "client"
        self.assertIn("a part of the cell", self.backup(exit_code=2).stderr)
        self.assertFalse(self.file.exists())

    def test_a_host_that_fails_on_the_way_leaves_no_file(self):
        self.a.faults = [None] * 8 + [(503, "unavailable", "etcd is away")] * 50
        self.backup("--timeout", "3", exit_code=3)
        self.assertFalse(self.file.exists())


if __name__ == "__main__":
    rig.main()
