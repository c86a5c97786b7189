/* SPDX-License-Identifier: BSD-3-Clause */
/* libvmem.h -- heaps in memory-mapped files or in memory of your own
 *
 * A pool is a heap of its own: blocks of one pool come from its file or region and from nowhere else. Its content does
 * not outlive the process. Every function may be called by any thread. See libvmem(7).
 */
#ifndef LIBVMEM_H
#define LIBVMEM_H 1

#include <sys/types.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vmem VMEM; /* a pool: opaque, never read */

#define VMEM_MIN_POOL ((size_t)(1024 * 1024 * 14)) /* bytes */

/* The interface that this header describes. */
#define VMEM_MAJOR_VERSION 1
#define VMEM_MINOR_VERSION 1

/* NULL when the library can serve a program that was compiled for that version, else a message. */
const char *vmem_check_version(unsigned major_required, unsigned minor_required);

/* A pool of `size` bytes in a nameless file in the directory `dir`, or in the device DAX `dir`. NULL and errno. */
VMEM *vmem_create(const char *dir, size_t size);

/* A pool in [addr, addr + size), which stays the caller's: page aligned, readable and writable, not to be touched until
 * vmem_delete(). NULL and errno. */
VMEM *vmem_create_in_region(void *addr, size_t size);

/* Ends a pool with all its blocks. */
void vmem_delete(VMEM *vmp);

/* 1: consistent; 0: not; -1: could not be checked. */
int vmem_check(VMEM *vmp);

/* Prints statistics. `opts`: NULL, or letters that leave parts out: g general, m merged, a per arena, b bins, l large. */
void vmem_stats_print(VMEM *vmp, const char *opts);

/* malloc(3) and its family. NULL and errno ENOMEM when nothing fits. */
void *vmem_malloc(VMEM *vmp, size_t size);
void vmem_free(VMEM *vmp, void *ptr);
void *vmem_calloc(VMEM *vmp, size_t nmemb, size_t size);
void *vmem_realloc(VMEM *vmp, void *ptr, size_t size);
void *vmem_aligned_alloc(VMEM *vmp, size_t alignment, size_t size);
char *vmem_strdup(VMEM *vmp, const char *s);
wchar_t *vmem_wcsdup(VMEM *vmp, const wchar_t *s);
/* Bytes that the block really has; 0 for NULL and for what is not of this pool. */
size_t vmem_malloc_usable_size(VMEM *vmp, void *ptr);

/* Functions for the library's own small memory and for its output, for pools made from now on. NULL: the default. */
void vmem_set_funcs(void *(*malloc_func)(size_t size), void (*free_func)(void *ptr),
	void *(*realloc_func)(void *ptr, size_t size), char *(*strdup_func)(const char *s),
	void (*print_func)(const char *s));

/* The calling thread's last message; "" before the first. */
const char *vmem_errormsg(void);

#ifdef __cplusplus
}
#endif

#endif
