/* alloc_purge.c -- memory goes back to the file system, and comes again; a full file system is NULL, never SIGBUS
 *
 * Files are memfds, whose st_blocks the kernel counts as it does those of files on tmpfs, or lie on a tmpfs of a few
 * MiB that the test mounts in a mount namespace of its own (which needs root: else those tests are skipped).
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "alloc/heap.h"
#include "tests/heap_region.h"

#define MIB ((size_t)1 << 20)

static struct heap_region region;
static struct heap *heap;
static struct tcache_cell cell = TCACHE_CELL_INIT;
static char where[64]; /* of the small file system, when the test has one */

static void
unmount_small(void)
{
	if (where[0]) {
		umount2(where, MNT_DETACH);
		rmdir(where);
	}
}

TestSuite(alloc_purge, .fini = unmount_small);

static void
begin(size_t size, enum heap_backing backing)
{
	heap_region_map(&region, size, backing, false);
	heap = heap_region_create_heap(&region);
}

static void
expect_valid(void)
{
	char why[256] = "";

	cr_assert_eq(heap_check(heap, why, sizeof(why)), 1, "%s", why);
}

/* --- purging ---------------------------------------------------------------------------------------------------------- */

static void
purge_all_shrinks(size_t size)
{
	size_t n = 32 * MIB / size, fresh;
	void **p = calloc(n, sizeof(*p));

	begin(64 * MIB, HEAP_BACKING_SPARSE);
	fresh = heap_region_file_bytes(&region);
	for (size_t i = 0; i < n; i++) {
		p[i] = heap_malloc(heap, &cell, size);
		cr_assert(p[i]);
		memset(p[i], 0x77, size);
	}
	size_t full = heap_region_file_bytes(&region);
	cr_assert_geq(full, n * size);
	for (size_t i = 0; i < n; i++)
		heap_free(heap, &cell, p[i]);
	heap_purge_all(heap);
	size_t after = heap_region_file_bytes(&region);
	cr_assert_leq(after, fresh + 2 * MIB, "%zu bytes in the file with all freed, %zu when fresh, %zu when full", after,
	              fresh, full);
	expect_valid();
	free(p);
}

Test(alloc_purge, purge_all_gives_back_small_blocks)
{
	purge_all_shrinks(100);
}

Test(alloc_purge, purge_all_gives_back_runs)
{
	purge_all_shrinks(100000);
}

Test(alloc_purge, purge_all_gives_back_large_blocks)
{
	purge_all_shrinks(4 * MIB);
}

Test(alloc_purge, statistics_agree_with_the_file)
{
	struct heap_stats stats;

	begin(64 * MIB, HEAP_BACKING_SPARSE);
	void *p = heap_malloc(heap, &cell, 20 * MIB), *q = heap_malloc(heap, &cell, 10 * MIB);
	memset(p, 1, 20 * MIB);
	memset(q, 1, 10 * MIB);
	heap_stats_get(heap, &stats);
	cr_assert_geq(stats.committed, 30 * MIB);
	cr_assert_leq(stats.committed, heap_region_file_bytes(&region));
	cr_assert_geq(stats.ncommits, 1);
	heap_free(heap, &cell, p);
	heap_stats_get(heap, &stats);
	cr_assert_geq(stats.dirty, 1);
	size_t before = heap_region_file_bytes(&region), purged = heap_purge_all(heap);
	cr_assert_eq(before - heap_region_file_bytes(&region), purged);
	heap_stats_get(heap, &stats);
	cr_assert_eq(stats.dirty, 0);
	cr_assert_leq(stats.committed, heap_region_file_bytes(&region));
	cr_assert_geq(stats.purged, purged);
}

Test(alloc_purge, live_blocks_keep_their_content)
{
	enum { N = 2000 };
	unsigned char *p[N];

	begin(64 * MIB, HEAP_BACKING_SPARSE);
	for (size_t i = 0; i < N; i++) {
		p[i] = heap_malloc(heap, &cell, 10000);
		memset(p[i], (int)(i % 251 + 1), 10000);
	}
	for (size_t i = 0; i < N; i += 2)
		heap_free(heap, &cell, p[i]);
	heap_purge_all(heap);
	for (size_t i = 1; i < N; i += 2)
		for (size_t at = 0; at < 10000; at++)
			cr_assert_eq(p[i][at], i % 251 + 1, "block %zu, byte %zu", i, at);
	expect_valid();
}

/* Nobody asks for it: the calls of an ordinary program make freed memory go back. No bound on the time, only on
 * patience. */
static void
goes_back_by_itself(size_t size)
{
	size_t n = 48 * MIB / size, fresh;
	void **p = calloc(n, sizeof(*p));
	struct timespec pause = {0, 2000000};

	begin(64 * MIB, HEAP_BACKING_SPARSE);
	fresh = heap_region_file_bytes(&region);
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < n; i++) {
			p[i] = heap_malloc(heap, &cell, size);
			cr_assert(p[i]);
			memset(p[i], 0x77, size);
		}
		for (size_t i = 0; i < n; i++)
			heap_free(heap, &cell, p[i]);
	}
	/* What remains may be a budget's worth, not the greater part. */
	for (unsigned i = 0; heap_region_file_bytes(&region) > fresh + 24 * MIB; i++) {
		void *some[64];

		cr_assert_lt(i, 5000, "%zu bytes are still in the file", heap_region_file_bytes(&region));
		for (size_t k = 0; k < 64; k++)
			some[k] = heap_malloc(heap, &cell, 3000 + 500 * k);
		for (size_t k = 0; k < 64; k++)
			heap_free(heap, &cell, some[k]);
		nanosleep(&pause, NULL);
	}
	expect_valid();
	free(p);
}

Test(alloc_purge, small_blocks_go_back_by_themselves)
{
	goes_back_by_itself(500);
}

Test(alloc_purge, runs_go_back_by_themselves)
{
	goes_back_by_itself(70000);
}

Test(alloc_purge, large_blocks_go_back_by_themselves)
{
	goes_back_by_itself(3 * MIB);
}

/* --- zero knowledge --------------------------------------------------------------------------------------------------- */

static void
calloc_is_zero(enum heap_backing backing, bool dirty)
{
	static const size_t sizes[] = {16, 1000, 30000, 100000, 700000, 3 * MIB, 9 * MIB};

	heap_region_map(&region, 32 * MIB, backing, dirty);
	heap = heap_region_create_heap(&region);
	for (unsigned round = 0; round < 6; round++) {
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			size_t n = sizes[s] > MIB ? 2 : 40;
			unsigned char *p[40];

			for (size_t i = 0; i < n; i++) {
				p[i] = heap_calloc(heap, &cell, 1, sizes[s]);
				cr_assert(p[i]);
				for (size_t at = 0; at < sizes[s]; at++)
					if (p[i][at])
						cr_assert_fail("round %u, size %zu, byte %zu is %#x", round, sizes[s], at, p[i][at]);
				memset(p[i], 0xEE, heap_usable_size(heap, p[i]));
			}
			for (size_t i = 0; i < n; i++)
				heap_free(heap, &cell, p[i]);
		}
		if (round == 2)
			heap_purge_all(heap);
		if (round == 3) {
			heap_detach(heap);
			cr_assert_eq(heap_attach(&heap, &region.config), 0);
		}
		if (round == 4) {
			heap_detach(heap);
			heap_region_move(&region);
			cr_assert_eq(heap_attach(&heap, &region.config), 0);
		}
	}
}

Test(alloc_purge, calloc_is_zero_in_a_sparse_file)
{
	calloc_is_zero(HEAP_BACKING_SPARSE, false);
}

Test(alloc_purge, calloc_is_zero_in_private_memory)
{
	calloc_is_zero(HEAP_BACKING_PRIVATE, false);
}

Test(alloc_purge, calloc_is_zero_in_a_given_region_full_of_garbage)
{
	calloc_is_zero(HEAP_BACKING_GIVEN, true);
}

Test(alloc_purge, calloc_is_zero_in_a_full_file_of_garbage)
{
	calloc_is_zero(HEAP_BACKING_FULL, true);
}

/* Memory that is known to read as zero is not written to: a calloc of 40 MiB in fresh given
 * memory touches nothing. */
Test(alloc_purge, calloc_does_not_clear_what_is_zero)
{
	char line[256];
	long before = 0, after = 0;

	begin(64 * MIB, HEAP_BACKING_GIVEN);
	for (unsigned i = 0; i < 2; i++) {
		FILE *statm = fopen("/proc/self/statm", "r");

		cr_assert(statm && fgets(line, sizeof(line), statm));
		fclose(statm);
		*(i ? &after : &before) = strtol(strchr(line, ' '), NULL, 10);
		if (i == 0)
			cr_assert(heap_calloc(heap, &cell, 1, 40 * MIB));
	}
	cr_assert_lt((size_t)(after - before) * HEAP_PAGE, 4 * MIB, "%ld pages more are resident", after - before);
}

/* A given region is never purged: the caller has not said that it may. */
Test(alloc_purge, a_given_region_is_left_alone)
{
	begin(16 * MIB, HEAP_BACKING_GIVEN);
	unsigned char *p = heap_malloc(heap, &cell, 8 * MIB);
	memset(p, 0x3C, 8 * MIB);
	heap_free(heap, &cell, p);
	cr_assert_eq(heap_purge_all(heap), 0);
	for (size_t at = 0; at < 8 * MIB; at++)
		cr_assert_eq(p[at], 0x3C, "freed memory was written at %zu", at);
}

/* --- a file system that is full ----------------------------------------------------------------------------------------- */

/* A tmpfs of that size at `where`, seen by this process alone; or the test is skipped. */
static void
mount_small(size_t size)
{
	char options[64];

	snprintf(where, sizeof(where), "/tmp/pmheap-full-%d", getpid());
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
	int fd;

	snprintf(path, sizeof(path), "%s/%s", where, name);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/* Takes and writes to blocks until NULL; their bytes. */
static size_t
fill(size_t size, void **last)
{
	size_t bytes = 0;
	void **p;

	while ((p = heap_malloc(heap, &cell, size))) {
		memset(p, 0x11, size);
		*p = *last;
		*last = p;
		bytes += size;
	}
	return bytes;
}

static void
free_list(void **last)
{
	while (*last) {
		void **p = *last;

		*last = *p;
		heap_free(heap, &cell, p);
	}
}

static void
full_disk(size_t size)
{
	void *last = NULL;

	mount_small(8 * MIB);
	heap_region_map_file(&region, open_on("pool", 64 * MIB), 64 * MIB);
	heap = heap_region_create_heap(&region);
	size_t first = fill(size, &last);
	cr_assert_leq(first, 8 * MIB);
	cr_assert_geq(first, 5 * MIB, "only %zu bytes of 8 MiB could be had", first);
	expect_valid();
	free_list(&last);
	expect_valid();
	/* No leak by the failures: as much can be had again. */
	size_t second = fill(size, &last);
	cr_assert_geq(second, first / 10 * 9, "first %zu bytes, then %zu", first, second);
	free_list(&last);
	heap_purge_all(heap);
	expect_valid();
	size_t third = fill(size, &last);
	cr_assert_geq(third, first / 10 * 9, "first %zu bytes, then, purged, %zu", first, third);
}

Test(alloc_purge, a_full_disk_is_null_for_small_blocks)
{
	full_disk(200);
}

Test(alloc_purge, a_full_disk_is_null_for_runs)
{
	full_disk(60000);
}

Test(alloc_purge, a_full_disk_is_null_for_large_blocks)
{
	full_disk(5 * MIB / 4);
}

Test(alloc_purge, a_large_request_on_a_full_disk_leaves_the_rest_usable)
{
	mount_small(8 * MIB);
	heap_region_map_file(&region, open_on("pool", 64 * MIB), 64 * MIB);
	heap = heap_region_create_heap(&region);
	void *kept = heap_malloc(heap, &cell, 1000);
	cr_assert(kept);
	memset(kept, 0x42, 1000);
	for (unsigned i = 0; i < 20; i++)
		cr_assert_null(heap_malloc(heap, &cell, 30 * MIB));
	expect_valid();
	/* What a failed commit had taken of the disk is there for others. */
	void *p = heap_malloc(heap, &cell, 4 * MIB);
	cr_assert(p, "4 MiB of an 8 MiB disk, after a failed call for 30 MiB");
	memset(p, 1, 4 * MIB);
	void *q = heap_realloc(heap, &cell, p, 40 * MIB);
	cr_assert_null(q);
	for (size_t at = 0; at < 4 * MIB; at++)
		cr_assert_eq(((char *)p)[at], 1);
	for (size_t at = 0; at < 1000; at++)
		cr_assert_eq(((char *)kept)[at], 0x42);
	expect_valid();
}

Test(alloc_purge, room_that_comes_back_is_used)
{
	void *last = NULL;

	mount_small(16 * MIB);
	heap_region_map_file(&region, open_on("pool", 64 * MIB), 64 * MIB);
	heap = heap_region_create_heap(&region);
	int other = open_on("other", 10 * MIB);
	cr_assert_eq(posix_fallocate(other, 0, (off_t)(10 * MIB)), 0);
	size_t little = fill(3000, &last);
	cr_assert_eq(ftruncate(other, 0), 0);
	size_t more = fill(3000, &last);
	cr_assert_geq(more, 8 * MIB, "first %zu bytes, then %zu more with 10 MiB of disk free again", little, more);
	expect_valid();
}

Test(alloc_purge, creation_on_a_full_disk_fails_cleanly)
{
	mount_small(MIB);
	heap_region_map_file(&region, open_on("pool", 64 * MIB), 64 * MIB);
	int other = open_on("other", MIB);
	/* Whatever is left of the disk, down to nothing: an error or a heap that works, never a signal. */
	for (size_t left = 0; left <= 64; left++) {
		cr_assert_eq(ftruncate(other, 0), 0);
		cr_assert_eq(posix_fallocate(other, 0, (off_t)(MIB - left * HEAP_PAGE)), 0, "left %zu", left);
		heap = NULL;
		int error = heap_create(&heap, &region.config);
		cr_assert(error == 0 || error == ENOMEM, "heap_create: %s", strerror(error));
		if (error)
			continue;
		for (unsigned i = 0; i < 100; i++) {
			void *p = heap_malloc(heap, &cell, 3000);

			if (p)
				memset(p, 1, 3000);
		}
		expect_valid();
		heap_detach(heap);
		break;
	}
}

/* Creating a heap costs nothing by the region's size. */
Test(alloc_purge, a_huge_region_costs_nothing_at_creation)
{
	begin((size_t)1 << 40, HEAP_BACKING_SPARSE);
	cr_assert_leq(heap_region_file_bytes(&region), 4 * MIB);
	void *p = heap_malloc(heap, &cell, 100);
	cr_assert(p);
	cr_assert_leq(heap_region_file_bytes(&region), 4 * MIB);
	expect_valid();
}
