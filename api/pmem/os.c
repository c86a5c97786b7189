/* os.c -- what libpmem alone asks of the kernel: the caller's own files, mapped shared
 *
 * Owns:   the address hint, constant after the constructor.
 * Rules:  O1  no call but these two changes a file's size, and each happens once, in this order: ftruncate,
 *             posix_fallocate, by these names: programs interpose them.
 *         O2  os_undo leaves of a failed call what was there before it, with one exception: what ftruncate cut off an
 *             existing file is gone.
 *         O3  a mapping at a wanted address never replaces another: the address is given as a hint, looked at, and tried
 *             anew when another thread was faster.
 * Locks:  none.
 * Media:  the caller's.
 * Fails:  -1 or NULL and errno of the kernel; nothing is left behind.
 */
#define _GNU_SOURCE
#include "api/pmem/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "api/common/format.h"
#include "api/common/os.h"

#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 0x03
#endif
#ifndef MAP_SYNC
#define MAP_SYNC 0x80000
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define MAP_TRIES 16

/* --- files ------------------------------------------------------------------------------------------------------ */

int
os_file_look(const char *path, struct os_file *file)
{
	struct stat st;

	*file = (struct os_file){OS_FILE_NONE, 0, 0};
	if (access(path, F_OK) != 0)
		return errno == ENOENT ? 0 : -1;
	if (stat(path, &st) != 0)
		return -1;
	file->type = S_ISREG(st.st_mode) ? OS_FILE_REGULAR : S_ISDIR(st.st_mode) ? OS_FILE_DIRECTORY :
	    S_ISCHR(st.st_mode) ? OS_FILE_CHAR_DEVICE : OS_FILE_OTHER;
	file->major = major(st.st_rdev);
	file->minor = minor(st.st_rdev);
	return 0;
}

static bool
is_symlink(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

int
os_open_named(const char *path, bool create, bool exclusive, mode_t mode, struct os_open *file)
{
	int flags = O_RDWR | O_CLOEXEC, error = errno;

	*file = (struct os_open){-1, false, -1};
	if (create) {
		/* first as one that makes the file for sure: only then os_undo may remove it */
		file->fd = open(path, flags | O_CREAT | O_EXCL, mode);
		file->made = file->fd >= 0;
		if (file->made || exclusive || errno != EEXIST)
			return file->fd < 0 ? -1 : 0;
		/* a symbolic link that leads nowhere: its target comes into being here */
		file->made = access(path, F_OK) != 0 && errno == ENOENT && is_symlink(path);
		flags |= O_CREAT;
	} else if (exclusive) {
		flags |= O_EXCL;
	}
	file->fd = open(path, flags, mode);
	if (file->fd < 0)
		return -1;
	errno = error;
	return 0;
}

__attribute__((noinline)) static int /* its path buffer must not burden the usual way */
open_unnamed_by_name(const char *dir)
{
	char path[PATH_MAX];

	if ((size_t)format(path, sizeof(path), "%s/pmem.XXXXXX", dir) >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return sys_open_unlinked(path);
}

int
os_open_unnamed(const char *path, bool exclusive, struct os_open *file)
{
	int error = errno;

	*file = (struct os_open){-1, false, -1};
	file->fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC | (exclusive ? O_EXCL : 0), 0600);
	/* a file system without O_TMPFILE; a kernel without it sees the directory */
	if (file->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
		file->fd = open_unnamed_by_name(path);
	if (file->fd < 0)
		return -1;
	errno = error;
	return 0;
}

int
os_set_size(struct os_open *file, size_t size, bool sparse)
{
	int error;

	file->old_size = os_size(file);
	if (file->old_size < 0 || ftruncate(file->fd, (off_t)size) != 0)
		return -1;
	if (!sparse && (error = posix_fallocate(file->fd, 0, (off_t)size)) != 0) {
		errno = error;
		return -1;
	}
	return 0;
}

off_t
os_size(const struct os_open *file)
{
	struct stat st;

	return fstat(file->fd, &st) != 0 ? -1 : st.st_size;
}

void
os_close(struct os_open *file)
{
	int error = errno;

	close(file->fd);
	file->fd = -1;
	errno = error;
}

/* The name that the open file has now, which a symbolic link hides. */
__attribute__((noinline)) static void
unlink_target(int fd)
{
	char self[48], path[PATH_MAX];

	format(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (sys_read_link(self, path, sizeof(path)) == 0)
		unlink(path);
}

void
os_undo(struct os_open *file, const char *path)
{
	int error = errno;

	if (file->made && is_symlink(path))
		unlink_target(file->fd);
	else if (file->made)
		unlink(path);
	else if (file->old_size >= 0 && os_size(file) > file->old_size)
		while (ftruncate64(file->fd, file->old_size) != 0 && errno == EINTR) /* not the name that is interposed: O1 */
			;
	close(file->fd);
	file->fd = -1;
	errno = error;
}

/* --- mappings ---------------------------------------------------------------------------------------------------- */

static bool has_hint;
static uintptr_t hint;

void
os_read_hint(void)
{
	const char *text = secure_getenv("PMEM_MMAP_HINT");
	unsigned long long value;
	int error = errno;
	char *end;

	errno = 0;
	value = text != NULL ? strtoull(text, &end, 16) : 0;
	if (text != NULL && end != text && errno == 0 && access("/proc/self/maps", R_OK) == 0) {
		has_hint = true;
		hint = (uintptr_t)value;
	}
	errno = error;
}

/* An address that was free a moment ago; NULL: let the kernel choose. false and errno: there is none. */
static bool
choose_address(size_t size, size_t align, void **address)
{
	size_t page = sys_page_size();
	void *p;

	*address = NULL;
	if (has_hint) {
		/* from one page up: the first is never mapped */
		*address = (void *)sys_find_gap(hint < page ? page : hint, size, align);
		if (*address != NULL)
			return true;
		errno = ENOMEM;
		return false;
	}
	p = sys_reserve((size + page - 1) & ~(page - 1), align);
	if (p == NULL)
		return align <= page || errno == ENOMEM;
	sys_unmap(p, (size + page - 1) & ~(page - 1));
	*address = p;
	return true;
}

void *
os_map(const struct os_open *file, size_t size, size_t align, bool *sync)
{
	int error = errno, failure;
	void *wanted, *p;

	for (int tries = 1;; tries++) {
		if (!choose_address(size, align, &wanted))
			return NULL;
		p = mmap(wanted, size, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC, file->fd, 0);
		*sync = p != MAP_FAILED;
		if (p == MAP_FAILED && (errno == EOPNOTSUPP || errno == EINVAL)) {
			/* once a hint was not followed it is an order; not so above: MAP_SHARED_VALIDATE does not take that flag */
			p = mmap(wanted, size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | (tries > 1 && wanted != NULL ? MAP_FIXED_NOREPLACE : 0), file->fd, 0);
			if (p == MAP_FAILED && errno == EEXIST && tries < MAP_TRIES)
				continue;
		}
		if (p == MAP_FAILED) {
			failure = errno;
			break;
		}
		if (p == wanted || wanted == NULL || tries >= MAP_TRIES) {
			errno = error;
			return p;
		}
		munmap(p, size);
	}
	errno = failure;
	return NULL;
}

int
os_unmap(void *p, size_t size)
{
	return munmap(p, size);
}

int
os_msync(uintptr_t start, size_t size)
{
	return msync((void *)start, size, MS_SYNC);
}
