"""What was wrong, from what was seen: pure, so that a doctored log or sample shows that it can find something."""
import json

from .watch import FRESH_SECONDS

HAND_OVER_SECONDS = 1.0  # both sides may say "running" for so long around the instant in which a migration switches over
SILENT = 1.0             # seconds without a record that count as an outage in the timeline
CLASSES = {"host lost": ("power-cut", "hang", "kernel-panic", "links-all", "link-mgmt", "hostd-hung", "watchdog-broken", "power-silent",
                         "power-refuses"),
           "guest lost": ("qemu-killed",), "replication link": ("link-repl", "helper-killed", "helper-gives-up", "site-fibre", "witness-and-link", "fence-delayed"),
           "etcd and witness": ("etcd-killed", "etcd-hung", "etcd-slow", "etcd-stopped", "etcd-disk-full", "witness-lost"),
           "daemon": ("hostd-killed", "libvirtd-killed", "libvirtd-hung"), "disk": ("disk-error", "disk-flaky"),
           "network quality, clients' link, clock": ("loss-20", "delay-100", "link-client", "clock-jump")}
ENDED = ("done", "undone", "needs-operator")


def class_of(kind):
    return next(name for name, kinds in CLASSES.items() if kind in kinds)


def together(samples, running):
    """Times in which one VM ran on two hosts at once: {vm: [(from, to), ...]}. A host's word holds until its next one, or goes stale."""
    newest, found = {}, {}
    for sample in sorted(samples, key=lambda one: one.at):
        newest[sample.host] = sample
        fresh = [one for one in newest.values() if sample.at - one.at < FRESH_SECONDS]
        names = {name for one in fresh for name in one.vms}
        for name in names:
            both = sum(name in one.vms and running(one.vms[name]) for one in fresh) > 1
            spans = found.setdefault(name, [])
            if both and spans and spans[-1][2]:
                spans[-1][1] = sample.at
            elif both:
                spans.append([sample.at, sample.at, True])
            if not both and spans:
                spans[-1][2] = False
    return {name: [(start, end) for start, end, _ in spans] for name, spans in found.items() if spans}


def double_runs(samples):
    """Sentences, one for each time that a VM ran on two hosts for longer than a hand-over lasts."""
    spans = together(samples, lambda seen: seen[0] == "running")
    return [f"{vm} ran on two hosts for {end - start:.1f} s from {start:.1f} on"
            for vm, times in sorted(spans.items()) for start, end in times if end - start > HAND_OVER_SECONDS]


def longest_silence(times, begin, end, until):
    """The longest time without a record among those that began in [begin, end); one that still lasts ends at `until`. (s, its end)"""
    ends = [*times[1:], until]
    gaps = [(b - a, b) for a, b in zip(times, ends) if begin <= a < end]
    return max(gaps, default=(0.0, until))


def merged(spans, apart):
    """Spans (from, to, what) in the order of time; neighbours of the same kind less than `apart` from each other become one."""
    out = []
    for start, end, what in spans:
        if out and out[-1][2] == what and start - out[-1][1] <= apart:
            out[-1][1] = max(end, out[-1][1])
        else:
            out.append([start, end, what])
    return out


def timeline(samples, times, vm, minor, zero):
    """What the report draws for one VM, in seconds after `zero`."""
    ran = {}
    for sample in samples:
        if vm in sample.vms:
            state = sample.vms[vm][0]
            if sample.drbd.get(minor, ("", "", "", "r"))[3].startswith("s"):
                state = "frozen"
            ran.setdefault(sample.host, []).append((sample.at - zero, sample.at - zero, state))
    went = merged([(at - zero, at - zero, "acknowledged") for at in times], SILENT)
    return {"hosts": {host: _rounded(merged(spans, FRESH_SECONDS)) for host, spans in ran.items()}, "acknowledged": _rounded(went)}


def _rounded(spans):
    return [[round(start, 1), round(end, 1), what] for start, end, what in spans]


def operations(ops):
    """(sentences of those that did not end, sentences of those that ask for a person)"""
    def named(op):
        return f"operation {op['id']} ({op['kind']} of {op['vm'] or op['object']})"
    stuck = [f"{named(op)} is still {op['state']}" for op in ops if op["state"] not in ENDED]
    asks = [f"{named(op)} asks for a person: {op.get('todo') or 'and does not say what to do'}" for op in ops if op["state"] == "needs-operator"]
    return stuck, asks


def verdict(text):
    """Of ledger-check --json: {"acknowledged", "lost", "double", "words", ...}; what cannot be judged is not clean."""
    try:
        said = json.loads(text)
    except ValueError:
        return {"acknowledged": 0, "lost": 0, "double": 0, "first": 0, "clean": False, "words": f"not judged: {text.strip()[:300]}"}
    lost = max(said["lost"], said["torn"])
    words = "CLEAN" if said["ok"] else "NOT CLEAN"
    words += f": {said['acknowledged']} records acknowledged, {said['lost']} lost, {said['torn']} torn, {said['duplicated']} duplicated, "
    words += f"{said['double']} signs of two runners"
    words += f", {said['legs_differ']} blocks differ" if said["legs_differ"] else ""
    words += f", {said['foreign']} of another disk" if said["foreign"] else ""
    words += "".join(f"; the guest reported: {error}" for error in said["guest_errors"])
    double = said["double"] or said["duplicated"]
    return {"acknowledged": said["acknowledged"], "lost": lost, "double": double,
            "first": min((leg["first"] for leg in said["legs"]), default=0), "clean": said["ok"], "words": words}


def totals(state):
    """The five numbers that count, and what explains them. `state` is the content of the JSON file."""
    found = [v for v in state["violations"]]
    said = state["verdicts"]
    return {
        "faults": len(state["faults"]),
        "records_acknowledged": sum(vm["acknowledged"] for vm in state["vms"].values()) + state.get("acknowledged_before", 0),
        "records_lost": sum(one["lost"] for one in said) + sum(v["class"] == "records-lost" and not v.get("judged") for v in found),
        "double_runs": sum(one["double"] for one in said) + sum(v["class"] == "double-run" and not v.get("judged") for v in found),
        "operations_stuck": sum(v["class"] in ("stuck", "asks", "not-running", "not-in-sync", "window-open", "unsettled") for v in found),
        "violations": len(found),
        "records_not_judged": state.get("not_judged", 0),
        "rounds": len(state["rounds"]),
        "skipped": sum(len(one["skipped"]) for one in state["rounds"]),
    }
