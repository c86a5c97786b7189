/* freeze.c -- the model of the fast path beside threads that hold all caches still, drain them, and end
 *
 * Real: alloc/heap_inline.h, alloc/tcache.c, alloc/bin.c, alloc/slab.c. Stand-ins: locks, three places for slabs,
 * membarrier(2), and the few lines of alloc/heap.c that lead from the fast path to the cache.
 *
 * Rules:  a slot has one holder; with the world held, what lies in a magazine lies in one, is in use by its slab's
 *         bitmap and in nobody's hands (T1, T4); at the end all of it is there.
 * Media:  none.
 */
#include "tests/models/engine.h"

#include "alloc/heap.h"

#include "alloc/bin.c"
#include "alloc/slab.c"
#include "alloc/tcache.c"

#define MODEL_FREEZES
#include "tests/models/stand_ins.h"

#define PLACES 3u
#define SC 56u /* 8 KiB: two slots in four pages */
#define SIZE ((size_t)8192)
#define OBJECTS 3

static struct heap heap;
static struct heap_media media;
static struct slab_media slabs[PLACES];
static _Atomic uint64_t bits[PLACES * 4 * HEAP_PAGE_WORDS];
static uint8_t page_class[PLACES * 4];
static uint32_t page_map[PLACES * 4];
static struct {
	struct tcache_cell cells[MC_MAX_THREADS];
	uint8_t taken[PLACES];
	uint8_t holder[PLACES * 2];
	uint32_t nobjects;
} world;
static char objects[OBJECTS][16384] __attribute__((aligned(64)));

const uint8_t sc_table[SC_TABLE_MAX / 16 + 1]; /* sizes in play are above it */

/* --- stand-ins ---------------------------------------------------------------------------------------------------- */

void *
os_map(size_t size)
{
	if (size > sizeof(objects[0]) || world.nobjects == OBJECTS)
		mc_fail("the model is too small");
	return objects[world.nobjects++];
}

void
os_unmap(void *addr, size_t size)
{
	(void)addr;
	(void)size;
	mc_fail("nothing is unmapped here");
}

void
os_barrier_all(void)
{
	mc_barrier_all();
}

void
os_yield(unsigned tries)
{
	(void)tries;
	mc_choose(1);
}

static bool
in_play(const struct lock *lock)
{
	for (unsigned i = 0; i < OBJECTS; i++)
		if (lock == &((struct tcache *)(void *)objects[i])->lock)
			return true;
	return lock == &heap.caches_lock || lock == &heap.bins[SC].lock;
}

void
lock_take(struct lock *lock)
{
	if (in_play(lock)) {
		mc_wait((const uint32_t *)&lock->word, 0);
		*(uint32_t *)&lock->word = 1;
	}
}

void
lock_drop(struct lock *lock)
{
	mc_drain();
	*(uint32_t *)&lock->word = 0;
}

uint32_t
sc_slab_pages(unsigned sc, uint32_t target)
{
	(void)sc;
	return target;
}

int
extent_alloc(struct heap *h, uint32_t n, uint64_t align, bool zero, uint32_t *page)
{
	(void)h;
	(void)align;
	(void)zero;
	for (uint32_t i = 0; i < PLACES && n == 4; i++)
		if (!world.taken[i]) {
			world.taken[i] = 1;
			*page = i * 4;
			return 0;
		}
	return ENOMEM;
}

int
extent_reuse(struct heap *h, uint32_t n, uint64_t align, bool zero, uint32_t *page)
{
	return extent_alloc(h, n, align, zero, page) == 0 ? 0 : EAGAIN;
}

void
extent_free(struct heap *h, uint32_t page, uint32_t n)
{
	page_map_clear(h, page, n);
	world.taken[page / 4] = 0;
}

/* --- what threads do ----------------------------------------------------------------------------------------------- */

static uint32_t
number_of(const void *p)
{
	return (uint32_t)(((uintptr_t)p - (uintptr_t)heap.pages) / SIZE);
}

static void *
take(void)
{
	struct tcache_cell *cell = &world.cells[mc_self()];
	void *p = heap_malloc_try(cell, SIZE);

	if (p == NULL) { /* allocate() of heap.c */
		struct tcache *tc = tcache_enter(&heap, cell);

		p = tcache_alloc(tc, SC);
		tcache_leave(tc);
	}
	if (p == NULL)
		return NULL;
	if (number_of(p) >= PLACES * 2)
		mc_fail("what is handed out is no slot");
	if (world.holder[number_of(p)] != 0)
		mc_fail("a slot has two holders");
	world.holder[number_of(p)] = (uint8_t)(mc_self() + 1);
	return p;
}

static void
give(void *p)
{
	struct tcache_cell *cell = &world.cells[mc_self()];

	if (p == NULL)
		return;
	world.holder[number_of(p)] = 0;
	if (!heap_free_try(cell, p)) { /* heap_free_slow() of heap.c */
		struct tcache *tc = tcache_enter(&heap, cell);

		tcache_free(tc, p, SC);
		tcache_leave(tc);
	}
}

/* With the world held. */
static void
look_at_caches(void)
{
	bool met[PLACES * 2] = {false};

	for (const struct tcache *tc = heap.caches; tc != NULL; tc = tc->next) {
		if (tc->cell != NULL && tc->cell->own != tc)
			mc_fail("a cache whose cell is another's");
		for (uint32_t i = 1; i <= tcache_count(tc, SC); i++) {
			uint32_t k = number_of(tc->mags[SC].slots[i]);

			if (k >= PLACES * 2 || met[k])
				mc_fail("a slot lies in two magazines (T1)");
			met[k] = true;
			if (world.holder[k] != 0)
				mc_fail("a slot lies in a magazine and in somebody's hands (T1)");
			const uint64_t *word = (const uint64_t *)&bits[k / 2 * 4 * HEAP_PAGE_WORDS];
			if ((*word >> (k % 2) & 1) == 0)
				mc_fail("a slot lies in a magazine and is free (T1)");
		}
	}
}

static void
hold_and_drain(void)
{
	void **held[OBJECTS];

	tcache_freeze_all(&heap);
	look_at_caches();
	for (unsigned i = 0; i < OBJECTS; i++)
		held[i] = ((struct tcache *)(void *)objects[i])->top[SC];
	mc_choose(1);
	for (unsigned i = 0; i < OBJECTS; i++)
		if (((struct tcache *)(void *)objects[i])->top[SC] != held[i])
			mc_fail("a cache moved while it was held (T4)");
	tcache_drain_all(&heap);
	look_at_caches();
	tcache_thaw_all(&heap);
}

static void
take_and_give(void)
{
	void *p = take();

	give(p);
}

static void
take_give_twice(void)
{
	take_and_give();
	take_and_give();
}

static void
take_give_and_end(void)
{
	take_and_give();
	tcache_exit(&heap, &world.cells[mc_self()]);
}

static void
end_and_begin_again(void)
{
	tcache_exit(&heap, &world.cells[mc_self()]);
	take_and_give();
}

static void
begin(const char *name)
{
	mc_begin(name);
	memset(&heap, 0, sizeof(heap));
	memset(&media, 0, sizeof(media));
	memset(slabs, 0, sizeof(slabs));
	memset((void *)bits, 0, sizeof(bits));
	memset(page_class, 0, sizeof(page_class));
	memset(page_map, 0, sizeof(page_map));
	memset(&world, 0, sizeof(world));
	memset(objects, 0, sizeof(objects));
	heap.pages = (char *)((uintptr_t)1 << 32); /* never touched */
	heap.media = &media;
	heap.slabs = slabs;
	heap.bits = bits;
	heap.page_class = page_class;
	heap.page_map = page_map;
	heap.name = "model";
	heap.ready_pages = PLACES * 4;
	heap.caches_allowed = true;
	heap.cache_max = 65536;
	for (unsigned i = 0; i < MC_MAX_THREADS; i++)
		world.cells[i] = (struct tcache_cell)TCACHE_CELL_INIT;
	tcache_init(&heap);
	mc_region(&heap, sizeof(heap));
	mc_region((void *)&media.bins[SC], sizeof(media.bins[SC]));
	mc_region((void *)&media.cache_room, sizeof(media.cache_room));
	mc_region(slabs, sizeof(slabs));
	mc_region((void *)bits, sizeof(bits));
	mc_region(page_class, sizeof(page_class));
	mc_region(page_map, sizeof(page_map));
	mc_region(&world, sizeof(world));
	mc_region(objects, sizeof(objects));
	mc_quiet(&heap.ready_pages, sizeof(heap.ready_pages));
	mc_quiet(&heap.empty_pages, sizeof(heap.empty_pages));
	mc_quiet(&media.cache_room, sizeof(media.cache_room));
	mc_quiet(&media.used_pages, sizeof(media.used_pages));
	/* The fast path's own accesses are steps; slabs have a model of their own. */
	size_t slots = (size_t)((char *)heap.shared->mags[SC].slots - (char *)heap.shared);
	for (unsigned i = 0; i < OBJECTS; i++) {
		mc_watch(&((struct tcache *)(void *)objects[i])->top[SC], sizeof(void *));
		mc_watch(objects[i] + slots, 4 * sizeof(void *));
	}
	mc_quiet(slabs, sizeof(slabs));
	mc_quiet((void *)bits, sizeof(bits));
}

/* Thread i's cache holds a slot already. */
static void
filled(unsigned i)
{
	struct tcache_cell *cell = &world.cells[i];
	struct tcache *tc = tcache_enter(&heap, cell);
	void *p = tcache_alloc(tc, SC);

	tc->thread = i + 1;
	tcache_free(tc, p, SC);
	tcache_leave(tc);
}

static void
explore(void (*a)(void), void (*b)(void), void (*c)(void))
{
	mc_thread(a);
	mc_thread(b);
	if (c != NULL)
		mc_thread(c);
	mc_explore(look_at_caches);
}

int
main(int argc, char **argv)
{
	bool all = argc > 1 && strcmp(argv[1], "all") == 0;

	begin("a fast path beside a freeze");
	filled(0);
	explore(take_and_give, hold_and_drain, NULL);
	begin("two fast paths beside a freeze");
	filled(0);
	explore(take_give_twice, hold_and_drain, NULL);
	begin("a thread ends beside a freeze");
	filled(0);
	explore(take_give_and_end, hold_and_drain, NULL);
	begin("a thread begins again beside a freeze");
	filled(0);
	explore(end_and_begin_again, hold_and_drain, NULL);
	begin("a thread begins again beside one that begins");
	filled(0);
	explore(end_and_begin_again, take_and_give, NULL);
	if (all) {
		begin("two freeze beside a fast path");
		filled(0);
		explore(take_and_give, hold_and_drain, hold_and_drain);
		begin("two threads beside a freeze");
		filled(0);
		filled(1);
		explore(take_and_give, take_and_give, hold_and_drain);
		begin("one thread ends, one works, one freezes");
		filled(0);
		filled(1);
		explore(take_give_and_end, take_and_give, hold_and_drain);
	}
	mc_report("freeze");
	return 0;
}
