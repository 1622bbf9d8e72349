"""Building the project for the lab, beside the host root."""
import concurrent.futures
import os
import shutil

from . import cluster
from .plan import PROJECT
from .proc import LabError, run

TARGETS = ["hostd", "hostd-fence-peer", "hostctl", "ledger", "ledger-check", "ledger-collect", "guest_image"]
BUILD_SECONDS = 1500
CONSOLE_SECONDS = 600  # the first time npm fetches what the lock file names


def build_programs(lab, say):
    say("building the programs (release)")
    run(["cmake", "--preset", "release"], cwd=PROJECT, timeout=120)
    run(["cmake", "--build", lab.build, "--target", *TARGETS], cwd=PROJECT, timeout=BUILD_SECONDS)
    _build_console(lab, say)
    say("the programs are built")


def _build_console(lab, say):
    """The web console, for hostd to serve. A lab is whole without it: what it needs comes from npm's registry."""
    if not shutil.which("npm"):
        say("no web console: there is no npm here (Debian: nodejs and npm)")
        return
    try:
        run(["cmake", "--build", lab.build, "--target", "console"], cwd=PROJECT, timeout=CONSOLE_SECONDS)
    except LabError as err:
        say("no web console, its build failed:\n" + str(err))


def choose_build(lab, args):
    if args.build_dir:
        lab.build = os.path.abspath(args.build_dir)
        if not args.no_build:
            raise LabError("--build-dir takes programs as they are: give --no-build with it")


def up(lab, hosts, say, build):
    """`lab up`: the C++ build and the host root are made side by side."""
    lab.plan_nodes(hosts)

    def prepare(make_base):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            programs = pool.submit(build_programs, lab, say) if build else None
            base = pool.submit(make_base)
            if programs:
                programs.result()
            return base.result()

    cluster.up(lab, say, prepare)
