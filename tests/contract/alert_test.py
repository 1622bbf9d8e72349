"""Alerts leave through real parts: a mail server with STARTTLS and AUTH, an HTTPS server, a spool folder.
    alert_test.py ALERT_RIG HOSTD [unittest arguments]"""
import hashlib
import hmac
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import alert_servers as servers  # noqa: E402

RIG, HOSTD = (os.path.abspath(sys.argv.pop(1)) for _ in range(2))
HEAD = """cell = "lab"
host = "b1"
site = "B"
[api]
listen = "127.0.0.1:8443"
ca = "/ca"
cert = "/cert"
key = "/key"
[etcd]
endpoints = ["https://127.0.0.1:2379"]
ca = "/ca"
cert = "/cert"
key = "/key"
[replication]
address = "127.0.0.1"
[migration]
address = "127.0.0.1"
[networks]
clients = "br0"
[pool]
kind = "loop"
"""
ALERT = {"id": "failover-decided-op-1", "kind": "failover-decided", "severity": "critical", "vm": "web", "host": "b1", "site": "B",
         "operation": "op-1", "title": "VM web fails over to b1, a1 is lost", "what": "VM web is being started on b1",
         "did": "Operation op-1 takes the run-right", "todo": "Look at host a1", "hint": "hostctl why web",
         "created_ms": 1790000000000}
KEY = "failover-decided-op-1.1790000000000.x"
# What a VM's name cannot hold, but a message of QEMU's or a colleague's reason may.
ODD = "grün \u202e \x1b[2J \r\nBcc: eve@example.net\r\n\r\n.\r\nMAIL FROM:<x@y>\r\n\x00\x7f =?utf-8?B?eA==?= {to} {secret} \"\\"


class AlertCase(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="alert-test-", dir=TOP.name))
        self.pki = PKI
        self.secret = self.file("password", servers.PASSWORD.decode() + "\n")
        self.lists, self.rig = "", None

    def tearDown(self):
        if self.rig:
            self.rig.stdin.close()
            said = self.rig.stderr.read()
            self.rig.wait(10)
            self.rig.stdout.close()
            self.rig.stderr.close()
            self.assertNotIn(servers.PASSWORD.decode(), said)

    def file(self, name, text, mode=0o600):
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def serve(self, made):
        self.addCleanup(made.stop)
        return made

    def mail_list(self, port, scheme="smtp", to='["noc@example.net"]', ca=None, secret=None, host="localhost"):
        self.lists += f"""[alerts.to.mail]
way = "mail"
url = "{scheme}://{host}:{port}"
from = "bascule@example.net"
to = {to}
username = "bascule"
password_file = "{secret or self.secret}"
ca = "{ca or self.pki / 'ca.pem'}"
"""

    def start(self):
        config = self.file("hostd.toml", HEAD + self.lists)
        self.rig = subprocess.Popen([RIG, str(config)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                    text=True, env={"https_proxy": "http://127.0.0.1:9", "all_proxy": "http://127.0.0.1:9"})

    def send(self, where="mail", key=KEY, repeat="first", accepted="+", **changes):
        if self.rig is None:
            self.start()
        self.rig.stdin.write(f"{where} {key} {repeat} {accepted} {json.dumps({**ALERT, **changes})}\n")
        self.rig.stdin.flush()
        answer = self.rig.stdout.readline()
        self.assertTrue(answer, "the rig ended")
        outcome = json.loads(answer)
        self.assertNotIn(servers.PASSWORD.decode(), outcome["error"])
        return outcome

    def sent(self, *args, **kwargs):
        outcome = self.send(*args, **kwargs)
        self.assertTrue(outcome["sent"], outcome)
        return outcome

    def refused(self, words, *args, **kwargs):
        outcome = self.send(*args, **kwargs)
        self.assertFalse(outcome["sent"], outcome)
        self.assertRegex(outcome["error"], words)
        return outcome


class Mail(AlertCase):
    def test_a_mail_arrives_over_starttls_with_a_password(self):
        server = self.serve(servers.MailServer(self.pki))
        self.mail_list(server.port, to='["noc@example.net", "olga@example.net"]')
        self.sent()
        (recipients, _, mail), = server.mails
        self.assertEqual(server.logins, [True])
        self.assertEqual(recipients, ["noc@example.net", "olga@example.net"])
        self.assertEqual(mail["Subject"], "[Bascule lab] CRITICAL: VM web fails over to b1, a1 is lost")
        self.assertEqual(mail["Message-ID"], f"<{KEY}@example.net>")
        self.assertEqual(mail["Auto-Submitted"], "auto-generated")
        self.assertIn("hostctl alert ack failover-decided-op-1", mail.get_content())
        self.assertNotIn("repeat", mail.get_content())

    def test_a_repeat_has_the_same_message_id_and_says_so(self):
        server = self.serve(servers.MailServer(self.pki))
        self.mail_list(server.port)
        self.sent()
        self.sent(repeat="repeat")
        ids = [mail["Message-ID"] for _, _, mail in server.mails]
        self.assertEqual(ids[0], ids[1])
        self.assertIn("This may be a repeat", server.mails[1][2].get_content())

    def test_tls_from_the_start(self):
        server = self.serve(servers.MailServer(self.pki, implicit=True))
        self.mail_list(server.port, scheme="smtps")
        self.sent()
        self.assertEqual(len(server.mails), 1)

    def test_a_refused_password_is_told_and_nothing_is_sent(self):
        server = self.serve(servers.MailServer(self.pki))
        self.mail_list(server.port, secret=self.file("wrong", "not it\n"))
        self.refused("Login denied|535")
        self.assertEqual((server.mails, set(server.logins)), ([], {False}))

    def test_a_server_without_tls_gets_no_password(self):
        server = self.serve(servers.MailServer(self.pki))
        server.no_tls = True
        self.mail_list(server.port)
        self.refused("STARTTLS")
        self.assertEqual((server.mails, server.logins), ([], []))

    def test_a_certificate_of_another_ca_or_for_another_name_is_refused(self):
        stranger = self.serve(servers.MailServer(self.pki, certificate="stranger"))
        self.mail_list(stranger.port)
        self.refused("certificate")
        self.assertEqual((stranger.mails, stranger.logins), ([], []))

    def test_a_name_the_certificate_does_not_have_is_refused(self):
        server = self.serve(servers.MailServer(self.pki, host="127.0.0.2"))
        self.mail_list(server.port, host="127.0.0.2")
        self.refused("subject name|certificate")
        self.assertEqual(server.logins, [])

    def test_a_server_that_is_down_and_back(self):
        server = servers.MailServer(self.pki)
        port = server.port
        server.stop()
        self.mail_list(port)
        self.refused("Failed to connect|refused")
        server = self.serve(servers.MailServer(self.pki, port=port))
        self.sent()
        self.assertEqual(len(server.mails), 1)

    def test_one_address_that_is_wrong_does_not_keep_it_from_the_other(self):
        server = self.serve(servers.MailServer(self.pki))
        server.refused = {"gone@example.net"}
        self.mail_list(server.port, to='["gone@example.net", "noc@example.net"]')
        outcome = self.sent()
        self.assertRegex(outcome["error"], "550 5.1.1")
        self.assertEqual(server.mails[0][0], ["noc@example.net"])

    def test_nobody_takes_it(self):
        server = self.serve(servers.MailServer(self.pki))
        server.refused = {"noc@example.net"}
        self.mail_list(server.port)
        self.refused("550")
        self.assertEqual(server.mails, [])

    def test_odd_bytes_make_no_header_and_no_second_mail(self):
        server = self.serve(servers.MailServer(self.pki))
        self.mail_list(server.port)
        for field in ("title", "what", "did", "todo", "vm", "host", "operation"):
            self.sent(**{field: ODD})
        self.sent(what="x" * 3000, title="\u4e16" * 300)
        self.assertEqual(len(server.mails), 8)
        wanted = {"Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "X-Bascule-Alert", "MIME-Version", "Content-Type",
                  "Content-Transfer-Encoding"}
        for recipients, raw, mail in server.mails:
            self.assertEqual(recipients, ["noc@example.net"])
            self.assertEqual(set(mail.keys()) - {"X-Peer", "X-MailFrom", "X-RcptTo"}, wanted)
            self.assertEqual(len(mail.keys()), len(set(mail.keys())))
            self.assertNotRegex(raw, rb"(?<!\r)\n|\x00|\x1b|[\x80-\xff]")
            self.assertLessEqual(max(map(len, raw.split(b"\r\n"))), 900)

    def test_a_secret_that_others_may_read_is_not_used(self):
        server = self.serve(servers.MailServer(self.pki))
        self.mail_list(server.port)
        self.secret.chmod(0o640)
        self.refused("chmod 600")
        self.secret.chmod(0o600)
        self.sent()

    def test_a_server_that_says_nothing_is_given_up(self):
        import socket
        with socket.socket() as quiet:
            quiet.bind(("127.0.0.1", 0))
            quiet.listen()
            self.mail_list(quiet.getsockname()[1])
            began = time.monotonic()
            self.refused("imed out|timeout|Timeout")
            self.assertLess(time.monotonic() - began, 25)


class Http(AlertCase):
    def webhook(self, server, secret=True, ca="ca.pem"):
        self.lists += f'[alerts.to.hook]\nway = "webhook"\nurl = "https://localhost:{server.port}/in?x=1"\nca = "{self.pki / ca}"\n'
        if secret:
            self.lists += f'secret_file = "{self.secret}"\n'

    def gateway(self, server, **more):
        more = {"content_type": "application/x-www-form-urlencoded", "body": "to={to}&text={text}&key={key}&s={secret}", "answer": "OK", **more}
        self.lists += f"""[alerts.to.sms]
way = "sms"
url = "https://localhost:{server.port}/send"
to = ["+49301234567", "0171555"]
secret_file = "{self.secret}"
ca = "{self.pki / 'ca.pem'}"
""" + "".join(f"{k} = '{v}'\n" for k, v in more.items())

    def test_a_webhook_is_json_signed_and_carries_its_key(self):
        server = self.serve(servers.WebServer(self.pki))
        self.webhook(server)
        self.sent("hook", title=ODD, repeat="repeat")
        (path, headers, body), = server.posts
        self.assertEqual(path, "/in?x=1")
        self.assertEqual(headers["Idempotency-Key"], KEY)
        self.assertEqual(headers["Bascule-Signature"], "sha256=" + hmac.new(servers.PASSWORD, body, hashlib.sha256).hexdigest())
        said = json.loads(body)
        self.assertEqual((said["cell"], said["sent_by"], said["may_be_repeat"]), ("lab", "b1", True))
        self.assertEqual(said["alerts"][0]["title"], ODD)

    def test_a_status_that_is_no_yes_and_a_redirect_are_failures(self):
        server = self.serve(servers.WebServer(self.pki))
        self.webhook(server, secret=False)
        server.answers = [(500, "try\r\nlater"), (302, "")]
        self.refused("500: try  later", "hook")
        self.refused("302", "hook")
        self.sent("hook")
        self.assertEqual([path for path, _, _ in server.posts], ["/in?x=1"] * 3)
        self.assertNotIn("Bascule-Signature", server.posts[0][1])

    def test_a_bad_certificate_gets_nothing(self):
        server = self.serve(servers.WebServer(self.pki, certificate="stranger"))
        self.webhook(server)
        self.refused("certificate", "hook")
        self.assertEqual(server.posts, [])

    def test_an_sms_goes_to_each_number_once(self):
        server = self.serve(servers.WebServer(self.pki))
        self.gateway(server)
        server.answers = [(200, "OK"), (200, "ERR no credit")]
        outcome = self.refused("ERR no credit", "sms")
        self.assertEqual(outcome["accepted"], ["+49301234567"])
        self.sent("sms", accepted=outcome["accepted"][0])
        got = [dict(urllib.parse.parse_qsl(body.decode())) for _, _, body in server.posts]
        self.assertEqual([g["to"] for g in got], ["+49301234567", "0171555", "0171555"])
        self.assertEqual(got[0]["text"], "lab CRITICAL 14:13Z: VM web fails over to b1, a1 is lost -> hostctl why web")
        self.assertEqual(got[0]["s"], servers.PASSWORD.decode())
        self.assertEqual(server.posts[0][1]["Idempotency-Key"], KEY + ".49301234567")

    def test_a_gateway_that_says_back_what_it_got_gives_no_secret_away(self):
        for kind in ("application/x-www-form-urlencoded", "application/json"):
            server = self.serve(servers.WebServer(self.pki))
            server.echo, self.lists = True, ""
            self.rig = self.rig and self.tearDown()
            self.gateway(server, content_type=kind, body='{"to":"{to}","text":"{text}","s":"{secret}"}', answer="never")
            outcome = self.refused(r"\*\*\*", "sms")
            self.assertNotIn("a%20pass", outcome["error"])

    def test_odd_bytes_stay_inside_the_template(self):
        for kind, body in (("application/x-www-form-urlencoded", "to={to}&text={text}&s={secret}"),
                           ("application/json", '{"to":"{to}","text":"{text}","s":"{secret}"}')):
            server = self.serve(servers.WebServer(self.pki))
            self.lists = ""
            self.rig = self.rig and self.tearDown()
            self.gateway(server, content_type=kind, body=body)
            self.sent("sms", title=ODD)
            raw = server.posts[0][2].decode()
            got = json.loads(raw) if kind.endswith("json") else dict(urllib.parse.parse_qsl(raw, strict_parsing=True))
            self.assertEqual(set(got), {"to", "text", "s"})
            self.assertEqual((got["to"], got["s"]), ("+49301234567", servers.PASSWORD.decode()))
            self.assertLessEqual(len(got["text"]), 160)
            self.assertNotIn(servers.PASSWORD.decode(), got["text"])
            self.assertRegex(got["text"], r"^[ -Z_a-z?]*$")


class Spool(AlertCase):
    def spool(self, form):
        (self.folder / "out").mkdir()
        self.lists += f"""[alerts.to.modem]
way = "sms-spool"
path = "{self.folder / 'out'}"
format = "{form}"
to = ["+49301234567", "0171555"]
"""

    def files(self):
        return {f.name: f.read_text() for f in sorted((self.folder / "out").iterdir())}

    def test_smstools_gets_a_file_for_each_number_and_a_repeat_is_none(self):
        self.spool("smstools")
        self.sent("modem")
        text = "lab CRITICAL 14:13Z: VM web fails over to b1, a1 is lost -> hostctl why web\n"
        self.assertEqual(self.files(), {f"bascule-{KEY}-49301234567": f"To: 49301234567\n\n{text}", f"bascule-{KEY}-0171555": f"To: 0171555\n\n{text}"})
        self.sent("modem", repeat="repeat")
        self.assertEqual(len(self.files()), 2)
        self.assertEqual((self.folder / "out" / f"bascule-{KEY}-0171555").stat().st_mode & 0o777, 0o660)

    def test_gammu_gets_its_names(self):
        self.spool("gammu")
        self.sent("modem", title=ODD)
        self.assertEqual(list(self.files()), [f"OUTA20260921_141320_00_{to}_bascule-{KEY}.txt" for to in ("+49301234567", "0171555")])
        for text in self.files().values():
            self.assertRegex(text, r"^[ -Z_a-z?]{1,160}$")

    def test_odd_bytes_make_no_second_header(self):
        self.spool("smstools")
        self.sent("modem", title=ODD + "\nTo: 666\n\nx")
        for text in self.files().values():
            head, _, rest = text.partition("\n\n")
            self.assertRegex(head, r"^To: [0-9]+$")
            self.assertEqual(rest.count("\n"), 1)

    def test_a_folder_that_is_gone(self):
        self.spool("smstools")
        (self.folder / "out").rmdir()
        self.refused("cannot be opened", "modem")


class Check(AlertCase):
    def check(self, code, words):
        config = self.file("hostd.toml", HEAD + self.lists)
        done = subprocess.run([HOSTD, "--config", str(config), "--check"], capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertRegex(done.stderr, words)

    def test_hostd_check_looks_at_files_too(self):
        self.mail_list(587)
        self.check(0, "^$")
        self.secret.chmod(0o644)
        self.check(2, r"\[alerts.to.mail\] the secret file .* may be read by others than its owner: chmod 600 it")
        self.secret.unlink()
        self.check(2, "cannot be read")


if __name__ == "__main__":
    TOP = tempfile.TemporaryDirectory(prefix="alert-test-")
    PKI = pathlib.Path(TOP.name)
    servers.make_pki(PKI)
    try:
        unittest.main()
    finally:
        TOP.cleanup()
