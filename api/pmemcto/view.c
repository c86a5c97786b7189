/* view.c -- a pool looked at from outside
 *
 * Owns:   the order of the steps, the mapping.
 * Rules:  W1  nothing is followed that a step before has not found good: what is mapped, the file has.
 *         W2  with PARTS_READ nothing of the files changes, not even what is mapped writable: it is mapped privately.
 * Locks:  those of the files: shared with PARTS_READ, exclusive with PARTS_WRITE.
 * Media:  reads.
 * Fails:  with an errno value, message and errno set.
 */
#include "api/pmemcto/view.h"

#include <errno.h>
#include <string.h>

#include "alloc/heap_media.h"
#include "api/common/error.h"
#include "api/pmemcto/front.h"
#include "api/pmemcto/headers.h"

/* The headers, where there is a whole one. */
static int
read_front(struct cto_view *view, const char **fault)
{
	uint64_t size = view->parts.part[0].file.size;

	size_t part;
	int error = parts_read(&view->parts, 0, 0, (void *)&view->front,
			       size < sizeof(view->front) ? size : sizeof(view->front));

	return error != 0 ? error : headers_judge(&view->parts, &view->front.header, fault, &part);
}

/* True when the steps behind this one can be judged. */
static bool
judge(struct cto_view *view, enum view_step step, const char *fault)
{
	view->judged |= 1u << step;
	view->fault[step] = fault;
	return fault == NULL;
}

static const char *
size_fault(const struct cto_view *view)
{
	if (view->parts.size < view->front.desc.size)
		return "the file is shorter than the pool: its end is lost";
	return view->parts.size > view->front.desc.size ? "the file is longer than the pool" : NULL;
}

static const char *
state_fault(const struct cto_view *view)
{
	if (view->open)
		return "inconsistent pool: it is marked as open, and was not closed by the last process that had it";
	return media_closed_fault(&view->front.desc);
}

static const char *
heap_fault(const struct cto_view *view)
{
	const struct pool_desc_media *desc = &view->front.desc;
	const struct heap_media *media = (const struct heap_media *)(view->base + desc->heap_offset);
	struct survey survey;
	const char *fault = survey_begin(&survey, view->base, desc->size, desc->heap_offset);

	if (fault == NULL && view->fault[VIEW_STATE] == NULL &&
	    (media->checksum != desc->heap_checksum || media->checksum != heap_superblock_checksum(media)))
		fault = "the superblock is not as it was when the pool was closed";
	return fault;
}

/* 0, or that of mapping. */
static int
judge_all(struct cto_view *view, const char *header_fault)
{
	const struct pool_desc_media *desc = &view->front.desc;
	void *base;
	int error;

	view->signature = memcmp(view->front.header.signature, POOL_SIGNATURE, sizeof(POOL_SIGNATURE)) == 0;
	view->part = view->signature && view->parts.n == 1 && !view->parts.single_header &&
		view->front.header.checksum == media_header_checksum(&view->front.header) &&
		media_is_part(&view->front.header);
	if (!judge(view, VIEW_HEADER, header_fault) || !judge(view, VIEW_DESC, media_desc_fault(&view->front)))
		return 0;
	view->open = atomic_load_explicit(&desc->consistent, memory_order_relaxed) == 0;
	if (!judge(view, VIEW_SIZE, size_fault(view)) && view->parts.size < desc->size)
		return 0;
	error = parts_map(&view->parts, view->access == PARTS_WRITE ? PARTS_SHARED : PARTS_PRIVATE, &base);
	if (error != 0 && error != ENOTSUP)
		return error;
	judge(view, VIEW_STATE, state_fault(view));
	if (error == ENOTSUP) { /* there are no private mappings of device DAX */
		judge(view, VIEW_HEAP, "it lies on a device DAX, and can only be read by who opens the pool");
		return 0;
	}
	view->base = base;
	judge(view, VIEW_HEAP, heap_fault(view));
	return 0;
}

int
cto_view_open(const char *path, enum parts_access access, struct cto_view *view)
{
	const char *header_fault;
	int error;

	memset((void *)view, 0, sizeof(*view));
	view->access = access;
	error = parts_open(path, access, &view->parts);
	if (error != 0)
		return error;
	error = read_front(view, &header_fault);
	if (error == 0) {
		error = judge_all(view, header_fault);
		errno = error;
		if (error != 0)
			ERROR_ERRNO("mmap \"%s\"", path);
	}
	if (error != 0)
		cto_view_close(view);
	return error;
}

void
cto_view_close(struct cto_view *view)
{
	int error = errno;

	if (view->base != NULL)
		parts_unmap(&view->parts, view->base);
	view->base = NULL;
	parts_release(&view->parts);
	errno = error;
}

const char *
cto_view_step_name(enum view_step step)
{
	static const char *const names[VIEW_STEPS] = {"header", "descriptor", "size", "state", "heap"};

	return names[step];
}

const char *
cto_view_fault(const struct cto_view *view)
{
	for (int step = 0; step < VIEW_STEPS; step++)
		if (view->fault[step] != NULL)
			return view->fault[step];
	return NULL;
}

bool
cto_view_survey(const struct cto_view *view, struct survey *survey)
{
	const struct pool_desc_media *desc = &view->front.desc;

	return view->base != NULL && survey_begin(survey, view->base, desc->size, desc->heap_offset) == NULL;
}

struct heap_config
cto_view_heap(const struct cto_view *view)
{
	const struct pool_desc_media *desc = &view->front.desc;

	struct heap_config config =
		front_heap_config(view->base, desc->size, desc->heap_offset, desc->flags, false);

	config.name = "pmheap";
	return config;
}
