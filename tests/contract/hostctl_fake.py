"""A small REST API on loopback for hostctl's contract tests: TLS 1.3, client certificates, scripted faults.

One Cell is shared by several Hosts, as etcd is by real ones. A Host can be told to misbehave for its next requests.
"""
import base64
import hashlib
import http.server
import json
import pathlib
import ssl
import subprocess
import threading
import time
import urllib.parse


def make_pki(folder):
    """A CA, a certificate for 127.0.0.1 and one for the operator; a foreign CA with a server certificate of its own."""
    folder = pathlib.Path(folder)

    def run(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder)

    def certificate(ca, name, san, usage):
        run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
            "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(f"subjectAltName={san}\nextendedKeyUsage={usage}\n")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days",
            "1", "-extfile", f"{name}.ext", "-out", f"{name}.pem")

    for ca in ("ca", "foreign"):
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{ca}.key", "-out",
            f"{ca}.pem", "-subj", f"/CN={ca}", "-days", "1")
    certificate("ca", "host", "URI:urn:bascule:host:a1,DNS:localhost,IP:127.0.0.1", "serverAuth,clientAuth")
    certificate("ca", "elsewhere", "URI:urn:bascule:host:b1,DNS:b1,IP:192.0.2.1", "serverAuth,clientAuth")
    certificate("ca", "operator", "URI:urn:bascule:operator:alice", "clientAuth")
    certificate("ca", "b1", "URI:urn:bascule:host:b1,DNS:b1", "serverAuth,clientAuth")
    certificate("foreign", "foreign-host", "URI:urn:bascule:host:a1,DNS:a1", "serverAuth,clientAuth")
    certificate("foreign", "stranger", "URI:urn:bascule:operator:eve", "clientAuth")
    return folder


def netstring_hash(record):
    fields = [record["sequence"], record["when_ms"], record["who"]["name"], record["who"]["role"],
              record["who"].get("project", ""), record["why"], record["what"], record["object"], record["project"],
              record["operation"], record["result"], record["previous"]]
    return hashlib.sha256(netstrings(*fields)).hexdigest()


def netstrings(*fields):
    return b"".join(b"%d:%s," % (len(b), b) for b in (str(f).encode() for f in fields))


def sign_head(folder, record, host="a1", certificate="host", cell="test", when_ms=None):
    """What hostd's countersigner makes of a record, by the openssl program."""
    when_ms = int(time.time() * 1000) if when_ms is None else when_ms
    text = netstrings("bascule audit head 1", cell, host, record["sequence"], record["hash"], when_ms)
    done = subprocess.run(["openssl", "dgst", "-sha256", "-sign", f"{certificate}.key"], input=text, check=True,
                          capture_output=True, cwd=folder)
    return {"cell": cell, "host": host, "sequence": record["sequence"], "hash": record["hash"], "when_ms": when_ms,
            "signature": base64.b64encode(done.stdout).decode(),
            "certificate": (pathlib.Path(folder) / f"{certificate}.pem").read_text()}


class Cell:
    """What all hosts share."""

    def __init__(self):
        self.lock = threading.Lock()
        self.vms, self.operations, self.audit, self.images, self.events, self.alerts = {}, {}, [], {}, [], {}
        self.heads, self.role = [], "operator"
        self.keys = {}      # idempotency key -> answer
        self.changes = []   # every change that was carried out: (method, path, body, reason)
        self.requests = []  # every request that arrived: (host, method, target, headers)

    def record(self, why, what, obj):
        previous = self.audit[-1]["hash"] if self.audit else "0" * 64
        record = {"sequence": len(self.audit) + 1, "when_ms": 1700000000000 + len(self.audit),
                  "who": {"name": "alice", "role": "operator", "project": ""}, "why": why, "what": what, "object": obj,
                  "project": "acme", "operation": f"op-{len(self.audit) + 1}", "result": "", "previous": previous}
        record["hash"] = netstring_hash(record)
        self.audit.append(record)

    def operation(self, kind, vm, steps, **more):
        op = {"id": f"op-{len(self.operations) + 1}", "kind": kind, "vm": vm, "project": "acme", "object": "",
              "author": {"name": "alice", "role": "operator", "project": ""}, "reason": "because", "created_ms": 1700000000000,
              "finished_ms": 0, "state": "running", "cancel_requested": False, "error": "", "todo": "", "result": {},
              "steps": [{"kind": k, "host": h, "state": "pending", "note": "", "took_ms": 0} for k, h in steps],
              "revision": 1, **more}
        self.operations[op["id"]] = op
        return op


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body, content="application/json", headers=()):
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content)
        self.send_header("Content-Length", str(len(text)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def problem(self, status, code, detail):
        self.answer(status, {"type": f"urn:bascule:problem:{code}", "title": code, "status": status, "detail": detail,
                             "instance": self.path, "code": code}, "application/problem+json")

    def drop(self):
        self.close_connection = True
        self.connection.close()

    def listed(self, items, query, key):
        limit, after = int(query.get("limit", 100)), query.get("after", "")
        rest = [i for i in items if after == "" or key(i) > after]
        body = {"items": rest[:limit], "revision": 1}
        if len(rest) > limit:
            body["next"] = key(rest[limit - 1])
        return body

    def handle_any(self):
        host, cell = self.server.host, self.server.host.cell
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        headers = {k.lower(): v for k, v in self.headers.items()}
        cell.requests.append((host.name, self.command, self.path, headers))
        fault = host.faults.pop(0) if host.faults else None
        if fault == "drop-before":
            return self.drop()
        if fault == "hang":
            time.sleep(host.hang_seconds)
            return self.drop()
        if isinstance(fault, tuple):
            return self.problem(*fault)
        if self.command == "GET":
            return self.get(url.path, query, headers)
        length = int(headers.get("content-length", 0))
        if url.path.startswith("/v1/images/") and self.command == "PUT":
            return self.upload(url.path, length, headers)
        body = json.loads(self.rfile.read(length) or b"{}")
        with cell.lock:
            answer = self.change(url.path, query, body, headers)
        if fault == "drop-answer":
            return self.drop()
        return self.answer(*answer)

    do_GET = do_PUT = do_POST = do_DELETE = handle_any

    def get(self, path, query, headers):
        cell = self.server.host.cell
        parts = path.strip("/").split("/")[1:]
        if path == "/v1/events":
            return self.stream(headers)
        if path == "/v1/audit":
            first = int(query.get("after", int(query.get("from", 1)) - 1))
            limit = min(int(query.get("limit", 100)), self.server.host.audit_page)
            rest = [r for r in cell.audit if r["sequence"] > first]
            head = self.server.host.head or (cell.audit[-1] if cell.audit else {"sequence": 0, "hash": "0" * 64})
            body = {"items": rest[:limit], "revision": 1, "head": {"sequence": head["sequence"], "hash": head["hash"]}}
            if len(rest) > limit:
                body["next"] = str(rest[limit - 1]["sequence"])
            return self.answer(200, body)
        if path == "/v1/audit/heads":
            return self.answer(200, self.listed(cell.heads, query, lambda h: f"{h['host']}/{h['sequence']:012}"))
        if path == "/v1/whoami":
            return self.answer(200, {"name": "alice", "role": cell.role, "host": self.server.host.name})
        if path == "/v1/health":
            return self.answer(*self.server.host.health)
        if path == "/v1/ha":
            self.server.host.meanwhile()
            return self.answer(200, {"armed": True})
        if path == "/v1/version":
            return self.answer(200, {"version": "9.9", "api": "1", "host": self.server.host.name})
        if path in ("/v1/vms", "/v1/images", "/v1/hosts", "/v1/volumes", "/v1/alerts", "/v1/drills"):
            items = getattr(cell, parts[0], {})
            return self.answer(200, self.listed(list(items.values()), query, lambda i: i.get("name", i.get("id", ""))))
        if path == "/v1/operations":
            return self.answer(200, {"items": [{k: v for k, v in op.items() if k != "script"} for op in cell.operations.values()],
                                     "revision": 1})
        if len(parts) == 2 and parts[0] == "operations" and parts[1] in cell.operations:
            with cell.lock:
                op = cell.operations[parts[1]]
                body = json.loads(json.dumps({k: v for k, v in op.items() if k != "script"}))
                if op.get("script"):
                    op["script"].pop(0)(op)
            return self.answer(200, body)
        if len(parts) == 2 and parts[0] == "vms" and parts[1] in cell.vms:
            return self.answer(200, cell.vms[parts[1]], headers=[("ETag", '"1"')])
        if len(parts) == 3 and parts[2] == "history" and parts[1] in cell.vms:
            return self.answer(200, cell.vms[parts[1]]["history"])
        if len(parts) == 3 and parts[2] == "why" and parts[1] in cell.vms:
            return self.answer(200, {"vm": parts[1], "state": "running", "why": cell.vms[parts[1]].get("why", "it runs")})
        return self.problem(404, "not_found", f"there is nothing at {path}")

    def change(self, path, query, body, headers):
        cell = self.server.host.cell
        key = headers.get("idempotency-key", "")
        reason = body.pop("reason", None)
        if not reason:
            return 400, {"title": "invalid", "code": "invalid", "detail": "reason: every change needs one"}
        plan = [{"kind": "open-window", "host": "a1"}, {"kind": "live-migrate", "host": "a1"}]
        base = {"operation": "", "unchanged": False, "replayed": False, "revision": 7, "plan": []}
        if query.get("dry_run") == "true":
            return 200, {**base, "plan": plan}
        if key in cell.keys:
            return 202, {**cell.keys[key], "replayed": True}
        name = path.split("/")[3]
        if path.startswith("/v1/alerts/"):
            cell.changes.append((self.command, path, body, reason))
            return 200, {"id": "test-1" if name == "actions" else name, "acked_by": "" if name == "actions" else "alice"}
        if self.command == "PUT" and cell.vms.get(name, {}).get("definition") == body:
            return 200, {**base, "unchanged": True}
        cell.changes.append((self.command, path, body, reason))
        if self.command == "PUT":
            cell.vms[name] = {**body, "definition": body, "state": "running"}
        op = cell.operation("vm-migrate" if path.endswith("migrate") else "vm-update", name, [("open-window", "a1"),
                                                                                           ("live-migrate", "a1")])
        op["script"] = list(self.server.host.script)
        answer = {**base, "operation": op["id"]}
        cell.keys[key] = answer
        return 202, answer

    def upload(self, path, length, headers):
        host, cell = self.server.host, self.server.host.cell
        if length > host.image_limit:
            self.close_connection = True
            return self.problem(413, "exhausted", "the image is larger than this host takes")
        digest, got = hashlib.sha256(), 0
        while got < length:
            piece = self.rfile.read(min(65536, length - got))
            if not piece:
                return self.drop()
            digest.update(piece)
            got += len(piece)
        cell.changes.append((self.command, path, digest.hexdigest(), urllib.parse.unquote(headers.get("bascule-reason", ""))))
        op = cell.operation("image-import", "", [("fill", "a1")], object=path.split("/")[-1])
        op["script"] = list(host.script)
        return self.answer(202, {"operation": op["id"], "unchanged": False, "replayed": False, "revision": 0, "plan": []})

    def stream(self, headers):
        host = self.server.host
        after = int(headers.get("last-event-id", 0))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        sent = 0
        while not host.stopping:
            for revision, kind, obj in [e for e in host.cell.events if e[0] > after]:
                data = json.dumps({"type": kind, "object": obj, "revision": revision})
                try:
                    self.wfile.write(f"id: {revision}\nevent: {kind}\ndata: {data}\n\n".encode())
                except OSError:
                    return None
                after, sent = revision, sent + 1
                if host.events_per_stream and sent >= host.events_per_stream:
                    return self.drop()
            time.sleep(0.05)
        return None


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the tests


class Host:
    """One endpoint."""

    def __init__(self, cell, pki, name, certificate="host"):
        self.cell, self.name = cell, name
        self.faults, self.script = [], []
        self.hang_seconds, self.image_limit, self.events_per_stream, self.audit_page = 5, 1 << 30, 0, 1000
        self.health = (200, {"host": name, "ok": True, "etcd": True, "libvirt": True, "drbd": True, "sentence": "all is well"})
        self.stopping, self.head = False, None  # of the audit chain, when it is to say another than the last record
        self.meanwhile = lambda: None  # the last is called while a list of all is read
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(pki / f"{certificate}.pem", pki / f"{certificate}.key")
        context.load_verify_locations(pki / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.host = self
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.endpoint = f"https://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def stop(self):
        self.stopping = True
        self.server.shutdown()
        self.server.server_close()
