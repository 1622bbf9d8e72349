"""The lab's power switch: what a BMC or a switched socket is to real hosts. Runs in the lab's namespace as a process of its
own; the hosts' fence agent asks it. It confirms "off" only when the kernel's whole process group is gone.

    python3 -m lablib.power_switch LAB (works|silent|refuses)"""
import hmac
import os
import socketserver
import subprocess
import sys
import time

from . import net, uml
from .plan import HERE, PLAN, Lab
from .proc import MARK, LabError

PORT = 7790


def address():
    return PLAN["links"]["mgmt"]["outer"].split("/")[0]


def password(lab):
    return lab.nodes["w"].unique("power")


class PowerSwitch:
    """Started for as long as the block lasts."""

    def __init__(self, lab, mode="works"):
        self.lab, self.mode, self.child = lab, mode, None

    def __enter__(self):
        argv = net.inside(self.lab, [sys.executable, "-m", "lablib.power_switch", self.lab.name, self.mode])
        self.child = subprocess.Popen(argv, cwd=HERE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                      env=dict(os.environ, **{MARK: self.lab.name}))
        if self.child.stdout.readline().strip() != "ready":
            raise LabError("the power switch did not start")
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait(10)


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        words = self.rfile.readline(256).decode("ascii", "replace").split()
        if self.server.mode == "silent":
            time.sleep(3600)
        self.wfile.write((self.answer(words) + "\n").encode())

    def answer(self, words):
        lab = Lab(self.server.name).load()
        if len(words) != 3 or not hmac.compare_digest(words[0], password(lab)):
            return "error: not allowed"
        action, node = words[1], lab.nodes.get(words[2])
        if self.server.mode == "refuses" or node is None:
            return "error: refused"
        if action == "off":
            if ["power-cut", node.id] not in lab.faults:
                lab.faults.append(["power-cut", node.id])  # so that nothing boots it but `lab heal`
                lab.save()
            uml.power_off(lab, node)
        elif action in ("on", "reboot"):
            return "error: the lab boots its hosts itself"
        return "ok on" if uml.is_on(lab, node) else "ok off"


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main():
    with Server((address(), PORT), Handler) as server:
        server.name, server.mode = sys.argv[1:3]
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
