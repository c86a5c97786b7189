/* mt_alloc_lock.c -- the mutex: exclusion, trying, renewal, order of ranks */
#include <criterion/criterion.h>

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "alloc/lock.h"

#define THREADS 8
#define ROUNDS 20000

static struct lock lock;
static uint64_t plain; /* under the lock */

static void *
add(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		lock_take(&lock);
		plain++;
		lock_drop(&lock);
	}
	return arg;
}

Test(mt_alloc_lock, one_at_a_time)
{
	pthread_t threads[THREADS];

	lock_init(&lock, LOCK_BIN);
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, add, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_join(threads[i], NULL), 0);
	cr_assert_eq(plain, (uint64_t)THREADS * ROUNDS);
	cr_assert_eq(lock.word, 0);
}

static void *
wait_for_it(void *arg)
{
	lock_take(&lock);
	plain = 1;
	lock_drop(&lock);
	return arg;
}

Test(mt_alloc_lock, who_waits_sleeps_until_the_drop)
{
	pthread_t thread;

	plain = 0;
	lock_init(&lock, LOCK_BIN);
	lock_take(&lock);
	cr_assert_not(lock_take_try(&lock));
	cr_assert_eq(pthread_create(&thread, NULL, wait_for_it, NULL), 0);
	usleep(5000);
	cr_assert_eq(plain, 0);
	lock_drop(&lock);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert_eq(plain, 1);
	cr_assert(lock_take_try(&lock));
	lock_drop(&lock);
}

Test(mt_alloc_lock, a_renewed_lock_is_free)
{
	lock_init(&lock, LOCK_BIN);
	lock_take(&lock);
	lock_renew(&lock);
	cr_assert_eq(lock.word, 0);
	lock_take(&lock);
	lock_drop(&lock);
}

#if PMHEAP_ASSERT >= 1
Test(mt_alloc_lock, l1_falling_rank_stops_the_program, .signal = SIGABRT)
{
	struct lock extent, bin;

	lock_init(&extent, LOCK_EXTENT);
	lock_init(&bin, LOCK_BIN);
	lock_take(&extent);
	lock_take(&bin);
}

Test(mt_alloc_lock, l1_a_fork_may_take_a_second_heaps_locks)
{
	struct lock extent, bin;

	lock_init(&extent, LOCK_EXTENT);
	lock_init(&bin, LOCK_BIN);
	lock_take(&extent);
	lock_order_exempt(1);
	lock_take(&bin);
	lock_drop(&bin);
	lock_order_exempt(-1);
	lock_drop(&extent);
}
#endif
