#!/usr/bin/python3
"""The main job on real parts, through hostctl: the demo's steps, the console meanwhile, then bad input and what must not harm the VM."""
import os
import re
import sys
import tomllib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lablib import demo, ledger, web  # noqa: E402
from lablib.case import expect, main  # noqa: E402
from lablib.plan import HERE, PROJECT  # noqa: E402
from lablib.proc import LabError, run  # noqa: E402


def refused(job, args, words, user="operator"):
    """hostctl refuses with a sentence that holds these words."""
    try:
        said = job.hostctl(args, 60, user)
    except LabError as err:
        expect(words in str(err), f"{' '.join(args)}: said {err}")
        return
    expect(False, f"{' '.join(args)}: was accepted: {said}")


STOP = "it stops by its power button"
CONSOLE_SECONDS = 240
state = {}


def planned():
    with open(HERE / "demo.toml", "rb") as file:
        return tomllib.load(file)["step"]


def do(job, steps):
    for step in steps:
        call = {key: value for key, value in step.items() if key not in ("name", "do")}
        print(f"      {step['name']}: {getattr(job, step['do'])(**call)}", flush=True)


def test_main_job(lab):
    """Import, define, start, migrate live to the other site and back; the guest goes on acknowledging."""
    steps = planned()
    state["collector"] = ledger.start_collector(lab)
    do(demo.Demo(lab), steps[:[step["name"] for step in steps].index(STOP)])


def test_console(lab):
    """The console in Chromium on this machine, on the way that `lab web` opens, for an operator and for the client of a VM that
    runs: every page, by keyboard, on a phone, in French and dark."""
    e2e = PROJECT / "api/console/e2e/main.mjs"
    people = {user: f"{lab.pki / user}.pem,{lab.pki / user}.key" for user in ("operator", "client")}
    expect((PROJECT / "api/console/node_modules/playwright-core").is_dir(), "api/console/build has not installed what the console's test needs")
    with web.relay(lab, lab.node("b1"), 0) as port:
        done = run(["node", str(e2e), "--base", f"https://127.0.0.1:{port}", "--vm", "ledger",
                    "--operator", people["operator"], "--client", people["client"]], timeout=CONSOLE_SECONDS, check=False)
    print("".join(f"      {line}\n" for line in done.stdout.splitlines()), end="", flush=True)
    verdict = re.fullmatch(r"(\d+) passed, 0 failed", (done.stdout.splitlines() or [""])[-1])
    expect(done.returncode == 0 and verdict and int(verdict[1]) >= 9, f"exit {done.returncode}: {done.stderr[-2000:]}")


def test_main_job_ends(lab):
    """It stops by its power button; no acknowledged record lost, torn or doubled; the audit chain is whole."""
    steps = planned()
    try:
        do(demo.Demo(lab), steps[[step["name"] for step in steps].index(STOP):])
    finally:
        if "collector" in state:
            ledger.stop_collector(state.pop("collector"))


def test_bad_input(lab):
    """Foreign clients, auditors, unknown VMs and missing reasons are refused with a sentence; nothing changes."""
    job = demo.Demo(lab)
    refused(job, ["vm", "start", "nobody", "--reason", "test"], "there is no VM 'nobody'")
    refused(job, ["vm", "start", "ledger", "--reason", "test"], "role", user="auditor")
    refused(job, ["vm", "migrate", "ledger", "--reason", "test"], "not running")
    refused(job, ["vm", "start", "ledger"], "reason")


test_main_job.once = test_main_job_ends.once = True
main(globals(), tries=3)
