/* bootstrap.h -- memory for those who call malloc before the pool exists
 *
 * Serves ld.so, earlier constructors and threads they start, and a thread that is inside fork handlers. Blocks are
 * in ordinary memory, are known by their address for ever, and may be freed, resized and measured at any time.
 * Any thread may call; nothing here needs a constructor, and nothing calls malloc. errno is left alone.
 */
#ifndef API_VMMALLOC_BOOTSTRAP_H
#define API_VMMALLOC_BOOTSTRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `align`: a power of two. NULL: no memory. Size 0 gives a unique block. The block is a multiple of 16 at least. */
void *bootstrap_alloc(size_t align, size_t size);
void *bootstrap_calloc(size_t size); /* the same with align 16, zeroed */

bool bootstrap_owns(const void *p); /* p lies in bootstrap memory, freed or not */

/* p: a live block. Anything else inside bootstrap memory ends in one line and abort(). */
void bootstrap_free(void *p);
size_t bootstrap_usable_size(const void *p);

/* Bytes handed out, and bytes taken from the system. */
void bootstrap_stats(uint64_t *allocated, uint64_t *mapped);

/* Around fork, by the forking thread. Between them others wait; it may go on where vmmalloc_thread.forking says so. */
void bootstrap_prefork(void);
void bootstrap_postfork(void);

#endif
