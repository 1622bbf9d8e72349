"""The campaign's VMs in the lab's cell: made, asked about, judged."""
import contextlib
import json
import os
import shutil
import tempfile
import time

from .. import cluster, demo, ledger, proc, remote
from ..proc import LabError, run, wait_for
from . import judge

IMAGE = "campaign"
VOLUME, VOLUME_MIB = "system", 320   # the ledger uses what lies between 64 and 320 MiB: 65,536 records, 22 minutes at full rate
MEMORY_MIB = 96
MOST = 3  # VMs of a campaign
PATIENCE_SECONDS = 20
MADE_SECONDS = 240
ASK_SECONDS = 30
LEG_SECONDS = 180


def names(count):
    return [f"c{index + 1}" for index in range(count)]


def macs(count):
    return {name: f"52:54:00:ca:00:{index + 1:02x}" for index, name in enumerate(names(count))}


class Cell:
    def __init__(self, lab, count):
        self.lab, self.job, self.macs = lab, demo.Demo(lab), macs(count)
        self.minors = {}

    def ask(self, *words, seconds=ASK_SECONDS):
        return json.loads(self.job.hostctl(["--json", *words], seconds))

    def do(self, *words, seconds=MADE_SECONDS):
        return self.job.hostctl([*words, "--reason", "campaign", "--watch"], seconds)

    def homes(self, name):
        """(nominal, peer): every second VM is at home on the other site."""
        hosts = [host.id for host in self.lab.hosts]
        first = list(self.macs).index(name) % 2
        return hosts[first], hosts[1 - first]

    # Their life.

    def make(self):
        """The image and the VMs, also those that an interrupted campaign left; all run at the end."""
        self.job.hosts_ready()
        if not any(image["name"] == IMAGE for image in self.ask("image", "list")):
            self.do("image", "import", IMAGE, str(cluster.program(self.lab, "guest.img")))
        there = {vm["name"] for vm in self.ask("vm", "list")}
        for name, mac in [(name, mac) for name, mac in self.macs.items() if name not in there]:
            nominal, peer = self.homes(name)
            definition = {"kind": "vm", "name": name, "project": "campaign", "cpus": 1, "memory_mib": MEMORY_MIB, "power": "on",
                          "protection": "ha", "hosts": {"nominal": nominal, "peer": peer}, "networks": [{"network": "clients", "mac": mac}],
                          "volumes": [{"name": VOLUME, "size_mib": VOLUME_MIB, "image": IMAGE}]}
            with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
                json.dump(definition, file)
                file.flush()
                self.job.hostctl(["apply", "-f", file.name, "--reason", "campaign"])
        wait_for("the VMs to be made", self._made, MADE_SECONDS * len(self.macs), every=1)
        self.minors = {volume["vm"]: str(volume["minor"]) for volume in self.ask("volume", "list")}

    def _made(self):
        ops = self.ask("op", "list")
        failed = [op for op in ops if op["kind"] == "vm-create" and op["vm"] in self.macs and op["state"] in ("undone", "needs-operator")]
        if failed:
            raise LabError(f"{failed[0]['vm']} was not made: {failed[0].get('error')}")
        return not any(op["kind"] == "vm-create" and op["state"] == "running" for op in ops)

    def remove(self):
        for name in self.macs:
            with contextlib.suppress(LabError):
                self.do("vm", "off", name)
            self.do("vm", "remove", name)
        self.do("image", "remove", IMAGE)

    def clear(self):
        """What a campaign before this one left: VMs, their collector, its log."""
        self.job.hosts_ready()
        for pid in proc.marked_pids(self.lab.name):
            if _is_collector(pid):
                end_collector(pid)
        for name in [vm["name"] for vm in self.ask("vm", "list") if vm["name"] in macs(MOST)]:
            with contextlib.suppress(LabError):
                self.do("vm", "off", name)
            self.do("vm", "remove", name)
        ledger.log_path(self.lab).unlink(missing_ok=True)

    # What is not as it must be once everything is healed; empty when all is well.

    def missing(self, watch, since):
        try:
            alive = sum(host["alive"] for host in self.ask("host", "list"))
            vms = {vm["name"]: vm for vm in self.ask("vm", "list")}
            volumes = self.ask("volume", "list")
            ops = self.ask("op", "list")
        except (LabError, ValueError, KeyError) as err:
            return [("unsettled", f"the cell does not answer: {str(err)[-300:]}")]
        out = [("unsettled", f"{alive} hosts are alive")] if alive != len(self.lab.hosts) else []
        out += [("stuck", text) for text in judge.operations(ops)[0]]
        for name in self.macs:
            state = vms.get(name, {}).get("state", "gone")
            where = watch.hosts_of(name)
            if state != "running":
                out.append(("not-running", f"{name} is {state}"))
            if len(where) != 1 or list(where.values()) != ["running"]:
                out.append(("not-running", f"{name} is seen by libvirt as {where or 'absent everywhere'}"))
            elif not watch.goes_on(name, since):
                out.append(("not-running", f"{name} runs and acknowledges nothing"))
        for volume in volumes:
            legs = [(leg["host"], leg.get("disk"), leg.get("replication"), leg.get("out_of_sync_kib")) for leg in volume["legs"]]
            if volume["vm"] in self.macs and not (volume["insync"] and all(leg[1:] == ("UpToDate", "Established", 0) for leg in legs)):
                out.append(("not-in-sync", f"{volume['vm']}/{volume['name']}: {'in' if volume['insync'] else 'not in'} the record, {legs}"))
        return out

    def open_windows(self):
        """Volumes whose configuration in some kernel still allows two primaries, though no migration is at work."""
        out = []
        for node in self.lab.hosts:
            shown = remote.execute(self.lab, node, ["drbdsetup", "show"], check=False).stdout
            if "allow-two-primaries" in shown.replace("allow-two-primaries no", "").replace("allow-two-primaries\tno", ""):
                out.append(("window-open", f"allow-two-primaries is set on {node.id} and no migration is at work"))
        return out

    def settle(self, watch, seconds):
        """Waits until nothing is missing; what still is when the time is over."""
        since, end, look = time.time(), time.monotonic() + seconds, time.monotonic() + PATIENCE_SECONDS
        while True:
            left = self.missing(watch, since)
            if not left:
                return self.open_windows()
            if time.monotonic() > end:
                return left
            if time.monotonic() > look:
                look += PATIENCE_SECONDS
                self._start_tired()
            time.sleep(0.4)

    def _start_tired(self):
        """A guest that ended six times in a row is started by nobody but a person, as documented: the campaign is that person."""
        for name in self.macs:
            with contextlib.suppress(LabError, ValueError):
                if "times in a row" in self.ask("why", name)["why"]:
                    self.do("vm", "start", name, seconds=PATIENCE_SECONDS)

    # The judge.

    def snapshot(self, start):
        """The log from byte `start` on, without what a collector is just writing: taken before the leg is read."""
        copy = self.lab.run / "judged.log"
        with open(ledger.log_path(self.lab), "rb") as log, open(copy, "wb") as out:
            log.seek(start)
            shutil.copyfileobj(log, out)
        return copy

    def judge(self, name, hosts, start=0):
        """ledger-check over the legs on these hosts and the log from byte `start` on."""
        log = self.snapshot(start)
        argv = [str(cluster.program(self.lab, "ledger-check")), "--json", "--vm", self.macs[name], "--log", str(log)]
        try:
            for host in hosts:
                node = self.lab.node(host)
                argv += ["--leg", str(ledger.fetch_leg(self.lab, node, ledger.leg_device(self.lab, node, name, VOLUME)))]
            done = run(argv, check=False, timeout=LEG_SECONDS)
            return judge.verdict(done.stdout if done.returncode in (0, 1) else done.stderr)
        except LabError as err:
            return judge.verdict(str(err))
        finally:
            log.unlink(missing_ok=True)


def collector(lab, known):
    """The pid of the collector: the one of an interrupted campaign if it still runs."""
    return known if _is_collector(known) else ledger.start_collector(lab).pid


def _is_collector(pid):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/comm") as comm:
            return comm.read().startswith("ledger-collect")
    return False


def end_collector(pid):
    with contextlib.suppress(OSError):
        os.kill(pid, 15)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        wait_for("the collector to end", lambda: not os.path.exists(f"/proc/{pid}"), 10)
