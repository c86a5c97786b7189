/* alloc_commit.c -- pages that the file has, pages that read as zero, pages that come as huge ones */
#define _GNU_SOURCE
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc/commit.h"
#include "alloc/extent.h"
#include "alloc/heap_state.h"
#include "tests/heap_region.h"

#define MIB ((size_t)1 << 20)

static struct heap_region region;
static struct heap *heap;
static char where[64]; /* a small tmpfs */

static void
unmount_small(void)
{
	if (where[0] != '\0') {
		umount2(where, MNT_DETACH);
		rmdir(where);
	}
}

TestSuite(alloc_commit, .fini = unmount_small);

static void
begin(enum heap_backing backing, bool dirty)
{
	heap_region_map(&region, 32 * MIB, backing, dirty);
	heap = heap_region_create_heap(&region);
}

/* A heap of 64 MiB in a tmpfs of `size` bytes that this process alone sees; or the test is skipped. */
static void
begin_on_small_disk(size_t size)
{
	char text[128];

	snprintf(where, sizeof(where), "/tmp/pmheap-commit-%d", getpid());
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		cr_skip_test("no mount namespace of its own (%s): needs root", strerror(errno));
	snprintf(text, sizeof(text), "size=%zu", size);
	mkdir(where, 0700);
	if (mount("tmpfs", where, "tmpfs", 0, text) != 0)
		cr_skip_test("cannot mount a tmpfs (%s)", strerror(errno));
	snprintf(text, sizeof(text), "%s/pool", where);
	int fd = open(text, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0, "%s", strerror(errno));
	cr_assert_eq(ftruncate(fd, (off_t)(64 * MIB)), 0);
	heap_region_map_file(&region, fd, 64 * MIB);
	heap = heap_region_create_heap(&region);
}

static bool
valid(void)
{
	const char *why = "";

	return extent_valid(heap, &why);
}

/* Whether the file holds the page. */
static bool
in_file(uint32_t page)
{
	off_t at = heap_page_addr(heap, page) - heap->base;

	return lseek(region.fd, at, SEEK_DATA) == at;
}

Test(alloc_commit, c1_committed_is_what_the_file_has)
{
	begin(HEAP_BACKING_SPARSE, false);
	cr_assert_eq(commit_pages(heap, 100, 8, 8), 0);
	cr_assert_eq(commit_pages(heap, 90, 30, 30), 0);
	cr_assert_eq(commit_run(heap, 90, 200, true), 30);
	cr_assert_eq(commit_run(heap, 120, 200, false), 80);
	for (uint32_t page = 80; page < 130; page++)
		cr_assert_eq(in_file(page), page >= 90 && page < 120, "page %u", page);

	cr_assert(commit_punch(heap, 95, 5));
	cr_assert_eq(commit_run(heap, 90, 200, true), 5);
	cr_assert_eq(commit_run(heap, 95, 200, false), 5);
	cr_assert_eq(commit_run(heap, 100, 200, true), 20);
	for (uint32_t page = 80; page < 130; page++)
		cr_assert_eq(in_file(page), page >= 90 && page < 120 && !(page >= 95 && page < 100), "page %u", page);
}

Test(alloc_commit, c2_only_what_is_dirty_is_cleared)
{
	char *page[4];

	begin(HEAP_BACKING_SPARSE, false);
	for (uint32_t i = 0; i < 4; i++)
		page[i] = heap_page_addr(heap, 62 + i); /* across two words */
	cr_assert_eq(commit_pages(heap, 62, 4, 4), 0);
	commit_dirty(heap, 63, 2, false);
	for (int i = 0; i < 4; i++)
		memset(page[i], 'x', HEAP_PAGE);
	commit_dirty(heap, 62, 4, true);
	cr_assert_eq(page[0][5], 'x', "it said that it was zero: not looked at");
	cr_assert_eq(page[1][5], 0);
	cr_assert_eq(page[2][5], 0);
	cr_assert_eq(page[3][5], 'x');

	memset(page[1], 'y', HEAP_PAGE);
	cr_assert(commit_punch(heap, 62, 4));
	cr_assert_eq(commit_pages(heap, 62, 4, 4), 0);
	memset(page[1], 'z', HEAP_PAGE);
	commit_dirty(heap, 62, 4, true);
	cr_assert_eq(page[1][5], 'z', "not dirty after a punch");
}

Test(alloc_commit, private_memory_is_not_zero_when_it_was_given_back)
{
	begin(HEAP_BACKING_PRIVATE, false);
	cr_assert_eq(commit_pages(heap, 64, 64, 64), 0);
	commit_dirty(heap, 64, 64, false);
	cr_assert(commit_punch(heap, 64, 64));
	memset(heap_page_addr(heap, 64), 'x', HEAP_PAGE);
	commit_dirty(heap, 64, 64, true);
	cr_assert_eq(*heap_page_addr(heap, 64), 0, "a private mapping of a file shows what the file holds");
}

Test(alloc_commit, c4_pages_are_counted_once)
{
	begin(HEAP_BACKING_SPARSE, false);
	commit_set(heap, 10, 100, true);
	commit_set(heap, 60, 100, true);
	cr_assert_eq(heap->committed_pages, 150);
	commit_set(heap, 0, 20, false);
	cr_assert_eq(heap->committed_pages, 140);
	heap->committed_pages = 0;
	commit_count(heap);
	cr_assert_eq(heap->committed_pages, 140);
	commit_forget_free(heap); /* all of them are free */
	commit_count(heap);
	cr_assert_eq(heap->committed_pages, 0);
}

Test(alloc_commit, whole_pages_of_the_system_lie_inside)
{
	uint32_t unit = (uint32_t)(os_page_size() >> HEAP_LG_PAGE), page = unit;

	begin(HEAP_BACKING_SPARSE, false);
	cr_assert_eq(commit_whole(heap, &page, 3 * unit), 3 * unit);
	cr_assert_eq(page, unit);
	if (unit > 1) {
		page = unit - 1;
		cr_assert_eq(commit_whole(heap, &page, 2 * unit), unit);
		cr_assert_eq(page, unit);
		page = 1;
		cr_assert_eq(commit_whole(heap, &page, unit - 1), 0);
	}
}

/* Uses 16 MiB; single pages are said to have cost much: huge ones pay. */
static void
want_huge(void)
{
	uint32_t page;

	cr_assert_eq(extent_alloc(heap, 4096, 0, false, &page), 0);
	heap->small_pages = 1000;
	heap->small_ns = 1000 * UINT64_C(1000000000);
}

Test(alloc_commit, a_heap_that_has_grown_grows_by_huge_pages)
{
	uint32_t page, used;
	size_t before;

	begin(HEAP_BACKING_SPARSE, false);
	want_huge();
	used = (uint32_t)heap->media->used_pages;
	before = heap_region_file_bytes(&region);
	/* into the next multiple of 2 MiB, by a little */
	uint32_t n = 512 - (uint32_t)((((uintptr_t)heap->pages >> HEAP_LG_PAGE) + used) % 512) + 1;
	cr_assert_eq(extent_alloc(heap, n, 0, false, &page), 0);
	if (heap->huge_pages == 0)
		cr_skip_test("this kernel has no huge page for us");
	cr_assert_eq(heap->huge_pages, 512);
	cr_assert_eq(heap->media->used_pages, used + n, "what came with it is free");
	cr_assert_eq(extent_idle_pages(heap), 511);
	size_t grown = heap_region_file_bytes(&region) - before, wanted = ((size_t)n + 511) << HEAP_LG_PAGE;
	cr_assert(grown >= wanted && grown <= wanted + ((size_t)128 << 10), "%zu bytes, and some for tables: %zu",
		  wanted, grown);
	cr_assert(valid());

	uint64_t ncommits = heap->ncommits;
	before = heap_region_file_bytes(&region);
	cr_assert_eq(extent_alloc(heap, 511, 0, true, &page), 0);
	cr_assert_eq(heap->ncommits, ncommits, "it is there already");
	cr_assert_eq(heap_region_file_bytes(&region), before);
	for (char *p = heap_page_addr(heap, page); p < heap_page_addr(heap, page + 511); p += 64)
		cr_assert_eq(*p, 0);
}

Test(alloc_commit, huge_pages_that_cost_more_are_not_taken)
{
	uint32_t page;

	begin(HEAP_BACKING_SPARSE, false);
	want_huge();
	heap->huge_pages = 512;
	heap->huge_ns = heap->small_ns * 2;
	cr_assert_eq(extent_alloc(heap, 1024, 0, false, &page), 0);
	cr_assert_eq(heap->huge_pages, 512);
	cr_assert(valid());
}

Test(alloc_commit, a_full_disk_does_not_end_huge_pages)
{
	uint32_t page, other;

	begin_on_small_disk(24 * MIB);
	want_huge();
	cr_assert_eq(extent_alloc(heap, 3000, 0, false, &page), ENOMEM);
	if (heap->huge_pages == 0)
		cr_skip_test("this kernel has no huge page for us");
	cr_assert_eq(heap->committed_pages, 4096, "all of a commit that failed is given back");
	cr_assert(valid());

	/* Once there is room: huge again. */
	uint64_t before = heap->huge_pages;
	cr_assert_eq(mount(NULL, where, NULL, MS_REMOUNT, "size=64m"), 0, "%s", strerror(errno));
	cr_assert_eq(extent_alloc(heap, 3000, 0, false, &other), 0);
	cr_assert_gt(heap->huge_pages, before);
	cr_assert(valid());
}
