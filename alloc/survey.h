/* survey.h -- what stands where in a heap: every run of pages in ascending order, read off its tables
 *
 * For looking at a region that is no live heap: one that was detached, or that a killed process left. Needs neither
 * struct heap nor locks; nobody may change the region meanwhile. Reads the truth only (heap_media.h, M2), and bounds
 * every index before it is used: damaged tables show as SURVEY_LOST, never as a crash. To judge a heap is heap_check().
 *
 * Slots and runs that sat in thread caches when a process was killed count as used: the tables do not tell them apart.
 */
#ifndef ALLOC_SURVEY_H
#define ALLOC_SURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc/heap_media.h"

enum survey_kind {
	SURVEY_SLAB,   /* equal slots */
	SURVEY_LARGE,  /* one block of whole pages */
	SURVEY_FREE,   /* free pages that the file holds */
	SURVEY_HOLE,   /* free pages that the file need not hold */
	SURVEY_UNUSED, /* pages that were never used, and whose tables are not ready */
	SURVEY_LOST,   /* in use by nothing that can be read */
	SURVEY_KINDS,
};

struct survey_extent {
	enum survey_kind kind;
	unsigned sc;   /* SLAB: its class; LARGE: that of a run, or SC_LARGE; else 0 */
	uint32_t page; /* first one */
	uint32_t pages;
	uint64_t offset;              /* of the first page, bytes from the region's base */
	uint32_t slot_size;           /* SLAB: bytes */
	uint32_t nslots;              /* SLAB; LARGE: 1 */
	uint32_t used;                /* slots of those */
	const _Atomic uint64_t *bits; /* SLAB: slot i is used when bit i % 64 of word i / 64 is 1 */
};

struct survey {
	const char *base;         /* of the region */
	struct heap_media layout; /* as it follows from the region's size */
	uint32_t ready;           /* pages whose tables are ready */
	uint32_t next;            /* page that survey_next() comes to */
};

/* `size` and `reserved` as in the heap's struct heap_config. NULL, or why the region holds no heap that can be read: a
 * superblock that is none, or of another version or size. Its checksum is not looked at. */
const char *survey_begin(struct survey *survey, const void *base, size_t size, size_t reserved);

/* The next extent; false behind the last. Extents of kinds other than SLAB and LARGE are as long as they can be, so that
 * no two of a kind follow each other. */
bool survey_next(struct survey *survey, struct survey_extent *out);

#endif
