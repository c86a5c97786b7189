/* close.c -- pmemcto_close(): a pool leaves the process, whole
 *
 * Owns:   the order of the steps.
 * Rules:  C1, C3 and C4 of pool.h.
 * Locks:  registry_lock around C3; see api/common/registry.h.
 * Media:  `consistent` and what seals it, by front.c and media.c.
 * Fails:  with errno and message: the pool is gone from the process and stays marked as open.
 */
#include "api/pmemcto/pool.h"

#include <errno.h>
#include <pthread.h>

#include "alloc/heap_media.h"
#include "api/common/error.h"
#include "api/common/log.h"
#include "api/common/os.h"
#include "api/pmemcto/front.h"

/* C3: 0, or EINVAL when there is no such pool. */
static struct cto_pool *
take_out(const PMEMctopool *pcp)
{
	struct live_pool *live;

	registry_lock();
	live = registry_find(pcp);
	if (live != NULL) {
		pthread_rwlock_wrlock(&live->life);
		heap_detach(live->heap);
		registry_remove(live); /* last: who does not find the pool any more finds its cell empty */
		pthread_rwlock_unlock(&live->life);
	}
	registry_unlock();
	return (struct cto_pool *)live;
}

/* C1. 0, or errno value with message: the pool stays marked as open. */
static int
make_durable(struct cto_pool *pool, struct pool_front_media *front)
{
	const struct heap_media *media =
	    (const struct heap_media *)((const char *)front + front->desc.heap_offset);
	int error;

	media_seal(&front->desc, media->checksum);
	error = parts_sync(&pool->parts, (char *)front + front_closed_bytes(), pool->live.size - front_closed_bytes());
	if (error == 0) {
		front_set_consistent(front, 1);
		error = front_sync(&pool->parts, front);
		if (error != 0)
			front_set_consistent(front, 0);
	}
	errno = error;
	if (error != 0)
		ERROR_ERRNO("msync: the pool may not be whole on its medium, and stays marked as inconsistent");
	return error;
}

void
pmemcto_close(PMEMctopool *pcp)
{
	int error, old_errno = errno;
	struct cto_pool *pool;

	LOG(3, "pcp %p", (void *)pcp);
	pool = take_out(pcp);
	if (pool != NULL) {
		error = make_durable(pool, (struct pool_front_media *)pcp);
		sys_unmap(pcp, pool->live.size);
		parts_release(&pool->parts);
		cto_pool_free(pool);
		errno = error != 0 ? error : old_errno;
		return;
	}
	pool = cto_take_inherited(pcp);
	if (pool == NULL) {
		cto_invalid(pcp);
		return;
	}
	sys_unmap(pcp, pool->live.size);
	cto_pool_free(pool);
	errno = old_errno;
}
