/* heap_ops.c -- fuzz target: any sequence of operations on a heap agrees with the model (tests/heap_model.h, M1-M7)
 *
 * Built by configure.py --fuzz with clang's libFuzzer, and everywhere with fuzz/driver.c, which replays
 * fuzz/corpus/heap_ops. Deterministic: nothing but the input decides, and nothing stays behind between two inputs.
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
	/* Small enough for hundreds of runs a second, large enough to run out by a few operations. */
	struct model_limits limits = {
		.region_size = (size_t)2 << 20,
		.max_blocks = 20000,
		.max_ops = 2000,
		.trace = getenv("PMHEAP_TRACE") != NULL,
	};

	if (size == 0) /* an ended input would decide the region by zeros: say nothing of it */
		return -1;
	model_run(&input, &limits);
	return 0;
}
