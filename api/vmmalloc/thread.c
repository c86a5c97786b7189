/* thread.c -- see thread.h
 *
 * Owns:   vmmalloc_thread, the key whose destructor tells that a thread ends.
 * Rules:  V1  a thread whose cell holds a cache has its key set, or is ending and gives the cache back at once.
 *         V2  the destructor asks to be called again until the C library stops asking (PTHREAD_DESTRUCTOR_ITERATIONS
 *             rounds): other destructors, and later the library itself, free and allocate after our first turn.
 * Locks:  none; all is the thread's own.
 * Media:  process only.
 */
#include "api/vmmalloc/thread.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include "api/vmmalloc/heap_ref.h"

#ifndef PTHREAD_DESTRUCTOR_ITERATIONS
#define PTHREAD_DESTRUCTOR_ITERATIONS 4 /* of glibc, which names it only for _POSIX_C_SOURCE */
#endif

_Thread_local struct vmmalloc_thread vmmalloc_thread
	__attribute__((tls_model("initial-exec"), visibility("hidden"))) = { .cell = TCACHE_CELL_INIT };

static pthread_key_t key; /* constant after thread_init */

static void
thread_end(void *unused)
{
	struct vmmalloc_thread *self = &vmmalloc_thread;

	(void)unused;
	heap_thread_exit(heap_ref(), &self->cell);
	self->rounds++;
	if (self->rounds >= PTHREAD_DESTRUCTOR_ITERATIONS || pthread_setspecific(key, self) != 0)
		self->ending = true;
}

int
thread_init(void)
{
	return pthread_key_create(&key, thread_end);
}

void
thread_note_slow(struct heap *heap)
{
	struct vmmalloc_thread *self = &vmmalloc_thread;
	int error = errno;

	if (self->ending) {
		heap_thread_exit(heap, &self->cell);
	} else if (self->cell.own != NULL) {
		/* First, since the call below may allocate its table of values (keys from 32 on) and come back here. */
		self->registered = true;
		if (pthread_setspecific(key, self) != 0) {
			/* No memory for the table: V1. The next slow call tries again. */
			self->registered = false;
			heap_thread_exit(heap, &self->cell);
		}
	}
	errno = error;
}
