/* api_pmemcto_disk.c -- pools on file systems that are full, fill up or are read-only: an error, never a signal, and what
 * was in the pool stays
 *
 * Each test mounts a small tmpfs in a mount namespace of its own; where that is not allowed it is skipped.
 */
#define _GNU_SOURCE
#include "tests/tool_run.h"

#include <sched.h>
#include <sys/mount.h>

TestSuite(api_pmemcto_disk, .init = test_dir_make, .fini = test_dir_remove);

#define BLOCK ((size_t)64 << 10)

/* The test's directory becomes a file system of that size. False, and why in errno, when that cannot be. */
static bool
mount_small(const char *options)
{
	return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		mount("none", test_dir, "tmpfs", 0, options) == 0;
}

#define MOUNT_OR_SKIP(options)                                                                                         \
	do {                                                                                                           \
		if (!mount_small(options))                                                                             \
			SKIP("no tmpfs can be mounted: %s", strerror(errno));                                          \
	} while (0)

static void
remount(const char *options, unsigned long flags)
{
	cr_assert_eq(mount("none", test_dir, "tmpfs", MS_REMOUNT | flags, options), 0, "%s", strerror(errno));
}

/* Takes all space that is left. */
static void
fill_disk(void)
{
	int fd = open(in_dir("filler"), O_WRONLY | O_CREAT, 0600);
	char page[4096];

	cr_assert_geq(fd, 0);
	memset(page, 1, sizeof(page));
	while (write(fd, page, sizeof(page)) > 0)
		;
	cr_assert_eq(errno, ENOSPC);
	close(fd);
}

static unsigned
take_blocks(PMEMctopool *pcp, char **blocks, unsigned from, unsigned to)
{
	for (; from < to; from++) {
		blocks[from] = pmemcto_malloc(pcp, BLOCK);
		if (blocks[from] == NULL) {
			cr_expect_eq(errno, ENOMEM);
			break;
		}
		memset(blocks[from], (int)from + 1, BLOCK);
	}
	return from;
}

static void
expect_blocks(char **blocks, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		for (size_t at = 0; at < BLOCK; at += 512)
			cr_assert_eq(blocks[i][at], (char)(i + 1), "block %u", i);
}

/* A pool that takes its blocks from the disk as it fills: others take the rest while it is open. */
Test(api_pmemcto_disk, a_disk_that_fills_up_under_an_open_pool)
{
	enum { MOST = 1000 };
	char *blocks[MOST];
	PMEMctopool *pcp;
	unsigned n, more;

	MOUNT_OR_SKIP("size=40m");
	file_make(in_dir("pool"), 128 * MIB);
	pcp = pmemcto_create(in_dir("pool"), "test", 0, 0);
	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	n = take_blocks(pcp, blocks, 0, 100);
	cr_assert_eq(n, 100);
	fill_disk();
	n = take_blocks(pcp, blocks, n, MOST);
	cr_assert_lt(n, MOST);
	expect_blocks(blocks, n);
	pmemcto_free(pcp, blocks[--n]);
	cr_expect_eq(take_blocks(pcp, blocks, n, n + 1), n + 1, "what was freed can be had again");
	n++;
	pmemcto_set_root_pointer(pcp, blocks[0]);
	errno = 0;
	pmemcto_close(pcp);
	cr_expect_eq(errno, 0, "%s", pmemcto_errormsg());

	cr_expect_eq(pmemcto_check(in_dir("pool"), "test"), 1, "%s", pmemcto_errormsg());
	cr_assert_eq(pool_reopen(in_dir("pool")), pcp, "full as the disk is");
	expect_blocks(blocks, n);
	cr_expect_null(pmemcto_malloc(pcp, 4 * MIB));
	unlink(in_dir("filler"));
	more = take_blocks(pcp, blocks, n, MOST);
	cr_expect_gt(more, n, "with room on the disk the pool has room");
	expect_blocks(blocks, more);
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(in_dir("pool"), "test"), 1);
}

/* A pool made with a size has all its blocks: nobody can take them away. */
Test(api_pmemcto_disk, reserved_blocks_are_there_when_the_disk_is_full)
{
	PMEMctopool *pcp;
	char *blocks[400];
	unsigned n;

	MOUNT_OR_SKIP("size=40m");
	pcp = pool_make(in_dir("pool"), 24 * MIB);
	fill_disk();
	n = take_blocks(pcp, blocks, 0, 400);
	cr_expect_gt(n, 350, "%u blocks of 64 KiB in 24 MiB", n);
	expect_blocks(blocks, n);
	for (unsigned i = 0; i < n; i++)
		pmemcto_free(pcp, blocks[i]);
	cr_expect_eq(take_blocks(pcp, blocks, 0, 400), n);
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(in_dir("pool"), "test"), 1);
}

/* A copy with holes counts on blocks that this disk has not. */
Test(api_pmemcto_disk, a_sparse_copy_that_does_not_fit_is_refused_and_stays_clean)
{
	char command[1200];
	PMEMctopool *pcp;

	MOUNT_OR_SKIP("size=40m");
	pool_prepare(in_dir("pool"), 24 * MIB);
	snprintf(command, sizeof(command), "cp --sparse=always '%s' '%s'", in_dir("pool"), in_dir("copy"));
	cr_assert_eq(system(command), 0);
	unlink(in_dir("pool"));
	remount("size=8m", 0);
	for (int i = 0; i < 2; i++) {
		REFUSED(pmemcto_open(in_dir("copy"), "test"), ENOSPC);
		cr_expect_eq(get_field(in_dir("copy"), AT_CONSISTENT, 1), 1);
		cr_expect_eq(pmemcto_check(in_dir("copy"), "test"), 1, "%s", pmemcto_errormsg());
	}
	remount("size=40m", 0);
	pcp = pool_reopen(in_dir("copy"));
	cr_expect_str_eq(pmemcto_get_root_pointer(pcp), "what was kept");
	pmemcto_close(pcp);
}

Test(api_pmemcto_disk, a_read_only_file_system)
{
	uint64_t hash;

	MOUNT_OR_SKIP("size=60m");
	pool_prepare(in_dir("pool"), 20 * MIB);
	file_make(in_dir("file"), 20 * MIB);
	hash = file_hash(in_dir("pool"));
	remount("size=60m", MS_RDONLY);
	REFUSED(pmemcto_open(in_dir("pool"), "test"), EROFS);
	cr_expect_not_null(strstr(pmemcto_errormsg(), in_dir("pool")), "%s", pmemcto_errormsg());
	cr_expect_eq(pmemcto_check(in_dir("pool"), "test"), -1);
	cr_expect_eq(errno, EROFS);
	REFUSED(pmemcto_create(in_dir("new"), "test", 20 * MIB, 0600), EROFS);
	REFUSED(pmemcto_create(in_dir("file"), "test", 0, 0), EROFS);
	cr_expect_eq(files_in_dir(), 2);
	remount("size=60m", 0);
	cr_expect_eq(file_hash(in_dir("pool")), hash);
	pmemcto_close(pool_reopen(in_dir("pool")));
}

Test(api_pmemcto_disk, no_inode_left_for_a_new_pool)
{
	MOUNT_OR_SKIP("size=60m,nr_inodes=2");
	file_make(in_dir("file"), 0);
	REFUSED(pmemcto_create(in_dir("new"), "test", 20 * MIB, 0600), ENOSPC);
	cr_expect_eq(files_in_dir(), 1);
	unlink(in_dir("file"));
	pmemcto_close(pool_make(in_dir("new"), 20 * MIB));
}

/* --- copies with holes ----------------------------------------------------------------------------------------- */

/* Copies what is not zero. */
static void
copy_sparse(const char *from, const char *to)
{
	static const char zeros[4096];
	int in = open(from, O_RDONLY), out = open(to, O_RDWR | O_CREAT | O_EXCL, 0600);
	struct stat st = file_stat(from);
	char page[4096];

	cr_assert(in >= 0 && out >= 0);
	cr_assert_eq(ftruncate(out, st.st_size), 0);
	for (off_t at = 0; at < st.st_size; at += (off_t)sizeof(page)) {
		cr_assert_eq(pread(in, page, sizeof(page), at), (ssize_t)sizeof(page));
		if (memcmp(page, zeros, sizeof(page)) != 0)
			cr_assert_eq(pwrite(out, page, sizeof(page), at), (ssize_t)sizeof(page));
	}
	close(in);
	close(out);
}

/* Some of everything, and slabs that are not in the first pages of the tables. */
static void
fill_some(PMEMctopool *pcp)
{
	void *p[4000];

	for (unsigned i = 0; i < 4000; i++)
		p[i] = pmemcto_malloc(pcp, i % 16 == 0 ? 9000 : 16 + i * 7 % 400);
	for (unsigned i = 0; i < 4000; i += 2)
		pmemcto_free(pcp, p[i]);
}

/* On tmpfs even a load from a hole takes a page. */
Test(api_pmemcto_disk, a_copy_with_holes_is_looked_at_on_a_full_disk)
{
	PMEMctopool *pcp;
	blkcnt_t blocks;

	MOUNT_OR_SKIP("size=80m");
	pcp = pool_make(in_dir("whole"), 32 * MIB);
	fill_some(pcp);
	pmemcto_close(pcp);
	copy_sparse(in_dir("whole"), in_dir("copy"));
	cr_assert_eq(unlink(in_dir("whole")), 0);
	blocks = file_stat(in_dir("copy")).st_blocks;
	cr_assert_lt(blocks * 512, (blkcnt_t)(16 * MIB));
	fill_disk();
	cr_expect_eq(pmemcto_check(in_dir("copy"), "test"), 1, "%s", pmemcto_errormsg());
	went_well(tool("check", file_in_dir("copy")));
	went_well(tool("info", file_in_dir("copy")));
	went_well(tool("map", file_in_dir("copy")));
	went_well(tool("dump", file_in_dir("copy")));
	cr_expect_eq(file_stat(in_dir("copy")).st_blocks, blocks, "looking at it makes it no larger");
	REFUSED(pmemcto_open(in_dir("copy"), "test"), ENOSPC);
	cr_assert_eq(unlink(in_dir("filler")), 0);
	cr_expect_eq(pmemcto_check(in_dir("copy"), "test"), 1);
	pmemcto_close(pool_reopen(in_dir("copy")));
}

/* As file_hash(), by reading: that takes no page of a hole. */
static uint64_t
file_sum(const char *path)
{
	int fd = open(path, O_RDONLY);
	uint64_t page[512], sum = 0;

	while (read(fd, page, sizeof(page)) == (ssize_t)sizeof(page))
		for (unsigned i = 0; i < 512; i++)
			sum = (sum ^ page[i]) * UINT64_C(0x100000001b3);
	close(fd);
	return sum;
}

static void
repair_on_full_disk(bool sparse)
{
	uint64_t sum;
	int status;

	IN_CHILD(status, {
		PMEMctopool *pcp;

		if (sparse)
			file_make(in_dir("whole"), 64 * MIB);
		pcp = sparse ? pmemcto_create(in_dir("whole"), "test", 0, 0600) : pool_make(in_dir("whole"), 32 * MIB);
		if (pcp == NULL)
			_exit(1);
		fill_some(pcp);
	});
	cr_assert_eq(status, 0);
	copy_sparse(in_dir("whole"), in_dir("copy"));
	cr_assert_eq(unlink(in_dir("whole")), 0);
	fill_disk();
	sum = file_sum(in_dir("copy"));
	assert_in(tool("check", file_in_dir("copy"))->out, "it can be repaired");
	complained(tool("check", "--repair", "--yes", "--json", file_in_dir("copy")), 1, "No space left on device");
	cr_expect_eq(file_sum(in_dir("copy")), sum);
	cr_assert_eq(unlink(in_dir("filler")), 0);
	went_well(tool("check", "--repair", "--yes", file_in_dir("copy")));
	pmemcto_close(pool_reopen(in_dir("copy")));
	went_well(tool("check", file_in_dir("copy")));
}

Test(api_pmemcto_disk, a_copy_with_holes_is_repaired_when_there_is_room)
{
	MOUNT_OR_SKIP("size=80m");
	repair_on_full_disk(false);
}

Test(api_pmemcto_disk, the_same_of_a_pool_that_had_holes)
{
	MOUNT_OR_SKIP("size=80m");
	repair_on_full_disk(true);
}
