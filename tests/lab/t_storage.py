#!/usr/bin/python3
"""The storage adapters alone, without hostd, between two real kernels: every promise of DrbdPort and PoolPort."""
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lablib import cluster, net  # noqa: E402
from lablib.case import expect, main, sh  # noqa: E402
from lablib.contract import DATA, FENCE, MIB, PATIENCE, ROOT, TOOL, Host, backing, clean, digest, in_sync_pair, synced  # noqa: E402
from lablib.proc import wait_for  # noqa: E402


def _life(lab, pools):
    a, b = Host(lab, "a1", pools[0]), Host(lab, "b1", pools[1])
    clean((a, b), "l1")
    free = [int(h.ok("space").split()[1]) for h in (a, b)]
    for host in (a, b):
        host.ok("make", 64, "l1")
        host.ok("make", 64, "l1")  # as after a crash: nothing happens twice
        state = host.state()
        expect(state["link"] == "StandAlone" and state["v0"].startswith("Inconsistent/DUnknown/Off/65536/"), state)
    for host, before in zip((a, b), free):
        now = int(host.ok("space").split()[1])
        expect(130 <= before - now <= 160, f"{host.name}: {before} MiB free before, {now} after two legs of 64")
    a.no("conflict", "Inconsistent", "promote")
    a.no("conflict", "cannot be skipped", "skip")  # the kernel itself would do it on one leg alone
    for host in (a, b):
        host.ok("connect")
        host.ok("connect")
    a.until("connected", lambda s: s["link"] == "Connected")
    a.ok("skip")
    a.ok("skip")
    b.until("in sync", synced)
    b.ok("skip")
    a.ok("promote")
    a.ok("promote")
    b.no("refused", "Multiple primaries", "promote")
    a.sh("dd", "if=/dev/urandom", f"of={ROOT}", "bs=1M", "count=8", "oflag=direct", "status=none")
    # The window.
    a.ok("two", "yes")
    expect(b.ok("allowed") == "ok yes", "the peer's setting did not follow")
    b.ok("promote")
    a.no("refused", "", "two", "no")
    a.sh("sh", "-c", f"(exec 7<>{DATA}; sleep 4) >/dev/null 2>&1 </dev/null & sleep 0.3")
    a.ok("demote")  # waits for whoever still holds it open
    a.ok("two", "no")
    expect(b.ok("allowed") == "ok no", "the peer's setting did not follow")
    expect((a.state()["role"], b.state()["role"]) == ("Secondary", "Primary"), "roles are not swapped")
    # Equal, and found unequal where one leg is changed below DRBD.
    b.ok("verify", "root")
    b.until("verified", lambda s: "Verify" not in s["v0"])
    expect(b.state()["v0"].endswith("/65536/0"), f"unequal: {b.state()}")
    for host in (a, b):
        host.sh("sync")
    expect(digest(a, backing(a, "root"), 60) == digest(b, backing(b, "root"), 60), "legs differ")
    a.sh("dd", "if=/dev/urandom", f"of={backing(a, 'data')}", "bs=4k", "count=3", "seek=100", "oflag=direct", "status=none")
    b.ok("verify", "data")
    b.until("verified", lambda s: "Verify" not in s["v1"])
    expect(b.state()["v1"].endswith("/65536/12"), f"12 KiB were changed: {b.state()}")
    # Going away.
    b.ok("demote")
    for host in (a, b):
        host.ok("disconnect")
        host.ok("disconnect")
        host.ok("unmake", "l1")
        host.ok("unmake", "l1")
        expect(not host.sh("sh", "-c", "ls /etc/drbd.d/*contract* /var/lib/bascule/volumes/*contract* 2>/dev/null; "
                           "lvs --noheadings -o lv_name vg0 | grep contract; losetup -a | grep contract", check=False).strip(),
               f"{host.name}: something is left")


def test_life_loop(lab):
    """Loop files: legs are made, joined without a first sync, promoted, written, handed over in a window, compared and
    removed, and every act may be repeated."""
    _life(lab, ("loop", "loop"))


def test_life_mixed_lvm(lab):
    """Thick logical volumes on one host and thin ones on the other: the same life."""
    _life(lab, ("lvm", "lvm-thin"))


def test_grow(lab):
    """A volume grows while Primary and in sync; not before its backing has grown, never smaller; the legs stay equal."""
    # What somebody else left on the pool's disk must not show in the new space.
    sh(lab, "a1", "sh", "-c", "lvcreate -qq -y -n contract_dirt -L 256M vg0 && "
       "dd if=/dev/urandom of=/dev/vg0/contract_dirt bs=1M count=256 oflag=direct status=none; "
       "lvremove -qq -y vg0/contract_dirt", timeout=PATIENCE)
    a, b = in_sync_pair(lab, ("lvm", "loop"))
    try:
        a.ok("promote")
        old_mib = -(-int(a.sh("blockdev", "--getsize64", backing(a, "root"))) // MIB)
        a.sh("dd", "if=/dev/urandom", f"of={ROOT}", "bs=1M", "count=64", "oflag=direct", "status=none")
        before = digest(a, ROOT, 64)
        a.no("conflict", "grow it first", "resize", "root", 128)
        expect("/65536/0" in a.state()["v0"], "a refused resize changed the size")
        for host in (a, b, a, b):
            host.ok("grow", "root", 128, "l1")
        a.ok("resize", "root", 128)
        a.ok("resize", "root", 128)
        a.no("conflict", "never made smaller", "resize", "root", 100)
        a.until("in sync", synced)
        expect(b.state()["v0"].startswith("UpToDate/UpToDate/Established/131072/"), b.state())
        expect(digest(a, ROOT, 64) == before, "growing changed what was written")
        # DRBD's own metadata lay at the end of the old device and shows there; everything behind it is zero.
        zero = a.sh("sh", "-c", f"dd if={ROOT} bs=1M skip={old_mib} status=none iflag=direct | tr -d '\\0' | wc -c").strip()
        expect(zero == "0", f"the new space holds {zero} bytes that are not zero")
        a.ok("verify", "root")
        a.until("verified", lambda s: "Verify" not in s["v0"])
        expect(a.state()["v0"].endswith("/131072/0"), f"unequal after growing: {a.state()}")
        # Hosts die between the steps and return: the metadata is found where it was, and each leg comes back with the size
        # DRBD had, whatever the record says: here the grown root is unknown to it, the data known too early.
        a.ok("demote")
        for told in ((), (b,), (a, b)):
            for host in (a, b):
                host.ok("down")
                host.ok("grow", "data", 96, "l1")
            for host in told:
                host.ok("size", "data", 96)
            for host in (a, b):
                host.ok("up", "l1")
                host.ok("connect")
            state = a.until("in sync", synced)
            sizes = [state[v].split("/")[3] for v in ("v0", "v1")]
            expect(sizes == ["131072", "65536"], f"{len(told)} told: {state}")
        a.ok("promote")
        a.ok("resize", "data", 96)
        a.until("in sync", lambda s: synced(s) and "/98304/" in s["v1"])
        a.ok("demote")
    finally:
        clean((a, b), "l1")


def test_freeze(lab):
    """A cut link freezes the Primary's writes; unanswered they go on when the link heals, answered 4 they go on alone."""
    a, b = in_sync_pair(lab, ("loop", "loop"))
    write = f"dd if=/dev/urandom of={ROOT} bs=4k count=1 oflag=direct,dsync status=none; echo over >/run/contract-write"

    def start_write():
        a.sh("sh", "-c", f"rm -f /run/contract-write; ({write}) >/dev/null 2>&1 </dev/null &")

    def written():
        return a.sh("cat", "/run/contract-write", check=False).strip() == "over"

    try:
        a.ok("promote")
        with cluster.locked(lab):
            net.cut(lab, lab.node("a1"), "repl")
        start_write()
        state = a.until("frozen", lambda s: s["suspended"] == "fencing")
        expect(state["v0"].startswith("UpToDate/DUnknown/Off/"), state)
        time.sleep(3)
        expect(not written(), "a write was acknowledged without the peer")
        with cluster.locked(lab):
            net.heal(lab)
        a.until("in sync", lambda s: synced(s) and s["suspended"] == "no")
        wait_for("the write to go on after the link healed", written, PATIENCE, every=0.5)
        a.sh("sh", "-c", f"printf '#!/bin/sh\\nexit 4\\n' >{FENCE}; chmod +x {FENCE}")
        with cluster.locked(lab):
            net.cut(lab, lab.node("a1"), "repl")
        start_write()
        state = a.until("going on alone", lambda s: s["suspended"] == "no" and s["link"] != "Connected")
        expect("/Outdated/" in state["v0"], state)
        a.until("written", lambda s: written())
        b.until("told of the loss", lambda s: s["link"] != "Connected")
        b.ok("disconnect", "force")
        with cluster.locked(lab):
            net.heal(lab)
        b.ok("connect")
        a.until("in sync again", synced)
        expect(digest(a, backing(a, "root"), 60) == digest(b, backing(b, "root"), 60), "legs differ")
    finally:
        clean((a, b), "l1")


def test_marked_old(lab):
    """A leg that is marked as old cannot be used whatever comes, and is resynced as a whole."""
    a, b = in_sync_pair(lab, ("loop", "lvm"))
    try:
        a.ok("promote")
        b.no("conflict", "is attached", "stale", "data")
        b.ok("detach", "data", "force")
        b.ok("stale", "data")
        b.ok("stale", "data")
        a.sh("dd", "if=/dev/urandom", f"of={DATA}", "bs=1M", "count=8", "oflag=direct", "status=none")
        b.ok("down")  # as after a reset in that moment: nothing but the metadata knows
        b.ok("up", "l1")
        expect(b.state()["v1"].startswith("Inconsistent/"), b.state())
        b.no("conflict", "Inconsistent", "promote")
        b.ok("connect")
        a.until("in sync", synced)
        expect(digest(a, backing(a, "data"), 60) == digest(b, backing(b, "data"), 60), "legs differ")
    finally:
        clean((a, b), "l1")


def test_promotion_that_waits(lab):
    """A promotion that asks for its lost peer keeps the link down until it is answered; in an open window the next one
    succeeds, and where the other side has closed its part the kernels refuse each other."""
    a, b = in_sync_pair(lab, ("loop", "loop"))
    # Answers when it is told to; hostd's would look at the record until then.
    wait = "#!/bin/sh\\nwhile [ ! -e /run/contract-answer ]; do sleep 0.2; done; exit 1\\n"
    try:
        for closed in (False, True):
            a.ok("promote")
            a.ok("two", "yes")
            for host in (a, b):
                host.sh("sh", "-c", f"rm -f /run/contract-answer; printf '{wait}' >{FENCE}; chmod +x {FENCE}")
            with cluster.locked(lab):
                net.cut(lab, lab.node("a1"), "repl")
            b.until("told of the loss", lambda s: s["link"] != "Connected")
            b.sh("sh", "-c", f"({TOOL} b1 {b.pool} promote >/run/contract-promote 2>&1) </dev/null >/dev/null 2>&1 &")
            b.until("asking", lambda s: b.sh("pgrep", "-f", FENCE, check=False).strip())
            if closed:
                a.ok("two", "no")
            with cluster.locked(lab):
                net.heal(lab)
            time.sleep(5)
            expect(b.state()["link"] == "Connecting", f"a link came up beside the promotion: {b.state()}")
            for host in (a, b):
                host.sh("touch", "/run/contract-answer")
            b.until("told no", lambda s: "refused" in b.sh("cat", "/run/contract-promote", check=False))
            if closed:
                # The side that finds the settings different gives up; the other waits for it.
                b.until("refused", lambda s: "StandAlone" in (s["link"], a.state()["link"]))
            else:
                b.until("connected", lambda s: s["link"] == "Connected")
                b.ok("promote")
                b.ok("demote")
            expect(b.state()["role"] == "Secondary", f"closed={closed}: {b.state()}")
            for host in (a, b):
                host.sh("rm", "-f", FENCE)
                host.ok("disconnect")
            for host in (a, b):
                host.ok("connect")
            a.until("in sync", synced)
    finally:
        for host in (a, b):
            host.sh("touch", "/run/contract-answer")
        clean((a, b), "l1")


def test_refusals(lab):
    """A used leg is never given fresh metadata, a held one never removed, a full pool says how much is missing."""
    a, b = in_sync_pair(lab, ("loop", "lvm"))
    try:
        a.no("conflict", "has been used", "make", 64, "l1")
        a.no("conflict", "was left alone", "make", 80, "l1")
        a.no("conflict", "attached instead", "make", 64, "l2")
        for host in (a, b):
            code, said = host.run("drop", "l1")
            expect(code == 1 and said.startswith("conflict: "), f"{host.name} removed a leg in use: {said}")
        free = int(a.ok("space").split()[1])
        a.no("exhausted", f"has {free} MiB free", "make", 1000000, "l3")
        a.ok("detach", "data", "force")
        a.ok("detach", "data", "force")
        b.until("alone", lambda s: "/Diskless/" in s["v1"])
        a.no("conflict", "Diskless", "promote")
        a.no("conflict", "stay forbidden", "two", "yes")
        a.no("conflict", "nothing to compare", "verify", "data")
    finally:
        clean((a, b), "l1")
        a.run("unmake", "l2")
        a.run("unmake", "l3")


def test_snapshots(lab):
    """A snapshot keeps a leg as it was while the leg is written to, goes with the leg, and the one before is replaced."""
    a, b = in_sync_pair(lab, ("loop", "lvm-thin"))
    try:
        a.ok("promote")
        before = {}
        for fill in ("first", "second", "third"):
            a.sh("sh", "-c", f"yes {fill} | dd of={DATA} bs=1M count=8 iflag=fullblock oflag=direct status=none")
            if fill != "third":
                for host in (a, b):
                    host.ok("snapshot", "l1")
                    before[host.name] = digest(host, backing(host, "data"), 64)
        for host in (a, b):
            expect(digest(host, backing(host, "data"), 64) != before[host.name], f"{host.name}: nothing was written")
            expect(digest(host, snapshot_of(host, "data"), 64) == before[host.name], f"{host.name}: not as it was")
    finally:
        clean((a, b), "l1")
    left = a.sh("ls", "/var/lib/bascule/volumes") + b.sh("lvs", "--noheadings", "-o", "lv_name", "vg0")
    expect("bascule-contract" not in left, f"a snapshot is left: {left}")


def snapshot_of(host, volume):
    if host.pool == "loop":
        return f"/var/lib/bascule/volumes/bascule-contract-{volume}-l1.img-copy"
    host.sh("lvchange", "--yes", "-K", "-ay", f"vg0/bascule-contract-{volume}-l1-copy")
    return f"/dev/vg0/bascule-contract-{volume}-l1-copy"


def test_events(lab):
    """The stream tells every change, survives the death of its reader process, and says when it was interrupted."""
    a, b = in_sync_pair(lab, ("loop", "loop"))

    def told(check):
        """Until the lines about this resource are as wanted; the host's other resources are in the stream too."""
        end = time.monotonic() + PATIENCE
        while True:
            lines = [line for line in a.sh("cat", "/run/contract-events").splitlines() if re.match("ok name=vm-contract |trouble: ", line)]
            if lines and check(lines):
                return lines
            expect(time.monotonic() < end, "not told:\n" + "\n".join(lines))
            time.sleep(0.5)

    def interrupted(lines):
        return sum(line.startswith("trouble: ") for line in lines)
    try:
        a.sh("sh", "-c", f"{TOOL} a1 loop events {3 * PATIENCE} >/run/contract-events 2>&1 </dev/null & echo $! >/run/contract-pid")
        told(lambda lines: any("UpToDate/UpToDate" in line for line in lines))
        b.ok("promote")
        before = interrupted(told(lambda lines: "peer=Primary" in lines[-1]))
        a.sh("pkill", "-9", "-x", "drbdsetup-84")
        b.ok("demote")
        told(lambda lines: interrupted(lines) > before and "peer=Secondary" in lines[-1])
        a.sh("sh", "-c", "kill $(cat /run/contract-pid)")
        wait_for("the tool to end", lambda: not a.sh("pgrep", "-x", "drbd_contract", check=False), PATIENCE)
        # An orphan belongs to init; hostd has a reader of its own.
        expect(not a.sh("sh", "-c", "pgrep -P 1 -x drbdsetup-84", check=False).strip(), "a reader was left behind")
    finally:
        a.sh("pkill", "-x", "drbd_contract", check=False)
        clean((a, b), "l1")


main(globals(), tries=3)
