/* file.c -- one file of a libpmemcto pool
 *
 * Owns:   descriptor, lock and, until it is published, the file itself.
 * Rules:  F1  one descriptor from open to close holds the lock; it is close-on-exec, and the lock is let go by
 *             flock(LOCK_UN), so that children with a copy of the descriptor or of the mapping do not keep it.
 *         F2  a new file has no name before it is a whole pool, so a creation that dies leaves nothing. On file systems
 *             without O_TMPFILE it has its name, and no permissions, from the start.
 *         F3  all blocks of a new file are reserved; full file systems show here, not as SIGBUS later.
 *         F4  what is found out about an existing file is found out under the lock.
 * Locks:  the file's own, against all other users of the pool in this process and others.
 * Media:  writes nothing into the file.
 * Fails:  with an errno value, message and errno set.
 */
#include "api/pmemcto/file.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "api/common/error.h"
#include "api/common/file.h"
#include "api/common/format.h"
#include "api/common/os.h"
#include "api/pmemcto/os.h"

/* The directory of a path, "." for a bare name. False: longer than any path. */
static bool
directory_of(const char *path, char dir[PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	size_t n = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);

	if (n >= PATH_MAX)
		return false;
	if (n == 0)
		return format(dir, PATH_MAX, ".") == 1;
	memcpy(dir, path, n);
	dir[n] = '\0';
	return true;
}

/* The name itself must be one that a file can have. */
static int
open_new(struct cto_file *out)
{
	char dir[PATH_MAX];

	if (out->path[0] == '\0')
		return ENOENT;
	if (!directory_of(out->path, dir))
		return ENAMETOOLONG;
	out->nameless = true;
	out->made = false;
	out->fd = cto_os_open_nameless(dir);
	if (out->fd >= 0)
		return 0;
	/* EOPNOTSUPP: the file system cannot; EISDIR: the kernel is older than O_TMPFILE (open(2)) */
	if (errno != EOPNOTSUPP && errno != EISDIR)
		return errno;
	out->nameless = false;
	out->fd = cto_os_open_new(out->path);
	out->made = out->fd >= 0;
	return out->fd >= 0 ? 0 : errno;
}

static int
lock(const struct cto_file *file, bool write)
{
	int error = cto_os_lock(file->fd, write);

	errno = error;
	if (error != 0)
		ERROR_ERRNO("flock \"%s\"", file->path);
	return error;
}

static int
fill_new(size_t size, struct cto_file *out)
{
	struct sys_space space;
	int error = sys_set_size(out->fd, size);

	out->size = out->allocated = size;
	if (error == 0)
		error = sys_get_space(out->fd, &space);
	if (error == 0 && size > space.free_bytes)
		error = ENOSPC;
	errno = error;
	if (error != 0)
		ERROR_ERRNO("%zu bytes for \"%s\"", size, out->path);
	else
		error = cto_file_reserve(out, 0, size);
	return error;
}

int
cto_file_new(const char *path, size_t size, struct cto_file *out)
{
	int error;

	out->path = path;
	error = open_new(out);
	if (error != 0) {
		errno = error;
		ERROR_ERRNO("open \"%s\"", path);
		return errno = error;
	}
	error = lock(out, true);
	if (error == 0)
		error = fill_new(size, out);
	if (error != 0)
		cto_file_drop(out);
	return errno = error;
}

int
cto_file_open(const char *path, bool write, struct cto_file *out)
{
	struct cto_os_stat st;
	int error;

	*out = (struct cto_file){.path = path, .fd = cto_os_open(path, write)};
	if (out->fd < 0) {
		error = errno;
		ERROR_ERRNO("open \"%s\"", path);
		return errno = error;
	}
	error = lock(out, write);
	if (error != 0)
		goto fail;
	error = cto_os_stat(out->fd, &st);
	if (error != 0) {
		errno = error;
		ERROR_ERRNO("fstat \"%s\"", path);
		goto fail;
	}
	out->size = st.size;
	out->allocated = st.allocated;
	if (st.directory) {
		error = EISDIR;
		errno = error;
		ERROR_ERRNO("open \"%s\"", path);
	} else if (!st.regular) {
		ERROR("\"%s\" is not a regular file", path);
		error = EINVAL;
	} else if (st.size > (uint64_t)SSIZE_MAX) {
		ERROR("\"%s\" has %llu bytes, more than can be mapped", path, (unsigned long long)st.size);
		error = EFBIG;
	}
	if (error == 0)
		return 0;
fail:
	cto_file_release(out);
	return errno = error;
}

int
cto_file_publish(struct cto_file *file, mode_t mode)
{
	char dir[PATH_MAX];
	int error = cto_os_set_mode(file->fd, mode);

	if (error == 0)
		error = cto_os_sync_file(file->fd);
	if (error == 0 && file->nameless) {
		error = cto_os_link(file->fd, file->path);
		file->nameless = error != 0;
		file->made = error == 0;
	}
	errno = error;
	if (error != 0)
		ERROR_ERRNO("pool file \"%s\"", file->path);
	else if (directory_of(file->path, dir))
		cto_os_sync_dir(dir);
	return errno = error;
}

int
cto_file_reserve(const struct cto_file *file, uint64_t offset, uint64_t size)
{
	int error = pool_file_allocate(file->fd, offset, size);

	errno = error;
	if (error != 0)
		ERROR_ERRNO("posix_fallocate of %llu bytes for \"%s\"", (unsigned long long)size, file->path);
	return errno = error;
}

int
cto_file_read(const struct cto_file *file, uint64_t offset, void *buf, size_t n)
{
	int error = cto_os_read(file->fd, offset, buf, n);

	errno = error;
	if (error != 0)
		ERROR_ERRNO("read \"%s\"", file->path);
	return errno = error;
}

void
cto_file_release(struct cto_file *file)
{
	int error = errno;

	cto_os_unlock(file->fd);
	cto_os_close(file->fd);
	file->fd = -1;
	errno = error;
}

void
cto_file_drop(struct cto_file *file)
{
	int error = errno;

	if (file->made)
		cto_os_unlink(file->path);
	cto_file_release(file);
	errno = error;
}
