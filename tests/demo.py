#!/usr/bin/env python3
"""Runs real programs with their whole heap in a file, beside the same programs without, and shows what happened. Then
fills a cache in one process and opens it again in another.

usage: demo.py BUILD            (`ninja demo` calls it)

The pool lies in /dev/shm, in $PMHEAP_DEMO_DIR when that is set, or in $TMPDIR or /tmp when /dev/shm has no room.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

MIB = 1 << 20
LEAST = 64 * MIB  # what the programs below need, with room to spare
MOST = 1024 * MIB

PYTHON = '''
import collections, hashlib, json
words = ["%x" % (n * 2654435761 % 2**32) for n in range(200000)]
index = collections.defaultdict(list)
for word in words:
    index[word[:3]].append(word[::-1])
text = json.dumps({key: sorted(value) for key, value in sorted(index.items())})
again = json.loads(text)
print(len(again), "lists,", sum(map(len, again.values())), "words,", len(text), "bytes of JSON")
print("sha256", hashlib.sha256(text.encode()).hexdigest())
'''

PERL = '''
my %h; my $n = 12345;
for (1 .. 300000) { $n = ($n * 1103515245 + 12345) % 2147483648; push @{$h{$n % 5003}}, "entry-$n" }
my ($long) = sort { @{$h{$b}} <=> @{$h{$a}} || $a <=> $b } keys %h;
print scalar(keys %h), " keys, longest list: ", scalar(@{$h{$long}}), " at $long\\n";
print join(",", (sort @{$h{7}})[0 .. 4]), "\\n";
'''

SQLITE = '''
create table t(id integer primary key, word text, weight real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 150000)
  insert into t select i, hex(i * 2654435761 % 4294967296), i * 0.5 from n;
create index by_word on t(word);
select count(*), count(distinct substr(word, 1, 3)), sum(weight) from t;
select group_concat(word) from (select word from t order by word limit 5);
'''

C = ''.join('struct s%d { int a, b[%d]; };\nint f%d(struct s%d *s, int n)\n{\n\tfor (int i = 0; i < n; i++)\n'
            '\t\ts->a += s->b[i %% %d] * %d;\n\treturn s->a;\n}\n' % (n, n + 1, n, n, n + 1, n + 3) for n in range(150))


def programs():
    """(what it is, argv, standard input); only those that are here."""
    python = os.path.realpath(sys.executable)  # not a wrapper script of that name
    # By itself Python takes small objects from mmap(2), past malloc: told so, it asks malloc for each.
    python = ['env', 'PYTHONMALLOC=malloc', python]
    wanted = [
        ('python3   sorting and hashing 200 000 words as JSON, PYTHONMALLOC=malloc', python + ['-c', PYTHON], ''),
        ('perl      300 000 strings in a hash of lists', ['perl', '-e', PERL], ''),
        ('sqlite3   a table of 150 000 rows in memory, indexed', ['sqlite3', ':memory:'], SQLITE),
        ('gcc       compiling 150 functions with -O2', ['gcc', '-x', 'c', '-O2', '-S', '-o', '-', '-'], C),
    ]
    return [(what, argv, text) for what, argv, text in wanted if shutil.which(argv[0])]


def choose_pool():
    """Folder and size: a quarter of what is free, between LEAST and MOST."""
    asked = os.environ.get('PMHEAP_DEMO_DIR')
    tried = []
    for folder in [asked] if asked else ['/dev/shm', tempfile.gettempdir()]:
        try:
            place = os.statvfs(folder)
        except OSError as error:
            tried.append('%s: %s' % (folder, error.strerror))
            continue
        free = place.f_bavail * place.f_frsize
        if not os.access(folder, os.W_OK):
            tried.append('%s: not writable' % folder)
        elif free < LEAST + LEAST // 4:
            tried.append('%s: only %d MiB free' % (folder, free // MIB))
        else:
            return folder, max(LEAST, min(MOST, free // 4)) // MIB * MIB, free
    sys.exit('demo: no room for a pool (%s). Set PMHEAP_DEMO_DIR to a folder with %d MiB.'
             % ('; '.join(tried), (LEAST + LEAST // 4) // MIB))


def descendants(pid):
    """pid and the processes below it."""
    found = [pid]
    try:
        for thread in os.listdir('/proc/%d/task' % pid):
            with open('/proc/%d/task/%s/children' % (pid, thread)) as stream:
                for child in stream.read().split():
                    found += descendants(int(child))
    except OSError:
        pass
    return found


class Watch(threading.Thread):
    """Looks at the pool of a running process (and of its children) every few milliseconds."""

    def __init__(self, pid, folder):
        super().__init__(daemon=True)
        self.pid, self.folder, self.done = pid, folder, threading.Event()
        self.files, self.peak = {}, 0

    def look(self):
        total = {}
        for pid in descendants(self.pid):
            try:
                with open('/proc/%d/maps' % pid) as maps:
                    for line in maps:
                        fields = line.rstrip('\n').split(None, 5)
                        if len(fields) == 6 and fields[5].startswith(self.folder + '/') and fields[5].endswith(' (deleted)'):
                            # The file has no name any more; /proc still leads to it.
                            start, end = (int(number, 16) for number in fields[0].split('-'))
                            status = os.stat('/proc/%d/map_files/%x-%x' % (pid, start, end))
                            total[status.st_ino] = status.st_blocks * 512
                            self.files[status.st_ino] = (fields[5], status.st_size)
            except (OSError, ValueError):
                continue
        self.peak = max(self.peak, sum(total.values()))

    def run(self):
        while not self.done.wait(0.01):
            self.look()


def run(argv, text, environment, folder):
    """Output, status, seconds and the Watch of one run. (Watching costs time: the plain run is watched as well.)"""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out:
        source.write(text.encode())
        source.seek(0)
        start = time.monotonic()
        child = subprocess.Popen(argv, stdin=source, stdout=out, stderr=subprocess.STDOUT, env=environment)
        watch = Watch(child.pid, folder)
        watch.start()
        status = child.wait()
        seconds = time.monotonic() - start
        watch.done.set()
        watch.join()
        out.seek(0)
        return out.read(), status, seconds, watch


def warm_restart(build, folder, free):
    """Two processes, one after the other, with the same heap in a file. How long the second took to open it, in ms."""
    entries = min(1000000, (free - LEAST) // 2 // 144)  # lru_cache makes room for 144 bytes each
    program = build + '/examples/lru_cache'
    path = tempfile.mktemp('.pool', 'pmheap-demo-', folder)
    print('\n%s  a cache of %d entries in a pool of libpmemcto, used by two processes' % (os.path.basename(program), entries))
    found = None
    try:
        for number in ('first', 'second'):
            child = subprocess.Popen([program, path, str(entries)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            text = child.communicate()[0].decode(errors='replace')
            print('  the %s process, %d, %s' % (number, child.pid, 'found no pool: it makes one' if number == 'first' else
                                                'finds the file and nothing else'))
            for line in text.splitlines():
                print('    > ' + line)
            found = re.search(r'^reopened .* in ([0-9.]+) ms.*^checked +(\d+) of \2 entries', text, re.M | re.S)
            if child.returncode != 0 or bool(found) != (number == 'second'):
                print('    status %d: that is not what should have happened' % child.returncode)
                return None
        print('    pool file    %s, %d MiB long' % (path, os.stat(path).st_size // MIB))
    finally:
        if os.path.exists(path):
            os.unlink(path)
    return float(found.group(1))


def main():
    build = os.path.abspath(sys.argv[1])
    library = build + '/lib/libvmmalloc.so.1'
    folder, size, free = choose_pool()
    plain = {name: value for name, value in os.environ.items() if name != 'LD_PRELOAD' and not name.startswith('VMMALLOC_')}
    pool = dict(plain, LD_PRELOAD=library, VMMALLOC_POOL_DIR=folder, VMMALLOC_POOL_SIZE=str(size))
    print('\nEach program runs twice, unmodified: as it is, then with its whole heap in a file, by\n')
    print('    LD_PRELOAD=%s \\' % os.path.relpath(library))
    print('    VMMALLOC_POOL_DIR=%s VMMALLOC_POOL_SIZE=%d  PROGRAM...\n' % (folder, size))
    print('(%s has %d MiB free; the pool may grow to %d MiB and takes only what is used.)' % (folder, free // MIB, size // MIB))
    good = 0
    todo = programs()
    for what, argv, text in todo:
        want, want_status, plain_seconds, _ = run(argv, text, plain, folder)
        have, status, seconds, watch = run(argv, text, pool, folder)
        print('\n%s' % what)
        if argv[0] != 'gcc':
            for line in want.decode(errors='replace').splitlines():
                print('    > ' + line)
        else:
            print('    > %d lines of assembly' % want.count(b'\n'))
        name, length = max(watch.files.values(), key=lambda one: one[1], default=('', 0))
        used = bool(watch.files) and watch.peak > 0
        same = have == want and status == want_status == 0
        print('    pool file    %s' % ('%s, %d MiB long' % (name.replace(' (deleted)', ' (no name, gone with the program)'),
                                                           length // MIB) if used else 'none was seen: the preload did not work'))
        print('    peak use     %.1f MiB of the file' % (watch.peak / MIB))
        print('    output       %s' % ('the same, %d bytes' % len(have) if same else 'DIFFERS'))
        print('    time         %.2f s, without the pool %.2f s' % (seconds, plain_seconds))
        if not same:
            print('    status %d, without the pool %d; the last lines:' % (status, want_status))
            print(''.join('    | %s\n' % line for line in have.decode(errors='replace').splitlines()[-10:]))
        good += same and used
    milliseconds = warm_restart(build, folder, free)
    print('\n%d of %d programs ran correctly with their heap in a file.' % (good, len(todo)))
    if milliseconds is not None:
        print('A heap that one process left was there for the next one after %.2f ms.' % milliseconds)
    sys.exit(0 if good == len(todo) and good >= 2 and milliseconds is not None else 1)


if __name__ == '__main__':
    main()
