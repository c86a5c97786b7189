/* front.c -- the front of a pool that is mapped
 *
 * Owns:   nothing.
 * Locks:  the pool is the caller's alone: it is being made, opened, closed or repaired.
 * Media:  `consistent`.
 * Fails:  as msync(2) does.
 */
#define _GNU_SOURCE
#include "api/pmemcto/front.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "api/common/error.h"
#include "api/common/harden.h"
#include "api/common/os.h"

int
front_sync(const struct parts *parts, struct pool_front_media *front)
{
	size_t page = sys_page_size();

	return parts_sync(parts, (void *)((uintptr_t)&front->desc & ~(uintptr_t)(page - 1)), page);
}

void
front_set_consistent(struct pool_front_media *front, uint8_t value)
{
	atomic_store_explicit(&front->desc.consistent, value, memory_order_release);
}

size_t
front_heap_offset(void)
{
	size_t page = sys_page_size();

	return page > POOL_FRONT_SIZE ? page : POOL_FRONT_SIZE;
}

/* None where the system's pages are larger: the descriptor shares the first one. */
size_t
front_closed_bytes(void)
{
	return sys_page_size() == POOL_HEADER_SIZE ? POOL_HEADER_SIZE : 0;
}

void
front_protect(void *base)
{
	if (front_closed_bytes() != 0)
		sys_protect(base, front_closed_bytes(), false);
}

struct heap_config
front_heap_config(void *base, size_t size, size_t reserved, uint32_t flags, bool zeroed)
{
	return (struct heap_config){
		.base = base,
		.size = size,
		.reserved = reserved,
		.backing = (flags & POOL_FLAG_RESERVED) != 0 ? HEAP_BACKING_FULL : HEAP_BACKING_SPARSE,
		.zeroed = zeroed,
		.min_align = 16,
		.name = "libpmemcto",
	};
}

int
front_guard(unsigned *guard)
{
	const char *text = secure_getenv("PMEMCTO_HARDEN");

	if (harden_flags(text, guard) == 0)
		return 0;
	ERROR("invalid PMEMCTO_HARDEN: %s", text);
	return errno = EINVAL;
}
