#!/usr/bin/env python3
"""Compares allocators: every workload against every allocator that is there, interleaved round by round.

usage: bench.py [OPTION...] [BUILD]        (ninja bench, ninja bench-quick)
       bench.py --instructions [BUILD]     (ninja bench-instructions)

Each run is started by launch.c with LD_PRELOAD set for it alone. One round runs each workload once under each
allocator, in an order that is turned by one from round to round. CPU time (user + system) and wall time are the
least, and the median, over the rounds; page faults and peak memory are the median. Tables show ratios to one
allocator (--base); the pool's pages are file pages of /dev/shm, and count as resident memory like all others.
The same numbers go to a JSON file, raw runs included.
"""

import argparse
import contextlib
import datetime
import json
import math
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path.insert(0, TESTS)
sys.dont_write_bytecode = True
import programs  # noqa: E402  (the generators of source text, and where Debian's programs are)

# Library files by name in the folders of the loader, and the Debian package to name when one is missing.
PEERS = [
    ("glibc", None, None),
    ("mimalloc2", "libmimalloc.so.2", "libmimalloc2.0"),
    ("mimalloc3", "libmimalloc.so.3", "libmimalloc3"),
    ("jemalloc", "libjemalloc.so.2", "libjemalloc2"),
    ("tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
]
FOLDERS = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib/riscv64-linux-gnu", "/usr/lib64", "/usr/lib",
           "/usr/local/lib"]
OURS = "pmheap"

SYNTHETIC = """
    hit_small hit_medium batch_fifo batch_lifo batch_random churn_small_set churn_large_set churn_1k_32k churn_40k_400k
    churn_1m_16m waves trees calloc realloc_vectors realloc_huge producer_consumer remote_random thread_births
    two_threads server phases process_start
    """.split()
QUICK = "hit_small batch_fifo churn_small_set churn_large_set churn_40k_400k realloc_vectors remote_random server".split()
QUICK_PROGRAMS = ["python3", "sqlite3"]
# Beside the programs' own time, what decides here is the kernel's share of a process; kept out of the time geomean.
APART = {"process_start"}


def find_peers():
    found, missing = [], []
    for name, file, package in PEERS:
        if file is None:
            found.append((name, ""))
            continue
        path = next((p for f in FOLDERS for p in [os.path.join(f, file)] if os.path.exists(p)), None)
        if path:
            found.append((name, path))
        elif package != "libmimalloc3":  # not in every release
            missing.append(package)
    if missing:
        print("not installed: %s (./configure.py --install-deps=bench)" % " ".join(missing))
    return found


class Bench:
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.pool_dir = args.pool_dir
        self.result = os.path.join(work, "result")
        self.launch = self.compile("launch", ["-static"])
        self.workloads = self.compile("workloads", ["-pthread", "-fno-builtin-malloc", "-fno-builtin-calloc",
                                                    "-fno-builtin-realloc", "-fno-builtin-free"])
        self.env = {"PATH": programs.PATH, "HOME": work, "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "TMPDIR": work,
                    "PYTHONDONTWRITEBYTECODE": "1"}

    def compile(self, name, flags):
        out = os.path.join(self.work, name)
        subprocess.check_call(self.args.cc.split() + ["-std=gnu17", "-O2", "-D_GNU_SOURCE", "-o", out,
                                                      os.path.join(HERE, name + ".c")] + flags)
        return out

    def settings(self, library):
        if not library:
            return []
        s = ["LD_PRELOAD=" + library]
        if library == self.args.library:
            s += ["VMMALLOC_POOL_DIR=" + self.pool_dir, "VMMALLOC_POOL_SIZE=%d" % (self.args.pool_size << 20)]
        return s

    def run(self, library, argv, stdin=None):
        """One run; what it cost, or None and a line when it failed."""
        with open(stdin or os.devnull, "rb") as source:
            p = subprocess.Popen([self.launch, self.result] + self.settings(library) + argv, env=self.env, cwd=self.work,
                                 stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
            return self.finish(p, argv)

    def finish(self, p, argv):
        try:
            out, err = p.communicate(timeout=300)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGKILL)
            p.wait()
            raise
        if p.returncode != 0:
            print("  %s: exit status %d: %s" % (" ".join(argv)[:80], p.returncode, err.decode(errors="replace")[-300:].strip()))
            return None
        with open(self.result) as f:
            _, user, system, wall, minor, major, peak = map(int, f.read().split())
        record = {"cpu": (user + system) / 1e6, "user": user / 1e6, "system": system / 1e6, "wall": wall / 1e9,
                  "faults": minor + major, "peak_kib": peak}
        live = re.match(rb"live (\d+)", out)
        if live:
            record["live_kib"] = int(live.group(1))
        return record

    def redis(self, library, requests):
        """The server's cost of a fixed number of requests of redis-benchmark."""
        sock = os.path.join(self.work, "redis.sock")
        argv = ["redis-server", "--port", "0", "--unixsocket", sock, "--save", "", "--dir", self.work]
        p = subprocess.Popen([self.launch, self.result] + self.settings(library) + argv, env=self.env, cwd=self.work,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        try:
            limit = time.monotonic() + 20
            while True:
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
                    s.connect(sock)
                    break
                if time.monotonic() > limit or p.poll() is not None:
                    break
                time.sleep(0.02)
            quiet = dict(env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            subprocess.call(["redis-benchmark", "-s", sock, "-q", "-n", str(requests), "-c", "20", "-P", "16", "-d", "300",
                             "-r", "20000", "-t", "set,get,lpush,rpop,sadd,hset,zadd"], **quiet)
            subprocess.call(["redis-cli", "-s", sock, "shutdown", "nosave"], **quiet)
            return self.finish(p, argv)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGKILL)

    def programs(self):
        """name -> function(library) for the real programs that are there."""
        w, scale = self.work, self.args.scale
        have = {}

        def add(name, program, argv, stdin=None):
            if programs.which(program):
                have[name] = lambda library: self.run(library, argv, stdin)

        def write(name, text):
            with open(os.path.join(w, name), "w") as f:
                f.write(text)
            return os.path.join(w, name)

        env = ["PYTHONMALLOC=malloc"]
        add("python3", "python3", env + [programs.PYTHON, os.path.join(HERE, "workload.py"), str(scale)])
        add("gcc", "gcc", ["gcc", "-O2", "-g", "-c", write("big.c", programs.generated_c(3 * scale)), "-o", os.path.join(w, "big.o")])
        add("g++", "g++", ["g++", "-std=c++17", "-O1", "-g", "-c", write("big.cc", programs.generated_cxx(max(1, scale // 12))),
                           "-o", os.path.join(w, "big.o")])
        add("sqlite3", "sqlite3", ["sqlite3", "-batch", ":memory:"], programs.data("workload.sql"))
        add("lua", "lua5.4", ["lua5.4", programs.data("workload.lua")])
        add("perl", "perl", ["perl", programs.data("workload.pl")])
        text = write("text", "".join("%d %x line %s\n" % (i, i * 2654435761 % 4294967296, "abc" * (i % 7)) for i in range(4000 * scale)))
        drawing = write("drawing.ps", "%!PS\n/Helvetica 12 selectfont\n" + "".join(
            "newpath %d %d moveto %d %d %d %d %d %d curveto stroke %d %d moveto (line %d) show\n"
            % (i % 600, i % 790, i * 7 % 600, i * 3 % 790, i * 5 % 600, i * 11 % 790, i * 13 % 600, i * 17 % 790,
               i * 19 % 600, i * 23 % 790, i)
            for i in range(300 * scale)) + "showpage\n")
        add("ghostscript", "gs", ["gs", "-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=pdfwrite",
                                  "-sOutputFile=" + os.path.join(w, "drawing.pdf"), drawing])
        add("xz", "xz", ["xz", "-3", "-T1", "-k", "-c", text])
        if programs.which("redis-server") and programs.which("redis-benchmark"):
            have["redis"] = lambda library: self.redis(library, 1000 * scale)
        return have


# --- tables ------------------------------------------------------------------------------------------------------

def geomean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def summary(runs):
    """Of the runs of one workload under one allocator."""
    s = {"runs": len(runs)}
    for key in ("cpu", "wall"):
        s[key + "_min"] = min(r[key] for r in runs)
        s[key + "_median"] = statistics.median(r[key] for r in runs)
    for key in ("faults", "peak_kib"):
        s[key] = statistics.median(r[key] for r in runs)
    if "live_kib" in runs[0]:
        s["live_over_peak"] = runs[0]["live_kib"] / s["peak_kib"]
    return s


def table(title, results, allocators, base, value, show, geomean_skips=()):
    """Absolute value of the base, ratios of the others to it, and ours against the best of the peers."""
    print("\n%s" % title)
    others = [a for a in allocators if a != base]
    ours = OURS in allocators
    print("  %-18s %10s" % ("", base) + "".join("%11s" % a for a in others) + ("%12s" % "vs best" if ours else ""))
    ratios = {a: [] for a in allocators}
    best_ratios = []
    for name, by in results.items():
        if base not in by:
            continue
        unit = value(by[base]) or 1e-9
        line = "  %-18s %10s" % (name, show(value(by[base])))
        for a in others:
            if a not in by:
                line += "%11s" % "failed"
                continue
            r = value(by[a]) / unit
            line += "%11.2f" % r
            if name not in geomean_skips and r > 0:
                ratios[a].append(r)
        peers = [value(by[a]) for a in by if a != OURS]
        if ours and OURS in by:
            r = value(by[OURS]) / (min(peers) or 1e-9)
            line += "%12.2f" % r
            if name not in geomean_skips and r > 0:
                best_ratios.append(r)
        print(line)
    line = "  %-18s %10s" % ("geomean", "1")
    for a in others:
        line += "%11.2f" % geomean(ratios[a])
    print(line + ("%12.2f" % geomean(best_ratios) if ours else ""))
    return {**{a: geomean(ratios[a]) for a in others}, "vs_best_peer": geomean(best_ratios) if ours else None}


def machine():
    with open("/proc/cpuinfo") as f:
        model = re.search(r"model name\s*:\s*(.*)", f.read())
    return {"cpu": model.group(1) if model else platform.machine(), "cpus": os.cpu_count(), "kernel": platform.release(),
            "libc": " ".join(platform.libc_ver()), "date": datetime.date.today().isoformat(),
            "load_at_start": os.getloadavg()[0]}


def measure(bench, allocators, names, rounds, have):
    runs = {n: {a: [] for a, _ in allocators} for n in names}
    broken = set()
    start = time.monotonic()
    for r in range(rounds):
        for n in names:
            for i in range(len(allocators)):
                a, library = allocators[(i + r) % len(allocators)]
                if (n, a) in broken:
                    continue
                if n in have:
                    record = have[n](library)
                else:
                    record = bench.run(library, [bench.workloads, n, str(bench.args.scale)])
                if record is None:
                    broken.add((n, a))
                    runs[n][a] = []
                else:
                    runs[n][a].append(record)
        print("round %d of %d, %d s" % (r + 1, rounds, time.monotonic() - start), flush=True)
    return runs, broken


def compare(args, bench, peers):
    have = bench.programs()
    names = (QUICK + [p for p in QUICK_PROGRAMS if p in have]) if args.quick else SYNTHETIC + list(have)
    if args.only:
        names = [n for n in SYNTHETIC + list(have) if any(o == n or (o.endswith("*") and n.startswith(o[:-1])) for o in args.only)]
    if not names:
        print("no workload of that name")
        return 1
    print("%d workloads, %d allocators, %d rounds, scale %d %%" % (len(names), len(peers), args.rounds, args.scale), flush=True)
    about = machine()
    if about["load_at_start"] > 0.5:
        print("note: others are using this machine (load %.1f); CPU time suffers from that, wall time more" % about["load_at_start"])
    runs, broken = measure(bench, peers, names, args.rounds, have)
    results = {n: {a: summary(rs) for a, rs in by.items() if rs} for n, by in runs.items()}
    allocators = [a for a, _ in peers]
    base = args.base if args.base in allocators else allocators[0]
    seconds, mib = (lambda v: "%.3f s" % v), (lambda v: "%.1f MiB" % (v / 1024))
    means = {
        "cpu": table("CPU time, minimum of the rounds, as a ratio to %s" % base, results, allocators, base,
                     lambda s: s["cpu_min"], seconds, APART),
        "cpu_median": table("CPU time, median of the rounds", results, allocators, base, lambda s: s["cpu_median"], seconds, APART),
        "wall": table("Wall time, minimum of the rounds", results, allocators, base, lambda s: s["wall_min"], seconds, APART),
        "peak": table("Peak resident memory", results, allocators, base, lambda s: s["peak_kib"], mib, APART),
        "faults": table("Page faults", results, allocators, base, lambda s: s["faults"], lambda v: "%d" % v, APART),
    }
    for n, by in results.items():
        if any("live_over_peak" in s for s in by.values()):
            print("\n%s: peak of live bytes over peak memory: " % n +
                  ", ".join("%s %.2f" % (a, s["live_over_peak"]) for a, s in by.items()))
    with open(args.json, "w") as f:
        json.dump({"machine": about, "base": base, "scale": args.scale, "rounds": args.rounds, "geomean": means,
                   "summary": results, "runs": runs}, f, indent=1)
        f.write("\n")
    print("\nraw numbers: %s" % args.json)
    for n, a in sorted(broken):
        print("failed: %s under %s" % (n, a))
    return 1 if any(a == OURS for _, a in broken) else 0


# --- instructions ------------------------------------------------------------------------------------------------

def calls_from(path, functions):
    """Of a callgrind file: function -> (calls made by it, instructions spent in them)."""
    totals = {f: [0, 0] for f in functions}
    names = {}

    def name_of(text):
        m = re.match(r"\((\d+)\)(?: (.*))?", text)
        if m is None:
            return text
        if m.group(2):
            names[m.group(1)] = m.group(2)
        return names[m.group(1)]

    current, count = None, None
    with open(path) as f:
        for line in f:
            if line.startswith("fn="):  # what follows is its own, up to the next; "calls=" precedes the cost of calls
                current = name_of(line[3:].strip()).split(".")[0]  # without .constprop.0 and the like
            elif line.startswith("cfn="):
                name_of(line[4:].strip())
            elif line.startswith("calls="):
                count = int(line[6:].split()[0])
            elif count is not None:
                if current in totals:
                    totals[current][0] += count
                    totals[current][1] += int(line.split()[1])
                count = None
    return totals


def instructions(args, bench, peers):
    if not shutil.which("valgrind"):
        print("valgrind is not installed (./configure.py --install-deps)")
        return 1
    functions = ["instr_malloc", "instr_free"]

    def count(library, workload, rounds):
        out = os.path.join(bench.work, "callgrind.out")
        env = dict(bench.env, **dict(s.split("=", 1) for s in bench.settings(library)))
        preload = env.pop("LD_PRELOAD", None)
        argv = ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out, "-q"]
        # valgrind itself runs plain: the settings reach the program through env(1), which valgrind follows
        if preload:
            argv += ["--trace-children=yes", "env", "LD_PRELOAD=" + preload]
        with contextlib.suppress(OSError):
            os.unlink(out)
        p = subprocess.run(argv + [bench.workloads, workload, str(rounds)], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if p.returncode != 0 or not os.path.exists(out):
            raise RuntimeError(p.stdout.decode(errors="replace")[-300:])
        return calls_from(out, functions)

    def per_call(library, workload, few, many):
        """Instructions per malloc and per free between two lengths of a run: what came before is in both."""
        a, b = count(library, workload, few), count(library, workload, many)
        return [(b[f][1] - a[f][1]) / (b[f][0] - a[f][0]) for f in functions]

    print("instructions per call, blocks of 64 bytes, counted by callgrind")
    print("  hit: 8 blocks taken and given back; batch: 4096 blocks, freed as allocated; random: freed in random order")
    print("  %-12s %8s %8s   %14s %14s   %14s %14s" % ("", "malloc", "free", "batch: refill", "flush", "random: refill", "flush"))
    table_rows = {}
    for name, library in peers:
        try:
            hit = per_call(library, "instr_hit", 1000, 11000)
            batch = per_call(library, "instr_batch", 10, 30)
            shuffled = per_call(library, "instr_batch_random", 10, 30)
        except RuntimeError as e:
            print("  %-12s failed: %s" % (name, e))
            continue
        row = hit + [batch[0] - hit[0], batch[1] - hit[1], shuffled[0] - hit[0], shuffled[1] - hit[1]]
        table_rows[name] = row
        print("  %-12s %8.1f %8.1f   %14.1f %14.1f   %14.1f %14.1f" % tuple([name] + row), flush=True)
    with open(args.json, "w") as f:
        json.dump({"machine": machine(), "columns": ["malloc", "free", "refill", "flush", "random_refill", "random_flush"],
                   "instructions": table_rows}, f, indent=1)
    return 0


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("build", nargs="?", default=".", help="build folder [.]")
    ap.add_argument("--library", help="our library [lib/libvmmalloc.so.1 of the build folder]")
    ap.add_argument("--cc", default="cc")
    ap.add_argument("--quick", action="store_true", help="fewer and shorter workloads, under two minutes")
    ap.add_argument("--instructions", action="store_true", help="count instructions instead of time")
    ap.add_argument("--rounds", type=int, help="[5, quick 3]")
    ap.add_argument("--scale", type=int, help="length of the workloads in per cent [100, quick 25]")
    ap.add_argument("--only", action="append", help="only this workload (NAME, or PREFIX*); may be repeated")
    ap.add_argument("--peer", action="append", help="only this allocator; may be repeated")
    ap.add_argument("--base", default="mimalloc2", help="what ratios refer to [mimalloc2]")
    ap.add_argument("--pool-dir", help="[/dev/shm]")
    ap.add_argument("--pool-size", type=int, default=4096, metavar="MIB", help="[4096]")
    ap.add_argument("--json", help="[bench.json, bench-quick.json or bench-instructions.json in the build folder]")
    args = ap.parse_args()
    args.rounds = args.rounds or (3 if args.quick else 5)
    args.scale = args.scale or (25 if args.quick else 100)
    kind = "bench-instructions" if args.instructions else "bench-quick" if args.quick else "bench"
    args.json = args.json or os.path.join(args.build, kind + ".json")
    args.library = os.path.abspath(args.library or os.path.join(args.build, "lib", "libvmmalloc.so.1"))

    peers = find_peers()
    if os.path.exists(args.library):
        peers.append((OURS, args.library))
    else:
        print("%s is not there; the peers alone" % args.library)
    if args.peer:
        peers = [p for p in peers if p[0] in args.peer]
    if not peers:
        print("no allocator of that name")
        return 1
    root = args.pool_dir or ("/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir())
    work = tempfile.mkdtemp(prefix="bench.")
    args.pool_dir = tempfile.mkdtemp(prefix="bench-pool.", dir=root)
    try:
        free = shutil.disk_usage(root).free >> 20
        if free < args.pool_size:
            args.pool_size = max(free * 3 // 4, 64)
            print("note: %s has room for pools of %d MiB only" % (root, args.pool_size))
        bench = Bench(args, work)
        return (instructions if args.instructions else compare)(args, bench, peers)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(args.pool_dir, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
