/* fault_calls.c -- see fault_calls.h
 *
 * Rules:  F1  a call that fails does nothing and gives an errno value that the kernel may give for it, but that the libraries'
 *             own checks do not: what is told can be told from what was guessed.
 *         F2  all others go straight to the kernel. No allocation, no libc function that may come back here.
 *         F3  close(2) frees the descriptor whatever it returns; it does not fail here.
 * Locks:  none; a counter that any thread may move. Media: none.
 */
#define _GNU_SOURCE
#include "tests/fault_calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#pragma GCC visibility push(default)

static _Atomic bool armed;
static _Atomic int count, fail_at = -1;
static const char *_Atomic failed;
static _Atomic int failed_with;
static int tell_fd = -1;

void
fault_arm(int n)
{
	failed = NULL;
	failed_with = 0;
	count = 0;
	fail_at = n;
	armed = true;
}

const char *
fault_disarm(int *error)
{
	armed = false;
	*error = failed_with;
	return failed;
}

int
fault_count(void)
{
	return count;
}

/* By the first call: the preloaded library's constructor may run before any of ours. */
static void
arm_by_environment(void)
{
	static _Atomic bool asked;
	const char *at, *tell;

	if (asked)
		return;
	asked = true;
	at = getenv(FAULT_AT);
	tell = getenv(FAULT_TELL);
	if (at == NULL)
		return;
	tell_fd = tell != NULL ? atoi(tell) : -1;
	fault_arm(atoi(at));
}

static bool
fails(const char *name, int error)
{
	arm_by_environment();
	if (!armed || count++ != fail_at)
		return false;
	failed_with = error;
	failed = name;
	if (tell_fd >= 0)
		syscall(SYS_write, tell_fd, name, strlen(name));
	errno = error;
	return true;
}

/* --- files ------------------------------------------------------------------------------------------------------ */

int
open(const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return fails("open", EMFILE) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int
openat(int dir, const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return fails("openat", EMFILE) ? -1 : (int)syscall(SYS_openat, dir, path, flags, mode);
}

int
mkostemp(char *path, int flags)
{
	int (*next)(char *, int) = (int (*)(char *, int))dlsym(RTLD_NEXT, "mkostemp");

	return fails("mkostemp", EMFILE) ? -1 : next(path, flags);
}

int
memfd_create(const char *name, unsigned flags)
{
	return fails("memfd_create", EMFILE) ? -1 : (int)syscall(SYS_memfd_create, name, flags);
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

int
fstat(int fd, struct stat *st)
{
	return fails("fstat", EIO) ? -1 : (int)syscall(SYS_newfstatat, fd, "", st, AT_EMPTY_PATH);
}

int
stat(const char *path, struct stat *st)
{
	return fails("stat", ELOOP) ? -1 : (int)syscall(SYS_newfstatat, AT_FDCWD, path, st, 0);
}

int
fstatvfs(int fd, struct statvfs *out)
{
	int (*next)(int, struct statvfs *) = (int (*)(int, struct statvfs *))dlsym(RTLD_NEXT, "fstatvfs");

	return fails("fstatvfs", EIO) ? -1 : next(fd, out);
}

ssize_t
readlink(const char *path, char *buf, size_t size)
{
	return fails("readlink", EIO) ? -1 : (ssize_t)syscall(SYS_readlinkat, AT_FDCWD, path, buf, size);
}

int
access(const char *path, int mode)
{
	return fails("access", ELOOP) ? -1 : (int)syscall(SYS_faccessat, AT_FDCWD, path, mode);
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

int
unlink(const char *path)
{
	return fails("unlink", EPERM) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int
flock(int fd, int operation)
{
	if (operation != LOCK_UN && fails("flock", ENOLCK))
		return -1;
	return (int)syscall(SYS_flock, fd, operation);
}

ssize_t
read(int fd, void *buf, size_t n)
{
	return fails("read", EIO) ? -1 : (ssize_t)syscall(SYS_read, fd, buf, n);
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

ssize_t
copy_file_range(int from, off_t *in, int to, off_t *out, size_t n, unsigned flags)
{
	return fails("copy_file_range", EIO) ? -1 : (ssize_t)syscall(SYS_copy_file_range, from, in, to, out, n, flags);
}

int
fsync(int fd)
{
	return fails("fsync", EIO) ? -1 : (int)syscall(SYS_fsync, fd);
}

ssize_t
getrandom(void *buf, size_t n, unsigned flags)
{
	return fails("getrandom", ENOSYS) ? -1 : (ssize_t)syscall(SYS_getrandom, buf, n, flags);
}

/* --- memory ----------------------------------------------------------------------------------------------------- */

void *
mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (fails(fd < 0 ? "mmap of memory" : "mmap of a file", ENOMEM))
		return MAP_FAILED;
	return (void *)syscall(SYS_mmap, at, size, prot, flags, fd, offset);
}

int
munmap(void *at, size_t size)
{
	return fails("munmap", ENOMEM) ? -1 : (int)syscall(SYS_munmap, at, size);
}

int
mprotect(void *at, size_t size, int prot)
{
	return fails("mprotect", ENOMEM) ? -1 : (int)syscall(SYS_mprotect, at, size, prot);
}

int
madvise(void *at, size_t size, int advice)
{
	return fails("madvise", ENOMEM) ? -1 : (int)syscall(SYS_madvise, at, size, advice);
}

int
msync(void *at, size_t size, int flags)
{
	return fails("msync", EIO) ? -1 : (int)syscall(SYS_msync, at, size, flags);
}

#pragma GCC visibility pop
