/* size_class.c -- the tables behind size_class.h
 *
 * Owns:   sc_table, the classes of the sizes up to SC_TABLE_MAX.
 * Rules:  SC1..SC3 of size_class.h; tests/alloc_size_class.c holds every size against the definition.
 * Locks:  none, constant.
 * Media:  process only; the numbering is part of the format.
 */
#include "alloc/size_class.h"

#define PAGE 4096u

const uint8_t sc_table[SC_TABLE_MAX / 16 + 1] = {
	/* index (size + 15) / 16; size 0 takes class 1 */
	1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
	16, 17, 17, 18, 18, 19, 19, 20, 20, 21, 21, 22, 22, 23, 23, 24,
	24, 25, 25, 25, 25, 26, 26, 26, 26, 27, 27, 27, 27, 28, 28, 28,
	28, 29, 29, 29, 29, 30, 30, 30, 30, 31, 31, 31, 31, 32, 32, 32,
	32,
};

unsigned
sc_of_aligned(size_t size, size_t align)
{
	if (size > SC_SLAB_MAX || align > PAGE)
		return 0;
	size = (size + align - 1) & ~(align - 1);
	if (size == 0)
		size = align;
	if (size > SC_SLAB_MAX)
		return 0;
	for (unsigned sc = sc_of(size); sc <= SC_SLAB_COUNT; sc++) {
		if ((sc_size(sc) & (align - 1)) == 0)
			return sc;
	}
	return 0;
}

uint32_t
sc_slab_pages(unsigned sc, uint32_t target)
{
	uint32_t size = sc_size(sc);
	/* Four slots: fewer make a refill not worth its trip; eight gained nothing, and cost a program with many classes
	 * of 8 to 32 KiB a tenth of its memory. The first slabs of a class may be all that it ever needs. */
	uint32_t slots = target <= 4 ? 1 : target <= 8 ? 2 : 4, least = (slots * size + PAGE - 1) / PAGE;
	uint32_t best = 0, best_rest = UINT32_MAX;

	if (target < SC_MIN_SLAB_PAGES)
		target = SC_MIN_SLAB_PAGES;
	if (target < least)
		target = least;
	/* Compare rests as parts of the slab, by cross-multiplication; on a tie the smaller slab stays. */
	for (uint32_t pages = target; pages < 2 * target; pages++) {
		uint32_t rest = pages * PAGE % size;
		if (best == 0 || (uint64_t)rest * best < (uint64_t)best_rest * pages) {
			best = pages;
			best_rest = rest;
		}
	}
	return best;
}
