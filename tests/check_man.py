#!/usr/bin/env python3
"""The manual pages: mandoc finds nothing to say about them, each public function has one, aliases lead somewhere, the
sections that a reader counts on are there, and the examples work.

An example is a literal display of the section EXAMPLES. One that has a main() is compiled as pkg-config says, against
the build folder, and run; of others, lines that begin with "$ " are run by the shell, with the build's bin/ in the path.
Either must end with status 0.

usage: check_man.py ROOT BUILD CC LIBRARY...
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

# Wanted of every page of a manual section that is no alias.
SECTIONS = {
    '1': ['EXIT STATUS', 'DIAGNOSTICS', 'THREADS AND FORK', 'EXAMPLES'],
    '3': ['RETURN VALUES', 'ERRORS', 'THREADS AND FORK', 'EXAMPLES'],
    '7': ['ENVIRONMENT', 'THREADS AND FORK', 'EXAMPLES'],
}
ESCAPES = {'\\e': '\\', '\\-': '-', '\\&': '', '\\(aq': "'", '\\(ga': '`', '\\(ti': '~', '\\(ha': '^', '\\(dq': '"'}


def examples(text):
    """The literal displays of EXAMPLES, as one would copy them from the page."""
    section = re.search(r'^\.Sh EXAMPLES\n(.*?)(?=^\.Sh |\Z)', text, re.M | re.S)
    found = re.findall(r'^\.Bd [^\n]*-literal[^\n]*\n(.*?)^\.Ed', section.group(1) if section else '', re.M | re.S)
    return [re.sub(r'\\(?:\(\w\w|.)', lambda m: ESCAPES.get(m.group(), m.group()), code) for code in found]


class Builder:
    """Compiles and runs examples against the libraries of a build folder."""

    def __init__(self, root, build, cc, libraries, work):
        self.root, self.build, self.cc, self.libraries, self.work = root, build, shlex.split(cc), libraries, work
        self.env = dict(os.environ, PATH=build + '/bin:' + os.environ['PATH'], LD_LIBRARY_PATH=build + '/lib',
                        VMMALLOC_POOL_DIR=work, VMMALLOC_POOL_SIZE='32M')
        self.env.pop('LD_PRELOAD', None)

    def links(self, code):
        """-l options for the headers that an example includes."""
        return ['-l' + name for name in self.libraries if '<lib%s.h>' % name in code]

    def run(self, code):
        """'' or what went wrong."""
        if not re.search(r'\bmain\(', code):
            lines = [line.strip()[2:] for line in code.splitlines() if line.strip().startswith('$ ')]
            if not lines:
                return 'neither a program nor commands'
            for line in lines:
                problem = self.call(['sh', '-c', line], line)
                if problem:
                    return problem
            return ''
        source, program = self.work + '/example.c', self.work + '/example'
        with open(source, 'w') as out:
            out.write(code)
        problem = self.call(self.cc + ['-Wall', '-Wextra', '-Werror', '-I' + self.root + '/api/include', source, '-o', program,
                                       '-L' + self.build + '/lib', '-pthread'] + self.links(code), 'compiler')
        return problem or self.call([program], 'the program')

    def call(self, argv, name):
        try:
            run = subprocess.run(argv, env=self.env, cwd=self.work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, universal_newlines=True, timeout=60)
        except subprocess.TimeoutExpired:
            return '%s: still running after a minute' % name
        return '' if run.returncode == 0 else '%s: status %d\n%s' % (name, run.returncode, run.stdout.strip())


def public_functions(root, library):
    with open('%s/tests/abi/%s.symbols' % (root, library)) as stream:
        for line in stream:
            if not line.startswith('#') and line.strip():
                yield line.split()[1].split('@')[0]


def main():
    root, build, cc, libraries = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3], sys.argv[4:]
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

    with tempfile.TemporaryDirectory(prefix='check_man.') as work:
        builder = Builder(root, build, cc, libraries, work)
        for page in pages:
            with open(os.path.join(folder, page)) as stream:
                text = stream.read()
            alias = re.match(r'\.so man(\d)/(\S+)\s*$', text)
            if alias:
                target = alias.group(2)
                check(page, '' if target in pages and target.endswith('.' + alias.group(1)) else
                      'alias of %s, which is not there' % target)
                if target in pages:
                    with open(os.path.join(folder, target)) as stream:
                        named = re.search(r'^\.Nm %s( ,)?$' % re.escape(page[:-2]), stream.read(), re.M)
                    check(page, '' if named else '%s does not name it' % target)
                continue
            run = subprocess.run(['mandoc', '-Tlint', '-Wwarning', os.path.join(folder, page)], stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, universal_newlines=True)
            check(page, run.stdout.strip() or ('' if run.returncode == 0 else 'status %d' % run.returncode))
            missing = [name for name in SECTIONS.get(page[-1], []) if '\n.Sh %s\n' % name not in text]
            check(page, 'no section ' + ', '.join(missing) if missing else '')
            codes = examples(text)
            check(page, '' if codes else 'no example')
            for number, code in enumerate(codes):
                problem = builder.run(code)
                check(page, 'example %d: %s' % (number + 1, problem) if problem else '')
    for library in libraries:
        check('lib%s.7' % library, '' if 'lib%s.7' % library in pages else 'there is no page')
        if library == 'vmmalloc':  # its functions are malloc(3)'s
            continue
        for name in public_functions(root, library):
            check(name + '.3', '' if name + '.3' in pages else 'there is no page')
    print('%d passed, %d failed' % (passed, failed))
    sys.exit(1 if failed or not passed else 0)


if __name__ == '__main__':
    if not shutil.which('mandoc'):
        print('mandoc is not installed')
        sys.exit(77)
    main()
