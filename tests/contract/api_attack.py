"""Clients that mean harm, many in one thread, against loopback and private addresses only. They stop when their standard input
ends, or by themselves after 300 s. At each line on standard input, and in the end, they print what they met as JSON.
    api_attack.py PKI_FOLDER PORT KIND COUNT [CERTIFICATE] [--host ADDRESS] [--source ADDRESS] [--list PATH]
KIND   mute    connects and never says a word of TLS
       stall   sends the first half of its TLS greeting and waits
       idle    shakes hands and asks nothing; one that is cut is not replaced
       late    shakes hands, asks at the first line on standard input, reads the answer
       head    sends a request's head, one byte a second
       body    announces a body, sends the first part of it and waits
       deaf    asks for long lists and reads nothing
       greedy  asks for long lists as fast as it is answered
       storm   shakes hands and hangs up, again and again
Those that are cut come again at once, all but idle and late."""
import argparse
import heapq
import ipaddress
import itertools
import json
import os
import resource
import selectors
import socket
import ssl
import sys
import time
from collections import Counter, deque

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
ROOM = "room"  # what a member waits for that wants to shake hands
LONGEST = 300  # seconds
IP_BIND_ADDRESS_NO_PORT = 24  # of Linux: the port is chosen at connect, so that a pair may be used again
AT_A_TIME = 50  # handshakes: more would only wait for one another
AGAIN = 0.05  # seconds between a cut and the next try
LONG_LIST = "/v1/vms?limit=1000&fields=full"
ASKS = b"GET /v1/version HTTP/1.1\r\nHost: a1\r\n\r\n"
HEAD = b"GET /v1/version HTTP/1.1\r\nHost: a1\r\nX-Slow: " + b"x" * 1000
BODY = (b"POST /v1/vms/vm-0/actions/start HTTP/1.1\r\nHost: a1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1000000\r\n\r\n" + b" " * 900_000)


class Cut(Exception):
    """The server ended the connection."""


class Crowd:
    """Runs generators that yield what they wait for: READ, WRITE (of their socket), ROOM or a number of seconds."""

    def __init__(self, tell):
        self.tell = tell
        self.waiting = deque()  # for room
        self.selector = selectors.DefaultSelector()
        self.due = []
        self.order = itertools.count()
        self.asked = False  # a line came: the late ones may ask
        self.over = False
        self.selector.register(sys.stdin.fileno(), READ, None)

    def start(self, member):
        self.wait(member, 0.0)

    def wait(self, member, what):
        if what is ROOM:
            self.waiting.append(member)
        elif isinstance(what, float):
            heapq.heappush(self.due, (time.monotonic() + what, next(self.order), member))
        else:
            event, sock = what
            self.selector.register(sock, event, (member, sock))

    def room(self):
        if self.waiting:
            self.wait(self.waiting.popleft(), 0.0)

    def go_on(self, member):
        try:
            self.wait(member, next(member))
        except StopIteration:
            pass

    def run(self, seconds):
        end = time.monotonic() + seconds
        while not self.over and time.monotonic() < end:
            pause = max(0.0, min(1.0, self.due[0][0] - time.monotonic())) if self.due else 1.0
            for key, _ in self.selector.select(pause):
                if key.data is None:
                    word = os.read(sys.stdin.fileno(), 100)
                    self.asked, self.over = True, not word
                    self.tell()
                    continue
                member, sock = key.data
                self.selector.unregister(sock)
                self.go_on(member)
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                self.go_on(heapq.heappop(self.due)[2])


def until(sock, call, *args):
    """What the call returns once its socket is ready for it; Cut when the connection ended."""
    while True:
        try:
            return call(*args)
        except ssl.SSLWantReadError:
            yield READ, sock
        except ssl.SSLWantWriteError:
            yield WRITE, sock
        except OSError as err:  # of TLS too
            raise Cut from err


class Attack:
    def __init__(self, words):
        self.kind, self.port, self.host, self.source = words.kind, words.port, words.host, words.source
        self.list = f"GET {words.list} HTTP/1.1\r\nHost: a1\r\n\r\n".encode()
        self.met = Counter()
        self.answers = Counter()
        self.shaking = 0
        self.crowd = Crowd(self.tell)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.tls.load_verify_locations(f"{words.folder}/ca.pem")
        if words.certificate:
            mine = f"{words.folder}/{words.certificate}"
            self.tls.load_cert_chain(f"{mine}.pem", f"{mine}.key")

    def tell(self):
        print(json.dumps({**self.met, "answers": self.answers}), flush=True)

    def member(self):
        while True:
            raw = socket.socket()
            raw.setblocking(False)
            try:
                yield from self.connection(raw)
            except Cut:
                self.met["cut"] += 1
            finally:
                raw.close()
            if self.kind in ("idle", "late"):
                return
            yield AGAIN

    def connection(self, raw):
        while self.shaking >= AT_A_TIME and self.kind in ("idle", "late", "storm"):
            yield ROOM
        self.shaking += 1
        shaking = True
        sock = raw
        try:
            self.met["tried"] += 1
            if self.source:
                raw.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                raw.bind((self.source, 0))
            raw.connect_ex((self.host, self.port))
            yield WRITE, raw
            if raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.met["no-connection"] += 1
                raise Cut
            self.met["connected"] += 1
            if self.kind in ("mute", "stall"):
                yield from self.speechless(raw)
                return
            sock = self.tls.wrap_socket(raw, server_hostname=self.host, do_handshake_on_connect=False)
            yield from until(sock, sock.do_handshake)
            self.met["shaken"] += 1
            self.shaking -= 1
            shaking = False
            self.crowd.room()
            self.met["open"] += 1
            try:
                yield from getattr(self, self.kind)(sock)
            finally:
                self.met["open"] -= 1
        finally:
            if shaking:
                self.shaking -= 1
                self.crowd.room()
            sock.close()

    def gone(self, sock):
        """Raises Cut when the server has hung up."""
        try:
            if sock.recv(65536) == b"":
                raise Cut
        except (ssl.SSLWantReadError, BlockingIOError):
            pass
        except OSError as err:
            raise Cut from err

    def speechless(self, raw):
        if self.kind == "stall":
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            half = self.tls.wrap_bio(incoming, outgoing, server_hostname=self.host)
            try:
                half.do_handshake()
            except ssl.SSLWantReadError:
                raw.send(outgoing.read()[:100])
        while True:
            yield READ, raw
            self.gone(raw)

    def idle(self, sock):
        while True:
            yield READ, sock
            self.gone(sock)

    def late(self, sock):
        while not self.crowd.asked:
            yield 0.2
            self.gone(sock)
        yield from until(sock, sock.send, ASKS)
        answer = yield from until(sock, sock.recv, 65536)
        self.answers[answer[9:12].decode() or "cut"] += 1
        if b"503" in answer[:16] and b"as many connections as it takes" not in answer:
            self.answers["503 without a reason"] += 1

    def head(self, sock):
        for i in range(len(HEAD)):
            yield from until(sock, sock.send, HEAD[i:i + 1])
            yield 1.0
            self.gone(sock)

    def body(self, sock):
        sent = 0
        while sent < len(BODY):
            sent += yield from until(sock, sock.send, BODY[sent:sent + 65536])
        while True:
            yield READ, sock
            self.gone(sock)

    def deaf(self, sock):
        for _ in range(20):  # more than the server reads ahead of an answer it cannot send
            yield from until(sock, sock.send, self.list)
        while True:
            yield 1.0
            yield from until(sock, sock.send, b"G")

    def greedy(self, sock):
        while True:
            yield from until(sock, sock.send, self.list)
            answer = yield from until(sock, sock.recv, 65536)
            self.answers[answer[9:12].decode() or "cut"] += 1
            if not answer:
                raise Cut
            left = int(answer.split(b"Content-Length: ")[1].split(b"\r")[0]) - len(answer.split(b"\r\n\r\n", 1)[1])
            while left > 0:
                piece = yield from until(sock, sock.recv, 65536)
                if not piece:
                    raise Cut
                left -= len(piece)

    def storm(self, sock):
        yield from ()


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    for name, kind in (("folder", str), ("port", int), ("kind", str), ("count", int)):
        parser.add_argument(name, type=kind)
    parser.add_argument("certificate", nargs="?", default="")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--source", default="")
    parser.add_argument("--list", default=LONG_LIST)
    words = parser.parse_args()
    if not ipaddress.ip_address(words.host).is_private:
        parser.error(f"{words.host} is somebody's: loopback and private addresses only")
    if words.kind != "idle":
        os.nice(10)  # whoever means harm has a machine of its own: it is not to win by taking the processor from the server
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    attack = Attack(words)
    for _ in range(words.count):
        attack.crowd.start(attack.member())
    attack.crowd.run(LONGEST)


if __name__ == "__main__":
    main()
