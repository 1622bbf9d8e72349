"""The campaign itself: round after round until the time is over, whatever breaks."""
import contextlib
import os
import pathlib
import signal
import sys
import time

from .. import cluster, ledger, proc, work
from ..plan import Lab
from ..proc import LabError
from . import evidence, judge, plan, report, rounds, state
from .cell import Cell, collector, end_collector, macs
from .watch import Watch

SETTLE_SECONDS = 150      # L1 to L3: from the healing to everything running, in sync, ended
AGAIN_SECONDS = 150       # after a power cycle of everything
JUDGE_SECONDS = 800       # every VM is judged so often: before its ring, 22 minutes long, overwrites what was acknowledged
REPORT_SECONDS = 60       # between two writings of the HTML report
FINAL_SECONDS = 60        # of settling after an interruption
OP_KEYS = ("id", "kind", "vm", "object", "state", "target_host", "created_ms", "error", "todo", "reason")
WELL = "records go on in their order, none lost; one copy ran; all in sync; every operation ended"


class Over(Exception):
    """The campaign ends here."""


class Campaign:
    def __init__(self, lab, args, said, say):
        self.lab, self.args, self.state, self.say = lab, args, said, say
        self.cell, self.watch, self.reported = None, None, 0.0
        self.started, self.before = time.time(), len(said["faults"])
        self.evidence = pathlib.Path(args.evidence or lab.run.parent / f"{lab.name}-evidence")

    # From the lab as it is to VMs that acknowledge records.

    def begin(self):
        self.cell = Cell(self.lab, self.args.vms)
        if not self.state["faults"]:
            self.cell.clear()
        self.state["collector"] = collector(self.lab, self.state["collector"])
        rounds.heal(self.lab)  # what an interrupted campaign left broken
        self.say(f"making {self.args.vms} VMs")
        self.cell.make()
        for name in self.cell.macs:
            self.state["vms"].setdefault(name, {"mac": self.cell.macs[name], "acknowledged": 0})
        self.state["versions"] = state.versions(self.lab)
        self.watch = Watch(self.lab, self.cell.macs).__enter__()
        left = self.cell.settle(self.watch, AGAIN_SECONDS)
        if left:
            raise LabError("the VMs do not come up: " + "; ".join(text for _, text in left))
        rounds.rebooted(self.lab)
        self.watch.lag.since_last()
        self.state["judged_at"] = self.state["judged_at"] or time.time()
        self.started, self.before = time.time(), len(self.state["faults"])

    def end_watch(self):
        if self.watch:
            self.watch.__exit__()
            self.watch = None

    # One round.

    def round(self, todo):
        self.say(todo.text())
        doer = rounds.Doer(self.lab, self.cell, self.watch, todo, len(self.state["faults"]) + 1)
        known = self._operation_ids()
        wrong_before = {name: len(vm.wrong) for name, vm in self.watch.vms.items()}
        found = []
        try:
            doer.run()
        except LabError as err:
            found.append(("unsettled", f"the lab does not heal: {str(err)[-400:]}"))
        healed = time.time()
        left = self.cell.settle(self.watch, SETTLE_SECONDS) if not found else []
        row = self._measure(doer, known, healed)
        found += left + self._online(doer, wrong_before) + [("asks", text) for text in judge.operations(row["operations"])[1]]
        row["violations"] = [text for _, text in found]
        self._record(doer, row, found)
        if found:
            self._violation(todo, row, found)
        if left or any(kind == "unsettled" for kind, _ in found):
            self._recover()

    def _operation_ids(self):
        with contextlib.suppress(LabError, ValueError):
            return {op["id"] for op in self.cell.ask("op", "list")}
        return set()

    def _measure(self, doer, known, healed):
        row, now = doer.row, time.time()
        with contextlib.suppress(LabError, ValueError):
            row["operations"] = [{key: op.get(key) for key in OP_KEYS} for op in self.cell.ask("op", "list") if op["id"] not in known]
        row.setdefault("operations", [])
        row["machine_late_s"] = self.watch.lag.since_last()
        row["rebooted"] = rounds.rebooted(self.lab)
        row["settled_s"], row["ended"] = round(now - healed, 1), now
        row["ran_after"] = {name: self.watch.hosts_of(name) for name in self.cell.macs}
        samples = self.watch.since(row["began"] - 2)
        row["timeline"] = {}
        for name, vm in self.watch.vms.items():
            times = [at for at in list(vm.times) if at >= row["began"] - 2]
            row["timeline"][name] = judge.timeline(samples, times, name, self.cell.minors.get(name), row["began"])
        for index, act in enumerate(doer.acts):
            until = doer.acts[index + 1]["at"] if index + 1 < len(doer.acts) else now
            act["outage_s"] = {}
            for name, vm in self.watch.vms.items():
                times = [at for at in list(vm.times) if at >= row["began"] - 60]
                act["outage_s"][name] = round(judge.longest_silence(times, act["at"] - 0.5, until, now)[0], 1)
            act["ran_after"] = row["ran_after"]
            did = self._ops_of(row, doer.acts, index)
            act["operations"] = [f"{op['kind']} of {op['vm']} to {op['target_host']}: {op['state']}" for op in did]
        return row

    def _ops_of(self, row, acts, index):
        """What hostd did after this fault and before the next; by the hosts' clocks, which are this machine's unless they jumped."""
        begin, end = acts[index]["at"], acts[index + 1]["at"] if index + 1 < len(acts) else float("inf")
        return [op for op in row["operations"] if op["id"] != row.get("operation")
                and (begin <= op["created_ms"] / 1000 < end or (index == len(acts) - 1 and op["created_ms"] / 1000 < acts[0]["at"]))]

    def _online(self, doer, wrong_before):
        """The cheap judgement of every round: records go on in their order, and nothing ran twice."""
        found = [("double-run", text) for text in judge.double_runs(self.watch.since(doer.row["began"] - 2))]
        for name, vm in self.watch.vms.items():
            for text in vm.wrong[wrong_before[name]:]:
                kind = "records-lost" if text.startswith("records lost") else "double-run" if text.startswith("two runners") else "guest-error"
                found.append((kind, f"{name}: {text}"))
            self.state["vms"][name]["acknowledged"] = vm.acknowledged
        return found

    def _record(self, doer, row, found):
        words = "; ".join(text for _, text in found) or WELL
        for act in doer.acts:
            act["judge"] = words
            act["healed"] = row.get("healed", 0.0)
            self.state["faults"].append(act)
            self.say(_line(act) + ("" if not found else f"; VIOLATION: {words}"))
        row["skipped"] = doer.skipped
        for act in doer.skipped:
            self.say(f"   not made: {act['kind']} on {act['host']}: {act['why'].splitlines()[0] if act['why'] else ''}")
        for note in filter(None, (row.get("note"), f"ended by themselves: {row['rebooted']}" if row["rebooted"] else "")):
            self.say(f"   {note}")
        self.state["rounds"].append(row)
        self.state["next_round"] = doer.todo.number + 1
        self.save()
        count = len(self.state["faults"])
        pace = (time.time() - self.started) / max(1, count - self.before)
        self.say(f"   settled {row['settled_s']} s after the mending; {count} faults, {pace:.1f} s each; "
                 f"this machine was {row['machine_late_s']} s late at worst")

    def _violation(self, todo, row, found):
        folder = self.evidence / evidence.name_of(todo.number, found[0][1])
        self.say(f"VIOLATION in round {todo.number}: {'; '.join(text for _, text in found)}")
        evidence.keep(self.lab, folder, row, self.watch, self.cell)
        self.say(f"   evidence: {folder}")
        for kind, text in found:
            self._add(kind, text, folder, todo.number)
        self.reported = 0.0
        self.save()
        if self.args.stop_on_violation:
            raise Over("ended by --stop-on-violation")

    def _recover(self):
        """What did not settle: everything is switched off and on; if that does not help either, a new lab."""
        self.say("power cycle of every machine")
        try:
            rounds.power_cycle(self.lab)
            left = self.cell.settle(self.watch, AGAIN_SECONDS)
        except LabError as err:
            left = [("unsettled", str(err)[-300:])]
        if not left:
            self.say("everything runs again")
            return
        self.state["notes"].append(f"not even after a power cycle: {'; '.join(text for _, text in left)}")
        self.say(self.state["notes"][-1] + "; a new lab")
        folder = evidence.keep(self.lab, self.evidence / evidence.name_of(self.state["next_round"] - 1, "after the power cycle"),
                               {"began": time.time() - 600}, self.watch, self.cell)
        self.say(f"   evidence: {folder}")
        self.end_watch()
        self.state["acknowledged_before"] += sum(vm["acknowledged"] for vm in self.state["vms"].values())
        self.state.update(vms={}, judged_until={}, judged_bytes=0, judged_at=0.0, collector=0)
        boot(self.lab, self.args, self.say)
        self.begin()

    # The judge.

    def judge(self, final):
        """Every VM's records against its legs: the holder's while it runs, both once it is stopped. Between two judgements only what is new."""
        size = os.path.getsize(ledger.log_path(self.lab))
        for name, vm in self.watch.vms.items():
            until = vm.newest
            hosts = [host.id for host in self.lab.hosts] if final else list(self.watch.hosts_of(name))[:1]
            said = self.cell.judge(name, hosts, 0 if final else self.state["judged_bytes"])
            unseen = max(0, said["first"] - self.state["judged_until"].get(name, 0) - 1)
            self.state["not_judged"] += unseen
            self.state["judged_until"][name] = until
            self.state["verdicts"].append({"vm": name, "final": final, "at": time.time(), "hosts": hosts, **said, "not_judged": unseen})
            self.say(f"   judge of {name}: {said['words']}" + (f"; {unseen} were overwritten before" if unseen else ""))
            if not said["clean"]:
                self._not_clean(name, said)
        self.state["judged_bytes"], self.state["judged_at"] = size, time.time()
        self.save()

    def _not_clean(self, name, said):
        kind = "records-lost" if said["lost"] else "double-run" if said["double"] else "not-clean"
        row = self.state["rounds"][-1] if self.state["rounds"] else {"began": self.state["began"]}
        folder = self.evidence / evidence.name_of(self.state["next_round"] - 1, f"judge-{name}-{kind}")
        evidence.keep(self.lab, folder, row, self.watch, self.cell)
        evidence.keep_legs(self.lab, folder)
        self.say(f"   evidence: {folder}")
        self._add(kind, f"{name}: {said['words']}", folder, judged=True)

    def _add(self, kind, text, folder="", number=None, judged=False):
        number = self.state["next_round"] - 1 if number is None else number
        self.state["violations"].append({"round": number, "class": kind, "text": text, "evidence": str(folder), "at": time.time(), "judged": judged})

    def fail(self, text):
        self._add("unsettled", text)

    # All of it.

    def save(self):
        state.save(self.state, self.args.json)
        if self.args.html and time.time() - self.reported > REPORT_SECONDS:
            report.write(self.state, self.args.html)
            self.reported = time.time()

    def go(self):
        hosts, voters = [host.id for host in self.lab.hosts], [node.id for node in self.lab.voters]
        end = time.monotonic() + self.args.minutes * 60
        first = self.state["next_round"]
        for todo in plan.rounds(self.state["seed"], self.args.vms, hosts, voters, first):
            if time.monotonic() > end or (self.args.faults and len(self.state["faults"]) >= self.args.faults) or \
                    (self.args.rounds and todo.number >= first + self.args.rounds):
                return
            self.round(todo)
            if time.time() - self.state["judged_at"] > JUDGE_SECONDS:
                self.judge(final=False)

    def finish(self, interrupted):
        """Healed, settled, stopped, judged: whatever the campaign ended with."""
        self.say("the end: mending, settling, judging")
        rounds.heal(self.lab)
        left = self.cell.settle(self.watch, FINAL_SECONDS if interrupted else SETTLE_SECONDS)
        for kind, text in left if not self.state["violations"] else []:
            self._add(kind, text)
        for name in self.cell.macs:
            with contextlib.suppress(LabError):
                self.cell.do("vm", "stop", name)
        self.judge(final=True)
        with contextlib.suppress(LabError):
            self.state["notes"].append("audit: " + self.cell.job.hostctl(["audit", "verify"]).strip().splitlines()[-1])
        for name, vm in self.watch.vms.items():
            self.state["vms"][name]["acknowledged"] = vm.acknowledged
        self.end_watch()
        end_collector(self.state["collector"])
        if not self.state["violations"]:
            self.cell.remove()
            ledger.log_path(self.lab).unlink(missing_ok=True)
            self.state["collector"] = 0


def _line(act):
    beside = f" beside {', '.join(act['beside'])}" if act["beside"] else ""
    during = f" during {act['meanwhile']}" if act["meanwhile"] != "idle" else ""
    silence = ", ".join(f"{name} {seconds} s" for name, seconds in act["outage_s"].items())
    return f"#{act['n']} {act['kind']} on {act['host']}{beside}{during}: silence {silence}" + "".join(f"; {op}" for op in act["operations"])


def boot(lab, args, say):
    """A lab for the campaign, or a new one instead of one that does not come back."""
    lab.timing, lab.pool = args.timing, args.pool
    proc.mark(lab.name)
    work.up(lab, 2, say, build=not args.no_build)


def main(args, say):
    lab = Lab(args.name)
    work.choose_build(lab, args)
    said = state.load(args.json, args) if args.resume else state.fresh(args, " ".join(["./lab", *sys.argv[1:]]))
    if args.dry_run:
        return dry_run(said, args)
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with cluster.locked(lab):
        own = not lab.state_file.exists() or not lab.load().complete
        if own:
            if args.resume:
                raise LabError(f"--resume: lab {lab.name} is not up, and its VMs are gone with it")
            boot(lab, args, say)
        proc.mark(lab.name)
        campaign = Campaign(lab.load(), args, said, say)
        try:
            return carry_out(campaign, say)
        finally:
            campaign.end_watch()
            if own and not args.keep and not said["violations"]:
                cluster.clean(lab)


def carry_out(campaign, say):
    said, interrupted = campaign.state, False
    try:
        campaign.begin()
        campaign.go()
    except KeyboardInterrupt:
        interrupted = True
        say("interrupted")
    except Over as why:
        say(str(why))
    try:
        if campaign.watch:
            campaign.finish(interrupted)
    except LabError as err:
        said["notes"].append(f"the end failed: {err}")
        campaign.fail(f"the end failed: {str(err)[-400:]}")
        say(said["notes"][-1])
    finally:
        said["ended"] = time.time()
        campaign.reported = 0.0
        campaign.save()
    say("totals: " + ", ".join(f"{name} {number}" for name, number in said["totals"].items()))
    for note in said["notes"]:
        say(note)
    return 1 if said["violations"] or not said["faults"] else 0


def dry_run(said, args):
    """The plan alone, as many rounds as are asked for, or as fit the time at the pace that is aimed at."""
    hosts, voters = ["a1", "b1"], ["w", "a1", "b1"]
    faults, first = 0, said["next_round"]
    wanted = args.faults or int(args.minutes * 60 / 18)
    for todo in plan.rounds(said["seed"], len(macs(args.vms)), hosts, voters, first):
        if faults >= wanted or (args.rounds and todo.number >= first + args.rounds):
            break
        print(todo.text())
        faults += todo.faults
    print(f"{faults} faults")
    return 0
