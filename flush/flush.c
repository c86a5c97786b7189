/* flush.c -- the choice, made once; and what serves until it is made
 *
 * Owns:   the chosen table, the engines' settings.
 * Rules:  F1  flush_current always points at a table that works: first at one whose functions choose and go on, then
 *             at the chosen one, for good.
 *         F2  one thread chooses; calls that come meanwhile use the baseline, so nothing ever waits, and a signal
 *             handler may call in at any point.
 *         F3  the choice is final, so it waits for the environment: calls before libc's constructor get the baseline.
 *         F4  errno is the same before and after.
 * Locks:  none; the state word and the published pointer are atomic.
 * Media:  none.
 * Fails:  never.
 */
#include "flush/flush.h"

#include <errno.h>
#include <string.h>

#include "flush/arch.h"
#include "flush/copy.h"
#include "flush/cpu.h"

struct copy_settings copy_settings;

static struct flush_ops chosen;

/* --- baseline: right on every CPU of the architecture, reads nothing that the choice writes ---------------------- */

#if defined(__x86_64__)
#define BASE_KIND LINE_CLFLUSH
#define BASE_NAME "clflush"
#define BASE_PERSISTS true
#elif defined(__aarch64__)
#define BASE_KIND LINE_ARCH
#define BASE_NAME "cvac"
#define BASE_PERSISTS true
#else
#define BASE_KIND LINE_ARCH
#define BASE_NAME "empty"
#define BASE_PERSISTS false
#endif

ARCH_FLUSH(base, BASE_KIND)

static void
drain_base(void)
{
	line_fence();
}

static void *
copy_base(void *dest, const void *src, size_t len, unsigned flags)
{
	copy_generic[BASE_KIND].copy(dest, src, len, (flags & FLUSH_NOFLUSH) | FLUSH_TEMPORAL | FLUSH_NODRAIN);
	if ((flags & (FLUSH_NOFLUSH | FLUSH_NODRAIN)) == 0)
		line_fence();
	return dest;
}

static void *
copy_persist_base(void *dest, const void *src, size_t len)
{
	return copy_base(dest, src, len, 0);
}

static void *
copy_nodrain_base(void *dest, const void *src, size_t len)
{
	return copy_base(dest, src, len, FLUSH_NODRAIN);
}

static void *
set_base(void *dest, int c, size_t len, unsigned flags)
{
	copy_generic[BASE_KIND].set(dest, c, len, (flags & FLUSH_NOFLUSH) | FLUSH_TEMPORAL | FLUSH_NODRAIN);
	if ((flags & (FLUSH_NOFLUSH | FLUSH_NODRAIN)) == 0)
		line_fence();
	return dest;
}

static void *
set_persist_base(void *dest, int c, size_t len)
{
	return set_base(dest, c, len, 0);
}

static void *
set_nodrain_base(void *dest, int c, size_t len)
{
	return set_base(dest, c, len, FLUSH_NODRAIN);
}

static const struct flush_ops baseline = {
	.flush = flush_base,
	.deep_flush = flush_base,
	.drain = drain_base,
	.persist = persist_base,
	.copy_persist = copy_persist_base,
	.copy_nodrain = copy_nodrain_base,
	.copy = copy_base,
	.set_persist = set_persist_base,
	.set_nodrain = set_nodrain_base,
	.set = set_base,
	.flush_name = BASE_NAME,
	.engine_name = "generic",
	.can_persist = BASE_PERSISTS,
};

/* --- until the choice is made ------------------------------------------------------------------------------------ */

/* Before libc knows the environment nothing is chosen yet. */
static const struct flush_ops *
first(void)
{
	return cpu_has_environment() ? flush_init() : &baseline;
}

static void
first_flush(const void *addr, size_t len)
{
	first()->flush(addr, len);
}

static void
first_deep_flush(const void *addr, size_t len)
{
	first()->deep_flush(addr, len);
}

static void
first_drain(void)
{
	first()->drain();
}

static void
first_persist(const void *addr, size_t len)
{
	first()->persist(addr, len);
}

static void *
first_copy_persist(void *dest, const void *src, size_t len)
{
	return first()->copy_persist(dest, src, len);
}

static void *
first_copy_nodrain(void *dest, const void *src, size_t len)
{
	return first()->copy_nodrain(dest, src, len);
}

static void *
first_copy(void *dest, const void *src, size_t len, unsigned flags)
{
	return first()->copy(dest, src, len, flags);
}

static void *
first_set_persist(void *dest, int c, size_t len)
{
	return first()->set_persist(dest, c, len);
}

static void *
first_set_nodrain(void *dest, int c, size_t len)
{
	return first()->set_nodrain(dest, c, len);
}

static void *
first_set(void *dest, int c, size_t len, unsigned flags)
{
	return first()->set(dest, c, len, flags);
}

static const struct flush_ops first_call = {
	.flush = first_flush,
	.deep_flush = first_deep_flush,
	.drain = first_drain,
	.persist = first_persist,
	.copy_persist = first_copy_persist,
	.copy_nodrain = first_copy_nodrain,
	.copy = first_copy,
	.set_persist = first_set_persist,
	.set_nodrain = first_set_nodrain,
	.set = first_set,
	.flush_name = "not chosen",
	.engine_name = "not chosen",
	.can_persist = false,
};

_Atomic(const struct flush_ops *) flush_current = &first_call;

bool
flush_chosen(void)
{
	return flush_ops() != &first_call;
}

const struct flush_ops *
flush_init(void)
{
	static atomic_bool begun;
	const struct flush_ops *now = atomic_load_explicit(&flush_current, memory_order_acquire);
	struct copy_settings settings = copy_settings;
	struct cpu_wishes wishes;
	int error = errno;

	if (now != &first_call)
		return now;
	if (atomic_exchange_explicit(&begun, true, memory_order_relaxed))
		return &baseline; /* F2 */
	cpu_read_wishes(&wishes, cpu_getenv);
	if (wishes.no_flush < 0)
		wishes.no_flush = flush_auto_flush() == 1;
	arch_choose(&chosen, &settings, &wishes);
	copy_settings = settings;
	/* pairs with the acquire in flush_ops: who sees the pointer sees the table and the settings */
	atomic_store_explicit(&flush_current, &chosen, memory_order_release);
	errno = error;
	return &chosen;
}

int
flush_auto_flush(void)
{
	static atomic_int known = -1; /* relaxed: it stands for itself, and every thread finds the same */
	int answer = atomic_load_explicit(&known, memory_order_relaxed), error = errno;

	if (answer < 0) {
		answer = cpu_auto_flush();
		if (answer < 0)
			return -1;
		atomic_store_explicit(&known, answer, memory_order_relaxed);
		errno = error;
	}
	return answer;
}

#ifdef PMHEAP_DEBUG
void (*flush_trace)(const char *file, int line, const char *routine, const void *dest, const void *src, size_t len);

void
copy_trace(const char *file, int line, const char *prefix, const char *name, const char *suffix, const void *dest,
    const void *src, size_t len)
{
	char routine[80] = "";

	if (flush_trace == NULL)
		return;
	/* the parts are names out of the engines: 64 bytes at most */
	strcat(strcat(strcat(routine, prefix), name), suffix);
	flush_trace(file, line, routine, dest, src, len);
}
#endif
