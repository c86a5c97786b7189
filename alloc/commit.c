/* commit.c -- see commit.h for the contract and rules C1..C4
 *
 * Order of a commit: what lies before the first huge page by one call, each huge page by one, the rest by one. A huge page
 * is made only where none of its pages is committed: collapsing pages that are there copies them.
 *
 * Locks:  none.
 * Media:  in the region; layout in heap_media.h.
 */
#include "alloc/commit.h"

#include <errno.h>
#include <string.h>

#include "alloc/page_bits.h"

#define HUGE_FROM_PAGES (8u * COMMIT_HUGE_PAGES) /* a heap that uses less grows by single pages */
#define HUGE_TIME_SHARE 32u
#define HUGE_FAILURE_WEIGHT 8u

int
commit_memory(struct heap *heap, void *addr, size_t size)
{
	if (heap->backing == HEAP_BACKING_GIVEN || heap->backing == HEAP_BACKING_FULL)
		return 0;
	int error = os_commit(addr, size);
	/* A private view is made without asking whether the kernel can populate: it can do without. */
	if (error == EINVAL && heap->backing == HEAP_BACKING_PRIVATE)
		return 0;
	if (error != 0)
		atomic_fetch_add_explicit(&heap->ncommit_failures, 1, memory_order_relaxed);
	return error == 0 ? 0 : ENOMEM;
}

void
commit_set(struct heap *heap, uint32_t page, uint32_t n, bool committed)
{
	uint32_t at = page, end = page + n, chunk, word;
	uint64_t changed = 0;

	while (at < end) {
		uint64_t mask = page_bits_next(&at, end, &chunk, &word), old;
		_Atomic uint64_t *bits = &heap->chunks[chunk].committed[word];

		if (committed)
			old = ~atomic_fetch_or_explicit(bits, mask, memory_order_relaxed);
		else
			old = atomic_fetch_and_explicit(bits, ~mask, memory_order_relaxed);
		changed += (uint64_t)__builtin_popcountll(old & mask);
	}
	if (committed)
		atomic_fetch_add_explicit(&heap->committed_pages, changed, memory_order_relaxed);
	else
		atomic_fetch_sub_explicit(&heap->committed_pages, changed, memory_order_relaxed);
}

uint32_t
commit_run(const struct heap *heap, uint32_t page, uint32_t end, bool what)
{
	uint32_t at = page, chunk, word;

	while (at < end) {
		uint32_t first = at;
		uint64_t mask = page_bits_next(&at, end, &chunk, &word);
		uint64_t bits = atomic_load_explicit(&heap->chunks[chunk].committed[word], memory_order_relaxed);
		uint64_t other = (what ? ~bits : bits) & mask;

		if (other != 0)
			return (first & ~63u) + (uint32_t)__builtin_ctzll(other) - page;
	}
	return end - page;
}

/* Populates what of the pages of [page, end) is not there. Populating what is costs little, holes between such pages
 * are rare: one call. */
static int
populate(struct heap *heap, uint32_t page, uint32_t end)
{
	if (heap->backing == HEAP_BACKING_SPARSE || heap->backing == HEAP_BACKING_PRIVATE) {
		size_t page_size = os_page_size();
		uintptr_t begin = (uintptr_t)heap_page_addr(heap, page), stop = (uintptr_t)heap_page_addr(heap, end);

		uint64_t start = os_now_ns();

		begin &= ~(uintptr_t)(page_size - 1);
		stop = (stop + page_size - 1) & ~(uintptr_t)(page_size - 1);
		if (commit_memory(heap, (void *)begin, stop - begin) != 0)
			return ENOMEM;
		atomic_fetch_add_explicit(&heap->ncommits, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&heap->small_ns, os_now_ns() - start, memory_order_relaxed);
		atomic_fetch_add_explicit(&heap->small_pages, end - page, memory_order_relaxed);
	}
	commit_set(heap, page, end - page, true);
	return 0;
}

/* Last page before or at `page` whose address is a multiple of OS_HUGE; may be before page 0. */
static int64_t
huge_start(const struct heap *heap, uint32_t page)
{
	uint64_t origin = (uint64_t)(uintptr_t)heap->pages >> HEAP_LG_PAGE;

	return (int64_t)((origin + page) & ~(uint64_t)(COMMIT_HUGE_PAGES - 1)) - (int64_t)origin;
}

/* Whether huge pages cost no more so far than single ones would have, but for a small part of the time that those took:
 * 226 against 2170 ns per 4 KiB on a machine that has them at hand, 9000 in a virtual machine whose host must find the
 * memory first. */
static bool
huge_pays(const struct heap *heap)
{
	uint64_t small = atomic_load_explicit(&heap->small_pages, memory_order_relaxed);
	uint64_t small_ns = atomic_load_explicit(&heap->small_ns, memory_order_relaxed);
	uint64_t huge = atomic_load_explicit(&heap->huge_pages, memory_order_relaxed);
	uint64_t huge_ns = atomic_load_explicit(&heap->huge_ns, memory_order_relaxed);

	return small != 0 && huge_ns <= small_ns / small * huge + small_ns / HUGE_TIME_SHARE;
}

static bool
huge_wanted(const struct heap *heap)
{
	return heap->backing == HEAP_BACKING_SPARSE && os_page_size() < OS_HUGE &&
		atomic_load_explicit(&heap->media->used_pages, memory_order_relaxed) >= HUGE_FROM_PAGES &&
		huge_pays(heap);
}

/* COMMIT_HUGE_PAGES pages of the caller, none of them committed. False: as they were. */
static bool
commit_huge(struct heap *heap, uint32_t page)
{
	uint64_t start = os_now_ns();
	int error = os_commit_huge(heap_page_addr(heap, page));

	/* No kernel or file system for it, memory in pieces, a full disk: the kernel says EINVAL to most of it, so the cost
	 * of failing tells when to try again, weighted so that it is seldom where it is for ever. */
	atomic_fetch_add_explicit(&heap->huge_ns, (os_now_ns() - start) * (error == 0 ? 1 : HUGE_FAILURE_WEIGHT),
				  memory_order_relaxed);
	if (error != 0)
		return false;
	atomic_fetch_add_explicit(&heap->huge_pages, COMMIT_HUGE_PAGES, memory_order_relaxed);
	commit_set(heap, page, COMMIT_HUGE_PAGES, true);
	return true;
}

uint64_t
commit_huge_end(const struct heap *heap, uint32_t first, uint32_t page)
{
	int64_t start = huge_start(heap, page);

	return start >= (int64_t)first && huge_wanted(heap) ? (uint64_t)start + COMMIT_HUGE_PAGES : 0;
}

int
commit_pages(struct heap *heap, uint32_t page, uint32_t n, uint32_t least)
{
	uint32_t end = page + n, at = page + commit_run(heap, page, end, true), todo = at;

	if (at >= page + least)
		return 0;
	while (at < page + least && huge_wanted(heap)) {
		int64_t start = huge_start(heap, at);

		if (start < (int64_t)at)
			start += COMMIT_HUGE_PAGES;
		at = (uint32_t)start;
		if (at + COMMIT_HUGE_PAGES > end || at + COMMIT_HUGE_PAGES < at)
			break;
		if (commit_run(heap, at, at + COMMIT_HUGE_PAGES, false) == COMMIT_HUGE_PAGES) {
			if (at > todo && populate(heap, todo, at) != 0)
				return ENOMEM;
			todo = at;
			if (!commit_huge(heap, at))
				break;
			todo = at + COMMIT_HUGE_PAGES;
		}
		at += COMMIT_HUGE_PAGES;
	}
	return todo < page + least ? populate(heap, todo, page + least) : 0;
}

void
commit_dirty(struct heap *heap, uint32_t page, uint32_t n, bool zero)
{
	uint32_t at = page, end = page + n, chunk, word;

	while (at < end) {
		uint32_t first = at;
		uint64_t mask = page_bits_next(&at, end, &chunk, &word);
		_Atomic uint64_t *bits = &heap->chunks[chunk].dirty[word];
		uint64_t dirty = atomic_load_explicit(bits, memory_order_relaxed) & mask;

		if (zero && dirty != 0) {
			uint64_t rest = dirty;
			uint32_t base = first - (first & 63);

			while (rest != 0) {
				uint32_t low = (uint32_t)__builtin_ctzll(rest);
				uint64_t ones = ~(rest >> low);
				uint32_t run = ones == 0 ? 64 - low : (uint32_t)__builtin_ctzll(ones);

				memset(heap_page_addr(heap, base + low), 0, (size_t)run << HEAP_LG_PAGE);
				rest = low + run >= 64 ? 0 : rest >> (low + run) << (low + run);
			}
		}
		if (dirty != mask)
			atomic_fetch_or_explicit(bits, mask, memory_order_relaxed);
	}
}

uint32_t
commit_whole(const struct heap *heap, uint32_t *page, uint32_t n)
{
	uint64_t unit = os_page_size() >> HEAP_LG_PAGE, origin = (uint64_t)(uintptr_t)heap->pages >> HEAP_LG_PAGE;
	uint64_t begin = (origin + *page + unit - 1) / unit * unit - origin;
	uint64_t end = (origin + *page + n) / unit * unit - origin;

	if (begin >= end)
		return 0;
	*page = (uint32_t)begin;
	return (uint32_t)(end - begin);
}

bool
commit_punch(struct heap *heap, uint32_t page, uint32_t n)
{
	char *addr = heap_page_addr(heap, page);
	size_t size = (size_t)n << HEAP_LG_PAGE;
	bool file = heap->backing == HEAP_BACKING_SPARSE;

	commit_set(heap, page, n, false); /* C1 */
	if ((file ? os_punch(addr, size) : os_discard(addr, size)) != 0)
		return false;
	/* A private mapping of a file shows the file's old bytes again: not zero. */
	for (uint32_t at = page, end = page + n, chunk, word; file && at < end;) {
		uint64_t mask = page_bits_next(&at, end, &chunk, &word);

		atomic_fetch_and_explicit(&heap->chunks[chunk].dirty[word], ~mask, memory_order_relaxed);
	}
	return true;
}

bool
commit_is_paid(const struct heap *heap, uint32_t page, uint32_t n)
{
	uint32_t at = page, end = page + n, chunk, word;

	if (heap->backing == HEAP_BACKING_SPARSE)
		return commit_run(heap, page, end, true) == n;
	while (at < end) {
		uint64_t mask = page_bits_next(&at, end, &chunk, &word);

		if ((~atomic_load_explicit(&heap->chunks[chunk].dirty[word], memory_order_relaxed) & mask) != 0)
			return false;
	}
	return true;
}

void
commit_forget_free(struct heap *heap)
{
	for (uint32_t c = 0; c < heap->media->ready_chunks; c++) {
		struct chunk_media *chunk = &heap->chunks[c];

		for (unsigned w = 0; w < HEAP_CHUNK_WORDS; w++) {
			atomic_fetch_and_explicit(&chunk->committed[w], chunk->used[w], memory_order_relaxed);
			atomic_fetch_and_explicit(&chunk->dirty[w], chunk->used[w], memory_order_relaxed);
		}
	}
}

void
commit_count(struct heap *heap)
{
	uint64_t n = 0;

	for (uint32_t page = 0, end = atomic_load_explicit(&heap->ready_pages, memory_order_relaxed); page < end;) {
		uint32_t chunk, word;
		uint64_t mask = page_bits_next(&page, end, &chunk, &word);
		uint64_t bits = atomic_load_explicit(&heap->chunks[chunk].committed[word], memory_order_relaxed);

		n += (uint64_t)__builtin_popcountll(bits & mask);
	}
	atomic_store_explicit(&heap->committed_pages, n, memory_order_relaxed);
}
