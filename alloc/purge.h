/* purge.h -- free pages go back to the file system, within a budget
 *
 * Owns:   when and what to punch; the measured cost of punching (heap_state.h, purge_*).
 * Rules:  G1  free pages beyond a quarter of those in use, and beyond PURGE_KEEP_PAGES, are given back.
 *         G2  punching takes at most one part in PURGE_TIME_SHARE of the time that passes; what it costs on this
 *             file system is measured, not assumed.
 *         G3  it runs on the slow path of allocation and at thread exit, never in free().
 *         G4  high addresses first, from the top again each time the budget is exceeded: low ones are the next to be
 *             used.
 *         G5  a file system that refuses to punch is not asked again.
 *         G6  only what lay idle through a whole window of time is given back: memory that comes and goes within one
 *             is not punched to be committed again.
 * Locks:  extent lock in short steps; pages being punched are marked used meanwhile.
 * Media:  committed and dirty bits, through extent.h.
 */
#ifndef ALLOC_PURGE_H
#define ALLOC_PURGE_H

#include <stdint.h>

struct heap;

#define PURGE_KEEP_PAGES 4096u /* 16 MiB */
#define PURGE_TIME_SHARE 32u
#define PURGE_WINDOW_NS UINT64_C(100000000)

/* A step, if one is due. The caller is inside the heap. */
void purge_tick(struct heap *heap);

/* All of it, budget or not. Returns pages given back. The caller is inside the heap. */
uint64_t purge_all(struct heap *heap);

#endif
