"""The lab's commands. `./lab help` lists them."""
import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lablib import cluster, demo, faults, net, proc, remote, suite, web, work  # noqa: E402
from lablib.campaign import options as campaign_options  # noqa: E402
from lablib.campaign import run as campaign_run  # noqa: E402
from lablib.plan import POOLS, Lab  # noqa: E402
from lablib.proc import LabError  # noqa: E402

STARTED = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", flush=True)


def cmd_up(args):
    lab = Lab(args.name)
    lab.pool = args.pool
    lab.timing = args.timing
    lab.power_switch = "works" if args.power_switch else "absent"
    lab.image = os.path.abspath(args.image) if args.image else ""
    work.choose_build(lab, args)
    with cluster.locked(lab):
        proc.mark(lab.name)
        work.up(lab, args.hosts, say, build=not args.no_build)
    say(f"lab {lab.name} is up: ./lab status, ./lab exec HOST -- CMD, ./lab ctl ..., ./lab web, ./lab down")


def cmd_down(args):
    lab = Lab(args.name)
    with cluster.locked(lab):
        cluster.down(lab)


def cmd_status(args):
    got = cluster.status(Lab(args.name).load())
    if args.json:
        print(json.dumps(got))
        return 0
    print(f"lab {got['name']} (namespace {got['namespace']}, pool {got['pool']})")
    for node in got["nodes"]:
        parts = [f"{key} {node[key]}" for key in ("etcd", "libvirtd", "hostd") if key in node]
        cuts = "; cut: " + ", ".join(node["cut"]) if node["cut"] else ""
        cuts += "; fault: " + ", ".join(node["faults"]) if node["faults"] else ""
        print(f"  {node['id']:4} {node['site'] or '-'} {node['address']:12} {'on ' if node['on'] else 'off'} {', '.join(parts)}{cuts}")
    return 0


def cmd_exec(args):
    lab = Lab(args.name).load()
    if not args.command:
        raise LabError("lab exec HOST -- CMD...: no command given")
    return remote.attach(lab, lab.node(args.host), args.command, tty=args.tty)


def cmd_console(args):
    lab = Lab(args.name).load()
    node = lab.node(args.host)
    if args.shell:
        return remote.attach(lab, node, ["bash", "-l"], tty=True)
    os.execvp("tail", ["tail", "-n", "+1", *(["-f"] if args.follow else []), str(node.console)])


def cmd_ctl(args):
    return _hostctl(args, "operator")


def cmd_as(args):
    return _hostctl(args, args.user)


def _hostctl(args, user):
    lab = Lab(args.name).load()
    os.environ.update(cluster.user_environment(lab, user))
    argv = net.inside(lab, [str(cluster.program(lab, "hostctl")), *args.command])
    os.execvp(argv[0], argv)


def cmd_web(args):
    lab = Lab(args.name).load()
    web.serve(lab, lab.node(args.host), args.port, say)


def cmd_cut(args):
    lab = Lab(args.name)
    with cluster.locked(lab):
        lab.load()
        net.cut(lab, lab.node(args.host), args.link)


def cmd_heal(args):
    lab = Lab(args.name)
    with cluster.locked(lab):
        lab.load()
        proc.mark(lab.name)
        faults.heal(lab)


def cmd_fault(args):
    if args.list or not args.kind:
        for kind, (what, _make, _heal) in faults.KINDS.items():
            print(f"{kind:18} {what}")
        return
    lab = Lab(args.name)
    with cluster.locked(lab):
        lab.load()
        proc.mark(lab.name)
        faults.make(lab, args.kind, lab.node(args.host or "a1"))


def cmd_power(args):
    lab = Lab(args.name)
    with cluster.locked(lab):
        lab.load()
        proc.mark(lab.name)
        cluster.power(lab, lab.node(args.host), args.state == "on")


def cmd_demo(args):
    return demo.main(args, say)


def cmd_campaign(args):
    return campaign_run.main(args, say)


def cmd_test(args):
    return suite.main(args)


def _build_options(sub):
    sub.add_argument("--no-build", action="store_true", help="take the programs as they are, or none")
    sub.add_argument("--build-dir", help="take the programs from this build (default build/release)")


def parser():
    top = argparse.ArgumentParser(prog="lab", description="Two sites and a witness as real kernels on this machine.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default=os.environ.get("LAB_NAME", "lab"), help="which lab (default: $LAB_NAME or 'lab')")
    subs = top.add_subparsers(dest="cmd", required=True, metavar="COMMAND")

    def add(name, what, function):
        sub = subs.add_parser(name, help=what, parents=[common])
        sub.set_defaults(function=function)
        return sub

    sub = add("up", "build, boot the witness and the hosts, wait until all is healthy", cmd_up)
    sub.add_argument("--hosts", type=int, default=2, help="hosts, sites alternate (default 2: a1, b1)")
    sub.add_argument("--timing", choices=("standard", "fast"), default="standard", help="profile of failover's times")
    sub.add_argument("--power-switch", action="store_true", help="with a power switch that hostd may ask")
    sub.add_argument("--pool", choices=POOLS, default="lvm-thin", help="kind of backing device that hostd uses")
    sub.add_argument("--image", help="boot the hosts from this host-root.tar.zst of images/host/build, with the hostd installed there")
    _build_options(sub)
    add("down", "stop and remove everything of the lab", cmd_down)
    add("status", "what is on, healthy and cut", cmd_status).add_argument("--json", action="store_true")
    sub = add("exec", "run a command in a host", cmd_exec)
    sub.add_argument("-t", "--tty", action="store_true", help="with a terminal")
    sub.add_argument("host")
    sub = add("console", "a host's console", cmd_console)
    sub.add_argument("host")
    sub.add_argument("-f", "--follow", action="store_true")
    sub.add_argument("--shell", action="store_true", help="a root shell instead")
    add("ctl", "hostctl as the operator: lab ctl [--name NAME] ARGS...", cmd_ctl)
    sub = add("as", "hostctl as another user", cmd_as)
    sub.add_argument("user", choices=("operator", "client", "auditor"))
    sub = add("web", "the web console in this machine's own browser: an address for it, certificates, what to do", cmd_web)
    sub.add_argument("host", nargs="?", default="a1", help="which host serves it (default a1)")
    sub.add_argument("--port", type=int, default=web.PORT, help=f"on this machine's 127.0.0.1 (default {web.PORT})")
    sub = add("cut", "cut one link of a host", cmd_cut)
    sub.add_argument("host")
    sub.add_argument("link")
    sub = add("fault", "break something: a kind of --list, and the host it happens to", cmd_fault)
    sub.add_argument("kind", nargs="?", metavar="KIND")
    sub.add_argument("host", nargs="?", help="default: a1")
    sub.add_argument("--list", action="store_true", help="the kinds, one a line")
    add("heal", "mend everything that was cut or broken", cmd_heal)
    sub = add("power", "cut a host's power, or boot it again with the same disks", cmd_power)
    sub.add_argument("host")
    sub.add_argument("state", choices=("on", "off"))
    sub = add("demo", "the whole main job, step by step", cmd_demo)
    sub.add_argument("--keep", action="store_true", help="leave the lab up")
    _build_options(sub)
    sub.add_argument("--json", metavar="FILE", help="write the steps there")
    sub = add("campaign", "random faults for as long as you like, beside VMs that write; judged", cmd_campaign)
    campaign_options.add(sub)
    _build_options(sub)
    sub = add("test", "all tests: unit, contract, lint, then the lab's scenarios", cmd_test)
    sub.add_argument("--quick", action="store_true", help="without the lab's scenarios")
    return top


def split(argv):
    """(the lab's own words, the command passed on): after `--` for exec, after the lab's own for ctl and as."""
    if argv[:1] == ["exec"]:
        at = argv.index("--") if "--" in argv else len(argv)
        return argv[:at], argv[at + 1:]
    if argv[:1] in (["ctl"], ["as"]):
        at = 3 if argv[1:2] == ["--name"] else 1
        at += argv[0] == "as"
        return argv[:at], argv[at:]
    return argv, []


def main():
    words, command = split(sys.argv[1:])
    args = parser().parse_args(words or ["--help"])
    args.command = command
    try:
        return args.function(args) or 0
    except LabError as err:
        print(f"lab: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
