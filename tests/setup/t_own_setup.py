#!/usr/bin/python3
"""What tests/setup/run runs: machines of nobody's become a cell by bascule-setup alone, and the cell does its job."""
import os
import pathlib
import re
import shutil
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))
sys.path.insert(0, str(HERE.parent / "image"))

import image_lab  # noqa: E402
import operator_desk  # noqa: E402
from lablib import faults  # noqa: E402
from lablib.case import expect, sh  # noqa: E402
from lablib.client_vm import NAME, ClientVm  # noqa: E402
from lablib.plan import PROJECT  # noqa: E402
from lablib.proc import wait_for  # noqa: E402
from lablib.trial import Trial  # noqa: E402

HOSTS = ("a1", "b1")
# These machines are small, and emulate: what is not to be so on a real one. hostd.toml keeps it beside what cell.toml says.
SMALL = '\n[capacity]\nmemory_mib = 500\n'
# Seconds between the first thing that a run of apply does and its end by kill -9. Longer each time round: a restart of etcd takes seconds here.
SHORT = (0.0, 0.1, 0.3, 0.7)
# Each setting of a host: (the step that sees it, what breaks it, what a dry run says of it).
TLS = "/etc/pki/libvirt"
BREAKS = (
    ("names", "sed -i '/ a1$/d' /etc/hosts", ["+10.77.1.11 a1"]),
    ("pool", "lvremove -qq -y vg0/thin", ["+ lvcreate --activate n --addtag bascule-setup --type thin-pool"]),
    ("key and certificate", "mv /etc/bascule/pki/api-ca.pem /run/kept.pem", ["there is no /etc/bascule/pki/api-ca.pem"]),
    ("libvirt's certificates", f"chmod 644 {TLS}/private/serverkey.pem; chgrp root /etc/pki/qemu/server-key.pem; truncate -s 100 /etc/pki/qemu/client-key.pem; "
     f"rm /etc/pki/CA/cacert.pem; echo x >{TLS}/clientcert.pem",
     [f"{TLS}/private/serverkey.pem, mode 600", "/etc/pki/qemu/server-key.pem, mode 640 root:libvirt-qemu", "qemu/client-key.pem, mode 640 root:libvirt-qemu; what",
      "/etc/pki/CA/cacert.pem", f"{TLS}/clientcert.pem"]),
    ("libvirt's configuration", "sed -i '/^migrate_tls_force/d' /etc/libvirt/qemu.conf; sed -i 's/\"CN=a1\", //' /etc/libvirt/libvirtd.conf",
     ["+migrate_tls_force = 1", '+tls_allowed_dn_list = [ "CN=a1", "CN=b1" ]']),
    ("etcd's certificates", "chown root /etc/etcd/bascule/host.key; chmod 600 /etc/etcd/bascule/ca.pem", ["host.key, mode 600 etcd:etcd", "ca.pem, mode 644 etcd:etcd"]),
    ("units", "systemctl -q disable etcd hostd libvirtd; systemctl stop libvirtd-tls.socket", ["enable etcd.service", "enable libvirtd.service", "enable hostd.service", "start libvirtd-tls.socket"]),
    ("etcd", "rm /etc/systemd/system/etcd.service.d/10-bascule.conf", ["write /etc/systemd/system/etcd.service.d/10-bascule.conf"]),
    ("hostd.toml", "sed -i 's/^listen = .*/listen = \"127.0.0.1:8443\"/' /etc/bascule/hostd.toml", ['+listen = "10.77.1.21:8443"']),
)
KEPT = os.environ.get("BASCULE_KEPT")  # a folder of an earlier run, or for this one: the image and the desk in it are taken, and stay
work = pathlib.Path(KEPT or tempfile.mkdtemp(prefix="setup-run.", dir="/var/tmp"))
state = {}


def desk():
    """The machines, booted from the image, and the operator's place beside them."""
    if "desk" not in state:
        image = os.environ.get("BASCULE_IMAGE", work / "image/host-root.tar.zst")
        if not os.path.exists(image) and "LAB_NAME" not in os.environ:
            image_lab.build_image(work / "image", image_lab.packages(work), "--emulation", "--no-disk")
        state["desk"] = operator_desk.Desk(image_lab.machines("own-setup", image, fresh=True), work)
    return state["desk"]


def on(host, *command, **more):
    return sh(desk().lab, host, *command, **more)


def files(host):
    """What setup wrote, by path: mode, owner, content's digest."""
    said = on(host, "sh", "-c", "find /etc/hosts /etc/default/etcd /etc/bascule /etc/etcd /etc/pki /etc/libvirt/*.conf /etc/systemd/system "
              "-type f -printf '%p %m %u:%g ' -exec sha256sum {} \\; 2>/dev/null || true")
    return {line.split()[0]: tuple(line.split()[1:4]) for line in said.splitlines()}


def begun(host):
    """When the host's services began: another number is another process."""
    units = ("etcd", "libvirtd", "hostd") if host in HOSTS else ("etcd",)
    return {unit: on(host, "systemctl", "show", "-p", "ExecMainPID", "--value", unit).strip() for unit in units}


def steps_left(said):
    """Steps of a dry run that are not done: {name: what it says}."""
    return dict(re.findall(r"^  ([a-z][^:]*): (?!done already)(.*)$", said.partition("\nsteps for ")[2], re.MULTILINE))


def test_machines_of_nobody():
    """Three machines boot from the image: they have a network, a way in and an empty disk, and nothing of a cell."""
    for host in ("a1", "b1", "w"):
        for path in ("/etc/bascule/hostd.toml", "/etc/bascule/pki/host.key", "/etc/etcd/bascule", "/etc/pki/libvirt", "/var/lib/etcd/bascule"):
            expect(on(host, "sh", "-c", f"test ! -e {path} && echo no", check=False).strip() == "no", f"{host} has {path}")
        expect("b1" not in on(host, "cat", "/etc/hosts").replace("127.0.1.1 b1", ""), "a host knows the other one")
        expect(on(host, "vgs", "--noheadings").strip() == "", "a volume group is there")
        running = on(host, "systemctl", "is-active", "hostd", "etcd", "libvirtd-tls.socket", check=False).split()
        expect(running == ["inactive"] * 3, f"{host}: hostd, etcd and TLS of libvirt are {running}")
        expect(on(host, "systemctl", "list-units", "--failed", "--plain", "--no-legend").strip() == "", "a unit has failed")


def test_look_from_the_desk():
    """bascule-setup looks at all three over ssh, and names what a fresh machine lacks."""
    said = desk().says("bascule-setup --ssh host:root@192.0.2.11 --ssh host:root@192.0.2.21 --ssh witness:root@192.0.2.5 --peer b1=192.0.2.21 --measure", code=1)
    for words in ("host root@10.77.1.11:", "host root@10.77.1.21:", "witness root@10.77.1.5:", "bad  certificates", "bad  libvirt", "etcd's disk: /var/lib/etcd"):
        expect(words in said, f"nothing of '{words}' in:\n{said}")
    expect("could not be looked at" not in said, said)
    print("      " + "\n      ".join(line for line in said.splitlines() if re.match("  (bad|warn) ", line)), flush=True)


def test_wrong_answers():
    """A wrong cell.toml is refused with its key, on the machine and at the CA; nothing is written."""
    desk().says("bascule-setup ca init --folder ca --cell main")
    good = desk().cell_toml()
    for old, new, words in (('site = "B"', 'site = "C"', "hosts.b1.site: A or B"), ("[pool]", "[pol]", "pol: there is no such key"),
                            ('address = "10.77.1.21"', 'address = "10.77.1.11"', "is the address of two machines"), ("[witness]", "[witness", "line")):
        desk().carry("cell.toml", "a1", good.replace(old, new, 1))
        before = files("a1")
        code, said = desk().on("a1", "bascule-setup apply --answers cell.toml --as a1 --dry-run")
        expect(code == 2 and words in said and "cell.toml" in said, f"exit {code}: {said}")
        expect(files("a1") == before, "something was written")
    desk().carry("cell.toml", "a1", good)
    code, said = desk().on("a1", "bascule-setup apply --answers cell.toml --as a1", "--as", "c1")
    expect(code == 2 and "there are a1, b1, witness" in said, said)


def test_first_host_and_witness():
    """As the document says it: apply until the certificate, the CA signs, apply again until nothing is left; hostd runs although no other member does yet."""
    code, said = desk().on("a1", "bascule-setup apply --answers cell.toml --as a1 --dry-run")
    expect(code == 3 and "+ vgcreate vg0 /dev/ubdb" in said and "openssl genpkey" in said, said)
    code, said = desk().on("a1", "bascule-setup apply --answers cell.toml --as a1", "--yes")
    expect(code == 1 and "mend first: virtualization" in said, f"exit {code}: {said}")
    for name in ("a1", "witness"):
        _until_certificate(name)
        desk().sign(name)
        code, said = desk().apply(name)
        expect(code == 0 and "nothing is left to do" in said, f"{name}: exit {code}\n{said}")
    expect(on("a1", "systemctl", "is-active", "etcd", "libvirtd", "libvirtd-tls.socket", "hostd").split() == ["active"] * 4, "not all of a1's services run")


def _until_certificate(name):
    desk().carry("cell.toml", name, desk().cell_toml())
    code, said = desk().apply(name)
    expect(code == 3 and f"ca sign --folder ca --answers cell.toml --machine {name} host.csr" in said, f"{name}: exit {code}\n{said}")


def test_interrupted_everywhere():
    """The other host: apply is ended by kill -9 again and again, right after the first thing that it does, and run again: it comes to the same end."""
    desk().carry("cell.toml", "b1", desk().cell_toml())
    killed, signed, key = 0, False, None
    for turn in range(60):
        code, said = desk().killed("b1", SHORT[turn % len(SHORT)] * (1 + turn // len(SHORT)))
        if key is None and on("b1", "sh", "-c", "test -e /etc/bascule/pki/host.csr && echo yes", check=False).strip() == "yes":
            key = on("b1", "sha256sum", "/etc/bascule/pki/host.key")
        if code == 0:
            break
        if code == 3 and not signed:
            desk().sign("b1")
            signed = True
            continue
        killed += 1
        expect(code == 137, f"exit {code}, after {killed} interruptions:\n{said}")
    else:
        expect(False, f"no end after {killed} interruptions:\n{said}")
    print(f"      {killed} interruptions", flush=True)
    expect(killed >= 5, f"it was interrupted {killed} times only: this shows nothing")
    expect(on("b1", "sha256sum", "/etc/bascule/pki/host.key") == key, "the key is another one")
    a1, b1 = files("a1"), files("b1")
    wanted = {path: access[:2] for path, access in a1.items() if ".before-" not in path}
    found = {path: access[:2] for path, access in b1.items() if ".before-" not in path}
    expect(found == wanted, f"b1 differs from a1: {sorted(set(found.items()) ^ set(wanted.items()))}")
    same = ("/etc/default/etcd", "/etc/hosts", "/etc/bascule/hostd.toml", "/etc/libvirt/qemu.conf")
    expect([path for path in wanted if path.endswith("ca.pem")] and all(a1[path][2] == b1[path][2] for path in wanted if path.endswith("ca.pem")), "CAs differ")
    expect(all(a1[path][2] != b1[path][2] for path in same), "b1 has a1's configuration")


def test_cell():
    """etcd has three members, every host sees all of them, each setting is made for good: a second apply changes nothing and restarts nothing."""
    desk().people()
    members = on("a1", "sh", "-c", "ETCDCTL_API=3 etcdctl --cacert /etc/etcd/bascule/ca.pem --cert /etc/etcd/bascule/host.pem --key /etc/etcd/bascule/host.key "
                 "--endpoints https://10.77.1.11:2379,https://10.77.1.21:2379,https://10.77.1.5:2379 endpoint health 2>&1", check=False)
    expect(members.count("is healthy") == 3, members)
    vm = the_vm()
    vm.job.hosts_ready()
    for line in desk().hostctl("host", "list").splitlines():
        print(f"      {line}", flush=True)
    for name, host in (("a1", "a1"), ("b1", "b1"), ("witness", "w")):
        before = files(host), begun(host)
        code, said = desk().apply(name)
        expect(code == 0 and not steps_left(said), f"{name}: exit {code}\n{said}")
        expect((files(host), begun(host)) == before, f"{name}: a second apply changed something")
        code, said = desk().on(name, "bascule-setup apply --answers cell.toml --as a1 --dry-run")
        expect(code == 0 and not steps_left(said), f"{name}: exit {code}\n{said}")


def test_each_setting_is_watched():
    """On a host each setting is broken once: a dry run finds it, and nothing else; apply mends all, restarts the services whose files it changed, and says which."""
    broken = set()
    for step, script, words in BREAKS:
        on("b1", "sh", "-c", script)
        broken.add(step)
        code, said = desk().on("b1", "bascule-setup apply --answers cell.toml --as a1 --dry-run")
        left = steps_left(said)
        expect(code == 3 and set(left) == broken, f"{step}: exit {code}, left: {left}")
        expect(all(word in said for word in words), f"{step}: not all of {words} in\n{said}")
        if step == "key and certificate":
            on("b1", "mv", "/run/kept.pem", "/etc/bascule/pki/api-ca.pem")
            broken.remove(step)
    before = begun("b1")
    code, said = desk().apply("b1")
    expect(code == 0, f"exit {code}\n{said}")
    after = begun("b1")
    expect(all(before[unit] != after[unit] for unit in before), f"not all were restarted: {before} {after}")
    order = [said.rindex(f"+ systemctl {words}") for words in ("restart etcd.service", "start libvirtd-tls.socket", "start libvirtd.service\n", "restart hostd.service")]
    expect(order == sorted(order), said)
    the_vm().job.hosts_ready()


def test_small_machines():
    """What an operator adds to hostd.toml stays, and is no reason for apply to stop."""
    for host in HOSTS:
        on(host, "sh", "-c", f"echo '{SMALL}' >>/etc/bascule/hostd.toml && hostd --check && systemctl restart hostd")
        code, said = desk().on(host, "bascule-setup apply --answers cell.toml --as a1 --dry-run")
        expect(code == 0, f"exit {code}\n{said}")
    the_vm().job.hosts_ready()


def test_hardened():
    """With all that bascule-setup made, every rule of the image's check is ok or cannot apply to a kernel of this kind."""
    for host in ("a1", "b1", "w"):
        shutil.copyfile(PROJECT / "images/host/check", desk().lab.exchange / "check")
        said = on(host, "bash", "/lab/check", "--running", check=False, timeout=300)
        bad = [line for line in said.splitlines() if line.startswith("not ok")]
        expect(said and (not bad or (host == "w" and all("watchdog" in line or "DRBD" in line for line in bad))), "\n".join(bad))
        print(f"      {host}: {said.splitlines()[-1]}", flush=True)


def test_watchdogs():
    """As the document says: each host's watchdog fires once before its first VM."""
    for host in HOSTS:
        boot = on(host, "cat", "/proc/sys/kernel/random/boot_id")
        desk().says("hostctl host maintenance HOST on", HOST=host)
        desk().says("hostctl watchdog prove HOST", HOST=host)
        faults.boot(desk().lab, faults.dead(desk().lab))  # and forgets that it ended by itself
        wait_for(f"{host} to boot again", lambda h=host, b=boot: on(h, "cat", "/proc/sys/kernel/random/boot_id", check=False).strip() not in ("", b.strip()), 180, every=1)
        the_vm().job.hosts_ready()
        desk().says("hostctl host maintenance HOST off", HOST=host)


def the_vm():
    if "vm" not in state:
        state["vm"] = ClientVm(desk().lab)
    return state["vm"]


def test_a_vm():
    """A VM with a volume on both sites is made through the API and runs; hostd wrote LVM's copies of the group's metadata, and said nothing against it."""
    vm = the_vm()
    vm.prepare()
    vm.in_sync()
    vm.runs_only_on("a1")
    for host in HOSTS:
        kept = on(host, "sh", "-c", "ls /etc/lvm/archive /etc/lvm/backup; grep -h 'bascule-' /etc/lvm/backup/vg0 | head -n 1")
        expect("vg0_" in kept and "bascule-" in kept, f"{host}: LVM's copies: {kept}")
        said = on(host, "journalctl", "-b", "-u", "hostd", "-o", "cat", "--no-pager")
        expect(not re.search("read-only file system|permission denied|operation not permitted", said, re.IGNORECASE), said[-3000:])


def test_live_migration():
    """The VM moves to the other site and back, live."""
    for target in ("b1", "a1"):
        the_vm().do("vm", "migrate", NAME, "--to", target)
        the_vm().runs_only_on(target)


def test_a_host_more():
    """A host more in cell.toml: on a host that is at work apply lets it into libvirt and restarts that alone; the VM runs on. The other way round, too."""
    vm, good = the_vm(), desk().cell_toml()
    more = good.replace("[pool]", '[hosts.a2]\nsite = "A"\naddress = "10.77.1.12"\nreplication = "10.77.2.12"\n\n[pool]', 1)
    for text, names in ((more, '"CN=a1", "CN=b1", "CN=a2"'), (good, '"CN=a1", "CN=b1"')):
        desk().carry("cell.toml", "a1", text)
        before = begun("a1")
        code, said = desk().apply("a1")
        after = begun("a1")
        expect(code == 0 and [unit for unit in before if before[unit] != after[unit]] == ["libvirtd"], f"exit {code}, {before} {after}\n{said}")
        expect(f"tls_allowed_dn_list = [ {names} ]" in on("a1", "cat", "/etc/libvirt/libvirtd.conf"), said)
        vm.runs_only_on("a1")
    expect("10.77.1.12 a2" in on("a1", "cat", "/etc/hosts"), "the other host has no name")


def test_power_cut():
    """The power of the VM's host is cut: it starts on the other site. The host comes back with all that bascule-setup made of it, and is in sync."""
    vm = the_vm()
    row = Trial(vm, "power-cut").run()
    print(f"      {row}", flush=True)
    expect(any("vm-failover to b1: done" in act for act in row.get("acts", [])) and row["human"] == "no", f"{row}")
    vm.in_sync()
    for name in ("a1", "b1", "witness"):
        code, said = desk().on(name, "bascule-setup apply --answers cell.toml --as a1 --dry-run")
        expect(code == 0, f"{name}: exit {code}\n{said}")
    print(f"      {vm.remove()}", flush=True)


if __name__ == "__main__":
    image_lab.scenarios(globals(), "own-setup", work, KEPT)
