"""A client's VM for the scenarios: the guest image with its ledger, asked only from outside."""
import json
import time

from . import demo, ledger, remote, uml
from .plan import HERE
from .proc import LabError, wait_for

NAME = "ledger"
GO_ON = 60  # seconds for the guest to acknowledge more records


class ClientVm:
    """The demo's VM on the shared lab. One per file of scenarios; `remove` leaves the cell as it was found."""

    def __init__(self, lab):
        self.lab, self.job, self.collector = lab, demo.Demo(lab), None

    # What hostctl says.

    def ask(self, *words, seconds=60):
        return json.loads(self.job.hostctl(["--json", *words], seconds))

    def do(self, *words, seconds=240):
        """A change, followed to its end; what hostctl's last line says of it."""
        return self.job.ctl([*words, "--reason", "scenario", "--watch"], seconds)

    def failback(self, seconds=60):
        """Home by a person's decision, as soon as hostd says that it is ready: a host that just came back is not."""
        def ready():
            report = self.ask("vm", "show", NAME).get("failback")
            return report is None or report["ready"]
        wait_for("the VM to be ready to go back", ready, seconds, every=0.5)
        return self.do("vm", "failback", NAME)

    def refused(self, *words, user="operator", reason="scenario", seconds=90, watch=False):
        """hostctl's sentence for a change that must not be accepted, or with `watch` must not end done."""
        args = [*words, *(["--reason", reason] if reason else []), *(["--watch"] if watch else [])]
        try:
            said = self.job.hostctl(args, seconds, user)
        except LabError as err:
            return str(err)
        raise LabError(f"{' '.join(args)}: was accepted: {said}")

    def start_operation(self, *words):
        """Begins a change and does not wait; the operation's id."""
        return self.ask(*words, "--reason", "scenario")["operation"]

    def operation(self, ident):
        return self.ask("op", "show", ident)

    def until_step(self, ident, step, seconds=90):
        """Waits until the operation is at a step (or past it)."""
        def there():
            steps = self.operation(ident)["steps"]
            at = next(index for index, seen in enumerate(steps) if seen["kind"] == step)
            return all(seen["state"] != "pending" for seen in steps[:at])
        wait_for(f"{ident} to come to {step}", there, seconds, every=0.2)

    def ended(self, ident, seconds=240):
        """The operation once it is over."""
        def over():
            try:
                seen = self.operation(ident)
            except LabError:
                return None  # the hosts may just not answer
            return seen if seen["state"] in ("done", "undone", "needs-operator") else None
        return wait_for(f"{ident} to end", over, seconds, every=0.5)

    # What is the case.

    def domain(self, host):
        """What libvirt on a host says of the VM: running, paused, ..., absent, or unknown when it says nothing. A host that is off has none."""
        node = self.lab.node(host)
        if not uml.is_on(self.lab, node):
            return "absent"
        done = remote.execute(self.lab, node, ["virsh", "domstate", NAME], check=False)
        if done.returncode == 0:
            return done.stdout.strip()
        # The connection may break during the look-up: then its own error follows on these words.
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ") and "Domain not found" not in line]
        return "absent" if lines == [f"error: failed to get domain '{NAME}'"] else "unknown"

    def runs_only_on(self, host, seconds=60):
        """One domain in the whole cell, running on this host, and its records go on."""
        for node in self.lab.hosts:
            want = "running" if node.id == host else "absent"
            wait_for(f"the VM to be {want} on {node.id}", lambda n=node, w=want: self.domain(n.id) == w, seconds, every=0.5)
        self.records_go_on()

    def where(self):
        def known():
            states = {node.id: self.domain(node.id) for node in self.lab.hosts}
            return "unknown" not in states.values() and states
        states = wait_for("libvirt on each host to answer", known, 60, every=0.5)
        found = [host for host, state in states.items() if state != "absent"]
        if len(found) != 1:
            raise LabError(f"the VM is on {found or 'no host'}")
        return found[0]

    def other(self, host):
        return next(node.id for node in self.lab.hosts if node.id != host)

    def records_go_on(self, count=20):
        return ledger.wait_records(self.lab, count, GO_ON)

    def stands_still(self, seconds=4):
        """True when the guest acknowledges nothing for a while (its last reports are let in first)."""
        time.sleep(2)
        before = ledger.reports(self.lab)
        time.sleep(seconds)
        return ledger.reports(self.lab) == before

    def in_sync(self, seconds=120):
        """Both legs by DRBD's word, and in the record."""
        def synced():
            legs = [leg for volume in self.ask("volume", "list") if volume["vm"] == NAME for leg in volume["legs"]]
            return legs and self.ask("vm", "show", NAME)["protected"] and all((leg.get("disk"), leg.get("replication"), leg.get("out_of_sync_kib")) == ("UpToDate", "Established", 0)
                                for leg in legs)
        wait_for("both legs to be in sync", synced, seconds, every=0.5)

    # Its life.

    def prepare(self):
        """The VM runs on a1 and its records come in, whatever a scenario before this one left."""
        self.job.hosts_ready()
        self.collector = self.collector or ledger.start_collector(self.lab)
        if not any(image["name"] == NAME for image in self.ask("image", "list")):
            self.job.ctl(["image", "import", NAME, "{image}", "--reason", "scenario", "--watch"])
        for operation in self.ask("op", "list"):
            if operation["state"] in ("running", "undoing"):
                self.ended(operation["id"])
        self.do("apply", "-f", str(HERE / "demo-vm.yaml"))
        self.records_go_on()

    def remove(self):
        """Stops and judges the VM, then removes it and its image. Returns the judge's sentence."""
        self.do("vm", "stop", NAME)
        ledger.stop_collector(self.collector)
        self.collector = None
        verdict = self.job.judge(NAME, "system")
        self.do("vm", "remove", NAME)
        self.do("image", "remove", NAME)
        ledger.log_path(self.lab).unlink()
        return verdict


