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
