/* lock.c -- see lock.h
 *
 * The three-state futex mutex of Drepper's "Futexes Are Tricky" (2011), with a short spin in front: the allocator's
 * critical sections are mostly shorter than a sleep.
 *
 * Owns:   the lock word's protocol; in assertion builds, the ranks that each thread holds.
 * Media:  process only.
 */
#include "alloc/lock.h"

#include <stdbool.h>

#include "alloc/assert.h"
#include "alloc/os.h"

#define SPINS 64

#if PMHEAP_ASSERT >= 1
/* Held locks of this thread, by rank. */
static __thread uint16_t held[LOCK_EXTENT + 1];

static __thread int exempt;

static void
rank_check(const struct lock *lock)
{
	if (exempt > 0)
		return;
	for (unsigned rank = lock->rank; rank <= LOCK_EXTENT; rank++) {
		bool many = rank == lock->rank && (rank == LOCK_TCACHE || rank == LOCK_BIN) && held[LOCK_TCACHES] != 0;

		if (held[rank] != 0 && !many)
			os_fatal("pmheap", "assertion failure: lock taken against the order of ranks", lock);
	}
}
#define RANK_CHECK(lock) rank_check(lock)
#define RANK_ADD(lock, n) (held[(lock)->rank] = (uint16_t)(held[(lock)->rank] + (n)))
#define EXEMPT(n) (exempt += (n))
#else
#define EXEMPT(n) ((void)(n))
#define RANK_CHECK(lock) ((void)0)
#define RANK_ADD(lock, n) ((void)0)
#endif

static inline void
pause_cpu(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

void
lock_init(struct lock *lock, enum lock_rank rank)
{
	atomic_init(&lock->word, 0);
	lock->rank = rank;
}

bool
lock_take_try(struct lock *lock)
{
	uint32_t expected = 0;

	if (!atomic_compare_exchange_strong_explicit(&lock->word, &expected, 1, memory_order_acquire,
						     memory_order_relaxed))
		return false;
	RANK_ADD(lock, 1);
	return true;
}

void
lock_take(struct lock *lock)
{
	RANK_CHECK(lock);
	for (int i = 0; i < SPINS; i++) {
		if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 && lock_take_try(lock))
			return;
		pause_cpu();
	}
	while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
		os_wait(&lock->word, 2);
	RANK_ADD(lock, 1);
}

void
lock_drop(struct lock *lock)
{
	RANK_ADD(lock, -1);
	if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
		os_wake(&lock->word, 1);
}

void
lock_renew(struct lock *lock)
{
	RANK_ADD(lock, -1);
	atomic_store_explicit(&lock->word, 0, memory_order_relaxed);
}

void
lock_order_exempt(int n)
{
	EXEMPT(n);
}
