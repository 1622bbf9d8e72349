"""`hostctl cell restore` before the real API and a cell in memory: a file of `cell backup` goes into an empty cell.
    hostctl_restore_test.py HOSTCTL RIG [unittest arguments]"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from api_pki import Pki  # noqa: E402


def setUpModule():
    global FOLDER, PKI
    FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="hostctl-restore-"))
    (FOLDER / "images").mkdir()
    PKI = Pki(FOLDER)


def tearDownModule():
    shutil.rmtree(FOLDER)


class Cell:
    """A cell in memory behind the real API."""

    def __init__(self, test, *orders):
        self.test = test
        self.rig = subprocess.Popen([sys.argv[2], PKI.pem("ca"), PKI.pem("server"), PKI.key("server"), str(FOLDER / "images")],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        test.addCleanup(self.end)
        self.port = int(self.rig.stdout.readline().split()[1])
        for order in orders:
            self.order(order)

    def end(self):
        self.rig.stdin.close()
        self.rig.wait(10)
        self.rig.stdout.close()

    def order(self, line):
        self.rig.stdin.write(line + "\n")
        self.rig.stdin.flush()
        return self.rig.stdout.readline().strip()

    def ctl(self, *args, exit_code=0, who="operator"):
        done = subprocess.run([sys.argv[1], *args], text=True, capture_output=True, timeout=30, stdin=subprocess.DEVNULL,
                              env={"HOME": str(FOLDER), "PATH": "/usr/bin:/bin", "BASCULE_CA": PKI.pem("ca"),
                                   "BASCULE_ENDPOINTS": f"https://127.0.0.1:{self.port}", "BASCULE_CERT": PKI.pem(who),
                                   "BASCULE_KEY": PKI.key(who)}, check=False)
        self.test.assertEqual(done.returncode, exit_code, f"{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def restore(self, file, *more, **kw):
        return self.ctl("cell", "restore", str(file), "--reason", "all of etcd was lost", *more, **kw)

    def show(self, what):
        return json.loads(self.ctl("--json", *what.split()))


class Restore(unittest.TestCase):
    def setUp(self):
        self.lost = Cell(self, "vms 5")
        self.lost.ctl("vm", "off", "vm-1", "--reason", "so that the chain has a record")
        operation = self.lost.show("op list")[0]["id"]
        self.assertEqual(self.lost.order(f"finish {operation} done"), "ok")
        self.file = FOLDER / f"{self.id()}.json"
        self.lost.ctl("cell", "backup", str(self.file))
        self.made = json.loads(self.file.read_text())
        self.cell = Cell(self)

    def bent(self, bend):
        """The same file, changed by somebody."""
        made = json.loads(self.file.read_text())
        bend(made)
        file = self.file.with_suffix(".bent.json")
        file.write_text(json.dumps(made))
        return file

    def test_definitions_and_layouts_are_as_in_the_file_and_power_is_off(self):
        said = self.cell.restore(self.file)
        self.assertIn("5 VMs are restored", said)
        self.assertIn("hostctl vm adopt", said)
        for old in self.made["vms"]:
            new = self.cell.show(f"vm show {old['name']}")
            new = new.get("vm", new)
            for field in ("project", "cpus", "memory_mib", "hosts", "protection", "priority", "networks", "volumes"):
                self.assertEqual(new[field], old[field], field)
            self.assertEqual((new["power"], new["host"]), ("off", ""))
            self.assertNotIn("right", new)
        legs = {(v["vm"], v["name"]): v for v in self.cell.show("volume list")}
        for old in self.made["volumes"]:
            new = legs[old["vm"], old["name"]]
            self.assertEqual([(leg["host"], leg["id"]) for leg in new["legs"]], [(leg["host"], leg["id"]) for leg in old["legs"]])
            self.assertEqual([new[k] for k in ("minor", "port", "size_mib")], [old[k] for k in ("minor", "port", "size_mib")])
        self.assertEqual(self.cell.show("op list"), [])

    def test_the_new_chain_says_where_it_comes_from(self):
        self.cell.restore(self.file)
        first = self.cell.show("audit list")[0]
        head = self.made["audit_head"]
        self.assertEqual((first["sequence"], first["what"], first["who"]["name"]), (1, "cell restore begun", "olga"))
        self.assertIn(f"{head['sequence']}:{head['hash']}", first["result"])
        self.assertIn("chain is whole", self.cell.ctl("audit", "verify"))

    def test_a_dry_run_says_what_it_would_write_and_writes_nothing(self):
        said = self.cell.restore(self.file, "--dry-run")
        self.assertIn("would restore 5 VMs", said)
        self.assertIn("vm-3 on a1 and b1", said)
        self.assertEqual((self.cell.show("vm list"), self.cell.show("audit list")), ([], []))

    def test_one_that_was_interrupted_goes_on_and_a_second_changes_nothing(self):
        broken = self.bent(lambda made: None)
        # The third request of the first run meets a host that fails for good.
        self.cell.restore(broken, "--dry-run")
        self.cell.order("fail exhausted")
        self.cell.restore(broken, exit_code=2)
        self.cell.restore(broken)
        self.cell.restore(broken)
        self.assertEqual(len(self.cell.show("vm list")), 5)
        self.assertEqual(len(self.cell.show("audit list")), 7)

    def test_another_file_does_not_go_into_the_same_cell(self):
        self.cell.restore(self.file)
        self.assertIn("another file", self.cell.restore(self.bent(lambda made: made["vms"].pop()), exit_code=2))

    def test_a_cell_that_has_something_is_refused(self):
        self.assertIn("this cell has VMs", self.lost.restore(self.file, exit_code=2))

    def test_a_host_that_the_cell_has_not_is_told_before_anything_is_written(self):
        def bend(made):
            made["volumes"][-1]["legs"][1]["host"] = "b9"
        self.assertIn("host b9", self.cell.restore(self.bent(bend), exit_code=2))
        self.assertEqual(self.cell.show("audit list"), [])

    def test_a_file_that_is_none_or_was_changed_is_refused_here(self):
        cases = [(lambda made: made.update(kind="another"), "not a file of"),
                 (lambda made: made.update(format=2), "format 2"),
                 (lambda made: made["audit"][0].update(why="something else"), "chain is broken"),
                 (lambda made: made["audit"].pop(), "does not end where"),
                 (lambda made: made["volumes"].pop(), "no layout of volume")]
        for bend, words in cases:
            self.assertIn(words, self.cell.restore(self.bent(bend), exit_code=1))
        text = self.file.with_suffix(".txt")
        text.write_text("no JSON")
        self.assertIn("not JSON", self.cell.restore(text, exit_code=1))
        self.assertIn("No such file", self.cell.restore(FOLDER / "nothing", exit_code=1))
        self.assertEqual(self.cell.order("submitted"), "0")

    def test_a_damaged_vm_is_refused_by_the_cell_and_named(self):
        def bend(made):
            made["volumes"][0]["minor"] = 5
        self.assertIn("vm-0: minors", self.cell.restore(self.bent(bend), exit_code=1))

    def test_a_vm_whose_creation_had_not_ended_is_left_out(self):
        said = self.cell.restore(self.bent(lambda made: made["vms"][0].pop("right")))
        self.assertIn("VM vm-0 is left out", said)
        self.assertEqual(len(self.cell.show("vm list")), 4)

    def test_only_an_operator_restores(self):
        self.assertIn("role", self.cell.restore(self.file, exit_code=2, who="auditor"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
