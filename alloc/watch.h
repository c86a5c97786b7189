/* watch.h -- block boundaries told to memcheck, or to AddressSanitizer
 *
 * memcheck is told by client requests: a few instructions that do nothing outside of valgrind, from a header that is
 * needed at build time only. AddressSanitizer is told where the library itself was built with it. Who has neither
 * compiles to nothing.
 *
 * Media:  none; nothing here touches the memory that it speaks of.
 */
#ifndef ALLOC_WATCH_H
#define ALLOC_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define WATCH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WATCH_ASAN 1
#endif
#endif
#ifndef WATCH_ASAN
#define WATCH_ASAN 0
#endif

#if WATCH_ASAN
#include <sanitizer/asan_interface.h>
#endif

#if defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#define WATCH_MEMCHECK 1
#endif
#endif
#ifndef WATCH_MEMCHECK
#define WATCH_MEMCHECK 0
#endif

/* Bytes kept between two blocks, so that running over one is seen. */
#define WATCH_REDZONE ((size_t)16)

/* The program runs under memcheck; no other tool of valgrind answers this request. */
static inline bool
watch_memcheck(void)
{
#if WATCH_MEMCHECK
	char byte = 0;

	(void)byte; /* the request is nothing on machines that valgrind does not know */
	return VALGRIND_MAKE_MEM_DEFINED(&byte, 1) != 0;
#else
	return false;
#endif
}

/* Nobody may touch this. */
static inline void
watch_close(const void *p, size_t size)
{
#if WATCH_ASAN
	__asan_poison_memory_region(p, size);
#endif
#if WATCH_MEMCHECK
	(void)VALGRIND_MAKE_MEM_NOACCESS(p, size);
#endif
	(void)p;
	(void)size;
}

/* Anybody may; what it holds means something (`defined`: what is written back at close is read by the kernel) or not. */
static inline void
watch_open(const void *p, size_t size, bool defined)
{
#if WATCH_ASAN
	__asan_unpoison_memory_region(p, size);
#endif
#if WATCH_MEMCHECK
	if (defined)
		(void)VALGRIND_MAKE_MEM_DEFINED(p, size);
	else
		(void)VALGRIND_MAKE_MEM_UNDEFINED(p, size);
#endif
	(void)p;
	(void)size;
	(void)defined;
}

/* A block of `size` bytes is the program's; with `defined` it holds something already. */
static inline void
watch_block(const void *p, size_t size, bool defined)
{
#if WATCH_ASAN
	__asan_unpoison_memory_region(p, size);
#endif
#if WATCH_MEMCHECK
	VALGRIND_MALLOCLIKE_BLOCK(p, size, 0, defined); /* no redzone of its own: it would lie in the block before */
#endif
	(void)p;
	(void)size;
	(void)defined;
}

/* And is no more. */
static inline void
watch_block_end(const void *p, size_t size)
{
#if WATCH_ASAN
	__asan_poison_memory_region(p, size);
#endif
#if WATCH_MEMCHECK
	VALGRIND_FREELIKE_BLOCK(p, 0);
#endif
	(void)p;
	(void)size;
}

#endif
