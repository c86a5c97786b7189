/* crash_log.c -- a workload that says what it has completed, for those who kill it
 *
 * Media: none of its own.
 */
#include "tests/crash_log.h"

#include <string.h>

uint64_t
crash_random(uint64_t *state)
{
	uint64_t z = *state += 0x9E3779B97F4A7C15u; /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
	return z ^ (z >> 31);
}

static unsigned char
byte_of(uint32_t stamp, size_t i)
{
	return (unsigned char)((stamp >> (i % 4 * 8)) + i / 4);
}

/* Which bytes are written: all, or eight at either end. */
static size_t
next_byte(size_t i, size_t size, bool thin)
{
	return thin && i + 1 == 8 && size > 16 ? size - 8 : i + 1;
}

static void
fill(unsigned char *p, size_t size, uint32_t stamp, bool thin)
{
	for (size_t i = 0; i < size; i = next_byte(i, size, thin))
		p[i] = byte_of(stamp, i);
}

bool
crash_block_intact(const struct crash_slot *slot, const char *base, bool thin)
{
	const unsigned char *p = (const unsigned char *)base + slot->off;

	for (size_t i = 0; i < slot->size; i = next_byte(i, slot->size, thin))
		if (p[i] != byte_of(slot->stamp, i))
			return false;
	return true;
}

/* Mostly small, some of runs and large extents. */
static size_t
random_size(uint64_t *state, size_t max)
{
	uint64_t r = crash_random(state);
	size_t limit = (r & 7) != 0 ? 600 : (r & 8) != 0 ? 20000 : max;

	if (limit > max)
		limit = max;
	return 1 + (size_t)((r >> 8) % limit);
}

static void
set_live(struct crash_slot *slot, const struct crash_heap *heap, void *p, size_t size, uint32_t stamp, bool thin)
{
	fill(p, size, stamp, thin);
	slot->off = (uint64_t)((char *)p - heap->base);
	slot->size = size;
	slot->stamp = stamp;
	atomic_store_explicit(&slot->state, CRASH_LIVE, memory_order_release);
}

static void
step(const struct crash_work *work, uint64_t *random)
{
	const struct crash_heap *heap = work->heap;
	struct crash_slot *slot = &work->log->slots[work->thread][crash_random(random) % CRASH_SLOTS];
	uint64_t r = crash_random(random);
	uint32_t stamp = (uint32_t)(r >> 32);
	void *old = heap->base + slot->off, *p;
	size_t size = random_size(random, work->size_max), align = r % 8 == 0 ? (size_t)1 << (r >> 8) % 14 : 0;
	bool live = atomic_load_explicit(&slot->state, memory_order_relaxed) == CRASH_LIVE;

	/* Some grow or shrink by a little, where an extent can do that in place. */
	if (live && r & 16)
		size = slot->size + (r >> 8) % 9000 - (slot->size > 9000 ? 4500 : 0);
	slot->want = live ? slot->size + size : size > align ? size : align;
	atomic_store_explicit(&slot->state, CRASH_BUSY, memory_order_seq_cst);
	if (!live) {
		p = heap->take(heap->ctx, align, size);
		if (p != NULL)
			set_live(slot, heap, p, size, stamp, work->thin);
		else
			atomic_store_explicit(&slot->state, CRASH_NONE, memory_order_release);
	} else if (r % 4 == 0) {
		p = heap->resize(heap->ctx, old, size);
		if (p != NULL)
			set_live(slot, heap, p, size, stamp, work->thin);
		else
			atomic_store_explicit(&slot->state, CRASH_LIVE, memory_order_release);
	} else {
		heap->give(heap->ctx, old);
		atomic_store_explicit(&slot->state, CRASH_NONE, memory_order_release);
	}
	atomic_fetch_add_explicit(&work->log->ops, 1, memory_order_relaxed);
}

void
crash_work(const struct crash_work *work)
{
	uint64_t random = work->seed;

	for (uint64_t i = 0; work->ops == 0 || i < work->ops; i++)
		step(work, &random);
}

uint64_t
crash_log_under_way(const struct crash_log *log)
{
	uint64_t bytes = 0;

	for (unsigned t = 0; t < CRASH_THREADS; t++) {
		for (unsigned i = 0; i < CRASH_SLOTS; i++) {
			const struct crash_slot *slot = &log->slots[t][i];

			/* Classes are an eighth apart, an alignment takes as much again. */
			if (atomic_load(&slot->state) == CRASH_BUSY)
				bytes += 2 * slot->want + 64;
		}
	}
	return bytes;
}

unsigned
crash_log_forget(struct crash_log *log)
{
	unsigned n = 0;

	for (unsigned t = 0; t < CRASH_THREADS; t++) {
		for (unsigned i = 0; i < CRASH_SLOTS; i++) {
			if (atomic_load(&log->slots[t][i].state) != CRASH_BUSY)
				continue;
			atomic_store(&log->slots[t][i].state, CRASH_NONE);
			n++;
		}
	}
	return n;
}

const struct crash_slot *
crash_log_at(const struct crash_log *log, uint64_t off, uint64_t size)
{
	for (unsigned t = 0; t < CRASH_THREADS; t++) {
		for (unsigned i = 0; i < CRASH_SLOTS; i++) {
			const struct crash_slot *slot = &log->slots[t][i];

			if (atomic_load(&slot->state) == CRASH_LIVE && off < slot->off + slot->size &&
			    slot->off < off + size)
				return slot;
		}
	}
	return NULL;
}

const char *
crash_log_verify(const struct crash_log *log, const char *base, bool thin, unsigned *n)
{
	*n = 0;
	for (unsigned t = 0; t < CRASH_THREADS; t++) {
		for (unsigned i = 0; i < CRASH_SLOTS; i++) {
			const struct crash_slot *slot = &log->slots[t][i];

			if (atomic_load(&slot->state) != CRASH_LIVE)
				continue;
			++*n;
			if (!crash_block_intact(slot, base, thin))
				return "a block's bytes have changed";
			/* The first that overlaps it must be itself. */
			if (crash_log_at(log, slot->off, slot->size) != slot)
				return "two live blocks overlap";
		}
	}
	return NULL;
}
