/* api_pmemcto_model.c -- a pool over many sessions, each in a process of its own, against a model that is not in the pool
 *
 * The sessions are those of tests/programs/cto_model.c, by programs and libraries of several builds in turn, with one
 * thread and with many, wherever the kernel puts them. PMHEAP_SEED repeats a run.
 */
#define _GNU_SOURCE
#include "tests/pmemcto_test.h"
#include "tests/vmmalloc_run.h"

#include <time.h>

TestSuite(api_pmemcto_model, .init = test_dir_make, .fini = test_dir_remove);

/* Programs that do the same, and what their library's file is called. */
static const struct build {
	const char *program, *environment, *library;
} builds[] = {
	{PROGRAM("cto_model"), "", "/lib/libpmemcto.so"},
	{PROGRAM("cto_model"), "LD_LIBRARY_PATH=" TEST_BUILD "/lib/pmdk_debug\n", "/lib/pmdk_debug/libpmemcto.so"},
	{PROGRAM("cto_model_static"), "", "cto_model_static"},
};

static bool
is_there(const struct build *build)
{
	return strstr(build->environment, "pmdk_debug") == NULL || access(TEST_BUILD "/lib/pmdk_debug", F_OK) == 0;
}

struct place {
	unsigned long program, stack, library;
};

static struct place
session(const struct build *build, const char *verb, const char *seed, const char *steps, const char *threads)
{
	char *argv[] = {(char *)(uintptr_t)build->program,
			(char *)(uintptr_t)in_dir("pool"),
			(char *)(uintptr_t)in_dir("model"),
			(char *)(uintptr_t)verb,
			(char *)(uintptr_t)seed,
			(char *)(uintptr_t)steps,
			(char *)(uintptr_t)threads,
			NULL};
	struct outcome *o = run_in(NULL, build->environment, argv);
	struct place place = {0};

	cr_assert_eq(o->status, 0, "seed %s, %s threads, %s: status %d, %s", seed, threads, build->library, o->status,
		     o->err);
	cr_assert_eq(sscanf(o->out, "%lx %lx %lx", &place.program, &place.stack, &place.library), 3, "%s", o->out);
	cr_expect_not_null(strstr(o->out, build->library), "not this one: %s", o->out);
	free(o);
	cr_assert_eq(pmemcto_check(in_dir("pool"), "model"), 1, "seed %s: %s", seed, pmemcto_errormsg());
	return place;
}

static bool
addresses_are_random(void)
{
	FILE *file = fopen("/proc/sys/kernel/randomize_va_space", "r");
	int value = 0;

	if (file != NULL && fscanf(file, "%d", &value) != 1)
		value = 0;
	if (file != NULL)
		fclose(file);
	return value > 0;
}

static size_t
largest_block(void)
{
	PMEMctopool *pcp = pmemcto_open(in_dir("pool"), "model");
	size_t low = 0, high = (size_t)1 << 30;

	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	while (high - low > 4096) {
		void *p = pmemcto_malloc(pcp, low + (high - low) / 2);

		*(p != NULL ? &low : &high) = low + (high - low) / 2;
		pmemcto_free(pcp, p);
	}
	pmemcto_close(pcp);
	return low;
}

Test(api_pmemcto_model, every_block_is_found_again_by_every_build)
{
	const char *given = getenv("PMHEAP_SEED");
	uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	unsigned rounds = 60 / CTO_TEST_SLOW, moved = 0;
	struct place first, place;
	char number[32], threads[8];
	size_t at_first;

	fprintf(stderr, "PMHEAP_SEED=%llu\n", (unsigned long long)seed);
	first = session(&builds[0], "work", "1", "0", "1");
	at_first = largest_block();
	for (unsigned i = 0; i < rounds; i++) {
		const struct build *build = &builds[i % 3];

		if (!is_there(build))
			continue;
		snprintf(number, sizeof(number), "%llu", (unsigned long long)(seed + i));
		snprintf(threads, sizeof(threads), "%u", i % 4 == 3 ? 8 : i % 4 + 1);
		place = session(build, "work", number, i % 10 == 9 ? "0" : "5000", threads);
		moved += build == &builds[0] && place.program != first.program && place.stack != first.stack &&
			place.library != first.library;
	}
	if (addresses_are_random())
		cr_expect_gt(moved, 0, "the kernel randomises, but sessions have the same addresses");
	session(&builds[0], "empty", NULL, NULL, NULL);
	cr_expect_eq(largest_block(), at_first, "nothing was lost over all sessions");
}

/* The model is not such that anything would do: what is changed behind its back is found. */
Test(api_pmemcto_model, a_changed_byte_and_a_changed_root_are_found)
{
	char *argv[] = {(char *)(uintptr_t)builds[0].program,
			(char *)(uintptr_t)in_dir("pool"),
			(char *)(uintptr_t)in_dir("model"),
			"work",
			"1",
			"0",
			"1",
			NULL};
	struct outcome *o;
	PMEMctopool *pcp;
	uint64_t block = 0;

	session(&builds[0], "work", "5", "3000", "1");
	for (size_t at = 24; block == 0; at += 32) /* the first slot that has one: handle, root, sessions come before */
		block = get_field(in_dir("model"), at, 8) != 0 && get_field(in_dir("model"), at + 8, 8) != 0
			? get_field(in_dir("model"), at, 8)
			: 0;
	pcp = pmemcto_open(in_dir("pool"), "model");
	cr_assert_not_null(pcp);
	*(char *)(uintptr_t)block ^= 1;
	pmemcto_close(pcp);
	o = run_in(NULL, "", argv);
	cr_expect_eq(o->status, 1);
	assert_in(o->err, "has changed");
	free(o);
	unlink(in_dir("pool"));
	unlink(in_dir("model"));
	session(&builds[0], "work", "5", "3000", "1");
	pcp = pmemcto_open(in_dir("pool"), "model");
	cr_assert_not_null(pcp);
	pmemcto_set_root_pointer(pcp, pmemcto_malloc(pcp, 1));
	pmemcto_close(pcp);
	o = run_in(NULL, "", argv);
	cr_expect_eq(o->status, 1);
	assert_in(o->err, "root pointer");
	free(o);
}
