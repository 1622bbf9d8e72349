"""Whom the API trusts, over real TLS: countersigned heads, certificates that are withdrawn or renewed while it runs.
    api_trust_test.py RIG [unittest arguments]"""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import api_test  # noqa: E402

setUpModule, tearDownModule = api_test.setUpModule, api_test.tearDownModule


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


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=1)
