/* lock.h -- the allocator's mutex, and the one table of lock ranks
 *
 * Owns:   struct lock: a word of process memory, slept on by futex(2).
 * Rules:  L1  a thread takes locks in rising rank. Equal rank only for LOCK_TCACHE and LOCK_BIN, and only by a thread
 *             that holds LOCK_TCACHES (tcache_freeze_all, heap_prefork). Checked from assertion level 1 on.
 *         L2  no lock is held while user code runs (hooks, callbacks), except by the functions that say so.
 * Why not pthread_mutex: the lock must be renewable in a fork's child, take no part in interposition, and be as
 * small as the word it is.
 * Media:  process only, never in the region.
 */
#ifndef ALLOC_LOCK_H
#define ALLOC_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum lock_rank {
	LOCK_GUARD = 1,   /* guard->lock: the blocks of a guarded heap; held through each call */
	LOCK_TCACHES,     /* heap->caches_lock: the list of caches; held for freeze, fork, check */
	LOCK_TCACHE,      /* tcache->lock: one cache, its claims; held by its thread through every slow call */
	LOCK_BIN,         /* bin->lock: lists of one size class, slab states except claims */
	LOCK_EXTENT,      /* heap->extent_lock: free-page index, ready part of the tables */
};

struct lock {
	_Atomic uint32_t word; /* 0 free, 1 held, 2 held and somebody may sleep */
	uint32_t rank;
};

void lock_init(struct lock *lock, enum lock_rank rank);
void lock_take(struct lock *lock);
bool lock_take_try(struct lock *lock);
void lock_drop(struct lock *lock);
/* In a fork's child, whose memory shows the lock as the parent held it: makes it free. */
void lock_renew(struct lock *lock);

/* A fork takes the locks of several heaps, one heap after the other: from the first heap's last lock on, L1 says
 * nothing for this thread. +1 after a heap's locks are taken, -1 before they go. */
void lock_order_exempt(int n);

#endif
