/* copy_avx512.c -- copies a line at a time
 *
 * Owns:   nothing.
 * Rules:  flush/copy_bytes_impl.h, flush/copy_ways_impl.h
 * Locks:  none.
 * Media:  none of its own.
 * Fails:  on a CPU, or under a kernel, without AVX-512 the first instruction traps: flush_x86_64.c looks first.
 */
#include "flush/x86.h"

#define ENGINE avx512f
#define TARGET AVX512F
#define WIDTH 64

ALWAYS_INLINE AVX512F void
nt_line(char *d, const char *s)
{
	nt64(d, ld64(s));
}

ALWAYS_INLINE AVX512F void
nt_set_line(char *d, uint64_t v)
{
	nt64(d, dup64(v));
}

#include "flush/copy_bytes_impl.h"
#include "flush/copy_ways_impl.h"
