#!/usr/bin/env python3
"""What a malloc and a free cost as the pool, the live blocks and the threads grow.

usage: bench_scale.py [OPTION...] [BUILD]        (ninja bench-scale)

Three curves: the pool's size from 16 MiB to 1 TiB (sparse; the largest on a tmpfs of that size, which needs root), live
blocks from 10^3 to 10^8 as far as memory goes, threads from 1 to 64. Times are CPU nanoseconds per pair of malloc and
free, the least of the rounds; the peers go along where they have the same thing to do. Table, and JSON for plot.py.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import bench  # noqa: E402

MIB = 1 << 20
SIZES = [16 * MIB << (2 * i) for i in range(9)]  # 16 MiB to 1 TiB
BLOCKS = [10 ** n for n in range(3, 9)]
THREADS = [1, 2, 4, 8, 16, 32, 64]


def human(size):
    for unit in ("MiB", "GiB", "TiB"):
        size //= 1024 if unit != "MiB" else MIB
        if size < 1024:
            return "%d %s" % (size, unit)
    return str(size)


class Scale:
    def __init__(self, args, work, pool_dir):
        self.args, self.work, self.pool_dir = args, work, pool_dir
        self.program = os.path.join(work, "scale")
        subprocess.check_call(args.cc.split() + ["-std=gnu17", "-O2", "-D_GNU_SOURCE", "-pthread", "-fno-builtin-malloc",
                                                 "-fno-builtin-free", "-o", self.program, os.path.join(bench.HERE, "scale.c")])

    def run(self, library, pool_size, argv):
        """The lines of one run as {name: nanoseconds}; None: it failed."""
        env = {"PATH": os.environ["PATH"]}
        if library:
            env["LD_PRELOAD"] = library
        if library == self.args.library:
            env.update(VMMALLOC_POOL_DIR=self.pool_dir, VMMALLOC_POOL_SIZE=str(pool_size))
        p = subprocess.run([self.program] + argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if p.returncode != 0:
            print("  %s: %s" % (" ".join(argv), p.stderr.strip()[-200:]))
            return None
        return {k: float(v) for k, v in (line.split() for line in p.stdout.splitlines())}

    def points(self, jobs):
        """jobs: (series, x, library, pool size, argv). Least of the rounds, interleaved."""
        best = {}
        for _ in range(self.args.rounds):
            for series, x, library, size, argv in jobs:
                got = self.run(library, size, argv)
                for key, ns in (got or {}).items():
                    at = (key, series, x)
                    best[at] = min(best.get(at, ns), ns)
        return best


def curve(best, key, title, x, labels):
    series = {}
    for (k, name, at), ns in best.items():
        if k == key:
            series.setdefault(name, []).append([at, ns])
    print("\n%s (%s)" % (title, x))
    xs = sorted({p[0] for ps in series.values() for p in ps})
    print("  %-10s" % "" + "".join("%10s" % labels.get(str(at), "%g" % at) for at in xs))
    for name, ps in series.items():
        by = dict(map(tuple, ps))
        print("  %-10s" % name + "".join("%10s" % ("%.1f" % by[at] if at in by else "-") for at in xs))
    return {"title": title, "x": x, "y": "CPU ns per pair", "labels": labels, "series": series}


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("build", nargs="?", default=".", help="build folder [.]")
    ap.add_argument("--library", help="our library [lib/libvmmalloc.so.1 of the build folder]")
    ap.add_argument("--cc", default="cc")
    ap.add_argument("--rounds", type=int, default=3, help="[3]")
    ap.add_argument("--pool-dir", help="[/dev/shm]")
    ap.add_argument("--operations", type=int, default=4000000, help="[4000000]")
    ap.add_argument("--most-blocks", type=int, default=10 ** 8, help="[100000000]")
    ap.add_argument("--json", help="[scale.json in the build folder]")
    args = ap.parse_args()
    args.library = os.path.abspath(args.library or os.path.join(args.build, "lib", "libvmmalloc.so.1"))
    args.json = args.json or os.path.join(args.build, "scale.json")
    peers = bench.find_peers() + [(bench.OURS, args.library)]
    root = args.pool_dir or "/dev/shm"
    operations = str(args.operations)

    with contextlib.ExitStack() as stack:
        work = tempfile.mkdtemp(prefix="scale.")
        stack.callback(shutil.rmtree, work, True)
        pools = tempfile.mkdtemp(prefix="scale-pool.", dir=root)
        stack.callback(shutil.rmtree, pools, True)
        big = subprocess.call(["mount", "-t", "tmpfs", "-o", "size=2T", "scale", pools], stderr=subprocess.DEVNULL) == 0
        if big:
            stack.callback(subprocess.call, ["umount", "-l", pools])
        scale = Scale(args, work, pools)
        room = shutil.disk_usage(pools).free
        with open("/proc/meminfo") as f:
            memory = next(int(line.split()[1]) << 10 for line in f if line.startswith("MemAvailable"))
        curves = {}

        sizes = [s for s in SIZES if s <= room]
        if len(sizes) < len(SIZES):
            print("no room for pools above %s (a larger tmpfs needs root)" % human(sizes[-1]))
        best = scale.points([(bench.OURS, s, args.library, s, ["live", "10000", operations]) for s in sizes])
        labels = {str(s): human(s) for s in SIZES}
        curves["pool"] = curve(best, "op", "Replacing one of 10 000 live blocks", "size of the pool", labels)

        blocks = [b for b in BLOCKS if b <= args.most_blocks and b * 160 < memory]
        if blocks[-1] < args.most_blocks:
            print("not enough memory for more than %d live blocks" % blocks[-1])
        best = scale.points([(name, b, lib, max(64 * MIB, b * 200), ["live", str(b), operations]) for b in blocks for name, lib in peers])
        labels = {str(b): "1e%d" % (len(str(b)) - 1) for b in BLOCKS}
        curves["live"] = curve(best, "op", "Replacing one of many live blocks", "live blocks", labels)
        curves["fill"] = curve(best, "fill", "Making that many blocks", "live blocks", labels)

        best = scale.points([(name, t, lib, 1 << 30, ["threads", str(t), operations]) for t in THREADS for name, lib in peers])
        curves["threads"] = curve(best, "op", "Threads replacing blocks of their own", "threads", {})

    with open(args.json, "w") as f:
        json.dump({"machine": bench.machine(), "rounds": args.rounds, "curves": curves}, f, indent=1)
        f.write("\n")
    print("\nraw numbers: %s" % args.json)


if __name__ == "__main__":
    main()
