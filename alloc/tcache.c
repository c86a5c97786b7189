/* tcache.c -- see tcache.h for the contract and rules T1..T5
 *
 *   slots[0]  slots[1] ... slots[n]   ...   slots[cap]  slots[cap + 1]
 *   NULL      oldest       newest           stale       TCACHE_FULL
 *                          ^ top
 *
 * Magazines grow by doubling while they run empty or full and the allowance lasts. A clock's hand moves by one class
 * whenever a claim begins, and on when the allowance is short: it empties classes that were not used since it passed.
 *
 * Locks:  LOCK_TCACHES, LOCK_TCACHE; calls into bin.c and extent.c, whose locks rank above.
 * Media:  process only.
 */
#include "alloc/tcache.h"

#include <errno.h>
#include <string.h>

#include "alloc/assert.h"
#include "alloc/bin.h"
#include "alloc/extent.h"
#include "alloc/heap_state.h"
#include "alloc/os.h"
#include "alloc/page_map.h"
#include "alloc/purge.h"
#include "alloc/slab.h"

#define MAX_SLOTS 512u
#define MAX_CLASS_BYTES ((size_t)256 << 10)
#define MAX_BATCH 128u
#define MAX_SPARE 16u
#define CACHE_PART 8u
#define CACHE_LEAST ((size_t)256 << 10)

static void *no_slots[2] = {NULL, TCACHE_FULL};

/* clang-format off */
#define N1 no_slots
#define N4 N1, N1, N1, N1
#define N16 N4, N4, N4, N4
/* What a cell shows before its thread has a cache, and while that is frozen: nothing to take, no room. */
struct tcache tcache_dummy = {
	.top = {N16, N16, N16, N16, N16, N16, N16, N1, N1, N1},
};
/* clang-format on */
_Static_assert(SC_COUNT + 3 == 115, "tcache_dummy.top names each class byte");

static uint16_t
max_slots(unsigned sc)
{
	size_t n = MAX_CLASS_BYTES / sc_size(sc);

	if (sc > SC_SLAB_COUNT && n == 0)
		n = 1; /* one run of up to a megabyte: it comes and goes without commit and purge */
	return (uint16_t)(n < MAX_SLOTS ? n : MAX_SLOTS);
}

static size_t
slots_bytes(void)
{
	size_t n = 0;

	for (unsigned sc = 1; sc <= SC_COUNT; sc++)
		n += max_slots(sc) + 2u;
	return n * sizeof(void *);
}

static size_t
object_size(void)
{
	size_t page = os_page_size();

	return (sizeof(struct tcache) + slots_bytes() + page - 1) / page * page;
}

uint32_t
tcache_count(const struct tcache *tc, unsigned sc)
{
	return tc->mags[sc].cap == 0 ? 0 : (uint32_t)(tc->top[sc] - tc->mags[sc].slots);
}

/* --- giving slots back to slabs and extents ------------------------------------------------------------------ */

static _Noreturn void
bad_free(const struct heap *heap, const void *p)
{
	uint32_t page = heap_page_of(heap, p);

	if (page == UINT32_MAX || heap->page_class[page] == 0)
		os_fatal(heap->name, "free of a block that is not allocated:", p);
	os_fatal(heap->name, "free of a pointer inside a block:", p);
}

/* Slot number of p in its slab of class sc; stops when p is no slot of such a slab. */
static inline struct slab_media *
slab_at(const struct heap *heap, const void *p, unsigned sc, uint32_t *slot)
{
	uint32_t page = heap_page_of(heap, p);

	if (page == UINT32_MAX || heap->page_class[page] != sc)
		bad_free(heap, p);
	struct slab_media *slab = &heap->slabs[heap->page_map[page]];
	*slot = slab_slot_of(heap, slab, p);
	if (*slot == UINT32_MAX)
		bad_free(heap, p);
	return slab;
}

/* Slots that lie in one word of a slab's bitmap and follow each other in the batch go in one atomic operation. In order of
 * address a flush costs 25 instructions a slot, in random order 80: sorting would cost more than it saves. */
static void
release_slots(struct heap *heap, unsigned sc, void **slots, uint32_t n)
{
	const uint32_t size = sc_size(sc);
	const uintptr_t word_bytes = (uintptr_t)64 * size;
	uint32_t i = 0;

	while (i < n) {
		uint32_t slot;
		struct slab_media *slab = slab_at(heap, slots[i], sc, &slot);
		const uint32_t recip = slab->recip, word = slot / 64, rest = slab->nslots - word * 64;
		const uintptr_t begin = (uintptr_t)heap_page_addr(heap, slab->page) + word * word_bytes;
		const uintptr_t bytes = rest < 64 ? (uintptr_t)rest * size : word_bytes;
		uint64_t mask = UINT64_C(1) << (slot % 64);
		/* The release may end the slab's life (S3): what its state was is to be known before. */
		uint64_t before = atomic_load_explicit(&slab->state, memory_order_relaxed);

		while (++i < n) {
			uintptr_t offset = (uintptr_t)slots[i] - begin;

			if (offset >= bytes)
				break;
			uint32_t index = (uint32_t)((uint64_t)offset * recip >> 32);
			uint64_t bit = UINT64_C(1) << index;
			if ((uintptr_t)index * size != offset)
				bad_free(heap, slots[i]);
			if ((mask & bit) != 0)
				os_fatal(heap->name, "double free of", slots[i]);
			mask |= bit;
		}
		bool drained = slab_release(heap, slab, word, mask);

		if (bin_must_know(slab, drained))
			bin_freed(heap, slab, before, drained);
	}
}

static void
release_run(struct heap *heap, unsigned sc, void *p)
{
	uint32_t page = heap_page_of(heap, p);

	if (page == UINT32_MAX || heap->page_class[page] != sc || p != heap_page_addr(heap, page))
		bad_free(heap, p);
	extent_free(heap, page, heap->page_map[page]);
}

static void
release(struct heap *heap, unsigned sc, void **slots, uint32_t n)
{
	if (sc <= SC_SLAB_COUNT) {
		release_slots(heap, sc, slots, n);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		release_run(heap, sc, slots[i]);
}

/* --- magazines ----------------------------------------------------------------------------------------------- */

/* Gives back the n oldest slots. */
static void
flush(struct tcache *tc, unsigned sc, uint32_t n)
{
	struct magazine *mag = &tc->mags[sc];
	uint32_t count = tcache_count(tc, sc);

	if (n == 0)
		return;
	release(tc->heap, sc, mag->slots + 1, n);
	memmove(mag->slots + 1, mag->slots + 1 + n, (count - n) * sizeof(void *));
	tc->top[sc] -= n;
	mag->counts.nfree += n;
	mag->counts.nflushes++;
}

static void
close_magazine(struct tcache *tc, unsigned sc)
{
	struct magazine *mag = &tc->mags[sc];

	if (mag->cap == 0)
		return;
	flush(tc, sc, tcache_count(tc, sc));
	size_t room = (size_t)mag->cap * sc_size(sc);
	tc->granted -= room;
	atomic_fetch_sub_explicit(&tc->heap->media->cache_room, room, memory_order_relaxed);
	mag->cap = 0;
	tc->top[sc] = no_slots;
}

/* Lets go of the slab that refills come from. */
static void
end_claim(struct tcache *tc, unsigned sc)
{
	struct magazine *mag = &tc->mags[sc];

	if (mag->claim == 0)
		return;
	struct slab_media *slab = &tc->heap->slabs[mag->claim - 1];
	mag->claim = 0;
	bin_unclaim(tc->heap, slab);
}

/* Moves the clock's hand by one class, and empties that class if it was not used since the hand last passed. A few
 * cached slots keep as many slabs from their other users. */
static void
turn_clock(struct tcache *tc, unsigned but)
{
	tc->hand = tc->hand % SC_COUNT + 1;
	struct magazine *mag = &tc->mags[tc->hand];

	if (mag->cap == 0 || tc->hand == but)
		return;
	if (mag->touched || mag->seen != tc->top[tc->hand]) {
		mag->touched = false;
		mag->seen = tc->top[tc->hand];
	} else {
		close_magazine(tc, tc->hand);
		end_claim(tc, tc->hand);
	}
}

/* Bytes that a cache may hold now: an eighth of what is in use, so that a small program is not mostly cache. */
static size_t
allowance(const struct heap *heap)
{
	size_t part = (size_t)(atomic_load_explicit(&heap->media->used_pages, memory_order_relaxed) << HEAP_LG_PAGE) /
		CACHE_PART;

	if (part < CACHE_LEAST)
		part = CACHE_LEAST;
	return part < heap->cache_max ? part : heap->cache_max;
}

/* Doubles a magazine's room as far as its class and the allowance allow. */
static void
grow(struct tcache *tc, unsigned sc)
{
	struct magazine *mag = &tc->mags[sc];
	uint32_t size = sc_size(sc);
	uint32_t cap = mag->cap != 0 ? mag->cap * 2u : size <= 1024 ? 8 : size <= 8192 ? 2 : 1;

	if (cap > mag->max)
		cap = mag->max;
	if (cap <= mag->cap || tc->cell == NULL)
		return;
	size_t more = (size_t)(cap - mag->cap) * size;
	/* A turn of the clock looks at every class: not at each miss. */
	size_t allowed = allowance(tc->heap);
	if (tc->granted + more > allowed && tc->starved++ % 16 == 0) {
		for (unsigned i = 0; i < 2 * SC_COUNT && tc->granted + more > allowed; i++)
			turn_clock(tc, sc);
	}
	if (tc->granted + more > allowed)
		return;
	tc->granted += more;
	atomic_fetch_add_explicit(&tc->heap->media->cache_room, more, memory_order_relaxed);
	if (mag->cap == 0) {
		mag->slots[0] = NULL;
		tc->top[sc] = mag->slots;
	}
	mag->slots[cap + 1] = TCACHE_FULL;
	if (mag->cap != 0)
		mag->slots[mag->cap + 1] = NULL;
	mag->cap = (uint16_t)cap;
}

/* --- taking -------------------------------------------------------------------------------------------------- */

/* Fills end[-1], end[-2], ... with up to n slots, rising. */
static uint32_t
take_from_slabs(struct tcache *tc, unsigned sc, void **end, uint32_t n, bool make)
{
	struct magazine *mag = &tc->mags[sc];
	struct heap *heap = tc->heap;
	uint32_t got = 0;

	/* Sparse slabs are worth a few looks, a new one only when there is nothing else. */
	while (got == 0 || got < n / 2) {
		if (mag->claim == 0) {
			turn_clock(tc, sc);
			struct slab_media *slab = bin_claim(heap, sc, make && got == 0);

			if (slab == NULL)
				break;
			mag->claim = slab_number(heap, slab) + 1;
		}
		struct slab_media *slab = &heap->slabs[mag->claim - 1];
		uint32_t more = slab_take(heap, slab, end - got, n - got);
		got += more;
		if (more == 0) {
			mag->claim = 0;
			bin_unclaim(heap, slab);
		}
	}
	return got;
}

static void *
take_run(struct heap *heap, unsigned sc)
{
	uint32_t page, n = sc_size(sc) >> HEAP_LG_PAGE;

	if (bin_take_pages(heap, n, 0, false, &page) != 0)
		return NULL;
	page_map_set_extent(heap, page, n, sc);
	return heap_page_addr(heap, page);
}

static void *
alloc(struct tcache *tc, unsigned sc, bool make)
{
	struct magazine *mag = &tc->mags[sc];
	void **slots = mag->slots, *p = *tc->top[sc];

	if (p != NULL) { /* the fast path met the dummy */
		tc->top[sc]--;
		return p;
	}
	mag->touched = true;
	mag->counts.nfills++;
	grow(tc, sc);
	if (sc > SC_SLAB_COUNT) {
		p = make ? take_run(tc->heap, sc) : NULL;
		mag->counts.nmalloc += p != NULL;
		return p;
	}
	/* Straight into the empty magazine, lowest on top: that one goes out. One slot fits even where cap is 0. */
	uint32_t n = mag->cap / 2u + 1u;
	if (n > MAX_BATCH)
		n = MAX_BATCH;
	uint32_t got = take_from_slabs(tc, sc, slots + 1 + n, n, make);
	if (got == 0)
		return NULL;
	if (got < n)
		memmove(slots + 1, slots + 1 + n - got, got * sizeof(void *));
	mag->counts.nmalloc += got;
	if (mag->cap != 0)
		tc->top[sc] = slots + got - 1;
	return slots[got];
}

void *
tcache_alloc(struct tcache *tc, unsigned sc)
{
	return alloc(tc, sc, true);
}

void *
tcache_alloc_existing(struct tcache *tc, unsigned sc)
{
	return alloc(tc, sc, false);
}

void
tcache_free(struct tcache *tc, void *p, unsigned sc)
{
	struct magazine *mag = &tc->mags[sc];
	struct heap *heap = tc->heap;
	uint32_t slot;

	/* We are on the slow path: look closely at this one. */
	if (sc <= SC_SLAB_COUNT) {
		struct slab_media *slab = slab_at(heap, p, sc, &slot);

		if ((atomic_load_explicit(&slab_bits(heap, slab)[slot / 64], memory_order_relaxed) >> (slot % 64) &
		     1) == 0)
			os_fatal(heap->name, "double free of", p);
	} else if (p != heap_page_addr(heap, heap_page_of(heap, p))) {
		bad_free(heap, p);
	}
	if (mag->cap != 0 && *tc->top[sc] == p)
		os_fatal(heap->name, "double free of", p);
	mag->touched = true;
	if (tcache_count(tc, sc) == mag->cap)
		grow(tc, sc);
	if (mag->cap == 0) {
		release(heap, sc, &p, 1);
		mag->counts.nfree++;
		return;
	}
	if (tcache_count(tc, sc) == mag->cap) {
		uint32_t n = mag->cap / 2u + 1u;
		flush(tc, sc, n < MAX_BATCH ? n : MAX_BATCH);
	}
	*++tc->top[sc] = p;
}

void
tcache_drain(struct tcache *tc)
{
	for (unsigned sc = 1; sc <= SC_COUNT; sc++) {
		close_magazine(tc, sc);
		end_claim(tc, sc);
	}
}

/* --- life ---------------------------------------------------------------------------------------------------- */

static struct tcache *
object_new(struct heap *heap)
{
	struct tcache *tc = os_map(object_size());

	if (tc == NULL)
		return NULL;
	void **slots = (void **)(tc + 1);
	for (unsigned sc = 1; sc <= SC_COUNT; sc++) {
		tc->mags[sc].max = max_slots(sc);
		tc->mags[sc].slots = slots;
		slots += tc->mags[sc].max + 2;
	}
	for (unsigned i = 0; i < SC_COUNT + 3; i++)
		tc->top[i] = no_slots;
	tc->heap = heap;
	tc->pages = (uintptr_t)heap->pages;
	tc->page_class = heap->page_class;
	lock_init(&tc->lock, LOCK_TCACHE);
	return tc;
}

static void
set_limit(struct tcache *tc)
{
	size_t ready = atomic_load_explicit(&tc->heap->ready_pages, memory_order_acquire);

	tc->limit = ready << (HEAP_LG_PAGE - 4);
}

static void
list_add(struct heap *heap, struct tcache *tc)
{
	tc->prev = NULL;
	tc->next = heap->caches;
	if (tc->next != NULL)
		tc->next->prev = tc;
	heap->caches = tc;
	heap->ncaches++;
}

static void
list_drop(struct heap *heap, struct tcache *tc)
{
	if (tc->prev != NULL)
		tc->prev->next = tc->next;
	else
		heap->caches = tc->next;
	if (tc->next != NULL)
		tc->next->prev = tc->prev;
	heap->ncaches--;
	for (unsigned sc = 1; sc <= SC_COUNT; sc++) {
		struct tcache_counts *counts = &tc->mags[sc].counts;

		heap->counts[sc].nmalloc += counts->nmalloc;
		heap->counts[sc].nfree += counts->nfree;
		heap->counts[sc].nfills += counts->nfills;
		heap->counts[sc].nflushes += counts->nflushes;
		*counts = (struct tcache_counts){0, 0, 0, 0};
	}
	tc->cell = NULL;
	tc->prev = NULL;
	tc->next = heap->spare;
	heap->spare = tc;
	heap->nspare++;
}

int
tcache_init(struct heap *heap)
{
	heap->shared = object_new(heap);
	if (heap->shared == NULL)
		return ENOMEM;
	list_add(heap, heap->shared);
	return 0;
}

/* A cache for the thread of `cell`, locked and published; NULL: none can be had. */
static struct tcache *
create(struct heap *heap, struct tcache_cell *cell)
{
	lock_take(&heap->caches_lock);
	struct tcache *tc = heap->spare;
	if (tc != NULL) {
		heap->spare = tc->next;
		heap->nspare--;
	} else {
		tc = object_new(heap);
		if (tc == NULL) {
			lock_drop(&heap->caches_lock);
			return NULL;
		}
	}
	lock_take(&tc->lock);
	tc->cell = cell;
	tc->thread = pthread_self();
	set_limit(tc);
	list_add(heap, tc);
	cell->own = tc;
	atomic_store_explicit(&cell->tc, tc, memory_order_release);
	lock_drop(&heap->caches_lock);
	return tc;
}

struct tcache *
tcache_enter(struct heap *heap, struct tcache_cell *cell)
{
	struct tcache *tc = cell->own;

	if (tc == NULL && heap->caches_allowed) {
		tc = create(heap, cell);
		if (tc != NULL)
			return tc;
	}
	if (tc == NULL)
		tc = heap->shared;
	lock_take(&tc->lock);
	return tc;
}

void
tcache_leave(struct tcache *tc)
{
	set_limit(tc);
	lock_drop(&tc->lock);
}

void
tcache_exit(struct heap *heap, struct tcache_cell *cell)
{
	struct tcache *tc = cell->own, *extra = NULL;

	if (tc == NULL)
		return;
	/* The long part without the list's lock: threads end in crowds. */
	lock_take(&tc->lock);
	tcache_drain(tc);
	purge_tick(heap);
	lock_drop(&tc->lock);

	lock_take(&heap->caches_lock);
	lock_take(&tc->lock);
	atomic_store_explicit(&cell->tc, &tcache_dummy, memory_order_release);
	cell->own = NULL;
	list_drop(heap, tc);
	lock_drop(&tc->lock);
	if (heap->nspare > MAX_SPARE) {
		extra = heap->spare;
		heap->spare = extra->next;
		heap->nspare--;
	}
	lock_drop(&heap->caches_lock);
	if (extra != NULL)
		os_unmap(extra, object_size());
}

void
tcache_fini(struct heap *heap)
{
	struct tcache *next;

	for (struct tcache *tc = heap->caches; tc != NULL; tc = next) {
		next = tc->next;
		if (tc->cell != NULL) {
			atomic_store_explicit(&tc->cell->tc, &tcache_dummy, memory_order_release);
			tc->cell->own = NULL;
		}
		os_unmap(tc, object_size());
	}
	for (struct tcache *tc = heap->spare; tc != NULL; tc = next) {
		next = tc->next;
		os_unmap(tc, object_size());
	}
	heap->caches = heap->spare = heap->shared = NULL;
}

/* --- holding the world --------------------------------------------------------------------------------------- */

void
tcache_freeze_all(struct heap *heap)
{
	bool any = false;

	lock_take(&heap->caches_lock);
	for (struct tcache *tc = heap->caches; tc != NULL; tc = tc->next) {
		lock_take(&tc->lock);
		if (tc->cell != NULL) {
			atomic_store_explicit(&tc->cell->tc, &tcache_dummy, memory_order_seq_cst);
			any = true;
		}
	}
	if (!any)
		return;
	os_barrier_all();
	for (struct tcache *tc = heap->caches; tc != NULL; tc = tc->next) {
		/* A fast path is some twenty instructions: who is busy is about to end, unless preempted. */
		unsigned tries = 0;

		/* Our own: busy when a signal handler that interrupted a fast path forks. It goes on where it was. */
		if (tc->cell == NULL || pthread_equal(tc->thread, pthread_self()))
			continue;
		while (atomic_load_explicit(&tc->cell->busy, memory_order_acquire) != 0)
			os_yield(tries++);
	}
}

void
tcache_drain_all(struct heap *heap)
{
	struct tcache *next;

	for (struct tcache *tc = heap->caches; tc != NULL; tc = next) {
		next = tc->next;
		tcache_drain(tc);
		if (tc->cell == NULL && tc != heap->shared) {
			list_drop(heap, tc);
			lock_drop(&tc->lock);
		}
	}
}

void
tcache_thaw_all(struct heap *heap)
{
	for (struct tcache *tc = heap->caches; tc != NULL; tc = tc->next) {
		set_limit(tc);
		if (tc->cell != NULL)
			atomic_store_explicit(&tc->cell->tc, tc, memory_order_release);
		lock_drop(&tc->lock);
	}
	lock_drop(&heap->caches_lock);
}

void
tcache_thaw_child(struct heap *heap, struct tcache_cell *own)
{
	lock_renew(&heap->extent_lock);
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++)
		lock_renew(&heap->bins[sc].lock);
	for (struct tcache *tc = heap->caches; tc != NULL; tc = tc->next) {
		if (tc->cell != own) {
			tc->cell = NULL; /* that memory may be anybody's by now */
		} else if (tc->cell != NULL) {
			set_limit(tc);
			atomic_store_explicit(&tc->cell->tc, tc, memory_order_release);
		}
		lock_renew(&tc->lock);
	}
	lock_renew(&heap->caches_lock);
}
