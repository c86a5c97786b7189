/* cto_session.c -- one session of a libpmemcto pool, in a process of its own
 *
 * usage: cto_session make PATH MIB             creates the pool, with an empty model in it, and closes it
 *        cto_session work PATH SEED STEPS      opens it, checks all that the model says is there, changes it, closes it
 *        cto_session map PATH                  creates a pool of 16 MiB, prints its address, closes it
 *        cto_session open PATH                 opens and leaves the pool open
 *        cto_session contend PATH ROUNDS       opens and closes it whenever it is free; prints how often it was
 *
 * The model is a table in the pool itself: for each of its slots a block, its size and the seed of its bytes. Pointers in
 * it are plain pointers: they must be good in each process. Exit status 0, or 1 with a line on stderr.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libpmemcto.h"

#define SLOTS 1000
#define FAIL(...) (fprintf(stderr, __VA_ARGS__), fprintf(stderr, ": %s\n", pmemcto_errormsg()), exit(1))

struct model {
	struct model *self;
	PMEMctopool *handle;
	uint64_t sessions;
	struct {
		unsigned char *p;
		size_t size;
		uint64_t seed;
	} slots[SLOTS];
};

static uint64_t
next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void
fill(unsigned char *p, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i++)
		p[i] = (unsigned char)(seed >> (i % 8 * 8)) + (unsigned char)i;
}

static int
same(const unsigned char *p, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i++)
		if (p[i] != (unsigned char)((unsigned char)(seed >> (i % 8 * 8)) + (unsigned char)i))
			return 0;
	return 1;
}

static size_t
random_size(uint64_t *seed)
{
	uint64_t r = next(seed);

	switch (r >> 8 & 15) {
	case 0:
		return (size_t)(next(seed) % 300000);
	case 1:
	case 2:
		return (size_t)(next(seed) % 40000);
	default:
		return (size_t)(next(seed) % 700);
	}
}

static void
make(const char *path, size_t mib)
{
	PMEMctopool *pcp = pmemcto_create(path, "model", mib << 20, 0600);
	struct model *model;

	if (pcp == NULL)
		FAIL("create");
	model = pmemcto_calloc(pcp, 1, sizeof(*model));
	model->self = model;
	model->handle = pcp;
	pmemcto_set_root_pointer(pcp, model);
	pmemcto_close(pcp);
}

static void
verify(PMEMctopool *pcp, const struct model *model)
{
	if (model == NULL || model->self != model || model->handle != pcp)
		FAIL("the model is not where it was");
	for (int i = 0; i < SLOTS; i++)
		if (model->slots[i].p != NULL && !same(model->slots[i].p, model->slots[i].size, model->slots[i].seed))
			FAIL("session %llu: slot %d of %zu bytes has changed", (unsigned long long)model->sessions, i,
			    model->slots[i].size);
}

static void
work(const char *path, uint64_t seed, long steps)
{
	PMEMctopool *pcp = pmemcto_open(path, "model");
	struct model *model;

	if (pcp == NULL)
		FAIL("open");
	model = pmemcto_get_root_pointer(pcp);
	verify(pcp, model);
	while (steps-- > 0) {
		unsigned i = (unsigned)(next(&seed) % SLOTS);
		unsigned char *old = model->slots[i].p, *p;
		size_t old_size = model->slots[i].size, size = random_size(&seed);
		uint64_t old_seed = model->slots[i].seed;

		if (old == NULL) {
			unsigned how = (unsigned)(next(&seed) % 4);

			p = how == 0 ? pmemcto_calloc(pcp, 1, size) :
			    how == 1 ? pmemcto_aligned_alloc(pcp, (size_t)1 << next(&seed) % 16, size) : pmemcto_malloc(pcp, size);
			if (p == NULL)
				continue; /* full: others are freed in time */
			for (size_t k = 0; how == 0 && k < size; k++)
				if (p[k] != 0)
					FAIL("calloc of %zu bytes is not clear", size);
		} else {
			if (!same(old, old_size, old_seed))
				FAIL("slot %u of %zu bytes has changed", i, old_size);
			if (next(&seed) % 2 != 0) {
				pmemcto_free(pcp, old);
				model->slots[i].p = NULL;
				continue;
			}
			p = pmemcto_realloc(pcp, old, size + 1);
			if (p == NULL)
				continue;
			size++;
			if (!same(p, size < old_size ? size : old_size, old_seed))
				FAIL("realloc from %zu to %zu bytes lost some", old_size, size);
		}
		model->slots[i].p = p;
		model->slots[i].size = size;
		model->slots[i].seed = next(&seed);
		fill(p, size, model->slots[i].seed);
	}
	verify(pcp, model);
	model->sessions++;
	pmemcto_close(pcp);
}

static void
contend(const char *path, long rounds)
{
	long got = 0;

	while (rounds > 0) {
		PMEMctopool *pcp = pmemcto_open(path, "model");

		if (pcp == NULL) {
			if (errno != EAGAIN)
				FAIL("open: errno %d", errno);
			continue;
		}
		struct model *model = pmemcto_get_root_pointer(pcp);
		uint64_t sessions = model->sessions;

		pmemcto_free(pcp, pmemcto_malloc(pcp, 1000));
		model->sessions = sessions + 1;
		pmemcto_close(pcp);
		rounds--;
		got++;
	}
	printf("%ld\n", got);
}

int
main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "make") == 0) {
		make(argv[2], strtoul(argv[3], NULL, 10));
	} else if (argc == 5 && strcmp(argv[1], "work") == 0) {
		work(argv[2], strtoull(argv[3], NULL, 10), strtol(argv[4], NULL, 10));
	} else if (argc == 3 && strcmp(argv[1], "map") == 0) {
		PMEMctopool *pcp = pmemcto_create(argv[2], NULL, PMEMCTO_MIN_POOL, 0600);

		if (pcp == NULL)
			FAIL("create");
		printf("%p\n", (void *)pcp);
		pmemcto_close(pcp);
	} else if (argc == 3 && strcmp(argv[1], "open") == 0) {
		if (pmemcto_open(argv[2], NULL) == NULL)
			FAIL("open");
	} else if (argc == 4 && strcmp(argv[1], "contend") == 0) {
		contend(argv[2], strtol(argv[3], NULL, 10));
	} else {
		fprintf(stderr, "usage: see the source\n");
		return 1;
	}
	return 0;
}
