"""The campaign as one HTML page: self-contained, every text escaped."""
import datetime
import html
import os

from . import judge

WIDTH, LANE, LEFT = 900, 14, 90  # pixels
BUCKETS = (0.5, 1, 2, 5, 10, 15, 20, 25, 30, 45, 60)  # seconds
COLOURS = {"running": "#4a7fb5", "paused": "#c9a227", "frozen": "#8a5fa8", "acknowledged": "#3c8d40"}
STYLE = """body{font:14px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1100px;padding:0 1em;color:#222;background:#fff}
table{border-collapse:collapse;margin:.5em 0}td,th{border:1px solid #ccc;padding:.2em .5em;text-align:left;vertical-align:top}
th{background:#f2f2f2}.bad{color:#b00020;font-weight:bold}.good{color:#2e7d32;font-weight:bold}code{background:#f4f4f4;padding:0 .2em}
details{margin:.6em 0}summary{cursor:pointer}svg{display:block;max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:#333}
.scroll{overflow-x:auto}.key span{margin-right:1.2em;white-space:nowrap}"""
TITLES = {"faults": "faults made", "records_acknowledged": "records acknowledged", "records_lost": "records lost",
          "double_runs": "double runs", "operations_stuck": "operations stuck, VMs down, volumes out of sync",
          "violations": "violations", "records_not_judged": "records overwritten before they were judged", "rounds": "rounds", "skipped": "faults planned and not made"}
MUST_BE_ZERO = ("records_lost", "double_runs", "operations_stuck", "violations")


def esc(text):
    return html.escape(str(text), quote=True)


def when(wall):
    return datetime.datetime.fromtimestamp(wall, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC") if wall else "-"


def named(act):
    return f"{act['kind']} on {act['host']}"


def _table(head, rows):
    """Cells are HTML already."""
    return "<div class=scroll><table><tr>" + "".join(f"<th>{esc(cell)}" for cell in head) + "".join(
        "<tr>" + "".join(f"<td>{cell}" for cell in row) for row in rows) + "</table></div>"


def _totals(state):
    rows = []
    for name, number in state["totals"].items():
        cls = "" if name not in MUST_BE_ZERO else " class=bad" if number else " class=good"
        rows.append((esc(TITLES.get(name, name)), f"<span{cls}>{number:,}</span>"))
    return _table(("", "in all"), rows)


def bucket_of(seconds):
    return next((index for index, top in enumerate(BUCKETS) if seconds <= top), len(BUCKETS))


def histogram(faults):
    """{class: [faults in each bucket]}: the longest silence of any VM."""
    out = {}
    for fault in faults:
        counts = out.setdefault(judge.class_of(fault["kind"]), [0] * (len(BUCKETS) + 1))
        counts[bucket_of(max(fault["outage_s"].values(), default=0.0))] += 1
    return out


def _bars(counts):
    top, width, high = max(counts) or 1, 52, 70
    parts = []
    for index, count in enumerate(counts):
        label = f"≤{BUCKETS[index]:g}" if index < len(BUCKETS) else f">{BUCKETS[-1]:g}"
        tall = round(high * count / top)
        parts.append(f'<rect x="{index * width + 4}" y="{high + 14 - tall}" width="{width - 10}" height="{tall}" fill="#4a7fb5"/>'
                     f'<text x="{index * width + width // 2}" y="{high + 10 - tall}" text-anchor="middle">{count or ""}</text>'
                     f'<text x="{index * width + width // 2}" y="{high + 28}" text-anchor="middle">{esc(label)}</text>')
    wide = width * len(counts)
    return f'<svg viewBox="0 0 {wide} {high + 34}" width="{wide}" role="img">{"".join(parts)}</svg>'


def _histograms(state):
    parts = []
    for name, counts in sorted(histogram(state["faults"]).items()):
        parts.append(f"<h3>{esc(name)}: {sum(counts)}</h3>{_bars(counts)}")
    return "".join(parts)


def _lanes(row):
    """(label, spans) for each host of each VM, and what each VM acknowledged."""
    for vm, seen in sorted(row["timeline"].items()):
        for host, spans in sorted(seen["hosts"].items()):
            yield f"{vm} on {host}", spans
        yield f"{vm} records", seen["acknowledged"]


def _drawing(row, acts):
    lanes = list(_lanes(row))
    length = max(1.0, row["ended"] - row["began"])
    scale = (WIDTH - LEFT) / length

    def x(at):
        return round(LEFT + max(0.0, min(at, length)) * scale, 1)
    high = LANE * len(lanes) + 34
    parts = []
    for index, (label, spans) in enumerate(lanes):
        top = 4 + index * LANE
        parts.append(f'<text x="0" y="{top + 10}">{esc(label)}</text>')
        for start, end, what in spans:
            wide = max(1.5, x(end) - x(start))
            parts.append(f'<rect x="{x(start)}" y="{top + 2}" width="{wide:.1f}" height="{LANE - 4}" fill="{COLOURS.get(what, "#999")}">'
                         f"<title>{esc(what)} {start:.1f} to {end:.1f} s</title></rect>")
    marks = [(act["at"] - row["began"], "#b00020", named(act)) for act in acts]
    marks += [(row["healed"] - row["began"], "#2e7d32", "mended")] if row.get("healed") else []
    for at, colour, label in marks:
        parts.append(f'<line x1="{x(at)}" x2="{x(at)}" y1="0" y2="{high - 30}" stroke="{colour}" stroke-width="1.5">'
                     f"<title>{esc(label)} at {at:.1f} s</title></line>")
    for tick in range(0, int(length) + 1, 5 if length < 90 else 20):
        parts.append(f'<text x="{x(tick)}" y="{high - 14}" text-anchor="middle">{tick}</text>')
    parts.append(f'<text x="{LEFT}" y="{high - 2}">seconds; red: a fault, green: mended</text>')
    return f'<svg viewBox="0 0 {WIDTH} {high}" width="{WIDTH}" role="img">{"".join(parts)}</svg>'


def _round(row, acts):
    bad = bool(row["violations"])
    longest = max((seconds for act in acts for seconds in act["outage_s"].values()), default=0.0)
    during = f", during {row['meanwhile']}" if row["meanwhile"] != "idle" else ""
    head = f"round {row['round']}: {', '.join(named(act) for act in acts)}{during}; longest silence {longest} s, " \
        f"settled {row['settled_s']} s after the mending"
    lines = [("began", esc(when(row["began"]))), ("plan", f"<code>{esc(row['plan'])}</code>")]
    lines += [("moves", esc(row["moves"]))] if "moves" in row else []
    lines += [("note", esc(row["note"]))] if row.get("note") else []
    for act in acts:
        hostd = "; ".join(act["operations"]) or "-"
        said = f"at {act['at'] - row['began']:.1f} s; ran: {act['ran_before']}; silence: {act['outage_s']}; hostd: {hostd}"
        lines.append((f"#{act['n']} {named(act)}", esc(said)))
    lines += [("not made", esc(f"{named(act)}: {act['why']}")) for act in row["skipped"]]
    lines.append(("operations", "<br>".join(esc(_operation(op)) for op in row["operations"]) or "-"))
    lines.append(("ended by themselves", esc(row["rebooted"] or "-")))
    lines.append(("ran after", esc(row["ran_after"])))
    words = "; ".join(row["violations"]) or (acts[0]["judge"] if acts else "-")
    lines.append(("judge", f'<span class={"bad" if bad else "good"}>{esc(words)}</span>'))
    table = "".join(f"<tr><th>{esc(name)}<td>{value}" for name, value in lines)
    mark = "<span class=bad>VIOLATION</span> " if bad else ""
    return f'<details{" open" if bad else ""}><summary>{mark}{esc(head)}</summary>{_drawing(row, acts)}' \
        f"<div class=scroll><table>{table}</table></div></details>"


def _operation(op):
    return f"{op['kind']} of {op['vm']} to {op['target_host']}: {op['state']}" + (f": {op['error']}" if op.get("error") else "")


def _violations(state):
    if not state["violations"]:
        return "<p class=good>none</p>"
    return _table(("round", "what", "evidence"), [
        (esc(v["round"]), f"<span class=bad>{esc(v['class'])}</span>: {esc(v['text'])}", f"<code>{esc(v['evidence'])}</code>")
        for v in state["violations"]])


def page(state):
    acts = {}
    for act in state["faults"]:
        acts.setdefault(act["round"], []).append(act)
    until = when(state["ended"]) if state["ended"] else "now (it runs)"
    key = "".join(f'<span><svg style="display:inline" width="12" height="12"><rect width="12" height="12" fill="{colour}"/></svg>'
                  f" {esc(name)}</span>" for name, colour in COLOURS.items())
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Bascule: a campaign of faults</title>",
        '<meta name=viewport content="width=device-width,initial-scale=1">', f"<style>{STYLE}</style>",
        f"<h1>A campaign of faults, seed {esc(state['seed'])}</h1>",
        f"<p>{esc(when(state['began']))} to {esc(until)}. Command: <code>{esc(state['command'])}</code></p>",
        "<h2>Totals</h2>", _totals(state),
        "<h2>Versions</h2>", _table(("", ""), [(esc(name), esc(value)) for name, value in state["versions"].items()]),
        "<h2>Violations</h2>", _violations(state),
        "<h2>The judge</h2>", _table(("VM", "when", "legs of", "verdict"), [
            (esc(v["vm"]), esc(when(v["at"])) + (", at the end" if v["final"] else ""), esc(", ".join(v["hosts"])),
             f'<span class={"good" if v["clean"] else "bad"}>{esc(v["words"])}</span>') for v in state["verdicts"]]),
        "".join(f"<p>{esc(note)}</p>" for note in state["notes"]),
        "<h2>Outages</h2><p>The longest time without an acknowledged record, of any VM, that began between the fault and the next one "
        "or the end of the round. Seconds.</p>", _histograms(state),
        f"<h2>Rounds</h2><p class=key>{key}</p>", *(_round(row, acts.get(row["round"], [])) for row in state["rounds"])]
    return "\n".join(parts) + "</html>\n"


def write(state, path):
    new = f"{path}.new"
    with open(new, "w", encoding="utf-8") as out:
        out.write(page(state))
    os.replace(new, path)
