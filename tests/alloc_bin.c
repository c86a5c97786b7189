/* alloc_bin.c -- which slab a claim gives, and what becomes of slabs as their slots come back */
#include <criterion/criterion.h>

#include "alloc/bin.h"
#include "alloc/extent.h"
#include "alloc/heap_state.h"
#include "alloc/slab.h"
#include "tests/heap_region.h"

#define SC 20u

static struct heap_region region;
static struct heap *heap;
static void *slots[64][4096];
static uint32_t count[64];

static void
begin(void)
{
	heap_region_map(&region, (size_t)16 << 20, HEAP_BACKING_SPARSE, false);
	heap = heap_region_create_heap(&region);
}

TestSuite(alloc_bin, .init = begin);

static enum slab_kind
kind(const struct slab_media *slab)
{
	return slab_state_kind(slab->state);
}

/* A new slab, all of it taken, not claimed. */
static struct slab_media *
full_slab(unsigned i)
{
	struct slab_media *slab = bin_claim(heap, SC, true);

	cr_assert_not_null(slab);
	count[i] = slab_take(heap, slab, slots[i] + 4096, 4096);
	cr_assert_eq(count[i], slab->nslots);
	bin_unclaim(heap, slab);
	cr_assert_eq(kind(slab), SLAB_FULL);
	return slab;
}

static void
free_slot(struct slab_media *slab, uint32_t slot)
{
	uint64_t before = slab->state;
	bool drained = slab_release(heap, slab, slot / 64, UINT64_C(1) << (slot % 64));

	bin_freed(heap, slab, before, drained);
}

Test(alloc_bin, b1_a_slab_moves_through_its_states)
{
	struct slab_media *slab = full_slab(0);

	free_slot(slab, 5);
	cr_assert_eq(kind(slab), SLAB_PARTIAL);
	cr_assert_eq(bin_claim(heap, SC, true), slab, "room that is there before new slabs");
	cr_assert_eq(kind(slab), SLAB_CLAIMED);
	for (uint32_t i = 0; i < count[0]; i++) {
		if (i != 5)
			free_slot(slab, i);
	}
	cr_assert_eq(kind(slab), SLAB_CLAIMED, "a claimed slab stays, though empty");
	bin_unclaim(heap, slab);
	cr_assert_eq(kind(slab), SLAB_EMPTY);
	cr_assert_eq(bin_claim(heap, SC, false), slab);
	bin_unclaim(heap, slab);
	cr_assert(bin_drop_empty(heap));
	cr_assert_eq(kind(slab), SLAB_NONE);
	cr_assert_eq(heap->media->used_pages, 0);
	cr_assert_not(bin_drop_empty(heap));
}

Test(alloc_bin, b2_the_last_of_a_claims_slots_freed_elsewhere_is_not_lost)
{
	struct slab_media *slab = bin_claim(heap, SC, true);

	count[0] = slab_take(heap, slab, slots[0] + 4096, 4096);
	free_slot(slab, 0); /* while claimed: nothing to do */
	cr_assert_eq(kind(slab), SLAB_CLAIMED);
	bin_unclaim(heap, slab);
	cr_assert_eq(kind(slab), SLAB_PARTIAL, "the claim's end looks at the bits again");
}

Test(alloc_bin, b4_empty_slabs_stay_until_untouched_pages_would_be_taken)
{
	struct slab_media *slab[5];
	uint32_t pages = 0, page;

	for (unsigned i = 0; i < 5; i++) {
		slab[i] = full_slab(i);
		pages += slab[i]->pages;
	}
	cr_assert_eq(heap->media->bins[SC].nslabs, 5);
	for (unsigned i = 0; i < 5; i++) {
		for (uint32_t slot = 0; slot < count[i]; slot++)
			free_slot(slab[i], slot);
	}
	for (unsigned i = 0; i < 5; i++)
		cr_assert_eq(kind(slab[i]), SLAB_EMPTY);
	cr_assert_eq(heap->media->bins[SC].nslabs, 5);
	cr_assert_eq(heap->media->bins[SC].nempty, 5);
	cr_assert_eq(heap->empty_pages, pages);

	uint32_t first = slab[0]->page;
	cr_assert_eq(bin_take_pages(heap, pages, 0, false, &page), 0);
	cr_assert_eq(page, first, "their pages are used again before new ones");
	cr_assert_eq(heap->media->bins[SC].nempty, 0);
	cr_assert_eq(heap->media->bins[SC].nslabs, 0);
	cr_assert_eq(heap->empty_pages, 0);
}

Test(alloc_bin, b4_empty_slabs_stay_while_used_pages_are_free)
{
	struct slab_media *slab = full_slab(0);
	uint32_t other, page;

	cr_assert_eq(extent_alloc(heap, 100, 0, false, &other), 0);
	extent_free(heap, other, 100);
	for (uint32_t slot = 0; slot < count[0]; slot++)
		free_slot(slab, slot);
	cr_assert_eq(bin_take_pages(heap, 100, 0, false, &page), 0);
	cr_assert_eq(page, other);
	cr_assert_eq(kind(slab), SLAB_EMPTY);
}

Test(alloc_bin, one_claim_each)
{
	struct slab_media *a = bin_claim(heap, SC, true), *b = bin_claim(heap, SC, true);

	cr_assert(a && b && a != b);
	cr_assert_null(bin_claim(heap, SC, false), "nothing is there but claimed slabs");
}

Test(alloc_bin, a_slab_that_began_another_life_is_left_alone)
{
	struct slab_media *slab = full_slab(0);
	uint64_t before = slab->state;

	for (uint32_t slot = 0; slot < count[0]; slot++)
		free_slot(slab, slot);
	bin_drop_empty(heap);
	struct slab_media *again = full_slab(1);
	cr_assert_eq(again, slab);
	bin_freed(heap, slab, before, true); /* a thread that was slow */
	cr_assert_eq(kind(slab), SLAB_FULL);
}

Test(alloc_bin, slabs_grow_with_the_class_and_shrink_to_what_is_left)
{
	struct slab_media *slab = NULL;
	uint32_t first = 0, largest = 0;

	while ((slab = bin_claim(heap, SC, true)) != NULL) {
		if (first == 0)
			first = slab->pages;
		if (slab->pages > largest)
			largest = slab->pages;
		bin_unclaim(heap, slab); /* empty: the next claim would give it again, so use it up */
		cr_assert_eq(bin_claim(heap, SC, false), slab);
		slab_take(heap, slab, slots[0] + 4096, 4096);
	}
	cr_assert_lt(first, largest);
	cr_assert_lt(extent_longest_free(heap), SC_MIN_SLAB_PAGES, "as long as the least slab fits it is made");
}
