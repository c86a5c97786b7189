/* picture.h -- a pool as a strip of cells, each standing for the same number of pages
 *
 * What `pmheap map` draws, on a terminal or as SVG. Page 0 of the strip is the first of the pool: header and tables are
 * drawn too.
 */
#ifndef API_TOOLS_PICTURE_H
#define API_TOOLS_PICTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/pmemcto/view.h"

/* Slabs are told apart by the size of their slots, blocks of whole pages by their own. */
enum picture_kind {
	PICTURE_NOTHING, /* behind the end */
	PICTURE_TABLES,
	PICTURE_SLAB_64, /* slots of up to so many bytes */
	PICTURE_SLAB_256,
	PICTURE_SLAB_1K,
	PICTURE_SLAB_4K,
	PICTURE_SLAB_16K,
	PICTURE_SLAB_32K,
	PICTURE_BLOCK_1M,    /* one block of up to so many bytes */
	PICTURE_BLOCK_LARGE, /* or more */
	PICTURE_FREE,
	PICTURE_HOLE,
	PICTURE_UNUSED,
	PICTURE_LOST,
	PICTURE_KINDS,
};

struct picture_cell {
	uint8_t kind;    /* what most of it is; LOST when any of it is */
	uint8_t fill;    /* 0..255: how much of it is in use by that kind */
	uint32_t extent; /* number of the one extent that it is part of; 0: of several */
};

struct picture_extent {
	enum picture_kind kind;
	struct survey_extent extent; /* TABLES: only offset and pages */
};

struct picture {
	uint64_t pages; /* of the whole strip */
	uint64_t pages_per_cell;
	uint64_t ncells;
	struct picture_cell *cells;
	uint64_t total[PICTURE_KINDS]; /* pages by kind */
	uint64_t bytes[PICTURE_KINDS]; /* of blocks in use */
	uint64_t largest_free;         /* bytes */
	uint32_t nextents;
	struct picture_extent *extents; /* by number - 1; NULL when there are more than were asked for */
};

const char *picture_name(enum picture_kind kind);

/* Cells for the whole pool, each of so many pages; extents too when there are at most `extents` of them. False: the heap
 * cannot be surveyed (errno 0), or memory is short. */
bool picture_make(const struct cto_view *view, uint64_t pages_per_cell, uint32_t extents, struct picture *out);
void picture_free(struct picture *picture);

/* Pages of the pool, to choose the above by; 0: it cannot be surveyed. */
uint64_t picture_pages(const struct cto_view *view);

#endif
