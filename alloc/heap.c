/* heap.c -- see heap.h for the contract
 *
 * Owns:   struct heap's life, the superblock, and the order in which a request is tried: the thread's cache, the
 *         class's slabs, fresh extents; then, out of memory, empty slabs; then, with every cache held still and
 *         emptied, anything that fits (H1).
 * Rules:  H1  NULL only when, all caches drained and empty slabs retired, no slot of the class or of a greater one
 *             is free and no run of pages fits.
 *         H2  a block that moves is freed only after its copy is there.
 * Locks:  through tcache.c: a thread is inside the heap while it holds its cache's lock.
 * Media:  heap_media (superblock).
 */
#include "alloc/heap.h"

#include <errno.h>
#include <string.h>

#include "alloc/assert.h"
#include "alloc/bin.h"
#include "alloc/commit.h"
#include "alloc/extent.h"
#include "alloc/guard.h"
#include "alloc/heap_state.h"
#include "alloc/layout.h"
#include "alloc/os.h"
#include "alloc/page_map.h"
#include "alloc/purge.h"
#include "alloc/slab.h"

#define CACHE_BYTES_MAX ((size_t)4 << 20) /* per cache; T3 */

/* --- life ---------------------------------------------------------------------------------------------------- */

static size_t
state_size(void)
{
	size_t page = os_page_size();

	return (sizeof(struct heap) + page - 1) / page * page;
}

/* FNV-1a, 64 bit (draft-eastlake-fnv), over the superblock with the checksum's own field as 0. */
uint64_t
heap_superblock_checksum(const struct heap_media *media)
{
	struct heap_media copy;
	const unsigned char *bytes = (const unsigned char *)&copy;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	memcpy(&copy, media, sizeof(copy));
	copy.checksum = 0;
	for (size_t i = 0; i < sizeof(copy); i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

bool
heap_config_valid(const struct heap_config *config)
{
	size_t page = os_page_size();

	return config->base != NULL && (uintptr_t)config->base % page == 0 && config->reserved % page == 0 &&
	       (config->min_align == 8 || config->min_align == 16) &&
	       config->size <= UINTPTR_MAX - (uintptr_t)config->base;
}

struct heap *
heap_state_new(const struct heap_config *config, const struct heap_media *layout)
{
	struct heap *heap = os_map(state_size());

	if (heap == NULL)
		return NULL;
	heap->base = config->base;
	heap->size = config->size;
	heap->name = config->name;
	heap->backing = config->backing;
	heap->zeroed = config->zeroed;
	heap->npages = layout->npages;
	heap->nchunks = layout->nchunks;
	heap->media = (struct heap_media *)(heap->base + config->reserved);
	heap->pages = heap->base + layout->pages_off;
	heap->page_class = (uint8_t *)(heap->base + layout->page_class_off);
	heap->page_map = (uint32_t *)(heap->base + layout->page_map_off);
	heap->bits = (_Atomic uint64_t *)(heap->base + layout->bits_off);
	heap->slabs = (struct slab_media *)(heap->base + layout->slabs_off);
	heap->chunks = (struct chunk_media *)(heap->base + layout->chunks_off);
	for (unsigned level = 0; level < layout->nlevels; level++)
		heap->nodes[level] = (struct node_media *)(heap->base + layout->nodes_off[level]);
	heap->cache_max = config->size / 256 < CACHE_BYTES_MAX ? config->size / 256 : CACHE_BYTES_MAX;
	heap->caches_allowed = os_barrier_ready();
	heap->born_ns = os_now_ns();
	atomic_init(&heap->purge_cursor, UINT32_MAX);
	lock_init(&heap->caches_lock, LOCK_TCACHES);
	lock_init(&heap->extent_lock, LOCK_EXTENT);
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++)
		lock_init(&heap->bins[sc].lock, LOCK_BIN);
	if (tcache_init(heap) != 0) {
		os_unmap(heap, state_size());
		return NULL;
	}
	if (config->guard != 0 && guard_new(heap, config->guard) != 0) {
		heap_state_delete(heap);
		return NULL;
	}
	return heap;
}

void
heap_state_delete(struct heap *heap)
{
	guard_delete(heap);
	tcache_fini(heap);
	os_unmap(heap, state_size());
}

int
heap_create(struct heap **out, const struct heap_config *config)
{
	struct heap_media layout = {0};
	size_t page = os_page_size();

	if (!heap_config_valid(config) || layout_of_size(&layout, config->size, config->reserved, page) != 0)
		return EINVAL;
	struct heap *heap = heap_state_new(config, &layout);
	if (heap == NULL)
		return ENOMEM;
	if (config->backing == HEAP_BACKING_SPARSE &&
	    os_commit(heap->media, (sizeof(layout) + page - 1) / page * page) != 0) {
		heap_state_delete(heap);
		return ENOMEM;
	}
	layout.magic = HEAP_MEDIA_MAGIC;
	layout.version = HEAP_MEDIA_VERSION;
	layout.size = config->size;
	layout.reserved = config->reserved;
	layout.flags = config->zeroed ? HEAP_MEDIA_ZEROED : 0;
	memcpy((void *)heap->media, &layout, sizeof(layout));
	if (extent_init(heap) != 0) {
		heap_state_delete(heap);
		return ENOMEM;
	}
	*out = heap;
	return 0;
}

int
heap_attach(struct heap **out, const struct heap_config *config)
{
	struct heap_media layout = {0}, found;

	if (!heap_config_valid(config) ||
	    layout_of_size(&layout, config->size, config->reserved, os_page_size()) != 0)
		return EINVAL;
	memcpy(&found, (const char *)config->base + config->reserved, sizeof(found));
	if (found.magic != HEAP_MEDIA_MAGIC || found.version != HEAP_MEDIA_VERSION || found.features_incompat != 0 ||
	    found.features_ro_compat != 0 || (found.flags & ~HEAP_MEDIA_ZEROED) != 0 ||
	    found.checksum != heap_superblock_checksum(&found))
		return EINVAL;
	/* The layout follows from the size alone: what the superblock says must be the same. */
	if (found.size != config->size || found.reserved != config->reserved || !layout_same(&found, &layout) ||
	    found.ready_chunks == 0 || found.ready_chunks > found.nchunks)
		return EINVAL;
	struct heap *heap = heap_state_new(config, &layout);
	if (heap == NULL)
		return ENOMEM;
	heap->zeroed = (found.flags & HEAP_MEDIA_ZEROED) != 0;
	uint64_t ready = (uint64_t)found.ready_chunks << HEAP_LG_CHUNK_PAGES;
	atomic_store(&heap->ready_pages, ready < heap->npages ? (uint32_t)ready : heap->npages);
	atomic_store(&heap->committed_pages, found.committed_pages);
	/* Not whole again before it is detached: a process that dies meanwhile leaves no valid superblock. */
	heap->media->checksum = 0;
	guard_adopt(heap);
	*out = heap;
	return 0;
}

void
heap_detach(struct heap *heap)
{
	guard_release_all(heap);
	tcache_freeze_all(heap);
	tcache_drain_all(heap);
	bin_drop_empty(heap);
	heap->media->committed_pages = atomic_load(&heap->committed_pages);
	heap->media->generation++;
	heap->media->checksum = heap_superblock_checksum(heap->media);
	tcache_thaw_all(heap);
	heap_state_delete(heap);
}

void
heap_abandon(struct heap *heap)
{
	heap_state_delete(heap);
}

void
heap_thread_exit(struct heap *heap, struct tcache_cell *cell)
{
	tcache_exit(heap, cell);
	ASSERT3(heap_check(heap, NULL, 0) == 1);
}

/* --- what a pointer is --------------------------------------------------------------------------------------- */

bool
heap_owns(const struct heap *heap, const void *p)
{
	return (uintptr_t)p - (uintptr_t)heap->pages < (uintptr_t)heap->npages << HEAP_LG_PAGE;
}

/* Class byte and page of a live block; anything else ends in the line `freed` or `inside`. */
static unsigned
block_at(const struct heap *heap, const void *p, const char *freed, const char *inside, uint32_t *page_out)
{
	uint32_t page = heap_page_of(heap, p);
	unsigned sc = page == UINT32_MAX ? 0 : heap->page_class[page];

	*page_out = page;
	if (sc == 0)
		os_fatal(heap->name, freed, p);
	if (sc <= SC_SLAB_COUNT) {
		const struct slab_media *slab = &heap->slabs[heap->page_map[page]];
		uint32_t slot = slab_slot_of(heap, slab, p);

		if (slot == UINT32_MAX)
			os_fatal(heap->name, inside, p);
		if ((atomic_load_explicit(&slab_bits(heap, slab)[slot / 64], memory_order_relaxed) >> (slot % 64) & 1) == 0)
			os_fatal(heap->name, freed, p);
	} else if (sc == SC_BODY || p != heap_page_addr(heap, page)) {
		os_fatal(heap->name, inside, p);
	}
	return sc;
}

static size_t
block_size(const struct heap *heap, unsigned sc, uint32_t page)
{
	return sc <= SC_SLAB_COUNT ? sc_size(sc) : (size_t)heap->page_map[page] << HEAP_LG_PAGE;
}

size_t
heap_plain_usable_size(const struct heap *heap, const void *p)
{
	uint32_t page;
	unsigned sc = block_at(heap, p, "usable size asked of a block that is not allocated:",
			       "usable size asked of a pointer inside a block:", &page);

	return block_size(heap, sc, page);
}

size_t
heap_realloc_usable_size(const struct heap *heap, const void *p)
{
	uint32_t page;
	unsigned sc = block_at(heap, p, "realloc of a block that is not allocated:",
			       "realloc of a pointer inside a block:", &page);

	return block_size(heap, sc, page);
}

size_t
heap_usable_size(struct heap *heap, const void *p)
{
	return heap->guard == NULL ? heap_plain_usable_size(heap, p) : guard_usable_size(heap, p);
}

/* --- taking -------------------------------------------------------------------------------------------------- */

struct request {
	size_t size;
	size_t align; /* 0: that of the class */
	bool zero;
};

/* Pages of an extent that holds `size` bytes, rounded to its class so that it can be cached. */
static uint32_t
extent_pages_of(size_t size)
{
	if (size > SC_SLAB_MAX && size <= SC_MAX_SIZE)
		return sc_size(sc_of(size)) >> HEAP_LG_PAGE;
	size_t pages = size / HEAP_PAGE + (size % HEAP_PAGE != 0);
	return pages > UINT32_MAX ? UINT32_MAX : pages == 0 ? 1 : (uint32_t)pages;
}

static void *
take_extent(struct heap *heap, uint32_t pages, size_t align, bool zero)
{
	uint32_t page;

	if (pages == UINT32_MAX || bin_take_pages(heap, pages, align, zero, &page) != 0)
		return NULL;
	page_map_set_extent(heap, page, pages, page_map_extent_class(pages));
	atomic_fetch_add_explicit(&heap->nlarge_alloc, 1, memory_order_relaxed);
	return heap_page_addr(heap, page);
}

/* Slab class that serves a request, 0: it takes an extent. */
static unsigned
slab_class_of(const struct request *request)
{
	if (request->align > 16)
		return sc_of_aligned(request->size, request->align);
	return request->size <= SC_SLAB_MAX ? sc_of(request->size) : 0;
}

/* The ordinary way: cache, slabs, fresh extents. Inside the heap. */
static void *
take(struct heap *heap, struct tcache *tc, const struct request *request)
{
	unsigned sc = slab_class_of(request);

	if (sc == 0 && request->align <= HEAP_PAGE && !request->zero && request->size <= SC_MAX_SIZE &&
	    request->size > SC_SLAB_MAX)
		sc = sc_of(request->size); /* a run: cached */
	if (sc != 0) {
		void *p = tcache_alloc(tc, sc);

		if (p != NULL && request->zero)
			memset(p, 0, request->size);
		return p;
	}
	void *p = take_extent(heap, extent_pages_of(request->size), request->align, request->zero);
	if (p != NULL && request->size > SC_SLAB_MAX && request->size <= SC_MAX_SIZE)
		tc->mags[sc_of(request->size)].counts.nmalloc++; /* a cache will take it back */
	return p;
}

/* Whatever fits, by any means; caches are drained and held. */
static void *
take_anything(struct heap *heap, const struct request *request)
{
	size_t least = request->size / HEAP_PAGE + (request->size % HEAP_PAGE != 0 || request->size == 0);
	void *p = take(heap, heap->shared, request);

	/* A slot of a greater class. */
	for (unsigned sc = slab_class_of(request); p == NULL && sc != 0 && sc <= SC_SLAB_COUNT; sc++) {
		if (request->align > 16 && (sc_size(sc) & (request->align - 1)) != 0)
			continue;
		p = tcache_alloc_existing(heap->shared, sc);
		if (p != NULL && request->zero)
			memset(p, 0, request->size);
	}
	/* Fewer pages than a slab or the class's rounding wants. */
	if (p == NULL && least < UINT32_MAX)
		p = take_extent(heap, (uint32_t)least, request->align, request->zero);
	return p;
}

/* H1. Not inside the heap. */
static void *
reclaim_and_take(struct heap *heap, const struct request *request)
{
	void *p;

	if (request->size >= heap->size) /* spares hopeless requests the stop */
		return NULL;
	tcache_freeze_all(heap);
	heap->nreclaims++;
	tcache_drain_all(heap);
	bin_drop_empty(heap);
	uint64_t failures = atomic_load_explicit(&heap->ncommit_failures, memory_order_relaxed);
	p = take_anything(heap, request);
	if (p == NULL && atomic_load_explicit(&heap->ncommit_failures, memory_order_relaxed) != failures &&
	    purge_all(heap) > 0) {
		/* The file system is what is full: now it has what we did not use. */
		p = take_anything(heap, request);
	}
	tcache_drain(heap->shared);
	tcache_thaw_all(heap);
	/* A guarded heap's lock is held here, and heap_check() takes it. */
	ASSERT3(heap->guard != NULL || heap_check(heap, NULL, 0) == 1);
	return p;
}

static void *
allocate(struct heap *heap, struct tcache_cell *cell, const struct request *request)
{
	struct tcache *tc = tcache_enter(heap, cell);
	void *p = take(heap, tc, request);

	if (p == NULL && bin_drop_empty(heap))
		p = take(heap, tc, request);
	else
		purge_tick(heap);
	tcache_leave(tc);
	return p != NULL ? p : reclaim_and_take(heap, request);
}

void *
heap_malloc_slow(struct heap *heap, struct tcache_cell *cell, size_t size)
{
	if (heap->guard != NULL)
		return guard_alloc(heap, 0, size);
	return heap_plain_alloc(heap, cell, 0, size);
}

void *
heap_plain_alloc(struct heap *heap, struct tcache_cell *cell, size_t align, size_t size)
{
	struct request request = {size, align, false};

	return allocate(heap, cell, &request);
}

void *
heap_calloc(struct heap *heap, struct tcache_cell *cell, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total))
		return NULL;
	void *p = heap_malloc_try(cell, total);
	if (p != NULL)
		return memset(p, 0, total);
	if (heap->guard != NULL)
		return guard_calloc(heap, total);
	struct request request = {total, 0, true};
	return allocate(heap, cell, &request);
}

void *
heap_aligned_alloc(struct heap *heap, struct tcache_cell *cell, size_t align, size_t size)
{
	struct request request = {size, align, false};

	ASSERT1(align != 0 && (align & (align - 1)) == 0);
	if (align <= 16)
		return heap_malloc(heap, cell, size);
	if (heap->guard != NULL)
		return guard_alloc(heap, align, size);
	unsigned sc = slab_class_of(&request);
	if (sc != 0) {
		void *p = heap_malloc_try(cell, sc_size(sc));

		if (p != NULL)
			return p;
	}
	return allocate(heap, cell, &request);
}

/* --- giving back --------------------------------------------------------------------------------------------- */

void
heap_free_slow(struct heap *heap, struct tcache_cell *cell, void *p)
{
	if (heap->guard != NULL)
		guard_free(heap, p);
	else
		heap_plain_free(heap, cell, p);
}

void
heap_plain_free(struct heap *heap, struct tcache_cell *cell, void *p)
{
	struct tcache *tc = tcache_enter(heap, cell);
	uint32_t page;
	unsigned sc = block_at(heap, p, "double free or free of a block that is not allocated:",
			       "free of a pointer inside a block:", &page);

	if (sc == SC_LARGE) {
		extent_free(heap, page, heap->page_map[page]);
		atomic_fetch_add_explicit(&heap->nlarge_free, 1, memory_order_relaxed);
	} else {
		tcache_free(tc, p, sc);
	}
	tcache_leave(tc);
}

/* --- realloc ------------------------------------------------------------------------------------------------- */

/* Gives a run or large extent `pages` pages where it stands. Inside the heap. */
static bool
resize_extent(struct heap *heap, uint32_t page, uint32_t pages)
{
	uint32_t old = heap->page_map[page];

	if (pages > old) {
		if (!extent_take_at(heap, page + old, pages - old))
			return false;
	}
	page_map_set_extent(heap, page, pages, page_map_extent_class(pages));
	if (pages < old)
		extent_free(heap, page + pages, old - pages);
	return true;
}

/* Resizes an extent where it stands, if it can be. */
static bool
realloc_in_place(struct heap *heap, struct tcache_cell *cell, uint32_t page, size_t size)
{
	uint32_t pages = extent_pages_of(size);

	if (pages == UINT32_MAX)
		return false;
	struct tcache *tc = tcache_enter(heap, cell);
	uint32_t old = heap->page_map[page];
	bool stays = pages == old || resize_extent(heap, page, pages);
	/* No room for the class's rounding: the bytes asked for will do. */
	uint32_t least = (uint32_t)((size + HEAP_PAGE - 1) >> HEAP_LG_PAGE);
	if (!stays && least < pages)
		stays = least <= old || resize_extent(heap, page, least);
	tcache_leave(tc);
	return stays;
}

/* A smaller block for one that is to shrink, without going to any length for it. */
static void *
smaller_block(struct heap *heap, struct tcache_cell *cell, size_t size)
{
	struct request request = {size, 0, false};
	void *p = heap_malloc_try(cell, size);

	if (p == NULL) {
		struct tcache *tc = tcache_enter(heap, cell);
		p = take(heap, tc, &request);
		tcache_leave(tc);
	}
	return p;
}

void *
heap_realloc(struct heap *heap, struct tcache_cell *cell, void *p, size_t size)
{
	if (heap->guard != NULL)
		return guard_realloc(heap, p, size);
	/* The block is the caller's, so its records hold still: looking needs no lock. */
	uint32_t page;
	unsigned sc = block_at(heap, p, "realloc of a block that is not allocated:",
			       "realloc of a pointer inside a block:", &page);
	size_t usable = block_size(heap, sc, page);
	void *moved;

	if (size == 0)
		size = 1;
	if (sc <= SC_SLAB_COUNT) {
		/* A block that keeps more than half of its slot keeps the slot. */
		if (size <= usable && (size > usable / 2 || sc_of(size) == sc))
			return p;
	} else if (size > SC_SLAB_MAX && realloc_in_place(heap, cell, page, size)) {
		return p;
	}
	if (size > usable) {
		moved = heap_malloc(heap, cell, size);
		if (moved == NULL)
			return NULL;
	} else {
		/* Shrinking never fails: where a smaller block cannot be had, the old one serves, cut to size. */
		moved = smaller_block(heap, cell, size);
		if (moved == NULL) {
			if (sc > SC_SLAB_COUNT)
				realloc_in_place(heap, cell, page, size);
			return p;
		}
	}
	memcpy(moved, p, usable < size ? usable : size);
	heap_free(heap, cell, p);
	return moved;
}

/* --- fork ---------------------------------------------------------------------------------------------------- */

void
heap_prefork(struct heap *heap)
{
	guard_hold(heap);
	tcache_freeze_all(heap);
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++)
		lock_take(&heap->bins[sc].lock);
	lock_take(&heap->extent_lock);
	lock_order_exempt(1);
}

void
heap_postfork_parent(struct heap *heap)
{
	lock_order_exempt(-1);
	lock_drop(&heap->extent_lock);
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++)
		lock_drop(&heap->bins[sc].lock);
	tcache_thaw_all(heap);
	guard_let_go(heap);
}

void
heap_postfork_child(struct heap *heap, struct tcache_cell *own_cell)
{
	lock_order_exempt(-1);
	tcache_thaw_child(heap, own_cell);
	guard_renew(heap);
	atomic_store_explicit(&heap->purge_busy, 0, memory_order_relaxed);
}

void
heap_set_backing(struct heap *heap, enum heap_backing backing, bool recommit)
{
	heap->backing = backing;
	atomic_store_explicit(&heap->purge_refused, 0, memory_order_relaxed); /* the new one may punch */
	if (recommit)
		commit_forget_free(heap);
	commit_count(heap);
}

size_t
heap_purge_all(struct heap *heap)
{
	tcache_freeze_all(heap);
	bin_drop_empty(heap);
	uint64_t pages = purge_all(heap);
	tcache_thaw_all(heap);
	ASSERT3(heap_check(heap, NULL, 0) == 1);
	return (size_t)pages << HEAP_LG_PAGE;
}
