/* pool.h -- a libpmemcto pool as this process sees it, and what the files of libpmemcto ask of each other
 *
 * Media:  process only. Of the pool itself the header's page is PROT_NONE while the pool is open: nothing in it changes
 *         then, and a program that takes the handle for data finds out at once.
 */
#ifndef API_PMEMCTO_POOL_H
#define API_PMEMCTO_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "alloc/heap.h"
#include "api/common/registry.h"
#include "api/pmemcto/media.h"
#include "api/pmemcto/parts.h"

/* The published prototypes are what the library exports. */
#pragma GCC visibility push(default)
#include "api/include/libpmemcto.h"
#pragma GCC visibility pop

struct cto_hooks {
	void *(*malloc_func)(size_t size); /* NULL: none, as the others */
	void (*free_func)(void *p);
	char *(*strdup_func)(const char *s);
};

struct cto_pool {
	struct live_pool live;
	/* constant while the pool lives */
	size_t span;          /* addresses that new pools stay out of */
	struct parts parts;   /* locked */
	struct pool_desc_media *desc; /* in the pool */
	struct cto_hooks hooks; /* as pmemcto_set_funcs() left them when the pool was made or opened */
	void *user_record;    /* what the program's functions gave for it */
	char *user_path;
	/* after a fork, in the child; registry_lock */
	struct cto_pool *next_inherited;
	void *inherited;      /* the handle, and still mapped */
};

_Static_assert(sizeof(struct cto_pool) <= REGISTRY_RECORD_SIZE, "a pool fits its record");

/* Says that the handle is of no open pool: message and errno EINVAL. */
void cto_invalid(const PMEMctopool *pcp);
/* True in a child of fork() for a pool that its parent had open, until it closes it. */
bool cto_is_inherited(const PMEMctopool *pcp);

#endif
