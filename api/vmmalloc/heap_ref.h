/* heap_ref.h -- the one heap of libvmmalloc
 *
 * NULL until the constructor has made the pool, then constant until the process ends: the heap serves on after the
 * destructor. The store is a release: who sees the heap sees it whole.
 */
#ifndef API_VMMALLOC_HEAP_REF_H
#define API_VMMALLOC_HEAP_REF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap;

struct heap_place {
	struct heap *_Atomic heap;
	char *base; /* constant once `heap` is set */
	size_t size;
};

extern struct heap_place heap_place __attribute__((visibility("hidden")));

static inline struct heap *
heap_ref(void)
{
	return atomic_load_explicit(&heap_place.heap, memory_order_acquire);
}

/* Anywhere in the pool, its tables included: what heap_free() may judge. False before there is a heap. */
static inline bool
heap_place_contains(const void *p)
{
	return heap_ref() != NULL && (uintptr_t)p - (uintptr_t)heap_place.base < heap_place.size;
}

#endif
