/* nth_pmemcto_calls.c -- libpmemcto's functions when a system call fails: each one that they make, one after the other
 *
 * What fails says so by errno and message, and leaves descriptors, mappings and files as they were (tests/fault_state.h).
 * Pool sets: tests/nth_pmemcto_sets.c.
 */
#define _GNU_SOURCE
#include "tests/fault_state.h"
#include "tests/pmemcto_test.h"

#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/time.h>

static PMEMctopool *pool;
static void *block;

static void
end(void)
{
	fprintf(stderr, "nth_pmemcto_calls: %u fault points tried\n", fault_points);
	test_dir_remove();
}

TestSuite(nth_pmemcto_calls, .init = test_dir_make, .fini = end);

static void
forget_message(void)
{
	pmemcto_check_version(77, 0);
}

/* --- a pool's life ---------------------------------------------------------------------------------------------- */

static bool
create_new(void)
{
	pool = pmemcto_create(in_dir("pool"), "test", PMEMCTO_MIN_POOL, 0640);
	return pool != NULL;
}

static bool
create_in_file(void)
{
	pool = pmemcto_create(in_dir("pool"), "test", 0, 0640);
	return pool != NULL;
}

static bool
open_it(void)
{
	pool = pmemcto_open(in_dir("pool"), "test");
	return pool != NULL;
}

static bool
check_it(void)
{
	return pmemcto_check(in_dir("pool"), "test") == 1;
}

static void
no_file(void)
{
	unlink(in_dir("pool"));
}

static void
empty_file(void)
{
	no_file();
	file_make(in_dir("pool"), PMEMCTO_MIN_POOL);
}

static void
closed_pool(void)
{
	no_file();
	pool_prepare(in_dir("pool"), PMEMCTO_MIN_POOL);
}

/* Whatever happened to a call, the next one works. */
static void
create_again(bool succeeded)
{
	if (!succeeded)
		cr_assert(access(in_dir("pool"), F_OK) == 0 ? create_in_file() : create_new(), "%s",
			  pmemcto_errormsg());
	cr_assert_not_null(pmemcto_malloc(pool, 100));
	pmemcto_close(pool);
	cr_assert_eq(pmemcto_check(in_dir("pool"), "test"), 1, "%s", pmemcto_errormsg());
}

static void
open_again(bool succeeded)
{
	if (!succeeded)
		cr_assert(open_it(), "%s", pmemcto_errormsg());
	cr_assert_str_eq((char *)pmemcto_get_root_pointer(pool), "what was kept");
	pmemcto_close(pool);
}

/* A view that could not be unmapped stands where the pool belongs. Where the file has holes it is no mapping of the file. */
static void
unmap_view(void)
{
	int fd = open(in_dir("pool"), O_RDONLY);
	uint64_t base;

	cr_assert_eq(pread(fd, &base, sizeof(base), 5120), (ssize_t)sizeof(base));
	close(fd);
	munmap((void *)(uintptr_t)base, PMEMCTO_MIN_POOL);
}

static void
check_again(bool succeeded)
{
	(void)succeeded;
	unmap_view();
	open_again(false);
}

/* Another place is found where one cannot be had, folders are synced as well as can be, what cannot be known of a disk or
 * a device is taken as usual; memory that cannot be given back or protected stays. */
#define LIFE_MAY_LACK "mmap of memory munmap madvise mprotect fsync readlink getrandom stat open read "

static void
life(const char *name, void (*prepare)(void), bool (*call)(void), void (*after)(bool))
{
	bool in_place = prepare == empty_file;

	fault_run(&(struct fault_scenario){
		.name = name,
		.folder = test_dir,
		.prepare = prepare,
		.call = call,
		.after = after,
		.message = pmemcto_errormsg,
		.forget_message = forget_message,
		.front_only = in_place,
		.also = in_place ? ENOSPC : 0, /* a file that was there has no room for the first tables */
		.may_fail = LIFE_MAY_LACK});
}

Test(nth_pmemcto_calls, create_open_and_check)
{
	life("pmemcto_create", no_file, create_new, create_again);
	life("pmemcto_create in a file that is there", empty_file, create_in_file, create_again);
	life("pmemcto_open", closed_pool, open_it, open_again);
	life("pmemcto_check", closed_pool, check_it, check_again);
}

/* --- closing: it has no result, but errno; a pool that could not be made durable is not marked as closed ----------- */

static bool
close_it(void)
{
	errno = 0;
	pmemcto_close(pool);
	return errno == 0;
}

static void
open_pool(void)
{
	closed_pool();
	cr_assert(open_it());
	block = pmemcto_malloc(pool, 5000);
	memset(block, 1, 5000);
}

Test(nth_pmemcto_calls, close)
{
	unsigned fds = 0, reported = 0;
	const char *failed = "";

	for (int n = 0; failed != NULL; n++) {
		int injected;
		bool ok;

		open_pool();
		forget_message();
		fds = count_fds();
		fault_arm(n);
		ok = close_it();
		failed = fault_disarm(&injected);
		fault_points += failed != NULL;
		fault_unmap_left(test_dir);
		cr_expect_eq(count_fds(), fds - 1, "call %d, %s", n, failed);
		fprintf(stderr, "close, call %d, %s: %s\n", n, failed != NULL ? failed : "none",
			ok ? "no matter" : "reported");
		if (!ok) {
			reported++;
			cr_expect_eq(pmemcto_check(in_dir("pool"), "test"), -1,
				     "call %d, %s: the pool says it was closed", n, failed);
			continue;
		}
		/* what cannot be given back, or protected, stays */
		if (failed != NULL)
			cr_expect(strcmp(failed, "munmap") == 0 || strcmp(failed, "madvise") == 0 ||
					  strcmp(failed, "mprotect") == 0,
				  "call %d, %s: nobody was told", n, failed);
		cr_expect_eq(pmemcto_check(in_dir("pool"), "test"), 1, "call %d, %s: %s", n, failed,
			     pmemcto_errormsg());
	}
	cr_expect_geq(reported, 2);
}

/* --- blocks ----------------------------------------------------------------------------------------------------- */

static void
fresh_pool(void)
{
	empty_file();
	cr_assert(create_in_file(), "%s", pmemcto_errormsg());
}

static bool
first_malloc(void)
{
	block = pmemcto_malloc(pool, 100);
	return block != NULL;
}

static bool
large_malloc(void)
{
	block = pmemcto_malloc(pool, 3 * MIB);
	return block != NULL;
}

static bool
first_calloc(void)
{
	block = pmemcto_calloc(pool, 100, 100);
	return block != NULL;
}

static bool
first_aligned(void)
{
	block = pmemcto_aligned_alloc(pool, 65536, 70000);
	return block != NULL;
}

static void
use_and_close(bool succeeded)
{
	if (succeeded)
		pmemcto_free(pool, block);
	block = pmemcto_malloc(pool, MIB);
	cr_assert_not_null(block);
	memset(block, 1, MIB);
	pmemcto_close(pool);
	cr_assert_eq(pmemcto_check(in_dir("pool"), "test"), 1, "%s", pmemcto_errormsg());
}

Test(nth_pmemcto_calls, allocation)
{
	static bool (*const calls[])(void) = {first_malloc, large_malloc, first_calloc, first_aligned};
	static const char *const names[] = {"pmemcto_malloc", "pmemcto_malloc of 3 MiB", "pmemcto_calloc",
					    "pmemcto_aligned_alloc"};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		fault_run(&(struct fault_scenario){.name = names[i],
						   .folder = test_dir,
						   .prepare = fresh_pool,
						   .call = calls[i],
						   .after = use_and_close,
						   .may_fail = "mmap of memory munmap madvise "});
}

/* --- limits, a full disk, signals -------------------------------------------------------------------------------- */

static void
refused_by_a_limit(int resource, rlim_t limit, int wanted)
{
	static struct fault_state before, after;
	struct rlimit old, low;
	int error;
	bool ok;

	closed_pool(); /* what is made once is made */
	no_file();
	forget_message();
	fault_state_take(&before, test_dir, INT64_MAX);
	cr_assert_eq(getrlimit(resource, &old), 0);
	low = (struct rlimit){limit, old.rlim_max};
	cr_assert_eq(setrlimit(resource, &low), 0);
	errno = 0;
	ok = create_new();
	error = errno;
	cr_assert_eq(setrlimit(resource, &old), 0);
	cr_assert_not(ok);
	cr_expect_eq(error, wanted, "errno %d", error);
	cr_expect_not_null(strstr(pmemcto_errormsg(), strerror(wanted)), "%s", pmemcto_errormsg());
	fault_state_take(&after, test_dir, INT64_MAX);
	fault_state_compare(&before, &after, true, "a limit");
	create_again(false);
}

Test(nth_pmemcto_calls, limit_of_descriptors)
{
	refused_by_a_limit(RLIMIT_NOFILE, 0, EMFILE);
}

Test(nth_pmemcto_calls, limit_of_file_sizes)
{
	refused_by_a_limit(RLIMIT_FSIZE, MIB, EFBIG);
}

#ifndef __SANITIZE_ADDRESS__ /* its shadow alone is more than any limit */
Test(nth_pmemcto_calls, limit_of_addresses)
{
	FILE *statm = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	cr_assert(statm != NULL && fscanf(statm, "%lu", &pages) == 1);
	fclose(statm);
	refused_by_a_limit(RLIMIT_AS, pages * (rlim_t)sysconf(_SC_PAGESIZE) + 4 * MIB, ENOMEM);
}
#endif

/* A file system of 24 MiB, filled by others to every 256 KiB of what a pool needs: made whole, or refused and nothing left. */
Test(nth_pmemcto_calls, a_disk_filled_to_the_brim)
{
	unsigned made = 0, refused = 0;
	char file[128], path[128];
	struct statvfs st;

	if (mount("tmpfs", test_dir, "tmpfs", 0, "size=24m") != 0)
		SKIP("mount: %s", strerror(errno));
	snprintf(file, sizeof(file), "%s/others", test_dir);
	snprintf(path, sizeof(path), "%s/pool", test_dir);
	for (size_t fill = 6 * MIB; fill <= 24 * MIB; fill += 512 * 1024) {
		int fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0600);
		uint64_t before;

		cr_assert(fd >= 0 && posix_fallocate(fd, 0, (off_t)fill) == 0, "%zu bytes", fill);
		close(fd);
		cr_assert_eq(statvfs(test_dir, &st), 0);
		before = st.f_bfree;
		errno = 0;
		pool = pmemcto_create(path, "test", PMEMCTO_MIN_POOL, 0600);
		if (pool == NULL) {
			refused++;
			cr_expect_eq(errno, ENOSPC, "%s", pmemcto_errormsg());
			cr_expect_neq(access(path, F_OK), 0);
			cr_assert_eq(statvfs(test_dir, &st), 0);
			cr_expect_eq(st.f_bfree, before, "blocks are lost");
			continue;
		}
		made++;
		while ((block = pmemcto_malloc(pool, 100000)) != NULL)
			memset(block, 1, 100000); /* no SIGBUS: the blocks are reserved */
		pmemcto_close(pool);
		cr_expect_eq(pmemcto_check(path, "test"), 1, "%s", pmemcto_errormsg());
		unlink(path);
	}
	unlink(file);
	cr_assert_eq(umount2(test_dir, MNT_DETACH), 0);
	fprintf(stderr, "a_disk_filled_to_the_brim: %u pools made, %u refused\n", made, refused);
	cr_expect(made > 3 && refused > 10);
}

static volatile sig_atomic_t signals;

static void
count_signal(int signo)
{
	(void)signo;
	signals++;
}

Test(nth_pmemcto_calls, signals_all_the_time)
{
	struct sigaction action = {.sa_handler = count_signal}; /* no SA_RESTART: calls end in EINTR */
	struct itimerval every = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
	unsigned rounds = 0;

	cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
	cr_assert_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
	for (; signals < 300 && rounds < 20000; rounds++) {
		closed_pool();
		cr_assert_eq(pmemcto_check(in_dir("pool"), "test"), 1, "%s", pmemcto_errormsg());
		open_again(false);
	}
	cr_assert_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	fprintf(stderr, "signals_all_the_time: %d signals in %u rounds\n", (int)signals, rounds);
	cr_expect_geq(signals, 300);
}
