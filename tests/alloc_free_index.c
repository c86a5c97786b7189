/* alloc_free_index.c -- the tree of summaries against a plain array of pages */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "alloc/extent.h"
#include "alloc/free_index.h"
#include "alloc/heap_state.h"
#include "tests/heap_region.h"

#define SIZE ((size_t)96 << 20)

static struct heap_region region;
static struct heap *heap;
static unsigned char *model; /* 1: used */
static uint32_t ready;

static void
begin(void)
{
	uint32_t page;

	heap_region_map(&region, SIZE, HEAP_BACKING_GIVEN, false);
	heap = heap_region_create_heap(&region);
	/* All tables ready: take everything and give it back. */
	cr_assert_eq(extent_alloc(heap, heap->npages, 0, false, &page), 0);
	cr_assert_eq(page, 0);
	extent_free(heap, 0, heap->npages);
	ready = heap->media->ready_chunks << HEAP_LG_CHUNK_PAGES;
	model = calloc(ready, 1);
	for (uint32_t i = heap->npages; i < ready; i++)
		model[i] = 1;
}

TestSuite(alloc_free_index, .init = begin);

/* Changes bits behind the extents' back, as only this test may. */
static void
mark(uint32_t page, uint32_t n, bool used)
{
	for (uint32_t i = page; i < page + n; i++) {
		uint64_t *word = &heap->chunks[i >> HEAP_LG_CHUNK_PAGES].used[(i & (HEAP_CHUNK_PAGES - 1)) / 64];

		model[i] = used;
		*word = used ? *word | UINT64_C(1) << (i % 64) : *word & ~(UINT64_C(1) << (i % 64));
	}
	free_index_update(heap, page, n, false);
}

/* Lowest run of n at a multiple of `step` pages' address, or UINT32_MAX. */
static uint32_t
model_find(uint32_t n, uint64_t step)
{
	uint64_t origin = (uintptr_t)heap->pages >> HEAP_LG_PAGE;
	uint32_t run = 0;

	for (uint32_t i = 0; i < ready; i++) {
		run = model[i] ? 0 : run + 1;
		if (run >= n && (origin + i + 1 - n) % step == 0)
			return i + 1 - n;
	}
	return UINT32_MAX;
}

static uint32_t
model_longest(void)
{
	uint32_t run = 0, longest = 0;

	for (uint32_t i = 0; i < ready; i++) {
		run = model[i] ? 0 : run + 1;
		longest = run > longest ? run : longest;
	}
	return longest;
}

Test(alloc_free_index, f3_finds_the_lowest_run_and_f1_stays_true)
{
	srand(1);
	for (int round = 0; round < 600; round++) {
		uint32_t n = 1 + (uint32_t)rand() % (round % 7 == 0 ? 3000 : 40), page = (uint32_t)rand() % (heap->npages - n);

		mark(page, n, rand() % 5 != 0);
		if (round % 10 != 0)
			continue;
		cr_assert(free_index_valid(heap), "round %d", round);
		cr_assert_eq(free_index_longest(heap), model_longest());
		for (uint32_t want = 1; want < 9000; want += want / 2 + 1) {
			uint32_t found = UINT32_MAX, expect = model_find(want, 1);

			cr_assert_eq(free_index_find(heap, want, &found), expect != UINT32_MAX, "%u pages", want);
			cr_assert_eq(found, expect, "%u pages: %u, not %u", want, found, expect);
		}
	}
}

Test(alloc_free_index, an_aligned_run_is_found_whenever_there_is_one)
{
	srand(2);
	mark(0, heap->npages, true);
	for (int round = 0; round < 300; round++) {
		uint32_t n = 1 + (uint32_t)rand() % 30, page = (uint32_t)rand() % (heap->npages - n);

		mark(page, n, rand() % 3 == 0);
		for (uint64_t step = 2; step <= 64; step *= 2) {
			uint32_t want = 1 + (uint32_t)rand() % 20, found = UINT32_MAX;
			bool there = free_index_find_aligned(heap, want, step << HEAP_LG_PAGE, &found);

			cr_assert_eq(there, model_find(want, step) != UINT32_MAX, "%u pages at multiples of %u", want, (unsigned)step);
			if (there) {
				cr_assert_eq(((uintptr_t)heap->pages + ((uintptr_t)found << HEAP_LG_PAGE)) % (step << HEAP_LG_PAGE), 0);
				cr_assert(free_index_is_free(heap, found, want));
			}
		}
	}
}

Test(alloc_free_index, next_run_walks_all_free_pages_once)
{
	uint32_t from = 0, page, n, free = 0, expect = 0;

	srand(3);
	for (int i = 0; i < 500; i++)
		mark((uint32_t)rand() % (heap->npages - 100), 1 + (uint32_t)rand() % 100, true);
	while (free_index_next_run(heap, from, &page, &n)) {
		cr_assert(n > 0 && page >= from);
		for (uint32_t i = page; i < page + n; i++)
			cr_assert_eq(model[i], 0);
		cr_assert(page + n == ready || model[page + n] == 1);
		free += n;
		from = page + n;
	}
	for (uint32_t i = 0; i < ready; i++)
		expect += !model[i];
	cr_assert_eq(free, expect);
}

Test(alloc_free_index, a_wrong_node_is_seen)
{
	cr_assert(free_index_valid(heap));
	heap->nodes[0][3].max ^= 1;
	cr_assert_not(free_index_valid(heap));
	heap->nodes[0][3].max ^= 1;
	heap->nodes[1][0].end ^= 4;
	cr_assert_not(free_index_valid(heap));
}
