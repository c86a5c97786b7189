/* heap_region.h -- regions of memory for tests of the heap: one for every kind of backing
 *
 * A region is mapped with the backing its heap is told of, can be moved to another address with all its content
 * (what a program does that closes a pool and opens it again), and can be swapped for a copy of some of its ranges
 * (what a child after fork does). Trouble with the system ends the process with a message: no test can go on then.
 */
#ifndef TESTS_HEAP_REGION_H
#define TESTS_HEAP_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc/heap.h"

struct heap_region {
	struct heap_config config; /* what heap_create and heap_attach take */
	int fd;                    /* memfd behind SPARSE and FULL, else -1 */
	size_t mapped;             /* bytes, config.size rounded up to a page */
};

/* Maps a region of `size` bytes. With `dirty` its content is 0xA5 everywhere and config.zeroed is false. SPARSE and
 * PRIVATE cannot be dirty. config.name is "test", min_align 16, reserved one page: change them before heap_create. */
void heap_region_map(struct heap_region *region, size_t size, enum heap_backing backing, bool dirty);
/* Maps an open file of that size as HEAP_BACKING_SPARSE; takes the descriptor over. */
void heap_region_map_file(struct heap_region *region, int fd, size_t size);
void heap_region_move(struct heap_region *region); /* to another address; config.base says where */
void heap_region_unmap(struct heap_region *region);

/* For a clone of a SPARSE region: a new file, then the ranges to keep, then the swap at the same address. */
int heap_region_clone_begin(const struct heap_region *region);
int heap_region_clone_range(const struct heap_region *region, int clone_fd, size_t offset, size_t length);
void heap_region_clone_swap(struct heap_region *region, int clone_fd);

/* Bytes that the file system holds for a SPARSE or FULL region (st_blocks). */
size_t heap_region_file_bytes(const struct heap_region *region);

/* An empty heap in the region, or the end of the process. */
struct heap *heap_region_create_heap(const struct heap_region *region);

#endif
