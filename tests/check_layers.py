#!/usr/bin/env python3
"""The layers show in the include lines, and what the media holds is plain.

usage: check_layers.py ROOT

  1  A project header is included by its path from the root, and is there.
  2  alloc/ includes alloc/ only, flush/ includes flush/ only; api/ includes alloc/, flush/ and api/.
  3  Files and memory are asked of the system in one file per layer (alloc/os.c, api/common/os.c, flush/cpu.c; is_seam).
  4  A *_media struct holds fixed-width integers, arrays and structs of them: no pointer, no lock, no long.
  5  Every .c file opens with its contract: a comment `name.c -- ...` with a Media: line.
Prints each violation as file:line: text, then the total.
"""

import os
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
MAY_INCLUDE = {'alloc': ('alloc',), 'flush': ('flush',), 'api': ('alloc', 'flush', 'api'),
               'tests': ('alloc', 'flush', 'api', 'tests'), 'fuzz': ('alloc', 'flush', 'api', 'tests', 'fuzz')}
SYSTEM_CALL = re.compile(r'(?<![\w.>])(mmap|munmap|mremap|mprotect|madvise|msync|open|openat|close|dup|dup2|read|write|pread|'
                         r'pwrite|lseek|stat|fstat|lstat|fstatat|statfs|fstatfs|statvfs|fstatvfs|ftruncate|fallocate|'
                         r'posix_fallocate|copy_file_range|sendfile|unlink|unlinkat|mkstemp|mkostemp|ioctl|fcntl|syscall|'
                         r'readlink|getauxval)\s*\(')
PLAIN = re.compile(r'^(const\s+)?(u?int(8|16|32|64)_t|char|unsigned char|_Atomic\s*\(?\s*u?int(8|16|32|64)_t\s*\)?'
                   r'|u?int(8|16|32|64)_t\s+_Atomic|struct\s+(\w+_media|pool_off|\w+_off))\b')


def sources(root, folders, endings):
    for folder in folders:
        for where, _, names in os.walk(os.path.join(root, folder)):
            for name in sorted(names):
                if name.endswith(endings):
                    path = os.path.join(where, name)
                    with open(path, encoding='utf-8') as stream:
                        yield os.path.relpath(path, root), stream.read()


def is_seam(path):
    """May this file call the system? One file per layer, the one that remaps libvmmalloc's pool at fork, the programs."""
    return path in ('alloc/os.c', 'api/common/os.c', 'flush/cpu.c', 'api/vmmalloc/backing.c', 'api/pmem/os.c',
                    'api/pmemcto/os.c') or \
        path.startswith('api/tools/')


def check_includes(root):
    for path, text in sources(root, MAY_INCLUDE, ('.c', '.h')):
        layer = path.split('/')[0]
        for number, line in enumerate(text.splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quote, name = match.groups()
            where = '%s:%d: ' % (path, number)
            if quote == '"':
                if layer == 'tests' and os.path.exists(os.path.join(root, 'api/include', name)):
                    continue  # a black-box test includes a public header as a user does
                if not os.path.exists(os.path.join(root, name)):
                    yield 1, where + '"%s" is not a path from the root' % name
                elif name.split('/')[0] not in MAY_INCLUDE[layer]:
                    yield 2, where + '%s/ must not use %s' % (layer, name)


def without_comments(text):
    """The same lines with comments and strings blank."""
    return re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"', lambda m: '\n' * m.group(0).count('\n'), text, flags=re.DOTALL)


def check_calls(root):
    for path, text in sources(root, ('alloc', 'flush', 'api'), ('.c', '.h')):
        if not is_seam(path) and not path.startswith('api/include/'):
            for number, line in enumerate(without_comments(text).splitlines(), 1):
                for name in SYSTEM_CALL.findall(line):
                    yield 3, '%s:%d: %s() belongs in the os file of its layer' % (path, number, name)


def check_media(root):
    for path, text in sources(root, ('alloc', 'flush', 'api'), ('.c', '.h')):
        bare = without_comments(text)
        for match in re.finditer(r'struct\s+(\w+_media)\s*\{(.*?)\n\}', bare, re.DOTALL):
            start = bare[:match.start(2)].count('\n') + 1
            for offset, line in enumerate(match.group(2).split('\n')):
                for field in (part.strip() for part in line.split(';')):
                    if field and not field.startswith(('}', '#')) and not re.match(r'(struct|union)\s*\{$', field):
                        if not PLAIN.match(field) or '*' in field.replace('_Atomic', ''):
                            yield 4, '%s:%d: struct %s: `%s` is no fixed-width integer' % (path, start + offset,
                                                                                           match.group(1), field)


def check_headers(root):
    for path, text in sources(root, ('alloc', 'flush', 'api'), ('.c',)):
        comment = re.match(r'/\*\s*(\S+) -- .*?\*/', text, re.DOTALL)
        if not comment or comment.group(1) != os.path.basename(path):
            yield 5, path + ':1: does not open with `/* %s -- what it is`' % os.path.basename(path)
        elif 'Media:' not in comment.group(0):
            yield 5, path + ':1: its contract says nothing about the media (Media: ...)'


def main():
    root = sys.argv[1]
    broken = {}
    for rule, text in [*check_includes(root), *check_calls(root), *check_media(root), *check_headers(root)]:
        print(text)
        broken[rule] = broken.get(rule, 0) + 1
    print('%d passed, %d failed' % (5 - len(broken), len(broken)))
    sys.exit(1 if broken else 0)


if __name__ == '__main__':
    main()
