/* alloc_size_class.c -- the table of size classes against slow references that share no arithmetic with it
 *
 * SC1-SC3 are alloc/size_class.h's rules. Every size up to SC_MAX_SIZE is tried, not a sample: the tables are small.
 */
#include <criterion/criterion.h>

#include "alloc/heap.h"
#include "alloc/size_class.h"

/* The sizes as the contract words them: 16-byte steps to 128, then 8 per doubling. Returns how many. */
static unsigned
reference_sizes(size_t *sizes)
{
	unsigned n = 0;

	for (size_t size = 16; size <= 128; size += 16)
		sizes[++n] = size;
	for (size_t from = 128; from < SC_MAX_SIZE; from *= 2)
		for (size_t eighth = 1; eighth <= 8; eighth++)
			sizes[++n] = from + from / 8 * eighth;
	return n;
}

static size_t
natural_alignment(size_t size)
{
	size_t align = 1;

	while (size % (align * 2) == 0)
		align *= 2;
	return align;
}

Test(alloc_size_class, sc1_sizes_rise_in_multiples_of_16)
{
	size_t sizes[256] = {0};

	cr_assert_eq(reference_sizes(sizes), SC_COUNT);
	for (unsigned sc = 1; sc <= SC_COUNT; sc++) {
		cr_assert_eq(sc_size(sc), sizes[sc], "class %u is %u, not %zu", sc, sc_size(sc), sizes[sc]);
		cr_assert_gt(sc_size(sc), sc == 1 ? 0 : sc_size(sc - 1));
		cr_assert_eq(sc_size(sc) % 16, 0);
	}
	cr_assert_eq(sc_size(SC_COUNT), SC_MAX_SIZE);
	cr_assert_eq(sc_size(SC_SLAB_COUNT), SC_SLAB_MAX);
}

Test(alloc_size_class, sc1_runs_are_whole_pages)
{
	for (unsigned sc = SC_SLAB_COUNT + 1; sc <= SC_COUNT; sc++)
		cr_assert_eq(sc_size(sc) % HEAP_PAGE, 0, "class %u is %u", sc, sc_size(sc));
}

Test(alloc_size_class, sc2_every_size_has_the_least_class_that_holds_it)
{
	size_t sizes[256] = {0};
	unsigned want = 1;

	reference_sizes(sizes);
	for (size_t size = 0; size <= SC_MAX_SIZE; size++) {
		while (sizes[want] < size)
			want++;
		cr_assert_eq(sc_of(size), want, "sc_of(%zu) is %u, not %u", size, sc_of(size), want);
	}
}

Test(alloc_size_class, sc2_lookup_and_formula_agree_where_both_hold)
{
	for (size_t size = SC_LINEAR_MAX + 1; size <= SC_TABLE_MAX; size++)
		cr_assert_eq(sc_of_doubling(size), sc_table[(size + 15) / 16], "size %zu", size);
}

Test(alloc_size_class, sc3_mantissa_pages_leave_no_rest_from_512_bytes)
{
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++) {
		size_t size = sc_size(sc);
		unsigned exact = 0;

		if (size < 512)
			continue;
		for (size_t pages = 8; pages <= 15; pages++)
			exact += pages * HEAP_PAGE % size == 0;
		cr_assert_gt(exact, 0, "no slab of 8 to 15 pages is cut into %zu bytes without a rest", size);
	}
}

Test(alloc_size_class, aligned_gives_the_least_class_whose_slots_all_are_aligned)
{
	for (size_t align = 1; align <= HEAP_PAGE; align *= 2)
		for (size_t size = 0; size <= SC_SLAB_MAX; size += size < 2100 ? 1 : 13) {
			unsigned want = 1;

			while (want <= SC_SLAB_COUNT && (sc_size(want) < size || natural_alignment(sc_size(want)) < align))
				want++;
			if (want > SC_SLAB_COUNT)
				want = 0;
			cr_assert_eq(sc_of_aligned(size, align), want, "sc_of_aligned(%zu, %zu) is %u, not %u", size, align,
			             sc_of_aligned(size, align), want);
		}
}

Test(alloc_size_class, aligned_has_a_class_for_every_alignment_up_to_a_page)
{
	for (size_t align = 1; align <= HEAP_PAGE; align *= 2)
		cr_assert_neq(sc_of_aligned(SC_SLAB_MAX, align), 0);
	cr_assert_eq(sc_of_aligned(SC_SLAB_MAX + 1, 16), 0);
	cr_assert_eq(sc_of_aligned(1, 2 * HEAP_PAGE), 0, "slabs start on a page: no class is aligned to more");
}

Test(alloc_size_class, slab_pages_keep_near_their_target)
{
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++)
		for (uint32_t target = SC_MIN_SLAB_PAGES; target <= 64; target++) {
			uint32_t pages = sc_slab_pages(sc, target);

			cr_assert_geq(pages, target, "class %u, target %u: %u", sc, target, pages);
			cr_assert_geq(pages * HEAP_PAGE, sc_size(sc), "a slab of class %u holds no slot", sc);
			/* More than the octave is only for classes of which the octave holds next to nothing. */
			if (pages >= 2 * target)
				cr_assert_lt((2 * target - 1) * HEAP_PAGE / sc_size(sc), 8, "class %u, target %u: %u", sc, target, pages);
		}
}

Test(alloc_size_class, slab_pages_have_the_least_rest_of_their_octave)
{
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++)
		for (uint32_t target = SC_MIN_SLAB_PAGES; target <= 32; target++) {
			uint32_t pages = sc_slab_pages(sc, target);
			size_t size = sc_size(sc), rest = pages * HEAP_PAGE % size;

			if (pages >= 2 * target)
				continue;
			/* As a share of the slab: rest / pages <= other rest / other pages. */
			for (uint32_t other = target; other < 2 * target; other++)
				cr_assert_leq(rest * other, other * HEAP_PAGE % size * pages,
				              "class %u, target %u: %u pages waste %zu, %u pages %zu", sc, target, pages, rest, other,
				              other * HEAP_PAGE % size);
		}
}

/* "97 % of the bytes for one size at a time" (doc/limits.md) begins here: slots must not leave more than that. */
Test(alloc_size_class, slabs_waste_little_in_their_tail)
{
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++) {
		uint32_t pages = sc_slab_pages(sc, 16);
		size_t rest = pages * HEAP_PAGE % sc_size(sc);

		cr_assert_lt(rest * 100, pages * HEAP_PAGE, "class %u: %zu of %zu bytes are lost", sc, rest, pages * HEAP_PAGE);
	}
}
