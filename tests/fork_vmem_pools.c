/* fork_vmem_pools.c -- pools in private memory go on in a fork's child, whatever the parent's threads were doing */
#include "tests/vmem_test.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define POOLS 3
#define THREADS 4

static struct test_pool pools[POOLS];
static _Atomic int stop, failures;

static void *
churn(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	void *p[64] = { NULL };
	VMEM *of[64];

	while (!stop) {
		unsigned k;

		seed = seed * 1103515245u + 12345u;
		k = seed >> 16 & 63;
		if (p[k] != NULL) {
			vmem_free(of[k], p[k]);
			p[k] = NULL;
		} else {
			of[k] = pools[seed >> 8 & 1 ? seed % POOLS : 0].vmp;
			p[k] = vmem_malloc(of[k], (seed >> 4) % 3000 + 1);
			failures += p[k] == NULL;
		}
		/* pools come and go too: the registry's lock may be held at the fork */
		if (seed % 4096 == 0)
			vmem_delete(vmem_create(test_dir(), VMEM_MIN_POOL));
	}
	for (int k = 0; k < 64; k++)
		if (p[k] != NULL)
			vmem_free(of[k], p[k]);
	return NULL;
}

/* In the child; 0: all is well. */
static int
use_all(void)
{
	alarm(60); /* a lock that nobody will release any more */
	for (int i = 0; i < POOLS; i++) {
		void *p[100];

		for (int k = 0; k < 100; k++) {
			p[k] = vmem_malloc(pools[i].vmp, (size_t)k * 100);
			if (p[k] == NULL)
				return 10 + i;
		}
		for (int k = 0; k < 100; k++)
			vmem_free(pools[i].vmp, p[k]);
		if (vmem_check(pools[i].vmp) != 1)
			return 20 + i;
	}
	VMEM *vmp = vmem_create(test_dir(), VMEM_MIN_POOL);
	if (vmp == NULL || vmem_malloc(vmp, 100) == NULL)
		return 30;
	vmem_delete(vmp);
	for (int i = 0; i < POOLS; i++)
		vmem_delete(pools[i].vmp);
	return 0;
}

Test(fork_vmem_pools, children_of_a_busy_parent_use_their_copies)
{
	pthread_t id[THREADS];

	for (int i = 0; i < POOLS; i++)
		pools[i] = region_pool(VMEM_MIN_POOL);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&id[i], NULL, churn, (void *)(i + 1));
	for (unsigned round = 0; round < 40 / VMEM_TEST_SLOW; round++) {
		pid_t child = fork();
		int status;

		cr_assert_neq(child, -1);
		if (child == 0)
			_exit(use_all());
		cr_assert_eq(waitpid(child, &status, 0), child);
		cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "round %u: status %x", round, (unsigned)status);
	}
	stop = 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(id[i], NULL);
	cr_expect_eq(failures, 0);
	for (int i = 0; i < POOLS; i++) {
		cr_expect_eq(vmem_check(pools[i].vmp), 1, "%s", vmem_errormsg());
		vmem_delete(pools[i].vmp);
	}
}

static void *
fork_here(void *arg)
{
	void *p = vmem_malloc(pools[0].vmp, 100);
	pid_t child = fork();
	int status;

	(void)arg;
	if (child == 0) {
		vmem_free(pools[0].vmp, p);
		_exit(use_all());
	}
	failures += waitpid(child, &status, 0) != child || status != 0;
	vmem_free(pools[0].vmp, p);
	return NULL;
}

Test(fork_vmem_pools, any_thread_may_fork)
{
	pthread_t id[THREADS];

	for (int i = 0; i < POOLS; i++)
		pools[i] = region_pool(VMEM_MIN_POOL);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&id[i], NULL, fork_here, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(id[i], NULL);
	cr_expect_eq(failures, 0);
	for (int i = 0; i < POOLS; i++)
		vmem_delete(pools[i].vmp);
}

/* A child that only ends, or calls exec, must leave shared pools as they are, whatever threads the parent has. */
static struct {
	VMEM *vmp;
	pthread_barrier_t barrier;
	void *blocks[100];
} cached;

static void *
hold_a_cache(void *arg)
{
	for (int i = 0; i < 100; i++)
		cached.blocks[i] = vmem_malloc(cached.vmp, 100);
	for (int i = 0; i < 50; i++)
		vmem_free(cached.vmp, cached.blocks[i]);
	pthread_barrier_wait(&cached.barrier);
	pthread_barrier_wait(&cached.barrier); /* the fork is between */
	for (int i = 0; i < 50; i++) {
		cached.blocks[i] = vmem_malloc(cached.vmp, 100);
		failures += cached.blocks[i] == NULL;
	}
	return arg;
}

static void
fork_beside_a_cache(VMEM *vmp)
{
	void *mine[1000];
	pthread_t id;
	pid_t child;
	int status;

	cr_assert_not_null(vmp);
	cached.vmp = vmp;
	pthread_barrier_init(&cached.barrier, NULL, 2);
	pthread_create(&id, NULL, hold_a_cache, NULL);
	pthread_barrier_wait(&cached.barrier);
	child = fork();
	if (child == 0)
		_exit(0);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect_eq(vmem_check(vmp), 1, "%s", vmem_errormsg());
	for (int i = 0; i < 1000; i++)
		mine[i] = vmem_malloc(vmp, 100);
	pthread_barrier_wait(&cached.barrier);
	pthread_join(id, NULL);
	for (int i = 0; i < 1000; i++)
		for (int k = 0; k < 100; k++)
			cr_assert_neq(mine[i], cached.blocks[k], "one block twice");
	cr_expect_eq(vmem_check(vmp), 1, "%s", vmem_errormsg());
	vmem_delete(vmp);
}

Test(fork_vmem_pools, a_file_pool_is_left_alone)
{
	fork_beside_a_cache(file_pool(VMEM_MIN_POOL).vmp);
}

Test(fork_vmem_pools, a_shared_region_is_left_alone)
{
	void *p = mmap(NULL, VMEM_MIN_POOL, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	fork_beside_a_cache(vmem_create_in_region(p, VMEM_MIN_POOL));
}

/* As daemon(3) does: the parent goes, the child works on. */
Test(fork_vmem_pools, the_child_of_one_thread_goes_on_with_a_file_pool)
{
	struct test_pool pool = file_pool(VMEM_MIN_POOL);
	char *p = vmem_strdup(pool.vmp, "text");
	pid_t child = fork();
	int status;

	if (child == 0) {
		void *q = vmem_malloc(pool.vmp, 100000);

		if (strcmp(p, "text") != 0 || q == NULL)
			_exit(1);
		vmem_free(pool.vmp, p);
		vmem_free(pool.vmp, q);
		_exit(vmem_check(pool.vmp) == 1 ? 0 : 2);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect_eq(status, 0);
}
