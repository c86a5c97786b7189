/* heap_media.h -- what a heap keeps in its region
 *
 * Owns:   the layout: superblock, then side tables indexed by page or by chunk, then the pages.
 * Rules:  M1  fixed-width integers; offsets from the region's base, page numbers from the first page of blocks.
 *             No address, no lock, nothing that is only true while a process runs once the heap is detached.
 *         M2  truth: page_class, page_map, page and pages of slabs, slot bitmaps. Derived, rebuilt by repair: used
 *             bits, the rest of the slabs' records, nodes, bin lists, counts. Stores to the truth are ordered, so
 *             that a process killed between any two of them leaves no doubt (doc/media-format.md).
 *         M3  a change of any size or offset changes HEAP_MEDIA_VERSION, tests/media_layout.c and
 *             doc/media-format.md.
 * Media:  in the region. Byte order and word size of the machine that made it; the magic number shows both.
 *
 *   base -> | reserved for the caller | superblock | nodes (upper levels, then one per chunk) | chunks | page_class | page_map | slabs |
 *           | slot bitmaps | pages of blocks ... |
 *
 * Tables are laid out for the whole region but used only up to `ready_chunks`; nothing behind is ever touched, so a
 * huge region costs nothing until it is filled. A chunk is HEAP_CHUNK_PAGES pages.
 */
#ifndef ALLOC_HEAP_MEDIA_H
#define ALLOC_HEAP_MEDIA_H

#include <stdatomic.h>
#include <stdint.h>

#include "alloc/size_class.h"

#define HEAP_MEDIA_MAGIC UINT64_C(0x70616568706d6870) /* "phmpheap" read as little-endian */
#define HEAP_MEDIA_VERSION 2u
#define HEAP_MEDIA_ZEROED UINT64_C(1) /* flags: what was never ready read as zero when the heap was made */

#define HEAP_LG_CHUNK_PAGES 9
#define HEAP_CHUNK_PAGES (1u << HEAP_LG_CHUNK_PAGES)
#define HEAP_CHUNK_WORDS (HEAP_CHUNK_PAGES / 64)
#define HEAP_LG_FANOUT 4 /* children per node of the free index */
#define HEAP_FANOUT (1u << HEAP_LG_FANOUT)
#define HEAP_MAX_LEVELS 7 /* 512 * 16^6 pages = 32 TiB */
#define HEAP_MAX_PAGES (UINT32_MAX - HEAP_CHUNK_PAGES) /* just under 16 TiB */

#define HEAP_PAGE_WORDS 4u /* bitmap words per page: 256 slots of 16 bytes */

/* Per chunk, one bit per page, bit 0 of word 0 is the first page. */
struct chunk_media {
	uint64_t used[HEAP_CHUNK_WORDS];              /* 1: in an extent, or beyond the end. extent lock */
	_Atomic uint64_t committed[HEAP_CHUNK_WORDS]; /* 1: the file has the page. Set by the extent's owner */
	_Atomic uint64_t dirty[HEAP_CHUNK_WORDS];     /* 0: known to read as zero. Set by the extent's owner */
};

/* Node of the free index: runs of free pages within the span of chunks below it. Extent lock. */
struct node_media {
	uint32_t start; /* free pages at the span's start */
	uint32_t max;   /* longest run inside */
	uint32_t end;   /* free pages at the span's end */
	uint32_t zero;
};

enum slab_kind {
	SLAB_NONE = 0,    /* the record names no slab */
	SLAB_FULL = 1,    /* in no list; had no free slot when it got here */
	SLAB_PARTIAL = 2, /* in its bin's partial list */
	SLAB_CLAIMED = 3, /* some cache refills from it; never while detached */
	SLAB_EMPTY = 4,   /* in its bin's list of empty slabs */
};

/* One per four pages; a slab of at least four pages owns the record of its first page's group. 64 bytes. */
struct slab_media {
	/* kind in bits 0..7, class in 8..15, generation (moves at every birth and retirement) in 32..63.
	 * Changed under the bin's lock; read by any thread. */
	_Atomic uint64_t state;
	/* constant from birth to retirement */
	uint32_t page;  /* first page */
	uint32_t pages;
	uint32_t nslots;
	uint32_t slot_size;
	uint32_t recip; /* ceil(2^32 / slot_size): offset / slot_size == offset * recip >> 32 */
	uint32_t zero0;
	/* bin lock: slab number + 1, 0 ends the list */
	uint32_t next;
	uint32_t prev;
	/* the claim's holder */
	uint32_t hint; /* bitmap word where the next search starts */
	uint32_t zero1;
	uint64_t zero2[2];
};

/* Derived state of a slab class. Bin lock. */
struct bin_media {
	uint32_t partial; /* slab number + 1 of the list's head, 0 none */
	uint32_t empty;
	uint32_t nempty;
	uint32_t nslabs;
};

struct heap_media {
	uint64_t magic;
	uint32_t version;
	uint32_t features_compat;
	uint32_t features_incompat;
	uint32_t features_ro_compat;
	uint64_t generation;   /* detachments so far */
	uint64_t checksum;     /* of this struct with checksum 0; right only while detached */
	uint64_t size;         /* bytes of the region */
	uint64_t reserved;     /* bytes before this struct */
	uint64_t pages_off;    /* offset of page 0 */
	uint32_t npages;
	uint32_t nchunks;
	uint64_t chunks_off;
	uint64_t page_class_off;
	uint64_t page_map_off;
	uint64_t slabs_off;
	uint64_t bits_off;
	uint64_t nodes_off[HEAP_MAX_LEVELS]; /* [0]: one node per chunk */
	uint32_t nlevels;
	uint32_t ready_chunks;    /* extent lock */
	_Atomic uint64_t used_pages; /* written under the extent lock; derived */
	uint64_t committed_pages;    /* as of the last detachment; derived */
	uint64_t flags;              /* HEAP_MEDIA_* */
	_Atomic uint64_t cache_room; /* bytes that caches may hold, so never less than they do; 0 while detached */
	uint64_t zero[14];
	struct bin_media bins[SC_SLAB_COUNT + 1]; /* [0] unused */
};

/* What `checksum` has to be. */
uint64_t heap_superblock_checksum(const struct heap_media *media);

_Static_assert(sizeof(struct chunk_media) == 192, "media format");
_Static_assert(sizeof(struct node_media) == 16, "media format");
_Static_assert(sizeof(struct slab_media) == 64, "media format");
_Static_assert(sizeof(struct bin_media) == 16, "media format");
_Static_assert(sizeof(struct heap_media) <= 4096, "the superblock fits one page");

#endif
