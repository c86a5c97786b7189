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
#include "alloc/free_index.h"
#include "alloc/heap_state.h"
#include "alloc/os.h"
#include "alloc/page_map.h"

#define HUGE_PAGES ((uint32_t)(OS_HUGE >> HEAP_LG_PAGE))
#define HUGE_FROM_PAGES (8u * HUGE_PAGES) /* a heap that uses less grows by single pages */
#define HUGE_TIME_SHARE 32u

/* --- layout and readiness ------------------------------------------------------------------------------------ */

/* One table: its place, and how many bytes of it stand for a chunk. */
struct table {
	uint64_t off;
	uint64_t per_chunk;
	unsigned lg_chunks; /* an entry of `per_chunk` bytes stands for 2^lg_chunks chunks */
};

#define TABLES (HEAP_MAX_LEVELS + 5)

static unsigned
tables_of(const struct heap_media *media, struct table tables[TABLES])
{
	unsigned n = 0;

	for (unsigned level = 0; level < media->nlevels; level++) {
		tables[n++] = (struct table){media->nodes_off[level], sizeof(struct node_media),
					     HEAP_LG_FANOUT * level};
	}
	tables[n++] = (struct table){media->chunks_off, sizeof(struct chunk_media), 0};
	tables[n++] = (struct table){media->page_class_off, HEAP_CHUNK_PAGES, 0};
	tables[n++] = (struct table){media->page_map_off, HEAP_CHUNK_PAGES * sizeof(uint32_t), 0};
	tables[n++] = (struct table){media->slabs_off,
				     HEAP_CHUNK_PAGES / SC_MIN_SLAB_PAGES * sizeof(struct slab_media), 0};
	tables[n++] = (struct table){media->bits_off, HEAP_CHUNK_PAGES * HEAP_PAGE_WORDS * sizeof(uint64_t), 0};
	return n;
}

/* Bytes of a table that stand for the first `chunks` chunks. */
static uint64_t
table_bytes(const struct table *table, uint64_t chunks)
{
	return ((chunks + (UINT64_C(1) << table->lg_chunks) - 1) >> table->lg_chunks) * table->per_chunk;
}

static uint64_t
round_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) / to * to;
}

/* Offsets for `npages` pages; returns the offset of page 0. */
static uint64_t
place(struct heap_media *media, uint64_t reserved, uint64_t npages, uint64_t page_size)
{
	uint64_t at = round_up(reserved + sizeof(*media), 64);
	uint64_t nchunks = (npages + HEAP_CHUNK_PAGES - 1) / HEAP_CHUNK_PAGES;
	struct table tables[TABLES];
	uint64_t n = nchunks;

	media->npages = (uint32_t)npages;
	media->nchunks = (uint32_t)nchunks;
	media->nlevels = 1;
	while (n > 1) {
		n = (n + HEAP_FANOUT - 1) >> HEAP_LG_FANOUT;
		media->nlevels++;
	}
	/* The sizes do not depend on the offsets, so the same table drives both. The upper levels of the index, small
	 * in most heaps, share the superblock's page: each page that is touched at creation is felt by a program's
	 * start (2 microseconds on tmpfs). */
	unsigned ntables = tables_of(media, tables);
	for (unsigned i = 1; i < media->nlevels; i++) {
		tables[i].off = at;
		at += table_bytes(&tables[i], nchunks);
	}
	for (unsigned i = 0; i < ntables; i = i == 0 ? media->nlevels : i + 1) {
		at = round_up(at, page_size);
		tables[i].off = at;
		at += table_bytes(&tables[i], nchunks);
	}
	at = round_up(at, page_size);
	for (unsigned level = 0; level < media->nlevels; level++)
		media->nodes_off[level] = tables[level].off;
	media->chunks_off = tables[media->nlevels].off;
	media->page_class_off = tables[media->nlevels + 1].off;
	media->page_map_off = tables[media->nlevels + 2].off;
	media->slabs_off = tables[media->nlevels + 3].off;
	media->bits_off = tables[media->nlevels + 4].off;
	media->pages_off = at;
	return at;
}

int
extent_layout(struct heap_media *media, uint64_t size, uint64_t reserved, uint64_t page_size)
{
	if (size < reserved || size - reserved < HEAP_MIN_SIZE || reserved % page_size != 0)
		return EINVAL;
	uint64_t npages = (size - reserved) / HEAP_PAGE;

	if (npages > HEAP_MAX_PAGES)
		npages = HEAP_MAX_PAGES;
	/* Tables shrink with the pages they stand for: a few rounds settle it. */
	for (;;) {
		uint64_t end = place(media, reserved, npages, page_size) + npages * HEAP_PAGE;

		if (end <= size)
			break;
		npages -= (end - size + HEAP_PAGE - 1) / HEAP_PAGE;
	}
	return 0;
}

bool
extent_layout_same(const struct heap_media *a, const struct heap_media *b)
{
	return a->npages == b->npages && a->nchunks == b->nchunks && a->nlevels == b->nlevels &&
	       a->pages_off == b->pages_off && a->chunks_off == b->chunks_off &&
	       a->page_class_off == b->page_class_off && a->page_map_off == b->page_map_off &&
	       a->slabs_off == b->slabs_off && a->bits_off == b->bits_off &&
	       memcmp(a->nodes_off, b->nodes_off, sizeof(a->nodes_off)) == 0;
}

/* Backs memory of the region as the backing needs it. Whole pages of the system. 0 or ENOMEM. */
static int
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

/* Makes the tables of chunks [ready, upto) usable. 0 or ENOMEM. Extent lock. */
static int
make_ready(struct heap *heap, uint32_t upto)
{
	struct heap_media *media = heap->media;
	uint32_t ready = media->ready_chunks;
	struct table tables[TABLES];
	unsigned ntables = tables_of(media, tables);
	size_t page_size = os_page_size();

	for (unsigned i = 0; i < ntables; i++) {
		uint64_t from = table_bytes(&tables[i], ready), to = table_bytes(&tables[i], upto);

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

/* Mask of the bits of one word that lie in pages [page, end); moves *page past them. */
static uint64_t
word_mask(uint32_t *page, uint32_t end, uint32_t *chunk, uint32_t *word)
{
	uint32_t bit = *page & 63, n = 64 - bit;

	if (n > end - *page)
		n = end - *page;
	*chunk = *page >> HEAP_LG_CHUNK_PAGES;
	*word = (*page & (HEAP_CHUNK_PAGES - 1)) / 64;
	*page += n;
	return (n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << bit;
}

/* Extent lock. */
static void
set_used(struct heap *heap, uint32_t page, uint32_t n, bool used)
{
	uint32_t at = page, end = page + n, chunk, word;

	while (at < end) {
		uint64_t mask = word_mask(&at, end, &chunk, &word);
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

void
extent_set_committed(struct heap *heap, uint32_t page, uint32_t n, bool committed)
{
	uint32_t at = page, end = page + n, chunk, word;
	uint64_t changed = 0;

	while (at < end) {
		uint64_t mask = word_mask(&at, end, &chunk, &word), old;
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

/* How many of the pages from `page` on, up to `end`, are committed (`what`) or not. */
static uint32_t
committed_run(const struct heap *heap, uint32_t page, uint32_t end, bool what)
{
	uint32_t at = page, chunk, word;

	while (at < end) {
		uint32_t first = at;
		uint64_t mask = word_mask(&at, end, &chunk, &word);
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
	extent_set_committed(heap, page, end - page, true);
	return 0;
}

/* Last page before or at `page` whose address is a multiple of OS_HUGE; may be before page 0. */
static int64_t
huge_start(const struct heap *heap, uint32_t page)
{
	uint64_t origin = (uint64_t)(uintptr_t)heap->pages >> HEAP_LG_PAGE;

	return (int64_t)((origin + page) & ~(uint64_t)(HUGE_PAGES - 1)) - (int64_t)origin;
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
	       atomic_load_explicit(&heap->huge_refused, memory_order_relaxed) == 0 &&
	       atomic_load_explicit(&heap->media->used_pages, memory_order_relaxed) >= HUGE_FROM_PAGES &&
	       huge_pays(heap);
}

/* HUGE_PAGES pages of the caller, none of them committed. False: as they were. */
static bool
commit_huge(struct heap *heap, uint32_t page)
{
	uint64_t start = os_now_ns();

	if (os_commit_huge(heap_page_addr(heap, page)) != 0) {
		/* No such file system or kernel, or no memory of that size: it would be so again. */
		atomic_store_explicit(&heap->huge_refused, 1, memory_order_relaxed);
		return false;
	}
	atomic_fetch_add_explicit(&heap->huge_ns, os_now_ns() - start, memory_order_relaxed);
	atomic_fetch_add_explicit(&heap->huge_pages, HUGE_PAGES, memory_order_relaxed);
	extent_set_committed(heap, page, HUGE_PAGES, true);
	return true;
}

/* Commits [page, page + n) as far as it is not; what lies behind the first `least` pages only if it comes with a huge
 * page. The pages are the caller's. */
static int
commit(struct heap *heap, uint32_t page, uint32_t n, uint32_t least)
{
	uint32_t end = page + n, at = page + committed_run(heap, page, end, true), todo = at;

	if (at >= page + least)
		return 0;
	while (at < page + least && huge_wanted(heap)) {
		int64_t start = huge_start(heap, at);

		if (start < (int64_t)at)
			start += HUGE_PAGES;
		at = (uint32_t)start;
		if (at + HUGE_PAGES > end || at + HUGE_PAGES < at)
			break;
		if (committed_run(heap, at, at + HUGE_PAGES, false) == HUGE_PAGES) {
			if (at > todo && populate(heap, todo, at) != 0)
				return ENOMEM;
			todo = at;
			if (!commit_huge(heap, at))
				break;
			todo = at + HUGE_PAGES;
		}
		at += HUGE_PAGES;
	}
	return todo < page + least ? populate(heap, todo, page + least) : 0;
}

/* Marks [page, page + n) dirty; before that, with `zero`, clears those that were dirty already (and only those). */
static void
make_dirty(struct heap *heap, uint32_t page, uint32_t n, bool zero)
{
	uint32_t at = page, end = page + n, chunk, word;

	while (at < end) {
		uint32_t first = at;
		uint64_t mask = word_mask(&at, end, &chunk, &word);
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

/* Frees pages whose commit failed. It may have failed half-way: what it got goes back at once, a full file system has
 * better use for it than pages that we count as not there. */
static void
uncommit(struct heap *heap, uint32_t page, uint32_t n)
{
	size_t unit = os_page_size() >> HEAP_LG_PAGE;
	uintptr_t origin = (uintptr_t)heap->pages >> HEAP_LG_PAGE;
	uint32_t begin = (uint32_t)((origin + page + unit - 1) / unit * unit - origin);
	uint32_t end = (uint32_t)((origin + page + n) / unit * unit - origin);
	bool punched = false;

	if (begin < end) {
		/* Where the file cannot be punched some of it stays, and is found there when it is committed again. */
		extent_set_committed(heap, begin, end - begin, false);
		punched = os_punch(heap_page_addr(heap, begin), (size_t)(end - begin) << HEAP_LG_PAGE) == 0;
	}
	if (!punched) {
		extent_put_purged(heap, page, n, false);
		return;
	}
	if (begin > page)
		extent_put_purged(heap, page, begin - page, false);
	extent_put_purged(heap, begin, end - begin, true);
	if (page + n > end)
		extent_put_purged(heap, end, page + n - end, false);
}

/* --- taking and giving back ---------------------------------------------------------------------------------- */

/* All of [page, page + n) costs nothing to use: it was written to before, or the file has it for this process alone. */
static bool
is_paid(const struct heap *heap, uint32_t page, uint32_t n)
{
	uint32_t at = page, end = page + n, chunk, word;

	if (heap->backing == HEAP_BACKING_SPARSE)
		return committed_run(heap, page, end, true) == n;
	while (at < end) {
		uint64_t mask = word_mask(&at, end, &chunk, &word);

		if ((~atomic_load_explicit(&heap->chunks[chunk].dirty[word], memory_order_relaxed) & mask) != 0)
			return false;
	}
	return true;
}

/* Pages of a run [page, page + n) that is to be taken: those behind it with it, if it ends in 2 MiB of which nothing is
 * committed and that nobody else uses. Extent lock. */
static uint32_t
widen(struct heap *heap, uint32_t page, uint32_t n)
{
	int64_t start = huge_start(heap, page + n - 1);
	uint64_t end = (uint64_t)(start + HUGE_PAGES);

	if (start < (int64_t)page || end > heap->npages || !huge_wanted(heap))
		return n;
	uint64_t ready = (uint64_t)heap->media->ready_chunks << HEAP_LG_CHUNK_PAGES;
	uint64_t tail = heap->nodes[heap->media->nlevels - 1][0].end;
	if (end > ready && !grow(heap, (uint32_t)(end - (ready - tail)), 0))
		return n;
	if (committed_run(heap, (uint32_t)start, (uint32_t)end, false) != HUGE_PAGES ||
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
	if (error == 0 && reuse && !is_paid(heap, *at, n))
		error = EAGAIN;
	if (error == 0) {
		*taken = widen(heap, *at, n);
		set_used(heap, *at, *taken, true);
	}
	lock_drop(&heap->extent_lock);
	return error;
}

/* Pages that were taken and are not needed. */
static void
put_back(struct heap *heap, uint32_t page, uint32_t n)
{
	if (n == 0)
		return;
	lock_take(&heap->extent_lock);
	set_used(heap, page, n, false);
	lock_drop(&heap->extent_lock);
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

	error = commit(heap, at, taken, n);
	put_back(heap, at + n, taken - n);
	if (error != 0) {
		uncommit(heap, at, n);
		return ENOMEM;
	}
	make_dirty(heap, at, n, zero);
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
	put_back(heap, page, n);
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
	if (commit(heap, page, n, n) != 0) {
		uncommit(heap, page, n);
		return false;
	}
	make_dirty(heap, page, n, false);
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
			uint64_t idle =
				atomic_load_explicit(&c->committed[w], memory_order_relaxed) & ~c->used[w];

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

void
extent_put_purged(struct heap *heap, uint32_t page, uint32_t n, bool zero)
{
	uint32_t at = page, end = page + n, chunk, word;

	while (zero && at < end) {
		uint64_t mask = word_mask(&at, end, &chunk, &word);

		atomic_fetch_and_explicit(&heap->chunks[chunk].dirty[word], ~mask, memory_order_relaxed);
	}
	lock_take(&heap->extent_lock);
	set_used(heap, page, n, false);
	lock_drop(&heap->extent_lock);
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

void
extent_forget_free(struct heap *heap)
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
extent_count_committed(struct heap *heap)
{
	uint64_t n = 0;

	for (uint32_t page = 0, end = atomic_load_explicit(&heap->ready_pages, memory_order_relaxed); page < end;) {
		uint32_t chunk, word;
		uint64_t mask = word_mask(&page, end, &chunk, &word);
		uint64_t bits = atomic_load_explicit(&heap->chunks[chunk].committed[word], memory_order_relaxed);

		n += (uint64_t)__builtin_popcountll(bits & mask);
	}
	atomic_store_explicit(&heap->committed_pages, n, memory_order_relaxed);
}
