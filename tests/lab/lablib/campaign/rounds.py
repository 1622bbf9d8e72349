"""One round: what goes on meanwhile, the faults, the mending. Nothing here judges."""
import contextlib
import time

from .. import faults, net, power_switch, remote, uml
from ..plan import PLAN
from ..proc import LabError, wait_for
from . import plan

STEP_SECONDS = 25     # for a migration to come to its step
RESYNC_SECONDS = 2    # for a leg that was cut off to begin to come back
SYNC_SECONDS = 20     # for the legs, before a disk is broken
ANSWER_SECONDS = 3    # without a sample for longer, a host is away
RESTARTS = 3          # automatic starts after which a person's migration begins the count anew: after six nobody starts the VM;
TOO_MANY = 4          # after so many it does before anything else breaks
MOVED_SECONDS = 60    # for that migration
OUTSIDE = ("power-cut", "hang", "link-repl", "link-mgmt", "link-client", "links-all", "site-fibre", "witness-lost", "witness-and-link",
           *plan.SWITCHES)  # made without a word to the host


class Doer:
    """Carries out one round of the plan; what it did is in `row` and `acts`."""

    def __init__(self, lab, cell, watch, todo, number):
        self.lab, self.cell, self.watch, self.todo = lab, cell, watch, todo
        self.acts, self.skipped, self.number = [], [], number
        self.row = {"round": todo.number, "plan": todo.text(), "style": todo.style, "meanwhile": todo.meanwhile, "began": time.time()}

    def run(self):
        works = any(act.kind in plan.SWITCHES for act in self.todo.acts)
        with power_switch.PowerSwitch(self.lab) if works else contextlib.nullcontext():
            self._meanwhile()
            for act in self.todo.acts:
                self._act(act)
            self._hold()
            self.row["healed"] = time.time()
            self.row["broken"] = [f"{kind} on {host}" for kind, host in self.lab.faults]
            heal(self.lab)

    def _meanwhile(self):
        names = list(self.cell.macs)
        restarts = {name: self.cell.ask("vm", "show", name).get("right", {}).get("restarts", 0) for name in names}
        self._rest([name for name in names if restarts[name] >= TOO_MANY])
        tired = [name for name in names if restarts[name] == RESTARTS]
        if self.todo.meanwhile not in ("migration", "failback"):
            if not tired or self.todo.meanwhile != "idle":
                return
            self.row["meanwhile"] = "migration"  # a person looks
        vm = tired[0] if tired else names[self.todo.vm]
        if self.todo.meanwhile == "failback" and not tired:
            vm = next((name for name in names if list(self.watch.hosts_of(name)) == [self.cell.homes(name)[1]]), vm)
        self.row["vm"] = vm
        try:
            self._migrate(vm)
        except LabError as err:
            self.row["note"] = f"no migration: {str(err)[-300:]}"

    def _rest(self, names):
        """A person moves a VM whose guest has often ended by itself, and so looks at it; the moves are not part of the round."""
        for name in names:
            with contextlib.suppress(LabError):
                here = self.cell.ask("vm", "show", name)["host"]
                self.cell.do("vm", "migrate", name, "--to", next(host.id for host in self.lab.hosts if host.id != here), seconds=MOVED_SECONDS)

    def _migrate(self, vm):
        shown = self.cell.ask("vm", "show", vm)
        here = shown["host"]
        there = next(host.id for host in self.lab.hosts if host.id != here)
        back = self.todo.meanwhile == "failback" and shown.get("failback", {}).get("ready")
        words = ("vm", "failback", vm) if back else ("vm", "migrate", vm, "--to", there)
        ident = self.cell.ask(*words, "--reason", "campaign")["operation"]
        self.row["operation"] = ident
        self.row["moves"] = f"{vm} from {here} to {there} by {words[1]}"

        def there_yet():
            op = self.cell.ask("op", "show", ident)
            at = next((i for i, step in enumerate(op["steps"]) if step["kind"] == self.todo.step), 0)
            return op["state"] != "running" or all(step["state"] != "pending" for step in op["steps"][:at])
        wait_for(f"{ident} to come to {self.todo.step}", there_yet, STEP_SECONDS, every=0.15)

    def _act(self, act):
        if act.healed_s >= 0:
            time.sleep(act.wait_s)
            heal(self.lab)
            if self.todo.meanwhile == "resync":
                self._resyncing()
            time.sleep(act.healed_s)
        else:
            time.sleep(act.wait_s)
        host = self._host_for(act)
        done = {"n": self.number + len(self.acts), "round": self.todo.number, "kind": act.kind, "host": host,
                "meanwhile": self.row["meanwhile"], "beside": [f"{kind} on {other}" for kind, other in self.lab.faults], "at": time.time(),
                "ran_before": {name: self.watch.hosts_of(name) for name in self.cell.macs}}
        if self.row["meanwhile"] == "resync":
            done["drbd"] = {one.host: {minor: " ".join(seen) for minor, seen in one.drbd.items()} for one in self.watch.now().values()}
        try:
            if act.kind not in OUTSIDE and not self._answers(host):
                raise LabError("the host is away")
            if act.kind in plan.DISKS and not self.lab.faults:
                wait_for("both legs to be in sync", self._in_sync, SYNC_SECONDS, every=0.3)  # else it takes the last good leg: S2
            began = time.time()
            faults.make(self.lab, act.kind, self.lab.node(host))
        except LabError as err:
            self.skipped.append({**done, "why": str(err)[-300:]})
            return
        done["at"] = max(done["at"], began)
        done["made_s"] = round(time.time() - done["at"], 2)
        self.acts.append(done)

    def _in_sync(self):
        with contextlib.suppress(LabError, ValueError):
            return all(vm["protected"] for vm in self.cell.ask("vm", "list") if vm["name"] in self.cell.macs)
        return False

    def _host_for(self, act):
        """QEMU is killed where there is one."""
        if act.kind == "qemu-killed":
            now = self.watch.now()
            hosts = [act.host, *(host.id for host in self.lab.hosts if host.id != act.host)]
            return next((host for host in hosts if host in now and now[host].vms), act.host)
        return act.host

    def _answers(self, host):
        node = self.lab.node(host)
        return uml.is_on(self.lab, node) and (node.kind != "host" or host in self.watch.now(ANSWER_SECONDS))

    def _resyncing(self):
        """Until some leg is on its way back."""
        def coming():
            return any(seen[0] not in ("WFConnection", "StandAlone") for one in self.watch.now().values() for seen in one.drbd.values())
        with contextlib.suppress(LabError):
            wait_for("a leg to come back", coming, RESYNC_SECONDS, every=0.1)

    def _hold(self):
        since = time.time()
        end = since + self.todo.hold_s
        while time.time() < end:
            time.sleep(min(0.3, max(0.0, end - time.time())))
            if self.todo.until_running and time.time() > since + 2 and self._no_more_comes(since + 2):
                break

    def _no_more_comes(self, since):
        """Every VM's records go on, or no host is left on which they could."""
        return all(self.watch.goes_on(name, since) for name in self.cell.macs) or (time.time() > since + 3 and not self.watch.now())

def heal(lab):
    """All of it. Hosts that must boot do so side by side; the order is faults.heal's own otherwise."""
    net.heal(lab)
    for kind, host in lab.faults:
        node = lab.node("w" if kind.startswith("witness-") else host)
        if kind in faults.STAYS_DEAD and not uml.is_on(lab, node):
            remote.drop(lab, node)
            (node.dir / "frozen").unlink(missing_ok=True)
            uml.boot_words(node, {word: None for word in faults.BOOT_WORDS})
            uml.boot(lab, node)
    faults.heal(lab)


def rebooted(lab):
    """Hosts that ended by themselves since this was last asked, and why."""
    out = {}
    for node in lab.nodes.values():
        if (node.dir / "ended").exists():
            out[node.id] = (node.dir / "ended").read_text() or "its console does not say why"
        uml.ended(lab, node, forget=True)
    return out


def power_cycle(lab):
    """When healing does not help: every machine is switched off and on, whatever it says."""
    for node in lab.nodes.values():
        with contextlib.suppress(LabError):
            remote.drop(lab, node)
            uml.power_off(lab, node)
        (node.dir / "frozen").unlink(missing_ok=True)
    for node in lab.nodes.values():
        uml.boot(lab, node)
    time.sleep(PLAN["machine"]["bios_seconds"])
    faults.heal(lab)
    for node in lab.nodes.values():
        faults.power_on(lab, node)
