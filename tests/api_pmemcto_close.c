/* api_pmemcto_close.c -- the life of a pool: what is durable when, and in what order; handles that are none; forks;
 * flushes that fail
 *
 * The library calls libc through its symbols, so this program's own msync and fsync stand in for the system's: they note
 * what is flushed and what the file says at that moment, and fail when told.
 */
#define _GNU_SOURCE
#include "tests/pmemcto_test.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

TestSuite(api_pmemcto_close, .init = test_dir_make, .fini = test_dir_remove);

static struct {
	char *addr; /* NULL: fsync */
	size_t size;
	int mark;         /* of the pool `watched`, when it was called; -1: not looked at */
	char first_bytes[8]; /* of an fsync's file */
} flushes[64];
static int nflushes;
static const char *watched;
static int fail_from = -1, fail_to; /* flushes [fail_from, fail_to) end in EIO */

int
msync(void *addr, size_t size, int flags)
{
	int n = nflushes++;

	cr_assert_eq(flags, MS_SYNC);
	if (n < 64) {
		flushes[n].addr = addr;
		flushes[n].size = size;
		flushes[n].mark = watched != NULL ? (int)get_field(watched, AT_CONSISTENT, 1) : -1;
	}
	if (fail_from >= 0 && n >= fail_from && n < fail_to) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_msync, addr, size, flags);
}

int
fsync(int fd)
{
	int n = nflushes++;

	if (n < 64) {
		flushes[n].addr = NULL;
		cr_assert(pread(fd, flushes[n].first_bytes, 8, 0) == 8 || errno == EISDIR);
	}
	if (fail_from >= 0 && n >= fail_from && n < fail_to) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

static bool
flush_holds(int n, const void *p)
{
	return flushes[n].addr <= (const char *)p && (const char *)p < flushes[n].addr + flushes[n].size;
}

/* --- order --------------------------------------------------------------------------------------------------- */

Test(api_pmemcto_close, the_mark_of_an_open_pool_is_durable_before_open_returns)
{
	const char *path = in_dir("pool");
	PMEMctopool *pcp;

	pool_prepare(path, 20 * MIB);
	watched = path;
	nflushes = 0;
	pcp = pool_reopen(path);
	cr_assert_eq(nflushes, 1);
	cr_expect(flush_holds(0, (char *)pcp + AT_CONSISTENT));
	cr_expect_eq(flushes[0].mark, 0);
	pmemcto_close(pcp);
}

Test(api_pmemcto_close, everything_is_durable_before_the_pool_is_marked_closed)
{
	const char *path = in_dir("pool");
	PMEMctopool *pcp = pool_make(path, 20 * MIB);

	memset(pmemcto_malloc(pcp, MIB), 1, MIB);
	watched = path;
	nflushes = 0;
	pmemcto_close(pcp);
	cr_assert_eq(nflushes, 2);
	cr_expect(flush_holds(0, (char *)pcp + AT_BASE));
	cr_expect_eq(flushes[0].addr + flushes[0].size, (char *)pcp + 20 * MIB);
	cr_expect_leq(flushes[0].addr, (char *)pcp + AT_LAYOUT, "all but the header, which is as it was");
	cr_expect_eq(flushes[0].mark, 0, "the mark came before the data");
	cr_expect(flush_holds(1, (char *)pcp + AT_CONSISTENT));
	cr_expect_eq(flushes[1].mark, 1);
}

Test(api_pmemcto_close, a_created_pool_is_durable_as_an_open_one)
{
	static const char magic[8] = "PMEMCTO";
	PMEMctopool *pcp;

	nflushes = 0;
	pcp = pool_make(in_dir("pool"), 20 * MIB);
	cr_assert_eq(nflushes, 4);
	cr_expect(flush_holds(0, (char *)pcp + AT_BASE), "the descriptor comes first");
	cr_expect_null(flushes[1].addr);
	cr_expect_arr_eq(flushes[1].first_bytes, magic, 8, "then the header, whole");
	cr_expect_null(flushes[2].addr, "the file once more, with its mode");
	cr_expect_null(flushes[3].addr, "and its directory");
	pmemcto_close(pcp);
}

/* --- failures ------------------------------------------------------------------------------------------------ */

static void
close_with_failing_flush(int which)
{
	const char *path = in_dir("pool");
	PMEMctopool *pcp;
	unsigned fds;

	pool_prepare(path, 20 * MIB);
	fds = count_fds();
	pcp = pool_reopen(path);
	pmemcto_malloc(pcp, 1000);
	fail_from = nflushes + which;
	fail_to = fail_from + 1;
	errno = 0;
	pmemcto_close(pcp);
	cr_expect_eq(errno, EIO);
	cr_expect_not_null(strstr(pmemcto_errormsg(), "msync"), "%s", pmemcto_errormsg());
	cr_expect_eq(get_field(path, AT_CONSISTENT, 1), 0, "stays dirty");
	cr_expect_eq(count_fds(), fds);
	cr_expect_not(is_mapped(pcp, 20 * MIB));
	REFUSED(pmemcto_open(path, NULL), EINVAL);
	cr_expect_str_eq(pmemcto_errormsg(), "inconsistent pool");
}

Test(api_pmemcto_close, a_failed_flush_of_data_leaves_the_pool_dirty_and_says_so)
{
	close_with_failing_flush(0);
}

Test(api_pmemcto_close, a_failed_flush_of_the_mark_leaves_the_pool_dirty_and_says_so)
{
	close_with_failing_flush(1);
}

Test(api_pmemcto_close, a_failed_flush_at_open_leaves_the_pool_clean)
{
	const char *path = in_dir("pool");
	uint64_t hash;

	pool_prepare(path, 20 * MIB);
	hash = file_hash(path);
	fail_from = nflushes;
	fail_to = fail_from + 1;
	REFUSED(pmemcto_open(path, NULL), EIO);
	cr_expect_eq(file_hash(path), hash);
	pmemcto_close(pool_reopen(path));
}

Test(api_pmemcto_close, failed_flushes_at_creation_leave_nothing)
{
	unsigned fds = count_fds();

	for (int which = 0; which < 3; which++) {
		fail_from = nflushes + which;
		fail_to = fail_from + 1;
		REFUSED(pmemcto_create(in_dir("pool"), "test", 20 * MIB, 0600), EIO);
		cr_expect_eq(files_in_dir(), 0);
	}
	file_make(in_dir("file"), 20 * MIB);
	for (int which = 0; which < 2; which++) {
		fail_from = nflushes + which;
		fail_to = fail_from + 1;
		REFUSED(pmemcto_create(in_dir("file"), "test", 0, 0), EIO);
		for (size_t i = 0; i < 4096; i += 8)
			cr_assert_eq(get_field(in_dir("file"), i, 8), 0, "the file can become a pool later");
	}
	cr_expect_eq(count_fds(), fds);
	pmemcto_close(pmemcto_create(in_dir("file"), "test", 0, 0));
	cr_expect_eq(pmemcto_check(in_dir("file"), "test"), 1);
}

/* --- handles ------------------------------------------------------------------------------------------------- */

Test(api_pmemcto_close, handles_of_no_open_pool_are_refused)
{
	const char *path = in_dir("pool");
	PMEMctopool *pcp = pool_make(path, 20 * MIB), *handles[4];
	static char readable[8192];
	void *p = pmemcto_malloc(pcp, 100);

	pmemcto_close(pcp);
	handles[0] = NULL;
	handles[1] = pcp;
	handles[2] = (PMEMctopool *)readable;
	handles[3] = (PMEMctopool *)(uintptr_t)4096;
	for (int i = 0; i < 4; i++) {
		errno = 0;
		pmemcto_close(handles[i]);
		cr_expect_eq(errno, EINVAL, "%d", i);
		REFUSED(pmemcto_malloc(handles[i], 1), EINVAL);
		REFUSED(pmemcto_calloc(handles[i], 1, 1), EINVAL);
		REFUSED(pmemcto_realloc(handles[i], p, 1), EINVAL);
		REFUSED(pmemcto_aligned_alloc(handles[i], 64, 1), EINVAL);
		REFUSED(pmemcto_strdup(handles[i], "x"), EINVAL);
		REFUSED(pmemcto_wcsdup(handles[i], L"x"), EINVAL);
		REFUSED(pmemcto_get_root_pointer(handles[i]), EINVAL);
		errno = 0;
		pmemcto_set_root_pointer(handles[i], p);
		cr_expect_eq(errno, EINVAL);
		errno = 0;
		cr_expect_eq(pmemcto_malloc_usable_size(handles[i], p), 0);
		cr_expect_eq(errno, EINVAL);
		errno = 0;
		pmemcto_stats_print(handles[i], NULL);
		cr_expect_eq(errno, EINVAL);
	}
	cr_expect_eq(pmemcto_check(path, "test"), 1);
}

Test(api_pmemcto_close, free_after_close_ends_the_process, .signal = SIGABRT)
{
	PMEMctopool *pcp = pool_make(in_dir("pool"), 20 * MIB);
	void *p = pmemcto_malloc(pcp, 100);

	pmemcto_close(pcp);
	test_dir_remove();
	freopen("/dev/null", "w", stderr);
	pmemcto_free(pcp, p);
}

Test(api_pmemcto_close, free_of_a_foreign_pointer_ends_the_process, .signal = SIGABRT)
{
	PMEMctopool *pcp = pool_make(in_dir("pool"), 20 * MIB);
	int here;

	test_dir_remove();
	freopen("/dev/null", "w", stderr);
	pmemcto_free(pcp, &here);
}

Test(api_pmemcto_close, nothing_of_the_pool_stays_mapped)
{
	PMEMctopool *pcp = pool_make(in_dir("pool"), 20 * MIB + 5000);
	unsigned fds = count_fds();

	pmemcto_close(pcp);
	cr_expect_not(is_mapped(pcp, 20 * MIB + 8192));
	cr_expect_eq(count_fds(), fds - 1);
}

Test(api_pmemcto_close, the_handles_page_cannot_be_read, .signal = SIGSEGV)
{
	PMEMctopool *pcp = pool_make(in_dir("pool"), 20 * MIB);

	if (sysconf(_SC_PAGESIZE) != 4096)
		SKIP("this system's pages hold more than the header");
	test_dir_remove();
	signal(SIGSEGV, SIG_DFL);
	*(volatile char *)pcp;
}

/* --- threads ------------------------------------------------------------------------------------------------- */

static PMEMctopool *shared_pool;
static pthread_barrier_t barrier;

static void *
fill_caches(void *arg)
{
	void *blocks[64];

	(void)arg;
	for (size_t size = 16; size <= 65536; size *= 2) {
		for (int i = 0; i < 64; i++)
			blocks[i] = pmemcto_malloc(shared_pool, size);
		for (int i = 0; i < 64; i++)
			pmemcto_free(shared_pool, blocks[i]);
	}
	pthread_barrier_wait(&barrier); /* all have caches */
	pthread_barrier_wait(&barrier); /* the pool is closed */
	pthread_barrier_wait(&barrier); /* and open again, at the same address */
	pmemcto_free(shared_pool, pmemcto_malloc(shared_pool, 100));
	return NULL;
}

Test(api_pmemcto_close, caches_of_living_threads_return_to_the_heap)
{
	enum { THREADS = 8 };
	const char *path = in_dir("pool");
	pthread_t threads[THREADS];
	PMEMctopool *pcp = shared_pool = pool_make(path, 64 * MIB);
	void *p;

	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, fill_caches, NULL), 0);
	pthread_barrier_wait(&barrier);
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(path, "test"), 1);
	pthread_barrier_wait(&barrier);
	cr_assert_eq(pool_reopen(path), pcp);
	p = pmemcto_malloc(pcp, 62 * MIB);
	cr_expect_not_null(p, "all that the threads had is free");
	pmemcto_free(pcp, p);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(path, "test"), 1);
}

/* --- fork ---------------------------------------------------------------------------------------------------- */

Test(api_pmemcto_close, a_forked_child_reads_but_cannot_call)
{
	const char *path = in_dir("pool");
	PMEMctopool *pcp = pool_make(path, 20 * MIB);
	char *p = pmemcto_strdup(pcp, "shared");
	int status;

	pmemcto_set_root_pointer(pcp, p);
	IN_CHILD(status, if (strcmp(p, "shared") != 0) _exit(1);
	    if (pmemcto_malloc(pcp, 10) != NULL || errno != EINVAL) _exit(2);
	    if (strstr(pmemcto_errormsg(), "forked") == NULL) _exit(3);
	    errno = 0; pmemcto_free(pcp, p); if (errno != EINVAL) _exit(4);
	    if (pmemcto_open(path, "test") != NULL || errno != EAGAIN) _exit(5);
	    errno = 0; pmemcto_close(pcp); if (errno != 0) _exit(6);
	    if (is_mapped(pcp, 20 * MIB)) _exit(7);
	    pmemcto_close(pcp); if (errno != EINVAL) _exit(8));
	cr_expect_eq(status, 0);
	cr_expect_str_eq(p, "shared");
	pmemcto_free(pcp, p);
	pmemcto_set_root_pointer(pcp, NULL);
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(path, "test"), 1);
}

Test(api_pmemcto_close, a_childs_copy_does_not_keep_the_lock)
{
	const char *path = in_dir("pool");
	PMEMctopool *pcp = pool_make(path, 20 * MIB);
	int wake[2];
	pid_t child;
	char c;

	cr_assert_eq(pipe(wake), 0);
	child = fork();
	if (child == 0) {
		close(wake[1]);
		_exit(read(wake[0], &c, 1) == 0 ? 0 : 1);
	}
	pmemcto_close(pcp);
	pcp = pmemcto_open(path, "test");
	cr_expect_not_null(pcp, "%s", pmemcto_errormsg());
	pmemcto_close(pcp);
	close(wake[1]);
	waitpid(child, NULL, 0);
}

Test(api_pmemcto_close, a_child_opens_what_its_parent_closed)
{
	const char *path = in_dir("pool");
	PMEMctopool *pcp = pool_make(path, 20 * MIB);
	int wake[2], status;
	pid_t child;
	char c = 0;

	cr_assert_eq(pipe(wake), 0);
	child = fork();
	if (child == 0) {
		PMEMctopool *own;

		if (read(wake[0], &c, 1) != 1)
			_exit(1);
		if (pmemcto_open(path, "test") != NULL || errno != ENOMEM) /* it is still mapped here */
			_exit(2);
		pmemcto_close(pcp);
		own = pmemcto_open(path, "test");
		if (own != pcp || pmemcto_malloc(own, 10) == NULL)
			_exit(3);
		pmemcto_close(own);
		_exit(0);
	}
	pmemcto_close(pcp);
	cr_assert_eq(write(wake[1], &c, 1), 1);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect_eq(status, 0, "%x", status);
	cr_expect_eq(pmemcto_check(path, "test"), 1);
}
