/* repair.c -- a pool judged whole, and a pool that was not closed made one that was
 *
 * Owns:   the order in which a repair becomes durable.
 * Rules:  R1  `consistent` 0 is durable before the first change, as for a program that opens the pool (C1 of pool.h).
 *         R2  every byte is durable before `consistent` is 1.
 *         R3  a pool that cannot be repaired is left as it was found.
 *         R4  a copy of a pool may have holes where the tables held zeros. They are filled before the first change: a
 *             store into one would be SIGBUS when the file system is full.
 * Locks:  the view's, on the files.
 * Media:  `consistent`, the root pointer and the checksums of the descriptor; the heap through alloc/repair.c.
 * Fails:  with an errno value; message and errno are set unless it is EINVAL.
 */
#include "api/pmemcto/repair.h"

#include <errno.h>
#include <string.h>

#include "alloc/heap_media.h"
#include "api/common/error.h"
#include "api/common/format.h"
#include "api/pmemcto/front.h"

static struct heap_config
config_at(const struct cto_view *view, void *base)
{
	struct heap_config config = cto_view_heap(view);

	config.base = base;
	return config;
}

/* --- judging --------------------------------------------------------------------------------------------------- */

int
cto_judge(const struct cto_view *view, void *base, const struct heap_progress *progress, char *why, size_t why_size)
{
	struct heap_config config = config_at(view, base);
	const char *fault = cto_view_fault(view);
	struct heap *heap;

	if (fault != NULL) {
		format(why, why_size, "%s", fault);
		return 0;
	}
	int error = heap_attach(&heap, &config);
	if (error == EINVAL) {
		format(why, why_size, "the heap's superblock is wrong");
		return 0;
	}
	if (error != 0) {
		errno = error;
		ERROR_ERRNO("the heap");
		return -1;
	}
	int whole = heap_check_watched(heap, progress, why, why_size);
	heap_abandon(heap);
	return whole;
}

/* --- making durable -------------------------------------------------------------------------------------------- */

/* Where the bytes of a repair go: nowhere, when it is tried out. */
struct target {
	const struct parts *parts;
	enum parts_sharing sharing;
	struct pool_front_media *front;
};

static int
mark(const struct target *target, uint8_t consistent)
{
	front_set_consistent(target->front, consistent);
	return target->sharing == PARTS_SHARED ? front_sync(target->parts, target->front) : 0;
}

/* R2 */
static int
close_durably(const struct target *target)
{
	struct pool_desc_media *desc = &target->front->desc;
	const struct heap_media *media = (const struct heap_media *)((const char *)target->front + desc->heap_offset);

	media_seal(desc, media->checksum);
	int error = target->sharing == PARTS_SHARED ? parts_sync(target->parts, target->front, desc->size) : 0;
	if (error == 0)
		error = mark(target, 1);
	if (error != 0)
		front_set_consistent(target->front, 0);
	return error;
}

/* --- repairing ------------------------------------------------------------------------------------------------- */

static uint64_t
clear_wrong_root(struct pool_desc_media *desc)
{
	uint64_t root = atomic_load_explicit(&desc->root, memory_order_relaxed);

	if (media_root_valid(desc))
		return 0;
	atomic_store_explicit(&desc->root, 0, memory_order_relaxed);
	return root;
}

static int
reserve_range(void *ctx, size_t offset, size_t length)
{
	return parts_reserve_range(ctx, offset, length);
}

/* R4 */
static int
reserve(const struct cto_view *view)
{
	struct survey survey;
	uint64_t chunks;

	if (view->parts.allocated >= view->parts.file_size || !cto_view_survey(view, &survey))
		return 0; /* nothing is missing; or heap_repair() says what is wrong, and writes nothing */
	if ((view->front.desc.flags & POOL_FLAG_RESERVED) != 0)
		return parts_reserve(&view->parts);
	/* what lies behind the chunks in use is looked at, too */
	chunks = (survey.ready + HEAP_CHUNK_PAGES - 1) / HEAP_CHUNK_PAGES;
	chunks += chunks < survey.layout.nchunks;
	return heap_each_table_range(&survey.layout, chunks, reserve_range, (void *)(uintptr_t)&view->parts);
}

int
cto_repair(const struct cto_view *view, void *base, enum parts_sharing sharing, const struct heap_progress *progress,
	   struct cto_repair_report *report)
{
	struct heap_config config = config_at(view, base);
	struct target target = {&view->parts, sharing, base};
	struct pool_desc_media *desc = &target.front->desc;
	uint8_t found = atomic_load_explicit(&desc->consistent, memory_order_relaxed);

	memset(report, 0, sizeof(*report));
	int error = sharing == PARTS_SHARED ? reserve(view) : 0;
	if (error != 0)
		return error;
	error = mark(&target, 0); /* R1 */
	if (error == 0)
		error = heap_repair(&config, progress, &report->heap);
	if (error == EINVAL && report->heap.why[0] != '\0') {
		mark(&target, found); /* R3 */
		return EINVAL;
	}
	if (error == 0) {
		report->root = clear_wrong_root(desc);
		error = close_durably(&target);
	}
	errno = error;
	if (error != 0)
		ERROR_ERRNO("the repaired pool could not be made durable, and stays marked as inconsistent");
	return error;
}
