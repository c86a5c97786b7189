/* usage.h -- what a pool's heap holds, added up from a survey */
#ifndef API_TOOLS_USAGE_H
#define API_TOOLS_USAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/pmemcto/view.h"

struct usage_class {
	uint64_t extents; /* slabs, or blocks that are extents */
	uint64_t pages;
	uint64_t slots, used;
};

struct usage {
	uint64_t pages[SURVEY_KINDS];
	uint64_t tables;       /* bytes before the first page: header, descriptor, superblock, tables */
	uint64_t capacity;     /* bytes of all pages */
	uint64_t blocks;       /* in use */
	uint64_t bytes;        /* of those, as they can be used */
	uint64_t largest_free; /* bytes of the longest run of free pages, whatever the file holds of it */
	uint64_t largest_at;   /* its offset in the pool; 0: there is none */
	struct usage_class classes[SC_LARGE + 1]; /* by class; [0] unused, [SC_LARGE] those without */
};

/* False: the heap cannot be surveyed. */
bool usage_count(const struct cto_view *view, struct usage *usage);

/* Bytes of free pages. */
uint64_t usage_free(const struct usage *usage);

#endif
