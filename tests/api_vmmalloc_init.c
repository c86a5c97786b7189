/* api_vmmalloc_init.c -- the environment: messages, their order, what is accepted; the log of the debug build */
#define _GNU_SOURCE
#include "tests/vmmalloc_run.h"

#include <sys/stat.h>

#define NEED_DEBUG()                                                     \
	do {                                                             \
		if (access(DEBUG_LIB, R_OK) != 0)                        \
			cr_skip_test("this configuration has no debug build beside it"); \
	} while (0)

static void
refuses(const char *changes, const char *message)
{
	static const char *const libraries[] = { ENV_RELEASE, ENV_DEBUG };
	char lines[2048], want[512];

	for (int i = 0; i < (access(DEBUG_LIB, R_OK) == 0 ? 2 : 1); i++) {
		snprintf(lines, sizeof(lines), "%s%s", libraries[i], changes);
		snprintf(want, sizeof(want), "Error (libvmmalloc): %s\n", message);
		struct outcome *o = run(lines, "/bin/true");
		assert_status(o, 134);
		assert_err(o, want);
		free(o);
	}
}

static void
accepts(const char *changes)
{
	char lines[2048];

	snprintf(lines, sizeof(lines), "%s%s", ENV_RELEASE, changes);
	struct outcome *o = run(lines, PROGRAM("vmmalloc_calls"), "where");
	assert_status(o, 0);
	assert_quiet(o);
	free(o);
}

Test(api_vmmalloc_init, pool_dir_unset)
{
	refuses("-VMMALLOC_POOL_DIR\n", "environment variable VMMALLOC_POOL_DIR not specified");
	refuses("-VMMALLOC_POOL_DIR\n-VMMALLOC_POOL_SIZE\n", "environment variable VMMALLOC_POOL_DIR not specified");
}

Test(api_vmmalloc_init, pool_size_unset)
{
	refuses("-VMMALLOC_POOL_SIZE\nVMMALLOC_FORK=9\n", "environment variable VMMALLOC_POOL_SIZE not specified");
}

Test(api_vmmalloc_init, pool_size_negative)
{
	refuses("VMMALLOC_POOL_SIZE=-1\nVMMALLOC_FORK=9\n", "negative VMMALLOC_POOL_SIZE");
	refuses("VMMALLOC_POOL_SIZE=-16M\n", "negative VMMALLOC_POOL_SIZE");
}

#define TOO_SMALL(n) "VMMALLOC_POOL_SIZE value is less than minimum (" n " < 14680064)"

Test(api_vmmalloc_init, pool_size_too_small)
{
	refuses("VMMALLOC_POOL_SIZE=1048576\nVMMALLOC_FORK=9\n", TOO_SMALL("1048576"));
	refuses("VMMALLOC_POOL_SIZE=14680063\n", TOO_SMALL("14680063"));
	refuses("VMMALLOC_POOL_SIZE=13M\n", TOO_SMALL("13631488"));
	refuses("VMMALLOC_POOL_SIZE=0\n", TOO_SMALL("0"));
	accepts("VMMALLOC_POOL_SIZE=14680064\n");
}

/* The published library took what it could read. */
Test(api_vmmalloc_init, pool_size_with_junk_counts_as_none)
{
	static const char *const junk[] = { "", "abc", "0x1000000", "16777216abc", "16M6", "16 M", "16MM", "16iB", "1e9", " ", "-" };

	for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
		char lines[128];

		snprintf(lines, sizeof(lines), "VMMALLOC_POOL_SIZE=%s\n", junk[i]);
		refuses(lines, TOO_SMALL("0"));
	}
}

Test(api_vmmalloc_init, pool_size_with_suffix)
{
	static const char *const sizes[] = { "16M", "16m", "16MB", "16MiB", "20000K", "20000kB", "1G", "1GiB", " \t16777216", "+16M" };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char lines[128];

		snprintf(lines, sizeof(lines), "VMMALLOC_POOL_SIZE=%s\n", sizes[i]);
		accepts(lines);
	}
}

Test(api_vmmalloc_init, pool_size_beyond_all_bounds)
{
	refuses("VMMALLOC_POOL_SIZE=9223372036854775807\n", "vmem pool creation failed: Invalid argument");
	refuses("VMMALLOC_POOL_SIZE=99999999999999999999999\n", "vmem pool creation failed: Invalid argument");
	refuses("VMMALLOC_POOL_SIZE=9999999T\n", "vmem pool creation failed: Invalid argument");
}

Test(api_vmmalloc_init, pool_size_beyond_the_file_system)
{
	refuses("VMMALLOC_POOL_SIZE=1000T\n", "vmem pool creation failed: No space left on device");
}

Test(api_vmmalloc_init, fork_mode_bad)
{
	refuses("VMMALLOC_FORK=4\nVMMALLOC_POOL_DIR=/nonexistent\n", "incorrect VMMALLOC_FORK value (4)");
	refuses("VMMALLOC_FORK=-1\n", "incorrect VMMALLOC_FORK value (-1)");
	refuses("VMMALLOC_FORK=1x\n", "incorrect VMMALLOC_FORK value (1x)");
	refuses("VMMALLOC_FORK=abc\n", "incorrect VMMALLOC_FORK value (abc)");
	refuses("VMMALLOC_FORK=\n", "incorrect VMMALLOC_FORK value ()");
}

Test(api_vmmalloc_init, fork_modes_good)
{
	accepts("VMMALLOC_FORK=0\n");
	accepts("VMMALLOC_FORK=1\n");
	accepts("VMMALLOC_FORK=2\n");
	accepts("VMMALLOC_FORK=3\n");
}

Test(api_vmmalloc_init, pool_dir_bad)
{
	refuses("VMMALLOC_POOL_DIR=/nonexistent\n", "vmem pool creation failed: No such file or directory");
	refuses("VMMALLOC_POOL_DIR=\n", "vmem pool creation failed: No such file or directory");
	refuses("VMMALLOC_POOL_DIR=/etc/passwd\n", "vmem pool creation failed: Not a directory");
	refuses("VMMALLOC_POOL_DIR=/proc\n", "vmem pool creation failed: No such file or directory");
}

Test(api_vmmalloc_init, pool_dir_relative_and_strange)
{
	char *dir = run_temp_dir(), name[300], lines[400];

	snprintf(name, sizeof(name), "%s/\xc4\x85 \xe6\xb1\xa0", dir);
	cr_assert(mkdir(name, 0700) == 0);
	snprintf(lines, sizeof(lines), "VMMALLOC_POOL_DIR=%s\n", name);
	accepts(lines);
	snprintf(lines, sizeof(lines), ENV_RELEASE "VMMALLOC_POOL_DIR=./\xc4\x85 \xe6\xb1\xa0\n");
	struct outcome *o = run_in(dir, lines, (char *const[]){ PROGRAM("vmmalloc_calls"), "where", NULL });
	assert_status(o, 0);
	cr_assert(rmdir(name) == 0 && rmdir(dir) == 0, "nothing may be left behind");
}

Test(api_vmmalloc_init, options_of_the_published_allocator_are_ignored)
{
	accepts("JE_VMEM_MALLOC_CONF=narenas:64\n");
}

Test(api_vmmalloc_init, release_ignores_log_variables)
{
#ifdef PMHEAP_DEBUG
	cr_skip_test("this configuration builds debug libraries only");
#endif
	accepts("VMMALLOC_LOG_LEVEL=4\nVMMALLOC_LOG_STATS=1\nVMMALLOC_LOG_FILE=/nonexistent/log\n");
}

/* --- debug build ------------------------------------------------------------------------------------------------ */

static char *dir, log_path[300];

static struct outcome *
logged(const char *changes, char *program, char *first)
{
	char lines[2048];

	dir = run_temp_dir();
	snprintf(log_path, sizeof(log_path), "%s/log", dir);
	snprintf(lines, sizeof(lines), "%sVMMALLOC_LOG_FILE=%s\n%s", ENV_DEBUG, log_path, changes);
	return run(lines, program, first);
}

static void
remove_log(void)
{
	unlink(log_path);
	cr_assert(rmdir(dir) == 0);
}

static int
count_of(const char *text, const char *part)
{
	int n = 0;

	for (const char *s = strstr(text, part); s != NULL; s = strstr(s + 1, part))
		n++;
	return n;
}

Test(api_vmmalloc_init, debug_log_shows_each_call_once)
{
	NEED_DEBUG();
	struct outcome *o = logged("VMMALLOC_LOG_LEVEL=4\n", PROGRAM("vmmalloc_calls"), "malloc_4321");
	char *text = run_file(log_path);

	assert_status(o, 0);
	cr_assert_eq(count_of(text, "malloc] size 4321\n"), 1, "%s", text);
	cr_assert_eq(count_of(text, "size 4321"), 1);
	assert_in(text, "<libvmmalloc>: <1> [out.c:");
	assert_in(text, " out_init] pid ");
	assert_in(text, " out_init] libvmmalloc version 1.1\n");
	assert_in(text, "<libvmmalloc>: <2> [init.c:");
	assert_in(text, "] initialization completed\n");
	assert_in(text, "<libvmmalloc>: <4> [malloc.c:");
	assert_in(text, " free] ptr 0x");
	assert_quiet(o);
	remove_log();
}

Test(api_vmmalloc_init, debug_log_has_the_published_words)
{
	NEED_DEBUG();
	struct outcome *o = logged("VMMALLOC_LOG_LEVEL=4\n", PROGRAM("vmmalloc_calls"), "realloc");
	char *text = run_file(log_path);

	assert_status(o, 0);
	assert_in(text, "realloc] ptr 0x0, size 4\n");
	remove_log();
	o = logged("VMMALLOC_LOG_LEVEL=4\n", PROGRAM("vmmalloc_calls"), "memalign");
	text = run_file(log_path);
	assert_in(text, "memalign] boundary 4194304  size 4\n");
	remove_log();
	o = logged("VMMALLOC_LOG_LEVEL=4\n", PROGRAM("vmmalloc_calls"), "calloc");
	text = run_file(log_path);
	assert_in(text, "calloc] nmemb 1, size 3584\n");
	remove_log();
}

Test(api_vmmalloc_init, debug_errors_go_to_the_log_file)
{
	NEED_DEBUG();
	struct outcome *o = logged("VMMALLOC_LOG_LEVEL=3\n-VMMALLOC_POOL_DIR\n", "/bin/true", NULL);

	assert_status(o, 134);
	assert_quiet(o);
	assert_in(run_file(log_path), "Error (libvmmalloc): environment variable VMMALLOC_POOL_DIR not specified\n");
	remove_log();
	o = logged("VMMALLOC_LOG_LEVEL=3\nVMMALLOC_POOL_DIR=/nonexistent\n", "/bin/true", NULL);
	assert_status(o, 134);
	assert_in(run_file(log_path), "util_tmpfile] open: No such file or directory\n");
	remove_log();
}

Test(api_vmmalloc_init, debug_log_file_that_cannot_be_opened)
{
	NEED_DEBUG();
	struct outcome *o = run(ENV_DEBUG "VMMALLOC_LOG_FILE=/nonexistent/log\n-VMMALLOC_POOL_DIR\n", "/bin/true");

	assert_status(o, 134);
	assert_err(o, "Error (libvmmalloc): VMMALLOC_LOG_FILE=/nonexistent/log: No such file or directory\n");
}

/* A name that ends in '-' gets the process number; a forked child's log is its own. */
Test(api_vmmalloc_init, debug_log_file_per_process)
{
	NEED_DEBUG();
	if (!run_have("python3"))
		cr_skip_test("no python3");
	char lines[1024], path[400], command[500];

	dir = run_temp_dir();
	snprintf(lines, sizeof(lines), "%sVMMALLOC_POOL_SIZE=128M\nVMMALLOC_LOG_LEVEL=2\nVMMALLOC_LOG_FILE=%s/log-\n", ENV_DEBUG, dir);
	struct outcome *o = run(lines, "python3", "-c",
				"import os; p = os.fork(); p and (os.waitpid(p, 0), print(p, flush=True)); os._exit(0)");
	assert_status(o, 0);
	snprintf(path, sizeof(path), "%s/log-%d", dir, o->pid);
	assert_in(run_file(path), "initialization completed");
	cr_assert_eq(count_of(run_file(path), "out_init] pid"), 1);
	snprintf(path, sizeof(path), "%s/log-%d", dir, atoi(o->out));
	assert_in(run_file(path), "out_init] pid");
	snprintf(command, sizeof(command), "rm -r %s", dir);
	cr_assert(system(command) == 0);
}

Test(api_vmmalloc_init, debug_statistics_at_exit)
{
	NEED_DEBUG();
	struct outcome *o = logged("VMMALLOC_LOG_STATS=1\n", PROGRAM("vmmalloc_calls"), "malloc_4321");
	char *text = run_file(log_path);

	assert_status(o, 0);
	assert_in(text, "\n=========   system heap  ========\n");
	assert_in(text, "\n=========    vmem pool   ========\n");
	assert_in(text, "Allocated: ");
	/* of the pool, the parts that `gba` leaves */
	char *pool = strstr(text, "vmem pool");
	assert_in(pool, "\nMerged arenas stats:\n");
	assert_in(pool, "\nlarge:   size pages");
	cr_assert(strstr(pool, "arenas[0]") == NULL && strstr(pool, "bins:") == NULL && strstr(pool, "opt.") == NULL);
	remove_log();
	o = logged("VMMALLOC_LOG_STATS=2\n", PROGRAM("vmmalloc_calls"), "malloc_4321");
	cr_assert(strstr(run_file(log_path), "system heap") == NULL);
	remove_log();
}

/* --- start-up --------------------------------------------------------------------------------------------------- */

Test(api_vmmalloc_init, setuid_programs_take_nothing_from_the_environment)
{
	if (geteuid() != 0 || !run_have("setpriv"))
		cr_skip_test("needs root and setpriv");
	char *place = run_temp_dir(), program[300], command[2048];

	snprintf(program, sizeof(program), "%s/program", place);
	/* linked with the library, and owned by root: started by another user it runs with AT_SECURE set */
	snprintf(command, sizeof(command),
		 "cp -L " RELEASE_LIB " %s/ && echo 'int main(void) { return 0; }' | " TEST_CC
		 " -x c - -x none -o %s -Wl,--no-as-needed %s/libvmmalloc.so.1 -Wl,-rpath,%s && chmod 755 %s && chmod 4755 %s",
		 place, program, place, place, place, program);
	cr_assert(system(command) == 0);
	struct outcome *o = run(ENV_RELEASE "-LD_PRELOAD\n", program);
	assert_status(o, 0);
	o = run(ENV_RELEASE "-LD_PRELOAD\n", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program);
	snprintf(command, sizeof(command), "rm -r %s", place);
	cr_assert(system(command) == 0);
	if (strstr(o->err, "error while loading") != NULL)
		cr_skip_test("this system gives setuid programs no library from here");
	assert_status(o, 134);
	assert_err(o, "Error (libvmmalloc): environment variable VMMALLOC_POOL_DIR not specified\n");
}

/* The start is a few system calls, whatever the size of the pool. */
Test(api_vmmalloc_init, a_huge_pool_costs_no_more_system_calls)
{
	if (!run_have("strace"))
		cr_skip_test("no strace");
	int calls[2];
	static const char *const sizes[] = { "14M", "8G" };

	for (int i = 0; i < 2; i++) {
		char lines[1024];

		snprintf(lines, sizeof(lines), "%s-LD_PRELOAD\nVMMALLOC_POOL_SIZE=%s\n", ENV_RELEASE, sizes[i]);
		struct outcome *o = run(lines, "strace", "-E", "LD_PRELOAD=" RELEASE_LIB, "/bin/true");
		if (strstr(o->err, "ptrace") != NULL)
			cr_skip_test("strace may not trace here");
		assert_status(o, 0);
		calls[i] = count_of(o->err, "\n");
		cr_assert(strstr(o->err, "/proc/self/maps") == NULL);
		free(o);
	}
	cr_assert_leq(abs(calls[0] - calls[1]), 3);
}
