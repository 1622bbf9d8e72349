"""The lab of one file of scenarios: booted for its first one, taken down after its last. $LAB_NAME names one that is up already; that
one is taken as it is, and left up."""
import os

from . import cluster, work
from .plan import PROJECT, Lab
from .proc import mark

booted = {}  # name: what runs here now, for who explains a failure


def boot(name, image="", fresh=False):
    """Two sites and a witness in the fast profile; `image`, `fresh`: as of a plan.Lab."""
    given = os.environ.get("LAB_NAME")
    lab = Lab(given or name)
    if not given:
        mark(lab.name)
        lab.timing = "fast"
        lab.build = str(PROJECT / "build" / "dev")
        lab.image, lab.fresh = image, fresh
        work.up(lab, 2, lambda _text: None, build=False)
    booted[lab.name] = lab.load()
    return booted[lab.name]


def end(name):
    """However far it came."""
    booted.pop(name, None)
    if not os.environ.get("LAB_NAME"):
        with cluster.locked(Lab(name)):
            cluster.clean(Lab(name))
