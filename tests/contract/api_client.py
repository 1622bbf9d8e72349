"""A client of the API that holds every answer against api/openapi.yaml."""
import http.client
import json
import re
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import jsonschema
import yaml

ROOT = Path(__file__).resolve().parents[2]
# What HTTP itself may answer anywhere; the contract has it under "default".
HTTP_ITSELF = {405, 431, 500, 503}
# A part of a restore; what a whole one does: hostctl_restore_test.py.
RESTORE = {"part": "end", "file": "f" * 64, "vms": 1, "audit_sequence": 1, "audit_hash": "a" * 64}


def strict(schema, name=""):
    """The server must not show what the contract does not name: every object of a known shape is closed."""
    if isinstance(schema, list):
        return [strict(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    out = {k: strict(v) for k, v in schema.items()}
    if "allOf" in schema:
        out["unevaluatedProperties"] = False
        # The parts are open: only the whole is closed.
        out["allOf"] = [{k: v for k, v in s.items() if k != "additionalProperties"} for s in out["allOf"]]
    elif isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema and name != "Page":
        if schema.get("type") == "object":
            out["additionalProperties"] = False
    return out


class Contract:
    def __init__(self):
        self.doc = yaml.safe_load((ROOT / "api/openapi.yaml").read_text())
        schemas = self.doc["components"]["schemas"]
        self.doc["components"]["schemas"] = {n: strict(s, n) for n, s in schemas.items()}
        self.seen = set()
        self.paths = []
        for path, item in self.doc["paths"].items():
            pattern = re.compile("^" + re.sub(r"\{\w+\}", "[^/]+", path) + "$")
            self.paths.append((path, pattern, item))

    def resolve(self, node):
        while "$ref" in node:
            reference = node["$ref"]
            node = self.doc
            for part in reference.removeprefix("#/").split("/"):
                node = node[part]
        return node

    def operations(self):
        for path, _, item in self.paths:
            for method, operation in item.items():
                if method != "parameters":
                    yield method.upper(), path, operation

    def find(self, target):
        path = target.split("?")[0]
        for template, pattern, item in self.paths:
            if pattern.match(path):
                return template, item
        return None, None

    def check(self, method, target, status, headers, body):
        template, item = self.find(target)
        operation = item.get(method.lower()) if item else None
        if operation is None:
            assert status in {400, 403, 404, 405, 413, 431}, f"{method} {target}: {status} where there is no route"
            self.check_problem(status, headers, body)
            return
        responses = {str(k): v for k, v in operation["responses"].items()}
        if str(status) in responses:
            response = self.resolve(responses[str(status)])
            self.seen.add((method, template, status))
        else:
            assert status in HTTP_ITSELF, f"{method} {target}: {status} is not in the contract"
            response = self.resolve(responses["default"])
        kind = headers["content-type"].split(";")[0]
        content = response.get("content", {})
        assert kind in content, f"{method} {target}: {status} as {kind} is not in the contract"
        for name, header in response.get("headers", {}).items():
            if name.lower() in headers:
                self.validate(headers[name.lower()], self.resolve(header)["schema"])
        if status == 202:
            assert headers["location"] == "/v1/operations/" + json.loads(body)["operation"]
        if kind.endswith("json"):
            self.validate(json.loads(body), content[kind]["schema"])
        if kind == "application/problem+json":
            self.check_problem(status, headers, body)

    def check_problem(self, status, headers, body):
        assert headers["content-type"] == "application/problem+json", headers
        document = json.loads(body)
        self.validate(document, {"$ref": "#/components/schemas/Problem"})
        assert document["status"] == status, document
        assert document["type"] == "urn:bascule:problem:" + document["code"], document

    def validate(self, value, schema):
        # The references in it are to the contract, so it is carried along.
        whole = {**schema, "components": self.doc["components"]}
        jsonschema.Draft202012Validator(whole).validate(value)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        self.json = json.loads(body) if "json" in headers.get("content-type", "") else None

    @property
    def detail(self):
        return self.json["detail"]


class Rig:
    """The server under test and its fake cell, in a process of their own."""

    def __init__(self, program, pki, images, *more):
        Path(images).mkdir(exist_ok=True)
        self.pki = pki
        self.process = subprocess.Popen(
            [program, pki.pem("ca"), pki.pem("server"), pki.key("server"), str(images), *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert not answer.startswith(("what?", "wrong", "no")), f"{line}: {answer}"
        return answer

    def memory_kib(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise RuntimeError("no VmRSS")

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.process.stdout.close()
        return self.process.returncode


def tls(pki, name, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(pki.pem("ca"))
    if name:
        context.load_cert_chain(pki.pem(name), pki.key(name))
    if version:
        context.maximum_version = version
    return context


class Client:
    """One kept-alive connection."""

    def __init__(self, rig, contract, name):
        self.contract = contract
        self.connection = http.client.HTTPSConnection("127.0.0.1", rig.port, timeout=30, context=tls(rig.pki, name))

    def call(self, method, target, body=None, headers=None):
        headers = dict(headers or {})
        if isinstance(body, dict):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        self.connection.request(method, target, body=body, headers=headers)
        response = self.connection.getresponse()
        data = response.read()
        answer_headers = {k.lower(): v for k, v in response.getheaders()}
        self.contract.check(method, target, response.status, answer_headers, data)
        return Answer(response.status, answer_headers, data)

    def get(self, target, **headers):
        return self.call("GET", target, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def change(self, method, target, body=None, **headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        return self.call(method, target, {"reason": "a test", **(body or {})}, headers)

    def close(self):
        self.connection.close()


class Stream:
    """An event stream, read in the background."""

    def __init__(self, rig, name, target="/v1/events", last=None):
        self.connection = http.client.HTTPSConnection("127.0.0.1", rig.port, timeout=30, context=tls(rig.pki, name))
        self.connection.request("GET", target, headers={"Last-Event-ID": str(last)} if last is not None else {})
        self.socket = self.connection.sock  # the connection lets go of it at the answer's head
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.type = self.response.getheader("Content-Type")
        self.events, self.comments = [], 0
        self.news = threading.Condition()
        self.ended = False
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        current = {}
        try:
            for raw in self.response:
                line = raw.decode().rstrip("\n")
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    current[name] = value
                elif "data" in current:
                    with self.news:
                        self.events.append((int(current["id"]), current["event"], json.loads(current["data"])))
                        self.news.notify_all()
                    current = {}
        except (OSError, ValueError, http.client.HTTPException):
            pass
        with self.news:
            self.ended = True
            self.news.notify_all()

    def wait(self, condition, seconds=30):
        with self.news:
            assert self.news.wait_for(lambda: condition(self), seconds), f"not seen; there are {self.events}"

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.thread.join(5)
        self.connection.close()
