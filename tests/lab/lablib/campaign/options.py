"""The command line of `lab campaign`."""
from ..plan import POOLS

ABOUT = """Random faults of every kind of `lab fault`, alone, several at once and one after the other, also during migrations, failbacks and
resyncs, beside VMs that acknowledge records all the time. Uses the lab NAME if it is up, boots one (fast timing) otherwise and takes
it down at the end. Exit 0: no violation. The same seed plans the same faults; each round is printed before it is done, and
`--first N --rounds 1` does one of them again. Ctrl-C ends it with a judged report so far."""


def add(sub):
    sub.description = ABOUT
    sub.add_argument("--minutes", type=float, default=10.0, help="begin no round after this long (default 10)")
    sub.add_argument("--seed", type=int, default=1, help="of the plan (default 1)")
    sub.add_argument("--json", metavar="FILE", required=True, help="totals and every fault, written anew after each round; --resume reads it")
    sub.add_argument("--html", metavar="FILE", help="the report as one page")
    sub.add_argument("--faults", type=int, default=0, metavar="N", help="end after so many faults")
    sub.add_argument("--rounds", type=int, default=0, metavar="N", help="end after so many rounds")
    sub.add_argument("--first", type=int, default=1, metavar="N", help="begin with round N of the seed's plan")
    sub.add_argument("--vms", type=int, default=2, choices=(1, 2, 3), help="how many (default 2); every second one is at home on the other site")
    sub.add_argument("--resume", action="store_true", help="go on from --json after an interruption, in the same lab")
    sub.add_argument("--stop-on-violation", action="store_true", help="end at the first violation, with the lab as it is")
    sub.add_argument("--evidence", metavar="DIR", help="where the evidence of violations goes (default /run/bascule-lab/NAME-evidence)")
    sub.add_argument("--keep", action="store_true", help="leave a lab up that this command booted; after a violation it stays up anyway")
    sub.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    sub.add_argument("--timing", choices=("standard", "fast"), default="fast", help="profile of failover's times, of a lab that is booted")
    sub.add_argument("--pool", choices=POOLS, default="lvm-thin", help="kind of backing device, of a lab that is booted")
