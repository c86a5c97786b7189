/* page_map.h -- page number -> what stands there
 *
 * Owns:   page_class (one byte per page) and page_map (one u32 per page).
 * Rules:  P1  page_class: 0 free or in transit; 1..SC_SLAB_COUNT a page of a slab of that class; above, up to
 *             SC_COUNT, first page of a run of that class; SC_LARGE first page of a larger extent; SC_BODY a
 *             further page of either.
 *         P2  page_map: slab number on every page of a slab; number of pages on the first page of a run or large
 *             extent; meaningless elsewhere.
 * Locks:  none: an extent's entries belong to whoever owns the extent, and a block's to the block's owner.
 * Media:  in the region, truth.
 */
#ifndef ALLOC_PAGE_MAP_H
#define ALLOC_PAGE_MAP_H

#include <string.h>

#include "alloc/heap_state.h"

/* The slab's record and its clear bitmap are there before any page says that it is the slab's. Killed in between: a slab
 * without a slot in use. */
static inline void
page_map_set_slab(struct heap *heap, uint32_t page, uint32_t pages, unsigned sc, uint32_t slab)
{
	for (uint32_t i = 0; i < pages; i++)
		heap->page_map[page + i] = slab;
	atomic_signal_fence(memory_order_seq_cst);
	memset(heap->page_class + page, (int)sc, pages);
}

/* Class byte of a run or large extent's first page. */
static inline unsigned
page_map_extent_class(uint32_t pages)
{
	size_t size = (size_t)pages << HEAP_LG_PAGE;

	return size > SC_SLAB_MAX && size <= SC_MAX_SIZE && sc_size(sc_of(size)) == size ? sc_of(size) : SC_LARGE;
}

/* `sc`: a run class or SC_LARGE. The order of the stores is what a process killed between them leaves behind: a first
 * page whose extent is whole, at its old or its new length; or a new extent that nobody holds yet and that has no
 * first page. */
static inline void
page_map_set_extent(struct heap *heap, uint32_t page, uint32_t pages, unsigned sc)
{
	atomic_signal_fence(memory_order_seq_cst);
	memset(heap->page_class + page + 1, SC_BODY, pages - 1);
	atomic_signal_fence(memory_order_seq_cst);
	heap->page_map[page] = pages;
	atomic_signal_fence(memory_order_seq_cst);
	heap->page_class[page] = (uint8_t)sc;
}

/* The first page first: with it the extent is gone, whatever is left of the others. */
static inline void
page_map_clear(struct heap *heap, uint32_t page, uint32_t pages)
{
	heap->page_class[page] = 0;
	atomic_signal_fence(memory_order_seq_cst);
	memset(heap->page_class + page + 1, 0, pages - 1);
	atomic_signal_fence(memory_order_seq_cst);
}

#endif
