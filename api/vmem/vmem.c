/* vmem.c -- libvmem: pools made, deleted, checked; versions, messages, functions
 *
 * Owns:   the pools' records while they are made and unmade; the functions given to vmem_set_funcs.
 * Rules:  V1  a pool in the registry has a heap, and nothing of it lies inside the pool: deleting it neither reads nor
 *             writes the pool's memory, which another pool or the program may have overwritten.
 *         V2  a pool's heap ends, all threads' cells are emptied and then it leaves the registry, all while its `life`
 *             is held exclusively: no thread that ends or moves on meanwhile is left with a cell of a heap that is
 *             gone.
 *         V3  the program's malloc, free and print functions are called with no lock held: no LOG and no ERROR either.
 *         V4  no pool is made by half: a thread cannot be cancelled where files are opened and closed.
 * Locks:  registry_lock for the functions and around V2; see api/common/registry.h.
 * Media:  the heap's (alloc/heap.h), behind one page of ours that is never written.
 * Fails:  NULL or -1 with errno and message; nothing is left behind.
 */
#define _GNU_SOURCE
#include "api/vmem/pool.h"

#include <errno.h>
#include <stdlib.h>

#include "api/common/error.h"
#include "api/common/format.h"
#include "api/common/harden.h"
#include "api/common/log.h"
#include "api/common/os.h"

/* registry_lock */
static struct {
	void *(*malloc_func)(size_t size);
	void (*free_func)(void *p);
} funcs;

__attribute__((constructor)) static void
vmem_init(void)
{
	static const struct log_library library = {
		"libvmem", "VMEM_LOG_LEVEL", "VMEM_LOG_FILE", VMEM_MAJOR_VERSION, VMEM_MINOR_VERSION,
	};

	log_init(&library);
	LOG(3, "%s", "");
	vmem_threads_init();
}

__attribute__((destructor)) static void
vmem_fini(void)
{
	LOG(3, "%s", "");
	log_fini();
}

void
vmem_pool_invalid(const VMEM *vmp)
{
	ERROR("invalid pool handle: %p", (const void *)vmp);
	errno = EINVAL;
}

struct vmem_pool *
vmem_pool_find(const VMEM *vmp)
{
	struct live_pool *live = registry_find(vmp);

	if (live == NULL)
		vmem_pool_invalid(vmp);
	return (struct vmem_pool *)live;
}

/* registry_lock held: V2. */
static void
take_out(struct vmem_pool *pool)
{
	pthread_rwlock_wrlock(&pool->live.life);
	heap_abandon(pool->live.heap);
	registry_remove(&pool->live); /* last: who does not find the pool any more finds its cell empty */
	pthread_rwlock_unlock(&pool->live.life);
}

/* After take_out(). */
static void
give_back(struct vmem_pool *pool)
{
	void *record = atomic_load_explicit(&pool->user_record, memory_order_acquire);

	if (record != NULL)
		pool->free_func(record);
	registry_free(&pool->live);
}

/* Makes the heap and enters the pool. NULL with message and errno: the memory is as the caller gave it. */
static VMEM *
make(struct vmem_pool *pool, void *base, size_t size, enum heap_backing backing, bool zeroed)
{
	struct heap_config config = {
		.base = base,
		.size = size,
		.reserved = sys_page_size(),
		.backing = backing,
		.zeroed = zeroed,
		.min_align = 16,
		.name = "libvmem",
	};
	struct vmem_pool *old;
	const char *harden = secure_getenv("VMEM_HARDEN");
	int error = harden_flags(harden, &config.guard);

	if (error != 0) {
		ERROR("invalid VMEM_HARDEN: %s", harden);
		errno = error;
		return NULL;
	}
	error = heap_create(&pool->live.heap, &config);
	if (error != 0) {
		errno = error;
		ERROR("pool creation failed");
		return NULL;
	}
	pool->live.size = size;

	registry_lock();
	error = registry_reserve();
	if (error != 0) {
		registry_unlock();
		heap_abandon(pool->live.heap);
		errno = error;
		ERROR("pool creation failed");
		return NULL;
	}
	/* the program took a region back without vmem_delete() and makes a new pool of it: the old one ends here */
	old = (struct vmem_pool *)registry_find(base);
	if (old != NULL)
		take_out(old);
	pool->malloc_func = funcs.malloc_func;
	pool->free_func = funcs.free_func;
	registry_insert(&pool->live, base);
	registry_unlock();
	if (old != NULL)
		give_back(old);
	return base;
}

static bool
check_size(size_t size)
{
	if (size >= VMEM_MIN_POOL)
		return true;
	ERROR("size %zu smaller than %zu", size, VMEM_MIN_POOL);
	errno = EINVAL;
	return false;
}

static struct vmem_pool *
new_record(void)
{
	struct vmem_pool *pool = (struct vmem_pool *)registry_new();

	if (pool == NULL) {
		errno = ENOMEM;
		ERROR("pool creation failed");
	}
	return pool;
}

static VMEM *
create_file_pool(const char *dir, size_t size)
{
	int error = errno;
	struct vmem_pool *pool = new_record();
	bool device;
	VMEM *vmp;

	if (pool == NULL)
		return NULL;
	device = pool_file_is_device(dir);
	if ((device ? pool_file_open_device(dir, size, &pool->file) : pool_file_create(dir, size, &pool->file)) != 0)
		goto fail_record;
	pool_file_close_fd(&pool->file);
	pool->shared = true;
	vmp = make(pool, pool->file.base, pool->file.size, pool->file.backing, pool->file.zeroed);
	if (vmp == NULL)
		goto fail_file;
	if (!device) /* a device's pages are too large for that */
		sys_protect(vmp, sys_page_size(), false);
	errno = error;
	return vmp;

fail_file:
	error = errno;
	pool_file_delete(&pool->file);
	errno = error;
fail_record:
	error = errno;
	registry_free(&pool->live);
	errno = error;
	return NULL;
}

VMEM *
vmem_create(const char *dir, size_t size)
{
	VMEM *vmp = NULL;
	int state;

	LOG(3, "dir \"%s\" size %zu", dir, size);
	if (check_size(size)) {
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state); /* V4 */
		vmp = create_file_pool(dir, size);
		pthread_setcancelstate(state, NULL);
	}
	return vmp;
}

VMEM *
vmem_create_in_region(void *addr, size_t size)
{
	int error = errno, state;
	size_t page = sys_page_size();
	struct vmem_pool *pool;
	VMEM *vmp;

	LOG(3, "addr %p size %zu", addr, size);
	if (((uintptr_t)addr & (page - 1)) != 0) {
		ERROR("addr %p not aligned to pagesize %llu", addr, (unsigned long long)page);
		errno = EINVAL;
		return NULL;
	}
	if (!check_size(size))
		return NULL;
	if (addr == NULL || size > UINTPTR_MAX - (uintptr_t)addr) {
		ERROR("addr %p size %zu is no region", addr, size);
		errno = EINVAL;
		return NULL;
	}
	pool = new_record();
	if (pool == NULL)
		return NULL;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state); /* V4 */
	pool->shared = sys_is_shared(addr);
	pthread_setcancelstate(state, NULL);
	vmp = make(pool, addr, size, HEAP_BACKING_GIVEN, false);
	if (vmp == NULL) {
		error = errno;
		registry_free(&pool->live);
	} else {
		sys_protect(vmp, page, false); /* fails for huge pages: then the page stays as it is */
	}
	errno = error;
	return vmp;
}

void
vmem_delete(VMEM *vmp)
{
	int error = errno;
	struct vmem_pool *pool;
	struct pool_file file;

	LOG(3, "vmp %p", (void *)vmp);
	registry_lock();
	pool = (struct vmem_pool *)registry_find(vmp);
	if (pool != NULL)
		take_out(pool);
	registry_unlock();
	if (pool == NULL) {
		vmem_pool_invalid(vmp);
		return;
	}
	file = pool->file;
	give_back(pool);
	if (file.base != NULL)
		pool_file_delete(&file);
	else
		sys_protect(vmp, sys_page_size(), true);
	errno = error;
}

int
vmem_check(VMEM *vmp)
{
	int error = errno, result = 0;
	const struct live_pool *pool, *other;
	char why[256] = "";

	LOG(3, "vmp %p", (void *)vmp);
	registry_lock(); /* no pool comes or goes meanwhile */
	pool = registry_find(vmp);
	/* before any look inside: the other pool's first page is not readable */
	other = pool != NULL ? registry_overlapping(pool) : NULL;
	if (other != NULL)
		format(why, sizeof(why), "overlaps pool %p", atomic_load_explicit(&other->handle, memory_order_relaxed));
	else if (pool != NULL)
		result = heap_check(pool->heap, why, sizeof(why));
	registry_unlock();
	errno = error;
	if (pool == NULL) {
		vmem_pool_invalid(vmp);
		return -1;
	}
	if (result != 1)
		ERROR("pool %p: %s", (void *)vmp, why);
	return result;
}

const char *
vmem_check_version(unsigned major_required, unsigned minor_required)
{
	LOG(3, "major_required %u minor_required %u", major_required, minor_required);
	if (major_required != VMEM_MAJOR_VERSION)
		ERROR("libvmem major version mismatch (need %u, found %u)", major_required, VMEM_MAJOR_VERSION);
	else if (minor_required > VMEM_MINOR_VERSION)
		ERROR("libvmem minor version mismatch (need %u, found %u)", minor_required, VMEM_MINOR_VERSION);
	else
		return NULL;
	return error_get();
}

/* Only malloc and free are ever needed, and only together: what one gave, the other must take. */
void
vmem_set_funcs(void *(*malloc_func)(size_t size), void (*free_func)(void *ptr),
    void *(*realloc_func)(void *ptr, size_t size), char *(*strdup_func)(const char *s),
    void (*print_func)(const char *s))
{
	bool both = malloc_func != NULL && free_func != NULL;

	LOG(3, "%s", "");
	(void)realloc_func;
	(void)strdup_func;
	registry_lock();
	funcs.malloc_func = both ? malloc_func : NULL;
	funcs.free_func = both ? free_func : NULL;
	registry_unlock();
	log_set_print(print_func);
}

const char *
vmem_errormsg(void)
{
	return error_get();
}
