/* heap_resize.c -- fuzz target: blocks that grow, shrink and are aligned, in a heap that is nearly full
 *
 * The operations and the model of heap_ops (tests/heap_model.h, M1-M7), but most of them realloc and aligned_alloc: growth
 * in place, moves, and what lies between aligned blocks meet in every run.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "tests/heap_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model_input input = {.data = data, .size = size};
	struct model_limits limits = {
		.region_size = (size_t)2 << 20,
		.max_blocks = 20000,
		.max_ops = 2000,
		.resizing = true,
		.trace = getenv("PMHEAP_TRACE") != NULL,
	};

	if (size == 0) /* an ended input would decide the region by zeros: say nothing of it */
		return -1;
	model_run(&input, &limits);
	return 0;
}
