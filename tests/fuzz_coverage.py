#!/usr/bin/env python3
"""What each fuzz target's corpus reaches of the sources that the target aims at: `ninja fuzz-coverage`.

usage: fuzz_coverage.py ROOT BUILD FLOOR TARGET=SOURCE,...[,-FUNCTION,...]

BUILD is a folder configured with --coverage. Each target replays ROOT/fuzz/corpus/<target> alone; gcovr counts lines, but
those of the functions that it cannot come to. Prints
one line per target and one per source; a target below FLOOR per cent of the lines of all its sources fails.
"""

import json
import os
import subprocess
import sys


def forget_runs(build):
    """Counts of earlier runs would add up."""
    for where, _, names in os.walk(build):
        for name in names:
            if name.endswith('.gcda'):
                os.unlink(os.path.join(where, name))


def lines_of(root, build, sources, others):
    """Source -> (lines, lines that ran), without the functions `others`."""
    folders = sorted({os.path.join(build, 'obj/release', os.path.dirname(source)) for source in sources})
    argv = ['gcovr', '--root', root, '--json', '-']
    for source in sources:
        argv += ['--filter', os.path.join(root, source)]
    run = subprocess.run(argv + folders, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=build)
    if run.returncode != 0:
        sys.exit('fuzz_coverage.py: gcovr: ' + run.stderr.decode(errors='replace'))
    counted = {}
    for one in json.loads(run.stdout)['files']:
        starts = sorted((function['lineno'], function['name']) for function in one['functions'])
        lines = [line for line in one['lines'] if not line.get('gcovr/noncode') and
                 ([name for start, name in starts if start <= line['line_number']] or [''])[-1] not in others]
        counted[one['file']] = (len(lines), sum(1 for line in lines if line['count'] > 0))
    return counted


def percent(lines, ran):
    return 100.0 * ran / lines if lines else 0.0


def main():
    root, build, floor = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), float(sys.argv[3])
    failed = 0
    for argument in sys.argv[4:]:
        target, sources = argument.split('=')
        others = [name[1:] for name in sources.split(',') if name.startswith('-')]
        sources = [name for name in sources.split(',') if not name.startswith('-')]
        forget_runs(build)
        run = subprocess.run(['%s/fuzz/%s' % (build, target), '%s/fuzz/corpus/%s' % (root, target)], stdout=subprocess.PIPE,
                             universal_newlines=True)
        counted = lines_of(root, build, sources, others)
        lines, ran = (sum(one[i] for one in counted.values()) for i in (0, 1))
        good = run.returncode == 0 and percent(lines, ran) >= floor and set(counted) == set(sources)
        failed += not good
        print('%-4s  %-14s %5.1f %%  %5d of %5d lines, %s' % ('ok' if good else 'FAIL', target, percent(lines, ran), ran,
              lines, run.stdout.strip()), flush=True)
        for source in sources:
            print('        %5.1f %%  %s' % (percent(*counted.get(source, (0, 0))), source), flush=True)
    print('%d passed, %d failed' % (len(sys.argv) - 4 - failed, failed))
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
