/* progress.c -- see progress.h
 *
 * Media:  none.
 * Fails:  never; a terminal that went away is not told.
 */
#include "api/tools/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define CALLS 16u /* between two looks at the clock */

static uint64_t
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

void
progress_begin(struct progress *progress, const char *what, uint64_t total)
{
	*progress = (struct progress){.what = what, .total = total, .on = isatty(STDERR_FILENO) == 1};
	progress->began = progress->told = progress->on ? now() : 0;
}

void
progress_step(struct progress *progress, uint64_t done)
{
	uint64_t time;

	if (!progress->on || ++progress->calls % CALLS != 0)
		return;
	time = now();
	if (time - progress->began < SECOND || time - progress->told < SECOND / 10)
		return;
	progress->told = time;
	progress->shown = true;
	fprintf(stderr, "\r%s %3u %%", progress->what,
		progress->total == 0 ? 0 : (unsigned)((double)done * 100 / (double)progress->total));
	fflush(stderr);
}

void
progress_end(struct progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
}
