/* bin.c -- see bin.h for the contract and rules B1..B4
 *
 * Locks:  LOCK_BIN.
 * Media:  lists in the region (slab numbers + 1), derived from the bitmaps.
 */
#include "alloc/bin.h"

#include <errno.h>
#include <stddef.h>

#include "alloc/assert.h"
#include "alloc/extent.h"
#include "alloc/slab.h"

/* --- lists. Bin lock. ---------------------------------------------------------------------------------------- */

static void
list_push(struct heap *heap, uint32_t *head, struct slab_media *slab)
{
	uint32_t number = slab_number(heap, slab) + 1;

	slab->prev = 0;
	slab->next = *head;
	if (*head != 0)
		heap->slabs[*head - 1].prev = number;
	*head = number;
}

static void
list_remove(struct heap *heap, uint32_t *head, struct slab_media *slab)
{
	uint32_t number = slab_number(heap, slab) + 1;

	/* A neighbour that does not point back is damage: stop before it spreads. */
	if (slab->prev != 0 ? heap->slabs[slab->prev - 1].next != number : *head != number)
		os_fatal(heap->name, "damaged heap: a slab list is broken", NULL);
	if (slab->prev != 0)
		heap->slabs[slab->prev - 1].next = slab->next;
	else
		*head = slab->next;
	if (slab->next != 0)
		heap->slabs[slab->next - 1].prev = slab->prev;
	slab->next = slab->prev = 0;
}

/* --- pages for slabs ----------------------------------------------------------------------------------------- */

/* Slab size to aim at: small while a class is young, so that a small program or pool is not filled with slabs it
 * hardly uses, then up to 64 KiB. */
static uint32_t
target_pages(uint32_t nslabs)
{
	if (nslabs < 4)
		return 4;
	return nslabs < 12 ? 8 : 16;
}

static struct slab_media *
slab_new(struct heap *heap, unsigned sc, uint32_t nslabs)
{
	uint32_t page, pages = sc_slab_pages(sc, target_pages(nslabs));
	/* When room is short: the least that holds a slot. */
	uint32_t least = (sc_size(sc) + (uint32_t)HEAP_PAGE - 1) >> HEAP_LG_PAGE;

	if (least < SC_MIN_SLAB_PAGES)
		least = SC_MIN_SLAB_PAGES;
	while (bin_take_pages(heap, pages, 0, false, &page) != 0) {
		if (pages <= least)
			return NULL;
		pages = pages / 2 > least ? pages / 2 : least;
	}
	return slab_birth(heap, page, pages, sc);
}

/* One empty slab more or less. Bin lock. */
static void
count_empty(struct heap *heap, struct bin_media *media, const struct slab_media *slab, bool more)
{
	if (more) {
		media->nempty++;
		atomic_fetch_add_explicit(&heap->empty_pages, slab->pages, memory_order_relaxed);
	} else {
		media->nempty--;
		atomic_fetch_sub_explicit(&heap->empty_pages, slab->pages, memory_order_relaxed);
	}
}

/* --- interface ----------------------------------------------------------------------------------------------- */

struct slab_media *
bin_claim(struct heap *heap, unsigned sc, bool make)
{
	struct bin *bin = &heap->bins[sc];
	struct bin_media *media = &heap->media->bins[sc];
	struct slab_media *slab = NULL;

	lock_take(&bin->lock);
	if (media->partial != 0) {
		slab = &heap->slabs[media->partial - 1];
		list_remove(heap, &media->partial, slab);
	} else if (media->empty != 0) {
		slab = &heap->slabs[media->empty - 1];
		list_remove(heap, &media->empty, slab);
		count_empty(heap, media, slab, false);
	}
	if (slab != NULL) {
		slab_set_kind(slab, SLAB_CLAIMED);
		slab->hint = 0;
	}
	uint32_t nslabs = media->nslabs;
	lock_drop(&bin->lock);
	if (slab != NULL || !make)
		return slab;

	slab = slab_new(heap, sc, nslabs);
	if (slab != NULL) {
		lock_take(&bin->lock);
		media->nslabs++;
		bin->nslab_new++;
		lock_drop(&bin->lock);
	}
	return slab;
}

/* An unclaimed slab that is in no list and has no used slot (B4). Bin lock. */
static void
settle_empty(struct heap *heap, struct slab_media *slab, struct bin_media *media)
{
	slab_set_kind(slab, SLAB_EMPTY);
	list_push(heap, &media->empty, slab);
	count_empty(heap, media, slab, true);
}

void
bin_unclaim(struct heap *heap, struct slab_media *slab)
{
	unsigned sc = slab_state_class(atomic_load_explicit(&slab->state, memory_order_relaxed));
	struct bin *bin = &heap->bins[sc];
	struct bin_media *media = &heap->media->bins[sc];

	lock_take(&bin->lock);
	/* First FULL, then look: a slot freed before we look is seen here, one freed after it sees FULL and comes to
	 * the lock (both sides are seq_cst). */
	slab_set_kind(slab, SLAB_FULL);
	if (slab_is_empty(heap, slab)) {
		settle_empty(heap, slab, media);
	} else if (slab_has_free(heap, slab)) {
		slab_set_kind(slab, SLAB_PARTIAL);
		list_push(heap, &media->partial, slab);
	}
	lock_drop(&bin->lock);
}

void
bin_freed(struct heap *heap, struct slab_media *slab, uint64_t before, bool drained)
{
	uint64_t now = atomic_load(&slab->state);

	/* Another life: whoever ended the old one saw our bits fall. */
	if (!slab_state_same_life(before, now))
		return;
	enum slab_kind kind = slab_state_kind(now);
	if (kind != SLAB_FULL && !(kind == SLAB_PARTIAL && drained))
		return; /* emptiness is looked at under the lock: until then the slab may be reborn */

	struct bin *bin = &heap->bins[slab_state_class(before)];
	struct bin_media *media = &heap->media->bins[slab_state_class(before)];
	lock_take(&bin->lock);
	now = atomic_load(&slab->state);
	kind = slab_state_kind(now);
	if (!slab_state_same_life(before, now) || (kind != SLAB_FULL && kind != SLAB_PARTIAL)) {
		lock_drop(&bin->lock);
		return;
	}
	if (slab_is_empty(heap, slab)) {
		if (kind == SLAB_PARTIAL)
			list_remove(heap, &media->partial, slab);
		settle_empty(heap, slab, media);
	} else if (kind == SLAB_FULL) {
		slab_set_kind(slab, SLAB_PARTIAL);
		list_push(heap, &media->partial, slab);
	}
	lock_drop(&bin->lock);
}

bool
bin_drop_empty(struct heap *heap)
{
	bool any = false;

	if (atomic_load_explicit(&heap->empty_pages, memory_order_relaxed) == 0)
		return false;
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++) {
		struct bin *bin = &heap->bins[sc];
		struct bin_media *media = &heap->media->bins[sc];

		for (;;) {
			lock_take(&bin->lock);
			if (media->empty == 0) {
				lock_drop(&bin->lock);
				break;
			}
			struct slab_media *slab = &heap->slabs[media->empty - 1];
			uint32_t page = slab->page, pages = slab->pages;

			list_remove(heap, &media->empty, slab);
			count_empty(heap, media, slab, false);
			slab_retire(slab);
			media->nslabs--;
			bin->nslab_retired++;
			lock_drop(&bin->lock);
			extent_free(heap, page, pages);
			any = true;
		}
	}
	return any;
}

int
bin_take_pages(struct heap *heap, uint32_t n, uint64_t align, bool zero, uint32_t *page)
{
	if (atomic_load_explicit(&heap->empty_pages, memory_order_relaxed) != 0) {
		int error = extent_reuse(heap, n, align, zero, page);

		if (error != EAGAIN)
			return error;
		bin_drop_empty(heap);
	}
	return extent_alloc(heap, n, align, zero, page);
}
