#!/usr/bin/env python3
"""The fuzz targets of one build folder, for a while each; and what to do with what they find.

usage: run_fuzz.py fuzz BUILD CORPUS TARGET...      libFuzzer
       run_fuzz.py afl BUILD CORPUS TARGET...       afl-fuzz
       run_fuzz.py regress BUILD CORPUS TARGET...   inputs of a new corpus that reach what CORPUS does not

CORPUS/<target> in the tree is where they start; what is found goes to BUILD/corpus/<target>, inputs that fail to
BUILD/failures/<target>-*. Each failure is shown with the one command that replays it. Ends in a total, one test per target.

FUZZ_SECONDS=N     for each target [60]
FUZZ_TARGETS=A,B   only these
REGRESS_CORPUS=D   inputs in D/<target> instead of BUILD/corpus/<target>
REGRESS_KEEP=1     what adds coverage is copied to CORPUS/<target>, else it stays in BUILD/offered/<target>
"""

import glob
import os
import re
import shutil
import subprocess
import sys


def total(passed, failed):
    print('%d passed, %d failed' % (passed, failed))
    sys.exit(1 if failed or not passed else 0)


def tell_failures(program, inputs):
    for path in sorted(inputs):
        print('  replay: PMHEAP_TRACE=1 %s %s' % (program, path))


def fuzz(build, corpus, target, seconds):
    found, failures = '%s/corpus/%s' % (build, target), '%s/failures/%s-' % (build, target)
    os.makedirs(found, exist_ok=True)
    os.makedirs(os.path.dirname(failures), exist_ok=True)
    program, before = '%s/fuzz/%s' % (build, target), set(glob.glob(failures + '*'))
    print('%s: %d s' % (target, seconds), flush=True)
    run = subprocess.run([program, '-max_total_time=%d' % seconds, '-timeout=60', '-artifact_prefix=' + failures,
                          '-print_final_stats=1', found, '%s/%s' % (corpus, target)], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, universal_newlines=True, errors='replace')
    executed = re.search(r'number_of_executed_units: *(\d+)', run.stdout)
    reached = re.findall(r'cov: (\d+) ft: (\d+)', run.stdout) or [('0', '0')]
    print('%s: %s executions, %s edges, %s features, %s' % (target, executed.group(1) if executed else 'unknown',
          reached[-1][0], reached[-1][1], 'ok' if run.returncode == 0 else 'status %d' % run.returncode), flush=True)
    if run.returncode != 0:
        print(run.stdout[-4000:])
        tell_failures(program, set(glob.glob(failures + '*')) - before)
    return run.returncode == 0


def afl(build, corpus, target, seconds):
    if not shutil.which('afl-fuzz'):
        print('%s: afl++ is not installed' % target)
        return False
    program, found = '%s/fuzz/%s' % (build, target), '%s/afl/%s' % (build, target)
    shutil.rmtree(found, ignore_errors=True)
    os.makedirs(found)
    # No terminal; the machine's core pattern and frequency are not the fuzzer's business.
    environment = dict(os.environ, AFL_NO_UI='1', AFL_SKIP_CPUFREQ='1', AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES='1',
                       AFL_NO_AFFINITY='1')
    run = subprocess.run(['afl-fuzz', '-V', str(seconds), '-t', '60000', '-m', 'none', '-i', '%s/%s' % (corpus, target), '-o',
                          found, '--', program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         universal_newlines=True, errors='replace')
    stats = {}
    try:
        with open(found + '/default/fuzzer_stats') as stream:
            stats = dict(re.findall(r'^(\w+) *: (.*)$', stream.read(), re.MULTILINE))
    except OSError:
        pass
    crashes = glob.glob(found + '/default/crashes/id*') + glob.glob(found + '/default/hangs/id*')
    print('%s: %s executions, %s of the map, %d failures' % (target, stats.get('execs_done', 'no'),
          stats.get('bitmap_cvg', 'nothing'), len(crashes)), flush=True)
    if not stats:
        print(run.stdout[-4000:])
    tell_failures(program, crashes)
    return run.returncode == 0 and bool(stats) and not crashes


def regress(build, corpus, target):
    new = '%s/%s' % (os.environ.get('REGRESS_CORPUS', build + '/corpus'), target)
    kept, offered, merged = '%s/%s' % (corpus, target), '%s/offered/%s' % (build, target), '%s/merged/%s' % (build, target)
    if not os.path.isdir(new) or not os.listdir(new):
        print('%s: no new inputs in %s' % (target, new))
        return True
    for folder in (offered, merged):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
    # What is in the first folder stays; of the others come those inputs, small ones first, that add something.
    shutil.copytree(kept, merged, dirs_exist_ok=True)
    program = '%s/fuzz/%s' % (build, target)
    run = subprocess.run([program, '-merge=1', merged, new], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         universal_newlines=True, errors='replace')
    if run.returncode != 0:
        print('%s: the merge ended with status %d\n%s' % (target, run.returncode, run.stdout[-4000:]))
        return False
    added = sorted(set(os.listdir(merged)) - set(os.listdir(kept)))
    for name in added:  # libFuzzer names an input by its hash
        shutil.copy('%s/%s' % (merged, name), '%s/%s' % (offered, name[:16]))
    shutil.rmtree(merged)
    print('%s: %d of %d inputs add coverage' % (target, len(added), len(os.listdir(new))))
    if added and os.environ.get('REGRESS_KEEP') == '1':
        shutil.copytree(offered, kept, dirs_exist_ok=True)
        print('  kept in ' + kept)
    elif added:
        print('  to keep them: cp %s/* %s/' % (offered, kept))
    return True


def main():
    what, build, corpus, targets = sys.argv[1], os.path.abspath(sys.argv[2]), sys.argv[3], sys.argv[4:]
    seconds = int(os.environ.get('FUZZ_SECONDS', '60'))
    only = [name for name in os.environ.get('FUZZ_TARGETS', '').split(',') if name]
    unknown = set(only) - set(targets)
    if unknown:
        sys.exit('run_fuzz.py: no such target: ' + ' '.join(sorted(unknown)))
    results = []
    for target in only or targets:
        if what == 'regress':
            results.append(regress(build, corpus, target))
        else:
            results.append((afl if what == 'afl' else fuzz)(build, corpus, target, seconds))
    total(results.count(True), results.count(False))


if __name__ == '__main__':
    main()
