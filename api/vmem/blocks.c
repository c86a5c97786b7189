/* blocks.c -- libvmem: the malloc family of a pool, and the threads' way to it
 *
 * Owns:   per thread a small table in thread-local storage: pool handle -> this thread's cell (alloc/tcache.h) of that
 *         pool's heap. A handle stands where its hash says, or, where that is taken, anywhere.
 * Rules:  B1  a cell has a cache of the live pool of its entry's handle, or none. When a pool goes, heap_abandon()
 *             empties all cells before the pool's memory or address can be used again, so an entry whose handle went
 *             stale is harmless: the fast way finds nothing in its cell and goes the slow way.
 *         B2  the slow way asks the registry for the handle before it touches the heap; entry.pool and entry.generation
 *             spare the look while no pool went since.
 *         B3  before an entry serves another pool, the old one's cache is given back, if that pool still lives:
 *             registry_pin() keeps it alive for that moment, as its owner may delete it in another thread meanwhile.
 *         B4  a thread has at most one cache per pool: a handle is entered only when it is nowhere in the table.
 *         B5  when a thread ends, a thread-specific-data destructor gives back all its caches. Calls by later
 *             destructors, and by threads for which none can be registered, use a cell on the stack for each call.
 * Locks:  none on the fast way; `life` of a pool (shared) in B3 and B5.
 * Media:  none of its own.
 * Fails:  NULL with errno ENOMEM (no room) or EINVAL (bad handle or alignment, with message); errno is kept otherwise.
 *         A pointer to free or realloc that is not of the pool ends the process in one line.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <wchar.h>

#include "alloc/os.h"
#include "api/common/error.h"
#include "api/common/log.h"
#include "api/vmem/pool.h"

/* Initial-exec, so that the fast way needs no call to find it; 8 entries of 48 bytes leave dlopen() enough of the
 * little room it has for that. */
#define LG_ENTRIES 3
#define ENTRIES (1 << LG_ENTRIES)

struct entry {
	const VMEM *handle; /* NULL: unused */
	struct vmem_pool *pool;
	uint64_t generation; /* at which `pool` was what the registry has under `handle` */
	struct tcache_cell cell;
};

static _Thread_local struct entry entries[ENTRIES] __attribute__((tls_model("initial-exec"))) = {
	[0 ... ENTRIES - 1] = { NULL, NULL, 0, TCACHE_CELL_INIT },
};
static _Thread_local bool registered __attribute__((tls_model("initial-exec"))); /* the destructor will come */
static _Thread_local bool ended __attribute__((tls_model("initial-exec")));      /* and has come */

static pthread_key_t key;
static bool have_key; /* constant after the constructor */

/* What a program's malloc function is asked for: one of these per pool (vmem_set_funcs). */
struct user_record {
	const VMEM *handle;
	size_t size;
};

/* Where a handle stands if it has its own place: the fast way looks nowhere else. */
static inline struct entry *
entry_first(const VMEM *vmp)
{
	uint32_t hash = (uint32_t)((uintptr_t)vmp >> 12) * UINT32_C(0x9e3779b1);

	return &entries[hash >> (32 - LG_ENTRIES)];
}

/* The entry of a handle; when it has none, its own place, which another may have. */
static struct entry *
entry_of(const VMEM *vmp)
{
	struct entry *first = entry_first(vmp);

	if (first->handle != vmp)
		for (struct entry *e = entries; e < entries + ENTRIES; e++)
			if (e->handle == vmp)
				return e;
	return first;
}

/* --- threads, fork ------------------------------------------------------------------------------------------- */

static void
entry_release(struct entry *e)
{
	struct live_pool *pool = registry_pin(e->handle);

	if (pool != NULL) {
		heap_thread_exit(pool->heap, &e->cell);
		registry_unpin(pool);
	}
	e->handle = NULL;
	e->generation = 0;
}

/* An unused entry: `first`, or one of no live pool any more, or `first` made free. */
static struct entry *
entry_free(struct entry *first)
{
	struct entry *found = first->handle == NULL ? first : NULL;

	for (struct entry *e = entries; found == NULL && e < entries + ENTRIES; e++)
		if (e->handle == NULL || registry_find(e->handle) == NULL)
			found = e;
	if (found == NULL)
		found = first;
	if (found->handle != NULL)
		entry_release(found);
	return found;
}

static void
thread_end(void *table)
{
	int error = errno;

	ended = true;
	for (struct entry *e = table; e < (struct entry *)table + ENTRIES; e++)
		if (e->handle != NULL)
			entry_release(e);
	errno = error;
}

/* True when this thread may keep caches. */
static bool
thread_register(void)
{
	if (!registered && !ended && have_key)
		registered = pthread_setspecific(key, entries) == 0;
	return registered && !ended;
}

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
	const VMEM *vmp = atomic_load_explicit(&pool->handle, memory_order_relaxed);
	struct tcache_cell none = TCACHE_CELL_INIT;

	(void)ctx;
	if (!((struct vmem_pool *)pool)->shared)
		heap_postfork_child(pool->heap, entry_of(vmp)->handle == vmp ? &entry_of(vmp)->cell : &none);
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
	have_key = pthread_key_create(&key, thread_end) == 0;
	pthread_atfork(prefork, postfork_parent, postfork_child);
}

/* --- one call's way to its pool ------------------------------------------------------------------------------ */

struct visit {
	struct vmem_pool *pool;
	struct tcache_cell *cell;
	struct tcache_cell own; /* of this call alone, B5 */
};
#define VISIT_INIT { NULL, NULL, TCACHE_CELL_INIT }

static bool __attribute__((noinline))
visit_begin_slow(struct visit *visit, const VMEM *vmp)
{
	struct entry *e = entry_of(vmp);
	uint64_t generation = registry_generation(); /* before the look: a pool that goes after it is seen next time */

	visit->pool = vmem_pool_find(vmp);
	if (visit->pool == NULL)
		return false;
	if (!thread_register()) {
		visit->cell = &visit->own;
		return true;
	}
	if (e->handle != vmp)
		e = entry_free(e);
	e->handle = vmp;
	e->pool = visit->pool;
	e->generation = generation;
	visit->cell = &e->cell;
	return true;
}

/* False: no such pool; message and errno are set. Else visit_end() must follow. */
static inline bool
visit_begin(struct visit *visit, const VMEM *vmp)
{
	struct entry *e = entry_of(vmp);

	if (e->handle != vmp || e->generation != registry_generation())
		return visit_begin_slow(visit, vmp);
	visit->pool = e->pool;
	visit->cell = &e->cell;
	return true;
}

static inline void
visit_end(struct visit *visit)
{
	if (visit->cell == &visit->own)
		heap_thread_exit(visit->pool->live.heap, &visit->own);
}

/* Before a pool's first block the program's malloc function is asked, once, for the pool's record. False: it has none
 * to give, and so the pool gives no block. */
static bool
pool_ready(struct vmem_pool *pool, const VMEM *vmp)
{
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
must_own(const struct visit *visit, const void *p, const char *what)
{
	if (!heap_owns(visit->pool->live.heap, p))
		os_fatal("libvmem", what, p);
}

/* --- blocks -------------------------------------------------------------------------------------------------- */

static void *__attribute__((noinline))
malloc_slow(VMEM *vmp, size_t size)
{
	struct visit visit = VISIT_INIT;
	int error = errno;
	void *p = NULL;

	if (!visit_begin(&visit, vmp))
		return NULL;
	if (pool_ready(visit.pool, vmp))
		p = heap_malloc(visit.pool->live.heap, visit.cell, size);
	visit_end(&visit);
	errno = p != NULL ? error : ENOMEM;
	return p;
}

void *
vmem_malloc(VMEM *vmp, size_t size)
{
	struct entry *e = entry_first(vmp);

	LOG(3, "vmp %p size %zu", (void *)vmp, size);
	if (__builtin_expect(e->handle == vmp, 1)) {
		void *p = heap_malloc_try(&e->cell, size);

		if (__builtin_expect(p != NULL, 1))
			return p;
	}
	return malloc_slow(vmp, size);
}

static void __attribute__((noinline))
free_slow(VMEM *vmp, void *ptr)
{
	struct visit visit = VISIT_INIT;
	int error = errno;

	if (visit_begin(&visit, vmp)) {
		must_own(&visit, ptr, "vmem_free of a pointer that is not of the pool");
		heap_free(visit.pool->live.heap, visit.cell, ptr);
		visit_end(&visit);
	}
	errno = error;
}

void
vmem_free(VMEM *vmp, void *ptr)
{
	struct entry *e = entry_first(vmp);

	LOG(3, "vmp %p ptr %p", (void *)vmp, ptr);
	if (__builtin_expect(e->handle == vmp && heap_free_try(&e->cell, ptr), 1))
		return;
	if (ptr != NULL)
		free_slow(vmp, ptr);
}

void *
vmem_calloc(VMEM *vmp, size_t nmemb, size_t size)
{
	struct visit visit = VISIT_INIT;
	int error = errno;
	void *p = NULL;

	LOG(3, "vmp %p nmemb %zu size %zu", (void *)vmp, nmemb, size);
	if (!visit_begin(&visit, vmp))
		return NULL;
	if (pool_ready(visit.pool, vmp))
		p = heap_calloc(visit.pool->live.heap, visit.cell, nmemb, size);
	visit_end(&visit);
	errno = p != NULL ? error : ENOMEM;
	return p;
}

void *
vmem_realloc(VMEM *vmp, void *ptr, size_t size)
{
	struct visit visit = VISIT_INIT;
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
	p = heap_realloc(visit.pool->live.heap, visit.cell, ptr, size);
	visit_end(&visit);
	errno = p != NULL ? error : ENOMEM;
	return p;
}

void *
vmem_aligned_alloc(VMEM *vmp, size_t alignment, size_t size)
{
	struct visit visit = VISIT_INIT;
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
		p = heap_aligned_alloc(visit.pool->live.heap, visit.cell, alignment, size);
	visit_end(&visit);
	errno = p != NULL ? error : ENOMEM;
	return p;
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
