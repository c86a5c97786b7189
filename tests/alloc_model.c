/* alloc_model.c -- random sequences of operations on heaps, compared with the model (tests/heap_model.h, M1-M7)
 *
 * Each test prints its seed. PMHEAP_SEED repeats one run, PMHEAP_OPS sets how many operations each test makes in all
 * its runs together, PMHEAP_TRACE prints each operation.
 */
#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/heap_model.h"

static uint64_t
env_number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static uint64_t
fresh_seed(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return ((uint64_t)now.tv_sec * 1000000007u) ^ ((uint64_t)now.tv_nsec << 20);
}

/* Runs with consecutive seeds until `ops` operations are done; each run is repeatable by its own seed alone. */
static void
model_runs(const char *test, uint64_t ops, struct model_limits limits)
{
	uint64_t seed = env_number("PMHEAP_SEED", 0), done = 0;
	bool one = seed != 0;

	if (!one)
		seed = fresh_seed();
	ops = env_number("PMHEAP_OPS", ops);
	limits.trace = getenv("PMHEAP_TRACE") != NULL;
	if (limits.max_ops > ops)
		limits.max_ops = ops;
	do {
		struct model_input input = {.random = seed};

		fprintf(stderr, "alloc_model/%s: PMHEAP_SEED=%" PRIu64 "\n", test, seed);
		done += model_run(&input, &limits);
		seed++;
	} while (done < ops && !one);
	cr_assert_gt(done, 0);
}

Test(alloc_model, small_regions)
{
	model_runs("small_regions", 30000,
	           (struct model_limits){
				   .region_size = (size_t)2 << 20, .max_blocks = 30000, .max_ops = 1500, .check_every = 100});
}

Test(alloc_model, medium_regions)
{
	model_runs("medium_regions", 30000,
	           (struct model_limits){
				   .region_size = (size_t)16 << 20, .max_blocks = 60000, .max_ops = 5000, .check_every = 1000});
}

Test(alloc_model, large_regions)
{
	model_runs("large_regions", 20000,
	           (struct model_limits){
				   .region_size = (size_t)256 << 20, .max_blocks = 100000, .max_ops = 10000, .check_every = 5000});
}
