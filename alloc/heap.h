/* heap.h -- one heap over one region of memory: what api/ may ask of alloc/
 *
 * A heap lives in a region [base, base + size) that the caller mapped. The first `reserved` bytes belong to the
 * caller (its header pages); everything behind them belongs to the heap: superblock, side tables, then pages of
 * user memory. What lies in the region holds offsets and indices only, so that a heap can be detached, mapped at
 * another address and attached again. Locks, thread caches and all else of this process hang off `struct heap`,
 * which is taken from anonymous memory, never from the region and never from libc's malloc.
 *
 * Threads:  every function may be called by any thread, except where said. A thread works through a `struct
 *           tcache_cell` that the caller keeps in thread-local storage, one per heap (see alloc/tcache.h); a cell
 *           that has no cache yet gets one at its first slow call.
 * Errors:   functions that make memory return NULL when no free range fits (the caller sets ENOMEM); functions
 *           that return int give 0 or an errno value. errno itself is not promised to survive: api/ saves it.
 * Misuse:   a pointer that cannot be a live block ends in one line on stderr and abort() (os_fatal). Foreign
 *           pointers are the caller's business: ask heap_owns() first.
 */
#ifndef ALLOC_HEAP_H
#define ALLOC_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc/size_class.h"
#include "alloc/tcache.h"

struct heap;

/* What stands behind the region; decides how pages are committed and given back. */
enum heap_backing {
	HEAP_BACKING_GIVEN,   /* caller's memory: neither committed nor purged, content unknown */
	HEAP_BACKING_SPARSE,  /* MAP_SHARED file with holes: commit before use (ENOMEM, never SIGBUS), punch to purge */
	HEAP_BACKING_FULL,    /* file whose blocks are all reserved: never committed, never punched */
	HEAP_BACKING_PRIVATE, /* private pages (anonymous, or a file mapped MAP_PRIVATE): committed as SPARSE is, purged
	                       * by MADV_DONTNEED; purged pages are not taken for zero, the file may show through */
};

struct heap_config {
	void *base;                /* multiple of the system's page size */
	size_t size;               /* bytes; at least HEAP_MIN_SIZE; a tail that fills no page stays unused */
	size_t reserved;           /* bytes at the front kept for the caller; multiple of HEAP_PAGE */
	enum heap_backing backing;
	bool zeroed;               /* heap_create: the whole region reads as zero (a fresh file) */
	size_t min_align;          /* every block is a multiple of this: 8 or 16 */
	unsigned guard;            /* HEAP_GUARD_*; 0: a heap that trusts its callers (guard.h) */
	const char *name;          /* prefix of fatal messages, e.g. "libvmem"; static string */
};

/* Any of these takes the thread caches away: each call is slow, and a free of what was freed is found at once. */
enum heap_guard {
	HEAP_GUARD_ON = 1,         /* no more than that */
	HEAP_GUARD_RANDOM = 2,     /* which of some slots is handed out is left to chance */
	HEAP_GUARD_QUARANTINE = 4, /* freed blocks wait before they are used again */
	HEAP_GUARD_ZERO = 8,       /* freed blocks are cleared, and are still clear when they are used again */
	HEAP_GUARD_CANARY = 16,    /* bytes behind a block are looked at when it is freed */
	HEAP_GUARD_WATCH = 32,     /* memcheck or AddressSanitizer is told of each block */
	HEAP_GUARD_ALL = HEAP_GUARD_ON | HEAP_GUARD_RANDOM | HEAP_GUARD_QUARANTINE | HEAP_GUARD_ZERO | HEAP_GUARD_CANARY,
};

#define HEAP_LG_PAGE 12
#define HEAP_PAGE ((size_t)1 << HEAP_LG_PAGE)
#define HEAP_MIN_SIZE ((size_t)1 << 20) /* after `reserved` */

/* Makes an empty heap in the region. Touches only the front of it. EINVAL: a size or alignment above is not kept;
 * ENOMEM: no memory for process state, or the file system has no room for the first tables. */
int heap_create(struct heap **out, const struct heap_config *config);

/* Takes up a heap that heap_detach() left in the region, at this or another address. EINVAL: no heap there, or one
 * of a version, size or checksum that does not fit; nothing was changed then. */
int heap_attach(struct heap **out, const struct heap_config *config);

/* Takes all caches of all threads back into the heap, leaves the region ready for heap_attach, frees `heap`.
 * No other call on the heap may be under way. Cells of other threads are emptied: their next call is slow. */
void heap_detach(struct heap *heap);

/* As heap_detach, but neither reads nor writes the region (which may be overwritten or unmapped already). */
void heap_abandon(struct heap *heap);

/* --- blocks. `cell` is the calling thread's own. ------------------------------------------------------------- */

/* NULL: no free range fits. Size 0 gives a unique block of the smallest class. */
static inline void *heap_malloc(struct heap *heap, struct tcache_cell *cell, size_t size);
void *heap_calloc(struct heap *heap, struct tcache_cell *cell, size_t n, size_t size); /* n * size may overflow: NULL */
/* `align`: any power of two, checked by the caller. */
void *heap_aligned_alloc(struct heap *heap, struct tcache_cell *cell, size_t align, size_t size);
/* p: a live block, not NULL. size 0 is as size 1. NULL: no room, the block is as it was. */
void *heap_realloc(struct heap *heap, struct tcache_cell *cell, void *p, size_t size);
/* p: a live block of this heap. */
static inline void heap_free(struct heap *heap, struct tcache_cell *cell, void *p);
/* False, and nothing done, when p needs heap_free_slow() or is not of this heap (NULL included). For callers that
 * must look where p comes from, this spares the look on the fast path. */
static inline bool heap_free_try(struct tcache_cell *cell, void *p);

size_t heap_usable_size(struct heap *heap, const void *p); /* bytes; p a live block of this heap */
bool heap_owns(const struct heap *heap, const void *p);    /* p lies in the part of the region that holds blocks */

void *heap_malloc_slow(struct heap *heap, struct tcache_cell *cell, size_t size);
void heap_free_slow(struct heap *heap, struct tcache_cell *cell, void *p);

/* --- threads, fork ------------------------------------------------------------------------------------------- */

/* The thread is ending (call it from a thread-specific-data destructor): its cache goes back to the heap. A later
 * call by the same thread makes a new one. */
void heap_thread_exit(struct heap *heap, struct tcache_cell *cell);

/* Around fork, by the forking thread: take every lock of the heap in rank order and hold all caches still; let go
 * in the parent; in the child, renew the locks and take over the caches of the threads that are not there. */
void heap_prefork(struct heap *heap);
void heap_postfork_parent(struct heap *heap);
void heap_postfork_child(struct heap *heap, struct tcache_cell *own_cell);

/* Calls fn(ctx, offset, length) for each range of the region, in ascending order, that holds anything: superblock,
 * ready part of the tables, committed pages in use. Offsets count from the region's base; the caller's `reserved`
 * bytes are not among them. Only between heap_prefork and a heap_postfork_*. Stops at, and returns, fn's first
 * value that is not 0. */
int heap_each_used_range(struct heap *heap, int (*fn)(void *ctx, size_t offset, size_t length), void *ctx);
struct heap_media;

/* The same for the superblock and what the tables hold of so many chunks alone; of a heap that nobody is attached to. */
int heap_each_table_range(const struct heap_media *media, uint64_t chunks,
    int (*fn)(void *ctx, size_t offset, size_t length), void *ctx);

/* The region was remapped to something else behind the heap's back (fork modes of libvmmalloc). Same place as
 * heap_each_used_range, or while no other thread runs. With HEAP_BACKING_SPARSE after a clone that copied only the
 * ranges above, `recommit` says that pages free at that moment hold nothing now (holes, zero). */
void heap_set_backing(struct heap *heap, enum heap_backing backing, bool recommit);

/* --- looking ------------------------------------------------------------------------------------------------- */

/* Told now and then how far a long walk is: `done` of `total` pages of what is named `pass`. */
struct heap_progress {
	void (*fn)(void *ctx, const char *pass, uint64_t done, uint64_t total);
	void *ctx;
};

/* Walks every invariant of the heap, all else held still. 1: consistent; 0: not, and `why` (may be NULL) holds one
 * line. Reads only; safe on damaged tables. */
int heap_check(struct heap *heap, char *why, size_t why_size);
/* The same; `progress` may be NULL, and must not call the heap. */
int heap_check_watched(struct heap *heap, const struct heap_progress *progress, char *why, size_t why_size);

/* Gives back to the file system all free pages that it can. Returns bytes given back. */
size_t heap_purge_all(struct heap *heap);

struct heap_class_stats {
	uint32_t slot_size;    /* bytes */
	uint32_t slab_pages;   /* pages of the slab made last; 0: none yet */
	uint64_t nslabs;       /* slabs now */
	uint64_t slots;        /* slots in them */
	uint64_t used;         /* slots in users' hands */
	uint64_t cached;       /* slots in thread caches */
	uint64_t nmalloc, nfree;   /* slots that left to and came back from caches, over the heap's life in this process */
	uint64_t nfills, nflushes; /* batches of the same */
	uint64_t nslab_new, nslab_retired;
};

struct heap_stats {
	uint64_t size;         /* bytes of the region */
	uint64_t metadata;     /* bytes of it that blocks can never use (reserved pages not counted) */
	uint64_t capacity;     /* bytes of pages for blocks */
	uint64_t allocated;    /* bytes in users' hands, as usable size */
	uint64_t active;       /* bytes of pages in slabs and large extents */
	uint64_t committed;    /* bytes of pages backed by the file (equals `capacity` where nothing is committed) */
	uint64_t dirty;        /* bytes of free pages that still hold old content */
	uint64_t largest_free; /* bytes of the largest run of free pages */
	uint64_t cached;       /* bytes in thread caches */
	uint64_t ncaches;      /* thread caches whose thread is there */
	uint64_t large_now, large_bytes;   /* large extents live */
	uint64_t nlarge_alloc, nlarge_free; /* extents taken and given back past the caches */
	uint64_t ncommits, npurges, purged; /* calls, calls, bytes */
	uint64_t nreclaims;    /* times a thread that ran out drained all caches */
	struct heap_class_stats classes[SC_COUNT + 1]; /* by class index; [0] unused */
};

void heap_stats_get(struct heap *heap, struct heap_stats *stats);

/* Calls fn for each live block (slots that sit in caches are not live), ascending. Holds the heap still: fn must
 * not call it. */
void heap_each_block(struct heap *heap, void (*fn)(void *ctx, void *p, size_t usable), void *ctx);

#include "alloc/heap_inline.h"

#endif
