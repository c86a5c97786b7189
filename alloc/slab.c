/* slab.c -- see slab.h for the contract and rules S1..S4
 *
 * Locks:  none; bits are atomic words. A release publishes the user's last writes (release), a taking sees them
 *         (acquire), so that a slot passes between threads through its bit.
 * Media:  in the region.
 */
#include "alloc/slab.h"

#include "alloc/assert.h"
#include "alloc/os.h"
#include "alloc/page_map.h"

struct slab_media *
slab_birth(struct heap *heap, uint32_t page, uint32_t pages, unsigned sc)
{
	uint32_t number = page / SC_MIN_SLAB_PAGES;
	struct slab_media *slab = &heap->slabs[number];
	uint64_t gen = (atomic_load_explicit(&slab->state, memory_order_relaxed) >> 32) + 1;

	slab->page = page;
	slab->pages = pages;
	slab->slot_size = sc_size(sc);
	slab->nslots = (uint32_t)(((uint64_t)pages << HEAP_LG_PAGE) / slab->slot_size);
	slab->recip = (uint32_t)(((UINT64_C(1) << 32) + slab->slot_size - 1) / slab->slot_size);
	slab->next = slab->prev = 0;
	slab->hint = 0;
	slab->zero0 = slab->zero1 = 0;
	slab->zero2[0] = slab->zero2[1] = 0;
	_Atomic uint64_t *bits = slab_bits(heap, slab);
	for (uint32_t w = 0; w < slab_words(slab); w++)
		atomic_store_explicit(&bits[w], 0, memory_order_relaxed);
	atomic_store(&slab->state, gen << 32 | (uint64_t)sc << 8 | SLAB_CLAIMED);
	atomic_signal_fence(memory_order_seq_cst);
	page_map_set_slab(heap, page, pages, sc, number);
	return slab;
}

void
slab_retire(struct slab_media *slab)
{
	uint64_t gen = (atomic_load_explicit(&slab->state, memory_order_relaxed) >> 32) + 1;

	atomic_store(&slab->state, gen << 32 | SLAB_NONE);
}

/* Bits of word w that stand for slots. */
static uint64_t
word_mask(const struct slab_media *slab, uint32_t w)
{
	uint32_t left = slab->nslots - w * 64;

	return left >= 64 ? UINT64_MAX : (UINT64_C(1) << left) - 1;
}

uint32_t
slab_take(struct heap *heap, struct slab_media *slab, void **end, uint32_t n)
{
	_Atomic uint64_t *bits = slab_bits(heap, slab);
	uint32_t nwords = slab_words(slab), size = slab->slot_size, left = n;
	uint32_t w = slab->hint < nwords ? slab->hint : 0;

	for (uint32_t looked = 0; looked < nwords; looked++) {
		uint64_t free = ~atomic_load_explicit(&bits[w], memory_order_relaxed) & word_mask(slab, w);
		uint64_t take = 0;

		while (free != 0 && left > 0) {
			/* A run of free slots at a time: addresses come by adding. */
			uint32_t first = (uint32_t)__builtin_ctzll(free);
			uint64_t used = ~(free >> first);
			uint32_t run = used == 0 ? 64 - first : (uint32_t)__builtin_ctzll(used);

			if (run > left)
				run = left;
			uint64_t mask = (run == 64 ? UINT64_MAX : (UINT64_C(1) << run) - 1) << first;
			char *slot = slab_slot_addr(heap, slab, w * 64 + first);
			for (uint32_t i = 0; i < run; i++, slot += size)
				*--end = slot;
			left -= run;
			take |= mask;
			free &= ~mask;
		}
		/* Only we set bits (S2), so those seen free are free still: no loop needed. */
		if (take != 0)
			atomic_fetch_or_explicit(&bits[w], take, memory_order_acquire);
		if (left == 0)
			break;
		if (++w == nwords)
			w = 0;
	}
	slab->hint = w;
	return n - left;
}

void
slab_double_free(const struct heap *heap, const struct slab_media *slab, uint32_t word, uint64_t free)
{
	os_fatal(heap->name, "double free of", slab_slot_addr(heap, slab, word * 64 + (uint32_t)__builtin_ctzll(free)));
}

bool
slab_is_empty(const struct heap *heap, const struct slab_media *slab)
{
	const _Atomic uint64_t *bits = slab_bits(heap, slab);

	for (uint32_t w = 0; w < slab_words(slab); w++) {
		if (atomic_load(&bits[w]) != 0)
			return false;
	}
	return true;
}

bool
slab_has_free(const struct heap *heap, const struct slab_media *slab)
{
	const _Atomic uint64_t *bits = slab_bits(heap, slab);

	for (uint32_t w = 0; w < slab_words(slab); w++) {
		if ((~atomic_load(&bits[w]) & word_mask(slab, w)) != 0)
			return true;
	}
	return false;
}

uint32_t
slab_used(const struct heap *heap, const struct slab_media *slab)
{
	const _Atomic uint64_t *bits = slab_bits(heap, slab);
	uint32_t n = 0;

	for (uint32_t w = 0; w < slab_words(slab); w++)
		n += (uint32_t)__builtin_popcountll(atomic_load_explicit(&bits[w], memory_order_relaxed));
	return n;
}

bool
slab_valid(const struct heap *heap, const struct slab_media *slab, const char **why)
{
	uint64_t state = atomic_load_explicit(&slab->state, memory_order_relaxed);
	unsigned sc = slab_state_class(state);
	uint32_t ready = atomic_load_explicit(&heap->ready_pages, memory_order_relaxed);

	if (slab_state_kind(state) == SLAB_NONE || slab_state_kind(state) > SLAB_EMPTY || sc == 0 ||
	    sc > SC_SLAB_COUNT) {
		*why = "a slab has no valid state";
		return false;
	}
	if (slab->pages < SC_MIN_SLAB_PAGES || slab->pages > ready || slab->page > ready - slab->pages ||
	    slab->page / SC_MIN_SLAB_PAGES != slab_number(heap, slab)) {
		*why = "a slab's place is not its own";
		return false;
	}
	if (slab->slot_size != sc_size(sc) ||
	    slab->nslots != ((uint64_t)slab->pages << HEAP_LG_PAGE) / slab->slot_size ||
	    slab->recip != (uint32_t)(((UINT64_C(1) << 32) + slab->slot_size - 1) / slab->slot_size)) {
		*why = "a slab's geometry differs from its class";
		return false;
	}
	for (uint32_t i = 0; i < slab->pages; i++) {
		if (heap->page_class[slab->page + i] != sc ||
		    heap->page_map[slab->page + i] != slab_number(heap, slab)) {
			*why = "page map and slab differ (P1, P2)";
			return false;
		}
	}
	uint32_t last = slab_words(slab) - 1;
	if ((atomic_load_explicit(&slab_bits(heap, slab)[last], memory_order_relaxed) & ~word_mask(slab, last)) != 0) {
		*why = "a slab's bitmap has bits beyond its slots (S1)";
		return false;
	}
	return true;
}
