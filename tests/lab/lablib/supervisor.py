"""What stands beside the machines of a lab, one process per lab: their firmware, which boots a machine again whose kernel
ended by itself (a watchdog, a panic, a reboot), and their power switch. `lab up` starts it, `lab down` ends it with all else.

It never takes the lab's lock: each node has its own (see uml.py), so it neither waits for a command nor is in its way."""
import os
import subprocess
import sys
import time

from . import net, power_switch, remote, uml
from .plan import HERE, PLAN, Lab
from .proc import MARK, LabError, wait_for

LOOK_SECONDS = 0.5
START_SECONDS = 60
STAYS_OFF = ("power-off", "halt")  # asked for from inside: a real machine does not come back from these either


def start(lab):
    """Runs it in the lab's namespace and waits until its power switch answers."""
    with open(lab.run / "supervisor.log", "wb") as log:
        process = subprocess.Popen(net.inside(lab, [sys.executable, "-m", "lablib.supervisor", lab.name]), cwd=HERE,
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                                   env=dict(os.environ, **{MARK: lab.name}))

    def answers():
        if process.poll() is not None:
            raise LabError("the lab's supervisor ended:\n" + (lab.run / "supervisor.log").read_text()[-2000:])
        return power_switch.ask(lab, lab.hosts[0].id, "status")[0] != 0
    wait_for("the power switch to answer", answers, START_SECONDS)


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Firmware:
    """Looks after the nodes of one lab."""

    def __init__(self):
        self.dead_since = {}

    def look(self, lab):
        for node in lab.nodes.values():
            uml.prefer(lab, node)
            if uml.wanted(node) != "on" or uml.is_on(lab, node):
                self.dead_since.pop(node.id, None)
            elif node.id not in self.dead_since:
                self.dead_since[node.id] = time.monotonic()
                self._ended(lab, node)
            elif time.monotonic() - self.dead_since[node.id] >= PLAN["machine"]["bios_seconds"]:
                if uml.boot(lab, node, only_if_wanted=True):
                    say(f"{node.id} boots again")

    def _ended(self, lab, node):
        why = uml.why_ended(node)
        say(f"{node.id} ended by itself: {why or 'its console does not say why'}")
        uml.note_end(node, why)
        remote.drop(lab, node)
        if why in STAYS_OFF or not PLAN["machine"]["reboot"]:
            uml.leave_off(lab, node)


def main(name):
    lab = Lab(name).load()
    power_switch.serve(lab)
    firmware = Firmware()
    while lab.state_file.exists():
        try:
            firmware.look(lab)
        except (LabError, OSError) as err:
            say(f"error: {err}")
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1])
