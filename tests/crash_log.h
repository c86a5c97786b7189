/* crash_log.h -- a workload that says what it has completed, for those who kill it
 *
 * The log is in memory that outlives the worker (a shared mapping outside of the heap). What it says is true at every
 * instruction: a slot is LIVE only while its block is allocated and holds its bytes. An operation that a kill interrupts
 * leaves its slot BUSY, and nothing is known about its block.
 */
#ifndef TESTS_CRASH_LOG_H
#define TESTS_CRASH_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRASH_THREADS 4
#define CRASH_SLOTS 48

enum crash_state { CRASH_NONE, CRASH_LIVE, CRASH_BUSY };

struct crash_slot {
	_Atomic uint32_t state;
	uint32_t stamp; /* its bytes follow from it */
	uint64_t off;   /* of the block, from the region's base */
	uint64_t size;
	uint64_t want; /* BUSY: bytes that the operation takes or gives back, or both */
};

struct crash_log {
	_Atomic uint64_t ops;   /* completed */
	_Atomic uint32_t stage; /* the worker's own use */
	_Atomic uint64_t lost;  /* the same: bytes that belong to nobody any more */
	struct crash_slot slots[CRASH_THREADS][CRASH_SLOTS];
};

/* The heap that the worker works on. `take`: aligned to `align`, a power of two; 0: any. */
struct crash_heap {
	void *ctx;
	char *base;
	void *(*take)(void *ctx, size_t align, size_t size);
	void *(*resize)(void *ctx, void *p, size_t size);
	void (*give)(void *ctx, void *p);
};

struct crash_work {
	const struct crash_heap *heap;
	struct crash_log *log;
	unsigned thread;
	uint64_t seed;
	uint64_t ops;    /* 0: until killed */
	size_t size_max; /* of a block, about */
	bool thin;       /* only the ends of blocks are written: for those who are stepped through */
};

void crash_work(const struct crash_work *work);

/* Bytes that the operations under way can have in blocks of which the log does not know, with their slots' rest. */
uint64_t crash_log_under_way(const struct crash_log *log);

/* Before a new worker: what the last one left BUSY is nobody's. Returns how many. */
unsigned crash_log_forget(struct crash_log *log);

/* The bytes of a live block, by the same rule. */
bool crash_block_intact(const struct crash_slot *slot, const char *base, bool thin);

/* Looks at all live slots: intact, and no two over each other. NULL, or what is wrong. `n`: how many. */
const char *crash_log_verify(const struct crash_log *log, const char *base, bool thin, unsigned *n);

/* A live slot of which [off, off + size) has a byte, or NULL. */
const struct crash_slot *crash_log_at(const struct crash_log *log, uint64_t off, uint64_t size);

uint64_t crash_random(uint64_t *state);

#endif
