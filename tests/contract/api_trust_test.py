"""Whom the API trusts, over real TLS: countersigned heads, certificates that are withdrawn or renewed while it runs, and
the mapping of names.
    api_trust_test.py RIG [unittest arguments]"""
import http.client
import os
import shutil
import ssl
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import api_test  # noqa: E402
from api_client import Client, Rig, Stream, tls  # noqa: E402
from api_pki import Revoker  # noqa: E402

setUpModule, tearDownModule = api_test.setUpModule, api_test.tearDownModule
REFUSED = (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected, OSError)


class Heads(api_test.ApiCase):
    def test_countersigned_heads_are_read_in_pages_by_staff(self):
        for host in ("b1", "a1"):
            for number in (20, 9):
                self.rig.tell(f"head {host} {number}")
        first = self.operator.get("/v1/audit/heads?limit=3").json
        rest = self.operator.get("/v1/audit/heads?after=" + first["next"]).json
        self.assertEqual([(h["host"], h["sequence"]) for h in first["items"] + rest["items"]],
                         [("a1", 9), ("a1", 20), ("b1", 9), ("b1", 20)])
        mine = self.client("auditor").get("/v1/audit/heads?host=b1").json
        self.assertEqual([h["sequence"] for h in mine["items"]], [9, 20])
        self.assertEqual(self.client("client").get("/v1/audit/heads").status, 403)


class Served:
    """The server's own copies of its files, which a test may spoil; all else is the PKI's."""

    def __init__(self, pki, folder):
        self.pki, self.folder = pki, Path(folder)
        self.folder.mkdir()
        for name in ("ca.pem", "server.pem", "server.key"):
            shutil.copy(pki.folder / name, self.folder / name)

    def pem(self, name):
        return str(self.folder / f"{name}.pem") if name in ("ca", "server") else self.pki.pem(name)

    def key(self, name):
        return str(self.folder / f"{name}.key") if name == "server" else self.pki.key(name)


class TrustCase(api_test.ApiCase):
    """A server with files of its own."""

    def setUp(self):
        n = next(self.numbers)
        self.images = Path(api_test.FOLDER) / f"images-{n}"
        self.files = Served(api_test.PKI, Path(api_test.FOLDER) / f"served-{n}")
        self.arguments = []
        self.prepare()
        self.rig = Rig(api_test.RIG, self.files, self.images, *self.arguments)
        self.rig.pki = api_test.PKI  # clients have files of their own
        self.open = []

    def prepare(self):
        pass

    def write(self, name, data):
        """As a careful administrator does: a new file takes the old one's place."""
        fresh = self.files.folder / (name + ".new")
        fresh.write_bytes(data if isinstance(data, bytes) else data.encode())
        os.replace(fresh, self.files.folder / name)

    def stream(self, name):
        s = Stream(self.rig, name)
        self.open.append(s)
        return s

    def refused(self, name):
        return self.ends(Client(self.rig, api_test.CONTRACT, name))

    def ends(self, client):
        try:
            client.get("/v1/whoami")
        except REFUSED:
            return True
        finally:
            client.close()
        return False

    def ask(self, target):
        client = Client(self.rig, api_test.CONTRACT, "auditor")
        try:
            return client.get(target)
        finally:
            client.close()

    def soon(self, condition, seconds=8):
        def holds():
            try:
                return condition()
            except ConnectionError:  # files were taken just then, which ends connections that are open
                return False
        deadline = time.monotonic() + seconds
        while not holds():
            self.assertLess(time.monotonic(), deadline, "it did not come true")
            time.sleep(0.05)

    def reload(self):
        """True: the files were taken."""
        return self.rig.tell("reload") == "ok"

    def warnings(self):
        return " ".join(self.ask("/v1/health").json["warnings"])

    def metric(self, name):
        for line in self.ask("/metrics").body.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        return None


class Revocation(TrustCase):
    def prepare(self):
        self.revoker = Revoker(api_test.PKI, self.files.folder / "revoker")
        self.write("ca.crl", self.revoker.crl(made_days=-3))
        self.arguments = [f"crl={self.files.folder / 'ca.crl'}"]

    def test_a_withdrawn_certificate_is_refused_and_its_connections_end(self):
        mine, idle, stream = self.client("operator"), self.client("client"), self.stream("operator")
        self.assertEqual(mine.get("/v1/whoami").status, 200)
        self.assertEqual(idle.get("/v1/whoami").status, 200)
        self.revoker.revoke("operator")
        self.write("ca.crl", self.revoker.crl())
        stream.wait(lambda s: s.ended)  # without a word from anybody: the file changed
        with self.assertRaises(REFUSED):
            mine.get("/v1/whoami")
        self.assertTrue(self.refused("operator"))
        self.assertEqual(idle.get("/v1/whoami").status, 200)  # the same connection goes on
        self.assertFalse(self.refused("auditor"))

    def test_an_expired_list_goes_on_withdrawing_and_lets_in_the_others(self):
        self.revoker.revoke("operator")
        self.write("ca.crl", self.revoker.crl(made_days=-1, ends_days=-0.1))
        self.soon(lambda: self.refused("operator"))
        self.assertFalse(self.refused("client"))
        self.assertIn("the revocation list has expired", self.warnings())
        self.assertLess(self.metric("bascule_crl_expiry_days"), 0)
        self.assertNotIn("warnings\":[\"", self.client("client").get("/v1/health").body.decode())
        self.write("ca.crl", self.revoker.crl())
        self.soon(lambda: "expired" not in self.warnings())
        self.assertGreater(self.metric("bascule_crl_expiry_days"), 1)

    def test_a_list_that_is_not_good_is_not_taken_and_everybody_hears_of_it(self):
        self.revoker.revoke("operator")
        good = self.revoker.crl()
        self.write("ca.crl", good)
        self.soon(lambda: self.refused("operator"))
        foreign = Revoker(api_test.PKI, self.files.folder / "foreign", ca="foreign-ca").crl()
        older = Revoker(api_test.PKI, self.files.folder / "older").crl(made_days=-1)
        for bad, words in ((b"", "holds no revocation list"), (b"nonsense\n", "holds no revocation list"),
                           (good[:len(good) // 2], "holds no revocation list"), (good + good[:200], "is cut off"),
                           (foreign, "is not signed by a CA"), (older, "older than the one in use")):
            self.write("ca.crl", bad)
            self.soon(lambda words=words: words in self.warnings())
            self.assertEqual(self.metric("bascule_trust_reload_failed"), 1)
            self.assertTrue(self.refused("operator"), words)
            self.assertFalse(self.refused("client"), words)
        os.remove(self.files.folder / "ca.crl")
        self.soon(lambda: "cannot be read" in self.warnings())
        self.assertTrue(self.refused("operator"))
        self.write("ca.crl", good)
        self.soon(lambda: self.metric("bascule_trust_reload_failed") == 0)
        self.assertNotIn("not taken", self.warnings())

    def test_a_list_of_another_ca_alone_is_a_reason_not_to_start(self):
        foreign = Revoker(api_test.PKI, self.files.folder / "foreign", ca="foreign-ca").crl()
        self.write("foreign.crl", foreign)
        with self.assertRaises(IndexError):  # it printed no port
            Rig(api_test.RIG, self.files, self.images, f"crl={self.files.folder / 'foreign.crl'}")

    def test_a_ca_without_a_list_is_named(self):
        both = (self.files.folder / "ca.pem").read_bytes() + Path(api_test.PKI.pem("foreign-ca")).read_bytes()
        self.write("ca.pem", both)
        self.soon(lambda: "there is no list of the CA 'CN=foreign-ca'" in self.warnings())
        self.assertTrue(self.refused("foreign"))
        self.assertFalse(self.refused("operator"))


class Renewal(TrustCase):
    def served(self):
        context = tls(api_test.PKI, "auditor")
        c = http.client.HTTPSConnection("127.0.0.1", self.rig.port, timeout=15, context=context)
        c.connect()
        certificate = c.sock.getpeercert()
        c.close()
        return certificate["serialNumber"]

    def renew(self, days=2):
        api_test.PKI.issue("renewed", "DNS:a1,IP:127.0.0.1,URI:urn:bascule:host:a1", "serverAuth,clientAuth", days=days)
        return Path(api_test.PKI.pem("renewed")).read_bytes(), Path(api_test.PKI.key("renewed")).read_bytes()

    def test_a_renewed_certificate_is_served_without_a_restart(self):
        before, kept = self.served(), self.client("operator")
        kept.get("/v1/whoami")
        certificate, key = self.renew()
        self.write("server.key", key)
        self.soon(lambda: "does not fit the certificate" in self.warnings())  # half of it is there
        self.assertEqual(self.served(), before)
        self.write("server.pem", certificate)
        self.soon(lambda: self.served() != before)
        self.assertEqual(kept.get("/v1/whoami").status, 200)
        self.assertNotIn("not taken", self.warnings())

    def test_the_days_left_are_told(self):
        self.assertAlmostEqual(self.metric("bascule_certificate_expiry_days"), 2, delta=0.1)
        self.assertIn("this host's certificate ends in 1 days", self.warnings())
        self.assertIsNone(self.metric("bascule_crl_expiry_days"))
        certificate, key = self.renew(days=30)
        self.write("server.pem", certificate)
        self.write("server.key", key)
        self.assertTrue(self.reload())  # at once, as by SIGHUP
        self.assertAlmostEqual(self.metric("bascule_certificate_expiry_days"), 30, delta=0.1)
        self.assertEqual(self.warnings(), "")

    def test_another_ca_ends_the_connections_of_the_old_ones(self):
        kept = self.client("operator")
        kept.get("/v1/whoami")
        self.write("ca.pem", Path(api_test.PKI.pem("foreign-ca")).read_bytes())
        self.soon(lambda: self.refused("operator"))
        with self.assertRaises(REFUSED):
            kept.get("/v1/whoami")
        self.assertFalse(self.refused("foreign"))

    def test_a_bad_file_changes_nothing(self):
        for name in ("ca.pem", "server.pem", "server.key"):
            good = (self.files.folder / name).read_bytes()
            self.write(name, b"nonsense")
            self.assertEqual(self.rig.tell("reload"), "kept")
            self.assertIn("not taken", self.warnings())
            self.assertFalse(self.refused("operator"))
            self.write(name, good)
            self.assertTrue(self.reload())


MAP = """urn_issuers = ["CN=ca"]

[[identity]]
issuer = "CN=foreign-ca"
email = "olga@Example.com"
role = "operator"
name = "olga"

[[identity]]
issuer = "CN=foreign-ca"
uri = "https://example.com/carl"
role = "client"
name = "carl"
projects = ["blue", "green"]

[[identity]]
issuer = "CN=foreign-ca"
dns = "anna.example.com"
role = "auditor"
name = "anna"

[[identity]]
issuer = "CN=ca"
email = "olga@example.com"
role = "operator"
name = "olga"
"""


class Mapping(TrustCase):
    def prepare(self):
        pki = api_test.PKI
        for name, san, ca in (("m-olga", "email:olga@example.com", "foreign-ca"), ("m-case", "email:Olga@example.com", "foreign-ca"),
                              ("m-carl", "URI:https://example.com/carl,DNS:x.example.com", "foreign-ca"),
                              ("m-anna", "DNS:Anna.example.com", "foreign-ca"),
                              ("m-urn", "URI:urn:bascule:operator:olga", "foreign-ca"), ("m-own", "email:olga@example.com", "ca"),
                              ("m-other", "email:anna@example.com", "foreign-ca"),
                              ("m-two", "email:olga@example.com,DNS:anna.example.com", "foreign-ca"),
                              ("m-both", "email:olga@example.com,URI:urn:bascule:auditor:olga", "ca")):
            if not os.path.exists(pki.pem(name)):
                pki.issue(name, san, "clientAuth", ca=ca)
        self.write("ca.pem", Path(pki.pem("ca")).read_bytes() + Path(pki.pem("foreign-ca")).read_bytes())
        self.write("identities.toml", MAP)
        self.arguments = [f"identities={self.files.folder / 'identities.toml'}"]

    def who(self, name):
        client = Client(self.rig, api_test.CONTRACT, name)
        try:
            answer = client.get("/v1/whoami")
        except REFUSED:  # ended just now, since the mapping changed
            return {"role": None}
        finally:
            client.close()
        return answer.json if answer.status == 200 else answer.detail

    def test_names_of_other_cas_are_mapped(self):
        for name, role, person in (("m-olga", "operator", "olga"), ("m-anna", "auditor", "anna"), ("m-own", "operator", "olga"),
                                   ("operator", "operator", "olga"), ("host", "host", "b1")):
            me = self.who(name)
            self.assertEqual((me["role"], me["name"]), (role, person), name)
        self.assertEqual(self.who("m-carl")["projects"], ["blue", "green"])

    def test_what_is_unknown_or_ambiguous_is_granted_nothing(self):
        for name, words in (("m-case", "names no Bascule identity"), ("m-other", "names no Bascule identity"),
                            ("m-urn", "its CA may not give one"), ("m-two", "more than one line"),
                            ("m-both", "and fits a line of this cell's mapping, too"), ("two", "more than one Bascule identity")):
            self.assertIn(words, self.who(name), name)
            self.assertEqual(self.client(name).get("/v1/vms").status, 403, name)

    def test_a_client_of_two_projects_sees_both_and_nothing_else(self):
        for vm, project in (("web", "blue"), ("shop", "green"), ("mine", "red")):
            self.rig.tell(f"vm {vm} {project}")
        carl = self.client("m-carl")
        self.assertEqual([v["name"] for v in carl.get("/v1/vms").json["items"]], ["shop", "web"])
        self.assertEqual([v["name"] for v in carl.get("/v1/vms?project=green").json["items"]], ["shop"])
        self.assertEqual(carl.get("/v1/vms?project=red").json["items"], [])
        self.assertEqual(carl.get("/v1/vms/mine").status, 404)
        for vm in ("web", "shop"):
            self.assertEqual(carl.change("POST", f"/v1/vms/{vm}/actions/reset").status, 202, vm)
        self.assertEqual(carl.change("POST", "/v1/vms/mine/actions/reset").status, 404)

    def test_a_changed_mapping_counts_at_once_also_for_those_who_are_connected(self):
        olga, anna = self.client("m-olga"), self.client("m-anna")
        for c in (olga, anna):
            self.assertEqual(c.get("/v1/whoami").status, 200)
        self.write("identities.toml", MAP.replace('role = "operator"\nname = "olga"', 'role = "auditor"\nname = "olga"', 1))
        self.soon(lambda: self.who("m-olga")["role"] == "auditor")
        with self.assertRaises(REFUSED):
            olga.get("/v1/whoami")
        self.assertEqual(anna.get("/v1/whoami").status, 200)

    def test_a_mapping_that_is_not_good_is_not_taken(self):
        self.write("identities.toml", MAP + '\n[[identity]]\nissuer = "CN=ca"\nrole = "operator"\nname = "x"\n')
        self.soon(lambda: "exactly one of uri, email and dns is needed" in self.warnings())
        self.assertEqual(self.who("m-olga")["role"], "operator")


class FourEyes(api_test.ApiCase):
    def test_two_different_operators_disarm_and_erase(self):
        if not os.path.exists(api_test.PKI.pem("paul")):
            api_test.PKI.issue("paul", "URI:urn:bascule:operator:paul", "clientAuth")
            api_test.PKI.issue("olga-again", "URI:urn:bascule:operator:olga", "clientAuth")  # another serial, the same person
        self.rig.tell("four-eyes ha-disarm vm-remove")
        plan = self.operator.change("POST", "/v1/ha/actions/disarm?dry_run=true").json["plan"]
        self.assertEqual([step["kind"] for step in plan], ["await-approval"])
        asked = self.operator.change("POST", "/v1/ha/actions/disarm")
        self.assertEqual(asked.status, 202)
        self.assertTrue(self.operator.get("/v1/ha").json["armed"])
        approve = f"/v1/operations/{asked.json['operation']}/actions/approve"
        for name in ("operator", "olga-again", "auditor", "client"):
            self.assertEqual(self.client(name).change("POST", approve).status, 403, name)
        self.assertEqual(self.client("paul").change("POST", approve).status, 202)
        self.rig.tell(f"finish {asked.json['operation']} done")
        self.assertFalse(self.operator.get("/v1/ha").json["armed"])
        self.make("web")
        erased = self.operator.change("DELETE", "/v1/vms/web")
        steps = self.operator.get(erased.headers["location"]).json["steps"]
        self.assertEqual([s["kind"] for s in steps][:2], ["await-approval", "drop-right"])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=1)
