/* alloc_check.c -- heap_check() finds damage, and survives it
 *
 * A heap with some of everything is made once and detached. Each round damages a copy of its region, attaches there,
 * and asks. The verdict may be 0 or 1 (a flipped bit can hit a field that means nothing at that moment), but damage of
 * the kinds listed below must be seen, and none may crash the check or make it write.
 */
#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "alloc/heap.h"
#include "alloc/heap_media.h"
#include "alloc/heap_state.h"
#include "tests/heap_region.h"

#define SIZE ((size_t)6 << 20)

static struct heap_region whole, copy; /* the heap as it was left; the one that is damaged */

static void
make_heap(void)
{
	struct tcache_cell cell = TCACHE_CELL_INIT;
	static void *p[4000];
	size_t n = 0;

	heap_region_map(&whole, SIZE, HEAP_BACKING_GIVEN, false);
	heap_region_map(&copy, SIZE, HEAP_BACKING_GIVEN, false);
	struct heap *heap = heap_region_create_heap(&whole);
	for (size_t size = 16; size < 300000; size += size / 3 + 16)
		for (size_t i = 0; i < (size < 5000 ? 50 : 2); i++)
			if ((p[n] = heap_malloc(heap, &cell, size)))
				n++;
	p[n++] = heap_malloc(heap, &cell, (size_t)3 << 19);
	for (size_t i = 0; i + 1 < n; i += 3)
		heap_free(heap, &cell, p[i]);
	cr_assert_eq(heap_check(heap, NULL, 0), 1);
	heap_detach(heap);
}

TestSuite(alloc_check, .init = make_heap);

/* Attaches to the copy after `damage`; the verdict of the check. */
static int
verdict(void (*damage)(struct heap *heap), char *why, size_t why_size)
{
	struct heap *heap;

	memcpy(copy.config.base, whole.config.base, SIZE);
	cr_assert_eq(heap_attach(&heap, &copy.config), 0);
	cr_assert_eq(heap_check(heap, why, why_size), 1, "before any damage: %s", why);
	damage(heap);
	int result = heap_check(heap, why, why_size);
	heap_abandon(heap);
	return result;
}

static void
expect_found(void (*damage)(struct heap *heap), const char *what)
{
	char why[256] = "";

	cr_expect_eq(verdict(damage, why, sizeof(why)), 0, "%s is not found", what);
	cr_expect_gt(strlen(why), 0, "%s: no reason is given", what);
	cr_expect_null(strchr(why, '\n'));
}

/* First page of the n-th extent whose class byte is in [low, high]. */
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

static void
used_bit_cleared(struct heap *heap)
{
	heap->chunks[0].used[0] &= ~UINT64_C(1);
}

static void
used_bit_set(struct heap *heap)
{
	for (unsigned w = 0; w < HEAP_CHUNK_WORDS; w++)
		if (~heap->chunks[1].used[w]) {
			heap->chunks[1].used[w] |= ~heap->chunks[1].used[w] & (heap->chunks[1].used[w] + 1);
			return;
		}
	cr_assert_fail("no free page in the second chunk");
}

static void
used_count(struct heap *heap)
{
	heap->media->used_pages++;
}

static void
class_of_slab_page(struct heap *heap)
{
	heap->page_class[page_with(heap, 1, SC_SLAB_COUNT)] ^= 1;
}

static void
class_of_run(struct heap *heap)
{
	heap->page_class[page_with(heap, SC_SLAB_COUNT + 1, SC_COUNT)]--;
}

static void
body_of_large(struct heap *heap)
{
	heap->page_class[page_with(heap, SC_LARGE, SC_LARGE) + 2] = 0;
}

static void
length_of_large(struct heap *heap)
{
	heap->page_map[page_with(heap, SC_LARGE, SC_LARGE)]--;
}

static void
length_of_large_huge(struct heap *heap)
{
	heap->page_map[page_with(heap, SC_LARGE, SC_LARGE)] = UINT32_MAX;
}

static void
slab_number_wild(struct heap *heap)
{
	heap->page_map[page_with(heap, 1, SC_SLAB_COUNT)] = UINT32_MAX;
}

static void
slab_pages_wild(struct heap *heap)
{
	some_slab(heap)->pages = UINT32_MAX - 3;
}

static void
slab_recip(struct heap *heap)
{
	some_slab(heap)->recip++;
}

static void
slab_size(struct heap *heap)
{
	some_slab(heap)->slot_size += 16;
}

static void
slab_slots(struct heap *heap)
{
	some_slab(heap)->nslots--;
}

static void
slab_class(struct heap *heap)
{
	some_slab(heap)->state ^= 0x100;
}

static void
slab_kind(struct heap *heap)
{
	some_slab(heap)->state |= 0xff;
}

static void
slab_bits_beyond(struct heap *heap)
{
	for (uint32_t page = 0; page < heap->npages; page++) {
		if (heap->page_class[page] == 0 || heap->page_class[page] > SC_SLAB_COUNT)
			continue;
		struct slab_media *slab = &heap->slabs[heap->page_map[page]];

		if (slab->nslots % 64 == 0)
			continue;
		heap->bits[slab->page * HEAP_PAGE_WORDS + slab->nslots / 64] |= UINT64_C(1) << 63;
		return;
	}
	cr_assert_fail("no slab whose bitmap ends within a word");
}

static void
list_head(struct heap *heap)
{
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++)
		if (heap->media->bins[sc].partial) {
			heap->media->bins[sc].partial = 0;
			return;
		}
	cr_assert_fail("no bin has a partial slab");
}

static void
list_head_wild(struct heap *heap)
{
	heap->media->bins[3].partial = UINT32_MAX;
}

static void
list_circle(struct heap *heap)
{
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++) {
		uint32_t head = heap->media->bins[sc].partial;

		if (head) {
			heap->slabs[head - 1].next = head;
			return;
		}
	}
	cr_assert_fail("no bin has a partial slab");
}

static void
node_root(struct heap *heap)
{
	heap->nodes[heap->media->nlevels - 1][0].max++;
}

static void
node_leaf(struct heap *heap)
{
	heap->nodes[0][1].start ^= 4;
}

static void
superblock_magic(struct heap *heap)
{
	heap->media->magic ^= 1;
}

static void
superblock_pages(struct heap *heap)
{
	heap->media->npages = UINT32_MAX;
}

static void
superblock_ready(struct heap *heap)
{
	heap->media->ready_chunks = UINT32_MAX;
}

static void
superblock_levels(struct heap *heap)
{
	heap->media->nlevels = 200;
}

Test(alloc_check, damage_of_each_kind_is_found)
{
	expect_found(used_bit_cleared, "a page in use that counts as free");
	expect_found(used_bit_set, "a free page that counts as used");
	expect_found(used_count, "a wrong count of used pages");
	expect_found(class_of_slab_page, "another class on a slab's page");
	expect_found(class_of_run, "another class on a run");
	expect_found(body_of_large, "a large extent with a hole");
	expect_found(length_of_large, "a large extent of another length");
	expect_found(length_of_large_huge, "a large extent that leaves the heap");
	expect_found(slab_number_wild, "a page of a slab that cannot be");
	expect_found(slab_pages_wild, "a slab of too many pages");
	expect_found(slab_recip, "a slab's wrong reciprocal");
	expect_found(slab_size, "a slab's wrong slot size");
	expect_found(slab_slots, "a slab's wrong count of slots");
	expect_found(slab_class, "a slab's wrong class");
	expect_found(slab_kind, "a slab's wrong kind");
	expect_found(slab_bits_beyond, "a bit of no slot");
	expect_found(list_head, "a list that lost its slabs");
	expect_found(list_head_wild, "a list that begins outside");
	expect_found(list_circle, "a list that has no end");
	expect_found(node_root, "a free run in the index that is not there");
	expect_found(node_leaf, "a leaf of the index");
	expect_found(superblock_magic, "the magic number");
	expect_found(superblock_pages, "the count of pages");
	expect_found(superblock_ready, "the count of ready chunks");
	expect_found(superblock_levels, "the count of levels");
}

static uint64_t random_state = 1;

static uint64_t
random_next(void)
{
	uint64_t z = random_state += 0x9E3779B97F4A7C15u; /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
	return z ^ (z >> 31);
}

/* A few bytes anywhere in the tables become anything. */
static void
scribble(struct heap *heap)
{
	size_t tables = (size_t)(heap->pages - (char *)heap->media);

	for (unsigned n = 1 + random_next() % 4; n > 0; n--) {
		size_t at = random_next() % tables;
		uint64_t v = random_next();

		/* Half of the time in what is used of the tables' beginnings, where small heaps keep all they have. */
		if (n % 2)
			at = at / HEAP_PAGE * HEAP_PAGE + at % 512;
		switch (v >> 60) {
		case 0:
			memset((char *)heap->media + at, 0xff, tables - at < 8 ? tables - at : 8);
			break;
		case 1:
			memset((char *)heap->media + at, 0, tables - at < 64 ? tables - at : 64);
			break;
		default:
			((char *)heap->media)[at] = (char)v;
		}
	}
}

Test(alloc_check, random_damage_is_survived)
{
	const char *given = getenv("PMHEAP_SEED");
	unsigned found = 0, rounds = 3000;
	char why[256];

	random_state = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 1000003u;
	fprintf(stderr, "alloc_check/random_damage_is_survived: PMHEAP_SEED=%" PRIu64 "\n", random_state);
	for (unsigned i = 0; i < rounds; i++)
		found += verdict(scribble, why, sizeof(why)) == 0;
	cr_assert_gt(found, 0);
}

/* The check must be able to look at what it may not write to: it reads only. */
Test(alloc_check, nothing_is_written)
{
	struct heap *heap;
	char *before = malloc(SIZE);

	cr_assert_eq(heap_attach(&heap, &whole.config), 0);
	memcpy(before, whole.config.base, SIZE);
	cr_assert_eq(heap_check(heap, NULL, 0), 1);
	cr_assert_eq(memcmp(before, whole.config.base, SIZE), 0);
	heap_detach(heap);
	free(before);
}
