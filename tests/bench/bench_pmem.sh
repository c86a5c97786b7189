#!/bin/sh
# Builds and runs bench_pmem: libpmem beside Debian's (package libpmem1), glibc, and two loops.
# usage: bench_pmem.sh ROOT BUILD CC [ARGUMENT...] -- arguments as of bench_pmem.c
set -e
root=$1 build=$2 cc=$3
shift 3
mkdir -p "$build/bench"
$cc -std=gnu17 -O2 -I"$root" "$root/tests/bench/bench_pmem.c" "$root/flush/cpu.c" -o "$build/bench/bench_pmem" -ldl
their=$(ls /usr/lib/*-linux-gnu/libpmem.so.1 2>/dev/null | head -n 1)
[ -n "$their" ] || echo "Debian's libpmem1 is not installed (./configure.py --install-deps=bench): compared without it"
exec "$build/bench/bench_pmem" "$build/lib/libpmem.so.1" "${their:-none}" ${BENCH_PMEM-} "$@"
