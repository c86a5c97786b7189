/* copy_libc.c -- libc's memmove and memset, then write-back: asked for by PMEM_NO_GENERIC_MEMCPY alone
 *
 * Owns:   nothing.
 * Rules:  no promise about words: libc gives none.
 * Locks:  none.
 * Media:  none of its own.
 * Fails:  never.
 */
#include <string.h>

#include "flush/copy.h"

#ifdef PMHEAP_DEBUG
#define TRACE(op, name, d, s, n) copy_trace(__FILE__, __LINE__, op "_libc_", name, "", d, s, n)
#else
#define TRACE(op, name, d, s, n) ((void)0)
#endif

#define KIND(name, kind) \
	static void *copy_##name(void *dest, const void *src, size_t len, unsigned flags) \
	{ \
		TRACE("memmove", #name, dest, src, len); \
		memmove(dest, src, len); \
		if ((flags & FLUSH_NOFLUSH) == 0) { \
			line_flush_range(dest, len, kind); \
			if ((flags & FLUSH_NODRAIN) == 0) \
				line_fence(); \
		} \
		return dest; \
	} \
	static void *copy_persist_##name(void *dest, const void *src, size_t len) \
	{ \
		return copy_##name(dest, src, len, 0); \
	} \
	static void *copy_nodrain_##name(void *dest, const void *src, size_t len) \
	{ \
		return copy_##name(dest, src, len, FLUSH_NODRAIN); \
	} \
	static void *set_##name(void *dest, int c, size_t len, unsigned flags) \
	{ \
		TRACE("memset", #name, dest, NULL, len); \
		memset(dest, c, len); \
		if ((flags & FLUSH_NOFLUSH) == 0) { \
			line_flush_range(dest, len, kind); \
			if ((flags & FLUSH_NODRAIN) == 0) \
				line_fence(); \
		} \
		return dest; \
	} \
	static void *set_persist_##name(void *dest, int c, size_t len) \
	{ \
		return set_##name(dest, c, len, 0); \
	} \
	static void *set_nodrain_##name(void *dest, int c, size_t len) \
	{ \
		return set_##name(dest, c, len, FLUSH_NODRAIN); \
	}
#define ROW(name) \
	{ \
		copy_persist_##name, copy_nodrain_##name, copy_##name, set_persist_##name, set_nodrain_##name, set_##name, \
	}

KIND(empty, LINE_EMPTY)
#if defined(__x86_64__)
KIND(clflush, LINE_CLFLUSH)
KIND(clflushopt, LINE_CLFLUSHOPT)
KIND(clwb, LINE_CLWB)

const struct copy_ops copy_libc[LINE_KINDS] = {
	[LINE_EMPTY] = ROW(empty),
	[LINE_CLFLUSH] = ROW(clflush),
	[LINE_CLFLUSHOPT] = ROW(clflushopt),
	[LINE_CLWB] = ROW(clwb),
};
#else
KIND(arch, LINE_ARCH)

const struct copy_ops copy_libc[LINE_KINDS] = {
	[LINE_EMPTY] = ROW(empty),
	[LINE_ARCH] = ROW(arch),
};
#endif
