/* thread.h -- what libvmmalloc keeps per thread
 *
 * The cell is in initial-exec thread-local storage: reaching it is one instruction, and never calls malloc.
 */
#ifndef API_VMMALLOC_THREAD_H
#define API_VMMALLOC_THREAD_H

#include <stdbool.h>

#include "alloc/heap.h"

struct vmmalloc_thread {
	struct tcache_cell cell;
	bool registered; /* the thread's end will be noticed */
	bool ending;     /* it was noticed for the last time: a cache made now must go back at once */
	unsigned char rounds;
	bool forking;    /* inside the fork handlers: the heap is held still, by this thread */
};

extern _Thread_local struct vmmalloc_thread vmmalloc_thread
	__attribute__((tls_model("initial-exec"), visibility("hidden")));

/* Once, from the constructor. 0 or an errno value. */
int thread_init(void);

/* After each slow call into the heap: sees to it that a cache which that call made goes back when the thread ends.
 * errno is kept. */
void thread_note_slow(struct heap *heap);
static inline void
thread_note(struct heap *heap)
{
	if (!vmmalloc_thread.registered || vmmalloc_thread.ending)
		thread_note_slow(heap);
}

#endif
