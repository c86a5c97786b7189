#!/usr/bin/env python3
"""README.md and doc/*.md name only files, functions, variables and links that exist.

usage: check_docs.py ROOT

Looked at: `code` spans outside of fenced blocks, and the targets of relative links.
  path/with.ext   a file or folder of the tree (globs allowed), when it begins with a folder of the project
  name()          a name that some source contains; with one of our prefixes also without the brackets
Prints each name that is nowhere, then the total: one test per page.
"""

import ctypes
import glob
import os
import re
import sys

FOLDERS = ('alloc', 'flush', 'api', 'tests', 'fuzz', 'doc', '.ci')
PREFIXES = r'(?:sc|slab|extent|bin|heap|tcache|pagemap|page_map|pool|region|os|lock|flush|vmem|pmem|pmemcto|free_index|purge)'
FUNCTION = re.compile(r'^(\w+)\(\)?$|^(\w+)\(\)|^(%s_[a-z0-9_]+)$' % PREFIXES)


def all_words(root):
    words = set()
    for folder in FOLDERS:
        for where, _, names in os.walk(os.path.join(root, folder)):
            for name in names:
                if name.endswith(('.c', '.h', '.py', '.map', '.inc')):
                    with open(os.path.join(where, name), encoding='utf-8') as stream:
                        words.update(re.findall(r'\w+', stream.read()))
    return words


def dead_names(root, page, text, words):
    # Blocks between fences are examples and transcripts: blank them, keep the line numbers.
    text = re.sub(r'^```.*?^```', lambda m: '\n' * m.group(0).count('\n'), text, flags=re.MULTILINE | re.DOTALL)
    for number, line in enumerate(text.splitlines(), 1):
        for span in re.findall(r'`([^`]+)`', line):
            path = re.match(r'^(?:%s)/[\w./*{},-]+$' % '|'.join(re.escape(one) for one in FOLDERS), span)
            if path and '{' not in span:
                if not glob.glob(os.path.join(root, span)) and not glob.glob(os.path.join(root, span + '.[ch]')):
                    yield number, span
                continue
            name = FUNCTION.match(span)
            name = name and next(group for group in name.groups() if group)
            if name and name not in words and not in_libc(name):
                yield number, span
        for target in re.findall(r'\]\(([^)#]+)[^)]*\)', line):
            if '://' not in target and not os.path.exists(os.path.join(root, os.path.dirname(page), target)):
                yield number, target


def in_libc(name):
    """Names of libc that a page may mention; `words` has only those that we call."""
    return name == 'main' or hasattr(ctypes.CDLL(None), name)


def main():
    root = sys.argv[1]
    words = all_words(root)
    pages = ['README.md'] + sorted(os.path.relpath(path, root) for path in glob.glob(root + '/doc/*.md'))
    failed = 0
    for page in pages:
        with open(os.path.join(root, page), encoding='utf-8') as stream:
            dead = list(dead_names(root, page, stream.read(), words))
        for number, name in dead:
            print('%s:%d: `%s` is nowhere in the tree' % (page, number, name))
        failed += bool(dead)
    print('%d passed, %d failed' % (len(pages) - failed, failed))
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
