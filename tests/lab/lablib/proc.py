"""Processes and errors: every command is an argv list with a timeout, nothing goes through a shell."""
import os
import signal
import subprocess
import time

MARK = "BASCULE_LAB"  # every process of a lab carries BASCULE_LAB=<name> in its environment

REAP_SECONDS = 3


class LabError(Exception):
    """Something the user should read; printed without a traceback."""


def run(argv, *, timeout=60, check=True, text=True, env=None, **kw):
    """Runs argv, returns CompletedProcess with stdout and stderr; an exit code other than 0 is an error with its last lines."""
    kw.setdefault("stdin", subprocess.DEVNULL if "input" not in kw else None)
    if kw["stdin"] is None:
        del kw["stdin"]
    kw.setdefault("stdout", subprocess.PIPE)
    kw.setdefault("stderr", subprocess.PIPE)
    full_env = dict(os.environ, **(env or {}))
    try:
        done = subprocess.run(argv, timeout=timeout, text=text, env=full_env, **kw)
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(argv[:6])}: no end after {timeout} s") from None
    except OSError as err:
        raise LabError(f"{argv[0]}: {err.strerror}") from None
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout or "") if text else ""
        tail = "\n".join(said.strip().splitlines()[-15:])
        raise LabError(f"{' '.join(argv[:8])}: exit {done.returncode}\n{tail}")
    return done


def wait_for(what, probe, seconds, every=0.25):
    """Calls probe() until it returns something true; a LabError names `what` when the time is over."""
    end = time.monotonic() + seconds
    while True:
        got = probe()
        if got:
            return got
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {seconds} s")
        time.sleep(every)


def _pids():
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def group_of(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rsplit(b")", 1)[1].split()
        return None if fields[0] in (b"Z", b"X") else int(fields[2])
    except (OSError, IndexError):
        return None


def group_members(group):
    return [pid for pid in _pids() if group_of(pid) == group]


def kill_group(group, seconds=20):
    """Kills a process group and waits until none of it is left (zombies of other parents do not count)."""
    def gone():
        members = group_members(group)
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            os.waitpid(-group, os.WNOHANG)
        except ChildProcessError:
            pass
        return not members
    wait_for(f"process group {group} to die", gone, seconds, every=0.05)


def marked_pids(name):
    """Processes whose environment says that they belong to lab `name`, this one excepted."""
    want = f"{MARK}={name}".encode()
    found = []
    for pid in _pids():
        if pid == os.getpid():
            continue
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ:
                if want in environ.read().split(b"\0"):
                    found.append(pid)
        except OSError:
            continue
    return found


def kill_all(find, seconds=20):
    """Kills the groups and pids that find() returns until it returns none, and waits until their parents have let them go."""
    own_group = os.getpgrp()
    killed = set()

    def gone():
        pids = [pid for pid in find() if group_of(pid) is not None]
        killed.update(pids)
        for pid in pids:
            group = group_of(pid)
            try:
                if group == pid and group != own_group:
                    os.killpg(group, signal.SIGKILL)
                else:
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not pids

    def reaped():
        for pid in killed:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
        return not any(os.path.exists(f"/proc/{pid}") for pid in killed)
    wait_for("the lab's processes to die", gone, seconds, every=0.1)
    try:
        wait_for("the dead processes to go", reaped, REAP_SECONDS, every=0.05)
    except LabError:
        pass  # zombies of a parent that does not wait for its children: nothing of the lab is left in them


def mark(name):
    """From now on children of this process belong to lab `name` and die with it."""
    os.environ[MARK] = name
