/* stats.c -- libvmem: vmem_stats_print
 *
 * Owns:   nothing; the text is that of api/common/stats_text.h.
 * Locks:  those of heap_stats_get.
 * Media:  read only.
 * Fails:  prints nothing for a handle of no pool; message and errno EINVAL.
 */
#include <errno.h>

#include "api/common/log.h"
#include "api/common/stats_text.h"
#include "api/vmem/pool.h"

void
vmem_stats_print(VMEM *vmp, const char *opts)
{
	int error = errno;
	struct vmem_pool *pool;

	LOG(3, "vmp %p opts \"%s\"", (void *)vmp, opts != NULL ? opts : "");
	pool = vmem_pool_find(vmp);
	if (pool == NULL)
		return;
	stats_text_print(pool->live.heap, opts, VMEM_MAJOR_VERSION, VMEM_MINOR_VERSION);
	errno = error;
}
