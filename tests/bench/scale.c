/* scale.c -- what a malloc and a free cost as live blocks and threads grow
 *
 * scale live BLOCKS OPERATIONS     BLOCKS live blocks of 16 to 128 bytes, random ones replaced
 * scale threads THREADS OPERATIONS OPERATIONS shared by THREADS threads, 1000 blocks live in each
 *
 * Prints CPU nanoseconds per pair of malloc and free: of filling ("fill", live only) and of replacing ("op").
 * Owns:   its tables, mapped, so that the harness asks the allocator for nothing.
 * Fails:  exit status 1 when malloc returns NULL or a block does not hold what was written into it.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define MAX_THREADS 64
#define THREAD_LIVE 1000

static size_t operations; /* of each thread */

static void
fail(const char *what)
{
	fprintf(stderr, "scale: %s\n", what);
	exit(1);
}

static double
cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* xorshift64*: the same numbers everywhere. */
static inline uint32_t
rng(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t)((*state * 2685821657736338717ull) >> 32);
}

static uint32_t **
table_new(size_t n)
{
	void *p = mmap(NULL, n * sizeof(uint32_t *), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	return p;
}

static inline void
replace(uint32_t **at, uint64_t *seed)
{
	size_t size = 16 + (rng(seed) >> 8) % 113;
	uint32_t *p;

	if (*at != NULL && (*at)[0] != ((*at)[1] ^ 0x5bd1e995))
		fail("a block does not hold what was written into it");
	free(*at);
	p = malloc(size);
	if (p == NULL)
		fail("malloc returns NULL");
	p[0] = (uint32_t)size ^ 0x5bd1e995;
	p[1] = (uint32_t)size;
	*at = p;
}

static void
live(size_t n)
{
	uint32_t **blocks = table_new(n);
	uint64_t seed = 5;
	double start = cpu_ns(), filled;

	for (size_t i = 0; i < n; i++)
		replace(&blocks[i], &seed);
	filled = cpu_ns();
	printf("fill %.2f\n", (filled - start) / (double)n);
	for (size_t i = 0; i < operations; i++)
		replace(&blocks[((uint64_t)rng(&seed) * n) >> 32], &seed);
	printf("op %.2f\n", (cpu_ns() - filled) / (double)operations);
}

static void *
body(void *arg)
{
	uint32_t **blocks = arg;
	uint64_t seed = 7 + (uintptr_t)arg;

	for (size_t i = 0; i < operations; i++)
		replace(&blocks[((uint64_t)rng(&seed) * THREAD_LIVE) >> 32], &seed);
	for (size_t i = 0; i < THREAD_LIVE; i++)
		free(blocks[i]);
	return NULL;
}

static void
threads(size_t n)
{
	pthread_t t[MAX_THREADS];
	size_t total = operations;
	double start = cpu_ns();

	if (n < 1 || n > MAX_THREADS)
		fail("1 to 64 threads");
	operations /= n;
	for (size_t i = 0; i < n; i++) {
		if (pthread_create(&t[i], NULL, body, table_new(THREAD_LIVE)) != 0)
			fail("pthread_create");
	}
	for (size_t i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	printf("op %.2f\n", (cpu_ns() - start) / (double)total);
}

int
main(int argc, char **argv)
{
	if (argc == 4) {
		operations = strtoull(argv[3], NULL, 10);
		if (strcmp(argv[1], "live") == 0) {
			live(strtoull(argv[2], NULL, 10));
			return 0;
		}
		if (strcmp(argv[1], "threads") == 0) {
			threads(strtoull(argv[2], NULL, 10));
			return 0;
		}
	}
	fputs("usage: scale live BLOCKS OPERATIONS | threads THREADS OPERATIONS\n", stderr);
	return 2;
}
