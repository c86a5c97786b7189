/* guard.c -- see guard.h for the contract and rules W1..W3
 *
 * The table is open addressing with linear probing; deletion moves later entries up, so no tombstones gather. It is
 * private memory, far from the pool that a broken program writes over.
 *
 * Locks:  LOCK_GUARD; below it all others of the heap.
 * Media:  process only.
 */
#include "alloc/guard.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "alloc/heap_state.h"
#include "alloc/os.h"
#include "alloc/watch.h"

#define CANARY_LEAST ((size_t)8) /* bytes behind every block */
#define CANARY_MOST ((size_t)64) /* of which no more are looked at */
#define QUARANTINE_BLOCKS 4096u
#define QUARANTINE_BYTES ((size_t)4 << 20) /* or a 64th of the heap, if that is less */
#define CHOICE 8u                          /* slots of a class to choose from */
#define CHOICE_CLASS_MAX 40u               /* up to 2 KiB: larger classes would hold much back */
#define FIRST_ROOM ((size_t)4096)
#define WATCH_WHOLE_MAX ((size_t)64 << 20)

enum state { LIVE, HELD }; /* in the user's hands; held back */

struct entry {
	uintptr_t p; /* 0: empty */
	size_t size; /* asked for */
	enum state state;
};

struct guard {
	/* constant */
	unsigned flags;
	bool watched;
	uint64_t secret;
	size_t quarantine_max;
	/* lock */
	struct lock lock;
	struct tcache_cell cell; /* never has a cache */
	uint64_t random;
	struct entry *table;
	size_t room, n;
	uintptr_t quarantine[QUARANTINE_BLOCKS];
	uint32_t head, nquarantine;
	size_t quarantine_bytes, choice_bytes;
	void *choice[CHOICE_CLASS_MAX + 1][CHOICE];
	uint8_t nchoice[CHOICE_CLASS_MAX + 1];
};

static size_t
guard_size(void)
{
	size_t page = os_page_size();

	return (sizeof(struct guard) + page - 1) / page * page;
}

/* --- the table --------------------------------------------------------------------------------------------------- */

static size_t
place_of(const struct guard *guard, uintptr_t p)
{
	return (size_t)(((p >> 4) * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (guard->room - 1);
}

static struct entry *
find(const struct guard *guard, uintptr_t p)
{
	for (size_t i = place_of(guard, p); guard->table[i].p != 0; i = (i + 1) & (guard->room - 1))
		if (guard->table[i].p == p)
			return &guard->table[i];
	return NULL;
}

static struct entry *
put(struct guard *guard, uintptr_t p)
{
	size_t i = place_of(guard, p);

	while (guard->table[i].p != 0)
		i = (i + 1) & (guard->room - 1);
	guard->table[i].p = p;
	guard->n++;
	return &guard->table[i];
}

static bool
make_room(struct guard *guard)
{
	struct entry *old = guard->table;
	size_t old_room = guard->room;

	if ((guard->n + CHOICE + 1) * 2 <= guard->room)
		return true;
	size_t room = old_room != 0 ? old_room * 2 : FIRST_ROOM;
	struct entry *table = os_map(room * sizeof(*table));
	if (table == NULL)
		return false;
	guard->table = table;
	guard->room = room;
	guard->n = 0;
	for (size_t i = 0; i < old_room; i++)
		if (old[i].p != 0)
			*put(guard, old[i].p) = old[i];
	if (old != NULL)
		os_unmap(old, old_room * sizeof(*old));
	return true;
}

static void
drop(struct guard *guard, struct entry *entry)
{
	size_t hole = (size_t)(entry - guard->table), mask = guard->room - 1;

	for (size_t i = (hole + 1) & mask; guard->table[i].p != 0; i = (i + 1) & mask) {
		if (((i - place_of(guard, guard->table[i].p)) & mask) >= ((i - hole) & mask)) {
			guard->table[hole] = guard->table[i];
			hole = i;
		}
	}
	guard->table[hole].p = 0;
	guard->n--;
}

static uint64_t
next_random(struct guard *guard)
{
	/* xorshift64*, Vigna 2016: places, not secrets */
	guard->random ^= guard->random >> 12;
	guard->random ^= guard->random << 25;
	guard->random ^= guard->random >> 27;
	return guard->random * UINT64_C(0x2545f4914f6cdd1d) >> 32;
}

/* --- canaries, zeros ---------------------------------------------------------------------------------------------- */

/* Never 0: what runs over a string's end by its terminator is to be seen. */
static unsigned char
canary_byte(const struct guard *guard, uintptr_t p, size_t i)
{
	uint64_t word = (guard->secret ^ p) * UINT64_C(0xd6e8feb86659fd93);

	return (unsigned char)(word >> (8 * (i & 7))) | 1;
}

static size_t
canary_size(size_t size, size_t usable)
{
	return usable - size < CANARY_MOST ? usable - size : CANARY_MOST;
}

static void
set_canary(const struct guard *guard, void *p, size_t size, size_t usable)
{
	unsigned char *behind = (unsigned char *)p + size;

	for (size_t i = 0; i < canary_size(size, usable); i++)
		behind[i] = canary_byte(guard, (uintptr_t)p, i);
}

static void
check_canary(const struct heap *heap, void *p, size_t size)
{
	const unsigned char *behind = (const unsigned char *)p + size;
	size_t n = canary_size(size, heap_plain_usable_size(heap, p));

	for (size_t i = 0; i < n; i++)
		if (behind[i] != canary_byte(heap->guard, (uintptr_t)p, i))
			os_fatal(heap->name, "written behind the end of the block", p);
}

static void
check_zero(const struct heap *heap, const void *p, size_t size)
{
	const unsigned char *bytes = p;

	if (size != 0 && (bytes[0] != 0 || memcmp(bytes, bytes + 1, size - 1) != 0))
		os_fatal(heap->name, "written after its free: the block", p);
}

/* --- what is held back ---------------------------------------------------------------------------------------------- */

static void
count_held(struct heap *heap, size_t *count, size_t bytes, bool more)
{
	if (more) {
		*count += bytes;
		atomic_fetch_add_explicit(&heap->media->cache_room, bytes, memory_order_relaxed);
	} else {
		*count -= bytes;
		atomic_fetch_sub_explicit(&heap->media->cache_room, bytes, memory_order_relaxed);
	}
}

static void
evict(struct heap *heap)
{
	struct guard *guard = heap->guard;
	uintptr_t *oldest = &guard->quarantine[guard->head % QUARANTINE_BLOCKS];

	if ((guard->flags & HEAP_GUARD_RANDOM) != 0) {
		uint32_t other = guard->head + (uint32_t)(next_random(guard) % guard->nquarantine);
		uintptr_t p = guard->quarantine[other % QUARANTINE_BLOCKS];

		guard->quarantine[other % QUARANTINE_BLOCKS] = *oldest;
		*oldest = p;
	}
	void *p = (void *)*oldest;
	struct entry *entry = find(guard, (uintptr_t)p);

	guard->head++;
	guard->nquarantine--;
	count_held(heap, &guard->quarantine_bytes, heap_plain_usable_size(heap, p), false);
	if ((guard->flags & HEAP_GUARD_ZERO) != 0)
		check_zero(heap, p, entry->size);
	drop(guard, entry);
	heap_plain_free(heap, &guard->cell, p);
}

static void
release_all(struct heap *heap)
{
	struct guard *guard = heap->guard;

	while (guard->nquarantine != 0)
		evict(heap);
	for (unsigned sc = 1; sc <= CHOICE_CLASS_MAX; sc++) {
		while (guard->nchoice[sc] != 0) {
			void *p = guard->choice[sc][--guard->nchoice[sc]];

			count_held(heap, &guard->choice_bytes, sc_size(sc), false);
			drop(guard, find(guard, (uintptr_t)p));
			heap_plain_free(heap, &guard->cell, p);
		}
	}
}

/* A slot of class sc, any of a few; which one is known to nobody beforehand. */
static void *
choose(struct heap *heap, unsigned sc)
{
	struct guard *guard = heap->guard;
	void **choice = guard->choice[sc];

	while (guard->nchoice[sc] < CHOICE) {
		void *p = heap_plain_alloc(heap, &guard->cell, 0, sc_size(sc));

		if (p == NULL)
			break;
		put(guard, (uintptr_t)p)->state = HELD;
		choice[guard->nchoice[sc]++] = p;
		count_held(heap, &guard->choice_bytes, sc_size(sc), true);
	}
	if (guard->nchoice[sc] == 0)
		return NULL;
	uint64_t i = next_random(guard) % guard->nchoice[sc];
	void *p = choice[i];
	choice[i] = choice[--guard->nchoice[sc]];
	count_held(heap, &guard->choice_bytes, sc_size(sc), false);
	drop(guard, find(guard, (uintptr_t)p));
	return p;
}

/* --- interface ------------------------------------------------------------------------------------------------------ */

int
guard_new(struct heap *heap, unsigned flags)
{
	struct guard *guard = os_map(guard_size());

	if (guard == NULL)
		return ENOMEM;
	guard->flags = flags;
	guard->watched = (flags & HEAP_GUARD_WATCH) != 0;
	if (guard->watched) /* they see more than these do */
		guard->flags &= ~(HEAP_GUARD_CANARY | HEAP_GUARD_ZERO);
	guard->cell = (struct tcache_cell)TCACHE_CELL_INIT;
	guard->secret = os_random();
	guard->random = os_random() | 1;
	guard->quarantine_max = heap->size / 64 < QUARANTINE_BYTES ? heap->size / 64 : QUARANTINE_BYTES;
	lock_init(&guard->lock, LOCK_GUARD);
	if (!make_room(guard)) {
		os_unmap(guard, guard_size());
		return ENOMEM;
	}
	heap->guard = guard;
	heap->caches_allowed = false;
	if (guard->watched && heap->size <= WATCH_WHOLE_MAX)
		watch_close(heap->pages, (size_t)heap->npages << HEAP_LG_PAGE);
	return 0;
}

void
guard_delete(struct heap *heap)
{
	struct guard *guard = heap->guard;

	if (guard == NULL)
		return;
	if (guard->watched)
		watch_open(heap->pages, (size_t)heap->npages << HEAP_LG_PAGE, heap->backing != HEAP_BACKING_GIVEN);
	os_unmap(guard->table, guard->room * sizeof(*guard->table));
	os_unmap(guard, guard_size());
	heap->guard = NULL;
}

static void
adopt_one(void *ctx, void *p, size_t usable)
{
	(void)ctx;
	watch_block(p, usable, true);
}

void
guard_adopt(struct heap *heap)
{
	if (heap->guard != NULL && heap->guard->watched)
		heap_each_block(heap, adopt_one, NULL);
}

static void
disown_one(void *ctx, void *p, size_t usable)
{
	(void)ctx;
	watch_block_end(p, usable);
}

void
guard_release_all(struct heap *heap)
{
	struct guard *guard = heap->guard;

	if (guard == NULL)
		return;
	lock_take(&guard->lock);
	release_all(heap);
	lock_drop(&guard->lock);
	/* What is left is meant to last: no leak. */
	if (guard->watched)
		heap_each_block(heap, disown_one, NULL);
}

/* A block of at least `size` bytes, entered as the user's. Lock. */
static void *
take(struct heap *heap, size_t align, size_t size, bool zero)
{
	struct guard *guard = heap->guard;
	size_t behind = guard->watched ? WATCH_REDZONE : (guard->flags & HEAP_GUARD_CANARY) != 0 ? CANARY_LEAST : 0;
	size_t need;
	void *p = NULL;

	if (__builtin_add_overflow(size, behind, &need) || !make_room(guard))
		return NULL;
	unsigned sc = align > 16 ? sc_of_aligned(need, align) : need <= SC_SLAB_MAX ? sc_of(need) : 0;
	for (unsigned tries = 0; p == NULL && tries < 2; tries++) {
		if (tries != 0)
			release_all(heap);
		if ((guard->flags & HEAP_GUARD_RANDOM) != 0 && sc != 0 && sc <= CHOICE_CLASS_MAX)
			p = choose(heap, sc);
		else
			p = heap_plain_alloc(heap, &guard->cell, align, need);
	}
	if (p == NULL)
		return NULL;
	struct entry *entry = put(guard, (uintptr_t)p);
	entry->size = size;
	entry->state = LIVE;
	if (guard->watched) {
		size_t usable = heap_plain_usable_size(heap, p);

		watch_block(p, size, zero);
		watch_close((char *)p + size, usable - size < CANARY_MOST ? usable - size : CANARY_MOST);
	}
	if ((guard->flags & HEAP_GUARD_CANARY) != 0)
		set_canary(guard, p, size, heap_plain_usable_size(heap, p));
	return zero ? memset(p, 0, size) : p;
}

void *
guard_alloc(struct heap *heap, size_t align, size_t size)
{
	lock_take(&heap->guard->lock);
	void *p = take(heap, align, size, false);
	lock_drop(&heap->guard->lock);
	return p;
}

void *
guard_calloc(struct heap *heap, size_t size)
{
	lock_take(&heap->guard->lock);
	void *p = take(heap, 0, size, true);
	lock_drop(&heap->guard->lock);
	return p;
}

/* The block's entry; NULL: of an earlier process (W1), or not a block, which the heap finds out. */
static struct entry *
live_entry(const struct heap *heap, const void *p, const char *freed)
{
	struct entry *entry = find(heap->guard, (uintptr_t)p);

	if (entry != NULL && entry->state == HELD)
		os_fatal(heap->name, freed, p);
	return entry;
}

/* Lock. */
static void
give(struct heap *heap, void *p)
{
	struct guard *guard = heap->guard;
	struct entry *entry = live_entry(heap, p, "double free or free of a block that is not allocated:");

	if (entry == NULL) {
		if (guard->watched) {
			size_t usable = heap_plain_usable_size(heap, p);

			watch_block_end(p, usable);
		}
		heap_plain_free(heap, &guard->cell, p);
		return;
	}
	if ((guard->flags & HEAP_GUARD_CANARY) != 0)
		check_canary(heap, p, entry->size);
	if ((guard->flags & HEAP_GUARD_ZERO) != 0)
		memset(p, 0, entry->size);
	if (guard->watched)
		watch_block_end(p, entry->size);
	size_t usable = heap_plain_usable_size(heap, p);
	if ((guard->flags & HEAP_GUARD_QUARANTINE) == 0 || usable > guard->quarantine_max / 4) {
		drop(guard, entry);
		heap_plain_free(heap, &guard->cell, p);
		return;
	}
	entry->state = HELD;
	guard->quarantine[(guard->head + guard->nquarantine++) % QUARANTINE_BLOCKS] = (uintptr_t)p;
	count_held(heap, &guard->quarantine_bytes, usable, true);
	while (guard->quarantine_bytes > guard->quarantine_max || guard->nquarantine == QUARANTINE_BLOCKS)
		evict(heap);
}

void
guard_free(struct heap *heap, void *p)
{
	lock_take(&heap->guard->lock);
	give(heap, p);
	lock_drop(&heap->guard->lock);
}

/* Always to another place: who kept the old address is found out. */
void *
guard_realloc(struct heap *heap, void *p, size_t size)
{
	struct guard *guard = heap->guard;

	lock_take(&guard->lock);
	struct entry *entry = live_entry(heap, p, "realloc of a block that is not allocated:");
	size_t old = entry != NULL ? entry->size : heap_realloc_usable_size(heap, p);
	if (entry != NULL && (guard->flags & HEAP_GUARD_CANARY) != 0)
		check_canary(heap, p, old);
	void *moved = take(heap, 0, size == 0 ? 1 : size, false);
	if (moved != NULL) {
		memcpy(moved, p, old < size ? old : size);
		give(heap, p);
	} else if (size <= old) {
		moved = p; /* shrinking never fails */
	}
	lock_drop(&guard->lock);
	return moved;
}

size_t
guard_usable_size(struct heap *heap, const void *p)
{
	lock_take(&heap->guard->lock);
	struct entry *entry = live_entry(heap, p, "usable size asked of a block that is not allocated:");
	size_t size = entry != NULL ? entry->size : heap_plain_usable_size(heap, p);
	lock_drop(&heap->guard->lock);
	return size;
}

void
guard_hold(struct heap *heap)
{
	if (heap->guard != NULL)
		lock_take(&heap->guard->lock);
}

void
guard_let_go(struct heap *heap)
{
	if (heap->guard != NULL)
		lock_drop(&heap->guard->lock);
}

void
guard_renew(struct heap *heap)
{
	if (heap->guard != NULL)
		lock_renew(&heap->guard->lock);
}

size_t
guard_held_bytes(const struct heap *heap)
{
	return heap->guard == NULL ? 0 : heap->guard->quarantine_bytes + heap->guard->choice_bytes;
}
