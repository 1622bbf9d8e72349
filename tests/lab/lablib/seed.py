"""A node's seed: the files that make the common root this host. Rendered at `up`, copied over the root at each boot."""
import os
import pathlib
import re
import secrets
import shutil
import uuid

from . import power_switch
from .plan import HERE, PROJECT
from .proc import LabError, run


# Of the seed what a host that is booted from an image has already, and is looked at for.
IN_IMAGE = ("etc/ssh/sshd_config", "etc/fstab", "etc/default/libvirtd", "usr/sbin/hostd", "usr/libexec/bascule/hostd-fence-peer",
            "etc/systemd/system/multi-user.target.wants/hostd.service", "etc/systemd/system/sockets.target.wants/libvirtd-tls.socket",
            "etc/systemd/system/libvirtd.socket.d/lab.conf", "etc/systemd/system/libvirtd-ro.socket.d/lab.conf")
# What makes a machine a host of the lab's cell, or makes good what one that is set up by hand must have; seed/fresh has what is in its place.
OF_A_CELL = ("etc/hosts", "etc/default/etcd", "etc/profile.d/lab.sh", "etc/systemd/system/etcd.service.d/lab.conf", "etc/bascule/hostd.toml",
             "etc/systemd/system/multi-user.target.wants/etcd.service", "etc/libvirt/libvirtd.conf", "etc/libvirt/qemu.conf", "etc/lvm/lvm.conf",
             "etc/lvm/lvmlocal.conf", "etc/systemd/system/lab-disk.service", "etc/systemd/system/multi-user.target.wants/lab-disk.service",
             "usr/local/lib/lab-disk", "usr/local/lib/lab-early", "usr/sbin/fence_bascule_lab")


def make_ssh_keys(lab):
    """One key for the lab's own way in, one for all its hosts; both die with the lab."""
    lab.run.joinpath("ssh").mkdir(mode=0o700)
    for name in ("user", "host"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"bascule-lab-{name}", "-f", str(lab.run / "ssh" / name)])
    public = (lab.run / "ssh" / "host.pub").read_text()
    (lab.run / "ssh" / "known").write_text(f"* {public}")


def make_power_password(lab):
    """Of the power switch. Every host has it, as the secret file of its fence agent."""
    with open(os.open(lab.run / "power-password", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(16))


def render(lab, node):
    """Writes node.seed anew from seed/common and seed/<kind>, certificates and keys included."""
    if node.seed.exists():
        shutil.rmtree(node.seed)
    node.seed.mkdir(parents=True, mode=0o755)
    values = _values(lab, node)
    without = (*(IN_IMAGE if lab.image else ()), *(OF_A_CELL if lab.fresh else ()))
    for part in ("common", node.kind, *(["image"] if lab.image else [])):
        _copy_tree(HERE / "seed" / part, node.seed, values, without)
    _way_in(lab, node)
    if lab.fresh:
        _copy_tree(HERE / "seed/fresh", node.seed, values)
    else:
        _of_the_cell(lab, node)
    if lab.image:  # a seed's folders are copied with their modes
        for name in ("etc/bascule", "etc/bascule/pki", "root"):
            if (node.seed / name).is_dir():
                (node.seed / name).chmod(0o700)


def _of_the_cell(lab, node):
    _keys(lab, node)
    if node.kind != "host":
        return
    _put(node.seed / "etc/bascule/power/secret", f"password={power_switch.password(lab)}\n".encode(), 0o600)
    if not lab.image:
        _put(node.seed / "etc/systemd/system/hostd.service", (PROJECT / "packaging/hostd.service").read_bytes())
        console = pathlib.Path(lab.build, "console")
        if console.is_dir():  # built by the target `console`, or by its test
            shutil.copytree(console, node.seed / "usr/share/bascule/console")


def _values(lab, node):
    voters = lab.voters
    members = ",".join(f"{voter.id}=https://{voter.address('mgmt')}:2380" for voter in voters)
    names = [f"{other.address('mgmt')} {other.id}" for other in lab.nodes.values()]
    return {
        "CELL": lab.name, "HOST": node.id, "SITE": node.site, "POOL": lab.pool, "TIMING": lab.timing, "POWER": _power(lab, node),
        "MGMT": node.address("mgmt"), "REPL": node.address("repl"), "LAB": node.address("lab"),
        "MEMBERS": members, "HOSTS": "\n".join(names),
        "ENDPOINTS": ", ".join(f'"https://{voter.address("mgmt")}:2379"' for voter in voters),
        "MACHINE_ID": node.unique("machine"), "UUID": str(uuid.UUID(node.unique("libvirt"))),
        "PEER_DNS": ", ".join(f'"CN={host.id}"' for host in lab.hosts),
        "ETCD": "yes" if node in voters else "no",
    }


def _power(lab, node):
    """How this host switches the others off: a table of hostd.toml for each. The switch is there only when the lab says so."""
    return "\n".join(f"""[power.{other.id}]
agent = "/usr/sbin/fence_bascule_lab"
secret_file = "/etc/bascule/power/secret"
timeout_s = 5
[power.{other.id}.options]
ip = "{power_switch.address()}"
ipport = "{power_switch.port()}"
plug = "{other.id}"
""" for other in lab.hosts if other is not node)


def _copy_tree(source, target, values, without=()):
    for folder, folders, files in os.walk(source):
        here = target / pathlib.Path(folder).relative_to(source)
        here.mkdir(parents=True, exist_ok=True)
        for name in [*files, *[entry for entry in folders if pathlib.Path(folder, entry).is_symlink()]]:
            origin = pathlib.Path(folder, name)
            if str(origin.relative_to(source)) in without:
                continue
            if origin.is_symlink():
                (here / name).symlink_to(os.readlink(origin))
            else:
                _put(here / name, _fill(origin, values).encode(), origin.stat().st_mode & 0o777)


def _fill(path, values):
    """Replaces @NAME@; a name that is not known is an error, so a template cannot reach a host half filled."""
    def value(match):
        if match.group(1) not in values:
            raise LabError(f"{path}: nothing known for @{match.group(1)}@")
        return str(values[match.group(1)])
    return re.sub(r"@([A-Z_]+)@", value, path.read_text())


def _put(path, data, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode), "wb") as file:
        file.write(data)


def _keys(lab, node):
    """The same host certificate serves hostd, etcd, libvirt and QEMU, each where it looks for it."""
    ca = (lab.pki / "ca.pem").read_bytes()
    cert = (lab.pki / f"{node.id}.pem").read_bytes()
    key = (lab.pki / f"{node.id}.key").read_bytes()
    places = [("etc/etcd/ca.pem", "etc/etcd/host.pem", "etc/etcd/host.key")]
    if node.kind == "host":
        places += [
            ("etc/bascule/pki/ca.pem", "etc/bascule/pki/host.pem", "etc/bascule/pki/host.key"),
            ("etc/pki/CA/cacert.pem", "etc/pki/libvirt/servercert.pem", "etc/pki/libvirt/private/serverkey.pem"),
            ("etc/pki/CA/cacert.pem", "etc/pki/libvirt/clientcert.pem", "etc/pki/libvirt/private/clientkey.pem"),
            ("etc/pki/qemu/ca-cert.pem", "etc/pki/qemu/server-cert.pem", "etc/pki/qemu/server-key.pem"),
            ("etc/pki/qemu/ca-cert.pem", "etc/pki/qemu/client-cert.pem", "etc/pki/qemu/client-key.pem"),
        ]
    for ca_path, cert_path, key_path in places:
        _put(node.seed / ca_path, ca)
        _put(node.seed / cert_path, cert)
        _put(node.seed / key_path, key, 0o600)


def _way_in(lab, node):
    ssh = lab.run / "ssh"
    _put(node.seed / "root/.ssh/authorized_keys", (ssh / "user.pub").read_bytes(), 0o600)
    _put(node.seed / "etc/ssh/ssh_host_ed25519_key", (ssh / "host").read_bytes(), 0o600)
