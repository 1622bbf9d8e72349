"""Where an operator works: beside the machines' management network, with bascule-setup, ssh and hostctl, and a CA that has no network.

Commands are those of docs/operations.md, word for word: one that stands not there is an error. Only its addresses and names are replaced."""
import os
import pathlib
import re

from lablib import demo, net
from lablib.case import expect
from lablib.plan import PROJECT
from lablib.proc import run

SETUP = PROJECT / "packaging/setup/bascule_setup.py"
ADDRESSES = {"192.0.2.11": "10.77.1.11", "192.0.2.21": "10.77.1.21", "192.0.2.5": "10.77.1.5", "198.51.100.": "10.77.2."}
TRYING_OUT = ("--yes", "--anyway")  # nobody is here to say yes, and no kernel of this kind has KVM
PKI = "/etc/bascule/pki"
SECONDS = 400


def _section():
    text = (PROJECT / "docs/operations.md").read_text()
    return " ".join(re.search(r"^## Install, in an hour$(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1].split())


class Desk:
    def __init__(self, lab, work):
        self.lab, self.folder, self.text = lab, work / "desk", _section()
        self.nodes = {node.id: node for node in lab.hosts} | {"witness": lab.node("w")}
        (self.folder / "bin").mkdir(parents=True, exist_ok=True)
        ssh = lab.run / "ssh"
        config = self.folder / "ssh-config"
        config.write_text(f"Host 10.77.1.*\n User root\n IdentityFile {ssh / 'user'}\n UserKnownHostsFile {ssh / 'known'}\n LogLevel ERROR\n")
        for name, line in (("ssh", f"exec /usr/bin/ssh -F {config} \"$@\""), ("bascule-setup", f"exec /usr/bin/python3 -B {SETUP} \"$@\"")):
            (self.folder / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
            (self.folder / "bin" / name).chmod(0o755)
        self.environment = dict(os.environ, PATH=f"{self.folder / 'bin'}:{os.environ['PATH']}")

    def documented(self, command):
        """The command's words, of this lab's addresses."""
        expect(command in self.text, f"docs/operations.md, 'Install, in an hour', has no '{command}'")
        for theirs, ours in ADDRESSES.items():
            command = command.replace(theirs, ours)
        return command.split()

    def says(self, command, code=0, **names):
        """What a documented command says here. The CA's commands run without any network."""
        words = [names.get(word, word) for word in self.documented(command)]
        if words[0] == "hostctl":
            return self.hostctl(*words[1:], *([] if words[1] == "health" else ["--reason", "installing", "--watch"]))
        place = ["unshare", "--net"] if words[1] == "ca" else []
        if words[1:3] == ["ca", "sign"]:
            words.append("--yes")
        done = run([*place, *words] if place else net.inside(self.lab, words), check=False, cwd=self.folder, env=self.environment, timeout=SECONDS)
        expect(done.returncode == code, f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def hostctl(self, *words):
        return demo.Demo(self.lab).hostctl(list(words), SECONDS)

    def cell_toml(self):
        """The example, for these machines; the CA's machine has the same."""
        text = (PROJECT / "packaging/setup/cell.toml").read_text()
        for theirs, ours in ADDRESSES.items():
            text = text.replace(theirs, ours)
        for host in self.lab.hosts:
            text = text.replace(f"/dev/disk/by-id/nvme-example-{host.id}", "/dev/ubdb")
        text = text.replace('# device = "/dev/watchdog"', 'device = "/dev/watchdog1"').replace("# accept_softdog = false", "accept_softdog = true")
        (self.folder / "cell.toml").write_text(text)
        return text

    def _ssh(self, name, *command, **more):
        return run(net.inside(self.lab, ["ssh", self.nodes[name].address("mgmt"), "--", *command]), env=self.environment, check=False, timeout=SECONDS, **more)

    def carry(self, path, name, text):
        """A file to a machine."""
        done = self._ssh(name, f"umask 077; cat >{path}", input=text)
        expect(done.returncode == 0, f"{path} was not carried to {name}: {done.stderr}")

    def _as(self, name, command):
        """A documented command's words, with this machine's name instead of a1."""
        words = self.documented(command)
        return [name if before == "--as" else word for before, word in zip(["", *words], words)]

    def on(self, name, command, *more):
        """(exit code, output) of a documented command on a machine, which it names instead of a1."""
        done = self._ssh(name, *self._as(name, command), *more)
        return done.returncode, done.stdout + done.stderr

    def apply(self, name):
        return self.on(name, "bascule-setup apply --answers cell.toml --as a1", *TRYING_OUT)

    def sign(self, name):
        """The request to the CA, the certificates back."""
        request = self._ssh(name, "cat", f"{PKI}/host.csr").stdout
        (self.folder / "host.csr").write_text(request)
        self.says("bascule-setup ca sign --folder ca --answers cell.toml --machine a1 host.csr", a1=name)
        (self.folder / "host.pem").rename(self.folder / f"{name}.pem")
        for source, target in ((f"{name}.pem", "host.pem"), ("ca/ca.pem", "ca.pem"), ("ca/api-ca.pem", "api-ca.pem")):
            self.carry(f"{PKI}/{target}", name, (self.folder / source).read_text())

    def killed(self, name, seconds):
        """As apply, but ended with all that it started by kill -9, `seconds` after the first thing that it does; 137 then."""
        words = self._as(name, "bascule-setup apply --answers cell.toml --as a1")
        done = self._ssh(name, f"""{{ setsid sh -c 'echo $$ >/run/apply.pid; exec {' '.join([*words, *TRYING_OUT])}' 2>&1; echo "exit $?"; }} |
            while IFS= read -r line; do
              echo "$line"
              case $line in "  + "*|"  write "*|"  copy "*) sleep {seconds}; kill -9 -- -$(cat /run/apply.pid) 2>/dev/null ;; esac
            done""")
        code = re.search(r"^exit (\d+)$", done.stdout, re.MULTILINE)
        expect(code, f"{name}: apply did not end\n{done.stdout}{done.stderr}")
        return int(code[1]), done.stdout

    def people(self):
        """An operator: her key, her certificate, and what hostctl takes of both."""
        self.says("bascule-setup ca request alice")
        self.says("bascule-setup ca sign --folder ca --operator alice alice.csr")
        for source, target in (("ca/ca.pem", "ca.pem"), ("alice.pem", "operator.pem"), ("alice.key", "operator.key")):
            pathlib.Path(self.lab.pki, target).write_text((self.folder / source).read_text())
