/* mt_alloc_pages.c -- threads that take and give back whole pages: huge pages, a file system that fills and empties
 *
 * The heap is told that single pages have cost much, so that it commits by huge ones wherever it may. Between rounds all
 * threads stop, and what the tables say is compared with what the file holds.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc/heap_state.h"
#include "tests/heap_region.h"
#include "tests/heap_threads.h"

#define THREADS 6u
#define BLOCKS 24u
#define MIB ((size_t)1 << 20)

struct world {
	struct heap_region region;
	struct heap *heap;
	size_t largest; /* block of the fresh heap */
	_Atomic unsigned running;
};

static char where[64]; /* the small tmpfs */

static void
unmount_small(void)
{
	if (where[0] != '\0') {
		umount2(where, MNT_DETACH);
		rmdir(where);
	}
}

TestSuite(mt_alloc_pages, .fini = unmount_small);

static void
mount_small(size_t size)
{
	char options[64];

	snprintf(where, sizeof(where), "/tmp/pmheap-pages-%d", getpid());
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		cr_skip_test("no mount namespace of its own (%s): needs root", strerror(errno));
	snprintf(options, sizeof(options), "size=%zu", size);
	mkdir(where, 0700);
	if (mount("tmpfs", where, "tmpfs", 0, options) != 0)
		cr_skip_test("cannot mount a tmpfs (%s)", strerror(errno));
}

static int
open_on(const char *name, size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", where, name);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static size_t
random_size(struct heap_thread *t)
{
	uint64_t r = heap_thread_random(t);
	unsigned kind = r & 15;

	r >>= 8;
	if (kind < 4)
		return r % 30000;
	if (kind < 9)
		return r % (256 << 10);
	if (kind < 14)
		return r % (2 * MIB);
	return r % (4 * MIB);
}

static void
pages_thread(struct heap_thread *t)
{
	struct world *w = t->shared;
	void *blocks[BLOCKS] = {0};
	size_t sizes[BLOCKS] = {0};

	for (unsigned round = 0; round < 400 / HEAP_THREADS_SLOW + 20; round++) {
		size_t i = heap_thread_random(t) % BLOCKS, size = random_size(t);
		unsigned how = heap_thread_random(t) % 8;

		if (blocks[i])
			stamp_check(blocks[i], sizes[i], (uintptr_t)&blocks[i] ^ t->index);
		if (blocks[i] && how < 3) {
			void *p = heap_realloc(t->heap, &t->cell, blocks[i], size);

			if (p)
				blocks[i] = p;
		} else {
			if (blocks[i])
				heap_free(t->heap, &t->cell, blocks[i]);
			blocks[i] = NULL;
			if (how == 3) {
				char *p = blocks[i] = heap_calloc(t->heap, &t->cell, 1, size);

				for (size_t at = 0; p && at < size; at++)
					THREAD_EXPECT(p[at] == 0, "byte %zu of calloc's %zu", at, size);
			} else if (how == 4) {
				size_t align = (size_t)4096 << heap_thread_random(t) % 11;

				blocks[i] = heap_aligned_alloc(t->heap, &t->cell, align, size);
				THREAD_EXPECT((uintptr_t)blocks[i] % align == 0, "align %zu: %p", align, blocks[i]);
			} else {
				blocks[i] = heap_malloc(t->heap, &t->cell, size);
			}
		}
		if (blocks[i]) {
			sizes[i] = heap_usable_size(t->heap, blocks[i]);
			stamp(blocks[i], sizes[i], (uintptr_t)&blocks[i] ^ t->index);
		} else {
			sizes[i] = 0;
		}
	}
	for (size_t i = 0; i < BLOCKS; i++)
		if (blocks[i]) {
			stamp_check(blocks[i], sizes[i], (uintptr_t)&blocks[i] ^ t->index);
			heap_free(t->heap, &t->cell, blocks[i]);
		}
	atomic_fetch_sub(&w->running, 1);
}

static bool
bit(const _Atomic uint64_t *words, uint32_t page)
{
	return (atomic_load(&words[page % HEAP_CHUNK_PAGES / 64]) >> (page % 64) & 1) != 0;
}

/* No thread is inside the heap. What is committed is in the file and counted; what is not dirty reads as zero. */
static void
compare_with_file(struct heap *heap, int fd)
{
	static const char zeros[HEAP_PAGE];
	char bytes[HEAP_PAGE], why[256] = "";
	uint64_t committed = 0, empty = 0;
	off_t pages_off = heap->pages - heap->base;

	cr_assert_eq(heap_check(heap, why, sizeof(why)), 1, "%s", why);
	for (uint32_t page = 0; page < heap->ready_pages; page++) {
		const struct chunk_media *chunk = &heap->chunks[page / HEAP_CHUNK_PAGES];
		off_t at = pages_off + ((off_t)page << HEAP_LG_PAGE);

		if (bit(chunk->committed, page)) {
			committed++;
			cr_assert_eq(lseek(fd, at, SEEK_DATA), at, "page %u is committed and not in the file", page);
		}
		if (!bit(chunk->dirty, page)) {
			cr_assert_eq(pread(fd, bytes, sizeof(bytes), at), (ssize_t)sizeof(bytes));
			cr_assert_eq(memcmp(bytes, zeros, sizeof(bytes)), 0, "page %u is not dirty and not zero", page);
		}
	}
	cr_assert_eq(committed, heap->committed_pages, "%" PRIu64 " pages committed, counted %" PRIu64, committed,
		     heap->committed_pages);
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++)
		for (uint32_t n = heap->media->bins[sc].empty; n != 0; n = heap->slabs[n - 1].next)
			empty += heap->slabs[n - 1].pages;
	cr_assert_eq(empty, heap->empty_pages);
}

static void
run_pages(size_t pool, size_t disk, bool fill)
{
	struct heap_thread threads[THREADS];
	struct world w = {0};
	struct heap_stats stats;
	unsigned turns = 0;

	if (disk != 0) {
		mount_small(disk);
		heap_region_map_file(&w.region, open_on("pool", pool), pool);
	} else {
		heap_region_map(&w.region, pool, HEAP_BACKING_SPARSE, false);
	}
	w.heap = heap_region_create_heap(&w.region);
	heap_stats_get(w.heap, &stats);
	w.largest = stats.largest_free;
	for (unsigned round = 0; round < 3; round++) {
		w.heap->huge_ns = w.heap->huge_pages = 0;
		w.heap->small_pages = 1000;
		w.heap->small_ns = 1000 * UINT64_C(1000000000);
		w.running = THREADS;
		heap_threads_start(threads, THREADS, w.heap, &w, pages_thread);
		while (atomic_load(&w.running) != 0) {
			turns++;
			if (fill && turns % 4 == 1) {
				int fd = open_on("rest", 0);

				(void)!posix_fallocate(fd, 0, (off_t)((turns % 7 + 1) * MIB));
				usleep(2000);
				close(fd);
				char path[128];
				snprintf(path, sizeof(path), "%s/rest", where);
				unlink(path);
			} else if (turns % 64 == 3) {
				heap_purge_all(w.heap);
			}
			usleep(1000);
		}
		heap_threads_join(threads, THREADS);
		compare_with_file(w.heap, w.region.fd);
	}
	heap_threads_expect_empty(w.heap, disk == 0 ? w.largest : MIB);
	compare_with_file(w.heap, w.region.fd);
	heap_detach(w.heap);
	heap_region_unmap(&w.region);
}

Test(mt_alloc_pages, huge_pages_in_a_pool_with_room)
{
	run_pages(256 * MIB, 0, false);
}

Test(mt_alloc_pages, huge_pages_in_a_pool_that_is_full)
{
	run_pages(48 * MIB, 0, false);
}

Test(mt_alloc_pages, huge_pages_on_a_disk_that_is_full)
{
	run_pages(256 * MIB, 48 * MIB, false);
}

Test(mt_alloc_pages, huge_pages_on_a_disk_that_others_fill)
{
	run_pages(256 * MIB, 56 * MIB, true);
}
