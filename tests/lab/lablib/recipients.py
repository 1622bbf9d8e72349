"""Who gets a lab's alerts: a mail server on the management network, and a modem's spool folder on each host. For as long as the
block lasts; the hosts' hostd is started anew before and after."""
import contextlib
import json
import shutil
import subprocess

from . import net, remote
from .plan import HERE, PLAN
from .proc import LabError, wait_for

SPOOL = "/var/spool/sms/outgoing"
PASSWORD = "a pass word+/=\u00fc"  # as tests/contract/alert_servers.py knows it
CONFIG = "/etc/bascule/hostd.toml"


class Recipients:
    def __init__(self, lab):
        self.lab, self.folder, self.server, self.before = lab, lab.run / "mail", None, {}
        self.address = PLAN["links"]["mgmt"]["outer"].split("/")[0]

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)  # of an earlier try
        self.folder.mkdir()
        self.server = subprocess.Popen(net.inside(self.lab, ["/usr/bin/python3", "-B", str(HERE / "mail_server.py"), str(self.folder),
                                                              self.address]), stdin=subprocess.PIPE, text=True)
        wait_for("the mail server", (self.folder / "mails").exists, 20)
        for host in self.lab.hosts:
            self.before[host.id] = self._in(host, "cat", CONFIG)
            self._in(host, "mkdir", "-p", SPOOL)
            self._put(host, "/etc/bascule/mail-ca.pem", (self.folder / "ca.pem").read_text())
            self._put(host, "/etc/bascule/mail-password", PASSWORD + "\n")
            self._configure(host, self.before[host.id] + self._lists())
        return self

    def __exit__(self, *_):
        for host in self.lab.hosts:
            with contextlib.suppress(LabError):  # one that is off gets its own again when it boots
                self._configure(host, self.before[host.id])
        self.server.stdin.close()
        self.server.wait(20)

    def _lists(self):
        return f"""
[alerts.to.mail]
way = "mail"
url = "smtp://{self.address}:2525"
from = "bascule@lab.test"
to = ["noc@lab.test"]
username = "bascule"
password_file = "/etc/bascule/mail-password"
ca = "/etc/bascule/mail-ca.pem"
[alerts.to.modem]
way = "sms-spool"
path = "{SPOOL}"
to = ["+49301234567"]
severity = "critical"
"""

    def _in(self, host, *command, **more):
        return remote.execute(self.lab, host, list(command), **more).stdout

    def _put(self, host, path, text):
        self._in(host, "install", "-m", "600", "/dev/stdin", path, input=text)

    def _configure(self, host, text):
        self._put(host, CONFIG, text)
        self._in(host, "hostd", "--check")
        self._in(host, "systemctl", "restart", "hostd")

    # What has come.

    def mails(self, alert):
        lines = (self.folder / "mails").read_text(encoding="utf-8").splitlines()
        return [mail for mail in map(json.loads, lines) if mail["alert"] == alert]

    def messages(self, host, alert):
        """(when, text) of the SMS of an alert that wait for the modem of a host."""
        found = []
        for line in self._in(host, "find", SPOOL, "-name", f"bascule-{alert}.*", "-printf", "%T@ %p\n").splitlines():
            when, path = line.split(" ", 1)
            found.append((float(when), self._in(host, "cat", path)))
        return found

    def stall(self, seconds, alert):
        """The next mail of an alert whose id begins like that stands still before it is taken. Others may be on their way, too."""
        (self.folder / "stalled").unlink(missing_ok=True)
        self.server.stdin.write(f"stall {seconds} {alert}\n")
        self.server.stdin.flush()

    def stalled(self):
        return (self.folder / "stalled").exists()
