/* api_vmem_full.c -- libvmem on a file system that is full, or becomes so: ENOSPC at creation, ENOMEM later, never a
 * signal, and nothing changed by a call that failed
 *
 * Each test mounts a small tmpfs in a mount namespace of its own; where that is not allowed it is skipped.
 */
#define _GNU_SOURCE
#include "tests/vmem_test.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

static char dir[] = "/tmp/pmheap-full-XXXXXX";

static void
write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd >= 0) {
		cr_expect_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
		close(fd);
	}
}

/* Mounts a tmpfs of that size, in bytes, for this process only. */
static void
mount_small(const char *options)
{
	char map[64];
	unsigned uid = getuid(), gid = getgid();

	if (unshare(CLONE_NEWNS) != 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
			cr_skip_test("no mount namespace: %s", strerror(errno));
		write_text("/proc/self/setgroups", "deny");
		snprintf(map, sizeof(map), "0 %u 1", uid);
		write_text("/proc/self/uid_map", map);
		snprintf(map, sizeof(map), "0 %u 1", gid);
		write_text("/proc/self/gid_map", map);
	}
	cr_assert_not_null(mkdtemp(dir));
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("none", dir, "tmpfs", 0, options) != 0) {
		rmdir(dir);
		cr_skip_test("tmpfs cannot be mounted: %s", strerror(errno));
	}
}

static void
unmount_small(void)
{
	umount(dir);
	rmdir(dir);
}

/* Takes all blocks of a size; their count, linked through their first words. */
static size_t
fill(VMEM *vmp, size_t size, void **list)
{
	size_t n = 0;
	void **p;

	errno = 0;
	for (*list = NULL; (p = vmem_malloc(vmp, size)) != NULL; n++) {
		memset(p, 0x5a, size); /* every byte: here a page that does not exist would raise SIGBUS */
		*p = *list;
		*list = p;
	}
	cr_expect_eq(errno, ENOMEM);
	return n;
}

static void
free_all(VMEM *vmp, void *list)
{
	while (list != NULL) {
		void *next = *(void **)list;

		vmem_free(vmp, list);
		list = next;
	}
}

Test(api_vmem_full, a_pool_that_cannot_fit_is_refused)
{
	VMEM *vmp;

	mount_small("size=16m");
	errno = 0;
	cr_expect_null(vmem_create(dir, 20 * MIB));
	cr_expect_eq(errno, ENOSPC);
	cr_expect_str_eq(vmem_errormsg(), "posix_fallocate: No space left on device");
	vmp = vmem_create(dir, 15 * MIB);
	cr_expect_not_null(vmp, "%s", vmem_errormsg());
	vmem_delete(vmp);
	unmount_small();
}

Test(api_vmem_full, two_pools_share_what_is_not_there_for_both)
{
	static const size_t sizes[] = { 64, 3000, 40000, 1 << 20 };
	VMEM *a, *b;
	void *in_a, *in_b;

	mount_small("size=20m");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t na, nb, again;

		a = vmem_create(dir, VMEM_MIN_POOL);
		b = vmem_create(dir, VMEM_MIN_POOL);
		cr_assert(a != NULL && b != NULL, "%s", vmem_errormsg());
		na = fill(a, sizes[i], &in_a);
		nb = fill(b, sizes[i], &in_b);
		cr_expect_gt(na * sizes[i], 10 * MIB, "%zu bytes", sizes[i]);
		cr_expect_lt(nb, na);
		cr_expect_gt(nb, 0);
		cr_expect_eq(vmem_check(a), 1);
		cr_expect_eq(vmem_check(b), 1, "%s", vmem_errormsg());
		/* what a had is b's, once a is gone */
		vmem_delete(a);
		free_all(b, in_b);
		again = fill(b, sizes[i], &in_b);
		cr_expect_geq(again, na - na / 50, "%zu bytes: %zu, then %zu", sizes[i], na, again);
		cr_expect_eq(vmem_check(b), 1);
		vmem_delete(b);
	}
	unmount_small();
}

Test(api_vmem_full, a_file_that_fills_the_disk_is_enomem_until_it_goes)
{
	char path[64], block[65536];
	unsigned char *p, *q;
	VMEM *vmp;
	int fd;

	mount_small("size=32m");
	vmp = vmem_create(dir, 24 * MIB);
	cr_assert_not_null(vmp, "%s", vmem_errormsg());
	p = vmem_malloc(vmp, 3 * MIB);
	cr_assert_not_null(p);
	memset(p, 0x5a, 3 * MIB);

	snprintf(path, sizeof(path), "%s/filler", dir);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	memset(block, 1, sizeof(block));
	while (write(fd, block, sizeof(block)) > 0)
		;
	cr_assert_eq(errno, ENOSPC);

	errno = 0;
	cr_expect_null(vmem_malloc(vmp, 4 * MIB));
	cr_expect_eq(errno, ENOMEM);
	errno = 0;
	cr_expect_null(vmem_calloc(vmp, 4, MIB));
	cr_expect_eq(errno, ENOMEM);
	errno = 0;
	cr_expect_null(vmem_aligned_alloc(vmp, 2 * MIB, 4 * MIB));
	cr_expect_eq(errno, ENOMEM);
	errno = 0;
	cr_expect_null(vmem_realloc(vmp, p, 12 * MIB));
	cr_expect_eq(errno, ENOMEM);
	for (size_t i = 0; i < 3 * MIB; i++)
		cr_assert_eq(p[i], 0x5a);
	cr_expect_geq(vmem_malloc_usable_size(vmp, p), 3 * MIB);
	cr_expect_lt(vmem_malloc_usable_size(vmp, p), 4 * MIB);
	cr_expect_eq(vmem_check(vmp), 1, "%s", vmem_errormsg());

	close(fd);
	unlink(path);
	q = vmem_malloc(vmp, 4 * MIB);
	cr_assert_not_null(q);
	memset(q, 1, 4 * MIB);
	p = vmem_realloc(vmp, p, 12 * MIB);
	cr_assert_not_null(p);
	memset(p + 3 * MIB, 1, 9 * MIB);
	cr_expect_eq(p[3 * MIB - 1], 0x5a);
	cr_expect_eq(vmem_check(vmp), 1);
	vmem_delete(vmp);
	unmount_small();
}

Test(api_vmem_full, creation_on_a_disk_that_is_full_fails_and_leaves_nothing)
{
	char path[64], block[4096];
	unsigned fds = count_fds();
	int fd;

	mount_small("size=16m");
	snprintf(path, sizeof(path), "%s/filler", dir);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	memset(block, 1, sizeof(block));
	while (write(fd, block, sizeof(block)) > 0)
		;
	close(fd);
	for (int i = 0; i < 100; i++) {
		errno = 0;
		cr_assert_null(vmem_create(dir, VMEM_MIN_POOL));
		cr_assert_eq(errno, ENOSPC);
	}
	cr_expect_eq(count_fds(), fds);
	unlink(path);
	unmount_small();
}

Test(api_vmem_full, no_inode_left_for_the_file)
{
	mount_small("size=32m,nr_inodes=1");
	errno = 0;
	cr_expect_null(vmem_create(dir, VMEM_MIN_POOL));
	cr_expect_eq(errno, ENOSPC);
	cr_expect_str_eq(vmem_errormsg(), "open: No space left on device");
	unmount_small();
}

Test(api_vmem_full, a_read_only_file_system_is_refused)
{
	mount_small("size=32m,ro");
	errno = 0;
	cr_expect_null(vmem_create(dir, VMEM_MIN_POOL));
	cr_expect_eq(errno, EROFS);
	cr_expect_str_eq(vmem_errormsg(), "open: Read-only file system");
	unmount_small();
}
