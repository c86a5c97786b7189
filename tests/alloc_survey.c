/* alloc_survey.c -- the survey tells what the heap is made of: the same as the heap's own counts and blocks, no page
 * left out or told twice; and whatever the tables hold, it comes to an end inside of them */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/heap_state.h"
#include "alloc/survey.h"
#include "tests/heap_region.h"

#define SIZE ((size_t)16 << 20)

static struct heap_region region;
static struct heap *heap;
static struct tcache_cell cell = TCACHE_CELL_INIT;
static uint64_t seed;

static void
begin_with(enum heap_backing backing)
{
	const char *text = getenv("PMHEAP_SEED");

	seed = text != NULL ? strtoull(text, NULL, 0) : 20261127;
	printf("PMHEAP_SEED=%llu\n", (unsigned long long)seed);
	heap_region_map(&region, SIZE, backing, false);
	heap = heap_region_create_heap(&region);
}

static uint64_t
rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Blocks of all kinds, every other one freed again. */
static void
fill(void)
{
	static void *blocks[3000];

	for (int i = 0; i < 3000; i++) {
		size_t size = i % 100 == 1 ? rnd() % 300000 : i % 10 == 3 ? rnd() % 40000 : rnd() % 700;

		blocks[i] = heap_malloc(heap, &cell, size);
	}
	for (int i = 0; i < 3000; i += 2)
		if (blocks[i] != NULL)
			heap_free(heap, &cell, blocks[i]);
}

static const char *
survey_region(struct survey *survey)
{
	return survey_begin(survey, region.config.base, region.config.size, region.config.reserved);
}

struct sums {
	uint64_t pages[SURVEY_KINDS];
	uint64_t slabs, larges, used_bytes, blocks;
};

/* V1 */
static struct sums
survey_all(void)
{
	struct sums sums = {0};
	struct survey_extent extent;
	struct survey survey;
	uint32_t at = 0;
	int last = -1;

	cr_assert_null(survey_region(&survey));
	while (survey_next(&survey, &extent)) {
		cr_assert_eq(extent.page, at, "page %u told, %u expected", extent.page, at);
		cr_assert_gt(extent.pages, 0);
		cr_assert_eq(extent.offset, (uint64_t)(heap_page_addr(heap, at) - heap->base));
		cr_assert(extent.kind <= SURVEY_LARGE || (int)extent.kind != last, "two of kind %d in a row",
			  extent.kind);
		last = (int)extent.kind;
		at += extent.pages;
		sums.pages[extent.kind] += extent.pages;
		sums.slabs += extent.kind == SURVEY_SLAB;
		sums.larges += extent.kind == SURVEY_LARGE;
		sums.blocks += extent.used;
		sums.used_bytes += extent.kind == SURVEY_LARGE ? (uint64_t)extent.pages << HEAP_LG_PAGE
							       : (uint64_t)extent.used * extent.slot_size;
	}
	cr_assert_eq(at, heap->npages);
	cr_assert_not(survey_next(&survey, &extent), "the end is the end");
	return sums;
}

static void
count_block(void *ctx, void *p, size_t usable)
{
	(void)p;
	(void)usable;
	++*(uint64_t *)ctx;
}

static void
compare(enum heap_backing backing)
{
	struct heap_stats stats;
	struct sums sums;
	uint64_t slabs = 0, blocks = 0;

	begin_with(backing);
	fill();
	heap_stats_get(heap, &stats);
	heap_each_block(heap, count_block, &blocks);
	sums = survey_all();
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++)
		slabs += stats.classes[sc].nslabs;
	cr_assert_gt(slabs, 20);
	cr_assert_gt(sums.larges, 5);
	cr_assert_eq(sums.slabs, slabs);
	cr_assert_eq(sums.used_bytes, stats.allocated + stats.cached, "caches count as used");
	cr_assert_geq(sums.blocks, blocks);
	cr_assert_eq((sums.pages[SURVEY_SLAB] + sums.pages[SURVEY_LARGE]) << HEAP_LG_PAGE, stats.active);
	cr_assert_eq(sums.pages[SURVEY_LOST], 0);

	/* Caches drained: what is used is what blocks are. */
	struct heap_config config = region.config;
	heap_detach(heap);
	heap_region_move(&region);
	config.base = region.config.base;
	cr_assert_eq(heap_attach(&heap, &config), 0);
	sums = survey_all();
	heap_stats_get(heap, &stats);
	cr_assert_eq(sums.blocks, blocks);
	cr_assert_eq(sums.used_bytes, stats.allocated);
	if (backing == HEAP_BACKING_SPARSE) {
		heap_free(heap, &cell, heap_malloc(heap, &cell, (size_t)2 << 20));
		cr_assert_gt(heap_purge_all(heap), 0);
		sums = survey_all();
		cr_assert_gt(sums.pages[SURVEY_HOLE], 0, "purged pages are holes");
		cr_assert_eq(sums.pages[SURVEY_FREE], 0);
	} else {
		cr_assert_eq(sums.pages[SURVEY_HOLE], 0, "all pages are there from the start");
		cr_assert_gt(sums.pages[SURVEY_FREE], 0);
	}
}

Test(alloc_survey, v1_full_heap_is_told_as_the_heap_counts_it)
{
	compare(HEAP_BACKING_FULL);
}

Test(alloc_survey, v1_sparse_heap_is_told_with_its_holes)
{
	compare(HEAP_BACKING_SPARSE);
}

Test(alloc_survey, new_heap_is_free_and_unused)
{
	struct sums sums;

	heap_region_map(&region, (size_t)256 << 20, HEAP_BACKING_FULL, false);
	heap = heap_region_create_heap(&region);
	sums = survey_all();
	cr_assert_eq(sums.slabs + sums.larges + sums.pages[SURVEY_LOST], 0);
	cr_assert_gt(sums.pages[SURVEY_FREE], 0);
	cr_assert_gt(sums.pages[SURVEY_UNUSED], 0);
}

Test(alloc_survey, what_is_no_heap_is_refused_with_a_reason)
{
	struct survey survey;
	struct heap_media *media;
	uint64_t magic;

	begin_with(HEAP_BACKING_FULL);
	media = heap->media;
	magic = media->magic;
	media->magic = 0;
	cr_assert_str_eq(survey_region(&survey), "the superblock is none");
	media->magic = magic;
	media->version++;
	cr_assert_not_null(strstr(survey_region(&survey), "newer"));
	media->version--;
	media->ready_chunks = media->nchunks + 1;
	cr_assert_str_eq(survey_region(&survey), "the superblock does not fit the region");
	media->ready_chunks = 0;
	cr_assert_not_null(survey_region(&survey));
	media->ready_chunks = 1;
	cr_assert_null(survey_region(&survey));
	cr_assert_not_null(survey_begin(&survey, region.config.base, SIZE - HEAP_PAGE, region.config.reserved));
	cr_assert_str_eq(survey_begin(&survey, region.config.base, 8192, 4096), "the region is too small for a heap");
}

Test(alloc_survey, extents_without_a_beginning_are_lost_pages)
{
	void *p;
	uint32_t page;

	begin_with(HEAP_BACKING_FULL);
	p = heap_malloc(heap, &cell, (size_t)2 << 20);
	page = heap_page_of(heap, p);
	heap->page_class[page] = SC_BODY;
	cr_assert_eq(survey_all().pages[SURVEY_LOST], 512);
	heap->page_class[page] = SC_LARGE;
	heap->page_map[page] = 0;
	cr_assert_eq(survey_all().pages[SURVEY_LOST], 512);
	heap->page_map[page] = UINT32_MAX; /* more than there are */
	cr_assert_eq(survey_all().pages[SURVEY_LOST], 512);
	heap->page_map[page] = 512;
	cr_assert_eq(survey_all().pages[SURVEY_LOST], 0);
}

/* Bytes of the tables overwritten at random: all pages are told nevertheless. */
Test(alloc_survey, v2_damaged_tables_are_told_to_their_end)
{
	struct survey survey;
	struct survey_extent extent;
	size_t from, to;

	begin_with(HEAP_BACKING_FULL);
	fill();
	from = (size_t)((char *)heap->chunks - heap->base);
	to = heap->media->pages_off;
	for (int round = 0; round < 300; round++) {
		uint32_t at = 0;

		for (int i = 0; i < 200; i++)
			heap->base[from + rnd() % (to - from)] = (char)rnd();
		cr_assert_null(survey_region(&survey));
		while (survey_next(&survey, &extent)) {
			cr_assert_eq(extent.page, at);
			cr_assert(extent.pages > 0 && extent.pages <= heap->npages - at);
			cr_assert_leq(extent.used, extent.nslots);
			at += extent.pages;
		}
		cr_assert_eq(at, heap->npages);
	}
}
