/* flush_record.c -- what would a power cut leave? The engines over primitives that record
 *
 * The very text of the engines (flush/copy_bytes_impl.h, flush/copy_ways_impl.h) is compiled here over stores, flushes
 * and fences that act on a model of a machine: what is stored is in the caches, what is flushed is on its way, what was fenced after that is durable.
 * Only what the architecture promises becomes durable, so whatever a function returned as persistent must be there.
 *
 * The model also watches each 8-byte word of the destination: it may go from old to new in one store only.
 */
#include <criterion/criterion.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "flush/copy.h"

#define SIZE ((size_t)8192)
#define MAX_EVENTS 100000

/* --- the machine -------------------------------------------------------------------------------------------------- */

static _Alignas(4096) char memory[SIZE]; /* as a program sees it */
static char durable[SIZE];               /* what a power cut leaves at least */
static char on_its_way[SIZE];            /* flushed, or stored past the cache, and not fenced yet */
static bool pending[SIZE];
static bool past_cache[SIZE]; /* the last store went past the cache: a flush of the line does not reach it */

static bool persistent_caches; /* stores through the cache are durable at once */
static bool ordered_flush;     /* CLFLUSH of Intel: durable without a fence */

static struct {
	size_t stores, flushes, fences;
	size_t drop_flush; /* index of a flush that does not happen; SIZE_MAX */
	bool drop_fences;
} events;

/* The destination of the running call, and which of its bytes are written. */
static size_t dest_start, dest_end;
static unsigned char written[SIZE];

static void
machine_reset(void)
{
	for (size_t i = 0; i < SIZE; i++)
		memory[i] = durable[i] = (char)(i * 31 + 7);
	memset(pending, 0, sizeof(pending));
	memset(past_cache, 0, sizeof(past_cache));
	memset(&events, 0, sizeof(events));
	events.drop_flush = SIZE_MAX;
}

static void
check_words(size_t at, size_t n)
{
	for (size_t word = at & ~(size_t)7; word < at + n; word += 8) {
		unsigned new = 0;

		if (word < dest_start || word + 8 > dest_end)
			continue;
		for (int i = 0; i < 8; i++)
			new += written[word + i];
		cr_assert(new == 0 || new == 8, "word at %zu is torn: [%zu, %zu), store of %zu at %zu", word, dest_start, dest_end, n,
		    at);
	}
}

static void
store(char *p, const void *value, size_t n, bool nt)
{
	size_t at = (size_t)(p - memory);

	cr_assert(at >= dest_start && at + n <= dest_end, "store of %zu at %zu outside of [%zu, %zu)", n, at, dest_start,
	    dest_end);
	memcpy(p, value, n);
	memset(written + at, 1, n);
	check_words(at, n);
	for (size_t i = at; i < at + n; i++) {
		past_cache[i] = nt;
		if (nt) {
			on_its_way[i] = memory[i];
			pending[i] = true;
		} else if (persistent_caches) {
			durable[i] = memory[i];
		}
	}
	events.stores++;
}

static void
flush(const char *p)
{
	size_t at = (size_t)(p - memory);

	cr_assert(at % LINE == 0 && at < SIZE, "flush at %zu", at);
	if (events.flushes++ == events.drop_flush)
		return;
	for (size_t i = at; i < at + LINE; i++) {
		if (past_cache[i])
			continue;
		on_its_way[i] = memory[i];
		if (ordered_flush)
			durable[i] = memory[i];
		else
			pending[i] = true;
	}
}

static void
fence(void)
{
	events.fences++;
	if (events.drop_fences)
		return;
	for (size_t i = 0; i < SIZE; i++)
		if (pending[i]) {
			durable[i] = on_its_way[i];
			pending[i] = false;
		}
}

/* --- primitives ------------------------------------------------------------------------------------------------- */

#define RECORDED(bits, bytes) \
	static inline uint##bits##_t ld##bytes(const char *p) \
	{ \
		uint##bits##_t v; \
\
		memcpy(&v, p, sizeof(v)); \
		return v; \
	} \
	static inline void st##bytes##u(char *p, uint##bits##_t v) \
	{ \
		store(p, &v, sizeof(v), false); \
	}

RECORDED(8, 1)
RECORDED(16, 2)
RECORDED(32, 4)
RECORDED(64, 8)

#define RECORDED_VECTOR(bytes) \
	typedef struct { \
		uint64_t word[bytes / 8]; \
	} v##bytes; \
	static inline v##bytes ld##bytes(const char *p) \
	{ \
		v##bytes v; \
\
		memcpy(&v, p, sizeof(v)); \
		return v; \
	} \
	static inline void st##bytes(char *p, v##bytes v) \
	{ \
		cr_assert((uintptr_t)p % 8 == 0, "vector store of " #bytes " at an odd address"); \
		store(p, &v, sizeof(v), false); \
	} \
	static inline v##bytes dup##bytes(uint64_t word) \
	{ \
		v##bytes v; \
\
		for (size_t i = 0; i < bytes / 8; i++) \
			v.word[i] = word; \
		return v; \
	}

RECORDED_VECTOR(16)
RECORDED_VECTOR(32)
RECORDED_VECTOR(64)

static inline void
st8(char *p, uint64_t v)
{
	cr_assert((uintptr_t)p % 8 == 0);
	store(p, &v, sizeof(v), false);
}

static inline void
nt8(char *p, uint64_t v)
{
	cr_assert((uintptr_t)p % 8 == 0);
	store(p, &v, sizeof(v), true);
}

static inline void
nt_line(char *p, const char *s)
{
	v64 v = ld64(s);

	cr_assert((uintptr_t)p % LINE == 0);
	for (int i = 0; i < LINE; i += 8)
		store(p + i, &v.word[i / 8], 8, true);
}

static inline void
nt_set_line(char *p, uint64_t v)
{
	cr_assert((uintptr_t)p % LINE == 0);
	for (int i = 0; i < LINE; i += 8)
		store(p + i, &v, 8, true);
}

#define keep_order() ((void)0)
#define ENGINE_FLUSH(p, kind) ((kind) == LINE_EMPTY ? (void)0 : flush(p))
#define ENGINE_FENCE() fence()

#define ENGINE record8
#define WIDTH 8
#include "tests/flush_record_impl.h"

#define ENGINE record16
#define WIDTH 16
#define HAVE_NT
#include "tests/flush_record_impl.h"

#define ENGINE record32
#define WIDTH 32
#define HAVE_NT
#include "tests/flush_record_impl.h"

#define ENGINE record64
#define WIDTH 64
#define HAVE_NT
#include "tests/flush_record_impl.h"

/* --- runs --------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	const struct copy_ops *kinds;
	void (*drain)(enum line_kind kind);
	void (*flush_lines)(const char *p, size_t n, enum line_kind kind);
} engines[] = {
	{"8", copy_record8, drain_record8, flush_lines_record8},
	{"16", copy_record16, drain_record16, flush_lines_record16},
	{"32", copy_record32, drain_record32, flush_lines_record32},
	{"64", copy_record64, drain_record64, flush_lines_record64},
};

#define ENGINES (sizeof(engines) / sizeof(engines[0]))

static const unsigned ways[] = {0, FLUSH_NONTEMPORAL, FLUSH_TEMPORAL, FLUSH_WC, FLUSH_WB,
	FLUSH_NONTEMPORAL | FLUSH_TEMPORAL, 1u << 31};

#define WAYS (sizeof(ways) / sizeof(ways[0]))

/* How the machine takes the kind's instructions. */
static void
machine_kind(enum line_kind kind, bool unordered)
{
	persistent_caches = kind == LINE_EMPTY;
#if defined(__x86_64__)
	ordered_flush = kind == LINE_CLFLUSH && !unordered;
#endif
	copy_settings.clflush_unordered = unordered;
}

static void
begin(size_t at, size_t n)
{
	dest_start = at;
	dest_end = at + n;
	memset(written, 0, sizeof(written));
}

/* A source that no machine state holds already. */
static char source[SIZE];

static void
new_source(unsigned turn)
{
	for (size_t i = 0; i < SIZE; i++)
		source[i] = (char)(turn * 113 + i * 17 + i / 256 + 128);
}

static bool
survives(size_t at, size_t n, const char *expected)
{
	return memcmp(durable + at, expected, n) == 0;
}

static void
settings(unsigned turn)
{
	copy_settings.nt_threshold = turn % 3 == 0 ? 0 : turn % 3 == 1 ? 256 : SIZE_MAX;
	copy_settings.nt_odd_threshold = turn % 4 == 0 ? 0 : turn % 4 == 1 ? 512 : SIZE_MAX;
	copy_settings.wc_barrier = turn % 2;
}

/* One copy or set, by every entry in turn; the expected bytes. */
static const char *
run(size_t e, enum line_kind kind, size_t at, size_t n, unsigned turn, unsigned flags)
{
	static char filled[SIZE];
	const struct copy_ops *ops = &engines[e].kinds[kind];
	bool by_flags = turn % 2 == 0 || (flags & ~FLUSH_NODRAIN) != 0, nodrain = (flags & FLUSH_NODRAIN) != 0;

	begin(at, n);
	if (turn % 4 < 2) {
		new_source(turn);
		if (by_flags)
			ops->copy(memory + at, source, n, flags);
		else
			(nodrain ? ops->copy_nodrain : ops->copy_persist)(memory + at, source, n);
		return source;
	}
	memset(filled, (int)turn + 3, n);
	if (by_flags)
		ops->set(memory + at, (int)turn + 3, n, flags);
	else
		(nodrain ? ops->set_nodrain : ops->set_persist)(memory + at, (int)turn + 3, n);
	return filled;
}

#define LENGTHS(n) (size_t n = 1; n < 2600; n += n < 200 ? 1 : n < 1000 ? 37 : 211)
#define FOR_ALL_KINDS(e, kind) \
	for (size_t e = 0; e < ENGINES; e++) \
		for (enum line_kind kind = 0; kind < LINE_KINDS; kind++)

Test(flush_record, what_is_returned_as_persistent_survives)
{
	unsigned turn = 0;

	machine_reset();
	FOR_ALL_KINDS(e, kind)
		for LENGTHS(n)
			for (size_t offset = 0; offset < 64; offset += n < 80 ? 1 : 5, turn++) {
				size_t at = 1024 + offset;
				const char *expected;

				machine_kind(kind, turn % 7 == 0);
				settings(turn);
				expected = run(e, kind, at, n, turn, ways[turn / 4 % WAYS]);
				cr_assert(survives(at, n, expected), "width %s kind %d: %zu bytes at %zu, flags %x", engines[e].name, (int)kind, n,
				    offset, ways[turn / 4 % WAYS]);
			}
}

Test(flush_record, one_drain_is_enough_for_many_copies)
{
	unsigned turn = 0;

	FOR_ALL_KINDS(e, kind)
		for (int round = 0; round < 60; round++, turn += 13) {
			static char expected[SIZE];
			size_t at = 100;

			machine_reset();
			machine_kind(kind, turn % 2);
			settings(turn);
			memcpy(expected, memory, SIZE);
			for (unsigned i = 0; i < 12; i++) { /* neighbours share lines, the next one overlaps the last */
				size_t n = 1 + (turn * 31 + i * 97) % 400;

				memcpy(expected + at, run(e, kind, at, n, turn + i, ways[(turn + i) % WAYS] | FLUSH_NODRAIN), n);
				at += i % 3 == 0 ? n : i % 3 == 1 ? n + 3 : n / 2;
			}
			engines[e].drain(kind);
			cr_assert(survives(0, SIZE, expected), "width %s kind %d turn %u", engines[e].name, (int)kind, turn);
		}
}

Test(flush_record, noflush_then_flush_then_drain)
{
	unsigned turn = 0;

	machine_reset();
	FOR_ALL_KINDS(e, kind)
		for LENGTHS(n) {
			size_t at = 1024 + turn % 64;
			const char *expected;

			turn++;
			machine_kind(kind, false);
			settings(turn);
			events.flushes = events.fences = 0;
			expected = run(e, kind, at, n, turn * 2, FLUSH_NOFLUSH | ways[turn % WAYS]);
			cr_assert_eq(events.flushes + events.fences, 0, "NOFLUSH flushes");
			engines[e].flush_lines(memory + at, n, kind);
			engines[e].drain(kind);
			cr_assert(survives(at, n, expected), "width %s kind %d: %zu bytes", engines[e].name, (int)kind, n);
		}
}

/* Without one of its flushes, or its fences, a copy is lost: so the model would notice. And none is superfluous. */
Test(flush_record, every_flush_and_the_fence_are_needed)
{
	unsigned turn = 0;

	FOR_ALL_KINDS(e, kind)
		for LENGTHS(n) {
			size_t at = 1024 + turn % 64, flushes, lines = (at + n - 1) / LINE - at / LINE + 1;
			unsigned flags = ways[turn % WAYS];
			const char *expected;

			turn += 2;
			machine_kind(kind, true);
			settings(turn);
			machine_reset();
			run(e, kind, at, n, turn, flags);
			flushes = events.flushes;
			cr_assert(flushes <= lines, "%zu flushes for %zu lines", flushes, lines);
			for (size_t drop = 0; drop < flushes; drop += 1 + flushes / 4) {
				machine_reset();
				events.drop_flush = drop;
				expected = run(e, kind, at, n, turn, flags);
				cr_assert_not(survives(at, n, expected), "kind %d: flush %zu of %zu was not needed", (int)kind, drop, flushes);
			}
			machine_reset();
			events.drop_fences = true;
			expected = run(e, kind, at, n, turn, flags);
			if (!persistent_caches)
				cr_assert_not(survives(at, n, expected), "kind %d: no fence was needed", (int)kind);
		}
}

#if defined(__x86_64__)
/* CLFLUSH on Intel needs no fence, and there is none but after stores past the cache. */
Test(flush_record, clflush_is_ordered_but_not_with_stores_past_the_cache)
{
	machine_reset();
	copy_settings.wc_barrier = false;
	for (size_t e = 0; e < ENGINES; e++)
		for LENGTHS(n) {
			machine_kind(LINE_CLFLUSH, false);
			events.fences = 0;
			copy_settings.nt_threshold = copy_settings.nt_odd_threshold = SIZE_MAX;
			run(e, LINE_CLFLUSH, 1000, n, 1, 0);
			cr_assert_eq(events.fences, 0);
			run(e, LINE_CLFLUSH, 1000, n, 0, FLUSH_NONTEMPORAL | FLUSH_NODRAIN);
			cr_assert_eq(events.fences, engines[e].kinds == copy_record8 ? 0 : 1);
			cr_assert(survives(1000, n, source), "%zu bytes past the cache", n);
		}
}
#endif

/* Which flag wins, seen by what is done: flushes say through the cache, none say past it. */
Test(flush_record, flags_are_looked_at_in_order)
{
	const size_t e = 1, n = 1024;
	const enum line_kind kind = LINE_KINDS - 1;
	static const struct {
		unsigned flags;
		bool through; /* the cache */
	} cases[] = {
		{FLUSH_WC, false}, {FLUSH_NONTEMPORAL, false}, {FLUSH_WC | FLUSH_WB, false},
		{FLUSH_NONTEMPORAL | FLUSH_TEMPORAL, false}, {FLUSH_WB, true}, {FLUSH_TEMPORAL, true},
	};

	machine_kind(kind, false);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (int small = 0; small < 2; small++) {
			copy_settings.nt_threshold = small ? 0 : SIZE_MAX; /* the flag rules, not the size */
			machine_reset();
			begin(1024, n);
			engines[e].kinds[kind].copy(memory + 1024, source, n, cases[i].flags);
			cr_assert_eq(events.flushes, cases[i].through ? n / LINE : 0, "flags %x", cases[i].flags);
		}
	for (size_t t = 1023; t < 1026; t++) { /* by size: below the threshold through the cache, from it on past it */
		copy_settings.nt_threshold = t;
		machine_reset();
		begin(1024, n);
		engines[e].kinds[kind].copy_persist(memory + 1024, source, n);
		cr_assert_eq(events.flushes, n < t ? n / LINE : 0);
	}
	/* with persistent caches only NONTEMPORAL goes past them */
	machine_kind(LINE_EMPTY, false);
	copy_settings.nt_threshold = 0;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool nt = (cases[i].flags & FLUSH_NONTEMPORAL) != 0;

		machine_reset();
		begin(1024, n);
		engines[e].kinds[LINE_EMPTY].copy(memory + 1024, source, n, cases[i].flags | FLUSH_NODRAIN);
		cr_assert_eq(events.fences, nt ? 1 : 0, "flags %x", cases[i].flags);
	}
}
