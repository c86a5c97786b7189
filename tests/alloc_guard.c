/* alloc_guard.c -- heaps that watch their blocks: they work, give back what they hold, and leave nothing in the region */
#include <criterion/criterion.h>

#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc/heap.h"
#include "alloc/heap_media.h"
#include "tests/heap_region.h"

#define N 500

static struct heap_region region;
static struct heap *heap;

static void
begin(void)
{
	heap_region_map(&region, (size_t)16 << 20, HEAP_BACKING_SPARSE, false);
	region.config.guard = HEAP_GUARD_ALL;
	heap = heap_region_create_heap(&region);
}

TestSuite(alloc_guard, .init = begin);

static const struct heap_media *
media(void)
{
	return (const struct heap_media *)((const char *)region.config.base + region.config.reserved);
}

static void
must_be_whole(void)
{
	char why[256];

	cr_assert_eq(heap_check(heap, why, sizeof(why)), 1, "%s", why);
}

/* Blocks of many sizes come, grow and go; each keeps what was written into it. */
static void *
work(void *seed)
{
	struct tcache_cell cell = TCACHE_CELL_INIT;
	unsigned char *p[N] = {NULL};
	size_t size[N] = {0};
	unsigned random = (unsigned)(size_t)seed;

	for (unsigned i = 0; i < 20000; i++) {
		random = random * 1103515245 + 12345;
		size_t k = (random >> 8) % N, n = (random >> 16) % 3000;

		if (p[k] != NULL) {
			for (size_t b = 0; b < size[k]; b++)
				cr_assert_eq(p[k][b], (unsigned char)k);
			if (i % 3 == 0) {
				p[k] = heap_realloc(heap, &cell, p[k], n);
				size[k] = n;
			} else {
				heap_free(heap, &cell, p[k]);
				p[k] = NULL;
				continue;
			}
		} else {
			p[k] = i % 5 == 0 ? heap_aligned_alloc(heap, &cell, 256, n) : heap_malloc(heap, &cell, n);
			size[k] = n;
		}
		cr_assert_not_null(p[k]);
		cr_assert(n == 0 || heap_usable_size(heap, p[k]) == n, "the size asked for");
		memset(p[k], (int)k, n);
	}
	for (size_t k = 0; k < N; k++)
		if (p[k] != NULL)
			heap_free(heap, &cell, p[k]);
	return NULL;
}

Test(alloc_guard, blocks_keep_their_content_with_two_threads_at_work)
{
	pthread_t other;

	pthread_create(&other, NULL, work, (void *)(size_t)4711);
	for (int i = 0; i < 50; i++)
		must_be_whole();
	work((void *)(size_t)815);
	pthread_join(other, NULL);
	must_be_whole();
}

Test(alloc_guard, w2_what_is_held_back_serves_before_there_is_no_room)
{
	struct tcache_cell cell = TCACHE_CELL_INIT;
	void *p[20000];
	size_t first = 0, again = 0;

	while (first < 20000 && (p[first] = heap_malloc(heap, &cell, 2000)) != NULL)
		first++;
	cr_assert_lt(first, 20000);
	for (size_t i = 0; i < first; i++)
		heap_free(heap, &cell, p[i]);
	while (again < 20000 && (p[again] = heap_malloc(heap, &cell, 2000)) != NULL)
		again++;
	cr_assert_eq(first, again);
	must_be_whole();
}

Test(alloc_guard, w3_a_detached_heap_is_an_ordinary_one)
{
	struct tcache_cell cell = TCACHE_CELL_INIT;
	char *kept = heap_calloc(heap, &cell, 1, 100);
	size_t offset = (size_t)(kept - (char *)region.config.base);

	for (unsigned i = 0; i < 3000; i++)
		heap_free(heap, &cell, heap_malloc(heap, &cell, i));
	cr_assert_gt(media()->cache_room, 0, "quarantine is counted as caches are");
	kept[99] = 1;
	heap_detach(heap);
	cr_assert_eq(media()->cache_room, 0);
	for (int guard = 0; guard < 2; guard++) {
		struct heap_stats stats;

		heap_region_move(&region);
		region.config.guard = guard ? HEAP_GUARD_ALL : 0;
		cr_assert_eq(heap_attach(&heap, &region.config), 0);
		heap_stats_get(heap, &stats);
		cr_assert_eq(stats.allocated, 112, "the one block, canary and all");
		kept = (char *)region.config.base + offset;
		cr_assert_eq(kept[99], 1);
		if (guard)
			heap_free(heap, &cell, kept); /* of an earlier session: W1 */
		heap_detach(heap);
	}
}

Test(alloc_guard, a_forks_child_goes_on)
{
	struct tcache_cell cell = TCACHE_CELL_INIT;
	void *p = heap_malloc(heap, &cell, 100);
	int status;

	heap_prefork(heap);
	pid_t pid = fork();
	if (pid == 0) {
		heap_postfork_child(heap, &cell);
		heap_free(heap, &cell, p);
		_exit(heap_malloc(heap, &cell, 100) != NULL && heap_check(heap, NULL, 0) == 1 ? 0 : 1);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	heap_postfork_parent(heap); /* the region is shared: the child was alone in it */
	cr_assert_eq(status, 0);
}
