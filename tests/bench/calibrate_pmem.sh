#!/bin/sh
# Builds and runs calibrate_pmem on this machine (x86-64).
# usage: calibrate_pmem.sh ROOT BUILD CC [ARGUMENT...] -- arguments as of calibrate_pmem.c
set -e
root=$1 build=$2 cc=$3
shift 3
mkdir -p "$build/bench"
$cc -std=gnu17 -O2 -I"$root" "$root/tests/bench/calibrate_pmem.c" "$build/obj/flush.a" -o "$build/bench/calibrate_pmem"
exec "$build/bench/calibrate_pmem" "$@"
