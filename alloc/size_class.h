/* size_class.h -- request size -> slot size, as an index
 *
 * Owns:   the table of size classes: 16-byte steps to 128, then 8 classes per doubling up to SC_MAX_SIZE. Classes
 *         up to SC_SLAB_COUNT are slots of slabs; those above are whole extents ("runs"), rounded to a class so that
 *         a freed one serves the next request of about its size. What is larger than SC_MAX_SIZE has no class.
 * Rules:  SC1  class 0 is no class; classes 1..SC_COUNT have rising slot sizes, each a multiple of 16, and of a page
 *              above SC_SLAB_COUNT.
 *         SC2  sc_of(n) is the least class whose slot holds n bytes; sc_of(0) is class 1.
 *         SC3  from 512 bytes up a slab of 8..15 pages, the class's mantissa, is cut without a rest.
 * Media:  the table is part of the format: slabs in a region name their class by index (doc/media-format.md).
 */
#ifndef ALLOC_SIZE_CLASS_H
#define ALLOC_SIZE_CLASS_H

#include <stddef.h>
#include <stdint.h>

#define SC_SLAB_COUNT 72u
#define SC_SLAB_MAX ((size_t)32768)
#define SC_COUNT 112u
#define SC_MAX_SIZE ((size_t)1 << 20)
#define SC_LARGE (SC_COUNT + 1) /* in the page map's class bytes: first page of an extent without a class */
#define SC_BODY (SC_COUNT + 2)  /* further page of a run or large extent */
#define SC_LINEAR_MAX ((size_t)128) /* 16-byte steps up to here: classes 1..8 */
#define SC_TABLE_MAX ((size_t)1024) /* sizes up to here are looked up */

extern const uint8_t sc_table[SC_TABLE_MAX / 16 + 1]; /* by (size + 15) / 16 */

/* Class of a size in (128, SC_MAX_SIZE]: 8 per doubling. */
static inline unsigned
sc_of_doubling(size_t size)
{
	unsigned lg = 63u - (unsigned)__builtin_clzll(size - 1); /* 2^lg < size <= 2^(lg + 1), lg >= 7 */
	unsigned step = (unsigned)((size - 1) >> (lg - 3)) & 7u; /* which eighth of the doubling */

	return 9u + (lg - 7u) * 8u + step;
}

/* Least class that holds `size` <= SC_MAX_SIZE bytes. */
static inline unsigned
sc_of(size_t size)
{
	if (size <= SC_TABLE_MAX)
		return sc_table[(size + 15) / 16];
	return sc_of_doubling(size);
}

/* Slot size in bytes of a class 1..SC_COUNT. */
static inline uint32_t
sc_size(unsigned sc)
{
	if (sc <= 8)
		return 16u * sc;
	unsigned lg = (sc - 9u) / 8u + 7u, step = (sc - 9u) % 8u;
	return (9u + step) << (lg - 3u);
}

/* Least slab class whose slots hold `size` bytes and, slabs starting on a page, are all multiples of `align` (a power
 * of two up to a page); 0 when no slab class does. */
unsigned sc_of_aligned(size_t size, size_t align);

/* Pages of a slab of slab class `sc` that is to have about `target` pages: the count in [target, 2 * target) with the
 * least rest, more where that holds too few slots. At least SC_MIN_SLAB_PAGES. */
uint32_t sc_slab_pages(unsigned sc, uint32_t target);
#define SC_MIN_SLAB_PAGES 4u

#endif
