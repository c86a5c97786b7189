/* stats.c -- see stats.h; mallinfo, mallinfo2, malloc_stats, malloc_info, malloc_trim, mallopt of <malloc.h>
 *
 * Owns:   nothing; reads heap_stats_get() and says it in glibc's terms, in release builds too.
 * Rules:  large extents are what glibc calls mmapped blocks, slabs and cached slots are its one arena; free pages that
 *         hold no file space are counted nowhere.
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
#include "api/vmmalloc/bootstrap.h"
#include "api/vmmalloc/heap_ref.h"

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

static bool
get_stats(struct heap_stats *stats)
{
	struct heap *heap = heap_ref();

	if (heap == NULL)
		return false;
	heap_stats_get(heap, stats);
	return true;
}

static struct view
look(void)
{
	struct view v = { 0, 0, 0, 0, 0, 0 };
	struct heap_stats stats;

	if (!get_stats(&stats))
		return v;
	size_t pages = stats.active + stats.dirty;
	v.nlarge = stats.large_now;
	v.large_bytes = stats.large_bytes;
	v.arena = pages > stats.large_bytes ? pages - stats.large_bytes : 0;
	v.arena_used = stats.allocated > stats.large_bytes ? stats.allocated - stats.large_bytes : 0;
	v.trimmable = stats.dirty;
	for (unsigned sc = 1; sc <= SC_COUNT; sc++)
		v.free_slots += stats.classes[sc].slots - stats.classes[sc].used;
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
	struct view v = look();

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
	struct view v = look();

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
	struct heap *heap = heap_ref();

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
	struct view v = look();
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
	struct view v = look();
	char text[160];
	size_t from = 1;

	if (options != 0)
		return EINVAL;
	fputs("<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n", stream);
	for (unsigned sc = 1; get_stats(&stats) && sc <= SC_COUNT; sc++) {
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

/* The layout of the published library's report with the parts `gba` left out. */
static void
log_summary(uint64_t allocated, uint64_t active, uint64_t mapped)
{
	char text[160];

	log_print("___ Begin jemalloc statistics ___\n");
	format(text, sizeof(text), "Allocated: %zu, active: %zu, mapped: %zu\n", (size_t)allocated, (size_t)active,
	       (size_t)mapped);
	log_print(text);
}

static void
log_row(const char *name, uint64_t allocated, uint64_t nmalloc, uint64_t nfree)
{
	char text[160];

	format(text, sizeof(text), "%s%12zu %12zu %12zu\n", name, (size_t)allocated, (size_t)nmalloc, (size_t)nfree);
	log_print(text);
}

static void
log_pool(const struct heap_stats *stats)
{
	uint64_t nmalloc = 0, nfree = 0;

	for (unsigned sc = 1; sc <= SC_COUNT; sc++) {
		nmalloc += stats->classes[sc].nmalloc;
		nfree += stats->classes[sc].nfree;
	}
	log_summary(stats->allocated, stats->active, stats->committed);
	log_print("            allocated      nmalloc      ndalloc\n");
	log_row("small:   ", stats->allocated - stats->large_bytes, nmalloc, nfree);
	log_row("large:   ", stats->large_bytes, stats->nlarge_alloc, stats->nlarge_free);
	log_row("total:   ", stats->allocated, nmalloc + stats->nlarge_alloc, nfree + stats->nlarge_free);
	log_print("--- End jemalloc statistics ---\n");
}

void
stats_log(void)
{
	uint64_t allocated, mapped;
	struct heap_stats stats;

	bootstrap_stats(&allocated, &mapped);
	log_print("\n=========   system heap  ========\n");
	log_summary(allocated, allocated, mapped);
	log_print("--- End jemalloc statistics ---\n\n=========    vmem pool   ========\n");
	if (get_stats(&stats))
		log_pool(&stats);
}
