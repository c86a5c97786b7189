/* file.c -- one file of a libpmemcto pool
 *
 * Owns:   descriptor, lock and, until it is published, the file itself.
 * Rules:  F1  one descriptor from open to close holds the lock; it is close-on-exec, and the lock is let go by
 *             flock(LOCK_UN), so that children with a copy of the descriptor or of the mapping do not keep it.
 *         F2  a new file has no name before it is a whole pool, so a creation that dies leaves nothing. On file systems
 *             without O_TMPFILE it has its name, and no permissions, from the start.
 *         F3  all blocks of a new file are reserved; full file systems show here, not as SIGBUS later.
 *         F4  what is found out about an existing file is found out under the lock.
 *             So is its name: the user before may have removed it, or put another file in its place, and what is
 *             kept in a file without a name is lost.
 *         F5  a device DAX is read and written through mappings only, and what is written there is durable when the CPU's
 *             caches, and then the region's buffers, have been written back: the kernel keeps no copies.
 * Locks:  the file's own, against all other users of the pool in this process and others.
 * Media:  writes what it is given to the start of the file.
 * Fails:  with an errno value, message and errno set.
 */
#include "api/pmemcto/file.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "api/common/dax.h"
#include "api/common/error.h"
#include "api/common/file.h"
#include "api/common/format.h"
#include "api/common/os.h"
#include "api/pmemcto/os.h"
#include "flush/flush.h"

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

/* What an open file is. Errors: the file cannot be one of a pool. */
static int
identify(struct cto_file *file)
{
	struct cto_os_stat st;
	struct dax dax;
	bool is_dax = false;
	int error = cto_os_stat(file->fd, &st);

	if (error == 0 && st.directory)
		error = EISDIR;
	if (error != 0) {
		errno = error;
		ERROR_ERRNO("open \"%s\"", file->path);
		return error;
	}
	file->region = -1;
	file->align = sys_page_size();
	file->size = st.size;
	file->allocated = st.allocated;
	file->device = st.device;
	file->number = st.number;
	if (st.regular && st.size <= (uint64_t)SSIZE_MAX)
		return 0;
	if (st.regular) {
		ERROR("\"%s\" has %llu bytes, more than can be mapped", file->path, (unsigned long long)st.size);
		return EFBIG;
	}
	if (!st.char_device || dax_recognise(file->path, st.major, st.minor, &is_dax) != 0 || !is_dax) {
		ERROR("\"%s\" is neither a regular file nor a device DAX", file->path);
		return EINVAL;
	}
	error = dax_read(file->path, st.major, st.minor, &dax);
	if (error != 0)
		return error;
	if (!flush_init()->can_persist) {
		ERROR("\"%s\": this CPU gives programs no way to write to a device DAX durably", file->path);
		return ENOTSUP;
	}
	if (dax.align > file->align)
		file->align = dax.align;
	file->is_device = true;
	file->region = dax.region;
	file->size = file->allocated = dax.size & ~(file->align - 1);
	return 0;
}

/* F4. ENOENT: the file has no name any more; EAGAIN: another file has it, and can be opened. */
static int
expect_name(const struct cto_file *file)
{
	struct cto_os_stat st;
	int error = cto_os_stat_path(file->path, &st);

	if (error == 0 && (st.device != file->device || st.number != file->number)) {
		ERROR("\"%s\" was replaced while it was opened", file->path);
		return errno = EAGAIN;
	}
	errno = error;
	if (error != 0)
		ERROR_ERRNO("open \"%s\"", file->path);
	return error;
}

static int
fill_new(size_t size, struct cto_file *out)
{
	struct sys_space space;
	int error = sys_set_size(out->fd, size);

	if (error == 0)
		error = sys_get_space(out->fd, &space);
	if (error == 0 && size > space.free_bytes)
		error = ENOSPC;
	errno = error;
	if (error != 0) {
		ERROR_ERRNO("%zu bytes for \"%s\"", size, out->path);
		return error;
	}
	error = cto_file_reserve(out, 0, size);
	return error != 0 ? error : identify(out);
}

int
cto_file_new(const char *path, size_t size, struct cto_file *out)
{
	int error;

	*out = (struct cto_file){.path = path, .fd = -1};
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
	int error;

	*out = (struct cto_file){.path = path, .fd = cto_os_open(path, write)};
	if (out->fd < 0) {
		error = errno;
		ERROR_ERRNO("open \"%s\"", path);
		return errno = error;
	}
	error = lock(out, write);
	if (error == 0)
		error = identify(out);
	if (error == 0)
		error = expect_name(out);
	if (error != 0)
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

bool
cto_file_is_at(const struct cto_file *file, const char *path)
{
	struct cto_os_stat st;

	return cto_os_stat_path(path, &st) == 0 && st.device == file->device && st.number == file->number;
}

int
cto_file_reserve(const struct cto_file *file, uint64_t offset, uint64_t size)
{
	int error = file->is_device ? 0 : pool_file_allocate(file->fd, offset, size);

	errno = error;
	if (error != 0)
		ERROR_ERRNO("posix_fallocate of %llu bytes for \"%s\"", (unsigned long long)size, file->path);
	return errno = error;
}

/* The first n bytes of a device or a little more, mapped; NULL and errno. */
static void *
device_window(const struct cto_file *file, uint64_t n, size_t *size)
{
	void *p;
	int error;

	*size = (n + file->align - 1) & ~(file->align - 1);
	p = sys_reserve(*size, file->align);
	if (p == NULL)
		return NULL;
	error = cto_os_map_over(p, *size, file->fd, 0, true);
	if (error == 0)
		return p;
	sys_unmap(p, *size);
	errno = error;
	return NULL;
}

static int
device_read(const struct cto_file *file, uint64_t offset, void *buf, size_t n)
{
	size_t size;
	char *p = device_window(file, offset + n, &size);

	if (p == NULL)
		return errno;
	memcpy(buf, p + offset, n);
	sys_unmap(p, size);
	return 0;
}

static int
device_write_start(const struct cto_file *file, const void *buf, size_t n)
{
	size_t size;
	char *p = device_window(file, n, &size);

	if (p == NULL)
		return errno;
	memcpy(p, buf, n);
	cto_file_flush(file, p, n);
	sys_unmap(p, size);
	return 0;
}

int
cto_file_read(const struct cto_file *file, uint64_t offset, void *buf, size_t n)
{
	int error = file->is_device ? device_read(file, offset, buf, n) : cto_os_read(file->fd, offset, buf, n);

	errno = error;
	if (error != 0)
		ERROR_ERRNO("read \"%s\"", file->path);
	return errno = error;
}

int
cto_file_write_start(const struct cto_file *file, const void *buf, size_t n)
{
	int error = file->is_device ? device_write_start(file, buf, n) : cto_os_write(file->fd, 0, buf, n);

	if (error == 0 && !file->is_device)
		error = cto_os_sync_file(file->fd);
	errno = error;
	if (error != 0)
		ERROR_ERRNO("write \"%s\"", file->path);
	return errno = error;
}

void
cto_file_flush(const struct cto_file *file, const void *addr, size_t n)
{
	flush_init()->deep_flush(addr, n);
	flush_drain();
	if (file->region >= 0)
		dax_deep_flush(file->region);
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
