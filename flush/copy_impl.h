/* copy_impl.h -- copy and set engine, written once; included by the file of each width
 *
 * The including file defines
 *   ENGINE        name, ends up in the table copy_<ENGINE>
 *   TARGET        function attribute that allows the instructions below
 *   WIDTH         bytes of the widest store: 8, 16, 32 or 64
 *   ld8 st8 ld16 st16 ... up to WIDTH: loads from any address, stores to a multiple of 8
 *   dup16 ... up to WIDTH: that many bytes out of a uint64_t
 *   nt8           store past the cache, multiple of 8; only with HAVE_NT
 *   nt_line       a line past the cache from any address; nt_set_line the same from the widest value; with HAVE_NT
 *   nt_group      NT_GROUP lines, all loads before all stores; with HAVE_NT
 *   ENGINE_FLUSH(p, kind), ENGINE_FENCE(): of line.h, or the recording ones of tests/flush_record.c
 *
 * Rules:  C1  an aligned word that lies wholly inside the destination is written by one store of it before any other
 *             store touches a part of it. So the middle goes first, at multiples of 8, and the ragged ends come as
 *             8-byte stores that overlap words which are new already. No vector store starts at an odd address: CPUs
 *             that execute it in two halves would cut a word.
 *         C2  in a piece of up to a line all loads come before all stores; longer moves go from the end that the
 *             overlap leaves intact.
 *         C3  a line is flushed after the last store to it, each line once. Lines stored past the cache are not flushed.
 *         C4  stores past the cache end in a fence where the drain has none of its own or may be left out by the caller
 *             (kinds EMPTY and CLFLUSH); everywhere else fences are the drain's.
 * Media:  none of its own.
 * Fails:  never.
 */
#include <stdint.h>

#include "flush/copy.h"

#define CAT3_(a, b, c) a##b##c
#define CAT3(a, b, c) CAT3_(a, b, c)
#define FN(name) CAT3(name, _, ENGINE)
#define STR_(x) #x
#define STR(x) STR_(x)
#define NOINLINE static __attribute__((noinline))
#define RARELY(x) __builtin_expect(x, 0)

/* 12 lines: the write-combining buffers of the CPUs that want the barrier */
#define WC_BLOCK 768
#if defined(HAVE_NT) && WIDTH < 64 && !defined(NO_WC_BARRIER)
#define WC_BARRIER copy_settings.wc_barrier
#define WC_TRACE (copy_settings.wc_barrier ? "_wcbarrier" : "_nobarrier")
#else
#define WC_BARRIER false
#define WC_TRACE ""
#endif

#ifdef HAVE_NT
#define CAN_NT true
#else
#define CAN_NT false
#endif

#ifdef PMHEAP_DEBUG
#define TRACE_MOV(op, name, d, s, n) copy_trace(__FILE__, __LINE__, op "_mov_" STR(ENGINE) "_", name, "", d, s, n)
#define TRACE_NT(op, name, d, s, n) copy_trace(__FILE__, __LINE__, op "_movnt_" STR(ENGINE) "_", name, WC_TRACE, d, s, n)
#else
#define TRACE_MOV(op, name, d, s, n) ((void)0)
#define TRACE_NT(op, name, d, s, n) ((void)0)
#endif

#if defined(__x86_64__)
#define STRONG(kind) ((kind) == LINE_CLFLUSH)
#else
#define STRONG(kind) ((void)(kind), false)
#endif

/* --- pieces of up to a line ------------------------------------------------------------------------------------ */

/* m: 8, 16, ... 64; d a multiple of 8 */
ALWAYS_INLINE TARGET void
FN(copy_words)(char *d, const char *s, size_t m)
{
#if WIDTH >= 64
	if (m == 64) {
		st64(d, ld64(s));
		return;
	}
#endif
#if WIDTH >= 32
	if (m >= 32) {
		v32 a = ld32(s), b = ld32(s + m - 32);

		st32(d, a);
		st32(d + m - 32, b);
		return;
	}
#elif WIDTH >= 16
	if (m > 32) {
		v16 a = ld16(s), b = ld16(s + 16), c = ld16(s + m - 32), e = ld16(s + m - 16);

		st16(d, a);
		st16(d + 16, b);
		st16(d + m - 32, c);
		st16(d + m - 16, e);
		return;
	}
#endif
#if WIDTH >= 16
	if (m >= 16) {
		v16 a = ld16(s), b = ld16(s + m - 16);

		st16(d, a);
		st16(d + m - 16, b);
		return;
	}
	st8(d, ld8(s));
#else
	uint64_t w[8];

	for (size_t i = 0; i < m / 8; i++)
		w[i] = ld8(s + 8 * i);
	for (size_t i = 0; i < m / 8; i++)
		st8(d + 8 * i, w[i]);
#endif
}

ALWAYS_INLINE TARGET void
FN(set_words)(char *d, uint64_t v, size_t m)
{
#if WIDTH >= 64
	if (m == 64) {
		st64(d, dup64(v));
		return;
	}
#endif
#if WIDTH >= 32
	if (m >= 32) {
		st32(d, dup32(v));
		st32(d + m - 32, dup32(v));
		return;
	}
#endif
#if WIDTH >= 16
	if (m >= 16) {
		size_t i = 0;

		do
			st16(d + i, dup16(v));
		while ((i += 16) + 16 <= m);
		st16(d + m - 16, dup16(v));
		return;
	}
#endif
	for (size_t i = 0; i < m; i += 8)
		st8(d + i, v);
}

/* n: 1 to 64, any address */
ALWAYS_INLINE TARGET void
FN(copy_small)(char *d, const char *s, size_t n)
{
	if (n >= 8) {
		if ((((uintptr_t)d | n) & 7) == 0) {
			FN(copy_words)(d, s, n);
			return;
		}

		size_t head = -(uintptr_t)d & 7, words = (n - head) & ~(size_t)7;
		uint64_t first = ld8(s), last = ld8(s + n - 8);

		if (words != 0)
			FN(copy_words)(d + head, s + head, words);
		st8u(d, first);
		st8u(d + n - 8, last);
	} else if (n >= 4) {
		uint32_t first = ld4(s), last = ld4(s + n - 4);

		st4u(d, first);
		st4u(d + n - 4, last);
	} else if (n >= 2) {
		uint16_t first = ld2(s), last = ld2(s + n - 2);

		st2u(d, first);
		st2u(d + n - 2, last);
	} else {
		st1u(d, ld1(s));
	}
}

ALWAYS_INLINE TARGET void
FN(set_small)(char *d, uint64_t v, size_t n)
{
	if (n >= 8) {
		size_t head = -(uintptr_t)d & 7, words = (n - head) & ~(size_t)7;

		if (words != 0)
			FN(set_words)(d + head, v, words);
		if (head != 0)
			st8u(d, v);
		if (head + words != n)
			st8u(d + n - 8, v);
	} else if (n >= 4) {
		st4u(d, (uint32_t)v);
		st4u(d + n - 4, (uint32_t)v);
	} else if (n >= 2) {
		st2u(d, (uint16_t)v);
		st2u(d + n - 2, (uint16_t)v);
	} else {
		st1u(d, (uint8_t)v);
	}
}

/* n: 1 to 64: at most two lines */
ALWAYS_INLINE TARGET void
FN(flush_small)(const char *d, size_t n, enum line_kind kind)
{
	const char *first = (const char *)((uintptr_t)d & -(uintptr_t)LINE);
	const char *last = (const char *)((uintptr_t)(d + n - 1) & -(uintptr_t)LINE);

	if (kind == LINE_EMPTY)
		return;
	ENGINE_FLUSH(first, kind);
	if (last != first)
		ENGINE_FLUSH(last, kind);
}

#ifdef HAVE_NT
/* A part of a line past the cache; true when it was done so. Words are copied upward or downward as the overlap asks. */
ALWAYS_INLINE TARGET bool
FN(copy_words_nt)(char *d, const char *s, size_t n, bool up)
{
	if ((((uintptr_t)d | n) & 7) != 0)
		return false;
	if (!up) {
		for (size_t i = n; i > 0; i -= 8)
			nt8(d + i - 8, ld8(s + i - 8));
		return true;
	}
	for (; n >= 32; n -= 32, d += 32, s += 32) {
		nt8(d, ld8(s));
		nt8(d + 8, ld8(s + 8));
		nt8(d + 16, ld8(s + 16));
		nt8(d + 24, ld8(s + 24));
	}
	if ((n & 16) != 0) {
		nt8(d, ld8(s));
		nt8(d + 8, ld8(s + 8));
		d += 16;
		s += 16;
	}
	if ((n & 8) != 0)
		nt8(d, ld8(s));
	return true;
}

ALWAYS_INLINE TARGET bool
FN(set_words_nt)(char *d, uint64_t v, size_t n)
{
	if ((((uintptr_t)d | n) & 7) != 0)
		return false;
	for (; n >= 32; n -= 32, d += 32) {
		nt8(d, v);
		nt8(d + 8, v);
		nt8(d + 16, v);
		nt8(d + 24, v);
	}
	if ((n & 16) != 0) {
		nt8(d, v);
		nt8(d + 8, v);
		d += 16;
	}
	if ((n & 8) != 0)
		nt8(d, v);
	return true;
}
#endif

/* Out of line, for the ways that are rare: its text would be in dozens of places. The usual ways must not call anything:
 * each return address and saved register is one more store in the queue behind a store that waits for its line. */
NOINLINE TARGET void
FN(copy_far)(char *d, const char *s, size_t n)
{
	FN(copy_small)(d, s, n);
}

NOINLINE TARGET void
FN(set_far)(char *d, uint64_t v, size_t n)
{
	FN(set_small)(d, v, n);
}

/* 1 to 64 bytes; past the cache at most 63, inside one line. */
ALWAYS_INLINE TARGET void
FN(copy_piece)(char *d, const char *s, size_t n, enum line_kind kind, bool nt, bool up, bool rare)
{
#ifdef HAVE_NT
	if (nt && FN(copy_words_nt)(d, s, n, up))
		return;
#else
	(void)nt;
	(void)up;
#endif
	if (rare)
		FN(copy_far)(d, s, n);
	else
		FN(copy_small)(d, s, n);
	FN(flush_small)(d, n, kind);
}

ALWAYS_INLINE TARGET void
FN(set_piece)(char *d, uint64_t v, size_t n, enum line_kind kind, bool nt, bool rare)
{
#ifdef HAVE_NT
	if (nt && FN(set_words_nt)(d, v, n))
		return;
#else
	(void)nt;
#endif
	if (rare)
		FN(set_far)(d, v, n);
	else
		FN(set_small)(d, v, n);
	FN(flush_small)(d, n, kind);
}

/* --- whole lines ----------------------------------------------------------------------------------------------- */

ALWAYS_INLINE TARGET void
FN(copy_line)(char *d, const char *s, bool nt)
{
#ifdef HAVE_NT
	if (nt) {
		nt_line(d, s);
		return;
	}
#else
	(void)nt;
#endif
	FN(copy_words)(d, s, LINE);
}

/* d: a multiple of LINE. Lines are loaded, stored and flushed in groups: as many past the cache as the registers hold,
 * which keeps the memory bus from turning around for each; and four through it, so that stores need not wait for flushes. */
ALWAYS_INLINE TARGET void
FN(copy_lines_up)(char *d, const char *s, size_t lines, enum line_kind kind, bool nt)
{
#ifdef HAVE_NT
	if (nt)
		for (; lines >= NT_GROUP; lines -= NT_GROUP, d += NT_GROUP * LINE, s += NT_GROUP * LINE)
			nt_group(d, s);
#endif
	if (!nt)
		for (; lines >= 4; lines -= 4, d += 4 * LINE, s += 4 * LINE) {
			for (int i = 0; i < 4; i++)
				FN(copy_words)(d + i * LINE, s + i * LINE, LINE);
			for (int i = 0; i < 4; i++)
				ENGINE_FLUSH(d + i * LINE, kind);
			keep_order();
		}
	for (; lines > 0; lines--, d += LINE, s += LINE) {
		FN(copy_line)(d, s, nt);
		if (!nt)
			ENGINE_FLUSH(d, kind);
		keep_order();
	}
}

/* d, s: the ends */
ALWAYS_INLINE TARGET void
FN(copy_lines_down)(char *d, const char *s, size_t lines, enum line_kind kind, bool nt)
{
#ifdef HAVE_NT
	if (nt)
		for (; lines >= NT_GROUP; lines -= NT_GROUP) {
			d -= NT_GROUP * LINE;
			s -= NT_GROUP * LINE;
			nt_group(d, s);
		}
#endif
	for (; lines > 0; lines--) {
		d -= LINE;
		s -= LINE;
		FN(copy_line)(d, s, nt);
		if (!nt)
			ENGINE_FLUSH(d, kind);
		keep_order();
	}
}

/* From the start to the end; any length. C2: right when d lies before s, or behind its end. */
ALWAYS_INLINE TARGET void
FN(copy_up)(char *d, const char *s, size_t n, enum line_kind kind, bool nt, bool wc)
{
	size_t head = -(uintptr_t)d & (LINE - 1);

	if (head > n)
		head = n;
	if (head != 0) {
		FN(copy_piece)(d, s, head, kind, nt, true, wc);
		d += head;
		s += head;
		n -= head;
	}
	if (wc)
		for (; n >= WC_BLOCK + LINE; n -= WC_BLOCK, d += WC_BLOCK, s += WC_BLOCK) {
			FN(copy_lines_up)(d, s, WC_BLOCK / LINE, kind, nt);
			ENGINE_FENCE();
		}
	FN(copy_lines_up)(d, s, n / LINE, kind, nt);
	d += n & -(size_t)LINE;
	s += n & -(size_t)LINE;
	if ((n & (LINE - 1)) != 0)
		FN(copy_piece)(d, s, n & (LINE - 1), kind, nt, true, wc);
}

/* From the end to the start. C2: right when d lies inside the source. */
ALWAYS_INLINE TARGET void
FN(copy_down)(char *d, const char *s, size_t n, enum line_kind kind, bool nt, bool wc)
{
	size_t tail = (uintptr_t)(d + n) & (LINE - 1);

	d += n;
	s += n;
	if (tail > n)
		tail = n;
	if (tail != 0) {
		d -= tail;
		s -= tail;
		n -= tail;
		FN(copy_piece)(d, s, tail, kind, nt, false, true);
	}
	if (wc)
		for (; n >= WC_BLOCK + LINE; n -= WC_BLOCK, d -= WC_BLOCK, s -= WC_BLOCK) {
			FN(copy_lines_down)(d, s, WC_BLOCK / LINE, kind, nt);
			ENGINE_FENCE();
		}
	FN(copy_lines_down)(d, s, n / LINE, kind, nt);
	d -= n;
	s -= n;
	if ((n & (LINE - 1)) != 0)
		FN(copy_piece)(d, s, n & (LINE - 1), kind, nt, false, true);
}

ALWAYS_INLINE TARGET void
FN(set_lines)(char *d, uint64_t v, size_t lines, enum line_kind kind, bool nt)
{
	for (; lines >= 4; lines -= 4, d += 4 * LINE) {
		for (int i = 0; i < 4; i++) {
#ifdef HAVE_NT
			if (nt)
				nt_set_line(d + i * LINE, v);
			else
#endif
				FN(set_words)(d + i * LINE, v, LINE);
		}
		if (!nt)
			for (int i = 0; i < 4; i++)
				ENGINE_FLUSH(d + i * LINE, kind);
		keep_order();
	}
	for (; lines > 0; lines--, d += LINE) {
#ifdef HAVE_NT
		if (nt)
			nt_set_line(d, v);
		else
#endif
			FN(set_words)(d, v, LINE);
		if (!nt)
			ENGINE_FLUSH(d, kind);
		keep_order();
	}
}

ALWAYS_INLINE TARGET void
FN(set_up)(char *d, uint64_t v, size_t n, enum line_kind kind, bool nt, bool wc)
{
	size_t head = -(uintptr_t)d & (LINE - 1);

	if (head > n)
		head = n;
	if (head != 0) {
		FN(set_piece)(d, v, head, kind, nt, wc);
		d += head;
		n -= head;
	}
	if (wc)
		for (; n >= WC_BLOCK + LINE; n -= WC_BLOCK, d += WC_BLOCK) {
			FN(set_lines)(d, v, WC_BLOCK / LINE, kind, nt);
			ENGINE_FENCE();
		}
	FN(set_lines)(d, v, n / LINE, kind, nt);
	d += n & -(size_t)LINE;
	if ((n & (LINE - 1)) != 0)
		FN(set_piece)(d, v, n & (LINE - 1), kind, nt, wc);
}

/* --- what to do with a call ------------------------------------------------------------------------------------ */

ALWAYS_INLINE TARGET void
FN(flush_lines)(const char *d, size_t n, enum line_kind kind)
{
	size_t lines = n == 0 ? 0 : (((uintptr_t)d & (LINE - 1)) + n - 1) / LINE + 1;

	d = (const char *)((uintptr_t)d & -(uintptr_t)LINE);
	for (; lines > 0; lines--, d += LINE)
		ENGINE_FLUSH(d, kind);
}

ALWAYS_INLINE TARGET void
FN(drain)(enum line_kind kind)
{
	if (!STRONG(kind) || copy_settings.clflush_unordered)
		ENGINE_FENCE();
}

/* C4 */
ALWAYS_INLINE TARGET void
FN(fence_nt)(enum line_kind kind)
{
	if (kind == LINE_EMPTY || STRONG(kind))
		ENGINE_FENCE();
}

/* The ways out of line, for one kind; `then` is what follows, so that a call of one is always a jump. What is rare has
 * a function of its own, so that the usual way keeps all in registers. A copy onto itself stores nothing: the bytes may
 * be another thread's to change. */
#define THEN_DRAIN(kind) FN(drain)(kind)
#define THEN_NOTHING(kind) ((void)0)

#define COPY_WAYS(name, kind, then) \
	NOINLINE TARGET void *FN(copy_mov_down_##name)(char *d, const char *s, size_t n) \
	{ \
		if (d == s) \
			FN(flush_lines)(d, n, kind); \
		else \
			FN(copy_down)(d, s, n, kind, false, false); \
		then(kind); \
		return d; \
	} \
	NOINLINE TARGET void *FN(copy_mov_##name)(char *d, const char *s, size_t n) \
	{ \
		if (RARELY((uintptr_t)d - (uintptr_t)s < n)) \
			return FN(copy_mov_down_##name)(d, s, n); \
		if (n > LINE) \
			FN(copy_up)(d, s, n, kind, false, false); \
		else if (n != 0) \
			FN(copy_piece)(d, s, n, kind, false, true, false); \
		then(kind); \
		return d; \
	} \
	NOINLINE TARGET void *FN(set_mov_##name)(char *d, uint64_t v, size_t n) \
	{ \
		if (n > LINE) \
			FN(set_up)(d, v, n, kind, false, false); \
		else if (n != 0) \
			FN(set_piece)(d, v, n, kind, false, false); \
		then(kind); \
		return d; \
	}

#ifdef HAVE_NT
#define NT_WAYS(name, kind, then) \
	NOINLINE TARGET void *FN(copy_nt_rare_##name)(char *d, const char *s, size_t n) \
	{ \
		if (d == s) \
			FN(flush_lines)(d, n, kind); \
		else if ((uintptr_t)d - (uintptr_t)s < n) \
			FN(copy_down)(d, s, n, kind, true, WC_BARRIER); \
		else \
			FN(copy_up)(d, s, n, kind, true, true); \
		FN(fence_nt)(kind); \
		then(kind); \
		return d; \
	} \
	NOINLINE TARGET void *FN(copy_nt_##name)(char *d, const char *s, size_t n) \
	{ \
		if (RARELY((uintptr_t)d - (uintptr_t)s < n || WC_BARRIER)) \
			return FN(copy_nt_rare_##name)(d, s, n); \
		FN(copy_up)(d, s, n, kind, true, false); \
		FN(fence_nt)(kind); \
		then(kind); \
		return d; \
	} \
	NOINLINE TARGET void *FN(set_nt_##name)(char *d, uint64_t v, size_t n) \
	{ \
		if (RARELY(WC_BARRIER)) \
			FN(set_up)(d, v, n, kind, true, true); \
		else \
			FN(set_up)(d, v, n, kind, true, false); \
		FN(fence_nt)(kind); \
		then(kind); \
		return d; \
	}
#define NT_WAY(way, name) FN(way##_nt_##name)
#else
#define NT_WAYS(name, kind, then)
#define NT_WAY(way, name) FN(way##_mov_##name)
#endif

typedef void *FN(copy_fn)(char *d, const char *s, size_t n);
typedef void *FN(set_fn)(char *d, uint64_t v, size_t n);

/* Without a flag: by length; never past the cache when the cache is persistent. For a few words and a line the call of
 * a way would be noticed. */
ALWAYS_INLINE TARGET void *
FN(copy_default)(char *d, const char *s, size_t n, enum line_kind kind, bool drain, const char *trace, FN(copy_fn) *mov,
    FN(copy_fn) *nt)
{
	bool past = kind != LINE_EMPTY && CAN_NT && n >= copy_settings.nt_threshold;

	(void)trace;
	if (past)
		TRACE_NT("memmove", trace, d, s, n);
	else
		TRACE_MOV("memmove", trace, d, s, n);
	if (n > LINE || n == 0 || d == s)
		return past ? nt(d, s, n) : mov(d, s, n);
#ifdef HAVE_NT
	if (past && n == LINE && ((uintptr_t)d & (LINE - 1)) == 0)
		nt_line(d, s);
	else if (!past || (uintptr_t)d - (uintptr_t)s < n || !FN(copy_words_nt)(d, s, n, true))
#endif
	{
		FN(copy_small)(d, s, n);
		FN(flush_small)(d, n, kind);
	}
	if (past)
		FN(fence_nt)(kind);
	if (drain)
		FN(drain)(kind);
	return d;
}

ALWAYS_INLINE TARGET void *
FN(set_default)(char *d, uint64_t v, size_t n, enum line_kind kind, bool drain, const char *trace, FN(set_fn) *mov,
    FN(set_fn) *nt)
{
	bool past = kind != LINE_EMPTY && CAN_NT && n >= copy_settings.nt_threshold;

	(void)trace;
	if (past)
		TRACE_NT("memset", trace, d, NULL, n);
	else
		TRACE_MOV("memset", trace, d, NULL, n);
	if (n > LINE || n == 0)
		return past ? nt(d, v, n) : mov(d, v, n);
#ifdef HAVE_NT
	if (past && n == LINE && ((uintptr_t)d & (LINE - 1)) == 0)
		nt_set_line(d, v);
	else if (!past || !FN(set_words_nt)(d, v, n))
#endif
	{
		FN(set_small)(d, v, n);
		FN(flush_small)(d, n, kind);
	}
	if (past)
		FN(fence_nt)(kind);
	if (drain)
		FN(drain)(kind);
	return d;
}

/* What the flags say, looked at in this order: NOFLUSH; WC or NONTEMPORAL; WB or TEMPORAL. With persistent caches only
 * NONTEMPORAL goes past them. 1: past the cache, 0: through it, -1: no flag says. */
ALWAYS_INLINE int
FN(way)(unsigned flags, enum line_kind kind)
{
	if ((flags & (kind == LINE_EMPTY ? FLUSH_NONTEMPORAL : FLUSH_NONTEMPORAL | FLUSH_WC)) != 0)
		return CAN_NT;
	if ((flags & (FLUSH_TEMPORAL | FLUSH_WB)) != 0)
		return 0;
	return -1;
}

#define SPREAD(c) ((unsigned char)(c) * UINT64_C(0x0101010101010101))

/* The six functions of a table row. <name>: a way that leaves the drain to the caller, <name>_drain: one that drains. */
#define ENTRIES(name, kind) \
	static TARGET void *FN(copy_persist_##name)(void *dest, const void *src, size_t len) \
	{ \
		return FN(copy_default)(dest, src, len, kind, true, #name, FN(copy_mov_##name##_drain), \
		    NT_WAY(copy, name##_drain)); \
	} \
	static TARGET void *FN(copy_nodrain_##name)(void *dest, const void *src, size_t len) \
	{ \
		return FN(copy_default)(dest, src, len, kind, false, #name, FN(copy_mov_##name), NT_WAY(copy, name)); \
	} \
	static TARGET void *FN(set_persist_##name)(void *dest, int c, size_t len) \
	{ \
		return FN(set_default)(dest, SPREAD(c), len, kind, true, #name, FN(set_mov_##name##_drain), \
		    NT_WAY(set, name##_drain)); \
	} \
	static TARGET void *FN(set_nodrain_##name)(void *dest, int c, size_t len) \
	{ \
		return FN(set_default)(dest, SPREAD(c), len, kind, false, #name, FN(set_mov_##name), NT_WAY(set, name)); \
	} \
	static TARGET void *FN(copy_##name)(void *dest, const void *src, size_t len, unsigned flags) \
	{ \
		bool nodrain = (flags & FLUSH_NODRAIN) != 0; \
		int way = FN(way)(flags, kind); \
\
		if ((flags & FLUSH_NOFLUSH) != 0) { \
			TRACE_MOV("memmove", "noflush", dest, src, len); \
			return FN(copy_mov_empty)(dest, src, len); \
		} \
		if (way < 0) \
			return (nodrain ? FN(copy_nodrain_##name) : FN(copy_persist_##name))(dest, src, len); \
		if (way == 0) { \
			TRACE_MOV("memmove", #name, dest, src, len); \
			return (nodrain ? FN(copy_mov_##name) : FN(copy_mov_##name##_drain))(dest, src, len); \
		} \
		TRACE_NT("memmove", #name, dest, src, len); \
		return (nodrain ? NT_WAY(copy, name) : NT_WAY(copy, name##_drain))(dest, src, len); \
	} \
	static TARGET void *FN(set_##name)(void *dest, int c, size_t len, unsigned flags) \
	{ \
		bool nodrain = (flags & FLUSH_NODRAIN) != 0; \
		int way = FN(way)(flags, kind); \
		uint64_t v = SPREAD(c); \
\
		if ((flags & FLUSH_NOFLUSH) != 0) { \
			TRACE_MOV("memset", "noflush", dest, NULL, len); \
			return FN(set_mov_empty)(dest, v, len); \
		} \
		if (way < 0) \
			return (nodrain ? FN(set_nodrain_##name) : FN(set_persist_##name))(dest, c, len); \
		if (way == 0) { \
			TRACE_MOV("memset", #name, dest, NULL, len); \
			return (nodrain ? FN(set_mov_##name) : FN(set_mov_##name##_drain))(dest, v, len); \
		} \
		TRACE_NT("memset", #name, dest, NULL, len); \
		return (nodrain ? NT_WAY(set, name) : NT_WAY(set, name##_drain))(dest, v, len); \
	}

/* Where the fence is nothing, or the flush slow, the draining ways call the others. */
#define DRAINING_WAYS(name, kind) \
	static TARGET void *FN(copy_mov_##name##_drain)(char *d, const char *s, size_t n) \
	{ \
		FN(copy_mov_##name)(d, s, n); \
		FN(drain)(kind); \
		return d; \
	} \
	static TARGET void *FN(set_mov_##name##_drain)(char *d, uint64_t v, size_t n) \
	{ \
		FN(set_mov_##name)(d, v, n); \
		FN(drain)(kind); \
		return d; \
	} \
	NT_DRAINING_WAYS(name, kind)

#ifdef HAVE_NT
#define NT_DRAINING_WAYS(name, kind) \
	static TARGET void *FN(copy_nt_##name##_drain)(char *d, const char *s, size_t n) \
	{ \
		FN(copy_nt_##name)(d, s, n); \
		FN(drain)(kind); \
		return d; \
	} \
	static TARGET void *FN(set_nt_##name##_drain)(char *d, uint64_t v, size_t n) \
	{ \
		FN(set_nt_##name)(d, v, n); \
		FN(drain)(kind); \
		return d; \
	}
#else
#define NT_DRAINING_WAYS(name, kind)
#endif

#define SLOW_KIND(name, kind) \
	COPY_WAYS(name, kind, THEN_NOTHING) \
	NT_WAYS(name, kind, THEN_NOTHING) \
	DRAINING_WAYS(name, kind) \
	ENTRIES(name, kind)
/* The one kind of all new CPUs. */
#define KIND(name, kind) \
	COPY_WAYS(name, kind, THEN_NOTHING) \
	COPY_WAYS(name##_drain, kind, THEN_DRAIN) \
	NT_WAYS(name, kind, THEN_NOTHING) \
	NT_WAYS(name##_drain, kind, THEN_DRAIN) \
	ENTRIES(name, kind)
#define ROW(name) \
	{ \
		FN(copy_persist_##name), FN(copy_nodrain_##name), FN(copy_##name), FN(set_persist_##name), \
		    FN(set_nodrain_##name), FN(set_##name), \
	}

SLOW_KIND(empty, LINE_EMPTY)
#if defined(__x86_64__)
SLOW_KIND(clflush, LINE_CLFLUSH)
SLOW_KIND(clflushopt, LINE_CLFLUSHOPT)
KIND(clwb, LINE_CLWB)

const struct copy_ops FN(copy)[LINE_KINDS] = {
	[LINE_EMPTY] = ROW(empty),
	[LINE_CLFLUSH] = ROW(clflush),
	[LINE_CLFLUSHOPT] = ROW(clflushopt),
	[LINE_CLWB] = ROW(clwb),
};
#else
SLOW_KIND(arch, LINE_ARCH)

const struct copy_ops FN(copy)[LINE_KINDS] = {
	[LINE_EMPTY] = ROW(empty),
	[LINE_ARCH] = ROW(arch),
};
#endif
