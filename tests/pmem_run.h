/* pmem_run.h -- starts a program with an environment, and keeps what it said; private views of sysfs */
#ifndef TESTS_PMEM_RUN_H
#define TESTS_PMEM_RUN_H

#include <criterion/criterion.h>

#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define PMEM_RELEASE TEST_BUILD "/lib"
#define PMEM_DEBUG TEST_BUILD "/lib/pmdk_debug"
#define PMEM_CALLS TEST_BUILD "/tests/programs/pmem_calls"

struct pmem_run {
	int status; /* exit status, or 128 + signal */
	int pid;
	char out[1 << 15], err[1 << 16];
};

/* Where the debug build is not made (sanitizers) its tests are skipped. */
static inline void
need_debug_build(void)
{
	if (access(PMEM_DEBUG "/libpmem.so.1", F_OK) != 0)
		cr_skip_test("this configuration has no debug build");
}

/* Sees to it that `path` shows the folder `with` in this process and its children only; false: not allowed here. */
static inline bool
pmem_run_bind(const char *with, const char *path)
{
	return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		mount(with, path, NULL, MS_BIND, NULL) == 0;
}

/* Runs argv (NULL ends) with the environment of this process and the NAME=value strings of `env` (NULL, or NULL ends). */
static inline const struct pmem_run *
pmem_run_in(const char *libdir, const char *const env[], const char *const argv[])
{
	static struct pmem_run run;
	FILE *out = tmpfile(), *err = tmpfile();
	int status;

	cr_assert(out != NULL && err != NULL);
	memset(&run, 0, sizeof(run));
	fflush(NULL);
	run.pid = fork();
	if (run.pid == 0) {
		dup2(fileno(out), 1);
		dup2(fileno(err), 2);
		setenv("LD_LIBRARY_PATH", libdir, 1);
		for (int i = 0; env != NULL && env[i] != NULL; i++)
			putenv(strdup(env[i]));
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	cr_assert_eq(waitpid(run.pid, &status, 0), run.pid);
	run.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	cr_assert_geq(pread(fileno(out), run.out, sizeof(run.out) - 1, 0), 0);
	cr_assert_geq(pread(fileno(err), run.err, sizeof(run.err) - 1, 0), 0);
	fclose(out);
	fclose(err);
	return &run;
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define pmem_run(libdir, env, ...) pmem_run_in(libdir, env, LIST(PMEM_CALLS, __VA_ARGS__))

#endif
