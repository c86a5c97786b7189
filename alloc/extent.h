/* extent.h -- runs of pages: taken, given back, grown and shrunk in place; committed before use
 *
 * Owns:   chunk_media's used bits, ready_chunks and the readiness of all tables, the count of used pages.
 * Rules:  E1  a page is in at most one extent: its used bit is set exactly while it is.
 *         E2  no page is handed out before it is committed (backing SPARSE), so that no touch can raise SIGBUS.
 *         E3  pages handed out are dirty (commit.h).
 *         E4  tables are touched only below ready_chunks, and committed before that grows.
 *         E5  bits at and beyond npages are used for ever.
 * Locks:  extent lock for used bits, the index and readiness. Committing and clearing happen outside it: the pages
 *         belong to the caller by then.
 * Media:  in the region.
 * Fails:  ENOMEM: no run fits, or the file system has no room; nothing has changed.
 */
#ifndef ALLOC_EXTENT_H
#define ALLOC_EXTENT_H

#include <stdbool.h>
#include <stdint.h>

struct heap;

/* Gets the first tables ready in a new heap. 0 or ENOMEM. */
int extent_init(struct heap *heap);

/* Takes n >= 1 pages at a multiple of `align` bytes (0 or up to a page: any). `zero`: they read as zero. The page
 * map is the caller's to set. */
int extent_alloc(struct heap *heap, uint32_t n, uint64_t align, bool zero, uint32_t *page);

/* The same from pages that were used before. EAGAIN: that would take pages never written to, or make more tables ready;
 * nothing has changed. For a caller who has something to give up first. */
int extent_reuse(struct heap *heap, uint32_t n, uint64_t align, bool zero, uint32_t *page);

/* Gives pages back; page map entries are cleared here. */
void extent_free(struct heap *heap, uint32_t page, uint32_t n);

/* Takes the n pages that begin at `page`, if they are free. False: nothing changed. */
bool extent_take_at(struct heap *heap, uint32_t page, uint32_t n);

/* For purge.c: marks the first run of up to `max` free committed pages of chunk `chunk`, from its page `from` on, as
 * used; returns its length, 0: there is none. */
uint32_t extent_take_committed(struct heap *heap, uint32_t chunk, uint32_t from, uint32_t max, uint32_t *page);
/* Pages that were taken are free again; the page map does not know of them. */
void extent_put_back(struct heap *heap, uint32_t page, uint32_t n);

/* Pages of blocks that are free and still held by the file; 0 where nothing is ever purged. */
uint64_t extent_idle_pages(struct heap *heap);
uint32_t extent_longest_free(struct heap *heap); /* pages, counting what is not ready yet */

/* Every rule that can be seen from the tables alone; see heap_check(). The world is held. */
bool extent_valid(struct heap *heap, const char **why);

#endif
