/* mt_alloc_heap.c -- threads on one heap: blocks that travel, threads that come and go, a pool that is too small
 *
 * Every block is stamped by its owner and looked at before it is freed or handed on. Each test ends with all freed,
 * a consistent heap, and the largest block of a fresh heap in hand.
 */
#include <criterion/criterion.h>

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "alloc/heap.h"
#include "tests/heap_region.h"
#include "tests/heap_threads.h"

struct world {
	struct heap_region region;
	struct heap *heap;
	size_t largest; /* block of the fresh heap */
};

static void
world_begin(struct world *w, size_t size, enum heap_backing backing)
{
	struct heap_stats stats;

	heap_region_map(&w->region, size, backing, false);
	w->heap = heap_region_create_heap(&w->region);
	heap_stats_get(w->heap, &stats);
	w->largest = stats.largest_free;
}

static void
world_end(struct world *w)
{
	heap_threads_expect_empty(w->heap, w->largest);
	heap_detach(w->heap);
	heap_region_unmap(&w->region);
}

/* --- rings: every block is freed by the next thread ------------------------------------------------------------- */

#define RING_THREADS 6u
#define RING_SLOTS 64u

struct parcel {
	_Atomic(void *) p;
	size_t size;
	uint64_t tag;
};

struct ring {
	struct parcel parcels[RING_THREADS][RING_SLOTS]; /* [receiver] */
	_Atomic unsigned ended;
};

static void
ring_receive(struct heap_thread *t, struct parcel *from)
{
	void *p = atomic_load_explicit(&from->p, memory_order_acquire);

	if (!p)
		return;
	stamp_check(p, from->size, from->tag);
	heap_free(t->heap, &t->cell, p);
	atomic_store_explicit(&from->p, NULL, memory_order_release);
}

static void
ring_thread(struct heap_thread *t)
{
	struct ring *ring = t->shared;
	struct parcel *in = ring->parcels[t->index], *out = ring->parcels[(t->index + 1) % RING_THREADS];
	unsigned rounds = 60000 / HEAP_THREADS_SLOW;

	for (unsigned i = 0, turn = 0; i < rounds; turn++) {
		struct parcel *to = &out[i % RING_SLOTS];

		ring_receive(t, &in[turn % RING_SLOTS]);
		if (atomic_load_explicit(&to->p, memory_order_acquire)) {
			if (turn % RING_SLOTS == 0) /* the next one is behind: let it run */
				sched_yield();
			continue;
		}
		size_t size = heap_thread_random_size(t);
		void *p = heap_malloc(t->heap, &t->cell, size);

		THREAD_EXPECT(p, "%zu bytes, while all threads together hold little", size);
		to->size = heap_usable_size(t->heap, p);
		to->tag = (uint64_t)t->index << 32 | i;
		stamp(p, to->size, to->tag);
		atomic_store_explicit(&to->p, p, memory_order_release);
		i++;
	}
	atomic_fetch_add(&ring->ended, 1);
	while (atomic_load(&ring->ended) < RING_THREADS)
		for (unsigned i = 0; i < RING_SLOTS; i++)
			ring_receive(t, &in[i]);
	for (unsigned i = 0; i < RING_SLOTS; i++)
		ring_receive(t, &in[i]);
}

static void
run_ring(enum heap_backing backing)
{
	static struct ring ring;
	struct heap_thread threads[RING_THREADS];
	struct world w;

	world_begin(&w, (size_t)192 << 20, backing);
	heap_threads_run(threads, RING_THREADS, w.heap, &ring, ring_thread);
	world_end(&w);
}

Test(mt_alloc_heap, remote_frees_lose_nothing)
{
	run_ring(HEAP_BACKING_PRIVATE);
}

Test(mt_alloc_heap, remote_frees_lose_nothing_in_a_sparse_file)
{
	run_ring(HEAP_BACKING_SPARSE);
}

/* --- birth and death ---------------------------------------------------------------------------------------------- */

#define LEGACY_SLOTS 256u

struct legacy {
	struct parcel parcels[LEGACY_SLOTS]; /* left by threads that ended; taken by exchange */
};

/* Leaves its blocks to whoever comes later, frees what it finds. */
static void
short_thread(struct heap_thread *t)
{
	struct legacy *legacy = t->shared;

	for (unsigned i = 0; i < 24; i++) {
		struct parcel *parcel = &legacy->parcels[heap_thread_random(t) % LEGACY_SLOTS];
		size_t size = heap_thread_random(t) % 3000;
		void *p = heap_malloc(t->heap, &t->cell, size), *old;

		THREAD_EXPECT(p);
		size = heap_usable_size(t->heap, p);
		/* The block tells its own size and tag, so that one exchange hands it over. */
		stamp(p, size, (uint64_t)(uintptr_t)p);
		old = atomic_exchange_explicit(&parcel->p, p, memory_order_acq_rel);
		if (old) {
			stamp_check(old, heap_usable_size(t->heap, old), (uint64_t)(uintptr_t)old);
			heap_free(t->heap, &t->cell, old);
		}
	}
}

Test(mt_alloc_heap, thousands_of_short_threads_leave_no_growth)
{
	static struct legacy legacy;
	static struct heap_thread threads[8];
	struct tcache_cell cell = TCACHE_CELL_INIT;
	struct world w;
	struct heap_stats early = {0}, late;

	world_begin(&w, (size_t)64 << 20, HEAP_BACKING_SPARSE);
	for (unsigned round = 0; round < 800 / HEAP_THREADS_SLOW; round++) {
		heap_threads_run(threads, 8, w.heap, &legacy, short_thread);
		if (round == 20)
			heap_stats_get(w.heap, &early);
	}
	heap_stats_get(w.heap, &late);
	cr_assert_eq(late.ncaches, early.ncaches, "%lu caches after few threads, %lu after many",
	             (unsigned long)early.ncaches, (unsigned long)late.ncaches);
	cr_assert_leq(late.cached, early.cached + 65536);
	/* What is live stays about the same: LEGACY_SLOTS blocks of up to 3000 bytes. */
	cr_assert_leq(late.active, early.active + early.active / 2 + ((size_t)1 << 20), "%lu bytes active, were %lu",
	              (unsigned long)late.active, (unsigned long)early.active);
	for (unsigned i = 0; i < LEGACY_SLOTS; i++)
		if (legacy.parcels[i].p)
			heap_free(w.heap, &cell, legacy.parcels[i].p);
	heap_thread_exit(w.heap, &cell);
	world_end(&w);
}

/* --- a pool that is too small ------------------------------------------------------------------------------------- */

struct crowd {
	size_t size;               /* of blocks; 0: random */
	pthread_barrier_t barrier;
	unsigned n;
	_Atomic size_t got;        /* bytes, by all threads together */
};

struct chain {
	struct chain *next;
	size_t size;
};

/* Takes blocks until none is left; returns how many. Each block holds the link to the one before. */
static size_t
take_all(struct heap_thread *t, size_t size, struct chain **chain)
{
	size_t n = 0;

	for (;;) {
		size_t ask = size ? size : heap_thread_random_size(t);
		struct chain *block = heap_malloc(t->heap, &t->cell, ask < sizeof(*block) ? sizeof(*block) : ask);

		if (!block)
			return n;
		block->size = heap_usable_size(t->heap, block);
		block->next = *chain;
		stamp(block + 1, block->size - sizeof(*block), (uintptr_t)block);
		*chain = block;
		n++;
	}
}

static size_t
free_chain(struct heap_thread *t, struct chain **chain)
{
	size_t bytes = 0;

	while (*chain) {
		struct chain *block = *chain;

		stamp_check(block + 1, block->size - sizeof(*block), (uintptr_t)block);
		bytes += block->size;
		*chain = block->next;
		heap_free(t->heap, &t->cell, block);
	}
	return bytes;
}

static void
crowd_thread(struct heap_thread *t)
{
	struct crowd *crowd = t->shared;

	for (unsigned round = 0; round < (crowd->n > 16 ? 4u : 12u) / (HEAP_THREADS_SLOW > 1 ? 3 : 1); round++) {
		struct chain *chain = NULL;

		take_all(t, crowd->size, &chain);
		free_chain(t, &chain);
	}
}

static void
run_crowd(unsigned n, size_t size)
{
	struct heap_thread *threads = calloc(n, sizeof(*threads));
	struct crowd crowd = {.size = size, .n = n};
	struct world w;

	world_begin(&w, (size_t)14 << 20, n == 8 ? HEAP_BACKING_SPARSE : HEAP_BACKING_PRIVATE);
	heap_threads_run(threads, n, w.heap, &crowd, crowd_thread);
	world_end(&w);
	free(threads);
}

Test(mt_alloc_heap, exhaustion_by_2_threads_at_once)
{
	run_crowd(2, 64);
	run_crowd(2, 0);
}

Test(mt_alloc_heap, exhaustion_by_8_threads_at_once)
{
	run_crowd(8, 500);
	run_crowd(8, 0);
}

Test(mt_alloc_heap, exhaustion_by_64_threads_at_once)
{
	run_crowd(64, 1000);
	run_crowd(64, 0);
}

/* Each in turn, the others asleep: takes and frees a little of everything, so that its cache is full. Then each in
 * turn must get all there is, though 63 caches hold some of it. */
static void
sleeper_thread(struct heap_thread *t)
{
	struct crowd *crowd = t->shared;

	for (unsigned turn = 0; turn < crowd->n; turn++) {
		if (turn == t->index) {
			void *held[64];

			for (size_t size = 16; size <= SC_SLAB_MAX; size *= 2) {
				size_t n = size > 1024 ? 8 : 64;

				for (size_t i = 0; i < n; i++)
					THREAD_EXPECT(held[i] = heap_malloc(t->heap, &t->cell, size), "thread %u, %zu bytes", t->index,
					              size);
				for (size_t i = 0; i < n; i++)
					heap_free(t->heap, &t->cell, held[i]);
			}
		}
		pthread_barrier_wait(&crowd->barrier);
	}
	for (unsigned turn = 0; turn < crowd->n; turn++) {
		if (turn == t->index) {
			struct chain *chain = NULL;

			take_all(t, crowd->size, &chain);
			size_t got = free_chain(t, &chain), first = atomic_load(&crowd->got);

			/* The first one says how much there is; none gets less (but for slabs that were cut anew). */
			if (turn == 0)
				atomic_store(&crowd->got, got);
			else
				THREAD_EXPECT(got + got / 50 >= first, "thread %u got %zu bytes, thread 0 %zu", t->index, got, first);
			THREAD_EXPECT(got >= ((size_t)14 << 20) / 100 * 95, "thread %u got %zu bytes of 14 MiB", t->index, got);
		}
		pthread_barrier_wait(&crowd->barrier);
	}
}

static void
run_sleepers(unsigned n, size_t size)
{
	struct heap_thread *threads = calloc(n, sizeof(*threads));
	struct crowd crowd = {.size = size, .n = n};
	struct world w;

	world_begin(&w, (size_t)14 << 20, HEAP_BACKING_PRIVATE);
	pthread_barrier_init(&crowd.barrier, NULL, n);
	heap_threads_run(threads, n, w.heap, &crowd, sleeper_thread);
	pthread_barrier_destroy(&crowd.barrier);
	world_end(&w);
	free(threads);
}

Test(mt_alloc_heap, caches_of_sleeping_threads_are_no_loss_1)
{
	run_sleepers(1, 64);
}

Test(mt_alloc_heap, caches_of_sleeping_threads_are_no_loss_8)
{
	run_sleepers(8, 64);
	run_sleepers(8, 3000);
}

Test(mt_alloc_heap, caches_of_sleeping_threads_are_no_loss_64)
{
	run_sleepers(64, 200);
}

/* All hold a share at the same time: nobody goes empty-handed when each takes no more than its share. */
static void
share_thread(struct heap_thread *t)
{
	struct crowd *crowd = t->shared;
	size_t share = ((size_t)12 << 20) / crowd->n, bytes = 0;
	struct chain *chain = NULL;

	while (bytes < share) {
		struct chain *block = heap_malloc(t->heap, &t->cell, crowd->size);

		THREAD_EXPECT(block, "thread %u of %u has %zu bytes of its share of %zu", t->index, crowd->n, bytes, share);
		block->size = heap_usable_size(t->heap, block);
		block->next = chain;
		stamp(block + 1, block->size - sizeof(*block), (uintptr_t)block);
		chain = block;
		bytes += block->size;
	}
	pthread_barrier_wait(&crowd->barrier);
	free_chain(t, &chain);
}

Test(mt_alloc_heap, every_thread_gets_its_share_of_14_mib)
{
	static const unsigned counts[] = {1, 8, 64};
	static const size_t sizes[] = {16, 100, 1024, 10000, 32768, 100000};

	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++)
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			struct heap_thread threads[64];
			struct crowd crowd = {.size = sizes[s], .n = counts[c]};
			struct world w;

			world_begin(&w, (size_t)14 << 20, HEAP_BACKING_SPARSE);
			pthread_barrier_init(&crowd.barrier, NULL, counts[c]);
			heap_threads_run(threads, counts[c], w.heap, &crowd, share_thread);
			pthread_barrier_destroy(&crowd.barrier);
			world_end(&w);
		}
}

/* --- purging takes pages for a moment, and must not be seen to -------------------------------------------------------- */

struct purging {
	_Atomic bool stop;
};

static void
purging_thread(struct heap_thread *t)
{
	struct purging *purging = t->shared;

	while (!atomic_load(&purging->stop))
		heap_purge_all(t->heap);
}

static void
run_purging(size_t size)
{
	struct tcache_cell cell = TCACHE_CELL_INIT;
	struct heap_thread thread;
	struct purging purging = {0};
	struct world w;

	world_begin(&w, size, HEAP_BACKING_SPARSE);
	heap_threads_start(&thread, 1, w.heap, &purging, purging_thread);
	for (unsigned i = 0; i < 600 / HEAP_THREADS_SLOW; i++) {
		void *p = heap_malloc(w.heap, &cell, w.largest);

		THREAD_EXPECT(p, "round %u: no %zu bytes while another thread only purges", i, w.largest);
		memset(p, 1, w.largest);
		heap_free(w.heap, &cell, p);
	}
	atomic_store(&purging.stop, true);
	heap_threads_join(&thread, 1);
	heap_thread_exit(w.heap, &cell);
	world_end(&w);
}

Test(mt_alloc_heap, purge_all_makes_no_call_fail)
{
	run_purging((size_t)8 << 20);
}

/* --- everything at once -------------------------------------------------------------------------------------------- */

#define CHURN_BLOCKS 200u

struct churn {
	_Atomic unsigned running;
};

static void
churn_thread(struct heap_thread *t)
{
	struct churn *churn = t->shared;
	void *blocks[CHURN_BLOCKS] = {0};
	size_t sizes[CHURN_BLOCKS] = {0};

	for (unsigned round = 0; round < 40000 / HEAP_THREADS_SLOW; round++) {
		size_t i = heap_thread_random(t) % CHURN_BLOCKS, size = heap_thread_random_size(t);
		unsigned how = heap_thread_random(t) % 8;

		if (blocks[i])
			stamp_check(blocks[i], sizes[i], (uintptr_t)&blocks[i] ^ t->index);
		if (blocks[i] && how == 0) {
			void *p = heap_realloc(t->heap, &t->cell, blocks[i], size);

			if (p) {
				size_t keep = size < sizes[i] ? size : sizes[i];

				/* Of a long stamp only the part up to the shorter length is in the same places. */
				stamp_check(p, keep < 64 ? keep : 64, (uintptr_t)&blocks[i] ^ t->index);
				blocks[i] = p;
			}
		} else {
			if (blocks[i])
				heap_free(t->heap, &t->cell, blocks[i]);
			blocks[i] = NULL;
			if (how == 1) {
				char *p = blocks[i] = heap_calloc(t->heap, &t->cell, 1, size);

				for (size_t at = 0; p && at < size; at++)
					THREAD_EXPECT(p[at] == 0, "byte %zu of calloc's %zu", at, size);
			} else if (how == 2) {
				size_t align = (size_t)16 << heap_thread_random(t) % 12;

				blocks[i] = heap_aligned_alloc(t->heap, &t->cell, align, size);
				THREAD_EXPECT((uintptr_t)blocks[i] % align == 0, "align %zu: %p", align, blocks[i]);
			} else if (how < 7) {
				blocks[i] = heap_malloc(t->heap, &t->cell, size);
			}
		}
		if (blocks[i]) {
			sizes[i] = heap_usable_size(t->heap, blocks[i]);
			stamp(blocks[i], sizes[i], (uintptr_t)&blocks[i] ^ t->index);
		}
		if (round % 5000 == 4999)
			heap_thread_exit(t->heap, &t->cell);
	}
	for (size_t i = 0; i < CHURN_BLOCKS; i++)
		if (blocks[i]) {
			stamp_check(blocks[i], sizes[i], (uintptr_t)&blocks[i] ^ t->index);
			heap_free(t->heap, &t->cell, blocks[i]);
		}
	atomic_fetch_sub(&churn->running, 1);
}

static void
count_block(void *ctx, void *p, size_t usable)
{
	(void)p;
	*(size_t *)ctx += usable;
}

/* The calls that hold the world still or give pages back, all the time. */
static void
run_churn(enum heap_backing backing, size_t size)
{
	struct heap_thread threads[5];
	struct churn churn = {.running = 5};
	struct heap_stats stats;
	struct world w;
	unsigned turns = 0;
	char why[256];

	world_begin(&w, size, backing);
	heap_threads_start(threads, 5, w.heap, &churn, churn_thread);
	while (atomic_load(&churn.running)) {
		size_t live = 0;

		switch (turns++ % 4) {
		case 0:
			heap_purge_all(w.heap);
			break;
		case 1:
			cr_assert_eq(heap_check(w.heap, why, sizeof(why)), 1, "%s", why);
			break;
		case 2:
			heap_stats_get(w.heap, &stats);
			cr_assert_leq(stats.allocated, stats.active);
			break;
		default:
			heap_each_block(w.heap, count_block, &live);
			cr_assert_leq(live, size);
		}
		struct timespec pause = {0, 1000000};

		nanosleep(&pause, NULL);
	}
	heap_threads_join(threads, 5);
	cr_assert_gt(turns, 0);
	world_end(&w);
}

Test(mt_alloc_heap, purge_and_check_while_others_allocate)
{
	run_churn(HEAP_BACKING_SPARSE, (size_t)128 << 20);
}

Test(mt_alloc_heap, purge_and_check_while_others_allocate_private_memory)
{
	run_churn(HEAP_BACKING_PRIVATE, (size_t)128 << 20);
}

Test(mt_alloc_heap, purge_and_check_while_others_run_out)
{
	run_churn(HEAP_BACKING_SPARSE, (size_t)4 << 20);
}
