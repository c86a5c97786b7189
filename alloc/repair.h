/* repair.h -- a heap whose process died in the middle of anything, made whole again
 *
 * The truth (heap_media.h, M2) is always in order, because the stores to it are; all else is written anew from it. Blocks
 * stay where they are, what is in them is not touched. Blocks that sat in caches of threads cannot be told from those in
 * users' hands: they stay allocated, nobody has their addresses.
 *
 * The region may hold anything. What cannot be right even after a kill is damage: the repair says what, where, and has
 * changed nothing. A truth that was damaged so that it looks like another truth cannot be found out.
 */
#ifndef ALLOC_REPAIR_H
#define ALLOC_REPAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc/heap.h"

enum heap_repair_kind {
	HEAP_REPAIR_PAGES,  /* class bytes and page map entries of extents that are there */
	HEAP_REPAIR_USED,   /* used bits */
	HEAP_REPAIR_FILE,   /* committed and dirty bits of pages in use */
	HEAP_REPAIR_SLABS,  /* slabs' geometry and states */
	HEAP_REPAIR_SLOTS,  /* slabs with bits of no slot */
	HEAP_REPAIR_LISTS,  /* classes whose list of slabs with room was broken, or whose counts */
	HEAP_REPAIR_INDEX,  /* 1: the index of free runs */
	HEAP_REPAIR_COUNTS, /* counts in the superblock */
	HEAP_REPAIR_KINDS,
};

struct heap_repair_report {
	/* what is there */
	uint64_t slabs;
	uint64_t slots;      /* in use in them */
	uint64_t large;      /* blocks of whole pages */
	uint64_t bytes;      /* in all of those */
	uint64_t cached_max; /* of those bytes, at most so many sat in caches */
	uint64_t used_pages;
	/* what was done */
	uint64_t recovered;                /* pages that were in no block and are free now */
	uint64_t fixed[HEAP_REPAIR_KINDS]; /* entries that were not as they are now */
	/* EINVAL */
	char why[128];  /* what cannot be right */
	uint64_t where; /* offset in the region of the page that it is about; 0: the superblock */
};

/* Repairs the heap in the region, which nobody uses, as heap_detach() would have left it, and holds it against
 * heap_check(). `config` is that of heap_attach(); the backing must be that of the heap's life, as it says what committed
 * bits mean. `progress` may be NULL. 0; EINVAL: it cannot be repaired, report->why says what stands in the way, and
 * nothing was changed; ENOMEM. */
int heap_repair(const struct heap_config *config, const struct heap_progress *progress,
		struct heap_repair_report *report);

/* Name of a kind of what was fixed, for people. */
const char *heap_repair_name(enum heap_repair_kind kind);

#endif
