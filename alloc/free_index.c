/* free_index.c -- see free_index.h for the contract and rules
 *
 * Locks:  extent lock, held by the caller of every function.
 * Media:  in the region, derived from chunk_media.used.
 */
#include "alloc/free_index.h"

#include "alloc/assert.h"
#include "alloc/heap_state.h"

static uint32_t
ready_chunks(const struct heap *heap)
{
	return heap->media->ready_chunks;
}

/* Nodes of a level that stand over ready chunks. */
static uint32_t
nodes_ready(const struct heap *heap, unsigned level)
{
	uint32_t n = ready_chunks(heap);

	while (level-- > 0)
		n = (n + HEAP_FANOUT - 1) >> HEAP_LG_FANOUT;
	return n;
}

/* Pages that node `i` of `level` spans, of ready chunks only. */
static uint32_t
node_span(const struct heap *heap, unsigned level, uint32_t i)
{
	uint64_t first = (uint64_t)i << (HEAP_LG_FANOUT * level);
	uint64_t last = (uint64_t)(i + 1) << (HEAP_LG_FANOUT * level);

	if (last > ready_chunks(heap))
		last = ready_chunks(heap);
	return (uint32_t)((last - first) << HEAP_LG_CHUNK_PAGES);
}

/* Longest run of ones in x, if it is longer than `known`; else any value up to `known`. */
static uint32_t
longest_run(uint64_t x, uint32_t known)
{
	uint32_t n = 1; /* bits of x mark where runs of n begin */

	while (n <= known && x != 0) {
		uint32_t step = n < known + 1 - n ? n : known + 1 - n;

		x &= x >> step;
		n += step;
	}
	if (x == 0)
		return 0;
	while ((x &= x >> 1) != 0)
		n++;
	return n;
}

static struct node_media
summarise_chunk(const struct chunk_media *chunk)
{
	struct node_media node = {0, 0, 0, 0};
	uint32_t run = 0; /* free pages up to here */
	bool all_free = true;

	for (unsigned w = 0; w < HEAP_CHUNK_WORDS; w++) {
		uint64_t free = ~chunk->used[w];

		if (free == UINT64_MAX) {
			run += 64;
			continue;
		}
		uint32_t low = (uint32_t)__builtin_ctzll(~free);
		run += low;
		if (all_free)
			node.start = run;
		all_free = false;
		if (run > node.max)
			node.max = run;
		run = (uint32_t)__builtin_clzll(~free);
	}
	if (all_free)
		node.start = run;
	if (run > node.max)
		node.max = run;
	node.end = run;
	/* Runs inside one word last: what crosses words is mostly longer than they can be. Two used pages enclose them. */
	for (unsigned w = 0; w < HEAP_CHUNK_WORDS && node.max < 62; w++) {
		uint64_t free = ~chunk->used[w];
		uint32_t inner;

		if (free == 0 || free == UINT64_MAX ||
		    (uint32_t)__builtin_ctzll(~free) + (uint32_t)__builtin_clzll(~free) + node.max >= 62)
			continue;
		inner = longest_run(free, node.max);
		if (inner > node.max)
			node.max = inner;
	}
	return node;
}

static struct node_media
merge_children(const struct heap *heap, unsigned level, uint32_t i)
{
	struct node_media node = {0, 0, 0, 0};
	const struct node_media *children = heap->nodes[level - 1];
	uint32_t first = i << HEAP_LG_FANOUT, last = first + HEAP_FANOUT;
	uint32_t run = 0;
	bool all_free = true;

	if (last > nodes_ready(heap, level - 1))
		last = nodes_ready(heap, level - 1);
	for (uint32_t c = first; c < last; c++) {
		if (children[c].max > node.max)
			node.max = children[c].max;
		run += children[c].start;
		if (run > node.max)
			node.max = run;
		if (children[c].start != node_span(heap, level - 1, c)) {
			if (all_free)
				node.start = run;
			all_free = false;
			run = children[c].end;
		}
	}
	if (all_free)
		node.start = run;
	node.end = run;
	return node;
}

static bool
node_equal(const struct node_media *a, const struct node_media *b)
{
	return a->start == b->start && a->max == b->max && a->end == b->end;
}

void
free_index_update(struct heap *heap, uint32_t page, uint32_t n, bool grown)
{
	uint32_t first = page >> HEAP_LG_CHUNK_PAGES, last = (page + n - 1) >> HEAP_LG_CHUNK_PAGES;
	unsigned nlevels = heap->media->nlevels;

	for (unsigned level = 0; level < nlevels; level++) {
		bool changed = false;

		for (uint32_t i = first; i <= last; i++) {
			struct node_media node =
				level == 0 ? summarise_chunk(&heap->chunks[i]) : merge_children(heap, level, i);
			struct node_media *slot = &heap->nodes[level][i];

			if (!node_equal(slot, &node)) {
				slot->start = node.start;
				slot->max = node.max;
				slot->end = node.end;
				slot->zero = 0;
				changed = true;
			}
		}
		/* Growth changes spans, which parents compare with: it goes up to the root. */
		if (!changed && !grown)
			return;
		first >>= HEAP_LG_FANOUT;
		last >>= HEAP_LG_FANOUT;
	}
}

uint32_t
free_index_longest(const struct heap *heap)
{
	return heap->nodes[heap->media->nlevels - 1][0].max;
}

/* Lowest run of n in a chunk that has one. */
static uint32_t
find_in_chunk(const struct chunk_media *chunk, uint32_t n)
{
	uint32_t run = 0, start = 0;

	for (unsigned w = 0; w < HEAP_CHUNK_WORDS; w++) {
		uint64_t used = chunk->used[w];
		uint32_t bit = 0;

		while (bit < 64) {
			uint64_t rest = used >> bit;
			uint32_t free = rest == 0 ? 64 - bit : (uint32_t)__builtin_ctzll(rest);

			if (free > 0) {
				if (run == 0)
					start = w * 64 + bit;
				run += free;
				if (run >= n)
					return start;
				bit += free;
			}
			if (bit < 64) {
				uint64_t ones = ~(used >> bit);
				run = 0;
				bit += ones == 0 ? 64 - bit : (uint32_t)__builtin_ctzll(ones);
			}
		}
	}
	return UINT32_MAX;
}

bool
free_index_find(const struct heap *heap, uint32_t n, uint32_t *page)
{
	unsigned level = heap->media->nlevels - 1;
	uint32_t i = 0;

	if (ready_chunks(heap) == 0 || heap->nodes[level][0].max < n)
		return false;
	while (level > 0) {
		const struct node_media *children = heap->nodes[level - 1];
		uint32_t first = i << HEAP_LG_FANOUT, last = first + HEAP_FANOUT;
		uint32_t run = 0; /* free pages that end where child c begins */
		bool descend = false;

		if (last > nodes_ready(heap, level - 1))
			last = nodes_ready(heap, level - 1);
		for (uint32_t c = first; c < last; c++) {
			uint32_t at = c << (HEAP_LG_FANOUT * (level - 1) + HEAP_LG_CHUNK_PAGES);

			if (run > 0 && run + children[c].start >= n) {
				*page = at - run;
				return true;
			}
			if (children[c].max >= n) {
				i = c;
				descend = true;
				break;
			}
			if (children[c].start == node_span(heap, level - 1, c))
				run += children[c].start;
			else
				run = children[c].end;
		}
		if (!descend)
			os_fatal(heap->name, "damaged heap: free index promises a run that is not there", NULL);
		level--;
	}
	uint32_t at = find_in_chunk(&heap->chunks[i], n);
	if (at == UINT32_MAX)
		os_fatal(heap->name, "damaged heap: free index promises a run that is not there", NULL);
	*page = (i << HEAP_LG_CHUNK_PAGES) + at;
	return true;
}

static bool
page_used(const struct heap *heap, uint32_t page)
{
	const struct chunk_media *chunk = &heap->chunks[page >> HEAP_LG_CHUNK_PAGES];
	uint32_t bit = page & (HEAP_CHUNK_PAGES - 1);

	return (chunk->used[bit / 64] >> (bit % 64) & 1) != 0;
}

/* First page at or after `page` whose used bit equals `used`; `end` when none. */
static uint32_t
scan(const struct heap *heap, uint32_t page, uint32_t end, bool used)
{
	while (page < end) {
		const struct chunk_media *chunk = &heap->chunks[page >> HEAP_LG_CHUNK_PAGES];
		uint32_t bit = page & (HEAP_CHUNK_PAGES - 1);
		uint64_t word = chunk->used[bit / 64];

		if (!used)
			word = ~word;
		word >>= bit % 64;
		if (word != 0) {
			page += (uint32_t)__builtin_ctzll(word);
			return page < end ? page : end;
		}
		page += 64 - bit % 64;
	}
	return end;
}

bool
free_index_next_run(const struct heap *heap, uint32_t from, uint32_t *page, uint32_t *n)
{
	uint32_t end = ready_chunks(heap) << HEAP_LG_CHUNK_PAGES;
	uint32_t start = scan(heap, from, end, false);

	if (start >= end)
		return false;
	*page = start;
	*n = scan(heap, start, end, true) - start;
	return true;
}

bool
free_index_find_aligned(const struct heap *heap, uint32_t n, uint64_t align, uint32_t *page)
{
	uint64_t step = align >> HEAP_LG_PAGE;                           /* pages */
	uint64_t origin = (uint64_t)(uintptr_t)heap->pages >> HEAP_LG_PAGE; /* page 0's address in pages */
	uint32_t at, run;

	/* A run that is longer by the alignment always holds an aligned one: the index finds it quickly. */
	if (step < HEAP_MAX_PAGES && n + step - 1 < HEAP_MAX_PAGES && free_index_find(heap, (uint32_t)(n + step - 1), &at)) {
		*page = (uint32_t)(((origin + at + step - 1) & ~(step - 1)) - origin);
		return true;
	}
	/* Else a shorter one may happen to lie right: look at each. */
	for (uint32_t from = 0; free_index_next_run(heap, from, &at, &run); from = at + run) {
		uint64_t aligned = ((origin + at + step - 1) & ~(step - 1)) - origin;

		if (aligned + n <= (uint64_t)at + run) {
			*page = (uint32_t)aligned;
			return true;
		}
	}
	return false;
}

bool
free_index_is_free(const struct heap *heap, uint32_t page, uint32_t n)
{
	uint64_t end = (uint64_t)page + n;

	if (end > (uint64_t)ready_chunks(heap) << HEAP_LG_CHUNK_PAGES)
		return false;
	return !page_used(heap, page) && scan(heap, page, (uint32_t)end, true) == (uint32_t)end;
}

bool
free_index_valid(const struct heap *heap)
{
	for (unsigned level = 0; level < heap->media->nlevels; level++) {
		uint32_t n = nodes_ready(heap, level);

		for (uint32_t i = 0; i < n; i++) {
			struct node_media node =
				level == 0 ? summarise_chunk(&heap->chunks[i]) : merge_children(heap, level, i);

			if (!node_equal(&heap->nodes[level][i], &node))
				return false;
		}
	}
	return true;
}
