"""bascule-setup apply: makes this machine a host or the witness of the cell that cell.toml describes.

    bascule-setup apply --answers cell.toml --as a1             shows every step, then asks before each
    bascule-setup apply --answers cell.toml --as a1 --dry-run   only shows them: whether this machine is still what it was made
    bascule-setup apply --answers cell.toml --as witness --yes  asks nothing

Each step looks first whether it is done, so the program is run again until nothing is left: it waits in the middle for the
certificate that the CA's machine has to sign, and may be interrupted at any point. A file that differs is kept beside the new one
(FILE.before-N), a disk that is not empty is not touched. A service whose files were changed is restarted: etcd, libvirtd, hostd.

Exit 0: nothing is left; 1: a step failed or was declined; 2: it could not begin; 3: something is left, as said."""
import argparse
import json
import os
import re
import sys
import tomllib

import bascule_answers as answers
import bascule_ca as ca
from bascule_steps import BLANK_NOT, DONE, FAILED, WAITS, WRONG, Copy, InForce, Run, Step, Stop, System, Write

# What no step mends, and without which a host must not begin.
NEEDED = ("virtualization", "watchdog", "drbd")
ETCD, LIBVIRTD, HOSTD, TLS = "etcd.service", "libvirtd.service", "hostd.service", "libvirtd-tls.socket"
LOCAL = ("libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket")
MADE_HERE = "bascule-setup"  # LVM's tag of what may be removed and made again


class Plan:
    """The steps of one machine, in order."""

    def __init__(self, system, cell, name, root=""):
        self.system, self.cell, self.name, self.root = system, cell, name, root
        self.pki = f"{root}/etc/bascule/pki"
        self.host = cell.hosts.get(name)

    def steps(self):
        votes = self.name in self.cell.members()
        steps = [Step("names", self.names)] + ([Step("pool", self.pool)] if self.host else [])
        steps.append(Step("key and certificate", self.certificate))
        if self.host:
            steps += [Step("libvirt's certificates", self.libvirt_certificates), Step("libvirt's configuration", self.libvirt)]
        if votes:
            steps += [Step("etcd's certificates", self.etcd_certificates), Step("etcd", self.etcd)]
        if self.host:
            steps.append(Step("hostd.toml", self.hostd))
        return steps + ([] if self.root else [Step("units", self.units)])

    def names(self):
        """libvirt reaches the other hosts by their ids."""
        path = f"{self.root}/etc/hosts"
        text = self.system.read(path) or ""
        known = {name: line.split()[0] for line in text.splitlines() if not line.strip().startswith("#") for name in line.split()[1:]}
        missing = ""
        for host in self.cell.hosts.values():
            if host.id == self.name:
                continue  # Debian's installer gives it one of its own
            if host.id not in known:
                missing += f"{host.address} {host.id}\n"
            elif known[host.id] != host.address:
                raise Stop(f"{path} has {host.id} as {known[host.id]}, cell.toml as {host.address}: one of them is wrong")
        return [Write(path, text + ("" if text.endswith("\n") or not text else "\n") + missing)] if missing else []

    def certificate(self):
        key, csr, pem = (f"{self.pki}/host.{kind}" for kind in ("key", "csr", "pem"))
        bring = (f"carry {csr} to the CA's machine: bascule-setup ca sign --folder ca --answers cell.toml --machine {self.name} host.csr; "
                 f"bring host.pem, ca.pem and api-ca.pem from there into {self.pki}, and run this again")
        if not self.system.exists(key) or not (self.system.exists(csr) or self.system.exists(pem)):
            return [_Request(key, csr, self.name)]
        missing = [path for path in (pem, f"{self.pki}/ca.pem", f"{self.pki}/api-ca.pem") if not self.system.exists(path)]
        if missing:
            raise Stop(f"there is no {', '.join(missing)} yet: {bring}", WAITS)
        code, said = self.system.run(["openssl", "verify", "-CAfile", f"{self.pki}/ca.pem", pem])
        if code != 0:
            raise Stop(f"{pem} is not of {self.pki}/ca.pem: {said.strip()}")
        public = [self.system.run(["openssl", *words]) for words in (("x509", "-noout", "-pubkey", "-in", pem), ("pkey", "-pubout", "-in", key))]
        if public[0][0] != 0 or public[0] != public[1]:
            raise Stop(f"{pem} is not the certificate of {key}: {bring}")
        said = self.system.run(["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", pem])[1].replace("IP Address:", "IP:")
        for name in answers.names_of(self.cell, self.name).split(","):
            if name not in re.split(r"[,\s]+", said):
                raise Stop(f"{pem} does not carry {name}: have it signed anew with the cell.toml of now")
        return []

    def copies(self, pairs, unit):
        """A copy for each that is not there yet, or not for whom it is to be. pairs: (source, target, mode, owner)."""
        copies = [Copy(source, target, mode, None if self.root else owner, self.of(unit)) for source, target, mode, owner in pairs]
        return [copy for copy in copies if not copy.done(self.system)]

    def of(self, unit):
        """Below a folder, for trying out, there are no units."""
        return None if self.root else unit

    def libvirt_certificates(self):
        ca_pem, pem, key, root = f"{self.pki}/ca.pem", f"{self.pki}/host.pem", f"{self.pki}/host.key", f"{self.root}/etc/pki"
        own, qemu = ("root", "root"), ("root", "libvirt-qemu")  # QEMU runs as its own user and reads its key itself
        pairs = [(ca_pem, f"{root}/CA/cacert.pem", 0o644, own), (ca_pem, f"{root}/qemu/ca-cert.pem", 0o644, own)]
        for kind in ("server", "client"):
            pairs += [(pem, f"{root}/libvirt/{kind}cert.pem", 0o644, own), (key, f"{root}/libvirt/private/{kind}key.pem", 0o600, own),
                      (pem, f"{root}/qemu/{kind}-cert.pem", 0o644, own), (key, f"{root}/qemu/{kind}-key.pem", 0o640, qemu)]
        return self.copies(pairs, LIBVIRTD)

    def libvirt(self):
        out = []
        for name, keys in (("libvirtd.conf", answers.libvirt_keys(self.cell)), ("qemu.conf", answers.qemu_keys(self.cell, self.name, self.root))):
            path = f"{self.root}/etc/libvirt/{name}"
            before = self.system.read(path)
            text, other = answers.with_keys(before or "", keys)
            if other:
                raise Stop(f"{path} sets {', '.join(other)} to something else; Bascule needs {', '.join(f'{key} = {keys[key]}' for key in other)}: "
                           "decide, and take the line out")
            out += [] if text == before else [Write(path, text, unit=self.of(LIBVIRTD))]
        return out

    def pool(self):
        pool = self.cell.pool
        if pool["kind"] == "loop":
            path = self.root + pool["path"]
            return [] if self.system.exists(path) else [Run("mkdir", "-p", "-m", "700", path)]
        if self.root:
            return []
        group, out = pool["group"], []
        if self.system.run(["vgs", "--noheadings", "-o", "vg_name", group])[0] != 0:
            if not self.host.disks:
                raise Stop(f"there is no volume group {group}, and hosts.{self.name}.disks names none to make it of")
            for disk in self.host.disks:
                self.empty(disk)
            # Without --yes and without anybody to say yes: what it finds on a disk after all ends it.
            out.append(Run("vgcreate", group, *self.host.disks))
        return out + self.thin_pool(group, pool["thin_pool"]) if pool["kind"] == "lvm-thin" else out

    def thin_pool(self, group, name):
        """LVM makes one in several steps, the first of which is a plain volume of its name; so it gets its name when it is whole."""
        code, said = self.system.run(["lvs", "--noheadings", "-o", "segtype,lv_active", f"{group}/{name}"])
        begin = Run("lvchange", "--activate", "y", f"{group}/{name}")
        if code == 0 and said.split()[:1] != ["thin-pool"]:
            raise Stop(f"{group}/{name} is there and is no thin pool but {said.strip() or 'unknown'}: if nothing in it is needed, lvremove it, and run this again")
        if code == 0:  # what an interrupted beginning left active is in the way of the next
            return [] if said.split()[1:] else [Run("lvchange", "--activate", "n", *(f"{group}/{name}_{part}" for part in ("tmeta", "tdata"))), begin]
        fresh = f"{name}.new"
        code, said = self.system.run(["lvs", "--noheadings", "--separator", ";", "-o", "lv_tags,thin_count", f"{group}/{fresh}"])
        tags, _, volumes = said.strip().partition(";")
        if code == 0 and (MADE_HERE not in tags.split(",") or volumes not in ("", "0")):
            raise Stop(f"{group}/{fresh} is there and was not left by an interrupted run of this: if nothing in it is needed, lvremove it, else rename it; "
                       "then run this again")
        return ([Run("lvremove", "--yes", f"{group}/{fresh}")] if code == 0 else []) + [
            Run("lvcreate", "--activate", "n", "--addtag", MADE_HERE, "--type", "thin-pool", "-l", "95%FREE", "-n", fresh, group),
            Run("lvrename", group, fresh, name), begin]

    def empty(self, disk):
        """A disk on which anything was ever written is for a person to look at, never for a program to clear."""
        def not_empty(why):
            raise Stop(f"{disk} is not touched: {why}. If nothing on it is needed, clear it yourself (wipefs --all, blkdiscard), and run this again")
        if not self.system.block_device(disk):
            raise Stop(f"{disk} is no disk of this machine")
        code, said = self.system.run(["wipefs", "--no-act", "--noheadings", "--output", "TYPE,OFFSET", disk])
        found = ", ".join(said.split()[::2])
        # A vgcreate that was interrupted leaves one of no group, and takes it when it is done again.
        orphan = code == 0 and found == "LVM2_member" and self.nobodys(disk)
        if not orphan and (code != 0 or said.strip()):
            not_empty("wipefs finds " + (found or "nothing it can read") if code == 0 else f"wipefs: {said.strip()}")
        code, said = self.system.run(["lsblk", "--json", "--output", "NAME,TYPE,RO,MOUNTPOINTS", disk])
        try:
            device, = json.loads(said)["blockdevices"]
        except (ValueError, KeyError):
            raise Stop(f"lsblk does not tell of {disk}: {said.strip()}") from None
        if device.get("children") or any(device.get("mountpoints") or []):
            not_empty("lsblk shows something on it")
        if device.get("ro"):
            not_empty("it is read-only")
        if not orphan and self.system.run(["pvs", "--noheadings", "-o", "pv_name", disk])[0] == 0:
            not_empty("it is a physical volume of LVM already")
        why = self.system.in_use(disk)
        if why and not (orphan and why == BLANK_NOT):
            not_empty(why)

    def nobodys(self, disk):
        """A physical volume of no group."""
        code, said = self.system.run(["pvs", "--noheadings", "-o", "vg_name,pv_in_use", disk])
        return code == 0 and not said.strip()

    def etcd_certificates(self):
        target, own = f"{self.root}/etc/etcd/bascule", ("etcd", "etcd")
        return self.copies([(f"{self.pki}/{name}", f"{target}/{name}", mode, own) for name, mode in (("ca.pem", 0o644), ("host.pem", 0o644), ("host.key", 0o600))], ETCD)

    def etcd(self):
        path, text = f"{self.root}/etc/default/etcd", answers.etcd_default(self.cell, self.name, self.root)
        more = f"{self.root}/etc/systemd/system/{ETCD}.d/10-bascule.conf"
        out = [] if self.system.read(more) == answers.ETCD_UNIT else [Write(more, answers.ETCD_UNIT, unit=self.of(ETCD))]
        if self.system.read(path) == text:
            return out
        if self.system.exists(f"{self.root}/var/lib/etcd/bascule/member"):
            raise Stop(f"{path} would change, and this member has data already: change a member that runs with etcdctl member, not with this")
        return [Write(path, text, unit=self.of(ETCD)), *out]

    def hostd(self):
        path, text = f"{self.root}/etc/bascule/hostd.toml", answers.hostd_toml(self.cell, self.name, self.root)
        before = self.system.read(path)
        if before == text:
            return []
        more, differs = compared(path, before or "", tomllib.loads(text))
        if more and differs:
            raise Stop(f"{path} would change ({', '.join(differs)}), and it holds what cell.toml does not know: {', '.join(more)}. Nothing was written there; "
                       "bring the file in line with cell.toml by hand, and hostd --check looks at it")
        return [Write(path, text, ["hostd", "--config", "{}", "--check"], self.of(HOSTD))] if differs else []

    def shows(self, unit, what):
        return self.system.run(["systemctl", "show", "--property", what, "--value", unit])[1].strip()

    def enabled(self, unit):
        return self.system.run(["systemctl", "is-enabled", unit])[1].strip() == "enabled"

    def runs(self, unit):
        return self.shows(unit, "ActiveState") in ("active", "activating", "reloading")

    def enabling(self, unit):
        return [] if self.enabled(unit) else [Run("systemctl", "enable", unit)]

    def in_force(self, unit):
        """Enabled, and with the files as they are now."""
        out = self.enabling(unit)
        if self.system.marked(unit):
            return out + [InForce(unit, "systemctl", "restart", unit)]
        return out if self.runs(unit) else out + [Run("systemctl", "start", unit)]

    def units(self):
        votes = self.name in self.cell.members()
        units = ([ETCD] if votes else []) + ([LIBVIRTD, HOSTD] if self.host else [])
        out = [Run("systemctl", "daemon-reload")] if any(self.shows(unit, "NeedDaemonReload") == "yes" for unit in units) else []
        out += self.in_force(ETCD) if votes else []
        if not self.host:
            return out
        if self.enabled("drbd.service"):
            out.append(Run("systemctl", "disable", "--now", "drbd.service"))
        if not self.system.exists("/sys/module/drbd"):
            out.append(Run("modprobe", "drbd"))
        out += self.enabling(TLS)
        if self.runs(TLS):
            out += self.in_force(LIBVIRTD)
        else:  # the socket takes its address only while the service does not run; hostd, which asks libvirt all the time, would begin it by the others
            out += [*self.enabling(LIBVIRTD), Run("systemctl", "stop", LIBVIRTD, *LOCAL), Run("systemctl", "start", TLS, *LOCAL),
                    InForce(LIBVIRTD, "systemctl", "start", LIBVIRTD)]
        return out + self.in_force(HOSTD)


def compared(path, text, known):
    """(keys of a configuration that `known` has not, keys that `known` has and that are not so there)."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise Stop(f"{path} cannot be read, so that it is not known what would be lost of it: {err}") from None

    def walk(one, other, name, deep):
        for key, value in one.items():
            here = f"{name}.{key}" if name else key
            if isinstance(value, dict) and isinstance(other.get(key), dict):
                yield from walk(value, other[key], here, deep)
            elif key not in other or (deep and value != other[key]):
                yield here
    return list(walk(table, known, "", False)), list(walk(known, table, "", True))


class _Request:
    """The key is made here and stays; what leaves is the request."""

    def __init__(self, key, csr, name):
        self.key, self.csr, self.name = key, csr, name

    def shown(self, system):
        out = [] if system.exists(self.key) else [f"+ openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {self.key}   # mode 600"]
        return out + [f"+ openssl req -new -sha256 -key {self.key} -subj /CN={self.name} -out {self.csr}"]

    def act(self, system):
        system.folder(os.path.dirname(self.key), 0o700)
        try:
            ca.request(self.key, self.csr, self.name, quiet=True)
        except (ca.Failed, OSError) as err:
            raise Stop(str(err)) from None


def show(plan):
    """All of it, as it stands now: later steps may wait for earlier ones. True when nothing is left to do."""
    left = False
    for step in plan.steps():
        try:
            actions = step.actions()
        except Stop as stop:
            print(f"  {step.name}: {stop}")
            left = True
            continue
        left = left or bool(actions)
        print(f"  {step.name}: " + ("to do" if actions else "done already"))
        for action in actions:
            for line in action.shown(plan.system):
                print("      " + line)
    return not left


def carry_out(plan, agreed):
    for step in plan.steps():
        actions = step.actions()
        if actions:
            print(f"{step.name}:")
            for action in actions:
                for line in action.shown(plan.system):
                    print("  " + line)
            if not agreed(f"{step.name}: do this?"):
                raise Stop(f"{step.name} was not done, nor what follows it; run this again to go on")
            for action in actions:
                action.act(plan.system)
            if step.actions():
                raise Stop(f"{step.name}: it was done and does not hold; look at what it says above")
        print(f"{step.name}: done")


def main(argv, look=None, system=None):
    options = argparse.ArgumentParser(prog="bascule-setup apply", description="Makes this machine a host or the witness of a cell, step by step.")
    options.add_argument("--answers", required=True, help="cell.toml: what the cell is made of")
    options.add_argument("--as", dest="name", required=True, metavar="ID", help="which host this machine is to be, or 'witness'")
    options.add_argument("--dry-run", action="store_true", help="only show the steps; exit 3 when something is left to do")
    options.add_argument("--yes", action="store_true", help="ask nothing")
    options.add_argument("--anyway", action="store_true", help="go on although virtualization, the watchdog or DRBD is missing: for trying out")
    options.add_argument("--root", default="", help="write below this folder, and touch neither disks nor units: for trying out")
    args = options.parse_args(argv)
    try:
        cell = answers.load(args.answers)
        if args.name != answers.WITNESS and args.name not in cell.hosts:
            raise answers.Wrong(f"{args.answers} has no machine {args.name}; there are {', '.join([*cell.hosts, answers.WITNESS])}")
    except answers.Wrong as err:
        print(f"bascule-setup apply: {err}", file=sys.stderr)
        return WRONG
    root = args.root.rstrip("/")
    if args.root and not root:
        print("bascule-setup apply: --root / is this machine itself: leave it out; nothing was changed", file=sys.stderr)
        return WRONG
    plan = Plan(system or System(), cell, args.name, root)
    missing = [] if root or look is None else look(plan)
    if missing and not args.anyway and not args.dry_run:
        print(f"bascule-setup apply: mend first: {', '.join(missing)} (or --anyway, for trying out); nothing was changed", file=sys.stderr)
        return FAILED
    print(f"steps for {args.name} of cell {cell.name}, as it stands now:")
    done = show(plan)
    if args.dry_run:
        return DONE if done else WAITS
    os.umask(0o022)  # what it makes is as it says, whatever the shell's own is
    try:
        carry_out(plan, (lambda _question: True) if args.yes else ca.agreed)
    except (Stop, OSError) as err:
        print(f"bascule-setup apply: {err}", file=sys.stderr)
        return err.code if isinstance(err, Stop) else FAILED
    print("nothing is left to do; now look: hostctl health, and hostctl watchdog prove before the first VM" if plan.host else "nothing is left to do")
    return DONE
