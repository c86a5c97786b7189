/* api_vmem_blocks.c -- the malloc family of a pool: results, errno and limits, in both kinds of pools */
#include "tests/vmem_test.h"

#include <signal.h>
#include <wchar.h>

/* One test per kind of pool. */
#define POOL_TEST(name)                                            \
	static void name(test_pool_maker make);                    \
	Test(api_vmem_blocks, name##_file) { name(file_pool); }    \
	Test(api_vmem_blocks, name##_region) { name(region_pool); } \
	static void name(test_pool_maker make)

POOL_TEST(malloc_gives_blocks_of_the_pool)
{
	struct test_pool pool = make(VMEM_MIN_POOL);

	errno = 4711;
	for (size_t size = 0; size < 3 * MIB; size = size * 5 / 4 + 1) {
		char *p = vmem_malloc(pool.vmp, size);

		cr_assert_not_null(p, "%zu", size);
		cr_assert(in_pool(&pool, p, size));
		cr_expect_eq((uintptr_t)p % 16, 0);
		cr_expect_geq(vmem_malloc_usable_size(pool.vmp, p), size);
		memset(p, 0x5a, vmem_malloc_usable_size(pool.vmp, p));
		vmem_free(pool.vmp, p);
	}
	cr_expect_eq(errno, 4711);
	cr_expect_eq(vmem_check(pool.vmp), 1);
	vmem_delete(pool.vmp);
}

POOL_TEST(size_0_gives_unique_blocks)
{
	struct test_pool pool = make(VMEM_MIN_POOL);
	void *a = vmem_malloc(pool.vmp, 0), *b = vmem_malloc(pool.vmp, 0), *c = vmem_calloc(pool.vmp, 0, 100);
	void *d = vmem_calloc(pool.vmp, 100, 0), *e = vmem_realloc(pool.vmp, NULL, 0);
	void *f = vmem_aligned_alloc(pool.vmp, 64, 0), *all[] = { a, b, c, d, e, f };

	for (size_t i = 0; i < 6; i++) {
		cr_assert_not_null(all[i]);
		cr_expect_geq(vmem_malloc_usable_size(pool.vmp, all[i]), 8);
		for (size_t k = 0; k < i; k++)
			cr_expect_neq(all[i], all[k]);
	}
	for (size_t i = 0; i < 6; i++)
		vmem_free(pool.vmp, all[i]);
	vmem_delete(pool.vmp);
}

/* The call fails for want of so many bytes, and says so. */
#define NO_ROOM(bytes, call)                                                                                    \
	do {                                                                                                    \
		char words[100];                                                                                \
                                                                                                                \
		errno = 0;                                                                                      \
		cr_expect_null(call);                                                                           \
		cr_expect_eq(errno, ENOMEM, "%s: %d", #call, errno);                                            \
		snprintf(words, sizeof(words), "no room for %zu bytes in pool %p: %s", (size_t)(bytes),         \
			 (void *)pool.vmp, strerror(ENOMEM));                                                   \
		cr_expect_str_eq(vmem_errormsg(), words, "%s", #call);                                          \
	} while (0)

POOL_TEST(too_much_is_enomem_and_changes_nothing)
{
	struct test_pool pool = make(VMEM_MIN_POOL);
	size_t sizes[] = { VMEM_MIN_POOL, (size_t)1 << 40, PTRDIFF_MAX, SIZE_MAX - 4096, SIZE_MAX };
	char *p = vmem_malloc(pool.vmp, 100);

	memset(p, 0x5a, 100);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		NO_ROOM(sizes[i], vmem_malloc(pool.vmp, sizes[i]));
		NO_ROOM(sizes[i], vmem_calloc(pool.vmp, 1, sizes[i]));
		NO_ROOM(sizes[i], vmem_calloc(pool.vmp, sizes[i], 1));
		NO_ROOM(sizes[i], vmem_realloc(pool.vmp, p, sizes[i]));
		NO_ROOM(sizes[i], vmem_realloc(pool.vmp, NULL, sizes[i]));
		NO_ROOM(sizes[i], vmem_aligned_alloc(pool.vmp, 16, sizes[i]));
	}
	for (int i = 0; i < 100; i++)
		cr_assert_eq(p[i], 0x5a);
	cr_expect_eq(vmem_check(pool.vmp), 1);
	vmem_delete(pool.vmp);
}

POOL_TEST(free_of_null_does_nothing_and_free_keeps_errno)
{
	struct test_pool pool = make(VMEM_MIN_POOL);
	void *small = vmem_malloc(pool.vmp, 10), *large = vmem_malloc(pool.vmp, 2 * MIB);

	errno = 4711;
	vmem_free(pool.vmp, NULL);
	vmem_free(pool.vmp, small);
	vmem_free(pool.vmp, large);
	cr_expect_eq(errno, 4711);
	vmem_delete(pool.vmp);
}

POOL_TEST(calloc_clears_recycled_memory)
{
	struct test_pool pool = make(VMEM_MIN_POOL);
	size_t sizes[] = { 1, 64, 1000, 4096, 40000, 300000, 3 * MIB };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (int round = 0; round < 3; round++) {
			unsigned char *p = vmem_calloc(pool.vmp, sizes[i], 1);

			cr_assert_not_null(p, "%zu", sizes[i]);
			for (size_t k = 0; k < sizes[i]; k++)
				cr_assert_eq(p[k], 0, "byte %zu of %zu", k, sizes[i]);
			memset(p, 0xff, vmem_malloc_usable_size(pool.vmp, p));
			vmem_free(pool.vmp, p);
		}
	}
	vmem_delete(pool.vmp);
}

POOL_TEST(calloc_overflow_is_enomem)
{
	struct test_pool pool = make(VMEM_MIN_POOL);

	NO_ROOM(SIZE_MAX, vmem_calloc(pool.vmp, SIZE_MAX / 2, 3));
	NO_ROOM(SIZE_MAX, vmem_calloc(pool.vmp, (size_t)1 << 32, (size_t)1 << 32));
	vmem_delete(pool.vmp);
}

POOL_TEST(realloc_keeps_the_content)
{
	struct test_pool pool = make(VMEM_MIN_POOL);
	size_t sizes[] = { 4, 40, 400, 16, 5000, 100000, 99999, 3 * MIB, 12, 1 };
	unsigned char *p = NULL;
	size_t old = 0;

	errno = 4711;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		p = vmem_realloc(pool.vmp, p, sizes[i]);
		cr_assert_not_null(p);
		for (size_t k = 0; k < old && k < sizes[i]; k++)
			cr_assert_eq(p[k], (unsigned char)(k * 7), "byte %zu after %zu -> %zu", k, old, sizes[i]);
		for (size_t k = 0; k < sizes[i]; k++)
			p[k] = (unsigned char)(k * 7);
		old = sizes[i];
	}
	cr_expect_eq(errno, 4711);
	vmem_free(pool.vmp, p);
	vmem_delete(pool.vmp);
}

POOL_TEST(realloc_to_0_frees_and_gives_null)
{
	struct test_pool pool = make(VMEM_MIN_POOL);

	errno = 4711;
	for (int i = 0; i < 100; i++) { /* 100 times 4 MiB from 14: each must have been freed */
		void *p = vmem_malloc(pool.vmp, 4 * MIB);

		cr_assert_not_null(p);
		cr_assert_null(vmem_realloc(pool.vmp, p, 0));
	}
	cr_expect_eq(errno, 4711);
	vmem_delete(pool.vmp);
}

POOL_TEST(aligned_alloc_takes_any_power_of_two)
{
	struct test_pool pool = make(VMEM_MIN_POOL);
	size_t bad[] = { 0, 3, 5, 6, 24, 4097, SIZE_MAX, ((size_t)1 << 63) + 1 };
	size_t large[] = { (size_t)1 << 23, (size_t)1 << 40, (size_t)1 << 63 };

	for (size_t align = 1; align <= 4 * MIB; align *= 2) {
		for (size_t size = 0; size < 5000; size = size * 3 + 1) {
			void *p = vmem_aligned_alloc(pool.vmp, align, size);

			cr_assert_not_null(p, "%zu %zu", align, size);
			cr_expect_eq((uintptr_t)p % align, 0);
			cr_expect(in_pool(&pool, p, size));
			vmem_free(pool.vmp, p);
		}
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		errno = 0;
		cr_expect_null(vmem_aligned_alloc(pool.vmp, bad[i], 8));
		cr_expect_eq(errno, EINVAL, "%zu", bad[i]);
	}
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
		void *p;

		errno = 0;
		p = vmem_aligned_alloc(pool.vmp, large[i], 8);
		if (p == NULL)
			cr_expect_eq(errno, ENOMEM, "%zu", large[i]);
		else /* by luck of the pool's address */
			cr_expect_eq((uintptr_t)p % large[i], 0);
	}
	vmem_delete(pool.vmp);
}

POOL_TEST(strings_are_copied_with_their_end)
{
	struct test_pool pool = make(VMEM_MIN_POOL);
	char *a = vmem_strdup(pool.vmp, "a string"), *b = vmem_strdup(pool.vmp, "");
	wchar_t *c = vmem_wcsdup(pool.vmp, L"za\u017c\u00f3\u0142\u0107"), *d = vmem_wcsdup(pool.vmp, L"");

	cr_assert(a != NULL && b != NULL && c != NULL && d != NULL);
	cr_expect_str_eq(a, "a string");
	cr_expect_str_eq(b, "");
	cr_expect_eq(wcscmp(c, L"za\u017c\u00f3\u0142\u0107"), 0);
	cr_expect_eq(wcscmp(d, L""), 0);
	cr_expect(in_pool(&pool, a, 9) && in_pool(&pool, c, 7 * sizeof(wchar_t)));
	vmem_free(pool.vmp, a);
	vmem_free(pool.vmp, b);
	vmem_free(pool.vmp, c);
	vmem_free(pool.vmp, d);
	vmem_delete(pool.vmp);
}

POOL_TEST(strings_that_do_not_fit_are_enomem)
{
	struct test_pool pool = make(VMEM_MIN_POOL);
	size_t n = VMEM_MIN_POOL;
	char *text = malloc(n + 1);
	wchar_t *wide = malloc((n / 4 + 1) * sizeof(wchar_t));

	memset(text, 'x', n);
	text[n] = '\0';
	wmemset(wide, L'x', n / 4);
	wide[n / 4] = L'\0';
	errno = 0;
	cr_expect_null(vmem_strdup(pool.vmp, text));
	cr_expect_eq(errno, ENOMEM);
	errno = 0;
	cr_expect_null(vmem_wcsdup(pool.vmp, wide));
	cr_expect_eq(errno, ENOMEM);
	free(text);
	free(wide);
	vmem_delete(pool.vmp);
}

POOL_TEST(usable_size_of_null_and_of_strangers_is_0)
{
	struct test_pool pool = make(VMEM_MIN_POOL), other = make(VMEM_MIN_POOL);
	void *small = vmem_malloc(other.vmp, 10), *large = vmem_malloc(other.vmp, MIB);
	int local;

	cr_expect_eq(vmem_malloc_usable_size(pool.vmp, NULL), 0);
	cr_expect_eq(vmem_malloc_usable_size(pool.vmp, small), 0);
	cr_expect_eq(vmem_malloc_usable_size(pool.vmp, large), 0);
	cr_expect_eq(vmem_malloc_usable_size(pool.vmp, &local), 0);
	cr_expect_geq(vmem_malloc_usable_size(other.vmp, large), MIB);
	vmem_delete(pool.vmp);
	vmem_delete(other.vmp);
}

/* Exhaustion: ENOMEM once, and again all of it after everything is freed. */
POOL_TEST(a_full_pool_gives_all_back)
{
	struct test_pool pool = make(VMEM_MIN_POOL);
	size_t counts[2];

	for (int round = 0; round < 2; round++) {
		void **list = NULL, **p;

		counts[round] = 0;
		errno = 0;
		while ((p = vmem_malloc(pool.vmp, 64)) != NULL) {
			*p = list;
			list = p;
			counts[round]++;
		}
		cr_expect_eq(errno, ENOMEM);
		cr_expect_eq(vmem_check(pool.vmp), 1);
		while (list != NULL) {
			p = *list;
			vmem_free(pool.vmp, list);
			list = p;
		}
	}
	cr_expect_geq(counts[0] * 64, VMEM_MIN_POOL / 100 * 90);
	cr_expect_eq(counts[0], counts[1]);
	vmem_delete(pool.vmp);
}

POOL_TEST(shrinking_never_fails_in_a_full_pool)
{
	struct test_pool pool = make(VMEM_MIN_POOL);
	size_t sizes[] = { 8 * MIB, 5 * MIB, 100000, 40000, 30000, 5000, 100, 16, 1 };
	unsigned char *p = vmem_malloc(pool.vmp, 9 * MIB);

	cr_assert_not_null(p);
	p[0] = 42;
	while (vmem_malloc(pool.vmp, 16) != NULL)
		;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		p = vmem_realloc(pool.vmp, p, sizes[i]);
		cr_assert_not_null(p, "%zu", sizes[i]);
		cr_assert_eq(p[0], 42);
	}
	cr_expect_not_null(vmem_malloc(pool.vmp, 7 * MIB));
	vmem_delete(pool.vmp);
}

Test(api_vmem_blocks, two_pools_do_not_mix)
{
	struct test_pool a = file_pool(VMEM_MIN_POOL), b = region_pool(VMEM_MIN_POOL);

	for (int i = 0; i < 100000; i++) {
		void *p = vmem_malloc(a.vmp, 100), *q = vmem_malloc(b.vmp, 100);

		cr_assert(in_pool(&a, p, 100));
		cr_assert(in_pool(&b, q, 100));
		vmem_free(b.vmp, q);
		vmem_free(a.vmp, p);
	}
	vmem_delete(a.vmp);
	vmem_delete(b.vmp);
}

/* --- misuse: one line on stderr and abort --------------------------------------------------------------------- */

Test(api_vmem_blocks, free_of_a_foreign_pointer_aborts, .signal = SIGABRT)
{
	struct test_pool pool = file_pool(VMEM_MIN_POOL);
	int local;

	vmem_free(pool.vmp, &local);
}

Test(api_vmem_blocks, free_of_another_pools_block_aborts, .signal = SIGABRT)
{
	struct test_pool pool = file_pool(VMEM_MIN_POOL), other = file_pool(VMEM_MIN_POOL);

	vmem_free(pool.vmp, vmem_malloc(other.vmp, 100));
}

Test(api_vmem_blocks, free_inside_a_block_aborts, .signal = SIGABRT)
{
	struct test_pool pool = file_pool(VMEM_MIN_POOL);

	vmem_free(pool.vmp, (char *)vmem_malloc(pool.vmp, 100) + 1);
}

Test(api_vmem_blocks, double_free_aborts, .signal = SIGABRT)
{
	struct test_pool pool = file_pool(VMEM_MIN_POOL);
	void *p = vmem_malloc(pool.vmp, 100);

	vmem_free(pool.vmp, p);
	vmem_free(pool.vmp, p);
}

Test(api_vmem_blocks, realloc_of_a_foreign_pointer_aborts, .signal = SIGABRT)
{
	struct test_pool pool = file_pool(VMEM_MIN_POOL);
	int local;

	(void)!vmem_realloc(pool.vmp, &local, 10);
}
