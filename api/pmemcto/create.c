/* create.c -- pmemcto_create(): files become a pool
 *
 * Owns:   the order of the steps, and their way back.
 * Rules:  C1 and C2 of pool.h.
 * Locks:  those of the files.
 * Media:  through front.c, media.c and headers.c.
 * Fails:  NULL with errno and message.
 */
#include "api/pmemcto/pool.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "api/common/error.h"
#include "api/common/log.h"
#include "api/common/os.h"
#include "api/pmemcto/front.h"
#include "api/pmemcto/headers.h"
#include "api/pmemcto/os.h"
#include "api/pmemcto/place.h"

static int
valid_new(const char *path, size_t poolsize)
{
	if (cto_os_exists(path)) {
		errno = EEXIST;
		ERROR_ERRNO("open \"%s\"", path);
		return errno;
	}
	if ((poolsize & ~(HEAP_PAGE - 1)) < PMEMCTO_MIN_POOL) {
		ERROR("size %zu smaller than %zu", poolsize, PMEMCTO_MIN_POOL);
		return errno = EINVAL;
	}
	if (poolsize > (size_t)SSIZE_MAX) {
		ERROR("invalid size (%zu) for off_t", poolsize);
		return errno = EFBIG;
	}
	return 0;
}

/* Files that nothing is in yet. */
static int
open_empty(const char *path, struct parts *parts)
{
	int error = parts_open_or_make(path, parts);

	if (error != 0)
		return error;
	error = headers_expect_none(parts);
	if (error != 0)
		parts_drop(parts);
	return errno = error;
}

/* How the pages come to be of files that were there. */
static int
choose_flags(const struct parts *parts, void *base, uint32_t *flags)
{
	int error;

	*flags = 0;
	if (parts->allocated < parts->file_size) {
		error = sys_populate(base, front_heap_offset());
		if (error == 0)
			return 0;
		if (error != EINVAL) { /* EFAULT: where a touch would be SIGBUS, madvise(2) */
			errno = ENOSPC;
			ERROR_ERRNO("the pool's first pages");
			return errno;
		}
		/* the kernel cannot commit page by page: all at once */
	}
	*flags = POOL_FLAG_RESERVED;
	return parts_reserve(parts);
}

/* C1. The heap is made; the files are a pool when this succeeded. */
static int
write_front(const struct parts *parts, struct pool_front_media *front, const char *layout, const struct place *place,
    uint32_t flags)
{
	int error;

	memset((void *)front, 0, front_heap_offset());
	media_fill_desc(&front->desc, layout, (uintptr_t)place->base, place->size, flags, place->span, front_heap_offset());
	error = front_sync(parts, front);
	if (error != 0) {
		errno = error;
		ERROR_ERRNO("msync of the pool's descriptor");
		return error;
	}
	error = headers_write(parts);
	if (error != 0)
		headers_clear(parts);
	return error;
}

/* The pool in pool->parts, which are locked and maybe nameless still. */
static int
make(struct cto_pool *pool, const char *layout, struct place *place)
{
	uint32_t flags = POOL_FLAG_RESERVED;
	bool fresh = parts_are_new(&pool->parts), zeroed = fresh || parts_all_holes(&pool->parts);
	size_t size = pool->parts.size;
	struct heap_config config;
	int error = place_take(size, pool->parts.align, pool->parts.room, place);

	if (error == 0)
		error = parts_map_over(&pool->parts, place->base, PARTS_SHARED);
	if (error != 0) {
		errno = error;
		ERROR_ERRNO("mmap %zu bytes", size);
		return error;
	}
	pool->span = place->span;
	if (!fresh)
		error = choose_flags(&pool->parts, place->base, &flags);
	if (error != 0)
		goto fail_map;
	config = front_heap_config(place->base, size, front_heap_offset(), flags, zeroed);
	error = front_guard(&config.guard);
	if (error != 0)
		goto fail_map;
	error = heap_create(&pool->live.heap, &config);
	if (error != 0) {
		error = error == ENOMEM && !fresh ? ENOSPC : error;
		errno = error;
		ERROR_ERRNO("the pool's heap");
		goto fail_map;
	}
	error = write_front(&pool->parts, place->base, layout, place, flags);
	if (error != 0)
		goto fail_heap;
	return 0;

fail_heap:
	heap_abandon(pool->live.heap);
fail_map:
	sys_unmap(place->base, size);
	return error;
}

/* After make(), on the way out. */
static void
unmake(struct cto_pool *pool, const struct place *place)
{
	heap_abandon(pool->live.heap);
	sys_unmap(place->base, place->size);
	headers_clear(&pool->parts);
}

PMEMctopool *
pmemcto_create(const char *path, const char *layout, size_t poolsize, mode_t mode)
{
	int error, old_errno = errno;
	bool fresh = poolsize != 0;
	struct cto_pool *pool;
	struct place place;

	LOG(3, "path \"%s\" layout \"%s\" poolsize %zu mode 0x%x", path, layout, poolsize, (unsigned)mode);
	if (cto_valid_arguments(path, layout) != 0 || (fresh && valid_new(path, poolsize) != 0))
		return NULL;
	pool = cto_pool_new(path);
	if (pool == NULL)
		return NULL;
	error = fresh ? parts_new(path, poolsize, &pool->parts) : open_empty(path, &pool->parts);
	if (error != 0)
		goto fail_record;
	error = make(pool, layout, &place);
	if (error != 0)
		goto fail_file;
	error = parts_publish(&pool->parts, mode);
	if (error == 0)
		error = cto_pool_publish(pool, place.base, place.size);
	if (error != 0)
		goto fail_make;
	front_protect(place.base);
	errno = old_errno;
	return place.base;

fail_make:
	unmake(pool, &place);
fail_file:
	parts_drop(&pool->parts);
fail_record:
	cto_pool_free(pool);
	errno = error;
	return NULL;
}
