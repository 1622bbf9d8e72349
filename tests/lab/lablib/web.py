"""The console of a lab in this machine's own browser: `lab web`. A lab's network is a namespace of its own; this carries one
address of the machine's loopback into it, and makes the certificate files that a browser takes.

A browser resolves NAME.localhost to the loopback by itself, and the lab's host certificates carry HOST.localhost: so the
name on the certificate is the one in the address, and nothing of the machine's own settings has to change."""
import asyncio
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

from . import net
from .plan import HERE
from .proc import MARK, LabError, run, wait_for

PORT = 8443
API_PORT = 8443       # of every lab host
CONNECTIONS = 64      # at once; a browser opens six
PIECE = 1 << 16
START_SECONDS = 15
PASSWORD = "lab"      # of the .p12 files: browsers ask for one. It guards nothing, the lab's users are everybody's
PEOPLE = ("operator", "client", "auditor")


def name_of(host):
    """What a browser on this machine calls this host of the lab."""
    return f"{host.id}.localhost"


def address(host, port=PORT):
    return f"https://{name_of(host)}:{port}/console/"


@contextlib.contextmanager
def relay(lab, host, port=PORT):
    """Carries 127.0.0.1:`port` of this machine to the API of a host of the lab; port 0 takes a free one. Yields the port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as err:
            raise LabError(f"127.0.0.1:{port}: {err.strerror}; take another one with --port") from None
        listener.listen(CONNECTIONS)
        bound = listener.getsockname()[1]
        # The listening socket was made here and stays here; what the child opens is in the lab's network.
        words = [sys.executable, "-m", "lablib.web", str(listener.fileno()), host.address("mgmt"), str(API_PORT)]
        child = subprocess.Popen(net.inside(lab, words), cwd=HERE, stdin=subprocess.DEVNULL, pass_fds=[listener.fileno()],
                                 env=dict(os.environ, **{MARK: lab.name}))
    try:
        def answers():
            if child.poll() is not None:
                raise LabError("the relay into the lab's network ended at once")
            return curl(lab, "operator", address(host, bound))[0]
        wait_for(f"{address(host, bound)} to answer", answers, START_SECONDS)
        yield bound
    finally:
        child.terminate()
        child.wait(10)


def curl(lab, user, url):
    """(HTTP status, body) of a request as a browser on this machine makes it: the server's name and CA are checked."""
    said = run(["curl", "-sS", "-m", "5", "-w", "\n%{http_code}", "--cacert", str(lab.pki / "ca.pem"), "--cert",
                str(lab.pki / f"{user}.pem"), "--key", str(lab.pki / f"{user}.key"), url], check=False).stdout
    body, _, status = said.rpartition("\n")
    return int(status or 0), body


def certificates(lab, folder, who):
    """ca.pem and a .p12 for each person into `folder`. They are read and made here and written by the user `who` (arguments of
    subprocess.run), whose browser reads them: nothing is written as root into a folder of somebody else."""
    files = {"ca.pem": (lab.pki / "ca.pem").read_bytes()}
    for person in PEOPLE:
        files[f"{person}.p12"] = run(["openssl", "pkcs12", "-export", "-name", f"Bascule lab, {person}", "-in", str(lab.pki / f"{person}.pem"),
                                      "-inkey", str(lab.pki / f"{person}.key"), "-passout", "env:P12"], env={"P12": PASSWORD}, text=False).stdout
    for name, content in files.items():
        run(["tee", str(folder / name)], input=content, text=False, umask=0o077, **who)


def place(lab):
    """Folder for the certificate files, and whose it is: of the person that called sudo when there is one, gone with the session."""
    uid, gid = int(os.environ.get("SUDO_UID") or 0), int(os.environ.get("SUDO_GID") or 0)
    theirs = pathlib.Path(f"/run/user/{uid}")
    if uid and theirs.is_dir():
        return theirs / f"bascule-lab-{lab.name}", {"user": uid, "group": gid, "extra_groups": []}
    return lab.run / "browser", {}


def instructions(lab, host, port, folder):
    """How to open it, for a person."""
    return f"""The console of lab {lab.name}: {address(host, port)}

Import into the browser, password "{PASSWORD}", one of
  {folder}/operator.p12   everything
  {folder}/client.p12     a client's own VMs
  {folder}/auditor.p12    reads everything, changes nothing
and {folder}/ca.pem as an authority that may identify web sites.
  Firefox: Settings, Privacy and Security, View Certificates: "Your Certificates" and "Authorities".
  Chromium, with packages libnss3-tools and chromium, as the person at the browser:
    test -e ~/.pki/nssdb/cert9.db || {{ mkdir -p ~/.pki/nssdb && certutil -d sql:$HOME/.pki/nssdb -N --empty-password; }}
    certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n bascule-lab -i {folder}/ca.pem
    pk12util -d sql:$HOME/.pki/nssdb -i {folder}/operator.p12 -W {PASSWORD}
Every lab has a CA of its own: remove both again afterwards.
"""


def serve(lab, host, port, say):
    """`lab web`: until it is interrupted. The certificate files go with it."""
    folder, who = place(lab)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # however it is ended, the files go
    with relay(lab, host, port) as bound:
        run(["mkdir", "-p", "-m", "0700", str(folder)], **who)
        try:
            certificates(lab, folder, who)
            print(instructions(lab, host, bound, folder), flush=True)
            say(f"carries 127.0.0.1:{bound} to {host.id}; Ctrl-C ends it and removes {folder}")
            while lab.state_file.exists():
                time.sleep(1)
            say(f"lab {lab.name} is down")
        finally:
            run(["rm", "-rf", "--", str(folder)], check=False, **who)


async def _carry(reader, writer):
    try:
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def _main(listener, host, port):
    room = asyncio.Semaphore(CONNECTIONS)

    async def accepted(reader, writer):
        async with room:
            try:
                far_reader, far_writer = await asyncio.wait_for(asyncio.open_connection(host, port), START_SECONDS)
            except (OSError, asyncio.TimeoutError):
                writer.close()
                return
            await asyncio.gather(_carry(reader, far_writer), _carry(far_reader, writer))
    server = await asyncio.start_server(accepted, sock=listener)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], int(sys.argv[3])))
