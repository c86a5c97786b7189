/* pmem_loops.h -- what libpmem is measured against: the widest plain loops, and glibc with flushes; x86-64
 *
 * NT: non-temporal stores, where destination and length are multiples of 8; ragged parts of a line go through the cache. WB:
 * stores through the cache and write-back of each line. Neither keeps libpmem's promise about words, or lets source and
 * destination overlap, nor looks at the environment: they are the limit, not a library.
 */
#ifndef TESTS_BENCH_PMEM_LOOPS_H
#define TESTS_BENCH_PMEM_LOOPS_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define AVX512 __attribute__((target("avx512f,clwb,clflushopt")))
#define AVX __attribute__((target("avx,clwb,clflushopt")))

static bool has_clwb; /* set before the first call */

static inline void
write_back(const void *p)
{
	if (has_clwb)
		__asm__ volatile("clwb %0" : "+m"(*(char *)(uintptr_t)p) : : "memory");
	else
		__asm__ volatile("clflushopt %0" : "+m"(*(char *)(uintptr_t)p) : : "memory");
}

static inline void
small_copy(char *d, const char *s, size_t n)
{
	if (n >= 32) {
		__m128i a = _mm_loadu_si128((const void *)s), b = _mm_loadu_si128((const void *)(s + 16));
		__m128i c = _mm_loadu_si128((const void *)(s + n - 32)),
			e = _mm_loadu_si128((const void *)(s + n - 16));

		_mm_storeu_si128((void *)d, a);
		_mm_storeu_si128((void *)(d + 16), b);
		_mm_storeu_si128((void *)(d + n - 32), c);
		_mm_storeu_si128((void *)(d + n - 16), e);
	} else if (n >= 16) {
		__m128i a = _mm_loadu_si128((const void *)s), b = _mm_loadu_si128((const void *)(s + n - 16));

		_mm_storeu_si128((void *)d, a);
		_mm_storeu_si128((void *)(d + n - 16), b);
	} else if (n >= 8) {
		uint64_t a, b;

		memcpy(&a, s, 8);
		memcpy(&b, s + n - 8, 8);
		memcpy(d, &a, 8);
		memcpy(d + n - 8, &b, 8);
	} else {
		for (size_t i = 0; i < n; i++)
			((volatile char *)d)[i] = s[i];
	}
}

/* Part of a line, through the cache. */
static inline void
ragged_copy(char *d, const char *s, size_t n)
{
	small_copy(d, s, n);
	write_back(d);
	if ((((uintptr_t)d ^ (uintptr_t)(d + n - 1)) & ~(uintptr_t)63) != 0)
		write_back(d + n - 1);
}

static inline void
ragged_copy_nt(char *d, const char *s, size_t n)
{
	if ((((uintptr_t)d | n) & 7) != 0) {
		ragged_copy(d, s, n);
		return;
	}
	for (size_t i = 0; i < n; i += 8)
		_mm_stream_si64((long long *)(void *)(d + i), *(const long long *)(const void *)(s + i));
}

#define LOOPS(isa, TARGET, LINE_LOAD, LINE_STORE, LINE_STREAM)                                                         \
	TARGET static inline __attribute__((always_inline)) void nt_##isa(char *d, const char *s, size_t n)            \
	{                                                                                                              \
		size_t head = -(uintptr_t)d & 63;                                                                      \
                                                                                                                       \
		if (head != 0) {                                                                                       \
			head = head < n ? head : n;                                                                    \
			ragged_copy_nt(d, s, head);                                                                    \
			d += head, s += head, n -= head;                                                               \
		}                                                                                                      \
		for (; n >= 64; d += 64, s += 64, n -= 64) {                                                           \
			LINE_LOAD(s);                                                                                  \
			LINE_STREAM(d);                                                                                \
		}                                                                                                      \
		if (n != 0)                                                                                            \
			ragged_copy_nt(d, s, n);                                                                       \
	}                                                                                                              \
	TARGET static inline __attribute__((always_inline)) void wb_##isa(char *d, const char *s, size_t n)            \
	{                                                                                                              \
		size_t head = -(uintptr_t)d & 63;                                                                      \
                                                                                                                       \
		if (n < 64) {                                                                                          \
			ragged_copy(d, s, n);                                                                          \
			return;                                                                                        \
		}                                                                                                      \
		if (head != 0) {                                                                                       \
			ragged_copy(d, s, head);                                                                       \
			d += head, s += head, n -= head;                                                               \
		}                                                                                                      \
		for (; n >= 64; d += 64, s += 64, n -= 64) {                                                           \
			LINE_LOAD(s);                                                                                  \
			LINE_STORE(d);                                                                                 \
			write_back(d);                                                                                 \
		}                                                                                                      \
		if (n != 0)                                                                                            \
			ragged_copy(d, s, n);                                                                          \
	}                                                                                                              \
	TARGET static void *nt_persist_##isa(void *d, const void *s, size_t n)                                         \
	{                                                                                                              \
		nt_##isa(d, s, n);                                                                                     \
		_mm_sfence();                                                                                          \
		return d;                                                                                              \
	}                                                                                                              \
	TARGET static void *nt_nodrain_##isa(void *d, const void *s, size_t n)                                         \
	{                                                                                                              \
		nt_##isa(d, s, n);                                                                                     \
		return d;                                                                                              \
	}                                                                                                              \
	TARGET static void *wb_persist_##isa(void *d, const void *s, size_t n)                                         \
	{                                                                                                              \
		wb_##isa(d, s, n);                                                                                     \
		_mm_sfence();                                                                                          \
		return d;                                                                                              \
	}                                                                                                              \
	TARGET static void *wb_nodrain_##isa(void *d, const void *s, size_t n)                                         \
	{                                                                                                              \
		wb_##isa(d, s, n);                                                                                     \
		return d;                                                                                              \
	}

#define LOAD_512(s) __m512i v = _mm512_loadu_si512(s)
#define STORE_512(d) _mm512_store_si512(d, v)
#define STREAM_512(d) _mm512_stream_si512((void *)(d), v)
#define LOAD_256(s) __m256i v = _mm256_loadu_si256((const void *)(s)), w = _mm256_loadu_si256((const void *)((s) + 32))
#define STORE_256(d) (_mm256_store_si256((void *)(d), v), _mm256_store_si256((void *)((d) + 32), w))
#define STREAM_256(d) (_mm256_stream_si256((void *)(d), v), _mm256_stream_si256((void *)((d) + 32), w))

LOOPS(avx512, AVX512, LOAD_512, STORE_512, STREAM_512)
LOOPS(avx, AVX, LOAD_256, STORE_256, STREAM_256)

/* Setting is copying from a line in a register. */
static inline void
ragged_set(char *d, int c, size_t n, bool nt)
{
	uint64_t v = (unsigned char)c * UINT64_C(0x0101010101010101);
	char line[64];

	if (nt && (((uintptr_t)d | n) & 7) == 0) {
		for (size_t i = 0; i < n; i += 8)
			_mm_stream_si64((long long *)(void *)(d + i), (long long)v);
		return;
	}
	for (int i = 0; i < 64; i += 16)
		_mm_storeu_si128((void *)(line + i), _mm_set1_epi64x((long long)v));
	ragged_copy(d, line, n);
}

#define SET_LOOPS(isa, TARGET, VALUE, STORE, STREAM)                                                                   \
	TARGET static inline __attribute__((always_inline)) void set_##isa(char *d, int c, size_t n, bool nt)          \
	{                                                                                                              \
		size_t head = -(uintptr_t)d & 63;                                                                      \
                                                                                                                       \
		if (n < 64 && !nt) {                                                                                   \
			ragged_set(d, c, n, false);                                                                    \
			return;                                                                                        \
		}                                                                                                      \
		if (head != 0) {                                                                                       \
			head = head < n ? head : n;                                                                    \
			ragged_set(d, c, head, nt);                                                                    \
			d += head, n -= head;                                                                          \
		}                                                                                                      \
		VALUE(c);                                                                                              \
		for (; n >= 64; d += 64, n -= 64) {                                                                    \
			if (nt) {                                                                                      \
				STREAM(d);                                                                             \
			} else {                                                                                       \
				STORE(d);                                                                              \
				write_back(d);                                                                         \
			}                                                                                              \
		}                                                                                                      \
		if (n != 0)                                                                                            \
			ragged_set(d, c, n, nt);                                                                       \
	}                                                                                                              \
	TARGET static void *nt_set_persist_##isa(void *d, int c, size_t n)                                             \
	{                                                                                                              \
		set_##isa(d, c, n, true);                                                                              \
		_mm_sfence();                                                                                          \
		return d;                                                                                              \
	}                                                                                                              \
	TARGET static void *nt_set_nodrain_##isa(void *d, int c, size_t n)                                             \
	{                                                                                                              \
		set_##isa(d, c, n, true);                                                                              \
		return d;                                                                                              \
	}                                                                                                              \
	TARGET static void *wb_set_persist_##isa(void *d, int c, size_t n)                                             \
	{                                                                                                              \
		set_##isa(d, c, n, false);                                                                             \
		_mm_sfence();                                                                                          \
		return d;                                                                                              \
	}                                                                                                              \
	TARGET static void *wb_set_nodrain_##isa(void *d, int c, size_t n)                                             \
	{                                                                                                              \
		set_##isa(d, c, n, false);                                                                             \
		return d;                                                                                              \
	}

#define VALUE_512(c) __m512i v = _mm512_set1_epi32((unsigned char)(c)*0x01010101)
#define VALUE_256(c) __m256i v = _mm256_set1_epi8((char)(c)), w = v

SET_LOOPS(avx512, AVX512, VALUE_512, STORE_512, STREAM_512)
SET_LOOPS(avx, AVX, VALUE_256, STORE_256, STREAM_256)

static void
loop_flush(const void *p, size_t n)
{
	for (uintptr_t line = (uintptr_t)p & ~(uintptr_t)63; line < (uintptr_t)p + n; line += 64)
		write_back((void *)line);
}

static void
loop_drain(void)
{
	_mm_sfence();
}

static void
loop_persist(const void *p, size_t n)
{
	loop_flush(p, n);
	_mm_sfence();
}

static void *
glibc_copy_persist(void *d, const void *s, size_t n)
{
	memcpy(d, s, n);
	loop_persist(d, n);
	return d;
}

static void *
glibc_copy_nodrain(void *d, const void *s, size_t n)
{
	memcpy(d, s, n);
	loop_flush(d, n);
	return d;
}

static void *
glibc_set_persist(void *d, int c, size_t n)
{
	memset(d, c, n);
	loop_persist(d, n);
	return d;
}

static void *
glibc_set_nodrain(void *d, int c, size_t n)
{
	memset(d, c, n);
	loop_flush(d, n);
	return d;
}

#endif
