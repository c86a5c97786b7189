/* copy_bytes_impl.h -- how bytes are copied and set, written once
 *
 * Included by the file of each width, copy_ways_impl.h behind it.
 * The including file defines
 *   ENGINE        name, ends up in the table copy_<ENGINE>
 *   TARGET        function attribute that allows the instructions below
 *   WIDTH         bytes of the widest store: 8, 16, 32 or 64
 *   ld8 st8 ld16 st16 ... up to WIDTH: loads from any address, stores to a multiple of 8
 *   dup16 ... up to WIDTH: that many bytes out of a uint64_t
 *   nt8           store past the cache, multiple of 8; only with HAVE_NT
 *   nt_line       a line past the cache from any address; nt_set_line the same from a word repeated; with HAVE_NT
 *   ENGINE_FLUSH(p, kind), ENGINE_FENCE(): of line.h, or the recording ones of tests/flush_record.c
 *
 * Rules:  C1  an aligned word that lies wholly inside the destination is written by one store of it before any other
 *             store touches a part of it. So the middle goes first, at multiples of 8, and the ragged ends come as
 *             8-byte stores that overlap words which are new already. No vector store starts at an odd address: CPUs
 *             that execute it in two halves would cut a word.
 *         C2  in a piece of up to a line all loads come before all stores; longer moves go from the end that the
 *             overlap leaves intact.
 *         C3  a line is flushed after the last store to it, each line once. Lines stored past the cache are not flushed.
 * Media:  none of its own.
 * Fails:  never.
 */
#include <stdint.h>

#include "flush/copy.h"

#define CAT3_(a, b, c) a##b##c
#define CAT3(a, b, c) CAT3_(a, b, c)
#define FN(name) CAT3(name, _, ENGINE)
#define NOINLINE static __attribute__((noinline))

/* 12 lines: the write-combining buffers of the CPUs that want the barrier */
#define WC_BLOCK 768

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

/* 1 to 64 bytes; past the cache at most 63, inside one line. The flags are constants wherever these are used:
 * nt: past the cache where whole words allow it; up: from the start, as the overlap wants; rare: by a call. */
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

/* d: a multiple of LINE */
ALWAYS_INLINE TARGET void
FN(copy_lines_up)(char *d, const char *s, size_t lines, enum line_kind kind, bool nt)
{
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
