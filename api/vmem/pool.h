/* pool.h -- a libvmem pool as this process sees it, and what the files of libvmem ask of each other
 *
 * Media:  process only. Of the pool itself the first page is ours: it is PROT_NONE while the pool lives, so that a
 *         program that takes the handle for data finds out at once.
 */
#ifndef API_VMEM_POOL_H
#define API_VMEM_POOL_H

#include <stdatomic.h>
#include <stddef.h>

#include "alloc/heap.h"
#include "api/common/file.h"
#include "api/common/registry.h"

/* The published prototypes are what the library exports. */
#pragma GCC visibility push(default)
#include "api/include/libvmem.h"
#pragma GCC visibility pop

struct vmem_pool {
	struct live_pool live;
	/* constant while the pool lives */
	struct pool_file file; /* base NULL: the region is the caller's */
	bool shared; /* the pool's memory is a fork's child's too */
	void *(*malloc_func)(size_t size); /* as vmem_set_funcs() left them when the pool was made; NULL: none */
	void (*free_func)(void *p);
	/* any thread, set once. What the program's malloc function gave for the pool; NULL: not asked yet */
	void *_Atomic user_record;
};

_Static_assert(sizeof(struct vmem_pool) <= REGISTRY_RECORD_SIZE, "a pool fits its record");

/* A pool of that handle for functions that have no thread cache to look in; NULL, with message and errno EINVAL. */
struct vmem_pool *vmem_pool_find(const VMEM *vmp);
/* Says that the handle is of no live pool: message and errno EINVAL. */
void vmem_pool_invalid(const VMEM *vmp);

/* From the library's constructor: thread ends and forks. */
void vmem_threads_init(void);

#endif
