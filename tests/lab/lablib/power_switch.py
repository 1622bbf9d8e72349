"""The hosts' power switch: `POST /<host>/<action>` over HTTP on the management network, with the lab's password. It stands
with the supervisor and knows nothing of what runs in a host. /usr/sbin/fence_bascule_lab in every host speaks to it.
A cell must do without one too, so it is absent (it refuses everything) until a lab or a scenario asks for it."""
import hmac
import http.server
import threading
import time

from . import net, remote, uml
from .plan import PLAN, Lab
from .proc import LabError, run

MODES = ("absent", "works", "silent", "refuses")
ACTIONS = ("status", "on", "off", "reboot")
SILENT_SECONDS = 600  # longer than whoever asks waits
ASK_SECONDS = 30


def address():
    return PLAN["power"]["address"]


def port():
    return PLAN["power"]["port"]


def password(lab):
    return (lab.run / "power-password").read_text()


class PowerSwitch:
    """The switch in another mode for as long as the block lasts."""

    def __init__(self, lab, mode="works"):
        if mode not in MODES:
            raise LabError(f"power switch: no mode {mode!r}; there are {', '.join(MODES)}")
        self.lab, self.mode, self.before = lab, mode, lab.power_switch

    def __enter__(self):
        self._set(self.mode)
        return self

    def __exit__(self, *_):
        self._set(self.before)

    def _set(self, mode):
        self.lab.power_switch = mode
        self.lab.save()


def ask(lab, plug, action, seconds=ASK_SECONDS):
    """(HTTP status, answer) of the switch, asked as a host would; 0 when there was none in time."""
    url = f"http://{address()}:{port()}/{plug}/{action}"
    done = run(net.inside(lab, ["curl", "-s", "-m", str(seconds), "-X", "POST", "-w", "\n%{http_code}", "--config", "-", url]),
               input=f'header = "Authorization: Bearer {password(lab)}"\n', check=False, timeout=seconds + 5)
    body, _, status = done.stdout.rpartition("\n")
    return int(status or 0), body.strip()


def state(lab, node):
    """A machine that boots again by itself, or that is stuck after a panic, is not off."""
    return "off" if uml.wanted(node) in ("off", "switched-off") and not uml.is_on(lab, node) else "on"


def switch(lab, node, action):
    """Carries it out and returns the state after it. Off is only said once no process of the machine is left."""
    if action in ("off", "reboot"):
        remote.drop(lab, node)
        uml.power_off(lab, node, "switched-off")
    if action in ("on", "reboot"):
        uml.boot(lab, node)
    return state(lab, node)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        _, plug, action = (self.path.split("/") + ["", ""])[:3]
        code, answer = self._answer(plug, action)
        body = f"{answer}\n".encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        print(f"{time.strftime('%H:%M:%S')} power switch: {plug} {action} for {self.client_address[0]}: {code} {answer}", flush=True)

    def _answer(self, plug, action):
        lab = Lab(self.server.lab_name).load()
        given = self.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self.server.password}".encode()):
            return 401, "wrong password"
        node = lab.nodes.get(plug)
        if node is None or node.kind != "host" or action not in ACTIONS:
            return 404, "no such host or action"
        broken = [kind for kind, host in lab.faults if host == plug] + ["power-" + lab.power_switch]
        if "power-silent" in broken:
            time.sleep(SILENT_SECONDS)
            return 503, "too late"
        if "power-refuses" in broken or "power-absent" in broken:
            return 503, "refused"
        try:
            return 200, switch(lab, node, action)
        except LabError as err:
            return 500, str(err).splitlines()[0]

    def log_message(self, *_args):
        pass  # one line per request is enough


def serve(lab):
    """Answers in threads of this process, until it ends."""
    server = http.server.ThreadingHTTPServer((address(), port()), _Handler)
    server.daemon_threads = True
    server.lab_name = lab.name
    server.password = password(lab)
    threading.Thread(target=server.serve_forever, daemon=True).start()
