/* lru_cache.c -- a cache that is warm from the first request on: it stays in its pool between two runs
 *
 * usage: lru_cache POOL [ENTRIES [REQUESTS]]      [1000000 entries, as many requests]
 *
 * The first run makes a cache for that many answers and fills it, which takes its time. Each later run opens the pool,
 * and has the same cache after the time that pmemcto_open(3) takes, whatever its size. Then both serve requests, some
 * more often than others; the cache gives up what was not asked for the longest time. Each run says how long it took
 * to have a full cache, and proves at its end that every answer in the cache is right.
 *
 * cc lru_cache.c -o lru_cache $(pkg-config --cflags --libs libpmemcto)
 */
#define _POSIX_C_SOURCE 200809L
#include <libpmemcto.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "session.h"

#define LAYOUT "lru-cache-1"
#define MOST_ENTRIES ((uint64_t)1 << 40)

/* All entries in the order of their last use, in a ring that begins and ends at the cache. */
struct use {
	struct use *newer, *older;
};

struct entry {
	struct use use;     /* first: a use other than the cache's own is an entry */
	struct entry *next; /* in its bucket */
	uint64_t key;
	char answer[];
};

struct cache {           /* the pool's root */
	struct use uses; /* its `newer` was used longest ago, its `older` last */
	struct entry **buckets;
	uint64_t nbuckets; /* a power of two */
	uint64_t count, capacity;
	uint64_t runs, requests, hits; /* of all runs */
	double fill_seconds;           /* what the first run took to fill it */
};

static PMEMctopool *pool;

/* --- where the answers come from: what is slow in a real program ------------------------------------------------- */

#define LONGEST_ANSWER 128

static uint64_t
mix(uint64_t x)
{
	x = (x ^ x >> 31) * UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	return x ^ x >> 32;
}

/* The answer to a question, made anew; its length with the 0. */
static size_t
compute(uint64_t key, char answer[LONGEST_ANSWER])
{
	uint64_t digest = mix(key);

	return (size_t)snprintf(answer, LONGEST_ANSWER, "user %llu, digest %016llx%.*s", (unsigned long long)key,
				(unsigned long long)digest, (int)(digest % 32), ", and a remark of some length...") +
		1;
}

/* --- the cache ----------------------------------------------------------------------------------------------- */

static struct entry **
find(struct cache *cache, uint64_t key)
{
	struct entry **at = &cache->buckets[mix(key) & (cache->nbuckets - 1)];

	while (*at != NULL && (*at)->key != key)
		at = &(*at)->next;
	return at;
}

static void
unlink_use(struct use *use)
{
	use->newer->older = use->older;
	use->older->newer = use->newer;
}

static void
link_as_newest(struct cache *cache, struct use *use)
{
	use->newer = &cache->uses;
	use->older = cache->uses.older;
	use->older->newer = use;
	cache->uses.older = use;
}

static void
forget_oldest(struct cache *cache)
{
	struct entry *oldest = (struct entry *)cache->uses.newer;

	*find(cache, oldest->key) = oldest->next;
	unlink_use(&oldest->use);
	pmemcto_free(pool, oldest);
	cache->count--;
}

/* The answer, from the cache or computed and then kept there; NULL when the pool has no room for even one. */
static const char *
ask(struct cache *cache, uint64_t key)
{
	struct entry **at = find(cache, key), *entry = *at;
	char answer[LONGEST_ANSWER];
	size_t length;

	cache->requests++;
	if (entry != NULL) {
		cache->hits++;
		unlink_use(&entry->use);
		link_as_newest(cache, &entry->use);
		return entry->answer;
	}
	length = compute(key, answer);
	if (cache->count == cache->capacity)
		forget_oldest(cache);
	/* A pool that fills up is no error for a cache: it just has to be content with fewer entries. */
	while ((entry = pmemcto_malloc(pool, sizeof(*entry) + length)) == NULL && cache->count > 0)
		forget_oldest(cache);
	if (entry == NULL)
		return NULL;
	memcpy(entry->answer, answer, length);
	entry->key = key;
	link_as_newest(cache, &entry->use);
	at = find(cache, key); /* its bucket may have lost an entry meanwhile */
	entry->next = *at;
	*at = entry;
	cache->count++;
	return entry->answer;
}

/* An empty cache in a new pool; NULL when the pool is too small. */
static struct cache *
new_cache(uint64_t capacity)
{
	struct cache *cache = pmemcto_calloc(pool, 1, sizeof(*cache));

	if (cache == NULL)
		return NULL;
	cache->uses.newer = cache->uses.older = &cache->uses;
	cache->capacity = capacity;
	for (cache->nbuckets = 1; cache->nbuckets < capacity;)
		cache->nbuckets *= 2;
	cache->buckets = pmemcto_calloc(pool, cache->nbuckets, sizeof(*cache->buckets));
	if (cache->buckets == NULL) {
		pmemcto_free(pool, cache);
		return NULL;
	}
	pmemcto_set_root_pointer(pool, cache);
	return cache;
}

/* Walks over all entries and computes each answer again; how many are right. */
static uint64_t
count_right(struct cache *cache)
{
	char answer[LONGEST_ANSWER];
	uint64_t right = 0;

	for (struct use *use = cache->uses.newer; use != &cache->uses; use = use->newer) {
		struct entry *entry = (struct entry *)use;

		compute(entry->key, answer);
		right += strcmp(entry->answer, answer) == 0 && *find(cache, entry->key) == entry;
	}
	return right;
}

/* --- a run --------------------------------------------------------------------------------------------------- */

static double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Requests for low keys are far more frequent than those for high ones, which go beyond what the cache can hold. */
static uint64_t
random_key(const struct cache *cache, uint64_t *seed)
{
	double x = (double)(mix(++*seed) >> 11) * 0x1p-53;

	return (uint64_t)(x * x * x * 4.0 * (double)cache->capacity);
}

static int
serve(struct cache *cache, uint64_t requests)
{
	uint64_t seed = cache->runs << 40, hits = cache->hits, i;
	double start = now();

	for (i = 0; i < requests && !session_stopped; i++)
		if (ask(cache, random_key(cache, &seed)) == NULL)
			return -1;
	printf("served       %llu requests in %.3f s, %.1f %% of them from the cache\n", (unsigned long long)i,
	       now() - start, i != 0 ? 100.0 * (double)(cache->hits - hits) / (double)i : 0.0);
	return 0;
}

static int
fill(struct cache *cache, double start)
{
	for (uint64_t key = cache->capacity; key-- > 0 && !session_stopped;)
		if (ask(cache, key) == NULL)
			return -1;
	cache->requests = 0;
	cache->fill_seconds = now() - start;
	printf("filled       a new cache with %llu entries in %.3f s\n", (unsigned long long)cache->count,
	       cache->fill_seconds);
	return 0;
}

static int
run(uint64_t capacity, uint64_t requests, double start)
{
	struct cache *cache = pmemcto_get_root_pointer(pool);
	uint64_t right;

	if (cache == NULL) {
		cache = new_cache(capacity);
		if (cache == NULL || fill(cache, start) != 0)
			return -1;
	} else {
		double seconds = now() - start;

		printf("reopened     a cache of %llu entries in %.3f ms; filling it took %.3f s, %.0f times as long\n",
		       (unsigned long long)cache->count, seconds * 1e3, cache->fill_seconds,
		       cache->fill_seconds / seconds);
	}
	if (serve(cache, requests) != 0)
		return -1;
	cache->runs++;
	right = count_right(cache);
	printf("checked      %llu of %llu entries are right, after %llu runs and %llu requests\n",
	       (unsigned long long)right, (unsigned long long)cache->count, (unsigned long long)cache->runs,
	       (unsigned long long)cache->requests);
	return right == cache->count ? 0 : -1;
}

int
main(int argc, char **argv)
{
	uint64_t capacity = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
	uint64_t requests = argc > 3 ? strtoull(argv[3], NULL, 10) : capacity;
	double start = now();
	int status;

	if (argc < 2 || argc > 4 || capacity == 0 || capacity > MOST_ENTRIES) {
		fprintf(stderr, "usage: lru_cache POOL [ENTRIES [REQUESTS]]\n");
		return 2;
	}
	/* An entry and its share of the buckets take less than 144 bytes on average. */
	pool = session_open(argv[1], LAYOUT, PMEMCTO_MIN_POOL + capacity * 144);
	if (pool == NULL)
		return 2;
	status = run(capacity, requests, start);
	if (status != 0)
		fprintf(stderr, "%s: no room for a cache, or not the answers that were put in\n", argv[1]);
	start = now();
	if (session_close(pool, argv[1]) != 0)
		status = -1;
	else
		printf("closed       in %.3f ms\n", (now() - start) * 1e3);
	return status == 0 ? 0 : 2;
}
