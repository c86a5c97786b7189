/* alloc_extent.c -- pages taken, given back, grown in place; those handed out committed, and zero when asked for */
#include <criterion/criterion.h>

#include <errno.h>
#include <string.h>

#include "alloc/commit.h"
#include "alloc/extent.h"
#include "alloc/heap_state.h"
#include "alloc/page_map.h"
#include "tests/heap_region.h"

static struct heap_region region;
static struct heap *heap;

static void
begin(enum heap_backing backing, bool dirty)
{
	heap_region_map(&region, (size_t)32 << 20, backing, dirty);
	heap = heap_region_create_heap(&region);
}

static bool
valid(void)
{
	const char *why = "";

	return extent_valid(heap, &why);
}

Test(alloc_extent, e1_pages_are_handed_out_once)
{
	uint32_t page[200], n = 0;

	begin(HEAP_BACKING_GIVEN, false);
	for (uint32_t i = 0; i < 200; i++) {
		cr_assert_eq(extent_alloc(heap, 1 + i % 9, 0, false, &page[i]), 0);
		cr_assert_eq(page[i], n, "lowest first, without gaps");
		n += 1 + i % 9;
	}
	cr_assert_eq(heap->media->used_pages, n);
	cr_assert(valid());
	for (uint32_t i = 0; i < 200; i += 2)
		extent_free(heap, page[i], 1 + i % 9);
	for (uint32_t i = 1; i < 200; i += 2)
		extent_free(heap, page[i], 1 + i % 9);
	cr_assert_eq(heap->media->used_pages, 0);
	cr_assert(valid());
	cr_assert_eq(extent_longest_free(heap), heap->npages, "neighbours are one run again");
}

Test(alloc_extent, all_pages_can_be_had_and_not_one_more)
{
	uint32_t page;

	begin(HEAP_BACKING_SPARSE, false);
	cr_assert_eq(extent_alloc(heap, heap->npages, 0, false, &page), 0);
	cr_assert_eq(extent_alloc(heap, 1, 0, false, &page), ENOMEM);
	extent_free(heap, 0, heap->npages);
	cr_assert_eq(extent_alloc(heap, heap->npages + 1, 0, false, &page), ENOMEM);
	cr_assert(valid());
}

Test(alloc_extent, growing_in_place_takes_free_pages_only)
{
	uint32_t a, b;

	begin(HEAP_BACKING_SPARSE, false);
	cr_assert_eq(extent_alloc(heap, 10, 0, false, &a), 0);
	cr_assert_eq(extent_alloc(heap, 10, 0, false, &b), 0);
	cr_assert_not(extent_take_at(heap, a + 10, 1), "that page is another extent's");
	extent_free(heap, b, 10);
	cr_assert(extent_take_at(heap, a + 10, 5));
	cr_assert_not(extent_take_at(heap, a + 14, 2));
	cr_assert(extent_take_at(heap, a + 15, heap->npages - 15), "up to the last page, tables growing on the way");
	cr_assert_not(extent_take_at(heap, heap->npages - 1, 2));
	cr_assert(valid());
	memset(heap_page_addr(heap, a), 1, (size_t)heap->npages << HEAP_LG_PAGE);
}

Test(alloc_extent, e2_what_is_handed_out_is_committed)
{
	uint32_t page;

	begin(HEAP_BACKING_SPARSE, false);
	size_t before = heap_region_file_bytes(&region);
	cr_assert_eq(extent_alloc(heap, 1000, 0, false, &page), 0);
	cr_assert_geq(heap_region_file_bytes(&region), before + 1000 * HEAP_PAGE);
	cr_assert_eq(heap->committed_pages, 1000);
	cr_assert_eq(extent_idle_pages(heap), 0);
	extent_free(heap, page, 1000);
	cr_assert_eq(extent_idle_pages(heap), 1000, "given back, still held by the file");
	cr_assert(valid());
}

Test(alloc_extent, e3_zero_is_zero_whoever_had_the_pages)
{
	uint32_t page;

	begin(HEAP_BACKING_SPARSE, false);
	for (int round = 0; round < 3; round++) {
		cr_assert_eq(extent_alloc(heap, 300 + (uint32_t)round * 100, 0, true, &page), 0);
		char *p = heap_page_addr(heap, page);
		for (size_t i = 0; i < (300 + (size_t)round * 100) << HEAP_LG_PAGE; i += 64)
			cr_assert_eq(p[i], 0);
		memset(p, 0xff, (300 + (size_t)round * 100) << HEAP_LG_PAGE);
		extent_free(heap, page, 300 + (uint32_t)round * 100);
	}
}

Test(alloc_extent, e4_tables_grow_with_use)
{
	uint32_t page;

	begin(HEAP_BACKING_GIVEN, true);
	cr_assert_eq(heap->media->ready_chunks, 1);
	cr_assert_eq(extent_alloc(heap, HEAP_CHUNK_PAGES * 2, 0, false, &page), 0);
	cr_assert_geq(heap->media->ready_chunks, 2);
	cr_assert_lt(heap->media->ready_chunks, heap->nchunks);
	cr_assert(valid());
}

Test(alloc_extent, taking_for_the_purger_leaves_no_page_behind)
{
	uint32_t a, b, page;

	begin(HEAP_BACKING_SPARSE, false);
	cr_assert_eq(extent_alloc(heap, 100, 0, false, &a), 0);
	cr_assert_eq(extent_alloc(heap, 1, 0, false, &b), 0);
	extent_free(heap, a, 100);
	cr_assert_eq(extent_take_committed(heap, 0, 0, 30, &page), 30);
	cr_assert_eq(page, a);
	cr_assert(commit_punch(heap, page, 30));
	extent_put_back(heap, page, 30);
	cr_assert_eq(extent_take_committed(heap, 0, 0, 512, &page), 70, "what was purged is not idle any more");
	cr_assert_eq(page, a + 30);
	extent_put_back(heap, page, 70);
	cr_assert_eq(extent_idle_pages(heap), 70);
	cr_assert_eq(extent_take_committed(heap, 0, 40, 512, &page), 60, "from a page on");
	cr_assert(commit_punch(heap, page, 60));
	extent_put_back(heap, page, 60);
	cr_assert_eq(extent_take_committed(heap, 7, 0, 512, &page), 0, "a chunk that is not ready");
	cr_assert(valid());
}

Test(alloc_extent, damage_is_seen)
{
	uint32_t page;

	begin(HEAP_BACKING_SPARSE, false);
	cr_assert_eq(extent_alloc(heap, 4, 0, false, &page), 0);
	heap->chunks[0].used[0] ^= 1;
	cr_assert_not(valid());
	heap->chunks[0].used[0] ^= 1;
	cr_assert(valid());
	heap->chunks[0].committed[0] &= ~UINT64_C(1);
	cr_assert_not(valid(), "in use and not committed");
}
