"""What alerts are sent to in tests: a mail server with STARTTLS and AUTH (aiosmtpd), and an HTTPS server. Both keep what
they get and do what they are told. With Debian's own python: python3-aiosmtpd."""
import asyncio
import email
import email.policy
import http.server
import json
import logging
import ssl
import subprocess
import threading
import time
import warnings

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

USER, PASSWORD = b"bascule", b"a pass word+/=\xc3\xbc"
warnings.filterwarnings("ignore", message="Requiring AUTH while not requiring TLS")
logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # its clients break off on purpose


def make_pki(folder, names="DNS:localhost,IP:127.0.0.1"):
    """A CA and a server's certificate for these names; another CA with one of its own."""
    def run(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder)
    for ca, name in (("ca", "server"), ("foreign", "stranger")):
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{ca}.key", "-out", f"{ca}.pem",
            "-subj", f"/CN={ca}", "-days", "1")
        run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
            "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", "1", "-extfile",
            f"{name}.ext", "-out", f"{name}.pem")


def context(folder, name="server"):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return made


class _Server(SMTP):
    """One that can be told to offer no STARTTLS, as somebody in between would: passwords and mails are welcome in the clear."""

    async def smtp_EHLO(self, hostname):
        if self.event_handler.no_tls:
            self.tls_context, self.require_starttls, self._auth_require_tls = None, False, False
        return await super().smtp_EHLO(hostname)


class MailServer:
    """STARTTLS is needed before anything, then AUTH. `mails` holds what was accepted: (recipients, text, parsed)."""

    def __init__(self, folder, host="127.0.0.1", port=0, certificate="server", implicit=False):
        self.mails, self.logins, self.times = [], [], []
        self.refused, self.no_tls = set(), False
        self.stall = 0.0  # seconds that the next mail waits after its text, before it is taken; only one
        self.stall_for = ""  # of an alert whose id begins like this
        self.stalled = threading.Event()
        tls = context(folder, certificate)
        kinds = dict(authenticator=self._login, auth_required=True, auth_require_tls=not implicit, hostname="mail.test", timeout=30)
        if not implicit:
            kinds |= dict(tls_context=tls, require_starttls=True)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = self._in_loop(self.loop.create_server(lambda: _Server(self, loop=self.loop, **kinds), host, port,
                                                            ssl=tls if implicit else None))
        self.port = self.server.sockets[0].getsockname()[1]

    def _in_loop(self, task):
        return asyncio.run_coroutine_threadsafe(task, self.loop).result(20)

    def stop(self):
        async def close():
            self.server.close()
        self._in_loop(close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    def _login(self, _server, _session, _envelope, _mechanism, data):
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (USER, PASSWORD)
        self.logins.append(good)
        return AuthResult(success=good, handled=good)

    async def handle_RCPT(self, _server, _session, envelope, address, _options):
        if address in self.refused:
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        if self.stall and str(mail["X-Bascule-Alert"]).startswith(self.stall_for):
            wait, self.stall = self.stall, 0.0
            self.stalled.set()
            await asyncio.sleep(wait)  # ends here when the sender goes away
        self.times.append(time.time())
        self.mails.append((list(envelope.rcpt_tos), envelope.content, mail))
        return "250 kept"


class WebServer:
    """HTTPS; keeps (path, headers, body) of each POST and answers as told."""

    def __init__(self, folder, certificate="server", tls=True):
        web = self
        self.posts, self.answers, self.port = [], [], 0
        self.echo = False  # the answer is what was sent

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                web.posts.append((self.path, dict(self.headers), body))
                status, said = web.answers.pop(0) if web.answers else (200, "OK id=1")
                said = body.decode() if web.echo else said
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(said.encode())))
                self.end_headers()
                self.wfile.write(said.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        if tls:
            self.server.socket = context(folder, certificate).wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def json(self, index=-1):
        return json.loads(self.posts[index][2])
