#!/usr/bin/env python3
"""What the hardened mode costs: workloads.c in libvmmalloc with each setting of VMMALLOC_HARDEN, beside a plain run.

usage: bench_harden.py ROOT BUILD CC

CPU time in seconds, the least of three runs, interleaved; behind it how many times the plain run's it is. The last line
is the geometric mean.
"""

import math
import os
import shlex
import subprocess
import sys
import tempfile

WORKLOADS = ['hit_small', 'batch_random', 'churn_small_set', 'churn_1k_32k', 'trees', 'two_threads']
SETTINGS = ['0', 'd', 'r', 'q', 'qz', 'c', '1']
SCALE = '2'


def seconds(program, library, workload, setting, folder):
    env = dict(os.environ, LD_PRELOAD=library, VMMALLOC_POOL_DIR=folder, VMMALLOC_POOL_SIZE='1G', VMMALLOC_HARDEN=setting)
    child = subprocess.Popen([program, workload, SCALE], env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = status
    if status != 0:
        sys.exit('%s with VMMALLOC_HARDEN=%s: status %#x' % (workload, setting, status))
    return usage.ru_utime + usage.ru_stime


def main():
    root, build, cc = sys.argv[1:4]
    library = os.path.join(os.path.abspath(build), 'lib/libvmmalloc.so.1')
    parent = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory(dir=parent) as folder:
        program = os.path.join(work, 'workloads')
        subprocess.check_call(shlex.split(cc) + ['-O2', '-pthread', '-fno-builtin', '-o', program,
                                                 os.path.join(root, 'tests/bench/workloads.c')])
        print('%-18s' % 'VMMALLOC_HARDEN=' + ''.join('%14s' % setting for setting in SETTINGS))
        logs = [0.0] * len(SETTINGS)
        for workload in WORKLOADS:
            least = [math.inf] * len(SETTINGS)
            for _ in range(3):
                for i, setting in enumerate(SETTINGS):
                    least[i] = min(least[i], seconds(program, library, workload, setting, folder))
            ratios = [max(time, 0.001) / max(least[0], 0.001) for time in least]
            logs = [log + math.log(ratio) for log, ratio in zip(logs, ratios)]
            print('%-18s' % workload + ''.join('%7.2f (%4.1f)' % pair for pair in zip(least, ratios)), flush=True)
        print('%-18s' % 'geometric mean' + ''.join('%14.1f' % math.exp(log / len(WORKLOADS)) for log in logs))


if __name__ == '__main__':
    main()
