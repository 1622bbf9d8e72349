"""How late this machine lets a sleeper wake: where it is too busy, times say nothing about what is tested."""
import os
import threading
import time

LAG_SECONDS = 0.1


class Lag(threading.Thread):
    """One sleeper, on one CPU or on any."""

    def __init__(self, cpu=None):
        super().__init__(daemon=True)
        self.cpu, self.ending, self.worst = cpu, threading.Event(), 0.0

    def run(self):
        if self.cpu is not None:
            os.sched_setaffinity(0, {self.cpu})  # this thread alone
        before, over = time.monotonic(), False
        while not over:
            over = self.ending.wait(LAG_SECONDS)
            now = time.monotonic()
            self.worst = max(self.worst, now - before - LAG_SECONDS)
            before = now

    def since_last(self):
        worst, self.worst = self.worst, 0.0
        return round(worst, 2)


class Standstill:
    """For how long this machine stood still at most while the block lasted. On each CPU, as a lab's kernel stays on one."""

    def __enter__(self):
        self.sleepers = [Lag(cpu) for cpu in os.sched_getaffinity(0)]
        for sleeper in self.sleepers:
            sleeper.start()
        return self

    def __exit__(self, *_):
        for sleeper in self.sleepers:
            sleeper.ending.set()
        for sleeper in self.sleepers:
            sleeper.join()
        self.seconds = max(sleeper.worst for sleeper in self.sleepers)
