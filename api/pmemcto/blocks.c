/* blocks.c -- libpmemcto: the malloc family of a pool
 *
 * Owns:   nothing: a call finds its pool and its thread's cache by api/common/cells.h, the heap does the rest.
 * Rules:  K1  a pointer that the pool did not give, and a free into a pool that is not open, end the process in one line:
 *             going on would lose data that is meant to last. Only the child of a fork, whose parent still has the pool,
 *             is told by errno (pool.h, C4).
 * Locks:  none on the fast way.
 * Media:  none of its own.
 * Fails:  NULL with message and errno ENOMEM (no room) or EINVAL (bad handle or alignment); errno is kept otherwise.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "alloc/os.h"
#include "api/common/cells.h"
#include "api/common/error.h"
#include "api/common/log.h"
#include "api/pmemcto/pool.h"

/* False: no such pool; message and errno are set. */
static inline bool
visit_begin(struct cell_visit *visit, const PMEMctopool *pcp)
{
	if (__builtin_expect(cell_visit_begin(visit, pcp), 1))
		return true;
	cto_invalid(pcp);
	return false;
}

static void
must_own(const struct cell_visit *visit, const void *p, const char *what)
{
	if (!heap_owns(visit->pool->heap, p))
		os_fatal("libpmemcto", what, p);
}

/* What a call that asked for a block gives back: the block, with errno as it was, or that there is no room. */
static inline void *
answer(const PMEMctopool *pcp, void *p, size_t size, int old_errno)
{
	errno = p != NULL ? old_errno : ENOMEM;
	if (__builtin_expect(p == NULL, 0))
		ERROR_ERRNO("no room for %zu bytes in pool %p", size, (const void *)pcp);
	return p;
}

static size_t
total_size(size_t nmemb, size_t size)
{
	return __builtin_mul_overflow(nmemb, size, &size) ? SIZE_MAX : size;
}

static void *__attribute__((noinline))
malloc_slow(PMEMctopool *pcp, size_t size)
{
	struct cell_visit visit = CELL_VISIT_INIT;
	int error = errno;
	void *p;

	if (!visit_begin(&visit, pcp))
		return NULL;
	p = heap_malloc(visit.pool->heap, visit.cell, size);
	cell_visit_end(&visit);
	return answer(pcp, p, size, error);
}

void *
pmemcto_malloc(PMEMctopool *pcp, size_t size)
{
	struct cell_entry *e = cell_entry_first(pcp);

	LOG(3, "pcp %p size %zu", (void *)pcp, size);
	if (__builtin_expect(e->handle == (const void *)pcp, 1)) {
		void *p = heap_malloc_try(&e->cell, size);

		if (__builtin_expect(p != NULL, 1))
			return p;
	}
	return malloc_slow(pcp, size);
}

static void __attribute__((noinline))
free_slow(PMEMctopool *pcp, void *ptr)
{
	struct cell_visit visit = CELL_VISIT_INIT;
	int error = errno;

	if (!cell_visit_begin(&visit, pcp)) {
		if (!cto_is_inherited(pcp))
			os_fatal("libpmemcto", "pmemcto_free in a pool that is not open:", pcp);
		cto_invalid(pcp);
		return;
	}
	must_own(&visit, ptr, "pmemcto_free of a pointer that is not of the pool:");
	heap_free(visit.pool->heap, visit.cell, ptr);
	cell_visit_end(&visit);
	errno = error;
}

void
pmemcto_free(PMEMctopool *pcp, void *ptr)
{
	struct cell_entry *e = cell_entry_first(pcp);

	LOG(3, "pcp %p ptr %p", (void *)pcp, ptr);
	if (__builtin_expect(e->handle == (const void *)pcp && heap_free_try(&e->cell, ptr), 1))
		return;
	if (ptr != NULL)
		free_slow(pcp, ptr);
}

void *
pmemcto_calloc(PMEMctopool *pcp, size_t nmemb, size_t size)
{
	struct cell_visit visit = CELL_VISIT_INIT;
	int error = errno;
	void *p;

	LOG(3, "pcp %p nmemb %zu size %zu", (void *)pcp, nmemb, size);
	if (!visit_begin(&visit, pcp))
		return NULL;
	p = heap_calloc(visit.pool->heap, visit.cell, nmemb, size);
	cell_visit_end(&visit);
	return answer(pcp, p, total_size(nmemb, size), error);
}

void *
pmemcto_realloc(PMEMctopool *pcp, void *ptr, size_t size)
{
	struct cell_visit visit = CELL_VISIT_INIT;
	int error = errno;
	void *p;

	LOG(3, "pcp %p ptr %p size %zu", (void *)pcp, ptr, size);
	if (ptr == NULL)
		return pmemcto_malloc(pcp, size);
	if (size == 0) {
		pmemcto_free(pcp, ptr);
		return NULL;
	}
	if (!visit_begin(&visit, pcp))
		return NULL;
	must_own(&visit, ptr, "pmemcto_realloc of a pointer that is not of the pool:");
	p = heap_realloc(visit.pool->heap, visit.cell, ptr, size);
	cell_visit_end(&visit);
	return answer(pcp, p, size, error);
}

void *
pmemcto_aligned_alloc(PMEMctopool *pcp, size_t alignment, size_t size)
{
	struct cell_visit visit = CELL_VISIT_INIT;
	int error = errno;
	void *p;

	LOG(3, "pcp %p alignment %zu size %zu", (void *)pcp, alignment, size);
	if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
		ERROR("invalid alignment %zu", alignment);
		errno = EINVAL;
		return NULL;
	}
	if (!visit_begin(&visit, pcp))
		return NULL;
	p = heap_aligned_alloc(visit.pool->heap, visit.cell, alignment, size);
	cell_visit_end(&visit);
	return answer(pcp, p, size, error);
}

char *
pmemcto_strdup(PMEMctopool *pcp, const char *s)
{
	size_t size = strlen(s) + 1;
	char *copy;

	LOG(3, "pcp %p s %p", (void *)pcp, (const void *)s);
	copy = pmemcto_malloc(pcp, size);
	return copy != NULL ? memcpy(copy, s, size) : NULL;
}

wchar_t *
pmemcto_wcsdup(PMEMctopool *pcp, const wchar_t *s)
{
	size_t size = (wcslen(s) + 1) * sizeof(wchar_t);
	wchar_t *copy;

	LOG(3, "pcp %p s %p", (void *)pcp, (const void *)s);
	copy = pmemcto_malloc(pcp, size);
	return copy != NULL ? memcpy(copy, s, size) : NULL;
}

size_t
pmemcto_malloc_usable_size(PMEMctopool *pcp, void *ptr)
{
	struct live_pool *pool;

	LOG(3, "pcp %p ptr %p", (void *)pcp, ptr);
	if (ptr == NULL)
		return 0;
	pool = registry_find(pcp);
	if (pool == NULL) {
		cto_invalid(pcp);
		return 0;
	}
	return heap_owns(pool->heap, ptr) ? heap_usable_size(pool->heap, ptr) : 0;
}
