/* survey.c -- see survey.h for the contract
 *
 * Rules:  V1  every page belongs to exactly one extent that is told, and they come in ascending order.
 *         V2  no index from the region is followed before it is bounded.
 * Locks:  none: nobody is inside the heap.
 * Media:  reads only.
 */
#include "alloc/survey.h"

#include <string.h>

#include "alloc/heap.h"
#include "alloc/layout.h"
#include "alloc/os.h"
#include "alloc/size_class.h"

const char *
survey_begin(struct survey *survey, const void *base, size_t size, size_t reserved)
{
	struct heap_media found;
	uint64_t ready;

	memset(survey, 0, sizeof(*survey));
	if (layout_of_size(&survey->layout, size, reserved, os_page_size()) != 0)
		return "the region is too small for a heap";
	memcpy(&found, (const char *)base + reserved, sizeof(found));
	if (found.magic != HEAP_MEDIA_MAGIC)
		return "the superblock is none";
	if (found.version != HEAP_MEDIA_VERSION || found.features_incompat != 0)
		return "the heap has another format version: a newer library is needed";
	if (found.size != size || found.reserved != reserved || !layout_same(&found, &survey->layout) ||
	    found.ready_chunks == 0 || found.ready_chunks > found.nchunks)
		return "the superblock does not fit the region";
	ready = (uint64_t)found.ready_chunks << HEAP_LG_CHUNK_PAGES;
	survey->base = base;
	survey->ready = ready < found.npages ? (uint32_t)ready : found.npages;
	return NULL;
}

static const void *
table(const struct survey *survey, uint64_t off)
{
	return survey->base + off;
}

static uint8_t
class_of(const struct survey *survey, uint32_t page)
{
	return ((const uint8_t *)table(survey, survey->layout.page_class_off))[page];
}

static uint32_t
map_of(const struct survey *survey, uint32_t page)
{
	return ((const uint32_t *)table(survey, survey->layout.page_map_off))[page];
}

static const struct chunk_media *
chunk_of(const struct survey *survey, uint32_t page)
{
	return (const struct chunk_media *)table(survey, survey->layout.chunks_off) + (page >> HEAP_LG_CHUNK_PAGES);
}

/* --- what is in use ------------------------------------------------------------------------------------------- */

/* Slots in use; what the bitmap says of slots that are not there is not counted. */
static uint32_t
count_used(const _Atomic uint64_t *bits, uint32_t nslots)
{
	uint32_t used = 0;

	for (uint32_t slot = 0; slot < nslots; slot += 64) {
		uint64_t word = atomic_load_explicit(&bits[slot / 64], memory_order_relaxed);

		if (nslots - slot < 64)
			word &= (UINT64_C(1) << (nslots - slot)) - 1;
		used += (uint32_t)__builtin_popcountll(word);
	}
	return used;
}

/* Geometry follows from class and pages (M2). */
static bool
read_slab(const struct survey *survey, unsigned sc, uint32_t page, struct survey_extent *out)
{
	uint32_t number = map_of(survey, page), records = (survey->ready + SC_MIN_SLAB_PAGES - 1) / SC_MIN_SLAB_PAGES;
	const struct slab_media *slab;

	if (number >= records)
		return false;
	slab = (const struct slab_media *)table(survey, survey->layout.slabs_off) + number;
	if (slab->page != page || slab->pages == 0 || slab->pages > survey->ready - page)
		return false;
	out->kind = SURVEY_SLAB;
	out->sc = sc;
	out->pages = slab->pages;
	out->slot_size = sc_size(sc);
	out->nslots = (uint32_t)(((size_t)slab->pages << HEAP_LG_PAGE) / out->slot_size);
	out->bits = (const _Atomic uint64_t *)table(survey, survey->layout.bits_off) + (size_t)page * HEAP_PAGE_WORDS;
	out->used = count_used(out->bits, out->nslots);
	return true;
}

static bool
read_large(const struct survey *survey, unsigned sc, uint32_t page, struct survey_extent *out)
{
	uint32_t pages = map_of(survey, page);

	if (pages == 0 || pages > survey->ready - page)
		return false;
	out->kind = SURVEY_LARGE;
	out->sc = sc;
	out->pages = pages;
	out->nslots = out->used = 1;
	return true;
}

/* An extent that begins at the page: its class byte says so, whatever its used bit is (M2). */
static bool
read_extent(const struct survey *survey, uint32_t page, struct survey_extent *out)
{
	unsigned sc = class_of(survey, page);

	if (sc == 0 || sc > SC_LARGE)
		return false;
	return sc <= SC_SLAB_COUNT ? read_slab(survey, sc, page, out) : read_large(survey, sc, page, out);
}

/* --- what is not ---------------------------------------------------------------------------------------------- */

/* Kind of a page that no extent begins at. */
static enum survey_kind
kind_of(const struct survey *survey, uint32_t page)
{
	const struct chunk_media *chunk = chunk_of(survey, page);
	uint32_t bit = page & (HEAP_CHUNK_PAGES - 1);
	uint64_t mask = UINT64_C(1) << (bit % 64);

	if (class_of(survey, page) != 0 || (chunk->used[bit / 64] & mask) != 0)
		return SURVEY_LOST;
	return (atomic_load_explicit(&chunk->committed[bit / 64], memory_order_relaxed) & mask) != 0 ? SURVEY_FREE
												     : SURVEY_HOLE;
}

/* The 64 pages from `page`, a multiple of 64, on are free in the same way. */
static bool
is_free_word(const struct survey *survey, uint32_t page, enum survey_kind kind)
{
	static const uint8_t no_class[64];
	const struct chunk_media *chunk = chunk_of(survey, page);
	uint32_t word = (page & (HEAP_CHUNK_PAGES - 1)) / 64;
	uint64_t committed = atomic_load_explicit(&chunk->committed[word], memory_order_relaxed);
	const uint8_t *classes = (const uint8_t *)table(survey, survey->layout.page_class_off) + page;

	return chunk->used[word] == 0 && committed == (kind == SURVEY_FREE ? UINT64_MAX : 0) &&
		memcmp(classes, no_class, sizeof(no_class)) == 0;
}

/* First page from `page` on that is not free in the same way. Whole words at a time: free runs are long. */
static uint32_t
free_end(const struct survey *survey, uint32_t page, enum survey_kind kind)
{
	while (page < survey->ready && kind_of(survey, page) == kind)
		page += page % 64 == 0 && survey->ready - page >= 64 && is_free_word(survey, page, kind) ? 64 : 1;
	return page;
}

static uint32_t
lost_end(const struct survey *survey, uint32_t page)
{
	struct survey_extent found;

	do
		page++;
	while (page < survey->ready && kind_of(survey, page) == SURVEY_LOST && !read_extent(survey, page, &found));
	return page;
}

bool
survey_next(struct survey *survey, struct survey_extent *out)
{
	uint32_t page = survey->next;

	if (page >= survey->layout.npages)
		return false;
	*out = (struct survey_extent){.page = page,
				      .offset = survey->layout.pages_off + ((uint64_t)page << HEAP_LG_PAGE)};
	if (page >= survey->ready) {
		out->kind = SURVEY_UNUSED;
		out->pages = survey->layout.npages - page;
	} else if (!read_extent(survey, page, out)) {
		out->kind = kind_of(survey, page);
		out->pages =
			(out->kind == SURVEY_LOST ? lost_end(survey, page) : free_end(survey, page, out->kind)) - page;
	}
	survey->next += out->pages;
	return true;
}
