/* layout.c -- see layout.h for the contract and rules LA1, LA2
 *
 * Media:  none of its own.
 */
#include "alloc/layout.h"

#include <errno.h>
#include <string.h>

#include "alloc/heap.h"

unsigned
layout_tables(const struct heap_media *media, struct layout_table tables[LAYOUT_TABLES])
{
	unsigned n = 0;

	for (unsigned level = 0; level < media->nlevels; level++) {
		tables[n++] = (struct layout_table){media->nodes_off[level], sizeof(struct node_media),
						    HEAP_LG_FANOUT * level};
	}
	tables[n++] = (struct layout_table){media->chunks_off, sizeof(struct chunk_media), 0};
	tables[n++] = (struct layout_table){media->page_class_off, HEAP_CHUNK_PAGES, 0};
	tables[n++] = (struct layout_table){media->page_map_off, HEAP_CHUNK_PAGES * sizeof(uint32_t), 0};
	tables[n++] = (struct layout_table){media->slabs_off,
					    HEAP_CHUNK_PAGES / SC_MIN_SLAB_PAGES * sizeof(struct slab_media), 0};
	tables[n++] = (struct layout_table){media->bits_off, HEAP_CHUNK_PAGES * HEAP_PAGE_WORDS * sizeof(uint64_t), 0};
	return n;
}

uint64_t
layout_table_bytes(const struct layout_table *table, uint64_t chunks)
{
	return ((chunks + (UINT64_C(1) << table->lg_chunks) - 1) >> table->lg_chunks) * table->per_chunk;
}

static uint64_t
round_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) / to * to;
}

/* Offsets for `npages` pages; returns the offset of page 0. */
static uint64_t
place(struct heap_media *media, uint64_t reserved, uint64_t npages, uint64_t page_size)
{
	uint64_t at = round_up(reserved + sizeof(*media), 64);
	uint64_t nchunks = (npages + HEAP_CHUNK_PAGES - 1) / HEAP_CHUNK_PAGES;
	struct layout_table tables[LAYOUT_TABLES];
	uint64_t n = nchunks;

	media->npages = (uint32_t)npages;
	media->nchunks = (uint32_t)nchunks;
	media->nlevels = 1;
	while (n > 1) {
		n = (n + HEAP_FANOUT - 1) >> HEAP_LG_FANOUT;
		media->nlevels++;
	}
	/* The sizes do not depend on the offsets, so the same table drives both. The upper levels of the index, small
	 * in most heaps, share the superblock's page: each page that is touched at creation is felt by a program's
	 * start (2 microseconds on tmpfs). */
	unsigned ntables = layout_tables(media, tables);
	for (unsigned i = 1; i < media->nlevels; i++) {
		tables[i].off = at;
		at += layout_table_bytes(&tables[i], nchunks);
	}
	for (unsigned i = 0; i < ntables; i = i == 0 ? media->nlevels : i + 1) {
		at = round_up(at, page_size);
		tables[i].off = at;
		at += layout_table_bytes(&tables[i], nchunks);
	}
	at = round_up(at, page_size);
	for (unsigned level = 0; level < media->nlevels; level++)
		media->nodes_off[level] = tables[level].off;
	media->chunks_off = tables[media->nlevels].off;
	media->page_class_off = tables[media->nlevels + 1].off;
	media->page_map_off = tables[media->nlevels + 2].off;
	media->slabs_off = tables[media->nlevels + 3].off;
	media->bits_off = tables[media->nlevels + 4].off;
	media->pages_off = at;
	return at;
}

int
layout_of_size(struct heap_media *media, uint64_t size, uint64_t reserved, uint64_t page_size)
{
	if (size < reserved || size - reserved < HEAP_MIN_SIZE || reserved % page_size != 0)
		return EINVAL;
	uint64_t npages = (size - reserved) / HEAP_PAGE;

	if (npages > HEAP_MAX_PAGES)
		npages = HEAP_MAX_PAGES;
	/* Tables shrink with the pages they stand for: a few rounds settle it. */
	for (;;) {
		uint64_t end = place(media, reserved, npages, page_size) + npages * HEAP_PAGE;

		if (end <= size)
			break;
		npages -= (end - size + HEAP_PAGE - 1) / HEAP_PAGE;
	}
	return 0;
}

bool
layout_same(const struct heap_media *a, const struct heap_media *b)
{
	return a->npages == b->npages && a->nchunks == b->nchunks && a->nlevels == b->nlevels &&
		a->pages_off == b->pages_off && a->chunks_off == b->chunks_off &&
		a->page_class_off == b->page_class_off && a->page_map_off == b->page_map_off &&
		a->slabs_off == b->slabs_off && a->bits_off == b->bits_off &&
		memcmp(a->nodes_off, b->nodes_off, sizeof(a->nodes_off)) == 0;
}
