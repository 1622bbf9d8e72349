"""A root with one thing wrong for each rule of images/host/check that can be seen on a root that does not run."""
import os
import pathlib

# The rule's sentence: what breaks it, as (path, text to append) or a function of the root.
APPEND = {
    "nobody has a password": ("etc/shadow", "joe::19000:0:99999:7:::\n"),
    "only root has id 0": ("etc/passwd", "toor:x:0:0::/root:/usr/sbin/nologin\n"),
    "nobody but root has a shell": ("etc/passwd", "joe:x:1000:1000::/:/bin/bash\n"),
    "packages come from signed sources": ("etc/apt/sources.list", "deb [trusted=yes] http://deb.debian.org/debian bookworm main\n"),
    "kernel setting kernel.sysrq=0": ("etc/sysctl.d/zzz-more.conf", "kernel.sysrq = 1\n"),
    "kernel setting net.ipv4.conf.all.rp_filter=1": ("etc/sysctl.d/zzz-more.conf", "net.ipv4.conf.all.rp_filter=0\n"),
}
REPLACE = {
    "new files are not for everybody (umask 027)": ("etc/login.defs", "UMASK 027", "UMASK 022"),
    "no core dumps": ("etc/security/limits.d/10-bascule.conf", "* hard core 0", "* hard core unlimited"),
    "unused modules cannot be loaded": ("etc/modprobe.d/bascule.conf", "install sctp /bin/false", ""),
    "the kernel's command line": ("etc/kernel/cmdline", " slab_nomerge", ""),
    "temporary files cannot be executed": ("etc/systemd/system/tmp.mount", "nodev,noexec", "nodev"),
    "the EFI partition is root's alone": ("etc/fstab", "umask=0077", "umask=0022"),
    "an error of the root's file system is not passed over": ("etc/fstab", "errors=remount-ro", "errors=continue"),
    "the journal outlives a restart": ("etc/systemd/journald.conf.d/10-bascule.conf", "persistent", "volatile"),
    "the clock is kept by chrony, which serves nobody": ("etc/chrony/conf.d/bascule.conf", "port 0\ncmdport 0", "cmdport 0"),
    "the watchdog is left to hostd": ("etc/systemd/system.conf.d/10-bascule.conf", "RuntimeWatchdogSec=off", "RuntimeWatchdogSec=60"),
    "what is not allowed in is dropped": ("etc/nftables.conf", "priority filter; policy drop;\n    ct", "priority filter; policy accept;\n    ct"),
    "only known ports are open, and to known addresses": ("etc/nftables.conf", "ip saddr $hosts tcp dport { 2379-2380 }", "tcp dport { 2379-2380 }"),
    "ssh takes keys alone": ("etc/ssh/sshd_config.d/10-bascule.conf", "\nPasswordAuthentication no", "\nPasswordAuthentication yes"),
    "ssh leads nowhere else": ("etc/ssh/sshd_config.d/10-bascule.conf", "AllowTcpForwarding no", "AllowTcpForwarding yes"),
    "hostd is boxed in (systemd-analyze security)": ("lib/systemd/system/hostd.service", "CapabilityBoundingSet=", "#"),
    "etcd speaks TLS with those it knows": ("etc/default/etcd", None, "ETCD_NAME=x\nETCD_LISTEN_CLIENT_URLS=http://0.0.0.0:2379\n"),
    "root has no password": ("etc/shadow", "root:*:", "root::"),
}


def _file(path, text, mode=0o755):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


OTHER = {
    "no program makes its user root": lambda root: (root / "usr/bin/mount").chmod(0o4755),
    "there is no sudo": lambda root: _file(root / "usr/bin/sudo", ""),
    "passwd and shadow are as they should be": lambda root: (root / "etc/shadow").chmod(0o644),
    "configuration and root's home are root's alone": lambda root: (root / "root").chmod(0o755),
    "nothing can be written by anybody": lambda root: _file(root / "etc/open", "", 0o666),
    "every file has an owner": lambda root: (_file(root / "etc/nobodys", ""), os.chown(root / "etc/nobodys", 54321, 0)),
    "private keys are not readable by others": lambda root: _file(root / "etc/bascule/pki/host.key", "", 0o644),
    "no compiler, linker or debugger": lambda root: _file(root / "usr/bin/gcc-12", ""),
    "no package that a host has no use for": lambda root: _file(root / "var/lib/dpkg/info/telnetd.list", "", 0o644),
    "only what is on the list runs by itself": lambda root: (root / "etc/systemd/system/multi-user.target.wants/cups.service").symlink_to("/x"),
    "what a host needs runs by itself": lambda root: (root / "etc/systemd/system/multi-user.target.wants/hostd.service").unlink(),
    "what must not run is masked": lambda root: (root / "etc/systemd/system/dbus.service").unlink(),
    "libvirt is root's, and others' by TLS": lambda root: _file(root / "etc/libvirt/libvirtd.conf", "listen_tcp = 1\n", 0o644),
}
# Of these a root that does not run says n/a.
RUNNING_ONLY = {"no unit has failed", "there is a watchdog", "DRBD is there", "only known programs listen"}


def break_all(root):
    """Everything above, at once; the sentences of the rules that must not be ok any more."""
    root = pathlib.Path(root)
    for name, text in APPEND.values():
        with open(root / name, "a") as file:
            file.write(text)
    for sentence, (name, old, new) in REPLACE.items():
        text = (root / name).read_text()
        if old is not None and old not in text:
            raise ValueError(f"{sentence}: {name} has no {old!r}")
        (root / name).write_text(text + new if old is None else text.replace(old, new))
    for act in OTHER.values():
        act(root)
    return {*APPEND, *REPLACE, *OTHER}
