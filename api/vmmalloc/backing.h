/* backing.h -- the file behind libvmmalloc's pool, and its copies for children
 *
 * Owns the pool file of api/common/file.h from creation to the process's end; at fork makes a private view of it, or
 * a copy for the child. All but backing_create run between heap_prefork() and heap_postfork_*(): one thread at a
 * time, the allocator held still; the program's other threads go on reading and writing their blocks.
 */
#ifndef API_VMMALLOC_BACKING_H
#define API_VMMALLOC_BACKING_H

#include <stdbool.h>
#include <stddef.h>

#include "alloc/heap.h"

/* Bytes at the pool's front that are not the heap's: one page, without access. */
size_t backing_reserved(void);

/* Makes file and mapping. 0, or an errno value with errno set. */
int backing_create(const char *dir, size_t size);
/* No fork will ask for the file: its descriptor goes. */
void backing_forget_file(void);
void *backing_base(void);
size_t backing_size(void);
enum heap_backing backing_kind(void);
bool backing_zeroed(void);

/* The pool no longer shows what others write to the file, nor they what we write. True for ever after
 * backing_make_private(). */
bool backing_is_private(void);
/* False: the file cannot be reached any more, nothing was changed. Stops the process when the kernel refuses a
 * mapping half way. */
bool backing_make_private(struct heap *heap);

enum backing_where {
	BACKING_IN_DIR,    /* an unnamed file beside the pool's, in the directory given at creation */
	BACKING_IN_MEMORY, /* memfd_create(2) */
};
/* A file with a copy of all that the heap holds: a descriptor; -1: no room, nothing is left behind. */
int backing_clone(struct heap *heap, enum backing_where where);
/* Parent: it was the child's. */
void backing_clone_drop(int fd);
/* Child: the copy takes the pool's place, at the same addresses. Stops the process when the kernel refuses. */
void backing_clone_adopt(struct heap *heap, int fd);

#endif
