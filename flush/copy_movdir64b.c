/* copy_movdir64b.c -- whole lines by direct store, the rest 16 bytes at a time
 *
 * Owns:   nothing.
 * Rules:  flush/copy_bytes_impl.h, flush/copy_ways_impl.h. Nothing here needs AVX: there are CPUs with MOVDIR64B and
 *         without AVX-512.
 * Locks:  none.
 * Media:  none of its own.
 * Fails:  on a CPU without MOVDIR64B the first instruction traps: flush_x86_64.c looks first.
 */
#include "flush/x86.h"

#define ENGINE movdir64b
#define TARGET
#define WIDTH 16
#define NO_WC_BARRIER /* a direct store is a whole line: no buffer is waiting to be filled */

/* movdir64b (%rsi), %rdi, in bytes: assemblers of 2018 do not know the name. Both operands are whole lines. */
ALWAYS_INLINE void
nt_line(char *d, const char *s)
{
	__asm__ volatile(".byte 0x66, 0x0f, 0x38, 0xf8, 0x3e"
	                 : "=m"(*(line_bytes *)d)
	                 : "D"(d), "S"(s), "m"(*(const line_bytes *)s));
}

ALWAYS_INLINE void
nt_set_line(char *d, uint64_t v)
{
	v16 line[LINE / 16] = {dup16(v), dup16(v), dup16(v), dup16(v)};

	nt_line(d, (const char *)line);
}

#include "flush/copy_bytes_impl.h"
#include "flush/copy_ways_impl.h"
