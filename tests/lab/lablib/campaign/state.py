"""The JSON file of a campaign: what it has found, and all it needs to go on after its own end."""
import json
import os
import pathlib
import time

from .. import remote
from ..plan import PROJECT
from ..proc import LabError, run
from . import judge

FORMAT = 1


def fresh(args, command):
    return {"format": FORMAT, "totals": {}, "seed": args.seed, "command": command, "began": time.time(), "ended": 0.0, "versions": {},
            "next_round": args.first, "vms": {}, "judged_until": {}, "judged_bytes": 0, "judged_at": 0.0, "not_judged": 0,
            "acknowledged_before": 0, "collector": 0, "faults": [], "rounds": [], "violations": [], "verdicts": [], "notes": []}


def load(path, args):
    try:
        state = json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError) as err:
        raise LabError(f"--resume: {path} cannot be read: {err}") from None
    if state.get("format") != FORMAT or state["seed"] != args.seed:
        raise LabError(f"--resume: {path} is of seed {state.get('seed')}, this is seed {args.seed}: give the same")
    return state


def save(state, path):
    """Whole or not at all, however this process or machine ends."""
    state["totals"] = judge.totals(state)
    new = f"{path}.new"
    with open(new, "w", encoding="utf-8") as out:
        json.dump({"totals": state["totals"], **state}, out, indent=1)
        out.write("\n")
        out.flush()
        os.fsync(out.fileno())
    os.replace(new, path)


def versions(lab):
    """Of everything that has a say, as it is in the lab."""
    host = lab.hosts[0]

    def said(script):
        lines = remote.execute(lab, host, ["sh", "-c", script], check=False).stdout.strip().splitlines()
        return lines[0].strip() if lines else "unknown"
    commit = run(["git", "-C", str(PROJECT), "rev-parse", "--short=12", "HEAD"], check=False).stdout.strip() or "unknown"
    changed = run(["git", "-C", str(PROJECT), "status", "--porcelain", "--untracked-files=no"], check=False).stdout.strip()
    return {"bascule": commit + (" and changes" if changed else ""), "kernel": said("uname -r"), "DRBD": said("head -1 /proc/drbd"),
            "QEMU": said("qemu-system-x86_64 --version"), "libvirt": said("libvirtd --version"), "etcd": said("etcd --version"),
            "timing": lab.timing, "pool": lab.pool, "hosts": len(lab.hosts), "cpus of this machine": os.cpu_count()}
