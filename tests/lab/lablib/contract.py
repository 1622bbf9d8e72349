"""The tool drbd_contract on two hosts: the storage adapters alone, and what they leave on the hosts."""
import re
import time

from . import remote
from .case import expect, sh

TOOL = "/opt/bascule/bin/drbd_contract"
FENCE = "/run/drbd_contract_fence"
ROOT, DATA = "/dev/drbd900", "/dev/drbd901"
MIB = 1024 * 1024
PATIENCE = 300  # seconds for one act; the machine may be busy


class Host:
    """One host with its pool; every call is one run of the tool, as after a restart of the daemon."""

    def __init__(self, lab, name, pool):
        self.lab, self.name, self.pool = lab, name, pool

    def run(self, *words):
        done = remote.execute(self.lab, self.lab.node(self.name), [TOOL, self.name, self.pool, *map(str, words)],
                              check=False, timeout=PATIENCE)
        return done.returncode, done.stdout.strip() + done.stderr.strip()

    def ok(self, *words):
        code, said = self.run(*words)
        expect(code == 0, f"{self.name} {' '.join(map(str, words))}: {said}")
        return said

    def no(self, code, text, *words):
        """Refused with this error code and these words in the sentence."""
        got, said = self.run(*words)
        expect(got == 1 and said.startswith(code + ": ") and text in said,
               f"{self.name} {' '.join(map(str, words))}: wanted {code} ... {text}, got: {said}")

    def state(self):
        return dict(word.split("=", 1) for word in self.ok("query").split() if "=" in word)

    def until(self, what, check):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            state = self.state()
            if check(state):
                return state
            time.sleep(0.5)
        expect(False, f"{self.name}: not {what} within {PATIENCE} s: {state}")
        return None

    def sh(self, *words, check=True):
        return sh(self.lab, self.name, *words, check=check, timeout=PATIENCE)


def synced(state):
    return all(re.fullmatch(r"UpToDate/UpToDate/Established/\d+/0", state.get(v, "")) for v in ("v0", "v1"))


def clean(hosts, ident):
    for host in hosts:
        host.sh("rm", "-f", FENCE)
        host.run("demote")
        host.run("unmake", ident)


def in_sync_pair(lab, pools, size=64, ident="l1"):
    a, b = Host(lab, "a1", pools[0]), Host(lab, "b1", pools[1])
    clean((a, b), ident)
    for host in (a, b):
        host.ok("make", size, ident)
        host.ok("connect")
    a.until("connected", lambda s: s["link"] == "Connected")
    a.ok("skip")
    b.until("in sync", synced)
    return a, b


def digest(host, device, mib):
    return host.sh("sh", "-c", f"dd if={device} bs=1M count={mib} iflag=direct status=none | md5sum").split()[0]


def backing(host, volume, ident="l1"):
    if host.pool == "loop":
        file = f"/var/lib/bascule/volumes/bascule-contract-{volume}-{ident}.img"
        return host.sh("losetup", "-n", "-O", "NAME", "-j", file).strip()
    return f"/dev/vg0/bascule-contract-{volume}-{ident}"
