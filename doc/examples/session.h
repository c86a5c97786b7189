/* session.h -- opening a pool, staying alive while it is open, closing it: what every program with a pool has to do
 *
 * The other examples include this; copy it beside them.
 */
#ifndef SESSION_H
#define SESSION_H

#include <errno.h>
#include <libpmemcto.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* Set by SIGINT, SIGTERM and SIGHUP: what takes long looks at it, ends, and lets the pool be closed. */
static volatile sig_atomic_t session_stopped;

static void
session_stop(int sig)
{
	(void)sig;
	session_stopped = 1;
}

/* Opens the pool, or makes one of `size` bytes when there is none. NULL when it can do neither, and has said why. */
static PMEMctopool *
session_open(const char *path, const char *layout, size_t size)
{
	/* No SA_RESTART: a call that waits for input comes back. */
	struct sigaction stop = {.sa_handler = session_stop}, ignore = {.sa_handler = SIG_IGN};
	PMEMctopool *pool;

	/* A process that dies with a pool open leaves it inconsistent. Also when it dies of writing to `| head`. */
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGHUP, &stop, NULL);
	sigaction(SIGPIPE, &ignore, NULL);

	pool = pmemcto_open(path, layout);
	if (pool == NULL && errno == ENOENT)
		pool = pmemcto_create(path, layout, size, 0600);
	if (pool != NULL)
		return pool;
	fprintf(stderr, "%s: %s\n", path, pmemcto_errormsg());
	if (strcmp(pmemcto_errormsg(), "inconsistent pool") == 0)
		fprintf(stderr,
			"It was open when its process or the machine stopped: `pmheap check --repair %s` may bring "
			"it back,\nor remove the file to begin anew.\n",
			path);
	return NULL;
}

/* 0: what is in the pool is on its medium. -1, and a line that says why: the pool is inconsistent. */
static int
session_close(PMEMctopool *pool, const char *path)
{
	errno = 0;
	pmemcto_close(pool);
	if (errno == 0)
		return 0;
	fprintf(stderr, "%s: %s\n", path, pmemcto_errormsg());
	return -1;
}

#endif
