/* bootstrap.c -- see bootstrap.h
 *
 * Owns:   one static piece of memory and up to BOOT_AREAS mapped ones, each at least twice as large as the one
 *         before, so that the table can never fill; per-class lists of freed blocks.
 * Rules:  B1  areas are never unmapped: an address once ours stays ours.
 *         B2  a block is a header of 16 bytes and its memory; classes are 4 per doubling, so a block of class c can
 *             serve every request of class c.
 *         B3  a freed block's memory links it to the next freed one of its class. (The rule that freed memory is
 *             not written is the heap's; this arena holds what a program's start leaves behind.)
 *         B4  header.state is LIVE, FREE or INNER; an INNER header stands before an address that was moved up for
 *             alignment, and says how far back the block's own header is.
 * Locks:  boot_lock, a leaf: held by nobody who takes another lock. `areas` entries are constant once published by
 *         `nareas` (release; bootstrap_owns reads it with acquire and takes no lock).
 * Media:  process only, never in a pool.
 * Fails:  NULL when the system has no memory; nothing changed.
 */
#include "api/vmmalloc/bootstrap.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "alloc/os.h"
#include "api/common/log.h"
#include "api/vmmalloc/thread.h"

#define BOOT_STATIC ((size_t)64 << 10)     /* of .bss: costs only the pages touched */
#define BOOT_FIRST_AREA ((size_t)1 << 20)  /* of address space */
#define BOOT_AREAS 40                      /* 1 MiB doubled 40 times exceeds any address space */
#define BOOT_DISCARD ((size_t)128 << 10)   /* freed blocks from this size on give their pages back */
#define BOOT_CLASSES 232 /* class_of(PTRDIFF_MAX / 4) is below */

#define STATE_LIVE 0x6c697665u
#define STATE_FREE 0x66726565u
#define STATE_INNER 0x696e6e72u

struct boot_header {
	uint64_t size;   /* bytes behind the header; INNER: bytes back to the block's own header */
	uint32_t class;
	uint32_t state;
};
_Static_assert(sizeof(struct boot_header) == 16, "keeps blocks aligned to 16");

struct boot_area {
	char *base;
	size_t size;
};

static _Alignas(64) char static_area[BOOT_STATIC];
static struct boot_area areas[BOOT_AREAS] = {{static_area, BOOT_STATIC}};
static _Atomic unsigned nareas = 1; /* boot_lock to change */

static pthread_mutex_t boot_lock = PTHREAD_MUTEX_INITIALIZER;
/* boot_lock */
static size_t top; /* bytes used of the newest area */
static struct boot_header *free_lists[BOOT_CLASSES];
static uint64_t bytes_live, bytes_mapped;

/* The thread that forks holds the lock all the while. */
static void
take(void)
{
	if (!vmmalloc_thread.forking)
		pthread_mutex_lock(&boot_lock);
}

static void
drop(void)
{
	if (!vmmalloc_thread.forking)
		pthread_mutex_unlock(&boot_lock);
}

/* Least class that holds `size`, and the bytes it holds: 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, ... */
static unsigned
class_of(size_t size, size_t *class_size)
{
	if (size <= 64) {
		unsigned steps = size == 0 ? 1 : (unsigned)((size + 15) / 16);

		*class_size = steps * 16u;
		return steps;
	}
	unsigned lg = 63u - (unsigned)__builtin_clzll(size - 1); /* 2^lg < size <= 2^(lg + 1), lg >= 6 */
	unsigned step = (unsigned)((size - 1) >> (lg - 2)) & 3u;

	*class_size = (size_t)(5 + step) << (lg - 2);
	return 5 + (lg - 6) * 4 + step;
}

/* boot_lock held. Room for n bytes at the end of the newest area, or of a new one. */
static void *
carve_locked(size_t n)
{
	unsigned last = atomic_load_explicit(&nareas, memory_order_relaxed) - 1;

	if (areas[last].size - top < n) {
		size_t size = last == 0 ? BOOT_FIRST_AREA : areas[last].size * 2;

		while (size < n)
			size *= 2;
		void *base = last + 1 < BOOT_AREAS ? os_map(size) : NULL;
		if (base == NULL)
			return NULL;
		last++;
		areas[last] = (struct boot_area){base, size};
		atomic_store_explicit(&nareas, last + 1, memory_order_release); /* pairs with bootstrap_owns */
		bytes_mapped += size;
		top = 0;
	}
	void *p = areas[last].base + top;
	top += n;
	return p;
}

/* B3: where a freed block keeps the next one. */
static struct boot_header **
link_of(struct boot_header *h)
{
	return (struct boot_header **)(h + 1);
}

/* The caller zeroes if `*recycled`. */
static void *
alloc(size_t size, bool *recycled)
{
	size_t class_size;
	struct boot_header *h;

	if (size > PTRDIFF_MAX / 4)
		return NULL;
	unsigned class = class_of(size, &class_size);
	take();
	h = free_lists[class];
	*recycled = h != NULL;
	if (h != NULL)
		free_lists[class] = *link_of(h);
	else
		h = carve_locked(sizeof(*h) + class_size);
	if (h != NULL) {
		*h = (struct boot_header){class_size, class, STATE_LIVE};
		bytes_live += class_size;
	}
	drop();
	return h == NULL ? NULL : h + 1;
}

void *
bootstrap_alloc(size_t align, size_t size)
{
	bool recycled;

	if (align <= 16)
		return alloc(size, &recycled);
	if (align > PTRDIFF_MAX / 8 || size > PTRDIFF_MAX / 8)
		return NULL;
	char *p = alloc(size + align, &recycled);
	if (p == NULL)
		return NULL;
	char *aligned = (char *)(((uintptr_t)p + align - 1) & ~(align - 1));
	if (aligned != p) {
		struct boot_header *own = (struct boot_header *)p - 1, *inner = (struct boot_header *)aligned - 1;

		*inner = (struct boot_header){(uint64_t)((char *)inner - (char *)own), 0, STATE_INNER};
	}
	return aligned;
}

void *
bootstrap_calloc(size_t size)
{
	bool recycled;
	void *p = alloc(size, &recycled);

	if (p != NULL && recycled)
		memset(p, 0, size);
	return p;
}

bool
bootstrap_owns(const void *p)
{
	unsigned n = atomic_load_explicit(&nareas, memory_order_acquire);

	for (unsigned i = 0; i < n; i++) {
		if ((uintptr_t)p - (uintptr_t)areas[i].base < areas[i].size)
			return true;
	}
	return false;
}

/* The block's own header. A pointer that no header stands before cannot be told from a damaged header: both stop. */
static struct boot_header *
header_of(const void *p)
{
	struct boot_header *h = (struct boot_header *)p - 1;

	if ((uintptr_t)p % 16 == 0 && bootstrap_owns(h)) {
		if (h->state == STATE_INNER)
			h = (struct boot_header *)((char *)h - h->size);
		if (h->state == STATE_LIVE)
			return h;
		if (h->state == STATE_FREE)
			log_fatal("free or realloc of a block that is free already: %p", p);
	}
	log_fatal("not the address of a block: %p", p);
}

/* Whole pages inside go back to the system. Advice only: where it fails they stay. */
static void
discard_inside(uintptr_t p, size_t size)
{
	uintptr_t mask = os_page_size() - 1, start = (p + mask) & ~mask, end = (p + size) & ~mask;

	if (start < end)
		os_discard((void *)start, end - start);
}

void
bootstrap_free(void *p)
{
	struct boot_header *h = header_of(p);

	take();
	if (h->state != STATE_LIVE) {
		drop();
		log_fatal("free of a block that is free already: %p", p);
	}
	h->state = STATE_FREE;
	bytes_live -= h->size;
	if (h->size >= BOOT_DISCARD)
		discard_inside((uintptr_t)(h + 1), h->size);
	*link_of(h) = free_lists[h->class];
	free_lists[h->class] = h;
	drop();
}

size_t
bootstrap_usable_size(const void *p)
{
	const struct boot_header *h = header_of(p);

	return h->size - (size_t)((const char *)p - (const char *)(h + 1));
}

void
bootstrap_stats(uint64_t *allocated, uint64_t *mapped)
{
	take();
	*allocated = bytes_live;
	*mapped = bytes_mapped + BOOT_STATIC;
	drop();
}

void
bootstrap_prefork(void)
{
	pthread_mutex_lock(&boot_lock);
}

void
bootstrap_postfork(void)
{
	pthread_mutex_unlock(&boot_lock); /* in the child its one thread is the copy of the one that took it */
}
