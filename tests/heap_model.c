/* heap_model.c -- a heap driven by a stream of bytes beside a simple model of what it must hold
 *
 * Owns:   the list of live blocks (offsets in the region, so that it survives a move), a map of which 8-byte words
 *         of the region are taken, the cells of the virtual threads, a ring of the last operations' texts.
 * Rules:  every live block is filled by block_fill() over its whole usable size: in full up to FILL_WHOLE bytes, else
 *         at both ends and in one word per 512 bytes, so that 4 MiB blocks do not eat the run's time.
 * Locks:  none, one OS thread. Media: none of its own.
 * Fails:  model_fail() aborts; running out of the test's own memory aborts as well.
 */
#include "tests/heap_model.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/heap.h"
#include "alloc/os.h"
#include "alloc/repair.h"
#include "tests/heap_region.h"

#define FILL_WHOLE ((size_t)2048)
#define FILL_END ((size_t)256)
#define NCELLS_MAX 6u
#define HISTORY 48u
#define WORD ((size_t)8)
/* No slab is larger: pages at both ends of a gap between live blocks that may belong to their slabs. */
#define SLAB_PAGES_MOST ((size_t)128)

struct block {
	size_t off; /* from the region's base */
	size_t usable;
	uint64_t seed;
};

struct model {
	struct model_input *input;
	struct model_limits limits;

	struct heap_region region;
	struct heap *heap;
	struct tcache_cell cells[NCELLS_MAX];
	unsigned ncells;
	size_t capacity;      /* bytes of pages for blocks, as the fresh heap said */
	size_t fresh_largest; /* bytes of the largest block of the fresh heap */

	struct block *blocks; /* in no order: a live block is picked by index */
	size_t nblocks, blocks_room;
	uint64_t *taken;  /* bit per word of the region */
	size_t allocated; /* sum of usable */

	uint64_t nops, next_seed;
	char history[HISTORY][112];
};

/* --- input ----------------------------------------------------------------------------------------------------- */

static uint64_t
random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9E3779B97F4A7C15u; /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
	return z ^ (z >> 31);
}

static bool
input_ended(const struct model_input *in)
{
	return in->data && in->pos >= in->size;
}

static unsigned
input_byte(struct model_input *in)
{
	if (!in->data)
		return (unsigned)(random_next(&in->random) & 255);
	return in->pos < in->size ? in->data[in->pos++] : 0;
}

static size_t
input_word(struct model_input *in, unsigned bytes)
{
	size_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (size_t)input_byte(in) << (8 * i);
	return v;
}

/* --- telling ----------------------------------------------------------------------------------------------------- */

static void model_note(struct model *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static _Noreturn void model_fail(const struct model *m, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void
model_note(struct model *m, const char *format, ...)
{
	va_list args;
	char *line = m->history[m->nops % HISTORY];

	va_start(args, format);
	vsnprintf(line, sizeof(m->history[0]), format, args);
	va_end(args);
	if (m->limits.trace)
		fprintf(stderr, "%8" PRIu64 " %s\n", m->nops, line);
	m->nops++;
}

static void
model_fail(const struct model *m, const char *format, ...)
{
	static const char *const backing[] = {"given", "sparse", "full", "private"};
	va_list args;
	uint64_t from = m->nops > HISTORY ? m->nops - HISTORY : 0;

	fprintf(stderr, "heap_model: region of %zu bytes, %zu reserved, %s, %s, min_align %zu, %u threads\n",
		m->region.config.size, m->region.config.reserved, backing[m->region.config.backing],
		m->region.config.zeroed ? "zeroed" : "dirty", m->region.config.min_align, m->ncells);
	for (uint64_t op = from; op < m->nops && !m->limits.trace; op++)
		fprintf(stderr, "%8" PRIu64 " %s\n", op, m->history[op % HISTORY]);
	fprintf(stderr, "heap_model: operation %" PRIu64 ": ", m->nops ? m->nops - 1 : 0);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	abort();
}

static void *
model_memory(void *old, size_t size)
{
	void *p = realloc(old, size);

	if (!p) {
		fprintf(stderr, "heap_model: no memory for the model\n");
		abort();
	}
	return p;
}

/* --- blocks ------------------------------------------------------------------------------------------------------ */

static unsigned char *
block_at(const struct model *m, const struct block *b)
{
	return (unsigned char *)m->region.config.base + b->off;
}

static uint64_t
block_word(uint64_t seed, size_t off)
{
	return seed + (off + 1) * 0x9E3779B97F4A7C15u;
}

/* Next word to fill after the one at `off` of a block of `size` bytes. */
static size_t
block_next(size_t size, size_t off)
{
	off += WORD;
	if (size > FILL_WHOLE && off >= FILL_END && off + FILL_END < size) {
		size_t far = (off + 511) & ~(size_t)511, tail = (size - FILL_END) & ~(WORD - 1);

		off = far < tail ? far : tail;
	}
	return off;
}

static void
block_fill(const struct model *m, const struct block *b)
{
	unsigned char *p = block_at(m, b);

	for (size_t off = 0; off + WORD <= b->usable; off = block_next(b->usable, off)) {
		uint64_t word = block_word(b->seed, off);

		memcpy(p + off, &word, WORD);
	}
}

/* Compares the first `size` bytes of what lies at p with what block_fill left in b. */
static void
block_compare(const struct model *m, const struct block *b, const unsigned char *p, size_t size, const char *when)
{
	for (size_t off = 0; off + WORD <= size; off = block_next(b->usable, off)) {
		uint64_t word;

		memcpy(&word, p + off, WORD);
		if (word != block_word(b->seed, off))
			model_fail(m, "M2: %s: byte %zu of the block of %zu bytes at +%#zx holds %#" PRIx64, when, off,
				   b->usable, b->off, word);
	}
}

static void
taken_set(struct model *m, size_t off, size_t size, bool set)
{
	size_t word = off / WORD, end = (off + size + WORD - 1) / WORD;

	while (word < end) {
		unsigned bit = word % 64;
		size_t n = 64 - bit < end - word ? 64 - bit : end - word;
		uint64_t mask = (n == 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1) << bit;

		if (set && (m->taken[word / 64] & mask))
			model_fail(m, "M1: block of %zu bytes at +%#zx overlaps a live one at about +%#zx", size, off,
				   word * WORD);
		if (set)
			m->taken[word / 64] |= mask;
		else
			m->taken[word / 64] &= ~mask;
		word += n;
	}
}

/* Slabs start on a page, so their slots are aligned to no more. */
static size_t
natural_alignment(size_t size)
{
	size_t align = size & (~size + 1);

	return align < HEAP_PAGE ? align : HEAP_PAGE;
}

/* A block has come from the heap: M1, then it becomes live and is filled. */
static void
block_add(struct model *m, void *p, size_t asked, size_t align)
{
	const struct heap_config *config = &m->region.config;
	uintptr_t at = (uintptr_t)p, base = (uintptr_t)config->base;
	struct block b = {.off = at - base, .usable = heap_usable_size(m->heap, p), .seed = m->next_seed};

	m->next_seed = m->next_seed * 6364136223846793005u + 1442695040888963407u;
	if (at < base + config->reserved || b.off >= config->size || b.usable > config->size - b.off)
		model_fail(m, "M1: block of %zu bytes at %p is not in the region at %p", b.usable, p, config->base);
	if (!heap_owns(m->heap, p) || !heap_owns(m->heap, (char *)p + b.usable - 1))
		model_fail(m, "M1: heap_owns() denies the block at +%#zx", b.off);
	if (b.usable < asked || b.usable == 0)
		model_fail(m, "M1: usable size %zu for %zu bytes asked", b.usable, asked);
	if (at % config->min_align || at % align)
		model_fail(m, "M1: block at %p is not aligned to %zu", p, align);
	if (b.usable > SC_SLAB_MAX ? at % HEAP_PAGE != 0
				   : sc_size(sc_of(b.usable)) == b.usable && at % natural_alignment(b.usable) != 0)
		model_fail(m, "M1: block of %zu bytes at %p has not the alignment of its class", b.usable, p);
	taken_set(m, b.off, b.usable, true);
	m->allocated += b.usable;
	if (m->nblocks == m->blocks_room) {
		m->blocks_room *= 2;
		m->blocks = model_memory(m->blocks, m->blocks_room * sizeof(*m->blocks));
	}
	m->blocks[m->nblocks++] = b;
	block_fill(m, &b);
}

static void
block_forget(struct model *m, size_t i)
{
	taken_set(m, m->blocks[i].off, m->blocks[i].usable, false);
	m->allocated -= m->blocks[i].usable;
	m->blocks[i] = m->blocks[--m->nblocks];
}

/* --- comparisons --------------------------------------------------------------------------------------------------- */

/* Pages of the longest part of the region's pages that no live block touches, less what the slabs of the blocks at
 * its two ends may hold of it. */
static size_t
model_gap_pages(const struct model *m)
{
	size_t words = HEAP_PAGE / WORD / 64, end = m->region.config.size / HEAP_PAGE, run = 0, best = 0;

	for (size_t page = end - m->capacity / HEAP_PAGE; page < end; page++) {
		const uint64_t *taken = m->taken + page * words;
		uint64_t any = 0;

		for (size_t i = 0; i < words; i++)
			any |= taken[i];
		run = any ? 0 : run + 1;
		best = run > best ? run : best;
	}
	return best > 2 * SLAB_PAGES_MOST ? best - 2 * SLAB_PAGES_MOST : 0;
}

/* M4: the heap said that `size` bytes at a multiple of `align` fit nowhere. */
static void
model_check_full(const struct model *m, size_t size, size_t align)
{
	struct heap_stats stats;
	size_t need;

	if (size > m->region.config.size || align > m->region.config.size)
		return;
	need = (size + HEAP_PAGE - 1) / HEAP_PAGE + (align > HEAP_PAGE ? align / HEAP_PAGE - 1 : 0);
	need += size == 0;
	heap_stats_get(m->heap, &stats);
	if (stats.largest_free / HEAP_PAGE >= need)
		model_fail(m, "M4: no room for %zu bytes, align %zu, with %" PRIu64 " free pages in one run", size,
			   align, stats.largest_free / HEAP_PAGE);
	if (model_gap_pages(m) >= need)
		model_fail(m, "M4: no room for %zu bytes, align %zu, with at least %zu pages between live blocks", size,
			   align, model_gap_pages(m));
	if (size > SC_SLAB_MAX || align > HEAP_PAGE)
		return;
	for (unsigned sc = sc_of(size); sc <= SC_COUNT; sc++) {
		const struct heap_class_stats *c = &stats.classes[sc];

		if (sc_size(sc) % align == 0 && c->used < c->slots)
			model_fail(m, "M4: no room for %zu bytes, align %zu, with %" PRIu64 " slots of %u bytes free",
				   size, align, c->slots - c->used, c->slot_size);
	}
}

static void
model_compare_stats(const struct model *m)
{
	struct heap_stats s;
	uint64_t used = 0, cached = 0;

	heap_stats_get(m->heap, &s);
	for (unsigned sc = 1; sc <= SC_COUNT; sc++) {
		const struct heap_class_stats *c = &s.classes[sc];

		if (c->slot_size != sc_size(sc))
			model_fail(m, "M5: class %u has %u bytes in the statistics", sc, c->slot_size);
		if (c->used + c->cached > c->slots)
			model_fail(m, "M5: class %u: %" PRIu64 " used and %" PRIu64 " cached of %" PRIu64 " slots", sc,
				   c->used, c->cached, c->slots);
		used += c->used * c->slot_size;
		cached += c->cached * c->slot_size;
	}
	if (s.allocated != m->allocated)
		model_fail(m, "M5: allocated is %" PRIu64 ", not %zu", s.allocated, m->allocated);
	if (used + s.large_bytes != s.allocated)
		model_fail(m,
			   "M5: slots of %" PRIu64 " and large of %" PRIu64 " bytes are not the %" PRIu64 " allocated",
			   used, s.large_bytes, s.allocated);
	if (cached > s.cached)
		model_fail(m, "M5: classes have %" PRIu64 " bytes cached, all together %" PRIu64, cached, s.cached);
	if (s.size != m->region.config.size || s.capacity != m->capacity)
		model_fail(m, "M5: size %" PRIu64 ", capacity %" PRIu64 " of a region of %zu with %zu", s.size,
			   s.capacity, m->region.config.size, m->capacity);
	if (s.allocated > s.active || s.active > s.capacity || s.committed > s.capacity)
		model_fail(m, "M5: allocated %" PRIu64 ", active %" PRIu64 ", committed %" PRIu64 ", capacity %" PRIu64,
			   s.allocated, s.active, s.committed, s.capacity);
	if (s.largest_free > s.capacity - s.active || s.dirty > s.capacity - s.active)
		model_fail(m, "M5: largest free %" PRIu64 ", dirty %" PRIu64 ", active %" PRIu64 " of %" PRIu64,
			   s.largest_free, s.dirty, s.active, s.capacity);
}

static int
block_order(const void *a, const void *b)
{
	size_t x = ((const struct block *)a)->off, y = ((const struct block *)b)->off;

	return (x > y) - (x < y);
}

struct walk {
	const struct model *m;
	const struct block *sorted;
	size_t n;
};

static void
walk_block(void *ctx, void *p, size_t usable)
{
	struct walk *w = ctx;
	const struct block *want = w->n < w->m->nblocks ? &w->sorted[w->n] : NULL;

	if (!want || block_at(w->m, want) != p || want->usable != usable)
		model_fail(w->m, "M5: heap_each_block tells of %zu bytes at +%#zx, the next live block is %zu at +%#zx",
			   usable, (size_t)((char *)p - (char *)w->m->region.config.base), want ? want->usable : 0,
			   want ? want->off : 0);
	w->n++;
}

/* Everything of M2 and M5. */
static void
model_compare(struct model *m, const char *when)
{
	char why[256] = "";
	struct walk w = {.m = m};
	struct block *sorted;
	int ok = heap_check(m->heap, why, sizeof(why));

	if (ok != 1)
		model_fail(m, "M5: %s: heap_check() is %d: %s", when, ok, why);
	model_compare_stats(m);
	sorted = model_memory(NULL, (m->nblocks + 1) * sizeof(*sorted));
	memcpy(sorted, m->blocks, m->nblocks * sizeof(*sorted));
	qsort(sorted, m->nblocks, sizeof(*sorted), block_order);
	w.sorted = sorted;
	heap_each_block(m->heap, walk_block, &w);
	if (w.n != m->nblocks)
		model_fail(m, "M5: %s: heap_each_block tells of %zu blocks, live are %zu", when, w.n, m->nblocks);
	free(sorted);
	for (size_t i = 0; i < m->nblocks; i++) {
		const struct block *b = &m->blocks[i];

		block_compare(m, b, block_at(m, b), b->usable, when);
		if (heap_usable_size(m->heap, block_at(m, b)) != b->usable)
			model_fail(m, "M1: %s: usable size of the block at +%#zx was %zu and is %zu", when, b->off,
				   b->usable, heap_usable_size(m->heap, block_at(m, b)));
	}
}

/* --- operations ---------------------------------------------------------------------------------------------------- */

static struct tcache_cell *
pick_cell(struct model *m)
{
	return &m->cells[input_byte(m->input) % m->ncells];
}

static unsigned
cell_number(const struct model *m, const struct tcache_cell *cell)
{
	return (unsigned)(cell - m->cells);
}

/* A size that is likely to be interesting: around classes, page counts, powers of two, what is left, overflow. */
static size_t
pick_size(struct model *m)
{
	struct model_input *in = m->input;
	unsigned kind = input_byte(in);
	size_t v;

	if (kind < 96)
		return input_byte(in);
	if (kind < 160) {
		v = sc_size(1 + input_byte(in) % SC_COUNT);
		return v + (kind % 4 == 1) - (kind % 4 == 2);
	}
	if (kind < 200)
		return input_word(in, 2) % SC_SLAB_MAX;
	if (kind < 216)
		return SC_SLAB_MAX + input_word(in, 2) * (kind % 2 ? 1 : 15);
	if (kind < 232)
		return (input_byte(in) % 64 + 1) * HEAP_PAGE + (kind % 4 == 1) - (kind % 4 == 2);
	if (kind < 244) {
		v = (size_t)1 << (input_byte(in) % 27);
		return v + (kind % 4 == 1) - (kind % 4 == 2);
	}
	if (kind < 253)
		return m->capacity / 256 * input_byte(in) + (kind % 4 == 1) - (kind % 4 == 2);
	if (kind == 253)
		return m->fresh_largest + input_byte(in) % 3 - 1;
	if (kind == 254)
		return PTRDIFF_MAX - input_byte(in);
	return SIZE_MAX - input_byte(in) * HEAP_PAGE / 16;
}

static void
op_malloc(struct model *m, struct tcache_cell *cell, size_t size)
{
	void *p = heap_malloc(m->heap, cell, size);

	if (p)
		block_add(m, p, size, 1);
	else
		model_check_full(m, size, 1);
}

static void
op_calloc(struct model *m)
{
	struct tcache_cell *cell = pick_cell(m);
	size_t n = 1 + input_byte(m->input) % 8, size = pick_size(m), all;
	unsigned char *p;
	bool overflow;

	if (size > SIZE_MAX / 2)
		n = 2 + n % 4;
	overflow = __builtin_mul_overflow(n, size, &all);
	model_note(m, "thread %u: calloc(%zu, %zu)", cell_number(m, cell), n, size);
	p = heap_calloc(m->heap, cell, n, size);
	if (overflow && p)
		model_fail(m, "calloc gave a block for an overflowing product");
	if (overflow)
		return;
	if (!p) {
		model_check_full(m, all, 1);
		return;
	}
	for (size_t i = 0; i < all; i++)
		if (p[i])
			model_fail(m, "M3: byte %zu of calloc's %zu at +%#zx is %#x", i, all,
				   (size_t)(p - (unsigned char *)m->region.config.base), p[i]);
	block_add(m, p, all, 1);
}

static void
op_aligned(struct model *m)
{
	struct tcache_cell *cell = pick_cell(m);
	size_t align = (size_t)1 << (input_byte(m->input) % 23), size = pick_size(m);
	void *p;

	model_note(m, "thread %u: aligned_alloc(%zu, %zu)", cell_number(m, cell), align, size);
	p = heap_aligned_alloc(m->heap, cell, align, size);
	if (p)
		block_add(m, p, size, align);
	else
		model_check_full(m, size, align);
}

static void
op_realloc(struct model *m)
{
	struct tcache_cell *cell = pick_cell(m);
	size_t i, size, keep;
	struct block old;
	unsigned how;
	void *p;

	if (m->nblocks == 0)
		return;
	i = input_word(m->input, 2) % m->nblocks;
	old = m->blocks[i];
	how = input_byte(m->input);
	if (how < 128)
		size = pick_size(m);
	else if (how < 192)
		size = old.usable + (old.usable >> (how % 8)) + how % 3 - 1;
	else
		size = old.usable - (old.usable >> (how % 8)) + how % 3 - 1;
	model_note(m, "thread %u: realloc(+%#zx of %zu, %zu)", cell_number(m, cell), old.off, old.usable, size);
	p = heap_realloc(m->heap, cell, block_at(m, &old), size);
	if (!p) {
		if (size <= old.usable)
			model_fail(m, "M4: realloc cannot make a block smaller");
		model_check_full(m, size, 1);
		block_compare(m, &old, block_at(m, &old), old.usable, "after a failed realloc");
		if (heap_usable_size(m->heap, block_at(m, &old)) != old.usable)
			model_fail(m, "M1: a failed realloc has changed the block's size");
		return;
	}
	keep = size < old.usable ? size : old.usable;
	block_compare(m, &old, p, keep, "after realloc");
	block_forget(m, i);
	block_add(m, p, size, 1);
}

static void
free_block(struct model *m, struct tcache_cell *cell, size_t i)
{
	struct block b = m->blocks[i];
	void *p = block_at(m, &b);

	block_compare(m, &b, p, b.usable, "before free");
	block_forget(m, i);
	if (b.seed >> 63) /* the two ways in must agree */
		heap_free(m->heap, cell, p);
	else if (!heap_free_try(cell, p))
		heap_free_slow(m->heap, cell, p);
}

static void
op_free(struct model *m)
{
	struct tcache_cell *cell = pick_cell(m);
	size_t i;

	if (m->nblocks == 0)
		return;
	i = input_word(m->input, 2) % m->nblocks;
	model_note(m, "thread %u: free(+%#zx of %zu)", cell_number(m, cell), m->blocks[i].off, m->blocks[i].usable);
	free_block(m, cell, i);
}

/* Many of one size, or until nothing fits: exhaustion is near in every run. */
static void
op_malloc_many(struct model *m)
{
	struct tcache_cell *cell = pick_cell(m);
	size_t size = pick_size(m), n = input_byte(m->input);
	size_t before = m->nblocks;

	n = n >= 192 ? SIZE_MAX : n * n / 4 + 1;
	model_note(m, "thread %u: malloc(%zu), %zd times", cell_number(m, cell), size, (ssize_t)n);
	while (n-- > 0 && m->nblocks < m->limits.max_blocks) {
		size_t live = m->nblocks;

		op_malloc(m, cell, size);
		if (m->nblocks == live)
			break;
	}
	if (m->limits.trace)
		fprintf(stderr, "         got %zu\n", m->nblocks - before);
}

static void
op_free_many(struct model *m)
{
	struct tcache_cell *cell = pick_cell(m);
	unsigned how = input_byte(m->input), step = 2 + input_byte(m->input) % 7;
	size_t n = m->nblocks;

	model_note(m, "thread %u: free many, way %u, step %u, of %zu", cell_number(m, cell), how % 6, step, n);
	switch (how % 6) {
	case 0: /* newest first */
		for (size_t count = n / step; count > 0; count--)
			free_block(m, cell, m->nblocks - 1);
		break;
	case 1: /* every step-th, by all threads in turn */
		for (size_t i = n; i-- > 0;)
			if (i % step == 0)
				free_block(m, &m->cells[i / step % m->ncells], i);
		break;
	case 2: /* all but every step-th, in the order of addresses */
		qsort(m->blocks, n, sizeof(*m->blocks), block_order);
		for (size_t i = n; i-- > 0;)
			if (i % step != 0)
				free_block(m, cell, i);
		break;
	case 3: { /* all within a part of the region */
		size_t from = m->region.config.size / 256 * input_byte(m->input), size = m->region.config.size / step;

		for (size_t i = n; i-- > 0;)
			if (m->blocks[i].off >= from && m->blocks[i].off - from < size)
				free_block(m, cell, i);
		break;
	}
	case 4: { /* all of one size */
		size_t usable = n ? m->blocks[input_word(m->input, 2) % n].usable : 0;

		for (size_t i = n; i-- > 0;)
			if (m->blocks[i].usable == usable)
				free_block(m, cell, i);
		break;
	}
	default:
		while (m->nblocks)
			free_block(m, cell, m->nblocks - 1);
	}
}

/* Between detach and attach lies what a program that ends and starts again does. */
static void
op_reopen(struct model *m)
{
	unsigned move = input_byte(m->input) % 4;
	int error;

	model_note(m, "detach, attach%s", move ? " elsewhere" : "");
	heap_detach(m->heap);
	for (unsigned i = 0; i < m->ncells; i++)
		if (atomic_load(&m->cells[i].tc) != &tcache_dummy)
			model_fail(m, "heap_detach has left the cell of thread %u as it was", i);
	if (move)
		heap_region_move(&m->region);
	error = heap_attach(&m->heap, &m->region.config);
	if (error)
		model_fail(m, "heap_attach: %s", strerror(error));
	model_compare(m, "after attach");
}

/* Blocks that heap_each_block() tells of and the model does not know. */
struct adoption {
	struct model *m;
	struct block *found;
	size_t n, room;
};

static void
adopt_block(void *ctx, void *p, size_t usable)
{
	struct adoption *a = ctx;

	for (size_t i = 0; i < a->m->nblocks; i++)
		if (block_at(a->m, &a->m->blocks[i]) == p)
			return;
	if (a->n == a->room) {
		a->room = a->room ? 2 * a->room : 64;
		a->found = model_memory(a->found, a->room * sizeof(*a->found));
	}
	a->found[a->n++] =
		(struct block){.off = (size_t)((char *)p - (char *)a->m->region.config.base), .usable = usable};
}

/* The process is killed between two operations, and its heap repaired where it lies. */
static void
op_die(struct model *m)
{
	struct heap_repair_report report;
	struct adoption adoption = {.m = m};
	uint64_t bytes = 0;
	int error;

	/* Slots in caches are looked for by comparing with each live block. */
	if (m->nblocks > 1000)
		return;
	model_note(m, "dies, repair, attach");
	heap_abandon(m->heap);
	if (input_byte(m->input) % 2)
		heap_region_move(&m->region);
	error = heap_repair(&m->region.config, NULL, &report);
	if (error)
		model_fail(m, "M7: heap_repair: %s: %s, at +%#" PRIx64, strerror(error), report.why, report.where);
	error = heap_attach(&m->heap, &m->region.config);
	if (error)
		model_fail(m, "M7: heap_attach: %s", strerror(error));
	heap_each_block(m->heap, adopt_block, &adoption);
	for (size_t i = 0; i < adoption.n; i++) {
		bytes += adoption.found[i].usable;
		block_add(m, (char *)m->region.config.base + adoption.found[i].off, adoption.found[i].usable, 1);
	}
	free(adoption.found);
	if (bytes > report.cached_max)
		model_fail(m,
			   "M7: %" PRIu64 " bytes more are allocated than were, at most %" PRIu64 " can be of caches",
			   bytes, report.cached_max);
	model_compare(m, "after repair");
}

struct range_walk {
	struct model *m;
	int clone_fd; /* -1: look only */
	size_t end;   /* of the last range */
	size_t next;  /* block of `sorted` that is not covered yet */
	const struct block *sorted;
};

static int
walk_range(void *ctx, size_t offset, size_t length)
{
	struct range_walk *w = ctx;
	const struct heap_config *config = &w->m->region.config;

	if (offset < w->end || offset < config->reserved || length == 0 || length > w->m->region.mapped - offset)
		model_fail(w->m, "heap_each_used_range: [%#zx, +%#zx) after %#zx", offset, length, w->end);
	w->end = offset + length;
	while (w->next < w->m->nblocks && w->sorted[w->next].off >= offset &&
	       w->sorted[w->next].off + w->sorted[w->next].usable <= w->end)
		w->next++;
	return w->clone_fd < 0 ? 0 : heap_region_clone_range(&w->m->region, w->clone_fd, offset, length);
}

/* Adjoining ranges may come in pieces that cut a block in two: the walk is over their union. */
static int
walk_union(void *ctx, size_t offset, size_t length)
{
	size_t *open = ctx; /* start and end of the union so far, then the walk below */
	struct range_walk *w = *(struct range_walk **)(open + 2);
	int stop = 0;

	if (open[1] == offset && open[1] != 0) {
		open[1] += length;
		return 0;
	}
	if (open[1])
		stop = walk_range(w, open[0], open[1] - open[0]);
	open[0] = offset;
	open[1] = offset + length;
	return stop;
}

/* fork, as the parent or as the child sees it: with the same memory, or with a clone of the used ranges. */
static void
op_fork(struct model *m)
{
	unsigned how = input_byte(m->input) % 4;
	struct tcache_cell *own = pick_cell(m);
	struct block *sorted = model_memory(NULL, (m->nblocks + 1) * sizeof(*sorted));
	struct range_walk w = {.m = m, .clone_fd = -1, .sorted = sorted};
	struct {
		size_t open[2];
		struct range_walk *walk;
	} all = {{0, 0}, &w};
	bool clone = how == 3 && m->region.config.backing == HEAP_BACKING_SPARSE;

	model_note(m, "thread %u: fork, %s", cell_number(m, own), clone ? "cloned child" : how ? "child" : "parent");
	memcpy(sorted, m->blocks, m->nblocks * sizeof(*sorted));
	qsort(sorted, m->nblocks, sizeof(*sorted), block_order);
	if (clone)
		w.clone_fd = heap_region_clone_begin(&m->region);
	heap_prefork(m->heap);
	heap_each_used_range(m->heap, walk_union, &all);
	if (all.open[1])
		walk_range(&w, all.open[0], all.open[1] - all.open[0]);
	if (w.next != m->nblocks)
		model_fail(m, "heap_each_used_range leaves out the block of %zu bytes at +%#zx", sorted[w.next].usable,
			   sorted[w.next].off);
	free(sorted);
	if (clone) {
		/* The caller's pages are the caller's to copy. */
		heap_region_clone_range(&m->region, w.clone_fd, 0, m->region.config.reserved);
		heap_region_clone_swap(&m->region, w.clone_fd);
		heap_set_backing(m->heap, HEAP_BACKING_SPARSE, true);
	}
	if (how == 0) {
		heap_postfork_parent(m->heap);
		return;
	}
	heap_postfork_child(m->heap, own);
	for (unsigned i = 0; i < m->ncells; i++)
		if (&m->cells[i] != own)
			m->cells[i] = (struct tcache_cell)TCACHE_CELL_INIT;
	model_compare(m, "in the child");
}

static void
op_purge(struct model *m)
{
	struct heap_stats before, after;
	size_t purged;

	model_note(m, "purge all");
	heap_stats_get(m->heap, &before);
	purged = heap_purge_all(m->heap);
	heap_stats_get(m->heap, &after);
	if (purged % HEAP_PAGE || purged > m->capacity)
		model_fail(m, "heap_purge_all gave back %zu bytes", purged);
	if (m->region.config.backing != HEAP_BACKING_SPARSE)
		return;
	if (after.dirty)
		model_fail(m, "heap_purge_all leaves %" PRIu64 " bytes of free pages with old content", after.dirty);
	if (after.purged - before.purged != purged)
		model_fail(m, "heap_purge_all gave back %zu bytes, the statistics say %" PRIu64, purged,
			   after.purged - before.purged);
}

static void
model_step(struct model *m)
{
	unsigned op = input_byte(m->input);
	struct tcache_cell *cell;

	/* Three of four operations change the size of a block or make an aligned one. */
	if (m->limits.resizing && op < 192)
		op = op < 48 ? 100 : 116;
	/* A full model only shrinks. */
	if (m->nblocks >= m->limits.max_blocks)
		op = 244;
	if (op < 80) {
		size_t size;

		cell = pick_cell(m);
		size = pick_size(m);
		model_note(m, "thread %u: malloc(%zu)", cell_number(m, cell), size);
		op_malloc(m, cell, size);
	} else if (op < 100) {
		op_calloc(m);
	} else if (op < 116) {
		op_aligned(m);
	} else if (op < 148) {
		op_realloc(m);
	} else if (op < 228) {
		op_free(m);
	} else if (op < 236) {
		op_malloc_many(m);
	} else if (op < 245) {
		op_free_many(m);
	} else if (op < 247) {
		cell = pick_cell(m);
		model_note(m, "thread %u: exits", cell_number(m, cell));
		heap_thread_exit(m->heap, cell);
		if (atomic_load(&cell->tc) != &tcache_dummy)
			model_fail(m, "heap_thread_exit has left the cell as it was");
	} else if (op < 249) {
		op_purge(m);
	} else if (op < 250) {
		op_die(m);
	} else if (op < 251) {
		model_note(m, "compare statistics");
		model_compare_stats(m);
	} else if (op < 252) {
		op_reopen(m);
	} else if (op < 254) {
		op_fork(m);
	} else {
		model_note(m, "compare all");
		model_compare(m, "on request");
	}
}

/* --- a run --------------------------------------------------------------------------------------------------------- */

static void
model_begin(struct model *m)
{
	static const enum heap_backing backings[] = {HEAP_BACKING_SPARSE, HEAP_BACKING_GIVEN, HEAP_BACKING_PRIVATE,
						     HEAP_BACKING_FULL};
	unsigned shape = input_byte(m->input), threads = input_byte(m->input);
	size_t reserved = (shape / 8 % 4) * HEAP_PAGE, size = HEAP_MIN_SIZE + reserved;
	size_t more = input_byte(m->input);
	enum heap_backing backing = backings[shape % 4];
	struct heap_stats stats;
	void *p;

	/* Most runs are in small regions, where everything meets; a few in large ones. */
	if (m->limits.region_size > size) {
		size_t most = m->limits.region_size - size;

		size += more < 128 ? most / 16 / 128 * more : most / 128 * (more - 128);
	}
	if (more == 255) /* at any address there is a whole huge page in it */
		size += 2 * OS_HUGE;
	heap_region_map(&m->region, size, backing,
			(shape & 4) && (backing == HEAP_BACKING_GIVEN || backing == HEAP_BACKING_FULL));
	m->region.config.reserved = reserved;
	m->region.config.min_align = shape & 64 ? 8 : 16;
	m->ncells = 1 + threads % NCELLS_MAX;
	for (unsigned i = 0; i < NCELLS_MAX; i++)
		m->cells[i] = (struct tcache_cell)TCACHE_CELL_INIT;
	m->heap = heap_region_create_heap(&m->region);
	m->taken = model_memory(NULL, m->region.mapped / WORD / 8 + 8);
	memset(m->taken, 0, m->region.mapped / WORD / 8 + 8);
	heap_stats_get(m->heap, &stats);
	m->capacity = stats.capacity;
	m->fresh_largest = stats.largest_free;
	if (stats.allocated || stats.largest_free > stats.capacity || stats.largest_free < stats.capacity / 2)
		model_fail(m, "fresh heap: allocated %" PRIu64 ", largest free %" PRIu64 ", capacity %" PRIu64,
			   stats.allocated, stats.largest_free, stats.capacity);
	/* Every second run begins with all pages used once. */
	if (threads & 128) {
		p = heap_malloc(m->heap, &m->cells[0], m->fresh_largest);
		if (!p)
			model_fail(m, "fresh heap: no block of its largest free size, %zu", m->fresh_largest);
		memset(p, 0x5A, m->fresh_largest);
		heap_free(m->heap, &m->cells[0], p);
	}
	model_compare(m, "in a fresh heap");
}

static void
model_end(struct model *m)
{
	void *p;

	model_note(m, "free all");
	model_compare(m, "at the end");
	for (size_t i = 0; m->nblocks; i++)
		free_block(m, &m->cells[i % m->ncells], i * 7919 % m->nblocks);
	model_compare(m, "with all freed");
	p = heap_malloc(m->heap, &m->cells[0], m->fresh_largest);
	if (!p)
		model_fail(m, "M6: with all freed there is no block of %zu bytes, as there was in the fresh heap",
			   m->fresh_largest);
	block_add(m, p, m->fresh_largest, 1);
	model_compare(m, "with the largest block");
	free_block(m, &m->cells[0], 0);
	if (input_byte(m->input) & 1) {
		heap_detach(m->heap);
		heap_region_unmap(&m->region);
	} else {
		heap_region_unmap(&m->region);
		heap_abandon(m->heap);
	}
	for (unsigned i = 0; i < m->ncells; i++)
		if (atomic_load(&m->cells[i].tc) != &tcache_dummy)
			model_fail(m, "the end of the heap has left the cell of thread %u as it was", i);
	free(m->blocks);
	free(m->taken);
}

uint64_t
model_run(struct model_input *input, const struct model_limits *limits)
{
	struct model m = {.input = input, .limits = *limits, .next_seed = 0x243F6A8885A308D3u};
	uint64_t compared = 0;

	m.blocks_room = 256; /* never NULL: qsort() must not be given that, not even for no block */
	m.blocks = model_memory(NULL, m.blocks_room * sizeof(*m.blocks));

	model_begin(&m);
	/* model_note counts operations; those that had nothing to do are not told, hence the second bound. */
	for (uint64_t steps = 0; m.nops < limits->max_ops && steps < 2 * limits->max_ops && !input_ended(input);
	     steps++) {
		model_step(&m);
		if (limits->check_every && m.nops - compared >= limits->check_every) {
			compared = m.nops;
			model_compare(&m, "at intervals");
		}
	}
	model_end(&m);
	return m.nops;
}
