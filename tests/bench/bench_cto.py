#!/usr/bin/env python3
"""Measures libpmemcto beside other heaps, and the opening and closing of pools; prints tables in Markdown.

usage: bench_cto.py ROOT BUILD CC            (ninja bench-cto; a part of ninja bench)

Rates: every work under every heap, a process each, in turns; the least of ROUNDS. Times of opening and closing: the
median of LIVES. Pools lie in /dev/shm, those of the last tables also in $BENCH_DISK or the build folder.
"""

import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile

ROUNDS, LIVES = 5, 9
HEAPS = ['glibc', 'vmem', 'cto', 'pmemobj']
TITLES = {'glibc': 'glibc', 'vmem': 'libvmem', 'cto': 'libpmemcto', 'pmemobj': 'libpmemobj'}
WORKS = ['hit', 'replace', 'large', 'fill']
SHM = '/dev/shm' if os.path.isdir('/dev/shm') else tempfile.gettempdir()


def table(title, header, rows):
    print('\n**%s**\n' % title)
    print('| ' + ' | '.join(header) + ' |')
    print('| :-- |' + ' --: |' * (len(header) - 1))
    for row in rows:
        print('| ' + ' | '.join(row) + ' |')
    sys.stdout.flush()


def compile_it(root, build, cc, out):
    """Our libraries are found in the build folder, libpmemobj (and the libpmem it needs) in the system's."""
    found = subprocess.run(['pkg-config', '--libs', 'libpmemobj'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                           universal_newlines=True)
    obj = ['-DHAVE_PMEMOBJ'] + found.stdout.split() if found.returncode == 0 else []
    if not obj:
        print('libpmemobj-dev is not installed (./configure.py --install-deps=bench): measured without it')
        HEAPS.remove('pmemobj')
    subprocess.check_call(shlex.split(cc) + ['-std=gnu17', '-O2', '-I%s/api/include' % root, root + '/tests/bench/bench_cto.c', '-o', out,
                                             '-L%s/lib' % build, '-lpmemcto', '-lvmem', '-Wl,-rpath,%s/lib' % build, '-pthread']
                          + obj)


def run(*argv):
    """The numbers that a run prints. libpmemobj is told that /dev/shm is persistent memory: without, it would call msync."""
    done = subprocess.run(argv, env=dict(os.environ, PMEM_IS_PMEM_FORCE='1'), stdout=subprocess.PIPE, universal_newlines=True)
    if done.returncode != 0:
        sys.exit('%s: status %d' % (' '.join(argv), done.returncode))
    return done.stdout


def numbers(*argv):
    return [float(word) for word in run(*argv).split()]


def rates(program):
    for threads in (1, 2):
        best = {}
        for turn in range(ROUNDS):
            for work in WORKS:
                for heap in HEAPS[turn % len(HEAPS):] + HEAPS[:turn % len(HEAPS)]:
                    value = numbers(program, 'rate', heap, work, str(threads), SHM)[0]
                    best[work, heap] = min(value, best.get((work, heap), value))
        # Wall time over all threads' operations: with two threads on two cores half of one thread's, if nothing is shared.
        table('Nanoseconds per block taken and given back, %d thread%s' % (threads, 's'[threads == 1:]),
              ['work'] + [TITLES[heap] for heap in HEAPS],
              [[work] + ['%.1f' % best[work, heap] for heap in HEAPS] for work in WORKS])


def median(samples):
    return ['%.0f' % statistics.median(column) for column in zip(*samples)]


def over_size(program, path):
    rows = []
    for mib, name in ((16, '16 MiB'), (1024, '1 GiB'), (65536, '64 GiB'), (1048576, '1 TiB')):
        rows.append([name] + median([numbers(program, 'life', path, str(mib), '8') for _ in range(LIVES)]))
        os.unlink(path)
    table('Microseconds over the size of the pool, a sparse file with 8 MiB in use',
          ['size', 'make', 'close, 8 MiB written', 'open', 'close, nothing written'], rows)


def over_written(program, places):
    rows = []
    for place, path in places:
        numbers(program, 'life', path, '512', '256')
        for mib in (0, 1, 16, 64, 256):
            samples = [numbers(program, 'write', path, str(mib)) for _ in range(LIVES if mib < 64 else 3)]
            rows.append([place, '%d MiB' % mib] + median(samples))
        os.unlink(path)
    table('Microseconds over what is written between open and close, a pool of 512 MiB with 256 MiB in use',
          ['place', 'written', 'open', 'close'], rows)


def reopen(example, path):
    rows = []
    for entries in (10000, 100000, 1000000):
        first = run(example, path, str(entries), '0')
        fill = float(re.search(r'entries in ([0-9.]+) s', first).group(1)) * 1000
        again = [float(re.search(r'in ([0-9.]+) ms; filling', run(example, path, str(entries), '0')).group(1))
                 for _ in range(LIVES)]
        again = statistics.median(again)
        rows.append(['%d' % entries, '%.1f' % fill, '%.3f' % again, '%.0f' % (fill / again)])
        os.unlink(path)
    table('Milliseconds to have a full cache (doc/examples/lru_cache.c)', ['entries', 'fill', 'reopen', 'ratio'], rows)


def main():
    root, build, cc = sys.argv[1], os.path.abspath(sys.argv[2]), sys.argv[3]
    disk = os.environ.get('BENCH_DISK', build)
    with tempfile.TemporaryDirectory(prefix='bench-cto.', dir=SHM) as shm, \
            tempfile.TemporaryDirectory(prefix='bench-cto.', dir=disk) as other:
        program = other + '/bench_cto'
        compile_it(root, build, cc, program)
        kind = run('df', '--output=fstype', other).split()[1]
        rates(program)
        over_size(program, shm + '/pool')
        over_written(program, [(SHM, shm + '/pool'), ('disk (%s)' % kind, other + '/pool')])
        reopen(build + '/examples/lru_cache', shm + '/pool')


if __name__ == '__main__':
    main()
