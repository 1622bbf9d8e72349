"""What the web console stands on, over real TLS: its files as the server sends them, and the calls made for it.
    api_console_test.py RIG [unittest arguments]"""
import http.client
import socket
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import api_test  # noqa: E402
from api_client import tls  # noqa: E402

setUpModule, tearDownModule = api_test.setUpModule, api_test.tearDownModule
PAGE = b"<!doctype html><title>Bascule</title>"


class Browser(api_test.ApiCase):
    def connect(self, name="operator"):
        c = http.client.HTTPSConnection("127.0.0.1", self.rig.port, timeout=15, context=tls(self.rig.pki, name))
        self.open.append(c)
        return c

    def ask(self, target, method="GET", connection=None, **headers):
        c = connection or self.connect()
        c.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            c.putheader(name.replace("_", "-"), value)
        c.endheaders()
        answer = c.getresponse()
        return answer, answer.read()


class Files(Browser):
    def setUp(self):
        folder = Path(api_test.FOLDER) / "console"
        (folder / "assets").mkdir(parents=True, exist_ok=True)
        (folder / "index.html").write_bytes(PAGE)
        (folder / "assets/index-1a2b.js").write_text("let a = 1;")
        (folder.parent / "secret.txt").write_text("secret")
        self.rig_arguments = (f"console={folder}",)
        super().setUp()

    def test_one_connection_gets_the_page_its_script_and_the_api(self):
        c = self.connect()
        page, body = self.ask("/console/", connection=c)
        self.assertEqual((page.status, body), (200, PAGE))
        self.assertEqual(page.headers["Content-Type"], "text/html; charset=utf-8")
        self.assertEqual(page.headers["X-Content-Type-Options"], "nosniff")
        self.assertEqual(page.headers["Referrer-Policy"], "no-referrer")
        self.assertIn("frame-ancestors 'none'", page.headers["Content-Security-Policy"])
        self.assertEqual(page.headers["Cache-Control"], "no-cache")
        head, body = self.ask("/console/", "HEAD", c)
        self.assertEqual((head.status, body, head.headers["Content-Length"]), (200, b"", str(len(PAGE))))
        known, body = self.ask("/console/", connection=c, If_None_Match=page.headers["ETag"])
        self.assertEqual((known.status, body), (304, b""))
        script, body = self.ask("/console/assets/index-1a2b.js", connection=c)
        self.assertEqual((script.status, body), (200, b"let a = 1;"))
        self.assertIn("immutable", script.headers["Cache-Control"])
        api, _ = self.ask("/v1/whoami", connection=c)
        self.assertEqual((api.status, api.headers["Cache-Control"]), (200, "no-store"))
        self.assertEqual(self.ask("/", connection=c)[0].headers["Location"], "/console/")

    def test_what_has_no_body_is_sent_without_one(self):
        """Byte by byte: an HTTP library would not show what it throws away."""
        tag = self.ask("/console/")[0].headers["ETag"]
        for method, more in (("HEAD", ""), ("GET", f"If-None-Match: {tag}\r\n")):
            with socket.create_connection(("127.0.0.1", self.rig.port), 15) as plain, \
                    tls(self.rig.pki, "operator").wrap_socket(plain, server_hostname="127.0.0.1") as s:
                s.sendall(f"{method} /console/ HTTP/1.1\r\nHost: a1\r\nConnection: close\r\n{more}\r\n".encode())
                answer = b"".join(iter(lambda s=s: s.recv(65536), b""))
            self.assertIn(f"Content-Length: {len(PAGE)}\r\n".encode(), answer)
            self.assertTrue(answer.endswith(b"\r\n\r\n"), answer[-60:])

    def test_nothing_else_is_read_whatever_is_asked(self):
        for target in ("/console/../secret.txt", "/console/%2e%2e/secret.txt", "/console/..%2f..%2fsecret.txt",
                       "/console/assets/..", "/console//etc/passwd", "/console/index.html%00"):
            answer, body = self.ask(target)
            self.assertEqual(answer.status, 404, target)
            self.assertNotIn(b"secret\n", body)

    def test_who_is_nobody_does_not_get_the_page(self):
        answer, body = self.ask("/console/", connection=self.connect("nobody"))
        self.assertEqual(answer.status, 403)
        self.assertNotIn(b"<!doctype", body)

    def test_another_sites_form_cannot_change_anything(self):
        """A browser adds the certificate to whatever page asks; what a form can send without asking first is refused."""
        self.rig.tell("vm web blue")
        before = self.rig.tell("submitted")
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            answer = self.operator.call("POST", "/v1/vms/web/actions/power-off", '{"reason":"x"}', {"Content-Type": kind})
            self.assertEqual(answer.status, 415, kind)
        self.assertEqual(self.operator.call("POST", "/v1/vms/web/actions/power-off").status, 400)
        preflight, _ = self.ask("/v1/vms/web/actions/power-off", "OPTIONS", Origin="https://elsewhere.example")
        self.assertEqual((preflight.status, preflight.headers["Access-Control-Allow-Origin"]), (405, None))
        self.assertEqual(self.rig.tell("submitted"), before)


class NotInstalled(Browser):
    rig_arguments = ("console=/nowhere",)

    def test_the_api_is_served_and_the_page_says_what_is_missing(self):
        answer, body = self.ask("/console/")
        self.assertEqual(answer.status, 404)
        self.assertIn(b"cannot read /nowhere", body)
        self.assertEqual(self.operator.get("/v1/version").status, 200)


class Calls(api_test.ApiCase):
    def setUp(self):
        super().setUp()
        self.rig.tell("vm web blue")
        self.rig.tell("vm shop green")

    def test_everybody_is_told_who_they_are(self):
        self.assertEqual(self.client("client").get("/v1/whoami").json,
                         {"name": "carl", "role": "client", "project": "blue", "host": "a1"})
        self.assertEqual(self.operator.get("/v1/whoami").json, {"name": "olga", "role": "operator", "host": "a1"})

    def test_what_would_become_of_a_hosts_vms_is_told_before(self):
        told = self.operator.get("/v1/hosts/a1/if-lost").json["vms"]
        self.assertEqual([(v["vm"], v["outcome"], v["target"]) for v in told],
                         [("shop", "restarts", "b1"), ("web", "restarts", "b1")])
        self.assertEqual(self.operator.get("/v1/hosts/b1/if-lost").json["vms"], [])
        self.assertEqual(self.operator.change("POST", "/v1/ha/actions/disarm").status, 202)
        self.assertEqual(self.operator.get("/v1/hosts/a1/if-lost").json["vms"][0]["outcome"], "waits")
        self.assertIn("disarmed by olga", self.client("operator").get("/v1/vms/web/why").json["if_lost"]["text"])
        said = self.client("client").get("/v1/vms/web/why").json["if_lost"]  # who did it is no client's affair
        self.assertEqual((said["outcome"], said["text"]), ("waits", "the provider decides when it starts again"))

    def test_how_a_vm_fared_is_told_to_its_client_and_to_staff(self):
        for vm in ("web", "shop"):
            self.rig.tell(f"history {vm} 60")
        for who in ("operator", "auditor", "client"):
            told = self.client(who).get("/v1/vms/web/history?days=20").json
            self.assertEqual((told["vm"], len(told["days"])), ("web", 20), who)
        days = told["days"]
        self.assertEqual([d["day"] for d in days], sorted(d["day"] for d in days))
        for d in days:
            self.assertEqual(d["up_ms"] + d["down_ms"] + d["unknown_ms"] + d["off_ms"], d["to_ms"] - d["from_ms"])
        outages = [o for d in days for o in d["outages"]]
        self.assertEqual([(o["why"], o["operation"], o["to_ms"] - o["from_ms"]) for o in outages], [("host-lost", "op-failover", 14200)])
        total = told["sum"]
        for name in ("up_ms", "down_ms", "unknown_ms", "off_ms", "protected_ms"):
            self.assertEqual(total[name], sum(d[name] for d in days), name)
        self.assertAlmostEqual(total["available"], total["up_ms"] / (total["up_ms"] + total["down_ms"]))
        self.assertLess(total["available_least"], total["available"])  # 40 minutes were not seen
        self.assertEqual(len(self.operator.get("/v1/vms/web/history").json["days"]), 30)
        self.assertEqual(len(self.operator.get("/v1/vms/web/history?days=400").json["days"]), 60)

    def test_how_anothers_vm_fared_is_not_told_to_a_client(self):
        self.rig.tell("history shop 60")
        carl = self.client("client")
        foreign, missing = carl.get("/v1/vms/shop/history"), carl.get("/v1/vms/none/history")
        self.assertEqual((foreign.status, foreign.detail.replace("shop", "none")), (404, missing.detail))
        self.assertEqual(self.client("green").get("/v1/vms/shop/history").status, 200)
        self.assertEqual(self.client("green").get("/v1/vms/web/history").status, 404)
        self.assertEqual(self.client("nobody").get("/v1/vms/shop/history").status, 403)

    def test_a_vm_of_which_nothing_is_known_yet_has_no_figures(self):
        told = self.operator.get("/v1/vms/web/history").json
        self.assertEqual((told["days"], told["sum"]["up_ms"], told["sum"].get("available")), ([], 0, None))

    def test_so_many_days_and_no_others(self):
        for days in ("0", "401", "-1", "x", "", "1e2", "99999999999999999999"):
            answer = self.operator.get(f"/v1/vms/web/history?days={days}")
            self.assertEqual(answer.status, 400, days)
            self.assertIn("from 1 to 400", answer.detail)

    def test_a_client_reads_who_touched_its_own_vms_and_nothing_of_others(self):
        for vm in ("shop", "web"):
            self.settle(self.operator.change("POST", f"/v1/vms/{vm}/actions/migrate"))
        self.operator.change("POST", "/v1/ha/actions/disarm")
        carl = self.client("client")
        mine = carl.get("/v1/audit").json
        self.assertEqual([(r["object"], r["who"]["name"], r["why"]) for r in mine["items"]], [("vm/web", "olga", "a test")])
        self.assertEqual(carl.get("/v1/audit?object=vm/shop").json["items"], [])
        first = carl.get("/v1/audit?limit=1").json  # nothing of its own on this page, but there is more
        self.assertEqual((first["items"], first["next"]), ([], "1"))
        shop = self.operator.get("/v1/audit?object=vm/shop").json
        self.assertEqual([r["object"] for r in shop["items"]], ["vm/shop"])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=1)
