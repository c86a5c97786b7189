#!/usr/bin/env python3
"""Every header compiles alone: the public ones as C99 and C++, strictly; the internal ones as the project's C.

usage: check_headers.py ROOT CC

Not looked at: *_impl.h, whose text depends on macros that the including file sets; *_inline.h, the second half of a
header of that name; the stand-in for Criterion.
"""

import os
import shlex
import shutil
import subprocess
import sys


def compiles(name, argv, text, root):
    run = subprocess.run(argv + ['-fsyntax-only', '-I' + root, '-'], input=text, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, universal_newlines=True)
    if run.returncode != 0:
        print('%s: %s' % (name, ' '.join(argv)))
        print(run.stdout)
    return run.returncode == 0


def main():
    root, cc = sys.argv[1], shlex.split(sys.argv[2])
    cxx = shutil.which('g++') or shutil.which('clang++')
    strict = ['-Wall', '-Wextra', '-Wundef', '-Wshadow', '-pedantic', '-Werror']
    passed = failed = skipped = 0
    public = os.path.join(root, 'api/include')
    for name in sorted(os.listdir(public)):
        text = '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' % (name, name)
        for argv in (cc + ['-x', 'c', '-std=c99', '-Wstrict-prototypes'], [cxx, '-x', 'c++', '-std=c++11']):
            if argv[0] is None:
                print('skipped: %s: no C++ compiler' % name)
                skipped += 1
                continue
            good = compiles('api/include/' + name, argv + strict + ['-I' + public], text, root)
            passed, failed = passed + good, failed + (not good)
    for folder in ('alloc', 'flush', 'api', 'tests'):
        for where, _, names in os.walk(os.path.join(root, folder)):
            for name in sorted(names):
                path = os.path.relpath(os.path.join(where, name), root)
                if not name.endswith('.h') or name.endswith(('_impl.h', '_inline.h')) or where.startswith(public) or 'criterion_small' in path:
                    continue
                argv = cc + ['-x', 'c', '-std=gnu17', '-Wall', '-Wextra', '-Wundef', '-Wno-unused-function', '-Werror',
                             '-I' + public] + (
                                 ['-D_GNU_SOURCE', '-DTEST_ROOT="/"', '-DTEST_BUILD="/"', '-DTEST_CC="cc"']
                                 if folder == 'tests' else [])
                good = compiles(path, argv, '#include "%s"\n' % path, root)
                passed, failed = passed + good, failed + (not good)
    print('%d passed, %d failed%s' % (passed, failed, ', %d skipped' % skipped if skipped else ''))
    sys.exit(1 if failed or not passed else 0)


if __name__ == '__main__':
    main()
