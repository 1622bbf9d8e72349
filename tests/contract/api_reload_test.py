"""What a reload of the API's files must do beside taking good ones: let a CA go, try again, reach calls that wait, and cost no handshake.
    api_reload_test.py RIG [unittest arguments]"""
import hashlib
import ssl
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import api_test  # noqa: E402
import api_trust_test  # noqa: E402
from api_client import Client  # noqa: E402
from api_pki import Revoker  # noqa: E402

setUpModule, tearDownModule = api_test.setUpModule, api_test.tearDownModule
HOLD_MS = 2500
LONG = 60_000      # entries
HANDSHAKES = 15


class OfTwoCas(api_trust_test.TrustCase):
    def prepare(self):
        self.lists = {ca: Revoker(api_test.PKI, self.files.folder / ca, ca=ca).crl() for ca in ("ca", "foreign-ca")}
        self.write("ca.pem", Path(api_test.PKI.pem("ca")).read_bytes() + Path(api_test.PKI.pem("foreign-ca")).read_bytes())
        self.write("ca.crl", b"".join(self.lists.values()))
        self.arguments = [f"crl={self.files.folder / 'ca.crl'}"]

    def test_a_ca_goes_with_its_list_and_those_it_issued_go_too(self):
        foreign = Client(self.rig, api_test.CONTRACT, "foreign")
        self.assertEqual(foreign.get("/v1/whoami").status, 200)
        self.write("ca.pem", Path(api_test.PKI.pem("ca")).read_bytes())
        self.write("ca.crl", self.lists["ca"])
        self.soon(lambda: self.refused("foreign"))
        self.assertTrue(self.ends(foreign))
        self.assertFalse(self.refused("operator"))
        self.soon(lambda: "not taken" not in self.warnings())

    def test_a_list_does_not_go_while_its_ca_stays(self):
        self.write("ca.crl", self.lists["ca"])
        self.soon(lambda: "'CN=foreign-ca' is gone" in self.warnings())
        self.assertFalse(self.refused("foreign"))


class Again(api_trust_test.TrustCase):
    def prepare(self):
        self.write("identities.toml", 'urn_issuers = ["CN=ca"]\n')
        self.arguments = [f"identities={self.files.folder / 'identities.toml'}"]

    def test_what_failed_for_a_passing_reason_is_tried_again_without_a_new_file(self):
        self.assertEqual(self.client("operator").get("/v1/whoami").status, 200)
        self.rig.tell("mapping fails")
        self.write("identities.toml", 'urn_issuers = ["CN=nobody"]\n')
        self.soon(lambda: "no descriptor is left" in self.warnings())
        self.rig.tell("mapping works")
        self.soon(lambda: self.client("operator").get("/v1/whoami").status == 403)


class Waiting(api_trust_test.TrustCase):
    def prepare(self):
        self.revoker = Revoker(api_test.PKI, self.files.folder / "revoker")
        self.write("ca.crl", self.revoker.crl(made_days=-1))
        self.arguments = [f"crl={self.files.folder / 'ca.crl'}"]

    def test_a_call_whose_certificate_is_withdrawn_while_it_waits_is_not_carried_out(self):
        self.rig.tell("vm web blue")
        withdrawn, other = self.client("operator"), self.client("client")
        for one in (withdrawn, other):
            self.assertEqual(one.get("/v1/whoami").status, 200)
        self.revoker.revoke("operator")
        newer = self.revoker.crl()
        before, answers = int(self.rig.tell("submitted")), {}

        def ask(name, client):
            try:
                answers[name] = client.change("POST", "/v1/vms/web/actions/reset").status
            except api_trust_test.REFUSED:
                answers[name] = "ended"

        self.rig.tell(f"hold {HOLD_MS}")
        threads = [threading.Thread(target=ask, args=one) for one in (("withdrawn", withdrawn), ("other", other))]
        for thread in threads:
            thread.start()
        time.sleep(0.5)  # both calls wait for the io thread
        self.write("ca.crl", newer)
        for thread in threads:
            thread.join(HOLD_MS / 1000 + 10)
        self.soon(lambda: len(answers) == 2)
        self.assertEqual(answers, {"withdrawn": "ended", "other": 202})
        time.sleep(0.5)
        self.assertEqual(int(self.rig.tell("submitted")) - before, 1)


class LongList(api_trust_test.TrustCase):
    def prepare(self):
        self.revoker = Revoker(api_test.PKI, self.files.folder / "revoker")
        self.write("ca.crl", self.revoker.crl(made_days=-1))
        self.arguments = [f"crl={self.files.folder / 'ca.crl'}"]

    def handshakes_s(self):
        """The server's own CPU time for HANDSHAKES of them with a call each: how busy the machine is does not matter."""
        def used():
            tasks = Path(f"/proc/{self.rig.process.pid}/task").glob("*/schedstat")
            return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
        began = used()
        for _ in range(HANDSHAKES):
            client = Client(self.rig, api_test.CONTRACT, "auditor")
            self.assertEqual(client.get("/v1/whoami").status, 200)
            client.close()
        return used() - began

    def test_a_list_of_many_entries_slows_no_handshake(self):
        short = self.handshakes_s()
        entries = "".join(f"R\t300101000000Z\t260101000000Z\t{0x7a << 152 | n:040X}\tunknown\t/CN=x\n" for n in range(LONG))
        (self.revoker.folder / "index.txt").write_text(entries)
        self.revoker.revoke("operator")
        text = self.revoker.crl()
        self.write("ca.crl", text)
        self.soon(lambda: self.refused("operator"), 30)
        long = self.handshakes_s()
        der = ssl.PEM_cert_to_DER_cert(text.decode().replace("X509 CRL", "CERTIFICATE"))
        began = time.process_time()
        for _ in range(HANDSHAKES):
            hashlib.sha256(der).digest()
        hashed = time.process_time() - began
        each = [f"{1000 * s / HANDSHAKES:.1f} ms" for s in (short, long, hashed)]
        print(f"{len(der) / 2**20:.1f} MiB: CPU time of a handshake with a call {each[0]}, then {each[1]}; hashing the list {each[2]}; "
              f"{self.rig.memory_kib() / 1024:.0f} MiB resident", flush=True)
        self.assertLess(long - short, hashed / 2)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=1)
