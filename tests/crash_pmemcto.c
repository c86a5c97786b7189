/* crash_pmemcto.c -- kill -9 at random instants: refused, repaired, and everything that was completed is there
 *
 * A child opens a pool and works in it with one to four threads, which log what they have completed outside of the pool
 * (tests/crash_log.h). It is killed at any instant from its start to its end, closing included. Then the pool is opened
 * (refused, as it must be), repaired, opened, compared with the log, used, closed and checked. The next child goes on in the
 * same pool. PMHEAP_KILLS=N: how many kills; PMHEAP_SEED=N: which.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <time.h>

#include "api/pmemcto/repair.h"
#include "tests/crash_log.h"
#include "tests/tool_run.h"

#define POOL_SIZE PMEMCTO_MIN_POOL
#define KILLS_PER_POOL 16 /* what caches held stays allocated: after some kills the pool would be full of it */

static struct crash_log *log_;
static uint64_t seed;

static void
begin(void)
{
	const char *given = getenv("PMHEAP_SEED");

	seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
	test_dir_make();
	log_ = mmap(NULL, sizeof(*log_), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(log_, MAP_FAILED);
}

TestSuite(crash_pmemcto, .init = begin, .fini = test_dir_remove);

static unsigned
number_of_kills(unsigned otherwise)
{
	const char *given = getenv("PMHEAP_KILLS");

	return given ? (unsigned)strtoul(given, NULL, 0) : otherwise / CTO_TEST_SLOW;
}

static void
nap(uint64_t microseconds)
{
	struct timespec time = {(time_t)(microseconds / 1000000), (long)(microseconds % 1000000 * 1000)};

	nanosleep(&time, NULL);
}

/* --- the child --------------------------------------------------------------------------------------------------- */

static void *
take(void *pcp, size_t align, size_t size)
{
	return align != 0 ? pmemcto_aligned_alloc(pcp, align, size) : pmemcto_malloc(pcp, size);
}

static void *
resize(void *pcp, void *p, size_t size)
{
	return pmemcto_realloc(pcp, p, size);
}

static void
give(void *pcp, void *p)
{
	pmemcto_free(pcp, p);
}

static void *
worker(void *work)
{
	crash_work(work);
	return NULL;
}

/* Opens, works and, when it has done `ops` operations per thread, closes. */
static void
child(const char *path, unsigned threads, uint64_t ops, uint64_t random)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves none behind */

	PMEMctopool *pcp = pmemcto_open(path, "crash");
	struct crash_heap heap = {pcp, (char *)pcp, take, resize, give};
	struct crash_work works[CRASH_THREADS];
	pthread_t ids[CRASH_THREADS];

	if (pcp == NULL)
		_exit(2);
	atomic_store(&log_->stage, 1);
	for (unsigned t = 0; t < threads; t++) {
		works[t] = (struct crash_work){&heap, log_, t, random + t, ops, 200000, false};
		if (pthread_create(&ids[t], NULL, worker, &works[t]) != 0)
			_exit(3);
	}
	for (unsigned t = 0; t < threads; t++)
		pthread_join(ids[t], NULL);
	pmemcto_close(pcp);
	_exit(0);
}

/* --- after a kill ------------------------------------------------------------------------------------------------- */

struct counts {
	unsigned kills, dirty, before, closed, busy;
	uint64_t blocks;
};

/* By the tool now and then, else by what is inside of it: starting a process takes longer than the repair. */
static void
repair(const char *path, unsigned nth)
{
	struct cto_repair_report report;
	struct cto_view view;

	if (nth % 16 == 0) {
		struct outcome *o = tool("check", "--repair", "--yes", (char *)(uintptr_t)path);

		cr_assert_eq(o->status, 0, "%s%s", o->out, o->err);
		assert_in(o->out, ": repaired\n");
		free(o);
		return;
	}
	cr_assert_eq(cto_view_open(path, PARTS_WRITE, &view), 0, "%s", pmemcto_errormsg());
	cr_assert_not_null(view.base, "%s", cto_view_fault(&view));
	cr_assert_eq(cto_repair(&view, view.base, PARTS_SHARED, NULL, &report), 0, "%s at 0x%" PRIx64, report.heap.why,
		     report.heap.where);
	cto_view_close(&view);
}

static void
expect_everything(PMEMctopool *pcp, struct counts *counts)
{
	static const size_t sizes[] = {8, 100, 500, 2000, 20000, 60000, 500000};
	void *p[3 * sizeof(sizes) / sizeof(sizes[0])];
	size_t n = 0;
	unsigned live;

	counts->busy += crash_log_forget(log_);
	const char *bad = crash_log_verify(log_, (char *)pcp, false, &live);
	cr_assert_null(bad, "%s", bad);
	counts->blocks += live;
	for (unsigned t = 0; t < CRASH_THREADS; t++) {
		for (unsigned i = 0; i < CRASH_SLOTS; i++) {
			const struct crash_slot *slot = &log_->slots[t][i];

			if (slot->state == CRASH_LIVE)
				cr_assert_geq(pmemcto_malloc_usable_size(pcp, (char *)pcp + slot->off), slot->size);
		}
	}
	for (; n < sizeof(p) / sizeof(p[0]); n++) {
		size_t size = sizes[n % (sizeof(sizes) / sizeof(sizes[0]))];

		p[n] = pmemcto_malloc(pcp, size);
		if (p[n] == NULL)
			continue;
		cr_assert_null(crash_log_at(log_, (uint64_t)((char *)p[n] - (char *)pcp), size),
			       "a new block lies over one that is live");
		memset(p[n], 0xee, size);
	}
	while (n-- > 0)
		pmemcto_free(pcp, p[n]);
	bad = crash_log_verify(log_, (char *)pcp, false, &live);
	cr_assert_null(bad, "%s", bad);
}

static void
look(const char *path, struct counts *counts)
{
	bool dirty = get_field(path, AT_CONSISTENT, 1) == 0;

	if (dirty) {
		counts->dirty++;
		REFUSED(pmemcto_open(path, "crash"), EINVAL);
		assert_in(pmemcto_errormsg(), "inconsistent pool");
		repair(path, counts->kills);
	} else if (atomic_load(&log_->stage) == 0) {
		counts->before++; /* it had not opened the pool yet */
	} else {
		counts->closed++;
	}
	PMEMctopool *pcp = pmemcto_open(path, "crash");
	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	expect_everything(pcp, counts);
	pmemcto_close(pcp);
	cr_assert_eq(pmemcto_check(path, "crash"), 1, "%s", pmemcto_errormsg());
}

static void
make(const char *path)
{
	unlink(path);
	memset((void *)log_, 0, sizeof(*log_));
	PMEMctopool *pcp = pmemcto_create(path, "crash", POOL_SIZE, 0600);
	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	pmemcto_close(pcp);
}

static void
kill_once(const char *path, struct counts *counts, uint64_t *random)
{
	uint64_t r = crash_random(random);
	unsigned threads = 1 + (unsigned)(r % CRASH_THREADS);
	bool closes = r / 4 % 4 == 0;
	int status;

	atomic_store(&log_->stage, 0);
	pid_t pid = fork();
	if (pid == 0)
		child(path, threads, closes ? 1 + r / 16 % 300 : 0, crash_random(random));
	cr_assert_gt(pid, 0);
	if (r / 16 % 16 != 0) {
		/* Most get to their work; the others may be killed while they open. */
		while (atomic_load(&log_->stage) == 0 && waitpid(pid, &status, WNOHANG) == 0)
			nap(20);
	}
	nap((r >> 32) % (closes ? 2000 : 5000));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	cr_assert(WIFSIGNALED(status) || (closes && WEXITSTATUS(status) == 0), "the child: status 0x%x",
		  (unsigned)status);
	counts->kills++;
	look(path, counts);
}

Test(crash_pmemcto, killed_at_random_instants)
{
	const char *path = in_dir("pool");
	unsigned kills = number_of_kills(1000);
	struct counts counts = {0, 0, 0, 0, 0, 0};
	uint64_t random = seed, ops = 0;

	fprintf(stderr, "crash_pmemcto: PMHEAP_SEED=%" PRIu64 "\n", seed);
	while (counts.kills < kills) {
		if (counts.kills % KILLS_PER_POOL == 0) {
			ops += atomic_load(&log_->ops);
			make(path);
		}
		kill_once(path, &counts, &random);
	}
	ops += atomic_load(&log_->ops);
	fprintf(stderr,
		"crash_pmemcto: %u kills (%u pools to repair, %u not opened yet, %u closed), %" PRIu64
		" operations, %u cut short, %" PRIu64 " blocks compared\n",
		counts.kills, counts.dirty, counts.before, counts.closed, ops, counts.busy, counts.blocks);
	cr_expect_gt(counts.dirty, counts.kills / 2);
	cr_expect_gt(counts.busy, 0, "no kill cut an operation short");
	cr_expect_gt(counts.blocks, 0);
}

/* A second process wants the pool all the time: while the first lives EAGAIN, after its death EINVAL, never the pool. */
Test(crash_pmemcto, contenders_get_it_whole_or_not_at_all)
{
	const char *path = in_dir("pool");
	unsigned rounds = 64 / CTO_TEST_SLOW, again = 0, inconsistent = 0;
	struct counts counts = {0, 0, 0, 0, 0, 0};
	uint64_t random = seed;
	int status;

	make(path);
	for (unsigned round = 0; round < rounds; round++) {
		if (round % KILLS_PER_POOL == 0)
			make(path);
		atomic_store(&log_->stage, 0);
		pid_t pid = fork();
		if (pid == 0)
			child(path, 2, 0, crash_random(&random));
		cr_assert_gt(pid, 0);
		while (atomic_load(&log_->stage) == 0 && waitpid(pid, &status, WNOHANG) == 0)
			nap(20);
		for (unsigned i = 0; i < 20; i++) {
			PMEMctopool *pcp = pmemcto_open(path, "crash");

			cr_assert_null(pcp, "two processes have the pool");
			cr_assert_eq(errno, EAGAIN, "%s", pmemcto_errormsg());
			cr_assert_eq(pmemcto_check(path, "crash"), -1);
			cr_assert_eq(errno, EAGAIN);
			again++;
			if (i == 10) {
				struct outcome *o = tool("check", "--repair", "--yes", (char *)(uintptr_t)path);

				complained(o, 1, "open");
			}
		}
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		cr_assert(WIFSIGNALED(status));
		REFUSED(pmemcto_open(path, "crash"), EINVAL);
		inconsistent++;
		counts.kills++;
		look(path, &counts);
	}
	fprintf(stderr, "crash_pmemcto: %u times EAGAIN, %u times EINVAL\n", again, inconsistent);
}

/* A repair that is killed is repaired by the next. */
Test(crash_pmemcto, repair_killed_too)
{
	const char *path = in_dir("pool");
	struct counts counts = {0, 0, 0, 0, 0, 0};
	unsigned rounds = 200 / CTO_TEST_SLOW, cut = 0;
	uint64_t random = seed;
	int status;

	for (unsigned round = 0; round < rounds; round++) {
		if (round % KILLS_PER_POOL == 0)
			make(path);
		atomic_store(&log_->stage, 0);
		pid_t pid = fork();
		if (pid == 0)
			child(path, 2, 0, crash_random(&random));
		while (atomic_load(&log_->stage) == 0 && waitpid(pid, &status, WNOHANG) == 0)
			nap(20);
		nap(1000);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		pid = fork();
		if (pid == 0) {
			repair(path, 1);
			_exit(0);
		}
		nap(crash_random(&random) % 1500);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		cut += WIFSIGNALED(status);
		counts.kills++;
		atomic_store(&log_->stage, 1);
		look(path, &counts);
	}
	fprintf(stderr, "crash_pmemcto: %u repairs, %u killed\n", rounds, cut);
	cr_expect_gt(cut, 0);
}
