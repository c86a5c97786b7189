/* pool.c -- libpmemcto: the pools that this process knows, and what becomes of them at a fork
 *
 * Owns:   the pools' records, the functions given to pmemcto_set_funcs, the list of pools that a child of fork()
 *         inherited.
 * Rules:  C4 and C5 of pool.h.
 * Locks:  registry_lock for the functions and the inherited pools; see api/common/registry.h.
 * Media:  process only.
 * Fails:  NULL or an errno value, with errno and message.
 */
#include "api/pmemcto/pool.h"

#include <errno.h>
#include <pthread.h>

#include "api/common/error.h"

static struct cto_hooks hooks;      /* registry_lock */
static struct cto_pool *inherited;  /* registry_lock */

/* What a program's malloc function is asked for: one of these per pool (pmemcto_set_funcs). */
struct user_record {
	const void *handle;
	size_t size;
};

/* --- handles ------------------------------------------------------------------------------------------------- */

void
cto_invalid(const PMEMctopool *pcp)
{
	if (cto_is_inherited(pcp))
		ERROR("pool %p belongs to the process that this one was forked from", (const void *)pcp);
	else
		ERROR("invalid pool handle: %p", (const void *)pcp);
	errno = EINVAL;
}

struct cto_pool *
cto_pool_find(const PMEMctopool *pcp)
{
	struct live_pool *live = registry_find(pcp);

	if (live == NULL)
		cto_invalid(pcp);
	return (struct cto_pool *)live;
}

bool
cto_is_inherited(const PMEMctopool *pcp)
{
	struct cto_pool *pool;

	registry_lock();
	for (pool = inherited; pool != NULL && pool->inherited != (const void *)pcp; pool = pool->next_inherited)
		;
	registry_unlock();
	return pool != NULL;
}

/* --- fork ---------------------------------------------------------------------------------------------------- */

static void
prefork_one(void *ctx, struct live_pool *live)
{
	(void)ctx;
	heap_prefork(live->heap);
}

static void
parent_one(void *ctx, struct live_pool *live)
{
	(void)ctx;
	heap_postfork_parent(live->heap);
}

static void
any_one(void *ctx, struct live_pool *live)
{
	*(struct live_pool **)ctx = live;
}

static void
prefork(void)
{
	registry_prefork();
	registry_each(prefork_one, NULL);
}

static void
postfork_parent(void)
{
	registry_each(parent_one, NULL);
	registry_postfork_parent();
}

/* C4. Letting go of the locks writes nothing into the pool. The descriptor is closed, not unlocked: the lock is the
 * parent's. */
static void
postfork_child(void)
{
	for (;;) {
		struct live_pool *live = NULL;
		struct cto_pool *pool;

		registry_each(any_one, &live);
		if (live == NULL)
			break;
		pool = (struct cto_pool *)live;
		pool->inherited = atomic_load_explicit(&live->handle, memory_order_relaxed);
		pool->next_inherited = inherited;
		inherited = pool;
		heap_postfork_parent(live->heap);
		heap_abandon(live->heap);
		registry_remove(live);
		parts_abandon(&pool->parts);
	}
	registry_postfork_child();
}

struct cto_pool *
cto_take_inherited(const PMEMctopool *pcp)
{
	struct cto_pool **at, *pool;

	registry_lock();
	for (at = &inherited; *at != NULL && (*at)->inherited != (const void *)pcp; at = &(*at)->next_inherited)
		;
	pool = *at;
	if (pool != NULL)
		*at = pool->next_inherited;
	registry_unlock();
	return pool;
}

void
cto_fork_init(void)
{
	pthread_atfork(prefork, postfork_parent, postfork_child);
}

/* --- records ------------------------------------------------------------------------------------------------- */

/* What malloc or strdup give, free must take: without it the other two are not asked. */
void
cto_set_hooks(void *(*malloc_func)(size_t size), void (*free_func)(void *p), char *(*strdup_func)(const char *s))
{
	registry_lock();
	hooks.malloc_func = free_func != NULL ? malloc_func : NULL;
	hooks.strdup_func = free_func != NULL ? strdup_func : NULL;
	hooks.free_func = free_func;
	registry_unlock();
}

struct cto_pool *
cto_pool_new(const char *path)
{
	struct cto_pool *pool = (struct cto_pool *)registry_new();

	if (pool != NULL) {
		registry_lock();
		pool->hooks = hooks;
		registry_unlock();
		if (pool->hooks.malloc_func != NULL)
			pool->user_record = pool->hooks.malloc_func(sizeof(struct user_record));
		if (pool->hooks.strdup_func != NULL)
			pool->user_path = pool->hooks.strdup_func(path);
		if ((pool->hooks.malloc_func == NULL || pool->user_record != NULL) &&
		    (pool->hooks.strdup_func == NULL || pool->user_path != NULL))
			return pool;
		if (pool->user_record != NULL)
			pool->hooks.free_func(pool->user_record);
		if (pool->user_path != NULL)
			pool->hooks.free_func(pool->user_path);
		registry_free(&pool->live);
	}
	errno = ENOMEM;
	ERROR_ERRNO("pool \"%s\"", path);
	return NULL;
}

void
cto_pool_free(struct cto_pool *pool)
{
	int error = errno;

	if (pool->user_record != NULL)
		pool->hooks.free_func(pool->user_record);
	if (pool->user_path != NULL)
		pool->hooks.free_func(pool->user_path);
	registry_free(&pool->live);
	errno = error;
}

int
cto_pool_publish(struct cto_pool *pool, void *base, size_t size)
{
	int error;

	pool->live.size = size;
	pool->desc = &((struct pool_front_media *)base)->desc;
	if (pool->user_record != NULL)
		*(struct user_record *)pool->user_record = (struct user_record){ base, size };
	registry_lock();
	error = registry_reserve();
	if (error == 0)
		registry_insert(&pool->live, base);
	registry_unlock();
	errno = error;
	if (error != 0)
		ERROR_ERRNO("pool at %p", base);
	return error;
}
