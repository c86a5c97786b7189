/* registry.c -- the live pools of this process, by address
 *
 * Owns:   a hash table of (handle, record), grown by doubling; the records.
 * Rules:  R1  at most 3/4 of the slots are used; a handle sits at its hash's slot or behind it, no empty slot between.
 *         R2  readers take no lock: they read `version` before and after, and look again when it moved or is odd
 *             (a seqlock). Every store into the table is a release and every load an acquire, so a reader that saw one
 *             changed slot sees the odd version too. Who holds registry_lock never has to look again.
 *         R3  tables that were outgrown stay mapped, since a reader may still be in one; together they are smaller than
 *             the present one. Records are reused, never unmapped, for the same reason.
 * Locks:  `lock` (registry_lock), then life of any pool; order in the header.
 * Media:  process only, never in a pool: deleting a pool must work after something else overwrote it.
 * Fails:  ENOMEM or NULL; the registry is as before.
 */
#include "api/common/registry.h"

#include <errno.h>
#include <stdbool.h>

#include "api/common/os.h"

#define FIRST_SLOTS ((size_t)256)
#define BLOCK_RECORDS ((size_t)255)
#define SPINS 100 /* a change takes fewer looks than this, unless its thread is not running */

struct slot {
	void *_Atomic handle; /* NULL: empty */
	struct live_pool *_Atomic pool;
};

struct table {
	size_t nslots; /* a power of two; constant */
	struct slot slots[];
};

/* Records are carved from these. */
union record {
	struct live_pool pool;
	char bytes[REGISTRY_RECORD_SIZE];
};

struct block {
	struct block *next;
	char pad[REGISTRY_RECORD_SIZE - sizeof(struct block *)];
	union record records[BLOCK_RECORDS];
};

_Static_assert(sizeof(struct live_pool) <= REGISTRY_RECORD_SIZE, "a record holds the common part");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct live_pool *free_records; /* registry_lock */
static struct block *blocks;           /* registry_lock */
static size_t npools;                  /* registry_lock */

/* written under registry_lock, any thread reads */
static struct table *_Atomic table; /* NULL: no pool was ever made */
static _Atomic uint64_t version;
extern _Atomic uint64_t registry_generation_now;
_Atomic uint64_t registry_generation_now = 1; /* 0 is no generation */

void
registry_lock(void)
{
	pthread_mutex_lock(&lock);
}

void
registry_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

static bool
add_block(void)
{
	struct block *block = sys_map_memory(sizeof(*block));

	if (block == NULL)
		return false;
	block->next = blocks;
	blocks = block;
	for (size_t i = BLOCK_RECORDS; i-- != 0;) {
		struct live_pool *pool = &block->records[i].pool;

		pthread_rwlock_init(&pool->life, NULL);
		pool->next_free = free_records;
		free_records = pool;
	}
	return true;
}

struct live_pool *
registry_new(void)
{
	struct live_pool *pool = NULL;

	registry_lock();
	if (free_records != NULL || add_block()) {
		pool = free_records;
		free_records = pool->next_free;
	}
	registry_unlock();
	if (pool == NULL)
		return NULL;

	char *own = ((union record *)pool)->bytes + sizeof(*pool);

	/* a late reader may look at handle and life of the record, but at nothing behind them */
	for (size_t i = 0; i < REGISTRY_RECORD_SIZE - sizeof(*pool); i++)
		own[i] = 0;
	pool->size = 0;
	pool->heap = NULL;
	return pool;
}

void
registry_free(struct live_pool *pool)
{
	registry_lock();
	pool->next_free = free_records;
	free_records = pool;
	registry_unlock();
}

/* Handles are page aligned and often a power of two apart. */
static size_t
first_slot(const struct table *t, const void *handle)
{
	return (size_t)((((uintptr_t)handle >> 12) * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (t->nslots - 1);
}

/* The slot of a handle, or the empty one where it would go. */
static struct slot *
slot_of(struct table *t, const void *handle)
{
	size_t i = first_slot(t, handle);

	/* R1 ends the walk; the count ends it for a reader that looks at a table in the middle of a change */
	for (size_t n = 0; n < t->nslots; n++, i = (i + 1) & (t->nslots - 1)) {
		void *found = atomic_load_explicit(&t->slots[i].handle, memory_order_acquire);

		if (found == NULL || found == handle)
			break;
	}
	return &t->slots[i];
}

static void
set_slot(struct slot *slot, void *handle, struct live_pool *pool)
{
	atomic_store_explicit(&slot->pool, pool, memory_order_release);
	atomic_store_explicit(&slot->handle, handle, memory_order_release);
}

/* registry_lock held; R2's odd version stands from begin to end. */
static void
change_begin(void)
{
	atomic_store_explicit(&version, atomic_load_explicit(&version, memory_order_relaxed) + 1, memory_order_relaxed);
}

static void
change_end(void)
{
	atomic_store_explicit(&version, atomic_load_explicit(&version, memory_order_relaxed) + 1, memory_order_release);
}

int
registry_reserve(void)
{
	struct table *old = atomic_load_explicit(&table, memory_order_relaxed), *new;
	size_t nslots = old != NULL ? old->nslots : 0;

	if (old != NULL && (npools + 1) * 4 <= nslots * 3)
		return 0;
	nslots = nslots != 0 ? nslots * 2 : FIRST_SLOTS;
	new = sys_map_memory(sizeof(*new) + nslots * sizeof(struct slot));
	if (new == NULL)
		return ENOMEM;
	new->nslots = nslots;
	for (size_t i = 0; old != NULL && i < old->nslots; i++) {
		void *handle = atomic_load_explicit(&old->slots[i].handle, memory_order_relaxed);

		if (handle != NULL)
			set_slot(slot_of(new, handle), handle,
			    atomic_load_explicit(&old->slots[i].pool, memory_order_relaxed));
	}
	atomic_store_explicit(&table, new, memory_order_release); /* the same set in both: no change to readers */
	return 0;
}

void
registry_insert(struct live_pool *pool, void *handle)
{
	struct slot *slot = slot_of(atomic_load_explicit(&table, memory_order_relaxed), handle);

	change_begin();
	atomic_store_explicit(&pool->handle, handle, memory_order_release);
	set_slot(slot, handle, pool);
	change_end();
	npools++;
}

void
registry_remove(struct live_pool *pool)
{
	struct table *t = atomic_load_explicit(&table, memory_order_relaxed);
	size_t mask = t->nslots - 1;
	size_t hole = (size_t)(slot_of(t, atomic_load_explicit(&pool->handle, memory_order_relaxed)) - t->slots);

	change_begin();
	/* R1: close the hole with the next handle that may stand there, and so on */
	for (size_t i = (hole + 1) & mask;; i = (i + 1) & mask) {
		void *handle = atomic_load_explicit(&t->slots[i].handle, memory_order_relaxed);

		if (handle == NULL)
			break;
		if (((i - first_slot(t, handle)) & mask) >= ((i - hole) & mask)) {
			set_slot(&t->slots[hole], handle,
			    atomic_load_explicit(&t->slots[i].pool, memory_order_relaxed));
			hole = i;
		}
	}
	set_slot(&t->slots[hole], NULL, NULL);
	atomic_store_explicit(&pool->handle, NULL, memory_order_release);
	change_end();
	atomic_fetch_add_explicit(&registry_generation_now, 1, memory_order_release);
	npools--;
}

struct live_pool *
registry_find(const void *handle)
{
	if (handle == NULL)
		return NULL;
	for (unsigned tries = 0;; tries++) {
		uint64_t before = atomic_load_explicit(&version, memory_order_acquire);
		struct table *t = atomic_load_explicit(&table, memory_order_acquire);
		struct live_pool *pool = NULL;

		if (t == NULL)
			return NULL;
		if ((before & 1) == 0) {
			struct slot *slot = slot_of(t, handle);

			if (atomic_load_explicit(&slot->handle, memory_order_acquire) == handle)
				pool = atomic_load_explicit(&slot->pool, memory_order_acquire);
			if (atomic_load_explicit(&version, memory_order_relaxed) == before)
				return pool;
		}
		if (tries >= SPINS) { /* who makes the change may be of lower priority: it runs while we sleep */
			registry_lock();
			registry_unlock();
		}
	}
}

struct live_pool *
registry_pin(const void *handle)
{
	struct live_pool *pool = registry_find(handle);

	if (pool == NULL)
		return NULL;
	pthread_rwlock_rdlock(&pool->life);
	/* acquire: it may have gone meanwhile, and its record may serve a new pool at the same address. That one will do:
	 * it lives, and the caller has no cache of it. */
	if (atomic_load_explicit(&pool->handle, memory_order_acquire) == handle)
		return pool;
	pthread_rwlock_unlock(&pool->life);
	return NULL;
}

void
registry_unpin(struct live_pool *pool)
{
	pthread_rwlock_unlock(&pool->life);
}

static bool
overlap(const struct live_pool *a, const struct live_pool *b)
{
	uintptr_t pa = (uintptr_t)atomic_load_explicit(&a->handle, memory_order_relaxed);
	uintptr_t pb = (uintptr_t)atomic_load_explicit(&b->handle, memory_order_relaxed);

	return pa < pb ? pb - pa < a->size : pa - pb < b->size;
}

struct overlap_search {
	const struct live_pool *pool, *found;
};

static void
overlap_look(void *ctx, struct live_pool *other)
{
	struct overlap_search *search = ctx;

	if (other != search->pool && overlap(search->pool, other))
		search->found = other;
}

const struct live_pool *
registry_overlapping(const struct live_pool *pool)
{
	struct overlap_search search = { pool, NULL };

	registry_each(overlap_look, &search);
	return search.found;
}

void
registry_each(void (*fn)(void *ctx, struct live_pool *pool), void *ctx)
{
	struct table *t = atomic_load_explicit(&table, memory_order_relaxed);

	for (size_t i = 0; t != NULL && i < t->nslots; i++) {
		struct live_pool *pool = atomic_load_explicit(&t->slots[i].pool, memory_order_relaxed);

		if (pool != NULL)
			fn(ctx, pool);
	}
}

static void
life_take(void *ctx, struct live_pool *pool)
{
	(void)ctx;
	pthread_rwlock_wrlock(&pool->life);
}

static void
life_drop(void *ctx, struct live_pool *pool)
{
	(void)ctx;
	pthread_rwlock_unlock(&pool->life);
}

void
registry_prefork(void)
{
	registry_lock();
	registry_each(life_take, NULL);
}

void
registry_postfork_parent(void)
{
	registry_each(life_drop, NULL);
	registry_unlock();
}

/* A lock whose waiters are not here is released and then made anew. */
void
registry_postfork_child(void)
{
	registry_each(life_drop, NULL);
	/* records without a pool too: a late registry_pin() of a thread that is not here may hold one */
	for (struct block *block = blocks; block != NULL; block = block->next)
		for (size_t i = 0; i < BLOCK_RECORDS; i++)
			pthread_rwlock_init(&block->records[i].pool.life, NULL);
	registry_unlock();
	pthread_mutex_init(&lock, NULL);
}
