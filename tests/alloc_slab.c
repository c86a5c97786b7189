/* alloc_slab.c -- slots: geometry of every class, taking, releasing, the life of a slab */
#include <criterion/criterion.h>

#include <signal.h>
#include <stdlib.h>

#include "alloc/bin.h"
#include "alloc/extent.h"
#include "alloc/heap_state.h"
#include "alloc/slab.h"
#include "tests/heap_region.h"

static struct heap_region region;
static struct heap *heap;

static void
begin(void)
{
	heap_region_map(&region, (size_t)16 << 20, HEAP_BACKING_GIVEN, true);
	heap = heap_region_create_heap(&region);
}

TestSuite(alloc_slab, .init = begin);

static struct slab_media *
make(unsigned sc)
{
	uint32_t pages = sc_slab_pages(sc, 4), page;

	cr_assert_eq(extent_alloc(heap, pages, 0, false, &page), 0);
	return slab_birth(heap, page, pages, sc);
}

static void
end(struct slab_media *slab)
{
	uint32_t page = slab->page, pages = slab->pages;

	slab_retire(slab);
	extent_free(heap, page, pages);
}

Test(alloc_slab, every_class_cuts_its_slab_into_slots_that_are_found_again)
{
	static void *slots[8192];
	const char *why = "";

	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++) {
		struct slab_media *slab = make(sc);
		uint32_t n = slab->nslots;

		cr_assert_eq(slab_take(heap, slab, slots + 8192, 8192), n, "class %u", sc);
		cr_assert_eq(slab_used(heap, slab), n);
		cr_assert_not(slab_has_free(heap, slab));
		cr_assert(slab_valid(heap, slab, &why), "class %u: %s", sc, why);
		for (uint32_t i = 0; i < n; i++) {
			char *p = slots[8191 - i];

			cr_assert_eq(p, (char *)heap_page_addr(heap, slab->page) + (size_t)i * sc_size(sc), "rising");
			cr_assert_eq(slab_slot_of(heap, slab, p), i);
			cr_assert_eq(slab_slot_of(heap, slab, p + 1), UINT32_MAX, "inside a slot");
			cr_assert_eq(slab_slot_of(heap, slab, p + sc_size(sc) - 1), UINT32_MAX, "its last byte");
			cr_assert_eq(slab_release(heap, slab, i / 64, UINT64_C(1) << (i % 64)), i % 64 == 63 || i == n - 1);
		}
		cr_assert(slab_is_empty(heap, slab));
		end(slab);
	}
}

Test(alloc_slab, taking_goes_on_where_it_left_off)
{
	struct slab_media *slab = make(4);
	void *slots[10];

	cr_assert_eq(slab_take(heap, slab, slots + 10, 10), 10);
	void *last = slots[0];
	cr_assert_eq(slab_release(heap, slab, 0, 1), false);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(slab_take(heap, slab, slots + 10, 10), 10);
	cr_assert_gt((char *)slots[0], (char *)last, "behind the last ones, not back to the hole");
}

Test(alloc_slab, s1_releasing_twice_is_a_double_free, .signal = SIGABRT)
{
	struct slab_media *slab = make(4);
	void *slots[2];

	cr_assert_eq(slab_take(heap, slab, slots + 2, 2), 2);
	slab_release(heap, slab, 0, 1);
	slab_release(heap, slab, 0, 1);
}

Test(alloc_slab, s4_a_reborn_slab_can_be_told)
{
	struct slab_media *slab = make(4);
	uint64_t state = slab->state;

	slab_set_kind(slab, SLAB_FULL);
	cr_assert(slab_state_same_life(state, slab->state));
	end(slab);
	cr_assert_not(slab_state_same_life(state, slab->state));
	struct slab_media *again = make(4);
	cr_assert_eq(again, slab, "the lowest pages are the first to be used");
	cr_assert_not(slab_state_same_life(state, again->state));
}

Test(alloc_slab, damage_is_seen)
{
	struct slab_media *slab = make(10);
	const char *why = "";

	cr_assert(slab_valid(heap, slab, &why));
	slab->recip++;
	cr_assert_not(slab_valid(heap, slab, &why));
	slab->recip--;
	slab->pages += 1000000;
	cr_assert_not(slab_valid(heap, slab, &why), "a length beyond the heap is not followed");
	slab->pages -= 1000000;
	heap->page_class[slab->page + 1] ^= 1;
	cr_assert_not(slab_valid(heap, slab, &why));
}
