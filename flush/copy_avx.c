/* copy_avx.c -- copies 32 bytes at a time
 *
 * Owns:   nothing.
 * Rules:  flush/copy_bytes_impl.h, flush/copy_ways_impl.h
 * Locks:  none.
 * Media:  none of its own.
 * Fails:  on a CPU, or under a kernel, without AVX the first instruction traps: flush_x86_64.c looks first.
 */
#include "flush/x86.h"

#define ENGINE avx
#define TARGET AVX
#define WIDTH 32

ALWAYS_INLINE AVX void
nt_line(char *d, const char *s)
{
	v32 a = ld32(s), b = ld32(s + 32);

	nt32(d, a);
	nt32(d + 32, b);
}

ALWAYS_INLINE AVX void
nt_set_line(char *d, uint64_t v)
{
	nt32(d, dup32(v));
	nt32(d + 32, dup32(v));
}

#include "flush/copy_bytes_impl.h"
#include "flush/copy_ways_impl.h"
