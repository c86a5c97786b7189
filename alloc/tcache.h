/* tcache.h -- a thread's cache of free slots: one magazine per size class
 *
 * Owns:   struct tcache, its magazines and what they hold; the cells that publish a cache to its thread.
 * Rules:  T1  A slot in a magazine counts as used in its slab's bitmap; no other cache and no user holds it.
 *         T2  magazine of class c: a fixed array, slot[0] is NULL (malloc's end), slot[cap + 1] is TCACHE_FULL
 *             (free's end); `top` points at the newest slot, or at slot[0].
 *         T3  Bytes that a cache's magazines may hold never exceed its budget.
 *         T4  Only the cell's thread moves `top`, with `busy` set; or any thread that holds the cache frozen.
 * Freeze: a thread that must look into another's cache takes the cache's lock, puts the empty dummy cache in the
 *         cell, runs a barrier on all cpus (membarrier(2)), and waits until `busy` is 0. The owner sets `busy`
 *         before it loads the cell, so it either sees the dummy or is seen. The fast path pays two plain stores.
 * Locks:  LOCK_TCACHES (the heap's list), LOCK_TCACHE (one cache), see alloc/lock.h.
 * Media:  process only.
 */
#ifndef ALLOC_TCACHE_H
#define ALLOC_TCACHE_H

#include <stdatomic.h>
#include <stdint.h>

#include "alloc/size_class.h"

struct heap;
struct tcache;

/* What a thread keeps in its thread-local storage to reach its cache of one heap. Must be initialised with
 * TCACHE_CELL_INIT. Only its thread calls into the heap with it. */
struct tcache_cell {
	struct tcache *_Atomic tc; /* own cache, or the dummy: none yet, or frozen. Written by any thread */
	_Atomic unsigned char busy; /* owner: inside a fast path */
};

extern struct tcache tcache_dummy;
#define TCACHE_CELL_INIT { &tcache_dummy, 0 }

#endif
