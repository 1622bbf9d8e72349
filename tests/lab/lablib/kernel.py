"""The program that is a kernel, and what its use of ptrace lacks (uml_ptrace.c)."""
import hashlib
import os
import shutil

from .plan import CACHE, HERE
from .proc import run

SOURCE = HERE / "uml_ptrace.c"


def command():
    """The first words of every kernel's command line; made once for all labs."""
    text = SOURCE.read_bytes()
    library = CACHE / f"uml-ptrace-{hashlib.sha256(text).hexdigest()[:16]}.so"
    if not library.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        made = library.with_suffix(f".{os.getpid()}")
        run([shutil.which("clang-19") or "cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(made), str(SOURCE)])
        os.replace(made, library)
    return ["env", f"LD_PRELOAD={library}", "linux.uml"]
