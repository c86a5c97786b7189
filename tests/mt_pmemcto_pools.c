/* mt_pmemcto_pools.c -- libpmemcto with threads: many pools at once, threads that come and go, sessions without loss */
#define _GNU_SOURCE
#include "tests/pmemcto_test.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

TestSuite(mt_pmemcto_pools, .init = test_dir_make, .fini = test_dir_remove);

#define MAX_THREADS 64

static uint64_t
next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void
start_all(pthread_t *threads, unsigned n, void *(*fn)(void *))
{
	for (uintptr_t i = 0; i < n; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, fn, (void *)i), 0);
}

static void
join_all(pthread_t *threads, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

/* Largest block that the pool gives. */
static size_t
largest_block(PMEMctopool *pcp)
{
	size_t low = 0, high = (size_t)1 << 40;

	while (high - low > 4096) {
		size_t middle = low + (high - low) / 2;
		void *p = pmemcto_malloc(pcp, middle);

		if (p != NULL) {
			pmemcto_free(pcp, p);
			low = middle;
		} else {
			high = middle;
		}
	}
	return low;
}

/* --- sessions without loss ----------------------------------------------------------------------------------- */

static const char *path;
static PMEMctopool *pool;
static pthread_barrier_t used;
static unsigned cycles;

static void
use_some(uint64_t *seed)
{
	enum { BLOCKS = 6 };
	void *blocks[BLOCKS];

	for (int i = 0; i < BLOCKS; i++) {
		size_t size = (size_t)(next(seed) % (next(seed) % 8 ? 1000 : 40000));

		blocks[i] = pmemcto_malloc(pool, size);
		cr_assert_not_null(blocks[i]);
		memset(blocks[i], i, size);
	}
	for (int i = 0; i < BLOCKS; i++)
		pmemcto_free(pool, blocks[i]);
}

/* Threads that live as long as many sessions: their caches end with each in which they have any. */
static struct worker {
	pthread_t id;
	sem_t turn;
	_Atomic bool last; /* ends instead of taking its turn */
	uint64_t seed;
} workers[MAX_THREADS];
static sem_t turns_done;

static void *
sessions_thread(void *arg)
{
	struct worker *worker = arg;

	for (;;) {
		while (sem_wait(&worker->turn) != 0)
			cr_assert_eq(errno, EINTR);
		if (atomic_load(&worker->last))
			return NULL;
		use_some(&worker->seed);
		sem_post(&turns_done);
	}
}

static void
worker_start(struct worker *worker)
{
	atomic_store(&worker->last, false);
	sem_init(&worker->turn, 0, 0);
	cr_assert_eq(pthread_create(&worker->id, NULL, sessions_thread, worker), 0);
}

static void
worker_end(struct worker *worker)
{
	atomic_store(&worker->last, true);
	sem_post(&worker->turn);
	pthread_join(worker->id, NULL);
}

/* Sessions used by `threads` threads, by all of them at once in every 50th and by four of them, in turn, in the others:
 * most of the time of a session goes to making caches for those who use it. With every 50th one thread, which has just
 * used the pool, ends before the pool is closed, and a new one takes its place. */
static void
sessions(unsigned threads, unsigned n)
{
	size_t at_first;
	void *kept;

	path = in_dir("pool");
	pool = pool_make(path, 32 * MIB);
	at_first = largest_block(pool);
	kept = pmemcto_strdup(pool, "kept");
	pmemcto_set_root_pointer(pool, kept);
	pmemcto_close(pool);
	sem_init(&turns_done, 0, 0);
	for (unsigned i = 0; i < threads; i++) {
		workers[i].seed = i + 1;
		worker_start(&workers[i]);
	}
	for (unsigned i = 0; i < n; i++) {
		unsigned users = i % 50 == 0 || threads < 4 ? threads : 4;

		pool = pool_reopen(path);
		cr_assert_eq(pmemcto_get_root_pointer(pool), kept);
		for (unsigned k = 0; k < users; k++)
			sem_post(&workers[(4 * i + k) % threads].turn);
		for (unsigned k = 0; k < users; k++)
			while (sem_wait(&turns_done) != 0)
				cr_assert_eq(errno, EINTR);
		if (i % 50 == 0) {
			worker_end(&workers[i / 50 % threads]);
			worker_start(&workers[i / 50 % threads]);
		}
		pmemcto_close(pool);
	}
	for (unsigned i = 0; i < threads; i++)
		worker_end(&workers[i]);
	cr_expect_eq(pmemcto_check(path, "test"), 1, "%s", pmemcto_errormsg());
	pool_reopen(path);
	cr_expect_str_eq((char *)kept, "kept");
	pmemcto_free(pool, kept);
	cr_expect_eq(largest_block(pool), at_first, "nothing was lost over %u sessions", n);
	pmemcto_close(pool);
}

Test(mt_pmemcto_pools, ten_thousand_sessions_of_one_thread_lose_nothing)
{
	sessions(1, 10000 / CTO_TEST_SLOW);
}

Test(mt_pmemcto_pools, ten_thousand_sessions_of_64_threads_lose_nothing)
{
	sessions(64, 10000 / CTO_TEST_SLOW);
}

/* Threads of one session each, some gone before the pool is closed, some ending while it is. */
static void *
one_session_thread(void *arg)
{
	uint64_t seed = (uintptr_t)arg + 1;

	use_some(&seed);
	pthread_barrier_wait(&used);
	return NULL;
}

Test(mt_pmemcto_pools, threads_that_end_while_the_pool_closes)
{
	enum { THREADS = 16 };
	pthread_t ids[THREADS];
	size_t at_first;

	path = in_dir("pool");
	pool = pool_make(path, 32 * MIB);
	at_first = largest_block(pool);
	pthread_barrier_init(&used, NULL, THREADS + 1);
	for (unsigned i = 0; i < 300 / CTO_TEST_SLOW; i++) {
		start_all(ids, THREADS, one_session_thread);
		pthread_barrier_wait(&used); /* from here on they end */
		pmemcto_close(pool);
		pool_reopen(path);
		join_all(ids, THREADS);
	}
	cr_expect_eq(largest_block(pool), at_first);
	pmemcto_close(pool);
	cr_expect_eq(pmemcto_check(path, "test"), 1, "%s", pmemcto_errormsg());
}

/* --- no thread runs out while there is room ------------------------------------------------------------------- */

static void *
fill_own_share(void *arg)
{
	enum { BLOCKS = 1000 };
	void *blocks[BLOCKS];

	(void)arg;
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < BLOCKS; i++) {
			blocks[i] = pmemcto_malloc(pool, 100);
			cr_assert_not_null(blocks[i], "ENOMEM with megabytes free");
		}
		for (int i = 0; i < BLOCKS; i++)
			pmemcto_free(pool, blocks[i]);
	}
	return NULL;
}

Test(mt_pmemcto_pools, sixty_four_threads_share_the_smallest_pool)
{
	pthread_t ids[MAX_THREADS];

	path = in_dir("pool");
	pool = pool_make(path, PMEMCTO_MIN_POOL);
	start_all(ids, MAX_THREADS, fill_own_share);
	join_all(ids, MAX_THREADS);
	cr_expect_not_null(pmemcto_malloc(pool, 12 * MIB), "and leave it whole");
	pmemcto_close(pool);
	cr_expect_eq(pmemcto_check(path, "test"), 1, "%s", pmemcto_errormsg());
}

/* --- many pools ---------------------------------------------------------------------------------------------- */

static unsigned pools_each, rounds_each;

static void *
make_and_remove_pools(void *arg)
{
	char name[256];

	for (unsigned round = 0; round < rounds_each; round++) {
		for (unsigned i = 0; i < pools_each; i++) {
			PMEMctopool *pcp;

			snprintf(name, sizeof(name), "%s/%u-%u", test_dir, (unsigned)(uintptr_t)arg, i);
			pcp = pool_make(name, PMEMCTO_MIN_POOL);
			cr_assert_not_null(pmemcto_malloc(pcp, 4));
			pmemcto_close(pcp);
			pcp = pmemcto_open(name, "test");
#ifdef __SANITIZE_THREAD__
			/* the few addresses that the checker allows go to whoever comes first */
			cr_assert(pcp != NULL || errno == ENOMEM, "%s", pmemcto_errormsg());
#else
			cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
#endif
			if (pcp != NULL) {
				pmemcto_free(pcp, pmemcto_malloc(pcp, 1000));
				pmemcto_close(pcp);
			}
			cr_assert_eq(unlink(name), 0);
		}
	}
	return NULL;
}

Test(mt_pmemcto_pools, sixteen_threads_make_open_and_close_pools)
{
	pthread_t ids[16];

	pools_each = 4;
	rounds_each = CTO_TEST_SLOW > 1 ? 2 : 10;
	start_all(ids, 16, make_and_remove_pools);
	join_all(ids, 16);
	cr_expect_eq(files_in_dir(), 0);
}

/* One pool, many who want to open it. */
static _Atomic unsigned opens;

static void *
want_it(void *arg)
{
	(void)arg;
	while (atomic_load(&opens) < cycles) {
		PMEMctopool *pcp = pmemcto_open(path, "test");

		if (pcp == NULL) {
			cr_assert_eq(errno, EAGAIN, "%s", pmemcto_errormsg());
			continue;
		}
		unsigned *count = pmemcto_get_root_pointer(pcp);
		unsigned seen = *count;

		pmemcto_free(pcp, pmemcto_malloc(pcp, 50));
		*count = seen + 1;
		atomic_fetch_add(&opens, 1);
		pmemcto_close(pcp);
	}
	return NULL;
}

Test(mt_pmemcto_pools, threads_take_turns_with_one_pool)
{
	pthread_t ids[8];

	path = in_dir("pool");
	pool = pool_make(path, PMEMCTO_MIN_POOL);
	pmemcto_set_root_pointer(pool, pmemcto_calloc(pool, 1, sizeof(unsigned)));
	pmemcto_close(pool);
	cycles = 400 / CTO_TEST_SLOW;
	start_all(ids, 8, want_it);
	join_all(ids, 8);
	pool_reopen(path);
	cr_expect_eq(*(unsigned *)pmemcto_get_root_pointer(pool), atomic_load(&opens));
	pmemcto_close(pool);
	cr_expect_eq(pmemcto_check(path, "test"), 1);
}

/* --- blocks that pass between threads ------------------------------------------------------------------------- */

static void *_Atomic mailbox[256];

static void *
pass_blocks(void *arg)
{
	uint64_t seed = (uintptr_t)arg * 77 + 1;

	for (unsigned i = 0; i < 30000 / CTO_TEST_SLOW; i++) {
		size_t size = (size_t)(next(&seed) % 3000) + 2 * sizeof(size_t);
		size_t *p = pmemcto_malloc(pool, size);

		if (p != NULL) {
			p[0] = size;
			((char *)p)[size - 1] = (char)size;
		}
		p = atomic_exchange(&mailbox[next(&seed) % 256], p);
		if (p != NULL) {
			size = p[0];
			cr_assert_eq(((char *)p)[size - 1], (char)size);
			pmemcto_free(pool, p);
		}
	}
	return NULL;
}

Test(mt_pmemcto_pools, blocks_pass_between_threads_and_sessions)
{
	pthread_t ids[8];

	path = in_dir("pool");
	pool = pool_make(path, 32 * MIB);
	for (int session = 0; session < 5; session++) {
		start_all(ids, 8, pass_blocks);
		join_all(ids, 8);
		pmemcto_close(pool);
		cr_expect_eq(pmemcto_check(path, "test"), 1, "%s", pmemcto_errormsg());
		pool_reopen(path);
	}
	for (int i = 0; i < 256; i++)
		if (mailbox[i] != NULL)
			pmemcto_free(pool, mailbox[i]);
	cr_expect_not_null(pmemcto_malloc(pool, 31 * MIB));
	pmemcto_close(pool);
}

/* --- forks of a busy process ----------------------------------------------------------------------------------- */

static _Atomic bool forks_done;

static void *
use_until_done(void *arg)
{
	uint64_t seed = (uintptr_t)arg + 1;

	while (!atomic_load(&forks_done))
		use_some(&seed);
	return NULL;
}

/* What a child can see and may do of its parent's pool, while the parent goes on; 0 when all is as it should be. */
static int
child_of_a_busy_process(const char *kept)
{
	if (strcmp(kept, "kept") != 0)
		return 1;
	if (pmemcto_malloc(pool, 100) != NULL || errno != EINVAL)
		return 2;
	if (pmemcto_open(path, "test") != NULL || errno != EAGAIN)
		return 3;
	errno = 0;
	pmemcto_close(pool); /* only takes it out of the child's sight */
	if (errno != 0 || is_mapped(pool, 32 * MIB))
		return 4;
	pool = pmemcto_create(in_dir("own"), "test", PMEMCTO_MIN_POOL, 0600);
	if (pool == NULL || pmemcto_malloc(pool, 100) == NULL)
		return 5;
	pmemcto_close(pool);
	return pmemcto_check(in_dir("own"), "test") == 1 && unlink(in_dir("own")) == 0 ? 0 : 6;
}

Test(mt_pmemcto_pools, forks_of_a_busy_process_leave_its_pool_alone)
{
	pthread_t ids[4];
	int status;
	char *kept;

	path = in_dir("pool");
	in_dir("own");
	pool = pool_make(path, 32 * MIB);
	kept = pmemcto_strdup(pool, "kept");
	pmemcto_set_root_pointer(pool, kept);
	start_all(ids, 4, use_until_done);
	for (unsigned i = 0; i < 40 / CTO_TEST_SLOW; i++) {
		IN_CHILD(status, _exit(child_of_a_busy_process(kept)));
		cr_assert_eq(status, 0, "child %u: %d, %s", i, status, pmemcto_errormsg());
	}
	atomic_store(&forks_done, true);
	join_all(ids, 4);
	cr_expect_str_eq(kept, "kept");
	pmemcto_close(pool);
	cr_expect_eq(pmemcto_check(path, "test"), 1, "%s", pmemcto_errormsg());
	pool_reopen(path);
	pmemcto_free(pool, pmemcto_get_root_pointer(pool));
	cr_expect_not_null(pmemcto_malloc(pool, 31 * MIB));
	pmemcto_close(pool);
}
