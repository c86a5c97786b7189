/* purge.c -- see purge.h for the contract and rules G1..G4
 *
 * Locks:  none held across a system call.
 * Media:  none of its own.
 */
#include "alloc/purge.h"

#include "alloc/extent.h"
#include "alloc/heap_state.h"
#include "alloc/os.h"

#define STEP_PAGES 512u /* per tick: 2 MiB, about half a millisecond on tmpfs */
#define STEP_LOOKS 64u  /* chunks looked at per tick */

/* Punches one run of idle pages of a chunk. Returns its length, 0 when there is none or it cannot be punched. */
static uint32_t
punch_one(struct heap *heap, uint32_t chunk, uint32_t max)
{
	uint32_t page, n = extent_take_committed(heap, chunk, max, &page);

	if (n == 0)
		return 0;
	size_t unit = os_page_size() >> HEAP_LG_PAGE; /* the kernel's pages may be larger than ours */
	uint32_t skip = (uint32_t)((unit - ((uintptr_t)heap_page_addr(heap, page) >> HEAP_LG_PAGE) % unit) % unit);
	uint32_t whole = skip < n ? (uint32_t)((n - skip) / unit * unit) : 0;
	bool done = false;

	if (whole > 0) {
		char *addr = heap_page_addr(heap, page + skip);
		size_t size = (size_t)whole << HEAP_LG_PAGE;

		done = (heap->backing == HEAP_BACKING_SPARSE ? os_punch(addr, size) : os_discard(addr, size)) == 0;
	}
	if (skip > 0)
		extent_put_purged(heap, page, skip < n ? skip : n, false, false);
	if (whole > 0) {
		/* A private mapping of a file shows the file's old bytes again: not zero. */
		extent_put_purged(heap, page + skip, whole, done, done && heap->backing == HEAP_BACKING_SPARSE);
	}
	if (n > skip + whole)
		extent_put_purged(heap, page + skip + whole, n - skip - whole, false, false);
	if (!done)
		return 0;
	atomic_fetch_add_explicit(&heap->npurges, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&heap->purged_pages, whole, memory_order_relaxed);
	return whole;
}

void
purge_tick(struct heap *heap)
{
	uint64_t idle = extent_idle_pages(heap);
	uint64_t used = atomic_load_explicit(&heap->media->used_pages, memory_order_relaxed);
	uint64_t keep = used / 4 > PURGE_KEEP_PAGES ? used / 4 : PURGE_KEEP_PAGES;

	if (idle <= keep)
		return;
	uint64_t now = os_now_ns(), spent = atomic_load_explicit(&heap->purge_spent_ns, memory_order_relaxed);
	if (spent * PURGE_TIME_SHARE > now - heap->born_ns)
		return;
	if (atomic_exchange_explicit(&heap->purge_busy, 1, memory_order_acquire) != 0)
		return;

	uint32_t chunks = atomic_load_explicit(&heap->ready_pages, memory_order_relaxed) >> HEAP_LG_CHUNK_PAGES;
	uint32_t at = atomic_load_explicit(&heap->purge_cursor, memory_order_relaxed);
	uint64_t over = idle - keep;
	uint32_t want = over < STEP_PAGES ? (uint32_t)over : STEP_PAGES, done = 0;

	for (uint32_t looks = 0; looks < STEP_LOOKS && done < want; looks++) {
		uint32_t n;

		if (at > chunks)
			at = chunks;
		while (done < want && (n = punch_one(heap, at, want - done)) > 0)
			done += n;
		if (done < want)
			at = at == 0 ? chunks : at - 1;
	}
	atomic_store_explicit(&heap->purge_cursor, at, memory_order_relaxed);
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
	for (uint32_t chunk = chunks + 1; chunk-- > 0;) {
		uint32_t n;

		while ((n = punch_one(heap, chunk, HEAP_CHUNK_PAGES)) > 0)
			total += n;
	}
	return total;
}
