"""One machine that boots a raw disk by EFI: QEMU emulates it, so that it is the same everywhere. Its ssh is at a port of 127.0.0.1."""
import contextlib
import pathlib
import shutil
import socket
import subprocess
import time

from lablib.proc import LabError, run

FIRMWARE = pathlib.Path("/usr/share/OVMF")
BOOT_SECONDS = 900  # emulated, on a machine that also builds and tests
MEMORY_MIB = 1536
SEED = {  # what makes the image this machine's
    "etc/hostname": "image-test\n",
    "etc/hosts": "127.0.0.1 localhost image-test\n",
    "etc/bascule/firewall.nft": "define hosts = { 127.0.0.1 }\ndefine operators = { 10.0.2.0/24 }\n",
    "etc/systemd/network/10-net.network": "[Match]\nType=ether\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n",
}


def make_seed(folder):
    """A seed with a key of its own for root; the key's file."""
    key = folder / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "image-test", "-f", str(key)])
    tree = folder / "seed"
    for name, text in {**SEED, "root/.ssh/authorized_keys": key.with_suffix(".pub").read_text()}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / "root/.ssh").chmod(0o700)
    return key, tree


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Machine:
    def __init__(self, disk, key, work):
        self.disk, self.key, self.work = disk, key, work
        self.port, self.echo_port = free_port(), free_port()
        self.console = work / "console.log"
        self.process = None

    def argv(self):
        variables = self.work / "efi-variables"
        shutil.copyfile(FIRMWARE / "OVMF_VARS_4M.fd", variables)
        return ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
                "-smp", "2", "-m", str(MEMORY_MIB), "-display", "none", "-serial", f"file:{self.console}", "-monitor", "none", "-no-reboot",
                "-global", "ICH9-LPC.noreboot=false",
                "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE / 'OVMF_CODE_4M.fd'}",
                "-drive", f"if=pflash,format=raw,unit=1,file={variables}",
                # What it writes is thrown away with it.
                "-drive", f"if=virtio,format=raw,snapshot=on,file={self.disk}",
                "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22,"
                f"hostfwd=tcp:127.0.0.1:{self.echo_port}-:9999", "-device", "virtio-net-pci,netdev=net",
                "-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"]

    def ssh(self, *command, check=True, timeout=300, **kw):
        return run(["ssh", "-F", "none", "-i", str(self.key), "-p", str(self.port), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
                    "-o", f"UserKnownHostsFile={self.work / 'known'}", "-o", "ConnectTimeout=20", "-o", "LogLevel=ERROR",
                    "root@127.0.0.1", "--", *command], check=check, timeout=timeout, **kw)

    def wait(self):
        """Until it has booted; seconds."""
        began = time.monotonic()
        while time.monotonic() - began < BOOT_SECONDS:
            if self.process.poll() is not None:
                raise LabError(f"the machine ended with {self.process.returncode}:\n{self.said()}")
            with contextlib.suppress(LabError):
                if self.ssh("systemctl", "is-system-running", "--wait", check=False, timeout=BOOT_SECONDS).stdout.strip():
                    return time.monotonic() - began
            time.sleep(2)
        raise LabError(f"not booted within {BOOT_SECONDS} s:\n{self.said()}")

    def said(self):
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return "\n".join(text.splitlines()[-25:])

    def __enter__(self):
        self.process = subprocess.Popen(self.argv(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(30)
