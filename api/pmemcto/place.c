/* place.c -- where in the address space a new pool goes
 *
 * Owns:   the choice; the value of PMEM_MMAP_HINT as it was when the library was loaded.
 * Rules:  A1  a place is reserved when it is chosen, by a mapping without memory: no other thread gets it.
 *         A2  nothing is replaced: a place where anything is mapped is not taken.
 *         A3  where the range cannot be had (a small address space, a checker that allows only its own addresses),
 *             any place that the kernel gives will do.
 * Locks:  registry_lock while looking at the places of open pools.
 * Media:  none; the choice is recorded by create.c.
 * Fails:  ENOMEM; nothing is reserved.
 */
#define _GNU_SOURCE
#include "api/pmemcto/place.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/common/os.h"
#include "api/common/registry.h"
#include "api/pmemcto/os.h"
#include "api/pmemcto/pool.h"

#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define TRIES 64

static uintptr_t hint; /* constant after the constructor; 0: none */

void
place_init(void)
{
	const char *text = secure_getenv("PMEM_MMAP_HINT");
	unsigned long long value;
	int error = errno;
	char *end;

	errno = 0;
	value = text != NULL ? strtoull(text, &end, 16) : 0;
	if (text != NULL && errno == 0 && end != text && *end == '\0' && strchr(text, '-') == NULL)
		hint = (uintptr_t)value;
	errno = error;
}

static size_t
align_of(size_t size, size_t align)
{
	size_t usual = size >= 2 * GIB ? GIB : 2 * MIB;

	return align > usual ? align : usual;
}

/* Room to grow sixteenfold, at least to 4 GiB; but nobody gets more than a TiB for nothing, or than was asked for. */
static size_t
span_of(size_t size, size_t room)
{
	size_t span = size > SIZE_MAX / 16 ? SIZE_MAX : 16 * size;

	if (span < 4 * GIB)
		span = 4 * GIB;
	if (span > 1024 * GIB)
		span = 1024 * GIB;
	if (span < room)
		span = (room + MIB - 1) & ~(MIB - 1);
	return span > size ? span : size;
}

struct look {
	uintptr_t base;
	size_t span;
	bool taken;
};

static void
look_at(void *ctx, struct live_pool *live)
{
	struct look *look = ctx;
	uintptr_t other = (uintptr_t)atomic_load_explicit(&live->handle, memory_order_relaxed);
	size_t span = ((struct cto_pool *)live)->span;

	if (look->base < other ? other - look->base < look->span : look->base - other < span)
		look->taken = true;
}

/* A pool of this process may grow into it. */
static bool
is_promised(uintptr_t base, size_t span)
{
	struct look look = { base, span, false };

	registry_lock();
	registry_each(look_at, &look);
	registry_unlock();
	return look.taken;
}

/* Reserves [base, base + size) when all of the span is free. */
static bool
reserve(uintptr_t base, size_t size, size_t span, struct place *out)
{
	size_t page = sys_page_size(), kept = (size + page - 1) & ~(page - 1);
	char *p;

	p = sys_reserve_at((void *)base, span);
	if (p == NULL)
		return false;
	if (span > kept)
		sys_unmap(p + kept, span - kept);
	*out = (struct place){ p, size, span };
	return true;
}

static bool
take_hinted(size_t size, size_t align, struct place *out)
{
	/* another thread may map something into the gap before we do: look again then */
	for (int i = 0; i < TRIES; i++) {
		uintptr_t gap = sys_find_gap(hint, size, align);

		if (gap == 0)
			return false;
		if (reserve(gap, size, size, out))
			return true;
	}
	return false;
}

static bool
take_random(size_t size, size_t align, size_t span, struct place *out)
{
	uintptr_t end = cto_os_space_end(), low = end / 8 + end / 128, high = end / 8 * 5;
	uintptr_t base;

	low = (low + align - 1) & ~(uintptr_t)(align - 1);
	/* where addresses are scarce, for small machines or by setrlimit(2), without room behind it */
	for (int i = 0; i < 2 * TRIES; i++) {
		uint64_t random;
		size_t want = i < TRIES ? span : size;

		if (high <= low || want > high - low)
			continue;
		cto_os_random(&random, sizeof(random));
		base = low + random % ((high - low - want) / align + 1) * align;
		if (!is_promised(base, want) && reserve(base, size, want, out))
			return true;
	}
	return false;
}

int
place_take(size_t size, size_t align, size_t room, struct place *out)
{
	size_t page = sys_page_size(), kept = (size + page - 1) & ~(page - 1);
	void *p;

	align = align_of(size, align);
	if (hint != 0 ? take_hinted(size, align, out) : take_random(size, align, span_of(size, room), out))
		return 0;
	p = sys_reserve(kept, align);
	if (p == NULL)
		return ENOMEM;
	*out = (struct place){ p, size, size };
	return 0;
}
