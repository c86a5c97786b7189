/* pool.h -- a libpmemcto pool as this process sees it, and what the files of libpmemcto ask of each other
 *
 * Rules:  C1  the order in which a pool's life becomes durable: made (create.c): descriptor, then the headers, that of the
 *             first part last, then the names. Opened (open.c): `consistent` 0 is durable before anything else changes.
 *             Closed (close.c): every byte of the pool is durable before `consistent` is 1.
 *         C2  a creation or opening that fails leaves the file as it was, but for blocks that were reserved, and for
 *             what lies behind the first page of a file that was there before.
 *         C3  a pool's heap ends, all threads' cells are emptied and then it leaves the registry, all while its `life`
 *             is held exclusively: no thread that ends or moves on meanwhile is left with a cell of a heap that is
 *             gone.
 *         C4  a pool belongs to the process that opened it. A child of fork() can read and write what is mapped, but
 *             its calls are refused: two processes with caches of the same heap would destroy it. pmemcto_close() in
 *             the child unmaps.
 *         C5  the program's functions are called with no lock held.
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

/* The open pool of that handle; NULL: there is none, message and errno EINVAL. */
struct cto_pool *cto_pool_find(const PMEMctopool *pcp);
/* Says that the handle is of no open pool: message and errno EINVAL. */
void cto_invalid(const PMEMctopool *pcp);
/* True in a child of fork() for a pool that its parent had open, until it closes it. */
bool cto_is_inherited(const PMEMctopool *pcp);
/* That pool, which is not one of this list from then on; NULL: there is none. */
struct cto_pool *cto_take_inherited(const PMEMctopool *pcp);

/* A record, with what the program's functions gave for it. NULL with message and errno. */
struct cto_pool *cto_pool_new(const char *path);
/* errno stays. */
void cto_pool_free(struct cto_pool *pool);
/* The pool's calls are served from here on. ENOMEM, with message and errno. */
int cto_pool_publish(struct cto_pool *pool, void *base, size_t size);
/* For the pools from here on: pmemcto_set_funcs(). */
void cto_set_hooks(void *(*malloc_func)(size_t size), void (*free_func)(void *p), char *(*strdup_func)(const char *s));

/* What pmemcto_create(), pmemcto_open() and pmemcto_check() can be asked for: 0, or errno value with message and errno. */
int cto_valid_arguments(const char *path, const char *layout);

/* From the constructor. */
void cto_fork_init(void);

#endif
