/* malloc.c -- the malloc family: the eleven published names, and C23's and glibc's others
 *
 * Owns:   nothing; decides for each pointer where it belongs.
 * Rules:  A1  a pointer in the pool is the heap's; in bootstrap memory, the bootstrap's; any other came from libc's
 *             own malloc (dlmopen, RTLD_DEEPBIND, code that ran before us) and goes back there (foreign.h).
 *         A2  the fast paths look at the thread's cell and nothing else. Whatever is out of the ordinary (no pool yet,
 *             no cache yet, fork handlers running) keeps the dummy cache in the cell, which always declines.
 *         A3  errno is set on failure only; free keeps it.
 *         A4  every name but the eleven published ones is weak.
 * Locks:  none.
 * Media:  process only.
 * Fails:  NULL with ENOMEM or EINVAL. A pointer that cannot be a live block stops the process with one line.
 */
#include "api/include/libvmmalloc.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "alloc/heap.h"
#include "alloc/os.h"
#include "api/common/log.h"
#include "api/common/os.h"
#include "api/vmmalloc/bootstrap.h"
#include "api/vmmalloc/foreign.h"
#include "api/vmmalloc/fork.h"
#include "api/vmmalloc/heap_ref.h"
#include "api/vmmalloc/thread.h"

#define EXPORT __attribute__((visibility("default")))
#define EXTRA __attribute__((visibility("default"), weak))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define NOINLINE __attribute__((noinline))

#define CELL (&vmmalloc_thread.cell)
#define MIN_ALIGN ((size_t)16)

/* --- slow paths: where does it come from, where does it go ---------------------------------------------------- */

/* The heap, when this thread may use it now. */
static struct heap *
usable_heap(void)
{
	struct heap *heap = heap_ref();

	if (heap == NULL)
		fork_watch();
	return vmmalloc_thread.forking || os_is_dying() ? NULL : heap;
}

static void *
out_of_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

/* NULL: no room; errno is not set. */
static void *
get_slow(size_t size)
{
	struct heap *heap = usable_heap();

	if (heap == NULL)
		return bootstrap_alloc(MIN_ALIGN, size);
	void *p = heap_malloc(heap, CELL, size);
	thread_note(heap);
	return p;
}

static void *
get_zeroed(size_t n, size_t size)
{
	struct heap *heap = usable_heap();
	size_t bytes;

	if (heap == NULL)
		return __builtin_mul_overflow(n, size, &bytes) ? NULL : bootstrap_calloc(bytes);
	void *p = heap_calloc(heap, CELL, n, size);
	thread_note(heap);
	return p;
}

static void *
get_aligned(size_t align, size_t size)
{
	struct heap *heap = usable_heap();

	if (heap == NULL)
		return bootstrap_alloc(align, size);
	void *p = heap_aligned_alloc(heap, CELL, align, size);
	thread_note(heap);
	return p;
}

static void
put_slow(void *p)
{
	struct heap *heap = heap_ref();
	int error = errno;

	if (p == NULL)
		return;
	if (heap_place_contains(p)) {
		if (os_is_dying()) {
			/* in a handler of SIGABRT: left as it is, the process ends */
		} else if (vmmalloc_thread.forking) {
			fork_defer_free(p);
		} else {
			heap_free(heap, CELL, p);
			thread_note(heap);
		}
	} else if (bootstrap_owns(p)) {
		bootstrap_free(p);
	} else {
		foreign_free(p);
	}
	errno = error;
}

static inline void
put(void *p)
{
	if (!LIKELY(heap_free_try(CELL, p)))
		put_slow(p);
}

static size_t
usable_size(const void *p)
{
	if (heap_place_contains(p))
		return heap_usable_size(heap_ref(), p);
	if (bootstrap_owns(p))
		return bootstrap_usable_size(p);
	return foreign_usable_size(p);
}

/* A block that the heap cannot resize: new one, copy, free. */
static void *
move(void *p, size_t old_size, size_t size)
{
	void *q = get_slow(size);

	if (q == NULL)
		return NULL;
	memcpy(q, p, old_size < size ? old_size : size);
	put_slow(p);
	return q;
}

static void *
resize(void *p, size_t size)
{
	struct heap *heap = heap_ref();

	if (heap_place_contains(p)) {
		if (vmmalloc_thread.forking || os_is_dying())
			return move(p, heap_usable_size(heap, p), size);
		void *q = heap_realloc(heap, CELL, p, size);
		thread_note(heap);
		return q;
	}
	if (bootstrap_owns(p)) {
		size_t old_size = bootstrap_usable_size(p);

		return size <= old_size ? p : move(p, old_size, size);
	}
	return foreign_realloc(p, size);
}

/* --- allocate and free ---------------------------------------------------------------------------------------- */

static NOINLINE void *
malloc_slow(size_t size)
{
	void *p = get_slow(size);

	return p != NULL ? p : out_of_memory();
}

/* All that malloc does but its trace line; the same for calls from inside. */
static inline void *
get(size_t size)
{
	void *p = heap_malloc_try(CELL, size);

	return LIKELY(p != NULL) ? p : malloc_slow(size);
}

EXPORT void *
malloc(size_t size)
{
	LOG(4, "size %zu", size);
	return get(size);
}

EXPORT void *
calloc(size_t nmemb, size_t size)
{
	LOG(4, "nmemb %zu, size %zu", nmemb, size);
	void *p = get_zeroed(nmemb, size);

	return LIKELY(p != NULL) ? p : out_of_memory();
}

static void *
realloc_any(void *p, size_t size)
{
	if (p == NULL)
		return get(size);
	if (size == 0) {
		put(p);
		return NULL;
	}
	void *q = resize(p, size);
	return LIKELY(q != NULL) ? q : out_of_memory();
}

EXPORT void *
realloc(void *ptr, size_t size)
{
	LOG(4, "ptr %p, size %zu", ptr, size);
	return realloc_any(ptr, size);
}

EXPORT void
free(void *ptr)
{
	LOG(4, "ptr %p", ptr);
	put(ptr);
}

EXPORT void
cfree(void *ptr)
{
	LOG(4, "ptr %p", ptr);
	put(ptr);
}

EXPORT size_t
malloc_usable_size(void *ptr)
{
	LOG(4, "ptr %p", ptr);
	return ptr == NULL ? 0 : usable_size(ptr);
}

/* --- aligned --------------------------------------------------------------------------------------------------- */

/* 0, EINVAL or ENOMEM; errno may be anything. */
static int
aligned(void **out, size_t align, size_t size)
{
	*out = NULL;
	if (align == 0 || (align & (align - 1)) != 0)
		return EINVAL;
	*out = align <= MIN_ALIGN ? get_slow(size) : get_aligned(align, size);
	return *out == NULL ? ENOMEM : 0;
}

static void *
aligned_errno(size_t align, size_t size)
{
	void *p;
	int error = aligned(&p, align, size);

	if (error != 0)
		errno = error;
	return p;
}

EXPORT void *
memalign(size_t boundary, size_t size)
{
	LOG(4, "boundary %zu  size %zu", boundary, size);
	return aligned_errno(boundary, size);
}

EXPORT void *
aligned_alloc(size_t alignment, size_t size)
{
	LOG(4, "alignment %zu  size %zu", alignment, size);
	return aligned_errno(alignment, size);
}

EXPORT int
posix_memalign(void **memptr, size_t alignment, size_t size)
{
	LOG(4, "alignment %zu  size %zu", alignment, size);
	int saved = errno;
	int error = aligned(memptr, alignment, size);

	errno = saved;
	return error;
}

EXPORT void *
valloc(size_t size)
{
	size_t page = sys_page_size();

	LOG(4, "size %zu", size);
	return aligned_errno(page, size == 0 ? page : size);
}

EXPORT void *
pvalloc(size_t size)
{
	size_t page = sys_page_size();

	LOG(4, "size %zu", size);
	if (size == 0)
		size = 1;
	if (size > SIZE_MAX - (page - 1))
		return out_of_memory();
	return aligned_errno(page, (size + page - 1) & ~(page - 1));
}

/* --- the others ------------------------------------------------------------------------------------------------ */

/* Declared here: which of them the C library's headers know differs. Not reallocarray: the C library's calls whichever
 * realloc() is in force, ours or, where a program has its own, that one. */
EXTRA void free_sized(void *ptr, size_t size);
EXTRA void free_aligned_sized(void *ptr, size_t alignment, size_t size);
EXTRA void *__libc_malloc(size_t size);
EXTRA void *__libc_calloc(size_t nmemb, size_t size);
EXTRA void *__libc_realloc(void *ptr, size_t size);
EXTRA void __libc_free(void *ptr);
EXTRA void *__libc_memalign(size_t boundary, size_t size);
EXTRA void *__libc_valloc(size_t size);
EXTRA void *__libc_pvalloc(size_t size);
EXTRA int __posix_memalign(void **memptr, size_t alignment, size_t size);

void
free_sized(void *ptr, size_t size)
{
	(void)size;
	put(ptr);
}

void
free_aligned_sized(void *ptr, size_t alignment, size_t size)
{
	(void)alignment;
	(void)size;
	put(ptr);
}

void *
__libc_malloc(size_t size)
{
	return get(size);
}

void *
__libc_calloc(size_t nmemb, size_t size)
{
	void *p = get_zeroed(nmemb, size);

	return p != NULL ? p : out_of_memory();
}

void *
__libc_realloc(void *ptr, size_t size)
{
	return realloc_any(ptr, size);
}

void
__libc_free(void *ptr)
{
	put(ptr);
}

void *
__libc_memalign(size_t boundary, size_t size)
{
	return aligned_errno(boundary, size);
}

void *
__libc_valloc(size_t size)
{
	return valloc(size);
}

void *
__libc_pvalloc(size_t size)
{
	return pvalloc(size);
}

int
__posix_memalign(void **memptr, size_t alignment, size_t size)
{
	return posix_memalign(memptr, alignment, size);
}

/* --- hooks ----------------------------------------------------------------------------------------------------- */

/* Up to glibc 2.33 libc's own malloc calls what these point at, so that libraries bound to it by RTLD_DEEPBIND use
 * the pool all the same. A program's own values are never looked at. The hooks are called with one argument more
 * than the functions take. */
EXPORT extern void *(*volatile __malloc_hook)(size_t);
EXPORT extern void *(*volatile __realloc_hook)(void *, size_t);
EXPORT extern void *(*volatile __memalign_hook)(size_t, size_t);
EXPORT extern void (*volatile __free_hook)(void *);

void *(*volatile __malloc_hook)(size_t) = malloc;
void *(*volatile __realloc_hook)(void *, size_t) = realloc;
void *(*volatile __memalign_hook)(size_t, size_t) = memalign;
void (*volatile __free_hook)(void *) = free;
