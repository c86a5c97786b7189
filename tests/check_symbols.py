#!/usr/bin/env python3
"""What the built libraries export and need, against the lists in tests/abi.

usage: check_symbols.py ROOT BUILD LIBRARY...

tests/abi/<library>.symbols holds one exported name per line: `T name`, `D name` (data) or `W name` (weak), with `@@NODE` behind the name
where the shared library gives it a version, and `shared` behind that where the static one has it not. For release and debug builds:
  so      nm -D shows exactly these
  a       nm -g shows exactly these names as defined, without versions
  needs   readelf -d: the SONAME, libc.so.6 alone as needed, no text relocations, symbols bound at load
  dlopen  dlopen() takes the library (not where a library says why not: `# no dlopen: reason` in its list)
"""

import os
import re
import subprocess
import sys


def output_of(*argv):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout


def exported(path, *options):
    """The defined global names of a file: {name: kind}. nm writes V and W for weak names, D, B and R for data."""
    names = {}
    for line in output_of('nm', '--defined-only', *options, path).splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1] != 'A':
            names[fields[2]] = {'V': 'W', 'i': 'T', 'B': 'D', 'R': 'D'}.get(fields[1], fields[1])
    return names


def differences(want, have):
    return ['missing %s %s' % (kind, name) for name, kind in sorted(want.items()) if name not in have] + \
           ['not in the list: %s %s' % (kind, name) for name, kind in sorted(have.items()) if name not in want] + \
           ['%s is %s, should be %s' % (name, have[name], kind) for name, kind in sorted(want.items())
            if have.get(name, kind) != kind]


def dynamic(path):
    text = output_of('readelf', '-dW', path)
    found = {'NEEDED': re.findall(r'\(NEEDED\).*\[(.*)\]', text), 'SONAME': re.findall(r'\(SONAME\).*\[(.*)\]', text)}
    wrong = []
    if found['NEEDED'] != ['libc.so.6']:
        wrong.append('needs %s, should need libc.so.6 alone' % found['NEEDED'])
    if found['SONAME'] != [os.path.basename(path).replace('.0.0', '')]:
        wrong.append('SONAME is %s' % found['SONAME'])
    if 'TEXTREL' in text:
        wrong.append('has text relocations')
    if 'NOW' not in text:
        wrong.append('does not bind its symbols at load')
    return wrong


def main():
    root, build, libraries = sys.argv[1], sys.argv[2], sys.argv[3:]
    results = []
    for library in libraries:
        with open('%s/tests/abi/%s.symbols' % (root, library)) as stream:
            lines = stream.read().splitlines()
        entries = [line.split() for line in lines if line and not line.startswith('#')]
        want = {entry[1]: entry[0] for entry in entries}
        plain = {entry[1].split('@')[0]: entry[0] for entry in entries if entry[2:] != ['shared']}
        for folder in ('lib', 'lib/pmdk_debug'):
            base = '%s/%s/lib%s' % (build, folder, library)
            have = {name: kind for name, kind in exported(base + '.so.1.0.0', '-D').items()}
            results.append((base + '.so', differences(want, have)))
            results.append((base + '.a', differences(plain, exported(base + '.a', '-g'))))
            results.append((base + '.so.1', dynamic(base + '.so.1.0.0')))
            if not any(line.startswith('# no dlopen:') for line in lines):
                run = subprocess.run([sys.executable, '-c', 'import ctypes, sys; ctypes.CDLL(sys.argv[1])', base + '.so.1'],
                                     stderr=subprocess.PIPE, universal_newlines=True)
                results.append((base + ' dlopen', run.stderr.strip().splitlines()[-1:] if run.returncode else []))
    failed = 0
    for name, wrong in results:
        failed += bool(wrong)
        for text in wrong:
            print('%s: %s' % (os.path.relpath(name, build), text))
    print('%d passed, %d failed' % (len(results) - failed, failed))
    sys.exit(1 if failed or not results else 0)


if __name__ == '__main__':
    main()
