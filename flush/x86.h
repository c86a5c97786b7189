/* x86.h -- the vector loads and stores of the x86-64 copy engines, each with the function attribute it needs */
#ifndef FLUSH_X86_H
#define FLUSH_X86_H

#include <immintrin.h>

#include "flush/scalar.h"

typedef __m128i v16;
typedef __m256i v32;
typedef __m512i v64;

#define AVX __attribute__((target("avx")))
#define AVX512F __attribute__((target("avx512f")))

/* Stores take a multiple of 8, the nt ones a multiple of their width. */
#define ld16(p) _mm_loadu_si128((const v16 *)(const void *)(p))
#define st16(p, v) _mm_storeu_si128((v16 *)(void *)(p), v)
#define dup16(v) _mm_set1_epi64x((long long)(v))
#define nt8(p, v) _mm_stream_si64((long long *)(void *)(p), (long long)(v))
#define nt16(p, v) _mm_stream_si128((v16 *)(void *)(p), v)

#define ld32(p) _mm256_loadu_si256((const v32 *)(const void *)(p))
#define st32(p, v) _mm256_storeu_si256((v32 *)(void *)(p), v)
#define dup32(v) _mm256_set1_epi64x((long long)(v))
#define nt32(p, v) _mm256_stream_si256((v32 *)(void *)(p), v)

#define ld64(p) _mm512_loadu_si512((const void *)(p))
#define st64(p, v) _mm512_storeu_si512((void *)(p), v)
#define dup64(v) _mm512_set1_epi64((long long)(v))
#define nt64(p, v) _mm512_stream_si512((v64 *)(void *)(p), v)

#define HAVE_NT

#endif
