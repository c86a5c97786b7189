/* heap_model.h -- a heap driven by a stream of bytes beside a simple model of what it must hold
 *
 * The bytes come from a file (fuzz/heap_ops.c) or from a seeded generator (tests/alloc_model.c); both read them the
 * same way, so what one finds the other can replay. A run picks a region and its backing, then performs operations
 * of several virtual threads (cells that one OS thread uses in turn), then frees all and expects a fresh heap.
 *
 * What is compared after the operations:
 *   M1  a block lies in the region, overlaps no other live block, is aligned as asked and as its class promises,
 *       and usable_size() is at least what was asked and does not change.
 *   M2  no byte of a live block changes but by its owner: through realloc, purge, detach and attach elsewhere, fork.
 *   M3  calloc gives zeros, whatever the memory held before.
 *   M4  NULL comes only when nothing fits: no run of free pages, no free slot of the class or of a greater one.
 *   M5  heap_check() is content; heap_stats_get() and heap_each_block() name exactly the live blocks.
 *   M6  with all freed, the largest block of a fresh heap can be had again.
 *   M7  a heap whose process died between two operations is repaired: M2 and M5 for what was live, and what is allocated
 *       besides that is no more than the repair says may have sat in caches. It becomes live: nothing is lost for M6.
 * A difference prints the operations that led to it and aborts.
 */
#ifndef TESTS_HEAP_MODEL_H
#define TESTS_HEAP_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct model_input {
	const uint8_t *data; /* NULL: a generator, started by `random`, that never ends */
	size_t size, pos;
	uint64_t random;
};

struct model_limits {
	size_t region_size;   /* the most a run may choose */
	size_t max_blocks;    /* live at one time */
	uint64_t max_ops;
	bool resizing;        /* most operations are realloc and aligned_alloc */
	unsigned check_every; /* operations between full comparisons (M5) beside those the input asks for; 0: none */
	bool trace;           /* print each operation */
};

/* One run from an empty region to an empty heap. Returns the operations done. */
uint64_t model_run(struct model_input *input, const struct model_limits *limits);

#endif
