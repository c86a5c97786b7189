#!/usr/bin/env python3
"""Fuzzes each target for a while: `ninja fuzz`, FUZZ_SECONDS=N for each target [60].

usage: run_fuzz.py BUILD CORPUS TARGET...

Starts from CORPUS/<target> in the tree and keeps what it finds in BUILD/corpus/<target>; inputs that fail stay in
BUILD/failures/<target>-*. Ends in a total, one test per target.
"""

import glob
import os
import subprocess
import sys


def main():
    build, seeds, targets = sys.argv[1], sys.argv[2], sys.argv[3:]
    seconds = int(os.environ.get('FUZZ_SECONDS', '60'))
    failed = 0
    for target in targets:
        found, failures = '%s/corpus/%s' % (build, target), '%s/failures/%s-' % (build, target)
        os.makedirs(found, exist_ok=True)
        os.makedirs(os.path.dirname(failures), exist_ok=True)
        print('%s: %d s' % (target, seconds), flush=True)
        status = subprocess.call([os.path.join(build, 'fuzz', target), '-max_total_time=%d' % seconds, '-timeout=60',
                                  '-artifact_prefix=' + failures, '-print_final_stats=1', found, '%s/%s' % (seeds, target)])
        if status != 0:
            failed += 1
            print('%s: failed with status %d; inputs: %s' % (target, status, ' '.join(glob.glob(failures + '*'))))
    print('%d passed, %d failed' % (len(targets) - failed, failed))
    sys.exit(1 if failed or not targets else 0)


if __name__ == '__main__':
    main()
