/* fork.h -- what happens to the pool when the program forks (VMMALLOC_FORK)
 *
 * fork_watch() registers the handlers; it is called at the first malloc or in the constructor, whichever comes first,
 * so that ours are the oldest: they run last before the fork and first after it, and other handlers may use malloc.
 */
#ifndef API_VMMALLOC_FORK_H
#define API_VMMALLOC_FORK_H

enum fork_mode {
	FORK_SHARE = 0,          /* parent and child write the same pool: no support */
	FORK_PRIVATE = 1,        /* both go on in private memory */
	FORK_CLONE = 2,          /* the child gets a file of its own, or the program stops */
	FORK_CLONE_OR_PRIVATE = 3,
};

void fork_watch(void); /* any thread; once is enough, more does no harm */
void fork_set_mode(enum fork_mode mode);

/* free() of a block of the heap by the thread that is inside the handlers: done after the fork. */
void fork_defer_free(void *p);

#endif
