#!/usr/bin/python3
"""The main job on real parts, through hostctl: the demo's steps, then bad input and what must not harm the VM."""
import os
import sys
import tomllib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lablib import demo, ledger  # noqa: E402
from lablib.case import expect, main  # noqa: E402
from lablib.plan import HERE  # noqa: E402
from lablib.proc import LabError  # noqa: E402


def refused(job, args, words, user="operator"):
    """hostctl refuses with a sentence that holds these words."""
    try:
        said = job.hostctl(args, 60, user)
    except LabError as err:
        expect(words in str(err), f"{' '.join(args)}: said {err}")
        return
    expect(False, f"{' '.join(args)}: was accepted: {said}")


def test_main_job(lab):
    """Import, define, start, migrate live to the other site and back, stop; no acknowledged record lost or doubled."""
    with open(HERE / "demo.toml", "rb") as file:
        planned = tomllib.load(file)["step"]
    job = demo.Demo(lab)
    collector = ledger.start_collector(lab)
    try:
        for step in planned:
            call = {key: value for key, value in step.items() if key not in ("name", "do")}
            print(f"      {step['name']}: {getattr(job, step['do'])(**call)}", flush=True)
    finally:
        ledger.stop_collector(collector)


def test_bad_input(lab):
    """Foreign clients, auditors, unknown VMs and missing reasons are refused with a sentence; nothing changes."""
    job = demo.Demo(lab)
    refused(job, ["vm", "start", "nobody", "--reason", "test"], "there is no VM 'nobody'")
    refused(job, ["vm", "start", "ledger", "--reason", "test"], "role", user="auditor")
    refused(job, ["vm", "migrate", "ledger", "--reason", "test"], "not running")
    refused(job, ["vm", "start", "ledger"], "reason")


main(globals())
