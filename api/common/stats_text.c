/* stats_text.c -- the text of vmem_stats_print() and pmemcto_stats_print()
 *
 * Owns:   the text, as stats_text.h describes it.
 * Locks:  those of heap_stats_get.
 * Media:  read only.
 * Fails:  never.
 */
#include "api/common/stats_text.h"

#include <stdbool.h>
#include <string.h>

#include "alloc/assert.h"
#include "api/common/format.h"
#include "api/common/log.h"
#include "api/common/os.h"

#define CHUNK ((size_t)4 << 20)
#define LINE_MAX_BYTES 256

#define PRINT(...) \
	do { \
		char line_[LINE_MAX_BYTES]; \
		format(line_, sizeof(line_), __VA_ARGS__); \
		log_print(line_); \
	} while (0)

struct parts {
	bool general, merged, arenas, bins, large;
};

/* One row's counts. */
struct counts {
	uint64_t bytes, nmalloc, nfree;
};

static void
print_general(int major, int minor)
{
	PRINT("Version: pmheap %d.%d\n", major, minor);
	PRINT("Assertions %s\n", PMHEAP_ASSERT > 0 ? "enabled" : "disabled");
	PRINT("Run-time option settings:\n");
	PRINT("  opt.abort: true\n");
	PRINT("  opt.lg_chunk: 22\n");
	PRINT("  opt.dss: \"disabled\"\n");
	PRINT("  opt.narenas: 1\n");
	PRINT("  opt.lg_dirty_mult: 3\n");
	PRINT("  opt.stats_print: false\n");
	PRINT("  opt.junk: false\n");
	PRINT("  opt.quarantine: 0\n");
	PRINT("  opt.redzone: false\n");
	PRINT("  opt.zero: false\n");
	PRINT("  opt.tcache: true\n");
	PRINT("  opt.lg_tcache_max: %d\n", 63 - __builtin_clzll(SC_MAX_SIZE));
	PRINT("CPUs: %u\n", sys_cpus());
	PRINT("Arenas: 1\n");
	PRINT("Pointer size: %zu\n", sizeof(void *));
	PRINT("Quantum size: 16\n");
	PRINT("Page size: %zu\n", HEAP_PAGE);
	PRINT("Min active:dirty page ratio per arena: 8:1\n");
	PRINT("Chunk size: %zu (2^22)\n", CHUNK);
}

static void
print_row(const char *title, const struct counts *c)
{
	PRINT("%-9s%12llu %12llu %12llu %12llu\n", title, (unsigned long long)c->bytes, (unsigned long long)c->nmalloc,
	    (unsigned long long)c->nfree, (unsigned long long)c->nmalloc);
}

static void
print_gap(unsigned from, unsigned to)
{
	if (from == to)
		PRINT("[%u]\n", from);
	else
		PRINT("[%u..%u]\n", from, to);
}

static void
print_bins(const struct heap_stats *stats)
{
	unsigned gap = 0; /* first of a run of unused classes; 0: none */

	PRINT("bins:     bin  size regs pgs    allocated      nmalloc      ndalloc    nrequests       nfills"
	      "     nflushes      newruns       reruns      curruns\n");
	for (unsigned sc = 1; sc <= SC_SLAB_COUNT; sc++) {
		const struct heap_class_stats *c = &stats->classes[sc];

		if (c->nslab_new == 0) {
			gap = gap != 0 ? gap : sc;
			continue;
		}
		if (gap != 0)
			print_gap(gap - 1, sc - 2);
		gap = 0;
		PRINT("%13u %5u %4llu %3u %12llu %12llu %12llu %12llu %12llu %12llu %12llu %12u %12llu\n", sc - 1,
		    c->slot_size, (unsigned long long)c->slab_pages * HEAP_PAGE / c->slot_size, c->slab_pages,
		    (unsigned long long)(c->used * c->slot_size), (unsigned long long)c->nmalloc,
		    (unsigned long long)c->nfree, (unsigned long long)c->nmalloc, (unsigned long long)c->nfills,
		    (unsigned long long)c->nflushes, (unsigned long long)c->nslab_new, 0u,
		    (unsigned long long)c->nslabs);
	}
	if (gap != 0)
		print_gap(gap - 1, SC_SLAB_COUNT - 1);
}

static void
print_large(const struct heap_stats *stats)
{
	unsigned unused = 0; /* classes since the last row */

	PRINT("large:   size pages      nmalloc      ndalloc    nrequests      curruns\n");
	for (unsigned sc = SC_SLAB_COUNT + 1; sc <= SC_COUNT; sc++) {
		const struct heap_class_stats *c = &stats->classes[sc];

		if (c->nmalloc == 0 && c->nslabs == 0) {
			unused++;
			continue;
		}
		if (unused != 0)
			PRINT("[%u]\n", unused);
		unused = 0;
		PRINT("%13u %5u %12llu %12llu %12llu %12llu\n", c->slot_size, (unsigned)(c->slot_size / HEAP_PAGE),
		    (unsigned long long)c->nmalloc, (unsigned long long)c->nfree, (unsigned long long)c->nmalloc,
		    (unsigned long long)c->nslabs);
	}
	if (unused != 0)
		PRINT("[%u]\n", unused);
}

static struct counts
sum_classes(const struct heap_stats *stats, unsigned first, unsigned last)
{
	struct counts sum = { 0, 0, 0 };

	for (unsigned sc = first; sc <= last; sc++) {
		sum.bytes += stats->classes[sc].used * stats->classes[sc].slot_size;
		sum.nmalloc += stats->classes[sc].nmalloc;
		sum.nfree += stats->classes[sc].nfree;
	}
	return sum;
}

static void
print_arena(const struct heap_stats *stats, const struct parts *parts)
{
	struct counts small = sum_classes(stats, 1, SC_SLAB_COUNT), large = sum_classes(stats, SC_SLAB_COUNT + 1, SC_COUNT);
	struct counts huge = { stats->large_bytes, stats->nlarge_alloc, stats->nlarge_free };
	struct counts total = {
		small.bytes + large.bytes + huge.bytes,
		small.nmalloc + large.nmalloc + huge.nmalloc,
		small.nfree + large.nfree + huge.nfree,
	};

	PRINT("assigned threads: %llu\n", (unsigned long long)stats->ncaches);
	PRINT("dss allocation precedence: disabled\n");
	PRINT("dirty pages: %llu:%llu active:dirty, %llu sweep%s, %llu madvise%s, %llu purged\n",
	    (unsigned long long)stats->active / HEAP_PAGE, (unsigned long long)stats->dirty / HEAP_PAGE,
	    (unsigned long long)stats->npurges, stats->npurges == 1 ? "" : "s", (unsigned long long)stats->npurges,
	    stats->npurges == 1 ? "" : "s", (unsigned long long)stats->purged / HEAP_PAGE);
	PRINT("            allocated      nmalloc      ndalloc    nrequests\n");
	print_row("small:", &small);
	print_row("large:", &large);
	print_row("huge:", &huge);
	print_row("total:", &total);
	PRINT("active:  %12llu\n", (unsigned long long)stats->active);
	PRINT("mapped:  %12llu\n", (unsigned long long)stats->committed);
	if (parts->bins)
		print_bins(stats);
	if (parts->large)
		print_large(stats);
}

void
stats_text_print(struct heap *heap, const char *opts, int major, int minor)
{
	struct parts parts = { true, true, true, true, true };
	struct heap_stats stats;
	unsigned long long chunks;

	if (opts != NULL) {
		parts.general = strchr(opts, 'g') == NULL;
		parts.merged = strchr(opts, 'm') == NULL;
		parts.arenas = strchr(opts, 'a') == NULL;
		parts.bins = strchr(opts, 'b') == NULL;
		parts.large = strchr(opts, 'l') == NULL;
	}
	heap_stats_get(heap, &stats);
	chunks = (stats.active + CHUNK - 1) / CHUNK;

	PRINT("___ Begin jemalloc statistics ___\n");
	if (parts.general)
		print_general(major, minor);
	PRINT("Allocated: %llu, active: %llu, mapped: %llu\n", (unsigned long long)stats.allocated,
	    (unsigned long long)stats.active, (unsigned long long)stats.size);
	PRINT("Current active ceiling: %llu\n", chunks * CHUNK);
	PRINT("chunks: nchunks   highchunks    curchunks\n");
	PRINT("  %13llu %12llu %12llu\n", chunks, chunks, chunks);
	/* with one arena its part says all; the merged one stands in where it is left out */
	if (parts.merged && !parts.arenas) {
		PRINT("\n");
		PRINT("Merged arenas stats:\n");
		print_arena(&stats, &parts);
	}
	if (parts.arenas) {
		PRINT("\n");
		PRINT("arenas[0]:\n");
		print_arena(&stats, &parts);
	}
	PRINT("--- End jemalloc statistics ---\n");
}
