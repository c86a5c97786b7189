/* workloads.c -- what the allocators are compared on: one program, one workload per run
 *
 * workloads NAME [SCALE]
 *
 * SCALE is per cent of the normal length. Every workload does the same operations on every machine and allocator:
 * the only randomness is rng() with fixed seeds, and threads share work by fixed shares. Blocks are written where a
 * program would write them (at least their first word, which holds a check), so page faults count.
 * Owns:   its tables, in static or mapped memory so that the harness itself asks the allocator for nothing.
 * Fails:  exit status 1 when malloc returns NULL or a block does not hold what was written into it.
 */
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)

extern char **environ;

static unsigned scale = 100;

/* --- helpers ------------------------------------------------------------------------------------------------- */

static void
fail(const char *what)
{
	fprintf(stderr, "workloads: %s\n", what);
	exit(1);
}

static size_t
scaled(size_t n)
{
	n = n * scale / 100;
	return n ? n : 1;
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

static inline size_t
rng_below(uint64_t *state, size_t n)
{
	return (size_t)(((uint64_t)rng(state) * n) >> 32);
}

/* A size in [lo, hi], each doubling equally likely: many small blocks, few large. */
static size_t
rng_size(uint64_t *state, size_t lo, size_t hi)
{
	unsigned lg_lo = 63u - (unsigned)__builtin_clzll(lo), lg_hi = 63u - (unsigned)__builtin_clzll(hi);
	unsigned lg = lg_lo + (unsigned)rng_below(state, lg_hi - lg_lo + 1);
	size_t size = ((size_t)1 << lg) + rng_below(state, (size_t)1 << lg);

	return size < lo ? lo : size > hi ? hi : size;
}

struct block {
	uint32_t *p;
	uint32_t size;
};

/* The first word holds the size, mixed; the last byte of larger blocks is written as well. */
static inline void
block_new(struct block *b, size_t size)
{
	if (size < sizeof(uint32_t))
		size = sizeof(uint32_t);
	b->p = malloc(size);
	if (b->p == NULL)
		fail("malloc returns NULL");
	b->size = (uint32_t)size;
	b->p[0] = (uint32_t)size * 2654435761u;
	if (size > 64)
		((char *)b->p)[size - 1] = 1;
}

static inline void
block_free(struct block *b)
{
	if (b->p == NULL)
		return;
	if (b->p[0] != b->size * 2654435761u)
		fail("a block does not hold what was written into it");
	free(b->p);
	b->p = NULL;
}

static void
touch_pages(void *p, size_t size)
{
	for (size_t at = 0; at < size; at += 4096)
		((volatile char *)p)[at] = 1;
}

static void *
table_new(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	return p;
}

static void
run_threads(unsigned n, void *(*body)(void *))
{
	pthread_t threads[64];

	for (uintptr_t i = 0; i < n; i++) {
		if (pthread_create(&threads[i], NULL, body, (void *)i) != 0)
			fail("pthread_create");
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

/* --- hit path ------------------------------------------------------------------------------------------------ */

static void
hit_sizes(const size_t *sizes, size_t nsizes, size_t rounds)
{
	for (size_t i = 0; i < rounds; i++) {
		for (size_t s = 0; s < nsizes; s++) {
			volatile char *p = malloc(sizes[s]);
			if (p == NULL)
				fail("malloc returns NULL");
			*p = 1;
			free((void *)p);
		}
	}
}

static void
hit_small(void)
{
	static const size_t sizes[] = { 8, 16, 24, 48, 64, 100, 200, 500 };

	hit_sizes(sizes, 8, scaled(5000000));
}

static void
hit_medium(void)
{
	static const size_t sizes[] = { 1024, 2000, 4096, 6000, 10000, 20000, 32000, 64000 };

	hit_sizes(sizes, 8, scaled(2000000));
}

/* --- batches: n blocks of one size, freed in one order ------------------------------------------------------- */

#define BATCH_MAX 16384

static void
batches(int order)
{
	static const size_t sizes[] = { 16, 64, 160, 512, 2048, 8192, 20000, 32768 };
	static void *slot[BATCH_MAX];
	static uint32_t shuffle[BATCH_MAX];
	uint64_t seed = 1;

	for (size_t s = 0; s < 8; s++) {
		size_t n = 4 * MIB / sizes[s];
		if (n > BATCH_MAX)
			n = BATCH_MAX;
		for (size_t i = 0; i < n; i++)
			shuffle[i] = (uint32_t)i;
		for (size_t i = n - 1; i > 0; i--) {
			size_t j = rng_below(&seed, i + 1);
			uint32_t t = shuffle[i];
			shuffle[i] = shuffle[j], shuffle[j] = t;
		}
		for (size_t round = 0, rounds = scaled(2500000) / n + 1; round < rounds; round++) {
			for (size_t i = 0; i < n; i++) {
				slot[i] = malloc(sizes[s]);
				if (slot[i] == NULL)
					fail("malloc returns NULL");
				*(char *)slot[i] = 1;
			}
			for (size_t i = 0; i < n; i++)
				free(slot[order == 'r' ? shuffle[i] : order == 'l' ? n - 1 - i : i]);
		}
	}
}

static void batch_fifo(void) { batches('f'); }
static void batch_lifo(void) { batches('l'); }
static void batch_random(void) { batches('r'); }

/* --- churn: a live set, random members replaced -------------------------------------------------------------- */

static void
churn(size_t nlive, size_t lo, size_t hi, size_t operations, bool touch)
{
	struct block *live = table_new(nlive * sizeof *live);
	uint64_t seed = 7;

	for (size_t i = 0; i < operations; i++) {
		struct block *b = &live[rng_below(&seed, nlive)];
		block_free(b);
		block_new(b, rng_size(&seed, lo, hi));
		if (touch)
			touch_pages((char *)b->p + 4096, b->size - 4096);
	}
	for (size_t i = 0; i < nlive; i++)
		block_free(&live[i]);
}

static void churn_small_set(void) { churn(1000, 8, 1000, scaled(20000000), false); }
static void churn_large_set(void) { churn(400000, 8, 1000, scaled(4000000), false); }
static void churn_1k_32k(void) { churn(3000, 1024, 32768, scaled(8000000), false); }
static void churn_40k_400k(void) { churn(200, 40 * KIB, 400 * KIB, scaled(300000), true); }
static void churn_1m_16m(void) { churn(8, 1 * MIB, 16 * MIB, scaled(250), true); }

/* Arrays of arrays, as sh6bench: blocks of many sizes freed in waves, some kept over many waves. */
static void
waves(void)
{
	enum { WAVE = 5000, KEEP = 12 };
	struct block *blocks = table_new(sizeof *blocks * WAVE * KEEP);
	uint64_t seed = 3;

	for (size_t wave = 0, n = scaled(1600); wave < n; wave++) {
		struct block *at = blocks + wave % KEEP * WAVE;
		for (size_t i = 0; i < WAVE; i++) {
			if (i % 8 != wave % 8)
				block_free(&at[i]);
		}
		for (size_t i = 0; i < WAVE; i++) {
			if (at[i].p == NULL)
				block_new(&at[i], rng_size(&seed, 8, 512));
		}
	}
	for (size_t i = 0; i < WAVE * KEEP; i++)
		block_free(&blocks[i]);
}

/* Binary trees: equal small blocks, built deep, dropped at once. */
struct node {
	struct node *left, *right;
};

static struct node *
tree_new(unsigned depth)
{
	struct node *n = malloc(sizeof *n);

	if (n == NULL)
		fail("malloc returns NULL");
	n->left = depth ? tree_new(depth - 1) : NULL;
	n->right = depth ? tree_new(depth - 1) : NULL;
	return n;
}

static void
tree_free(struct node *n)
{
	if (n->left) {
		tree_free(n->left);
		tree_free(n->right);
	}
	free(n);
}

static void
trees(void)
{
	struct node *kept = tree_new(17);

	for (size_t i = 0, n = scaled(30); i < n; i++)
		tree_free(tree_new(17));
	for (size_t i = 0, n = scaled(60000); i < n; i++)
		tree_free(tree_new(6));
	tree_free(kept);
}

static void
callocs(void)
{
	enum { LIVE = 512 };
	static char *live[LIVE];
	uint64_t seed = 5;

	for (size_t i = 0, n = scaled(1500000); i < n; i++) {
		size_t at = rng_below(&seed, LIVE), size = rng_size(&seed, 16, i % 50 ? 4096 : 200000);
		free(live[at]);
		live[at] = calloc(1, size);
		if (live[at] == NULL || live[at][size / 2] != 0)
			fail("calloc");
		memset(live[at], 1, size < 4096 ? size : 4096);
	}
	for (size_t i = 0; i < LIVE; i++)
		free(live[i]);
}

/* --- realloc ------------------------------------------------------------------------------------------------- */

/* Many vectors that grow by half, each by one element at a time. */
static void
realloc_vectors(void)
{
	enum { VECTORS = 2000 };
	static struct { uint32_t *items; uint32_t n, cap; } v[VECTORS];
	uint64_t seed = 9;

	for (size_t i = 0, n = scaled(12000000); i < n; i++) {
		size_t at = rng_below(&seed, VECTORS);
		at = at * at / VECTORS; /* a few grow much larger than the others */
		if (v[at].n == v[at].cap) {
			v[at].cap = v[at].cap ? v[at].cap + v[at].cap / 2 + 1 : 4;
			v[at].items = realloc(v[at].items, v[at].cap * sizeof *v[at].items);
			if (v[at].items == NULL)
				fail("realloc returns NULL");
		}
		v[at].items[v[at].n] = v[at].n;
		v[at].n++;
		if (rng_below(&seed, 30000) == 0) {
			if (v[at].items[v[at].n / 2] != v[at].n / 2)
				fail("realloc lost content");
			free(v[at].items);
			v[at].items = NULL;
			v[at].n = v[at].cap = 0;
		}
	}
	for (size_t i = 0; i < VECTORS; i++)
		free(v[i].items);
}

/* One block that grows to 256 MiB in small steps, as a file is read into memory. */
static void
realloc_huge(void)
{
	for (size_t round = 0, n = scaled(4); round < n; round++) {
		size_t size = 4096;
		char *p = malloc(size);
		while (p && size < 256 * MIB) {
			size_t more = size / 8 + 4096;
			p = realloc(p, size + more);
			if (p)
				memset(p + size, 1, more);
			size += more;
		}
		if (p == NULL)
			fail("realloc returns NULL");
		free(p);
	}
}

/* --- threads ------------------------------------------------------------------------------------------------- */

#define RING 4096
static _Atomic(uint32_t *) ring[RING];

/* Thread 0 allocates, thread 1 frees: every free is remote. */
static void *
producer_consumer_body(void *arg)
{
	uint64_t seed = 11;

	for (size_t i = 0, n = scaled(6000000); i < n; i++) {
		_Atomic(uint32_t *) *cell = &ring[i % RING];
		if (arg == NULL) {
			size_t size = rng_size(&seed, 16, 1024);
			uint32_t *p = malloc(size);
			if (p == NULL)
				fail("malloc returns NULL");
			*p = (uint32_t)i;
			while (atomic_load_explicit(cell, memory_order_acquire) != NULL)
				sched_yield();
			atomic_store_explicit(cell, p, memory_order_release);
		} else {
			uint32_t *p;
			while ((p = atomic_load_explicit(cell, memory_order_acquire)) == NULL)
				sched_yield();
			if (*p != (uint32_t)i)
				fail("a block does not hold what was written into it");
			atomic_store_explicit(cell, NULL, memory_order_release);
			free(p);
		}
	}
	return NULL;
}

static void
producer_consumer(void)
{
	run_threads(2, producer_consumer_body);
}

/* Blocks in one table for all threads: who takes a block out frees it, whoever made it. */
#define SHARED 65536
static _Atomic(uint32_t *) shared[SHARED];

static void *
remote_random_body(void *arg)
{
	uint64_t seed = 13 + (uintptr_t)arg;

	for (size_t i = 0, n = scaled(5000000); i < n; i++) {
		size_t size = rng_size(&seed, 16, 1024);
		uint32_t *p = malloc(size), *old;
		if (p == NULL)
			fail("malloc returns NULL");
		*p = (uint32_t)size;
		old = atomic_exchange(&shared[rng_below(&seed, SHARED)], p);
		if (old && *old > 2048)
			fail("a block does not hold what was written into it");
		free(old);
	}
	return NULL;
}

static void
remote_random(void)
{
	run_threads(2, remote_random_body);
	for (size_t i = 0; i < SHARED; i++)
		free(shared[i]);
}

/* Threads that live for a few hundred blocks and leave some of them to their successor. */
static struct block inherited[4][256];

static void *
short_thread(void *arg)
{
	struct block *old = inherited[(uintptr_t)arg];
	struct block own[200] = { { NULL, 0 } };
	uint64_t seed = 17 + (uintptr_t)arg;

	for (size_t i = 0; i < 1000; i++) {
		struct block *b = &own[rng_below(&seed, 200)];
		block_free(b);
		block_new(b, rng_size(&seed, 16, 2048));
	}
	for (size_t i = 0; i < 200; i++) {
		if (i % 4 == 0) {
			block_free(&old[i]);
			old[i] = own[i];
		} else {
			block_free(&own[i]);
		}
	}
	return NULL;
}

static void
thread_births(void)
{
	for (size_t i = 0, n = scaled(2500); i < n; i++)
		run_threads(4, short_thread);
	for (size_t i = 0; i < 4 * 256; i++)
		block_free(&inherited[i / 256][i % 256]);
}

static void *
churn_thread(void *arg)
{
	struct block *live = table_new(2000 * sizeof *live);
	uint64_t seed = 19 + (uintptr_t)arg;

	for (size_t i = 0, n = scaled(6000000); i < n; i++) {
		struct block *b = &live[rng_below(&seed, 2000)];
		block_free(b);
		block_new(b, rng_size(&seed, 16, 2048));
	}
	for (size_t i = 0; i < 2000; i++)
		block_free(&live[i]);
	return NULL;
}

static void
two_threads(void)
{
	run_threads(2, churn_thread);
}

/* Requests: parse buffers that live briefly, sessions that live long and change hands between threads, a cache of
 * answers with large values, log lines handed to whoever flushes them. */
#define SESSIONS 20000
static struct { atomic_flag lock; struct block part[4]; } session[SESSIONS];
#define ANSWERS 2000
static struct { atomic_flag lock; struct block value; } answer[ANSWERS];

static void
spin(atomic_flag *lock)
{
	while (atomic_flag_test_and_set_explicit(lock, memory_order_acquire))
		sched_yield();
}

static void *
server_body(void *arg)
{
	uint64_t seed = 23 + (uintptr_t)arg;

	for (size_t i = 0, n = scaled(350000); i < n; i++) {
		struct block request[12] = { { NULL, 0 } };
		block_new(&request[0], rng_size(&seed, 512, 16384));
		for (size_t k = 1; k < 12; k++)
			block_new(&request[k], rng_size(&seed, 8, 256));
		size_t s = rng_below(&seed, SESSIONS);
		spin(&session[s].lock);
		for (size_t k = 0; k < 4; k++) {
			if (rng(&seed) % 3 == 0) {
				block_free(&session[s].part[k]);
				block_new(&session[s].part[k], rng_size(&seed, 16, 512));
			}
		}
		atomic_flag_clear_explicit(&session[s].lock, memory_order_release);
		if (rng(&seed) % 16 == 0) {
			size_t a = rng_below(&seed, ANSWERS);
			spin(&answer[a].lock);
			block_free(&answer[a].value);
			block_new(&answer[a].value, rng_size(&seed, 256, 65536));
			atomic_flag_clear_explicit(&answer[a].lock, memory_order_release);
		}
		for (size_t k = 0; k < 12; k++)
			block_free(&request[k]);
	}
	return NULL;
}

static void
server(void)
{
	run_threads(4, server_body);
	for (size_t i = 0; i < SESSIONS; i++) {
		for (size_t k = 0; k < 4; k++)
			block_free(&session[i].part[k]);
	}
	for (size_t i = 0; i < ANSWERS; i++)
		block_free(&answer[i].value);
}

/* --- phases: fragmentation ----------------------------------------------------------------------------------- */

/* 160 MiB of blocks of one mix, most of them freed at random, then up to 160 MiB again of another mix, and so on.
 * Prints the peak of live bytes: what the peak memory is held against. */
static void
phases(void)
{
	enum { MAX = 3000000 };
	static const struct { size_t lo, hi; } mix[] = { { 16, 256 }, { 1024, 8192 }, { 64, 1024 }, { 16384, 262144 }, { 32, 512 } };
	struct block *blocks = table_new(sizeof *blocks * MAX);
	size_t n = 0, live = 0, peak = 0, goal = scaled(160) * MIB;
	uint64_t seed = 29;

	for (size_t phase = 0; phase < 5; phase++) {
		while (live < goal && n < MAX) {
			block_new(&blocks[n], rng_size(&seed, mix[phase].lo, mix[phase].hi));
			memset(blocks[n].p + 1, 1, blocks[n].size - 4);
			live += blocks[n++].size;
		}
		if (live > peak)
			peak = live;
		size_t kept = 0;
		for (size_t i = 0; i < n; i++) {
			if (rng(&seed) % 10 != 0) {
				live -= blocks[i].size;
				block_free(&blocks[i]);
			} else {
				blocks[kept++] = blocks[i];
			}
		}
		n = kept;
	}
	for (size_t i = 0; i < n; i++)
		block_free(&blocks[i]);
	printf("live %zu\n", peak / 1024);
}

/* --- process start ------------------------------------------------------------------------------------------- */

static void
process_start(void)
{
	static char *argv[] = { "true", NULL };

	for (size_t i = 0, n = scaled(400); i < n; i++) {
		pid_t child;
		int status;
		if (posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ) != 0 || waitpid(child, &status, 0) != child || status)
			fail("cannot run /bin/true");
	}
}

/* --- counted under callgrind by bench.py: calls made from instr_malloc and instr_free ------------------------- */

static void *instr_slot[4096];

__attribute__((noinline, used)) static void
instr_malloc(size_t n, size_t size)
{
	for (size_t i = 0; i < n; i++)
		instr_slot[i] = malloc(size);
}

__attribute__((noinline, used)) static void
instr_free(size_t n, const uint16_t *order)
{
	for (size_t i = 0; i < n; i++)
		free(instr_slot[order ? order[i] : i]);
}

/* Here SCALE is the number of rounds. */
static void
instr(size_t n, bool shuffled)
{
	static uint16_t order[4096];
	uint64_t seed = 31;

	for (size_t i = 0; i < n; i++)
		order[i] = (uint16_t)i;
	for (size_t i = n - 1; shuffled && i > 0; i--) {
		size_t j = rng_below(&seed, i + 1);
		uint16_t t = order[i];
		order[i] = order[j], order[j] = t;
	}
	for (unsigned round = 0; round < scale; round++) {
		instr_malloc(n, 64);
		instr_free(n, shuffled ? order : NULL);
	}
}

static void instr_hit(void) { instr(8, false); }
static void instr_batch(void) { instr(4096, false); }
static void instr_batch_random(void) { instr(4096, true); }

/* ------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(void);
} workloads[] = {
	{ "hit_small", hit_small },
	{ "hit_medium", hit_medium },
	{ "batch_fifo", batch_fifo },
	{ "batch_lifo", batch_lifo },
	{ "batch_random", batch_random },
	{ "churn_small_set", churn_small_set },
	{ "churn_large_set", churn_large_set },
	{ "churn_1k_32k", churn_1k_32k },
	{ "churn_40k_400k", churn_40k_400k },
	{ "churn_1m_16m", churn_1m_16m },
	{ "waves", waves },
	{ "trees", trees },
	{ "calloc", callocs },
	{ "realloc_vectors", realloc_vectors },
	{ "realloc_huge", realloc_huge },
	{ "producer_consumer", producer_consumer },
	{ "remote_random", remote_random },
	{ "thread_births", thread_births },
	{ "two_threads", two_threads },
	{ "server", server },
	{ "phases", phases },
	{ "process_start", process_start },
	{ "instr_hit", instr_hit },
	{ "instr_batch", instr_batch },
	{ "instr_batch_random", instr_batch_random },
};

int
main(int argc, char **argv)
{
	if (argc > 2)
		scale = (unsigned)atoi(argv[2]);
	for (size_t i = 0; argc > 1 && i < sizeof workloads / sizeof workloads[0]; i++) {
		if (strcmp(argv[1], workloads[i].name) == 0) {
			workloads[i].run();
			return 0;
		}
	}
	fputs("usage: workloads NAME [SCALE]\n", stderr);
	return 2;
}
