/* tcache.h -- a thread's cache of free slots: one magazine per size class
 *
 * Owns:   struct tcache, its magazines and what they hold; the cells that publish a cache to its thread.
 * Rules:  T1  A slot in a magazine counts as used in its slab's bitmap; no other cache and no user holds it.
 *         T2  magazine of class c: a fixed array, slot[0] is NULL (malloc's end), slot[cap + 1] is TCACHE_FULL
 *             (free's end); `top` points at the newest slot, or at slot[0].
 *         T3  Bytes that a cache's magazines have room for grow only within its allowance (allowance() in tcache.c).
 *         T4  Only the cell's thread moves `top`, with `busy` set; or any thread that holds the cache frozen.
 *         T5  heap_media.cache_room is the sum of all magazines' room in bytes; raised before a magazine grows, lowered
 *             after it was emptied, so that it bounds what a killed process leaves in caches.
 * Freeze: a thread that must look into another's cache takes the cache's lock, puts the empty dummy cache in the
 *         cell, runs a barrier on all cpus (membarrier(2)), and waits until `busy` is 0. The owner sets `busy`
 *         before it loads the cell, so it either sees the dummy or is seen. The fast path pays two plain stores.
 * Locks:  LOCK_TCACHES (the heap's list), LOCK_TCACHE (one cache), see alloc/lock.h.
 * Media:  process only.
 */
#ifndef ALLOC_TCACHE_H
#define ALLOC_TCACHE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc/lock.h"
#include "alloc/size_class.h"

struct heap;
struct tcache;

/* What a thread keeps in its thread-local storage to reach its cache of one heap. Must be initialised with
 * TCACHE_CELL_INIT. Only its thread calls into the heap with it. */
struct tcache_cell {
	struct tcache *_Atomic tc;  /* own cache, or the dummy: none yet, or frozen. Written by any thread */
	struct tcache *own;         /* NULL: none yet. The owner, or who ends the heap */
	_Atomic unsigned char busy; /* owner: inside a fast path */
};

extern struct tcache tcache_dummy;
#define TCACHE_CELL_INIT                                                                                               \
	{                                                                                                              \
		&tcache_dummy, NULL, 0                                                                                 \
	}
#define TCACHE_FULL ((void *)1)

/* Slots that left the heap for a cache and came back, and the batches they went in. */
struct tcache_counts {
	uint64_t nmalloc, nfree, nfills, nflushes;
};

/* One class's part of a cache. The cache's lock. */
struct magazine {
	void **slots;      /* array of max + 2 */
	uint32_t claim;    /* slab number + 1 that refills come from; 0 none */
	uint16_t cap, max; /* slots: now, and ever */
	bool touched;      /* filled or flushed since the clock's hand passed */
	void **seen;       /* top when it passed */
	struct tcache_counts counts;
};

struct tcache {
	/* the fast path: owner with `busy` set, or any thread with the cache frozen */
	void **top[SC_COUNT + 3]; /* by class byte: newest slot. Classless bytes lead to an empty, full magazine */
	uintptr_t pages;          /* address of the heap's page 0 */
	size_t limit;             /* 16-byte units behind it whose class bytes may be read */
	const uint8_t *page_class;

	/* constant */
	struct heap *heap;
	/* caches_lock */
	struct tcache *next, *prev;
	pthread_t thread;         /* that `cell` belongs to */
	struct tcache_cell *cell; /* NULL: the shared cache, spare, or of a thread that a fork left behind */
	/* the cache's lock */
	struct lock lock;                   /* LOCK_TCACHE */
	size_t granted;                     /* bytes that magazines have room for */
	unsigned hand;                      /* clock over the classes, for shrinking */
	unsigned starved;                   /* misses that the allowance was too small for */
	struct magazine mags[SC_COUNT + 1]; /* [0] unused */
};

/* The calling thread's cache, locked; the shared one when it can have none of its own. Until tcache_leave the thread
 * is inside the heap: who freezes all caches waits for it. */
struct tcache *tcache_enter(struct heap *heap, struct tcache_cell *cell);
void tcache_leave(struct tcache *tc);

/* A slot of a slab or run class; NULL when neither the cache nor the bins nor the extents have one. Entered. */
void *tcache_alloc(struct tcache *tc, unsigned sc);
/* As tcache_alloc with what slabs hold already: no new extent. */
void *tcache_alloc_existing(struct tcache *tc, unsigned sc);
/* Takes back a slot that lies in pages of class sc. Entered. */
void tcache_free(struct tcache *tc, void *p, unsigned sc);
/* Everything in it goes back to the bins and extents; its claims end. Entered or frozen. */
void tcache_drain(struct tcache *tc);

/* One process-wide shared cache per heap, made with it. 0 or ENOMEM. */
int tcache_init(struct heap *heap);
/* Thread exit: drains and unlinks the cell's cache. */
void tcache_exit(struct heap *heap, struct tcache_cell *cell);
/* Ends all caches without draining: cells are emptied, memory is unmapped. Nobody is inside the heap. */
void tcache_fini(struct heap *heap);

/* Holds all caches still, with their locks and the list's: no thread is inside the heap after it. */
void tcache_freeze_all(struct heap *heap);
void tcache_thaw_all(struct heap *heap);
/* All caches drained; those without a thread end. Frozen. */
void tcache_drain_all(struct heap *heap);
/* In a fork's child, frozen: renews the locks, thaws `own`'s cache. The others have no thread here; they stay listed
 * and full until tcache_drain_all, so that a child that only calls exec, with the pool still shared, gives away
 * nothing that the parent's threads hold. */
void tcache_thaw_child(struct heap *heap, struct tcache_cell *own);

/* Bytes and slots cached in class sc. Frozen. */
uint32_t tcache_count(const struct tcache *tc, unsigned sc);

#endif
