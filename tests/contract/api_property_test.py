"""Requests that Hypothesis makes from api/openapi.yaml, to every operation of it: each answer is one the contract has, nothing is
answered 500, what breaks a schema is refused, and the next client is served.
    api_property_test.py RIG [--seed N] [--examples N] [unittest arguments]     examples for each operation"""
import argparse
import http.client
import json
import os
import shutil
import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import hypothesis  # noqa: E402
from api_client import Client, Contract, Rig, tls  # noqa: E402
from api_pki import Pki  # noqa: E402
from api_requests import Maker, asks  # noqa: E402

CONTRACT = Contract()
MAKER = Maker(CONTRACT)
ANSWERS = Counter()
SECONDS = 10  # without an answer: a hang
# What is refused for what it means in this cell, of a request that is as the contract says.
BY_MEANING = ("cannot be changed", "cannot be added or removed", "cannot shrink", "volumes: grow '", "is there twice",
              "protection: a VM with one leg stays so", "volumes.image: there is no image", "volumes.image: the images are kept",
              "has no network", "there is no host", "already runs on", "are on the same site", "copy_at: only with protection",
              "drill_every_days: not with protection",
              "volumes.image: with protection", "sacrifice: the newer data", "the file is damaged", "restored with its power off",
              "a name is needed", "a VM is needed")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rig", type=os.path.abspath)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=30)
    return parser.parse_known_args()


def setUpModule():
    global FOLDER, PKI
    FOLDER = tempfile.mkdtemp(prefix="api-property-")
    PKI = Pki(FOLDER)


def tearDownModule():
    shutil.rmtree(FOLDER)
    print("answers:", ", ".join(f"{n} x {status}" for status, n in sorted(ANSWERS.items())))


class Asker:
    """Sends what http.client would find improper, too."""

    def __init__(self, rig, name):
        self.connection = http.client.HTTPSConnection("127.0.0.1", rig.port, timeout=SECONDS, context=tls(PKI, name))
        self.connection._validate_path = lambda url: None
        self.connection._encode_request = lambda text: text.encode("latin-1")

    def send(self, ask):
        """(status, headers, body); of an event stream, which has no end, the body is None."""
        self.connection.putrequest(ask.method, ask.target)
        for name, value in ask.headers.items():
            self.connection.putheader(name, value.encode("latin-1"))
        if ask.body is not None or ask.method != "GET":
            self.connection.putheader("Content-Length", str(len(ask.body or b"")))
        self.connection.endheaders(ask.body)
        response = self.connection.getresponse()
        headers = {k.lower(): v for k, v in response.getheaders()}
        if headers.get("content-type") == "text/event-stream":
            self.connection.close()
            response.close()
            return response.status, headers, None
        return response.status, headers, response.read()

    def close(self):
        self.connection.close()


class Properties(unittest.TestCase):
    def hold(self, method, path, operation):
        """The properties, for requests to this operation."""
        item = CONTRACT.doc["paths"][path]
        rig = Rig(ARGS.rig, PKI, Path(FOLDER) / operation["operationId"])
        askers = {name: Asker(rig, name) for name in ("operator", "client", "auditor", "host", "nobody")}
        normal = Client(rig, CONTRACT, "operator")
        rig.tell("vm shop green")

        @hypothesis.seed(ARGS.seed)
        @hypothesis.settings(max_examples=ARGS.examples, deadline=None, database=None,
                             suppress_health_check=list(hypothesis.HealthCheck))
        @hypothesis.given(asks(MAKER, method, path, operation, item))
        def one(ask):
            rig.tell("vm web blue")
            self.judge(rig, normal, ask, *askers[ask.who].send(ask))
            self.assertEqual(normal.get("/v1/version").status, 200)

        try:
            one()
        finally:
            for open_ in (normal, *askers.values()):
                open_.close()
            self.assertEqual(rig.close(), 0)

    def judge(self, rig, normal, ask, status, headers, body):
        ANSWERS[status] += 1
        if body is None:
            self.assertEqual((ask.method, ask.target.split("?")[0], status), ("GET", "/v1/events", 200))
            return
        CONTRACT.check(ask.method, ask.target, status, headers, body)
        self.assertNotEqual(status, 500, body)
        self.assertNotIn(status, (431, 503, 504), body)  # nothing here is full, and nothing is away
        if ask.who == "nobody":
            self.assertEqual(status, 403)
        if ask.body_fits is False:
            self.assertGreaterEqual(status, 400, "a body that breaks its schema was accepted")
        if ask.good:
            self.assertNotIn(status, (405, 411, 413, 415), body)
            self.assertFalse(status == 400 and not self.by_meaning(body), body)
        if status == 202 and normal.get(headers["location"]).json["state"] == "running":
            rig.tell(f"finish {headers['location'].rsplit('/', 1)[1]} done")

    def by_meaning(self, body):
        """400 for what a schema cannot say."""
        detail = json.loads(body)["detail"]
        return any(words in detail for words in BY_MEANING)


def add(method, path, operation):
    def test(self):
        self.hold(method, path, operation)
    test.__doc__ = f"{method} {path}"
    setattr(Properties, "test_" + operation["operationId"], test)


for method_, path_, operation_ in CONTRACT.operations():
    add(method_, path_, operation_)


class ZSpread(unittest.TestCase):
    """Runs last."""

    def test_the_requests_were_of_all_kinds(self):
        every = sum(ANSWERS.values())
        if every < 1000:
            self.skipTest("not all operations were asked")
        for low, high, share in ((200, 299, 0.2), (400, 499, 0.2)):
            some = sum(n for status, n in ANSWERS.items() if low <= status <= high)
            self.assertGreater(some / every, share, ANSWERS)


if __name__ == "__main__":
    ARGS, rest = arguments()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=1)
