/* stats_text.h -- the text of vmem_stats_print() and pmemcto_stats_print()
 *
 * Programs and scripts read the layout that jemalloc 3.6 gave it, so it keeps that: one "arena" that all threads share,
 * the classes that are slots of slabs as "bins", those that are extents as "large", what has no class as "huge". What
 * has no counterpart here shows a constant. One line is one call of the print function. What is counted in batches, as
 * slots move between caches and slabs, is shown so: nmalloc and ndalloc of small sizes do not tell single calls.
 */
#ifndef API_COMMON_STATS_TEXT_H
#define API_COMMON_STATS_TEXT_H

#include "alloc/heap.h"

/* `opts`: NULL, or letters that leave parts out: g general, m merged, a per arena, b bins, l large; others mean nothing.
 * To log_print(). */
void stats_text_print(struct heap *heap, const char *opts, int major, int minor);

#endif
