"""A lab whose hosts are booted from an image of images/host, for tests/image and tests/upgrade."""
import os
import pathlib
import shutil
import subprocess

from lablib import demo, own
from lablib.case import main
from lablib.client_vm import ClientVm
from lablib.plan import CACHE, PROJECT
from lablib.proc import LabError, run

BUILD_SECONDS = 5400


def _long(argv, seconds, environment=None):
    """Runs what takes long; its last lines are the error when it fails."""
    done = subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=seconds, check=False, env=dict(os.environ, **(environment or {})))
    if done.returncode != 0:
        raise LabError(f"{argv[0]}: exit {done.returncode}\n" + "\n".join(done.stdout.splitlines()[-30:]))
    return done.stdout


def packages(folder, commit=None, given="BASCULE_PACKAGES"):
    """Folder of the project's packages: the ones that the environment names, or built here; of a commit, as they were then."""
    if os.environ.get(given):
        return pathlib.Path(os.environ[given])
    out = folder / f"packages-{commit or 'tree'}"
    if not out.exists():
        _long([PROJECT / "packaging/build", out, *([commit] if commit else [])], BUILD_SECONDS)
    return out


def build_image(out, debs, *options):
    return _long([PROJECT / "images/host/build", out, "--packages", debs, "--cache", CACHE, *options], BUILD_SECONDS)


def needs(debs):
    """What these packages depend on: the first alternative of each."""
    names = set()
    for deb in debs.glob("bascule-host*.deb"):
        said = run(["dpkg-deb", "-f", str(deb), "Depends"]).stdout
        names |= {word.split("|")[0].split("(")[0].strip() for word in said.replace("\n", " ").split(",")}
    return sorted(name for name in names if name and not name.startswith("bascule-"))


def machines(name, image, fresh=False):
    """Two sites and a witness from an image's tarball; `fresh`: of nobody's cell yet. A lab that is up already is taken when $LAB_NAME names it."""
    return own.boot(name, str(image), fresh)


def boot(name, image):
    """The machines, and the client's VM on a1, its records coming in."""
    vm = ClientVm(machines(name, image))
    demo.Demo(vm.lab).hosts_ready()
    vm.prepare()
    return vm


def scenarios(names, name, folder, kept=False):
    """A file's scenarios; its lab and its work folder are gone in the end."""
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        main(names)
    finally:
        own.end(name)
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
