/* registry.h -- the live pools of this process, by address
 *
 * A pool's handle is its address and a program may hand us any: a stale one, one of another library, one whose memory
 * is unmapped. The registry tells, without a look at the memory behind it.
 *
 * Use:     a library embeds struct live_pool as the first member of its own record, at most REGISTRY_RECORD_SIZE bytes
 *          in all. Records come from registry_new() and stay readable for ever, whatever becomes of their pools.
 * Threads: registry_find(), registry_generation() and the pins take no lock of the registry; what changes the set of
 *          pools, or must not see it change, holds registry_lock().
 * Order:   registry_lock, then a pool's `life`, then the locks of its heap.
 */
#ifndef API_COMMON_REGISTRY_H
#define API_COMMON_REGISTRY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define REGISTRY_RECORD_SIZE 256

struct heap;

struct live_pool {
	/* written under registry_lock and `life`; any thread reads. NULL: no live pool */
	void *_Atomic handle;
	/* constant while the pool lives */
	size_t size;       /* bytes from `handle` on */
	struct heap *heap;
	/* held shared by whoever must keep a pool that it was not called for alive for a moment: a thread that ends and
	 * gives its cache back. Held exclusively when the pool goes. */
	pthread_rwlock_t life;
	struct live_pool *next_free; /* registry_lock */
};

void registry_lock(void);
void registry_unlock(void);

/* A zeroed record (but for `life`), not yet in the registry; NULL: no memory. Takes registry_lock itself. */
struct live_pool *registry_new(void);
/* A record whose pool is not, or no longer, in the registry. Takes registry_lock itself. */
void registry_free(struct live_pool *pool);

/* registry_lock held. Room for one more pool: 0 or ENOMEM. */
int registry_reserve(void);
/* registry_lock held, registry_reserve() done, no pool there under that handle. */
void registry_insert(struct live_pool *pool, void *handle);
/* registry_lock and pool->life held. Moves the generation. */
void registry_remove(struct live_pool *pool);
/* registry_lock held. Another live pool that shares an address with this one; NULL: none. */
const struct live_pool *registry_overlapping(const struct live_pool *pool);
/* registry_lock held. */
void registry_each(void (*fn)(void *ctx, struct live_pool *pool), void *ctx);

/* The live pool of that address, or NULL. Nothing keeps it alive but the caller's right to the handle. */
struct live_pool *registry_find(const void *handle);
/* As registry_find, and the pool lives until registry_unpin. */
struct live_pool *registry_pin(const void *handle);
void registry_unpin(struct live_pool *pool);

/* Moves when a pool goes: as long as it stands still, what registry_find() gave is good. */
static inline uint64_t
registry_generation(void)
{
	extern _Atomic uint64_t registry_generation_now;

	return atomic_load_explicit(&registry_generation_now, memory_order_acquire);
}

/* Around fork, by the forking thread: registry_lock and the `life` of every live pool. */
void registry_prefork(void);
void registry_postfork_parent(void);
void registry_postfork_child(void);

#endif
