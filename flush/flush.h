/* flush.h -- write-back, fence, copy and set for memory that may outlive the power
 *
 * Every function may be called from any thread at any time, also before any constructor ran: the first call chooses.
 * The choice (instruction, width, thresholds) is made once, from the CPU and the environment (doc/flush.md), and is
 * constant from then on. Nothing here sets errno, allocates or blocks.
 *
 * Addresses need no alignment; a length of 0 does nothing. copy and set keep these promises on every engine:
 *   - no byte outside [dest, dest + len) is written and none outside [src, src + len) is read;
 *   - source and destination may overlap in any way;
 *   - every 8-byte word at a multiple of 8 that lies wholly inside the destination goes from its old to its new value
 *     in one store, whatever the alignment of dest and len.
 */
#ifndef FLUSH_FLUSH_H
#define FLUSH_FLUSH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Flags of flush_copy and flush_set: the values of PMEM_F_MEM_*. Others are ignored. */
enum {
	FLUSH_NODRAIN = 1 << 0,     /* the caller drains later */
	FLUSH_NONTEMPORAL = 1 << 1, /* past the cache */
	FLUSH_TEMPORAL = 1 << 2,    /* through the cache */
	FLUSH_WC = 1 << 3,
	FLUSH_WB = 1 << 4,
	FLUSH_NOFLUSH = 1 << 5, /* only copy; the caller flushes and drains */
};

struct flush_ops {
	/* Starts write-back of every line that [addr, addr + len) touches; flush: nothing when caches are persistent. */
	void (*flush)(const void *addr, size_t len);
	void (*deep_flush)(const void *addr, size_t len);
	void (*drain)(void); /* waits for what was flushed or stored past the cache */
	void (*persist)(const void *addr, size_t len); /* flush and drain: each call costs a store to the stack, which waits */
	void *(*copy_persist)(void *dest, const void *src, size_t len);
	void *(*copy_nodrain)(void *dest, const void *src, size_t len);
	void *(*copy)(void *dest, const void *src, size_t len, unsigned flags);
	void *(*set_persist)(void *dest, int c, size_t len);
	void *(*set_nodrain)(void *dest, int c, size_t len);
	void *(*set)(void *dest, int c, size_t len, unsigned flags);
	const char *flush_name;  /* "clwb", "empty", ... */
	const char *engine_name; /* "avx512f", "generic", "libc", ... */
	bool can_persist;        /* false: this CPU gives user programs no way to write a line back */
};

/* Points at functions that choose and go on, until the choice is made. Hidden: it is read without the GOT. */
extern _Atomic(const struct flush_ops *) flush_current __attribute__((visibility("hidden")));

/* Makes the choice if none is made; what holds now. A call that comes while another thread chooses (or from a signal
 * handler on top of one that does) gets the engine that works on every CPU of this architecture. */
const struct flush_ops *flush_init(void);

bool flush_chosen(void);

static inline const struct flush_ops *
flush_ops(void)
{
	return atomic_load_explicit(&flush_current, memory_order_acquire); /* pairs with the release in flush_init */
}

static inline void
flush_range(const void *addr, size_t len)
{
	flush_ops()->flush(addr, len);
}

static inline void
flush_drain(void)
{
	flush_ops()->drain();
}

static inline void
flush_persist(const void *addr, size_t len)
{
	flush_ops()->persist(addr, len);
}

static inline void *
flush_copy(void *dest, const void *src, size_t len, unsigned flags)
{
	return flush_ops()->copy(dest, src, len, flags);
}

static inline void *
flush_set(void *dest, int c, size_t len, unsigned flags)
{
	return flush_ops()->set(dest, c, len, flags);
}

/* 1: the platform writes the caches back on power failure (every persistent-memory region says so); 0: it does not, or
 * there is no such region; -1 and errno: it cannot be told. Asked of sysfs once, then remembered. */
int flush_auto_flush(void);

#ifdef PMHEAP_DEBUG
/* Called by each copy and set with the routine that was chosen, when not NULL. */
extern void (*flush_trace)(const char *file, int line, const char *routine, const void *dest, const void *src,
    size_t len);
#endif

#endif
