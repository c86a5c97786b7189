/* slab.c -- the model of the slab protocol: claim, take, release, unclaim, retire, birth
 *
 * Real: alloc/slab.c, alloc/bin.c, and alloc/tcache.c's releases. Stand-ins: locks, and an extent layer of two places of
 * four pages each, where a slab that is retired is born again as another class.
 *
 * Rules:  a slot has one holder; at the end each slab is in the state and on the list that its bits say (S1, B1, B2).
 * Media:  none.
 */
#include "tests/models/engine.h"

#include "alloc/bin.c"
#include "alloc/slab.c"
#include "alloc/tcache.c"

#include "tests/models/stand_ins.h"

#define PLACES 2u
#define SC_TWO 56u  /* 8 KiB: two slots in four pages */
#define SC_ONE 64u  /* 16 KiB: one */
#define SC_WORDS 8u /* 128 bytes: 128 slots, two words */

static struct heap heap;
static struct heap_media media;
static struct slab_media slabs[PLACES];
static _Atomic uint64_t bits[PLACES * 4 * HEAP_PAGE_WORDS];
static uint8_t page_class[PLACES * 4];
static uint32_t page_map[PLACES * 4];
static struct {
	uint8_t taken[PLACES];       /* places of the extent layer */
	uint8_t holder[PLACES][128]; /* thread + 1 by slot */
	void *gift[4];               /* slots that threads begin with */
} world;

/* --- stand-ins ------------------------------------------------------------------------------------------------- */

void
lock_take(struct lock *lock)
{
	if (lock == &heap.bins[SC_TWO].lock || lock == &heap.bins[SC_ONE].lock || lock == &heap.bins[SC_WORDS].lock) {
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
	mc_choose(1);
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
	(void)h;
	(void)n;
	(void)align;
	(void)zero;
	(void)page;
	return EAGAIN;
}

void
extent_free(struct heap *h, uint32_t page, uint32_t n)
{
	mc_drain();
	page_map_clear(h, page, n);
	world.taken[page / 4] = 0;
	mc_choose(1);
}

/* --- what threads do -------------------------------------------------------------------------------------------- */

static uint8_t *
holder_of(const void *p, unsigned sc)
{
	uint32_t page = (uint32_t)(((uintptr_t)p - (uintptr_t)heap.pages) >> HEAP_LG_PAGE) / 4;

	return &world.holder[page][((uintptr_t)p - (uintptr_t)heap_page_addr(&heap, page * 4)) / sc_size(sc)];
}

static void *
take_one(struct slab_media *slab, unsigned sc)
{
	void *p;

	if (slab_take(&heap, slab, &p + 1, 1) == 0)
		return NULL;
	if (*holder_of(p, sc) != 0)
		mc_fail("a slot has two holders");
	*holder_of(p, sc) = (uint8_t)(mc_self() + 1);
	return p;
}

static void
give(void *p, unsigned sc)
{
	*holder_of(p, sc) = 0;
	release(&heap, sc, &p, 1);
}

/* Claims, takes up to n, lets go of the claim, gives what it took. */
static void
visit_class(unsigned sc, unsigned n, bool make)
{
	struct slab_media *slab = bin_claim(&heap, sc, make);
	void *p[2] = {NULL, NULL};

	if (slab == NULL)
		return;
	if (slab_state_class(atomic_load(&slab->state)) != sc)
		mc_fail("a claim of another class");
	for (unsigned i = 0; i < n; i++)
		p[i] = take_one(slab, sc);
	bin_unclaim(&heap, slab);
	for (unsigned i = 0; i < n; i++)
		if (p[i] != NULL)
			give(p[i], sc);
}

/* --- beginnings and ends ---------------------------------------------------------------------------------------- */

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
	heap.pages = (char *)((uintptr_t)1 << 32); /* never touched */
	heap.media = &media;
	heap.slabs = slabs;
	heap.bits = bits;
	heap.page_class = page_class;
	heap.page_map = page_map;
	heap.name = "model";
	heap.ready_pages = PLACES * 4;
	mc_region(&heap.bins[SC_TWO], sizeof(heap.bins[0]));
	mc_region(&heap.bins[SC_ONE], sizeof(heap.bins[0]));
	mc_region(&heap.bins[SC_WORDS], sizeof(heap.bins[0]));
	mc_region((void *)&heap.empty_pages, sizeof(heap.empty_pages));
	mc_region(media.bins, sizeof(media.bins));
	mc_region(slabs, sizeof(slabs));
	mc_region((void *)bits, sizeof(bits));
	mc_region(page_class, sizeof(page_class));
	mc_region(page_map, sizeof(page_map));
	mc_region(&world, sizeof(world));
	mc_quiet(&heap.empty_pages, sizeof(heap.empty_pages));
	mc_quiet(&heap.ready_pages, sizeof(heap.ready_pages));
}

/* A slab all of whose first n slots are taken, its claim the caller's. */
static struct slab_media *
claimed(unsigned sc, unsigned n)
{
	struct slab_media *slab = bin_claim(&heap, sc, true);
	void *p[128];

	slab_take(&heap, slab, p + n, n);
	for (unsigned i = 0; i < n && i < 4; i++)
		world.gift[i] = p[n - 1 - i];
	return slab;
}

static bool
listed(uint32_t head, const struct slab_media *slab)
{
	for (unsigned n = 0; head != 0 && n <= PLACES; n++) {
		if (&slabs[head - 1] == slab)
			return true;
		head = slabs[head - 1].next;
	}
	return false;
}

static void
final(void)
{
	static const unsigned classes[] = {SC_TWO, SC_ONE, SC_WORDS};

	for (uint32_t i = 0; i < PLACES; i++) {
		const struct slab_media *slab = &slabs[i];
		enum slab_kind kind = slab_state_kind(slab->state);

		if ((page_class[i * 4] != 0) != (kind != SLAB_NONE) || (page_class[i * 4] != 0) != world.taken[i])
			mc_fail("pages and slab differ");
		for (size_t k = 0; k < 3; k++) {
			const struct bin_media *bin = &media.bins[classes[k]];
			bool mine = kind != SLAB_NONE && slab_state_class(slab->state) == classes[k];

			if (listed(bin->partial, slab) != (mine && kind == SLAB_PARTIAL) ||
			    listed(bin->empty, slab) != (mine && kind == SLAB_EMPTY))
				mc_fail("a list and a slab's state differ (B1)");
		}
		if (kind == SLAB_NONE)
			continue;
		if (kind == SLAB_CLAIMED)
			mc_fail("a claim was not ended");
		if (slab_is_empty(&heap, slab) != (kind == SLAB_EMPTY))
			mc_fail("a slab without a used slot is not on the empty list (B1)");
		if (slab_has_free(&heap, slab) != (kind == SLAB_EMPTY || kind == SLAB_PARTIAL))
			mc_fail("a free slot cannot be found by anybody (B2)");
	}
}

/* --- scenarios ---------------------------------------------------------------------------------------------------- */

static void
unclaim_first(void)
{
	bin_unclaim(&heap, &slabs[0]);
}

static void
free_own_gift_two(void)
{
	give(world.gift[mc_self() - 1], SC_TWO);
}

static void
free_and_visit(void)
{
	give(world.gift[mc_self() - 1], SC_TWO);
	visit_class(SC_TWO, 1, false);
}

static void
free_own_gift_words(void)
{
	give(world.gift[mc_self()], SC_WORDS);
}

static void
visit_words(void)
{
	visit_class(SC_WORDS, 1, false);
}

static void
free_gift_0(void)
{
	give(world.gift[0], SC_TWO);
}

static void
free_gift_1_and_begin_another_life(void)
{
	struct slab_media *slab;

	give(world.gift[1], SC_TWO);
	bin_drop_empty(&heap);
	slab = bin_claim(&heap, SC_ONE, true);
	if (slab != NULL) {
		take_one(slab, SC_ONE);
		bin_unclaim(&heap, slab);
	}
}

static void
visit_two(void)
{
	visit_class(SC_TWO, 1, false);
}

static void
drop_empty(void)
{
	bin_drop_empty(&heap);
}

static void
make_visit_two(void)
{
	visit_class(SC_TWO, 2, true);
}

static void
make_visit_one_then_two(void)
{
	visit_class(SC_ONE, 1, true);
	visit_class(SC_TWO, 1, true);
}

static void
explore(void (*a)(void), void (*b)(void), void (*c)(void))
{
	mc_thread(a);
	mc_thread(b);
	if (c != NULL)
		mc_thread(c);
	mc_explore(final);
}

int
main(int argc, char **argv)
{
	bool all = argc > 1 && strcmp(argv[1], "all") == 0;

	begin("a claim ends while one frees");
	claimed(SC_TWO, 2);
	explore(unclaim_first, free_own_gift_two, NULL);

	begin("a claim ends while two free");
	claimed(SC_TWO, 2);
	explore(unclaim_first, free_own_gift_two, free_own_gift_two);

	begin("a claim ends while two free and claim");
	claimed(SC_TWO, 2);
	explore(unclaim_first, free_and_visit, all ? free_and_visit : free_own_gift_two);

	begin("two words of a slab drain, a third claims");
	bin_unclaim(&heap, claimed(SC_WORDS, 128));
	bits[0] = 1;
	bits[1] = 1;
	world.gift[0] = heap_page_addr(&heap, 0);
	world.gift[1] = heap_page_addr(&heap, 2);
	slab_set_kind(&slabs[0], SLAB_PARTIAL);
	list_push(&heap, &media.bins[SC_WORDS].partial, &slabs[0]);
	explore(free_own_gift_words, free_own_gift_words, visit_words);

	begin("the last free, retirement, another life");
	bin_unclaim(&heap, claimed(SC_TWO, 2));
	explore(free_gift_0, free_gift_1_and_begin_another_life, visit_two);

	begin("two make slabs, one drops the empty ones");
	explore(make_visit_two, make_visit_one_then_two, all ? drop_empty : NULL);
	if (all) {
		begin("three make slabs of two classes");
		explore(make_visit_two, make_visit_one_then_two, make_visit_two);
	}
	mc_report("slab");
	return 0;
}
