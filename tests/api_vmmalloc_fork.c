/* api_vmmalloc_fork.c -- VMMALLOC_FORK: processes keep their own data, whatever the program did before the fork */
#define _GNU_SOURCE
#include "tests/vmmalloc_run.h"

#include <sys/stat.h>

#define POOL "VMMALLOC_POOL_SIZE=64M\n"
#define MODE(n) ENV_RELEASE POOL "VMMALLOC_FORK=" #n "\n"

static const char *const modes[] = { MODE(1), MODE(2), MODE(3) };

static void
holds_in_all_modes(char *name, char *first, char *second)
{
	for (int i = 0; i < 3; i++) {
		struct outcome *o = run(modes[i], PROGRAM("vmmalloc_fork"), name, first, second);

		cr_assert(o->status == 0, "mode %d, exit status %d: %s", i + 1, o->status, o->err);
		assert_quiet(o);
		free(o);
	}
}

Test(api_vmmalloc_fork, tree_of_processes_with_threads)
{
	holds_in_all_modes("c", "4", "2");
}

Test(api_vmmalloc_fork, tree_of_processes_without_the_library)
{
	struct outcome *o = run("-LD_PRELOAD\n", PROGRAM("vmmalloc_fork"), "c", "4", "2");

	assert_status(o, 0);
}

Test(api_vmmalloc_fork, exec)
{
	for (int i = 0; i < 3; i++) {
		struct outcome *o = run(modes[i], PROGRAM("vmmalloc_fork"), "e");

		assert_status(o, 0);
		cr_assert_str_eq(o->out, "executed\n");
	}
}

Test(api_vmmalloc_fork, exec_in_mode_0)
{
	struct outcome *o = run(MODE(0), PROGRAM("vmmalloc_fork"), "e");

	assert_status(o, 0);
	cr_assert_str_eq(o->out, "executed\n");
}

Test(api_vmmalloc_fork, parent_and_child_do_not_see_each_other)
{
	holds_in_all_modes("isolation", NULL, NULL);
}

Test(api_vmmalloc_fork, descriptors_all_closed)
{
	holds_in_all_modes("closed", NULL, NULL);
}

/* Without privilege the file cannot be reached any more: the copy is made from memory. */
Test(api_vmmalloc_fork, descriptors_all_closed_without_privilege)
{
	if (geteuid() != 0 || !run_have("setpriv"))
		cr_skip_test("needs root and setpriv");
	char *dir = run_temp_dir(), library[300], program[300], environment[600], command[900];

	cr_assert(chmod(dir, 01777) == 0);
	snprintf(library, sizeof(library), "%s/libvmmalloc.so.1", dir);
	snprintf(program, sizeof(program), "%s/program", dir);
	snprintf(command, sizeof(command), "cp -L " RELEASE_LIB " %s && cp " PROGRAM("vmmalloc_fork") " %s", library, program);
	cr_assert(system(command) == 0);
	for (int mode = 1; mode <= 3; mode++) {
		for (int i = 0; i < 2; i++) {
			snprintf(environment, sizeof(environment),
				 "LD_PRELOAD=%s\nVMMALLOC_POOL_DIR=%s\nVMMALLOC_POOL_SIZE=64M\nVMMALLOC_FORK=%d\n", library, dir, mode);
			struct outcome *o = run_in("/", environment, (char *const[]){ "setpriv", "--reuid=65534", "--regid=65534",
				"--clear-groups", program, i == 0 ? "closed" : "reused", NULL });
			cr_assert(o->status == 0, "mode %d, exit status %d: %s", mode, o->status, o->err);
		}
	}
	unlink(library);
	unlink(program);
	cr_assert(rmdir(dir) == 0);
}

Test(api_vmmalloc_fork, descriptor_numbers_reused)
{
	holds_in_all_modes("reused", NULL, NULL);
}

/* The clone goes to where the pool is, not to where the program went. */
Test(api_vmmalloc_fork, relative_directory_and_chdir)
{
	char *dir = run_temp_dir();

	for (int i = 0; i < 3; i++) {
		char environment[1024];

		snprintf(environment, sizeof(environment), "%sVMMALLOC_POOL_DIR=.\n", modes[i]);
		struct outcome *o = run_in(dir, environment,
					   (char *const[]){ PROGRAM("vmmalloc_fork"), "chdir", "/proc/self", NULL });
		assert_status(o, 0);
		assert_quiet(o);
	}
	cr_assert(rmdir(dir) == 0);
}

Test(api_vmmalloc_fork, hundreds_of_forks_leak_nothing)
{
	holds_in_all_modes("many", NULL, NULL);
}

Test(api_vmmalloc_fork, threads_that_fork_and_threads_that_allocate)
{
	holds_in_all_modes("forkers", NULL, NULL);
}

Test(api_vmmalloc_fork, handlers_of_the_program_may_allocate)
{
	holds_in_all_modes("handlers", NULL, NULL);
}

Test(api_vmmalloc_fork, errno_is_the_programs)
{
	holds_in_all_modes("errno", NULL, NULL);
}

Test(api_vmmalloc_fork, a_thread_about_to_be_cancelled_comes_out_of_fork)
{
	holds_in_all_modes("cancelled", NULL, NULL);
}

Test(api_vmmalloc_fork, clone_costs_what_is_in_use)
{
	for (int i = 1; i < 3; i++) {
		char environment[1024];

		snprintf(environment, sizeof(environment), "%sVMMALLOC_POOL_SIZE=128M\n", modes[i]);
		struct outcome *o = run(environment, PROGRAM("vmmalloc_fork"), "clone_size");
		assert_status(o, 0);
	}
}

/* The directory is gone at the fork: no clone can be made there. */
static struct outcome *
fork_without_directory(const char *environment)
{
	char *dir = run_temp_dir(), lines[1024], script[512];

	snprintf(lines, sizeof(lines), "%sVMMALLOC_POOL_DIR=%s\n", environment, dir);
	snprintf(script, sizeof(script), "import os; os.rmdir('%s'); p = os.fork(); p and os.waitpid(p, 0); print('ok', flush=True)",
		 dir);
	struct outcome *o = run(lines, "python3", "-c", script);
	rmdir(dir);
	return o;
}

Test(api_vmmalloc_fork, mode_2_stops_when_no_clone_can_be_made)
{
	if (!run_have("python3"))
		cr_skip_test("no python3");
	struct outcome *o = fork_without_directory(MODE(2));

	assert_status(o, 134);
	assert_err(o, "Error (libvmmalloc): pool cloning failed\n");
}

Test(api_vmmalloc_fork, mode_3_goes_private_when_no_clone_can_be_made)
{
	if (!run_have("python3"))
		cr_skip_test("no python3");
	struct outcome *o = fork_without_directory(MODE(3));

	assert_status(o, 0);
	cr_assert_str_eq(o->out, "ok\nok\n");
}
