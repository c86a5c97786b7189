/* stats.h -- what the heap says about itself at the end of a debug run (VMMALLOC_LOG_STATS=1)
 *
 * The calls of glibc that show or tune its malloc (mallinfo and its sisters) are in stats.c too; <malloc.h> declares
 * them.
 */
#ifndef API_VMMALLOC_STATS_H
#define API_VMMALLOC_STATS_H

/* To the log: the bootstrap's figures, then the pool's. Any thread, any time. */
void stats_log(void);

#endif
