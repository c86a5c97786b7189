/* slab.h -- equal slots inside one extent
 *
 * Owns:   slab_media but for its list links, and the slot bitmaps.
 * Rules:  S1  bit i of a slab's bitmap is 1 exactly while slot i is in a cache or a user's hands; bits from nslots
 *             on are 0.
 *         S2  bits are set only by the holder of the slab's claim (state SLAB_CLAIMED), cleared by any thread that
 *             holds the slot. Hence in every other state bits only fall.
 *         S3  while a thread holds a slot, its slab can be neither retired nor reborn: geometry is constant.
 *         S4  the generation moves at birth and retirement; who remembers a state word can tell a reborn slab.
 * Locks:  none for bits; the bin's lock for changes of state (bin.h).
 * Media:  in the region: geometry and bits are truth, state and hint derived.
 * Fails:  releasing a slot that is not in use is a double free: one line and abort.
 */
#ifndef ALLOC_SLAB_H
#define ALLOC_SLAB_H

#include <stdbool.h>
#include <stdint.h>

#include "alloc/heap_state.h"

static inline enum slab_kind
slab_state_kind(uint64_t state)
{
	return (enum slab_kind)(state & 0xff);
}

static inline unsigned
slab_state_class(uint64_t state)
{
	return (unsigned)(state >> 8) & 0xff;
}

static inline bool
slab_state_same_life(uint64_t a, uint64_t b)
{
	return a >> 32 == b >> 32;
}

/* The same life in another state. Bin lock, or before the slab can be seen. */
static inline void
slab_set_kind(struct slab_media *slab, enum slab_kind kind)
{
	uint64_t state = atomic_load_explicit(&slab->state, memory_order_relaxed);

	/* seq_cst pairs with slab_release: see bin_unclaim. */
	atomic_store(&slab->state, (state & ~UINT64_C(0xff)) | kind);
}

static inline uint32_t
slab_words(const struct slab_media *slab)
{
	return (slab->nslots + 63) / 64;
}

static inline _Atomic uint64_t *
slab_bits(const struct heap *heap, const struct slab_media *slab)
{
	return heap->bits + (size_t)slab->page * HEAP_PAGE_WORDS;
}

static inline uint32_t
slab_number(const struct heap *heap, const struct slab_media *slab)
{
	return (uint32_t)(slab - heap->slabs);
}

/* Slot that begins at p, an address in the slab; UINT32_MAX when none does. */
static inline uint32_t
slab_slot_of(const struct heap *heap, const struct slab_media *slab, const void *p)
{
	uint32_t offset = (uint32_t)((uintptr_t)p - (uintptr_t)heap_page_addr(heap, slab->page));
	uint32_t slot = (uint32_t)((uint64_t)offset * slab->recip >> 32);

	return slot * slab->slot_size == offset && slot < slab->nslots ? slot : UINT32_MAX;
}

static inline void *
slab_slot_addr(const struct heap *heap, const struct slab_media *slab, uint32_t slot)
{
	return heap_page_addr(heap, slab->page) + (size_t)slot * slab->slot_size;
}

/* Gives the extent [page, page + pages) a slab of class sc, claimed by the caller. page is the caller's. */
struct slab_media *slab_birth(struct heap *heap, uint32_t page, uint32_t pages, unsigned sc);

/* Its extent is about to go back. Bin lock; the slab is empty and in no list. */
void slab_retire(struct slab_media *slab);

/* Takes up to n free slots, in rising order as far as they lie behind the last ones: the first to end[-1], the next to
 * end[-2], as a magazine wants them. Returns how many. The claim's holder only. */
uint32_t slab_take(struct heap *heap, struct slab_media *slab, void **end, uint32_t n);

/* Stops: of the slots of bitmap word `word`, those of `free` were given back before. */
_Noreturn void slab_double_free(const struct heap *heap, const struct slab_media *slab, uint32_t word, uint64_t free);

/* Gives back the slots of bitmap word `word` named by `mask`. True: the word holds no used slot any more. */
static inline bool
slab_release(struct heap *heap, struct slab_media *slab, uint32_t word, uint64_t mask)
{
	/* seq_cst: the caller reads the slab's state next, and its claim's holder writes the state and then reads
	 * the bits; one of the two must see the other (bin_unclaim). Subtraction equals and-not where the bits are
	 * set, and is one instruction whose old value shows a double free. */
	uint64_t old = atomic_fetch_sub(&slab_bits(heap, slab)[word], mask);

	if (__builtin_expect((old & mask) != mask, 0))
		slab_double_free(heap, slab, word, mask & ~old);
	return old == mask;
}

bool slab_is_empty(const struct heap *heap, const struct slab_media *slab);
bool slab_has_free(const struct heap *heap, const struct slab_media *slab);
uint32_t slab_used(const struct heap *heap, const struct slab_media *slab);

/* S1 and geometry against the page map. The world is held. */
bool slab_valid(const struct heap *heap, const struct slab_media *slab, const char **why);

#endif
