/* page_bits.h -- walking the bits of a range of pages, word by word (private to alloc/)
 *
 * Owns:   nothing: where a page's bit lies in struct chunk_media.
 * Media:  none of its own.
 */
#ifndef ALLOC_PAGE_BITS_H
#define ALLOC_PAGE_BITS_H

#include <stdint.h>

#include "alloc/heap_media.h"

/* Mask of the bits of one word that lie in pages [*page, end), page < end; moves *page past them. `chunk` and `word` say
 * which word: of the chunk's words, each of 64 pages. */
static inline uint64_t
page_bits_next(uint32_t *page, uint32_t end, uint32_t *chunk, uint32_t *word)
{
	uint32_t bit = *page & 63, n = 64 - bit;

	if (n > end - *page)
		n = end - *page;
	*chunk = *page >> HEAP_LG_CHUNK_PAGES;
	*word = (*page & (HEAP_CHUNK_PAGES - 1)) / 64;
	*page += n;
	return (n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << bit;
}

#endif
