/* cells.c -- a thread's way from a pool's handle to its own cache of that pool's heap
 *
 * Owns:   the tables, and the destructor that empties them.
 * Rules:  B1 to B5 of cells.h.
 * Locks:  none on the fast way; `life` of a pool (shared) in B3 and B5.
 * Media:  process only.
 * Fails:  a handle that the registry does not know; the caller says so.
 */
#include "api/common/cells.h"

#include <errno.h>
#include <pthread.h>

_Thread_local struct cell_entry cell_entries[CELL_ENTRIES] __attribute__((tls_model("initial-exec"))) = {
	[0 ... CELL_ENTRIES - 1] = { NULL, NULL, 0, TCACHE_CELL_INIT },
};
static _Thread_local bool registered __attribute__((tls_model("initial-exec"))); /* the destructor will come */
static _Thread_local bool ended __attribute__((tls_model("initial-exec")));      /* and has come */

static pthread_key_t key;
static bool have_key; /* constant after the constructor */

/* The entry of a handle; when it has none, its own place, which another may have. */
static struct cell_entry *
entry_of(const void *handle)
{
	struct cell_entry *first = cell_entry_first(handle);

	if (first->handle != handle)
		for (struct cell_entry *e = cell_entries; e < cell_entries + CELL_ENTRIES; e++)
			if (e->handle == handle)
				return e;
	return first;
}

static void
entry_release(struct cell_entry *e)
{
	struct live_pool *pool = registry_pin(e->handle);

	if (pool != NULL) {
		heap_thread_exit(pool->heap, &e->cell);
		registry_unpin(pool);
	}
	e->handle = NULL;
	e->generation = 0;
}

/* An unused entry: `first`, or one of no live pool any more, or `first` made free. */
static struct cell_entry *
entry_free(struct cell_entry *first)
{
	struct cell_entry *found = first->handle == NULL ? first : NULL;

	for (struct cell_entry *e = cell_entries; found == NULL && e < cell_entries + CELL_ENTRIES; e++)
		if (e->handle == NULL || registry_find(e->handle) == NULL)
			found = e;
	if (found == NULL)
		found = first;
	if (found->handle != NULL)
		entry_release(found);
	return found;
}

static void
thread_end(void *table)
{
	int error = errno;

	ended = true;
	for (struct cell_entry *e = table; e < (struct cell_entry *)table + CELL_ENTRIES; e++)
		if (e->handle != NULL)
			entry_release(e);
	errno = error;
}

/* True when this thread may keep caches. */
static bool
thread_register(void)
{
	if (!registered && !ended && have_key)
		registered = pthread_setspecific(key, cell_entries) == 0;
	return registered && !ended;
}

void
cells_init(void)
{
	have_key = pthread_key_create(&key, thread_end) == 0;
}

struct tcache_cell *
cell_own(const void *handle)
{
	struct cell_entry *e = entry_of(handle);

	return e->handle == handle ? &e->cell : NULL;
}

/* B2 */
static bool __attribute__((noinline))
enter(struct cell_visit *visit, const void *handle, struct cell_entry *e)
{
	uint64_t generation = registry_generation(); /* before the look: a pool that goes after it is seen next time */

	visit->pool = registry_find(handle);
	if (visit->pool == NULL)
		return false;
	if (!thread_register()) {
		visit->cell = &visit->own;
		return true;
	}
	if (e->handle != handle)
		e = entry_free(e);
	e->handle = handle;
	e->pool = visit->pool;
	e->generation = generation;
	visit->cell = &e->cell;
	return true;
}

bool
cell_visit_begin(struct cell_visit *visit, const void *handle)
{
	struct cell_entry *e = entry_of(handle);

	if (e->handle != handle || e->generation != registry_generation())
		return enter(visit, handle, e);
	visit->pool = e->pool;
	visit->cell = &e->cell;
	return true;
}
