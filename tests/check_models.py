#!/usr/bin/env python3
"""The lock-free protocols, explored: every interleaving of a few threads over the real code, and over code with a bug.

usage: check_models.py [--all] [--only=MODEL] ROOT CC

Each model of tests/models is built over the sources as they are and must find nothing; then over the sources with one of
the bugs below put in, and must find it. A bug is a change of text that must fit exactly once, so that none is left
behind when the sources move on. --all explores the larger scenarios too (minutes).

Prints each model's scenarios with their states and steps, each bug with what gave it away, and the total. Models that
need another processor's instructions are skipped with status 77.
"""

import argparse
import os
import platform
import resource
import shlex
import subprocess
import sys
import tempfile

PTHREAD = ['-Dpthread_%s=model_%s' % (name, name)
           for name in ('self', 'mutex_lock', 'mutex_unlock', 'rwlock_rdlock', 'rwlock_wrlock', 'rwlock_unlock')]

# Counts that only say how long something goes on: small enough to be explored. (file, text, text)
SMALL = {
    'slab': [],
    'lock': [('alloc/lock.c', '#define SPINS 64', '#define SPINS 1')],
    'freeze': [('alloc/tcache.c', '#define MAX_SLOTS 512u', '#define MAX_SLOTS 2u'),
               ('alloc/tcache.c', 'os_yield(tries++)', 'os_yield(tries)')],
    'registry': [('api/common/registry.c', '#define FIRST_SLOTS ((size_t)256)', '#define FIRST_SLOTS ((size_t)4)'),
                 ('api/common/registry.c', '#define BLOCK_RECORDS ((size_t)255)', '#define BLOCK_RECORDS ((size_t)4)'),
                 ('api/common/registry.c', '#define SPINS 100', '#define SPINS 1')],
}

# model -> (what is wrong, then file, text, text, once or more)
BUGS = {
    'slab': [
        ('a claim ends by looking first, then setting full', 'alloc/bin.c',
         'slab_set_kind(slab, SLAB_FULL);\n\tif (slab_is_empty(heap, slab)) {',
         'bool empty = slab_is_empty(heap, slab);\n\tslab_set_kind(slab, SLAB_FULL);\n\tif (empty) {'),
        ('full is set, and what is free was looked at before', 'alloc/bin.c',
         'slab_set_kind(slab, SLAB_FULL);\n\tif (slab_is_empty(heap, slab)) {\n\t\tsettle_empty(heap, slab, media);\n'
         '\t} else if (slab_has_free(heap, slab)) {',
         'bool room = slab_has_free(heap, slab);\n\tslab_set_kind(slab, SLAB_FULL);\n\tif (slab_is_empty(heap, slab)) {\n'
         '\t\tsettle_empty(heap, slab, media);\n\t} else if (room) {'),
        ("the state's store is only a release", 'alloc/slab.h',
         'atomic_store(&slab->state, (state & ~UINT64_C(0xff)) | kind);',
         'atomic_store_explicit(&slab->state, (state & ~UINT64_C(0xff)) | kind, memory_order_release);'),
        ('bits are released by load and store', 'alloc/slab.h',
         'uint64_t old = atomic_fetch_sub(&slab_bits(heap, slab)[word], mask);',
         'uint64_t old = atomic_load(&slab_bits(heap, slab)[word]);\n\n\tatomic_store(&slab_bits(heap, slab)[word], '
         'old - mask);'),
        ('under the lock the life is not looked at again', 'alloc/bin.c',
         'if (!slab_state_same_life(before, now) || (kind != SLAB_FULL && kind != SLAB_PARTIAL)) {',
         'if (kind != SLAB_FULL && kind != SLAB_PARTIAL) {'),
        ('under the lock the state is not looked at again', 'alloc/bin.c',
         '\tlock_take(&bin->lock);\n\tnow = atomic_load(&slab->state);\n\tkind = slab_state_kind(now);\n',
         '\tlock_take(&bin->lock);\n'),
        ('drained words of partial slabs are not told', 'alloc/bin.h',
         'return kind == SLAB_FULL || (drained && kind == SLAB_PARTIAL);', 'return kind == SLAB_FULL;'),
        ('a generation does not move', 'alloc/slab.c',
         'uint64_t gen = (atomic_load_explicit(&slab->state, memory_order_relaxed) >> 32) + 1;\n\n\tatomic_store(&slab->state'
         ', gen << 32 | SLAB_NONE);',
         'uint64_t gen = (atomic_load_explicit(&slab->state, memory_order_relaxed) >> 32) - 1;\n\n\tatomic_store(&slab->state'
         ', gen << 32 | SLAB_NONE);'),
        ('remote free: the state is read after the release', 'alloc/tcache.c',
         'bin_freed(heap, slab, before, drained);', 'bin_freed(heap, slab, atomic_load(&slab->state), drained);'),
    ],
    'lock': [
        ('nobody is woken', 'alloc/lock.c', 'memory_order_release) == 2)', 'memory_order_release) == 3)'),
        ('who was woken does not think of others who sleep', 'alloc/lock.c',
         '\twhile (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)\n\t\tos_wait(&lock->word, 2);\n',
         '\tuint32_t mark = 2;\n\n\twhile (atomic_exchange_explicit(&lock->word, mark, memory_order_acquire) != 0) {\n'
         '\t\tos_wait(&lock->word, 2);\n\t\tmark = 1;\n\t}\n'),
        ('load and store in the place of compare-exchange', 'alloc/lock.c',
         'if (!atomic_compare_exchange_strong_explicit(&lock->word, &expected, 1, memory_order_acquire,\n'
         '\t\t\t\t\t\t     memory_order_relaxed))\n\t\treturn false;\n',
         'if (atomic_load(&lock->word) != expected)\n\t\treturn false;\n\tatomic_store(&lock->word, 1);\n'),
    ],
    'freeze': [
        ('no barrier', 'alloc/tcache.c', '\tos_barrier_all();\n', ''),
        ('who is busy is not waited for', 'alloc/tcache.c',
         'while (atomic_load_explicit(&tc->cell->busy, memory_order_acquire) != 0)', 'while (tries != 0)'),
        ('the barrier comes before the dummy', 'alloc/tcache.c',
         '\t\t\tatomic_store_explicit(&tc->cell->tc, &tcache_dummy, memory_order_seq_cst);\n\t\t\tany = true;',
         '\t\t\tos_barrier_all();\n\t\t\tatomic_store_explicit(&tc->cell->tc, &tcache_dummy, memory_order_relaxed);'),
        ('busy is said after the look', 'alloc/heap_inline.h',
         '\tatomic_store_explicit(&cell->busy, 1, memory_order_relaxed);\n\tatomic_signal_fence(memory_order_seq_cst);\n'
         '\t/* acquire pairs with the thaw\'s release: what the freezer did to the cache is seen. */\n'
         '\treturn atomic_load_explicit(&cell->tc, memory_order_acquire);',
         '\tstruct tcache *tc = atomic_load_explicit(&cell->tc, memory_order_acquire);\n'
         '\tatomic_store_explicit(&cell->busy, 1, memory_order_seq_cst);\n\treturn tc;'),
        ('idle is said before the last store', 'alloc/heap_inline.h',
         '\tif (__builtin_expect(p != NULL, 1))\n\t\ttc->top[sc] = top - 1;\n\ttcache_idle(cell);\n',
         '\ttcache_idle(cell);\n\tif (__builtin_expect(p != NULL, 1))\n\t\ttc->top[sc] = top - 1;\n'),
        ('a thread that ends leaves its cache in the cell', 'alloc/tcache.c',
         '\tatomic_store_explicit(&cell->tc, &tcache_dummy, memory_order_release);\n\tcell->own = NULL;\n\tlist_drop',
         '\tcell->own = NULL;\n\tlist_drop'),
    ],
    'registry': [
        ('the version is not looked at again', 'api/common/registry.c',
         'if (atomic_load_explicit(&version, memory_order_relaxed) == before)', 'if (before != 1)'),
        ('an odd version is taken for an even one', 'api/common/registry.c', 'if ((before & 1) == 0) {',
         'if (before != UINT64_MAX) {'),
        ('no version is odd', 'api/common/registry.c',
         'atomic_load_explicit(&version, memory_order_relaxed) + 1, memory_order_relaxed);',
         'atomic_load_explicit(&version, memory_order_relaxed) + 2, memory_order_relaxed);', 'api/common/registry.c',
         'atomic_load_explicit(&version, memory_order_relaxed) + 1, memory_order_release);',
         'atomic_load_explicit(&version, memory_order_relaxed), memory_order_release);'),
        ('slots are stored relaxed', 'api/common/registry.c',
         '\tatomic_store_explicit(&slot->pool, pool, memory_order_release);\n'
         '\tatomic_store_explicit(&slot->handle, handle, memory_order_release);',
         '\tatomic_store_explicit(&slot->pool, pool, memory_order_relaxed);\n'
         '\tatomic_store_explicit(&slot->handle, handle, memory_order_relaxed);'),
        ('the table is shown before it is filled', 'api/common/registry.c',
         '\tnew->nslots = nslots;\n', '\tnew->nslots = nslots;\n\tatomic_store(&table, new);\n'),
        ('a hole is left in a row', 'api/common/registry.c', '>= ((i - hole) & mask)) {', '> t->nslots) {'),
        ('a pin does not look again', 'api/common/registry.c',
         'if (atomic_load_explicit(&pool->handle, memory_order_acquire) == handle)\n\t\treturn pool;',
         'if (handle != NULL)\n\t\treturn pool;'),
        ('a pin holds nothing', 'api/common/registry.c', '\tpthread_rwlock_rdlock(&pool->life);\n', ''),
        ('the generation stands still', 'api/common/registry.c',
         'atomic_fetch_add_explicit(&registry_generation_now, 1, memory_order_release);', ''),
    ],
}


def die(text):
    print('check_models.py: ' + text)
    sys.exit(1)


class Builder:
    def __init__(self, root, cc, folder):
        self.root, self.cc, self.folder = root, shlex.split(cc), folder
        self.engine = os.path.join(folder, 'engine.o')
        self.run(['-c', os.path.join(root, 'tests/models/engine.c'), '-o', self.engine])

    def run(self, arguments, include=()):
        command = self.cc + ['-std=gnu17', '-g', '-O1', '-w'] + ['-I' + path for path in include] + ['-I' + self.root]
        done = subprocess.run(command + arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True)
        if done.returncode != 0:
            die('%s\n%s' % (' '.join(command + arguments), done.stdout))

    def model(self, name, changes):
        """The model as a program, over sources with these texts exchanged."""
        texts = {}
        for path, old, new in changes:
            if path not in texts:
                with open(os.path.join(self.root, path), encoding='utf-8') as stream:
                    texts[path] = stream.read()
            if texts[path].count(old) != 1:
                die('%s: a change of the model %s fits %d times: %r' % (path, name, texts[path].count(old), old))
            texts[path] = texts[path].replace(old, new)
        with tempfile.TemporaryDirectory(dir=self.folder) as tree:
            for path, text in texts.items():
                os.makedirs(os.path.dirname(os.path.join(tree, path)), exist_ok=True)
                with open(os.path.join(tree, path), 'w', encoding='utf-8') as stream:
                    stream.write(text)
            program = os.path.join(self.folder, name)
            self.run(PTHREAD + ['-fsanitize=thread', '-c', os.path.join(self.root, 'tests/models/%s.c' % name), '-o',
                                program + '.o'], [tree])
        self.run([program + '.o', self.engine, '-o', program])
        return program


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))


def explore(program, arguments):
    done = subprocess.run([program] + arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, preexec_fn=limit_memory)
    return done.returncode, done.stdout.splitlines()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--all', action='store_true')
    parser.add_argument('--only')
    parser.add_argument('root')
    parser.add_argument('cc')
    options = parser.parse_args()
    if platform.machine() != 'x86_64':
        print('the engine of the models changes stacks in x86-64 instructions')
        sys.exit(77)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        builder = Builder(options.root, options.cc, folder)
        for model, small in SMALL.items():
            if options.only not in (None, model):
                continue
            status, lines = explore(builder.model(model, small), ['all'] if options.all else [])
            print('\n'.join(lines[-100:]), flush=True)
            passed, failed = passed + (status == 0), failed + (status != 0)
            for what, *change in BUGS[model]:
                status, lines = explore(builder.model(model, small + list(zip(*[iter(change)] * 3))), [])
                found = status == 1 or status < 0  # what a bug corrupts may end the process
                why = next((line for line in lines if not line.startswith(' ')), 'killed by signal %d' % -status)
                print('  %s: %-55s %s' % ('found ' if found else 'MISSED', what, why), flush=True)
                passed, failed = passed + found, failed + (not found)
    print('%d passed, %d failed' % (passed, failed))
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
