"""What a lab is made of: names, addresses, paths. Reads plan.toml; makes nothing."""
import hashlib
import json
import os
import pathlib
import re
import tomllib

from .proc import LabError

HERE = pathlib.Path(__file__).resolve().parent.parent      # tests/lab
PROJECT = HERE.parent.parent
CACHE = pathlib.Path("/var/cache/bascule-lab")
DISKS = pathlib.Path("/var/lib/bascule-lab")
MAX_HOSTS = 8
POOLS = ("loop", "lvm", "lvm-thin")

with open(HERE / "plan.toml", "rb") as _file:
    PLAN = tomllib.load(_file)


class Node:
    """One kernel: a host of a site, or the witness."""

    def __init__(self, lab, node_id, kind, site, number):
        self.lab, self.id, self.kind, self.site, self.number = lab, node_id, kind, site, number
        self.links = PLAN["kinds"][kind]["links"]
        self.memory = PLAN["kinds"][kind]["memory"]
        self.disk_mib = PLAN["kinds"][kind]["disk_mib"]
        self.dir = lab.run / "nodes" / node_id
        self.console = self.dir / "console.log"
        self.seed = self.dir / "seed"
        self.cow = lab.disks / f"{node_id}.cow"
        self.disk = lab.disks / f"{node_id}.disk"

    def address(self, link):
        return f"{PLAN['links'][link]['subnet']}.{self.number}"

    def tap(self, link):
        return f"{self.id}-{link}"

    def mac(self, link):
        return f"02:ba:5c:00:{list(PLAN['links']).index(link):02x}:{self.number:02x}"

    def unique(self, what):
        """A stable hexadecimal id for this node of this lab: machine-id, libvirt's host_uuid."""
        return hashlib.sha256(f"{self.lab.name}/{self.id}/{what}".encode()).hexdigest()[:32]


class Lab:
    """One lab by name. `hosts` and `pool` come from its state file when it is up."""

    KEPT = ("pool", "timing", "power_switch", "cuts", "faults", "build", "image", "fresh", "complete")

    def __init__(self, name="lab"):
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,15}", name):
            raise LabError(f"lab name {name!r}: a lower-case letter, then at most 15 letters, digits and '-'")
        self.name = name
        self.run = pathlib.Path("/run/bascule-lab") / name
        self.disks = DISKS / name
        self.exchange = self.disks / "exchange"     # /lab inside every host, to pass files in and out
        self.ns = f"bascule-{name}"
        self.pki = self.run / "pki"
        self.uml_dir = self.run / "uml"
        self.state_file = self.run / "lab.json"
        self.nodes = {}
        self.pool = "lvm-thin"
        self.timing = "standard"
        self.power_switch = "absent"  # or works, silent, refuses; see power_switch.py
        self.cuts = []
        self.faults = []  # [kind, host id], in the order they were made
        self.complete = False  # `up` came to its end
        self.build = str(PROJECT / "build" / "release")
        self.image = ""  # tarball of images/host that the hosts are booted from, instead of a root and programs of the lab's own
        self.fresh = False  # with an image: machines of nobody's cell, each with its network, a way in and an empty disk

    def plan_nodes(self, hosts):
        if not 1 <= hosts <= MAX_HOSTS:
            raise LabError(f"--hosts {hosts}: between 1 and {MAX_HOSTS}")
        witness = PLAN["witness"]
        nodes = [Node(self, witness["id"], "witness", "", witness["address"])]
        sites = list(PLAN["sites"].items())
        for index in range(hosts):
            site, first = sites[index % len(sites)]
            number = index // len(sites) + 1
            nodes.append(Node(self, f"{site.lower()}{number}", "host", site, first + number))
        self.nodes = {node.id: node for node in nodes}

    @property
    def hosts(self):
        return [node for node in self.nodes.values() if node.kind == "host"]

    @property
    def voters(self):
        """etcd members: the witness and the first host of each site."""
        return [node for node in self.nodes.values() if node.kind == "witness" or node.id.endswith("1")]

    def node(self, node_id):
        if node_id not in self.nodes:
            raise LabError(f"no host {node_id!r} in lab {self.name}; it has {', '.join(self.nodes)}")
        return self.nodes[node_id]

    def save(self):
        text = json.dumps({"hosts": len(self.hosts), **{key: getattr(self, key) for key in self.KEPT}})
        new = self.state_file.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.state_file)

    def load(self):
        try:
            state = json.loads(self.state_file.read_text())
        except FileNotFoundError:
            raise LabError(f"lab {self.name} is not up (./lab up --name {self.name})") from None
        self.plan_nodes(state["hosts"])
        for key in self.KEPT:  # one that an older program wrote may lack a key: it keeps the default
            setattr(self, key, state.get(key, getattr(self, key)))
        return self


def package_list(name):
    lines = (HERE / name).read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
