/* fork.c -- see fork.h
 *
 * Owns:   the mode, the clone between prefork and the end of the fork, frees put off meanwhile.
 * Rules:  F1  order: the heap's locks, then the pool is copied or remapped, then the bootstrap's lock; after the fork
 *             the pool is in place before any lock is let go.
 *         F2  from the copy to the end the forking thread does not touch the heap: what it wrote would be missing in
 *             the child. Its cell holds the dummy, and the slow paths see vmmalloc_thread.forking: handlers of
 *             others that run meanwhile get bootstrap memory.
 *         F3  errno is the program's. So is whether it can be cancelled: fork(2) is no cancellation point, but what
 *             copies the pool is, and a thread that ended there would leave all locks held.
 * Locks:  all of the heap (heap_prefork), then the bootstrap's. What this file owns is touched under them.
 * Media:  through api/vmmalloc/backing.h.
 * Fails:  `pool cloning failed` in mode 2; a remapping refused half way. Both stop the process.
 */
#include "api/vmmalloc/fork.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "alloc/heap.h"
#include "alloc/os.h"
#include "api/common/log.h"
#include "api/vmmalloc/backing.h"
#include "api/vmmalloc/bootstrap.h"
#include "api/vmmalloc/heap_ref.h"
#include "api/vmmalloc/init.h"
#include "api/vmmalloc/thread.h"

struct deferred {
	struct deferred *next;
	void *p;
};

static enum fork_mode mode = FORK_PRIVATE; /* constant after the constructor */
/* the forking thread, under the locks of F1 */
static struct heap *held;            /* the heap whose locks are held; NULL: there was none */
static int clone_fd = -1;            /* -1: no copy was made */
static struct deferred *deferred;
static int cancel_state;             /* as the program had it, F3 */

void
fork_set_mode(enum fork_mode new_mode)
{
	mode = new_mode;
}

void
fork_defer_free(void *p)
{
	struct deferred *d = bootstrap_alloc(16, sizeof(*d));

	if (d == NULL)
		return; /* a leak is all that comes of it */
	*d = (struct deferred){ deferred, p };
	deferred = d;
}

static void
separate(struct heap *heap)
{
	if (mode == FORK_SHARE || backing_is_private())
		return;
	if (mode == FORK_CLONE || mode == FORK_CLONE_OR_PRIVATE) {
		clone_fd = backing_clone(heap, BACKING_IN_DIR);
		if (clone_fd >= 0)
			return;
		if (mode == FORK_CLONE)
			log_fatal("pool cloning failed");
	}
	if (backing_make_private(heap))
		return;
	/* The file cannot be reached any more: the program closed our descriptor. The child gets a copy in memory. */
	clone_fd = backing_clone(heap, BACKING_IN_MEMORY);
	if (clone_fd < 0)
		log_fatal("remapping failed");
}

static void
prefork(void)
{
	struct heap *heap = heap_ref();
	int error = errno, state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	/* A dying thread that forks, to run a crash reporter: it may hold the heap's locks already. */
	if (heap != NULL && !os_is_dying()) {
		heap_prefork(heap);
		held = heap;
		separate(heap);
	}
	bootstrap_prefork();
	cancel_state = state;
	vmmalloc_thread.forking = true;
	errno = error;
}

static void
free_deferred(struct deferred *list)
{
	while (list != NULL) {
		struct deferred *next = list->next;

		heap_free(heap_ref(), &vmmalloc_thread.cell, list->p);
		bootstrap_free(list);
		list = next;
	}
	if (heap_ref() != NULL)
		thread_note(heap_ref());
}

static void
after_fork(bool in_child)
{
	struct heap *heap = held;
	struct deferred *list = deferred;
	int error = errno, state = cancel_state;

	if (clone_fd >= 0) {
		if (in_child)
			backing_clone_adopt(heap, clone_fd);
		else
			backing_clone_drop(clone_fd);
	}
	clone_fd = -1;
	held = NULL;
	deferred = NULL;
	vmmalloc_thread.forking = false;
	bootstrap_postfork();
	if (heap != NULL) {
		if (in_child)
			heap_postfork_child(heap, &vmmalloc_thread.cell);
		else
			heap_postfork_parent(heap);
	}
	if (in_child)
		init_child_log();
	free_deferred(list);
	pthread_setcancelstate(state, NULL);
	errno = error;
}

static void
parent(void)
{
	after_fork(false);
}

static void
child(void)
{
	after_fork(true);
}

void
fork_watch(void)
{
	static _Atomic bool watched;

	if (atomic_load_explicit(&watched, memory_order_relaxed) || atomic_exchange(&watched, true))
		return;
	int error = errno;
	if (pthread_atfork(prefork, parent, child) != 0)
		log_fatal("pthread_atfork failed");
	errno = error;
}
