"""bascule-setup apply, as far as no program of the system is needed: answers, texts, what is asked and what is never touched."""
import contextlib
import importlib
import io
import json
import os
import pathlib
import re
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "packaging/setup"))
answers = importlib.import_module("bascule_answers")
apply = importlib.import_module("bascule_apply")
ca = importlib.import_module("bascule_ca")
steps = importlib.import_module("bascule_steps")
setup = importlib.import_module("bascule_setup")

EXAMPLE = (ROOT / "packaging/setup/cell.toml").read_text()
DISK = "/dev/disk/by-id/nvme-example-a1"
EMPTY = {"vgs": (5, ""), "lvs": (5, ""), "wipefs": (0, ""), "lsblk": (0, json.dumps({"blockdevices": [{"name": "nvme0n1", "ro": False, "mountpoints": [None]}]})),
         "pvs": (5, "Failed to find physical volume"), "vgcreate": (0, ""), "lvcreate": (0, "")}
THIN = ["+ lvcreate --activate n --addtag bascule-setup --type thin-pool -l 95%FREE -n thin.new vg0", "+ lvrename vg0 thin.new thin", "+ lvchange --activate y vg0/thin"]
# hostd asks libvirt all the time: it must find no socket that begins the service before the one for TLS listens.
BEGIN_TLS = ("stop libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket",
             "start libvirtd-tls.socket libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket", "start libvirtd.service")


class Fake(steps.System):
    """Files are real, commands are a table: by their first words."""

    def __init__(self, commands=None, disk=True, use=""):
        self.commands, self.disk, self.use, self.ran = {**EMPTY, **(commands or {})}, disk, use, []

    def run(self, argv):
        self.ran.append(" ".join(argv))
        for words in range(len(argv), 0, -1):
            if " ".join(argv[:words]) in self.commands:
                return self.commands[" ".join(argv[:words])]
        return 127, f"there is no {argv[0]}"

    def block_device(self, path):
        return self.disk

    def in_use(self, path):
        return self.use


class Answers(unittest.TestCase):
    def test_the_example_is_taken(self):
        cell = answers.parse(EXAMPLE)
        self.assertEqual(cell.members(), {"a1": "192.0.2.11", "b1": "192.0.2.21", "witness": "192.0.2.5"})

    def test_a_site_with_several_hosts_has_one_voter(self):
        more = EXAMPLE.replace("[pool]", '[hosts.a2]\nsite = "A"\naddress = "192.0.2.12"\nreplication = "198.51.100.12"\n{}\n[pool]')
        self.assertEqual(set(answers.parse(more.replace("{}", "")).members()), {"a1", "b1", "witness"})
        self.assertEqual(set(answers.parse(more.replace("{}", "voter = true")).members()), {"a2", "b1", "witness"})

    def test_what_is_wrong_is_refused_with_its_key(self):
        for old, new, words in (
                ("[pool]", "[pol]", "pol: there is no such key"), ('cell = "main"', 'cell = "Main"', "cell: 'Main' is no name"),
                ('cell = "main"', "", "cell is missing"), ('site = "B"', 'site = "C"', "hosts.b1.site"), ('site = "B"', 'site = "A"', "none on site B"),
                ('address = "192.0.2.21"', 'address = "192.0.2.11"', "address of two machines"), ('address = "192.0.2.5"', 'address = "x"', "witness.address"),
                ('address = "192.0.2.21"', 'address = "0.0.0.0"', "no address of one machine"), ("hosts.b1", "hosts.witness", "the witness'"),
                ("hosts.b1", 'hosts."b1\\n"', "host id"), ('"br-client"', '"br\\"x"', "bridge's name"), (DISK, "/dev/a b", "is no path"),
                ('group = "vg0"', 'group = "-f"', "volume group"), ('kind = "lvm-thin"', 'kind = "zfs"', "pool.kind"), ('site = "B"', "site = 3", "no str"),
                ("[witness]", "witness = [", "line")):
            with self.subTest(new=new), self.assertRaises(answers.Wrong) as said:
                answers.parse(EXAMPLE.replace(old, new))
            self.assertIn(words, str(said.exception))

    def test_a_members_configuration_is_the_witness_example(self):
        def values(text):
            return dict(re.findall(r'^(\w+)="(.*)"$', text, re.MULTILINE))
        self.assertEqual(values(answers.etcd_default(answers.parse(EXAMPLE), "witness")), values((ROOT / "packaging/witness/etcd").read_text()))

    def test_libvirts_keys_are_added_once_and_others_are_not_changed(self):
        keys = answers.libvirt_keys(answers.parse(EXAMPLE))
        text, other = answers.with_keys('#auth_tls = "sasl"\nlisten_tls = 1', keys)
        self.assertEqual((text.splitlines()[0], other), ('#auth_tls = "sasl"', []))
        self.assertIn('tls_allowed_dn_list = [ "CN=a1", "CN=b1" ]\n', text)
        self.assertEqual(answers.with_keys(text, keys), (text, []))
        self.assertEqual(answers.with_keys('auth_tls = "sasl"\n', keys)[1], ["auth_tls"])
        self.assertEqual(answers.with_keys("".join(f"{key} = {value}\n" for key, value in keys.items()), keys)[1], [])

    def test_a_host_more_changes_libvirts_list_and_leaves_what_else_is_there(self):
        keys = answers.libvirt_keys(answers.parse(EXAMPLE))
        text = answers.with_keys("listen_tls = 1\n", keys)[0] + 'log_level = 3\n'
        more = {**keys, "tls_allowed_dn_list": '[ "CN=a1", "CN=a2", "CN=b1" ]'}
        changed, other = answers.with_keys(text, more)
        self.assertEqual((other, answers.with_keys(changed, more)), ([], (changed, [])))
        self.assertEqual([line for line in changed.splitlines() if line not in text.splitlines()], ['tls_allowed_dn_list = [ "CN=a1", "CN=a2", "CN=b1" ]'])
        self.assertEqual([line for line in text.splitlines() if line not in changed.splitlines()], ['tls_allowed_dn_list = [ "CN=a1", "CN=b1" ]'])


class Pool(unittest.TestCase):
    def plan(self, **more):
        return apply.Plan(Fake(**more), answers.parse(EXAMPLE), "a1")

    def test_an_empty_disk_becomes_the_pool(self):
        plan = self.plan()
        shown = [line for action in plan.pool() for line in action.shown(plan.system)]
        self.assertEqual(shown, [f"+ vgcreate vg0 {DISK}", *THIN])
        self.assertFalse([ran for ran in plan.system.ran if ran.startswith(("vgcreate", "lvcreate", "pvcreate"))], "looking makes nothing")

    def test_a_pool_that_is_there_is_left_as_it_is(self):
        plan = self.plan(commands={"vgs": (0, " vg0\n"), "lvs": (0, "  thin-pool active\n")}, use="it is in use")
        self.assertEqual(plan.pool(), [])
        with self.assertRaises(steps.Stop) as said:
            self.plan(commands={"vgs": (0, " vg0\n"), "lvs": (0, "  linear\n")}).pool()
        self.assertIn("vg0/thin is there and is no thin pool but linear", str(said.exception))

    def test_a_thin_pool_has_its_name_when_it_is_whole_and_a_half_one_is_made_again(self):
        for answers_, wanted in (
                ({"vg0/thin": (0, "  thin-pool\n")}, ["+ lvchange --activate n vg0/thin_tmeta vg0/thin_tdata", THIN[2]]), ({"vg0/thin.new": (0, "  bascule-setup;\n")}, ["+ lvremove --yes vg0/thin.new", *THIN]),
                ({"vg0/thin.new": (0, "  bascule-setup,other;0\n")}, ["+ lvremove --yes vg0/thin.new", *THIN]), ({}, THIN)):
            asked = {"vg0/thin": "-o segtype,lv_active", "vg0/thin.new": "--separator ; -o lv_tags,thin_count"}
            plan = self.plan(commands={"vgs": (0, " vg0\n"), **{f"lvs --noheadings {asked[name]} {name}": answer for name, answer in answers_.items()}})
            self.assertEqual([line for action in plan.pool() for line in action.shown(plan.system)], wanted)
        for answer in ("  bascule-setup;3\n", "  ;0\n", "  ;\n", "  not-bascule-setup;\n"):
            with self.subTest(answer=answer), self.assertRaises(steps.Stop) as said:
                self.plan(commands={"vgs": (0, " vg0\n"), "lvs --noheadings --separator ; -o lv_tags,thin_count vg0/thin.new": (0, answer)}).pool()
            self.assertIn("vg0/thin.new is there and was not left by", str(said.exception))

    def test_what_an_interrupted_vgcreate_leaves_is_taken_again(self):
        label = {"wipefs": (0, "LVM2_member 0x218\n")}
        nobodys = self.plan(commands={**label, "pvs --noheadings -o vg_name,pv_in_use": (0, "    \n")}, use="its first MiB is not empty")
        self.assertEqual(len(nobodys.pool()), 1 + len(THIN))
        for answer in ((0, "  vg9 used\n"), (0, "  used\n"), (5, "")):
            with self.subTest(answer=answer), self.assertRaises(steps.Stop) as said:
                self.plan(commands={**label, "pvs --noheadings -o vg_name,pv_in_use": answer}, use="its first MiB is not empty").pool()
            self.assertIn("wipefs finds LVM2_member", str(said.exception))

    def test_no_disk_that_has_anything_on_it_is_touched(self):
        def lsblk(**device):
            return {"lsblk": (0, json.dumps({"blockdevices": [{"name": "sdb", "mountpoints": [None], **device}]}))}
        for words, more in (
                ("wipefs finds ext4", {"commands": {"wipefs": (0, "ext4 0x438\n")}}), ("wipefs finds gpt, PMBR", {"commands": {"wipefs": (0, "gpt 0x200\nPMBR 0x1fe\n")}}),
                ("wipefs finds drbd", {"commands": {"wipefs": (0, "drbd 0x3ffe000\n")}}), ("wipefs: ", {"commands": {"wipefs": (1, "probing failed")}}),
                ("lsblk shows", {"commands": lsblk(children=[{"name": "sdb1"}])}), ("lsblk shows", {"commands": lsblk(mountpoints=["/srv"])}),
                ("read-only", {"commands": lsblk(ro=True)}), ("lsblk does not tell", {"commands": {"lsblk": (1, "not a block device")}}),
                ("physical volume of LVM", {"commands": {"pvs": (0, f"  {DISK}\n")}}), ("it is in use", {"use": "it is in use (Device or resource busy)"}),
                ("first MiB is not empty", {"use": "its first MiB is not empty"}), ("no disk of this machine", {"disk": False})):
            plan = self.plan(**more)
            with self.subTest(words=words), self.assertRaises(steps.Stop) as said:
                plan.pool()
            self.assertIn(words, str(said.exception))
            self.assertFalse([ran for ran in plan.system.ran if ran.startswith(("vgcreate", "lvcreate"))])

    def test_what_is_looked_at_in_a_real_file_is_its_content(self):
        with tempfile.NamedTemporaryFile() as file:
            file.truncate(4 << 20)
            self.assertEqual(steps.System().in_use(file.name), "")
            self.assertFalse(steps.System().block_device(file.name))
            file.write(b"\0" * 1000 + b"x")
            file.flush()
            self.assertEqual(steps.System().in_use(file.name), "its first MiB is not empty")


class Walk(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.TemporaryDirectory()
        self.addCleanup(self.home.cleanup)
        self.answers = pathlib.Path(self.home.name, "cell.toml")
        self.answers.write_text(EXAMPLE)

    def apply(self, *words, system=None):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = apply.main(["--answers", str(self.answers), *words], None, system or Fake())
        return code, out.getvalue(), err.getvalue()

    def files(self):
        return sorted(str(path.relative_to(self.home.name)) for path in pathlib.Path(self.home.name).rglob("*"))

    def test_a_dry_run_and_a_no_change_nothing(self):
        root = f"{self.home.name}/root"
        for words in (["--dry-run"], []):  # nobody is here to say yes
            code, out, _err = self.apply("--as", "a1", "--root", root, *words)
            self.assertEqual((code, self.files()), (3 if words else 1, ["cell.toml"]))
            self.assertIn(f"write {root}/etc/default/etcd", out)
            self.assertIn("openssl genpkey", out)

    def test_a_file_that_differs_is_kept(self):
        path = pathlib.Path(self.home.name, "root/etc/hosts")
        path.parent.mkdir(parents=True)
        path.write_text("127.0.0.1 localhost")
        path.chmod(0o640)
        self.apply("--as", "witness", "--root", f"{self.home.name}/root", "--yes")
        self.assertEqual(path.read_text(), "127.0.0.1 localhost\n192.0.2.11 a1\n192.0.2.21 b1\n")
        self.assertEqual((path.stat().st_mode & 0o777, path.with_name("hosts.before-1").read_text()), (0o640, "127.0.0.1 localhost"))
        self.apply("--as", "witness", "--root", f"{self.home.name}/root", "--yes")
        self.assertFalse(path.with_name("hosts.before-2").exists(), "nothing differed")
        path.write_text("192.0.2.99 a1\n")
        self.assertIn("one of them is wrong", self.apply("--as", "witness", "--root", f"{self.home.name}/root", "--yes")[2])

    def test_what_an_operator_has_added_to_hostds_configuration_is_not_lost(self):
        root = pathlib.Path(self.home.name, "root")
        path = root / "etc/bascule/hostd.toml"
        path.parent.mkdir(parents=True)
        cell = answers.parse(EXAMPLE)
        plan = apply.Plan(Fake(), cell, "a1", str(root))
        generated = answers.hostd_toml(cell, "a1", str(root))
        other = generated.replace('cell = "main"', 'cell = "old"', 1)
        for text, words in ((other + '[alerts.to.mail]\nway = "mail"\n', "would change (cell), and it holds what cell.toml does not know: alerts"),
                            (other.replace("[api]", '[api]\ncrl = "/x"', 1), "api.crl"), ("[api", "cannot be read")):
            path.write_text(text)
            with self.subTest(words=words), self.assertRaises(steps.Stop) as said:
                plan.hostd()
            self.assertIn(words, str(said.exception))
            self.assertEqual(path.read_text(), text)
        path.write_text(other)
        self.assertEqual(len(plan.hostd()), 1, "what cell.toml knows is brought in line")
        path.write_text(generated + '[alerts.to.mail]\nway = "mail"\n')
        self.assertEqual(plan.hostd(), [], "what was added stands beside what cell.toml says")

    def test_this_machine_is_not_a_folder_to_try_out_in(self):
        code, out, err = self.apply("--as", "a1", "--root", "/", "--yes")
        self.assertEqual((code, out, self.files()), (2, "", ["cell.toml"]))
        self.assertIn("--root / is this machine itself", err)

    def test_a_host_that_lacks_what_no_step_mends_is_not_begun(self):
        with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()):
            code = apply.main(["--answers", str(self.answers), "--as", "a1", "--yes"], lambda plan: ["watchdog"], Fake())
        self.assertEqual(code, 1)
        self.assertIn("mend first: watchdog", err.getvalue())

    def units(self, name="a1", fresh=False, marked=(), **states):
        """What the step of the units does on a machine; states: of units, by their names without what is behind the point."""
        system = Fake()
        system.marks = f"{self.home.name}/marks"
        for unit in marked:
            system.mark(unit)
        for unit in ("etcd", "libvirtd-tls", "libvirtd", "hostd"):
            full = f"{unit}.{'socket' if unit == 'libvirtd-tls' else 'service'}"
            system.commands[f"systemctl show --property ActiveState --value {full}"] = (0, states.get(unit.replace("-", "_"), "inactive" if fresh else "active") + "\n")
        system.commands["systemctl is-enabled"] = (1, "disabled\n") if fresh else (0, "enabled\n")
        system.commands["systemctl is-enabled drbd.service"] = (0, "enabled\n") if fresh else (1, "masked\n")
        system.commands["systemctl"] = (0, "\n")
        plan = apply.Plan(system, answers.parse(EXAMPLE), name)
        actions = plan.units()
        shown = [line.removeprefix("+ systemctl ") for action in actions for line in action.shown(system) if "modprobe" not in line]
        for action in actions:
            if "modprobe" not in action.argv:
                action.act(system)
        self.assertFalse([unit for unit in marked if system.marked(unit)], "what was restarted is not restarted again")
        return shown

    def test_units_are_enabled_and_begun_in_their_order_and_drbds_own_is_not(self):
        self.assertEqual(self.units(fresh=True), [
            "enable etcd.service", "start etcd.service", "disable --now drbd.service", "enable libvirtd-tls.socket",
            "enable libvirtd.service", *BEGIN_TLS, "enable hostd.service", "start hostd.service"])
        self.assertEqual(self.units("witness", fresh=True), ["enable etcd.service", "start etcd.service"])
        self.assertEqual(self.units(), [])

    def test_a_unit_that_an_image_enables_and_that_waited_for_its_files_is_begun(self):
        self.assertEqual(self.units(libvirtd_tls="inactive", hostd="inactive"),
                         [*BEGIN_TLS, "start hostd.service"])

    def test_a_service_whose_files_changed_is_restarted_and_no_other(self):
        self.assertEqual(self.units(marked=["libvirtd.service"]), ["restart libvirtd.service"])
        self.assertEqual(self.units(marked=["hostd.service", "etcd.service", "libvirtd.service"]),
                         ["restart etcd.service", "restart libvirtd.service", "restart hostd.service"])

    def test_a_change_is_known_before_it_is_made_until_the_service_was_restarted(self):
        system, path = Fake({"systemctl restart": (1, "no")}), pathlib.Path(self.home.name, "etc/x.conf")
        system.marks = f"{self.home.name}/marks"

        def power_goes(*_words):
            raise KeyboardInterrupt
        system.write = power_goes
        with self.assertRaises(KeyboardInterrupt):
            steps.Write(str(path), "new", unit="x.service").act(system)
        self.assertTrue(system.marked("x.service"))
        with self.assertRaises(steps.Stop):
            steps.InForce("x.service", "systemctl", "restart", "x.service").act(system)
        self.assertTrue(system.marked("x.service"), "the restart failed")

    def test_a_copy_is_whole_and_for_whom_it_is_to_be_or_it_is_made_again(self):
        source, path = pathlib.Path(self.home.name, "host.key"), pathlib.Path(self.home.name, "pki/host.key")
        source.write_text("key\n")
        copy, system = steps.Copy(str(source), str(path), 0o640), steps.System()
        for break_ in (lambda: None, lambda: path.chmod(0o644), lambda: path.write_text("ke"), path.unlink):
            if path.exists():
                break_()
                self.assertFalse(copy.done(system))
            path.parent.mkdir(exist_ok=True)
            path.with_name("host.key.new").write_text("half")  # an interrupted run's
            copy.act(system)
            self.assertTrue(copy.done(system))
        self.assertEqual((path.read_text(), path.stat().st_mode & 0o777), ("key\n", 0o640))
        self.assertEqual(sorted(found.name for found in path.parent.iterdir()), ["host.key", "host.key.before-1"])
        self.assertNotIn("key\n", "".join(copy.shown(system)))

    def test_a_member_with_data_keeps_its_configuration(self):
        root = pathlib.Path(self.home.name, "root")
        (root / "var/lib/etcd/bascule/member").mkdir(parents=True)
        plan = apply.Plan(Fake(), answers.parse(EXAMPLE), "a1", str(root))
        with self.assertRaises(steps.Stop) as said:
            plan.etcd()
        self.assertIn("has data already", str(said.exception))

    def test_wrong_answers_begin_nothing(self):
        self.answers.write_text(EXAMPLE.replace("[pool]", "[pol]"))
        self.assertEqual(self.apply("--as", "a1")[0], 2)
        self.answers.write_text(EXAMPLE)
        code, _out, err = self.apply("--as", "c1")
        self.assertEqual(code, 2)
        self.assertIn("there are a1, b1, witness", err)

    def test_the_program_finds_its_commands(self):
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()) as out:
            self.assertEqual(setup.main(["apply", "--answers", str(self.answers), "--as", "a1", "--root", f"{self.home.name}/root", "--dry-run"]), 3)
        self.assertIn("steps for a1 of cell main", out.getvalue())
        self.assertFalse(os.path.exists(ROOT / "packaging/setup/__pycache__"))


class Authority(unittest.TestCase):
    """openssl is replaced: it writes what it is asked for, or the power goes while it does."""

    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home, self.writes, kept = pathlib.Path(home.name), 1 << 30, ca.openssl
        ca.openssl = self.openssl
        self.addCleanup(setattr, ca, "openssl", kept)

    def openssl(self, *words, quiet=False):
        del quiet
        if "-out" in words:
            path = pathlib.Path(words[words.index("-out") + 1])
            self.writes -= 1
            path.write_text("half" if self.writes < 0 else f"whole {words[0]} {path.name}\n")
            if self.writes < 0:
                raise KeyboardInterrupt
        return ""

    def test_an_interruption_at_any_point_leaves_nothing_half_and_no_key_is_made_twice(self):
        self.assertTrue(self.whole(lambda: ca.request(str(self.home / "host.key"), str(self.home / "host.csr"), "a1")) >= 2)
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertTrue(self.whole(lambda: ca.init(self.home / "ca", "main", False)) >= 4)
        self.assertEqual(sorted(path.name for path in (self.home / "ca").iterdir()), sorted(
            ["issued", "ca.pem", "api-ca.pem", *(f"{one}.{kind}" for one in ca.CAS for kind in ("key", "pem", "cnf", "index", "crlnumber"))]))

    def whole(self, act):
        """Interrupts it at its first, second, ... file, until it comes to its end; how often."""
        keys = {}
        for number in range(20):
            self.writes = min(number, 1)  # the next but one is interrupted
            try:
                act()
                return number
            except KeyboardInterrupt:
                pass
            for path in self.home.rglob("*.*"):
                if path.suffix in (".key", ".pem", ".csr"):
                    self.assertIn("whole", path.read_text(), path)
                if path.suffix == ".key":
                    self.assertEqual((keys.setdefault(path, path.stat().st_ino), path.stat().st_mode & 0o777), (path.stat().st_ino, 0o600))
        raise AssertionError("it never ends")

    def test_the_index_that_openssl_was_just_moving_is_found(self):
        with contextlib.redirect_stdout(io.StringIO()):
            ca.init(self.home / "ca", "main", False)
        index = self.home / "ca/hosts-ca.index"
        index.rename(f"{index}.old")
        pathlib.Path(f"{index}.new").write_text("V\tnew\n")
        ca.with_ca(self.home / "ca", "hosts-ca")
        self.assertEqual(index.read_text(), "V\tnew\n")


if __name__ == "__main__":
    unittest.main()
