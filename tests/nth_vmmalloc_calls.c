/* nth_vmmalloc_calls.c -- a program on libvmmalloc, from its start over a fork to its end, when a system call fails
 *
 * tests/libfault.so is preloaded before the library and fails one call of the program's life, in it or in its child, until
 * there is none left to fail. Whatever happens is one of what libvmmalloc(7) promises: all goes well, malloc says ENOMEM, or
 * the process ends with the library's line on stderr. Nothing stays in the pool's folder.
 */
#define _GNU_SOURCE
#include "tests/fault_calls.h"
#include "tests/vmmalloc_run.h"

#include <fcntl.h>
#include <signal.h>

static unsigned
each_call(const char *mode)
{
	unsigned points = 0, outcomes[256] = {0};
	char *folder = run_temp_dir(), environment[1024], failed[64] = "";

	for (int n = 0; n == 0 || failed[0] != '\0'; n++) {
		int tell = memfd_create("tell", 0), tell_in_child = 200;
		struct outcome *o;

		/* run_in() closes what is below 256: a name for it that stays open is found through /proc by neither side */
		cr_assert_geq(tell, 0);
		tell_in_child = fcntl(tell, F_DUPFD, 300);
		cr_assert_geq(tell_in_child, 300);
		snprintf(environment, sizeof(environment),
			 "LD_PRELOAD=%s "
			 "%s\nVMMALLOC_POOL_DIR=%s\nVMMALLOC_POOL_SIZE=16777216\nVMMALLOC_FORK=%s\n" FAULT_AT
			 "=%d\n" FAULT_TELL "=%d\n",
			 TEST_BUILD "/tests/libfault.so", RELEASE_LIB, folder, mode, n, tell_in_child);
		o = run(environment, PROGRAM("fault_fork"), strcmp(mode, "0") == 0 ? "look" : NULL);
		close(tell_in_child);
		memset(failed, 0, sizeof(failed));
		cr_assert_geq(pread(tell, failed, sizeof(failed) - 1, 0), 0);
		close(tell);
		points += failed[0] != '\0';
		outcomes[o->status & 255]++;
		cr_expect(o->status == 0 || o->status == 3 || o->status == 4 || o->status == 128 + SIGABRT,
			  "mode %s, call %d, %s: status %d\n%s", mode, n, failed, o->status, o->err);
		if (o->status == 4 || o->status == 128 + SIGABRT)
			cr_expect(strncmp(o->err, "Error (libvmmalloc): ", 21) == 0 && strchr(o->err, '\n') != NULL,
				  "mode %s, call %d, %s: \"%s\"", mode, n, failed, o->err);
		else
			cr_expect_str_empty(o->err, "mode %s, call %d, %s: \"%s\"", mode, n, failed, o->err);
		cr_assert(o->status == 0 || failed[0] != '\0', "mode %s: fails by itself: status %d, %s", mode,
			  o->status, o->err);
		free(o);
		cr_assert_lt(n, 4000);
	}
	fprintf(stderr,
		"VMMALLOC_FORK=%s: %u fault points: %u without harm, %u ENOMEM, %u aborted, %u aborted in the child\n",
		mode, points, outcomes[0] - 1, outcomes[3], outcomes[128 + SIGABRT], outcomes[4]);
	cr_expect_eq(rmdir(folder), 0, "something is left in %s", folder);
	free(folder);
	return points;
}

Test(nth_vmmalloc_calls, start_fork_and_end)
{
	static const char *const modes[] = {"0", "1", "2", "3"};
	unsigned points = 0;

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		points += each_call(modes[i]);
	fprintf(stderr, "nth_vmmalloc_calls: %u fault points tried\n", points);
	cr_expect_gt(points, 100);
}
