/* scalar.h -- the loads and stores of up to 8 bytes that all copy engines share
 *
 * Rules:  the stores are volatile: no compiler merges, splits, repeats or turns a loop of them into a call of memcpy.
 *         st8 takes a multiple of 8 and is one store on every architecture; the others any address.
 */
#ifndef FLUSH_SCALAR_H
#define FLUSH_SCALAR_H

#include <stdint.h>
#include <string.h>

#include "flush/line.h"

#define SCALAR(bits, bytes) \
	typedef uint##bits##_t __attribute__((may_alias, aligned(1))) any##bits; \
	ALWAYS_INLINE uint##bits##_t ld##bytes(const char *p) \
	{ \
		return *(const any##bits *)p; \
	} \
	ALWAYS_INLINE void st##bytes##u(char *p, uint##bits##_t v) \
	{ \
		*(volatile any##bits *)p = v; \
	}

SCALAR(8, 1)
SCALAR(16, 2)
SCALAR(32, 4)
SCALAR(64, 8)

typedef uint64_t __attribute__((may_alias)) word;

ALWAYS_INLINE void
st8(char *p, uint64_t v)
{
	*(volatile word *)p = v;
}

/* Between lines: keeps the compiler from treating a loop over them as one block copy. */
ALWAYS_INLINE void
keep_order(void)
{
	__asm__ volatile("" : : : "memory");
}

#define ENGINE_FLUSH(p, kind) line_flush(p, kind)
#define ENGINE_FENCE() line_fence()

#endif
