/* progress.h -- how far long work has come, for a person at a terminal
 *
 * One line on stderr, if that is a terminal, from the second on that the work takes; gone when it ends.
 */
#ifndef API_TOOLS_PROGRESS_H
#define API_TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what;
	uint64_t total;
	uint64_t began, told; /* nanoseconds */
	unsigned calls;
	bool on, shown;
};

void progress_begin(struct progress *progress, const char *what, uint64_t total);
/* `done` of `total`. Cheap: looks at the clock every so many calls. */
void progress_step(struct progress *progress, uint64_t done);
void progress_end(struct progress *progress);

#endif
