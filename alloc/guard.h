/* guard.h -- a heap that watches its blocks: the hardened mode, and what memcheck and AddressSanitizer are told
 *
 * A guarded heap has no thread caches: every cell shows the dummy for ever, so every call takes the slow path, and there
 * meets these functions. Heaps that are not guarded pay nothing on the fast path, one test on the slow one.
 *
 * Owns:   struct guard: a table of the blocks in users' hands and of those held back, by address, with the size asked for.
 * Rules:  W1  a block is in the table from the moment it is handed out until its memory goes back to the heap; blocks of
 *             an attached heap that it does not know were handed out by an earlier process, unguarded.
 *         W2  what is held back (quarantine, slots to choose from) is counted in heap_media.cache_room as caches' slots
 *             are, and is given back before the heap is detached or says that it has no room.
 *         W3  nothing of it is needed to read the pool later: the bytes behind what was asked for, where canaries lie,
 *             are nobody's.
 * Locks:  LOCK_GUARD, held through each call.
 * Media:  process only; writes canaries behind blocks and, with HEAP_GUARD_ZERO, zeros into freed ones.
 * Fails:  NULL as the heap does. A block that was tampered with: one line and abort.
 */
#ifndef ALLOC_GUARD_H
#define ALLOC_GUARD_H

#include <stddef.h>

struct heap;

/* What heap_config.guard asks for; of no guard, 0. */
int guard_new(struct heap *heap, unsigned flags); /* 0 or ENOMEM */
void guard_delete(struct heap *heap);
/* After heap_attach(): the blocks that are there already. */
void guard_adopt(struct heap *heap);
/* W2 */
void guard_release_all(struct heap *heap);

void *guard_alloc(struct heap *heap, size_t align, size_t size); /* align 0: that of the heap */
void *guard_calloc(struct heap *heap, size_t size);
void *guard_realloc(struct heap *heap, void *p, size_t size);
void guard_free(struct heap *heap, void *p);
size_t guard_usable_size(struct heap *heap, const void *p); /* what was asked for */

/* Around what looks at the whole heap, and fork; of no guard, nothing. */
void guard_hold(struct heap *heap);
void guard_let_go(struct heap *heap);
void guard_renew(struct heap *heap);
/* Bytes held back. Held. */
size_t guard_held_bytes(const struct heap *heap);

#endif
