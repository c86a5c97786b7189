/* pmemcto.c -- libpmemcto: pools made, opened, closed, checked; versions, messages, functions
 *
 * Owns:   the pools' records while they are made and unmade; the functions given to pmemcto_set_funcs; the list of pools
 *         that a child of fork() inherited.
 * Rules:  C1  the order in which a pool's life becomes durable: made: descriptor, then the headers, that of the first
 *             part last, then the names. Opened: `consistent` 0 is durable before anything else changes. Closed: every byte of the pool is
 *             durable before `consistent` is 1.
 *         C2  a creation or opening that fails leaves the file as it was, but for blocks that were reserved, and for
 *             what lies behind the first page of a file that was there before.
 *         C3  a pool's heap ends, all threads' cells are emptied and then it leaves the registry, all while its `life`
 *             is held exclusively: no thread that ends or moves on meanwhile is left with a cell of a heap that is
 *             gone.
 *         C4  a pool belongs to the process that opened it. A child of fork() can read and write what is mapped, but
 *             its calls are refused: two processes with caches of the same heap would destroy it. pmemcto_close() in
 *             the child unmaps.
 *         C5  the program's functions are called with no lock held.
 * Locks:  registry_lock for the functions, the inherited pools and around C3; see api/common/registry.h.
 * Media:  `consistent` and the root pointer in struct pool_desc_media, otherwise through media.c. C1 is kept by msync(2)
 *         between the stores.
 * Fails:  NULL, -1 or nothing done, with errno and message.
 */
#include "api/pmemcto/pool.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "alloc/heap_media.h"
#include "api/common/cells.h"
#include "api/common/error.h"
#include "api/common/log.h"
#include "api/common/os.h"
#include "api/common/stats_text.h"
#include "api/pmemcto/headers.h"
#include "api/pmemcto/os.h"
#include "api/pmemcto/place.h"

static struct cto_hooks hooks;      /* registry_lock */
static struct cto_pool *inherited;  /* registry_lock */

/* What a program's malloc function is asked for: one of these per pool (pmemcto_set_funcs). */
struct user_record {
	const void *handle;
	size_t size;
};

/* --- handles ------------------------------------------------------------------------------------------------- */

void
cto_invalid(const PMEMctopool *pcp)
{
	if (cto_is_inherited(pcp))
		ERROR("pool %p belongs to the process that this one was forked from", (const void *)pcp);
	else
		ERROR("invalid pool handle: %p", (const void *)pcp);
	errno = EINVAL;
}

static struct cto_pool *
find(const PMEMctopool *pcp)
{
	struct live_pool *live = registry_find(pcp);

	if (live == NULL)
		cto_invalid(pcp);
	return (struct cto_pool *)live;
}

bool
cto_is_inherited(const PMEMctopool *pcp)
{
	struct cto_pool *pool;

	registry_lock();
	for (pool = inherited; pool != NULL && pool->inherited != (const void *)pcp; pool = pool->next_inherited)
		;
	registry_unlock();
	return pool != NULL;
}

/* --- fork ---------------------------------------------------------------------------------------------------- */

static void
prefork_one(void *ctx, struct live_pool *live)
{
	(void)ctx;
	heap_prefork(live->heap);
}

static void
parent_one(void *ctx, struct live_pool *live)
{
	(void)ctx;
	heap_postfork_parent(live->heap);
}

static void
any_one(void *ctx, struct live_pool *live)
{
	*(struct live_pool **)ctx = live;
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

/* C4. Letting go of the locks writes nothing into the pool. The descriptor is closed, not unlocked: the lock is the
 * parent's. */
static void
postfork_child(void)
{
	for (;;) {
		struct live_pool *live = NULL;
		struct cto_pool *pool;

		registry_each(any_one, &live);
		if (live == NULL)
			break;
		pool = (struct cto_pool *)live;
		pool->inherited = atomic_load_explicit(&live->handle, memory_order_relaxed);
		pool->next_inherited = inherited;
		inherited = pool;
		heap_postfork_parent(live->heap);
		heap_abandon(live->heap);
		registry_remove(live);
		parts_abandon(&pool->parts);
	}
	registry_postfork_child();
}

/* Of this handle; taken from the list. */
static struct cto_pool *
take_inherited(const PMEMctopool *pcp)
{
	struct cto_pool **at, *pool;

	registry_lock();
	for (at = &inherited; *at != NULL && (*at)->inherited != (const void *)pcp; at = &(*at)->next_inherited)
		;
	pool = *at;
	if (pool != NULL)
		*at = pool->next_inherited;
	registry_unlock();
	return pool;
}

/* --- start and end of the library ---------------------------------------------------------------------------- */

__attribute__((constructor)) static void
pmemcto_init(void)
{
	static const struct log_library library = {
		"libpmemcto", "PMEMCTO_LOG_LEVEL", "PMEMCTO_LOG_FILE", PMEMCTO_MAJOR_VERSION, PMEMCTO_MINOR_VERSION,
	};

	log_init(&library);
	LOG(3, "%s", "");
	place_init();
	cells_init();
	pthread_atfork(prefork, postfork_parent, postfork_child);
}

/* Pools that are open stay so, and are dirty for whoever comes next: only pmemcto_close() knows that all is well. */
__attribute__((destructor)) static void
pmemcto_fini(void)
{
	LOG(3, "%s", "");
	log_fini();
}

/* --- records ------------------------------------------------------------------------------------------------- */

/* A record, with what the program's functions gave for it. NULL with message and errno. */
static struct cto_pool *
record_new(const char *path)
{
	struct cto_pool *pool = (struct cto_pool *)registry_new();

	if (pool != NULL) {
		registry_lock();
		pool->hooks = hooks;
		registry_unlock();
		if (pool->hooks.malloc_func != NULL)
			pool->user_record = pool->hooks.malloc_func(sizeof(struct user_record));
		if (pool->hooks.strdup_func != NULL)
			pool->user_path = pool->hooks.strdup_func(path);
		if ((pool->hooks.malloc_func == NULL || pool->user_record != NULL) &&
		    (pool->hooks.strdup_func == NULL || pool->user_path != NULL))
			return pool;
		if (pool->user_record != NULL)
			pool->hooks.free_func(pool->user_record);
		if (pool->user_path != NULL)
			pool->hooks.free_func(pool->user_path);
		registry_free(&pool->live);
	}
	errno = ENOMEM;
	ERROR_ERRNO("pool \"%s\"", path);
	return NULL;
}

static void
record_free(struct cto_pool *pool)
{
	int error = errno;

	if (pool->user_record != NULL)
		pool->hooks.free_func(pool->user_record);
	if (pool->user_path != NULL)
		pool->hooks.free_func(pool->user_path);
	registry_free(&pool->live);
	errno = error;
}

/* The pool's calls are served from here on. ENOMEM, with message. */
static int
record_publish(struct cto_pool *pool, void *base, size_t size)
{
	int error;

	pool->live.size = size;
	pool->desc = &((struct pool_front_media *)base)->desc;
	if (pool->user_record != NULL)
		*(struct user_record *)pool->user_record = (struct user_record){ base, size };
	registry_lock();
	error = registry_reserve();
	if (error == 0)
		registry_insert(&pool->live, base);
	registry_unlock();
	errno = error;
	if (error != 0)
		ERROR_ERRNO("pool at %p", base);
	return error;
}

/* --- the pool's front ---------------------------------------------------------------------------------------- */

/* The page of the system that holds the descriptor. */
static int
sync_desc(const struct parts *parts, struct pool_front_media *front)
{
	size_t page = sys_page_size();

	return parts_sync(parts, (void *)((uintptr_t)&front->desc & ~(uintptr_t)(page - 1)), page);
}

static void
set_consistent(struct pool_front_media *front, uint8_t value)
{
	atomic_store_explicit(&front->desc.consistent, value, memory_order_release);
}

static size_t
heap_offset(void)
{
	size_t page = sys_page_size();

	return page > POOL_FRONT_SIZE ? page : POOL_FRONT_SIZE;
}

/* Bytes at the pool's start that do not change while it is open, and cannot be touched. None where the system's pages are
 * larger: the descriptor shares the first one. */
static size_t
closed_bytes(void)
{
	return sys_page_size() == POOL_HEADER_SIZE ? POOL_HEADER_SIZE : 0;
}

static void
protect_header(void *base)
{
	if (closed_bytes() != 0)
		sys_protect(base, closed_bytes(), false);
}

static struct heap_config
config_of(void *base, size_t size, size_t reserved, uint32_t flags, bool zeroed)
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

/* --- creation ------------------------------------------------------------------------------------------------ */

static int
valid_arguments(const char *path, const char *layout)
{
	if (layout != NULL && strlen(layout) >= PMEMCTO_MAX_LAYOUT) {
		ERROR("the layout name has %zu bytes, at most %zu can be stored", strlen(layout), PMEMCTO_MAX_LAYOUT - 1);
		return errno = EINVAL;
	}
	if (path == NULL) {
		ERROR("invalid (NULL) path");
		return errno = EFAULT;
	}
	return 0;
}

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
		error = sys_populate(base, heap_offset());
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

	memset((void *)front, 0, heap_offset());
	media_fill_desc(&front->desc, layout, (uintptr_t)place->base, place->size, flags, place->span, heap_offset());
	error = sync_desc(parts, front);
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
	config = config_of(place->base, size, heap_offset(), flags, zeroed);
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
	if (valid_arguments(path, layout) != 0 || (fresh && valid_new(path, poolsize) != 0))
		return NULL;
	pool = record_new(path);
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
		error = record_publish(pool, place.base, place.size);
	if (error != 0)
		goto fail_make;
	protect_header(place.base);
	errno = old_errno;
	return place.base;

fail_make:
	unmake(pool, &place);
fail_file:
	parts_drop(&pool->parts);
fail_record:
	record_free(pool);
	errno = error;
	return NULL;
}

/* --- opening ------------------------------------------------------------------------------------------------- */

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
attach(const char *path, const struct pool_desc_media *desc, struct heap **heap)
{
	struct heap_config config =
	    config_of((void *)(uintptr_t)desc->base, desc->size, desc->heap_offset, desc->flags, false);
	int error = heap_attach(heap, &config);

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
	if (sys_populate((void *)(uintptr_t)desc->base, heap_offset()) == EINVAL) /* as in choose_flags() */
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

	set_consistent(front, 0);
	error = sync_desc(parts, front);
	if (error == 0)
		return 0;
	set_consistent(front, 1);
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
	set_consistent(front, 1);
	sync_desc(parts, front);
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
	if (valid_arguments(path, layout) != 0)
		return NULL;
	pool = record_new(path);
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
	error = attach(path, &front.desc, &pool->live.heap);
	if (error != 0)
		goto fail_mark;
	error = refill(&pool->parts, &front.desc, pool->live.heap);
	if (error == 0)
		error = record_publish(pool, mapped, front.desc.size);
	if (error != 0)
		goto fail_heap;
	protect_header(mapped);
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
	record_free(pool);
	errno = error;
	return NULL;
}

/* --- closing ------------------------------------------------------------------------------------------------- */

/* C3: 0, or EINVAL when there is no such pool. */
static struct cto_pool *
take_out(const PMEMctopool *pcp)
{
	struct live_pool *live;

	registry_lock();
	live = registry_find(pcp);
	if (live != NULL) {
		pthread_rwlock_wrlock(&live->life);
		heap_detach(live->heap);
		registry_remove(live); /* last: who does not find the pool any more finds its cell empty */
		pthread_rwlock_unlock(&live->life);
	}
	registry_unlock();
	return (struct cto_pool *)live;
}

/* C1. 0, or errno value with message: the pool stays marked as open. */
static int
make_durable(struct cto_pool *pool, struct pool_front_media *front)
{
	const struct heap_media *media =
	    (const struct heap_media *)((const char *)front + front->desc.heap_offset);
	int error;

	media_seal(&front->desc, media->checksum);
	error = parts_sync(&pool->parts, (char *)front + closed_bytes(), pool->live.size - closed_bytes());
	if (error == 0) {
		set_consistent(front, 1);
		error = sync_desc(&pool->parts, front);
		if (error != 0)
			set_consistent(front, 0);
	}
	errno = error;
	if (error != 0)
		ERROR_ERRNO("msync: the pool may not be whole on its medium, and stays marked as inconsistent");
	return error;
}

void
pmemcto_close(PMEMctopool *pcp)
{
	int error, old_errno = errno;
	struct cto_pool *pool;

	LOG(3, "pcp %p", (void *)pcp);
	pool = take_out(pcp);
	if (pool != NULL) {
		error = make_durable(pool, (struct pool_front_media *)pcp);
		sys_unmap(pcp, pool->live.size);
		parts_release(&pool->parts);
		record_free(pool);
		errno = error != 0 ? error : old_errno;
		return;
	}
	pool = take_inherited(pcp);
	if (pool == NULL) {
		cto_invalid(pcp);
		return;
	}
	sys_unmap(pcp, pool->live.size);
	record_free(pool);
	errno = old_errno;
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
	error = attach(path, desc, &heap);
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
	error = valid_arguments(path, layout);
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

/* --- root pointer -------------------------------------------------------------------------------------------- */

void
pmemcto_set_root_pointer(PMEMctopool *pcp, void *ptr)
{
	uintptr_t at = (uintptr_t)ptr, base = (uintptr_t)pcp;
	struct cto_pool *pool;

	LOG(3, "pcp %p ptr %p", (void *)pcp, ptr);
	pool = find(pcp);
	if (pool == NULL)
		return;
	if (at != 0 && (at < base + POOL_FRONT_SIZE || at - base >= pool->live.size)) {
		ERROR("root pointer %p is not in pool %p of %zu bytes", ptr, (void *)pcp, pool->live.size);
		errno = EINVAL;
		return;
	}
	atomic_store_explicit(&pool->desc->root, at, memory_order_release);
}

void *
pmemcto_get_root_pointer(PMEMctopool *pcp)
{
	struct cto_pool *pool;

	LOG(3, "pcp %p", (void *)pcp);
	pool = find(pcp);
	return pool == NULL ? NULL : (void *)(uintptr_t)atomic_load_explicit(&pool->desc->root, memory_order_acquire);
}

/* --- the rest ------------------------------------------------------------------------------------------------ */

void
pmemcto_stats_print(PMEMctopool *pcp, const char *opts)
{
	int error = errno;
	struct cto_pool *pool;

	LOG(3, "pcp %p opts \"%s\"", (void *)pcp, opts != NULL ? opts : "");
	pool = find(pcp);
	if (pool == NULL)
		return;
	stats_text_print(pool->live.heap, opts, PMEMCTO_MAJOR_VERSION, PMEMCTO_MINOR_VERSION);
	errno = error;
}

const char *
pmemcto_check_version(unsigned major_required, unsigned minor_required)
{
	LOG(3, "major_required %u minor_required %u", major_required, minor_required);
	if (major_required != PMEMCTO_MAJOR_VERSION)
		ERROR("libpmemcto major version mismatch (need %u, found %u)", major_required, PMEMCTO_MAJOR_VERSION);
	else if (minor_required > PMEMCTO_MINOR_VERSION)
		ERROR("libpmemcto minor version mismatch (need %u, found %u)", minor_required, PMEMCTO_MINOR_VERSION);
	else
		return NULL;
	return error_get();
}

/* What malloc or strdup give, free must take: without it the other two are not asked. */
void
pmemcto_set_funcs(void *(*malloc_func)(size_t size), void (*free_func)(void *ptr),
    void *(*realloc_func)(void *ptr, size_t size), char *(*strdup_func)(const char *s),
    void (*print_func)(const char *s))
{
	LOG(3, "%s", "");
	(void)realloc_func;
	registry_lock();
	hooks.malloc_func = free_func != NULL ? malloc_func : NULL;
	hooks.strdup_func = free_func != NULL ? strdup_func : NULL;
	hooks.free_func = free_func;
	registry_unlock();
	log_set_print(print_func);
}

const char *
pmemcto_errormsg(void)
{
	return error_get();
}
