/* misuse_heap.c -- what a program must not do with a heap ends in one line on stderr and abort()
 *
 * Each misuse happens in a child of its own. What the heap finds out only when the caches are drained (doc/limits.md)
 * is drained in the child: the point is that it is found, with the right words, before it can do harm to the heap.
 */
#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc/assert.h"
#include "alloc/heap.h"
#include "tests/heap_region.h"

struct play {
	struct heap *heap;
	struct tcache_cell cell, other; /* two threads */
	void *named;                    /* pointer that the message must name */
};

/* Runs the misuse in a child; its stderr must be exactly one line, "test: ..." with the words and the pointer. */
static void
expect_stop(void (*misuse)(struct play *play), const char *words)
{
	struct heap_region region;
	char text[1024] = "", address[32];
	size_t n = 0;
	int pipes[2], status, named[2];
	void *p = NULL;

	cr_assert_eq(pipe(pipes), 0);
	cr_assert_eq(pipe(named), 0);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		struct play play = {.cell = TCACHE_CELL_INIT, .other = TCACHE_CELL_INIT};
		struct rlimit none = {0, 0};

		setrlimit(RLIMIT_CORE, &none);
		dup2(pipes[1], STDERR_FILENO);
		heap_region_map(&region, (size_t)16 << 20, HEAP_BACKING_PRIVATE, false);
		play.heap = heap_region_create_heap(&region);
		/* Something lives on both sides of what the misuse touches. */
		for (size_t size = 16; size < 40000; size *= 2)
			memset(heap_malloc(play.heap, &play.cell, size), 1, size);
		misuse(&play);
		/* Not found at once: the name of the pointer goes out first, then the caches back to the heap. */
		if (write(named[1], &play.named, sizeof(play.named)) != sizeof(play.named))
			_exit(3);
		heap_thread_exit(play.heap, &play.cell);
		heap_thread_exit(play.heap, &play.other);
		_exit(0);
	}
	close(pipes[1]);
	close(named[1]);
	for (ssize_t got; n < sizeof(text) - 1 && (got = read(pipes[0], text + n, sizeof(text) - 1 - n)) > 0;)
		n += (size_t)got;
	bool late = read(named[0], &p, sizeof(p)) == sizeof(p);
	close(pipes[0]);
	close(named[0]);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %#x, not abort(); stderr: %s", status, text);
	cr_assert_eq(strncmp(text, "test: ", 6), 0, "stderr: %s", text);
	cr_assert(strstr(text, words), "not `%s' but: %s", words, text);
	cr_assert(strstr(text, " 0x"), "no pointer is named: %s", text);
	cr_assert_eq(strchr(text, '\n'), text + strlen(text) - 1, "not one line: %s", text);
	if (late) {
		snprintf(address, sizeof(address), " %p\n", p);
		cr_assert(strstr(text, address), "not%s but: %s", address, text);
	}
}

/* The same for a misuse that must be found at once: it never comes back. */
static void (*at_once)(struct play *play);

static void
run_at_once(struct play *play)
{
	at_once(play);
	_exit(4);
}

static void
expect_stop_at_once(void (*misuse)(struct play *play), const char *words)
{
	at_once = misuse;
	expect_stop(run_at_once, words);
}

/* --- freed already ------------------------------------------------------------------------------------------------- */

static void
free_twice(struct play *play, size_t size)
{
	void *p = heap_malloc(play->heap, &play->cell, size);

	play->named = p;
	heap_free(play->heap, &play->cell, p);
	heap_free(play->heap, &play->cell, p);
}

static void
twice_small(struct play *play)
{
	free_twice(play, 100);
}

static void
twice_slab_max(struct play *play)
{
	free_twice(play, SC_SLAB_MAX);
}

static void
twice_run(struct play *play)
{
	free_twice(play, 100000);
}

static void
twice_large(struct play *play)
{
	free_twice(play, (size_t)3 << 20);
}

Test(misuse_heap, double_free_of_a_small_block)
{
	expect_stop_at_once(twice_small, "double free");
}

Test(misuse_heap, double_free_of_a_32_kib_block)
{
	expect_stop_at_once(twice_slab_max, "free");
}

Test(misuse_heap, double_free_of_a_run_of_pages)
{
	expect_stop_at_once(twice_run, "free");
}

Test(misuse_heap, double_free_of_a_large_block)
{
	expect_stop_at_once(twice_large, "not allocated");
}

static void
late_by_others(struct play *play)
{
	void *p[8];

	for (size_t i = 0; i < 8; i++)
		p[i] = heap_malloc(play->heap, &play->cell, 200);
	play->named = p[2];
	heap_free(play->heap, &play->cell, p[2]);
	heap_free(play->heap, &play->cell, p[5]);
	heap_free(play->heap, &play->cell, p[2]);
}

static void
late_by_two_threads(struct play *play)
{
	void *p = heap_malloc(play->heap, &play->cell, 200);

	play->named = p;
	heap_free(play->heap, &play->cell, p);
	heap_free(play->heap, &play->other, p);
}

static void
late_after_drain(struct play *play)
{
	void *p = heap_malloc(play->heap, &play->cell, 200);

	play->named = p;
	heap_free(play->heap, &play->cell, p);
	heap_thread_exit(play->heap, &play->cell);
	heap_free(play->heap, &play->cell, p);
}

static void
late_after_slab_retired(struct play *play)
{
	void *p[4000];

	for (size_t i = 0; i < 4000; i++)
		p[i] = heap_malloc(play->heap, &play->cell, 1000);
	for (size_t i = 0; i < 4000; i++)
		heap_free(play->heap, &play->cell, p[i]);
	heap_thread_exit(play->heap, &play->cell);
	play->named = p[3999];
	heap_free(play->heap, &play->cell, p[3999]);
}

static void
late_runs(struct play *play)
{
	void *p = heap_malloc(play->heap, &play->cell, 100000), *q = heap_malloc(play->heap, &play->cell, 100000);

	play->named = p;
	heap_free(play->heap, &play->cell, p);
	heap_free(play->heap, &play->cell, q);
	heap_free(play->heap, &play->cell, p);
}

Test(misuse_heap, double_free_with_others_in_between)
{
	expect_stop(late_by_others, "double free");
}

Test(misuse_heap, double_free_by_two_threads)
{
	/* A block in two caches: the walk after the first thread's end says so, before the second one's flush can. */
	if (PMHEAP_ASSERT >= 3)
		cr_skip_test("assertion level 3 finds it first, and does not know the pointer");
	expect_stop(late_by_two_threads, "double free");
}

Test(misuse_heap, double_free_after_the_cache_was_drained)
{
	expect_stop(late_after_drain, "double free");
}

Test(misuse_heap, double_free_after_the_slab_was_retired)
{
	expect_stop(late_after_slab_retired, "free of a block that is not allocated");
}

Test(misuse_heap, double_free_of_a_run_with_another_in_between)
{
	expect_stop(late_runs, "free");
}

/* --- never a block ---------------------------------------------------------------------------------------------------- */

static void
inside_slot(struct play *play)
{
	char *p = heap_malloc(play->heap, &play->cell, 200);

	play->named = p + 32;
	heap_free(play->heap, &play->cell, p + 32);
}

static void
misaligned_slot(struct play *play)
{
	heap_free(play->heap, &play->cell, (char *)heap_malloc(play->heap, &play->cell, 200) + 1);
}

static void
misaligned_by_8(struct play *play)
{
	heap_free(play->heap, &play->cell, (char *)heap_malloc(play->heap, &play->cell, 200) + 8);
}

static void
inside_run(struct play *play)
{
	heap_free(play->heap, &play->cell, (char *)heap_malloc(play->heap, &play->cell, 100000) + 2 * HEAP_PAGE);
}

static void
inside_run_first_page(struct play *play)
{
	char *p = heap_malloc(play->heap, &play->cell, 100000);

	play->named = p + 64;
	heap_free(play->heap, &play->cell, p + 64);
}

static void
inside_large(struct play *play)
{
	heap_free(play->heap, &play->cell, (char *)heap_malloc(play->heap, &play->cell, (size_t)3 << 20) + 5 * HEAP_PAGE);
}

static void
inside_large_first_page(struct play *play)
{
	heap_free(play->heap, &play->cell, (char *)heap_malloc(play->heap, &play->cell, (size_t)3 << 20) + 48);
}

static void
free_page(struct play *play)
{
	char *p = heap_malloc(play->heap, &play->cell, (size_t)4 << 20);

	heap_free(play->heap, &play->cell, p);
	heap_free(play->heap, &play->cell, p + HEAP_PAGE);
}

static void
never_used_page(struct play *play)
{
	struct heap_stats stats;
	char *first = heap_malloc(play->heap, &play->cell, 16);

	heap_stats_get(play->heap, &stats);
	/* As many pages on as half the heap has: nothing ever was there. */
	heap_free(play->heap, &play->cell, first + stats.capacity / 2 / HEAP_PAGE * HEAP_PAGE);
}

Test(misuse_heap, free_inside_a_slot)
{
	expect_stop(inside_slot, "inside a block");
}

Test(misuse_heap, free_of_a_misaligned_pointer)
{
	expect_stop_at_once(misaligned_slot, "inside a block");
	expect_stop_at_once(misaligned_by_8, "inside a block");
}

Test(misuse_heap, free_inside_a_run)
{
	expect_stop_at_once(inside_run, "inside a block");
	expect_stop(inside_run_first_page, "inside a block");
}

Test(misuse_heap, free_inside_a_large_block)
{
	expect_stop_at_once(inside_large, "inside a block");
	expect_stop_at_once(inside_large_first_page, "inside a block");
}

Test(misuse_heap, free_of_a_free_page)
{
	expect_stop_at_once(free_page, "not allocated");
}

Test(misuse_heap, free_of_a_page_never_used)
{
	expect_stop_at_once(never_used_page, "not allocated");
}

/* --- realloc and usable_size -------------------------------------------------------------------------------------------- */

static void
realloc_freed_large(struct play *play)
{
	void *p = heap_malloc(play->heap, &play->cell, (size_t)3 << 20);

	heap_free(play->heap, &play->cell, p);
	heap_realloc(play->heap, &play->cell, p, 100);
}

static void
realloc_freed_small(struct play *play)
{
	void *p = heap_malloc(play->heap, &play->cell, 200);

	heap_free(play->heap, &play->cell, p);
	heap_thread_exit(play->heap, &play->cell);
	heap_realloc(play->heap, &play->cell, p, 5000);
}

static void
realloc_inside_slot(struct play *play)
{
	heap_realloc(play->heap, &play->cell, (char *)heap_malloc(play->heap, &play->cell, 200) + 32, 5000);
}

static void
realloc_inside_large(struct play *play)
{
	heap_realloc(play->heap, &play->cell, (char *)heap_malloc(play->heap, &play->cell, (size_t)3 << 20) + 8 * HEAP_PAGE,
	             100);
}

static void
realloc_misaligned(struct play *play)
{
	heap_realloc(play->heap, &play->cell, (char *)heap_malloc(play->heap, &play->cell, 200) + 3, 5000);
}

Test(misuse_heap, realloc_of_a_freed_block)
{
	expect_stop_at_once(realloc_freed_large, "not allocated");
	expect_stop_at_once(realloc_freed_small, "");
}

Test(misuse_heap, realloc_inside_a_block)
{
	expect_stop_at_once(realloc_inside_slot, "inside a block");
	expect_stop_at_once(realloc_inside_large, "inside a block");
	expect_stop_at_once(realloc_misaligned, "inside a block");
}

/* --- what is no misuse ---------------------------------------------------------------------------------------------------- */

static void
ordinary(struct play *play)
{
	void *p[300];

	for (size_t i = 0; i < 300; i++)
		p[i] = heap_malloc(play->heap, i % 2 ? &play->cell : &play->other, i * 50);
	for (size_t i = 0; i < 300; i++)
		heap_free(play->heap, i % 3 ? &play->cell : &play->other, p[i]);
	heap_thread_exit(play->heap, &play->cell);
	heap_thread_exit(play->heap, &play->other);
	abort();
}

/* The machinery sees an end without a message as a failure: abort() alone is not enough for it. */
Test(misuse_heap, ordinary_use_says_nothing)
{
	struct heap_region region;
	struct play play = {.cell = TCACHE_CELL_INIT, .other = TCACHE_CELL_INIT};
	int pipes[2], status;
	char text[16];

	cr_assert_eq(pipe(pipes), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct rlimit none = {0, 0};

		setrlimit(RLIMIT_CORE, &none);
		dup2(pipes[1], STDERR_FILENO);
		heap_region_map(&region, (size_t)16 << 20, HEAP_BACKING_PRIVATE, false);
		play.heap = heap_region_create_heap(&region);
		ordinary(&play);
	}
	close(pipes[1]);
	cr_assert_eq(read(pipes[0], text, sizeof(text)), 0, "something was said");
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
