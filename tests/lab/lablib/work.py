"""Building the project for the lab, beside the host root."""
import concurrent.futures
import os

from . import cluster
from .plan import PROJECT
from .proc import LabError, run

TARGETS = ["hostd", "hostd-fence-peer", "hostctl", "ledger", "ledger-check", "ledger-collect", "guest_image"]
BUILD_SECONDS = 1500


def build_programs(lab, say):
    say("building the programs (release)")
    run(["cmake", "--preset", "release"], cwd=PROJECT, timeout=120)
    run(["cmake", "--build", lab.build, "--target", *TARGETS], cwd=PROJECT, timeout=BUILD_SECONDS)
    say("the programs are built")


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
