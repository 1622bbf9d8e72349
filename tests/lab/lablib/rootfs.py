"""The base root that all hosts of all labs share: Debian packages in an ext4 image, made once and cached."""
import contextlib
import fcntl
import hashlib
import os
import shutil

from .plan import CACHE, DISKS, HERE, PLAN, package_list
from .proc import run

KEEP_IMAGES = 2  # older images are removed when a new one is made
NO_PATHS = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


def _key():
    """Whatever changes the image changes its name."""
    digest = hashlib.sha256()
    for path in (HERE / "packages-host.txt", HERE / "root-customize", HERE / "root-init", HERE / "lablib" / "rootfs.py"):
        digest.update(path.read_bytes())
    digest.update(str(PLAN["root"]).encode())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _cache_lock():
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def base_image(lab, say):
    """Path of the base image; builds it when no cached one fits. Labs that start together build it once."""
    image = CACHE / f"root-{_key()}.ext4"
    if image.exists():
        return image
    with _cache_lock():
        if not image.exists():
            say(f"building the host root ({len(package_list('packages-host.txt'))} packages)")
            _build(lab, image)
            _prune(image)
    return image


def remove_leftovers(lab):
    """Half-made roots of an interrupted `up` of this lab; its processes are dead by now."""
    for path in CACHE.glob(f"tmp-{lab.name}.*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _build(lab, image):
    work = CACHE / f"tmp-{lab.name}.{os.getpid()}"
    work.mkdir(mode=0o700)
    root, made = work / "root", work / "root.ext4"
    argv = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory",
            "--dpkgopt=force-unsafe-io", "--include=" + ",".join(package_list("packages-host.txt"))]
    argv += [f"--dpkgopt=path-exclude={path}" for path in NO_PATHS]
    argv += [f"--customize-hook={HERE / 'root-customize'} \"$1\" {HERE / 'root-init'}", "bookworm", str(root)]
    run(argv, timeout=900, env={"TMPDIR": str(work)})
    run(["mke2fs", "-q", "-t", "ext4", "-d", str(root), "-E", "lazy_itable_init=1",
         str(made), f"{PLAN['root']['size_mib']}M"], timeout=300)
    os.replace(made, image)
    shutil.rmtree(work)


def _prune(newest):
    """Removes old images. A host that is off could not boot again without its image: one that a lab uses stays,
    and so do the latest, which a lab may be about to use."""
    used = {os.path.realpath(base) for base in DISKS.glob("*/base")}
    images = sorted(CACHE.glob("root-*.ext4"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in images[KEEP_IMAGES:]:
        if old != newest and str(old) not in used:
            old.unlink()
