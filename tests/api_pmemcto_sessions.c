/* api_pmemcto_sessions.c -- a pool goes from process to process: content and addresses stay, whoever uses it, whatever
 * the kernel's randomisation, killed or not */
#define _GNU_SOURCE
#include "tests/pmemcto_test.h"

#include <signal.h>
#include <time.h>

TestSuite(api_pmemcto_sessions, .init = test_dir_make, .fini = test_dir_remove);

#define SESSION TEST_BUILD "/tests/programs/cto_session"

/* The program's process, its standard output in `out`. `variable`: NAME=value for its environment, or NULL. */
static pid_t
start(int out, const char *variable, const char *a, const char *b, const char *c, const char *d)
{
	pid_t child = fork();

	if (child == 0) {
		if (out >= 0)
			dup2(out, STDOUT_FILENO);
		if (variable != NULL)
			putenv((char *)(uintptr_t)variable);
		execl(SESSION, SESSION, a, b, c, d, (char *)NULL);
		_exit(127);
	}
	cr_assert_gt(child, 0);
	return child;
}

static int
finish(pid_t child)
{
	int status;

	cr_assert_eq(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int
session(const char *a, const char *b, const char *c, const char *d)
{
	return finish(start(-1, NULL, a, b, c, d));
}

/* What a session that maps a new pool says its address is. */
static uintptr_t
address_of_new(const char *path, const char *variable)
{
	char text[64] = "";
	int ends[2];
	pid_t child;

	unlink(path);
	cr_assert_eq(pipe(ends), 0);
	child = start(ends[1], variable, "map", path, NULL, NULL);
	close(ends[1]);
	cr_expect_gt(read(ends[0], text, sizeof(text) - 1), 0);
	close(ends[0]);
	cr_expect_eq(finish(child), 0);
	return strtoull(text, NULL, 16);
}

Test(api_pmemcto_sessions, random_work_over_many_processes)
{
	const char *path = in_dir("pool");
	unsigned rounds = 60 / CTO_TEST_SLOW;
	char seed[32];

	cr_assert_eq(session("make", path, "24", NULL), 0);
	for (unsigned i = 0; i < rounds; i++) {
		snprintf(seed, sizeof(seed), "%u", i * 7919 + 1);
		cr_assert_eq(session("work", path, seed, i % 10 == 9 ? "0" : "3000"), 0, "seed %s", seed);
		cr_assert_eq(pmemcto_check(path, "model"), 1, "seed %s: %s", seed, pmemcto_errormsg());
	}
}

Test(api_pmemcto_sessions, the_file_moves_and_is_copied)
{
	cr_assert_eq(session("make", in_dir("pool"), "16", NULL), 0);
	cr_assert_eq(session("work", in_dir("pool"), "1", "1000"), 0);
	cr_assert_eq(rename(in_dir("pool"), in_dir("moved")), 0);
	cr_assert_eq(session("work", in_dir("moved"), "2", "1000"), 0);
	file_copy(in_dir("moved"), in_dir("copy"));
	cr_assert_eq(session("work", in_dir("copy"), "3", "1000"), 0);
	cr_assert_eq(session("work", in_dir("moved"), "4", "1000"), 0);
}

/* A copy with holes where there were zeros has what it needs. */
Test(api_pmemcto_sessions, a_copy_with_holes)
{
	const char *path = in_dir("pool"), *copy = in_dir("copy");
	char command[1200];
	blkcnt_t blocks;

	cr_assert_eq(session("make", path, "16", NULL), 0);
	cr_assert_eq(session("work", path, "1", "3000"), 0);
	blocks = file_stat(path).st_blocks;
	snprintf(command, sizeof(command), "cp --sparse=always '%s' '%s'", path, copy);
	cr_assert_eq(system(command), 0);
	cr_assert_lt(file_stat(copy).st_blocks, blocks);
	cr_assert_eq(session("work", copy, "2", "3000"), 0);
	cr_expect_geq(file_stat(copy).st_blocks, blocks, "the blocks are reserved again");
	cr_expect_eq(pmemcto_check(copy, "model"), 1);
}

Test(api_pmemcto_sessions, new_pools_are_apart_and_in_the_documented_range)
{
	enum { POOLS = 30 };
	uintptr_t at[POOLS];

#ifdef __SANITIZE_THREAD__
	SKIP("the checker allows few addresses");
#endif
	for (int i = 0; i < POOLS; i++) {
		at[i] = address_of_new(in_dir("pool"), NULL);
		cr_expect_eq(at[i] % (2 * MIB), 0);
#ifdef __x86_64__
		cr_expect_geq(at[i], UINT64_C(0x110000000000));
		cr_expect_lt(at[i], UINT64_C(0x500000000000));
#endif
		for (int j = 0; j < i; j++)
			cr_expect_gt(at[i] > at[j] ? at[i] - at[j] : at[j] - at[i], PMEMCTO_MIN_POOL, "%d and %d", i, j);
	}
}

Test(api_pmemcto_sessions, large_pools_begin_at_a_gibibyte)
{
	const char *path = in_dir("pool");
	PMEMctopool *pcp;

	file_make(path, (size_t)3 << 30);
	pcp = pmemcto_create(path, NULL, 0, 0);
	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
#ifndef __SANITIZE_THREAD__
	cr_expect_eq((uintptr_t)pcp % ((size_t)1 << 30), 0);
#endif
	pmemcto_close(pcp);
	cr_expect_lt(file_stat(path).st_blocks * 512, 8 * MIB);
}

Test(api_pmemcto_sessions, a_hint_says_where)
{
	static const struct {
		const char *variable;
		uintptr_t want;
	} cases[] = {
		{ "PMEM_MMAP_HINT=10000000000", UINT64_C(0x10000000000) },
		{ "PMEM_MMAP_HINT=0x20000000000", UINT64_C(0x20000000000) },
		{ "PMEM_MMAP_HINT=20000000001", UINT64_C(0x20000200000) },
	};

#ifdef __SANITIZE_THREAD__
	SKIP("the checker allows few addresses");
#endif
#ifdef __SANITIZE_ADDRESS__
	SKIP("the hint's addresses are the checker's own");
#endif
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_expect_eq(address_of_new(in_dir("pool"), cases[i].variable), cases[i].want, "%s", cases[i].variable);
	for (int i = 0; i < 2; i++) { /* what is no number is no hint */
		uintptr_t at = address_of_new(in_dir("pool"), i ? "PMEM_MMAP_HINT=xyz" : "PMEM_MMAP_HINT=10000000000Q");

		cr_expect_geq(at, UINT64_C(0x110000000000), "%d: %lx", i, (unsigned long)at);
	}
}

Test(api_pmemcto_sessions, two_processes_take_turns)
{
	const char *path = in_dir("pool"), *rounds = CTO_TEST_SLOW > 1 ? "50" : "500";
	pid_t a, b;

	cr_assert_eq(session("make", path, "16", NULL), 0);
	a = start(-1, NULL, "contend", path, rounds, NULL);
	b = start(-1, NULL, "contend", path, rounds, NULL);
	cr_expect_eq(finish(a), 0);
	cr_expect_eq(finish(b), 0);
	PMEMctopool *pcp = pmemcto_open(path, "model");
	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	cr_expect_eq(((uint64_t *)pmemcto_get_root_pointer(pcp))[2], 2 * strtoul(rounds, NULL, 10));
	pmemcto_close(pcp);
}

Test(api_pmemcto_sessions, a_killed_process_leaves_an_inconsistent_pool)
{
	unsigned seed = (unsigned)time(NULL), dirty = 0, clean = 0;
	const char *path = in_dir("pool"), *original = in_dir("original");

	fprintf(stderr, "seed %u\n", seed);
	cr_assert_eq(session("make", original, "16", NULL), 0);
	cr_assert_eq(session("work", original, "5", "3000"), 0);
	for (unsigned i = 0; i < 100 / CTO_TEST_SLOW; i++) {
		struct timespec nap = { 0, rand_r(&seed) % (20000000 * (int)CTO_TEST_SLOW) };
		pid_t child;
		int status;

		file_copy(original, path);
		child = start(-1, NULL, "work", path, "7", "1000000");
		nanosleep(&nap, NULL);
		kill(child, SIGKILL);
		status = finish(child);
		cr_assert_eq(status, 1000 + SIGKILL, "%d", status);
		errno = 0;
		if (pmemcto_check(path, NULL) == 1) {
			clean++; /* it had not come to open it */
			cr_assert_eq(session("work", path, "8", "10"), 0);
			continue;
		}
		cr_assert_eq(errno, EINVAL);
		cr_assert_str_eq(pmemcto_errormsg(), "inconsistent pool");
		REFUSED(pmemcto_open(path, "model"), EINVAL);
		cr_assert_str_eq(pmemcto_errormsg(), "inconsistent pool");
		dirty++;
	}
	cr_expect_gt(dirty, 0, "%u were killed before they opened it", clean);
}

Test(api_pmemcto_sessions, creations_that_are_killed_leave_nothing_or_an_inconsistent_pool)
{
	unsigned seed = (unsigned)time(NULL);
	const char *path = in_dir("pool");

	fprintf(stderr, "seed %u\n", seed);
	for (unsigned i = 0; i < 200 / CTO_TEST_SLOW; i++) {
		struct timespec nap = { 0, rand_r(&seed) % (6000000 * (int)CTO_TEST_SLOW) };
		pid_t child = start(-1, NULL, "make", path, "64", NULL);

		nanosleep(&nap, NULL);
		kill(child, SIGKILL);
		finish(child);
		if (access(path, F_OK) != 0)
			continue;
		if (pmemcto_check(path, "model") != 1)
			cr_assert_str_eq(pmemcto_errormsg(), "inconsistent pool");
		unlink(path);
	}
	cr_expect_eq(files_in_dir(), 0);
}
