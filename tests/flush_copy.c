/* flush_copy.c -- every engine, byte for byte, between guard pages
 *
 * Destination and source lie at the very end or the very beginning of their pages, with pages that cannot be touched
 * on the other side; the rest of the page is checked for bytes that must not have changed.
 */
#include <criterion/criterion.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "flush/cpu.h"
#include "flush/flush.h"
#include "tests/flush_engines.h"

#define SIZE ((size_t)8192) /* bytes of each guarded area */
#define MOST ((size_t)4096 + 64)

/* Lengths where something begins or ends: all short ones, and those around each size the engines treat in its own way
 * (lines, four lines, write-combining blocks, thresholds). */
static bool
interesting(size_t len)
{
	static const size_t around[] = {512, 768, 832, 1024, 1536, 2048, 3072, 4096};

	if (len <= 330)
		return true;
	for (size_t i = 0; i < sizeof(around) / sizeof(around[0]); i++)
		if (len + 9 >= around[i] && len <= around[i] + 9)
			return true;
	return false;
}

static void
pattern(char *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (char)(seed + i * 7 + (i >> 8) * 13 + 1);
}

/* The flags are those that lead to each way through an engine. */
static const unsigned ways[] = {0, FLUSH_NODRAIN, FLUSH_NONTEMPORAL, FLUSH_TEMPORAL | FLUSH_NODRAIN, FLUSH_NOFLUSH,
	FLUSH_WC | FLUSH_NODRAIN, FLUSH_WB, ~0u};

#define WAYS (sizeof(ways) / sizeof(ways[0]))

struct area {
	char *dest, *src, *before; /* before: what dest held */
};

static void
area_map(struct area *a)
{
	a->dest = guarded_map(SIZE);
	a->src = guarded_map(SIZE);
	a->before = malloc(SIZE);
	pattern(a->before, SIZE, 101);
	pattern(a->src, SIZE, 7);
	memcpy(a->dest, a->before, SIZE);
}

static void
area_unmap(struct area *a)
{
	guarded_unmap(a->dest, SIZE);
	guarded_unmap(a->src, SIZE);
	free(a->before);
}

/* Looks at all that a copy to `dest` may have changed wrongly, and puts the destination back. */
static void
check_area(struct area *a, const char *dest, const char *expected, size_t len, const char *what, const char *engine)
{
	size_t at = (size_t)(dest - a->dest), low = at < 192 ? 0 : at - 192, high = at + len + 192 > SIZE ? SIZE : at + len + 192;

	cr_assert(memcmp(dest, expected, len) == 0, "%s %s: %zu bytes at offset %zu differ", engine, what, len, at % 64);
	cr_assert(memcmp(a->dest + low, a->before + low, at - low) == 0, "%s %s: wrote before %zu bytes at %zu", engine, what,
	    len, at % 64);
	cr_assert(memcmp(a->dest + at + len, a->before + at + len, high - at - len) == 0, "%s %s: wrote behind %zu bytes at %zu",
	    engine, what, len, at % 64);
	memcpy(a->dest + at, a->before + at, len);
}

static void
copy_at(struct area *a, const struct engine *e, size_t dest, size_t src, size_t len, unsigned turn)
{
	int kind = (int)(turn % LINE_KINDS);
	unsigned way = turn / LINE_KINDS % (WAYS + 2);
	void *d = a->dest + dest, *result;
	const struct copy_ops *ops;

	if (!flush_kind_works(kind))
		kind = LINE_EMPTY + 1;
	ops = &e->kinds[kind];
	copy_settings.nt_threshold = turn % 3 == 0 ? 0 : turn % 3 == 1 ? 256 : SIZE_MAX;
	copy_settings.nt_odd_threshold = turn % 7 < 3 ? 0 : turn % 7 == 3 ? 512 : SIZE_MAX;
	copy_settings.wc_barrier = turn % 5 == 0;
	result = way < WAYS ? ops->copy(d, a->src + src, len, ways[way]) :
	    way == WAYS ? ops->copy_persist(d, a->src + src, len) : ops->copy_nodrain(d, a->src + src, len);
	cr_assert_eq(result, d);
	check_area(a, d, a->src + src, len, flush_kind_names[kind], e->name);
}

static void
set_at(struct area *a, const struct engine *e, size_t dest, size_t len, unsigned turn)
{
	static char expected[SIZE];
	int kind = (int)(turn % LINE_KINDS), c = (int)(turn * 37 + 5);
	unsigned way = turn / LINE_KINDS % (WAYS + 2);
	void *d = a->dest + dest, *result;
	const struct copy_ops *ops;

	if (!flush_kind_works(kind))
		kind = LINE_EMPTY + 1;
	ops = &e->kinds[kind];
	copy_settings.nt_threshold = turn % 3 == 0 ? 0 : turn % 3 == 1 ? 256 : SIZE_MAX;
	copy_settings.nt_odd_threshold = turn % 7 < 3 ? 0 : turn % 7 == 3 ? 512 : SIZE_MAX;
	copy_settings.wc_barrier = turn % 5 == 0;
	memset(expected, c, len);
	result = way < WAYS ? ops->set(d, c, len, ways[way]) :
	    way == WAYS ? ops->set_persist(d, c, len) : ops->set_nodrain(d, c, len);
	cr_assert_eq(result, d);
	check_area(a, d, expected, len, flush_kind_names[kind], e->name);
}

static void
sweep_copy(bool at_end)
{
	struct area a;

	flush_engines_emulate();
	area_map(&a);
	for (const struct engine *e = flush_engines(); e->name != NULL; e++) {
		unsigned turn = 1;

		for (size_t len = 0; len <= MOST; len++) {
			if (!interesting(len))
				continue;
			for (size_t offset = 0; offset < 64; offset++, turn++) {
				/* the source's alignment follows neither the destination's nor the length */
				size_t other = (offset * 29 + len * 11 + turn) % 64;

				if (at_end)
					copy_at(&a, e, SIZE - len - offset, SIZE - len - (turn % 2 ? 0 : other), len, turn * 7);
				else
					copy_at(&a, e, offset, turn % 2 ? 0 : other, len, turn * 7);
				if (offset == 0 || turn % 16 == 0) { /* both against the guard page */
					if (at_end)
						copy_at(&a, e, SIZE - len, SIZE - len, len, turn * 11);
					else
						copy_at(&a, e, 0, 0, len, turn * 11);
				}
			}
		}
	}
	area_unmap(&a);
}

Test(flush_copy, writes_and_reads_nothing_behind)
{
	sweep_copy(true);
}

Test(flush_copy, writes_and_reads_nothing_before)
{
	sweep_copy(false);
}

static void
sweep_set(bool at_end)
{
	struct area a;

	flush_engines_emulate();
	area_map(&a);
	for (const struct engine *e = flush_engines(); e->name != NULL; e++) {
		unsigned turn = 1;

		for (size_t len = 0; len <= MOST; len++)
			if (interesting(len))
				for (size_t offset = 0; offset < 64; offset++, turn++)
					set_at(&a, e, at_end ? SIZE - len - offset : offset, len, turn * 7);
	}
	area_unmap(&a);
}

Test(flush_copy, set_writes_nothing_behind)
{
	sweep_set(true);
}

Test(flush_copy, set_writes_nothing_before)
{
	sweep_set(false);
}

/* Every distance in both directions for which the two overlap, and a bit beyond. */
Test(flush_copy, overlapping_moves_keep_the_source)
{
	static const size_t lengths[] = {1, 2, 3, 7, 8, 9, 15, 16, 24, 31, 33, 63, 64, 65, 127, 128, 200, 257, 320, 511, 777, 1600};
	static char expected[SIZE], start[SIZE];
	char *p = guarded_map(SIZE);
	unsigned turn = 0;

	flush_engines_emulate();
	pattern(start, SIZE, 3);
	for (const struct engine *e = flush_engines(); e->name != NULL; e++)
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			size_t len = lengths[i], src = 3000 + i;
			long far = (long)len + 9;

			for (long shift = -far; shift <= far; shift += shift > -150 && shift < 150 ? 1 : 13, turn++) {
				size_t dest = (size_t)((long)src + shift), low = dest < src ? dest : src;
				size_t span = len + (size_t)labs(shift) + 256;
				int kind = (int)(turn % LINE_KINDS);

				if (!flush_kind_works(kind))
					kind = LINE_EMPTY + 1;
				copy_settings.nt_threshold = copy_settings.nt_odd_threshold = turn % 2 ? 0 : SIZE_MAX;
				copy_settings.wc_barrier = turn % 3 == 0;
				memcpy(p + low - 128, start + low - 128, span);
				memcpy(expected + low - 128, start + low - 128, span);
				memmove(expected + dest, expected + src, len);
				e->kinds[kind].copy(p + dest, p + src, len, ways[turn / 3 % WAYS]);
				cr_assert(memcmp(p + low - 128, expected + low - 128, span) == 0, "%s %s: %zu bytes moved by %ld", e->name,
				    flush_kind_names[kind], len, shift);
			}
		}
	guarded_unmap(p, SIZE);
}

Test(flush_copy, long_ones_are_whole)
{
	size_t size = (size_t)3 << 20;
	char *dest = guarded_map(size), *src = guarded_map(size);

	flush_engines_emulate();
	pattern(src, size, 9);
	for (const struct engine *e = flush_engines(); e->name != NULL; e++)
		for (unsigned way = 0; way < WAYS; way++) {
			memset(dest, 0, size);
			e->kinds[LINE_KINDS - 1 - (flush_kind_works(LINE_KINDS - 1) ? 0 : LINE_KINDS - 2)].copy(dest + 3, src + 5,
			    size - 5, ways[way]);
			cr_assert(memcmp(dest + 3, src + 5, size - 5) == 0, "%s way %u", e->name, way);
			cr_assert(dest[2] == 0 && dest[size - 2] == 0, "%s way %u: outside", e->name, way);
		}
	guarded_unmap(dest, size);
	guarded_unmap(src, size);
}

/* A copy of a range onto itself flushes, and stores nothing: another thread may be changing it. */
Test(flush_copy, onto_itself_stores_nothing)
{
	size_t page = 4096;
	char *p = guarded_map(page);

	flush_engines_emulate();
	pattern(p, page, 1);
	for (const struct engine *e = flush_engines(); e->name != NULL; e++)
		if (e->words)
			for (unsigned way = 0; way < WAYS; way++) {
				/* a store would trap; write-back of a line that can be read does not */
				cr_assert_eq(0, mprotect(p, page, PROT_READ));
				copy_settings.nt_threshold = copy_settings.nt_odd_threshold = 0;
				for (size_t len = 0; len < 300; len += 13)
					e->kinds[LINE_EMPTY + 1].copy(p + 5, p + 5, len, ways[way]);
				copy_settings.nt_threshold = copy_settings.nt_odd_threshold = SIZE_MAX;
				for (size_t len = 0; len < 300; len += 13)
					e->kinds[LINE_EMPTY + 1].copy_persist(p + 5, p + 5, len);
			}
	guarded_unmap(p, page);
}

/* Length 0 touches nothing, not even the page of an address that is none. */
Test(flush_copy, nothing_of_nothing)
{
	char *p = guarded_map(4096) - 4096 + 60; /* in the guard page */

	for (const struct engine *e = flush_engines(); e->name != NULL; e++)
		for (int kind = 0; kind < LINE_KINDS; kind++)
			for (unsigned way = 0; way < WAYS; way++) {
				cr_assert_eq(e->kinds[kind].copy(p, p + 8, 0, ways[way]), p);
				cr_assert_eq(e->kinds[kind].set(p, 1, 0, ways[way]), p);
				cr_assert_eq(e->kinds[kind].copy_persist(p, p + 8, 0), p);
				cr_assert_eq(e->kinds[kind].set_nodrain(p, 1, 0), p);
			}
	flush_ops()->flush(p, 0);
	flush_ops()->deep_flush(p, 0);
}

#if defined(__x86_64__)
/* Where the CPU has no MOVDIR64B the engine ran, and ran by that instruction. */
Test(flush_copy, movdir64b_is_used_for_lines)
{
	char *dest = guarded_map(4096), *src = guarded_map(4096);
	struct cpu_x86 cpu;

	cpu_detect(&cpu, &cpu_this);
	flush_engines_emulate();
	pattern(src, 4096, 5);
	copy_movdir64b[LINE_CLFLUSH].copy(dest + 8, src + 8, 4000, FLUSH_NONTEMPORAL);
	cr_assert(memcmp(dest + 8, src + 8, 4000) == 0);
	copy_movdir64b[LINE_CLFLUSH].set(dest, 'x', 640, FLUSH_NONTEMPORAL);
	cr_assert(dest[0] == 'x' && dest[639] == 'x');
	cr_assert_eq(flush_emulated, cpu.movdir64b ? 0 : 61 + 10, "%lu", flush_emulated);
}
#endif
