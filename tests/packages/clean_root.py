"""A clean Debian 12 for the packages: minbase and what they depend on, cached; each run works on a layer above it."""
import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lab"))

from lablib.plan import CACHE  # noqa: E402
from lablib.proc import run  # noqa: E402
from lablib.rootfs import SOURCES  # noqa: E402

LAYOUT = 1  # a new number when the code below makes the root differently
KEEP = 1    # older roots that stay
# Debian's own bookkeeping, which every installation of any package writes.
BOOKS = re.compile(r"var/lib/dpkg/(status|status-old|available|lock|lock-frontend|triggers/.*|info/format|info|updates)$"
                   r"|var/lib/dpkg$|var/lib/systemd/catalog/database$|var/log/(dpkg|alternatives)\.log$|var/cache/(ldconfig/.*|man/.*|debconf/.*)$|etc/ld\.so\.cache$")


def depends(debs):
    """Names of the packages that these need: the first alternative of each, as apt takes it."""
    names = set()
    for deb in debs:
        for word in run(["dpkg-deb", "-f", str(deb), "Pre-Depends", "Depends"]).stdout.replace("\n", ",").split(","):
            name = re.sub(r"^(Pre-Depends|Depends):", "", word.strip()).split("|")[0].split("(")[0].strip()
            if name and not name.startswith("bascule-"):
                names.add(name)
    return sorted(names)


def base(debs):
    """Folder of the root that all runs with these dependencies share."""
    names = depends(debs)
    key = hashlib.sha256(repr([LAYOUT, names, SOURCES]).encode()).hexdigest()[:16]
    folder = CACHE / f"packages-{key}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        made = pathlib.Path(tempfile.mkdtemp(prefix="packages-tmp.", dir=CACHE))
        try:
            # systemd: units and tmpfiles are looked at in the root itself. man pages stay: they are part of what is tested.
            run(["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory", "--dpkgopt=force-unsafe-io",
                 "--include=" + ",".join(sorted({*names, "systemd", "bash"})), "bookworm", str(made / "root"),
                 *[line for line in SOURCES if "backports" not in line]], timeout=1800, env={"TMPDIR": str(made)})
            os.replace(made / "root", folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        for old in sorted(CACHE.glob("packages-*"), key=lambda path: path.stat().st_mtime, reverse=True)[1 + KEEP:]:
            shutil.rmtree(old)
    return folder


class Root:
    """The base with a layer above it that takes what is written."""

    def __init__(self, folder, work):
        self.base, self.path, self.upper = folder, work / "root", work / "upper"
        for made in (self.path, self.upper, work / "work"):
            made.mkdir()
        run(["mount", "-t", "overlay", "bascule-packages", str(self.path),
             "-o", f"lowerdir={folder},upperdir={self.upper},workdir={work / 'work'}"])
        run(["mount", "-t", "proc", "proc", str(self.path / "proc")])

    def close(self):
        run(["umount", str(self.path / "proc")], check=False)
        run(["umount", str(self.path)], check=False)

    def inside(self, *argv, check=True, timeout=120, **kw):
        return run(["chroot", str(self.path), *argv], check=check, timeout=timeout,
                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}, **kw)

    def changes(self):
        """What differs from the base: a sentence for each path."""
        return sorted(found for top, folders, files in os.walk(self.upper) for name in [*folders, *files]
                      for found in self._change(pathlib.Path(top, name)))

    def _change(self, new):
        name = str(new.relative_to(self.upper))
        old = self.base / name
        if BOOKS.match(name):
            return
        there, was = new.lstat(), old.lstat() if os.path.lexists(old) else None
        if there.st_mode & 0o170000 == 0o020000 and there.st_rdev == 0:  # the layer's mark for "removed"
            yield f"{name} is gone"
        elif was is None:
            yield f"{name} is left"
        elif (there.st_mode, there.st_uid, there.st_gid) != (was.st_mode, was.st_uid, was.st_gid):
            yield f"{name} has another mode or owner"
        elif new.is_symlink() and os.readlink(new) != os.readlink(old):
            yield f"{name} leads elsewhere"
        elif new.is_file() and not new.is_symlink() and new.read_bytes() != old.read_bytes():
            yield f"{name} is changed"


@contextlib.contextmanager
def root(debs):
    folder = base(debs)
    CACHE.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="packages-run.", dir=CACHE))
    made = Root(folder, work)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(work, ignore_errors=True)
