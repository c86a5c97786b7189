/* bench_cto.c -- one measurement of libpmemcto, or of a heap beside it; bench_cto.py takes many and makes tables
 *
 * usage: bench_cto rate HEAP WORK THREADS FOLDER    HEAP: glibc vmem cto pmemobj. Prints ns per operation
 *        bench_cto life FILE MIB USED_MIB           makes a pool of MIB, where USED_MIB are in use, sparse beyond that;
 *                                                   prints us for making, closing, opening, closing again
 *        bench_cto write FILE MIB                   opens FILE, writes over MIB of its blocks, closes; prints us for
 *                                                   opening and for closing
 *
 * The works; an operation is a block taken and a block given back, and every block's first and last word is written:
 *   hit       8 blocks of 64 bytes taken, then given back
 *   replace   one of 10 000 blocks of 16 to 527 bytes given back, another taken in its place, at random
 *   large     one of 500 blocks of 1 to 64 KiB
 *   fill      100 000 blocks of 100 bytes taken, then given back in the same order
 *
 * Each thread has its own blocks. libpmemobj's atomic functions keep each block's address in a word that they are told;
 * here it is a word outside of the pool, which is the cheapest for it. Its pool and ours are pools of 256 MiB in FOLDER.
 *
 * Media: files in FOLDER, which are removed; FILE is kept for the next call.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libpmemcto.h>
#include <libvmem.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef HAVE_PMEMOBJ
#include <libpmemobj.h>
#endif

#define MIB ((size_t)1 << 20)
#define POOL_SIZE (256 * MIB)
#define MAX_THREADS 64

static _Noreturn void
stop(const char *what, const char *why)
{
	fprintf(stderr, "bench_cto: %s: %s\n", what, why);
	exit(1);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline uint64_t
next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* --- rate ---------------------------------------------------------------------------------------------------- */

static VMEM *vmem;
static PMEMctopool *cto;

/* The works once per heap, as its calls would stand in a program. TAKE(slot, n) and DROP(slot) are statements,
 * BLOCK(slot) is the block's address. Each work returns how many operations it did in `rounds`. */
#define DEFINE_WORKS(HEAP, SLOT, TAKE, DROP, BLOCK)                                                                    \
	static inline void HEAP##_take(SLOT *slot, size_t n)                                                           \
	{                                                                                                              \
		char *p;                                                                                               \
		TAKE(slot, n);                                                                                         \
		p = BLOCK(slot);                                                                                       \
		if (p == NULL)                                                                                         \
			stop(#HEAP, "no block");                                                                       \
		*(volatile uint64_t *)p = n;                                                                           \
		*(volatile uint64_t *)(p + (n - 8) / 8 * 8) = n;                                                       \
	}                                                                                                              \
	static uint64_t HEAP##_hit(uint64_t seed, uint64_t rounds)                                                     \
	{                                                                                                              \
		SLOT slots[8];                                                                                         \
		(void)seed;                                                                                            \
		rounds *= 2500;                                                                                        \
		for (uint64_t i = 0; i < rounds; i++) {                                                                \
			for (int k = 0; k < 8; k++)                                                                    \
				HEAP##_take(&slots[k], 64);                                                            \
			for (int k = 0; k < 8; k++) {                                                                  \
				DROP((&slots[k]));                                                                     \
			}                                                                                              \
		}                                                                                                      \
		return rounds * 8;                                                                                     \
	}                                                                                                              \
	static uint64_t HEAP##_random(uint64_t seed, uint64_t rounds, unsigned nslots, size_t least, size_t range)     \
	{                                                                                                              \
		SLOT *slots = calloc(nslots, sizeof(SLOT));                                                            \
		for (unsigned i = 0; i < nslots; i++)                                                                  \
			HEAP##_take(&slots[i], least + next(&seed) % range);                                           \
		for (uint64_t i = 0; i < rounds; i++) {                                                                \
			uint64_t r = next(&seed);                                                                      \
			SLOT *slot = &slots[(r >> 32) % nslots];                                                       \
			DROP(slot);                                                                                    \
			HEAP##_take(slot, least + (r & 0xffffffff) % range);                                           \
		}                                                                                                      \
		for (unsigned i = 0; i < nslots; i++) {                                                                \
			DROP((&slots[i]));                                                                             \
		}                                                                                                      \
		free(slots);                                                                                           \
		return rounds;                                                                                         \
	}                                                                                                              \
	static uint64_t HEAP##_replace(uint64_t seed, uint64_t rounds)                                                 \
	{                                                                                                              \
		return HEAP##_random(seed, rounds * 10000, 10000, 16, 512);                                            \
	}                                                                                                              \
	static uint64_t HEAP##_large(uint64_t seed, uint64_t rounds)                                                   \
	{                                                                                                              \
		return HEAP##_random(seed, rounds * 5000, 500, 1024, 63 * 1024);                                       \
	}                                                                                                              \
	static uint64_t HEAP##_fill(uint64_t seed, uint64_t rounds)                                                    \
	{                                                                                                              \
		enum { BLOCKS = 100000 };                                                                              \
		SLOT *slots = calloc(BLOCKS, sizeof(SLOT));                                                            \
		(void)seed;                                                                                            \
		rounds = rounds / 10 + 1;                                                                              \
		for (uint64_t i = 0; i < rounds; i++) {                                                                \
			for (int k = 0; k < BLOCKS; k++)                                                               \
				HEAP##_take(&slots[k], 100);                                                           \
			for (int k = 0; k < BLOCKS; k++) {                                                             \
				DROP((&slots[k]));                                                                     \
			}                                                                                              \
		}                                                                                                      \
		free(slots);                                                                                           \
		return rounds * BLOCKS;                                                                                \
	}

#define POINTER(slot) (*(slot))

#define GLIBC_TAKE(slot, n) *(slot) = malloc(n)
#define GLIBC_DROP(slot) free(*(slot))
DEFINE_WORKS(glibc, void *, GLIBC_TAKE, GLIBC_DROP, POINTER)

#define VMEM_TAKE(slot, n) *(slot) = vmem_malloc(vmem, n)
#define VMEM_DROP(slot) vmem_free(vmem, *(slot))
DEFINE_WORKS(vmem, void *, VMEM_TAKE, VMEM_DROP, POINTER)

#define CTO_TAKE(slot, n) *(slot) = pmemcto_malloc(cto, n)
#define CTO_DROP(slot) pmemcto_free(cto, *(slot))
DEFINE_WORKS(cto, void *, CTO_TAKE, CTO_DROP, POINTER)

#ifdef HAVE_PMEMOBJ
static PMEMobjpool *obj;
#define OBJ_TAKE(slot, n)                                                                                              \
	if (pmemobj_alloc(obj, slot, n, 0, NULL, NULL) != 0)                                                           \
	stop("pmemobj_alloc", pmemobj_errormsg())
#define OBJ_DROP(slot) pmemobj_free(slot)
#define OBJ_BLOCK(slot) pmemobj_direct(*(slot))
DEFINE_WORKS(pmemobj, PMEMoid, OBJ_TAKE, OBJ_DROP, OBJ_BLOCK)
#endif

typedef uint64_t work_fn(uint64_t seed, uint64_t rounds);

#define WORKS_OF(HEAP)                                                                                                 \
	{#HEAP, "hit", HEAP##_hit}, {#HEAP, "replace", HEAP##_replace}, {#HEAP, "large", HEAP##_large},                \
	{                                                                                                              \
#HEAP, "fill", HEAP##_fill                                                                             \
	}

static const struct {
	const char *heap, *work;
	work_fn *fn;
} works[] = {
	WORKS_OF(glibc),
	WORKS_OF(vmem),
	WORKS_OF(cto),
#ifdef HAVE_PMEMOBJ
	WORKS_OF(pmemobj),
#endif
};

static pthread_barrier_t ready;
static work_fn *work;
static uint64_t rounds = 100;

static void *
work_thread(void *arg)
{
	uint64_t *operations = arg;

	pthread_barrier_wait(&ready);
	*operations = work((uintptr_t)arg | 1, rounds);
	return NULL;
}

/* The pools. `path`: where one is that has a name, to be removed. */
static void
open_heap(const char *heap, const char *folder, char *path)
{
	sprintf(path, "%s/bench_cto.%d", folder, (int)getpid());
	if (strcmp(heap, "vmem") == 0 && (vmem = vmem_create(folder, POOL_SIZE)) == NULL)
		stop(folder, vmem_errormsg());
	if (strcmp(heap, "cto") == 0 && (cto = pmemcto_create(path, NULL, POOL_SIZE, 0600)) == NULL)
		stop(folder, pmemcto_errormsg());
#ifdef HAVE_PMEMOBJ
	if (strcmp(heap, "pmemobj") == 0 && (obj = pmemobj_create(path, "bench", POOL_SIZE, 0600)) == NULL)
		stop(folder, pmemobj_errormsg());
#endif
}

static void
rate(const char *heap, const char *name, unsigned threads, const char *folder)
{
	pthread_t ids[MAX_THREADS];
	uint64_t operations[MAX_THREADS], total = 0;
	char path[4096];
	double start;

	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
		if (strcmp(works[i].heap, heap) == 0 && strcmp(works[i].work, name) == 0)
			work = works[i].fn;
	if (work == NULL || threads < 1 || threads > MAX_THREADS)
		stop(heap, "no such heap or work here");
	if (strcmp(heap, "pmemobj") == 0) /* it flushes each time: a tenth takes as long as the others' whole */
		rounds /= 10;
	open_heap(heap, folder, path);
	pthread_barrier_init(&ready, NULL, threads + 1);
	for (unsigned i = 0; i < threads; i++)
		pthread_create(&ids[i], NULL, work_thread, &operations[i]);
	pthread_barrier_wait(&ready);
	start = now();
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(ids[i], NULL);
		total += operations[i];
	}
	printf("%.2f\n", (now() - start) * 1e9 / (double)total);
	unlink(path);
}

/* --- life ---------------------------------------------------------------------------------------------------- */

#define BLOCK ((size_t)256 << 10) /* the blocks of `life`, in a list from the root */

static double
close_timed(PMEMctopool *pool)
{
	double start = now();

	errno = 0;
	pmemcto_close(pool);
	if (errno != 0)
		stop("close", pmemcto_errormsg());
	return (now() - start) * 1e6;
}

static PMEMctopool *
open_timed(const char *path, double *us)
{
	double start = now();
	PMEMctopool *pool = pmemcto_open(path, NULL);

	if (pool == NULL)
		stop(path, pmemcto_errormsg());
	*us = (now() - start) * 1e6;
	return pool;
}

static void
life(const char *path, size_t mib, size_t used_mib)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	double make, first_close, open_us, start;
	PMEMctopool *pool;
	void **last = NULL;

	if (fd < 0 || ftruncate(fd, (off_t)(mib * MIB)) != 0)
		stop(path, strerror(errno));
	close(fd);
	start = now();
	pool = pmemcto_create(path, NULL, 0, 0);
	if (pool == NULL)
		stop(path, pmemcto_errormsg());
	make = (now() - start) * 1e6;
	for (size_t i = 0; i < used_mib * MIB / BLOCK; i++) {
		void **block = pmemcto_malloc(pool, BLOCK);

		if (block == NULL)
			stop(path, pmemcto_errormsg());
		memset((void *)block, 1, BLOCK);
		*block = last;
		last = block;
	}
	pmemcto_set_root_pointer(pool, (void *)last);
	first_close = close_timed(pool);
	pool = open_timed(path, &open_us);
	printf("%.1f %.1f %.1f %.1f\n", make, first_close, open_us, close_timed(pool));
}

static void
write_over(const char *path, size_t mib)
{
	double open_us;
	PMEMctopool *pool = open_timed(path, &open_us);
	char **block = pmemcto_get_root_pointer(pool);

	for (size_t i = 0; i < mib * MIB / BLOCK && block != NULL; i++, block = (char **)*block)
		for (size_t at = sizeof(*block); at < BLOCK; at += 512)
			((char *)block)[at]++;
	printf("%.1f %.1f\n", open_us, close_timed(pool));
}

int
main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], "rate") == 0)
		rate(argv[2], argv[3], (unsigned)strtoul(argv[4], NULL, 10), argv[5]);
	else if (argc == 5 && strcmp(argv[1], "life") == 0)
		life(argv[2], strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
	else if (argc == 4 && strcmp(argv[1], "write") == 0)
		write_over(argv[2], strtoul(argv[3], NULL, 10));
	else
		stop("usage", "see the source");
	return 0;
}
