/* api_pmemcto_blocks.c -- the malloc family and the root pointer of libpmemcto, over closing and opening */
#include "tests/pmemcto_test.h"

#include <wchar.h>

TestSuite(api_pmemcto_blocks, .init = test_dir_make, .fini = test_dir_remove);

static PMEMctopool *
pool(size_t size)
{
	return pool_make(in_dir("pool"), size);
}

static bool
inside(PMEMctopool *pcp, size_t pool_size, const void *p, size_t size)
{
	return (const char *)p >= (const char *)pcp + AT_HEAP && (const char *)p + size <= (const char *)pcp + pool_size;
}

Test(api_pmemcto_blocks, size_zero_gives_a_block)
{
	PMEMctopool *pcp = pool(20 * MIB);
	void *p[5] = { pmemcto_malloc(pcp, 0), pmemcto_calloc(pcp, 0, 8), pmemcto_calloc(pcp, 8, 0),
		pmemcto_realloc(pcp, NULL, 0), pmemcto_aligned_alloc(pcp, 64, 0) };

	for (int i = 0; i < 5; i++) {
		cr_assert_not_null(p[i]);
		cr_expect_gt(pmemcto_malloc_usable_size(pcp, p[i]), 0);
		for (int j = 0; j < i; j++)
			cr_expect_neq(p[i], p[j]);
	}
	for (int i = 0; i < 5; i++)
		pmemcto_free(pcp, p[i]);
	pmemcto_close(pcp);
}

Test(api_pmemcto_blocks, sizes_that_do_not_fit)
{
	PMEMctopool *pcp = pool(20 * MIB);
	char *p = pmemcto_malloc(pcp, 100), no_room[100];

	memset(p, 7, 100);
#define NO_ROOM(bytes, call)                                                \
	do {                                                         \
		errno = 0;                                           \
		cr_expect_null(call);                                \
		cr_expect_eq(errno, ENOMEM, "%s: %d", #call, errno); \
		snprintf(no_room, sizeof(no_room), "no room for %zu bytes in pool %p: %s", (size_t)(bytes),   \
			 (void *)pcp, strerror(ENOMEM));              \
		cr_expect_str_eq(pmemcto_errormsg(), no_room, "%s", #call);                                    \
	} while (0)
	NO_ROOM(20 * MIB, pmemcto_malloc(pcp, 20 * MIB));
	NO_ROOM(SIZE_MAX, pmemcto_malloc(pcp, SIZE_MAX));
	NO_ROOM(SIZE_MAX / 2, pmemcto_malloc(pcp, SIZE_MAX / 2));
	NO_ROOM(SIZE_MAX, pmemcto_calloc(pcp, SIZE_MAX / 2, 3));
	NO_ROOM(21 * MIB, pmemcto_calloc(pcp, 21, MIB));
	NO_ROOM(SIZE_MAX, pmemcto_calloc(pcp, 1, SIZE_MAX));
	NO_ROOM(SIZE_MAX, pmemcto_realloc(pcp, p, SIZE_MAX));
	NO_ROOM(30 * MIB, pmemcto_realloc(pcp, p, 30 * MIB));
	NO_ROOM(SIZE_MAX, pmemcto_aligned_alloc(pcp, 4096, SIZE_MAX));
	NO_ROOM(1, pmemcto_aligned_alloc(pcp, (size_t)1 << 63, 1));
	for (int i = 0; i < 100; i++)
		cr_assert_eq(p[i], 7, "a block that could not grow is as it was");
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(in_dir("pool"), "test"), 1);
}

Test(api_pmemcto_blocks, free_and_realloc_of_nothing)
{
	PMEMctopool *pcp = pool(20 * MIB);
	void *p;

	errno = 1234;
	pmemcto_free(pcp, NULL);
	cr_expect_eq(errno, 1234);
	p = pmemcto_realloc(pcp, NULL, 10);
	cr_assert_not_null(p);
	cr_expect_null(pmemcto_realloc(pcp, p, 0));
	cr_expect_eq(errno, 1234);
	cr_expect_eq(pmemcto_malloc_usable_size(pcp, NULL), 0);
	cr_expect_eq(errno, 1234);
	pmemcto_close(pcp);
}

Test(api_pmemcto_blocks, realloc_keeps_what_both_sizes_hold)
{
	PMEMctopool *pcp = pool(32 * MIB);
	unsigned char *p = pmemcto_malloc(pcp, 1);
	size_t old = 1;

	p[0] = 0;
	for (size_t size = 1; size < 6 * MIB; size = size * 5 / 4 + 1) {
		p = pmemcto_realloc(pcp, p, size);
		cr_assert_not_null(p);
		cr_assert(inside(pcp, 32 * MIB, p, size));
		for (size_t i = 0; i < old; i += 1 + i / 100)
			cr_assert_eq(p[i], (unsigned char)(i * 7), "%zu of %zu", i, size);
		for (size_t i = old; i < size; i++)
			p[i] = (unsigned char)(i * 7);
		old = size;
	}
	for (size_t size = old; size > 0; size /= 2) {
		p = pmemcto_realloc(pcp, p, size);
		for (size_t i = 0; i < size; i += 1 + i / 100)
			cr_assert_eq(p[i], (unsigned char)(i * 7));
	}
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(in_dir("pool"), "test"), 1);
}

/* What the published library's own test asks of large blocks. */
Test(api_pmemcto_blocks, large_blocks_change_size_in_place)
{
	PMEMctopool *pcp = pool(16 * MIB);
	void *p = pmemcto_malloc(pcp, 12 * MIB), *q;

	cr_assert_not_null(p);
	cr_expect_eq(pmemcto_realloc(pcp, p, 6 * MIB), p);
	cr_expect_eq(pmemcto_realloc(pcp, p, 12 * MIB), p);
	cr_expect_eq(pmemcto_realloc(pcp, p, 8 * MIB), p);
	q = pmemcto_malloc(pcp, 4 * MIB);
	cr_expect_not_null(q);
	cr_expect_geq(pmemcto_malloc_usable_size(pcp, q), 4 * MIB);
	p = pmemcto_realloc(pcp, p, 16);
	cr_expect_not_null(p);
	cr_expect_not_null(pmemcto_malloc(pcp, 3 * MIB));
	pmemcto_close(pcp);
}

Test(api_pmemcto_blocks, alignments_up_to_8_mebibytes)
{
	PMEMctopool *pcp = pool(32 * MIB);

	for (size_t align = 1; align <= 8 * MIB; align *= 2) {
		void *p[16];
		int n;

		for (n = 0; n < 16; n++) {
			p[n] = pmemcto_aligned_alloc(pcp, align, n % 2 ? 4 : 100);
			if (p[n] == NULL)
				break;
			cr_assert_eq((uintptr_t)p[n] % align, 0);
			cr_assert(inside(pcp, 32 * MIB, p[n], 4));
			memset(p[n], n, 4);
		}
		cr_assert_geq(n, 1, "alignment %zu", align);
		while (n-- > 0)
			pmemcto_free(pcp, p[n]);
	}
	REFUSED(pmemcto_aligned_alloc(pcp, 0, 8), EINVAL);
	REFUSED(pmemcto_aligned_alloc(pcp, 3, 8), EINVAL);
	REFUSED(pmemcto_aligned_alloc(pcp, 48, 8), EINVAL);
	pmemcto_close(pcp);
	for (size_t align = 2; align <= 4 * MIB; align *= 2) {
		unlink(in_dir("pool"));
		pcp = pool(16 * MIB);
		cr_expect_not_null(pmemcto_aligned_alloc(pcp, align, 4), "%zu in the smallest pool", align);
		pmemcto_close(pcp);
	}
}

Test(api_pmemcto_blocks, usable_sizes_are_close_to_what_was_asked_for)
{
	static const struct {
		size_t size, more;
	} cases[] = {
		{ 10, 8 }, { 16, 0 }, { 100, 16 }, { 200, 32 }, { 500, 64 }, { 1000, 128 }, { 2000, 256 }, { 3000, 512 },
		{ 512 << 10, 0 }, { 1 << 20, 0 }, { 2 << 20, 0 }, { 4 << 20, 0 }, { 9 << 20, 4 << 20 },
	};
	PMEMctopool *pcp = pool(32 * MIB);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned char *p = pmemcto_malloc(pcp, cases[i].size);
		size_t usable = pmemcto_malloc_usable_size(pcp, p);

		cr_expect_geq(usable, cases[i].size);
		cr_expect_leq(usable, cases[i].size + cases[i].more, "%zu for %zu", usable, cases[i].size);
		memset(p, 1, usable);
		cr_expect_eq((uintptr_t)p % 16, 0);
		pmemcto_free(pcp, p);
	}
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(in_dir("pool"), "test"), 1);
}

Test(api_pmemcto_blocks, calloc_clears_what_was_used_before_the_pool_was_closed)
{
	PMEMctopool *pcp = pool(20 * MIB);
	unsigned char *p = pmemcto_malloc(pcp, 8 * MIB);

	memset(p, 0xff, 8 * MIB);
	pmemcto_free(pcp, p);
	pmemcto_close(pcp);
	pcp = pool_reopen(in_dir("pool"));
	p = pmemcto_calloc(pcp, 8, MIB);
	cr_assert_not_null(p);
	for (size_t i = 0; i < 8 * MIB; i++)
		cr_assert_eq(p[i], 0);
	pmemcto_free(pcp, p);
	for (int i = 1; i < 512; i++) {
		p = pmemcto_calloc(pcp, (size_t)i, 3);
		for (int j = 0; j < 3 * i; j++)
			cr_assert_eq(p[j], 0);
	}
	pmemcto_close(pcp);
}

Test(api_pmemcto_blocks, copies_of_strings)
{
	PMEMctopool *pcp = pool(20 * MIB);
	char *s = pmemcto_strdup(pcp, "a string"), *empty = pmemcto_strdup(pcp, ""), *large;
	wchar_t *w = pmemcto_wcsdup(pcp, L"a wide string");

	cr_expect_str_eq(s, "a string");
	cr_expect_str_eq(empty, "");
	cr_expect_eq(wcscmp(w, L"a wide string"), 0);
	cr_expect_eq(pmemcto_wcsdup(pcp, L"")[0], 0);
	large = malloc(32 * MIB);
	memset(large, 'x', 32 * MIB);
	large[32 * MIB - 1] = '\0';
	errno = 0;
	cr_expect_null(pmemcto_strdup(pcp, large));
	cr_expect_eq(errno, ENOMEM);
	free(large);
	pmemcto_close(pcp);
	pool_reopen(in_dir("pool"));
	cr_expect_str_eq(s, "a string");
	cr_expect_eq(wcscmp(w, L"a wide string"), 0);
	pmemcto_close(pcp);
}

Test(api_pmemcto_blocks, root_pointers)
{
	PMEMctopool *pcp = pool(20 * MIB);
	char *base = (char *)pcp, *p = pmemcto_malloc(pcp, 10);
	void *outside[] = { base - 1, base, base + 8191, base + 20 * MIB, &pcp, (void *)(uintptr_t)1, (void *)UINTPTR_MAX };

	cr_expect_null(pmemcto_get_root_pointer(pcp));
	pmemcto_set_root_pointer(pcp, p);
	cr_expect_eq(pmemcto_get_root_pointer(pcp), p);
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
		errno = 0;
		pmemcto_set_root_pointer(pcp, outside[i]);
		cr_expect_eq(errno, EINVAL, "%zu", i);
		cr_expect_not_null(strstr(pmemcto_errormsg(), "root"), "%s", pmemcto_errormsg());
		cr_expect_eq(pmemcto_get_root_pointer(pcp), p, "not stored");
	}
	pmemcto_close(pcp);
	pool_reopen(in_dir("pool"));
	cr_expect_eq(pmemcto_get_root_pointer(pcp), p);
	errno = 1234;
	pmemcto_set_root_pointer(pcp, base + 8192);
	pmemcto_set_root_pointer(pcp, base + 20 * MIB - 1);
	cr_expect_eq(errno, 1234);
	cr_expect_eq(pmemcto_get_root_pointer(pcp), base + 20 * MIB - 1);
	pmemcto_close(pcp);
	pool_reopen(in_dir("pool"));
	cr_expect_eq(pmemcto_get_root_pointer(pcp), base + 20 * MIB - 1);
	pmemcto_set_root_pointer(pcp, NULL);
	pmemcto_close(pcp);
	pool_reopen(in_dir("pool"));
	cr_expect_null(pmemcto_get_root_pointer(pcp));
	pmemcto_close(pcp);
}

Test(api_pmemcto_blocks, two_pools_keep_to_themselves)
{
	PMEMctopool *a = pool_make(in_dir("a"), 20 * MIB), *b = pool_make(in_dir("b"), 24 * MIB);

	for (int i = 0; i < 2000; i++) {
		char *p = pmemcto_malloc(a, (size_t)i), *q = pmemcto_malloc(b, (size_t)i);

		cr_assert(inside(a, 20 * MIB, p, (size_t)i));
		cr_assert(inside(b, 24 * MIB, q, (size_t)i));
		memset(p, 'a', (size_t)i);
		memset(q, 'b', (size_t)i);
		cr_assert_eq(pmemcto_malloc_usable_size(a, q), 0);
		if (i % 3) {
			pmemcto_free(a, p);
			pmemcto_free(b, q);
		}
	}
	pmemcto_close(a);
	pmemcto_close(b);
	cr_expect_eq(pmemcto_check(in_dir("a"), "test"), 1);
	cr_expect_eq(pmemcto_check(in_dir("b"), "test"), 1);
}

Test(api_pmemcto_blocks, many_pools_at_once)
{
	enum { POOLS = 40 };
	PMEMctopool *pools[POOLS];
	char *strings[POOLS], name[16];

	for (int i = 0; i < POOLS; i++) {
		char path[128];

		snprintf(name, sizeof(name), "%d", i);
		snprintf(path, sizeof(path), "%s/%s", test_dir, name);
		pools[i] = pool_make(path, PMEMCTO_MIN_POOL);
		strings[i] = pmemcto_strdup(pools[i], name);
	}
	for (int i = POOLS; i-- > 0;) {
		snprintf(name, sizeof(name), "%d", i);
		cr_expect_str_eq(strings[i], name);
		pmemcto_close(pools[i]);
	}
}
