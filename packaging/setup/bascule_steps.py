"""What the steps of bascule-setup apply are made of: commands and files, shown before they are done."""
import difflib
import os
import pathlib
import shlex
import shutil
import stat
import subprocess

COMMAND_SECONDS = 600
BLANK_BYTES = 1 << 20
DONE, FAILED, WRONG, WAITS = 0, 1, 2, 3


class Stop(Exception):
    """It does not go on: a sentence of what is so, and what to do."""

    def __init__(self, text, code=FAILED):
        super().__init__(text)
        self.code = code


class System:
    """What steps do things with. Tests put another one in its place."""

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

    def write(self, path, text):
        """Whole or not at all, with the mode of the file that was there."""
        fresh, mode = f"{path}.new", stat.S_IMODE(os.stat(path).st_mode) if os.path.exists(path) else 0o644
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(fresh, mode)
        os.replace(fresh, path)

    def keep(self, path):
        """A copy of what is there, under a name that is free: which."""
        number = 1
        while self.exists(f"{path}.before-{number}"):
            number += 1
        shutil.copy2(path, f"{path}.before-{number}")
        return f"{path}.before-{number}"

    def folder(self, path):
        os.makedirs(path, mode=0o755, exist_ok=True)

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
            return "its first MiB is not empty" if any(os.read(fd, BLANK_BYTES)) else ""
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


class Write:
    """A file, by its text. `check` is a command that must take it first, with {} for its name."""

    def __init__(self, path, text, check=None):
        self.path, self.text, self.check = path, text, check

    def shown(self, system):
        before = system.read(self.path)
        lines = [f"write {self.path}" + (f"; what is there now is kept as {self.path}.before-N" if before is not None else "")]
        if self.check:
            lines.append("+ " + shlex.join(word.replace("{}", f"{self.path}.try") for word in self.check) + "   # before it takes the place")
        changed = difflib.unified_diff((before or "").splitlines(), self.text.splitlines(), lineterm="", n=0)
        return lines + ["    " + line for line in changed if not line.startswith(("---", "+++", "@@"))]

    def act(self, system):
        system.folder(os.path.dirname(self.path))
        if self.check:
            tried = f"{self.path}.try"
            system.write(tried, self.text)
            code, said = system.run([word.replace("{}", tried) for word in self.check])
            system.run(["rm", "-f", tried])
            if code != 0:
                raise Stop(f"{self.path} is not written: {said.strip()}")
        if system.read(self.path) not in (None, self.text):
            print(f"  kept as {system.keep(self.path)}")
        system.write(self.path, self.text)


class Step:
    """`actions()` gives what is left to do: nothing when it is done. It may raise Stop."""

    def __init__(self, name, actions):
        self.name, self.actions = name, actions
