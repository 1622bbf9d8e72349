"""Clients that mean harm, many in one thread, against 127.0.0.1 only. They stop when their standard input ends, or by themselves
after 300 s, and print what they met as JSON.
    api_attack.py PKI_FOLDER PORT KIND COUNT [CERTIFICATE]
KIND   mute    connects and never says a word of TLS
       stall   sends the first half of its TLS greeting and waits
       idle    shakes hands and asks nothing; one that is cut is not replaced
       late    shakes hands, asks when told (a line on standard input), reads the answer
       head    sends a request's head, one byte a second
       body    announces a body, sends the first part of it and waits
       deaf    asks for long lists and reads nothing
       greedy  asks for long lists as fast as it is answered
       storm   shakes hands and hangs up, again and again
Those that are cut come again at once, all but idle and late."""
import heapq
import itertools
import json
import os
import selectors
import socket
import ssl
import sys
import time
from collections import Counter

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
LONGEST = 300  # seconds
AT_A_TIME = 50  # handshakes: more would only wait for one another
PATIENCE = 30  # seconds without an answer to a handshake: it counts as unanswered
AGAIN = 0.05  # seconds between a cut and the next try
LONG_LIST = b"GET /v1/vms?limit=1000&fields=full HTTP/1.1\r\nHost: a1\r\n\r\n"
ASKS = b"GET /v1/version HTTP/1.1\r\nHost: a1\r\n\r\n"
HEAD = b"GET /v1/version HTTP/1.1\r\nHost: a1\r\nX-Slow: " + b"x" * 1000
BODY = (b"POST /v1/vms/vm-0/actions/start HTTP/1.1\r\nHost: a1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1000000\r\n\r\n" + b" " * 900_000)


class Cut(Exception):
    """The server ended the connection."""


class Crowd:
    """Runs generators that yield what they wait for: READ, WRITE (of their socket) or a number of seconds."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.due = []
        self.order = itertools.count()
        self.asked = False  # a line came: the late ones may ask
        self.over = False
        self.selector.register(sys.stdin.fileno(), READ, None)

    def start(self, member):
        self.wait(member, 0.0)

    def wait(self, member, what):
        if isinstance(what, float):
            heapq.heappush(self.due, (time.monotonic() + what, next(self.order), member))
        else:
            event, sock = what
            self.selector.register(sock, event, (member, sock))

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
    def __init__(self, folder, port, kind, certificate):
        self.kind, self.port = kind, port
        self.met = Counter()
        self.answers = Counter()
        self.shaking = 0
        self.crowd = Crowd()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.tls.load_verify_locations(f"{folder}/ca.pem")
        if certificate:
            self.tls.load_cert_chain(f"{folder}/{certificate}.pem", f"{folder}/{certificate}.key")

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
            yield AGAIN
        self.shaking += 1
        shaking = True
        sock = raw
        try:
            self.met["tried"] += 1
            raw.connect_ex(("127.0.0.1", self.port))
            yield WRITE, raw
            if raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.met["no-connection"] += 1
                raise Cut
            self.met["connected"] += 1
            if self.kind in ("mute", "stall"):
                yield from self.speechless(raw)
                return
            sock = self.tls.wrap_socket(raw, server_hostname="127.0.0.1", do_handshake_on_connect=False)
            yield from until(sock, sock.do_handshake)
            self.met["shaken"] += 1
            self.shaking -= 1
            shaking = False
            yield from getattr(self, self.kind)(sock)
        finally:
            self.shaking -= shaking
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
            half = self.tls.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
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
            yield from until(sock, sock.send, LONG_LIST)
        while True:
            yield 1.0
            yield from until(sock, sock.send, b"G")

    def greedy(self, sock):
        while True:
            yield from until(sock, sock.send, LONG_LIST)
            answer = yield from until(sock, sock.recv, 65536)
            self.answers[answer[9:12].decode() or "cut"] += 1
            left = int(answer.split(b"Content-Length: ")[1].split(b"\r")[0]) - len(answer.split(b"\r\n\r\n", 1)[1])
            while left > 0:
                piece = yield from until(sock, sock.recv, 65536)
                if not piece:
                    raise Cut
                left -= len(piece)

    def storm(self, sock):
        yield from ()


def main():
    folder, port, kind, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    attack = Attack(folder, port, kind, sys.argv[5] if len(sys.argv) > 5 else "")
    for _ in range(count):
        attack.crowd.start(attack.member())
    attack.crowd.run(LONGEST)
    print(json.dumps({**attack.met, "answers": attack.answers}))


if __name__ == "__main__":
    main()
