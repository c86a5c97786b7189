/* api_pmemcto_funcs.c -- versions, messages, the program's functions, statistics */
#include "tests/pmemcto_test.h"

#include <pthread.h>
#include <stdatomic.h>

TestSuite(api_pmemcto_funcs, .init = test_dir_make, .fini = test_dir_remove);

/* --- versions and messages ----------------------------------------------------------------------------------- */

Test(api_pmemcto_funcs, versions)
{
	cr_expect_str_empty(pmemcto_errormsg(), "before the first error");
	cr_expect_null(pmemcto_check_version(PMEMCTO_MAJOR_VERSION, PMEMCTO_MINOR_VERSION));
	cr_expect_null(pmemcto_check_version(1, 0));
	cr_expect_str_empty(pmemcto_errormsg());
	cr_expect_str_eq(pmemcto_check_version(0, 0), "libpmemcto major version mismatch (need 0, found 1)");
	cr_expect_str_eq(pmemcto_check_version(2, 0), "libpmemcto major version mismatch (need 2, found 1)");
	cr_expect_str_eq(pmemcto_check_version(1, 1), "libpmemcto minor version mismatch (need 1, found 0)");
	cr_expect_str_eq(pmemcto_errormsg(), "libpmemcto minor version mismatch (need 1, found 0)");
	pool_prepare(in_dir("pool"), 20 * MIB);
	cr_expect_str_eq(pmemcto_errormsg(), "libpmemcto minor version mismatch (need 1, found 0)", "success clears nothing");
}

static const char *open_path;

static void *
own_messages(void *arg)
{
	unsigned number = 10000 + (unsigned)(uintptr_t)arg;
	char want[600];

	if (pmemcto_errormsg()[0] != '\0')
		return "not empty at first";
	snprintf(want, sizeof(want), "libpmemcto major version mismatch (need %u, found 1)", number);
	for (int i = 0; i < 100; i++) {
		pmemcto_check_version(number, 0);
		if (strcmp(pmemcto_errormsg(), want) != 0)
			return "another thread's message";
	}
	if (pmemcto_check(open_path, NULL) != -1)
		return "an open pool was checked";
	snprintf(want, sizeof(want), "flock \"%s\": %s", open_path, strerror(EAGAIN));
	return strcmp(pmemcto_errormsg(), want) == 0 ? NULL : "message of the lock";
}

Test(api_pmemcto_funcs, each_thread_has_its_own_message)
{
	PMEMctopool *pcp = pool_make(in_dir("pool"), 20 * MIB);
	pthread_t threads[16];
	void *wrong;

	open_path = in_dir("pool");
	for (uintptr_t i = 0; i < 16; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, own_messages, (void *)i), 0);
	for (int i = 0; i < 16; i++) {
		pthread_join(threads[i], &wrong);
		cr_expect_null(wrong, "%s", (char *)wrong);
	}
	pmemcto_close(pcp);
}

/* --- the program's functions --------------------------------------------------------------------------------- */

static _Atomic int mallocs, frees, strdups, reallocs, live;

static void *
count_malloc(size_t size)
{
	mallocs++;
	live++;
	return malloc(size);
}

static void
count_free(void *p)
{
	frees++;
	live--;
	free(p);
}

static void *
count_realloc(void *p, size_t size)
{
	reallocs++;
	return realloc(p, size);
}

static char *
count_strdup(const char *s)
{
	strdups++;
	live++;
	return strdup(s);
}

static void *
no_malloc(size_t size)
{
	(void)size;
	return NULL;
}

static void
cycle(const char *path)
{
	PMEMctopool *pcp = access(path, F_OK) == 0 ? pool_reopen(path) : pool_make(path, 20 * MIB);
	void *p = pmemcto_malloc(pcp, 100);

	p = pmemcto_realloc(pcp, p, 1000);
	pmemcto_free(pcp, p);
	pmemcto_close(pcp);
}

Test(api_pmemcto_funcs, all_functions_serve_and_balance)
{
	pmemcto_set_funcs(count_malloc, count_free, count_realloc, count_strdup, NULL);
	for (int i = 1; i <= 20; i++) {
		cycle(in_dir("pool"));
		cr_expect_eq(live, 0, "cycle %d", i);
		cr_expect_geq(mallocs, i);
		cr_expect_geq(strdups, i);
		cr_expect_eq(frees, mallocs + strdups);
	}
	cr_expect_eq(reallocs, 0);
	/* failures give back what they took */
	pmemcto_open(in_dir("nothing"), NULL);
	pmemcto_create(in_dir("pool"), NULL, 20 * MIB, 0600);
	pmemcto_create(in_dir("no/pool"), NULL, 20 * MIB, 0600);
	cr_expect_eq(live, 0);
}

Test(api_pmemcto_funcs, none_is_called_after_a_reset_but_for_pools_from_before)
{
	PMEMctopool *pcp;
	int before;

	pmemcto_set_funcs(count_malloc, count_free, count_realloc, count_strdup, NULL);
	pcp = pool_make(in_dir("pool"), 20 * MIB);
	pmemcto_set_funcs(NULL, NULL, NULL, NULL, NULL);
	before = mallocs + strdups;
	cycle(in_dir("other"));
	cr_expect_eq(mallocs + strdups, before);
	cr_expect_eq(frees, 0);
	pmemcto_close(pcp);
	cr_expect_eq(live, 0, "what malloc gave, its free takes");
	before = mallocs + strdups + frees;
	cycle(in_dir("other"));
	cr_expect_eq(mallocs + strdups + frees, before);
}

Test(api_pmemcto_funcs, a_malloc_that_gives_null_gives_no_pool)
{
	pmemcto_set_funcs(no_malloc, count_free, count_realloc, count_strdup, NULL);
	REFUSED(pmemcto_create(in_dir("pool"), "test", 20 * MIB, 0600), ENOMEM);
	cr_expect_eq(files_in_dir(), 0);
	cr_expect_eq(live, 0);
	pmemcto_set_funcs(NULL, NULL, NULL, NULL, NULL);
	pool_prepare(in_dir("pool"), 20 * MIB);
}

Test(api_pmemcto_funcs, functions_without_free_are_not_used)
{
	pmemcto_set_funcs(count_malloc, NULL, count_realloc, count_strdup, NULL);
	cycle(in_dir("pool"));
	cr_expect_eq(mallocs + strdups, 0);
	pmemcto_set_funcs(NULL, count_free, NULL, NULL, NULL);
	cycle(in_dir("pool"));
	cr_expect_eq(frees, 0);
}

/* --- statistics ---------------------------------------------------------------------------------------------- */

static char text[65536];

static void
collect(const char *line)
{
	cr_assert_lt(strlen(text) + strlen(line), sizeof(text));
	strcat(text, line);
}

static void
print(PMEMctopool *pcp, const char *opts)
{
	text[0] = '\0';
	pmemcto_stats_print(pcp, opts);
}

static bool
has(const char *part)
{
	return strstr(text, part) != NULL;
}

static unsigned long long
allocated(void)
{
	const char *p = strstr(text, "Allocated: ");

	cr_assert_not_null(p);
	return strtoull(p + strlen("Allocated: "), NULL, 10);
}

Test(api_pmemcto_funcs, statistics_have_their_parts_in_order)
{
	static const char *const parts[] = { "___ Begin jemalloc statistics ___\n", "Version: ", "CPUs: ", "Arenas: ",
		"Allocated: ", "Current active ceiling: ", "chunks: ", "arenas[0]:\n", "small:", "large:", "huge:", "total:",
		"bins:     bin", "large:   size", "--- End jemalloc statistics ---\n" };
	PMEMctopool *pcp = pool_make(in_dir("pool"), 20 * MIB);
	const char *at = text;

	pmemcto_set_funcs(NULL, NULL, NULL, NULL, collect);
	print(pcp, NULL);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		at = strstr(at, parts[i]);
		cr_assert_not_null(at, "%s", parts[i]);
		at++;
	}
	print(pcp, "g");
	cr_expect(!has("Version: ") && has("arenas[0]:") && has("bins:"));
	print(pcp, "gbl");
	cr_expect(has("arenas[0]:") && !has("bins:") && !has("large:   size"));
	print(pcp, "gbla");
	cr_expect(!has("arenas[0]:") && has("Merged arenas stats:"));
	print(pcp, "gblma");
	cr_expect(!has("arenas[0]:") && !has("Merged") && has("Allocated: "));
	print(pcp, "xyz");
	cr_expect(has("Version: ") && has("arenas[0]:"));
	pmemcto_close(pcp);
}

Test(api_pmemcto_funcs, statistics_outlive_closing)
{
	PMEMctopool *a = pool_make(in_dir("a"), 16 * MIB), *b = pool_make(in_dir("b"), 16 * MIB);
	unsigned long long empty, full;
	void *p;

	pmemcto_set_funcs(NULL, NULL, NULL, NULL, collect);
	print(a, "gblma");
	empty = allocated();
	p = pmemcto_malloc(a, 400);
	print(a, "gblma");
	full = allocated();
	cr_expect_geq(full, empty + 400);
	cr_expect_lt(full, empty + 1000);
	pmemcto_close(a);
	pool_reopen(in_dir("a"));
	print(a, "gblma");
	cr_expect_eq(allocated(), full);
	pmemcto_free(a, p);
	print(a, "gblma");
	cr_expect_eq(allocated(), empty);
	print(b, "gblma");
	cr_expect_eq(allocated(), empty);
	pmemcto_close(a);
	pmemcto_close(b);
}
