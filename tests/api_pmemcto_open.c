/* api_pmemcto_open.c -- pmemcto_open and pmemcto_check: each row of their tables of errors, each leaving the file as it is */
#define _GNU_SOURCE
#include "tests/pmemcto_test.h"

#include <sys/syscall.h>
#include <time.h>

TestSuite(api_pmemcto_open, .init = test_dir_make, .fini = test_dir_remove);

/* The library locks by this one, which stands in for libc's: what somebody did just before. */
static void (*before_lock)(void);

int
flock(int fd, int operation)
{
	void (*act)(void) = before_lock;

	if (act != NULL && operation != LOCK_UN) {
		before_lock = NULL;
		act();
	}
	return (int)syscall(SYS_flock, fd, operation);
}

static const char *
prepared(void)
{
	const char *path = in_dir("pool");

	pool_prepare(path, 20 * MIB);
	return path;
}

/* Opening and checking end in the same errno, and nothing is changed. */
static void
expect_refused(const char *path, const char *layout, int error)
{
	struct stat before = file_stat(path);
	uint64_t hash = before.st_size != 0 ? file_hash(path) : 0;

	REFUSED(pmemcto_open(path, layout), error);
	errno = 0;
	cr_expect_eq(pmemcto_check(path, layout), -1);
	cr_expect_eq(errno, error, "check: errno %d, %s", errno, pmemcto_errormsg());
	if (before.st_size != 0)
		cr_expect_eq(file_hash(path), hash, "the file was changed");
	cr_expect_eq(file_stat(path).st_size, before.st_size);
}

static void
expect_good(const char *path)
{
	PMEMctopool *pcp;

	cr_expect_eq(pmemcto_check(path, "test"), 1, "%s", pmemcto_errormsg());
	pcp = pool_reopen(path);
	cr_expect_str_eq((char *)pmemcto_get_root_pointer(pcp), "what was kept");
	pmemcto_close(pcp);
}

Test(api_pmemcto_open, same_address_same_content)
{
	const char *path = in_dir("pool");
	PMEMctopool *pcp = pool_make(path, 32 * MIB), *first = pcp;
	char *blocks[200];

	for (int i = 0; i < 200; i++) {
		blocks[i] = pmemcto_malloc(pcp, 64);
		memset(blocks[i], i, 64);
	}
	pmemcto_set_root_pointer(pcp, blocks[7]);
	for (int round = 0; round < 5; round++) {
		pmemcto_close(pcp);
		pcp = pool_reopen(path);
		cr_assert_eq(pcp, first);
		cr_expect_eq(pmemcto_get_root_pointer(pcp), blocks[7]);
		for (int i = 0; i < 200; i++)
			for (int j = 0; j < 64; j++)
				cr_assert_eq(blocks[i][j], (char)i);
		cr_expect_eq(get_field(path, AT_CONSISTENT, 1), 0, "marked before anything else");
	}
	for (int i = 0; i < 200; i++)
		pmemcto_free(pcp, blocks[i]);
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(path, "test"), 1);
}

Test(api_pmemcto_open, missing_directory_unreadable)
{
	REFUSED(pmemcto_open(in_dir("nothing"), NULL), ENOENT);
	cr_expect_eq(pmemcto_check(in_dir("nothing"), NULL), -1);
	cr_expect_eq(errno, ENOENT);
	mkdir(in_dir("directory"), 0700);
	REFUSED(pmemcto_open(in_dir("directory"), NULL), EISDIR);
	cr_expect_eq(pmemcto_check(in_dir("directory"), NULL), -1);
	cr_expect_eq(errno, EISDIR);
	REFUSED(pmemcto_open(NULL, NULL), EFAULT);
	REFUSED(pmemcto_open("/dev/null", NULL), EINVAL);
}

Test(api_pmemcto_open, permissions)
{
	static const mode_t modes[] = { 0, 0444, 0222 };
	const char *path = prepared();

	for (int i = 0; i < 3; i++) {
		chmod(path, modes[i]);
		if (geteuid() == 0)
			cr_assert_eq(seteuid(65534), 0);
		REFUSED(pmemcto_open(path, NULL), EACCES);
		cr_expect_eq(pmemcto_check(path, NULL), -1);
		cr_expect_eq(errno, EACCES);
		if (getuid() == 0)
			cr_assert_eq(seteuid(0), 0);
	}
	chmod(path, 0600);
	expect_good(path);
}

/* Nanoseconds that the quickest of ten sessions took. */
static uint64_t
session_time(const char *path)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 10; i++) {
		struct timespec begin, end;
		uint64_t time;

		clock_gettime(CLOCK_MONOTONIC, &begin);
		pmemcto_close(pool_reopen(path));
		clock_gettime(CLOCK_MONOTONIC, &end);
		time = (uint64_t)(end.tv_sec - begin.tv_sec) * 1000000000 + (uint64_t)end.tv_nsec - (uint64_t)begin.tv_nsec;
		best = time < best ? time : best;
	}
	return best;
}

/* Its tables take 14 GiB: a look at each page of them would take seconds. */
Test(api_pmemcto_open, a_pool_of_a_tebibyte_is_not_looked_through)
{
	const char *path = in_dir("large");
	uint64_t small_time, large_time;
	PMEMctopool *pcp;

	small_time = session_time(prepared());
	file_make(path, (size_t)1 << 40);
	pcp = pmemcto_create(path, "test", 0, 0600);
	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	cr_assert_not_null(pmemcto_malloc(pcp, 100));
	pmemcto_close(pcp);
	large_time = session_time(path);
	cr_expect_lt(large_time, 10 * small_time + 5000000, "%lu beside %lu ns", (unsigned long)large_time,
		(unsigned long)small_time);
	cr_expect_lt(file_stat(path).st_blocks * 512, (blkcnt_t)(8 * MIB));
}

Test(api_pmemcto_open, a_pool_has_one_user_at_a_time)
{
	const char *path = prepared();
	PMEMctopool *pcp = pool_reopen(path);
	char message[600];
	int status;

	snprintf(message, sizeof(message), "flock \"%s\": %s", path, strerror(EAGAIN));
	REFUSED(pmemcto_open(path, NULL), EAGAIN);
	cr_expect_str_eq(pmemcto_errormsg(), message);
	cr_expect_eq(pmemcto_check(path, NULL), -1);
	cr_expect_eq(errno, EAGAIN);
	cr_expect_str_eq(pmemcto_errormsg(), message);
	IN_CHILD(status, if (pmemcto_open(path, NULL) != NULL || errno != EAGAIN) _exit(1);
	    if (pmemcto_check(path, NULL) != -1 || errno != EAGAIN) _exit(2));
	cr_expect_eq(status, 0);
	pmemcto_close(pcp);
	expect_good(path);
	pcp = pool_make(in_dir("new"), 20 * MIB);
	REFUSED(pmemcto_open(in_dir("new"), NULL), EAGAIN);
	pmemcto_close(pcp);
}

static void
remove_pool(void)
{
	cr_assert_eq(unlink(in_dir("pool")), 0);
}

static void
replace_pool(void)
{
	cr_assert_eq(rename(in_dir("other"), in_dir("pool")), 0);
}

/* What a program kept in a file that has no name any more would be lost. */
Test(api_pmemcto_open, a_file_that_goes_before_it_is_locked)
{
	const char *path = prepared();

	before_lock = remove_pool;
	REFUSED(pmemcto_open(path, "test"), ENOENT);
	path = prepared();
	before_lock = remove_pool;
	cr_expect_eq(pmemcto_check(path, "test"), -1);
	cr_expect_eq(errno, ENOENT, "%s", pmemcto_errormsg());
	pool_prepare(path, 20 * MIB);
	pool_prepare(in_dir("other"), 20 * MIB);
	before_lock = replace_pool;
	REFUSED(pmemcto_open(path, "test"), EAGAIN);
	cr_expect_not_null(strstr(pmemcto_errormsg(), "was replaced"), "%s", pmemcto_errormsg());
	expect_good(path);
}

Test(api_pmemcto_open, sizes_other_than_the_pools)
{
	static const size_t sizes[] = { 0, 1, 8192, 16 * MIB - 1, 16 * MIB, 20 * MIB - 1, 20 * MIB - 4096,
		20 * MIB + 4096, 40 * MIB };
	const char *path = prepared();

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		file_copy(path, in_dir("copy"));
		cr_assert_eq(truncate(in_dir("copy"), (off_t)sizes[i]), 0);
		expect_refused(in_dir("copy"), NULL, EINVAL);
	}
	cr_assert_eq(truncate(path, 20 * MIB + 4095), 0);
	expect_good(path);
}

Test(api_pmemcto_open, layouts)
{
	const char *path = prepared();
	PMEMctopool *pcp;

	expect_refused(path, "other", EINVAL);
	expect_refused(path, "", EINVAL);
	expect_refused(path, "test2", EINVAL);
	expect_refused(path, "tes", EINVAL);
	pcp = pmemcto_open(path, NULL);
	cr_expect_not_null(pcp);
	pmemcto_close(pcp);
	expect_good(path);
}

Test(api_pmemcto_open, an_open_pool_that_was_left_is_inconsistent)
{
	const char *path = in_dir("pool");
	int status;

	IN_CHILD(status, pmemcto_create(path, "test", 20 * MIB, 0600));
	cr_assert_eq(status, 0);
	expect_refused(path, "test", EINVAL);
	cr_expect_str_eq(pmemcto_errormsg(), "inconsistent pool");
	unlink(path);

	IN_CHILD(status, PMEMctopool *pcp = pmemcto_create(path, "test", 20 * MIB, 0600);
	    pmemcto_set_root_pointer(pcp, pmemcto_malloc(pcp, 100)); exit(0));
	expect_refused(path, "test", EINVAL);
	cr_expect_str_eq(pmemcto_errormsg(), "inconsistent pool");
	unlink(path);

	pool_prepare(path, 20 * MIB);
	IN_CHILD(status, if (pmemcto_open(path, "test") == NULL) _exit(1));
	cr_assert_eq(status, 0);
	expect_refused(path, NULL, EINVAL);
	cr_expect_str_eq(pmemcto_errormsg(), "inconsistent pool");
}

/* Who sets the mark by hand does not get an older state for a good one. */
Test(api_pmemcto_open, a_mark_set_by_hand_does_not_make_a_pool)
{
	const char *path = prepared();
	uint8_t one = 1;
	int status;

	IN_CHILD(status, PMEMctopool *pcp = pmemcto_open(path, "test");
	    pmemcto_set_root_pointer(pcp, pmemcto_malloc(pcp, 100)));
	cr_assert_eq(status, 0);
	file_write(path, AT_CONSISTENT, &one, 1);
	expect_refused(path, NULL, EINVAL);
}

Test(api_pmemcto_open, headers_that_are_none_of_ours)
{
	static const struct {
		size_t offset;
		uint64_t value;
		size_t bytes;
		const char *message;
	} cases[] = {
		{ 0, UINT64_C(0x004a424f4d454d50), 8, "wrong pool type" }, /* PMEMOBJ */
		{ AT_MAJOR, 0, 4, "major" },
		{ AT_MAJOR, 2, 4, "major" },
		{ AT_INCOMPAT, 2, 4, "another implementation" }, /* as the published library makes them */
		{ AT_INCOMPAT, 0, 4, "another implementation" },
		{ AT_INCOMPAT, 4, 4, "another implementation" },
		{ AT_INCOMPAT, 1111, 4, "another implementation" },
		{ AT_INCOMPAT, 0x80000006, 4, "newer" },
		{ AT_INCOMPAT, 0x80000007, 4, "newer" },
		{ AT_INCOMPAT, 0x80000003, 4, "set" },
		{ AT_INCOMPAT, 0x80000000, 4, "features" },
		{ AT_MACHINE, 3, 2, "another kind of machine" },
		{ 128, 1, 8, "another kind of machine" },
		{ 136, 1, 1, "another kind of machine" },
		{ 137, 2, 1, "another kind of machine" },
		{ AT_PART_UUID, 1, 8, "set" },
		{ AT_NEXT_UUID, 1, 8, "set" },
		{ AT_FORMAT, 2, 4, "format version" },
		{ AT_FLAGS, 2, 4, "newer" },
		{ AT_BASE, 0, 8, "address" },
		{ AT_BASE, UINT64_MAX - 4095, 8, "impossible" },
		{ AT_HEAP_OFFSET, 0, 8, "impossible" },
		{ AT_HEAP_OFFSET, 8193, 8, "impossible" },
		{ AT_HEAP_OFFSET, 20 * MIB, 8, "impossible" },
		{ AT_HEAP_OFFSET, UINT64_MAX - 4095, 8, "impossible" },
		{ AT_SIZE, 16 * MIB, 8, "bytes" },
		{ AT_SIZE, 0, 8, "bytes" },
		{ AT_CONSISTENT, 2, 1, "damaged" },
		{ AT_LAYOUT + 1023, 'x', 1, "layout" },
		{ AT_DESC_END, 1, 1, "zero" },
		{ AT_HEAP - 1, 1, 1, "zero" },
		{ 3000, 1, 1, "zero" },
		{ 4024, 1, 1, "zero" },
	};
	const char *path = prepared(), *copy = in_dir("copy");

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		file_copy(path, copy);
		set_field(copy, cases[i].offset, cases[i].value, cases[i].bytes);
		expect_refused(copy, NULL, EINVAL);
		cr_expect_not_null(strstr(pmemcto_errormsg(), cases[i].message), "case %zu: %s", i, pmemcto_errormsg());
	}
	expect_good(path);
}

Test(api_pmemcto_open, unknown_compatible_features_are_ignored)
{
	static const uint32_t bits[] = { 1, 2, 3, 1111, 0xffffffff };
	const char *path = prepared();

	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		set_field(path, AT_COMPAT, bits[i], 4);
		expect_good(path);
		set_field(path, AT_RO_COMPAT, bits[i], 4);
		expect_good(path);
	}
}

Test(api_pmemcto_open, a_file_of_zeros_is_no_pool)
{
	file_make(in_dir("zeros"), 20 * MIB);
	expect_refused(in_dir("zeros"), NULL, EINVAL);
	cr_expect_not_null(strstr(pmemcto_errormsg(), "pmemcto_create"), "%s", pmemcto_errormsg());
}

Test(api_pmemcto_open, roots_outside_of_the_pool)
{
	const char *path = prepared();
	uint64_t base = get_field(path, AT_BASE, 8);

	set_field(path, AT_ROOT, base + 8191, 8);
	expect_refused(path, NULL, EINVAL);
	set_field(path, AT_ROOT, base + 20 * MIB, 8);
	expect_refused(path, NULL, EINVAL);
	set_field(path, AT_ROOT, 1, 8);
	expect_refused(path, NULL, EINVAL);
	set_field(path, AT_ROOT, base + 8192, 8);
	cr_expect_eq(pmemcto_check(path, "test"), 1);
	set_field(path, AT_ROOT, 0, 8);
	cr_expect_eq(pmemcto_check(path, "test"), 1);
}

Test(api_pmemcto_open, one_busy_page_keeps_it_out_and_clean)
{
	const char *path = prepared();
	char *base = (char *)(uintptr_t)get_field(path, AT_BASE, 8), *busy;
	size_t offsets[] = { 0, 10 * MIB, 20 * MIB - 4096 };

	for (int i = 0; i < 3; i++) {
		busy = mmap(base + offsets[i], 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		cr_assert_eq(busy, base + offsets[i]);
		expect_refused(path, "test", ENOMEM);
		munmap(busy, 4096);
		expect_good(path);
	}
}

Test(api_pmemcto_open, a_copy_cannot_be_open_beside_the_original)
{
	const char *path = prepared();
	PMEMctopool *pcp;

	file_copy(path, in_dir("copy"));
	pcp = pool_reopen(path);
	REFUSED(pmemcto_open(in_dir("copy"), NULL), ENOMEM);
	cr_expect_eq(pmemcto_check(in_dir("copy"), NULL), -1);
	cr_expect_eq(errno, ENOMEM);
	pmemcto_close(pcp);
	expect_good(in_dir("copy"));
	rename(in_dir("copy"), in_dir("moved"));
	expect_good(in_dir("moved"));
}

Test(api_pmemcto_open, malformed_arguments)
{
	char layout[2000];

	memset(layout, 'x', sizeof(layout));
	layout[1999] = '\0';
	prepared();
	REFUSED(pmemcto_open(in_dir("pool"), layout), EINVAL);
	cr_expect_eq(pmemcto_check(in_dir("pool"), layout), -1);
	cr_expect_eq(errno, EINVAL);
	cr_expect_eq(pmemcto_check(NULL, NULL), -1);
	cr_expect_eq(errno, EFAULT);
}

Test(api_pmemcto_open, check_leaves_no_mapping_no_descriptor_no_change)
{
	const char *path = prepared();
	char *base = (char *)(uintptr_t)get_field(path, AT_BASE, 8);
	uint64_t hash = file_hash(path);
	unsigned fds = count_fds();

	for (int i = 0; i < 100; i++)
		cr_expect_eq(pmemcto_check(path, "test"), 1);
	cr_expect_eq(count_fds(), fds);
	cr_expect_not(is_mapped(base, 20 * MIB));
	cr_expect_eq(file_hash(path), hash);
	expect_good(path);
}

Test(api_pmemcto_open, failures_leave_no_mapping_no_descriptor)
{
	const char *path = prepared();
	char *base = (char *)(uintptr_t)get_field(path, AT_BASE, 8);
	unsigned fds = count_fds();
	uint8_t byte;

	for (int i = 0; i < 50; i++)
		REFUSED(pmemcto_open(path, "other"), EINVAL);
	file_read(path, AT_HEAP + 100, &byte, 1);
	byte ^= 0x10;
	file_write(path, AT_HEAP + 100, &byte, 1);
	for (int i = 0; i < 50; i++)
		REFUSED(pmemcto_open(path, "test"), EINVAL);
	cr_expect_eq(pmemcto_check(path, "test"), 0, "a damaged heap is a verdict, not an error");
	cr_expect_eq(count_fds(), fds);
	cr_expect_not(is_mapped(base, 20 * MIB));
}

/* Each byte of the first pages in turn: no damage there goes unseen. */
Test(api_pmemcto_open, any_damaged_byte_of_header_or_descriptor_is_seen)
{
	const char *path = prepared();
	unsigned char front[AT_HEAP];

	file_read(path, 0, front, sizeof(front));
	for (size_t i = 0; i < sizeof(front); i++) {
		unsigned char bad = front[i] ^ (unsigned char)(1u << i % 8);

		file_write(path, i, &bad, 1);
		PMEMctopool *pcp = pmemcto_open(path, "test");
		int error = errno;

		cr_assert_null(pcp, "byte %zu", i);
		cr_assert_eq(error, EINVAL, "byte %zu", i);
		cr_assert_eq(pmemcto_check(path, NULL), -1, "byte %zu", i);
		file_write(path, i, &front[i], 1);
	}
	expect_good(path);
}

Test(api_pmemcto_open, any_damaged_byte_of_the_heaps_superblock_is_seen)
{
	const char *path = prepared();
	unsigned char page[4096];

	file_read(path, AT_HEAP, page, sizeof(page));
	for (size_t i = 0; i < 1024; i++) {
		unsigned char bad = page[i] ^ 0xff;
		int verdict;

		file_write(path, AT_HEAP + i, &bad, 1);
		PMEMctopool *pcp = pmemcto_open(path, "test");

		cr_assert_null(pcp, "byte %zu", i);
		verdict = pmemcto_check(path, NULL);
		cr_assert(verdict == 0 || (verdict == -1 && errno == EINVAL), "byte %zu: %d", i, verdict);
		file_write(path, AT_HEAP + i, &page[i], 1);
	}
	expect_good(path);
}
