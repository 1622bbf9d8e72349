"""What is seen from outside all the time: each host's guests and DRBD roles, sampled inside the host over the lab's own link,
and the records that the guests acknowledge."""
import collections
import select
import subprocess
import threading
import time

from .. import ledger, remote, uml
from ..lag import Lag

SILENT_SECONDS = 4   # no sample for so long: dial anew
FRESH_SECONDS = 1.5  # a sample older than this says nothing about now
TAIL_SECONDS = 0.25
OWN_LINE = ("ControlPath=none", "ConnectTimeout=3", "ServerAliveInterval=1")  # of ssh: not the one that others may drop
KEPT = 40_000        # samples and records of the newest rounds

# libvirt's own status files say what it believes, also while it hangs; /proc says whether that QEMU exists. Shell builtins only.
LOOP = """while :; do
for f in /run/libvirt/qemu/*.xml; do n=${f##*/}; n=${n%.xml}; [ -r "$f" ] || continue
while read -r l; do case $l in "<domstatus "*) s=${l#*state=\\'}; s=${s%%\\'*}; p=${l#*pid=\\'}; p=${p%%\\'*}
[ -e /proc/$p/stat ] && read -r t </proc/$p/stat && case $t in *") Z "*) ;; *) set -- ${t##*) }; echo "vm $n $s $((${12}+${13}))";; esac
break;; esac; done <"$f"; done
while read -r a b c d e f g; do case $b in cs:*) echo "drbd $a $b $c $d $f";; esac; done </proc/drbd
echo .; sleep 0.4; done 2>/dev/null"""

Sample = collections.namedtuple("Sample", "at host vms drbd")  # vms: {name: (state, cpu ticks)}, drbd: {minor: (cs, ro, ds, I/O)}


def parse_sample(lines):
    """(vms, drbd) of the lines of one turn of LOOP."""
    vms, drbd = {}, {}
    for line in lines:
        words = line.split()
        if words[:1] == ["vm"] and len(words) == 4 and words[3].isdigit():
            vms[words[1]] = (words[2], int(words[3]))
        elif words[:1] == ["drbd"] and len(words) == 6:
            drbd[words[1].rstrip(":")] = (*(word.partition(":")[2] for word in words[2:5]), words[5])
    return vms, drbd


class Sampler(threading.Thread):
    """One host's samples; dials again whenever its host has been away. A host that stands still or is off gives none."""

    def __init__(self, lab, node, take):
        super().__init__(daemon=True)
        self.lab, self.node, self.take = lab, node, take
        self.ending = threading.Event()

    def run(self):
        while not self.ending.is_set():
            if uml.is_on(self.lab, self.node):
                try:
                    self._session()
                except OSError:
                    pass
            self.ending.wait(0.5)

    def _session(self):
        argv = remote.argv(self.lab, self.node, ["sh", "-c", LOOP], options=OWN_LINE)
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        kernel, rest, lines = uml.pid_of(self.lab, self.node), b"", []
        try:
            while not self.ending.is_set() and uml.pid_of(self.lab, self.node) == kernel:
                ready, _, _ = select.select([child.stdout], [], [], SILENT_SECONDS)
                got = child.stdout.read1(65536) if ready else b""
                if not got:
                    return
                *whole, rest = (rest + got).split(b"\n")
                for line in whole:
                    if line == b".":
                        self.take(Sample(time.time(), self.node.id, *parse_sample(lines)))
                        lines = []
                    else:
                        lines.append(line.decode(errors="replace"))
        finally:
            child.kill()
            child.wait()


class Vm:
    """What is known of one VM's records, in the order of their arrival."""

    def __init__(self, mac):
        self.mac = mac
        self.acknowledged, self.newest, self.last_at, self.run = 0, 0, 0.0, ""
        self.times = collections.deque(maxlen=KEPT)  # of arrival, s since 1970 on this machine
        self.runs = []                               # ids, in the order they began
        self.wrong = []                              # sentences: what no order of faults may show

    def take(self, fields):
        at, seq, run = int(fields["recv_wall"]) / 1e9, int(fields["seq"]), fields["run"]
        if run != self.run:
            self._other_run(run, seq, fields["event"])
        if fields["event"] == "error":
            self.wrong.append(f"the guest gave up after record {seq}: {fields.get('text', '')}")
        if fields["event"] != "record":
            return
        if run == self.run:
            self.newest = max(self.newest, seq)
        self.acknowledged += 1
        self.last_at = at
        self.times.append(at)

    def _other_run(self, run, seq, event):
        if run in self.runs:
            self.wrong.append(f"two runners: record {seq} of an older run after a newer one began")
            return
        known = seq if event == "start" else seq - 1
        if self.newest > known:
            self.wrong.append(f"records lost: a new run found {known} as the newest, {self.newest} was acknowledged")
        self.runs.append(run)
        self.run = run


def parse_report(line):
    """The fields of a collector's line, or nothing for a note or half a line."""
    if not line.startswith("recv_mono="):
        return None
    head, _, text = line.partition(" text=")
    fields = dict(word.split("=", 1) for word in head.split() if "=" in word)
    if text:
        fields["text"] = text
    return fields if {"recv_wall", "mac", "run", "seq", "event"} <= fields.keys() else None


class Tail(threading.Thread):
    """Follows the collector's log."""

    def __init__(self, lab, vms):
        super().__init__(daemon=True)
        self.path, self.vms, self.ending = ledger.log_path(lab), {vm.mac: vm for vm in vms}, threading.Event()
        self.at, self.rest = 0, ""

    def run(self):
        while not self.ending.wait(TAIL_SECONDS):
            self.look()

    def look(self):
        try:
            with open(self.path, encoding="ascii", errors="replace") as log:
                log.seek(self.at)
                got = log.read()
                self.at = log.tell()
        except FileNotFoundError:
            return
        *whole, self.rest = (self.rest + got).split("\n")
        for line in whole:
            fields = parse_report(line)
            if fields and fields["mac"] in self.vms:
                self.vms[fields["mac"]].take(fields)


class Watch:
    """All of it, for as long as the block lasts."""

    def __init__(self, lab, macs):
        self.lab, self.lock = lab, threading.Lock()
        self.vms = {name: Vm(mac) for name, mac in macs.items()}
        self.samples = collections.deque(maxlen=KEPT)
        self.newest = {}
        self.lag = Lag()
        self.threads = [Tail(lab, self.vms.values()), self.lag, *(Sampler(lab, node, self._take) for node in lab.hosts)]

    def __enter__(self):
        self.threads[0].look()  # what an earlier part of the campaign acknowledged
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            thread.ending.set()
        for thread in self.threads:
            thread.join(SILENT_SECONDS + 2)

    def _take(self, sample):
        with self.lock:
            self.samples.append(sample)
            self.newest[sample.host] = sample

    def since(self, wall):
        with self.lock:
            return [sample for sample in self.samples if sample.at >= wall]

    def now(self, seconds=FRESH_SECONDS):
        """The newest sample of each host that answers."""
        with self.lock:
            return {host: sample for host, sample in self.newest.items() if time.time() - sample.at < seconds}

    def hosts_of(self, vm):
        """Where this VM is now: {host: state}."""
        return {host: sample.vms[vm][0] for host, sample in self.now().items() if vm in sample.vms}

    def goes_on(self, vm, since):
        """Records of the last second, and after `since`."""
        last = self.vms[vm].last_at
        return last > since and time.time() - last < 1.0
