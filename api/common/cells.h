/* cells.h -- a thread's way from a pool's handle to its own cache of that pool's heap
 *
 * Per thread a small table in thread-local storage: handle -> this thread's cell (alloc/tcache.h). A handle stands where
 * its hash says, or, where that is taken, anywhere.
 *
 * Rules:  B1  a cell has a cache of the live pool of its entry's handle, or none. When a pool goes, heap_detach() or
 *             heap_abandon() empties all cells before the pool's memory or address can be used again, so an entry whose
 *             handle went stale is harmless: the fast way finds nothing in its cell and goes the slow way.
 *         B2  the slow way asks the registry for the handle before it touches the heap; entry.pool and
 *             entry.generation spare the look while no pool went since.
 *         B3  before an entry serves another pool, the old one's cache is given back, if that pool still lives:
 *             registry_pin() keeps it alive for that moment, as its owner may end it in another thread meanwhile.
 *         B4  a thread has at most one cache per pool: a handle is entered only when it is nowhere in the table.
 *         B5  when a thread ends, a thread-specific-data destructor gives back all its caches. Calls by later
 *             destructors, and by threads for which none can be registered, use a cell on the stack for each call.
 */
#ifndef API_COMMON_CELLS_H
#define API_COMMON_CELLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc/heap.h"
#include "api/common/registry.h"

/* 8 entries of 48 bytes leave dlopen() enough of the little room it has for thread-local data. */
#define LG_CELL_ENTRIES 3
#define CELL_ENTRIES (1 << LG_CELL_ENTRIES)

struct cell_entry {
	const void *handle; /* NULL: unused */
	struct live_pool *pool;
	uint64_t generation; /* at which `pool` was what the registry has under `handle` */
	struct tcache_cell cell;
};

extern _Thread_local struct cell_entry cell_entries[CELL_ENTRIES] __attribute__((tls_model("initial-exec")));

/* Where a handle stands if it has its own place: the fast way looks nowhere else. */
static inline struct cell_entry *
cell_entry_first(const void *handle)
{
	uint32_t hash = (uint32_t)((uintptr_t)handle >> 12) * UINT32_C(0x9e3779b1);

	return &cell_entries[hash >> (32 - LG_CELL_ENTRIES)];
}

/* From the library's constructor. */
void cells_init(void);

/* The calling thread's cell of a pool; NULL: it has none. */
struct tcache_cell *cell_own(const void *handle);

/* --- one call's way to its pool ------------------------------------------------------------------------------ */

struct cell_visit {
	struct live_pool *pool;
	struct tcache_cell *cell;
	struct tcache_cell own; /* of this call alone, B5 */
};
#define CELL_VISIT_INIT { NULL, NULL, TCACHE_CELL_INIT }

/* False: no such pool. Else cell_visit_end() must follow. */
bool cell_visit_begin(struct cell_visit *visit, const void *handle);

static inline void
cell_visit_end(struct cell_visit *visit)
{
	if (visit->cell == &visit->own)
		heap_thread_exit(visit->pool->heap, &visit->own);
}

#endif
