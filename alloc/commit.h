/* commit.h -- which pages the file has, and which read as zero
 *
 * Owns:   chunk_media's committed and dirty bits, the count of committed pages, the choice between single and huge pages
 *         and what both have cost so far.
 * Rules:  C1  committed bit 1: the file has the page, no touch of it can raise SIGBUS. Set after the file has it, cleared
 *             before the file loses it: a process killed in between leaves no bit that promises too much.
 *         C2  dirty bit 0: the page reads as zero. Set before the page is handed out, cleared after a punch.
 *         C3  the bits of a page change only in the hands of who took it (extent.h); those of free pages stand still.
 *         C4  heap->committed_pages is the number of committed bits that were set here (backing SPARSE and PRIVATE).
 * States: of a page, committed and dirty: -- (a hole) -> c- (commit_pages) -> cd (commit_dirty) -> -- (commit_punch);
 *         c- is what a huge page brought with it; -d is what lost its place in the file but shows old bytes (private
 *         memory, or a commit that failed where the file cannot be punched).
 * Locks:  none. Words are shared with the neighbours' pages: atomic or/and. What others' bits say is true only while
 *         their pages are free and the extent lock is held.
 * Media:  in the region; layout in heap_media.h.
 * Fails:  ENOMEM: the file system has no room. Bits may have been set for what came before that; commit_punch mends it.
 */
#ifndef ALLOC_COMMIT_H
#define ALLOC_COMMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc/heap_state.h"
#include "alloc/os.h"

#define COMMIT_HUGE_PAGES ((uint32_t)(OS_HUGE >> HEAP_LG_PAGE))

/* Backs memory of the region as the backing needs it. Whole pages of the system. 0 or ENOMEM. */
int commit_memory(struct heap *heap, void *addr, size_t size);

/* Commits [page, page + n) as far as it is not; what lies behind the first `least` pages only if it comes with a huge
 * page. The pages are the caller's. */
int commit_pages(struct heap *heap, uint32_t page, uint32_t n, uint32_t least);

/* Marks [page, page + n) dirty; before that, with `zero`, clears those that were dirty already (and only those). */
void commit_dirty(struct heap *heap, uint32_t page, uint32_t n, bool zero);

/* Of [page, page + n) the part that makes whole pages of the system, which may be larger than ours: its length, 0 for
 * none; moves *page to it. */
uint32_t commit_whole(const struct heap *heap, uint32_t *page, uint32_t n);

/* The file loses [page, page + n), whole pages of the system and the caller's. False: it cannot be punched. The pages do
 * not count as committed then, whether or not the file still has them. */
bool commit_punch(struct heap *heap, uint32_t page, uint32_t n);

/* Sets or clears the committed bits of [page, page + n), and counts. */
void commit_set(struct heap *heap, uint32_t page, uint32_t n, bool committed);

/* How many of the pages from `page` on, up to `end`, are committed (`what`) or not. */
uint32_t commit_run(const struct heap *heap, uint32_t page, uint32_t end, bool what);

/* All of [page, page + n) costs nothing to use: it was written to before, or the file has it for this process alone. */
bool commit_is_paid(const struct heap *heap, uint32_t page, uint32_t n);

/* End of the huge page that `page` lies in, if it begins at or behind page `first` and huge pages are wanted; else 0. */
uint64_t commit_huge_end(const struct heap *heap, uint32_t first, uint32_t page);

/* Free pages hold nothing any more (heap_set_backing). The world is held. */
void commit_forget_free(struct heap *heap);
/* Counts committed pages anew after the backing changed (C4). The world is held. */
void commit_count(struct heap *heap);

#endif
