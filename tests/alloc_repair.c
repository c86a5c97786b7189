/* alloc_repair.c -- heap_repair(): from the truth everything, from damage a reason, from nothing an invention
 *
 * A heap with some of everything is made once and detached. Each test damages a copy of its region as a kill might leave
 * it, or as nothing but a bad medium does, repairs, and compares all blocks. What kills really leave is in
 * crash_alloc_steps.c.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "alloc/bin.h"
#include "alloc/extent.h"
#include "alloc/heap.h"
#include "alloc/heap_media.h"
#include "alloc/heap_state.h"
#include "alloc/page_map.h"
#include "alloc/repair.h"
#include "alloc/slab.h"
#include "tests/crash_log.h"
#include "tests/heap_region.h"

#define SIZE ((size_t)6 << 20)
#define BLOCKS 4000

struct block {
	size_t off, size;
};

static struct heap_region whole, copy; /* the heap as it was left; the one that is damaged */
static struct block blocks[BLOCKS];    /* live ones */
static size_t nblocks;

static void
begin(void)
{
	struct tcache_cell cell = TCACHE_CELL_INIT;
	static void *p[BLOCKS];
	static size_t sizes[BLOCKS];
	size_t n = 0;

	heap_region_map(&whole, SIZE, HEAP_BACKING_GIVEN, false);
	heap_region_map(&copy, SIZE, HEAP_BACKING_GIVEN, false);
	struct heap *heap = heap_region_create_heap(&whole);
	for (size_t size = 16; size < 300000; size += size / 3 + 16)
		for (size_t i = 0; i < (size < 5000 ? 50 : 2); i++)
			if ((p[n] = heap_malloc(heap, &cell, size)))
				sizes[n++] = size;
	sizes[n] = (size_t)3 << 19;
	p[n] = heap_malloc(heap, &cell, sizes[n]);
	cr_assert_not_null(p[n++]);
	for (size_t i = 0; i < n; i++) {
		if (i % 3 == 0 && i + 1 < n) {
			heap_free(heap, &cell, p[i]);
			continue;
		}
		blocks[nblocks].off = (size_t)((char *)p[i] - (char *)whole.config.base);
		blocks[nblocks++].size = sizes[i];
		memset(p[i], (int)(i % 251), sizes[i]);
	}
	heap_detach(heap);
}

TestSuite(alloc_repair, .init = begin);

/* --- a damaged copy ---------------------------------------------------------------------------------------------- */

/* The heap in the copy, as a process has it that is about to be killed. */
static struct heap *
attach_copy(void)
{
	struct heap *heap;

	memcpy(copy.config.base, whole.config.base, SIZE);
	cr_assert_eq(heap_attach(&heap, &copy.config), 0);
	return heap;
}

static bool
in_blocks(size_t off, size_t size)
{
	for (size_t i = 0; i < nblocks; i++)
		if (off < blocks[i].off + blocks[i].size && blocks[i].off < off + size)
			return true;
	return false;
}

struct seen {
	const char *base;
	size_t next; /* of blocks, which ascend as the walk does once they are sorted */
	size_t others;
};

static int
by_offset(const void *a, const void *b)
{
	const struct block *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

static void
see(void *ctx, void *p, size_t usable)
{
	struct seen *seen = ctx;
	size_t off = (size_t)((const char *)p - seen->base);

	if (seen->next < nblocks && blocks[seen->next].off == off && blocks[seen->next].size <= usable)
		seen->next++;
	else
		seen->others++;
}

/* The repaired copy can be attached, anywhere; all blocks are there with their bytes; `others` more are. New blocks lie
 * over none of them. */
static void
expect_whole(const char *what, size_t others)
{
	struct tcache_cell cell = TCACHE_CELL_INIT;
	struct heap *heap;
	char why[128];

	heap_region_move(&copy);
	qsort(blocks, nblocks, sizeof(blocks[0]), by_offset);
	cr_assert_eq(heap_attach(&heap, &copy.config), 0, "%s: cannot be attached", what);
	cr_assert_eq(heap_check(heap, why, sizeof(why)), 1, "%s: %s", what, why);
	struct seen seen = {copy.config.base, 0, 0};
	heap_each_block(heap, see, &seen);
	cr_expect_eq(seen.next, nblocks, "%s: block %zu of %zu is gone", what, seen.next, nblocks);
	cr_expect_eq(seen.others, others, "%s: %zu blocks that were none", what, seen.others);
	for (size_t i = 0; i < nblocks; i++)
		cr_expect_eq(memcmp((char *)copy.config.base + blocks[i].off, (char *)whole.config.base + blocks[i].off,
				    blocks[i].size),
			     0, "%s: a block's bytes have changed", what);
	for (size_t size = 8; size < 200000; size += size / 2) {
		char *p = heap_malloc(heap, &cell, size);

		cr_expect(p == NULL || !in_blocks((size_t)(p - (char *)copy.config.base), size),
			  "%s: a new block lies over an old one", what);
	}
	heap_detach(heap);
}

/* `damage` is what the process did last. */
static struct heap_repair_report
repair_after(void (*damage)(struct heap *heap), const char *what, size_t others)
{
	struct heap_repair_report report;
	struct heap *heap = attach_copy();

	damage(heap);
	heap_abandon(heap);
	int error = heap_repair(&copy.config, NULL, &report);
	cr_assert_eq(error, 0, "%s: %s", what, report.why);
	expect_whole(what, others);
	return report;
}

static void
expect_fixed(void (*damage)(struct heap *heap), const char *what, enum heap_repair_kind kind)
{
	struct heap_repair_report report = repair_after(damage, what, 0);

	cr_expect_gt(report.fixed[kind], 0, "%s: nothing of its kind was fixed", what);
	for (unsigned k = 0; k < HEAP_REPAIR_KINDS; k++)
		cr_expect(k == (unsigned)kind || report.fixed[k] == 0 || k >= HEAP_REPAIR_INDEX,
			  "%s: %s were fixed too", what, heap_repair_name((enum heap_repair_kind)k));
}

static uint32_t
page_with(const struct heap *heap, unsigned low, unsigned high)
{
	for (uint32_t page = 0; page < heap->npages; page++)
		if (heap->page_class[page] >= low && heap->page_class[page] <= high)
			return page;
	cr_assert_fail("no page of class %u to %u", low, high);
	return 0;
}

static struct slab_media *
some_slab(const struct heap *heap)
{
	return &heap->slabs[heap->page_map[page_with(heap, 1, SC_SLAB_COUNT)]];
}

/* --- what is derived --------------------------------------------------------------------------------------------- */

static void
nothing(struct heap *heap)
{
	(void)heap;
}

Test(alloc_repair, a_whole_heap_has_nothing_to_fix)
{
	struct heap_repair_report report = repair_after(nothing, "a whole heap", 0);

	for (unsigned k = 0; k < HEAP_REPAIR_KINDS; k++)
		cr_expect_eq(report.fixed[k], 0, "%s", heap_repair_name((enum heap_repair_kind)k));
	cr_expect_eq(report.recovered, 0);
	cr_expect_eq(report.cached_max, 0);
	cr_expect_eq(report.slots + report.large, nblocks);
}

static void
used_bits(struct heap *heap)
{
	for (unsigned w = 0; w < HEAP_CHUNK_WORDS; w++)
		heap->chunks[0].used[w] = w % 2 ? 0 : UINT64_MAX;
}

static void
committed_bits(struct heap *heap)
{
	atomic_store(&heap->chunks[0].committed[0], 0);
}

static void
dirty_bits(struct heap *heap)
{
	atomic_store(&heap->chunks[0].dirty[0], 0);
}

static void
bodies(struct heap *heap)
{
	uint32_t page = page_with(heap, SC_LARGE, SC_LARGE);

	heap->page_class[page + 1] = 0;
	heap->page_class[page + 2] = 0xff;
}

static void
class_of_large(struct heap *heap)
{
	heap->page_class[page_with(heap, SC_LARGE, SC_LARGE)] = SC_COUNT;
}

static void
geometry(struct heap *heap)
{
	struct slab_media *slab = some_slab(heap);

	slab->nslots = slab->slot_size = UINT32_MAX;
	slab->recip = 0;
}

static void
states(struct heap *heap)
{
	for (uint32_t i = 0; i < heap->npages / SC_MIN_SLAB_PAGES; i++)
		atomic_store(&heap->slabs[i].state, UINT64_C(0x0123456789abcdef));
}

static void
bits_of_no_slot(struct heap *heap)
{
	for (uint32_t page = 0; page < heap->npages; page++) {
		if (heap->page_class[page] == 0 || heap->page_class[page] > SC_SLAB_COUNT)
			continue;
		struct slab_media *slab = &heap->slabs[heap->page_map[page]];

		if (slab->nslots % 64 != 0)
			slab_bits(heap, slab)[slab->nslots / 64] |= UINT64_C(1) << 63;
	}
}

static void
lists(struct heap *heap)
{
	for (unsigned sc = 0; sc <= SC_SLAB_COUNT; sc++)
		heap->media->bins[sc] = (struct bin_media){UINT32_MAX, 7, 1000, 0};
	for (uint32_t i = 0; i < heap->npages / SC_MIN_SLAB_PAGES; i++)
		heap->slabs[i].next = heap->slabs[i].prev = i + 1;
}

static void
nodes(struct heap *heap)
{
	for (uint32_t i = 0; i < heap->nchunks; i++)
		memset(&heap->nodes[0][i], (int)i * 77, sizeof(struct node_media));
	memset(heap->nodes[1], 0xff, sizeof(struct node_media));
}

static void
counts(struct heap *heap)
{
	heap->media->used_pages = UINT64_MAX;
	heap->media->committed_pages = UINT64_MAX;
	heap->media->generation = UINT64_MAX;
	heap->media->checksum = 12345;
}

Test(alloc_repair, all_that_is_derived_is_made_anew)
{
	expect_fixed(used_bits, "used bits", HEAP_REPAIR_USED);
	expect_fixed(committed_bits, "committed bits", HEAP_REPAIR_FILE);
	expect_fixed(dirty_bits, "dirty bits", HEAP_REPAIR_FILE);
	expect_fixed(bodies, "bodies", HEAP_REPAIR_PAGES);
	expect_fixed(class_of_large, "a large extent's class", HEAP_REPAIR_PAGES);
	expect_fixed(geometry, "a slab's geometry", HEAP_REPAIR_SLABS);
	expect_fixed(states, "slabs' states", HEAP_REPAIR_SLABS);
	expect_fixed(bits_of_no_slot, "bits of no slot", HEAP_REPAIR_SLOTS);
	expect_fixed(lists, "lists", HEAP_REPAIR_LISTS);
	expect_fixed(nodes, "nodes", HEAP_REPAIR_INDEX);
	expect_fixed(counts, "counts", HEAP_REPAIR_COUNTS);
}

static void
everything(struct heap *heap)
{
	used_bits(heap);
	committed_bits(heap);
	dirty_bits(heap);
	bodies(heap);
	class_of_large(heap);
	bits_of_no_slot(heap);
	geometry(heap);
	states(heap);
	lists(heap);
	nodes(heap);
	counts(heap);
}

Test(alloc_repair, all_at_once_and_nothing_the_second_time)
{
	struct heap_repair_report report = repair_after(everything, "everything", 0);

	cr_expect_eq(report.slots + report.large, nblocks);
	cr_assert_eq(heap_repair(&copy.config, NULL, &report), 0);
	for (unsigned k = 0; k < HEAP_REPAIR_KINDS; k++)
		cr_expect_eq(report.fixed[k], 0, "%s again", heap_repair_name((enum heap_repair_kind)k));
	cr_expect_eq(report.recovered, 0);
}

/* --- what a kill leaves ------------------------------------------------------------------------------------------ */

static uint32_t
take_pages(struct heap *heap, uint32_t n)
{
	uint32_t page;

	cr_assert_eq(extent_alloc(heap, n, 0, false, &page), 0);
	return page;
}

static void
pages_taken(struct heap *heap)
{
	take_pages(heap, 11);
}

static void
extent_not_shown(struct heap *heap)
{
	uint32_t page = take_pages(heap, 11);

	memset(heap->page_class + page + 1, SC_BODY, 7);
	heap->page_map[page] = 11;
}

static void
extent_half_gone(struct heap *heap)
{
	uint32_t page = take_pages(heap, 11);

	page_map_set_extent(heap, page, 11, SC_LARGE);
	heap->page_class[page] = heap->page_class[page + 5] = 0;
}

static void
extent_shrunk(struct heap *heap)
{
	uint32_t page = page_with(heap, SC_LARGE, SC_LARGE);
	uint32_t n = heap->page_map[page];

	for (size_t i = 0; i < nblocks; i++)
		if (blocks[i].off == (size_t)(heap_page_addr(heap, page) - heap->base))
			blocks[i].size = (size_t)(n - 4) << HEAP_LG_PAGE;
	heap->page_map[page] = n - 4;
	heap->page_class[page + n - 2] = 0;
}

static void
slab_half_born(struct heap *heap)
{
	uint32_t page = take_pages(heap, 8);

	slab_birth(heap, page, 8, 3);
	heap->page_class[page] = heap->page_class[page + 3] = heap->page_class[page + 7] = 0;
	heap->media->bins[3].nslabs++;
}

static void
slab_half_gone(struct heap *heap)
{
	uint32_t page = take_pages(heap, 8);
	struct slab_media *slab = slab_birth(heap, page, 8, 3);

	slab_retire(slab);
	heap->page_class[page] = heap->page_class[page + 4] = 0;
}

static void
slab_empty(struct heap *heap)
{
	uint32_t page = take_pages(heap, 8);

	bin_unclaim(heap, slab_birth(heap, page, 8, 3));
}

Test(alloc_repair, pages_between_owners_are_free_again)
{
	struct heap_repair_report report;

	report = repair_after(pages_taken, "pages taken and not handed out", 0);
	cr_expect_eq(report.recovered, 11);
	report = repair_after(extent_not_shown, "an extent whose first page does not say so yet", 0);
	cr_expect_eq(report.recovered, 11);
	report = repair_after(extent_half_gone, "an extent given back half-way", 0);
	cr_expect_eq(report.recovered, 11);
	report = repair_after(slab_half_born, "a slab whose pages do not all say so yet", 0);
	cr_expect_eq(report.recovered, 8);
	report = repair_after(slab_half_gone, "a slab given back half-way", 0);
	cr_expect_eq(report.recovered, 8);
	report = repair_after(slab_empty, "a slab that was kept empty", 0);
	cr_expect_eq(report.recovered, 8);
	report = repair_after(extent_shrunk, "an extent cut and its end not given back yet", 0);
	cr_expect_eq(report.recovered, 4);
}

static size_t held; /* slots in the cache that dies */

static void
cached(struct heap *heap)
{
	static struct tcache_cell cell = TCACHE_CELL_INIT; /* lives until the heap is abandoned */
	struct heap_stats stats;
	void *p[300];

	for (size_t i = 0; i < 300; i++)
		p[i] = heap_malloc(heap, &cell, i % 10 * 100 + 1);
	for (size_t i = 0; i < 300; i++)
		heap_free(heap, &cell, p[i]);
	heap_free(heap, &cell, heap_malloc(heap, &cell, 40000)); /* a run */
	heap_stats_get(heap, &stats);
	held = stats.cached;
}

struct sum {
	uint64_t bytes, n;
};

static void
add(void *ctx, void *p, size_t usable)
{
	struct sum *sum = ctx;

	(void)p;
	sum->bytes += usable;
	sum->n++;
}

Test(alloc_repair, what_caches_held_is_bounded_and_stays_allocated)
{
	struct sum before = {0, 0}, after = {0, 0};
	struct heap_repair_report report;
	struct heap *heap = attach_copy();

	heap_each_block(heap, add, &before);
	cached(heap);
	heap_abandon(heap);
	cr_assert_gt(held, 0);
	cr_assert_eq(heap_repair(&copy.config, NULL, &report), 0, "%s", report.why);
	cr_assert_eq(heap_attach(&heap, &copy.config), 0);
	heap_each_block(heap, add, &after);
	heap_abandon(heap);
	cr_expect_eq(after.bytes - before.bytes, held, "%" PRIu64 " bytes were in caches, %zu are more now", held,
		     after.bytes - before.bytes);
	cr_expect_eq(report.bytes, after.bytes);
	cr_expect_geq(report.cached_max, held);
	cr_expect_leq(report.cached_max, SIZE / 256, "more than a cache of this heap may hold");
}

/* --- damage ------------------------------------------------------------------------------------------------------ */

/* Refused with a reason, and not a byte has changed. */
static void
expect_refused(void (*damage)(struct heap *heap), const char *what)
{
	struct heap_repair_report report;
	struct heap *heap = attach_copy();
	static char before[SIZE];

	damage(heap);
	heap_abandon(heap);
	memcpy(before, copy.config.base, SIZE);
	cr_expect_eq(heap_repair(&copy.config, NULL, &report), EINVAL, "%s is not refused", what);
	cr_expect_gt(strlen(report.why), 0, "%s: no reason", what);
	cr_expect_eq(memcmp(before, copy.config.base, SIZE), 0, "%s: refused, but changed", what);
}

static void
slab_without_first_page(struct heap *heap)
{
	heap->page_class[page_with(heap, 1, SC_SLAB_COUNT)] = 0;
}

static void
slab_of_two_classes(struct heap *heap)
{
	heap->page_class[page_with(heap, 1, SC_SLAB_COUNT) + 1] ^= 2;
}

static void
slab_elsewhere(struct heap *heap)
{
	some_slab(heap)->page += SC_MIN_SLAB_PAGES;
}

static void
slab_too_long(struct heap *heap)
{
	some_slab(heap)->pages += 4;
}

static void
slab_too_short(struct heap *heap)
{
	for (uint32_t i = 0; i < heap->npages / SC_MIN_SLAB_PAGES; i++) {
		struct slab_media *slab = &heap->slabs[i];

		if (slab->pages > 4 && slab_state_kind(slab->state) != SLAB_NONE && slab_used(heap, slab) > 0) {
			slab->pages = 4;
			return;
		}
	}
}

static void
slab_number_wild(struct heap *heap)
{
	heap->page_map[page_with(heap, 1, SC_SLAB_COUNT)] = UINT32_MAX;
}

static void
length_zero(struct heap *heap)
{
	heap->page_map[page_with(heap, SC_LARGE, SC_LARGE)] = 0;
}

static void
length_beyond(struct heap *heap)
{
	heap->page_map[page_with(heap, SC_LARGE, SC_LARGE)] = UINT32_MAX;
}

static void
length_over_others(struct heap *heap)
{
	heap->page_map[page_with(heap, SC_SLAB_COUNT + 1, SC_COUNT)] = 300;
}

static void
class_of_nothing(struct heap *heap)
{
	heap->page_class[page_with(heap, SC_LARGE, SC_LARGE)] = 200;
}

static void
ready_cut(struct heap *heap)
{
	heap->media->ready_chunks = 1;
}

static void
ready_wild(struct heap *heap)
{
	heap->media->ready_chunks = UINT32_MAX;
}

static void
layout_moved(struct heap *heap)
{
	heap->media->page_map_off += 4096;
}

static void
newer(struct heap *heap)
{
	heap->media->version++;
}

static void
unknown_feature(struct heap *heap)
{
	heap->media->features_incompat = 4;
}

static void
no_heap(struct heap *heap)
{
	heap->media->magic ^= 1;
}

Test(alloc_repair, damaged_truth_is_refused_and_left_alone)
{
	expect_refused(slab_without_first_page, "a slab whose first page is free");
	expect_refused(slab_of_two_classes, "a slab of two classes");
	expect_refused(slab_elsewhere, "a slab that is elsewhere");
	expect_refused(slab_too_long, "a slab that is too long");
	expect_refused(slab_too_short, "a slab that is too short");
	expect_refused(slab_number_wild, "a slab beyond the end");
	expect_refused(length_zero, "an extent of no page");
	expect_refused(length_beyond, "an extent beyond the end");
	expect_refused(length_over_others, "an extent over others");
	expect_refused(class_of_nothing, "a class that is none");
	expect_refused(ready_cut, "a heap that is longer than it says");
	expect_refused(ready_wild, "a heap that is longer than its region");
	expect_refused(layout_moved, "another layout");
	expect_refused(newer, "another version");
	expect_refused(unknown_feature, "an unknown feature");
	expect_refused(no_heap, "no heap");
}

/* X3: where no process died nothing is between owners, and a block that looks so is not given away. */
Test(alloc_repair, a_heap_that_was_detached_whole_loses_no_page)
{
	struct heap_repair_report report;
	struct heap *heap = attach_copy();
	uint32_t page = page_with(heap, SC_LARGE, SC_LARGE);
	uint8_t *class = heap->page_class;

	heap_detach(heap);
	class[page] = 0;
	cr_expect_eq(heap_repair(&copy.config, NULL, &report), EINVAL);
	cr_expect_gt(report.where, 0);
	class[page] = SC_LARGE;
	cr_expect_eq(heap_repair(&copy.config, NULL, &report), 0, "%s", report.why);
	expect_whole("after the refusal", 0);
}

/* --- hostile bytes ----------------------------------------------------------------------------------------------- */

/* Whatever is in the region: refused, or made whole. Nothing is done outside of it (the sanitizers look). */
static bool
survive(void)
{
	struct heap_repair_report report;
	struct tcache_cell cell = TCACHE_CELL_INIT;
	struct heap *heap;
	char why[128];
	int error = heap_repair(&copy.config, NULL, &report);

	if (error != 0) {
		cr_assert_eq(error, EINVAL);
		cr_assert_gt(strlen(report.why), 0);
		return false;
	}
	cr_assert_eq(heap_attach(&heap, &copy.config), 0);
	cr_assert_eq(heap_check(heap, why, sizeof(why)), 1, "%s", why);
	void *p = heap_malloc(heap, &cell, 100), *q = heap_malloc(heap, &cell, 50000);
	if (p != NULL)
		heap_free(heap, &cell, p);
	if (q != NULL)
		heap_free(heap, &cell, q);
	heap_detach(heap);
	return true;
}

Test(alloc_repair, every_byte_of_the_superblock)
{
	char *base = copy.config.base;
	size_t at = copy.config.reserved, end = at + sizeof(struct heap_media);
	static const uint8_t masks[] = {0x01, 0x80, 0xff};
	unsigned repaired = 0;

	struct heap *heap = attach_copy();
	heap_abandon(heap);
	size_t tables = (size_t)((struct heap_media *)(base + at))->pages_off;
	char *fresh = malloc(tables);
	memcpy(fresh, base, tables);
	for (size_t i = at; i < end; i++) {
		for (size_t m = 0; m < sizeof(masks); m++) {
			memcpy(base, fresh, tables);
			base[i] ^= (char)masks[m];
			repaired += survive();
		}
	}
	cr_expect_gt(repaired, (end - at) * 2, "bins, counts and zeros can be anything");
	free(fresh);
}

Test(alloc_repair, random_bytes_are_survived)
{
	const char *given = getenv("PMHEAP_SEED");
	uint64_t random = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 1000003u;
	char *base = copy.config.base;
	unsigned repaired = 0, rounds = 4000;

	fprintf(stderr, "alloc_repair/random_bytes_are_survived: PMHEAP_SEED=%" PRIu64 "\n", random);
	struct heap *heap = attach_copy();
	char *first = (char *)heap->media, *pages = heap->pages;
	heap_abandon(heap);
	size_t tables = (size_t)(pages - first);
	char *fresh = malloc(tables);
	memcpy(fresh, first, tables);
	for (unsigned round = 0; round < rounds; round++) {
		memcpy(first, fresh, tables);
		for (unsigned n = 1 + crash_random(&random) % 6; n > 0; n--) {
			uint64_t v = crash_random(&random);
			size_t at = sizeof(struct heap_media) +
				crash_random(&random) % (tables - sizeof(struct heap_media) - 64);

			if (n % 2 != 0) /* the beginnings of tables, where most is */
				at = at / HEAP_PAGE * HEAP_PAGE + at % 512;
			if (at < sizeof(struct heap_media))
				at += sizeof(struct heap_media);
			if (v >> 60 == 0)
				memset(first + at, (int)(v & 1 ? 0xff : 0), 64);
			else if (v >> 60 < 4)
				memcpy(first + at / 8 * 8, &v, 8);
			else if (v >> 60 < 8)
				first[at] = (char)(v % (SC_BODY + 2));
			else
				first[at] = (char)v;
		}
		repaired += survive();
	}
	fprintf(stderr, "alloc_repair: %u of %u repaired, the others refused\n", repaired, rounds);
	cr_expect_gt(repaired, 0);
	cr_expect_lt(repaired, rounds);
	memset(base, 0xa5, SIZE);
	cr_expect(!survive());
	memset(base, 0, SIZE);
	cr_expect(!survive());
	free(fresh);
}

/* Each backing keeps its bits by rules of its own. */
Test(alloc_repair, every_backing)
{
	static const enum heap_backing backings[] = {HEAP_BACKING_SPARSE, HEAP_BACKING_FULL, HEAP_BACKING_PRIVATE};

	for (size_t i = 0; i < sizeof(backings) / sizeof(backings[0]); i++) {
		struct tcache_cell cell = TCACHE_CELL_INIT;
		struct heap_repair_report report;
		struct heap_region region;
		struct heap_stats stats;
		char why[128];

		heap_region_map(&region, SIZE, backings[i], false);
		struct heap *heap = heap_region_create_heap(&region);
		for (size_t n = 0; n < 200; n++) {
			char *p = heap_malloc(heap, &cell, n * n);

			cr_assert_not_null(p);
			memset(p, 1, n * n);
			if (n % 2 == 0)
				heap_free(heap, &cell, p);
		}
		heap_abandon(heap);
		cr_assert_eq(heap_repair(&region.config, NULL, &report), 0, "%s", report.why);
		cr_assert_eq(heap_attach(&heap, &region.config), 0);
		cr_assert_eq(heap_check(heap, why, sizeof(why)), 1, "%s", why);
		heap_stats_get(heap, &stats);
		cr_expect_geq(stats.committed, stats.active);
		heap_detach(heap);
		heap_region_unmap(&region);
	}
}

struct walks {
	unsigned n;
	uint64_t last;
};

static void
tell(void *ctx, const char *pass, uint64_t done, uint64_t total)
{
	struct walks *walks = ctx;

	cr_expect_not_null(pass);
	cr_expect_lt(done, total);
	if (done == 0)
		walks->n++;
	else
		cr_expect_gt(done, walks->last);
	walks->last = done;
}

Test(alloc_repair, long_walks_say_how_far_they_are)
{
	struct walks walks = {0, 0};
	struct heap_progress progress = {tell, &walks};
	struct heap_repair_report report;

	heap_abandon(attach_copy());
	cr_assert_eq(heap_repair(&copy.config, &progress, &report), 0);
	cr_expect_eq(walks.n, 3);
}
