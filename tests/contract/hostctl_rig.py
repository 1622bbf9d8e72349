"""What hostctl's contract tests share: certificates, a cell of fake hosts, the program and its environment."""
import os
import pathlib
import pty
import select
import socket
import subprocess
import sys
import tempfile
import unittest

import hostctl_fake as fake

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = tempfile.TemporaryDirectory(prefix="hostctl-test-")
PKI = pathlib.Path(FOLDER.name)
PROGRAM = []  # the path of hostctl, set by main()


def main():
    """Usage of each test program: PATH_TO_PROGRAM[0] [unittest arguments]."""
    PROGRAM.append(str(pathlib.Path(sys.argv.pop(1)).resolve()))
    fake.make_pki(PKI)
    try:
        unittest.main()
    finally:
        FOLDER.cleanup()


def down_endpoint():
    """An address nobody listens at."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"https://127.0.0.1:{s.getsockname()[1]}"


MANIFEST = """kind: vm
name: db
project: acme
memory_mib: 256
volumes:
  - {name: root, size_mib: 128}
"""


class HostctlTest(unittest.TestCase):
    def setUp(self):
        self.cell = fake.Cell()
        self.hosts = []
        self.a = self.host("a1")
        self.home = tempfile.TemporaryDirectory(dir=PKI)

        self.addCleanup(self.home.cleanup)

    def tearDown(self):
        for host in self.hosts:
            host.stop()

    def host(self, name, certificate="host"):
        self.hosts.append(fake.Host(self.cell, PKI, name, certificate))
        return self.hosts[-1]

    def environment(self, **more):
        return {"HOME": self.home.name, "PATH": "/usr/bin:/bin", "BASCULE_CA": str(PKI / "ca.pem"),
                "BASCULE_CERT": str(PKI / "operator.pem"), "BASCULE_KEY": str(PKI / "operator.key"), **more}

    def words(self, endpoints, args):
        endpoints = [self.a.endpoint] if endpoints is None else endpoints
        return [PROGRAM[0], *[w for e in endpoints for w in ("--endpoint", e)], *args]

    def ctl(self, *args, endpoints=None, env=None, stdin="", exit_code=0):
        done = subprocess.run(self.words(endpoints, args), env=self.environment(**(env or {})), input=stdin, text=True,
                              capture_output=True, timeout=30)
        self.assertEqual(done.returncode, exit_code, f"{args}\n{done.stdout}\n{done.stderr}")
        return done

    def manifest(self, text=MANIFEST, name="vm.yaml"):
        path = pathlib.Path(self.home.name) / name
        path.write_text(text)
        return str(path)

    def changes(self):
        return [(method, path) for method, path, _, _ in self.cell.changes]

    def on_terminal(self, args, **env):
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(PROGRAM[0], self.words(None, args), self.environment(TERM="xterm", **env))
        text = b""
        while select.select([fd], [], [], 20)[0]:
            try:
                piece = os.read(fd, 65536)
            except OSError:
                break
            if not piece:
                break
            text += piece
        os.waitpid(pid, 0)
        os.close(fd)
        return text.decode()
