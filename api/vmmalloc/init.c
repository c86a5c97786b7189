/* init.c -- see init.h
 *
 * Owns:   heap_place; the order in which the environment is looked at, and the words about it.
 * Rules:  I1  the environment is read once, with secure_getenv(3): a setuid program takes nothing from its caller.
 *         I2  heap_place.heap is stored last: who sees it may use everything.
 *         I3  no step scans the system or touches the pool's tail: a program's start is some 20 system calls longer,
 *             whatever the pool's size.
 * Locks:  none: constructors run one after another; threads that others started use bootstrap.h until I2.
 * Media:  makes the pool (backing.h) and the heap in it.
 * Fails:  `Error (libvmmalloc): ...` and abort(), see libvmmalloc(7).
 */
#define _GNU_SOURCE
#include "api/vmmalloc/init.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/heap.h"
#include "api/common/harden.h"
#include "api/common/log.h"
#include "api/common/os.h"
#include "api/common/parse.h"
#include "api/include/libvmmalloc.h"
#include "api/vmmalloc/backing.h"
#include "api/vmmalloc/foreign.h"
#include "api/vmmalloc/fork.h"
#include "api/vmmalloc/heap_ref.h"
#include "api/vmmalloc/stats.h"
#include "api/vmmalloc/thread.h"

#define ENV_DIR "VMMALLOC_POOL_DIR"
#define ENV_SIZE "VMMALLOC_POOL_SIZE"
#define ENV_FORK "VMMALLOC_FORK"
#define ENV_HARDEN "VMMALLOC_HARDEN"
#define ENV_LOG_FILE "VMMALLOC_LOG_FILE"
#define ENV_LOG_STATS "VMMALLOC_LOG_STATS"

struct heap_place heap_place __attribute__((visibility("hidden")));

static const struct log_library library = {
	"libvmmalloc", "VMMALLOC_LOG_LEVEL", ENV_LOG_FILE, VMMALLOC_MAJOR_VERSION, VMMALLOC_MINOR_VERSION,
};

static size_t
pool_size(const char *text)
{
	long long bytes;

	parse_size(text, &bytes); /* what is no size counts as 0, as in the published library */
	if (bytes < 0)
		log_fatal("negative " ENV_SIZE);
	if ((size_t)bytes < VMMALLOC_MIN_POOL)
		log_fatal(ENV_SIZE " value is less than minimum (%zu < %zu)", (size_t)bytes, VMMALLOC_MIN_POOL);
	return (size_t)bytes;
}

static enum fork_mode
wanted_fork_mode(const char *text)
{
	int value;

	if (text == NULL)
		return FORK_PRIVATE;
	if (!parse_int(text, &value) || value < FORK_SHARE || value > FORK_CLONE_OR_PRIVATE)
		log_fatal("incorrect " ENV_FORK " value (%s)", text);
	return (enum fork_mode)value;
}

static _Noreturn void
creation_failed(int error)
{
	char text[64];

	log_fatal("vmem pool creation failed: %s", sys_error_text(error, text, sizeof(text)));
}

static void
create_pool(const char *dir, size_t size, enum fork_mode mode)
{
	struct heap *heap;
	int error;

	if (size > (size_t)PTRDIFF_MAX - sys_page_size())
		creation_failed(EINVAL);
	error = backing_create(dir, size);
	if (error != 0)
		creation_failed(error);
	struct heap_config config = {
		.base = backing_base(),
		.size = backing_size(),
		.reserved = backing_reserved(),
		.backing = backing_kind(),
		.zeroed = backing_zeroed(),
		.min_align = 16,
		.name = "libvmmalloc",
	};
	const char *harden = secure_getenv(ENV_HARDEN);
	if (harden_flags(harden, &config.guard) != 0)
		log_fatal("incorrect " ENV_HARDEN " value (%s)", harden);
	error = heap_create(&heap, &config);
	if (error != 0)
		creation_failed(error);
	if (mode == FORK_SHARE)
		backing_forget_file();
	heap_place.base = backing_base();
	heap_place.size = backing_size();
	atomic_store_explicit(&heap_place.heap, heap, memory_order_release); /* pairs with heap_ref */
}

__attribute__((constructor(101))) static void
vmmalloc_init(void)
{
	int saved = errno;

	fork_watch();
	log_init(&library);

	const char *dir = secure_getenv(ENV_DIR), *size_text = secure_getenv(ENV_SIZE);
	if (dir == NULL)
		log_fatal("environment variable " ENV_DIR " not specified");
	if (size_text == NULL)
		log_fatal("environment variable " ENV_SIZE " not specified");
	size_t size = pool_size(size_text);
	enum fork_mode mode = wanted_fork_mode(secure_getenv(ENV_FORK));
	fork_set_mode(mode);

	foreign_init();
	int error = thread_init();
	if (error != 0)
		creation_failed(error);
	create_pool(dir, size, mode);
	LOG(2, "initialization completed");
	errno = saved;
}

#ifdef PMHEAP_DEBUG
void
init_child_log(void)
{
	const char *file = secure_getenv(ENV_LOG_FILE);
	size_t n = file == NULL ? 0 : strlen(file);

	if (n != 0 && file[n - 1] == '-' && heap_ref() != NULL) {
		log_fini();
		log_init(&library);
	}
}

__attribute__((destructor(102))) static void
vmmalloc_fini(void)
{
	const char *stats = secure_getenv(ENV_LOG_STATS);

	if (stats != NULL && strcmp(stats, "1") == 0)
		stats_log();
	log_fini();
}
#else
void
init_child_log(void)
{
}
#endif
