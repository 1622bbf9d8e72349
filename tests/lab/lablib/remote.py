"""Commands in a host, over the lab's own link: works whatever is cut or broken on the others."""
import subprocess

from . import net
from .proc import LabError, run

LOST = 255  # ssh's own exit code: the command may or may not have run


def argv(lab, node, command, tty=False, options=()):
    """The ssh command line that runs `command` (a list) in the node; a master connection is kept per node. `options` come before
    the lab's own, and so win."""
    ssh = lab.run / "ssh"
    options = ["-F", "none", *[word for option in options for word in ("-o", option)], "-i", str(ssh / "user"),
               "-o", f"UserKnownHostsFile={ssh / 'known'}", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ControlMaster=auto", "-o", f"ControlPath={ssh}/%h",
               "-o", "ControlPersist=yes", "-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=5",
               "-o", "ServerAliveCountMax=6", "-o", "LogLevel=ERROR"]
    if tty:
        options.append("-t")
    return net.inside(lab, ["ssh", *options, f"root@{node.address('lab')}", "--", *[quote(word) for word in command]])


def quote(word):
    """ssh joins the words and the host's shell splits them again: single quotes keep each word one word."""
    return "'" + word.replace("'", "'\"'\"'") + "'"


def drop(lab, node):
    """Ends the master connection (before a power cut, so that the next command dials anew)."""
    ssh = lab.run / "ssh"
    if (ssh / node.address("lab")).exists():
        run(net.inside(lab, ["ssh", "-F", "none", "-o", f"ControlPath={ssh}/%h", "-O", "exit", f"root@{node.address('lab')}"]),
            check=False, timeout=10)
        (ssh / node.address("lab")).unlink(missing_ok=True)


def execute(lab, node, command, *, check=True, timeout=60, **kw):
    """Runs a command in a node; returns CompletedProcess."""
    return run(argv(lab, node, command), check=check, timeout=timeout, **kw)


def is_reachable(lab, node):
    try:
        return execute(lab, node, ["true"], check=False, timeout=60).returncode == 0
    except LabError:
        return False


def attach(lab, node, command, tty=False):
    """Runs a command with this process's stdin, stdout and stderr; returns its exit code."""
    return subprocess.run(argv(lab, node, command, tty), check=False).returncode
