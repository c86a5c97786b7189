/* purge.c -- see purge.h for the contract and rules G1..G4
 *
 * Locks:  none held across a system call.
 * Media:  none of its own.
 */
#include "alloc/purge.h"

#include "alloc/bin.h"
#include "alloc/commit.h"
#include "alloc/extent.h"
#include "alloc/heap_state.h"
#include "alloc/os.h"

#define STEP_PAGES 512u /* per tick: 2 MiB, about half a millisecond on tmpfs */
#define STEP_LOOKS 64u  /* chunks looked at per tick */

/* Gives back what of [page, page + n), pages that were taken for it, makes whole pages of the system. Returns how many
 * of ours those are. */
static uint32_t
punch(struct heap *heap, uint32_t page, uint32_t n)
{
	uint32_t first = page, whole = commit_whole(heap, &first, n);
	bool done = whole != 0 && commit_punch(heap, first, whole);

	if (whole != 0 && !done) {
		/* Locked pages, or a file system without holes: it would be the same the next time. */
		atomic_store_explicit(&heap->purge_refused, 1, memory_order_relaxed);
		commit_set(heap, first, whole, true);
	}
	extent_put_back(heap, page, n);
	if (!done)
		return 0;
	atomic_fetch_add_explicit(&heap->npurges, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&heap->purged_pages, whole, memory_order_relaxed);
	return whole;
}

/* Punches up to `max` idle pages of a chunk; returns how many. */
static uint32_t
punch_chunk(struct heap *heap, uint32_t chunk, uint32_t max)
{
	uint32_t done = 0, from = 0, page, n;

	while (done < max && from < HEAP_CHUNK_PAGES &&
	       atomic_load_explicit(&heap->purge_refused, memory_order_relaxed) == 0 &&
	       (n = extent_take_committed(heap, chunk, from, max - done, &page)) > 0) {
		from = (page & (HEAP_CHUNK_PAGES - 1)) + n;
		done += punch(heap, page, n);
	}
	return done;
}

/* Pages that may be punched now (G6): what lay idle beyond `keep` all through the last window, and is still. Threads that
 * get here together may do the sum twice or lose a page of it: it is a budget, not an account. */
static uint64_t
quota(struct heap *heap, uint64_t idle, uint64_t keep, uint64_t now)
{
	uint64_t pages = atomic_load_explicit(&heap->purge_quota, memory_order_relaxed);

	if (now - atomic_load_explicit(&heap->purge_window_ns, memory_order_relaxed) >= PURGE_WINDOW_NS) {
		uint64_t least = atomic_load_explicit(&heap->purge_least, memory_order_relaxed);

		pages = least > keep ? least - keep : 0;
		atomic_store_explicit(&heap->purge_quota, pages, memory_order_relaxed);
		atomic_store_explicit(&heap->purge_least, idle, memory_order_relaxed);
		atomic_store_explicit(&heap->purge_window_ns, now, memory_order_relaxed);
	}
	return pages < idle - keep ? pages : idle - keep;
}

void
purge_tick(struct heap *heap)
{
	uint64_t empty = atomic_load_explicit(&heap->empty_pages, memory_order_relaxed);
	uint64_t idle = extent_idle_pages(heap) + empty;
	uint64_t used = atomic_load_explicit(&heap->media->used_pages, memory_order_relaxed) - empty;
	uint64_t keep = used / 4 > PURGE_KEEP_PAGES ? used / 4 : PURGE_KEEP_PAGES;

	if (idle < atomic_load_explicit(&heap->purge_least, memory_order_relaxed))
		atomic_store_explicit(&heap->purge_least, idle, memory_order_relaxed);
	if (idle <= keep) {
		if (atomic_load_explicit(&heap->purge_cursor, memory_order_relaxed) != UINT32_MAX)
			atomic_store_explicit(&heap->purge_cursor, UINT32_MAX, memory_order_relaxed); /* G4 */
		return;
	}
	if (atomic_load_explicit(&heap->purge_refused, memory_order_relaxed) != 0)
		return;
	uint64_t now = os_now_ns();
	uint64_t over = quota(heap, idle, keep, now);
	if (over == 0)
		return;
	uint64_t spent = atomic_load_explicit(&heap->purge_spent_ns, memory_order_relaxed);
	if (spent * PURGE_TIME_SHARE > now - heap->born_ns)
		return;
	if (atomic_exchange_explicit(&heap->purge_busy, 1, memory_order_acquire) != 0)
		return;

	bin_drop_empty(heap);
	uint32_t chunks = atomic_load_explicit(&heap->ready_pages, memory_order_relaxed) >> HEAP_LG_CHUNK_PAGES;
	uint32_t at = atomic_load_explicit(&heap->purge_cursor, memory_order_relaxed);
	uint32_t want = over < STEP_PAGES ? (uint32_t)over : STEP_PAGES, done = 0;

	for (uint32_t looks = 0; looks < STEP_LOOKS && done < want; looks++) {
		if (at > chunks)
			at = chunks;
		done += punch_chunk(heap, at, want - done);
		if (done < want)
			at = at == 0 ? chunks : at - 1;
	}
	atomic_store_explicit(&heap->purge_cursor, at, memory_order_relaxed);
	uint64_t left = atomic_load_explicit(&heap->purge_quota, memory_order_relaxed);
	atomic_store_explicit(&heap->purge_quota, left > done ? left - done : 0, memory_order_relaxed);
	atomic_fetch_add_explicit(&heap->purge_spent_ns, os_now_ns() - now, memory_order_relaxed);
	atomic_store_explicit(&heap->purge_busy, 0, memory_order_release);
}

uint64_t
purge_all(struct heap *heap)
{
	uint32_t chunks = atomic_load_explicit(&heap->ready_pages, memory_order_relaxed) >> HEAP_LG_CHUNK_PAGES;
	uint64_t total = 0;

	if (extent_idle_pages(heap) == 0)
		return 0;
	for (uint32_t chunk = chunks + 1; chunk-- > 0;)
		total += punch_chunk(heap, chunk, HEAP_CHUNK_PAGES);
	return total;
}
