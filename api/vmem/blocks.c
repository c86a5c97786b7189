/* blocks.c -- libvmem: the malloc family of a pool, and what becomes of pools at a fork
 *
 * Owns:   nothing: a call finds its pool and its thread's cache by api/common/cells.h, the heap does the rest.
 * Rules:  K1  a pointer that the pool did not give ends the process in one line before it gets into the heap.
 * Locks:  none on the fast way.
 * Media:  none of its own.
 * Fails:  NULL with message and errno ENOMEM (no room) or EINVAL (bad handle or alignment); errno is kept otherwise.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <wchar.h>

#include "alloc/os.h"
#include "api/common/cells.h"
#include "api/common/error.h"
#include "api/common/log.h"
#include "api/vmem/pool.h"

/* What a program's malloc function is asked for: one of these per pool (vmem_set_funcs). */
struct user_record {
	const VMEM *handle;
	size_t size;
};

/* --- threads, fork ------------------------------------------------------------------------------------------- */

/* At a fork pools in private memory become two, each with its own threads: the child's takes back what the caches of
 * the parent's other threads held. Pools in shared memory stay one, the parent's: nothing may be taken back there, not
 * even for a child that only calls exec, so they are left alone; in the child of a process with threads their locks
 * may be held for ever. */
static void
prefork_one(void *ctx, struct live_pool *pool)
{
	(void)ctx;
	if (!((struct vmem_pool *)pool)->shared)
		heap_prefork(pool->heap);
}

static void
parent_one(void *ctx, struct live_pool *pool)
{
	(void)ctx;
	if (!((struct vmem_pool *)pool)->shared)
		heap_postfork_parent(pool->heap);
}

static void
child_one(void *ctx, struct live_pool *pool)
{
	struct tcache_cell *own = cell_own(atomic_load_explicit(&pool->handle, memory_order_relaxed));
	struct tcache_cell none = TCACHE_CELL_INIT;

	(void)ctx;
	if (!((struct vmem_pool *)pool)->shared)
		heap_postfork_child(pool->heap, own != NULL ? own : &none);
}

static void
prefork(void)
{
	registry_prefork();
	registry_each(prefork_one, NULL);
}

static void
postfork_parent(void)
{
	registry_each(parent_one, NULL);
	registry_postfork_parent();
}

static void
postfork_child(void)
{
	registry_each(child_one, NULL);
	registry_postfork_child();
}

void
vmem_threads_init(void)
{
	cells_init();
	pthread_atfork(prefork, postfork_parent, postfork_child);
}

/* --- one call's way to its pool ------------------------------------------------------------------------------ */

/* False: no such pool; message and errno are set. Else cell_visit_end() must follow. */
static bool
visit_begin(struct cell_visit *visit, const VMEM *vmp)
{
	if (__builtin_expect(cell_visit_begin(visit, vmp), 1))
		return true;
	vmem_pool_invalid(vmp);
	return false;
}

/* Before a pool's first block the program's malloc function is asked, once, for the pool's record. False: it has none
 * to give, and so the pool gives no block. */
static bool
pool_ready(struct live_pool *live, const VMEM *vmp)
{
	struct vmem_pool *pool = (struct vmem_pool *)live;
	void *none = NULL;
	struct user_record *record;

	if (pool->malloc_func == NULL || atomic_load_explicit(&pool->user_record, memory_order_acquire) != NULL)
		return true;
	record = pool->malloc_func(sizeof(*record));
	if (record == NULL)
		return false;
	record->handle = vmp;
	record->size = pool->live.size;
	if (!atomic_compare_exchange_strong_explicit(&pool->user_record, &none, record, memory_order_acq_rel,
	    memory_order_acquire))
		pool->free_func(record); /* another thread was first */
	return true;
}

/* A pointer that the pool did not give must not get into its heap. */
static void
must_own(const struct cell_visit *visit, const void *p, const char *what)
{
	if (!heap_owns(visit->pool->heap, p))
		os_fatal("libvmem", what, p);
}

/* --- blocks -------------------------------------------------------------------------------------------------- */

/* What a call that asked for a block gives back: the block, with errno as it was, or that there is no room. */
static inline void *
answer(const VMEM *vmp, void *p, size_t size, int old_errno)
{
	errno = p != NULL ? old_errno : ENOMEM;
	if (__builtin_expect(p == NULL, 0))
		ERROR_ERRNO("no room for %zu bytes in pool %p", size, (const void *)vmp);
	return p;
}

static size_t
total_size(size_t nmemb, size_t size)
{
	return __builtin_mul_overflow(nmemb, size, &size) ? SIZE_MAX : size;
}

static void *__attribute__((noinline))
malloc_slow(VMEM *vmp, size_t size)
{
	struct cell_visit visit = CELL_VISIT_INIT;
	int error = errno;
	void *p = NULL;

	if (!visit_begin(&visit, vmp))
		return NULL;
	if (pool_ready(visit.pool, vmp))
		p = heap_malloc(visit.pool->heap, visit.cell, size);
	cell_visit_end(&visit);
	return answer(vmp, p, size, error);
}

void *
vmem_malloc(VMEM *vmp, size_t size)
{
	struct cell_entry *e = cell_entry_first(vmp);

	LOG(3, "vmp %p size %zu", (void *)vmp, size);
	if (__builtin_expect(e->handle == (const void *)vmp, 1)) {
		void *p = heap_malloc_try(&e->cell, size);

		if (__builtin_expect(p != NULL, 1))
			return p;
	}
	return malloc_slow(vmp, size);
}

static void __attribute__((noinline))
free_slow(VMEM *vmp, void *ptr)
{
	struct cell_visit visit = CELL_VISIT_INIT;
	int error = errno;

	if (visit_begin(&visit, vmp)) {
		must_own(&visit, ptr, "vmem_free of a pointer that is not of the pool");
		heap_free(visit.pool->heap, visit.cell, ptr);
		cell_visit_end(&visit);
	}
	errno = error;
}

void
vmem_free(VMEM *vmp, void *ptr)
{
	struct cell_entry *e = cell_entry_first(vmp);

	LOG(3, "vmp %p ptr %p", (void *)vmp, ptr);
	if (__builtin_expect(e->handle == (const void *)vmp && heap_free_try(&e->cell, ptr), 1))
		return;
	if (ptr != NULL)
		free_slow(vmp, ptr);
}

void *
vmem_calloc(VMEM *vmp, size_t nmemb, size_t size)
{
	struct cell_visit visit = CELL_VISIT_INIT;
	int error = errno;
	void *p = NULL;

	LOG(3, "vmp %p nmemb %zu size %zu", (void *)vmp, nmemb, size);
	if (!visit_begin(&visit, vmp))
		return NULL;
	if (pool_ready(visit.pool, vmp))
		p = heap_calloc(visit.pool->heap, visit.cell, nmemb, size);
	cell_visit_end(&visit);
	return answer(vmp, p, total_size(nmemb, size), error);
}

void *
vmem_realloc(VMEM *vmp, void *ptr, size_t size)
{
	struct cell_visit visit = CELL_VISIT_INIT;
	int error = errno;
	void *p;

	LOG(3, "vmp %p ptr %p size %zu", (void *)vmp, ptr, size);
	if (ptr == NULL)
		return vmem_malloc(vmp, size);
	if (size == 0) {
		vmem_free(vmp, ptr);
		return NULL;
	}
	if (!visit_begin(&visit, vmp))
		return NULL;
	must_own(&visit, ptr, "vmem_realloc of a pointer that is not of the pool");
	p = heap_realloc(visit.pool->heap, visit.cell, ptr, size);
	cell_visit_end(&visit);
	return answer(vmp, p, size, error);
}

void *
vmem_aligned_alloc(VMEM *vmp, size_t alignment, size_t size)
{
	struct cell_visit visit = CELL_VISIT_INIT;
	int error = errno;
	void *p = NULL;

	LOG(3, "vmp %p alignment %zu size %zu", (void *)vmp, alignment, size);
	if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
		ERROR("invalid alignment %zu", alignment);
		errno = EINVAL;
		return NULL;
	}
	if (!visit_begin(&visit, vmp))
		return NULL;
	if (pool_ready(visit.pool, vmp))
		p = heap_aligned_alloc(visit.pool->heap, visit.cell, alignment, size);
	cell_visit_end(&visit);
	return answer(vmp, p, size, error);
}

char *
vmem_strdup(VMEM *vmp, const char *s)
{
	size_t size = strlen(s) + 1;
	char *copy;

	LOG(3, "vmp %p s %p", (void *)vmp, (const void *)s);
	copy = vmem_malloc(vmp, size);
	return copy != NULL ? memcpy(copy, s, size) : NULL;
}

wchar_t *
vmem_wcsdup(VMEM *vmp, const wchar_t *s)
{
	size_t size = (wcslen(s) + 1) * sizeof(wchar_t);
	wchar_t *copy;

	LOG(3, "vmp %p s %p", (void *)vmp, (const void *)s);
	copy = vmem_malloc(vmp, size);
	return copy != NULL ? memcpy(copy, s, size) : NULL;
}

size_t
vmem_malloc_usable_size(VMEM *vmp, void *ptr)
{
	struct vmem_pool *pool;

	LOG(3, "vmp %p ptr %p", (void *)vmp, ptr);
	if (ptr == NULL)
		return 0;
	pool = vmem_pool_find(vmp);
	return pool != NULL && heap_owns(pool->live.heap, ptr) ? heap_usable_size(pool->live.heap, ptr) : 0;
}
