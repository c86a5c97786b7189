/* mt_api_registry.c -- the registry of live pools: found while they live and never after, by any number of threads */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "api/common/registry.h"

#define PAGE ((uintptr_t)4096)

static void *
address(uintptr_t n)
{
	return (void *)(n * PAGE);
}

static struct live_pool *
enter(void *handle, size_t size)
{
	struct live_pool *pool = registry_new();

	cr_assert_not_null(pool);
	pool->size = size;
	registry_lock();
	cr_assert_eq(registry_reserve(), 0);
	registry_insert(pool, handle);
	registry_unlock();
	return pool;
}

static void
leave(struct live_pool *pool)
{
	registry_lock();
	pthread_rwlock_wrlock(&pool->life);
	registry_remove(pool);
	pthread_rwlock_unlock(&pool->life);
	registry_unlock();
	registry_free(pool);
}

Test(mt_api_registry, pools_are_found_by_their_address_only)
{
	struct live_pool *pool;

	cr_expect_null(registry_find(NULL));
	cr_expect_null(registry_find(address(1)));
	pool = enter(address(100), 10 * PAGE);
	cr_expect_eq(registry_find(address(100)), pool);
	cr_expect_null(registry_find(address(101)));
	cr_expect_null(registry_find((char *)address(100) + 1));
	cr_expect_eq(registry_pin(address(100)), pool);
	registry_unpin(pool);
	leave(pool);
	cr_expect_null(registry_find(address(100)));
	cr_expect_null(registry_pin(address(100)));
}

Test(mt_api_registry, the_generation_moves_when_a_pool_goes)
{
	uint64_t before = registry_generation();
	struct live_pool *pool = enter(address(5), PAGE);

	cr_expect_eq(registry_generation(), before);
	leave(pool);
	cr_expect_neq(registry_generation(), before);
}

Test(mt_api_registry, overlaps)
{
	struct live_pool *a = enter(address(100), 10 * PAGE), *b = enter(address(110), 10 * PAGE), *c;

	registry_lock();
	cr_expect_null(registry_overlapping(a));
	cr_expect_null(registry_overlapping(b));
	registry_unlock();
	c = enter(address(105), 6 * PAGE);
	registry_lock();
	cr_expect_eq(registry_overlapping(a), c);
	cr_expect_eq(registry_overlapping(b), c);
	cr_expect(registry_overlapping(c) == a || registry_overlapping(c) == b);
	registry_unlock();
	leave(a);
	leave(b);
	registry_lock();
	cr_expect_null(registry_overlapping(c));
	registry_unlock();
	leave(c);
}

/* Every seventh far away, as 4 MiB aligned pools are. */
static void *
place(unsigned k)
{
	return address((uintptr_t)(k + 1) * (k % 7 == 0 ? 4096 : 1) + 1);
}

static void
count(void *ctx, struct live_pool *pool)
{
	(void)pool;
	++*(size_t *)ctx;
}

/* Against a plain array, with handles close together so that they meet in the table. */
Test(mt_api_registry, any_order_of_coming_and_going)
{
	enum { N = 3000 };
	static struct live_pool *pools[N];
	size_t live = 0, counted = 0;
	unsigned seed = 1;

	for (int i = 0; i < 60000; i++) {
		unsigned k;

		seed = seed * 1103515245u + 12345u;
		k = (seed >> 16) % N;
		if (pools[k] != NULL) {
			cr_assert_eq(registry_find(place(k)), pools[k]);
			leave(pools[k]);
			pools[k] = NULL;
			live--;
		} else if (registry_find(place(k)) == NULL) {
			pools[k] = enter(place(k), PAGE);
			live++;
		}
	}
	for (unsigned k = 0; k < N; k++)
		if (pools[k] != NULL)
			cr_expect_eq(registry_find(place(k)), pools[k]);
	registry_lock();
	registry_each(count, &counted);
	registry_unlock();
	cr_expect_eq(counted, live);
}

/* Each thread's own pools are always found, whatever the others do to the table meanwhile. */
static _Atomic int failures;

static void *
come_and_go(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	struct live_pool *pools[32];

	for (int round = 0; round < 60; round++) {
		for (uintptr_t i = 0; i < 32; i++)
			pools[i] = enter(address(me * 64 + i + 1), PAGE);
		for (int k = 0; k < 200; k++) {
			uintptr_t i = (uintptr_t)k % 32;

			failures += registry_find(address(me * 64 + i + 1)) != pools[i];
			failures += registry_find(address(me * 64 + 40)) != NULL;
		}
		for (uintptr_t i = 0; i < 32; i++) {
			struct live_pool *pinned = registry_pin(address(me * 64 + i + 1));

			failures += pinned != pools[i];
			if (pinned != NULL)
				registry_unpin(pinned);
			leave(pools[i]);
			failures += registry_find(address(me * 64 + i + 1)) != NULL;
		}
	}
	return NULL;
}

Test(mt_api_registry, threads_find_their_own)
{
	enum { N = 8 };
	pthread_t id[N];

	for (uintptr_t i = 0; i < N; i++)
		cr_assert_eq(pthread_create(&id[i], NULL, come_and_go, (void *)(i + 1)), 0);
	for (int i = 0; i < N; i++)
		pthread_join(id[i], NULL);
	cr_expect_eq(failures, 0);
}

/* A pinned pool does not go before it is let go. */
static struct live_pool *pinned_pool;
static _Atomic int gone;

static void *
delete_it(void *arg)
{
	leave(pinned_pool);
	gone = 1;
	return arg;
}

Test(mt_api_registry, a_pin_holds_the_pool)
{
	pthread_t id;

	pinned_pool = enter(address(77), PAGE);
	cr_assert_eq(registry_pin(address(77)), pinned_pool);
	pthread_create(&id, NULL, delete_it, NULL);
	for (int i = 0; i < 1000; i++) {
		cr_assert_eq(gone, 0);
		sched_yield();
	}
	registry_unpin(pinned_pool);
	pthread_join(id, NULL);
	cr_expect_eq(gone, 1);
	cr_expect_null(registry_pin(address(77)));
}
