#!/usr/bin/env python3
"""The manual pages: mandoc finds nothing to say about them, each public function has one, aliases lead somewhere.

usage: check_man.py ROOT LIBRARY...
"""

import os
import re
import shutil
import subprocess
import sys


def main():
    root, libraries = sys.argv[1], sys.argv[2:]
    folder = root + '/doc/man'
    pages = sorted(os.listdir(folder))
    failed = passed = 0

    def check(name, text):
        nonlocal failed, passed
        if text:
            print('%s: %s' % (name, text))
            failed += 1
        else:
            passed += 1

    for page in pages:
        with open(os.path.join(folder, page)) as stream:
            text = stream.read()
        alias = re.match(r'\.so man\d/(\S+)\s*$', text)
        if alias:
            check(page, '' if alias.group(1) in pages else 'alias of %s, which is not there' % alias.group(1))
            continue
        run = subprocess.run(['mandoc', '-Tlint', '-Wwarning', os.path.join(folder, page)], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, universal_newlines=True)
        check(page, run.stdout.strip() or ('' if run.returncode == 0 else 'status %d' % run.returncode))
    for library in libraries:
        check('lib%s.7' % library, '' if 'lib%s.7' % library in pages else 'there is no page')
        if library == 'vmmalloc':  # its functions are malloc(3)'s
            continue
        with open('%s/tests/abi/%s.symbols' % (root, library)) as stream:
            for line in stream:
                if not line.startswith('#') and line.strip():
                    name = line.split()[1].split('@')[0]
                    check(name + '.3', '' if name + '.3' in pages else 'there is no page')
    print('%d passed, %d failed' % (passed, failed))
    sys.exit(1 if failed or not passed else 0)


if __name__ == '__main__':
    if not shutil.which('mandoc'):
        print('mandoc is not installed')
        sys.exit(77)
    main()
