"""A campaign of random faults, drawn from a seed: plan.py says what is done, run.py does it, watch.py looks on, judge.py says what
was wrong, report.py shows it. `./lab campaign --help`."""
