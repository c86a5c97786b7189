/* open.c -- pmemcto_open() and pmemcto_check(): a pool judged, mapped where it belongs, and used or looked through
 *
 * Owns:   the order of the steps, and their way back.
 * Rules:  C1 and C2 of pool.h.
 * Locks:  those of the files.
 * Media:  through front.c; judged by media.c and headers.c.
 * Fails:  NULL or -1, with errno and message.
 */
#include "api/pmemcto/pool.h"

#include <errno.h>
#include <string.h>

#include "alloc/heap_media.h"
#include "api/common/error.h"
#include "api/common/log.h"
#include "api/common/os.h"
#include "api/pmemcto/front.h"
#include "api/pmemcto/headers.h"

static int
refuse(const char *path, const char *fault)
{
	ERROR("\"%s\": %s", path, fault);
	return EINVAL;
}

/* All that can be said about a pool without mapping it. */
static int
examine_front(const char *path, const char *layout, const struct parts *parts, struct pool_front_media *front)
{
	const struct pool_desc_media *desc = &front->desc;
	const char *fault;
	size_t part;
	int error = parts_read(parts, 0, 0, (void *)front, sizeof(*front));

	if (error == 0)
		error = headers_judge(parts, &front->header, &fault, &part);
	if (error != 0)
		return error;
	if (fault != NULL)
		return refuse(parts->part[part].file.path, fault);
	fault = media_desc_fault(front);
	if (fault != NULL)
		return refuse(path, fault);
	if (layout != NULL && strcmp(layout, (const char *)desc->layout) != 0) {
		ERROR("\"%s\": wrong layout (\"%s\"), the pool's is \"%s\"", path, layout, (const char *)desc->layout);
		return EINVAL;
	}
	if (desc->size != parts->size) {
		ERROR("\"%s\": the pool has %llu bytes, but the file has %llu: it was cut or grew", path,
		    (unsigned long long)desc->size, (unsigned long long)parts->file_size);
		return EINVAL;
	}
	if (atomic_load_explicit(&desc->consistent, memory_order_relaxed) == 0) {
		/* programs look for these words */
		ERROR("inconsistent pool");
		return EINVAL;
	}
	fault = media_closed_fault(desc);
	return fault != NULL ? refuse(path, fault) : 0;
}

/* Opens and locks the files, to be mapped so, and judges the pool's front. 0, or errno value with message. */
static int
examine(const char *path, const char *layout, enum parts_sharing sharing, struct parts *parts,
    struct pool_front_media *front)
{
	int error = parts_open(path, PARTS_WRITE, parts);

	if (error != 0)
		return error;
	if (sharing == PARTS_PRIVATE && parts->part[0].file.is_device) {
		ERROR("\"%s\": a device DAX cannot be mapped without changing it, so not be checked", path);
		error = ENOTSUP;
	} else {
		error = examine_front(path, layout, parts, front);
	}
	if (error != 0)
		parts_release(parts);
	return error;
}

/* Maps the pool where it belongs, and nowhere else. */
static int
map(const char *path, const struct parts *parts, const struct pool_desc_media *desc, enum parts_sharing sharing)
{
	int error = parts_map_at(parts, (void *)(uintptr_t)desc->base, sharing);

	if (error == 0)
		return 0;
	errno = error;
	ERROR_ERRNO("\"%s\": cannot map %llu bytes at 0x%llx, where the pool belongs", path,
	    (unsigned long long)desc->size, (unsigned long long)desc->base);
	return error == EACCES || error == EPERM ? error : ENOMEM;
}

/* NULL, or why heap_attach() would not do. Reads the superblock. */
static const char *
heap_fault(const struct pool_desc_media *desc, bool *other_version)
{
	const struct heap_media *media = (const struct heap_media *)(uintptr_t)(desc->base + desc->heap_offset);

	*other_version = media->magic == HEAP_MEDIA_MAGIC && media->version != HEAP_MEDIA_VERSION;
	if (*other_version)
		return "the pool's heap has another format version: a newer library is needed";
	if (media->magic != HEAP_MEDIA_MAGIC || media->checksum != desc->heap_checksum)
		return "the heap is damaged: its superblock is not as it was when the pool was closed";
	return NULL;
}

static int
attach(const char *path, const struct pool_desc_media *desc, bool to_use, struct heap **heap)
{
	struct heap_config config =
	    front_heap_config((void *)(uintptr_t)desc->base, desc->size, desc->heap_offset, desc->flags, false);
	int error = to_use ? front_guard(&config.guard) : 0;

	if (error != 0)
		return error;
	error = heap_attach(heap, &config);
	errno = error;
	if (error == EINVAL)
		refuse(path, "the heap is damaged: its superblock is wrong");
	else if (error != 0)
		ERROR_ERRNO("\"%s\"", path);
	return error;
}

static int
fill_range(void *ctx, size_t offset, size_t length)
{
	return parts_reserve_range(ctx, offset, length);
}

/* Copying a file may leave holes where it held zeros: what the heap counts on having must be there, or a store into it
 * would be SIGBUS when the file system is full. */
static int
refill(const struct parts *parts, const struct pool_desc_media *desc, struct heap *heap)
{
	const struct heap_media *media = (const struct heap_media *)(uintptr_t)(desc->base + desc->heap_offset);
	uint64_t ready;
	int error;

	if ((desc->flags & POOL_FLAG_RESERVED) != 0)
		return parts->allocated < parts->file_size ? parts_reserve(parts) : 0;
	if (sys_populate((void *)(uintptr_t)desc->base, front_heap_offset()) == EINVAL) /* as in choose_flags() */
		return parts_reserve(parts);
	if (parts->allocated >= media->committed_pages * HEAP_PAGE)
		return 0;
	heap_prefork(heap);
	error = heap_each_used_range(heap, fill_range, (void *)(uintptr_t)parts);
	heap_postfork_parent(heap);
	ready = ((uint64_t)media->ready_chunks << HEAP_LG_CHUNK_PAGES) * HEAP_PAGE;
	if (ready > desc->size - media->pages_off)
		ready = desc->size - media->pages_off;
	return error != 0 ? error : parts_reserve_range(parts, media->pages_off, ready);
}

/* C1: before the first change. */
static int
mark_open(const struct parts *parts, struct pool_front_media *front)
{
	int error;

	front_set_consistent(front, 0);
	error = front_sync(parts, front);
	if (error == 0)
		return 0;
	front_set_consistent(front, 1);
	errno = error;
	ERROR_ERRNO("msync of the pool's descriptor");
	return error;
}

/* Nothing but the heap's own mark has changed. */
static void
unmark_open(const struct parts *parts, struct pool_front_media *front)
{
	struct heap_media *media = (struct heap_media *)((char *)front + front->desc.heap_offset);

	media->checksum = front->desc.heap_checksum;
	parts_sync(parts, media, sys_page_size());
	front_set_consistent(front, 1);
	front_sync(parts, front);
}

PMEMctopool *
pmemcto_open(const char *path, const char *layout)
{
	int error, old_errno = errno;
	struct pool_front_media front, *mapped;
	const char *fault;
	struct cto_pool *pool;
	bool other_version;

	LOG(3, "path \"%s\" layout \"%s\"", path, layout);
	if (cto_valid_arguments(path, layout) != 0)
		return NULL;
	pool = cto_pool_new(path);
	if (pool == NULL)
		return NULL;
	error = examine(path, layout, PARTS_SHARED, &pool->parts, &front);
	if (error != 0)
		goto fail_record;
	error = map(path, &pool->parts, &front.desc, PARTS_SHARED);
	if (error != 0)
		goto fail_file;
	mapped = (struct pool_front_media *)(uintptr_t)front.desc.base;
	pool->span = front.desc.span;
	fault = heap_fault(&front.desc, &other_version);
	error = fault != NULL ? refuse(path, fault) : mark_open(&pool->parts, mapped);
	if (error != 0)
		goto fail_map;
	error = attach(path, &front.desc, true, &pool->live.heap);
	if (error != 0)
		goto fail_mark;
	error = refill(&pool->parts, &front.desc, pool->live.heap);
	if (error == 0)
		error = cto_pool_publish(pool, mapped, front.desc.size);
	if (error != 0)
		goto fail_heap;
	front_protect(mapped);
	errno = old_errno;
	return (PMEMctopool *)mapped;

fail_heap:
	heap_abandon(pool->live.heap);
fail_mark:
	unmark_open(&pool->parts, mapped);
fail_map:
	sys_unmap(mapped, front.desc.size);
fail_file:
	parts_release(&pool->parts);
fail_record:
	cto_pool_free(pool);
	errno = error;
	return NULL;
}

/* --- checking ------------------------------------------------------------------------------------------------ */

/* The pool is mapped. 1, 0, or -1 and errno. */
static int
check_heap(const char *path, const struct pool_desc_media *desc)
{
	bool other_version;
	const char *fault = heap_fault(desc, &other_version);
	struct heap *heap;
	char why[256];
	int result, error;

	if (fault != NULL) {
		errno = refuse(path, fault);
		return other_version ? -1 : 0;
	}
	error = attach(path, desc, false, &heap);
	if (error != 0) {
		errno = error;
		return error == EINVAL ? 0 : -1;
	}
	why[0] = '\0';
	result = heap_check(heap, why, sizeof(why));
	heap_abandon(heap);
	if (result != 1)
		ERROR("\"%s\": the heap is damaged: %s", path, why);
	return result;
}

int
pmemcto_check(const char *path, const char *layout)
{
	int error, result = -1, old_errno = errno;
	struct pool_front_media front;
	struct parts parts;

	LOG(3, "path \"%s\" layout \"%s\"", path, layout);
	error = cto_valid_arguments(path, layout);
	if (error == 0)
		error = examine(path, layout, PARTS_PRIVATE, &parts, &front);
	if (error != 0) {
		errno = error;
		return -1;
	}
	error = map(path, &parts, &front.desc, PARTS_PRIVATE);
	if (error == 0) {
		result = check_heap(path, &front.desc);
		error = errno;
		parts_unmap(&parts, (void *)(uintptr_t)front.desc.base);
	}
	parts_release(&parts);
	errno = result < 0 ? error : old_errno;
	return result;
}
