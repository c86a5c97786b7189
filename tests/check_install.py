#!/usr/bin/env python3
"""`ninja install` lays out what the README promises, and programs build against it with pkg-config and run: one per
library, that of libpmemcto(7) twice to find what it kept, and the installed examples.

usage: check_install.py ROOT BUILD CC LIBRARY...
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import check_man  # noqa: E402  (takes examples out of pages)

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
    with open(root + '/doc/man/libpmemcto.7') as page:
        PROGRAMS['pmemcto'] = check_man.examples(page.read())[0]
    with tempfile.TemporaryDirectory() as place:
        done = run(['sh', os.path.join(build, 'install.sh')], env=dict(os.environ, DESTDIR=place))
        check('install', done.returncode == 0, done.stdout)
        prefix = place + prefix_of(build)
        for library in libraries:
            for folder in ('lib', 'lib/pmdk_debug', 'lib/nvml_debug', 'lib/pmdk_dbg'):
                base = '%s/%s/lib%s' % (prefix, folder, library)
                for link, target in (('.so', '.so.1'), ('.so.1', '.so.1.0.0')):
                    check(base + link, os.path.islink(base + link) and
                          os.readlink(base + link) == 'lib%s%s' % (library, target), 'is no link to ' + target)
                check(base + '.so.1.0.0', os.path.isfile(base + '.so.1.0.0'), 'is missing')
                check(base + '.a', os.path.isfile(base + '.a'), 'is missing')
        for link in ('nvml_debug', 'pmdk_dbg'):
            check(link, os.path.islink('%s/lib/%s' % (prefix, link)) and
                  os.readlink('%s/lib/%s' % (prefix, link)) == 'pmdk_debug', 'is no link to pmdk_debug')
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
            os.mkdir(program + '.d')
            # The prefix in the .pc file is the final one; pkg-config looks below DESTDIR when told its new prefix.
            flags = run(['pkg-config', '--define-variable=prefix=' + prefix, '--cflags', '--libs', 'lib' + library],
                        env=environment)
            check('pkg-config lib' + library, flags.returncode == 0, flags.stdout)
            done = run(cc + ['-std=c99', '-Wall', '-Werror', source, '-o', program] + flags.stdout.split())
            check('compile for lib' + library, done.returncode == 0, done.stdout)
            words = ['a string'] * 3 if library != 'pmemcto' else ['stored\n', 'run 2 found "Hello World!"\n', 'run 3 found']
            for folder, said in zip(('lib', 'lib/pmdk_debug'), words):
                done = run([program], env=dict(environment, LD_LIBRARY_PATH='%s/%s' % (prefix, folder)), cwd=program + '.d')
                check('%s with lib%s' % (folder, library), done.returncode == 0 and said in done.stdout,
                      'status %d: %s' % (done.returncode, done.stdout))
            static = run(cc + ['-std=c99', source, '-o', program, '-I%s/include' % prefix,
                               '%s/lib/lib%s.a' % (prefix, library), '-pthread'])
            check('compile with lib%s.a' % library, static.returncode == 0, static.stdout)
            done = run([program], env=environment, cwd=program + '.d')
            check('run with lib%s.a' % library, done.returncode == 0 and words[2] in done.stdout,
                  'status %d: %s' % (done.returncode, done.stdout))
        examples = prefix + '/share/doc/pmheap/examples'
        for name in sorted(os.listdir(root + '/doc/examples')):
            check(name, os.path.isfile('%s/%s' % (examples, name)), 'is not installed')
            if not name.endswith('.c'):
                continue
            with open('%s/doc/examples/%s' % (root, name)) as stream:
                text = stream.read()
            check(name, name != 'hello.c' or PROGRAMS['pmemcto'] in text, 'is not the program of libpmemcto(7)')
            # The line that its comment ends in, with the settings of this prefix.
            line = re.search(r'^ \* cc (.*)$', text, re.M)
            check(name, line is not None, 'does not say how to compile it')
            command = line.group(1).replace('pkg-config', 'pkg-config --define-variable=prefix=' + shlex.quote(prefix))
            done = run(['sh', '-c', 'cd %s && %s -std=c99 -Wall -Wextra -Wpedantic -Werror %s'
                        % (shlex.quote(examples), sys.argv[3], command)], env=environment)
            check('compile ' + name, done.returncode == 0, done.stdout)
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
