"""Harmful clients of one host's API, from the management network, and an operator who goes on asking that host."""
import json
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from . import cluster, net
from .plan import PROJECT
from .proc import LabError, run, wait_for

PROGRAM = PROJECT / "tests" / "contract" / "api_attack.py"
PORT = 8443
TUNNEL = 9443  # of stunnel on the namespace's loopback, before the host
# (kind, how many, certificate, last byte of the address they come from). A lab host is a User-Mode Linux kernel with 1 GiB and
# a share of one processor: it shakes hands with a few hundred of the 10,000 in a second, and its hostd keeps 512 at once.
CROWD = [("idle", 10_000, "client", 66), ("head", 100, "auditor", 67), ("mute", 200, "", 68)]
OPERATOR_SECONDS = 30  # that one answer may take: hostd's own times are looked at apart


def pace(lab, host):
    """What hostd says of its own times."""
    status, text = cluster.curl(lab, "operator", f"https://{lab.node(host).address('mgmt')}:{PORT}/metrics", OPERATOR_SECONDS)
    if status != 200:
        raise LabError(f"{host} does not give its metrics: {status}")
    found = dict(re.findall(r"^(bascule_(?:io_late_seconds|lease_gap_seconds|lease_renewals_late_total)) (\S+)$", text, re.M))
    return {"io_late_s": float(found["bascule_io_late_seconds"]), "lease_gap_s": float(found["bascule_lease_gap_seconds"]),
            "late_renewals": float(found["bascule_lease_renewals_late_total"])}


class UnderAttack:
    """`with UnderAttack(lab, "a1") as attack:`; afterwards `attack.met` says what happened to whom."""

    def __init__(self, lab, host):
        self.lab, self.host, self.address = lab, host, lab.node(host).address("mgmt")
        self.base = self.address.rsplit(".", 1)[0]
        self.running, self.met, self.answered, self.failed = {}, {}, 0, []
        self.folder = tempfile.TemporaryDirectory(prefix="bascule-attack-")
        self._over = threading.Event()
        self._operator = threading.Thread(target=self._ask, daemon=True)

    def _start(self, name, argv):
        self.running[name] = subprocess.Popen(net.inside(self.lab, argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                              stderr=subprocess.DEVNULL, text=True)

    def __enter__(self):
        self.before = pace(self.lab, self.host)
        for kind, count, certificate, last in CROWD:
            source = f"{self.base}.{last}"
            run(net.inside(self.lab, ["ip", "address", "replace", f"{source}/32", "dev", "br-mgmt"]))
            self._start(kind, [sys.executable, "-B", str(PROGRAM), str(self.lab.pki), str(PORT), kind, str(count), certificate,
                               "--host", self.address, "--source", source])
        self._start("stunnel", ["stunnel4", self._config()])
        wait_for("stunnel to listen", self._listens, 20, every=0.2)
        self._start("wrk", ["wrk", "-t", "1", "-c", "20", "-d", "300s", "--timeout", "20s",
                            f"http://127.0.0.1:{TUNNEL}/v1/vms?limit=100"])
        self._operator.start()
        return self

    def _config(self):
        path = Path(self.folder.name) / "stunnel.conf"
        path.write_text(f"foreground = yes\npid =\ndebug = err\n[api]\nclient = yes\naccept = 127.0.0.1:{TUNNEL}\n"
                        f"connect = {self.address}:{PORT}\nCAfile = {self.lab.pki}/ca.pem\nverifyChain = yes\n"
                        f"cert = {self.lab.pki}/operator2.pem\nkey = {self.lab.pki}/operator2.key\n")
        return str(path)

    def _listens(self):
        return f":{TUNNEL} " in run(net.inside(self.lab, ["ss", "-Hltn"])).stdout

    def _ask(self):
        while not self._over.wait(0.5):
            status, _ = cluster.curl(self.lab, "operator", f"https://{self.address}:{PORT}/v1/vms", OPERATOR_SECONDS)
            if status == 200:
                self.answered += 1
            else:
                self.failed.append(status)

    def __exit__(self, *_):
        self.after = pace(self.lab, self.host)
        self._over.set()
        self._operator.join()
        load = self.running.pop("wrk")
        load.send_signal(2)  # it then says what it has done
        said = load.communicate(timeout=30)[0]
        tunnel = self.running.pop("stunnel")
        tunnel.terminate()
        tunnel.communicate(timeout=30)
        for kind, process in self.running.items():
            self.met[kind] = json.loads(process.communicate(timeout=60)[0].splitlines()[-1])
        self.met["wrk"] = int((re.findall(r"(\d+) requests in ", said) or ["0"])[0])
        for _, _, _, last in CROWD:
            run(net.inside(self.lab, ["ip", "address", "del", f"{self.base}.{last}/32", "dev", "br-mgmt"]), check=False)
        self.folder.cleanup()

    def summary(self):
        return {"operator": self.answered, "failed": self.failed, "before": self.before, "after": self.after, **self.met}
