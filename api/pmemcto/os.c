/* os.c -- what libpmemcto alone asks of the kernel
 *
 * Owns:   the system calls of libpmemcto that no other library makes.
 * Rules:  no allocation. Calls that signals may interrupt are made again.
 * Locks:  none.
 * Media:  none of its own.
 * Fails:  as the kernel does.
 */
#define _GNU_SOURCE
#include "api/pmemcto/os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "api/common/format.h"

int
cto_os_open(const char *path, bool write)
{
	/* what is no regular file is refused later: neither wait for its other end nor become its terminal's owner */
	return open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

int
cto_os_open_nameless(const char *dir)
{
	return open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0);
}

int
cto_os_open_new(const char *path)
{
	return open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0);
}

void
cto_os_close(int fd)
{
	close(fd);
}

bool
cto_os_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

int
cto_os_link(int fd, const char *path)
{
	char name[32];

	/* open(2), O_TMPFILE: the way that needs no privilege */
	format(name, sizeof(name), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, name, AT_FDCWD, path, AT_SYMLINK_FOLLOW) != 0 ? errno : 0;
}

int
cto_os_unlink(const char *path)
{
	return unlink(path) != 0 ? errno : 0;
}

int
cto_os_set_mode(int fd, mode_t mode)
{
	return fchmod(fd, mode) != 0 ? errno : 0;
}

static void
tell(const struct stat *st, struct cto_os_stat *out)
{
	out->regular = S_ISREG(st->st_mode);
	out->directory = S_ISDIR(st->st_mode);
	out->char_device = S_ISCHR(st->st_mode);
	out->major = major(st->st_rdev);
	out->minor = minor(st->st_rdev);
	out->size = (uint64_t)st->st_size;
	out->allocated = (uint64_t)st->st_blocks * 512; /* the unit of st_blocks, stat(2) */
	out->device = st->st_dev;
	out->number = st->st_ino;
}

int
cto_os_stat(int fd, struct cto_os_stat *out)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return errno;
	tell(&st, out);
	return 0;
}

int
cto_os_stat_path(const char *path, struct cto_os_stat *out)
{
	struct stat st;

	*out = (struct cto_os_stat){0};
	if (stat(path, &st) != 0)
		return errno;
	tell(&st, out);
	return 0;
}

bool
cto_os_is_directory(const char *path)
{
	struct cto_os_stat st;

	return cto_os_stat_path(path, &st) == 0 && st.directory;
}

bool
cto_os_same(const char *a, const char *b)
{
	struct cto_os_stat one, other;

	return cto_os_stat_path(a, &one) == 0 && cto_os_stat_path(b, &other) == 0 && one.device == other.device &&
		one.number == other.number;
}

bool
cto_os_all_holes(int fd)
{
	/* lseek(2): a file system that does not know holes says that data begins at 0 */
	return lseek(fd, 0, SEEK_DATA) < 0 && errno == ENXIO;
}

bool
cto_os_next_hole(int fd, uint64_t from, uint64_t *begin, uint64_t *end)
{
	off_t size = lseek(fd, 0, SEEK_END), hole = lseek(fd, (off_t)from, SEEK_HOLE), data;

	/* lseek(2): the end of the file counts as a hole */
	if (hole < 0 || hole >= size)
		return false;
	data = lseek(fd, hole, SEEK_DATA);
	if (data < 0 && errno != ENXIO) /* ENXIO: no data up to the end */
		return false;
	*begin = (uint64_t)hole;
	*end = (uint64_t)(data < 0 ? size : data);
	return true;
}

int
cto_os_read(int fd, uint64_t offset, void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t got = pread(fd, (char *)buf + done, n - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		if (got == 0)
			return EIO;
		done += (size_t)got;
	}
	return 0;
}

int
cto_os_read_all(int fd, void *buf, size_t size, size_t *n)
{
	*n = 0;
	while (*n < size) {
		ssize_t got = pread(fd, (char *)buf + *n, size - *n, (off_t)*n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		if (got == 0)
			break;
		*n += (size_t)got;
	}
	return 0;
}

int
cto_os_write(int fd, uint64_t offset, const void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t put = pwrite(fd, (const char *)buf + done, n - done, (off_t)(offset + done));

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return errno;
		done += (size_t)put;
	}
	return 0;
}

int
cto_os_lock(int fd, bool write)
{
	while (flock(fd, (write ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0)
		if (errno != EINTR)
			return errno;
	return 0;
}

void
cto_os_unlock(int fd)
{
	flock(fd, LOCK_UN);
}

int
cto_os_map_over(void *at, size_t size, int fd, uint64_t offset, bool shared)
{
	int flags = (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_NORESERVE | MAP_FIXED;

	return mmap(at, size, PROT_READ | PROT_WRITE, flags, fd, (off_t)offset) == MAP_FAILED ? errno : 0;
}

int
cto_os_map_zeros_over(void *at, size_t size)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;

	return mmap(at, size, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED ? errno : 0;
}

int
cto_os_sync(void *addr, size_t size)
{
	return msync(addr, size, MS_SYNC) != 0 ? errno : 0;
}

int
cto_os_sync_file(int fd)
{
	while (fsync(fd) != 0)
		if (errno != EINTR)
			return errno;
	return 0;
}

void
cto_os_sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

void
cto_os_random(void *buf, size_t n)
{
	struct timespec now;
	uint64_t seed;

	if (getrandom(buf, n, GRND_NONBLOCK) == (ssize_t)n)
		return;
	/* The machine has just started: what follows must differ between processes, it need not be secret. */
	clock_gettime(CLOCK_REALTIME, &now);
	seed = (uint64_t)now.tv_nsec << 32 ^ (uint64_t)now.tv_sec ^ (uint64_t)getpid() << 17 ^ (uintptr_t)&now;
	for (size_t i = 0; i < n; i++) {
		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		((uint8_t *)buf)[i] = (uint8_t)(seed >> 56);
	}
}

uint64_t
cto_os_time(void)
{
	return (uint64_t)time(NULL);
}

uintptr_t
cto_os_space_end(void)
{
	/* The kernel puts these bytes above the first thread's stack, at the end of the address space. */
	uintptr_t at = getauxval(AT_RANDOM);

	return at == 0 ? 0 : (uintptr_t)1 << (64 - __builtin_clzll(at));
}
