/* alloc_tcache.c -- magazines: room, order, budget, draining, the freeze, the shared cache */
#include <criterion/criterion.h>

#include <string.h>

#include "alloc/heap_state.h"
#include "tests/heap_region.h"

static struct heap_region region;
static struct heap *heap;
static struct tcache_cell cell = TCACHE_CELL_INIT;

static void
begin(void)
{
	heap_region_map(&region, (size_t)64 << 20, HEAP_BACKING_GIVEN, false);
	heap = heap_region_create_heap(&region);
}

TestSuite(alloc_tcache, .init = begin);

/* T2: sentinels at both ends. */
static void
expect_magazines(const struct tcache *tc)
{
	size_t held = 0;

	for (unsigned sc = 1; sc <= SC_COUNT; sc++) {
		const struct magazine *mag = &tc->mags[sc];

		cr_assert_leq(mag->cap, mag->max);
		if (mag->cap == 0) {
			cr_assert_null(*tc->top[sc]);
			cr_assert_eq(tc->top[sc][1], TCACHE_FULL);
			continue;
		}
		cr_assert_null(mag->slots[0]);
		cr_assert_eq(mag->slots[mag->cap + 1], TCACHE_FULL, "class %u", sc);
		cr_assert_leq(tcache_count(tc, sc), mag->cap);
		held += (size_t)mag->cap * sc_size(sc);
	}
	cr_assert_eq(held, tc->granted, "T3");
}

Test(alloc_tcache, the_newest_slot_is_the_next)
{
	void *a = heap_malloc(heap, &cell, 100), *b = heap_malloc(heap, &cell, 100);

	heap_free(heap, &cell, a);
	heap_free(heap, &cell, b);
	cr_assert_eq(heap_malloc(heap, &cell, 100), b);
	cr_assert_eq(heap_malloc(heap, &cell, 100), a);
	expect_magazines(cell.own);
}

Test(alloc_tcache, t2_t3_hold_while_magazines_grow_and_shrink)
{
	static void *p[3000];

	for (int round = 0; round < 40; round++) {
		size_t size = (size_t)16 << (round * 7 % 16);
		unsigned n = size > 60000 ? 3 : 400;

		for (unsigned i = 0; i < n; i++)
			cr_assert_not_null(p[i] = heap_malloc(heap, &cell, size));
		for (unsigned i = 0; i < n; i++)
			heap_free(heap, &cell, p[i]);
		expect_magazines(cell.own);
	}
}

Test(alloc_tcache, a_first_refill_is_small_and_later_ones_grow)
{
	heap_malloc(heap, &cell, 64);
	unsigned sc = sc_of(64);
	uint32_t first = tcache_count(cell.own, sc);
	for (int i = 0; i < 2000; i++)
		heap_malloc(heap, &cell, 64);
	cr_assert_lt(first, 10);
	cr_assert_eq(cell.own->mags[sc].cap, cell.own->mags[sc].max);
	cr_assert_lt(cell.own->mags[sc].counts.nfills, 80);
}

Test(alloc_tcache, draining_gives_everything_back)
{
	for (size_t size = 8; size < 2000000; size *= 2)
		heap_free(heap, &cell, heap_malloc(heap, &cell, size));
	struct tcache *tc = tcache_enter(heap, &cell);
	tcache_drain(tc);
	expect_magazines(tc);
	for (unsigned sc = 1; sc <= SC_COUNT; sc++)
		cr_assert(tcache_count(tc, sc) == 0 && tc->mags[sc].claim == 0 && tc->mags[sc].cap == 0);
	tcache_leave(tc);
	cr_assert_eq(heap_check(heap, NULL, 0), 1);
}

Test(alloc_tcache, a_frozen_cache_is_out_of_reach_and_comes_back)
{
	void *p = heap_malloc(heap, &cell, 64);

	cr_assert_neq(cell.tc, &tcache_dummy);
	tcache_freeze_all(heap);
	cr_assert_eq(cell.tc, &tcache_dummy);
	cr_assert_null(heap_malloc_try(&cell, 64));
	cr_assert_not(heap_free_try(&cell, p));
	tcache_thaw_all(heap);
	cr_assert_eq(cell.tc, cell.own);
	cr_assert(heap_free_try(&cell, p));
}

Test(alloc_tcache, the_dummy_has_nothing_and_takes_nothing)
{
	struct tcache_cell none = TCACHE_CELL_INIT;
	char block[64];

	for (size_t size = 0; size <= SC_MAX_SIZE; size = size * 2 + 1)
		cr_assert_null(heap_malloc_try(&none, size));
	cr_assert_null(heap_malloc_try(&none, SIZE_MAX));
	cr_assert_not(heap_free_try(&none, block));
	cr_assert_not(heap_free_try(&none, NULL));
}

Test(alloc_tcache, an_ended_threads_cache_serves_the_next)
{
	struct tcache_cell other = TCACHE_CELL_INIT;

	heap_free(heap, &cell, heap_malloc(heap, &cell, 64));
	struct tcache *tc = cell.own;
	heap_thread_exit(heap, &cell);
	cr_assert(cell.own == NULL && cell.tc == &tcache_dummy);
	heap_malloc(heap, &other, 64);
	cr_assert_eq(other.own, tc);
	expect_magazines(tc);
}

Test(alloc_tcache, without_a_barrier_all_threads_share_one)
{
	static void *p[1000];

	heap->caches_allowed = false; /* what a kernel without membarrier(2) makes of it */
	for (int i = 0; i < 1000; i++) {
		cr_assert_not_null(p[i] = heap_malloc(heap, &cell, (size_t)i * 50));
		memset(p[i], i, (size_t)i * 50);
	}
	cr_assert_null(cell.own);
	for (int i = 0; i < 1000; i++)
		heap_free(heap, &cell, p[i]);
	cr_assert_eq(heap_check(heap, NULL, 0), 1);
	struct heap_stats stats;
	heap_stats_get(heap, &stats);
	cr_assert(stats.allocated == 0 && stats.cached == 0 && stats.ncaches == 0);
}

Test(alloc_tcache, a_class_that_is_no_longer_used_is_emptied)
{
	static void *p[3000];
	unsigned idle = sc_of(100);

	for (int i = 0; i < 50; i++)
		p[i] = heap_malloc(heap, &cell, 100);
	for (int i = 0; i < 50; i++)
		heap_free(heap, &cell, p[i]);
	cr_assert_gt(tcache_count(cell.own, idle), 0);
	/* each slab that another class claims moves the clock's hand by one class: two turns */
	for (int i = 0; i < 3000; i++)
		p[i] = heap_malloc(heap, &cell, 3000);
	cr_assert_eq(tcache_count(cell.own, idle), 0, "slots that nobody asks for keep a slab from the others");
	cr_assert_eq(cell.own->mags[idle].claim, 0);
	expect_magazines(cell.own);
	for (int i = 0; i < 3000; i++)
		heap_free(heap, &cell, p[i]);
}
