/* cto_model.c -- one session of a pool that is held against a model kept outside of it
 *
 * usage: cto_model POOL MODEL work SEED STEPS THREADS   opens the pool, or makes one of 32 MiB where there is none;
 *                                                       verifies; works at random; verifies; closes
 *        cto_model POOL MODEL empty                     verifies, frees all, closes
 *
 * The model is a file: for each slot the address of its block, size, alignment and the seed of its bytes, as the last
 * session left them; and what handle and root pointer were. So nothing in the pool vouches for the pool. Blocks must be
 * at the same address with the same bytes, must not overlap, and keep what was asked for.
 *
 * Prints where main, the stack and the library are, in hexadecimal, and the library's file: other numbers in each session
 * show that addresses are randomised. Exit status 0, or 1 with a line on stderr.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libpmemcto.h"

#define SLOTS 2000
#define MAX_THREADS 8
#define FAIL(...) (fprintf(stderr, __VA_ARGS__), fprintf(stderr, " (%s)\n", pmemcto_errormsg()), exit(1))

struct slot {
	unsigned char *p; /* NULL: none */
	size_t size;
	size_t alignment;
	uint64_t seed;
};

static struct model {
	PMEMctopool *handle;
	unsigned char *root_block; /* what the root pointer is: the block of some slot, or NULL */
	uint64_t sessions;
	struct slot slots[SLOTS];
} model;

static PMEMctopool *pool;

static uint64_t
next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* --- contents ------------------------------------------------------------------------------------------------ */

static void
fill(const struct slot *slot)
{
	uint64_t seed = slot->seed | 1;

	for (size_t i = 0; i < slot->size; i += 8) {
		uint64_t word = next(&seed);

		memcpy(slot->p + i, &word, slot->size - i < 8 ? slot->size - i : 8);
	}
}

/* Are the first n bytes at p those of the slot? */
static bool
holds(const unsigned char *p, size_t n, uint64_t seed)
{
	seed |= 1;
	for (size_t i = 0; i < n; i += 8) {
		uint64_t word = next(&seed);

		if (memcmp(p + i, &word, n - i < 8 ? n - i : 8) != 0)
			return false;
	}
	return true;
}

static int
by_address(const void *a, const void *b)
{
	const struct slot *one = *(struct slot *const *)a, *other = *(struct slot *const *)b;

	return one->p < other->p ? -1 : one->p > other->p;
}

static void
verify(const char *when)
{
	const struct slot *sorted[SLOTS];
	unsigned n = 0;

	if (pmemcto_get_root_pointer(pool) != model.root_block)
		FAIL("%s: the root pointer is another", when);
	for (unsigned i = 0; i < SLOTS; i++) {
		const struct slot *slot = &model.slots[i];

		if (slot->p == NULL)
			continue;
		sorted[n++] = slot;
		if ((uintptr_t)slot->p % slot->alignment != 0)
			FAIL("%s: slot %u is not aligned to %zu", when, i, slot->alignment);
		if (pmemcto_malloc_usable_size(pool, slot->p) < slot->size)
			FAIL("%s: slot %u has no room for %zu bytes", when, i, slot->size);
		if (!holds(slot->p, slot->size, slot->seed))
			FAIL("%s: slot %u of %zu bytes at %p has changed", when, i, slot->size, (void *)slot->p);
	}
	qsort(sorted, n, sizeof(sorted[0]), by_address);
	for (unsigned i = 1; i < n; i++)
		if (sorted[i - 1]->p + pmemcto_malloc_usable_size(pool, sorted[i - 1]->p) > sorted[i]->p)
			FAIL("%s: the blocks at %p and %p overlap", when, (void *)sorted[i - 1]->p,
			     (void *)sorted[i]->p);
}

/* --- operations ---------------------------------------------------------------------------------------------- */

static size_t
random_size(uint64_t *seed)
{
	switch (next(seed) % 32) {
	case 0:
		return (size_t)(next(seed) % 400000);
	case 1:
	case 2:
	case 3:
		return (size_t)(next(seed) % 40000);
	case 4:
		return 0;
	default:
		return (size_t)(next(seed) % 800);
	}
}

static void
take(struct slot *slot, uint64_t *seed)
{
	size_t size = random_size(seed), alignment = 1;
	unsigned char *p;

	switch (next(seed) % 4) {
	case 0:
		p = pmemcto_calloc(pool, 1, size);
		for (size_t i = 0; p != NULL && i < size; i++)
			if (p[i] != 0)
				FAIL("calloc of %zu bytes is not clear", size);
		break;
	case 1:
		alignment = (size_t)1 << next(seed) % (next(seed) % 16 == 0 ? 21 : 13);
		p = pmemcto_aligned_alloc(pool, alignment, size);
		break;
	default:
		p = pmemcto_malloc(pool, size);
	}
	if (p == NULL) { /* full: others are freed in time */
		if (errno != ENOMEM)
			FAIL("errno %d for %zu bytes", errno, size);
		return;
	}
	*slot = (struct slot){p, size, alignment, next(seed)};
	fill(slot);
}

static void
change(struct slot *slot, uint64_t *seed)
{
	size_t size = random_size(seed), kept;
	unsigned char *p;

	if (!holds(slot->p, slot->size, slot->seed))
		FAIL("a block of %zu bytes at %p has changed", slot->size, (void *)slot->p);
	p = pmemcto_realloc(pool, slot->p, size);
	if (size == 0) {
		if (p != NULL)
			FAIL("realloc to 0 gave a block");
		slot->p = NULL;
		return;
	}
	if (p == NULL) {
		if (errno != ENOMEM || !holds(slot->p, slot->size, slot->seed))
			FAIL("a realloc that failed has changed the block, or errno is %d", errno);
		return;
	}
	kept = size < slot->size ? size : slot->size;
	if (!holds(p, kept, slot->seed))
		FAIL("realloc from %zu to %zu bytes lost some", slot->size, size);
	*slot = (struct slot){p, size, 1, next(seed)};
	fill(slot);
}

struct worker {
	pthread_t id;
	unsigned first, step; /* its slots */
	uint64_t seed;
	long steps;
};

static void *
work(void *arg)
{
	struct worker *worker = arg;

	for (long i = 0; i < worker->steps; i++) {
		unsigned which =
			(unsigned)(next(&worker->seed) % (SLOTS / worker->step)) * worker->step + worker->first;
		struct slot *slot = &model.slots[which];

		if (slot->p == NULL) {
			take(slot, &worker->seed);
		} else if (next(&worker->seed) % 3 == 0) {
			change(slot, &worker->seed);
		} else {
			if (!holds(slot->p, slot->size, slot->seed))
				FAIL("slot %u of %zu bytes has changed", which, slot->size);
			pmemcto_free(pool, slot->p);
			slot->p = NULL;
		}
	}
	return NULL;
}

static void
session(uint64_t seed, long steps, unsigned threads)
{
	struct worker workers[MAX_THREADS];

	for (unsigned i = 0; i < threads; i++) {
		workers[i] = (struct worker){
			.first = i, .step = threads, .seed = seed * 2 + 1 + i, .steps = steps / threads};
		for (int k = 0; k < 10; k++)
			next(&workers[i].seed);
		if (pthread_create(&workers[i].id, NULL, work, &workers[i]) != 0)
			FAIL("pthread_create");
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(workers[i].id, NULL);
	model.root_block = model.slots[seed % SLOTS].p;
	pmemcto_set_root_pointer(pool, model.root_block);
}

/* --- the model's file ---------------------------------------------------------------------------------------- */

static void
model_read(const char *path)
{
	FILE *file = fopen(path, "r");

	if (file == NULL || fread(&model, sizeof(model), 1, file) != 1)
		FAIL("%s: %s", path, strerror(errno));
	fclose(file);
}

static void
model_write(const char *path)
{
	FILE *file = fopen(path, "w");

	if (file == NULL || fwrite(&model, sizeof(model), 1, file) != 1 || fclose(file) != 0)
		FAIL("%s: %s", path, strerror(errno));
}

int
main(int argc, char **argv)
{
	bool empty = argc == 4 && strcmp(argv[3], "empty") == 0;
	unsigned threads = argc == 7 ? (unsigned)strtoul(argv[6], NULL, 10) : 1;
	Dl_info library = {0};

	if (!empty && (argc != 7 || strcmp(argv[3], "work") != 0 || threads < 1 || threads > MAX_THREADS)) {
		fprintf(stderr, "usage: see the source\n");
		return 1;
	}
	dladdr((void *)(uintptr_t)pmemcto_open, &library);
	printf("%lx %lx %lx %s\n", (unsigned long)(uintptr_t)main, (unsigned long)(uintptr_t)&library,
	       (unsigned long)(uintptr_t)pmemcto_open, library.dli_fname != NULL ? library.dli_fname : "?");
	if (access(argv[1], F_OK) != 0) {
		pool = pmemcto_create(argv[1], "model", (size_t)32 << 20, 0600);
		model.handle = pool;
	} else {
		model_read(argv[2]);
		pool = pmemcto_open(argv[1], "model");
	}
	if (pool == NULL || pool != model.handle)
		FAIL("pool %p, the model says %p", (void *)pool, (void *)model.handle);
	verify("opened");
	if (empty) {
		for (unsigned i = 0; i < SLOTS; i++) {
			pmemcto_free(pool, model.slots[i].p);
			model.slots[i].p = NULL;
		}
		model.root_block = NULL;
		pmemcto_set_root_pointer(pool, NULL);
	} else {
		session(strtoull(argv[4], NULL, 10), strtol(argv[5], NULL, 10), threads);
		verify("used");
	}
	model.sessions++;
	errno = 0;
	pmemcto_close(pool);
	if (errno != 0)
		FAIL("close: %s", strerror(errno));
	model_write(argv[2]);
	return 0;
}
