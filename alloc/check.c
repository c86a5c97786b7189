/* check.c -- heap_check: every rule of the heap, looked at from outside
 *
 * Walks the pages in order, meets each extent once and holds it against page map, slab record, bitmaps; then the lists
 * and the caches against what was met. Trusts nothing it reads: each index is bounded before it is used, so that
 * damaged tables give a verdict and not a crash.
 *
 * Locks:  all caches frozen; nobody is inside the heap.
 * Media:  reads only.
 */
#include <string.h>

#include "alloc/extent.h"
#include "alloc/guard.h"
#include "alloc/heap_state.h"
#include "alloc/layout.h"
#include "alloc/os.h"
#include "alloc/slab.h"

/* What the walk met, per slab class. */
struct met {
	uint32_t slabs, partial, empty, claimed;
	uint64_t used;
};

struct walk {
	struct heap *heap;
	const char *why;
	uint32_t ready;
	const struct heap_progress *progress; /* or NULL */
	struct met met[SC_SLAB_COUNT + 1];
};

static bool
fail(struct walk *walk, const char *why)
{
	walk->why = why;
	return false;
}

static bool
page_used(const struct heap *heap, uint32_t page)
{
	uint32_t bit = page & (HEAP_CHUNK_PAGES - 1);

	return (heap->chunks[page >> HEAP_LG_CHUNK_PAGES].used[bit / 64] >> (bit % 64) & 1) != 0;
}

static bool
superblock_ok(struct walk *walk)
{
	const struct heap *heap = walk->heap;
	const struct heap_media *media = heap->media;

	/* The layout follows from the size alone. */
	struct heap_media layout = {0};
	if (media->magic != HEAP_MEDIA_MAGIC || media->version != HEAP_MEDIA_VERSION || media->size != heap->size ||
	    (char *)media - heap->base != (ptrdiff_t)media->reserved ||
	    layout_of_size(&layout, media->size, media->reserved, os_page_size()) != 0 ||
	    !layout_same(media, &layout))
		return fail(walk, "the superblock was overwritten");
	uint64_t ready = (uint64_t)media->ready_chunks << HEAP_LG_CHUNK_PAGES;
	if (ready > heap->npages)
		ready = heap->npages;
	if (media->ready_chunks > heap->nchunks || ready != walk->ready)
		return fail(walk, "the superblock was overwritten");
	return true;
}

/* Slab records that are ready. */
static uint32_t
slab_records(const struct walk *walk)
{
	return (walk->ready + SC_MIN_SLAB_PAGES - 1) / SC_MIN_SLAB_PAGES;
}

static bool
slab_ok(struct walk *walk, uint32_t page, uint32_t *pages)
{
	struct heap *heap = walk->heap;
	uint32_t number = heap->page_map[page];

	if (number >= slab_records(walk))
		return fail(walk, "page map names a slab beyond the pages (P2)");
	const struct slab_media *slab = &heap->slabs[number];
	if (slab->page != page)
		return fail(walk, "a slab does not begin where its pages do (P2)");
	if (!slab_valid(heap, slab, &walk->why))
		return false;
	uint64_t state = atomic_load_explicit(&slab->state, memory_order_relaxed);
	struct met *met = &walk->met[slab_state_class(state)];
	met->slabs++;
	met->used += slab_used(heap, slab);
	switch (slab_state_kind(state)) {
	case SLAB_FULL:
		if (slab_has_free(heap, slab))
			return fail(walk, "a slab with room is in no list (B2)");
		break;
	case SLAB_PARTIAL:
		met->partial++;
		break;
	case SLAB_CLAIMED:
		met->claimed++;
		break;
	case SLAB_EMPTY:
		met->empty++;
		if (!slab_is_empty(heap, slab))
			return fail(walk, "a slab counted as empty has slots in use (B1)");
		break;
	case SLAB_NONE:
		return fail(walk, "a slab has no valid state");
	}
	*pages = slab->pages;
	return true;
}

static bool
extents_ok(struct walk *walk)
{
	struct heap *heap = walk->heap;
	uint32_t told = 0;

	for (uint32_t page = 0; page < walk->ready;) {
		unsigned sc = heap->page_class[page];
		uint32_t pages = 1;

		if (walk->progress != NULL && page >= told) {
			walk->progress->fn(walk->progress->ctx, "checking the pages", page, walk->ready);
			told = page + HEAP_CHUNK_PAGES;
		}

		if (!page_used(heap, page)) {
			if (sc != 0)
				return fail(walk, "a free page has a class (P1)");
			page++;
			continue;
		}
		if (sc == 0)
			return fail(walk, "a page is in use by nothing (P1)");
		if (sc == SC_BODY || sc > SC_BODY)
			return fail(walk, "an extent has no first page (P1)");
		if (sc <= SC_SLAB_COUNT) {
			if (!slab_ok(walk, page, &pages))
				return false;
		} else {
			pages = heap->page_map[page];
			if (pages == 0 || pages > walk->ready - page)
				return fail(walk, "an extent's length is wrong (P2)");
			if (sc <= SC_COUNT && (size_t)pages << HEAP_LG_PAGE != sc_size(sc))
				return fail(walk, "a run's length differs from its class (P2)");
			for (uint32_t i = 1; i < pages; i++) {
				if (heap->page_class[page + i] != SC_BODY)
					return fail(walk, "an extent's pages are not all its own (P1)");
			}
		}
		for (uint32_t i = 0; i < pages; i++) {
			if (!page_used(heap, page + i))
				return fail(walk, "a page of an extent counts as free (E1)");
		}
		page += pages;
	}
	return true;
}

/* Length of a bin's list whose members are all of `kind`; -1: broken. */
static int64_t
list_length(const struct walk *walk, uint32_t head, unsigned sc, enum slab_kind kind)
{
	const struct heap *heap = walk->heap;
	uint32_t limit = slab_records(walk), prev = 0;
	int64_t n = 0;

	for (uint32_t at = head; at != 0; n++) {
		if (at > limit || n > limit)
			return -1;
		const struct slab_media *slab = &heap->slabs[at - 1];
		uint64_t state = atomic_load_explicit(&slab->state, memory_order_relaxed);

		if (slab_state_kind(state) != kind || slab_state_class(state) != sc || slab->prev != prev)
			return -1;
		prev = at;
		at = slab->next;
	}
	return n;
}

static bool
bins_ok(struct walk *walk)
{
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++) {
		const struct bin_media *media = &walk->heap->media->bins[sc];
		const struct met *met = &walk->met[sc];
		uint32_t claims = 0;

		if (list_length(walk, media->partial, sc, SLAB_PARTIAL) != met->partial ||
		    list_length(walk, media->empty, sc, SLAB_EMPTY) != met->empty || media->nempty != met->empty)
			return fail(walk, "a bin's lists differ from its slabs (B1)");
		if (media->nslabs != met->slabs)
			return fail(walk, "a bin's count of slabs is wrong");
		for (const struct tcache *tc = walk->heap->caches; tc != NULL; tc = tc->next)
			claims += tc->mags[sc].claim != 0;
		if (claims != met->claimed)
			return fail(walk, "claims and caches differ (B3)");
	}
	return true;
}

static bool
caches_ok(struct walk *walk)
{
	struct heap *heap = walk->heap;
	uint64_t room = 0;

	for (const struct tcache *tc = heap->caches; tc != NULL; tc = tc->next) {
		for (unsigned sc = 1; sc <= SC_COUNT; sc++) {
			room += (uint64_t)tc->mags[sc].cap * sc_size(sc);
			if (sc <= SC_SLAB_COUNT) {
				if (tcache_count(tc, sc) > walk->met[sc].used)
					return fail(walk, "caches hold more slots than are in use (T1)");
				walk->met[sc].used -= tcache_count(tc, sc);
			}
			for (uint32_t i = 1; i <= tcache_count(tc, sc); i++) {
				const void *p = tc->mags[sc].slots[i];
				uint32_t page = heap_page_of(heap, p), slot;

				if (page == UINT32_MAX || heap->page_class[page] != sc)
					return fail(walk, "a cache holds what is no slot of its class (T1)");
				if (sc > SC_SLAB_COUNT) {
					if (p != heap_page_addr(heap, page))
						return fail(walk, "a cache holds a pointer into a run (T1)");
					continue;
				}
				const struct slab_media *slab = &heap->slabs[heap->page_map[page]];
				slot = slab_slot_of(heap, slab, p);
				if (slot == UINT32_MAX)
					return fail(walk, "a cache holds a pointer into a slot (T1)");
				if ((atomic_load(&slab_bits(heap, slab)[slot / 64]) >> (slot % 64) & 1) == 0)
					return fail(walk, "a cache holds a free slot (T1)");
			}
		}
	}
	if (room + guard_held_bytes(heap) != atomic_load(&heap->media->cache_room))
		return fail(walk, "the room of caches is not what the superblock says (T5)");
	return true;
}

int
heap_check(struct heap *heap, char *why, size_t why_size)
{
	return heap_check_watched(heap, NULL, why, why_size);
}

int
heap_check_watched(struct heap *heap, const struct heap_progress *progress, char *why, size_t why_size)
{
	struct walk walk = {.heap = heap, .why = "", .progress = progress};

	guard_hold(heap);
	tcache_freeze_all(heap);
	walk.ready = atomic_load(&heap->ready_pages);
	bool ok = superblock_ok(&walk) && extent_valid(heap, &walk.why) && extents_ok(&walk) && bins_ok(&walk) &&
		  caches_ok(&walk);
	tcache_thaw_all(heap);
	guard_let_go(heap);
	if (why != NULL && why_size > 0) {
		size_t n = strlen(walk.why);

		if (n >= why_size)
			n = why_size - 1;
		memcpy(why, ok ? "" : walk.why, ok ? 0 : n);
		why[ok ? 0 : n] = '\0';
	}
	return ok ? 1 : 0;
}
