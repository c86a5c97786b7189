#!/usr/bin/env python3
"""Runs the tests of one or more build folders and prints one line per test program, then one total.

usage: run_tests.py [--coverage=LINES,BRANCHES] [--only=NAME,...] BUILD/tests.json...

configure.py writes tests.json. A Criterion program counts each of its tests, by its own JSON report; one that dies,
runs out of time or runs no test at all is a failure. A script counts as one test, unless it ends in a line
`N passed, N failed[, N skipped]` of its own; exit status 77 means skipped, and its last line is the reason.

The last line is `N passed, N failed[, N skipped]`, the exit status 1 when anything failed or nothing passed.
With --coverage it is gcovr's verdict on those runs that counts as one more test.
"""

import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

JOBS = 2
TOTAL = re.compile(r'^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$')


class Result:
    def __init__(self, passed=0, failed=0, skipped=(), output='', note=''):
        self.passed, self.failed, self.skipped = passed, failed, list(skipped)  # skipped: (name, reason)
        self.output, self.note = output, note
        self.seconds = 0.0


def run(argv, timeout, environment):
    """Output (both streams together) and exit status; None for one that ran out of time. Its whole session dies with it."""
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment,
                                 start_new_session=True)
        try:
            status = child.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
        out.seek(0)
        return out.read().decode(errors='replace'), status


def criterion(test, build, environment):
    report = os.path.join(build['build'], 'tests', test['name'] + '.json')
    if os.path.exists(report):
        os.unlink(report)
    argv = build['runner'] + test['argv'] + ['--jobs=1', '--json=' + report]
    output, status = run(argv, test['timeout'], environment)
    if status is None:
        return Result(failed=1, output=output, note='no end within %d s' % test['timeout'])
    try:
        with open(report) as stream:
            counts = json.load(stream)
    except (OSError, ValueError):
        return Result(failed=1, output=output, note='died with status %d' % status)
    skipped = [(one['name'], '; '.join(one.get('messages', ['']))) for suite in counts['test_suites']
               for one in suite['tests'] if one['status'] == 'SKIPPED']
    result = Result(counts['passed'], sum(1 for suite in counts['test_suites'] for one in suite['tests']
                                          if one['status'] not in ('PASSED', 'SKIPPED')), skipped, output)
    if result.passed + result.failed == 0 and not skipped:
        result.failed, result.note = 1, 'has no test'
    elif status != 0 and result.failed == 0:
        result.failed, result.note = 1, 'ended with status %d' % status
    return result


def script(test, build, environment):
    output, status = run(build['runner'] + test['argv'] if test['argv'][0].startswith(build['build']) else test['argv'],
                         test['timeout'], environment)
    last = output.rstrip().rsplit('\n', 1)[-1]
    total = TOTAL.match(last)
    if status is None:
        return Result(failed=1, output=output, note='no end within %d s' % test['timeout'])
    if status == 77:
        return Result(skipped=[(test['name'], last)])
    if total:
        passed, failed, skipped = (int(number or 0) for number in total.groups())
        reasons = re.findall(r'^skipped:? +(\S+?):? +(.*)$', output, re.MULTILINE)
        reasons += [(test['name'], 'see its output')] * (skipped - len(reasons))
        if status != 0 and failed == 0 or passed + failed + skipped == 0:
            failed += 1
        return Result(passed, failed, reasons[:skipped], output)
    if status != 0:
        return Result(failed=1, output=output, note='ended with status %d' % status)
    return Result(passed=1, output=output)


def run_one(test, build):
    if test['skip']:
        return Result(skipped=[(test['name'], test['skip'])])
    environment = dict(os.environ, LC_ALL='C.UTF-8')
    # A finding ends the program by an exit status: tests that expect SIGABRT must not take it for theirs.
    environment.setdefault('ASAN_OPTIONS', 'exitcode=86:allocator_may_return_null=1')
    environment.setdefault('UBSAN_OPTIONS', 'exitcode=86:print_stacktrace=1')
    environment.setdefault('TSAN_OPTIONS', 'exitcode=86:halt_on_error=1:allocator_may_return_null=1')
    # Programs that gave up their rights cannot write their counts: those of the others do.
    environment.setdefault('GCOV_ERROR_FILE', '/dev/null')
    for name in list(environment):  # what a person has set for a run of the libraries is not for the tests
        if name.startswith(('VMMALLOC_', 'VMEM_', 'PMEM_', 'LD_PRELOAD')):
            del environment[name]
    start = time.monotonic()
    try:
        result = (criterion if test['kind'] == 'criterion' else script)(test, build, environment)
    except OSError as error:
        result = Result(failed=1, note='cannot run: %s' % error)
    result.seconds = time.monotonic() - start
    return result


# Branches of these are not counted, their lines are. They are text that is compiled once for each way to copy and to flush:
# conditions on what the instance is made for are constants in it, and half of their outcomes can never be.
TEMPLATES = ('flush/copy_bytes_impl.h', 'flush/copy_ways_impl.h', 'flush/line.h', 'flush/copy_sse2.c')


def per_cent(summary, what):
    """Of lines or branches of all files of a gcovr summary."""
    files = [one for one in summary['files'] if what != 'branch' or one['filename'] not in TEMPLATES]
    total, covered = (sum(one[what + suffix] for one in files) for suffix in ('_total', '_covered'))
    print('coverage: %d of %d %s covered, %.1f %%' % (covered, total, 'lines' if what == 'line' else 'branches',
          100.0 * covered / max(total, 1)))
    return 100.0 * covered / max(total, 1)


def coverage(builds, floors):
    """gcovr's reports over one build folder: text, HTML, JSON, and a summary; a Result that fails below the floors."""
    build = builds[0]['build']
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    report = os.path.join(build, 'coverage')
    os.makedirs(report, exist_ok=True)
    argv = ['gcovr', '--root', root, '--object-directory', build, '--filter', root + '/alloc/', '--filter', root + '/api/',
            '--filter', root + '/flush/', '--txt', report + '/coverage.txt', '--json', report + '/coverage.json',
            '--json-summary', report + '/summary.json', '--html-details', report + '/index.html', build]
    output, status = run(argv, 600, dict(os.environ))
    if status != 0:
        return Result(failed=1, output=output, note='gcovr failed')
    with open(report + '/coverage.txt') as stream:
        print(stream.read())
    with open(report + '/summary.json') as stream:
        summary = json.load(stream)
    reached = [per_cent(summary, what) for what in ('line', 'branch')]
    print('coverage: report in %s/index.html' % report)
    if all(one >= floor for one, floor in zip(reached, floors)):
        return Result(passed=1, output=output)
    return Result(failed=1, output=output, note='lines or branches covered are below %d and %d %%' % tuple(floors))


def main():
    floor, only, manifests = None, None, []
    for argument in sys.argv[1:]:
        if argument.startswith('--coverage='):
            floor = [int(number) for number in argument.split('=')[1].split(',')]
        elif argument.startswith('--only='):
            only = argument.split('=')[1].split(',')
        else:
            manifests.append(argument)
    builds = []
    for path in manifests:
        with open(path) as stream:
            builds.append(json.load(stream))
    work = [(test, build) for build in builds for test in build['tests'] if only is None or test['name'] in only]
    if floor is not None:  # counts of an earlier run would add up
        for where, _, names in os.walk(builds[0]['build']):
            for name in names:
                if name.endswith('.gcda'):
                    os.unlink(os.path.join(where, name))
    results = []

    def report(name, result):
        word = 'FAIL' if result.failed else 'ok' if result.passed else 'skip'
        counts = '%d passed' % result.passed if result.passed else ''
        counts += ', %d failed' % result.failed if result.failed else ''
        counts += ', %d skipped' % len(result.skipped) if result.skipped else ''
        print('%-4s  %-44s %-34s %6.1f s' % (word, name, counts.lstrip(', '), result.seconds), flush=True)
        if result.failed:
            if result.note:
                print('      ' + result.note)
            print(''.join('      | %s\n' % line for line in result.output.rstrip().splitlines()[-200:]), flush=True)
        results.append((name, result))

    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        futures = {pool.submit(run_one, test, build): '%s/%s' % (build['label'], test['name']) for test, build in work}
        for future in concurrent.futures.as_completed(futures):
            report(futures[future], future.result())
    if floor is not None:
        report('coverage/floor', coverage(builds, floor))

    skipped = [(name, one, reason) for name, result in results for one, reason in result.skipped]
    if skipped:
        print('\nSkipped:')
        for name, one, reason in sorted(skipped):
            where = name if name.split('/')[-1] == one else '%s %s' % (name, one)
            print('  %s: %s' % (where, reason))
    failures = sorted(name for name, result in results if result.failed)
    if failures:
        print('\nFailed: ' + ' '.join(failures))
    passed = sum(result.passed for _, result in results)
    failed = sum(result.failed for _, result in results)
    total = '%d passed, %d failed' % (passed, failed)
    if skipped:
        total += ', %d skipped' % len(skipped)
    print('\n' + total)
    sys.exit(1 if failed or not passed else 0)


if __name__ == '__main__':
    main()
