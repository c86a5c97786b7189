#!/usr/bin/env python3
"""Writes build.ninja: ./configure.py && ninja && ninja check

Run here it builds into out/default; run in another folder (mkdir -p out/asan && cd out/asan &&
../../configure.py --sanitize=address,undefined) it builds into that folder. Options, the few probes and the tables of
what is built from what are here; commands and flags are in build.ninja.in.

CC, AR, OBJCOPY, CFLAGS, CPPFLAGS, LDFLAGS are taken from the environment or as NAME=value arguments, and recorded:
editing this file or the template, or adding a source, runs the same configuration again.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))

# ---- sources --------------------------------------------------------------------------------------------------------
# Every .c file of these folders is in one of the tables: a file in none of them stops the configuration (check_tables).

SOURCE_FOLDERS = ['alloc', 'flush', 'api', 'doc/examples', 'tests', 'fuzz']

ALLOC = [
    'alloc/bin.c',
    'alloc/check.c',
    'alloc/commit.c',
    'alloc/extent.c',
    'alloc/free_index.c',
    'alloc/guard.c',
    'alloc/heap.c',
    'alloc/layout.c',
    'alloc/lock.c',
    'alloc/os.c',
    'alloc/purge.c',
    'alloc/repair.c',
    'alloc/size_class.c',
    'alloc/slab.c',
    'alloc/stats.c',
    'alloc/survey.c',
    'alloc/tcache.c',
]

FLUSH = [
    'flush/copy_generic.c',
    'flush/copy_libc.c',
    'flush/cpu.c',
    'flush/flush.c',
]

# By the first part of `cc -dumpmachine`.
FLUSH_FOR = {
    'x86_64': [
        'flush/copy_avx.c',
        'flush/copy_avx512.c',
        'flush/copy_movdir64b.c',
        'flush/copy_sse2.c',
        'flush/flush_x86_64.c',
    ],
    'aarch64': [
        'flush/flush_aarch64.c',
    ],
    'riscv64': [
        'flush/flush_riscv64.c',
    ],
}

COMMON = [
    'api/common/dax.c',
    'api/common/error.c',
    'api/common/file.c',
    'api/common/format.c',
    'api/common/harden.c',
    'api/common/log.c',
    'api/common/os.c',
    'api/common/parse.c',
    'api/common/poolset.c',
    'api/common/registry.c',
]

# What is installed. `map`: the names that the shared library exports. `parts`: what of the above it takes in. `flags`: for
# its own sources. `tool_sources`: not in the library, but beside it in the tools and in the tests that look inside.
LIBRARIES = {
    'vmem': {
        'description': 'volatile memory pools in memory-mapped files',
        'version': '1.1',
        'header': 'api/include/libvmem.h',
        'map': 'api/vmem.map',
        'parts': ['alloc', 'common'],
        'sources': [
            'api/vmem/blocks.c',
            'api/vmem/stats.c',
            'api/vmem/vmem.c',
            'api/common/cells.c',
            'api/common/stats_text.c',
        ],
    },
    'vmmalloc': {
        'description': 'the malloc family in a memory-mapped file, for whole programs',
        'version': '1.1',
        'header': 'api/include/libvmmalloc.h',
        'map': 'api/vmmalloc.map',
        'parts': ['alloc', 'common'],
        'flags': '-fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc',
        'sources': [
            'api/vmmalloc/backing.c',
            'api/vmmalloc/bootstrap.c',
            'api/vmmalloc/foreign.c',
            'api/vmmalloc/fork.c',
            'api/vmmalloc/init.c',
            'api/vmmalloc/malloc.c',
            'api/vmmalloc/stats.c',
            'api/vmmalloc/thread.c',
            'api/common/stats_text.c',
        ],
        'shared_sources': [  # not in the static library
            'api/vmmalloc/deepbind.c',
        ],
    },
    'pmem': {
        'description': 'persistent memory: mapping, flushing and copying',
        'version': '1.12.1',
        'header': 'api/include/libpmem.h',
        'map': 'api/pmem.map',
        'parts': ['flush', 'common'],
        'sources': [
            'api/pmem/map.c',
            'api/pmem/os.c',
            'api/pmem/pmem.c',
            'api/pmem/range.c',
            'api/pmem/uw.c',
        ],
    },
    'pmemcto': {
        'description': 'persistent heaps in files, from close to open',
        'version': '1.0',
        'header': 'api/include/libpmemcto.h',
        'map': 'api/pmemcto.map',
        'parts': ['alloc', 'flush', 'common'],
        'sources': [
            'api/pmemcto/blocks.c',
            'api/pmemcto/close.c',
            'api/pmemcto/create.c',
            'api/pmemcto/file.c',
            'api/pmemcto/front.c',
            'api/pmemcto/headers.c',
            'api/pmemcto/media.c',
            'api/pmemcto/open.c',
            'api/pmemcto/os.c',
            'api/pmemcto/parts.c',
            'api/pmemcto/place.c',
            'api/pmemcto/pmemcto.c',
            'api/pmemcto/pool.c',
            'api/pmemcto/set.c',
            'api/common/cells.c',
            'api/common/stats_text.c',
        ],
        'tool_sources': [
            'api/pmemcto/repair.c',
            'api/pmemcto/view.c',
            'api/tools/remove.c',
            'api/tools/say.c',
        ],
    },
}

# bin/<name>: sources, and the library whose objects they take in.
TOOLS = {
    'pmheap': ('pmemcto', [
        'api/tools/backup.c',
        'api/tools/cmd_check.c',
        'api/tools/cmd_create.c',
        'api/tools/cmd_dump.c',
        'api/tools/cmd_info.c',
        'api/tools/cmd_map.c',
        'api/tools/cmd_rm.c',
        'api/tools/cmd_run.c',
        'api/tools/json.c',
        'api/tools/map_svg.c',
        'api/tools/map_text.c',
        'api/tools/picture.c',
        'api/tools/pmheap.c',
        'api/tools/progress.c',
        'api/tools/text.c',
        'api/tools/usage.c',
    ]),
}

# Programs to copy, doc/examples/<name>.c -> examples/<name> in the build folder, by the library they link. Installed as
# sources, with what they include.
EXAMPLES = {
    'pmemcto': [
        'dictionary',
        'hello',
        'lru_cache',
        'ordered_tree',
    ],
}

# ---- tests ----------------------------------------------------------------------------------------------------------
# Criterion tests, tests/<name>.c, by what they link:
#   internal  the objects of alloc/, flush/ and api/common (and what TEST_SUPPORT lists)
#   <library> the shared library of that name in the build folder, as a user links it
#   <library>.own  the objects of that library, to look inside, and what `internal` has
#   preload   nothing of ours: they start programs with a library preloaded; the sanitizers' own malloc forbids that,
#             so these are listed as skipped under them
# Names that begin with mt_ are what runs under ThreadSanitizer.
TESTS = {
    'internal': [
        'alloc_bin',
        'alloc_capacity',
        'alloc_check',
        'alloc_commit',
        'alloc_extent',
        'alloc_free_index',
        'alloc_guard',
        'alloc_heap',
        'alloc_model',
        'alloc_os',
        'alloc_purge',
        'alloc_repair',
        'alloc_size_class',
        'alloc_slab',
        'alloc_survey',
        'alloc_tcache',
        'api_common_error',
        'api_common_format',
        'api_common_poolset',
        'crash_alloc_steps',
        'flush_copy',
        'flush_cpu',
        'flush_record',
        'flush_words',
        'media_layout',
        'misuse_heap',
        'mt_alloc_fork',
        'mt_alloc_heap',
        'mt_alloc_lock',
        'mt_alloc_pages',
        'mt_api_registry',
    ],
    'vmem': [
        'api_vmem_blocks',
        'api_vmem_create',
        'api_vmem_delete',
        'api_vmem_full',
        'api_vmem_funcs',
        'api_vmem_groups',
        'api_vmem_stats',
        'api_vmem_system',
        'fork_vmem_pools',
        'mt_vmem_pools',
        'nth_vmem_calls',
    ],
    'pmem': [
        'api_pmem_env',
        'api_pmem_map',
        'api_pmem_uw',
        'mt_pmem_threads',
        'nth_pmem_calls',
        'nth_pmem_map',
    ],
    'pmem.own': [
        'api_pmem_dax',
        'api_pmem_range',
    ],
    'pmemcto.own': [
        'api_pmemcto_damage',
        'api_pmemcto_dax',
        'api_pmemcto_view',
        'crash_pmemcto',
        'media_pmemcto',
    ],
    'pmemcto': [
        'api_pmemcto_blocks',
        'api_pmemcto_close',
        'api_pmemcto_create',
        'api_pmemcto_disk',
        'api_pmemcto_funcs',
        'api_pmemcto_model',
        'api_pmemcto_open',
        'api_pmemcto_sessions',
        'api_pmemcto_sets',
        'api_tools_check',
        'api_tools_create',
        'api_tools_dump',
        'api_tools_info',
        'api_tools_map',
        'api_tools_rm',
        'api_tools_sets',
        'examples_pmemcto',
        'mt_pmemcto_pools',
        'nth_pmemcto_calls',
        'nth_pmemcto_sets',
    ],
    'vmmalloc': [
    ],
    'preload': [
        'api_vmmalloc_calls',
        'api_vmmalloc_fork',
        'api_vmmalloc_init',
        'api_vmmalloc_link',
        'api_vmmalloc_pmheap',
        'api_vmmalloc_threads',
        'api_vmem_load',
        'nth_vmmalloc_calls',
    ],
    '': [  # nothing of ours: they start programs
        'misuse_programs',
    ],
}

# Stands in for libc's system calls in these tests, and, as tests/libfault.so, in programs that tests start.
FAULT_CALLS = 'tests/fault_calls.c'
FAULT_TESTS = ['nth_pmem_calls', 'nth_pmemcto_calls', 'nth_vmem_calls']

# Linked into the internal tests that need them.
TEST_SUPPORT = [
    'tests/crash_log.c',
    'tests/flush_engines.c',
    'tests/heap_model.c',
    'tests/heap_region.c',
    'tests/heap_threads.c',
]

# Plain programs that tests start, tests/programs/<name>.c -> tests/programs/<name> in the build folder, by what they
# link: '' nothing, 'x' libx.so, 'x.a' libx.a.
TEST_PROGRAMS = {
    '': [
        'pmemobj_tree',
        'fault_fork',
        'vmmalloc_calls',
        'vmmalloc_fork',
        'vmmalloc_plugins',
        'vmmalloc_threads',
    ],
    'pmem': [
        'pmem_calls',
    ],
    'pmemcto': [
        'cto_misuse',
        'cto_model',
        'cto_session',
    ],
    'pmemcto.a': [
        'cto_model_static',
    ],
    'vmem': [
        'vmem_calls',
        'vmem_misuse',
    ],
    'vmem.a': [
        'vmem_calls_static',
    ],
    'vmmalloc': [
        'vmmalloc_linked',
    ],
    'vmmalloc.a': [
    ],
}

# Test scripts that `ninja check` runs: name -> command. Exit status 77 is "skipped", the last line the reason. A script
# may count for itself by ending in a line `N passed, N failed[, N skipped]`; otherwise it is one test.
# {root}, {build}: folders; {cc}: compiler; {python}; {libraries}: names of LIBRARIES. (See fill().)
CHECKS = {
    'check_layers': '{python} {root}/tests/check_layers.py {root}',
    'check_headers': '{python} {root}/tests/check_headers.py {root} {cc}',
    'check_symbols': '{python} {root}/tests/check_symbols.py {root} {build} {libraries}',
    'check_install': '{python} {root}/tests/check_install.py {root} {build} {cc} {libraries}',
    'check_man': '{python} {root}/tests/check_man.py {root} {build} {cc} {libraries}',
    'check_docs': '{python} {root}/tests/check_docs.py {root}',
    'check_models': '{python} {root}/tests/check_models.py {root} {cc}',
}

# Needs more time than TEST_TIMEOUT: seconds by name.
TEST_TIMEOUT = 300
TEST_TIMEOUTS = {}

# Links to lib/pmdk_debug: how older releases and Debian call that folder.
DEBUG_FOLDER_NAMES = ['nvml_debug', 'pmdk_dbg']

# Fuzz targets, fuzz/<name>.c, replayed over fuzz/corpus/<name> by `ninja check` through the plain driver. `aims`: the
# sources that its corpus must cover (`ninja fuzz-coverage`), `not` functions in them that it cannot come to. `library`: whose own objects it needs; `sources`: others.
FUZZ_DRIVER = 'fuzz/driver.c'
FUZZ = {
    'cto_sessions': {
        'library': 'pmemcto',
        'aims': ['api/pmemcto/blocks.c', 'api/common/cells.c', 'api/common/stats_text.c', 'api/pmemcto/repair.c'],
    },
    'heap_ops': {
        # Not alloc/purge.c: when pages go back is the clock's to say.
        'aims': ['alloc/bin.c', 'alloc/extent.c', 'alloc/free_index.c', 'alloc/heap.c', 'alloc/size_class.c', 'alloc/slab.c',
                 'alloc/tcache.c'],
        'not': ['extent_valid', 'slab_valid', 'slab_double_free'],  # damage, misuse: pool_open, tests/misuse_heap.c
    },
    'heap_resize': {
        # heap.c has more calls than these: heap_ops
        'aims': ['alloc/bin.c', 'alloc/free_index.c', 'alloc/tcache.c'],
    },
    'pmem_copy': {
        'aims': ['flush/copy_libc.c', 'flush/copy_sse2.c', 'flush/copy_avx.c', 'flush/copy_ways_impl.h',
                 'flush/copy_bytes_impl.h'],
    },
    'pool_open': {
        'library': 'pmemcto',
        'aims': ['alloc/check.c', 'api/pmemcto/media.c'],
        'not': ['caches_ok', 'extents_ok',  # what is not on the media; a progress that nobody watches
                'media_is_part', 'media_neighbours_fault', 'media_alone_fault'],  # sets
    },
    'poolset': {
        'aims': ['api/common/poolset.c'],
    },
    'sizes': {
        'sources': ['api/tools/text.c'],
        'aims': ['api/common/parse.c'],
    },
    'vmem_calls': {
        'library': 'vmem',
        'aims': ['api/vmem/blocks.c', 'api/vmem/vmem.c', 'api/vmem/stats.c', 'api/common/registry.c', 'api/common/cells.c'],
        # in a child, whose counts are lost
        'not': ['child_one', 'postfork_child', 'registry_postfork_child', 'cell_own'],
    },
}

# ---- targets that are a script: name -> (what it needs built, command); {deps}=GROUP installs a group of PACKAGES -----
SCRIPTS = {
    'bench-pmem': (['all'], 'sh {root}/tests/bench/bench_pmem.sh {root} {build} {cc}'),
    'bench-harden': (['all'], '{python} {root}/tests/bench/bench_harden.py {root} {build} {cc}'),
    'calibrate-pmem': (['tests'], 'sh {root}/tests/bench/calibrate_pmem.sh {root} {build} {cc}'),
    'check-cross': ([], 'sh {root}/tests/check_cross.sh {root} {home} {python}'),
    'demo': (['all', 'examples'], '{python} {root}/tests/demo.py {build}'),
    'check-crash': (['tests'], 'PMHEAP_KILLS=$${{PMHEAP_KILLS:-20000}} {build}/tests/crash_pmemcto --jobs=1 && '
                    'PMHEAP_OPS=$${{PMHEAP_OPS:-4000}} {build}/tests/crash_alloc_steps --jobs=1'),
    'check-models': ([], '{python} {root}/tests/check_models.py --all {root} {cc}'),
    'check-programs': (['all'], '{python} {root}/tests/programs.py {build}'),
    'bench': (['all', 'examples'], '{deps}=bench && {python} {root}/tests/bench/bench.py --cc={cc} {build} && '
                                   '{python} {root}/tests/bench/bench_cto.py {root} {build} {cc}'),
    'bench-cto': (['all', 'examples'], '{deps}=bench && {python} {root}/tests/bench/bench_cto.py {root} {build} {cc}'),
    'bench-plot': (['all'], '{python} {root}/tests/bench/plot.py {build} {build}/bench.json {build}/scale.json'),
    'bench-scale': (['all'], '{deps}=bench && {python} {root}/tests/bench/bench_scale.py --cc={cc} {build}'),
    'bench-quick': (['all'], '{deps}=bench && {python} {root}/tests/bench/bench.py --quick --cc={cc} {build}'),
    'bench-instructions': (['all'], '{deps}=bench && {python} {root}/tests/bench/bench.py --instructions --cc={cc} {build}'),
    'docs-lint': (['all'], '{python} {root}/tests/run_tests.py --only=check_man,check_docs {build}/tests.json'),
    'fuzz': (['configuration-fuzz'], '{python} {root}/tests/run_fuzz.py fuzz {home}/fuzz {root}/fuzz/corpus {fuzz}'),
    'fuzz-afl': ([], '{deps}=fuzz && mkdir -p {home}/afl && (cd {home}/afl && {python} {root}/configure.py --fuzz '
                     '--cc=afl-clang-fast && {ninja} fuzz-targets) && '
                     '{python} {root}/tests/run_fuzz.py afl {home}/afl {root}/fuzz/corpus {fuzz}'),
    'fuzz-coverage': (['configuration-coverage'], '{python} {root}/tests/fuzz_coverage.py {root} {home}/coverage '
                                                  '{fuzz_floor} {aims}'),
    'regress': (['configuration-fuzz'], '{python} {root}/tests/run_fuzz.py regress {home}/fuzz {root}/fuzz/corpus {fuzz}'),
    'tidy': ([], '{deps}=tidy && cd {root} && clang-tidy --quiet {libsources} -- '
                 '-std=gnu17 -I. -DPMHEAP_ASSERT=2'),
    'format': ([], '{deps}=tidy && cd {root} && clang-format -i {files}'),
}

# What `ninja check` builds and tests besides its own configuration: name -> (options, which tests).
CONFIGURATIONS = {
    'asan': ['--sanitize=address,undefined'],
    'tsan': ['--sanitize=thread'],
    'assert3': ['--debug', '--assert=3'],
}

COVERAGE_FLOORS = 95, 85  # per cent of the lines, and of the branches, in alloc/ api/ flush/
FUZZ_FLOOR = 90           # per cent of the lines that a fuzz target aims at, by its corpus alone

# ---- Debian packages, by what needs them ------------------------------------------------------------------------------
# `build` and `test` are what `ninja`, `ninja demo` and `ninja check` use; the targets of the other groups ask for theirs
# themselves. Those marked with ! must be there at the end.
PACKAGES = {
    'build': ['ninja-build!', 'gcc!', 'libc6-dev!', 'binutils!', 'pkg-config!'],
    'test': ['libcriterion-dev!', 'g++', 'clang', 'libclang-rt-dev', 'gcovr', 'mandoc', 'valgrind', 'perl', 'sqlite3',
             'libpmemobj1'],
    'tidy': ['clang-tidy', 'clang-format'],
    'fuzz': ['afl++', 'clang', 'libclang-rt-dev'],
    'bench': ['libpmem1', 'libmimalloc2.0', 'libjemalloc2', 'libtcmalloc-minimal4', 'libpmemobj-dev', 'ghostscript'],
    'cross': ['gcc-aarch64-linux-gnu', 'libc6-dev-arm64-cross', 'gcc-riscv64-linux-gnu', 'libc6-dev-riscv64-cross',
              'qemu-user'],
}


def die(text):
    sys.exit('configure.py: ' + text)


def warn(text):
    sys.stderr.write('configure.py: warning: ' + text + '\n')


# ---- --install-deps -------------------------------------------------------------------------------------------------

def installed(packages):
    """The subset of packages that dpkg knows as installed."""
    run = subprocess.run(['dpkg-query', '-W', '-f', '${Package} ${db:Status-Status}\n'] + packages,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True)
    return {line.split()[0] for line in run.stdout.splitlines() if line.endswith(' installed')}


def install_deps(groups):
    unknown = set(groups) - set(PACKAGES)
    if unknown:
        die('no such group of packages: ' + ' '.join(sorted(unknown)))
    names = [name for group in groups for name in PACKAGES[group]]
    essential = {name[:-1] for name in names if name.endswith('!')}
    names = [name.rstrip('!') for name in names]
    if not shutil.which('dpkg-query') or not shutil.which('apt-get'):
        die('--install-deps works with apt (Debian and its like). Needed here: ' + ' '.join(names))
    missing = [name for name in names if name not in installed(names)]
    if not missing:
        return
    root = [] if os.geteuid() == 0 else ['sudo']
    if root and not shutil.which('sudo'):
        text = 'run this as root: apt-get install ' + ' '.join(missing)
        if essential & set(missing):
            die(text)
        warn(text)
        return
    print('Installing ' + ' '.join(missing), flush=True)
    apt = root + ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-o', 'DPkg::Lock::Timeout=300', '-qq']
    quiet = {'stdout': subprocess.DEVNULL}
    if subprocess.call(apt + ['update'], **quiet) != 0:
        warn('apt-get update failed; going on with the package lists that are there')
    install = apt + ['install', '-y', '--no-install-recommends']
    if subprocess.call(install + missing, **quiet) != 0:
        for name in missing:  # one that cannot be had must not keep out the others
            subprocess.call(install + [name], **quiet)
    missing = [name for name in missing if name not in installed(missing)]
    if essential & set(missing):
        die('cannot install ' + ' '.join(sorted(essential & set(missing))))
    if missing:
        warn('cannot install ' + ' '.join(missing) + '; what needs them is skipped')


# ---- probes ---------------------------------------------------------------------------------------------------------

def output_of(argv):
    """Standard output of a command, or None when it fails."""
    try:
        run = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True)
    except OSError:
        return None
    return run.stdout.strip() if run.returncode == 0 else None


def check_compiler(cc):
    macros = output_of(shlex.split(cc) + ['-dM', '-E', '-x', 'c', '/dev/null'])
    if macros is None:
        die('no working C compiler: %s (--cc=, or --install-deps)' % cc)
    value = dict(line.split(None, 2)[1:] for line in macros.splitlines() if len(line.split(None, 2)) == 3)
    kind, least = ('clang', 11) if '__clang__' in value else ('gcc', 9)
    version = int(value['__clang_major__' if kind == 'clang' else '__GNUC__'])
    if version < least:
        die('%s is %s %d; at least gcc 9 or clang 11 is needed' % (cc, kind, version))
    if value.get('__SIZEOF_POINTER__') != '8':
        die('%s compiles for %s-byte pointers; 64-bit systems only' % (cc, value.get('__SIZEOF_POINTER__')))
    return kind


def check_tables(strict):
    """Every source on disk is in a table, every source of a table on disk. Only a file that git does not hold yet, work in
    progress, is let through with a warning; not even that when `strict`."""
    listed = set(ALLOC + FLUSH + sum(FLUSH_FOR.values(), []) + COMMON + TEST_SUPPORT + [FAULT_CALLS])
    for library in LIBRARIES.values():
        listed.update(library['sources'] + library.get('shared_sources', []) + library.get('tool_sources', []))
    for _, sources in TOOLS.values():
        listed.update(sources)
    listed.update('doc/examples/%s.c' % name for names in EXAMPLES.values() for name in names)
    listed.update('tests/%s.c' % name for names in TESTS.values() for name in names)
    listed.update('tests/programs/%s.c' % name for names in TEST_PROGRAMS.values() for name in names)
    listed.update('fuzz/%s.c' % name for name in FUZZ)
    if FUZZ:
        listed.add(FUZZ_DRIVER)
    on_disk = set()
    for folder in SOURCE_FOLDERS:
        for where, _, names in os.walk(os.path.join(ROOT, folder)):
            on_disk.update(os.path.relpath(os.path.join(where, name), ROOT) for name in names if name.endswith('.c'))
    on_disk -= SCRIPT_SOURCES
    held = output_of(['git', '-C', ROOT, 'ls-files', '--'] + SOURCE_FOLDERS)
    new = set() if strict or held is None else on_disk - set(held.splitlines())
    for name in sorted((on_disk - listed) & new):
        warn('%s is in no table of configure.py' % name)
    wrong = ['%s is in no table' % name for name in sorted(on_disk - listed - new)]
    wrong += ['%s is listed, but not there' % name for name in sorted(listed - on_disk)]
    if wrong:
        die('\n  '.join(['the tables do not fit the tree:'] + wrong))


# Compiled by the scripts that use them, not by the build.
SCRIPT_SOURCES = {'tests/bench/bench_cto.c', 'tests/bench/bench_pmem.c', 'tests/bench/calibrate_pmem.c', 'tests/bench/launch.c',
                  'tests/bench/scale.c', 'tests/bench/workloads.c', 'tests/models/engine.c', 'tests/models/freeze.c',
                  'tests/models/lock.c', 'tests/models/registry.c', 'tests/models/slab.c'}


# ---- options --------------------------------------------------------------------------------------------------------

def parse_options():
    parser = argparse.ArgumentParser(usage='configure.py [OPTION...] [NAME=value...]', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--prefix', default='/usr/local', help='where `ninja install` puts things [/usr/local]')
    add('--libdir', help='[PREFIX/lib]')
    add('--includedir', help='[PREFIX/include]')
    add('--mandir', help='[PREFIX/share/man]')
    add('--cc', help='C compiler, gcc >= 9 or clang >= 11 [gcc, or HOST-gcc]')
    add('--host', metavar='TRIPLE', help='build for another machine, as aarch64-linux-gnu')
    add('--runner', metavar='CMD', help='runs a program of that machine, as "qemu-aarch64 -L /usr/aarch64-linux-gnu"')
    add('--debug', action='store_true', help='this folder holds debug builds only; implies --assert=2')
    add('--assert', metavar='N', type=int, choices=range(4), dest='assert_level',
        help='assertions: 0 none, 1 callers, 2 cheap checks of the inside, 3 whole structures, slowly [0]')
    add('--sanitize', metavar='LIST', help='compile with -fsanitize=LIST, as address,undefined')
    add('--coverage', action='store_true', help='compile for gcov')
    add('--fuzz', action='store_true', help='build the fuzz targets with libFuzzer (needs clang), or, with --cc=afl-clang-fast, for afl-fuzz')
    add('--werror', action='store_true', help='a compiler warning is an error')
    add('--install-deps', metavar='GROUP,...', nargs='?', const='build,test',
        help='first install the missing Debian packages that build and tests need; with groups (%s or all) install '
             'those and do nothing else' % ', '.join(PACKAGES))
    add('settings', nargs='*', help=argparse.SUPPRESS)
    return parser.parse_args()


def recorded_arguments():
    """What runs this configuration again: all arguments but --install-deps, with the environment's settings."""
    settings = ['CC', 'AR', 'OBJCOPY', 'CPPFLAGS', 'CFLAGS', 'LDFLAGS']
    given = [arg for arg in sys.argv[1:] if not arg.startswith('--install-deps')]
    named = {arg.split('=')[0] for arg in given if not arg.startswith('-')}
    return given + ['%s=%s' % (name, os.environ[name]) for name in settings
                    if os.environ.get(name) and name not in named]


# ---- the file -------------------------------------------------------------------------------------------------------

class Ninja:
    """The text of build.ninja: the template, then edges."""

    def __init__(self, template, values):
        self.text = re.sub('@([A-Z_]+)@', lambda match: values[match.group(1)], template)

    def build(self, outputs, rule, inputs=(), implicit=(), order_only=(), **variables):
        def paths(names):
            return ' '.join(re.sub(r'([ $:])', r'$\1', name).replace('$$', '$') for name in names)
        outputs = [outputs] if isinstance(outputs, str) else outputs
        inputs = [inputs] if isinstance(inputs, str) else inputs
        line = 'build %s: %s %s' % (paths(outputs), rule, paths(inputs))
        if implicit:
            line += ' | ' + paths(implicit)
        if order_only:
            line += ' || ' + paths(order_only)
        self.text += line + '\n' + ''.join('  %s = %s\n' % item for item in sorted(variables.items()))
        return outputs[0]

    def section(self, title):
        self.text += '\n# %s\n' % title


class Configuration:
    """One build folder: its options, and the edges made for it."""

    def __init__(self, options):
        self.options = options
        self.in_tree = os.path.realpath(os.getcwd()) == os.path.realpath(ROOT)
        self.root = '.' if self.in_tree else os.path.relpath(ROOT)
        self.b = 'out/default/' if self.in_tree else ''
        self.builddir = os.path.abspath(self.b or '.')
        self.home = 'out' if self.in_tree else 'check'  # where the other configurations go
        self.arguments = recorded_arguments()
        settings = dict(arg.split('=', 1) for arg in self.arguments if '=' in arg and not arg.startswith('-'))
        unknown = [arg for arg in options.settings if '=' not in arg]
        if unknown:
            die('what is %s?' % unknown[0])

        tool = options.host + '-' if options.host else ''
        self.cc = options.cc or settings.get('CC') or ('clang' if options.fuzz else tool + 'gcc')
        self.kind = check_compiler(self.cc)
        self.arch = output_of(shlex.split(self.cc) + ['-dumpmachine']).split('-')[0]
        if self.arch not in FLUSH_FOR:
            die('flush/ knows no way to write back cache lines of ' + self.arch)
        if options.fuzz and self.kind != 'clang':
            die('--fuzz needs clang')
        self.sanitize = options.sanitize.split(',') if options.sanitize else []
        # The plain configuration is the one that is installed and that tests the others besides itself.
        self.plain = not (options.debug or options.sanitize or options.coverage or options.fuzz or options.host
                          or options.assert_level is not None)
        if options.host or 'thread' in self.sanitize:  # see the file for why
            self.criterion, self.criterion_libs = '-isystem $root/tests/criterion_small', ''
        else:
            self.criterion, self.criterion_libs = output_of(['pkg-config', '--cflags', 'criterion']), '-lcriterion'
        self.manifest, self.made = [], set()

        level = options.assert_level if options.assert_level is not None else 2 if options.debug else 0
        debug = '-Og -DPMHEAP_DEBUG=1 -DPMHEAP_ASSERT=%d' % max(level, 2 if options.assert_level is None else level)
        release = '-O2 -DPMHEAP_ASSERT=%d' % level
        if options.debug:
            release = debug
        elif options.coverage:
            release = '-O0 -DPMHEAP_ASSERT=%d' % level
        elif self.sanitize or options.fuzz:
            release = '-O1 -fno-omit-frame-pointer -DPMHEAP_ASSERT=%d' % (level or 2)
        instrument = []
        if self.sanitize:
            instrument.append('-fsanitize=%s -fno-sanitize-recover=all' % options.sanitize)
        if options.fuzz:
            # afl++'s compiler brings its own counters, and its own main() for -fsanitize=fuzzer.
            counters = '' if 'afl' in os.path.basename(self.cc) else 'fuzzer-no-link,'
            instrument.append('-fsanitize=%saddress,undefined -fno-sanitize-recover=all' % counters)
        if options.coverage:
            instrument.append('--coverage')
        clang_runtime = self.kind == 'clang' and (self.sanitize or options.fuzz)  # it stays in the program

        again = [sys.executable, os.path.join(self.root, 'configure.py')] + self.arguments
        values = {
            'ROOT': self.root,
            'BUILDDIR': self.b.rstrip('/') or '.',
            'ABS_ROOT': ROOT,
            'ABS_BUILDDIR': self.builddir,
            'PYTHON': sys.executable,
            'CC': self.cc,
            'AR': settings.get('AR', tool + 'ar'),
            'OBJCOPY': settings.get('OBJCOPY', tool + 'objcopy'),
            'COVERAGE': ' --coverage' if options.coverage else '',
            'RUNNER': options.runner or '',
            'WERROR': ' -Werror' if options.werror else '',
            'INSTRUMENT': ' '.join(instrument),
            'CPPFLAGS': settings.get('CPPFLAGS', ''),
            'CFLAGS': settings.get('CFLAGS', ''),
            'LDFLAGS': settings.get('LDFLAGS', ''),
            'OPT_RELEASE': release,
            'OPT_DEBUG': debug,
            'NO_UNDEFINED': '' if clang_runtime else '-Wl,-z,defs',
            'CRITERION_CFLAGS': self.criterion or '',
            'CONFIGURE': ' '.join(shlex.quote(arg) for arg in again).replace('$', '$$'),
            'NINJA': shutil.which('ninja') or 'ninja',
        }
        with open(os.path.join(ROOT, 'build.ninja.in')) as template:
            self.ninja = Ninja(template.read(), values)

    # -- objects and libraries

    def objects(self, sources, variant, folder, flags=''):
        """Compiles sources of one variant (release, debug, tests); the paths of the objects."""
        flags = '$cflags_tests' if variant == 'tests' else '$cflags_lib $cflags_%s %s' % (variant, flags)
        made = []
        for source in sources:
            out = '%sobj/%s/%s' % (self.b, folder, source[:-2] + '.o')
            if out not in self.made:  # a tool may take sources of a library
                self.made.add(out)
                self.ninja.build(out, 'cc', '$root/' + source, flags=flags.strip())
            made.append(out)
        return made

    def shared_objects(self, variant):
        """alloc/, flush/ and api/common, which every library takes in."""
        return {name: self.objects(sources, variant, variant)
                for name, sources in (('alloc', ALLOC), ('flush', FLUSH + FLUSH_FOR[self.arch]), ('common', COMMON))}

    def library(self, name, library, variant, parts, own, shared_only, folder):
        """lib<name>.so{,.1,.1.0.0} and lib<name>.a in a folder; the list of them."""
        objects = [o for part in library.get('parts', ['alloc', 'common']) for o in parts[part]] + own
        soname = 'lib%s.so.1' % name
        so_map = '$root/' + library['map']
        real = self.ninja.build('%s/%s.0.0' % (folder, soname), 'shared', objects + shared_only, implicit=[so_map],
                                soname=soname, map=so_map)
        first = self.ninja.build('%s/%s' % (folder, soname), 'symlink', [], implicit=[real], target=soname + '.0.0')
        plain = self.ninja.build('%s/lib%s.so' % (folder, name), 'symlink', [], implicit=[first], target=soname)
        static = self.ninja.build('%s/lib%s.a' % (folder, name), 'static', objects)
        return [real, first, plain, static]

    def libraries(self):
        """All libraries and tools; fills self.products and self.archives (what tests link)."""
        self.products, self.own = [], {}
        for variant in ['release', 'debug'] if self.plain else ['release']:
            self.ninja.section(variant + ' builds')
            parts = self.shared_objects(variant)
            folder = self.b + ('lib' if variant == 'release' else 'lib/pmdk_debug')
            for name, library in LIBRARIES.items():
                if not library['sources']:
                    continue
                own = self.objects(library['sources'], variant, variant, library.get('flags', ''))
                shared_only = self.objects(library.get('shared_sources', []), variant, variant, library.get('flags', ''))
                self.products += self.library(name, library, variant, parts, own, shared_only, folder)
                if variant == 'release':
                    self.own[name] = own + self.objects(library.get('tool_sources', []), variant, variant)
            if variant == 'release':
                self.internal = [self.ninja.build('%sobj/%s.a' % (self.b, part), 'archive', parts[part])
                                 for part in ('common', 'alloc', 'flush') if parts[part]]
        if self.plain:
            for name in DEBUG_FOLDER_NAMES:
                self.products += [self.ninja.build(self.b + 'lib/' + name, 'symlink', [], target='pmdk_debug')]
        self.ninja.section('tools')
        for name, (library, sources) in TOOLS.items():
            objects = self.objects(sources, 'release', 'release') + self.own[library]
            self.products.append(self.ninja.build(self.b + 'bin/' + name, 'link', objects + self.internal, libs=''))

    # -- tests

    def add_test(self, name, kind, argv, skip=None):
        self.manifest.append({'name': name, 'kind': kind, 'argv': argv, 'skip': skip,
                              'timeout': TEST_TIMEOUTS.get(name, TEST_TIMEOUT)})

    def link_of(self, what):
        """Inputs and options that link a library: 'vmem' its .so, 'vmem.a' the static one."""
        if what == '':
            return [], ''
        if what.endswith('.a'):
            return ['%slib/lib%s' % (self.b, what)], ''
        # From tests/, examples/ and tests/programs/.
        return (['%slib/lib%s.so' % (self.b, what)],
                "-Wl,-rpath,'$$ORIGIN/../../lib' -Wl,-rpath,'$$ORIGIN/../lib'")

    def examples(self):
        self.ninja.section('examples')
        self.example_products = []
        for what, names in EXAMPLES.items():
            inputs, libs = self.link_of(what)
            for name in names:
                objects = self.objects(['doc/examples/%s.c' % name], 'tests', 'tests')
                self.example_products.append(self.ninja.build('%sexamples/%s' % (self.b, name), 'link', objects + inputs,
                                                              libs=libs))

    def test_binaries(self):
        """Criterion tests and the programs they start; fills the manifest."""
        self.test_products = []
        self.ninja.section('tests')
        for what, names in TEST_PROGRAMS.items():
            inputs, libs = self.link_of(what)
            for name in names:
                objects = self.objects(['tests/programs/%s.c' % name], 'tests', 'tests')
                self.test_products.append(self.ninja.build('%stests/programs/%s' % (self.b, name), 'link',
                                                           objects + inputs, libs=libs + ' -ldl'))
        support = self.objects(TEST_SUPPORT, 'tests', 'tests')
        self.support = [self.ninja.build(self.b + 'obj/support.a', 'archive', support)]
        fault = self.objects([FAULT_CALLS], 'release', 'release')
        self.test_products.append(self.ninja.build(self.b + 'tests/libfault.so', 'link', fault, libs='-shared -ldl'))
        if self.criterion is None:
            return
        for what, names in TESTS.items():
            for name in names:
                if 'thread' in self.sanitize and not name.startswith('mt_'):
                    continue
                if what == 'preload' and self.sanitize:
                    self.add_test(name, 'criterion', [], 'a library that replaces malloc cannot be preloaded into '
                                  'a program whose sanitizer replaces malloc')
                    continue
                objects = self.objects(['tests/%s.c' % name], 'tests', 'tests')
                objects += fault if name in FAULT_TESTS else []
                own = what.endswith('.own')
                inputs, libs = self.link_of('' if own or what in ('internal', 'preload') else what)
                if own:
                    inputs = self.own[what[:-4]] + self.support + self.internal
                elif what == 'internal':
                    inputs = self.support + self.internal
                out = self.ninja.build('%stests/%s' % (self.b, name), 'link', objects + inputs,
                                       libs='%s %s -lm' % (libs, self.criterion_libs))
                self.test_products.append(out)
                self.add_test(name, 'criterion', [os.path.join(self.builddir, 'tests', name)])

    def fuzz_targets(self):
        if not FUZZ:
            return
        self.ninja.section('fuzz targets')
        products = []
        driver = [] if self.options.fuzz else self.objects([FUZZ_DRIVER], 'tests', 'tests')
        for name in FUZZ:
            objects = self.objects(['fuzz/%s.c' % name], 'tests', 'tests')
            objects += self.own[FUZZ[name]['library']] if 'library' in FUZZ[name] else []
            objects += self.objects(FUZZ[name].get('sources', []), 'release', 'release')
            out = self.ninja.build('%sfuzz/%s' % (self.b, name), 'link', objects + driver + self.support + self.internal,
                                   libs='-fsanitize=fuzzer' if self.options.fuzz else '')
            products.append(out)
            if not self.options.fuzz and 'thread' not in self.sanitize:
                self.add_test('fuzz_' + name, 'script', [os.path.join(self.builddir, 'fuzz', name),
                                                         os.path.join(ROOT, 'fuzz/corpus', name)])
        self.ninja.build('fuzz-targets', 'phony', products)
        self.test_products += products

    def fill(self, command):
        deps = '%s %s/configure.py --install-deps' % (sys.executable, ROOT)
        return command.format(root=ROOT, deps=deps, build=self.builddir, cc=shlex.quote(self.cc), python=sys.executable,
                              libraries=' '.join(built_libraries()), fuzz=' '.join(FUZZ), home=self.home,
                              ninja=shutil.which('ninja') or 'ninja', fuzz_floor=FUZZ_FLOOR,
                              aims=' '.join('%s=%s' % (name, ','.join(FUZZ[name]['aims'] + ['-' + one for one in
                                                                             FUZZ[name].get('not', [])]))
                                            for name in FUZZ),
                              libsources=' '.join(library_sources()), files=' '.join(all_files()))

    def write_manifest(self):
        if self.plain:
            for name, command in CHECKS.items():
                self.add_test(name, 'script', shlex.split(self.fill(command)))
        label = 'default' if self.plain else os.path.basename(self.builddir)
        os.makedirs(self.b or '.', exist_ok=True)
        with open(self.b + 'tests.json', 'w') as out:
            json.dump({'label': label, 'build': self.builddir, 'runner': shlex.split(self.options.runner or ''),
                       'sanitize': self.sanitize, 'tests': self.manifest}, out, indent=1)
            out.write('\n')

    # -- targets

    def targets(self):
        ninja, products = self.ninja, self.products
        ninja.section('targets')
        ninja.build('all', 'phony', products)
        ninja.build('examples', 'phony', self.example_products)
        ninja.build('tests', 'phony', self.test_products + ['all', 'examples'])
        runner = '$python $root/tests/run_tests.py '
        own = self.b + 'tests.json'
        if self.criterion is None:
            runner = 'echo "libcriterion-dev is missing: ./configure.py --install-deps"; false '
        ninja.build('check-quick', 'script', [], implicit=['tests'], cmd=runner + own, what='TEST')
        manifests, done = [own], []
        if self.plain:
            home = self.home
            for name, arguments in CONFIGURATIONS.items():
                done.append(self.sub_configuration(name, home, arguments, 'tests'))
                manifests.append('%s/%s/tests.json' % (home, name))
            self.sub_configuration('coverage', home, ['--coverage'], 'tests')
            self.sub_configuration('fuzz', home, ['--fuzz', '--cc=clang'], 'fuzz-targets')
            if shutil.which('gcovr'):
                ninja.build('coverage', 'script', [], implicit=['configuration-coverage'], what='COVERAGE',
                            cmd='%s --coverage=%d,%d %s/coverage/tests.json' % (runner, *COVERAGE_FLOORS, home))
        ninja.build('check', 'script', [], implicit=['tests'] + done, cmd=runner + ' '.join(manifests), what='TEST')
        if self.plain:
            for name, (needs, command) in SCRIPTS.items():
                ninja.build(name, 'script', [], implicit=needs, cmd=self.fill(command), what=name)
            self.install()
        ninja.text += '\ndefault all\n'

    def sub_configuration(self, name, home, arguments, goal):
        folder = '%s/%s' % (home, name)
        again = [sys.executable, os.path.join(os.path.relpath(ROOT, os.path.abspath(folder)), 'configure.py')] + arguments
        # Not --werror: this configuration has seen every source already, and under instrumentation or at -Og gcc warns
        # of what is not so (its manual says so of -fsanitize).
        if self.options.cc and '--cc=clang' not in arguments:
            again.append('--cc=' + self.options.cc)
        self.ninja.build('configuration-' + name, 'configuration', [], dir=folder, goal=goal,
                         configure=' '.join(shlex.quote(arg) for arg in again).replace('$', '$$'))
        return 'configuration-' + name

    def install(self):
        options = self.options
        prefix = options.prefix
        libdir = options.libdir or prefix + '/lib'
        includedir = options.includedir or prefix + '/include'
        mandir = options.mandir or prefix + '/share/man'
        lines = ['# Written by configure.py: `ninja install` runs it. DESTDIR goes before every path.', 'set -e',
                 'cd ' + shlex.quote(os.getcwd()), 'prefix=' + prefix,
                 'put() { install -D -m "$1" "$2" "$DESTDIR$3"; }',
                 'link() { mkdir -p "$(dirname "$DESTDIR$2")"; ln -sfn "$1" "$DESTDIR$2"; }']

        def put(mode, source, target):
            lines.append('put %s %s %s' % (mode, shlex.quote(source), shlex.quote(target)))

        def link(target, name):
            lines.append('link %s %s' % (target, shlex.quote(name)))

        for name, library in LIBRARIES.items():
            if not library['sources']:
                continue
            for folder in ('', '/pmdk_debug'):
                here, there = '%slib%s/lib%s' % (self.b, folder, name), '%s%s/lib%s' % (libdir, folder, name)
                put(755, here + '.so.1.0.0', there + '.so.1.0.0')
                link('lib%s.so.1.0.0' % name, there + '.so.1')
                link('lib%s.so.1' % name, there + '.so')
                put(644, here + '.a', there + '.a')
            put(644, os.path.join(self.root, library['header']), includedir + '/lib%s.h' % name)
            pc = '%slib%s.pc' % (self.b, name)
            with open(pc, 'w') as out:
                out.write('prefix=%s\nlibdir=%s\nincludedir=%s\n\nName: lib%s\nDescription: %s\nVersion: %s\n'
                          'Libs: -L${libdir} -l%s\nCflags: -I${includedir}\n'
                          % (prefix, libdir.replace(prefix + '/', '${prefix}/', 1),
                             includedir.replace(prefix + '/', '${prefix}/', 1), name, library['description'],
                             library['version'], name))
            put(644, pc, libdir + '/pkgconfig/lib%s.pc' % name)
        for name in DEBUG_FOLDER_NAMES:
            link('pmdk_debug', '%s/%s' % (libdir, name))
        for name in TOOLS:
            put(755, self.b + 'bin/' + name, prefix + '/bin/' + name)
        for page in man_pages():
            put(644, os.path.join(self.root, 'doc/man', page), '%s/man%s/%s' % (mandir, page[-1], page))
        for name in sorted(os.listdir(os.path.join(ROOT, 'doc/examples'))):
            put(644, os.path.join(self.root, 'doc/examples', name), prefix + '/share/doc/pmheap/examples/' + name)
        lines.append('[ -n "$DESTDIR" ] || [ "$(id -u)" != 0 ] || ldconfig')
        with open(self.b + 'install.sh', 'w') as out:
            out.write('\n'.join(lines) + '\n')
        self.ninja.build('install', 'script', [], implicit=['all'], cmd='sh %sinstall.sh' % self.b, what='INSTALL')

    def write(self):
        """build.ninja itself, made again when a file that decides about it changes."""
        inputs = ['$root/configure.py', '$root/build.ninja.in']
        for folder in SOURCE_FOLDERS + ['doc/man']:
            for where, folders, _ in os.walk(os.path.join(ROOT, folder)):
                folders[:] = [name for name in folders if name not in ('corpus', '__pycache__')]
                inputs.append(where)  # the full path: in the tree, `fuzz` is a target
        self.ninja.build('build.ninja', 'configure', [], implicit=inputs)
        for name in sorted(set(inputs)):  # a folder that went away is no error
            self.ninja.build(name, 'phony')
        with open('build.ninja', 'w') as out:
            out.write(self.ninja.text)


def built_libraries():
    return [name for name, library in LIBRARIES.items() if library['sources']]


def library_sources():
    return (ALLOC + FLUSH + FLUSH_FOR['x86_64'] + COMMON +
            [source for library in LIBRARIES.values()
             for source in library['sources'] + library.get('shared_sources', []) + library.get('tool_sources', [])])


def all_files():
    return sorted(os.path.relpath(os.path.join(where, name), ROOT) for folder in SOURCE_FOLDERS
                  for where, _, names in os.walk(os.path.join(ROOT, folder))
                  for name in names if name.endswith(('.c', '.h')))


def man_pages():
    return sorted(name for name in os.listdir(os.path.join(ROOT, 'doc/man')) if re.search(r'\.[1357]$', name))


def main():
    options = parse_options()
    if options.install_deps:
        groups = list(PACKAGES) if options.install_deps == 'all' else options.install_deps.split(',')
        install_deps(groups)
        if options.install_deps != 'build,test':
            return
    check_tables(options.werror)
    configuration = Configuration(options)
    configuration.libraries()
    configuration.examples()
    configuration.test_binaries()
    configuration.fuzz_targets()
    configuration.write_manifest()
    configuration.targets()
    configuration.write()


if __name__ == '__main__':
    main()
