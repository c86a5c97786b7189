/* SPDX-License-Identifier: BSD-3-Clause */
/* libpmemcto.h -- heaps in files that are still there tomorrow
 *
 * A pool is a heap in a file. What a program allocated and stored in it is there, at the same addresses, when the pool
 * is opened again after pmemcto_close(), by this process or another. A pool that was not closed cannot be opened.
 * Every function may be called by any thread. See libpmemcto(7).
 */
#ifndef LIBPMEMCTO_H
#define LIBPMEMCTO_H 1

#include <sys/types.h>
#include <wchar.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pmemcto PMEMctopool; /* an open pool: opaque, never read */

#define PMEMCTO_MIN_POOL ((size_t)(1024 * 1024 * 16)) /* bytes of a pool, at least */
#define PMEMCTO_MIN_PART ((size_t)(1024 * 1024 * 2))  /* bytes of a part of a pool set, at least */
#define PMEMCTO_MAX_LAYOUT ((size_t)1024)             /* bytes of a layout name with its 0, at most */

/* The interface that this header describes. */
#define PMEMCTO_MAJOR_VERSION 1
#define PMEMCTO_MINOR_VERSION 0

/* NULL when the library can serve a program that was compiled for that version, else a message. */
const char *pmemcto_check_version(unsigned major_required, unsigned minor_required);

/* A new pool. `poolsize` bytes in a new file `path` of that mode (whatever the umask), or, with poolsize 0, in an
 * existing file that begins with a page of zeros. `layout` names what the program keeps in it. NULL and errno. */
PMEMctopool *pmemcto_create(const char *path, const char *layout, size_t poolsize, mode_t mode);

/* An existing, closed pool, at the address where it was made. `layout` NULL: whatever it is. NULL and errno. */
PMEMctopool *pmemcto_open(const char *path, const char *layout);

/* Makes durable all that the pool holds, then marks it as closed and lets go of it. No other thread may use it any
 * more. When that fails, errno and message say so, and the pool cannot be opened again. */
void pmemcto_close(PMEMctopool *pcp);

/* 1: the closed pool is consistent; 0: its heap is damaged; -1: it cannot be opened, errno says why. Changes nothing. */
int pmemcto_check(const char *path, const char *layout);

/* Prints statistics. `opts`: NULL, or letters that leave parts out: g general, m merged, a per arena, b bins, l large. */
void pmemcto_stats_print(PMEMctopool *pcp, const char *opts);

/* malloc(3) and its family. NULL and errno ENOMEM when nothing fits. */
void *pmemcto_malloc(PMEMctopool *pcp, size_t size);
void pmemcto_free(PMEMctopool *pcp, void *ptr);
void *pmemcto_calloc(PMEMctopool *pcp, size_t nmemb, size_t size);
void *pmemcto_realloc(PMEMctopool *pcp, void *ptr, size_t size);
void *pmemcto_aligned_alloc(PMEMctopool *pcp, size_t alignment, size_t size);
char *pmemcto_strdup(PMEMctopool *pcp, const char *s);
wchar_t *pmemcto_wcsdup(PMEMctopool *pcp, const wchar_t *s);
/* Bytes that the block really has; 0 for NULL and for what is not of this pool. */
size_t pmemcto_malloc_usable_size(PMEMctopool *pcp, void *ptr);

/* The pool's one root pointer: where a program finds its data again. NULL until set. An address outside of the pool is
 * refused with errno EINVAL and not stored. */
void pmemcto_set_root_pointer(PMEMctopool *pcp, void *ptr);
void *pmemcto_get_root_pointer(PMEMctopool *pcp);

/* Functions for the library's own small memory and for its output, for pools created or opened from now on. NULL: the
 * default. They must not call this library. */
void pmemcto_set_funcs(void *(*malloc_func)(size_t size), void (*free_func)(void *ptr),
	void *(*realloc_func)(void *ptr, size_t size), char *(*strdup_func)(const char *s),
	void (*print_func)(const char *s));

/* The calling thread's last message; "" before the first. */
const char *pmemcto_errormsg(void);

#ifdef __cplusplus
}
#endif

#endif
