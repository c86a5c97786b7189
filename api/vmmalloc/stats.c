/* stats.c -- see stats.h; mallinfo, mallinfo2, malloc_stats, malloc_info, malloc_trim, mallopt of <malloc.h>
 *
 * Owns:   nothing; reads heap_stats_get() and says it in glibc's terms, in release builds too.
 * Rules:  large extents are what glibc calls mmapped blocks, slabs and cached slots are its one arena; free pages that
 *         hold no file space are counted nowhere. Handlers of fork may call all of it: they see an empty heap.
 * Locks:  as heap_stats_get().
 * Media:  reads only.
 */
#include "api/vmmalloc/stats.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>

#include "alloc/heap.h"
#include "api/common/format.h"
#include "api/common/log.h"
#include "api/common/stats_text.h"
#include "api/include/libvmmalloc.h"
#include "api/vmmalloc/bootstrap.h"
#include "api/vmmalloc/heap_ref.h"
#include "api/vmmalloc/thread.h"

#define EXTRA __attribute__((visibility("default"), weak))

#define HAVE_MALLINFO2 0
#if defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 33)
#undef HAVE_MALLINFO2
#define HAVE_MALLINFO2 1
#endif
#endif

/* glibc's view. */
struct view {
	size_t arena, arena_used;   /* bytes of committed pages but for large extents; of them in users' hands */
	size_t free_slots;          /* free slots in slabs and caches */
	size_t nlarge, large_bytes;
	size_t trimmable;           /* bytes of free pages that hold file space */
};

/* The heap, unless this thread may not look at it: inside the fork handlers it would wait for its own locks. */
static struct heap *
heap_to_see(void)
{
	return vmmalloc_thread.forking ? NULL : heap_ref();
}

/* All zero where there is nothing to see. */
static struct view
look(struct heap_stats *stats)
{
	struct heap *heap = heap_to_see();
	struct view v = { 0, 0, 0, 0, 0, 0 };

	if (heap == NULL) {
		*stats = (struct heap_stats){ 0 };
		return v;
	}
	heap_stats_get(heap, stats);
	size_t pages = stats->active + stats->dirty;
	v.nlarge = stats->large_now;
	v.large_bytes = stats->large_bytes;
	v.arena = pages > stats->large_bytes ? pages - stats->large_bytes : 0;
	v.arena_used = stats->allocated > stats->large_bytes ? stats->allocated - stats->large_bytes : 0;
	v.trimmable = stats->dirty;
	for (unsigned sc = 1; sc <= SC_COUNT; sc++)
		v.free_slots += stats->classes[sc].slots - stats->classes[sc].used;
	return v;
}

static int
clamp(size_t n)
{
	return n > INT_MAX ? INT_MAX : (int)n;
}

#if HAVE_MALLINFO2
EXTRA struct mallinfo2 mallinfo2(void);

struct mallinfo2
mallinfo2(void)
{
	struct heap_stats stats;
	struct view v = look(&stats);

	return (struct mallinfo2){
		.arena = v.arena,
		.ordblks = v.free_slots,
		.hblks = v.nlarge,
		.hblkhd = v.large_bytes,
		.uordblks = v.arena_used,
		.fordblks = v.arena - v.arena_used,
		.keepcost = v.trimmable,
	};
}
#endif

#if defined(__GLIBC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
EXTRA struct mallinfo mallinfo(void);

struct mallinfo
mallinfo(void)
{
	struct heap_stats stats;
	struct view v = look(&stats);

	return (struct mallinfo){
		.arena = clamp(v.arena),
		.ordblks = clamp(v.free_slots),
		.hblks = clamp(v.nlarge),
		.hblkhd = clamp(v.large_bytes),
		.uordblks = clamp(v.arena_used),
		.fordblks = clamp(v.arena - v.arena_used),
		.keepcost = clamp(v.trimmable),
	};
}
#pragma GCC diagnostic pop
#endif

EXTRA int malloc_trim(size_t pad);
EXTRA int mallopt(int param, int value);
EXTRA void malloc_stats(void);
EXTRA int malloc_info(int options, FILE *stream);

/* 1: memory went back. There is no top of the heap that `pad` could leave room at. */
int
malloc_trim(size_t pad)
{
	struct heap *heap = heap_to_see();

	(void)pad;
	return heap != NULL && heap_purge_all(heap) != 0;
}

/* glibc's parameters have nothing here that they could set; programs that check the result want to hear 1. */
int
mallopt(int param, int value)
{
	(void)param;
	(void)value;
	return 1;
}

void
malloc_stats(void)
{
	struct heap_stats stats;
	struct view v = look(&stats);
	uint64_t boot_used, boot_mapped;
	char text[512];

	bootstrap_stats(&boot_used, &boot_mapped);
	format(text, sizeof(text),
	       "Arena 0:\nsystem bytes     = %10zu\nin use bytes     = %10zu\n"
	       "Total (incl. mmap):\nsystem bytes     = %10zu\nin use bytes     = %10zu\n"
	       "max mmap regions = %10zu\nmax mmap bytes   = %10zu\n"
	       "Outside the pool:\nsystem bytes     = %10zu\nin use bytes     = %10zu\n",
	       v.arena, v.arena_used, v.arena + v.large_bytes, v.arena_used + v.large_bytes, v.nlarge, v.large_bytes,
	       (size_t)boot_mapped, (size_t)boot_used);
	fputs(text, stderr);
}

static void
info_line(FILE *stream, const char *kind, size_t count, size_t size)
{
	char text[160];

	format(text, sizeof(text), "<total type=\"%s\" count=\"%zu\" size=\"%zu\"/>\n", kind, count, size);
	fputs(text, stream);
}

int
malloc_info(int options, FILE *stream)
{
	struct heap_stats stats;
	char text[160];
	size_t from = 1;

	if (options != 0)
		return EINVAL;
	struct view v = look(&stats);
	fputs("<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n", stream);
	for (unsigned sc = 1; sc <= SC_COUNT; sc++) {
		const struct heap_class_stats *c = &stats.classes[sc];
		size_t nfree = c->slots - c->used;

		if (nfree != 0) {
			format(text, sizeof(text), "  <size from=\"%zu\" to=\"%u\" total=\"%zu\" count=\"%zu\"/>\n", from,
			       c->slot_size, nfree * c->slot_size, nfree);
			fputs(text, stream);
		}
		from = (size_t)c->slot_size + 1;
	}
	fputs("</sizes>\n", stream);
	info_line(stream, "fast", 0, 0);
	info_line(stream, "rest", v.free_slots, v.arena - v.arena_used);
	format(text, sizeof(text), "<system type=\"current\" size=\"%zu\"/>\n</heap>\n", v.arena);
	fputs(text, stream);
	info_line(stream, "fast", 0, 0);
	info_line(stream, "rest", v.free_slots, v.arena - v.arena_used);
	info_line(stream, "mmap", v.nlarge, v.large_bytes);
	format(text, sizeof(text), "<system type=\"current\" size=\"%zu\"/>\n</malloc>\n", v.arena + v.large_bytes);
	fputs(text, stream);
	return 0;
}

#ifdef PMHEAP_DEBUG
void
stats_log(void)
{
	struct heap *heap = heap_ref();
	uint64_t allocated, mapped;
	char text[160];

	bootstrap_stats(&allocated, &mapped);
	log_print("\n");
	log_print("=========   system heap  ========\n");
	log_print("___ Begin jemalloc statistics ___\n");
	format(text, sizeof(text), "Allocated: %zu, active: %zu, mapped: %zu\n", (size_t)allocated, (size_t)allocated,
	       (size_t)mapped);
	log_print(text);
	log_print("--- End jemalloc statistics ---\n");
	log_print("\n");
	log_print("=========    vmem pool   ========\n");
	if (heap != NULL)
		stats_text_print(heap, "gba", VMMALLOC_MAJOR_VERSION, VMMALLOC_MINOR_VERSION);
}
#endif
