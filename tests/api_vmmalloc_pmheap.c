/* api_vmmalloc_pmheap.c -- pmheap run: what it sets, what it says, its exit status */
#define _GNU_SOURCE
#include "tests/vmmalloc_run.h"

#include <sys/stat.h>

static void
fails(struct outcome *o, int status, const char *words)
{
	assert_status(o, status);
	cr_assert(strncmp(o->err, "pmheap: ", 8) == 0, "%s", o->err);
	assert_in(o->err, words);
	free(o);
}

#define run_pmheap(...) run("-VMMALLOC_POOL_DIR\n-VMMALLOC_POOL_SIZE\n-VMMALLOC_FORK\n", PMHEAP, __VA_ARGS__)

Test(api_vmmalloc_pmheap, program_runs_in_a_pool)
{
	struct outcome *o = run_pmheap("run", "--", PROGRAM("vmmalloc_calls"), "where");

	assert_status(o, 0);
	assert_quiet(o);
	o = run_pmheap("run", PROGRAM("vmmalloc_calls"), "where");
	assert_status(o, 0);
}

Test(api_vmmalloc_pmheap, options_reach_the_program)
{
	struct outcome *o = run_pmheap("run", "-d", "/tmp", "--size=20M", "--fork", "clone", "env");

	assert_status(o, 0);
	assert_in(o->out, "VMMALLOC_POOL_DIR=/tmp\n");
	assert_in(o->out, "VMMALLOC_POOL_SIZE=20971520\n");
	assert_in(o->out, "VMMALLOC_FORK=2\n");
	assert_in(o->out, "/lib/libvmmalloc.so.1\n");
}

Test(api_vmmalloc_pmheap, preload_comes_first)
{
	struct outcome *o = run("LD_PRELOAD=libm.so.6\n", PMHEAP, "run", "-s", "14M", "env");

	assert_status(o, 0);
	assert_in(o->out, "/lib/libvmmalloc.so.1:libm.so.6\n");
}

Test(api_vmmalloc_pmheap, exit_status_is_the_programs)
{
	assert_status(run_pmheap("run", "sh", "-c", "exit 3"), 3);
	assert_status(run_pmheap("run", "sh", "-c", "kill -9 $$"), 128 + 9);
}

Test(api_vmmalloc_pmheap, bad_commands_are_2)
{
	fails(run_pmheap("fly"), 2, "unknown command 'fly'");
	fails(run_pmheap("--fly"), 2, "unknown option '--fly'");
	assert_status(run_in(NULL, "", (char *const[]){PMHEAP, NULL}), 2);
}

Test(api_vmmalloc_pmheap, bad_words_are_125)
{
	fails(run_pmheap("run"), 125, "no program given");
	fails(run_pmheap("run", "--fly", "true"), 125, "unknown option '--fly'");
	fails(run_pmheap("run", "-z", "true"), 125, "unknown option '-z'");
	fails(run_pmheap("run", "-s"), 125, "needs a value");
	fails(run_pmheap("run", "-s", "lots", "true"), 125, "bad size 'lots'");
	fails(run_pmheap("run", "-s", "16Mx", "true"), 125, "bad size '16Mx'");
	fails(run_pmheap("run", "-s", "-16M", "true"), 125, "bad size '-16M'");
	fails(run_pmheap("run", "-s", "1M", "true"), 125, "at least 14M");
	fails(run_pmheap("run", "-s", "1000T", "true"), 125, "does not fit");
	fails(run_pmheap("run", "--fork", "maybe", "true"), 125, "no such fork mode 'maybe'");
	fails(run_pmheap("run", "-d", "/nonexistent", "true"), 125, "No such file or directory");
	fails(run_pmheap("run", "-d", "/etc/passwd", "true"), 125, "Not a directory");
}

/* What the library could only say by ending the program is pmheap's to say. */
Test(api_vmmalloc_pmheap, place_that_takes_no_file_is_125)
{
	struct outcome *o = run_pmheap("run", "-d", "/proc", "-s", "16M", "true");

	assert_in(o->err, "cannot make a pool in '/proc'");
	fails(o, 125, "");
	o = run("", "/bin/sh", "-c", "ulimit -f 8000; exec " PMHEAP " run -s 16M true");
	assert_in(o->err, "File too large");
	fails(o, 125, "cannot make a pool in");
}

Test(api_vmmalloc_pmheap, library_missing_is_said)
{
	fails(run("PMHEAP_LIBDIR=/nonexistent\n", PMHEAP, "run", "true"), 125, "/nonexistent/libvmmalloc.so.1");
}

Test(api_vmmalloc_pmheap, library_folder_from_the_environment)
{
	struct outcome *o = run("PMHEAP_LIBDIR=" TEST_BUILD "/lib\n", PMHEAP, "run", "-s", "14M",
				PROGRAM("vmmalloc_calls"), "where");

	assert_status(o, 0);
}

Test(api_vmmalloc_pmheap, programs_that_cannot_be_run_are_126_and_127)
{
	fails(run_pmheap("run", "/etc/passwd"), 126, "Permission denied");
	fails(run_pmheap("run", "no-such-program"), 127, "No such file or directory");
	fails(run_pmheap("run", "/nonexistent/program"), 127, "No such file or directory");
}

Test(api_vmmalloc_pmheap, setuid_programs_are_warned_of)
{
	if (geteuid() != 0 || !run_have("setpriv"))
		cr_skip_test("needs root and setpriv");
	char *dir = run_temp_dir(), program[300], command[2048];

	snprintf(program, sizeof(program), "%s/true", dir);
	snprintf(command, sizeof(command),
		 "cp /bin/true %s && chmod 755 %s && chown 1 %s && chmod 4755 %s && cp -L " RELEASE_LIB " %s", program,
		 dir, program, program, dir);
	cr_assert(system(command) == 0);
	snprintf(command, sizeof(command), "PMHEAP_LIBDIR=%s\n", dir);
	struct outcome *o = run(command, PMHEAP, "run", "-s", "14M", program);
	assert_in(o->err, "setuid");
	assert_status(o, 0);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	cr_assert(system(command) == 0);
}

Test(api_vmmalloc_pmheap, help_and_version)
{
	struct outcome *o = run_pmheap("--help");

	assert_status(o, 0);
	assert_in(o->out, "run ");
	o = run_pmheap("run", "--help");
	assert_status(o, 0);
	assert_in(o->out, "--fork MODE");
	o = run_pmheap("--version");
	assert_status(o, 0);
	cr_assert_str_eq(o->out, "pmheap 1.1\n");
}
