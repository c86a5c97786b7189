/* bin.h -- the slabs of one size class: which have room, which are empty
 *
 * Owns:   bin_media, the list links of slab_media, the changes of slab states, struct bin.
 * Rules:  B1  SLAB_PARTIAL exactly when on the partial list, SLAB_EMPTY exactly when on the empty list; an EMPTY
 *             slab has no bit set.
 *         B2  a slab with a free slot and no claim is on a list, or the thread that freed the slot is on its way to
 *             put it there.
 *         B3  at most one cache holds a slab's claim.
 *         B4  empty slabs stay with their class, whatever their number, until somebody needs their pages: before
 *             pages are taken that were never used (bin_take_pages), when there is more free memory than the budget
 *             allows (purge.c), before ENOMEM. Classes whose slabs empty and fill again never meet the extent lock.
 * States: birth -> CLAIMED; CLAIMED -> FULL | PARTIAL | EMPTY (bin_unclaim); FULL -> PARTIAL (bin_freed); PARTIAL ->
 *         EMPTY (bin_freed) -> CLAIMED (bin_claim) or retired; PARTIAL -> CLAIMED (bin_claim).
 * Locks:  LOCK_BIN, taken here; the extent lock is taken with it dropped.
 * Media:  lists in the region, derived; locks and counters outside.
 * Fails:  NULL when no slab has room and no extent can be had.
 */
#ifndef ALLOC_BIN_H
#define ALLOC_BIN_H

#include <stdbool.h>
#include <stdint.h>

#include "alloc/slab.h"

/* A slab of class sc for the caller to refill from: partial, else empty, else (with `make`) a new one. */
struct slab_media *bin_claim(struct heap *heap, unsigned sc, bool make);

/* Ends the caller's claim. */
void bin_unclaim(struct heap *heap, struct slab_media *slab);

/* Slots of a slab were released. `before`: its state word, read before the release, when it could not change lives;
 * `drained`: a bitmap word became 0. Puts a full slab on the partial list, an empty one where it belongs. */
void bin_freed(struct heap *heap, struct slab_media *slab, uint64_t before, bool drained);

/* Whether bin_freed would do anything, without the call: mostly not. Right whatever happens to the slab meanwhile. */
static inline bool
bin_must_know(const struct slab_media *slab, bool drained)
{
	/* seq_cst: after the release of the bits, see slab_release. */
	enum slab_kind kind = slab_state_kind(atomic_load(&slab->state));

	return kind == SLAB_FULL || (drained && kind == SLAB_PARTIAL);
}

/* Retires the empty slabs of all classes. True: some pages were freed. */
bool bin_drop_empty(struct heap *heap);

/* As extent_alloc, but empty slabs are retired before pages are taken that were never used. */
int bin_take_pages(struct heap *heap, uint32_t n, uint64_t align, bool zero, uint32_t *page);

#endif
