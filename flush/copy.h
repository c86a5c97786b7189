/* copy.h -- the copy and set engines, one table per width and way of write-back
 *
 * Each engine is flush/copy_bytes_impl.h and flush/copy_ways_impl.h over other primitives. Which one serves is decided in
 * flush_<arch>.c.
 */
#ifndef FLUSH_COPY_H
#define FLUSH_COPY_H

#include <stdbool.h>
#include <stddef.h>

#include "flush/flush.h"
#include "flush/line.h"

struct copy_ops {
	void *(*copy_persist)(void *dest, const void *src, size_t len);
	void *(*copy_nodrain)(void *dest, const void *src, size_t len);
	void *(*copy)(void *dest, const void *src, size_t len, unsigned flags);
	void *(*set_persist)(void *dest, int c, size_t len);
	void *(*set_nodrain)(void *dest, int c, size_t len);
	void *(*set)(void *dest, int c, size_t len, unsigned flags);
};

/* Constant after flush_init. */
struct copy_settings {
	/* Shorter ones go through the cache, unless a flag says otherwise. */
	size_t nt_threshold;     /* bytes, where address and length are multiples of 8 */
	size_t nt_odd_threshold; /* bytes, elsewhere: their ends go through the cache in any case */
	bool wc_barrier;         /* a fence after each WC_BLOCK bytes past the cache (SSE2 and AVX only) */
	bool clflush_unordered;  /* CLFLUSH needs a fence too */
};
extern struct copy_settings copy_settings __attribute__((visibility("hidden"))); /* read without the GOT */

#ifdef PMHEAP_DEBUG
/* Tells flush_trace about the routine <prefix><name><suffix>. */
void copy_trace(const char *file, int line, const char *prefix, const char *name, const char *suffix, const void *dest,
    const void *src, size_t len);
#endif

/* Indexed by enum line_kind. */
extern const struct copy_ops copy_generic[LINE_KINDS];
extern const struct copy_ops copy_libc[LINE_KINDS];
#if defined(__x86_64__)
extern const struct copy_ops copy_sse2[LINE_KINDS];
extern const struct copy_ops copy_avx[LINE_KINDS];
extern const struct copy_ops copy_avx512f[LINE_KINDS];
extern const struct copy_ops copy_movdir64b[LINE_KINDS];
#endif

#endif
