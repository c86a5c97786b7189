/* free_index.h -- where the free runs of pages are: a tree of summaries over the `used` bits
 *
 * Owns:   node_media at all levels. Reads chunk_media.used; whoever changes bits calls free_index_update.
 * Rules:  F1  a level-0 node describes one chunk's bits; a node above merges its up to HEAP_FANOUT ready children.
 *         F2  only nodes over ready chunks are valid.
 *         F3  free_index_find gives the lowest run: low addresses first keeps the top of a pool untouched.
 * Locks:  the caller holds the extent lock.
 * Media:  in the region, derived.
 * Source: the summary tree (start, longest, end) is the idea of Go's page allocator (proposal 35112, M. Knyszek).
 */
#ifndef ALLOC_FREE_INDEX_H
#define ALLOC_FREE_INDEX_H

#include <stdbool.h>
#include <stdint.h>

struct heap;

/* Bits of pages [page, page + n) have changed. `grown`: their chunks have just become ready, and their nodes hold
 * anything. */
void free_index_update(struct heap *heap, uint32_t page, uint32_t n, bool grown);

/* Lowest free run of n >= 1 pages among the ready chunks. */
bool free_index_find(const struct heap *heap, uint32_t n, uint32_t *page);

/* The same with the run's address a multiple of `align` bytes, a power of two above a page. */
bool free_index_find_aligned(const struct heap *heap, uint32_t n, uint64_t align, uint32_t *page);

/* First free run at or after `from`: false when there is none. */
bool free_index_next_run(const struct heap *heap, uint32_t from, uint32_t *page, uint32_t *n);

/* Longest free run among the ready chunks, in pages. */
uint32_t free_index_longest(const struct heap *heap);

/* Pages [page, page + n) are all free (they may reach into what is not ready: then false). */
bool free_index_is_free(const struct heap *heap, uint32_t page, uint32_t n);

/* Every node of the ready chunks equals what the bits say. */
bool free_index_valid(const struct heap *heap);

#endif
