"""What a cell is to be made of (cell.toml), and the files that follow from it. Pure: text in, text out."""
import dataclasses
import ipaddress
import re
import tomllib

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,60}")
BRIDGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
FILE = re.compile(r"(/[A-Za-z0-9._:+-]+)+")
WITNESS = "witness"
HOSTS_MOST = 32
ELECTION_MS, HEARTBEAT_MS = 1000, 100
OURS = "# Bascule\n"
KEY = re.compile(r"^\s*(\w+)\s*=\s*(.*?)\s*$", re.MULTILINE)
# Debian's unit calls etcd started when the members have elected a leader. Nothing is to wait for that, least of all hostd on a site that is alone.
ETCD_UNIT = """# Made by bascule-setup apply.
[Unit]
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0
[Service]
Type=exec
Restart=always
RestartSec=2
Nice=-10
OOMScoreAdjust=-900
"""


class Wrong(Exception):
    """The answers cannot be taken; a sentence that names the key."""


@dataclasses.dataclass
class Host:
    id: str
    site: str
    address: str
    replication: str
    disks: list
    networks: dict
    voter: bool = False


@dataclasses.dataclass
class Cell:
    name: str
    witness: str
    hosts: dict
    pool: dict
    watchdog: dict

    def members(self):
        """{name: address} of etcd's voters."""
        return {**{host.id: host.address for host in self.hosts.values() if host.voter}, WITNESS: self.witness}


def _take(table, where, wanted):
    """The table's values, each of its type; anything else is refused."""
    if not isinstance(table, dict):
        raise Wrong(f"{where or 'the file'} is no table")
    for key in table:
        if key not in wanted:
            raise Wrong(f"{where}{key}: there is no such key; there are {', '.join(wanted)}")
    for key, kind in wanted.items():
        if key in table and not isinstance(table[key], kind):
            raise Wrong(f"{where}{key}: this is no {kind.__name__}")
    return table


def _matching(pattern, text, where, what):
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise Wrong(f"{where}: {text!r} is no {what}")
    return text


def _address(text, where):
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise Wrong(f"{where}: {text!r} is no IP address") from None
    if address.is_unspecified or address.is_multicast:
        raise Wrong(f"{where}: {text} is no address of one machine")
    return str(address)


def _host(name, table):
    where = f"hosts.{name}."
    _matching(NAME, name, f"hosts.{name}", "host id: lower-case letters, digits, hyphens")
    if name == WITNESS:
        raise Wrong("hosts.witness: that name is the witness'")
    _take(table, where, {"site": str, "address": str, "replication": str, "disks": list, "networks": dict, "voter": bool})
    for key in ("site", "address", "replication"):
        if key not in table:
            raise Wrong(f"{where}{key} is missing")
    if table["site"] not in ("A", "B"):
        raise Wrong(f"{where}site: A or B")
    disks = [_matching(FILE, disk, where + "disks", "path") for disk in table.get("disks", [])]
    networks = {_matching(NAME, network, where + "networks", "network's name"): _matching(BRIDGE, bridge, where + "networks", "bridge's name")
                for network, bridge in table.get("networks", {}).items()}
    return Host(name, table["site"], _address(table["address"], where + "address"), _address(table["replication"], where + "replication"),
                disks, networks, table.get("voter", False))


def _pool(table):
    _take(table, "pool.", {"kind": str, "group": str, "thin_pool": str, "path": str})
    kind = table.get("kind", "lvm-thin")
    if kind not in ("lvm", "lvm-thin", "loop"):
        raise Wrong("pool.kind: lvm, lvm-thin or loop")
    pool = {"kind": kind}
    if kind == "loop":
        pool["path"] = _matching(FILE, table.get("path", "/var/lib/bascule/volumes"), "pool.path", "path")
    else:
        pool["group"] = _matching(GROUP, table.get("group", "vg0"), "pool.group", "volume group's name")
    if kind == "lvm-thin":
        pool["thin_pool"] = _matching(GROUP, table.get("thin_pool", "thin"), "pool.thin_pool", "thin pool's name")
    return pool


def _voters(hosts):
    for site in "AB":
        there = [host for host in hosts.values() if host.site == site]
        if not there:
            raise Wrong(f"hosts: there is none on site {site}")
        named = [host for host in there if host.voter]
        if len(named) > 1:
            raise Wrong(f"hosts: site {site} has {len(named)} voters; one on each site and the witness are")
        (named or there)[0].voter = True


def parse(text):
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise Wrong(str(err)) from None
    _take(table, "", {"cell": str, "witness": dict, "hosts": dict, "pool": dict, "watchdog": dict})
    for key in ("cell", "witness", "hosts"):
        if key not in table:
            raise Wrong(f"{key} is missing")
    if len(table["hosts"]) > HOSTS_MOST:
        raise Wrong(f"hosts: at most {HOSTS_MOST} in a cell")
    hosts = {name: _host(name, values) for name, values in table["hosts"].items()}
    _voters(hosts)
    witness = _address(_take(table["witness"], "witness.", {"address": str}).get("address", ""), "witness.address")
    used = [witness] + [address for host in hosts.values() for address in {host.address, host.replication}]
    for address in used:
        if used.count(address) > 1:
            raise Wrong(f"{address} is the address of two machines")
    watchdog = _take(table.get("watchdog", {}), "watchdog.", {"device": str, "accept_softdog": bool})
    if "device" in watchdog:
        _matching(FILE, watchdog["device"], "watchdog.device", "path")
    return Cell(_matching(NAME, table["cell"], "cell", "name: lower-case letters, digits, hyphens"), witness, hosts, _pool(table.get("pool", {})), watchdog)


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            return parse(file.read())
    except (OSError, UnicodeDecodeError) as err:
        raise Wrong(f"{path}: {err}") from None
    except Wrong as err:
        raise Wrong(f"{path}: {err}") from None


def bracketed(address):
    return f"[{address}]" if ":" in address else address


def names_of(cell, name):
    """The SAN of a machine's certificate. The witness is no host: it may ask the API nothing."""
    if name == WITNESS:
        return f"DNS:{WITNESS},IP:{cell.witness}"
    host = cell.hosts[name]
    addresses = ",".join(f"IP:{address}" for address in dict.fromkeys((host.address, host.replication)))
    return f"URI:urn:bascule:host:{name},DNS:{name},{addresses}"


def quoted(value):
    """As TOML writes it; what comes here was matched before, and needs no escapes."""
    return "true" if value is True else "false" if value is False else f'"{value}"'


def hostd_toml(cell, name, root=""):
    host = cell.hosts[name]
    pki = f"{root}/etc/bascule/pki"
    own = [f'cert = "{pki}/host.pem"', f'key = "{pki}/host.key"']
    endpoints = ", ".join(f'"https://{bracketed(address)}:2379"' for address in cell.members().values())
    return "\n".join([
        "# Made by bascule-setup apply; every key that there is: hostd.toml(5).", f'cell = "{cell.name}"', f'host = "{name}"', f'site = "{host.site}"', "",
        "[api]", f'listen = "{bracketed(host.address)}:8443"', f'ca = "{pki}/api-ca.pem"', *own, "",
        "[etcd]", f"endpoints = [{endpoints}]", f'ca = "{pki}/ca.pem"', *own, "",
        "[replication]", f'address = "{host.replication}"', "",
        "[migration]", f'address = "{host.replication}"', "",
        "[networks]", *[f'{network} = "{bridge}"' for network, bridge in host.networks.items()], "",
        "[pool]", *[f"{key} = {quoted(value)}" for key, value in cell.pool.items()], "",
        "[watchdog]", *[f"{key} = {quoted(value)}" for key, value in cell.watchdog.items()], ""])


def etcd_default(cell, name, root=""):
    """/etc/default/etcd of a member: what packaging/witness/etcd explains, with this cell's names."""
    members, pki = cell.members(), f"{root}/etc/etcd/bascule"
    at = bracketed(members[name])
    values = {
        "NAME": name, "DATA_DIR": f"{root}/var/lib/etcd/bascule",
        "LISTEN_CLIENT_URLS": f"https://{at}:2379", "ADVERTISE_CLIENT_URLS": f"https://{at}:2379",
        "LISTEN_PEER_URLS": f"https://{at}:2380", "INITIAL_ADVERTISE_PEER_URLS": f"https://{at}:2380",
        "INITIAL_CLUSTER": ",".join(f"{member}=https://{bracketed(address)}:2380" for member, address in members.items()),
        "INITIAL_CLUSTER_TOKEN": cell.name, "INITIAL_CLUSTER_STATE": "new",
        **{f"{peer}{key}": value for peer in ("", "PEER_") for key, value in (
            ("TRUSTED_CA_FILE", f"{pki}/ca.pem"), ("CERT_FILE", f"{pki}/host.pem"), ("KEY_FILE", f"{pki}/host.key"), ("CLIENT_CERT_AUTH", "true"))},
        "HEARTBEAT_INTERVAL": HEARTBEAT_MS, "ELECTION_TIMEOUT": ELECTION_MS, "PRE_VOTE": "true", "STRICT_RECONFIG_CHECK": "true",
        "EXPERIMENTAL_INITIAL_CORRUPT_CHECK": "true", "AUTO_COMPACTION_MODE": "periodic", "AUTO_COMPACTION_RETENTION": "1h"}
    return ("# Made by bascule-setup apply. Never restore this member from a copy or a snapshot: remove it from the cluster and add it empty.\n" +
            "".join(f'ETCD_{key}="{value}"\n' for key, value in values.items()))


def libvirt_keys(cell):
    """libvirtd.conf: hosts come in over TLS by their certificate, and nobody else. Who a host is does not hang on its firmware: there are
    boards that all have the same UUID, and libvirt takes no guest from a host with its own."""
    return {"auth_tls": '"none"', "host_uuid_source": '"machine-id"', "tls_allowed_dn_list": "[ " + ", ".join(f'"CN={name}"' for name in cell.hosts) + " ]"}


def qemu_keys(cell, name, root=""):
    return {"default_tls_x509_cert_dir": f'"{root}/etc/pki/qemu"', "default_tls_x509_verify": "1", "migrate_tls_x509_verify": "1", "migrate_tls_force": "1",
            "migration_address": f'"{cell.hosts[name].replication}"'}


def with_keys(text, keys):
    """The configuration with these keys behind OURS, at its end; (text, keys that stand before it with another value). What else is behind it stays."""
    before, _, behind = text.partition(OURS)
    there = dict(KEY.findall(before))
    other = [key for key, value in keys.items() if there.get(key, value) != value]
    kept = "".join(line for line in behind.splitlines(keepends=True) if not (KEY.match(line) and KEY.match(line)[1] in keys))
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items() if key not in there)
    if not lines and not behind:
        return text, other
    return before + ("" if not before or before.endswith("\n") else "\n") + OURS + lines + kept, other
