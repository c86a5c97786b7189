/* heap_threads.h -- threads that work on one heap, and stamps that show whose a block is
 *
 * A stamp is a pattern made from a tag: over the whole block up to 256 bytes, else at both ends and once per page.
 * A stamp that is not there any more prints the place and aborts: two owners had the block.
 */
#ifndef TESTS_HEAP_THREADS_H
#define TESTS_HEAP_THREADS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc/heap.h"

/* ThreadSanitizer makes everything some ten times slower: tests divide their rounds by this. */
#if defined(__SANITIZE_THREAD__)
#define HEAP_THREADS_SLOW 20u
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HEAP_THREADS_SLOW 20u
#endif
#endif
#ifndef HEAP_THREADS_SLOW
#define HEAP_THREADS_SLOW 1u
#endif

struct heap_thread {
	struct heap *heap;
	void *shared;            /* the test's own */
	unsigned index;
	uint64_t random;         /* for heap_thread_random, seeded by index */
	struct tcache_cell cell;
	/* private to heap_threads.c */
	pthread_t id;
	void (*run)(struct heap_thread *thread);
};

/* Starts n threads, waits for their end. Each calls run and then heap_thread_exit. */
void heap_threads_run(struct heap_thread *threads, unsigned n, struct heap *heap, void *shared,
                      void (*run)(struct heap_thread *thread));
/* The two halves of it; the threads still live in between. */
void heap_threads_start(struct heap_thread *threads, unsigned n, struct heap *heap, void *shared,
                        void (*run)(struct heap_thread *thread));
void heap_threads_join(struct heap_thread *threads, unsigned n);

uint64_t heap_thread_random(struct heap_thread *thread);
/* Mostly small, seldom up to a few hundred KiB. */
size_t heap_thread_random_size(struct heap_thread *thread);

/* Criterion's assertions belong to the main thread; this one prints and aborts, from any. */
#define THREAD_EXPECT(cond, ...) ((cond) ? (void)0 : heap_thread_fail(__FILE__, __LINE__, #cond, " " __VA_ARGS__))
_Noreturn void heap_thread_fail(const char *file, int line, const char *cond, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

void stamp(void *p, size_t size, uint64_t tag);
void stamp_check(const void *p, size_t size, uint64_t tag);

/* Aborts unless the heap is consistent, holds nothing, and has a block of `largest` bytes to give. */
void heap_threads_expect_empty(struct heap *heap, size_t largest);

#endif
