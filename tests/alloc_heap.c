/* alloc_heap.c -- the heap's contract, call by call: creation, attachment, blocks, what comes back from odd requests
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "alloc/heap.h"
#include "alloc/heap_media.h"
#include "tests/heap_region.h"

#define MIB ((size_t)1 << 20)

static struct heap_region region;
static struct heap *heap;
static struct tcache_cell cell = TCACHE_CELL_INIT;

static void
begin(size_t size, enum heap_backing backing, bool dirty)
{
	heap_region_map(&region, size, backing, dirty);
	heap = heap_region_create_heap(&region);
}

static void
expect_valid(void)
{
	char why[256] = "";

	cr_assert_eq(heap_check(heap, why, sizeof(why)), 1, "%s", why);
}

static struct heap_stats
stats_now(void)
{
	struct heap_stats stats;

	heap_stats_get(heap, &stats);
	return stats;
}

/* --- creation and attachment ------------------------------------------------------------------------------------------- */

static int
create_with(struct heap_config config)
{
	struct heap *made = NULL;
	int error = heap_create(&made, &config);

	if (!error)
		heap_detach(made);
	return error;
}

Test(alloc_heap, create_refuses_what_the_contract_excludes)
{
	heap_region_map(&region, 4 * MIB, HEAP_BACKING_GIVEN, false);
	struct heap_config good = region.config, bad;

	cr_assert_eq(create_with(good), 0);
	bad = good;
	bad.size = bad.reserved + HEAP_MIN_SIZE - 1;
	cr_expect_eq(create_with(bad), EINVAL, "one byte too small");
	bad.size = 0;
	cr_expect_eq(create_with(bad), EINVAL, "no size");
	bad = good;
	bad.base = (char *)bad.base + 16;
	cr_expect_eq(create_with(bad), EINVAL, "base is not on a page");
	bad = good;
	bad.base = NULL;
	cr_expect_eq(create_with(bad), EINVAL, "no base");
	bad = good;
	bad.reserved = 100;
	cr_expect_eq(create_with(bad), EINVAL, "reserved is not whole pages");
	bad = good;
	bad.reserved = 8 * MIB;
	cr_expect_eq(create_with(bad), EINVAL, "all is reserved");
	bad = good;
	bad.min_align = 4;
	cr_expect_eq(create_with(bad), EINVAL, "alignment 4");
	bad.min_align = 32;
	cr_expect_eq(create_with(bad), EINVAL, "alignment 32");
	bad = good;
	bad.size = good.reserved + HEAP_MIN_SIZE;
	cr_expect_eq(create_with(bad), 0, "the least size");
	bad.reserved = 0;
	cr_expect_eq(create_with(bad), 0, "nothing reserved");
}

Test(alloc_heap, create_touches_the_front_only)
{
	begin(64 * MIB, HEAP_BACKING_GIVEN, true);
	unsigned char *base = region.config.base;

	for (size_t at = 0; at < region.config.reserved; at++)
		cr_assert_eq(base[at], 0xA5, "byte %zu of the caller's page was written", at);
	for (size_t at = 4 * MIB; at < 64 * MIB; at++)
		cr_assert_eq(base[at], 0xA5, "byte %zu was written at creation", at);
}

static int
attach_with(struct heap_config config)
{
	struct heap *made = NULL;
	int error = heap_attach(&made, &config);

	if (!error)
		heap_detach(made);
	return error;
}

Test(alloc_heap, attach_refuses_what_it_did_not_leave)
{
	static const size_t fields[] = {
		offsetof(struct heap_media, magic),       offsetof(struct heap_media, version),
		offsetof(struct heap_media, size),        offsetof(struct heap_media, reserved),
		offsetof(struct heap_media, npages),      offsetof(struct heap_media, ready_chunks),
		offsetof(struct heap_media, checksum),    offsetof(struct heap_media, features_incompat),
		offsetof(struct heap_media, slabs_off),   offsetof(struct heap_media, nlevels),
		offsetof(struct heap_media, generation),  offsetof(struct heap_media, features_ro_compat),
	};

	heap_region_map(&region, 4 * MIB, HEAP_BACKING_GIVEN, false);
	cr_expect_eq(attach_with(region.config), EINVAL, "a region of zeros");
	heap = heap_region_create_heap(&region);
	for (unsigned i = 0; i < 1000; i++)
		cr_assert(heap_malloc(heap, &cell, i));
	heap_detach(heap);
	cr_expect_eq(attach_with(region.config), 0, "as it was left");

	unsigned char *copy = malloc(4 * MIB), *media = (unsigned char *)region.config.base + region.config.reserved;
	memcpy(copy, region.config.base, 4 * MIB);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		media[fields[i]] ^= 1;
		cr_expect_eq(attach_with(region.config), EINVAL, "byte %zu of the superblock has changed", fields[i]);
		media[fields[i]] ^= 1;
		cr_expect_eq(memcmp(copy, region.config.base, 4 * MIB), 0, "the refused region was written to");
	}
	struct heap_config other = region.config;
	other.size -= HEAP_PAGE;
	cr_expect_eq(attach_with(other), EINVAL, "a smaller region");
	other = region.config;
	other.reserved = 0;
	cr_expect_eq(attach_with(other), EINVAL, "other reserved pages");
	other = region.config;
	other.min_align = 3;
	cr_expect_eq(attach_with(other), EINVAL, "alignment 3");
	cr_expect_eq(memcmp(copy, region.config.base, 4 * MIB), 0, "a refused region was written to");
	cr_expect_eq(attach_with(region.config), 0);
	free(copy);
}

/* `zeroed` is a word to heap_create; heap_attach finds out for itself what was left. */
Test(alloc_heap, attach_does_not_take_old_garbage_for_zeros)
{
	struct heap_config config;

	begin(16 * MIB, HEAP_BACKING_GIVEN, true);
	heap_detach(heap);
	config = region.config;
	config.zeroed = true;
	cr_assert_eq(heap_attach(&heap, &config), 0);
	for (size_t size = 100; size < 6 * MIB; size *= 4) {
		unsigned char *p = heap_calloc(heap, &cell, 1, size);

		cr_assert(p);
		for (size_t at = 0; at < size; at++)
			if (p[at])
				cr_assert_fail("calloc of %zu: byte %zu is %#x", size, at, p[at]);
	}
	expect_valid();
}

Test(alloc_heap, detach_counts_and_attach_goes_on)
{
	begin(8 * MIB, HEAP_BACKING_SPARSE, false);
	char *p = heap_malloc(heap, &cell, 1000), *q = heap_malloc(heap, &cell, 3 * MIB);
	strcpy(p, "small");
	strcpy(q, "large");
	size_t p_off = (size_t)(p - (char *)region.config.base), q_off = (size_t)(q - (char *)region.config.base);
	struct heap_stats before = stats_now();

	for (unsigned i = 0; i < 5; i++) {
		heap_detach(heap);
		cr_assert_eq(atomic_load(&cell.tc), &tcache_dummy);
		heap_region_move(&region);
		cr_assert_eq(heap_attach(&heap, &region.config), 0);
		struct heap_stats after = stats_now();
		cr_assert_eq(after.allocated, before.allocated);
		cr_assert_eq(after.committed, before.committed);
		p = (char *)region.config.base + p_off;
		q = (char *)region.config.base + q_off;
		cr_assert_str_eq(p, "small");
		cr_assert_str_eq(q, "large");
		cr_assert_eq(heap_usable_size(heap, q), 3 * MIB);
		expect_valid();
	}
	heap_free(heap, &cell, p);
	heap_free(heap, &cell, q);
	cr_assert_eq(stats_now().allocated, 0);
}

Test(alloc_heap, abandon_does_not_look_at_the_region)
{
	begin(8 * MIB, HEAP_BACKING_PRIVATE, false);
	for (unsigned i = 0; i < 1000; i++)
		cr_assert(heap_malloc(heap, &cell, i));
	munmap(region.config.base, region.mapped);
	heap_abandon(heap);
	cr_assert_eq(atomic_load(&cell.tc), &tcache_dummy);
}

Test(alloc_heap, heaps_do_not_mind_each_other)
{
	enum { N = 20 };
	struct heap_region regions[N];
	struct heap *heaps[N];
	struct tcache_cell cells[N];
	void *p[N];

	for (unsigned i = 0; i < N; i++) {
		heap_region_map(&regions[i], 2 * MIB, HEAP_BACKING_PRIVATE, false);
		heaps[i] = heap_region_create_heap(&regions[i]);
		cells[i] = (struct tcache_cell)TCACHE_CELL_INIT;
	}
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < N; i++)
			memset(p[i] = heap_malloc(heaps[i], &cells[i], round * 100), (int)i, round * 100);
		for (unsigned i = 0; i < N; i++) {
			cr_assert(heap_owns(heaps[i], p[i]));
			cr_assert_not(heap_owns(heaps[(i + 1) % N], p[i]));
			cr_assert_not(heap_free_try(&cells[(i + 1) % N], p[i]), "another heap's cache took the block");
			for (size_t at = 0; at < round * 100; at++)
				cr_assert_eq(((unsigned char *)p[i])[at], i);
			heap_free(heaps[i], &cells[i], p[i]);
		}
	}
	for (unsigned i = 0; i < N; i++)
		heap_detach(heaps[i]);
}

/* --- blocks -------------------------------------------------------------------------------------------------------------- */

Test(alloc_heap, size_0_gives_blocks_of_their_own)
{
	begin(4 * MIB, HEAP_BACKING_PRIVATE, false);
	void *p = heap_malloc(heap, &cell, 0), *q = heap_malloc(heap, &cell, 0), *r = heap_calloc(heap, &cell, 0, 5);
	void *s = heap_calloc(heap, &cell, 5, 0), *t = heap_aligned_alloc(heap, &cell, 64, 0);

	cr_assert(p && q && r && s && t);
	cr_assert(p != q && q != r && r != s && s != t && p != r && p != s);
	cr_assert_eq(heap_usable_size(heap, p), sc_size(1));
	cr_assert_eq((uintptr_t)t % 64, 0);
	p = heap_realloc(heap, &cell, p, 0);
	cr_assert(p);
	cr_assert_eq(stats_now().allocated, 4 * sc_size(1) + heap_usable_size(heap, t));
}

Test(alloc_heap, impossible_sizes_are_null_and_cost_nothing)
{
	static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - HEAP_PAGE, SIZE_MAX / 2, (size_t)PTRDIFF_MAX + 1,
	                               PTRDIFF_MAX, (size_t)1 << 44, 64 * MIB, 16 * MIB + 1, 16 * MIB};

	begin(16 * MIB, HEAP_BACKING_SPARSE, false);
	void *p = heap_malloc(heap, &cell, 100);
	struct heap_stats before = stats_now();

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		cr_expect_null(heap_malloc(heap, &cell, sizes[i]), "malloc(%zu)", sizes[i]);
		cr_expect_null(heap_calloc(heap, &cell, 1, sizes[i]), "calloc(1, %zu)", sizes[i]);
		cr_expect_null(heap_calloc(heap, &cell, sizes[i], 1), "calloc(%zu, 1)", sizes[i]);
		cr_expect_null(heap_calloc(heap, &cell, sizes[i], 16), "calloc(%zu, 16)", sizes[i]);
		cr_expect_null(heap_aligned_alloc(heap, &cell, 64, sizes[i]), "aligned_alloc(64, %zu)", sizes[i]);
		cr_expect_null(heap_aligned_alloc(heap, &cell, MIB, sizes[i]), "aligned_alloc(MIB, %zu)", sizes[i]);
		cr_expect_null(heap_realloc(heap, &cell, p, sizes[i]), "realloc(p, %zu)", sizes[i]);
	}
	for (size_t align = (size_t)1 << 30; align; align <<= 1) {
		void *q = heap_aligned_alloc(heap, &cell, align, 100);

		/* The region may happen to hold such an address, hardly above 2^47. */
		cr_expect((uintptr_t)q % align == 0, "align %#zx", align);
		if (q)
			heap_free(heap, &cell, q);
	}
	cr_expect_null(heap_calloc(heap, &cell, SIZE_MAX / 2, 3), "an overflowing product");
	cr_expect_null(heap_calloc(heap, &cell, (size_t)1 << 33, (size_t)1 << 33), "an overflowing product that is 4");
	cr_assert_eq(stats_now().allocated, before.allocated);
	expect_valid();
}

/* Tables grow with what is used; a request that cannot be met must not make them grow. */
Test(alloc_heap, hopeless_requests_do_not_make_tables)
{
	begin((size_t)64 << 30, HEAP_BACKING_SPARSE, false);
	cr_assert(heap_malloc(heap, &cell, 100));
	size_t before = heap_region_file_bytes(&region);

	/* As large as all pages together, when one of them is taken. */
	cr_expect_null(heap_malloc(heap, &cell, stats_now().capacity));
	cr_expect_leq(heap_region_file_bytes(&region), before + 8 * MIB, "a request for more than is free: %zu MiB of tables",
	              heap_region_file_bytes(&region) / MIB);
	for (unsigned lg = 40; lg < 64; lg++) {
		size_t align = (size_t)1 << lg, first = ((size_t)(uintptr_t)region.config.base + align) & ~(align - 1);

		/* Unless the region happens to hold such an address. */
		if (first == 0 || first >= (uintptr_t)region.config.base + region.config.size)
			cr_expect_null(heap_aligned_alloc(heap, &cell, align, 100000));
	}
	cr_expect_leq(heap_region_file_bytes(&region), before + 8 * MIB, "an impossible alignment: %zu MiB of tables",
	              heap_region_file_bytes(&region) / MIB);
	expect_valid();
}

Test(alloc_heap, every_alignment_up_to_a_mebibyte)
{
	begin(64 * MIB, HEAP_BACKING_PRIVATE, false);
	for (size_t align = 1; align <= MIB; align *= 2)
		for (size_t size = 1; size < 3 * MIB; size = size * 3 + 1) {
			void *p = heap_aligned_alloc(heap, &cell, align, size);

			cr_assert(p, "align %zu, size %zu", align, size);
			cr_assert_eq((uintptr_t)p % align, 0, "align %zu, size %zu: %p", align, size, p);
			cr_assert_geq(heap_usable_size(heap, p), size);
			memset(p, 1, size);
			heap_free(heap, &cell, p);
		}
	cr_assert_eq(stats_now().allocated, 0);
	expect_valid();
}

Test(alloc_heap, owns_says_where_blocks_can_be)
{
	begin(4 * MIB, HEAP_BACKING_PRIVATE, false);
	char *base = region.config.base, *p = heap_malloc(heap, &cell, 10);

	cr_expect(heap_owns(heap, p));
	cr_expect_not(heap_owns(heap, base));
	cr_expect_not(heap_owns(heap, base + region.config.reserved), "the superblock");
	cr_expect_not(heap_owns(heap, base - 1));
	cr_expect_not(heap_owns(heap, base + region.config.size));
	cr_expect_not(heap_owns(heap, NULL));
	cr_expect_not(heap_owns(heap, &cell));
	cr_expect_not(heap_free_try(&cell, NULL));
	cr_expect_not(heap_free_try(&cell, &region));
	cr_expect_not(heap_free_try(&cell, base));
	cr_expect_not(heap_free_try(&cell, base + region.config.size));
}

/* Freed memory is not written to until it is somebody's again (design: no links in it). */
Test(alloc_heap, freed_blocks_keep_their_bytes)
{
	enum { N = 3000 };
	static unsigned char *p[N];

	begin(32 * MIB, HEAP_BACKING_GIVEN, false);
	for (size_t i = 0; i < N; i++) {
		p[i] = heap_malloc(heap, &cell, 16 + i);
		memset(p[i], (int)(i % 255 + 1), 16 + i);
	}
	for (size_t i = 0; i < N; i++)
		heap_free(heap, &cell, p[i]);
	heap_thread_exit(heap, &cell);
	heap_purge_all(heap);
	cr_assert_eq(heap_check(heap, NULL, 0), 1);
	for (size_t i = 0; i < N; i++)
		for (size_t at = 0; at < 16 + i; at++)
			cr_assert_eq(p[i][at], i % 255 + 1, "freed block %zu was written at byte %zu", i, at);
}

/* --- realloc -------------------------------------------------------------------------------------------------------------- */

Test(alloc_heap, realloc_grows_in_place_where_the_neighbour_is_free)
{
	begin(64 * MIB, HEAP_BACKING_SPARSE, false);
	unsigned char *p = heap_malloc(heap, &cell, 2 * MIB);

	memset(p, 0x21, 2 * MIB);
	for (size_t size = 3 * MIB; size <= 40 * MIB; size += MIB) {
		void *q = heap_realloc(heap, &cell, p, size);

		cr_assert_eq(q, p, "to %zu MiB: moved, with nothing behind it", size / MIB);
		cr_assert_geq(heap_usable_size(heap, p), size);
	}
	for (size_t at = 0; at < 2 * MIB; at++)
		cr_assert_eq(p[at], 0x21);
	expect_valid();
}

Test(alloc_heap, realloc_shrinks_in_place_and_gives_the_rest_back)
{
	begin(64 * MIB, HEAP_BACKING_SPARSE, false);
	unsigned char *p = heap_malloc(heap, &cell, 40 * MIB);
	size_t largest = stats_now().largest_free;

	memset(p, 0x21, 40 * MIB);
	cr_assert_eq(heap_realloc(heap, &cell, p, 3 * MIB), p);
	cr_assert_eq(heap_usable_size(heap, p), 3 * MIB);
	cr_assert_eq(stats_now().largest_free, largest + 37 * MIB);
	for (size_t at = 0; at < 3 * MIB; at++)
		cr_assert_eq(p[at], 0x21);
	expect_valid();
}

Test(alloc_heap, realloc_moves_where_it_must_and_keeps_the_content)
{
	begin(64 * MIB, HEAP_BACKING_PRIVATE, false);
	unsigned char *p = heap_malloc(heap, &cell, 2 * MIB);
	void *wall = heap_malloc(heap, &cell, 2 * MIB);

	memset(p, 0x21, 2 * MIB);
	unsigned char *q = heap_realloc(heap, &cell, p, 5 * MIB);
	cr_assert(q && q != p);
	for (size_t at = 0; at < 2 * MIB; at++)
		cr_assert_eq(q[at], 0x21);
	cr_assert_eq(stats_now().allocated, 7 * MIB);
	heap_free(heap, &cell, wall);
	heap_free(heap, &cell, q);
	expect_valid();
}

Test(alloc_heap, realloc_that_fails_leaves_the_block)
{
	begin(4 * MIB, HEAP_BACKING_PRIVATE, false);
	unsigned char *p = heap_malloc(heap, &cell, MIB + MIB / 2);

	memset(p, 0x21, MIB + MIB / 2);
	struct heap_stats before = stats_now();
	cr_assert_null(heap_realloc(heap, &cell, p, 5 * MIB));
	cr_assert_null(heap_realloc(heap, &cell, p, SIZE_MAX));
	cr_assert_eq(heap_usable_size(heap, p), MIB + MIB / 2);
	for (size_t at = 0; at < MIB + MIB / 2; at++)
		cr_assert_eq(p[at], 0x21);
	cr_assert_eq(stats_now().allocated, before.allocated);
	expect_valid();
}

/* A block that is all the heap has can shrink to anything: there is always the block itself. */
Test(alloc_heap, realloc_shrinks_in_a_full_heap)
{
	begin(4 * MIB, HEAP_BACKING_PRIVATE, false);
	size_t all = stats_now().largest_free;

	for (size_t size = all - 1; size > 0; size /= 3) {
		unsigned char *p = heap_malloc(heap, &cell, all);

		cr_assert(p, "after a shrink to something else than %zu", size);
		memset(p, 0x21, all);
		p = heap_realloc(heap, &cell, p, size);
		cr_assert(p, "to %zu", size);
		for (size_t at = 0; at < size; at++)
			cr_assert_eq(p[at], 0x21);
		heap_free(heap, &cell, p);
		expect_valid();
	}
}

/* --- statistics ------------------------------------------------------------------------------------------------------------ */

Test(alloc_heap, statistics_count_what_happens)
{
	begin(32 * MIB, HEAP_BACKING_SPARSE, false);
	struct heap_stats fresh = stats_now(), now;

	cr_assert_eq(fresh.size, 32 * MIB);
	cr_assert_eq(fresh.allocated, 0);
	cr_assert_eq(fresh.active, 0);
	cr_assert_eq(fresh.metadata + fresh.capacity + region.config.reserved, fresh.size);
	cr_assert_eq(fresh.largest_free, fresh.capacity);

	void *small[100], *large = heap_malloc(heap, &cell, 5 * MIB);
	for (unsigned i = 0; i < 100; i++)
		small[i] = heap_malloc(heap, &cell, 200);
	unsigned sc = sc_of(200);
	now = stats_now();
	cr_assert_eq(now.allocated, 5 * MIB + 100 * sc_size(sc));
	cr_assert_eq(now.large_now, 1);
	cr_assert_eq(now.large_bytes, 5 * MIB);
	cr_assert_eq(now.classes[sc].used, 100);
	cr_assert_eq(now.classes[sc].slot_size, sc_size(sc));
	cr_assert_geq(now.classes[sc].slots, 100 + now.classes[sc].cached);
	cr_assert_geq(now.classes[sc].nslabs, 1);
	cr_assert_gt(now.classes[sc].nfills, 0);
	cr_assert_eq(now.ncaches, 1);
	cr_assert_gt(now.nlarge_alloc, fresh.nlarge_alloc);
	cr_assert_geq(now.committed, now.active);
	for (unsigned i = 0; i < 100; i++)
		heap_free(heap, &cell, small[i]);
	heap_free(heap, &cell, large);
	now = stats_now();
	cr_assert_eq(now.allocated, 0);
	cr_assert_eq(now.classes[sc].used, 0);
	cr_assert_gt(now.cached, 0);
	cr_assert_eq(now.large_now, 0);
	cr_assert_gt(now.nlarge_free, fresh.nlarge_free);
	heap_thread_exit(heap, &cell);
	now = stats_now();
	cr_assert_eq(now.cached, 0);
	cr_assert_eq(now.ncaches, 0);
	cr_assert_eq(now.classes[sc].nmalloc, now.classes[sc].nfree);
}
