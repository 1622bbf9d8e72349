"""The base that all labs share, made once and cached: a root of Debian packages and a prepared backing disk."""
import contextlib
import fcntl
import hashlib
import os
import shutil

from . import kernel
from .plan import CACHE, DISKS, HERE, PLAN, package_list
from .proc import LabError, run

KEEP = 2  # bases that no lab uses; older ones are removed when a new one is made
NO_PATHS = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
SOURCES = ("deb http://deb.debian.org/debian bookworm main", "deb http://deb.debian.org/debian bookworm-updates main",
           "deb http://deb.debian.org/debian-security bookworm-security main",
           "deb http://deb.debian.org/debian bookworm-backports main")  # what root-preferences takes from it
PARTS = ("packages-host.txt", "root-customize", "root-init", "root-disk", "root-preferences")
IMAGE_PARTS = ("root-init", "root-disk")  # all that a root of images/host gets
LAYOUT = 2  # of the base; a new number when the code below makes it differently


def _key(image):
    """Whatever changes the base changes its name."""
    digest = hashlib.sha256()
    for part in IMAGE_PARTS if image else PARTS:
        digest.update((HERE / part).read_bytes())
    if image:
        with open(image, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    digest.update(str([LAYOUT, PLAN["root"], PLAN["pool"], PLAN["kinds"]]).encode())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _cache_lock():
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def base(lab, say):
    """Folder of the base: root.ext4 and disk. Built when no cached one fits; labs that start together build it once."""
    kind = "hostbase" if lab.image else "base"  # each kind has its own latest
    folder = CACHE / f"{kind}-{_key(lab.image)}"
    if folder.exists():
        return folder
    with _cache_lock():
        if not folder.exists():
            say(f"taking the host root from {lab.image}" if lab.image else
                f"building the host root ({len(package_list('packages-host.txt'))} packages)")
            _build(lab, folder)
            say("the host root is built")
            _prune(folder, kind)
    return folder


def remove_leftovers(lab):
    """Half-made roots of an interrupted `up` of this lab; its processes are dead by now."""
    for path in CACHE.glob(f"tmp-{lab.name}.*"):
        shutil.rmtree(path)


def _build(lab, folder):
    work = CACHE / f"tmp-{lab.name}.{os.getpid()}"
    made = work / "base"
    made.mkdir(mode=0o700, parents=True)
    root = work / "root"
    (_from_image if lab.image else _from_packages)(lab, work, root)
    label = ["-L", "bascule-root"] if lab.image else []  # its fstab asks for it
    run(["mke2fs", "-q", "-t", "ext4", *label, "-d", str(root), "-E", "lazy_itable_init=1", str(made / "root.ext4"),
         f"{PLAN['root']['size_mib']}M"], timeout=300)
    _make_disk(work, made)
    os.replace(made, folder)
    shutil.rmtree(work)


def _from_image(lab, _work, root):
    """The image as it is, and what a kernel of this kind needs: its first program, which mounts modules and takes the seed."""
    root.mkdir()
    run(["tar", "-C", str(root), "--numeric-owner", "--xattrs", "-xf", lab.image], timeout=600)
    for name in ("init", "disk"):
        place = root / "usr/lib/bascule-lab" / name
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(HERE / f"root-{name}", place)
        place.chmod(0o755)
    for name in ("opt/bascule", "lab", "etc/etcd"):
        (root / name).mkdir(exist_ok=True)


def _from_packages(_lab, work, root):
    argv = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory",
            "--dpkgopt=force-unsafe-io", "--include=" + ",".join(package_list("packages-host.txt"))]
    argv += [f"--dpkgopt=path-exclude={path}" for path in NO_PATHS]
    argv += [f"--setup-hook=install -D -m 0644 {HERE / 'root-preferences'} \"$1\"/etc/apt/preferences.d/lab",
             f"--customize-hook={HERE / 'root-customize'} \"$1\" {HERE}", "bookworm", str(root), *SOURCES]
    run(argv, timeout=1800, env={"TMPDIR": str(work)})


def _make_disk(work, made):
    """Boots a kernel on the new root that does nothing but make the hosts' backing disk."""
    with open(made / "disk", "wb") as disk:
        disk.truncate(PLAN["kinds"]["host"]["disk_mib"] << 20)
    done = run([*kernel.command(), "mem=256M", "umid=disk", f"uml_dir={work}", f"ubd0={work / 'disk.cow'},{made / 'root.ext4'}",
                f"ubd1={made / 'disk'}", "root=/dev/ubda", "rw", "init=/usr/lib/bascule-lab/disk", "selinux=0", "quiet",
                f"labthin={PLAN['pool']['thin_mib']}", f"labfiles={PLAN['pool']['files_mib']}",
                "con=null", "con0=null,fd:1", "noreboot"], timeout=180, check=False, start_new_session=True)
    if "disk made" not in done.stdout:
        raise LabError("the hosts' backing disk could not be made:\n" + "\n".join(done.stdout.splitlines()[-15:]))


def _prune(newest, kind):
    """Removes old bases. A host that is off could not boot again without its base: one that a lab uses stays,
    and so do the latest, which a lab may be about to use."""
    used = {os.path.realpath(base) for base in DISKS.glob("*/base")}
    folders = sorted(CACHE.glob(f"{kind}-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in folders[KEEP:]:
        if old != newest and str(old) not in used:
            shutil.rmtree(old)
