/* heap_inline.h -- the hit path of malloc and free, for callers that want it inline
 *
 * Owns:   nothing: it moves magazine tops of the calling thread's cache (tcache.h, T4).
 * Rules:  `busy` is set before the cell is read and cleared after the last store to the cache; the thread that
 *         freezes caches has the other half (tcache_freeze_all). On the cpu no fence is needed: membarrier(2) stands
 *         in for the store-load order; the signal fence keeps the compiler from moving the load up.
 * Media:  process only.
 */
#ifndef ALLOC_HEAP_INLINE_H
#define ALLOC_HEAP_INLINE_H

static inline struct tcache *
tcache_busy(struct tcache_cell *cell)
{
	atomic_store_explicit(&cell->busy, 1, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	/* acquire pairs with the thaw's release: what the freezer did to the cache is seen. */
	return atomic_load_explicit(&cell->tc, memory_order_acquire);
}

static inline void
tcache_idle(struct tcache_cell *cell)
{
	/* release pairs with the freezer's acquire. */
	atomic_store_explicit(&cell->busy, 0, memory_order_release);
}

/* A cached slot for `size` bytes, or NULL: then heap_malloc_slow(). */
static inline void *
heap_malloc_try(struct tcache_cell *cell, size_t size)
{
	unsigned sc;

	if (__builtin_expect(size <= SC_TABLE_MAX, 1)) /* one comparison for most requests */
		sc = sc_table[(size + 15) / 16];
	else if (size <= SC_MAX_SIZE)
		sc = sc_of_doubling(size);
	else
		return NULL;
	struct tcache *tc = tcache_busy(cell);
	void **top = tc->top[sc];
	void *p = *top;

	if (__builtin_expect(p != NULL, 1))
		tc->top[sc] = top - 1;
	tcache_idle(cell);
	return p;
}

static inline bool
heap_free_try(struct tcache_cell *cell, void *p)
{
	struct tcache *tc = tcache_busy(cell);
	uintptr_t offset = (uintptr_t)p - tc->pages;
	bool done = false;

	/* Rotated, a pointer that is no multiple of 16 is out of bounds like any foreign one. */
	offset = offset >> 4 | offset << (sizeof(offset) * 8 - 4);
	if (__builtin_expect(offset < tc->limit, 1)) {
		unsigned sc = tc->page_class[offset >> (HEAP_LG_PAGE - 4)];
		void **top = tc->top[sc];

		/* The newest slot freed again is the commonest double free; flushing finds the others. */
		if (__builtin_expect(top[1] != TCACHE_FULL && top[0] != p, 1)) {
			top[1] = p;
			tc->top[sc] = top + 1;
			done = true;
		}
	}
	tcache_idle(cell);
	return done;
}

static inline void *
heap_malloc(struct heap *heap, struct tcache_cell *cell, size_t size)
{
	void *p = heap_malloc_try(cell, size);

	return __builtin_expect(p != NULL, 1) ? p : heap_malloc_slow(heap, cell, size);
}

static inline void
heap_free(struct heap *heap, struct tcache_cell *cell, void *p)
{
	if (__builtin_expect(!heap_free_try(cell, p), 0))
		heap_free_slow(heap, cell, p);
}

#endif
