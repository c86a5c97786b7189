#!/usr/bin/env python3
"""Draws what bench.py and bench_scale.py measured, as SVG.

usage: plot.py FOLDER JSON...

bench.json gives bench-cpu.svg and bench-peak.svg, scale.json one picture per curve. No library: text out, text in.
"""

import html
import json
import math
import os
import sys

COLOURS = {"pmheap": "#c0392b", "mimalloc2": "#2980b9", "mimalloc3": "#5dade2", "glibc": "#7f8c8d", "jemalloc": "#27ae60",
           "tcmalloc": "#d68910"}
FONT = 'font-family="sans-serif" font-size="%d"'


def text(x, y, what, size=11, anchor="start", extra=""):
    return '<text x="%.1f" y="%.1f" text-anchor="%s" %s %s>%s</text>' % (x, y, anchor, FONT % size, extra, html.escape(what))


def write(path, width, height, parts):
    with open(path, "w") as f:
        f.write('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d">\n' % (width, height, width, height))
        f.write('<rect width="100%" height="100%" fill="white"/>\n')
        f.write("\n".join(parts) + "\n</svg>\n")
    print(path)


def legend(names, x, y):
    parts = []
    for name in names:
        parts.append('<rect x="%.1f" y="%.1f" width="11" height="11" fill="%s"/>' % (x, y - 10, COLOURS.get(name, "#444")))
        parts.append(text(x + 15, y, name))
        x += 30 + 7 * len(name)
    return parts


def bars(data, key, title, path):
    """One row per workload: each allocator's value as a ratio to the base, on a logarithmic axis."""
    base, rows = data["base"], data["summary"]
    names = sorted({a for by in rows.values() for a in by}, key=lambda a: (a != "pmheap", a))
    left, top, width, lo, hi = 130, 60, 620, 0.25, 16.0

    def x(ratio):
        return left + width * (math.log(min(max(ratio, lo), hi)) - math.log(lo)) / (math.log(hi) - math.log(lo))

    parts = [text(10, 22, title, 15), *legend(names, left, 44)]
    y = top
    row_height = 5 * len(names) + 8
    bottom = top + row_height * len(rows)
    for tick in (0.25, 0.5, 1, 2, 4, 8, 16):
        parts.append('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s"/>' % (x(tick), x(tick), top - 4, bottom, "#333" if tick == 1 else "#ddd"))
        parts.append(text(x(tick), bottom + 14, "%g" % tick, 10, "middle"))
    for name, by in rows.items():
        unit = by.get(base, {}).get(key)
        parts.append(text(left - 6, y + row_height / 2 + 2, name, 11, "end"))
        for i, a in enumerate(names):
            if a in by and unit:
                ratio = by[a][key] / unit
                at, one = x(ratio), x(1)
                parts.append('<rect x="%.1f" y="%.1f" width="%.1f" height="4" fill="%s"><title>%s %s %.2f</title></rect>'
                             % (min(at, one), y + 5 * i, max(abs(at - one), 1), COLOURS.get(a, "#444"), name, a, ratio))
        y += row_height
    write(path, left + width + 30, bottom + 30, parts)


def lines(curve, path):
    """A curve per allocator over a logarithmic x; y from 0."""
    left, top, width, height = 70, 60, 520, 260
    xs = sorted({p[0] for points in curve["series"].values() for p in points})
    most = max(p[1] for points in curve["series"].values() for p in points) * 1.05
    step = next(s * 10 ** e for e in range(-3, 12) for s in (1, 2, 5) if 4 * s * 10 ** e >= most)  # four even steps
    most = 4 * step
    lo, hi = math.log(xs[0]), math.log(xs[-1]) if xs[-1] > xs[0] else math.log(xs[0]) + 1

    def at(p):
        return left + width * (math.log(p[0]) - lo) / (hi - lo), top + height * (1 - p[1] / most)

    parts = [text(10, 22, curve["title"], 15), *legend(curve["series"], left, 44)]
    for i in range(5):
        y = top + height * (1 - i / 4)
        parts.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>' % (left, left + width, y, y))
        parts.append(text(left - 6, y + 4, "%.3g" % (most * i / 4), 10, "end"))
    for x in xs:
        parts.append(text(at((x, 0))[0], top + height + 16, curve["labels"].get(str(x), "%g" % x), 10, "middle"))
    parts.append(text(left + width / 2, top + height + 36, curve["x"], 11, "middle"))
    parts.append(text(16, top + height / 2, curve["y"], 11, "middle", 'transform="rotate(-90 16 %d)"' % (top + height / 2)))
    for name, points in curve["series"].items():
        colour = COLOURS.get(name, "#444")
        parts.append('<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>' % (colour, " ".join("%.1f,%.1f" % at(p) for p in sorted(points))))
        parts += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (*at(p), colour) for p in points]
    write(path, left + width + 40, top + height + 50, parts)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for path in sys.argv[2:]:
        with open(path) as f:
            data = json.load(f)
        if "curves" in data:
            for name, curve in data["curves"].items():
                lines(curve, os.path.join(folder, "scale-%s.svg" % name))
        else:
            bars(data, "cpu_min", "CPU time as a ratio to %s (left is better)" % data["base"], os.path.join(folder, "bench-cpu.svg"))
            bars(data, "peak_kib", "Peak memory as a ratio to %s (left is better)" % data["base"], os.path.join(folder, "bench-peak.svg"))


if __name__ == "__main__":
    main()
