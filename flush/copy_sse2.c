/* copy_sse2.c -- copies 16 bytes at a time; every x86-64 CPU can
 *
 * Owns:   nothing.
 * Rules:  flush/copy_bytes_impl.h, flush/copy_ways_impl.h
 * Locks:  none.
 * Media:  none of its own.
 * Fails:  never.
 */
#include "flush/x86.h"

#define ENGINE sse2
#define TARGET
#define WIDTH 16

ALWAYS_INLINE void
nt_line(char *d, const char *s)
{
	v16 a = ld16(s), b = ld16(s + 16), c = ld16(s + 32), e = ld16(s + 48);

	nt16(d, a);
	nt16(d + 16, b);
	nt16(d + 32, c);
	nt16(d + 48, e);
}

ALWAYS_INLINE void
nt_set_line(char *d, uint64_t v)
{
	for (int i = 0; i < LINE; i += 16)
		nt16(d + i, dup16(v));
}

#include "flush/copy_bytes_impl.h"
#include "flush/copy_ways_impl.h"
