#!/usr/bin/python3
"""bascule-setup: looks at a machine that is to be a host or the witness of a Bascule cell, and says what to mend.

Looking changes nothing; `bascule-setup apply` makes the machine what it is to be, `bascule-setup ca` its certificates (bascule_apply.py,
bascule_ca.py). `--measure` writes 4 KiB a hundred times into a file beside etcd's data, which it removes.

    bascule-setup --role host --peer b1=192.0.2.21 --peer witness=192.0.2.5
    bascule-setup --role witness --peer a1=192.0.2.11 --peer b1=192.0.2.21
    bascule-setup --ssh host:root@192.0.2.11 --ssh host:root@192.0.2.21 --ssh witness:root@192.0.2.5
    bascule-setup apply --answers cell.toml --as a1 [--dry-run]
    bascule-setup ca init|request|sign|revoke|crl ...

Exit 0: nothing to mend (there may be warnings); 1: something is; 2: it could not look.
"""
import argparse
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import time
import tomllib

COMMAND_SECONDS = 30
SSH_SECONDS = 120
PINGS = 10
CONFIG = "/etc/bascule/hostd.toml"
PKI = "/etc/bascule/pki"
MODULES = "/usr/share/bascule/setup"
DRBD_UTILS = (9, 22)      # debian/control
ETCD = (3, 4, 23)
QEMU_EMULATES = (9, 0)    # older ones lose memory writes of an emulated guest in a live migration
LINK_MS, LINK_MOST_MS = 5.0, 25.0    # between the sites: every write of a guest waits for it (DRBD protocol C)
ARBITER_MOST_MS = 50.0    # to an etcd member: half its heartbeat of 100 ms
FSYNC_MS = 10.0           # etcd's own advice for the 99th percentile
POOL_MIB = 10240
CERTIFICATE_DAYS = 30
LEVELS = ("good", "warn", "bad")


class Machine:
    """What the checks look at. Tests put another one in its place."""

    def run(self, *argv):
        """(exit code, output); 127 when there is no such program."""
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=COMMAND_SECONDS, check=False, errors="replace", env={**os.environ, "LC_ALL": "C.UTF-8"})
        except FileNotFoundError:
            return 127, ""
        except (OSError, subprocess.TimeoutExpired) as err:
            return 126, str(err)
        return done.returncode, done.stdout

    def read(self, path):
        try:
            return pathlib.Path(path).read_text(errors="replace")
        except OSError:
            return None

    def exists(self, path):
        return os.path.exists(path)

    def mode(self, path):
        return os.stat(path).st_mode & 0o777

    def list(self, path):
        try:
            return sorted(os.listdir(path))
        except OSError:
            return []

    def resolves(self, name):
        try:
            return sorted({info[4][0] for info in socket.getaddrinfo(name, None)})
        except OSError:
            return []

    def fsync_ms(self, folder):
        """The 99th percentile of a write of 4 KiB with its flush; None when it cannot be tried."""
        path = pathlib.Path(folder, f".bascule-setup-{os.getpid()}")
        took = []
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                for _ in range(100):
                    start = time.monotonic()
                    os.pwrite(fd, b"\0" * 4096, 0)
                    os.fdatasync(fd)
                    took.append((time.monotonic() - start) * 1000)
            finally:
                os.close(fd)
                path.unlink()
        except OSError:
            return None
        return statistics.quantiles(took, n=100)[98]


def version(text):
    """The first number with a point in it, as a tuple; () when there is none."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in found.groups() if part) if found else ()


def words(numbers):
    return ".".join(str(number) for number in numbers)


class Look:
    """One look at one machine: a finding for each check, in order."""

    def __init__(self, machine, role, peers, config_path=CONFIG, measure=False):
        self.machine, self.role, self.peers, self.measure = machine, role, peers, measure
        self.config_path, self.config, self.found = config_path, {}, []

    def say(self, check, level, text, mend=""):
        self.found.append({"check": check, "level": level, "found": text, "mend": mend})

    def all(self):
        self.system()
        self.clock()
        self.configuration()
        if self.role == "host":
            self.virtualization()
            self.watchdog()
            self.drbd()
            self.libvirt()
            self.pool()
            self.networks()
        self.etcd()
        self.certificates()
        self.links()
        return self.found

    def system(self):
        release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', self.machine.read("/etc/os-release") or "", re.MULTILINE))
        good, name = (release.get("ID"), release.get("VERSION_ID")) == ("debian", "12"), release.get("PRETTY_NAME", "an unknown system")
        return self.say("system", "good", name) if good else self.say("system", "warn", name, "Bascule is made for and tried on Debian 12 only")

    def clock(self):
        code, said = self.machine.run("timedatectl", "show", "--property=NTPSynchronized", "--value")
        if code != 0:  # it asks by D-Bus, which a host may not have
            code, said = self.machine.run("chronyc", "-n", "tracking")
            said = "yes" if re.search(r"^Leap status\s*: Normal$", said, re.MULTILINE) else ""
        if said.strip() == "yes":
            return self.say("clock", "good", "set by the network")
        return self.say("clock", "warn", "not set by the network" if code == 0 else "neither timedatectl nor chronyc says whether the network sets it",
                        "apt install chrony: certificates, the audit chain and people need the right time (failover does not)")

    def configuration(self):
        if self.role != "host":
            return None
        text = self.machine.read(self.config_path)
        if text is None:
            return self.say("configuration", "warn", f"there is no {self.config_path}",
                            "take /usr/share/doc/bascule-hostd/examples/hostd.toml, then look again: pool, networks and device are read from it")
        try:
            self.config = tomllib.loads(text)
        except tomllib.TOMLDecodeError as err:
            return self.say("configuration", "bad", f"{self.config_path}: {err}", "mend that line")
        code, said = self.machine.run("hostd", "--config", self.config_path, "--check")
        if code == 127:
            return self.say("configuration", "bad", "hostd is not installed", "apt install ./bascule-hostd_*.deb")
        return self.say("configuration", "good" if code == 0 else "bad", f"{self.config_path} is good" if code == 0 else said.strip(),
                        "" if code == 0 else "hostd does not start with it")

    def virtualization(self):
        flags = set(re.findall(r"^flags\s*:(.*)$", self.machine.read("/proc/cpuinfo") or "", re.MULTILINE)[:1] or [""])
        names = set(" ".join(flags).split())
        kind = "Intel VT-x" if "vmx" in names else "AMD-V" if "svm" in names else ""
        if self.machine.exists("/dev/kvm"):
            return self.say("virtualization", "good", f"{kind or 'KVM'}, /dev/kvm is there")
        if kind:
            module = "kvm_intel" if "vmx" in names else "kvm_amd"
            return self.say("virtualization", "bad", f"{kind} is there but /dev/kvm is not",
                            f"modprobe {module}; if it says 'disabled by BIOS': switch virtualization on in the firmware's setup, then a cold start")
        return self.say("virtualization", "bad", "the processor offers no virtualization",
                        "switch VT-x or AMD-V (SVM) on in the firmware's setup; without it guests are emulated, which is for trying out only")

    def watchdog(self):
        wanted = self.config.get("watchdog", {}).get("device", "/dev/watchdog")
        devices = self.machine.list("/sys/class/watchdog")
        if not self.machine.exists(wanted):
            return self.say("watchdog", "bad", f"there is no {wanted}",
                            "load the driver of this machine's watchdog (iTCO_wdt, sp5100_tco, ipmi_watchdog) at boot, in /etc/modules-load.d; "
                            "no guest that fails over starts without one")
        name = re.sub(r"^watchdog$", "watchdog0", os.path.basename(wanted))
        identity = (self.machine.read(f"/sys/class/watchdog/{name}/identity") or "").strip() or ", ".join(devices) or "unknown"
        code, said = self.machine.run("systemctl", "show", "--property=RuntimeWatchdogUSec", "--value")
        if code == 0 and said.strip() not in ("0", "", "infinity"):
            return self.say("watchdog", "bad", f"systemd holds it (RuntimeWatchdogSec={said.strip()})",
                            "set RuntimeWatchdogSec=off in /etc/systemd/system.conf: the device has to be hostd's")
        if "software" in identity.lower() or "softdog" in identity.lower():
            return self.say("watchdog", "warn", f"{wanted} is a softdog", "it does not fire when the kernel hangs: for trying out only, with accept_softdog")
        return self.say("watchdog", "good", f"{wanted}: {identity}. Let it fire once: hostctl watchdog prove")

    def drbd(self):
        code, said = self.machine.run("modinfo", "--field", "version", "drbd")
        kernel = version(said) if code == 0 else ()
        if kernel[:2] != (8, 4) and kernel[:1] != (9,):
            return self.say("drbd", "bad", f"the kernel has DRBD {words(kernel)}" if kernel else "the kernel has no DRBD module",
                            "Debian's own kernel has 8.4: apt install linux-image-amd64, and start it")
        code, said = self.machine.run("drbdadm", "--version")
        tools = version(re.sub(r".*DRBDADM_VERSION=", "", said, flags=re.DOTALL)) if code == 0 else ()
        if tools < DRBD_UTILS:
            return self.say("drbd", "bad", f"drbd-utils {words(tools) or 'is not installed'}", f"apt install drbd-utils ({words(DRBD_UTILS)} or later)")
        if self.machine.run("systemctl", "is-enabled", "drbd.service")[1].strip() == "enabled":
            return self.say("drbd.service", "bad", "it is enabled: it would connect legs before hostd has decided that they may", "systemctl disable --now drbd")
        return self.say("drbd", "good", f"kernel {words(kernel)}, drbd-utils {words(tools)}")

    def libvirt(self):
        code, said = self.machine.run("qemu-system-x86_64", "--version")
        qemu = version(said) if code == 0 else ()
        if not qemu:
            return self.say("libvirt", "bad", "QEMU is not installed", "apt install ./bascule-hostd_*.deb brings it")
        if qemu < QEMU_EMULATES and not self.machine.exists("/dev/kvm"):
            self.say("qemu", "warn", f"QEMU {words(qemu)} without KVM", f"hostd moves no running VM with it: {words(QEMU_EMULATES)} or later is in bookworm-backports")
        if self.machine.run("systemctl", "is-enabled", "libvirtd-tls.socket")[1].strip() != "enabled":
            return self.say("libvirt", "bad", "libvirtd does not listen on TLS: no VM can move here",
                            "certificates into /etc/pki (docs/operations.md), then systemctl enable --now libvirtd-tls.socket")
        if self.machine.run("systemctl", "is-active", "libvirtd-tls.socket")[1].strip() != "active":  # an image enables it before there are certificates
            return self.say("libvirt", "bad", "libvirtd-tls.socket is enabled and does not listen: no VM can move here", "bascule-setup apply begins it; journalctl -u libvirtd-tls.socket")
        return self.say("libvirt", "good", f"QEMU {words(qemu)}, libvirtd on TLS")

    def pool(self):
        pool = self.config.get("pool", {})
        kind, group = pool.get("kind"), pool.get("group", "")
        if kind not in ("lvm", "lvm-thin"):
            return None if kind is None else self.say("pool", "warn", "files on a loop device", "for trying out only: take a volume group")
        code, said = self.machine.run("vgs", "--noheadings", "--nosuffix", "--units", "m", "-o", "vg_free", group)
        if code != 0:
            return self.say("pool", "bad", f"there is no volume group {group}", f"pvcreate the disks, then vgcreate {group} DISK...")
        free = float(said.strip().split()[-1])
        if kind == "lvm-thin":
            name = f"{group}/{pool.get('thin_pool', '')}"
            code, said = self.machine.run("lvs", "--noheadings", "--nosuffix", "--units", "m", "-o", "lv_size,data_percent", name)
            fields = said.split()
            if code != 0 or len(fields) < 2:
                return self.say("pool", "bad", f"there is no thin pool {name}", f"lvcreate --type thin-pool -L SIZE -n {pool.get('thin_pool', 'thin')} {group}")
            free = float(fields[0]) * (100 - float(fields[1])) / 100
        level = "good" if free >= POOL_MIB else "warn"
        return self.say("pool", level, f"{group}: {free / 1024:.0f} GiB free", "" if level == "good" else "it will not hold much")

    def networks(self):
        for network, bridge in self.config.get("networks", {}).items():
            if self.machine.exists(f"/sys/class/net/{bridge}/bridge"):
                self.say(f"network {network}", "good", f"bridge {bridge}")
            else:
                self.say(f"network {network}", "bad", f"there is no bridge {bridge}", "make it in /etc/network/interfaces (package bridge-utils) or systemd-networkd")

    def etcd(self):
        code, said = self.machine.run("etcd", "--version")
        here = version(said) if code == 0 else ()
        if not here and self.role == "host":
            return self.say("etcd", "warn", "not installed here", "right if this host is no voter: one on each site and the witness are")
        if here < ETCD:
            return self.say("etcd", "bad", f"etcd {words(here) or 'is not installed'}", f"apt install etcd-server ({words(ETCD)} or later)")
        if self.measure:
            folder = "/var/lib/etcd" if self.machine.exists("/var/lib/etcd") else "/var/lib"
            took = self.machine.fsync_ms(folder)
            level = "warn" if took is None or took > FSYNC_MS else "good"
            self.say("etcd's disk", level, f"{folder}: could not be written" if took is None else f"{folder}: 99 of 100 flushes within {took:.1f} ms",
                     "" if level == "good" else f"etcd wants {FSYNC_MS:.0f} ms: an own SSD, away from the clients' volumes")
        return self.say("etcd", "good", f"etcd {words(here)}")

    def certificates(self):
        paths = [f"{PKI}/{name}" for name in ("ca.pem", "host.pem", "host.key")]
        missing = [path for path in paths if not self.machine.exists(path)]
        if missing:
            return self.say("certificates", "bad", f"there is no {', '.join(missing)}", "from the cell's CA; docs/operations.md says what they carry")
        if self.machine.mode(paths[2]) & 0o077:
            return self.say("certificates", "bad", f"{paths[2]} can be read by others", f"chmod 600 {paths[2]}")
        code, said = self.machine.run("openssl", "verify", "-CAfile", paths[0], paths[1])
        if code != 0:
            return self.say("certificates", "bad", f"{paths[1]} is not of this CA: {said.strip().splitlines()[-1] if said.strip() else code}", "make it anew from the cell's CA")
        if self.machine.run("openssl", "x509", "-noout", "-in", paths[1], "-checkend", str(CERTIFICATE_DAYS * 86400))[0] != 0:
            return self.say("certificates", "warn", f"{paths[1]} ends within {CERTIFICATE_DAYS} days", "docs/runbooks/certificate-expiring.md")
        names = self.machine.run("openssl", "x509", "-noout", "-in", paths[1], "-ext", "subjectAltName")[1]
        if self.role == "host":
            uri = f"URI:urn:bascule:host:{self.config.get('host', '')}"
            if (uri if self.config.get("host") else "URI:urn:bascule:host:") not in names:
                return self.say("certificates", "bad", f"{paths[1]} does not carry {uri}", "make it anew: the URI says who this host is")
        return self.say("certificates", "good", "of the cell's CA")

    def links(self):
        for name, address in self.peers:
            if self.role == "host" and name != "witness" and not self.machine.resolves(name):
                self.say(f"name {name}", "bad", f"{name} is no address here", f"echo '{address} {name}' >>/etc/hosts: libvirt reaches the other host by its id")
            code, said = self.machine.run("ping", "-n", "-q", "-c", str(PINGS), "-i", "0.2", "-w", "10", address)
            times = re.search(r"= [\d.]+/([\d.]+)/([\d.]+)/", said)
            loss = re.search(r"([\d.]+)% packet loss", said)
            if code == 127:
                self.say(f"link to {name}", "warn", "there is no ping", "apt install iputils-ping")
            elif not times:
                self.say(f"link to {name}", "bad", f"{address} does not answer", "mend the network, or let ICMP through for this look")
            else:
                self.link(name, float(times[1]), float(times[2]), float(loss[1]) if loss else 0.0)

    def link(self, name, average, most, loss):
        replicates = self.role == "host" and name != "witness"
        limit = LINK_MOST_MS if replicates else ARBITER_MOST_MS
        text = f"{average:.2f} ms, at most {most:.2f}, {loss:.0f} % lost"
        if average > limit:
            why = "every write of a guest waits for it" if replicates else "etcd's heartbeat is 100 ms"
            return self.say(f"link to {name}", "bad", text, f"more than {limit:.0f} ms: {why}")
        if loss > 0 or (replicates and average > LINK_MS):
            return self.say(f"link to {name}", "warn", text, "packets are lost" if loss > 0 else "guests will feel it at each write")
        return self.say(f"link to {name}", "good", text)


def show(where, found):
    print(f"{where}:")
    for one in found:
        print(f"  {one['level']:4} {one['check']}: {one['found']}")
        if one["mend"]:
            print(f"       {'mend' if one['level'] == 'bad' else 'note'}: {one['mend']}")


def over_ssh(targets, arguments):
    """The same look on each machine, by this very program sent there: {where: findings}. A machine that cannot be reached is a finding."""
    out = {}
    own = pathlib.Path(__file__).read_text()
    for target in targets:
        role, _, where = target.partition(":")
        if role not in ("host", "witness") or not where or where.startswith("-"):
            raise SystemExit(f"bascule-setup: --ssh {target}: write host:USER@ADDRESS or witness:USER@ADDRESS")
        try:
            done = subprocess.run(["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--", where, "python3", "-", "--json", "--role", role, *arguments],
                                  input=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=SSH_SECONDS, check=False)
            found = json.loads(done.stdout)["findings"]
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as err:
            said = done.stderr.strip().splitlines()[-1:] if isinstance(err, (ValueError, KeyError)) else [str(err)]
            found = [{"check": "ssh", "level": "bad", "found": "it could not be looked at: " + "".join(said), "mend": f"try: ssh {where} python3 --version"}]
        out[f"{role} {where}"] = found
    return out


def peer(text):
    name, _, address = text.partition("=")
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", name) or not re.fullmatch(r"[0-9A-Fa-f.:]+", address):
        raise argparse.ArgumentTypeError(f"'{text}': write NAME=ADDRESS, such as b1=192.0.2.21")
    return name, address


def beside(argv, machine):
    """The other commands lie beside this file, or where the package puts them; a look is this file alone, to be sent over ssh."""
    sys.dont_write_bytecode = True
    for folder in (str(pathlib.Path(__file__).resolve().parent), MODULES):
        if os.path.exists(f"{folder}/bascule_apply.py") and folder not in sys.path:
            sys.path.insert(0, folder)
    import bascule_apply
    import bascule_ca
    if argv[0] == "ca":
        return bascule_ca.main(argv[1:])

    def look(plan):
        """What is bad and no step mends."""
        others = [(host.id, host.address) for host in plan.cell.hosts.values() if host.id != plan.name] + [("witness", plan.cell.witness)]
        role = "host" if plan.host else "witness"
        found = Look(machine or Machine(), role, [(name, address) for name, address in others if name != plan.name]).all()
        show(role, found)
        return [one["check"] for one in found if one["level"] == "bad" and one["check"] in bascule_apply.NEEDED]

    return bascule_apply.main(argv[1:], look)


def main(argv=None, machine=None):
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] in (["apply"], ["ca"]):
        return beside(argv, machine)
    options = argparse.ArgumentParser(prog="bascule-setup", description="Looks at a machine that is to be part of a cell, and says what to mend. Changes nothing; the commands apply and ca do.")
    options.add_argument("--role", choices=("host", "witness"), default="host")
    options.add_argument("--peer", action="append", type=peer, default=[], metavar="NAME=ADDRESS", help="another host, or 'witness' (repeatable)")
    options.add_argument("--config", default=CONFIG, help=f"hostd's configuration (default {CONFIG})")
    options.add_argument("--measure", action="store_true", help="also measure the disk of etcd's data, by writing 4 KiB there")
    options.add_argument("--ssh", action="append", default=[], metavar="ROLE:USER@ADDRESS", help="look at these machines instead (repeatable)")
    options.add_argument("--json", action="store_true", help="for programs")
    args = options.parse_args(argv)
    if args.ssh:
        passed = [word for name, address in args.peer for word in ("--peer", f"{name}={address}")]
        looks = over_ssh(args.ssh, passed + (["--measure"] if args.measure else []))
    else:
        looks = {args.role: Look(machine or Machine(), args.role, args.peer, args.config, args.measure).all()}
    bad = sum(one["level"] == "bad" for found in looks.values() for one in found)
    if args.json:
        print(json.dumps({"ok": not bad, **({"machines": looks} if args.ssh else {"findings": looks[args.role]})}, indent=1))
    else:
        for where, found in looks.items():
            show(where, found)
        print(f"{bad} to mend" if bad else "nothing to mend")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # what it does is read while it does it
    sys.exit(main())
