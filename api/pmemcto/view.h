/* view.h -- a pool looked at from outside: read, mapped anywhere and judged step by step, not opened
 *
 * For tools. The heap holds no address, so it can be looked at wherever it lies; the program's own pointers cannot be
 * followed there. A pool that is open is refused, as its tables change and its caches are elsewhere; all else is taken as
 * it is found, and each step says what is wrong with it.
 *
 * Errors: as those of parts.h.
 */
#ifndef API_PMEMCTO_VIEW_H
#define API_PMEMCTO_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc/heap.h"
#include "alloc/survey.h"
#include "api/pmemcto/media.h"
#include "api/pmemcto/parts.h"

/* In this order. A step is judged when those before it are good; a file that is too long and a pool that is open are
 * judged further. */
enum view_step {
	VIEW_HEADER, /* signature, checksum, features, machine */
	VIEW_DESC,   /* the descriptor: all that a change of state does not touch */
	VIEW_SIZE,   /* the files have as many bytes as the pool */
	VIEW_STATE,  /* closed, and as it was then */
	VIEW_HEAP,   /* the superblock: there, of this version, and unless VIEW_STATE failed as it was at the closing */
	VIEW_STEPS,
};

struct cto_view {
	enum parts_access access;
	struct parts parts;            /* locked */
	struct pool_front_media front; /* as found; zeros behind the end of a shorter file */
	bool signature;                /* the file begins as libpmemcto's pools do */
	bool part;                     /* and says, in a header that is whole, that it is part of a pool set */
	bool open;       /* the descriptor says so: a process that had it open was killed, or did not close it */
	unsigned judged; /* bit per step */
	const char *fault[VIEW_STEPS]; /* NULL: good, or not judged */
	char *base; /* the pool, mapped; NULL: its end is lost, what is before is not good, or PARTS_READ of a device */
};

/* PARTS_READ: stores into what is mapped stay in this process; PARTS_WRITE: they go to the files. EAGAIN: somebody has the
 * pool open, or changes it. A file that is no pool is looked at as well. */
int cto_view_open(const char *path, enum parts_access access, struct cto_view *view);
void cto_view_close(struct cto_view *view);

/* Name of a step, for people. */
const char *cto_view_step_name(enum view_step step);

/* The first fault; NULL: none, and the pool can be opened (where its address is free). */
const char *cto_view_fault(const struct cto_view *view);

/* A survey of the heap, of an open pool too. False: the pool is not mapped, or the superblock is not good. */
bool cto_view_survey(const struct cto_view *view, struct survey *survey);

/* What heap_attach() needs to take up the heap where it is mapped now. */
struct heap_config cto_view_heap(const struct cto_view *view);

#endif
