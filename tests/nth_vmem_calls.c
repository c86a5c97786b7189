/* nth_vmem_calls.c -- libvmem's functions when a system call fails: each one that they make, one after the other
 *
 * What fails says so by errno and message, and leaves descriptors, mappings and files as they were (tests/fault_state.h).
 */
#define _GNU_SOURCE
#include "tests/fault_state.h"
#include "tests/vmem_test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>

static char folder[64];
static VMEM *pool;
static void *block;
static char *region;

static void
begin(void)
{
	snprintf(folder, sizeof(folder), "%s/pmheap-nth-XXXXXX", test_dir());
	cr_assert_not_null(mkdtemp(folder));
	region = region_new(VMEM_MIN_POOL);
}

static void
end(void)
{
	fprintf(stderr, "nth_vmem_calls: %u fault points tried\n", fault_points);
	cr_expect_eq(rmdir(folder), 0, "the folder is not empty");
}

TestSuite(nth_vmem_calls, .init = begin, .fini = end);

static void
forget_message(void)
{
	vmem_check_version(77, 0);
}

static void
use_pool(VMEM *vmp)
{
	char *p = vmem_malloc(vmp, 100), *q = vmem_malloc(vmp, MIB);

	cr_assert(p != NULL && q != NULL);
	memset(p, 1, 100);
	memset(q, 1, MIB);
	vmem_free(vmp, p);
	vmem_free(vmp, q);
	cr_expect_eq(vmem_check(vmp), 1, "%s", vmem_errormsg());
}

/* --- creation --------------------------------------------------------------------------------------------------- */

static bool
create(void)
{
	pool = vmem_create(folder, VMEM_MIN_POOL);
	return pool != NULL;
}

static bool
create_in_region(void)
{
	pool = vmem_create_in_region(region, VMEM_MIN_POOL);
	return pool != NULL;
}

static void
use_and_delete(bool succeeded)
{
	if (!succeeded)
		return;
	use_pool(pool);
	vmem_delete(pool);
}

/* What libvmem can do without: the first page's protection, a place that huge pages can map, and the rest of a reservation. */
#define CREATION_MAY_LACK "mprotect readlink stat read open munmap madvise "

Test(nth_vmem_calls, create)
{
	fault_run(&(struct fault_scenario){.name = "vmem_create",
					   .folder = folder,
					   .call = create,
					   .after = use_and_delete,
					   .message = vmem_errormsg,
					   .plain_message = true,
					   .forget_message = forget_message,
					   .may_fail = CREATION_MAY_LACK});
}

static void
region_is_whole(bool succeeded)
{
	use_and_delete(succeeded);
	memset(region, 0x5a, VMEM_MIN_POOL); /* readable and writable, all of it */
}

Test(nth_vmem_calls, create_in_region)
{
	fault_run(&(struct fault_scenario){.name = "vmem_create_in_region",
					   .folder = folder,
					   .call = create_in_region,
					   .after = region_is_whole,
					   .message = vmem_errormsg,
					   .plain_message = true,
					   .forget_message = forget_message,
					   .may_fail = CREATION_MAY_LACK,
					   .also = ENOMEM});
}

/* --- use -------------------------------------------------------------------------------------------------------- */

static void
make_pool(void)
{
	pool = vmem_create(folder, VMEM_MIN_POOL);
	cr_assert_not_null(pool, "%s", vmem_errormsg());
}

static bool
first_malloc(void)
{
	block = vmem_malloc(pool, 100);
	return block != NULL;
}

static bool
large_malloc(void)
{
	block = vmem_malloc(pool, 3 * MIB);
	return block != NULL;
}

static bool
first_calloc(void)
{
	block = vmem_calloc(pool, 100, 100);
	return block != NULL;
}

static bool
first_aligned(void)
{
	block = vmem_aligned_alloc(pool, 65536, 70000);
	return block != NULL;
}

static bool
first_strdup(void)
{
	block = vmem_strdup(pool, "a text");
	return block != NULL;
}

static void
block_is_good(bool succeeded)
{
	if (succeeded) {
		memset(block, 1, vmem_malloc_usable_size(pool, block));
		vmem_free(pool, block);
	}
	use_pool(pool);
	vmem_delete(pool);
}

Test(nth_vmem_calls, allocation)
{
	static bool (*const calls[])(void) = {first_malloc, large_malloc, first_calloc, first_aligned, first_strdup};
	static const char *const names[] = {"vmem_malloc", "vmem_malloc of 3 MiB", "vmem_calloc", "vmem_aligned_alloc",
					    "vmem_strdup"};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		fault_run(&(struct fault_scenario){.name = names[i],
						   .folder = folder,
						   .prepare = make_pool,
						   .call = calls[i],
						   .after = block_is_good,
						   .may_fail = "mmap of memory munmap madvise "});
}

static void
make_pool_with_block(void)
{
	make_pool();
	block = vmem_malloc(pool, MIB);
	cr_assert_not_null(block);
	memset(block, 0x77, MIB);
}

static bool
grow(void)
{
	void *p = vmem_realloc(pool, block, 5 * MIB);

	if (p != NULL)
		block = p;
	return p != NULL;
}

static void
content_is_there(bool succeeded)
{
	(void)succeeded;
	for (size_t i = 0; i < MIB; i++)
		cr_assert_eq(((char *)block)[i], 0x77, "byte %zu", i);
	vmem_free(pool, block);
	use_pool(pool);
	vmem_delete(pool);
}

Test(nth_vmem_calls, realloc_keeps_the_block)
{
	fault_run(&(struct fault_scenario){.name = "vmem_realloc",
					   .folder = folder,
					   .prepare = make_pool_with_block,
					   .call = grow,
					   .after = content_is_there,
					   .may_fail = "mmap of memory munmap madvise "});
}

/* Functions that cannot fail, whatever the system does. */
static bool
free_it(void)
{
	vmem_free(pool, block);
	return true;
}

static bool
check_it(void)
{
	return vmem_check(pool) == 1;
}

static bool
delete_it(void)
{
	vmem_delete(pool);
	return true;
}

static void
delete_after(bool succeeded)
{
	(void)succeeded;
	vmem_delete(pool);
}

Test(nth_vmem_calls, free_check_and_delete_always_succeed)
{
	static const char any[] = "mmap of memory munmap madvise mprotect open read ";

	fault_run(&(struct fault_scenario){.name = "vmem_free",
					   .folder = folder,
					   .prepare = make_pool_with_block,
					   .call = free_it,
					   .after = delete_after,
					   .may_fail = any});
	fault_run(&(struct fault_scenario){.name = "vmem_check",
					   .folder = folder,
					   .prepare = make_pool_with_block,
					   .call = check_it,
					   .after = delete_after,
					   .may_fail = any});
	fault_run(&(struct fault_scenario){.name = "vmem_delete",
					   .folder = folder,
					   .prepare = make_pool_with_block,
					   .call = delete_it,
					   .may_fail = any});
}

/* --- limits and signals ------------------------------------------------------------------------------------------ */

static void
expect_refused_and_clean(int resource, rlim_t limit, int wanted)
{
	static struct fault_state before, after;
	struct rlimit old, low;
	int error;
	VMEM *vmp;

	vmem_delete((make_pool(), pool)); /* what is made once is made */
	forget_message();
	fault_state_take(&before, folder, INT64_MAX);
	cr_assert_eq(getrlimit(resource, &old), 0);
	low = (struct rlimit){limit, old.rlim_max};
	cr_assert_eq(setrlimit(resource, &low), 0);
	errno = 0;
	vmp = vmem_create(folder, VMEM_MIN_POOL);
	error = errno;
	cr_assert_eq(setrlimit(resource, &old), 0);
	cr_assert_null(vmp);
	cr_expect_eq(error, wanted, "errno %d", error);
	cr_expect_not_null(strstr(vmem_errormsg(), strerror(wanted)), "%s", vmem_errormsg());
	fault_state_take(&after, folder, INT64_MAX);
	fault_state_compare(&before, &after, true, "a limit");
	make_pool();
	use_and_delete(true);
}

Test(nth_vmem_calls, limit_of_descriptors)
{
	expect_refused_and_clean(RLIMIT_NOFILE, 0, EMFILE);
}

Test(nth_vmem_calls, limit_of_file_sizes)
{
	expect_refused_and_clean(RLIMIT_FSIZE, MIB, EFBIG);
}

#ifndef __SANITIZE_ADDRESS__ /* its shadow alone is more than any limit */
Test(nth_vmem_calls, limit_of_addresses)
{
	FILE *statm = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	cr_assert(statm != NULL && fscanf(statm, "%lu", &pages) == 1);
	fclose(statm);
	expect_refused_and_clean(RLIMIT_AS, pages * page_size() + 4 * MIB, ENOMEM);
}
#endif

static volatile sig_atomic_t signals;

static void
count_signal(int signo)
{
	(void)signo;
	signals++;
}

Test(nth_vmem_calls, signals_all_the_time)
{
	struct sigaction action = {.sa_handler = count_signal}; /* no SA_RESTART: calls end in EINTR */
	struct itimerval every = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
	unsigned rounds = 0;

	cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
	cr_assert_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
	for (; signals < 300 && rounds < 20000; rounds++) {
		make_pool();
		block = vmem_malloc(pool, 2 * MIB);
		cr_assert_not_null(block);
		memset(block, 1, 2 * MIB);
		use_and_delete(true);
	}
	cr_assert_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	fprintf(stderr, "signals_all_the_time: %d signals in %u rounds\n", (int)signals, rounds);
	cr_expect_geq(signals, 300);
}
