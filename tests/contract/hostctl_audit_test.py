"""hostctl's audit commands against a fake API: the chain, the hosts' signatures, exports, and every kind of tampering."""
import copy
import csv
import io
import json
import pathlib
import re
import subprocess
import time

import hostctl_fake as fake
import hostctl_rig as rig

DAY_MS = 86_400_000


class AuditTest(rig.HostctlTest):
    def setUp(self):
        super().setUp()
        self.a.audit_page = 7
        for i in range(30):
            self.cell.record(f"reason {i}, ü", "vm-start requested", "vm/db")

    def sign(self, number, **how):
        self.cell.heads.append(fake.sign_head(rig.PKI, self.cell.audit[number - 1], **how))

    def broken(self, *args):
        done = self.ctl("audit", "verify", *args, exit_code=2)
        self.assertIn("broken: ", done.stdout)
        return done.stdout

    def write_anew(self, number, why="another reason"):
        """What somebody who can write to etcd does: one record changed, and every hash after it computed again."""
        kept, self.cell.audit = self.cell.audit, []
        for old in kept:
            self.cell.record(why if old["sequence"] == number else old["why"], old["what"], old["object"])


class Live(AuditTest):
    def test_a_whole_chain_is_exit_0(self):
        self.assertIn("ok: 30 records", self.ctl("audit", "verify").stdout)
        self.assertTrue(json.loads(self.ctl("--json", "audit", "verify").stdout)["ok"])

    def test_a_changed_record_is_exit_2_and_is_named(self):
        self.cell.audit[16]["why"] = "nothing happened"
        said = self.broken()
        self.assertIn("record 17 was changed", said)
        self.assertIn("records 1 to 16 are as they were written", said)

    def test_a_removed_record_is_named_wherever_it_stood(self):
        whole = self.cell.audit
        for gone, sentence in ((0, "record 1 is missing: the first one there is record 2"),
                               (10, "record 11 is missing: after 10 comes 12"), (29, "record 30 is missing at the end")):
            self.cell.audit = [r for i, r in enumerate(whole) if i != gone]
            if gone == 29:  # what the server says of its newest record, or a host's signature, is what tells
                self.a.head = whole[-1]
            self.assertIn(sentence, self.broken())

    def test_swapped_records_are_exit_2(self):
        self.cell.audit[4], self.cell.audit[5] = self.cell.audit[5], self.cell.audit[4]
        self.assertIn("records 5 and 6 stand in the wrong order: 6 comes first", self.broken())

    def test_an_inserted_record_is_exit_2(self):
        forged = dict(self.cell.audit[4], sequence=6, previous=self.cell.audit[4]["hash"], why="forged")
        forged["hash"] = fake.netstring_hash(forged)
        self.cell.audit.insert(5, forged)
        self.assertIn("record 6 comes a second time", self.broken())
        for i, record in enumerate(self.cell.audit):
            record["sequence"] = i + 1
        self.assertIn("record 7 was written as record 6: something was inserted before it", self.broken())

    def test_a_chain_computed_anew_does_not_hold_a_record_noted_earlier(self):
        noted = re.search(r"newest: (30:[0-9a-f]{64})", self.ctl("audit", "verify").stdout).group(1)
        self.cell.record("later", "vm-stop requested", "vm/db")
        self.ctl("audit", "verify", "--known", noted)
        self.write_anew(20)
        self.ctl("audit", "verify")
        self.assertIn("record 30 is not the one you know", self.broken("--known", noted))
        del self.cell.audit[20:]
        self.assertIn("record 30, which you know, is missing", self.broken("--known", noted))
        self.ctl("audit", "verify", "--known", "30:abc", exit_code=1)

    def test_a_client_is_told_that_it_cannot(self):
        self.cell.role = "client"
        for command in ("verify", "export"):
            self.assertIn("a client gets its own records", self.ctl("audit", command, exit_code=2).stderr)

    def test_the_newest_records_are_listed(self):
        done = self.ctl("--json", "audit", "list", "--limit", "10")
        self.assertEqual([r["sequence"] for r in json.loads(done.stdout)], list(range(21, 31)))
        self.assertIn("reason 29, ü", self.ctl("audit", "list").stdout)


class Countersigned(AuditTest):
    def setUp(self):
        super().setUp()
        self.sign(12)
        self.sign(25, host="b1", certificate="b1")

    def test_the_signatures_are_told(self):
        said = self.ctl("audit", "verify").stdout
        self.assertIn("countersigned up to record 12 by a1, up to record 25 by b1; not yet after record 25", said)
        self.cell.heads = []
        self.assertIn("not countersigned by any host", self.ctl("audit", "verify").stdout)

    def test_a_chain_computed_anew_is_found_by_the_first_head_after_the_change(self):
        whole = self.cell.audit
        for number, host, before in ((3, "record 12 is not the one that host a1", 0), (18, "record 25 is not the one that host b1", 12)):
            self.cell.audit = copy.deepcopy(whole)
            self.write_anew(number)
            said = self.broken()
            self.assertIn(f"{host} countersigned on ", said)
            self.assertIn(f"the chain was computed anew, from some record after {before} on", said)

    def test_a_chain_cut_off_before_a_head_is_found_though_the_server_says_it_ends_there(self):
        del self.cell.audit[20:]
        self.assertIn("records 21 to 25 are missing at the end: host b1 countersigned record 25", self.broken())

    def test_forged_heads_are_found(self):
        genuine = self.cell.heads[0]
        for change, sentence in (
                ({"hash": "0" * 64}, "has a wrong signature"), ({"sequence": 13}, "has a wrong signature"),
                ({"when_ms": genuine["when_ms"] + 1000}, "has a wrong signature"), ({"cell": "other"}, "has a wrong signature"),
                ({"host": "b1"}, "has a certificate that is not that host's"), ({"certificate": ""}, "no certificate that can be read"),
                ({"signature": "AAAA"}, "has a wrong signature"), ({"signature": ""}, "has a wrong signature")):
            self.cell.heads[0] = {**genuine, **change}
            self.assertIn(sentence, self.broken(), change)
        for how, sentence in (({"certificate": "foreign-host"}, "certificate that is not accepted"),
                              ({"certificate": "operator"}, "certificate that is not that host's"),
                              ({"when_ms": int(time.time() * 1000) + 30 * DAY_MS}, "certificate has expired")):
            self.cell.heads[0] = fake.sign_head(rig.PKI, self.cell.audit[11], **how)
            self.assertIn(sentence, self.broken(), how)

    def test_heads_of_another_cell_do_not_count(self):
        self.sign(20, cell="elsewhere")
        self.assertIn("the heads are of two cells", self.broken())

    def test_a_head_from_the_journal_finds_what_etcd_no_longer_tells(self):
        journal = pathlib.Path(self.home.name) / "journal"
        journal.write_text("Nov 28 a1 hostd[1]: info: something {else\n" +
                           "Nov 28 a1 hostd[1]: info: audit head: " + json.dumps(self.cell.heads[1]) + "\n")
        self.ctl("audit", "verify", "--heads", str(journal))
        self.cell.heads = []
        self.write_anew(18)
        self.ctl("audit", "verify")
        self.assertIn("record 25 is not the one that host b1", self.broken("--heads", str(journal)))
        journal.write_text("nothing here\n")
        self.ctl("audit", "verify", "--heads", str(journal), exit_code=1)


class Export(AuditTest):
    FORMATS = ("jsonl", "csv")

    def setUp(self):
        super().setUp()
        self.sign(12)
        self.sign(25, host="b1", certificate="b1")

    def file(self, text, name="export"):
        path = pathlib.Path(self.home.name) / name
        path.write_bytes(text.encode())
        return str(path)

    def rows(self, form):
        """The export as a list of lines, each with its line end."""
        text = self.ctl_bytes("audit", "export", "--format", form).decode()
        return text.splitlines(keepends=True) if form == "jsonl" else self.csv_rows(text)

    @staticmethod
    def csv_rows(text):
        out, row, quoted = [], "", False
        for c in text:
            row += c
            quoted ^= c == '"'
            if c == "\n" and not quoted:
                out.append(row)
                row = ""
        return out

    def ctl_bytes(self, *args):
        done = subprocess.run(self.words(None, args), env=self.environment(), capture_output=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def verify(self, lines, exit_code=2):
        path = self.file("".join(lines))
        return self.ctl("audit", "verify", path, endpoints=[], exit_code=exit_code).stdout

    def test_an_export_is_verified_without_the_cell(self):
        for form in self.FORMATS:
            said = self.verify(self.rows(form), exit_code=0)
            self.assertIn("ok: 30 records, the chain is whole", said)
            self.assertIn("countersigned up to record 12 by a1, up to record 25 by b1", said)

    def test_without_the_ca_it_says_what_is_missing(self):
        path = self.file("".join(self.rows("csv")))
        done = self.ctl("audit", "verify", path, endpoints=[], env={"BASCULE_CA": ""}, exit_code=1)
        self.assertIn("the CA's certificate is not given", done.stderr)

    def test_tampering_with_a_file_is_found(self):
        for form in self.FORMATS:
            lines = self.rows(form)
            first = 3  # the head of the file, two countersigned heads
            changed = lines.copy()
            changed[first + 16] = changed[first + 16].replace("reason 16", "reason 99")
            swapped = lines.copy()
            swapped[first + 4], swapped[first + 5] = swapped[first + 5], swapped[first + 4]
            for what, sentence in (
                    (changed, "record 17 was changed"),
                    (lines[:first] + lines[first + 1:], "record 1 is missing"),
                    (lines[:first + 10] + lines[first + 11:], "record 11 is missing"),
                    (lines[:first + 29] + lines[first + 30:], "record 30 is missing at the end"),
                    (swapped, "records 5 and 6 stand in the wrong order"),
                    (lines[:first + 6] + [lines[first + 5]] + lines[first + 6:], "record 6 comes a second time"),
                    (lines[:first + 20], "the file is cut off after record 20"),
                    (lines[:first + 20] + [lines[first + 20][:40]], "the file is cut off after record 20"),
                    (lines[:first], "the file is cut off before its first record"),
                    (lines + [lines[-2]], "stands after the end of the export"),
                    (["nonsense\r\n"] + lines[1:], "line 1 "),
                    (lines[:first + 3] + ["nonsense\r\n"] + lines[first + 3:], f"line {first + 4} ")):
                self.assertIn(sentence, self.verify(what), form)

    def test_a_file_computed_anew_does_not_hold_the_heads_in_it(self):
        for form in self.FORMATS:
            heads = self.rows(form)[:3]
            kept = self.cell.audit
            self.write_anew(18)
            self.assertIn("record 25 is not the one that host b1 countersigned", self.verify(heads + self.rows(form)[3:]))
            self.cell.audit = kept

    def test_a_time_for_people_that_says_something_else_is_found(self):
        lines = self.rows("csv")
        lines[8] = lines[8].replace("2023-11-14T", "2023-11-15T")
        self.assertIn("line 9 (record 6) was changed: its time", self.verify(lines))

    def test_the_csv_runs_nothing_in_a_spreadsheet_and_comes_back_as_it_was(self):
        evil = ['=HYPERLINK("http://x","y")', "+1+1", "-2+3", "@SUM(A1)", "\tx", "'quoted", 'a "quote", a comma\nand a line', "＝1"]
        for text in evil:
            self.cell.record(text, "vm-start requested", "vm/db")
        text = self.ctl_bytes("audit", "export", "--format", "csv").decode()
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        self.assertEqual(rows[0][:4], ["kind", "sequence", "time", "when_ms"])
        self.assertEqual({len(row) for row in rows}, {19})
        for row in rows:
            for field in row:
                self.assertNotRegex(field, r"\A[=+\-@\t\r\n＝＋－＠]")
        whys = [row[12] for row in rows if row[0] == "record"][-len(evil):]
        self.assertEqual([w.removeprefix("'") if w[0] == "'" else w for w in whys], evil)
        self.assertIn("ok: 38 records", self.verify(self.csv_rows(text), exit_code=0))

    def test_an_export_that_broke_off_has_no_last_line(self):
        self.a.faults = [None, None, None, (500, "internal", "no")]
        done = self.ctl("audit", "export", exit_code=3)
        self.assertIn("cut off", self.verify(done.stdout.splitlines(keepends=True)))


if __name__ == "__main__":
    rig.main()
