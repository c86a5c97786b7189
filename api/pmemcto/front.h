/* front.h -- the front of a pool that is mapped: its mark, and what lies before the heap
 *
 * Errors: 0 or an errno value; no message is set.
 */
#ifndef API_PMEMCTO_FRONT_H
#define API_PMEMCTO_FRONT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc/heap.h"
#include "api/pmemcto/media.h"
#include "api/pmemcto/parts.h"

/* 1: closed; 0: not. The store only: front_sync() makes it durable. */
void front_set_consistent(struct pool_front_media *front, uint8_t value);
/* Returns when the descriptor is durable, with the page of the system that holds it. */
int front_sync(const struct parts *parts, struct pool_front_media *front);

/* Where the heap of a new pool begins. */
size_t front_heap_offset(void);
/* Bytes at the pool's start that do not change while it is open. */
size_t front_closed_bytes(void);
/* They cannot be touched from here on. */
void front_protect(void *base);

/* What heap_create() and heap_attach() have to know; `flags` are the descriptor's. */
struct heap_config front_heap_config(void *base, size_t size, size_t reserved, uint32_t flags, bool zeroed);

/* heap_config.guard as this process wants it: nothing of it is in the file. 0, or EINVAL with message and errno. */
int front_guard(unsigned *guard);

#endif
