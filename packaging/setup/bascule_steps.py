"""What the steps of bascule-setup apply are made of: commands and files, shown before they are done."""
import difflib
import grp
import os
import pathlib
import pwd
import shlex
import stat
import subprocess

COMMAND_SECONDS = 600
BLANK_BYTES, BLANK_NOT = 1 << 20, "its first MiB is not empty"
DONE, FAILED, WRONG, WAITS = 0, 1, 2, 3


class Stop(Exception):
    """It does not go on: a sentence of what is so, and what to do."""

    def __init__(self, text, code=FAILED):
        super().__init__(text)
        self.code = code


class System:
    """What steps do things with. Tests put another one in its place."""

    # A unit has a file here from before one of its own files is changed until it was restarted, so that an interruption loses no restart.
    # A reboot, after which all began with the files as they are, clears it.
    marks = "/run/bascule-setup"

    def run(self, argv):
        """(exit code, output)"""
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                                  timeout=COMMAND_SECONDS, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"})
        except FileNotFoundError:
            return 127, f"there is no {argv[0]}"
        except (OSError, subprocess.TimeoutExpired) as err:
            return 126, str(err)
        return done.returncode, done.stdout

    def read(self, path):
        try:
            return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def exists(self, path):
        return os.path.lexists(path)

    def access(self, path):
        """(mode, user, group) of a file, names as far as they are known."""
        at = os.stat(path)
        return stat.S_IMODE(at.st_mode), _name(pwd.getpwuid, at.st_uid), _name(grp.getgrgid, at.st_gid)

    def write(self, path, text, mode=None, owner=None):
        """Whole or not at all; with the mode and the owner of the file that was there, unless others are named."""
        self.folder(os.path.dirname(path))
        there = os.stat(path) if os.path.exists(path) else None
        user, group = (there.st_uid, there.st_gid) if there else (-1, -1)
        if owner:
            try:
                user, group = pwd.getpwnam(owner[0]).pw_uid, grp.getgrnam(owner[1]).gr_gid
            except KeyError as err:
                raise Stop(f"{path} is not written: {err.args[0]}; is the package installed that makes this user?") from None
        fresh = f"{path}.new"
        if self.exists(fresh):
            os.unlink(fresh)  # of a run that was interrupted
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchown(file.fileno(), user, group)
            os.fchmod(file.fileno(), mode if mode is not None else stat.S_IMODE(there.st_mode) if there else 0o644)
            os.fsync(file.fileno())
        os.replace(fresh, path)
        flush(os.path.dirname(path))

    def keep(self, path):
        """What is there, also under a name that was free: which. It is the same file, not a copy that could be half of it."""
        number = 1
        while self.exists(f"{path}.before-{number}"):
            if os.path.samefile(path, f"{path}.before-{number}"):
                return f"{path}.before-{number}"  # of a run that was interrupted
            number += 1
        os.link(path, f"{path}.before-{number}")
        return f"{path}.before-{number}"

    def folder(self, path, mode=0o755):
        os.makedirs(os.path.dirname(path) or "/", mode=0o755, exist_ok=True)
        if not os.path.isdir(path):
            os.mkdir(path, mode)

    def mark(self, unit):
        self.folder(self.marks, 0o700)
        pathlib.Path(self.marks, unit).touch()

    def marked(self, unit):
        return self.exists(f"{self.marks}/{unit}")

    def unmark(self, unit):
        pathlib.Path(self.marks, unit).unlink(missing_ok=True)

    def block_device(self, path):
        try:
            return stat.S_ISBLK(os.stat(path).st_mode)
        except OSError:
            return False

    def in_use(self, path):
        """Why the kernel will not give it to us alone; empty: it will, and its first bytes are zeros."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
        except OSError as err:
            return f"it is in use ({err.strerror})"
        try:
            return BLANK_NOT if any(os.read(fd, BLANK_BYTES)) else ""
        finally:
            os.close(fd)


def _name(find, number):
    try:
        return find(number)[0]
    except KeyError:
        return str(number)


def flush(path):
    """A file, or the names in a folder."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Run:
    def __init__(self, *argv):
        self.argv = [str(word) for word in argv]

    def shown(self, _system):
        return ["+ " + shlex.join(self.argv)]

    def act(self, system):
        code, said = system.run(self.argv)
        if code != 0:
            raise Stop(f"{shlex.join(self.argv)}: exit {code}\n{said.strip()}")


class InForce(Run):
    """The last command of those that make a unit take its files anew."""

    def __init__(self, unit, *argv):
        super().__init__(*argv)
        self.unit = unit

    def act(self, system):
        super().act(system)
        system.unmark(self.unit)


class Write:
    """A file, by its text. `check` is a command that must take it first, with {} for its name; `unit` reads it when it begins."""

    def __init__(self, path, text, check=None, unit=None):
        self.path, self.text, self.check, self.unit = path, text, check, unit

    def kept(self, system, text):
        return f"; what is there now is kept as {self.path}.before-N" if system.read(self.path) not in (None, text) else ""

    def shown(self, system):
        lines = [f"write {self.path}" + self.kept(system, self.text)]
        if self.check:
            lines.append("+ " + shlex.join(word.replace("{}", f"{self.path}.try") for word in self.check) + "   # before it takes the place")
        changed = difflib.unified_diff((system.read(self.path) or "").splitlines(), self.text.splitlines(), lineterm="", n=0)
        return lines + ["    " + line for line in changed if not line.startswith(("---", "+++", "@@"))]

    def act(self, system):
        if self.check:
            tried = f"{self.path}.try"
            system.write(tried, self.text)
            code, said = system.run([word.replace("{}", tried) for word in self.check])
            system.run(["rm", "-f", tried])
            if code != 0:
                raise Stop(f"{self.path} is not written: {said.strip()}")
        self.put(system, self.text)

    def put(self, system, text, mode=None, owner=None):
        if self.unit:
            system.mark(self.unit)
        if system.read(self.path) not in (None, text):
            print(f"  kept as {system.keep(self.path)}")
        system.write(self.path, text, mode, owner)


class Copy(Write):
    """A file as another one is, readable by whom `mode` and `owner` (user, group; as it comes if None) say. It may be a key: it is never shown."""

    def __init__(self, source, path, mode, owner=None, unit=None):
        super().__init__(path, None, unit=unit)
        self.source, self.mode, self.owner = source, mode, owner

    def done(self, system):
        text = system.read(self.source)
        if text is None or system.read(self.path) != text:
            return False
        mode, *owner = system.access(self.path)
        return mode == self.mode and self.owner in (None, tuple(owner))

    def shown(self, system):
        whose = f" {':'.join(self.owner)}" if self.owner else ""
        return [f"copy {self.source} to {self.path}, mode {self.mode:o}{whose}" + self.kept(system, system.read(self.source))]

    def act(self, system):
        text = system.read(self.source)
        if text is None:
            raise Stop(f"{self.source} cannot be read; {self.path} was not written")
        self.put(system, text, self.mode, self.owner)


class Step:
    """`actions()` gives what is left to do: nothing when it is done. It may raise Stop."""

    def __init__(self, name, actions):
        self.name, self.actions = name, actions
