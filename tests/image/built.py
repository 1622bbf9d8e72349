"""The project's packages and an image of them, built here or given."""
import os
import pathlib
import subprocess

from lablib.plan import CACHE, PROJECT
from lablib.proc import LabError

BUILD_SECONDS = 5400


def _long(argv, seconds, environment=None):
    """Runs what takes long; its last lines are the error when it fails."""
    done = subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=seconds, check=False, env=dict(os.environ, **(environment or {})))
    if done.returncode != 0:
        raise LabError(f"{argv[0]}: exit {done.returncode}\n" + "\n".join(done.stdout.splitlines()[-30:]))
    return done.stdout


def packages(folder):
    """Folder of the project's packages: the ones that the environment names, or built here."""
    if os.environ.get("BASCULE_PACKAGES"):
        return pathlib.Path(os.environ["BASCULE_PACKAGES"])
    out = folder / "packages"
    if not out.exists():
        _long([PROJECT / "packaging/build", out], BUILD_SECONDS)
    return out


def image(out, debs, *options):
    return _long([PROJECT / "images/host/build", out, "--packages", debs, "--cache", CACHE, *options], BUILD_SECONDS)
