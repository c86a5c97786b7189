/* api_vmem_groups.c -- what the published library's own test groups ask of it, one test per group and kind of pool
 *
 * The groups that link that library's internals, ask for its allocator's exact layout, or run under valgrind have no
 * place here; creation, checks, versions, custom functions, statistics and messages have files of their own.
 */
#include "tests/vmem_test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <wchar.h>

#define POOL_TEST(name)                                                    \
	static void group_##name(test_pool_maker make);                    \
	Test(api_vmem_groups, name##_file) { group_##name(file_pool); }    \
	Test(api_vmem_groups, name##_region) { group_##name(region_pool); } \
	static void group_##name(test_pool_maker make)

static int mallocs, frees;

static void *
count_malloc(size_t size)
{
	mallocs++;
	return malloc(size);
}

static void
count_free(void *p)
{
	frees++;
	free(p);
}

static char *
count_strdup(const char *s)
{
	mallocs++;
	return strdup(s);
}

POOL_TEST(vmem_aligned_alloc)
{
	vmem_set_funcs(count_malloc, count_free, realloc, count_strdup, NULL);
	for (size_t align = 2; align <= 4 * MIB; align *= 2) {
		struct test_pool pool = make(VMEM_MIN_POOL);
		int *p[100], n = 0;

		while (n < 100 && (p[n] = vmem_aligned_alloc(pool.vmp, align, sizeof(int))) != NULL) {
			cr_assert(in_pool(&pool, p[n], sizeof(int)));
			cr_assert_eq((uintptr_t)p[n] % align, 0);
			*p[n] = 4321;
			cr_assert_eq(*p[n], 4321);
			n++;
		}
		cr_expect_gt(n, 0, "alignment %zu", align);
		while (n > 0)
			vmem_free(pool.vmp, p[--n]);
		vmem_delete(pool.vmp);
	}
	cr_expect_gt(mallocs, 0);
	cr_expect_eq(mallocs, frees);
}

POOL_TEST(vmem_malloc_calloc_realloc_strdup)
{
	struct test_pool pool = make(VMEM_MIN_POOL);
	int *p = vmem_malloc(pool.vmp, sizeof(int)), *c = vmem_calloc(pool.vmp, 1, sizeof(int));
	int *r = vmem_realloc(pool.vmp, NULL, sizeof(int)), *r2;
	char *s = vmem_strdup(pool.vmp, "test"), *empty = vmem_strdup(pool.vmp, "");
	wchar_t *w = vmem_wcsdup(pool.vmp, L"test"), *wempty = vmem_wcsdup(pool.vmp, L"");

	cr_assert(p != NULL && c != NULL && r != NULL && s != NULL && empty != NULL && w != NULL && wempty != NULL);
	*p = 4321;
	cr_expect_eq(*p, 4321);
	cr_expect_eq(*c, 0);
	*c = 4321;
	*r = 4321;
	cr_expect(in_pool(&pool, p, 4) && in_pool(&pool, c, 4) && in_pool(&pool, r, 4) && in_pool(&pool, s, 5));
	r2 = vmem_realloc(pool.vmp, r, 10 * sizeof(int));
	cr_assert_not_null(r2);
	cr_expect_eq(r2[0], 4321);
	r2[9] = 4321;
	cr_expect(in_pool(&pool, r2, 40));
	cr_expect_str_eq(s, "test");
	cr_expect_str_eq(empty, "");
	cr_expect_eq(wcscmp(w, L"test"), 0);
	cr_expect_eq(wcscmp(wempty, L""), 0);
	vmem_free(pool.vmp, p);
	vmem_free(pool.vmp, c);
	vmem_free(pool.vmp, r2);
	vmem_free(pool.vmp, s);
	vmem_free(pool.vmp, w);
	vmem_delete(pool.vmp);
}

/* Every size fills a fresh pool; every byte of every block is its own. */
POOL_TEST(vmem_check_allocations)
{
	enum { MOST = 1835008 };
	void **blocks = malloc(MOST * sizeof(*blocks));

	for (size_t size = 8; size <= 4 * MIB; size *= 2) {
		struct test_pool pool = make(VMEM_MIN_POOL);
		size_t n = 0;

		cr_expect_eq((uintptr_t)pool.vmp % (4 * MIB), 0);
		while (n < MOST && (blocks[n] = vmem_malloc(pool.vmp, size)) != NULL) {
			cr_assert(in_pool(&pool, blocks[n], size));
			memset(blocks[n], (int)(n % 251), size);
			n++;
		}
		cr_expect_geq(n, 1, "size %zu", size);
		if (size <= 65536)
			cr_expect_geq(n * size, VMEM_MIN_POOL / 100 * (size < 16 ? 45 : 90), "size %zu: %zu blocks", size, n);
		for (size_t i = 0; i < n; i++) {
			const unsigned char *p = blocks[i];

			cr_assert(p[0] == i % 251 && memcmp(p, p + 1, size - 1) == 0, "block %zu of %zu", i, size);
			vmem_free(pool.vmp, blocks[i]);
		}
		cr_expect_eq(vmem_check(pool.vmp), 1);
		vmem_delete(pool.vmp);
	}
	free(blocks);
}

POOL_TEST(vmem_create_in_region)
{
	struct test_pool pool = make(VMEM_MIN_POOL);
	int *p[300];

	for (int i = 0; i < 300; i++) {
		p[i] = vmem_malloc(pool.vmp, sizeof(int));
		cr_assert_not_null(p[i]);
		cr_assert(in_pool(&pool, p[i], sizeof(int)));
	}
	for (int i = 0; i < 300; i++)
		vmem_free(pool.vmp, p[i]);
	vmem_delete(pool.vmp);
}

POOL_TEST(vmem_malloc_usable_size)
{
	static const struct {
		size_t size, spare;
	} table[] = {
		{ 10, 8 }, { 100, 16 }, { 200, 32 }, { 500, 64 }, { 1000, 128 }, { 2000, 256 }, { 3000, 512 },
		{ 1 * MIB, 4 * MIB }, { 2 * MIB, 4 * MIB }, { 3 * MIB, 4 * MIB }, { 4 * MIB, 4 * MIB },
		{ 5 * MIB, 4 * MIB }, { 6 * MIB, 4 * MIB }, { 7 * MIB, 4 * MIB }, { 8 * MIB, 4 * MIB },
		{ 9 * MIB, 4 * MIB },
	};
	struct test_pool pool = make(VMEM_MIN_POOL * 2);

	cr_expect_eq(vmem_malloc_usable_size(pool.vmp, NULL), 0);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		void *p = vmem_malloc(pool.vmp, table[i].size);
		size_t usable;

		cr_assert_not_null(p, "%zu", table[i].size);
		usable = vmem_malloc_usable_size(pool.vmp, p);
		cr_expect_geq(usable, table[i].size);
		cr_expect_leq(usable, table[i].size + table[i].spare);
		memset(p, 0xff, usable);
		vmem_free(pool.vmp, p);
	}
	cr_expect_eq(vmem_check(pool.vmp), 1);
	vmem_delete(pool.vmp);
}

POOL_TEST(vmem_mix_allocations)
{
	struct test_pool pool = make(VMEM_MIN_POOL);
	void *p[24];
	size_t sum = 0, size = 8 * MIB;

	for (int i = 0; i < 24; i++, size /= 2) {
		p[i] = vmem_malloc(pool.vmp, size);
		if (p[i] != NULL) {
			memset(p[i], i, size);
			cr_assert(in_pool(&pool, p[i], size));
			sum += size;
		}
	}
	cr_expect_gt(sum, VMEM_MIN_POOL / 2);
	for (int i = 0; i < 24; i++)
		vmem_free(pool.vmp, p[i]);
	vmem_delete(pool.vmp);
}

POOL_TEST(vmem_out_of_memory)
{
	struct test_pool pool = make(VMEM_MIN_POOL);
	void **list = NULL, **p;
	size_t n = 0;

	while ((p = vmem_malloc(pool.vmp, sizeof(void *))) != NULL) {
		cr_assert(in_pool(&pool, p, sizeof(void *)));
		*p = list;
		list = p;
		n++;
	}
	cr_expect_geq(n, 1);
	cr_expect_eq(errno, ENOMEM);
	while (list != NULL) {
		p = *list;
		vmem_free(pool.vmp, list);
		list = p;
	}
	vmem_delete(pool.vmp);
}

POOL_TEST(vmem_pages_purging)
{
	enum { N = 100, SIZE = 3584 };
	struct test_pool pool = make(VMEM_MIN_POOL);
	unsigned char *p[N];

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < N; i++) {
			p[i] = round == 0 ? vmem_malloc(pool.vmp, SIZE) : vmem_calloc(pool.vmp, 1, SIZE);
			cr_assert_not_null(p[i]);
			for (int k = 0; round == 1 && k < SIZE; k++)
				cr_assert_eq(p[i][k], 0);
			memset(p[i], 0xff, SIZE);
		}
		for (int i = 0; i < N; i++)
			vmem_free(pool.vmp, p[i]);
	}
	vmem_delete(pool.vmp);
}

/* The part of vmem_realloc_inplace that holds for any allocator: neighbours that are free are used in place. The last
 * part asks the original's allocator not to find 16 bytes in 4 MiB; we do. */
POOL_TEST(vmem_realloc_inplace)
{
	struct test_pool pool = make(16 * MIB);
	int *p = vmem_malloc(pool.vmp, 12 * MIB), *q;

	cr_assert_not_null(p);
	cr_expect_eq(vmem_realloc(pool.vmp, p, 6 * MIB), p);
	cr_expect_eq(vmem_realloc(pool.vmp, p, 12 * MIB), p);
	cr_expect_eq(vmem_realloc(pool.vmp, p, 8 * MIB), p);
	q = vmem_malloc(pool.vmp, 4 * MIB);
	cr_assert_not_null(q);
	q = vmem_realloc(pool.vmp, q, 16);
	cr_assert_not_null(q);
	cr_expect_eq(vmem_malloc_usable_size(pool.vmp, q), 16);
	p = vmem_realloc(pool.vmp, p, 16);
	cr_assert_not_null(p);
	cr_expect_eq(vmem_malloc_usable_size(pool.vmp, p), 16);
	cr_expect_not_null(vmem_malloc(pool.vmp, 3 * MIB));
	vmem_delete(pool.vmp);
}

/* Sizes of vmem_valgrind_region: eight blocks that all must fit. */
POOL_TEST(vmem_valgrind_region)
{
	struct test_pool pool = make(16 * MIB);

	for (size_t i = 0, size = 256; i < 8; i++, size *= 4) {
		void *p = vmem_malloc(pool.vmp, size + 8);

		cr_assert_not_null(p, "%zu", size + 8);
		memset(p, 1, size + 8);
	}
	vmem_delete(pool.vmp);
}

/* Frees and mallocs through functions of the program: mallocs or frees seen, and mallocs at most 4 more. */
Test(api_vmem_groups, set_funcs)
{
	VMEM *pools[4];

	vmem_set_funcs(count_malloc, count_free, realloc, count_strdup, NULL);
	for (int i = 0; i < 4; i++)
		pools[i] = file_pool(VMEM_MIN_POOL).vmp;
	for (int i = 0; i < 4; i++) {
		void *p = vmem_malloc(pools[i], 64);

		cr_assert_not_null(p);
		vmem_free(pools[i], p);
	}
	for (int i = 0; i < 4; i++)
		vmem_delete(pools[i]);
	cr_expect(mallocs > 0 || frees > 0);
	cr_expect_leq(mallocs, frees + 4);
}

/* vmem_multiple_pools: each slot in turn holds a region pool and a file pool. */
#define SLOTS_MOST 128

struct slots {
	int n;
	char *regions[SLOTS_MOST];
	VMEM *pools[SLOTS_MOST];
	_Atomic int failures;
};

static void *
multiple_pools(void *arg)
{
	struct slots *slots = arg;

	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < slots->n; i++) {
			if (slots->pools[i] != NULL)
				vmem_delete(slots->pools[i]);
			slots->pools[i] = i % 2 == 0 ? vmem_create_in_region(slots->regions[i], VMEM_MIN_POOL) :
			                               vmem_create(test_dir(), VMEM_MIN_POOL);
			slots->failures += slots->pools[i] == NULL;
		}
		for (int i = 0; i < slots->n; i++) {
			void *p = vmem_malloc(slots->pools[i], 8);

			slots->failures += p == NULL;
			vmem_free(slots->pools[i], p);
		}
	}
	for (int i = 0; i < slots->n; i++)
		vmem_delete(slots->pools[i]);
	return NULL;
}

static void
run_multiple_pools(int pools, int threads)
{
	static struct slots slots[16];
	pthread_t id[16];

	for (int t = 0; t < threads; t++) {
		slots[t].n = pools;
		for (int i = 0; i < pools; i += 2)
			slots[t].regions[i] = region_new(VMEM_MIN_POOL);
	}
	for (int t = 0; t < threads; t++)
		pthread_create(&id[t], NULL, multiple_pools, &slots[t]);
	for (int t = 0; t < threads; t++) {
		pthread_join(id[t], NULL);
		cr_expect_eq(slots[t].failures, 0);
	}
}

Test(api_vmem_groups, vmem_multiple_pools_128_in_1_thread)
{
	run_multiple_pools(128, 1);
}

Test(api_vmem_groups, vmem_multiple_pools_4_in_16_threads)
{
	run_multiple_pools(4, 16);
}
