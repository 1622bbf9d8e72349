"""What is kept of a violation, before anything is mended."""
import contextlib
import json
import re
import shutil

from .. import ledger, remote
from ..proc import LabError

COMMANDS = {
    "drbd.txt": "cat /proc/drbd; drbdsetup show; cat /etc/drbd.d/*.res",
    "libvirt.txt": "timeout 10 virsh list --all; head -5 /run/libvirt/qemu/*.xml; ps ax -o pid,stat,etime,time,args | grep -F qemu-system",
    "journal.txt": "journalctl -b 0 -n 6000 --no-pager -o short-precise; echo; echo ==== the boot before; "
                   "journalctl -b -1 -n 3000 --no-pager -o short-precise",
    "state.txt": "date -Ins; uptime; cat /var/lib/bascule/state/notes.json; lvs; ip -br a; tc qdisc; systemctl --failed",
}
ETCD = '. /etc/profile.d/lab.sh; etcdctl get --prefix /bascule/; etcdctl endpoint status -w table; etcdctl member list; etcdctl alarm list'
ASKED = {"operations.json": ("op", "list"), "vms.json": ("vm", "list"), "volumes.json": ("volume", "list"), "hosts.json": ("host", "list")}
LOG_BYTES = 64 << 20


def keep(lab, folder, round_state, watch, cell):
    """Everything that says what happened, in `folder`. What cannot be had is said there instead."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "round.json").write_text(json.dumps(round_state, indent=1))
    (folder / "samples.txt").write_text("".join(f"{one}\n" for one in watch.since(round_state["began"])))
    for node in lab.nodes.values():
        with contextlib.suppress(OSError):
            shutil.copy(node.console, folder / f"{node.id}-console.log")
        for name, script in ({} if node.kind != "host" else COMMANDS).items():
            _note(folder / f"{node.id}-{name}", lambda n=node, s=script: _said(lab, n, s))
    for node in lab.voters:
        _note(folder / f"{node.id}-etcd.txt", lambda n=node: _said(lab, n, ETCD))
    for name, words in ASKED.items():
        _note(folder / name, lambda w=words: json.dumps(cell.ask(*w), indent=1))
    for vm in cell.macs:
        _note(folder / f"{vm}.json", lambda v=vm: json.dumps([cell.ask("vm", "show", v), cell.ask("why", v)], indent=1))
    with contextlib.suppress(OSError), open(ledger.log_path(lab), "rb") as log, open(folder / "collector-tail.log", "wb") as out:
        log.seek(max(0, log.seek(0, 2) - LOG_BYTES))
        shutil.copyfileobj(log, out)
    with contextlib.suppress(OSError):
        shutil.copy(lab.run / "supervisor.log", folder)
    return folder


def keep_legs(lab, folder):
    """The legs that the judge has just read."""
    for leg in lab.exchange.glob("leg-*.raw"):
        with contextlib.suppress(OSError):
            shutil.copy(leg, folder)


def _said(lab, node, script):
    return remote.execute(lab, node, ["sh", "-c", script], check=False, timeout=40).stdout


def _note(path, get):
    try:
        text = get()
    except (LabError, ValueError) as err:
        text = f"not to be had: {err}"
    path.write_text(text)


def name_of(number, words):
    return f"{number:04d}-" + re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:50]
