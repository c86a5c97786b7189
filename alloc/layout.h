/* layout.h -- where the tables of a heap lie in its region
 *
 * Owns:   the offsets and counts of heap_media.
 * Rules:  LA1 they follow from the region's size, the caller's reserved bytes and the system's page size alone.
 *         LA2 each table begins on a page of the system, but for the index's upper levels, which follow the superblock.
 * Locks:  none.
 * Media:  no access to it: fills a struct that need not be in the region.
 * Fails:  EINVAL: too small a region.
 */
#ifndef ALLOC_LAYOUT_H
#define ALLOC_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "alloc/heap_media.h"

/* One table: its place, and how many bytes of it stand for a chunk. */
struct layout_table {
	uint64_t off;
	uint64_t per_chunk;
	unsigned lg_chunks; /* an entry of `per_chunk` bytes stands for 2^lg_chunks chunks */
};

#define LAYOUT_TABLES (HEAP_MAX_LEVELS + 5)

/* Offsets and counts for a region of this size. 0 or EINVAL. */
int layout_of_size(struct heap_media *media, uint64_t size, uint64_t reserved, uint64_t page_size);

/* Both describe the same layout: counts, levels and every offset. */
bool layout_same(const struct heap_media *a, const struct heap_media *b);

/* All tables of a layout: the levels of the index from the lowest up, then the others. Returns how many. */
unsigned layout_tables(const struct heap_media *media, struct layout_table tables[LAYOUT_TABLES]);

/* Bytes of a table that stand for the first `chunks` chunks. */
uint64_t layout_table_bytes(const struct layout_table *table, uint64_t chunks);

#endif
