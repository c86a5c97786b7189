/* repair.c -- see repair.h for the contract
 *
 * Two passes over the pages in ascending order, by the same steps (next_extent). The first only judges. The second writes
 * what is derived, behind the step it has made, so that later steps see the same truth as in the first.
 *
 * Rules:  X1  an extent is there exactly when its first page says so: a run or large extent by its class byte, with
 *             its length in the page map; a slab by class byte, page map and record, and a slot in use. Other pages
 *             are free.
 *         X2  pages with a class that are in no extent are what a kill can leave: bodies of an extent not shown yet or
 *             not shown any more; pages of a slab without a slot in use. Anything else is damage.
 *         X3  in a heap that was detached whole (its checksum is right) nothing is half-way: such pages are damage too,
 *             and freeing them might lose a block.
 *         X4  no index from the region is followed before it is bounded.
 *         X5  killed itself, it can be done again: no store of it takes away from the truth.
 * Locks:  none: nobody is inside the heap.
 * Media:  truth is read, but class bytes of pages that are in nothing become 0; what is derived is written.
 */
#include "alloc/repair.h"

#include <errno.h>
#include <string.h>

#include "alloc/commit.h"
#include "alloc/extent.h"
#include "alloc/free_index.h"
#include "alloc/heap_state.h"
#include "alloc/layout.h"
#include "alloc/os.h"
#include "alloc/page_map.h"
#include "alloc/slab.h"

enum extent_kind { EXTENT_FREE, EXTENT_SLAB, EXTENT_LARGE };

struct extent {
	enum extent_kind kind;
	uint32_t page, pages;
	unsigned sc; /* SLAB: its class */
};

/* What the first pass met, per slab class. */
struct met {
	uint32_t slabs, partial;
};

struct repair {
	struct heap *heap;
	const struct heap_progress *progress;
	struct heap_repair_report *report;
	uint32_t ready; /* pages */
	bool whole;     /* X3 */
	const char *pass;
	uint32_t told; /* page that the next word of progress is due at */
	uint64_t used_pages;
	uint64_t word; /* used bits of the 64 pages that the walk is in, as far as it came */
	struct met met[SC_SLAB_COUNT + 1];
	uint32_t heads[SC_SLAB_COUNT + 1]; /* of the partial lists, number + 1 */
	uint32_t tails[SC_SLAB_COUNT + 1];
};

static void
explain(struct heap_repair_report *report, const char *why)
{
	size_t n = strlen(why);

	if (n >= sizeof(report->why))
		n = sizeof(report->why) - 1;
	memcpy(report->why, why, n);
	report->why[n] = '\0';
}

static int
refuse(struct repair *repair, uint32_t page, const char *why)
{
	explain(repair->report, why);
	repair->report->where = (uint64_t)(heap_page_addr(repair->heap, page) - repair->heap->base);
	return EINVAL;
}

static bool
page_used(const struct heap *heap, uint32_t page)
{
	uint32_t bit = page & (HEAP_CHUNK_PAGES - 1);

	return (heap->chunks[page >> HEAP_LG_CHUNK_PAGES].used[bit / 64] >> (bit % 64) & 1) != 0;
}

static uint32_t
slots_of(uint32_t pages, unsigned sc)
{
	return (uint32_t)(((uint64_t)pages << HEAP_LG_PAGE) / sc_size(sc));
}

/* Bits of word w of a bitmap of nslots that stand for slots. */
static uint64_t
slots_mask(uint32_t nslots, uint32_t w)
{
	uint32_t left = nslots - w * 64;

	return left >= 64 ? UINT64_MAX : (UINT64_C(1) << left) - 1;
}

/* Slots in use of a slab of that place and class. */
static uint32_t
slots_used(const struct heap *heap, uint32_t page, uint32_t pages, unsigned sc)
{
	const _Atomic uint64_t *bits = heap->bits + (size_t)page * HEAP_PAGE_WORDS;
	uint32_t n = 0, nslots = slots_of(pages, sc);

	for (uint32_t w = 0; w < (nslots + 63) / 64; w++) {
		uint64_t word = atomic_load_explicit(&bits[w], memory_order_relaxed) & slots_mask(nslots, w);

		n += (uint32_t)__builtin_popcountll(word);
	}
	return n;
}

static bool
has_room(const struct heap *heap, const struct extent *slab)
{
	return slots_used(heap, slab->page, slab->pages, slab->sc) < slots_of(slab->pages, slab->sc);
}

static uint32_t
records_of(const struct repair *repair)
{
	return (repair->ready + SC_MIN_SLAB_PAGES - 1) / SC_MIN_SLAB_PAGES;
}

/* The record's slab is there. Only when all pages were judged. `sc` 0: of any class. */
static bool
is_slab(const struct repair *repair, uint32_t number, unsigned sc)
{
	const struct heap *heap = repair->heap;
	uint32_t page = heap->slabs[number].page, pages = heap->slabs[number].pages;

	if (page / SC_MIN_SLAB_PAGES != number || page >= repair->ready || heap->page_map[page] != number)
		return false;
	unsigned found = heap->page_class[page];
	return found != 0 && (sc == 0 ? found <= SC_SLAB_COUNT : found == sc) &&
		slots_used(heap, page, pages, found) != 0;
}

/* --- judging ------------------------------------------------------------------------------------------------- */

/* A page that belongs to nothing; X2, X3. */
static int
nobodys(struct repair *repair, struct extent *out)
{
	const struct heap *heap = repair->heap;

	out->kind = EXTENT_FREE;
	out->pages = 1;
	if (repair->whole && (heap->page_class[out->page] != 0 || page_used(heap, out->page)))
		return refuse(repair, out->page, "a page is in use by nothing");
	return 0;
}

static int
slab_at(struct repair *repair, unsigned sc, struct extent *out)
{
	const struct heap *heap = repair->heap;
	uint32_t page = out->page, number = heap->page_map[page];

	if (number >= records_of(repair))
		return refuse(repair, page, "the page map names a slab beyond the pages");
	const struct slab_media *slab = &heap->slabs[number];
	if (slab->page / SC_MIN_SLAB_PAGES != number || slab->pages < SC_MIN_SLAB_PAGES || slab->page > page ||
	    slab->pages > repair->ready - slab->page || page - slab->page >= slab->pages)
		return refuse(repair, page, "a page's slab does not have it");
	if (slots_used(heap, slab->page, slab->pages, sc) == 0)
		return nobodys(repair, out);
	if (slab->page != page)
		return refuse(repair, page, "a slab's first page does not say that it is one");
	for (uint32_t i = 1; i < slab->pages; i++) {
		if (heap->page_class[page + i] != sc || heap->page_map[page + i] != number)
			return refuse(repair, page + i, "a slab's pages are not all its own");
	}
	out->kind = EXTENT_SLAB;
	out->pages = slab->pages;
	out->sc = sc;
	return 0;
}

static int
large_at(struct repair *repair, struct extent *out)
{
	const struct heap *heap = repair->heap;
	uint32_t page = out->page, pages = heap->page_map[page];

	if (pages == 0 || pages > repair->ready - page)
		return refuse(repair, page, "an extent's length is impossible");
	for (uint32_t i = 1; i < pages; i++) {
		unsigned sc = heap->page_class[page + i];

		if (sc != 0 && sc < SC_BODY)
			return refuse(repair, page + i, "two extents lie over each other");
	}
	out->kind = EXTENT_LARGE;
	out->pages = pages;
	return 0;
}

/* What begins at out->page: 0, or EINVAL. */
static int
next_extent(struct repair *repair, struct extent *out)
{
	unsigned sc = repair->heap->page_class[out->page];

	if (repair->progress != NULL && out->page >= repair->told) {
		repair->progress->fn(repair->progress->ctx, repair->pass, out->page, repair->ready);
		repair->told = out->page + HEAP_CHUNK_PAGES;
	}
	if (sc > SC_BODY)
		return refuse(repair, out->page, "a page has a class that is none");
	if (sc == 0 || sc == SC_BODY)
		return nobodys(repair, out);
	return sc <= SC_SLAB_COUNT ? slab_at(repair, sc, out) : large_at(repair, out);
}

/* The superblock as it must be: 0, or EINVAL. Fills the layout. */
static int
judge_superblock(const struct heap_config *config, struct heap_media *layout, struct heap_repair_report *report)
{
	struct heap_media found;
	const char *why = NULL;

	if (!heap_config_valid(config) || layout_of_size(layout, config->size, config->reserved, os_page_size()) != 0) {
		explain(report, "the region is too small for a heap");
		return EINVAL;
	}
	memcpy((void *)&found, (const char *)config->base + config->reserved, sizeof(found));
	if (found.magic != HEAP_MEDIA_MAGIC)
		why = "the superblock is none";
	else if (found.version != HEAP_MEDIA_VERSION || found.features_incompat != 0 || found.features_ro_compat != 0 ||
		 (found.flags & ~HEAP_MEDIA_ZEROED) != 0)
		why = "the heap has another format version: a newer library is needed";
	else if (found.size != config->size || found.reserved != config->reserved ||
		 !layout_same(&found, layout))
		why = "the superblock does not fit the region, or was made where pages have another size";
	else if (found.ready_chunks == 0 || found.ready_chunks > found.nchunks)
		why = "the superblock's count of used chunks is impossible";
	if (why != NULL)
		explain(report, why);
	return why == NULL ? 0 : EINVAL;
}

/* Behind the chunks that are ready nothing was ever written where all was zero from the start. */
static int
judge_end(struct repair *repair)
{
	const struct heap *heap = repair->heap;
	uint32_t end =
		heap->npages - repair->ready < HEAP_CHUNK_PAGES ? heap->npages - repair->ready : HEAP_CHUNK_PAGES;

	for (uint32_t i = 0; heap->zeroed && i < end; i++) {
		if (heap->page_class[repair->ready + i] != 0)
			return refuse(repair, repair->ready + i, "a page beyond those in use has a class");
	}
	return 0;
}

static int
judge(struct repair *repair)
{
	repair->pass = "looking at the pages";
	repair->told = 0;
	for (uint32_t page = 0; page < repair->ready;) {
		struct extent extent = {EXTENT_FREE, page, 0, 0};
		int error = next_extent(repair, &extent);

		if (error != 0)
			return error;
		if (extent.kind == EXTENT_SLAB) {
			repair->met[extent.sc].slabs++;
			repair->met[extent.sc].partial += has_room(repair->heap, &extent);
		}
		page += extent.pages;
	}
	return judge_end(repair);
}

/* The class's lists hold exactly the slabs that they should, in whatever order. States are not looked at: they are judged
 * by themselves. */
static bool
lists_right(const struct repair *repair, unsigned sc)
{
	const struct heap *heap = repair->heap;
	const struct bin_media *bin = &heap->media->bins[sc];
	uint32_t n = 0, prev = 0;

	if (bin->empty != 0 || bin->nempty != 0 || bin->nslabs != repair->met[sc].slabs)
		return false;
	for (uint32_t at = bin->partial; at != 0; n++) {
		if (at - 1 >= records_of(repair) || n == repair->met[sc].partial)
			return false;
		const struct slab_media *slab = &heap->slabs[at - 1];
		struct extent extent = {EXTENT_SLAB, slab->page, slab->pages, sc};

		if (slab->prev != prev || !is_slab(repair, at - 1, sc) || !has_room(heap, &extent))
			return false;
		prev = at;
		at = slab->next;
	}
	return n == repair->met[sc].partial;
}

/* --- writing ------------------------------------------------------------------------------------------------- */

static void
fix32(struct repair *repair, uint32_t *at, uint32_t right, enum heap_repair_kind kind)
{
	if (*at == right)
		return;
	*at = right;
	repair->report->fixed[kind]++;
}

static void
fix_class(struct repair *repair, uint32_t page, unsigned right)
{
	uint8_t *at = &repair->heap->page_class[page];

	if (*at == right)
		return;
	*at = (uint8_t)right;
	repair->report->fixed[HEAP_REPAIR_PAGES]++;
}

static void
set_bits(struct repair *repair, _Atomic uint64_t *at, uint64_t bits, uint64_t within)
{
	uint64_t old = atomic_load_explicit(at, memory_order_relaxed), right = (old & ~within) | bits;

	repair->report->fixed[HEAP_REPAIR_FILE] += (uint64_t)__builtin_popcountll(old ^ right);
	if (old != right)
		atomic_store_explicit(at, right, memory_order_relaxed);
}

/* The bits of the 64 pages from `first` on are known. */
static void
finish_word(struct repair *repair, uint32_t first)
{
	struct heap *heap = repair->heap;
	struct chunk_media *chunk = &heap->chunks[first >> HEAP_LG_CHUNK_PAGES];
	uint32_t w = (first & (HEAP_CHUNK_PAGES - 1)) / 64;
	uint64_t inside = first >= heap->npages ? 0
		: heap->npages - first < 64     ? (UINT64_C(1) << (heap->npages - first)) - 1
						: UINT64_MAX;
	uint64_t right = repair->word | ~inside; /* E5 */

	repair->report->fixed[HEAP_REPAIR_USED] += (uint64_t)__builtin_popcountll((chunk->used[w] ^ right) & inside);
	chunk->used[w] = right;
	if (heap->backing == HEAP_BACKING_GIVEN || heap->backing == HEAP_BACKING_FULL)
		set_bits(repair, &chunk->committed[w], UINT64_MAX, UINT64_MAX);
	else
		set_bits(repair, &chunk->committed[w], repair->word, repair->word); /* E2 */
	set_bits(repair, &chunk->dirty[w], repair->word, repair->word);             /* E3 */
	repair->used_pages += (uint64_t)__builtin_popcountll(repair->word);
	repair->word = 0;
}

/* Pages [page, page + n), which follow those of the last call. */
static void
mark(struct repair *repair, uint32_t page, uint32_t n, bool used)
{
	while (n > 0) {
		uint32_t bit = page & 63, now = 64 - bit < n ? 64 - bit : n;
		uint64_t mask = (now == 64 ? UINT64_MAX : (UINT64_C(1) << now) - 1) << bit;

		if (used)
			repair->word |= mask;
		page += now;
		n -= now;
		if ((page & 63) == 0)
			finish_word(repair, page - 64);
	}
}

static void
write_large(struct repair *repair, const struct extent *extent)
{
	fix_class(repair, extent->page, page_map_extent_class(extent->pages));
	for (uint32_t i = 1; i < extent->pages; i++)
		fix_class(repair, extent->page + i, SC_BODY);
	repair->report->large++;
	repair->report->bytes += (uint64_t)extent->pages << HEAP_LG_PAGE;
}

/* At the end of its class's list: the lists ascend, so that low slabs fill up first. */
static void
list_append(struct repair *repair, struct slab_media *slab, unsigned sc)
{
	struct heap *heap = repair->heap;
	uint32_t number = slab_number(heap, slab) + 1, tail = repair->tails[sc];

	slab->prev = tail;
	slab->next = 0;
	if (tail == 0)
		repair->heads[sc] = number;
	else
		heap->slabs[tail - 1].next = number;
	repair->tails[sc] = number;
}

static void
write_slab(struct repair *repair, const struct extent *extent)
{
	struct heap *heap = repair->heap;
	struct slab_media *slab = &heap->slabs[extent->page / SC_MIN_SLAB_PAGES];
	uint32_t size = sc_size(extent->sc), nslots = slots_of(extent->pages, extent->sc);
	uint32_t used = slots_used(heap, extent->page, extent->pages, extent->sc), last = (nslots + 63) / 64 - 1;

	fix32(repair, &slab->slot_size, size, HEAP_REPAIR_SLABS);
	fix32(repair, &slab->nslots, nslots, HEAP_REPAIR_SLABS);
	fix32(repair, &slab->recip, (uint32_t)(((UINT64_C(1) << 32) + size - 1) / size), HEAP_REPAIR_SLABS);
	uint64_t old = atomic_load_explicit(&slab->state, memory_order_relaxed);
	uint64_t state = old >> 32 << 32 | (uint64_t)extent->sc << 8 | (used < nslots ? SLAB_PARTIAL : SLAB_FULL);
	repair->report->fixed[HEAP_REPAIR_SLABS] += state != old;
	atomic_store_explicit(&slab->state, state, memory_order_relaxed);
	_Atomic uint64_t *bits = &slab_bits(heap, slab)[last];
	uint64_t word = atomic_load_explicit(bits, memory_order_relaxed);
	if ((word & ~slots_mask(nslots, last)) != 0) {
		atomic_store_explicit(bits, word & slots_mask(nslots, last), memory_order_relaxed);
		repair->report->fixed[HEAP_REPAIR_SLOTS]++;
	}
	if (used < nslots)
		list_append(repair, slab, extent->sc);
	repair->report->slabs++;
	repair->report->slots += used;
	repair->report->bytes += (uint64_t)used * size;
}

static void
write_free(struct repair *repair, const struct extent *extent)
{
	struct heap *heap = repair->heap;

	repair->report->recovered += heap->page_class[extent->page] != 0 || page_used(heap, extent->page);
	if (heap->page_class[extent->page] != 0)
		heap->page_class[extent->page] = 0;
}

/* A record that is no slab's says so; it may have been one's a moment ago. */
static void
finish_records(struct repair *repair)
{
	for (uint32_t i = 0; i < records_of(repair); i++) {
		struct slab_media *slab = &repair->heap->slabs[i];
		uint64_t state = atomic_load_explicit(&slab->state, memory_order_relaxed);

		if (state << 32 == 0 || is_slab(repair, i, 0)) /* no kind and no class; or it is one */
			continue;
		atomic_store_explicit(&slab->state, ((state >> 32) + 1) << 32 | SLAB_NONE, memory_order_relaxed);
		repair->report->fixed[HEAP_REPAIR_SLABS]++;
	}
}

static void
finish_bins(struct repair *repair)
{
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++)
		repair->heap->media->bins[sc] = (struct bin_media){repair->heads[sc], 0, 0, repair->met[sc].slabs};
}

static void
write_all(struct repair *repair)
{
	struct heap *heap = repair->heap;
	struct heap_media *media = heap->media;
	uint32_t end = media->ready_chunks << HEAP_LG_CHUNK_PAGES;

	repair->pass = "writing the tables";
	repair->told = 0;
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++)
		repair->report->fixed[HEAP_REPAIR_LISTS] += !lists_right(repair, sc);
	for (uint32_t page = 0; page < repair->ready;) {
		struct extent extent = {EXTENT_FREE, page, 0, 0};

		next_extent(repair, &extent); /* judged before, and nothing in front of it has changed */
		if (extent.kind == EXTENT_LARGE)
			write_large(repair, &extent);
		else if (extent.kind == EXTENT_SLAB)
			write_slab(repair, &extent);
		else
			write_free(repair, &extent);
		mark(repair, page, extent.pages, extent.kind != EXTENT_FREE);
		page += extent.pages;
	}
	mark(repair, repair->ready, end - repair->ready, false);
	finish_records(repair);
	finish_bins(repair);
	if (!free_index_valid(heap))
		repair->report->fixed[HEAP_REPAIR_INDEX] = 1;
	free_index_update(heap, 0, end, true);
	repair->report->used_pages = repair->used_pages;
	repair->report->fixed[HEAP_REPAIR_COUNTS] +=
		atomic_load_explicit(&media->used_pages, memory_order_relaxed) != repair->used_pages;
	atomic_store_explicit(&media->used_pages, repair->used_pages, memory_order_relaxed);
	/* Kept up to date only at a detachment: nothing is wrong with it. */
	if (heap->backing == HEAP_BACKING_SPARSE || heap->backing == HEAP_BACKING_PRIVATE)
		commit_count(heap);
	media->committed_pages = atomic_load_explicit(&heap->committed_pages, memory_order_relaxed);
	atomic_store_explicit(&media->cache_room, 0, memory_order_relaxed);
}

/* --- interface ----------------------------------------------------------------------------------------------- */

const char *
heap_repair_name(enum heap_repair_kind kind)
{
	static const char *const names[HEAP_REPAIR_KINDS] = {
		"page classes", "used bits",  "file bits",  "slab records",
		"slot bitmaps", "slab lists", "free index", "counts",
	};

	return names[kind];
}

int
heap_repair(const struct heap_config *config, const struct heap_progress *progress, struct heap_repair_report *report)
{
	struct repair repair = {.progress = progress, .report = report};
	struct heap_media layout = {0};

	memset(report, 0, sizeof(*report));
	int error = judge_superblock(config, &layout, report);
	if (error != 0)
		return error;
	struct heap *heap = heap_state_new(config, &layout);
	if (heap == NULL)
		return ENOMEM;
	struct heap_media *media = heap->media;
	uint64_t ready = (uint64_t)media->ready_chunks << HEAP_LG_CHUNK_PAGES;
	repair.heap = heap;
	repair.ready = ready < heap->npages ? (uint32_t)ready : heap->npages;
	repair.whole = media->checksum == heap_superblock_checksum(media);
	heap->zeroed = (media->flags & HEAP_MEDIA_ZEROED) != 0;
	atomic_store_explicit(&heap->ready_pages, repair.ready, memory_order_relaxed);
	report->cached_max = atomic_load_explicit(&media->cache_room, memory_order_relaxed);
	error = judge(&repair);
	if (error == 0) {
		media->checksum = 0; /* from here on neither whole nor as it was */
		write_all(&repair);
		if (report->cached_max > report->bytes)
			report->cached_max = report->bytes;
		/* Nothing of it can fail after the judgement; if it did, the checksum would stay 0. */
		if (heap_check_watched(heap, progress, report->why, sizeof(report->why)) != 1)
			error = EINVAL;
	}
	if (error == 0) {
		media->generation++;
		media->checksum = heap_superblock_checksum(media);
	}
	heap_state_delete(heap);
	return error;
}
