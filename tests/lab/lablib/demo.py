"""The demo: the main job through hostctl, each step with its time and result."""
import json
import pathlib
import sys
import time
import tomllib

from . import case, cluster, ledger, net, proc, web, work
from .plan import HERE, Lab
from .proc import LabError, run, wait_for

STEP_SECONDS = 180


class Demo:
    """The steps' functions share the lab and the collector."""

    def __init__(self, lab):
        self.lab = lab
        self.environment = None

    def hostctl(self, args, seconds=STEP_SECONDS, user="operator"):
        words = [str(cluster.program(self.lab, "hostctl")), *args]
        return run(net.inside(self.lab, words), env=cluster.user_environment(self.lab, user), timeout=seconds).stdout

    def ctl(self, args, seconds=STEP_SECONDS):
        known = {"here": str(HERE)}
        if any("{image}" in word for word in args):
            known["image"] = str(cluster.program(self.lab, "guest.img"))
        said = self.hostctl([word.format(**known) for word in args], seconds)
        lines = [line for line in said.splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""

    def hosts_ready(self):
        """Each host answers and sees all of them alive."""
        def sees_all(host):
            try:
                said = self.hostctl(["--endpoint", f"https://{host.address('mgmt')}:8443", "--json", "host", "list"], 30)
            except LabError:
                return False
            return sum(seen["alive"] for seen in json.loads(said)) == len(self.lab.hosts)
        wait_for("the hosts to answer", lambda: all(sees_all(host) for host in self.lab.hosts), 60, every=1)
        return ", ".join(host.id for host in self.lab.hosts)

    def console(self):
        """The page is served to who opens it as `lab web` says: by its name, with a certificate, the CA checked."""
        if not pathlib.Path(self.lab.build, "console", "index.html").is_file():
            return "it was not built: that needs npm"
        host = self.lab.hosts[0]
        with web.relay(self.lab, host, 0) as port:
            page = web.curl(self.lab, "operator", web.address(host, port))
        if page[0] != 200 or "<title>Bascule" not in page[1]:
            raise LabError(f"{web.address(host)}: {page[0]} {page[1][:300]}")
        return f"after ./lab demo --keep, ./lab web shows it in this machine's browser at {web.address(host)}"

    def records(self, count, seconds):
        return f"{ledger.wait_records(self.lab, count, seconds)} acknowledged"

    def judge(self, vm, volume):
        legs = []
        for host in self.lab.hosts:
            device = ledger.leg_device(self.lab, host, vm, volume)
            legs.append(ledger.fetch_leg(self.lab, host, device))
        return ledger.judge(self.lab, legs).strip().splitlines()[0]


def _step(steps, name, function):
    """Runs one step; prints and records its name, time and result. True when it went well."""
    print(f"      ...   {name}", end="\r" if sys.stdout.isatty() else "\n", flush=True)
    start = time.monotonic()
    try:
        result, ok = function() or "", True
    except LabError as err:
        result, ok = str(err), False
    seconds = time.monotonic() - start
    steps.append({"name": name, "ok": ok, "seconds": round(seconds, 1)})
    lines = result.splitlines() or [""]
    print(f"{seconds:7.1f} s {'ok    ' if ok else 'FAILED'} {name}" + (f": {lines[0]}" if lines[0] else ""), flush=True)
    for line in lines[1:]:
        print(f"                  {line}", flush=True)
    return ok


def main(args, say):
    lab = Lab(args.name)
    work.choose_build(lab, args)
    steps = []
    with open(HERE / "demo.toml", "rb") as file:
        planned = tomllib.load(file)["step"]
    with cluster.locked(lab):
        try:
            ok = _run(lab, steps, planned, args, say)
        finally:
            if not args.keep:
                ok = _step(steps, "the lab is taken down and nothing is left", lambda: cluster.down(lab)) and all(
                    step["ok"] for step in steps)
    if args.keep and lab.complete:
        print(f"\nThe lab is up. Its web console in this machine's browser: ./lab web, then {web.address(lab.hosts[0])};\n"
              "./lab web says which certificate to import. The lab goes with ./lab down.")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as out:
            json.dump({"steps": steps, "ok": ok}, out, indent=1)
            out.write("\n")
    total = sum(step["seconds"] for step in steps)
    good = sum(step["ok"] for step in steps)
    print(f"\n{good} of {len(planned) + 1 + (not args.keep)} steps ok, {total:.0f} s" + ("" if ok else ": the demo FAILED"))
    return 0 if ok else 1


def _run(lab, steps, planned, args, say):
    def boot():
        proc.mark(lab.name)
        if lab.state_file.exists():
            cluster.down(lab)
        work.up(lab, 2, say, build=not args.no_build)
        ledger.start_collector(lab)
        return ", ".join(lab.nodes)
    if not _step(steps, "two sites and a witness are built and booted", boot):
        return False
    demo = Demo(lab)
    for step in planned:
        arguments = {key: value for key, value in step.items() if key not in ("name", "do")}
        if not _step(steps, step["name"], lambda: getattr(demo, step["do"])(**arguments)):
            print(case.explain(lab))
            return False
    return True
