/* extent.c -- see extent.h for the contract and rules E1..E5
 *
 * Order of a taking: find and set used bits under the lock; drop the lock; commit; clear what must be zero; set dirty.
 * A commit that fails gives the pages back, so a full disk leaves no trace but the index's.
 *
 * Locks:  LOCK_EXTENT.
 * Media:  in the region; layout in heap_media.h.
 */
#include "alloc/extent.h"

#include <errno.h>
#include <string.h>

#include "alloc/assert.h"
#include "alloc/commit.h"
#include "alloc/free_index.h"
#include "alloc/heap_state.h"
#include "alloc/layout.h"
#include "alloc/os.h"
#include "alloc/page_bits.h"
#include "alloc/page_map.h"

/* --- readiness ----------------------------------------------------------------------------------------------- */

static uint64_t
round_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) / to * to;
}

/* Makes the tables of chunks [ready, upto) usable. 0 or ENOMEM. Extent lock. */
static int
make_ready(struct heap *heap, uint32_t upto)
{
	struct heap_media *media = heap->media;
	uint32_t ready = media->ready_chunks;
	struct layout_table tables[LAYOUT_TABLES];
	unsigned ntables = layout_tables(media, tables);
	size_t page_size = os_page_size();

	for (unsigned i = 0; i < ntables; i++) {
		uint64_t from = layout_table_bytes(&tables[i], ready), to = layout_table_bytes(&tables[i], upto);

		/* Upwards from what was committed for the last chunk, whose page is there. Upper levels begin anywhere. */
		uint64_t begin = ready == 0 ? tables[i].off : round_up(tables[i].off + from, page_size);
		uint64_t end = round_up(tables[i].off + to, page_size);

		begin = begin / page_size * page_size;
		if (begin <= media->reserved)
			begin += page_size; /* the superblock's page, committed with it */
		if (end > begin && commit_memory(heap, heap->base + begin, end - begin) != 0)
			return ENOMEM;
	}
	if (!heap->zeroed) {
		memset(heap->page_class + (size_t)ready * HEAP_CHUNK_PAGES, 0,
		       (size_t)(upto - ready) * HEAP_CHUNK_PAGES);
		memset((void *)(heap->slabs + (size_t)ready * (HEAP_CHUNK_PAGES / SC_MIN_SLAB_PAGES)), 0,
		       (size_t)(upto - ready) * (HEAP_CHUNK_PAGES / SC_MIN_SLAB_PAGES) * sizeof(struct slab_media));
		memset((void *)(heap->chunks + ready), 0, (size_t)(upto - ready) * sizeof(struct chunk_media));
	}
	for (uint32_t c = ready; c < upto; c++) {
		struct chunk_media *chunk = &heap->chunks[c];

		for (unsigned w = 0; w < HEAP_CHUNK_WORDS; w++) {
			if (heap->backing == HEAP_BACKING_GIVEN || heap->backing == HEAP_BACKING_FULL)
				atomic_store_explicit(&chunk->committed[w], UINT64_MAX, memory_order_relaxed);
			if (!heap->zeroed)
				atomic_store_explicit(&chunk->dirty[w], UINT64_MAX, memory_order_relaxed);
		}
	}
	if (upto == heap->nchunks) { /* E5 */
		for (uint64_t page = heap->npages; page < (uint64_t)upto << HEAP_LG_CHUNK_PAGES; page++) {
			uint32_t bit = page & (HEAP_CHUNK_PAGES - 1);
			heap->chunks[upto - 1].used[bit / 64] |= UINT64_C(1) << (bit % 64);
		}
	}
	/* A process killed before this store leaves chunks that are not ready, as they were: what is written above is
	 * written again by the next one. */
	atomic_signal_fence(memory_order_seq_cst);
	media->ready_chunks = upto;
	free_index_update(heap, ready << HEAP_LG_CHUNK_PAGES, (upto - ready) << HEAP_LG_CHUNK_PAGES, true);
	uint64_t pages = (uint64_t)upto << HEAP_LG_CHUNK_PAGES;
	atomic_store_explicit(&heap->ready_pages, pages < heap->npages ? (uint32_t)pages : heap->npages,
			      memory_order_release);
	return 0;
}

/* First page from `page` on whose address is a multiple of `align` bytes. */
static uint64_t
align_page(const struct heap *heap, uint64_t page, uint64_t align)
{
	uint64_t origin = (uint64_t)(uintptr_t)heap->pages >> HEAP_LG_PAGE, step = align >> HEAP_LG_PAGE;

	return step <= 1 ? page : ((origin + page + step - 1) & ~(step - 1)) - origin;
}

/* Makes tables ready so that the run at the ready end holds n pages (at a multiple of `align`), and an eighth more of
 * what there is, so that growth is seldom. False: it would not fit even then, or no room for the tables; nothing has
 * changed. Extent lock. */
static bool
grow(struct heap *heap, uint32_t n, uint64_t align)
{
	uint32_t ready = heap->media->ready_chunks;
	uint64_t tail = heap->nodes[heap->media->nlevels - 1][0].end;
	uint64_t end = align_page(heap, ((uint64_t)ready << HEAP_LG_CHUNK_PAGES) - tail, align) + n;
	uint64_t need = (end + HEAP_CHUNK_PAGES - 1) >> HEAP_LG_CHUNK_PAGES, upto = ready + ready / 8 + 1;

	if (ready == heap->nchunks || end > heap->npages || end < n)
		return false;
	if (upto < need)
		upto = need;
	if (upto > heap->nchunks)
		upto = heap->nchunks;
	if (make_ready(heap, (uint32_t)upto) == 0)
		return true;
	/* The file system may have room for no more than what is needed. */
	return need > ready && need < upto && make_ready(heap, (uint32_t)need) == 0;
}

int
extent_init(struct heap *heap)
{
	lock_take(&heap->extent_lock);
	int error = make_ready(heap, 1);
	lock_drop(&heap->extent_lock);
	return error;
}

/* --- bits ---------------------------------------------------------------------------------------------------- */

/* Extent lock. */
static void
set_used(struct heap *heap, uint32_t page, uint32_t n, bool used)
{
	uint32_t at = page, end = page + n, chunk, word;

	while (at < end) {
		uint64_t mask = page_bits_next(&at, end, &chunk, &word);
		uint64_t *bits = &heap->chunks[chunk].used[word];

		if ((used ? *bits & mask : ~*bits & mask) != 0)
			os_fatal(heap->name, "damaged heap: an extent's pages are not as they were left",
				 heap_page_addr(heap, page));
		*bits ^= mask;
	}
	/* Only the lock's holder writes it; extent_idle_pages looks without the lock. */
	uint64_t count = atomic_load_explicit(&heap->media->used_pages, memory_order_relaxed);
	atomic_store_explicit(&heap->media->used_pages, used ? count + n : count - n, memory_order_relaxed);
	free_index_update(heap, page, n, false);
}

/* --- taking and giving back ---------------------------------------------------------------------------------- */

/* Pages of a run [page, page + n) that is to be taken: those behind it with it, if it ends in 2 MiB of which nothing is
 * committed and that nobody else uses. Extent lock. */
static uint32_t
widen(struct heap *heap, uint32_t page, uint32_t n)
{
	uint64_t end = commit_huge_end(heap, page, page + n - 1);

	if (end == 0 || end > heap->npages)
		return n;
	uint64_t ready = (uint64_t)heap->media->ready_chunks << HEAP_LG_CHUNK_PAGES;
	uint64_t tail = heap->nodes[heap->media->nlevels - 1][0].end;
	if (end > ready && !grow(heap, (uint32_t)(end - (ready - tail)), 0))
		return n;
	if (commit_run(heap, (uint32_t)end - COMMIT_HUGE_PAGES, (uint32_t)end, false) != COMMIT_HUGE_PAGES ||
	    (page + n < end && !free_index_is_free(heap, page + n, (uint32_t)(end - page - n))))
		return n;
	return (uint32_t)(end - page);
}

/* Finds and marks a run of at least n pages. 0, ENOMEM, or with `reuse` EAGAIN. */
static int
take_run(struct heap *heap, uint32_t n, uint64_t align, bool reuse, uint32_t *at, uint32_t *taken)
{
	bool aligned = align > HEAP_PAGE;
	int error = 0;

	lock_take(&heap->extent_lock);
	while (error == 0 && !(aligned ? free_index_find_aligned(heap, n, align, at) : free_index_find(heap, n, at))) {
		if (reuse)
			error = EAGAIN;
		else if (!grow(heap, n, aligned ? align : 0))
			error = ENOMEM;
	}
	if (error == 0 && reuse && !commit_is_paid(heap, *at, n))
		error = EAGAIN;
	if (error == 0) {
		*taken = widen(heap, *at, n);
		set_used(heap, *at, *taken, true);
	}
	lock_drop(&heap->extent_lock);
	return error;
}

void
extent_put_back(struct heap *heap, uint32_t page, uint32_t n)
{
	lock_take(&heap->extent_lock);
	set_used(heap, page, n, false);
	lock_drop(&heap->extent_lock);
}

/* Frees pages whose commit failed. It may have failed half-way: what it got goes back at once, a full file system has
 * better use for it than pages that we count as not there. Where the file cannot be punched some of it stays, and is found
 * there when it is committed again. */
static void
undo_commit(struct heap *heap, uint32_t page, uint32_t n)
{
	uint32_t first = page, whole = commit_whole(heap, &first, n);

	if (whole != 0)
		commit_punch(heap, first, whole);
	extent_put_back(heap, page, n);
}

static int
take_pages(struct heap *heap, uint32_t n, uint64_t align, bool zero, bool reuse, uint32_t *page)
{
	uint32_t at, taken;

	ASSERT1(n >= 1);
	if (n > heap->npages)
		return ENOMEM;
	int error = take_run(heap, n, align, reuse, &at, &taken);
	if (error != 0)
		return error;

	error = commit_pages(heap, at, taken, n);
	if (taken > n)
		extent_put_back(heap, at + n, taken - n);
	if (error != 0) {
		undo_commit(heap, at, n);
		return ENOMEM;
	}
	commit_dirty(heap, at, n, zero);
	*page = at;
	return 0;
}

int
extent_alloc(struct heap *heap, uint32_t n, uint64_t align, bool zero, uint32_t *page)
{
	return take_pages(heap, n, align, zero, false, page);
}

int
extent_reuse(struct heap *heap, uint32_t n, uint64_t align, bool zero, uint32_t *page)
{
	return take_pages(heap, n, align, zero, true, page);
}

void
extent_free(struct heap *heap, uint32_t page, uint32_t n)
{
	page_map_clear(heap, page, n);
	extent_put_back(heap, page, n);
}

bool
extent_take_at(struct heap *heap, uint32_t page, uint32_t n)
{
	if (n > heap->npages || page > heap->npages - n)
		return false;
	lock_take(&heap->extent_lock);
	uint64_t ready = (uint64_t)heap->media->ready_chunks << HEAP_LG_CHUNK_PAGES;
	/* Where the run at the ready end begins at or before `page`, growth by the same rule reaches what is asked. */
	if ((uint64_t)page + n > ready && ready - heap->nodes[heap->media->nlevels - 1][0].end <= page)
		grow(heap, (uint32_t)(page + n - (ready - heap->nodes[heap->media->nlevels - 1][0].end)), 0);
	if (!free_index_is_free(heap, page, n)) {
		lock_drop(&heap->extent_lock);
		return false;
	}
	set_used(heap, page, n, true);
	lock_drop(&heap->extent_lock);
	if (commit_pages(heap, page, n, n) != 0) {
		undo_commit(heap, page, n);
		return false;
	}
	commit_dirty(heap, page, n, false);
	return true;
}

uint32_t
extent_take_committed(struct heap *heap, uint32_t chunk, uint32_t from, uint32_t max, uint32_t *page)
{
	uint32_t begin = 0, n = 0;

	lock_take(&heap->extent_lock);
	if (chunk < heap->media->ready_chunks) {
		struct chunk_media *c = &heap->chunks[chunk];

		for (unsigned w = from / 64; w < HEAP_CHUNK_WORDS && n < max; w++) {
			uint64_t idle = atomic_load_explicit(&c->committed[w], memory_order_relaxed) & ~c->used[w];

			if (w == from / 64)
				idle = idle >> (from % 64) << (from % 64);
			if (n > 0 && (idle & 1) == 0)
				break;
			if (n == 0 && idle == 0)
				continue;
			uint32_t low = n == 0 ? (uint32_t)__builtin_ctzll(idle) : 0;
			uint64_t ones = ~(idle >> low);
			uint32_t run = ones == 0 ? 64 - low : (uint32_t)__builtin_ctzll(ones);

			if (run > 64 - low)
				run = 64 - low;
			if (n == 0)
				begin = w * 64 + low;
			n += run;
			if (low + run < 64)
				break;
		}
		if (n > max)
			n = max;
		if (n > 0)
			set_used(heap, (chunk << HEAP_LG_CHUNK_PAGES) + begin, n, true);
	}
	lock_drop(&heap->extent_lock);
	*page = (chunk << HEAP_LG_CHUNK_PAGES) + begin;
	return n;
}

uint64_t
extent_idle_pages(struct heap *heap)
{
	if (heap->backing == HEAP_BACKING_GIVEN || heap->backing == HEAP_BACKING_FULL)
		return 0;
	uint64_t committed = atomic_load_explicit(&heap->committed_pages, memory_order_relaxed);
	/* Read without the lock: a hint for the purger, as exact as it need be. */
	uint64_t used = atomic_load_explicit(&heap->media->used_pages, memory_order_relaxed);

	return committed > used ? committed - used : 0;
}

uint32_t
extent_longest_free(struct heap *heap)
{
	uint32_t longest = free_index_longest(heap);
	uint32_t ready = atomic_load_explicit(&heap->ready_pages, memory_order_relaxed);
	uint32_t end = heap->nodes[heap->media->nlevels - 1][0].end;

	/* The run at the ready end goes on into what was never used. */
	if (heap->npages > ready && end + (heap->npages - ready) > longest)
		longest = end + (heap->npages - ready);
	return longest;
}

/* --- with the world held ------------------------------------------------------------------------------------- */

bool
extent_valid(struct heap *heap, const char **why)
{
	uint64_t used = 0;
	uint32_t ready = heap->media->ready_chunks;

	if (ready > heap->nchunks) {
		*why = "more chunks ready than there are";
		return false;
	}
	for (uint32_t c = 0; c < ready; c++) {
		for (unsigned w = 0; w < HEAP_CHUNK_WORDS; w++) {
			uint64_t bits = heap->chunks[c].used[w];

			used += (uint64_t)__builtin_popcountll(bits);
			if (heap->backing == HEAP_BACKING_SPARSE) {
				uint64_t first = ((uint64_t)c << HEAP_LG_CHUNK_PAGES) + w * 64, inside = UINT64_MAX;

				if (first >= heap->npages)
					inside = 0;
				else if (heap->npages - first < 64)
					inside = (UINT64_C(1) << (heap->npages - first)) - 1;
				if ((bits & inside & ~atomic_load(&heap->chunks[c].committed[w])) != 0) {
					*why = "a page is in use but not committed (E2)";
					return false;
				}
			}
		}
	}
	if (ready == heap->nchunks)
		used -= ((uint64_t)ready << HEAP_LG_CHUNK_PAGES) - heap->npages; /* E5 */
	if (used != heap->media->used_pages) {
		*why = "count of used pages differs from the bits (E1)";
		return false;
	}
	if (!free_index_valid(heap)) {
		*why = "free index differs from the used bits (F1)";
		return false;
	}
	return true;
}
