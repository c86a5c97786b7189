/* mt_vmem_pools.c -- threads and pools of libvmem: made, used and deleted all at once, blocks freed elsewhere, threads
 * that end before or after the pools they used
 *
 * Each block is stamped by its owner and looked at before it is freed.
 */
#include "tests/vmem_test.h"

#include <pthread.h>
#include <stdatomic.h>

#define THREADS 16

static _Atomic int failures;

#define EXPECT(cond) ((cond) ? (void)0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond), (void)failures++))

static void
run(int n, void *(*fn)(void *), void *arg)
{
	pthread_t id[THREADS];

	for (int i = 0; i < n; i++)
		cr_assert_eq(pthread_create(&id[i], NULL, fn, arg), 0);
	for (int i = 0; i < n; i++)
		pthread_join(id[i], NULL);
	cr_expect_eq(failures, 0);
}

static void
churn(VMEM *vmp, unsigned rounds, unsigned seed)
{
	enum { LIVE = 64 };
	unsigned char *p[LIVE] = { NULL };
	size_t size[LIVE] = { 0 };

	for (unsigned i = 0; i < rounds; i++) {
		unsigned k;

		seed = seed * 1103515245u + 12345u;
		k = seed >> 16 & (LIVE - 1);
		if (p[k] != NULL) {
			EXPECT(p[k][0] == (unsigned char)k && p[k][size[k] - 1] == (unsigned char)k);
			vmem_free(vmp, p[k]);
		}
		size[k] = (seed >> 8) % (seed % 64 == 0 ? 50000 : 1000) + 1;
		p[k] = vmem_malloc(vmp, size[k]);
		EXPECT(p[k] != NULL);
		if (p[k] != NULL)
			p[k][0] = p[k][size[k] - 1] = (unsigned char)k;
	}
	for (int k = 0; k < LIVE; k++)
		vmem_free(vmp, p[k]);
}

static void *
own_pools(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)&arg;

	(void)arg;
	for (unsigned i = 0; i < 60 / VMEM_TEST_SLOW; i++) {
		VMEM *vmp = vmem_create(test_dir(), VMEM_MIN_POOL);

		EXPECT(vmp != NULL);
		churn(vmp, 2000, seed + i);
		EXPECT(vmem_check(vmp) == 1);
		vmem_delete(vmp);
	}
	return NULL;
}

Test(mt_vmem_pools, sixteen_threads_make_use_and_delete_their_own_pools)
{
	run(THREADS, own_pools, NULL);
}

struct shared {
	VMEM *vmp;
	pthread_barrier_t barrier;
	void *_Atomic box[THREADS][64];
	_Atomic int next;
};

static void *
share_a_pool(void *arg)
{
	struct shared *shared = arg;

	churn(shared->vmp, 40000 / VMEM_TEST_SLOW, (unsigned)(uintptr_t)&arg);
	return NULL;
}

Test(mt_vmem_pools, sixteen_threads_share_one_small_pool)
{
	struct shared shared = { .vmp = file_pool(VMEM_MIN_POOL).vmp };
	void *p;

	run(THREADS, share_a_pool, &shared);
	cr_expect_eq(vmem_check(shared.vmp), 1);
	p = vmem_malloc(shared.vmp, 13 * MIB);
	cr_expect_not_null(p, "all of it is free again");
	vmem_delete(shared.vmp);
}

/* Each thread frees what its neighbour made. */
static void *
hand_on(void *arg)
{
	struct shared *shared = arg;
	int me = shared->next++, to = (me + 1) % THREADS;

	for (unsigned i = 0; i < 40000 / VMEM_TEST_SLOW; i++) {
		unsigned char *p = vmem_malloc(shared->vmp, i % 600 + 1), *old;

		EXPECT(p != NULL);
		if (p != NULL)
			*p = (unsigned char)to;
		old = atomic_exchange(&shared->box[to][i % 64], p);
		if (old != NULL)
			vmem_free(shared->vmp, old);
		old = atomic_exchange(&shared->box[me][i % 64], NULL);
		if (old != NULL) {
			EXPECT(*old == (unsigned char)me);
			vmem_free(shared->vmp, old);
		}
	}
	return NULL;
}

Test(mt_vmem_pools, blocks_are_freed_by_other_threads)
{
	static struct shared shared;

	shared.vmp = file_pool(VMEM_MIN_POOL).vmp;
	run(THREADS, hand_on, &shared);
	for (int t = 0; t < THREADS; t++)
		for (int i = 0; i < 64; i++)
			vmem_free(shared.vmp, shared.box[t][i]);
	cr_expect_eq(vmem_check(shared.vmp), 1);
	cr_expect_not_null(vmem_malloc(shared.vmp, 13 * MIB));
	vmem_delete(shared.vmp);
}

static void *
touch(void *arg)
{
	struct shared *shared = arg;
	void *p = vmem_malloc(shared->vmp, 100);

	EXPECT(p != NULL);
	vmem_free(shared->vmp, p);
	return NULL;
}

Test(mt_vmem_pools, thousands_of_short_threads_lose_nothing)
{
	struct shared shared = { .vmp = file_pool(VMEM_MIN_POOL).vmp };

	for (unsigned i = 0; i < 300 / VMEM_TEST_SLOW; i++)
		run(THREADS, touch, &shared);
	cr_expect_eq(vmem_check(shared.vmp), 1);
	cr_expect_not_null(vmem_malloc(shared.vmp, 13 * MIB));
	vmem_delete(shared.vmp);
}

/* The pool goes, and its address is another pool's, between two uses by threads that live on. */
static void *
use_between_barriers(void *arg)
{
	struct shared *shared = arg;

	for (unsigned i = 0; i < 200 / VMEM_TEST_SLOW; i++) {
		pthread_barrier_wait(&shared->barrier);
		churn(shared->vmp, 200, i);
		pthread_barrier_wait(&shared->barrier);
	}
	return NULL;
}

Test(mt_vmem_pools, a_pool_is_replaced_under_living_threads)
{
	enum { N = 4 };
	struct shared shared = { .next = 0 };
	char *base = region_new(VMEM_MIN_POOL);
	pthread_t id[N];

	pthread_barrier_init(&shared.barrier, NULL, N + 1);
	for (int i = 0; i < N; i++)
		pthread_create(&id[i], NULL, use_between_barriers, &shared);
	for (unsigned i = 0; i < 200 / VMEM_TEST_SLOW; i++) {
		shared.vmp = vmem_create_in_region(base, VMEM_MIN_POOL);
		cr_assert_not_null(shared.vmp);
		pthread_barrier_wait(&shared.barrier);
		pthread_barrier_wait(&shared.barrier);
		cr_assert_eq(vmem_check(shared.vmp), 1);
		vmem_delete(shared.vmp);
		memset(base, 0xff, VMEM_MIN_POOL / VMEM_TEST_SLOW);
	}
	for (int i = 0; i < N; i++)
		pthread_join(id[i], NULL);
	cr_expect_eq(failures, 0);
}

/* Threads end, and give back the caches of pools that the main thread deletes in the same moment. */
struct race {
	VMEM *pools[12]; /* more than fit the table, so that some caches are given up on the way */
	pthread_barrier_t barrier;
};

static void *
use_then_end(void *arg)
{
	struct race *race = arg;

	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 12; i++) {
			void *p = vmem_malloc(race->pools[i], 1000);

			EXPECT(p != NULL);
			vmem_free(race->pools[i], p);
		}
	pthread_barrier_wait(&race->barrier);
	return NULL; /* from here on the pools may go */
}

Test(mt_vmem_pools, threads_end_while_their_pools_are_deleted)
{
	enum { N = 8 };

	for (unsigned round = 0; round < 60 / VMEM_TEST_SLOW; round++) {
		struct race race;
		pthread_t id[N];

		for (int i = 0; i < 12; i++)
			race.pools[i] = file_pool(VMEM_MIN_POOL).vmp;
		pthread_barrier_init(&race.barrier, NULL, N + 1);
		for (int i = 0; i < N; i++)
			pthread_create(&id[i], NULL, use_then_end, &race);
		pthread_barrier_wait(&race.barrier);
		for (int i = 0; i < 12; i++)
			vmem_delete(race.pools[i]);
		for (int i = 0; i < N; i++)
			pthread_join(id[i], NULL);
		pthread_barrier_destroy(&race.barrier);
	}
	cr_expect_eq(failures, 0);
}

/* A thread moves from pool to pool, giving caches up, while others delete pools it is done with. */
struct relay {
	VMEM *_Atomic pools[40];
	_Atomic int done;
};

static void *
walk(void *arg)
{
	struct relay *relay = arg;

	for (int i = 0; i < 40; i++) {
		VMEM *vmp = relay->pools[i];
		void *p = vmem_malloc(vmp, 64);

		EXPECT(p != NULL);
		vmem_free(vmp, p);
		relay->done = i + 1;
	}
	return NULL;
}

Test(mt_vmem_pools, a_cache_is_given_up_while_its_pool_is_deleted)
{
	for (unsigned round = 0; round < 40 / VMEM_TEST_SLOW; round++) {
		struct relay relay = { .done = 0 };
		pthread_t id;

		for (int i = 0; i < 40; i++)
			relay.pools[i] = file_pool(VMEM_MIN_POOL).vmp;
		pthread_create(&id, NULL, walk, &relay);
		for (int i = 0; i < 40; i++) {
			while (relay.done <= i)
				sched_yield();
			vmem_delete(relay.pools[i]);
		}
		pthread_join(id, NULL);
	}
	cr_expect_eq(failures, 0);
}

/* Destructors of thread-specific data that come after ours still use the pool, as often as POSIX lets them come. */
#if defined(__SANITIZE_THREAD__)
#define LATE_ROUNDS ((size_t)2) /* in the last round ThreadSanitizer has already left the thread */
#else
#define LATE_ROUNDS ((size_t)4)
#endif
static pthread_key_t keys[4];
static VMEM *late_pool;

static void
late_use(void *arg)
{
	void *p = vmem_malloc(late_pool, 100), *q = vmem_calloc(late_pool, 3, 1000);
	size_t round = (size_t)arg;

	EXPECT(p != NULL && q != NULL);
	p = vmem_realloc(late_pool, p, 5000);
	EXPECT(p != NULL);
	vmem_free(late_pool, p);
	vmem_free(late_pool, q);
	if (round > 1)
		pthread_setspecific(keys[0], (void *)(round - 1));
}

static void *
end_with_late_use(void *arg)
{
	for (int i = 0; i < 4; i++)
		pthread_setspecific(keys[i], (void *)LATE_ROUNDS);
	churn(late_pool, 100, 1);
	return arg;
}

Test(mt_vmem_pools, destructors_that_come_last_may_allocate)
{
	for (int i = 0; i < 4; i++)
		pthread_key_create(&keys[i], late_use);
	late_pool = file_pool(VMEM_MIN_POOL).vmp;
	for (int i = 0; i < 20; i++)
		run(8, end_with_late_use, NULL);
	cr_expect_eq(vmem_check(late_pool), 1);
	cr_expect_not_null(vmem_malloc(late_pool, 13 * MIB));
	vmem_delete(late_pool);
}

/* A thread that runs out gets what others' caches hold. */
static void *
every_thread_gets_some(void *arg)
{
	struct shared *shared = arg;
	void *p = vmem_malloc(shared->vmp, 100000), *q;

	EXPECT(p != NULL);
	pthread_barrier_wait(&shared->barrier);
	q = vmem_malloc(shared->vmp, 100);
	EXPECT(q != NULL);
	pthread_barrier_wait(&shared->barrier);
	vmem_free(shared->vmp, p);
	vmem_free(shared->vmp, q);
	return NULL;
}

Test(mt_vmem_pools, sixty_four_threads_all_get_memory)
{
	enum { N = 64 };
	struct shared shared = { .vmp = file_pool(VMEM_MIN_POOL).vmp };
	pthread_t id[N];

	pthread_barrier_init(&shared.barrier, NULL, N);
	for (int i = 0; i < N; i++)
		cr_assert_eq(pthread_create(&id[i], NULL, every_thread_gets_some, &shared), 0);
	for (int i = 0; i < N; i++)
		pthread_join(id[i], NULL);
	cr_expect_eq(failures, 0);
	cr_expect_eq(vmem_check(shared.vmp), 1);
	vmem_delete(shared.vmp);
}
