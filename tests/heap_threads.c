/* heap_threads.c -- threads that work on one heap, and stamps that show whose a block is
 *
 * Locks:  none of its own. Media: none.
 * Fails:  prints one line and aborts, from whatever thread (Criterion's assertions belong to the main one).
 */
#include "tests/heap_threads.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAMP_WHOLE ((size_t)256)

static void *
thread_main(void *arg)
{
	struct heap_thread *thread = arg;

	thread->run(thread);
	heap_thread_exit(thread->heap, &thread->cell);
	return NULL;
}

void
heap_threads_start(struct heap_thread *threads, unsigned n, struct heap *heap, void *shared,
                   void (*run)(struct heap_thread *thread))
{
	for (unsigned i = 0; i < n; i++) {
		threads[i] = (struct heap_thread){
			.heap = heap,
			.shared = shared,
			.index = i,
			.random = i,
			.cell = TCACHE_CELL_INIT,
			.run = run,
		};
		int error = pthread_create(&threads[i].id, NULL, thread_main, &threads[i]);

		if (error) {
			fprintf(stderr, "heap_threads: pthread_create: %s\n", strerror(error));
			abort();
		}
	}
}

void
heap_threads_join(struct heap_thread *threads, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i].id, NULL);
}

void
heap_threads_run(struct heap_thread *threads, unsigned n, struct heap *heap, void *shared,
                 void (*run)(struct heap_thread *thread))
{
	heap_threads_start(threads, n, heap, shared, run);
	heap_threads_join(threads, n);
}

void
heap_thread_fail(const char *file, int line, const char *cond, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s:%d: failed: %s:", file, line, cond);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	abort();
}

uint64_t
heap_thread_random(struct heap_thread *thread)
{
	uint64_t z = thread->random += 0x9E3779B97F4A7C15u; /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
	return z ^ (z >> 31);
}

size_t
heap_thread_random_size(struct heap_thread *thread)
{
	uint64_t r = heap_thread_random(thread);
	unsigned kind = r & 255;

	r >>= 8;
	if (kind < 160)
		return r % 256;
	if (kind < 220)
		return r % 4096;
	if (kind < 252)
		return r % 40000;
	return r % 300000;
}

/* The next place to stamp behind `at`. */
static size_t
stamp_next(size_t size, size_t at)
{
	at += 8;
	if (size > STAMP_WHOLE && at >= 64 && at + 64 < size) {
		size_t page = (at + 4095) & ~(size_t)4095, tail = (size - 64) & ~(size_t)7;

		at = page < tail ? page : tail;
	}
	return at;
}

void
stamp(void *p, size_t size, uint64_t tag)
{
	for (size_t at = 0; at + 8 <= size; at = stamp_next(size, at)) {
		uint64_t word = tag * 0x9E3779B97F4A7C15u + at;

		memcpy((char *)p + at, &word, 8);
	}
}

void
stamp_check(const void *p, size_t size, uint64_t tag)
{
	for (size_t at = 0; at + 8 <= size; at = stamp_next(size, at)) {
		uint64_t word;

		memcpy(&word, (const char *)p + at, 8);
		if (word != tag * 0x9E3779B97F4A7C15u + at) {
			fprintf(stderr, "heap_threads: byte %zu of the block of %zu at %p, tag %#" PRIx64 ", holds %#" PRIx64 "\n",
			        at, size, p, tag, word);
			abort();
		}
	}
}

void
heap_threads_expect_empty(struct heap *heap, size_t largest)
{
	struct tcache_cell cell = TCACHE_CELL_INIT;
	struct heap_stats stats;
	char why[256] = "";
	void *p;

	heap_stats_get(heap, &stats);
	if (stats.allocated != 0) {
		fprintf(stderr, "heap_threads: all is freed, yet %" PRIu64 " bytes count as allocated\n", stats.allocated);
		abort();
	}
	if (heap_check(heap, why, sizeof(why)) != 1) {
		fprintf(stderr, "heap_threads: heap_check: %s\n", why);
		abort();
	}
	p = heap_malloc(heap, &cell, largest);
	if (!p) {
		fprintf(stderr, "heap_threads: all is freed, yet there is no block of %zu bytes\n", largest);
		abort();
	}
	heap_free(heap, &cell, p);
	heap_thread_exit(heap, &cell);
}
