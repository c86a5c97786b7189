/* heap_state.h -- a heap as this process sees it (private to alloc/)
 *
 * Owns:   struct heap: pointers into the region, locks, caches, counters. In anonymous memory of its own.
 * Rules:  fields are grouped by how they change; the comment of a group names who may touch it.
 * Media:  process only.
 */
#ifndef ALLOC_HEAP_STATE_H
#define ALLOC_HEAP_STATE_H

#include "alloc/heap.h"
#include "alloc/heap_media.h"
#include "alloc/lock.h"

struct guard;

/* Process side of a size class. One cache line, so that two classes' locks do not share one. */
struct bin {
	_Alignas(64) struct lock lock; /* LOCK_BIN */
	/* bin lock */
	uint64_t nslab_new, nslab_retired;
};

struct heap {
	/* constant from heap_create/heap_attach on */
	char *base;   /* of the region */
	char *pages;  /* page 0 */
	size_t size;
	uint32_t npages;
	uint32_t nchunks;
	struct heap_media *media;
	uint8_t *page_class;
	uint32_t *page_map;
	_Atomic uint64_t *bits;
	struct slab_media *slabs;
	struct chunk_media *chunks;
	struct node_media *nodes[HEAP_MAX_LEVELS];
	const char *name;
	bool zeroed;         /* tables that were never touched read as zero */
	bool caches_allowed; /* the kernel can hold caches still, os_barrier_ready(), and there is no guard */
	struct guard *guard; /* NULL: none */
	size_t cache_max;    /* bytes per cache at the most, T3 */

	/* changes only while the world is held (heap_set_backing) */
	enum heap_backing backing;

	/* any thread reads; written under the extent lock */
	_Atomic uint32_t ready_pages; /* pages whose tables are ready, a multiple of a chunk but for the last */

	/* caches_lock */
	_Alignas(64) struct lock caches_lock; /* LOCK_TCACHES */
	struct tcache *caches; /* all live ones, `shared` included */
	struct tcache *spare;  /* for new threads, emptied */
	uint32_t ncaches, nspare;
	uint64_t nreclaims;
	struct tcache_counts counts[SC_COUNT + 1]; /* of caches that are gone */
	struct tcache *shared; /* constant: for threads that have no cache of their own */

	/* extent_lock */
	_Alignas(64) struct lock extent_lock; /* LOCK_EXTENT */

	/* any thread, atomic: counters */
	_Alignas(64) _Atomic uint64_t committed_pages; /* of blocks, not of tables; backing SPARSE and PRIVATE only */
	_Atomic uint64_t ncommits, ncommit_failures, npurges, purged_pages;
	_Atomic uint64_t nlarge_alloc, nlarge_free; /* extents that no cache was asked for */
	/* any thread, atomic: commit.c, what committing cost so far by single and by huge pages */
	_Atomic uint64_t small_ns, small_pages, huge_ns, huge_pages;
	/* any thread, atomic: bin.c */
	_Atomic uint64_t empty_pages; /* of the slabs in all empty lists; changed with the bin's lock */
	/* any thread, atomic: purge.c */
	_Atomic uint64_t purge_spent_ns;  /* in punching so far */
	_Atomic uint64_t purge_window_ns; /* when the window began, G6 */
	_Atomic uint64_t purge_least;     /* idle pages at their least since then */
	_Atomic uint64_t purge_quota;     /* pages that the last window allows to be punched */
	_Atomic uint32_t purge_cursor;    /* chunk where the next step looks, downwards */
	_Atomic uint32_t purge_busy;      /* one purger at a time */
	_Atomic uint32_t purge_refused;   /* the file system cannot punch: do not ask again */
	uint64_t born_ns;

	struct bin bins[SC_SLAB_COUNT + 1]; /* [0] unused */
};

/* --- heap.c, for repair.c ------------------------------------------------------------------------------------ */

bool heap_config_valid(const struct heap_config *config);
/* Process state over a superblock whose layout is `layout`, no chunk ready. The region is not touched. NULL: no memory. */
struct heap *heap_state_new(const struct heap_config *config, const struct heap_media *layout);
void heap_state_delete(struct heap *heap);

/* --- heap.c, for guard.c: what the public functions do where there is no guard ---------------------------------- */

void *heap_plain_alloc(struct heap *heap, struct tcache_cell *cell, size_t align, size_t size);
void heap_plain_free(struct heap *heap, struct tcache_cell *cell, void *p);
size_t heap_plain_usable_size(const struct heap *heap, const void *p);
size_t heap_realloc_usable_size(const struct heap *heap, const void *p); /* the same, with realloc's words for no block */

static inline char *
heap_page_addr(const struct heap *heap, uint32_t page)
{
	return heap->pages + ((size_t)page << HEAP_LG_PAGE);
}

/* Page of an address, or UINT32_MAX when it lies in no page whose tables are ready. */
static inline uint32_t
heap_page_of(const struct heap *heap, const void *p)
{
	size_t page = ((uintptr_t)p - (uintptr_t)heap->pages) >> HEAP_LG_PAGE;

	return page < atomic_load_explicit(&heap->ready_pages, memory_order_acquire) ? (uint32_t)page : UINT32_MAX;
}

#endif
