#!/usr/bin/env python3
"""`ninja install` lays out what the README promises, and a program builds against it with pkg-config and runs.

usage: check_install.py ROOT BUILD CC LIBRARY...
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile

PROGRAMS = {
    'vmem': r'''
#include <libvmem.h>
#include <stdio.h>
int main(void)
{
	VMEM *pool = vmem_create("/tmp", VMEM_MIN_POOL);
	char *text = pool ? vmem_strdup(pool, "a string in a pool") : NULL;
	if (!text) {
		puts(vmem_errormsg());
		return 1;
	}
	puts(text);
	vmem_delete(pool);
	return 0;
}''',
    'vmmalloc': r'''
#include <libvmmalloc.h>
#include <stdio.h>
#include <string.h>
int main(void)
{
	char *text = malloc(100);
	strcpy(text, "a string in a pool");
	puts(text);
	free(text);
	return malloc_usable_size(NULL) != 0;
}''',
    'pmemcto': r'''
#include <libpmemcto.h>
#include <stdio.h>
#include <unistd.h>
int main(void)
{
	char path[64];
	PMEMctopool *pool;
	snprintf(path, sizeof(path), "/tmp/check_install.%d", (int)getpid());
	pool = pmemcto_create(path, "text", PMEMCTO_MIN_POOL, 0600);
	if (pool) {
		pmemcto_set_root_pointer(pool, pmemcto_strdup(pool, "a string in a pool"));
		pmemcto_close(pool);
		pool = pmemcto_open(path, "text");
	}
	remove(path);
	puts(pool ? (char *)pmemcto_get_root_pointer(pool) : pmemcto_errormsg());
	return pool == NULL;
}''',
    'pmem': r'''
#include <libpmem.h>
#include <stdio.h>
#include <string.h>
int main(void)
{
	char to[32] = "";
	pmem_memcpy_persist(to, "a string made persistent", 25);
	puts(to);
	return pmem_check_version(PMEM_MAJOR_VERSION, PMEM_MINOR_VERSION) != NULL;
}''',
}

failed = passed = 0


def check(name, good, text=''):
    global failed, passed
    if good:
        passed += 1
    else:
        failed += 1
        print('%s: %s' % (name, text))


def run(argv, **options):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, **options)


def main():
    root, build, cc, libraries = sys.argv[1], sys.argv[2], shlex.split(sys.argv[3]), sys.argv[4:]
    with tempfile.TemporaryDirectory() as place:
        done = run(['sh', os.path.join(build, 'install.sh')], env=dict(os.environ, DESTDIR=place))
        check('install', done.returncode == 0, done.stdout)
        prefix = place + prefix_of(build)
        for library in libraries:
            for folder in ('lib', 'lib/pmdk_debug', 'lib/nvml_debug'):
                base = '%s/%s/lib%s' % (prefix, folder, library)
                for link, target in (('.so', '.so.1'), ('.so.1', '.so.1.0.0')):
                    check(base + link, os.path.islink(base + link) and
                          os.readlink(base + link) == 'lib%s%s' % (library, target), 'is no link to ' + target)
                check(base + '.so.1.0.0', os.path.isfile(base + '.so.1.0.0'), 'is missing')
                check(base + '.a', os.path.isfile(base + '.a'), 'is missing')
        check('nvml_debug', os.path.islink(prefix + '/lib/nvml_debug') and
              os.readlink(prefix + '/lib/nvml_debug') == 'pmdk_debug', 'is no link to pmdk_debug')
        for page in os.listdir(root + '/doc/man'):
            check(page, os.path.isfile('%s/share/man/man%s/%s' % (prefix, page[-1], page)), 'is not installed')
        if 'vmmalloc' in libraries:
            done = run([prefix + '/bin/pmheap', '--help'])
            check('pmheap --help', done.returncode == 0 and 'run' in done.stdout, done.stdout)
        environment = dict(os.environ, PKG_CONFIG_PATH=prefix + '/lib/pkgconfig', VMMALLOC_POOL_DIR='/tmp',
                           VMMALLOC_POOL_SIZE=str(64 << 20))
        for library in libraries:
            source, program = '%s/%s.c' % (place, library), '%s/%s' % (place, library)
            with open(source, 'w') as out:
                out.write(PROGRAMS[library])
            # The prefix in the .pc file is the final one; pkg-config looks below DESTDIR when told its new prefix.
            flags = run(['pkg-config', '--define-variable=prefix=' + prefix, '--cflags', '--libs', 'lib' + library],
                        env=environment)
            check('pkg-config lib' + library, flags.returncode == 0, flags.stdout)
            done = run(cc + ['-std=c99', '-Wall', '-Werror', source, '-o', program] + flags.stdout.split())
            check('compile for lib' + library, done.returncode == 0, done.stdout)
            for folder in ('lib', 'lib/pmdk_debug'):
                done = run([program], env=dict(environment, LD_LIBRARY_PATH='%s/%s' % (prefix, folder)))
                check('%s with lib%s' % (folder, library), done.returncode == 0 and 'a string' in done.stdout,
                      'status %d: %s' % (done.returncode, done.stdout))
            static = run(cc + ['-std=c99', source, '-o', program, '-I%s/include' % prefix,
                               '%s/lib/lib%s.a' % (prefix, library), '-pthread'])
            check('compile with lib%s.a' % library, static.returncode == 0, static.stdout)
            done = run([program], env=environment)
            check('run with lib%s.a' % library, done.returncode == 0 and 'a string' in done.stdout,
                  'status %d: %s' % (done.returncode, done.stdout))
    print('%d passed, %d failed' % (passed, failed))
    sys.exit(1 if failed else 0)


def prefix_of(build):
    with open(build + '/install.sh') as stream:
        return next(line.split('=')[1].strip() for line in stream if line.startswith('prefix='))


if __name__ == '__main__':
    if not shutil.which('pkg-config'):
        print('pkg-config is not installed')
        sys.exit(77)
    main()
