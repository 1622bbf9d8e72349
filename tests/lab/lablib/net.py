"""The lab's network: one namespace, a bridge per link, a tap per host and link."""
import pathlib

from .plan import PLAN
from .proc import LabError, run

NETNS = pathlib.Path("/run/netns")


def inside(lab, argv):
    """argv, run in the lab's namespace (same mounts, same pid)."""
    return ["nsenter", f"--net={NETNS / lab.ns}", "--", *argv]


def exists(lab):
    return (NETNS / lab.ns).exists()


def namespace_pids(lab):
    if not exists(lab):
        return []
    done = run(["ip", "netns", "pids", lab.ns], check=False)
    return [int(word) for word in done.stdout.split()]


def make(lab):
    run(["ip", "netns", "add", lab.ns])
    run(inside(lab, ["sysctl", "-q", "net.ipv6.conf.default.disable_ipv6=1", "net.ipv6.conf.all.disable_ipv6=1"]))
    lines = ["link set lo up"]
    for link in PLAN["links"].values():
        bridge = link["bridge"]
        lines.append(f"link add {bridge} type bridge stp_state 0 mcast_snooping 0")
        lines.append(f"link set {bridge} up")
        if "outer" in link:
            lines.append(f"address add {link['outer']} dev {bridge}")
    lines.append(f"address add {PLAN['power']['address']}/24 dev {PLAN['links']['mgmt']['bridge']}")
    for node in lab.nodes.values():
        for link in node.links:
            lines.append(f"tuntap add dev {node.tap(link)} mode tap")
            lines.append(f"link set {node.tap(link)} master {PLAN['links'][link]['bridge']} up")
    run(["ip", "-n", lab.ns, "-batch", "-"], input="\n".join(lines) + "\n")


def remove(lab):
    if exists(lab):
        run(["ip", "netns", "del", lab.ns])


def cut(lab, node, link):
    """Takes the tap off its bridge. Nothing inside the host sees a carrier change, and a reboot of the host does not
    undo it (the bridge's port state would be set back when the tap's carrier returns)."""
    _known(node, link)
    run(["ip", "-n", lab.ns, "link", "set", node.tap(link), "nomaster"])
    if [node.id, link] not in lab.cuts:
        lab.cuts.append([node.id, link])
    lab.save()


def part(lab, parted):
    """The fibre between the sites, off or on: hosts of different sites do not reach each other on management and
    replication, but both reach the witness and the power switch. By isolation of bridge ports, which cannot tell two hosts
    of one site from two of different sites."""
    sites = [node.site for node in lab.hosts]
    if parted and len(set(sites)) != len(sites):
        raise LabError("the fibre can only be cut in a lab with at most one host on each site")
    for node in lab.hosts:
        for link in ("mgmt", "repl"):
            run(["ip", "-n", lab.ns, "link", "set", node.tap(link), "type", "bridge_slave", "isolated", "on" if parted else "off"])


def addresses(lab):
    """What the lab's switches have learnt: lines of `bridge fdb show`."""
    return run(["ip", "netns", "exec", lab.ns, "bridge", "fdb", "show"]).stdout


def heal(lab):
    """Puts every cut tap back on its bridge."""
    for node_id, link in lab.cuts:
        node = lab.node(node_id)
        run(["ip", "-n", lab.ns, "link", "set", node.tap(link), "master", PLAN["links"][link]["bridge"]])
    lab.cuts = []
    lab.save()


def _known(node, link):
    if link not in node.links or link == "lab":
        cuttable = ", ".join(name for name in node.links if name != "lab")
        raise LabError(f"{node.id} has no link {link!r} to cut; it has {cuttable}")
