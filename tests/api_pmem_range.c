/* api_pmem_range.c -- the tracker of persistent ranges, held to a plain map of pages */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/pmem/range.h"

#define PAGE ((uintptr_t)4096)
#define BASE ((uintptr_t)1 << 32)

static int
nothing(void *arg)
{
	return *(int *)arg;
}

static int
forget(uintptr_t base, uintptr_t end)
{
	int result = 0;

	return range_remove(base, end, nothing, &result);
}

static int
add(uintptr_t base, uintptr_t end, enum range_type type, int region)
{
	struct range range = {base, end, type, region};

	return range_add(&range);
}

Test(api_pmem_range, covers_exactly_what_was_added)
{
	cr_assert_not(range_covers(BASE, BASE + 1));
	cr_assert_eq(add(BASE, BASE + 2 * PAGE, RANGE_DEV_DAX, 3), 0);
	cr_assert(range_covers(BASE, BASE + 2 * PAGE));
	cr_assert(range_covers(BASE + 5, BASE + 6));
	cr_assert_not(range_covers(BASE - 1, BASE + 1));
	cr_assert_not(range_covers(BASE, BASE + 2 * PAGE + 1));
	cr_assert_not(range_covers(BASE, BASE));
	cr_assert_eq(add(BASE + 2 * PAGE, BASE + 3 * PAGE, RANGE_MAP_SYNC, -1), 0); /* neighbours are one, of any type */
	cr_assert(range_covers(BASE, BASE + 3 * PAGE));
	cr_assert_eq(add(BASE + 2 * PAGE, BASE + 9 * PAGE, RANGE_MAP_SYNC, -1), EEXIST);
	cr_assert_eq(add(BASE - PAGE, BASE + PAGE, RANGE_MAP_SYNC, -1), EEXIST);
	cr_assert_eq(add(BASE - PAGE, BASE + 9 * PAGE, RANGE_MAP_SYNC, -1), EEXIST);
	cr_assert_not(range_covers(BASE + 3 * PAGE, BASE + 4 * PAGE));
}

Test(api_pmem_range, removal_splits_and_keeps_type_and_region)
{
	struct range r;

	cr_assert_eq(add(BASE, BASE + 10 * PAGE, RANGE_DEV_DAX, 3), 0);
	cr_assert_eq(forget(BASE + 4 * PAGE, BASE + 5 * PAGE), 0);
	cr_assert(range_covers(BASE, BASE + 4 * PAGE) && range_covers(BASE + 5 * PAGE, BASE + 10 * PAGE));
	cr_assert_not(range_covers(BASE + 3 * PAGE, BASE + 5 * PAGE));
	cr_assert(range_first(BASE + 4 * PAGE, BASE + 6 * PAGE, &r));
	cr_assert(r.base == BASE + 5 * PAGE && r.end == BASE + 10 * PAGE && r.type == RANGE_DEV_DAX && r.region == 3);
	cr_assert_not(range_first(BASE + 4 * PAGE, BASE + 5 * PAGE, &r));
	cr_assert_eq(forget(BASE + 9 * PAGE, BASE + 20 * PAGE), 0);
	cr_assert_eq(forget(BASE - 3 * PAGE, BASE + PAGE), 0);
	cr_assert(range_covers(BASE + PAGE, BASE + 4 * PAGE) && range_covers(BASE + 5 * PAGE, BASE + 9 * PAGE));
	cr_assert_not(range_covers(BASE, BASE + 1) || range_covers(BASE + 9 * PAGE, BASE + 9 * PAGE + 1));
}

Test(api_pmem_range, a_failed_unmapping_forgets_nothing)
{
	int fails = -1;

	cr_assert_eq(add(BASE, BASE + 2 * PAGE, RANGE_DEV_DAX, 3), 0);
	cr_assert_eq(range_remove(BASE, BASE + 2 * PAGE, nothing, &fails), -1);
	cr_assert(range_covers(BASE, BASE + 2 * PAGE));
}

/* Random operations against one byte per page. */
Test(api_pmem_range, agrees_with_a_map_of_pages)
{
	enum { PAGES = 700 };
	static unsigned char map[PAGES];
	unsigned seed = 12345;

	for (int i = 0; i < 20000; i++) {
		unsigned a, n;
		bool covered = true, any = false;
		struct range r;

		seed = seed * 1664525 + 1013904223;
		a = seed >> 8 & 1023;
		n = 1 + (seed >> 20) % 13;
		if (a + n > PAGES)
			continue;
		for (unsigned p = a; p < a + n; p++) {
			covered &= map[p];
			any |= map[p];
		}
		cr_assert_eq(range_covers(BASE + a * PAGE, BASE + (a + n) * PAGE), covered, "step %d", i);
		cr_assert_eq(range_first(BASE + a * PAGE, BASE + (a + n) * PAGE, &r), any, "step %d", i);
		if (seed & 64) {
			cr_assert_eq(add(BASE + a * PAGE, BASE + (a + n) * PAGE, RANGE_MAP_SYNC, -1), any ? EEXIST : 0, "step %d", i);
			if (!any)
				memset(map + a, 1, n);
		} else {
			cr_assert_eq(forget(BASE + a * PAGE, BASE + (a + n) * PAGE), 0);
			memset(map + a, 0, n);
		}
	}
}

Test(api_pmem_range, thousands_fit)
{
	for (uintptr_t i = 0; i < 5000; i++)
		cr_assert_eq(add(BASE + (i * 7919 % 5000) * 2 * PAGE, BASE + ((i * 7919 % 5000) * 2 + 1) * PAGE, RANGE_MAP_SYNC, -1), 0);
	for (uintptr_t i = 0; i < 5000; i++) {
		cr_assert(range_covers(BASE + 2 * i * PAGE, BASE + (2 * i + 1) * PAGE));
		cr_assert_not(range_covers(BASE + 2 * i * PAGE, BASE + (2 * i + 1) * PAGE + 1));
	}
	cr_assert_eq(forget(0, UINTPTR_MAX), 0);
	cr_assert_not(range_covers(BASE, BASE + 1));
}

/* A child has the table, and can change its own, whatever the parent's other threads do. */
Test(api_pmem_range, survives_fork)
{
	int status;
	pid_t pid;

	cr_assert_eq(add(BASE, BASE + PAGE, RANGE_MAP_SYNC, -1), 0);
	pid = fork();
	if (pid == 0)
		_exit(range_covers(BASE, BASE + PAGE) && forget(BASE, BASE + PAGE) == 0 && !range_covers(BASE, BASE + 1) ? 0 : 1);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	cr_assert(range_covers(BASE, BASE + PAGE));
}
