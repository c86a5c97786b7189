/* pmem.c -- libpmem: start and end, versions and messages, flush and copy
 *
 * Owns:   nothing.
 * Rules:  B1  the flush and copy functions go straight to the chosen routine and work before the constructor ran.
 *         B2  the constructor changes neither errno nor the working directory, and starts nothing.
 * Locks:  none.
 * Media:  the caller's.
 * Fails:  the functions of this file do not, but pmem_has_auto_flush: -1, errno and message.
 */
#include <errno.h>

#include "api/common/error.h"
#include "api/common/log.h"
#include "api/pmem/os.h"
#include "api/pmem/public.h"
#include "api/pmem/range.h"
#include "flush/flush.h"

/* The engines take the flags as they are. */
_Static_assert((int)PMEM_F_MEM_NODRAIN == FLUSH_NODRAIN && (int)PMEM_F_MEM_NONTEMPORAL == FLUSH_NONTEMPORAL &&
	(int)PMEM_F_MEM_TEMPORAL == FLUSH_TEMPORAL && (int)PMEM_F_MEM_WC == FLUSH_WC && (int)PMEM_F_MEM_WB == FLUSH_WB &&
	(int)PMEM_F_MEM_NOFLUSH == FLUSH_NOFLUSH, "one set of flags");

#ifdef PMHEAP_DEBUG
static void
trace(const char *file, int line, const char *routine, const void *dest, const void *src, size_t len)
{
	log_line(15, file, line, routine, "dest %p src %p len %zu", dest, src, len);
}

#define TRACE_START() (flush_trace = trace)
#else
#define TRACE_START() ((void)0)
#endif

__attribute__((constructor)) static void
pmem_init(void)
{
	static const struct log_library library = {
		"libpmem", "PMEM_LOG_LEVEL", "PMEM_LOG_FILE", PMEM_MAJOR_VERSION, PMEM_MINOR_VERSION,
	};
	const struct flush_ops *ops;
	int error = errno;

	log_init(&library);
	LOG(3, "%s", "");
	TRACE_START();
	range_init();
	os_read_hint();
	ops = flush_init();
	(void)ops;
	LOG(3, "flush: %s, copy: %s", ops->flush_name, ops->engine_name);
	if (!ops->can_persist)
		LOG(2, "this CPU lets no program write back a cache line: no memory counts as persistent");
	errno = error;
}

__attribute__((destructor)) static void
pmem_fini(void)
{
	LOG(3, "%s", "");
	log_fini();
}

const char *
pmem_check_version(unsigned major_required, unsigned minor_required)
{
	LOG(3, "major_required %u minor_required %u", major_required, minor_required);
	if (major_required != PMEM_MAJOR_VERSION) {
		ERROR("libpmem major version mismatch (need %u, found %u)", major_required, PMEM_MAJOR_VERSION);
		return error_get();
	}
	if (minor_required > PMEM_MINOR_VERSION) {
		ERROR("libpmem minor version mismatch (need %u, found %u)", minor_required, PMEM_MINOR_VERSION);
		return error_get();
	}
	return NULL;
}

const char *
pmem_errormsg(void)
{
	return error_get();
}

int
pmem_has_hw_drain(void)
{
	LOG(3, "%s", "");
	return 0;
}

int
pmem_has_auto_flush(void)
{
	int answer = flush_auto_flush();

	LOG(3, "%d", answer);
	if (answer < 0)
		ERROR_ERRNO("cannot tell whether the platform flushes its caches: bus/nd/devices");
	return answer;
}

void
pmem_flush(const void *addr, size_t len)
{
	LOG(15, "addr %p len %zu", addr, len);
	flush_ops()->flush(addr, len);
}

void
pmem_drain(void)
{
	LOG(15, "%s", "");
	flush_ops()->drain();
}

void
pmem_persist(const void *addr, size_t len)
{
	LOG(15, "addr %p len %zu", addr, len);
	flush_persist(addr, len);
}

void
pmem_deep_flush(const void *addr, size_t len)
{
	LOG(15, "addr %p len %zu", addr, len);
	flush_ops()->deep_flush(addr, len);
}

/* Flags that we do not know are another library's own: libpmemobj passes its PMEMOBJ_F_RELAXED on. */
#ifdef PMHEAP_DEBUG
static void
check_flags(unsigned flags)
{
	if ((flags & ~PMEM_F_MEM_VALID_FLAGS) != 0)
		ERROR("invalid flags 0x%x", flags);
}
#else
#define check_flags(flags) ((void)0)
#endif

void *
pmem_memmove(void *pmemdest, const void *src, size_t len, unsigned flags)
{
	LOG(15, "pmemdest %p src %p len %zu flags 0x%x", pmemdest, src, len, flags);
	check_flags(flags);
	return flush_ops()->copy(pmemdest, src, len, flags);
}

void *
pmem_memcpy(void *pmemdest, const void *src, size_t len, unsigned flags)
{
	LOG(15, "pmemdest %p src %p len %zu flags 0x%x", pmemdest, src, len, flags);
	check_flags(flags);
	return flush_ops()->copy(pmemdest, src, len, flags);
}

void *
pmem_memset(void *pmemdest, int c, size_t len, unsigned flags)
{
	LOG(15, "pmemdest %p c %d len %zu flags 0x%x", pmemdest, c, len, flags);
	check_flags(flags);
	return flush_ops()->set(pmemdest, c, len, flags);
}

void *
pmem_memmove_persist(void *pmemdest, const void *src, size_t len)
{
	LOG(15, "pmemdest %p src %p len %zu", pmemdest, src, len);
	return flush_ops()->copy_persist(pmemdest, src, len);
}

void *
pmem_memcpy_persist(void *pmemdest, const void *src, size_t len)
{
	LOG(15, "pmemdest %p src %p len %zu", pmemdest, src, len);
	return flush_ops()->copy_persist(pmemdest, src, len);
}

void *
pmem_memset_persist(void *pmemdest, int c, size_t len)
{
	LOG(15, "pmemdest %p c %d len %zu", pmemdest, c, len);
	return flush_ops()->set_persist(pmemdest, c, len);
}

void *
pmem_memmove_nodrain(void *pmemdest, const void *src, size_t len)
{
	LOG(15, "pmemdest %p src %p len %zu", pmemdest, src, len);
	return flush_ops()->copy_nodrain(pmemdest, src, len);
}

void *
pmem_memcpy_nodrain(void *pmemdest, const void *src, size_t len)
{
	LOG(15, "pmemdest %p src %p len %zu", pmemdest, src, len);
	return flush_ops()->copy_nodrain(pmemdest, src, len);
}

void *
pmem_memset_nodrain(void *pmemdest, int c, size_t len)
{
	LOG(15, "pmemdest %p c %d len %zu", pmemdest, c, len);
	return flush_ops()->set_nodrain(pmemdest, c, len);
}
