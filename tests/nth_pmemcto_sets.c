/* nth_pmemcto_sets.c -- pool sets: the nth system call fails, for every n; what was there before is there, and no more
 *
 * This program's own functions stand in for libc's, which the library calls through its symbols. They count while a call
 * of the library runs, and fail once, with an error that the library's own checks do not give.
 */
#define _GNU_SOURCE
#include "tests/pmemcto_sets.h"

#include <stdarg.h>
#include <sys/syscall.h>

TestSuite(nth_pmemcto_sets, .init = test_dir_make, .fini = test_dir_remove);

static bool armed;
static int count, fail_at; /* the first call from arming on is 0; -1: none */
static const char *failed; /* the call that did */
static int failed_with;
static bool no_nameless; /* as on a file system without O_TMPFILE */

static bool
fails(const char *name, int error)
{
	if (!armed || count++ != fail_at)
		return false;
	failed = name;
	failed_with = errno = error;
	return true;
}

int
open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	if (fails("open", EMFILE))
		return -1;
	if (armed && no_nameless && (flags & O_TMPFILE) == O_TMPFILE) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int
ftruncate(int fd, off_t size)
{
	return fails("ftruncate", EDQUOT) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int
posix_fallocate(int fd, off_t offset, off_t size)
{
	if (fails("posix_fallocate", EDQUOT))
		return EDQUOT;
	return syscall(SYS_fallocate, fd, 0, offset, size) == 0 ? 0 : errno;
}

void *
mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (fails(fd < 0 ? "mmap of memory" : "mmap of a file", ENOMEM))
		return MAP_FAILED;
	return (void *)syscall(SYS_mmap, at, size, prot, flags, fd, offset);
}

int
msync(void *at, size_t size, int flags)
{
	return fails("msync", EIO) ? -1 : (int)syscall(SYS_msync, at, size, flags);
}

int
fsync(int fd)
{
	return fails("fsync", EIO) ? -1 : (int)syscall(SYS_fsync, fd);
}

int
fchmod(int fd, mode_t mode)
{
	return fails("fchmod", EPERM) ? -1 : (int)syscall(SYS_fchmod, fd, mode);
}

int
linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	return fails("linkat", EMLINK) ? -1 : (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
}

ssize_t
pread(int fd, void *buf, size_t n, off_t offset)
{
	return fails("pread", EIO) ? -1 : (ssize_t)syscall(SYS_pread64, fd, buf, n, offset);
}

ssize_t
pwrite(int fd, const void *buf, size_t n, off_t offset)
{
	return fails("pwrite", EIO) ? -1 : (ssize_t)syscall(SYS_pwrite64, fd, buf, n, offset);
}

int
flock(int fd, int operation)
{
	if (operation != LOCK_UN && fails("flock", ENOLCK))
		return -1;
	return (int)syscall(SYS_flock, fd, operation);
}

static void
arm(int n)
{
	pmemcto_check_version(77, 0); /* the message's memory is there: its mmap is not of interest */
	failed = NULL;
	failed_with = 0;
	count = 0;
	fail_at = n;
	errno = 0;
	armed = true;
}

/* Says in errno and in its message what happened. */
static void
expect_told(int error, int n)
{
	/* a heap that gets no memory of a file that was there does not tell whose fault it was */
	if (error != ENOSPC || strcmp(failed, "mmap of memory") != 0)
		cr_expect_eq(error, failed_with, "call %d, %s: errno %d, not %d: %s", n, failed, error, failed_with,
			     pmemcto_errormsg());
	cr_expect_null(strstr(pmemcto_errormsg(), "need 77"), "call %d, %s: no message", n, failed);
	cr_expect_not_null(strstr(pmemcto_errormsg(), strerror(error)), "call %d, %s: \"%s\"", n, failed,
			   pmemcto_errormsg());
}

/* Some calls may fail without harm: another address is looked for, a folder is synced as well as can be. Not these. */
static bool
is_vital(const char *call)
{
	static const char *const vital[] = {"ftruncate", "posix_fallocate", "mmap of a file", "msync", "fchmod",
					    "linkat",    "pread",           "pwrite",         "flock"};

	for (size_t i = 0; i < sizeof(vital) / sizeof(vital[0]); i++)
		if (strcmp(call, vital[i]) == 0)
			return true;
	return false;
}

/* Fails each call of a creation; `kept`: a part that is there before, or NULL. */
static void
creation(const char *path, const char *kept)
{
	unsigned failures = 0;

	failed = "";
	for (int n = 0; failed != NULL; n++) {
		unsigned fds, files;
		PMEMctopool *pcp;
		int error;

		if (kept != NULL) {
			file_make(in_dir(kept), 10 * MIB);
			file_write(in_dir(kept), 5 * MIB, "x", 1);
		}
		fds = count_fds();
		files = files_in_dir();
		arm(n);
		pcp = pmemcto_create(path, "test", 0, 0600);
		error = errno;
		armed = false;
		if (pcp == NULL) {
			failures++;
			expect_told(error, n);
			cr_expect_eq(files_in_dir(), files, "call %d, %s: %u files", n, failed, files_in_dir());
			cr_expect_eq(count_fds(), fds, "call %d, %s: descriptors", n, failed);
			if (kept != NULL) {
				cr_expect_eq(file_stat(in_dir(kept)).st_size, 10 * MIB);
				for (size_t at = 0; at < 4096; at += 8)
					cr_assert_eq(get_field(in_dir(kept), at, 8), 0, "call %d, %s: byte %zu", n,
						     failed, at);
			}
			pcp = pmemcto_create(path, "test", 0, 0600); /* nothing hinders the next */
			cr_assert_not_null(pcp, "after call %d, %s: %s", n, failed, pmemcto_errormsg());
		} else if (failed != NULL) {
			cr_expect_not(is_vital(failed), "call %d, %s, failed, and nobody was told", n, failed);
		}
		pmemcto_close(pcp);
		cr_assert_eq(pmemcto_check(path, "test"), 1, "call %d: %s", n, pmemcto_errormsg());
		unlink(in_dir("a"));
		unlink(in_dir("b"));
		unlink(in_dir("c"));
	}
	cr_expect_gt(failures, 20, "%u failures", failures);
}

Test(nth_pmemcto_sets, creation_of_all_parts)
{
	creation(set_make("set", "6M @a\n6M @b\n6M @c\n"), NULL);
}

Test(nth_pmemcto_sets, creation_with_one_header)
{
	creation(set_make("set", "OPTION SINGLEHDR\n10M @a\n10M @b\n"), NULL);
}

Test(nth_pmemcto_sets, creation_without_nameless_files)
{
	no_nameless = true;
	creation(set_make("set", "6M @a\n6M @b\n6M @c\n"), NULL);
}

Test(nth_pmemcto_sets, creation_beside_a_part_that_is_there)
{
	creation(set_make("set", "6M @a\n10M @b\n6M @c\n"), "b");
	creation(set_make("set", "10M @a\n6M @b\n6M @c\n"), "a");
}

Test(nth_pmemcto_sets, creation_in_a_folder)
{
	cr_assert_eq(mkdir(in_dir("d"), 0700), 0);
	failed = "";
	set_make("set", "OPTION SINGLEHDR\n20M @d\n");
	for (int n = 0; failed != NULL; n++) {
		PMEMctopool *pcp;

		arm(n);
		pcp = pmemcto_create(in_dir("set"), "test", 0, 0600);
		armed = false;
		if (pcp != NULL)
			pmemcto_close(pcp);
		cr_expect_eq(access(in_dir("d/000000.pmem"), F_OK) == 0, pcp != NULL, "call %d, %s", n, failed);
		unlink(in_dir("d/000000.pmem"));
	}
}

/* A pool that could not be opened or checked is as it was, to the last byte. */
static void
looking(bool open_it)
{
	const char *path = set_prepare("set", "6M @a\n6M @b\n6M @c\n");
	unsigned failures = 0, fds = count_fds();

	failed = "";
	for (int n = 0; failed != NULL; n++) {
		uint64_t a = file_hash(in_dir("a")), b = file_hash(in_dir("b")), c = file_hash(in_dir("c"));
		PMEMctopool *pcp = NULL;
		int error, result = -1;

		arm(n);
		if (open_it)
			pcp = pmemcto_open(path, "test");
		else
			result = pmemcto_check(path, "test");
		error = errno;
		armed = false;
		if (pcp == NULL && result != 1) {
			failures++;
			cr_expect_eq(result, -1, "call %d, %s", n, failed);
			expect_told(error, n);
			cr_expect(a == file_hash(in_dir("a")) && b == file_hash(in_dir("b")) &&
					  c == file_hash(in_dir("c")),
				  "call %d, %s", n, failed);
		} else if (failed != NULL) {
			cr_expect_not(is_vital(failed), "call %d, %s, failed, and nobody was told", n, failed);
		}
		if (pcp != NULL)
			pmemcto_close(pcp);
		cr_expect_eq(count_fds(), fds);
		set_is_good(path);
	}
	cr_expect_gt(failures, 15, "%u failures", failures);
}

Test(nth_pmemcto_sets, opening)
{
	looking(true);
}

Test(nth_pmemcto_sets, checking)
{
	looking(false);
}
