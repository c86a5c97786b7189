/* api_pmemcto_create.c -- pmemcto_create: what it makes, each row of its table of errors, and nothing left behind */
#define _GNU_SOURCE
#include "tests/pmemcto_test.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

TestSuite(api_pmemcto_create, .init = test_dir_make, .fini = test_dir_remove);

/* --- what is made -------------------------------------------------------------------------------------------- */

Test(api_pmemcto_create, a_new_file_has_its_size_mode_and_all_its_blocks)
{
	static const mode_t modes[] = { 0600, 0644, 0666, 0400, 0777 };
	mode_t old = umask(077);

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		const char *path = in_dir("pool");
		PMEMctopool *pcp = pmemcto_create(path, "test", 20 * MIB, modes[i]);
		struct stat st = file_stat(path);

		cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
		cr_expect_eq(st.st_size, 20 * MIB);
		cr_expect_geq(st.st_blocks * 512, 20 * MIB, "%lld blocks", (long long)st.st_blocks);
		cr_expect_eq(st.st_mode & 07777, modes[i], "mode %o, the umask counts for nothing", st.st_mode);
		pmemcto_close(pcp);
		cr_expect_eq(pmemcto_check(path, "test"), 1);
		unlink(path);
	}
	umask(old);
}

Test(api_pmemcto_create, odd_sizes_are_kept_and_rounded_down_for_use)
{
	const char *path = in_dir("pool");
	PMEMctopool *pcp = pool_make(path, 16 * MIB + 100);

	cr_expect_eq(file_stat(path).st_size, 16 * MIB + 100);
	pmemcto_close(pcp);
	cr_expect_eq(get_field(path, AT_SIZE, 8), 16 * MIB);
	pcp = pool_reopen(path);
	pmemcto_close(pcp);
}

Test(api_pmemcto_create, the_smallest_pool_gives_a_block_of_twelve_mebibytes)
{
	PMEMctopool *pcp = pool_make(in_dir("pool"), PMEMCTO_MIN_POOL);

	cr_expect_not_null(pmemcto_malloc(pcp, 12 * MIB));
	pmemcto_close(pcp);
}

Test(api_pmemcto_create, a_new_pool_is_dirty_and_without_root)
{
	const char *path = in_dir("pool");
	PMEMctopool *pcp = pool_make(path, 20 * MIB);

	cr_expect_null(pmemcto_get_root_pointer(pcp));
	cr_expect_eq(get_field(path, AT_CONSISTENT, 1), 0);
	pmemcto_close(pcp);
	cr_expect_eq(get_field(path, AT_CONSISTENT, 1), 1);
}

Test(api_pmemcto_create, header_as_the_published_format_has_it)
{
	const char *path = in_dir("pool");
	unsigned char front[8192];
	uint64_t sum;

	pool_prepare(path, 20 * MIB);
	file_read(path, 0, front, sizeof(front));
	cr_expect_arr_eq(front, "PMEMCTO", 8);
	cr_expect_eq(get_field(path, AT_MAJOR, 4), 1);
	cr_expect_eq(get_field(path, AT_COMPAT, 4), 0);
	cr_expect_eq(get_field(path, AT_INCOMPAT, 4), 0x80000002, "2 KiB checksum, and a feature of our own");
	cr_expect_eq(get_field(path, AT_RO_COMPAT, 4), 0);
	for (int link = 1; link < 5; link++)
		cr_expect_arr_eq(front + AT_PART_UUID, front + AT_PART_UUID + 16 * link, 16, "a single file is its own neighbour");
	cr_expect_neq(get_field(path, 24, 8), 0);
	cr_expect_neq(memcmp(front + 24, front + AT_PART_UUID, 16), 0);
#ifdef __x86_64__
	cr_expect_eq(get_field(path, 128, 8), UINT64_C(0x000007f737777310));
	cr_expect_eq(get_field(path, AT_MACHINE, 2), 62);
#endif
	cr_expect_eq(front[136], 2);
	cr_expect_eq(front[137], 1);
	sum = fletcher64(front, 0, 4096, 2032, 4096);
	cr_expect_arr_eq(front + AT_CHECKSUM, &sum, 8);
	cr_expect_str_eq((char *)front + AT_LAYOUT, "test");
	cr_expect_eq(get_field(path, AT_SIZE, 8), 20 * MIB);
	for (size_t i = 144; i < AT_CHECKSUM; i++)
		cr_assert_eq(front[i], 0, "byte %zu", i);
	for (size_t i = AT_DESC_END; i < AT_HEAP; i++)
		cr_assert_eq(front[i], 0, "nothing of the process is in the file: byte %zu", i);
}

Test(api_pmemcto_create, layout_names_up_to_1023_bytes)
{
	char layout[1025];
	PMEMctopool *pcp;

	memset(layout, 'x', sizeof(layout));
	layout[1024] = '\0';
	REFUSED(pmemcto_create(in_dir("pool"), layout, 20 * MIB, 0600), EINVAL);
	cr_expect_eq(files_in_dir(), 0);
	layout[1023] = '\0';
	pcp = pmemcto_create(in_dir("pool"), layout, 20 * MIB, 0600);
	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(in_dir("pool"), layout), 1);
	layout[1022] = '\0';
	cr_expect_eq(pmemcto_check(in_dir("pool"), layout), -1);
}

Test(api_pmemcto_create, no_layout_is_the_empty_one)
{
	PMEMctopool *pcp = pmemcto_create(in_dir("pool"), NULL, 20 * MIB, 0600);

	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(in_dir("pool"), ""), 1);
	cr_expect_eq(pmemcto_check(in_dir("pool"), "test"), -1);
}

Test(api_pmemcto_create, errno_stays_on_success)
{
	PMEMctopool *pcp;

	errno = 1234;
	pcp = pmemcto_create(in_dir("pool"), NULL, 20 * MIB, 0600);
	cr_assert_not_null(pcp);
	cr_expect_eq(errno, 1234);
	pmemcto_close(pcp);
	cr_expect_eq(errno, 1234);
	pcp = pmemcto_open(in_dir("pool"), NULL);
	cr_assert_not_null(pcp);
	cr_expect_eq(errno, 1234);
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(in_dir("pool"), NULL), 1);
	cr_expect_eq(errno, 1234);
	cr_expect_str_empty(pmemcto_errormsg());
}

/* --- existing files ------------------------------------------------------------------------------------------ */

Test(api_pmemcto_create, an_existing_file_becomes_a_pool_with_garbage_behind_its_first_pages)
{
	const char *path = in_dir("pool");
	unsigned char *garbage = malloc(32 * MIB), *p;
	uint64_t seed = 1;
	PMEMctopool *pcp;

	for (size_t i = 0; i < 32 * MIB; i += 8) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
		memcpy(garbage + i, &seed, 8);
	}
	memset(garbage, 0, 4096);
	file_make(path, 32 * MIB);
	file_write(path, 0, garbage, 32 * MIB);
	chmod(path, 0640);
	pcp = pmemcto_create(path, "test", 0, 0777);
	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	cr_expect_eq(file_stat(path).st_mode & 07777, 0640, "it keeps its mode");
	cr_expect_null(pmemcto_get_root_pointer(pcp));
	for (int round = 0; round < 200; round++) {
		size_t size = (size_t)round * 331 + 1;

		p = pmemcto_calloc(pcp, size, 1);
		cr_assert_not_null(p);
		for (size_t i = 0; i < size; i++)
			cr_assert_eq(p[i], 0);
	}
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(path, "test"), 1);
	pmemcto_close(pool_reopen(path));
	free(garbage);
}

Test(api_pmemcto_create, a_sparse_file_stays_sparse)
{
	const char *path = in_dir("pool");
	PMEMctopool *pcp;

	file_make(path, 1024 * MIB);
	pcp = pmemcto_create(path, "test", 0, 0);
	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	for (int i = 0; i < 1000; i++)
		cr_assert_not_null(pmemcto_malloc(pcp, 1000));
	pmemcto_close(pcp);
	cr_expect_lt(file_stat(path).st_blocks * 512, 8 * MIB);
	cr_expect_eq(pmemcto_check(path, "test"), 1);
	pcp = pool_reopen(path);
	memset(pmemcto_malloc(pcp, 20 * MIB), 1, 20 * MIB);
	pmemcto_close(pcp);
	cr_expect_geq(file_stat(path).st_blocks * 512, 20 * MIB);
	cr_expect_lt(file_stat(path).st_blocks * 512, 40 * MIB);
	cr_expect_eq(pmemcto_check(path, "test"), 1);
}

Test(api_pmemcto_create, blocks_reserved_at_creation_are_never_given_back)
{
	const char *path = in_dir("pool");
	PMEMctopool *pcp = pool_make(path, 64 * MIB);
	blkcnt_t blocks = file_stat(path).st_blocks;

	for (int round = 0; round < 3; round++) {
		void *p = pmemcto_malloc(pcp, 50 * MIB);

		memset(p, 1, 50 * MIB);
		pmemcto_free(pcp, p);
		for (int i = 0; i < 10000; i++)
			pmemcto_free(pcp, pmemcto_malloc(pcp, (size_t)i * 13));
		pmemcto_close(pcp);
		cr_expect_eq(file_stat(path).st_blocks, blocks);
		pcp = pool_reopen(path);
	}
	pmemcto_close(pcp);
}

Test(api_pmemcto_create, data_in_the_first_page_keeps_a_pool_out)
{
	static const size_t offsets[] = { 0, 1, 2048, 4095 };
	const char *path = in_dir("pool");
	PMEMctopool *pcp;

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		file_make(path, 20 * MIB);
		file_write(path, offsets[i], "x", 1);
		uint64_t hash = file_hash(path);

		REFUSED(pmemcto_create(path, "test", 0, 0600), EEXIST);
		cr_expect_eq(file_hash(path), hash);
	}
	file_make(path, 20 * MIB);
	file_write(path, 4096, "x", 1);
	pcp = pmemcto_create(path, "test", 0, 0600);
	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	pmemcto_close(pcp);
	REFUSED(pmemcto_create(path, "test", 0, 0600), EEXIST);
	cr_expect_eq(pmemcto_check(path, "test"), 1, "a pool is not overwritten");
}

/* --- errors -------------------------------------------------------------------------------------------------- */

Test(api_pmemcto_create, what_exists_is_not_touched_when_a_size_is_given)
{
	file_make(in_dir("file"), 0);
	mkdir(in_dir("directory"), 0700);
	mkfifo(in_dir("fifo"), 0600);
	pool_prepare(in_dir("pool"), 20 * MIB);
	REFUSED(pmemcto_create(in_dir("file"), "test", 20 * MIB, 0600), EEXIST);
	REFUSED(pmemcto_create(in_dir("directory"), "test", 20 * MIB, 0600), EEXIST);
	REFUSED(pmemcto_create(in_dir("fifo"), "test", 20 * MIB, 0600), EEXIST);
	REFUSED(pmemcto_create(in_dir("pool"), "test", 20 * MIB, 0600), EEXIST);
	REFUSED(pmemcto_create(in_dir("file"), "test", 1, 0600), EEXIST);
	cr_expect_eq(pmemcto_check(in_dir("pool"), "test"), 1);
	cr_assert_eq(symlink("nowhere", in_dir("dangling")), 0);
	REFUSED(pmemcto_create(in_dir("dangling"), "test", 20 * MIB, 0600), EEXIST);
	cr_expect_eq(files_in_dir(), 5);
}

Test(api_pmemcto_create, sizes_below_the_minimum)
{
	static const size_t sizes[] = { 1, 4096, 2 * MIB, 16 * MIB - 1, 16 * MIB - 4096 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		REFUSED(pmemcto_create(in_dir("pool"), "test", sizes[i], 0600), EINVAL);
	cr_expect_eq(files_in_dir(), 0);
}

Test(api_pmemcto_create, sizes_that_no_file_has)
{
	REFUSED(pmemcto_create(in_dir("pool"), "test", SIZE_MAX, 0600), EFBIG);
	REFUSED(pmemcto_create(in_dir("pool"), "test", (size_t)1 << 63, 0600), EFBIG);
	REFUSED(pmemcto_create(in_dir("pool"), "test", (size_t)1 << 50, 0600), ENOSPC);
	cr_expect_eq(files_in_dir(), 0);
}

Test(api_pmemcto_create, sizes_beyond_the_limit_of_the_process)
{
	struct rlimit limit = { 17 * MIB, 17 * MIB };

	signal(SIGXFSZ, SIG_DFL);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	REFUSED(pmemcto_create(in_dir("pool"), "test", 20 * MIB, 0600), EFBIG);
	cr_expect_eq(files_in_dir(), 0);
}

Test(api_pmemcto_create, no_address_space_for_it)
{
	struct rlimit old, limit;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	SKIP("the sanitizers need all address space themselves");
#endif
	cr_assert_eq(getrlimit(RLIMIT_AS, &old), 0);
	limit = (struct rlimit){ 512 * MIB, old.rlim_max };
	cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
	REFUSED(pmemcto_create(in_dir("pool"), "test", 600 * MIB, 0600), ENOMEM);
	cr_expect_eq(files_in_dir(), 0);
	file_make(in_dir("file"), 600 * MIB);
	REFUSED(pmemcto_create(in_dir("file"), "test", 0, 0600), ENOMEM);
	cr_expect_eq(get_field(in_dir("file"), 0, 8), 0);
	pmemcto_close(pool_make(in_dir("pool"), 20 * MIB)); /* without room to grow, but there */
}

Test(api_pmemcto_create, a_full_file_system)
{
	static char dir[] = "/tmp/pmheap-full-XXXXXX";
	char path[64];

	if (unshare(CLONE_NEWNS) != 0)
		SKIP("no mount namespace: %s", strerror(errno));
	cr_assert_not_null(mkdtemp(dir));
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("none", dir, "tmpfs", 0, "size=24m") != 0) {
		rmdir(dir);
		SKIP("tmpfs cannot be mounted: %s", strerror(errno));
	}
	snprintf(path, sizeof(path), "%s/pool", dir);
	REFUSED(pmemcto_create(path, "test", 32 * MIB, 0600), ENOSPC);
	cr_expect_neq(access(path, F_OK), 0);
	pmemcto_close(pool_make(path, 20 * MIB));
	cr_expect_eq(pmemcto_check(path, "test"), 1);
	unlink(path);

	/* a sparse file with more bytes than there is room for fills up to ENOMEM, never to a signal */
	file_make(path, 128 * MIB);
	PMEMctopool *pcp = pmemcto_create(path, "test", 0, 0);
	size_t n = 0;
	void *p;

	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	while ((p = pmemcto_malloc(pcp, 64 << 10)) != NULL) {
		memset(p, 1, 64 << 10);
		n++;
	}
	cr_expect_eq(errno, ENOMEM);
	cr_expect_gt(n, 200, "%zu blocks of 64 KiB in 24 MiB", n);
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(path, "test"), 1, "%s", pmemcto_errormsg());
	pcp = pool_reopen(path);
	cr_expect_null(pmemcto_malloc(pcp, 8 * MIB));
	pmemcto_close(pcp);
	umount(dir);
	rmdir(dir);
}

Test(api_pmemcto_create, missing_files_and_directories)
{
	char long_name[400];

	memset(long_name, 'n', sizeof(long_name));
	long_name[399] = '\0';
	REFUSED(pmemcto_create(in_dir("no/pool"), "test", 20 * MIB, 0600), ENOENT);
	REFUSED(pmemcto_create(in_dir("pool"), "test", 0, 0600), ENOENT);
	REFUSED(pmemcto_create("", "test", 20 * MIB, 0600), ENOENT);
	REFUSED(pmemcto_create("", "test", 0, 0600), ENOENT);
	REFUSED(pmemcto_create(in_dir(long_name), "test", 20 * MIB, 0600), ENAMETOOLONG);
	REFUSED(pmemcto_create(NULL, "test", 20 * MIB, 0600), EFAULT);
	file_make(in_dir("file"), 0);
	REFUSED(pmemcto_create(in_dir("file/pool"), "test", 20 * MIB, 0600), ENOTDIR);
	cr_expect_eq(files_in_dir(), 1);
}

Test(api_pmemcto_create, existing_files_that_cannot_become_pools)
{
	mkdir(in_dir("directory"), 0700);
	REFUSED(pmemcto_create(in_dir("directory"), "test", 0, 0600), EISDIR);
	file_make(in_dir("empty"), 0);
	REFUSED(pmemcto_create(in_dir("empty"), "test", 0, 0600), EINVAL);
	file_make(in_dir("small"), 16 * MIB - 1);
	REFUSED(pmemcto_create(in_dir("small"), "test", 0, 0600), EINVAL);
	mkfifo(in_dir("fifo"), 0600);
	REFUSED(pmemcto_create(in_dir("fifo"), "test", 0, 0600), EINVAL);
	REFUSED(pmemcto_create("/dev/null", "test", 0, 0600), EINVAL);
	cr_expect_eq(files_in_dir(), 4);
}

Test(api_pmemcto_create, permissions)
{
	file_make(in_dir("none"), 20 * MIB);
	chmod(in_dir("none"), 0);
	file_make(in_dir("read"), 20 * MIB);
	chmod(in_dir("read"), 0444);
	file_make(in_dir("write"), 20 * MIB);
	chmod(in_dir("write"), 0222);
	if (geteuid() == 0)
		cr_assert_eq(seteuid(65534), 0);
	else
		chmod(test_dir, 0555);
	REFUSED(pmemcto_create(in_dir("none"), "test", 0, 0600), EACCES);
	REFUSED(pmemcto_create(in_dir("read"), "test", 0, 0600), EACCES);
	REFUSED(pmemcto_create(in_dir("write"), "test", 0, 0600), EACCES);
	REFUSED(pmemcto_create(in_dir("new"), "test", 20 * MIB, 0600), EACCES);
	REFUSED(pmemcto_create(in_dir("none"), "test", 20 * MIB, 0600), EEXIST);
	if (getuid() == 0)
		cr_assert_eq(seteuid(0), 0);
	else
		chmod(test_dir, 0755);
	cr_expect_eq(files_in_dir(), 3);
}

Test(api_pmemcto_create, a_file_that_is_in_use)
{
	const char *path = in_dir("file");
	int fd;

	file_make(path, 20 * MIB);
	fd = open(path, O_RDONLY);
	cr_assert_eq(flock(fd, LOCK_EX), 0);
	REFUSED(pmemcto_create(path, "test", 0, 0600), EAGAIN);
	cr_expect_not_null(strstr(pmemcto_errormsg(), "flock \""), "%s", pmemcto_errormsg());
	close(fd);
	pmemcto_close(pmemcto_create(path, "test", 0, 0600));
	cr_expect_eq(pmemcto_check(path, "test"), 1);
}

Test(api_pmemcto_create, descriptors_and_mappings_go_when_it_fails)
{
	unsigned fds = count_fds();

	for (int i = 0; i < 100; i++) {
		pmemcto_create(in_dir("no/pool"), "test", 20 * MIB, 0600);
		pmemcto_create(in_dir("pool"), "test", (size_t)1 << 50, 0600);
		pmemcto_create("/dev/null", "test", 0, 0600);
	}
	cr_expect_eq(count_fds(), fds);
}
