/* pmemcto.c -- libpmemcto: start and end of the library; the root pointer, statistics, versions, messages, functions
 *
 * Owns:   nothing.
 * Locks:  none.
 * Media:  the root pointer in struct pool_desc_media.
 * Fails:  nothing done, with errno and message.
 */
#include "api/pmemcto/pool.h"

#include <errno.h>
#include <string.h>

#include "api/common/cells.h"
#include "api/common/error.h"
#include "api/common/log.h"
#include "api/common/stats_text.h"
#include "api/pmemcto/place.h"

/* --- start and end of the library ---------------------------------------------------------------------------- */

__attribute__((constructor)) static void
pmemcto_init(void)
{
	static const struct log_library library = {
		"libpmemcto", "PMEMCTO_LOG_LEVEL", "PMEMCTO_LOG_FILE", PMEMCTO_MAJOR_VERSION, PMEMCTO_MINOR_VERSION,
	};

	log_init(&library);
	LOG(3, "%s", "");
	place_init();
	cells_init();
	cto_fork_init();
}

/* Pools that are open stay so, and are dirty for whoever comes next: only pmemcto_close() knows that all is well. */
__attribute__((destructor)) static void
pmemcto_fini(void)
{
	LOG(3, "%s", "");
	log_fini();
}

/* --- root pointer -------------------------------------------------------------------------------------------- */

void
pmemcto_set_root_pointer(PMEMctopool *pcp, void *ptr)
{
	uintptr_t at = (uintptr_t)ptr, base = (uintptr_t)pcp;
	struct cto_pool *pool;

	LOG(3, "pcp %p ptr %p", (void *)pcp, ptr);
	pool = cto_pool_find(pcp);
	if (pool == NULL)
		return;
	if (at != 0 && (at < base + POOL_FRONT_SIZE || at - base >= pool->live.size)) {
		ERROR("root pointer %p is not in pool %p of %zu bytes", ptr, (void *)pcp, pool->live.size);
		errno = EINVAL;
		return;
	}
	atomic_store_explicit(&pool->desc->root, at, memory_order_release);
}

void *
pmemcto_get_root_pointer(PMEMctopool *pcp)
{
	struct cto_pool *pool;

	LOG(3, "pcp %p", (void *)pcp);
	pool = cto_pool_find(pcp);
	return pool == NULL ? NULL : (void *)(uintptr_t)atomic_load_explicit(&pool->desc->root, memory_order_acquire);
}

/* --- the rest ------------------------------------------------------------------------------------------------ */

int
cto_valid_arguments(const char *path, const char *layout)
{
	if (layout != NULL && strlen(layout) >= PMEMCTO_MAX_LAYOUT) {
		ERROR("the layout name has %zu bytes, at most %zu can be stored", strlen(layout), PMEMCTO_MAX_LAYOUT - 1);
		return errno = EINVAL;
	}
	if (path == NULL) {
		ERROR("invalid (NULL) path");
		return errno = EFAULT;
	}
	return 0;
}

void
pmemcto_stats_print(PMEMctopool *pcp, const char *opts)
{
	int error = errno;
	struct cto_pool *pool;

	LOG(3, "pcp %p opts \"%s\"", (void *)pcp, opts != NULL ? opts : "");
	pool = cto_pool_find(pcp);
	if (pool == NULL)
		return;
	stats_text_print(pool->live.heap, opts, PMEMCTO_MAJOR_VERSION, PMEMCTO_MINOR_VERSION);
	errno = error;
}

const char *
pmemcto_check_version(unsigned major_required, unsigned minor_required)
{
	LOG(3, "major_required %u minor_required %u", major_required, minor_required);
	if (major_required != PMEMCTO_MAJOR_VERSION)
		ERROR("libpmemcto major version mismatch (need %u, found %u)", major_required, PMEMCTO_MAJOR_VERSION);
	else if (minor_required > PMEMCTO_MINOR_VERSION)
		ERROR("libpmemcto minor version mismatch (need %u, found %u)", minor_required, PMEMCTO_MINOR_VERSION);
	else
		return NULL;
	return error_get();
}

void
pmemcto_set_funcs(void *(*malloc_func)(size_t size), void (*free_func)(void *ptr),
    void *(*realloc_func)(void *ptr, size_t size), char *(*strdup_func)(const char *s),
    void (*print_func)(const char *s))
{
	LOG(3, "%s", "");
	(void)realloc_func;
	cto_set_hooks(malloc_func, free_func, strdup_func);
	log_set_print(print_func);
}

const char *
pmemcto_errormsg(void)
{
	return error_get();
}
