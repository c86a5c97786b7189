/* init.h -- the constructor and the destructor of libvmmalloc
 *
 * The constructor (priority 101) watches fork, opens the log, reads the environment and makes the pool; what is wrong
 * with the environment ends the process with one line. Until then bootstrap.h serves; after the destructor (priority
 * 102, the first to run) the heap serves on, since other destructors allocate.
 */
#ifndef API_VMMALLOC_INIT_H
#define API_VMMALLOC_INIT_H

/* In a fork's child: a log whose name ends in the process number moves to a file of its own. */
void init_child_log(void);

#endif
