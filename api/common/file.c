/* file.c -- the nameless file behind a pool, mapped
 *
 * Owns:   file, mapping and descriptor until the caller takes them over in struct pool_file.
 * Rules:  P1  no name is left behind, not even when a signal comes between making and unlinking.
 *         P2  descriptors are close-on-exec: a program started from here does not hold our space.
 *         P3  the file stays sparse: the heap commits its pages before it uses them, so a huge pool costs nothing
 *             and a full file system is ENOMEM, never SIGBUS. What cannot fit at all is refused here. Where the
 *             kernel cannot commit pages (MADV_POPULATE_WRITE, Linux 5.14) all blocks are allocated at once.
 * Locks:  none. PMEM_MMAP_HINT is read once per process, in an atomic.
 * Media:  the file's content belongs to the heap; nothing is written here.
 * Fails:  with an errno value, message and errno set; file and mapping are gone.
 */
#define _GNU_SOURCE
#include "api/common/file.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/common/dax.h"
#include "api/common/error.h"
#include "api/common/format.h"
#include "api/common/log.h"
#include "api/common/os.h"

#define GIB ((size_t)1 << 30)
#define MIB ((size_t)1 << 20)

/* The two functions that make the file keep the names under which the published libraries' traces show them. */

static int
util_tmpfile_mkstemp(const char *dir)
{
	char path[PATH_MAX + 16];
	int fd;

	if ((size_t)format(path, sizeof(path), "%s/vmem.XXXXXX", dir) >= sizeof(path)) {
		errno = ENAMETOOLONG;
		fd = -1;
	} else {
		fd = sys_open_unlinked(path);
	}
	if (fd < 0)
		ERROR_ERRNO("mkstemp");
	else
		LOG(3, "unlinked file is \"%s\"", path);
	return fd;
}

static int
util_tmpfile(const char *dir)
{
	int fd = sys_open_unnamed(dir);

	if (fd >= 0)
		return fd;
	/* EOPNOTSUPP: the file system cannot; EISDIR: the kernel is older than O_TMPFILE (open(2)) */
	if (errno == EOPNOTSUPP || errno == EISDIR)
		return util_tmpfile_mkstemp(dir);
	ERROR_ERRNO("open");
	return -1;
}

/* EINTR and ENOMEM come from fallocate calls that take too long or too much at a time: smaller pieces then. */
int
pool_file_allocate(int fd, size_t offset, size_t size)
{
	int error = sys_allocate(fd, offset, size), failures = 0;
	size_t piece = GIB, done = 0;

	if (error != EINTR && error != ENOMEM)
		return error;
	while (done < size) {
		size_t n = size - done < piece ? size - done : piece;

		error = sys_allocate(fd, offset + done, n);
		if (error == 0) {
			done += n;
			failures = 0;
		} else if (error != EINTR && error != ENOMEM) {
			return error;
		} else if (++failures == 5) {
			failures = 0;
			piece /= 2;
			if (piece < MIB)
				return error;
		}
	}
	return 0;
}

/* The file's length, and the promise that it could be filled now. */
static int
set_size(int fd, size_t size, struct sys_space *space)
{
	int error = size == 0 ? EINVAL : sys_set_size(fd, size);

	if (error == 0)
		error = sys_get_space(fd, space);
	if (error == 0 && size > space->free_bytes)
		error = ENOSPC;
	return error;
}

/* PMEM_MMAP_HINT=<hex>: lowest address for mappings; 0: none. */
static uintptr_t
mmap_hint(void)
{
	static _Atomic uintptr_t cached = UINTPTR_MAX; /* UINTPTR_MAX: not read yet; reading twice does no harm */
	uintptr_t hint = atomic_load_explicit(&cached, memory_order_relaxed);

	if (hint == UINTPTR_MAX) {
		const char *text = secure_getenv("PMEM_MMAP_HINT");

		hint = text != NULL ? strtoull(text, NULL, 16) : 0;
		if (hint == UINTPTR_MAX)
			hint = 0;
		atomic_store_explicit(&cached, hint, memory_order_relaxed);
	}
	return hint;
}

/* Addresses for `size` bytes, taken without memory behind them. */
static void *
reserve(size_t size, size_t align)
{
	uintptr_t hint = mmap_hint();

	if (hint == 0)
		return sys_reserve(size, align);
	/* another thread may map something into the gap before we do: look again then */
	for (int tries = 0; tries < 100; tries++) {
		uintptr_t gap = sys_find_gap(hint, size, align);
		void *p;

		if (gap == 0)
			break;
		p = sys_reserve_at((void *)gap, size);
		if (p != NULL || errno != EEXIST)
			return p;
	}
	errno = ENOMEM;
	return NULL;
}

/* Maps out->fd; fills base and size. */
static int
map(struct pool_file *out, size_t size, size_t align)
{
	int error = 0;

	out->base = reserve(size, align);
	if (out->base == NULL) {
		error = errno;
	} else {
		error = sys_map_file_over(out->base, size, out->fd);
		if (error != 0)
			sys_unmap(out->base, size);
	}
	if (error != 0) {
		errno = error;
		ERROR_ERRNO("mmap %zu bytes", size);
		return error;
	}
	out->size = size;
	return 0;
}

/* Decides how pages come to be: by trying with the second one, the heap's superblock. (The first becomes PROT_NONE.) */
static int
choose_backing(struct pool_file *out, const struct sys_space *space)
{
	int error = space->block_bytes > MIB ? EINVAL : sys_populate((char *)out->base + sys_page_size(), sys_page_size());

	if (error == 0) {
		out->backing = HEAP_BACKING_SPARSE;
		return 0;
	}
	out->backing = HEAP_BACKING_FULL;
	return pool_file_allocate(out->fd, 0, out->size);
}

int
pool_file_create(const char *dir, size_t size, struct pool_file *out)
{
	size_t page = sys_page_size();
	struct sys_space space;
	int error;

	if (dir == NULL) {
		ERROR("invalid (NULL) path");
		return errno = EINVAL;
	}
	size = (size + page - 1) & ~(page - 1); /* SIZE_MAX becomes 0, which set_size refuses */
	if (size > (size_t)SSIZE_MAX) {
		ERROR("invalid size (%zu) for os_off_t", size);
		return errno = EFBIG;
	}
	out->fd = util_tmpfile(dir);
	if (out->fd < 0)
		return errno;

	error = set_size(out->fd, size, &space);
	if (error != 0) {
		errno = error;
		ERROR_ERRNO("posix_fallocate");
		goto fail_fd;
	}
	error = map(out, size, POOL_FILE_ALIGN);
	if (error != 0)
		goto fail_fd;
	error = choose_backing(out, &space);
	if (error != 0) {
		errno = error;
		ERROR_ERRNO("posix_fallocate");
		goto fail_map;
	}
	out->zeroed = true;
	return 0;

fail_map:
	sys_unmap(out->base, out->size);
fail_fd:
	sys_close(out->fd);
	return errno = error;
}

bool
pool_file_is_device(const char *path)
{
	unsigned major, minor;

	return path != NULL && sys_is_char_device(path, &major, &minor);
}

int
pool_file_open_device(const char *path, size_t size, struct pool_file *out)
{
	unsigned major, minor;
	bool is_dax = false;
	struct dax dax;
	int error;

	if (!sys_is_char_device(path, &major, &minor) || dax_recognise(path, major, minor, &is_dax) != 0 || !is_dax) {
		ERROR("%s is not a device dax", path);
		return errno = EINVAL;
	}
	error = dax_read(path, major, minor, &dax);
	if (error != 0)
		return errno = error;
	if (dax.size < size) {
		ERROR("%s has %zu bytes, %zu needed", path, dax.size, size);
		return errno = ENOSPC;
	}

	out->fd = sys_open_device(path);
	if (out->fd < 0) {
		error = errno;
		ERROR_ERRNO("open");
		return errno = error;
	}
	/* mappings of a device must be multiples of its own alignment */
	error = map(out, dax.size, dax.align > POOL_FILE_ALIGN ? dax.align : POOL_FILE_ALIGN);
	if (error != 0) {
		sys_close(out->fd);
		return errno = error;
	}
	out->backing = HEAP_BACKING_GIVEN;
	out->zeroed = false;
	return 0;
}

void
pool_file_close_fd(struct pool_file *file)
{
	if (file->fd >= 0)
		sys_close(file->fd);
	file->fd = -1;
}

void
pool_file_delete(struct pool_file *file)
{
	sys_unmap(file->base, file->size);
	pool_file_close_fd(file);
}
