/* mt_alloc_fork.c -- fork while other threads allocate: parent and child go on with a whole heap
 *
 * The region is private memory, so that the child has its own copy, as libvmmalloc's fork modes give it.
 */
#include <criterion/criterion.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc/heap.h"
#include "tests/heap_region.h"
#include "tests/heap_threads.h"

#define BLOCKS 100u
#define FORKERS 3u

struct state {
	_Atomic bool stop;
};

struct owned {
	void *p[BLOCKS];
	size_t size[BLOCKS];
};

static uint64_t
tag_of(const struct heap_thread *t, size_t i)
{
	return (uint64_t)t->index << 32 | i;
}

static void
churn(struct heap_thread *t, struct owned *own, unsigned rounds)
{
	for (unsigned round = 0; round < rounds; round++) {
		size_t i = heap_thread_random(t) % BLOCKS;

		if (own->p[i]) {
			stamp_check(own->p[i], own->size[i], tag_of(t, i));
			heap_free(t->heap, &t->cell, own->p[i]);
		}
		own->p[i] = heap_malloc(t->heap, &t->cell, heap_thread_random_size(t));
		if (own->p[i]) {
			own->size[i] = heap_usable_size(t->heap, own->p[i]);
			stamp(own->p[i], own->size[i], tag_of(t, i));
		}
	}
}

static void
free_owned(struct heap_thread *t, struct owned *own)
{
	for (size_t i = 0; i < BLOCKS; i++)
		if (own->p[i]) {
			stamp_check(own->p[i], own->size[i], tag_of(t, i));
			heap_free(t->heap, &t->cell, own->p[i]);
			own->p[i] = NULL;
		}
}

static void
add_live(void *ctx, void *p, size_t usable)
{
	(void)p;
	*(size_t *)ctx += usable;
}

/* In the child: 0, or what was wrong. */
static int
child_work(struct heap_thread *t, struct owned *own)
{
	struct heap_stats stats;
	size_t live = 0;
	char why[256] = "";

	if (heap_check(t->heap, why, sizeof(why)) != 1) {
		fprintf(stderr, "heap_check in the child: %s\n", why);
		return 1;
	}
	for (size_t i = 0; i < BLOCKS; i++)
		if (own->p[i])
			stamp_check(own->p[i], own->size[i], tag_of(t, i));
	churn(t, own, 2000 / HEAP_THREADS_SLOW);
	free_owned(t, own);
	/* What the caches of the threads that are not here held is not lost: live is what those threads' users held. */
	heap_each_block(t->heap, add_live, &live);
	heap_stats_get(t->heap, &stats);
	if (stats.allocated != live) {
		fprintf(stderr, "in the child %zu bytes live, %zu allocated\n", live, (size_t)stats.allocated);
		return 2;
	}
	if (stats.ncaches > 2) {
		fprintf(stderr, "in the child there are %zu caches, one thread\n", (size_t)stats.ncaches);
		return 3;
	}
	return heap_check(t->heap, why, sizeof(why)) == 1 ? 0 : 4;
}

static void
fork_thread(struct heap_thread *t)
{
	struct state *state = t->shared;
	struct owned own = {0};

	if (t->index >= FORKERS) {
		while (!atomic_load(&state->stop))
			churn(t, &own, 50);
		free_owned(t, &own);
		return;
	}
	for (unsigned n = 0; n < 40 / (HEAP_THREADS_SLOW > 1 ? 8 : 1); n++) {
		int status = 0;

		churn(t, &own, 500 / HEAP_THREADS_SLOW);
		heap_prefork(t->heap);
		pid_t pid = fork();

		if (pid == 0) {
			heap_postfork_child(t->heap, &t->cell);
			_exit(child_work(t, &own));
		}
		heap_postfork_parent(t->heap);
		if (pid < 0)
			abort();
		waitpid(pid, &status, 0);
		if (status != 0) {
			fprintf(stderr, "the child of thread %u ended with status %#x\n", t->index, status);
			abort();
		}
	}
	free_owned(t, &own);
	if (t->index == 0)
		atomic_store(&state->stop, true);
}

Test(mt_alloc_fork, fork_while_others_allocate)
{
	struct heap_thread threads[FORKERS + 3];
	struct state state = {0};
	struct heap_region region;
	struct heap_stats stats;
	struct heap *heap;

	heap_region_map(&region, (size_t)64 << 20, HEAP_BACKING_PRIVATE, false);
	heap = heap_region_create_heap(&region);
	heap_stats_get(heap, &stats);
	heap_threads_run(threads, FORKERS + 3, heap, &state, fork_thread);
	heap_threads_expect_empty(heap, stats.largest_free);
	heap_detach(heap);
	heap_region_unmap(&region);
}
