/* repair.h -- a pool judged whole, and a pool that was not closed made one that was
 *
 * Both take a pool that a view holds locked, wherever it is mapped: the view's own mapping, or another one of the same files.
 * With PARTS_PRIVATE nothing of the files changes: that is how a repair is tried out.
 */
#ifndef API_PMEMCTO_REPAIR_H
#define API_PMEMCTO_REPAIR_H

#include <stddef.h>
#include <stdint.h>

#include "alloc/heap.h"
#include "alloc/repair.h"
#include "api/pmemcto/view.h"

/* The steps that the view has judged, then every page of the heap. `base`: mapped PARTS_PRIVATE, for nothing else from then
 * on. 1: whole; 0: not, and `why` says what; -1: errno and message. `progress` may be NULL. */
int cto_judge(const struct cto_view *view, void *base, const struct heap_progress *progress, char *why,
	      size_t why_size);

struct cto_repair_report {
	struct heap_repair_report heap;
	uint64_t root; /* that was cleared as it lay outside of the pool; 0: none was */
};

/* Repairs the heap (alloc/repair.h), clears a root pointer that is outside of the pool, and closes the pool in the order of
 * pmemcto_close(): every byte is durable before the pool is marked as closed. Killed meanwhile it is inconsistent, and can
 * be repaired again. The view's header, descriptor and size must be good. 0; EINVAL: it cannot be repaired,
 * report->heap.why, and is as it was; else errno value with message: marked as inconsistent. */
int cto_repair(const struct cto_view *view, void *base, enum parts_sharing sharing,
	       const struct heap_progress *progress, struct cto_repair_report *report);

#endif
