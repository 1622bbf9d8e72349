"""What a campaign does, drawn from its seed alone: nothing here looks at a lab. Round N of seed S is the same whatever came
before it, so that one round can be run again alone (`--first N --rounds 1`)."""
import dataclasses
import random

MIGRATION_STEPS = ("mark-migration", "prepare-target", "open-window", "promote-target", "live-migrate", "resume-target",
                   "demote-source", "close-window")
DOWN = ("power-cut", "kernel-panic", "hang")     # nothing can be done inside such a host until it is healed
HOST_LOST = DOWN + ("links-all",)
DISKS = ("disk-error", "disk-flaky")
PARTS = HOST_LOST + ("link-repl", "helper-killed", "helper-gives-up", "link-mgmt", "site-fibre", "witness-and-link", "hostd-hung", "watchdog-broken", "loss-20")
SWITCHES = ("power-silent", "power-refuses")     # with a power switch that works, but for this host
INSTANT = ("hostd-killed", "libvirtd-killed", "qemu-killed", "etcd-killed")  # over as soon as they are made

# How often each kind is drawn. Those of BESIDE break what only matters beside a second fault of the same host.
WEIGHTS = {"power-cut": 11, "hang": 7, "kernel-panic": 6, "links-all": 7, "hostd-killed": 5, "hostd-hung": 3, "libvirtd-killed": 5,
           "libvirtd-hung": 2, "qemu-killed": 4, "link-repl": 6, "helper-killed": 2, "helper-gives-up": 1, "link-mgmt": 4, "link-client": 1, "site-fibre": 4, "witness-lost": 2,
           "witness-and-link": 2, "etcd-killed": 5, "etcd-hung": 3, "etcd-slow": 2, "etcd-stopped": 3, "etcd-disk-full": 1,
           "disk-error": 2, "disk-flaky": 2, "clock-jump": 3, "loss-20": 3, "delay-100": 3}
BESIDE = {"fence-delayed": ("link-repl", "site-fibre"), "watchdog-broken": ("links-all", "link-mgmt"),
          "power-silent": ("power-cut", "hang"), "power-refuses": ("power-cut", "kernel-panic")}
# Worst cases that drawing alone finds too rarely: (kind, which host: x, y (the other one), w (witness) or "each voter").
COMBINATIONS = (
    (("power-cut", "x"), ("power-cut", "y")),
    (("etcd-hung", "each"), ("power-cut", "x")),
    (("etcd-hung", "each"), ("disk-error", "x")),
    (("disk-error", "x"), ("link-repl", "x"), ("power-cut", "x")),
    (("site-fibre", "x"), ("witness-lost", "x")),
    (("hostd-killed", "x"), ("hostd-killed", "y")),
    (("libvirtd-killed", "x"), ("power-cut", "y")),
    (("link-repl", "x"), ("power-cut", "y")),
    (("link-repl", "x"), ("hostd-killed", "x"), ("qemu-killed", "x")),
    (("link-mgmt", "x"), ("link-repl", "y")),
    (("delay-100", "x"), ("power-cut", "y")),
)
MEANWHILE = {"idle": 40, "migration": 27, "failback": 13, "resync": 20}
STYLES = {"alone": 22, "at-once": 28, "overlap": 22, "chain": 18, "beside": 4, "combination": 12}
LIMIT_ROUNDS = 100_000


@dataclasses.dataclass
class Act:
    kind: str
    host: str
    wait_s: float           # after the act before it
    healed_s: float = -1.0  # not negative: then what was broken is mended, and this follows so long after, nothing settled

    def text(self):
        mended = f" and {self.healed_s:.1f} s mended" if self.healed_s >= 0 else ""
        return f"{self.kind} on {self.host}" + (f" after {self.wait_s:.1f} s{mended}" if self.wait_s or mended else "")


@dataclasses.dataclass
class Round:
    number: int
    style: str
    meanwhile: str
    vm: int          # of the migration, by index
    step: str        # of the migration at which the first fault strikes
    acts: list
    hold_s: float    # from the last act to the healing
    until_running: bool  # hold on until every VM's records go on, `hold_s` at most

    def text(self):
        during = f", {self.meanwhile}" + (f" of VM {self.vm} at {self.step}" if self.meanwhile in ("migration", "failback") else "")
        until = "until the records go on, at most " if self.until_running else ""
        return f"round {self.number} ({self.style}{during}): " + "; ".join(act.text() for act in self.acts) + \
            f"; mend {until}{self.hold_s:.1f} s after the last"

    @property
    def faults(self):
        return len(self.acts)


def _draw(rng, weights):
    return rng.choices(list(weights), list(weights.values()))[0]


def fits(kind, host, made):
    """May this come on top of what is broken already? `made` is a list of (kind, host)."""
    if (kind, host) in made or (kind in DISKS and any(other in DISKS for other, _ in made)):
        return False  # both disks of a VM broken: nothing can go on
    if any(other in PARTS and (where != host and kind in DISKS) for other, where in made):
        return False  # the last good leg: what to go on from is a person's decision (S2)
    if kind in PARTS and any(other in DISKS and where != host for other, where in made):
        return False
    here = [other for other, where in made if where == host]
    if any(other in DOWN for other in here) and not kind.startswith("link"):
        return False
    if kind in ("hang", "hostd-hung") and "watchdog-broken" in here:
        return False  # nobody is left to end its guests: docs/failover.md, "What a broken watchdog does expose"
    return not (kind == "watchdog-broken" and any(other in ("hang", "hostd-hung") for other in here))


def _act(rng, hosts, voters, made, wait_s):
    for _ in range(50):
        kind = _draw(rng, WEIGHTS)
        host = rng.choice(voters if kind.startswith("etcd-") else hosts)
        if fits(kind, host, made):
            return Act(kind, host, wait_s)
    return Act("link-client", hosts[0], wait_s)


def _drawn(rng, style, hosts, voters):
    count = {"alone": 1, "at-once": 2, "overlap": rng.choice((2, 2, 3)), "chain": rng.choice((2, 3, 3, 4))}[style]
    acts, made = [], []
    for index in range(count):
        chain = rng.uniform(0.5, 5) if rng.random() < 0.8 else rng.uniform(9, 11)
        wait = {"alone": 0.0, "at-once": rng.uniform(0, 0.3), "overlap": rng.uniform(0.5, 6), "chain": chain}[style]
        healed = round(rng.uniform(0, 3), 1) if style == "chain" and index else -1.0
        act = _act(rng, hosts, voters, made if healed < 0 else [], round(wait if index else 0.0, 1))
        act.healed_s = healed
        made = [*(made if healed < 0 else []), (act.kind, act.host)]
        acts.append(act)
    return acts


def _beside(rng, hosts):
    kind = rng.choice(list(BESIDE))
    host = rng.choice(hosts)
    return [Act(kind, host, 0.0), Act(rng.choice(BESIDE[kind]), host, round(rng.uniform(0.2, 2), 1))]


def _combination(rng, hosts, voters):
    where = dict(zip("xy", rng.sample(hosts, len(hosts))))
    acts = []
    for kind, who in rng.choice(COMBINATIONS):
        for host in voters if who == "each" else [where[who]]:
            acts.append(Act(kind, host, round(rng.uniform(0, 0.3 if rng.random() < 0.5 else 4), 1) if acts else 0.0))
    return acts


def draw_round(seed, number, vms, hosts, voters):
    rng = random.Random(f"bascule campaign {seed}/{number}")
    style = _draw(rng, STYLES)
    meanwhile = _draw(rng, MEANWHILE)
    if style == "beside":
        acts, meanwhile = _beside(rng, hosts), "idle"
    elif style == "combination":
        acts = _combination(rng, hosts, voters)
    else:
        acts = _drawn(rng, style, hosts, voters)
    if meanwhile == "resync":  # a leg that was cut off is just coming back when the next fault strikes
        acts[0].wait_s, acts[0].healed_s = round(rng.uniform(3.5, 5), 1), round(rng.uniform(0, 1.5), 1)
        acts.insert(0, Act("link-repl", rng.choice(hosts), 0.0))
    lost = any(act.kind in HOST_LOST or act.kind == "qemu-killed" for act in acts)
    until = rng.random() < (0.6 if lost else 0.1)
    hold = rng.uniform(20, 30) if until else rng.uniform(0.5, 6) if rng.random() < 0.65 else rng.uniform(8, 12)
    if all(act.kind in INSTANT for act in acts):
        hold, until = rng.uniform(0.3, 2), False
    return Round(number, style, meanwhile, rng.randrange(vms), rng.choice(MIGRATION_STEPS), acts, round(hold, 1), until)


def rounds(seed, vms, hosts, voters, first=1):
    """Round after round, without end for any practical purpose."""
    for number in range(first, LIMIT_ROUNDS):
        yield draw_round(seed, number, vms, hosts, voters)
