/* api_vmem_create.c -- vmem_create and vmem_create_in_region: what they promise and every way they fail */
#include "tests/vmem_test.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>

static void
expect_failure(const char *dir, size_t size, int error, const char *message)
{
	unsigned fds = count_fds();

	errno = 0;
	cr_assert_null(vmem_create(dir, size));
	cr_expect_eq(errno, error, "errno %d, not %d (%s)", errno, error, vmem_errormsg());
	cr_expect_str_eq(vmem_errormsg(), message);
	cr_expect_eq(count_fds(), fds);
}

Test(api_vmem_create, least_size_and_one_more_succeed)
{
	VMEM *a = vmem_create(test_dir(), VMEM_MIN_POOL), *b = vmem_create(test_dir(), VMEM_MIN_POOL + 1);

	cr_assert_not_null(a, "%s", vmem_errormsg());
	cr_assert_not_null(b, "%s", vmem_errormsg());
	cr_expect_eq((uintptr_t)a % POOL_ALIGN, 0);
	cr_expect_eq((uintptr_t)b % POOL_ALIGN, 0);
	cr_expect_eq(VMEM_MIN_POOL, 14680064);
	vmem_delete(a);
	vmem_delete(b);
}

Test(api_vmem_create, success_keeps_errno_and_opens_no_descriptor)
{
	unsigned fds = count_fds();
	VMEM *vmp;

	errno = 4711;
	vmp = vmem_create(test_dir(), VMEM_MIN_POOL);
	cr_assert_not_null(vmp, "%s", vmem_errormsg());
	cr_expect_eq(errno, 4711);
	cr_expect_eq(count_fds(), fds);
	vmem_delete(vmp);
	cr_expect_eq(errno, 4711);
	cr_expect_eq(count_fds(), fds);
}

Test(api_vmem_create, size_is_looked_at_before_the_directory)
{
	expect_failure(test_dir(), 0, EINVAL, "size 0 smaller than 14680064");
	expect_failure(test_dir(), VMEM_MIN_POOL - 1, EINVAL, "size 14680063 smaller than 14680064");
	expect_failure("/no/such/dir", 1, EINVAL, "size 1 smaller than 14680064");
	expect_failure(NULL, 1, EINVAL, "size 1 smaller than 14680064");
}

Test(api_vmem_create, bad_directories)
{
	char path[] = "/tmp/pmheap-test-XXXXXX";
	int fd = mkstemp(path);

	expect_failure(NULL, VMEM_MIN_POOL, EINVAL, "invalid (NULL) path");
	expect_failure("", VMEM_MIN_POOL, ENOENT, "open: No such file or directory");
	expect_failure("/no/such/dir", VMEM_MIN_POOL, ENOENT, "open: No such file or directory");
	expect_failure(path, VMEM_MIN_POOL, ENOTDIR, "open: Not a directory");
	expect_failure("/dev/null", VMEM_MIN_POOL, EINVAL, "/dev/null is not a device dax");
	expect_failure("/proc", VMEM_MIN_POOL, ENOENT, "mkstemp: No such file or directory");
	close(fd);
	unlink(path);
}

Test(api_vmem_create, sizes_no_file_can_have)
{
	expect_failure(test_dir(), (size_t)1 << 63, EFBIG, "invalid size (9223372036854775808) for os_off_t");
	expect_failure("/no/such/dir", (size_t)1 << 63, EFBIG, "invalid size (9223372036854775808) for os_off_t");
	expect_failure(test_dir(), SIZE_MAX, EINVAL, "posix_fallocate: Invalid argument");
}

Test(api_vmem_create, more_than_the_free_space_is_refused)
{
	expect_failure(test_dir(), (size_t)1 << 46, ENOSPC, "posix_fallocate: No space left on device");
}

Test(api_vmem_create, file_size_limit_is_refused_without_a_signal)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_DFL);
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = 10 * MIB;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	expect_failure(test_dir(), VMEM_MIN_POOL, EFBIG, "posix_fallocate: File too large");
}

Test(api_vmem_create, no_room_for_the_mapping)
{
	struct rlimit limit;

	getrlimit(RLIMIT_AS, &limit);
	limit.rlim_cur = 512 * MIB;
#if defined(__SANITIZE_ADDRESS__)
	cr_skip_test("AddressSanitizer needs more address space than the limit that this test sets");
#endif
	cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
	expect_failure(test_dir(), 600 * MIB, ENOMEM, "mmap 629145600 bytes: Cannot allocate memory");
}

Test(api_vmem_create, directories_may_be_relative_long_and_in_any_script)
{
	char path[2 * PATH_MAX], name[201];
	size_t n = (size_t)snprintf(path, PATH_MAX, "%s/pmheap-żółć-XXXXXX", test_dir());
	VMEM *vmp;
	int depth = 0;

	cr_assert_not_null(mkdtemp(path));
	cr_assert_eq(chdir(path), 0);
	vmp = vmem_create(".", VMEM_MIN_POOL);
	cr_expect_not_null(vmp, "%s", vmem_errormsg());
	vmem_delete(vmp);
	vmp = vmem_create(path, VMEM_MIN_POOL);
	cr_expect_not_null(vmp, "%s", vmem_errormsg());
	vmem_delete(vmp);

	/* as long as a path may be */
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	while (n + sizeof(name) < PATH_MAX) {
		cr_assert_eq(mkdir(name, 0700), 0);
		cr_assert_eq(chdir(name), 0);
		path[n++] = '/';
		strcpy(path + n, name);
		n += sizeof(name) - 1;
		depth++;
	}
	vmp = vmem_create(path, VMEM_MIN_POOL);
	cr_expect_not_null(vmp, "path of %zu bytes: %s", n, vmem_errormsg());
	vmem_delete(vmp);
	path[n] = '/';
	strcpy(path + n + 1, name);
	expect_failure(path, VMEM_MIN_POOL, ENAMETOOLONG, "open: File name too long");
	while (depth-- > 0) {
		cr_assert_eq(chdir(".."), 0);
		cr_assert_eq(rmdir(name), 0);
	}
}

Test(api_vmem_create, no_name_is_visible_and_the_mapping_is_a_deleted_file)
{
	char path[64], line[512], want[96];
	struct dirent *entry;
	bool shown = false;
	FILE *maps;
	VMEM *vmp;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/pmheap-XXXXXX", test_dir());
	cr_assert_not_null(mkdtemp(path));
	vmp = vmem_create(path, VMEM_MIN_POOL);
	cr_assert_not_null(vmp, "%s", vmem_errormsg());
	dir = opendir(path);
	while ((entry = readdir(dir)) != NULL)
		cr_expect(entry->d_name[0] == '.', "%s", entry->d_name);
	closedir(dir);
	snprintf(want, sizeof(want), "%s/#", path);
	maps = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof(line), maps) != NULL)
		shown = shown || (strstr(line, want) != NULL && strstr(line, " (deleted)") != NULL);
	fclose(maps);
	cr_expect(shown);
	vmem_delete(vmp);
	cr_expect_eq(rmdir(path), 0);
}

Test(api_vmem_create, a_huge_pool_costs_nothing_until_it_is_used)
{
	size_t size = 1024 * MIB;
	struct stat st;
	char map_file[128], line[512];
	unsigned long low, high;
	FILE *maps;
	VMEM *vmp = vmem_create(test_dir(), size);

	if (vmp == NULL && errno == ENOSPC)
		cr_skip_test("no 1 GiB free in %s", test_dir());
	cr_assert_not_null(vmp, "%s", vmem_errormsg());
	maps = fopen("/proc/self/maps", "r");
	map_file[0] = '\0';
	while (fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx", &low, &high) == 2 && low >= (uintptr_t)vmp && low < (uintptr_t)vmp + size)
			snprintf(map_file, sizeof(map_file), "/proc/self/map_files/%lx-%lx", low, high);
	fclose(maps);
	if (stat(map_file, &st) != 0)
		cr_skip_test("/proc/self/map_files cannot be read: %s", strerror(errno));
	cr_expect_lt(st.st_blocks * 512, (long)(16 * MIB));
	vmem_delete(vmp);
}

static sigjmp_buf back;

static void
on_fault(int sig)
{
	siglongjmp(back, sig);
}

static int
signal_of_reading(const void *p)
{
	int sig;

	signal(SIGSEGV, on_fault);
	signal(SIGBUS, on_fault);
	sig = sigsetjmp(back, 1);
	if (sig == 0)
		(void)*(const volatile char *)p;
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	return sig;
}

Test(api_vmem_create, the_handle_cannot_be_read)
{
	struct test_pool file = file_pool(VMEM_MIN_POOL), region = region_pool(VMEM_MIN_POOL);

	cr_expect_eq(signal_of_reading(file.vmp), SIGSEGV);
	cr_expect_eq(signal_of_reading(region.vmp), SIGSEGV);
	vmem_delete(file.vmp);
	vmem_delete(region.vmp);
	cr_expect_eq(signal_of_reading(region.low), 0);
	region.low[0] = 1;
}

static VMEM *fault_pool;

static void
delete_on_fault(int sig)
{
	vmem_delete(fault_pool);
	siglongjmp(back, sig);
}

Test(api_vmem_create, a_pool_can_be_deleted_in_the_handler_of_its_fault)
{
	fault_pool = file_pool(VMEM_MIN_POOL).vmp;
	cr_assert_not_null(vmem_malloc(fault_pool, 100));
	signal(SIGSEGV, delete_on_fault);
	if (sigsetjmp(back, 1) == 0) {
		(void)*(volatile char *)fault_pool;
		cr_assert(false, "the handle could be read");
	}
	signal(SIGSEGV, SIG_DFL);
	cr_expect_eq(vmem_check(fault_pool), -1);
}

Test(api_vmem_create, many_pools_at_once)
{
	enum { N = 1000 };
	VMEM *pools[N];

	for (int i = 0; i < N; i++) {
		pools[i] = vmem_create(test_dir(), VMEM_MIN_POOL);
		cr_assert_not_null(pools[i], "%d: %s", i, vmem_errormsg());
		*(int *)vmem_malloc(pools[i], sizeof(int)) = i;
	}
	for (int i = 0; i < N; i++) {
		void *p = vmem_malloc(pools[i], 8);

		cr_expect_not_null(p);
		vmem_free(pools[i], p);
	}
	for (int i = 0; i < N; i++)
		vmem_delete(pools[i]);
	for (int i = 0; i < N; i++)
		cr_expect_eq(vmem_check(pools[i]), -1);
}

/* --- regions ------------------------------------------------------------------------------------------------- */

static void
expect_region_failure(void *addr, size_t size, int error, const char *message)
{
	errno = 0;
	cr_assert_null(vmem_create_in_region(addr, size));
	cr_expect_eq(errno, error);
	cr_expect_str_eq(vmem_errormsg(), message);
}

Test(api_vmem_create, region_errors_in_their_order)
{
	char *base = region_new(VMEM_MIN_POOL), want[128];

	snprintf(want, sizeof(want), "addr %p not aligned to pagesize %zu", (void *)(base + 1), page_size());
	expect_region_failure(base + 1, 1, EINVAL, want);
	expect_region_failure(NULL, 1, EINVAL, "size 1 smaller than 14680064");
	expect_region_failure(base, 0, EINVAL, "size 0 smaller than 14680064");
	expect_region_failure(base, VMEM_MIN_POOL - 1, EINVAL, "size 14680063 smaller than 14680064");
	snprintf(want, sizeof(want), "addr 0x0 size %zu is no region", VMEM_MIN_POOL);
	expect_region_failure(NULL, VMEM_MIN_POOL, EINVAL, want);
	snprintf(want, sizeof(want), "addr %p size %zu is no region", (void *)base, SIZE_MAX);
	expect_region_failure(base, SIZE_MAX, EINVAL, want);
	memset(base, 0x5a, VMEM_MIN_POOL); /* untouched: still all ours */
}

Test(api_vmem_create, region_needs_page_alignment_only_and_any_size)
{
	size_t page = page_size(), size = VMEM_MIN_POOL + 4711;
	char *base = region_new(VMEM_MIN_POOL + 4 * page);
	VMEM *vmp;
	char *p;

	memset(base, 0xa5, VMEM_MIN_POOL + 4 * page); /* nothing is assumed about the content */
	vmp = vmem_create_in_region(base + page, size);
	cr_assert_eq((void *)vmp, (void *)(base + page), "%s", vmem_errormsg());
	while ((p = vmem_malloc(vmp, 1000)) != NULL) {
		cr_assert(p >= base + page && p + 1000 <= base + page + size);
		memset(p, 1, 1000);
	}
	cr_expect_eq(vmem_check(vmp), 1);
	vmem_delete(vmp);
	for (size_t i = 0; i < page; i++)
		cr_assert_eq((unsigned char)base[i], 0xa5);
	for (size_t i = page + size; i < VMEM_MIN_POOL + 4 * page; i++)
		cr_assert_eq((unsigned char)base[i], 0xa5);
}

Test(api_vmem_create, region_may_be_shared_memory_or_static)
{
	static char memory[15 << 20] __attribute__((aligned(65536)));
	void *shared = mmap(NULL, VMEM_MIN_POOL, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	VMEM *a = vmem_create_in_region(memory, sizeof(memory)), *b = vmem_create_in_region(shared, VMEM_MIN_POOL);

	cr_assert_not_null(a);
	cr_assert_not_null(b);
	cr_expect_not_null(vmem_malloc(a, MIB));
	cr_expect_not_null(vmem_malloc(b, MIB));
	vmem_delete(a);
	vmem_delete(b);
	memset(memory, 0, sizeof(memory));
}

/* The size reaches past the mapping: a program may know that it will not use the pool so far. */
Test(api_vmem_create, the_tail_of_a_region_is_not_touched)
{
	char *base = region_new(18 * MIB);
	VMEM *vmp = vmem_create_in_region(base + 4 * MIB, 16 * MIB);
	void *p;

	cr_assert_not_null(vmp, "%s", vmem_errormsg());
	p = vmem_malloc(vmp, 4 * MIB);
	cr_assert_not_null(p);
	memset(p, 1, 4 * MIB);
	vmem_free(vmp, p);
	vmem_delete(vmp);
}

Test(api_vmem_create, a_region_can_be_used_again_at_once)
{
	char *base = region_new(VMEM_MIN_POOL);

	for (int i = 0; i < 100; i++) {
		VMEM *vmp = vmem_create_in_region(base, VMEM_MIN_POOL);
		int *p;

		cr_assert_not_null(vmp, "%s", vmem_errormsg());
		p = vmem_calloc(vmp, 100, sizeof(int));
		cr_assert_not_null(p);
		cr_assert_eq(p[99], 0);
		memset(p, 0xff, 100 * sizeof(int));
		vmem_delete(vmp);
	}
}

/* A program that unmapped a region without vmem_delete and makes a new pool there gets a whole one. */
Test(api_vmem_create, a_new_pool_at_the_same_address_ends_the_old_one)
{
	char *base = region_new(VMEM_MIN_POOL);
	VMEM *vmp = vmem_create_in_region(base, VMEM_MIN_POOL);

	cr_assert_not_null(vmem_malloc(vmp, 100));
	cr_assert_neq(mmap(base, VMEM_MIN_POOL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
	    MAP_FAILED);
	cr_assert_eq(vmem_create_in_region(base, VMEM_MIN_POOL), vmp);
	cr_expect_eq(vmem_check(vmp), 1);
	cr_expect_not_null(vmem_malloc(vmp, 100));
	cr_expect_eq(vmem_check(vmp), 1);
	vmem_delete(vmp);
	cr_expect_eq(vmem_check(vmp), -1);
}

/* Both kinds of pool, by a thread that ends at the next cancellation point. */
static void *
create_cancelled(void *region)
{
	static VMEM *pools[2];

	cr_assert_eq(pthread_cancel(pthread_self()), 0);
	pools[0] = vmem_create(test_dir(), VMEM_MIN_POOL);
	pools[1] = vmem_create_in_region(region, VMEM_MIN_POOL);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	return pools;
}

Test(api_vmem_create, a_thread_about_to_be_cancelled_leaves_nothing_half_made)
{
	char *region = region_new(VMEM_MIN_POOL);
	unsigned fds = count_fds();
	pthread_t thread;
	VMEM **pools;

	cr_assert_eq(pthread_create(&thread, NULL, create_cancelled, region), 0);
	cr_assert_eq(pthread_join(thread, (void **)&pools), 0);
	cr_assert_neq((void *)pools, PTHREAD_CANCELED);
	cr_assert_not_null(pools[0]);
	cr_assert_not_null(pools[1]);
	cr_expect_eq(count_fds(), fds);
	vmem_delete(pools[0]);
	vmem_delete(pools[1]);
}
