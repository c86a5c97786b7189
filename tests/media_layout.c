/* media_layout.c -- what lies in a region lies where doc/media-format.md says
 *
 * A change of alloc/heap_media.h, of the size classes or of the placing of tables that fails here needs a new
 * HEAP_MEDIA_VERSION, an edit of this file and one of the page: old pools would be misread else.
 */
#include <criterion/criterion.h>

#include <stddef.h>
#include <string.h>

#include "alloc/heap.h"
#include "alloc/heap_media.h"
#include "alloc/layout.h"
#include "tests/heap_region.h"

struct field {
	const char *name;
	size_t off, size, want_off, want_size;
};

#define FIELD(type, field, want_off, want_size) \
	{#type "." #field, offsetof(struct type, field), sizeof(((struct type *)0)->field), want_off, want_size}

static const struct field fields[] = {
	FIELD(heap_media, magic, 0, 8),
	FIELD(heap_media, version, 8, 4),
	FIELD(heap_media, features_compat, 12, 4),
	FIELD(heap_media, features_incompat, 16, 4),
	FIELD(heap_media, features_ro_compat, 20, 4),
	FIELD(heap_media, generation, 24, 8),
	FIELD(heap_media, checksum, 32, 8),
	FIELD(heap_media, size, 40, 8),
	FIELD(heap_media, reserved, 48, 8),
	FIELD(heap_media, pages_off, 56, 8),
	FIELD(heap_media, npages, 64, 4),
	FIELD(heap_media, nchunks, 68, 4),
	FIELD(heap_media, chunks_off, 72, 8),
	FIELD(heap_media, page_class_off, 80, 8),
	FIELD(heap_media, page_map_off, 88, 8),
	FIELD(heap_media, slabs_off, 96, 8),
	FIELD(heap_media, bits_off, 104, 8),
	FIELD(heap_media, nodes_off, 112, 56),
	FIELD(heap_media, nlevels, 168, 4),
	FIELD(heap_media, ready_chunks, 172, 4),
	FIELD(heap_media, used_pages, 176, 8),
	FIELD(heap_media, committed_pages, 184, 8),
	FIELD(heap_media, flags, 192, 8),
	FIELD(heap_media, cache_room, 200, 8),
	FIELD(heap_media, zero, 208, 112),
	FIELD(heap_media, bins, 320, 1168),
	FIELD(chunk_media, used, 0, 64),
	FIELD(chunk_media, committed, 64, 64),
	FIELD(chunk_media, dirty, 128, 64),
	FIELD(node_media, start, 0, 4),
	FIELD(node_media, max, 4, 4),
	FIELD(node_media, end, 8, 4),
	FIELD(node_media, zero, 12, 4),
	FIELD(slab_media, state, 0, 8),
	FIELD(slab_media, page, 8, 4),
	FIELD(slab_media, pages, 12, 4),
	FIELD(slab_media, nslots, 16, 4),
	FIELD(slab_media, slot_size, 20, 4),
	FIELD(slab_media, recip, 24, 4),
	FIELD(slab_media, zero0, 28, 4),
	FIELD(slab_media, next, 32, 4),
	FIELD(slab_media, prev, 36, 4),
	FIELD(slab_media, hint, 40, 4),
	FIELD(slab_media, zero1, 44, 4),
	FIELD(slab_media, zero2, 48, 16),
	FIELD(bin_media, partial, 0, 4),
	FIELD(bin_media, empty, 4, 4),
	FIELD(bin_media, nempty, 8, 4),
	FIELD(bin_media, nslabs, 12, 4),
};

Test(media_layout, fields_are_in_their_places)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const struct field *f = &fields[i];

		cr_expect_eq(f->off, f->want_off, "%s is at %zu, not %zu", f->name, f->off, f->want_off);
		cr_expect_eq(f->size, f->want_size, "%s has %zu bytes, not %zu", f->name, f->size, f->want_size);
	}
	cr_expect_eq(sizeof(struct heap_media), 1488);
	cr_expect_eq(sizeof(struct chunk_media), 192);
	cr_expect_eq(sizeof(struct node_media), 16);
	cr_expect_eq(sizeof(struct slab_media), 64);
	cr_expect_eq(sizeof(struct bin_media), 16);
}

Test(media_layout, constants_of_the_format)
{
	cr_expect_eq(HEAP_MEDIA_VERSION, 2);
	cr_expect_eq(memcmp(&(uint64_t){HEAP_MEDIA_MAGIC}, "phmpheap", 8), 0);
	cr_expect_eq(HEAP_MEDIA_ZEROED, 1);
	cr_expect_eq(HEAP_PAGE, 4096);
	cr_expect_eq(HEAP_CHUNK_PAGES, 512);
	cr_expect_eq(HEAP_FANOUT, 16);
	cr_expect_eq(HEAP_MAX_LEVELS, 7);
	cr_expect_eq(HEAP_PAGE_WORDS, 4);
	cr_expect_eq(SC_SLAB_COUNT, 72);
	cr_expect_eq(SC_COUNT, 112);
	cr_expect_eq(SC_LARGE, 113);
	cr_expect_eq(SC_BODY, 114);
	cr_expect_eq(SC_MIN_SLAB_PAGES, 4);
	cr_expect_eq(SLAB_NONE, 0);
	cr_expect_eq(SLAB_FULL, 1);
	cr_expect_eq(SLAB_PARTIAL, 2);
	cr_expect_eq(SLAB_CLAIMED, 3);
	cr_expect_eq(SLAB_EMPTY, 4);
}

/* Where the tables lie follows from the region's size, with one page reserved and 4 KiB pages of the system. */
static const struct {
	uint64_t size;
	uint32_t npages, nchunks, nlevels;
	uint64_t nodes, chunks, page_class, page_map, slabs, bits, pages;
} layouts[] = {
	{0x101000, 245, 1, 1, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x8000, 0xc000},
	{0x4000000, 16167, 32, 3, 0x2000, 0x3000, 0x5000, 0x9000, 0x19000, 0x59000, 0xd9000},
	{0x10000000000, 264935286, 517452, 6, 0x89000, 0x86f000, 0x672f000, 0x163d9000, 0x5567f000, 0x152117000, 0x34b647000},
};

Test(media_layout, tables_are_in_their_places)
{
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		struct heap_media m = {0};

		cr_assert_eq(layout_of_size(&m, layouts[i].size, 4096, 4096), 0);
		cr_expect_eq(m.npages, layouts[i].npages);
		cr_expect_eq(m.nchunks, layouts[i].nchunks);
		cr_expect_eq(m.nlevels, layouts[i].nlevels);
		cr_expect_eq(m.nodes_off[0], layouts[i].nodes);
		cr_expect_eq(m.chunks_off, layouts[i].chunks);
		cr_expect_eq(m.page_class_off, layouts[i].page_class);
		cr_expect_eq(m.page_map_off, layouts[i].page_map);
		cr_expect_eq(m.slabs_off, layouts[i].slabs);
		cr_expect_eq(m.bits_off, layouts[i].bits);
		cr_expect_eq(m.pages_off, layouts[i].pages);
	}
}

/* Every size of region, also odd ones: tables in order, apart, large enough, and as many pages as there is room for. */
Test(media_layout, tables_of_any_size_do_not_overlap)
{
	for (uint64_t size = HEAP_MIN_SIZE; size < (uint64_t)1 << 45; size += size / 7 + 4096 + size % 8191) {
		struct heap_media m = {0};

		cr_assert_eq(layout_of_size(&m, size, 0, 4096), 0, "size %#lx", (unsigned long)size);
		uint64_t chunks = m.nchunks;
		cr_assert_geq(chunks * HEAP_CHUNK_PAGES, m.npages);
		cr_assert_geq(m.page_class_off, m.chunks_off + chunks * sizeof(struct chunk_media));
		cr_assert_geq(m.page_map_off, m.page_class_off + chunks * HEAP_CHUNK_PAGES);
		cr_assert_geq(m.slabs_off, m.page_map_off + chunks * HEAP_CHUNK_PAGES * 4);
		cr_assert_geq(m.bits_off, m.slabs_off + chunks * HEAP_CHUNK_PAGES / SC_MIN_SLAB_PAGES * sizeof(struct slab_media));
		cr_assert_geq(m.pages_off, m.bits_off + chunks * HEAP_CHUNK_PAGES * HEAP_PAGE_WORDS * 8);
		cr_assert_leq(m.pages_off + (uint64_t)m.npages * HEAP_PAGE, size);
		/* Next to nothing is left over, until the format's own end. */
		if (size < (uint64_t)1 << 43)
			cr_assert_leq(size - (m.pages_off + (uint64_t)m.npages * HEAP_PAGE), size / 5000 + 262144, "size %#lx: %lu bytes lost",
			              (unsigned long)size,
			              (unsigned long)(size - (m.pages_off + (uint64_t)m.npages * HEAP_PAGE)));
		cr_assert_leq((double)m.pages_off, 0.016 * (double)size + 65536, "size %#lx: tables of %#lx", (unsigned long)size,
		              (unsigned long)m.pages_off);
	}
}

/* Nothing of this process stays behind: two heaps that did the same at two addresses leave the same bytes. */
Test(media_layout, a_detached_heap_holds_no_address)
{
	struct heap_region regions[2];
	size_t size = (size_t)4 << 20;

	for (unsigned r = 0; r < 2; r++) {
		struct tcache_cell cell = TCACHE_CELL_INIT;
		void *p[500];

		heap_region_map(&regions[r], size, HEAP_BACKING_GIVEN, false);
		struct heap *heap = heap_region_create_heap(&regions[r]);
		for (unsigned i = 0; i < 500; i++)
			p[i] = heap_malloc(heap, &cell, i * 7 % 5000);
		for (unsigned i = 0; i < 500; i += 2)
			heap_free(heap, &cell, p[i]);
		heap_detach(heap);
	}
	cr_assert_neq(regions[0].config.base, regions[1].config.base);
	cr_assert_eq(memcmp(regions[0].config.base, regions[1].config.base, size), 0);
}
