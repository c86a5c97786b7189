/* stats.c -- what a heap holds: counts, blocks, ranges
 *
 * Nothing is counted on the hit path; everything is read off the tables while the caches are frozen.
 *
 * Locks:  all caches frozen (heap_each_used_range: by heap_prefork).
 * Media:  reads only.
 */
#include <string.h>

#include "alloc/extent.h"
#include "alloc/free_index.h"
#include "alloc/heap_state.h"
#include "alloc/layout.h"
#include "alloc/os.h"
#include "alloc/slab.h"

/* Calls fn for each extent: its class byte, first page, pages. */
static void
each_extent(const struct heap *heap, void (*fn)(void *ctx, unsigned sc, uint32_t page, uint32_t pages), void *ctx)
{
	uint32_t ready = atomic_load_explicit(&heap->ready_pages, memory_order_relaxed);

	for (uint32_t page = 0; page < ready;) {
		unsigned sc = heap->page_class[page];
		uint32_t pages = 1;

		if (sc != 0 && sc <= SC_SLAB_COUNT)
			pages = heap->slabs[heap->page_map[page]].pages;
		else if (sc != 0)
			pages = heap->page_map[page];
		if (sc != 0)
			fn(ctx, sc, page, pages);
		page += pages;
	}
}

struct count {
	struct heap *heap;
	struct heap_stats *stats;
};

static void
count_extent(void *ctx, unsigned sc, uint32_t page, uint32_t pages)
{
	struct count *count = ctx;
	struct heap_stats *stats = count->stats;
	uint64_t bytes = (uint64_t)pages << HEAP_LG_PAGE;

	stats->active += bytes;
	if (sc > SC_COUNT) {
		stats->large_now++;
		stats->large_bytes += bytes;
		return;
	}
	struct heap_class_stats *class = &stats->classes[sc];
	class->slab_pages = pages;
	class->nslabs++;
	if (sc > SC_SLAB_COUNT) {
		class->slots++;
		class->used++;
		return;
	}
	const struct slab_media *slab = &count->heap->slabs[count->heap->page_map[page]];
	class->slots += slab->nslots;
	class->used += slab_used(count->heap, slab);
}

void
heap_stats_get(struct heap *heap, struct heap_stats *stats)
{
	struct count count = {heap, stats};

	memset(stats, 0, sizeof(*stats));
	tcache_freeze_all(heap);
	stats->size = heap->size;
	stats->capacity = (uint64_t)heap->npages << HEAP_LG_PAGE;
	stats->metadata = heap->size - heap->media->reserved - stats->capacity;
	each_extent(heap, count_extent, &count);
	for (const struct tcache *tc = heap->caches; tc != NULL; tc = tc->next) {
		stats->ncaches += tc->cell != NULL;
		for (unsigned sc = 1; sc <= SC_COUNT; sc++) {
			struct heap_class_stats *class = &stats->classes[sc];

			class->cached += tcache_count(tc, sc);
			class->nmalloc += tc->mags[sc].counts.nmalloc;
			class->nfree += tc->mags[sc].counts.nfree;
			class->nfills += tc->mags[sc].counts.nfills;
			class->nflushes += tc->mags[sc].counts.nflushes;
		}
	}
	for (unsigned sc = 1; sc <= SC_COUNT; sc++) {
		struct heap_class_stats *class = &stats->classes[sc];

		class->slot_size = sc_size(sc);
		class->nmalloc += heap->counts[sc].nmalloc;
		class->nfree += heap->counts[sc].nfree;
		class->nfills += heap->counts[sc].nfills;
		class->nflushes += heap->counts[sc].nflushes;
		class->used -= class->cached;
		stats->allocated += class->used * class->slot_size;
		stats->cached += class->cached * class->slot_size;
		if (sc <= SC_SLAB_COUNT) {
			class->nslab_new = heap->bins[sc].nslab_new;
			class->nslab_retired = heap->bins[sc].nslab_retired;
		}
	}
	stats->allocated += stats->large_bytes;
	stats->nreclaims = heap->nreclaims;
	bool counted = heap->backing == HEAP_BACKING_SPARSE || heap->backing == HEAP_BACKING_PRIVATE;
	stats->committed = counted ? atomic_load(&heap->committed_pages) << HEAP_LG_PAGE : stats->capacity;
	stats->dirty = extent_idle_pages(heap) << HEAP_LG_PAGE;
	stats->largest_free = (uint64_t)extent_longest_free(heap) << HEAP_LG_PAGE;
	stats->nlarge_alloc = atomic_load(&heap->nlarge_alloc);
	stats->nlarge_free = atomic_load(&heap->nlarge_free);
	stats->ncommits = atomic_load(&heap->ncommits);
	stats->npurges = atomic_load(&heap->npurges);
	stats->purged = atomic_load(&heap->purged_pages) << HEAP_LG_PAGE;
	tcache_thaw_all(heap);
}

/* --- blocks -------------------------------------------------------------------------------------------------- */

struct blocks {
	struct heap *heap;
	void (*fn)(void *ctx, void *p, size_t usable);
	void *ctx;
};

static bool
is_cached(const struct heap *heap, unsigned sc, const void *p)
{
	for (const struct tcache *tc = heap->caches; tc != NULL; tc = tc->next) {
		for (uint32_t i = 1; i <= tcache_count(tc, sc); i++) {
			if (tc->mags[sc].slots[i] == p)
				return true;
		}
	}
	return false;
}

static void
blocks_of_extent(void *ctx, unsigned sc, uint32_t page, uint32_t pages)
{
	struct blocks *blocks = ctx;
	struct heap *heap = blocks->heap;

	if (sc > SC_SLAB_COUNT) {
		void *p = heap_page_addr(heap, page);

		if (sc > SC_COUNT || !is_cached(heap, sc, p))
			blocks->fn(blocks->ctx, p, (size_t)pages << HEAP_LG_PAGE);
		return;
	}
	const struct slab_media *slab = &heap->slabs[heap->page_map[page]];
	for (uint32_t slot = 0; slot < slab->nslots; slot++) {
		if ((atomic_load_explicit(&slab_bits(heap, slab)[slot / 64], memory_order_relaxed) >> (slot % 64) &
		     1) == 0)
			continue;
		void *p = slab_slot_addr(heap, slab, slot);
		if (!is_cached(heap, sc, p))
			blocks->fn(blocks->ctx, p, slab->slot_size);
	}
}

void
heap_each_block(struct heap *heap, void (*fn)(void *ctx, void *p, size_t usable), void *ctx)
{
	struct blocks blocks = {heap, fn, ctx};

	tcache_freeze_all(heap);
	each_extent(heap, blocks_of_extent, &blocks);
	tcache_thaw_all(heap);
}

/* --- ranges in use ------------------------------------------------------------------------------------------- */

struct span {
	int (*fn)(void *ctx, size_t offset, size_t length);
	void *ctx;
	size_t begin, end; /* gathered, not yet told */
};

static int
span_add(struct span *span, size_t begin, size_t end)
{
	int result = 0;

	if (begin == end)
		return 0;
	if (begin <= span->end && span->end != 0) { /* tables may share a page */
		if (end > span->end)
			span->end = end;
		return 0;
	}
	if (span->end > span->begin)
		result = span->fn(span->ctx, span->begin, span->end - span->begin);
	span->begin = begin;
	span->end = end;
	return result;
}

static size_t
up(size_t n)
{
	size_t page = os_page_size();

	return (n + page - 1) / page * page;
}

static int
span_end(const struct span *span)
{
	return span->end > span->begin ? span->fn(span->ctx, span->begin, span->end - span->begin) : 0;
}

static int
add_tables(struct span *span, const struct heap_media *media, uint64_t chunks)
{
	struct layout_table tables[LAYOUT_TABLES];
	int result = span_add(span, media->reserved, up(media->reserved + sizeof(*media)));
	/* As they lie: the upper levels of the index, the lowest, the others. */
	unsigned ntables = layout_tables(media, tables);

	for (unsigned i = 1; i <= ntables && result == 0; i++) {
		const struct layout_table *table = &tables[i < media->nlevels ? i : i == media->nlevels ? 0 : i - 1];

		result = span_add(span, table->off / os_page_size() * os_page_size(),
				  up(table->off + layout_table_bytes(table, chunks)));
	}
	return result;
}

int
heap_each_table_range(const struct heap_media *media, uint64_t chunks,
    int (*fn)(void *ctx, size_t offset, size_t length), void *ctx)
{
	struct span span = {fn, ctx, 0, 0};
	int result = add_tables(&span, media, chunks);

	return result != 0 ? result : span_end(&span);
}

int
heap_each_used_range(struct heap *heap, int (*fn)(void *ctx, size_t offset, size_t length), void *ctx)
{
	struct span span = {fn, ctx, 0, 0};
	const struct heap_media *media = heap->media;
	uint32_t at, n, from, ready = atomic_load_explicit(&heap->ready_pages, memory_order_relaxed);
	int result = add_tables(&span, media, media->ready_chunks);

	/* Used pages: what lies between the free runs. */
	for (from = 0; result == 0 && from < ready; from = at + n) {
		if (!free_index_next_run(heap, from, &at, &n)) {
			at = ready;
			n = 0;
		}
		if (at > ready)
			at = ready;
		result = span_add(&span, media->pages_off + ((size_t)from << HEAP_LG_PAGE),
				  media->pages_off + ((size_t)at << HEAP_LG_PAGE));
	}
	return result != 0 ? result : span_end(&span);
}
