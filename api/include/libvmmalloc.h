/* libvmmalloc.h -- the malloc family with its heap in a memory-mapped file
 *
 * Preload libvmmalloc.so.1, or link with -lvmmalloc, and every block of the program comes from a pool: an unnamed
 * file of VMMALLOC_POOL_SIZE bytes in the directory VMMALLOC_POOL_DIR, both taken from the environment. See
 * libvmmalloc(7). All functions may be called by any thread; those that fail return NULL with errno ENOMEM or EINVAL.
 */
#ifndef LIBVMMALLOC_H
#define LIBVMMALLOC_H 1

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMMALLOC_MAJOR_VERSION 1
#define VMMALLOC_MINOR_VERSION 1

#define VMMALLOC_MIN_POOL ((size_t)(1024 * 1024 * 14)) /* least VMMALLOC_POOL_SIZE, in bytes */

#if defined(__GNUC__)
#define __ATTR_MALLOC__ __attribute__((malloc))
#define __ATTR_NONNULL__(x) __attribute__((nonnull(x)))
#else
#define __ATTR_MALLOC__
#define __ATTR_NONNULL__(x)
#endif

#if defined(__clang__) || (defined(__GNUC__) && (__GNUC__ > 4 || (__GNUC__ == 4 && __GNUC_MINOR__ >= 3)))
#define __ATTR_ALLOC_SIZE__(...) __attribute__((alloc_size(__VA_ARGS__)))
#else
#define __ATTR_ALLOC_SIZE__(...)
#endif

#if defined(__GNUC__) && !defined(__clang__) && (__GNUC__ > 4 || (__GNUC__ == 4 && __GNUC_MINOR__ >= 9))
#define __ATTR_ALLOC_ALIGN__(x) __attribute__((alloc_align(x)))
#else
#define __ATTR_ALLOC_ALIGN__(x)
#endif

/* The C library's own headers declare these as not throwing: C++ wants every declaration to agree. */
#ifdef __THROW
#define __ATTR_NOTHROW__ __THROW
#else
#define __ATTR_NOTHROW__
#endif

extern void *malloc(size_t size) __ATTR_NOTHROW__ __ATTR_MALLOC__ __ATTR_ALLOC_SIZE__(1);
extern void *calloc(size_t nmemb, size_t size) __ATTR_NOTHROW__ __ATTR_MALLOC__ __ATTR_ALLOC_SIZE__(1, 2);
extern void *realloc(void *ptr, size_t size) __ATTR_NOTHROW__ __ATTR_ALLOC_SIZE__(2);
extern void free(void *ptr) __ATTR_NOTHROW__;
extern void cfree(void *ptr) __ATTR_NOTHROW__;

extern int posix_memalign(void **memptr, size_t alignment, size_t size) __ATTR_NOTHROW__ __ATTR_NONNULL__(1);
extern void *memalign(size_t boundary, size_t size) __ATTR_NOTHROW__ __ATTR_MALLOC__ __ATTR_ALLOC_ALIGN__(1)
	__ATTR_ALLOC_SIZE__(2);
extern void *aligned_alloc(size_t alignment, size_t size) __ATTR_NOTHROW__ __ATTR_MALLOC__ __ATTR_ALLOC_ALIGN__(1)
	__ATTR_ALLOC_SIZE__(2);
extern void *valloc(size_t size) __ATTR_NOTHROW__ __ATTR_MALLOC__ __ATTR_ALLOC_SIZE__(1);
extern void *pvalloc(size_t size) __ATTR_NOTHROW__ __ATTR_MALLOC__;

extern size_t malloc_usable_size(void *ptr) __ATTR_NOTHROW__;

#ifdef __cplusplus
}
#endif

#endif
