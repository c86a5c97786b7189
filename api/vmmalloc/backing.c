/* backing.c -- see backing.h
 *
 * Owns:   struct backing: the mapping, the descriptor and the identity of its file, the directory for copies.
 * Rules:  K1  the descriptor is used only after fstat() has shown that it is still our file: programs close all
 *             descriptors, and numbers are given out again.
 *         K2  the descriptor's number is high, out of the way of programs that count on low ones, and close-on-exec.
 *         K3  `dir` is absolute when the working directory can be known at start: chdir() later changes nothing.
 *         K4  addresses never change: each remapping is MAP_FIXED, and replaces a range in one system call, since
 *             other threads use their blocks meanwhile.
 *         K5  a copy holds exactly the ranges in use; all else in it are holes, as heap_set_backing() is told.
 * Locks:  none of its own; see backing.h.
 * Media:  makes, maps and copies the pool file; the content is the heap's.
 * Fails:  a clone that finds no room is -1 and leaves nothing. A mapping refused half way has no way back: the
 *         process stops.
 */
#define _GNU_SOURCE
#include "api/vmmalloc/backing.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/common/file.h"
#include "api/common/format.h"
#include "api/common/log.h"
#include "api/common/os.h"

#define FD_TOP 1024           /* a higher number would grow the kernel's table for every process */
#define FD_ROOM 64            /* so many numbers below the limit are tried */
#define SPLIT_MIN ((size_t)1 << 20)
#define SPLIT_MAX_PARTS 1024  /* bounds the number of mappings (vm.max_map_count is 65530) */
#define COPY_STEP ((size_t)1 << 30)

static struct backing {
	struct pool_file file;
	dev_t dev;
	ino_t ino;
	bool private;
	char dir[PATH_MAX];
} self;

/* --- the descriptor ------------------------------------------------------------------------------------------ */

/* Moves it up; where there is no room up there, it stays. */
static int
fd_raise(int fd)
{
	struct rlimit limit;
	rlim_t top = FD_TOP;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < top)
		top = limit.rlim_cur;
	int high = top > FD_ROOM ? fcntl(fd, F_DUPFD_CLOEXEC, (int)(top - FD_ROOM)) : -1;
	if (high < 0)
		return fd;
	close(fd);
	return high;
}

static bool
fd_is_ours(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == self.dev && st.st_ino == self.ino && S_ISREG(st.st_mode);
}

/* The pool's file: the descriptor kept, or another to the same file through /proc (needs privilege). -1: neither. */
static int
fd_find(void)
{
	char path[80];

	if (fd_is_ours(self.file.fd))
		return self.file.fd;
	self.file.fd = -1;
	format(path, sizeof(path), "/proc/self/map_files/%zx-%zx", (size_t)self.file.base + backing_reserved(),
	       (size_t)self.file.base + self.file.size);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && fd_is_ours(fd))
		return self.file.fd = fd_raise(fd);
	if (fd >= 0)
		close(fd);
	return -1;
}

static int
fd_remember(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return errno;
	self.dev = st.st_dev;
	self.ino = st.st_ino;
	self.file.fd = fd;
	return 0;
}

/* --- creation ------------------------------------------------------------------------------------------------ */

size_t
backing_reserved(void)
{
	return sys_page_size();
}

static void
remember_dir(const char *dir)
{
	size_t n = 0;

	if (dir[0] != '/') {
		if (getcwd(self.dir, sizeof(self.dir)) == NULL || self.dir[0] != '/')
			self.dir[0] = '\0';
		n = strlen(self.dir);
	}
	if (n != 0 && n + 1 + strlen(dir) < sizeof(self.dir))
		format(self.dir + n, sizeof(self.dir) - n, "/%s", dir);
	else
		format(self.dir, sizeof(self.dir), "%s", dir); /* open() has shown that it fits */
}

int
backing_create(const char *dir, size_t size)
{
	int error = pool_file_create(dir, size, &self.file);

	if (error != 0)
		return errno = error;
	remember_dir(dir);
	self.file.fd = fd_raise(self.file.fd);
	error = fd_remember(self.file.fd);
	if (error != 0) {
		pool_file_delete(&self.file);
		return errno = error;
	}
	sys_protect(self.file.base, backing_reserved(), false); /* a guard, not a promise: may fail */
	return 0;
}

void
backing_forget_file(void)
{
	pool_file_close_fd(&self.file);
}

void *
backing_base(void)
{
	return self.file.base;
}

size_t
backing_size(void)
{
	return self.file.size;
}

enum heap_backing
backing_kind(void)
{
	return self.file.backing;
}

bool
backing_zeroed(void)
{
	return self.file.zeroed;
}

/* --- private view -------------------------------------------------------------------------------------------- */

bool
backing_is_private(void)
{
	return self.private;
}

static void
map_over(size_t start, size_t end, int fd, int flags)
{
	void *at = (char *)self.file.base + start;
	void *p;

	if (start == end)
		return;
	p = mmap(at, end - start, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, fd < 0 ? 0 : (off_t)start);
	if (p == MAP_FAILED)
		log_fatal((flags & MAP_SHARED) != 0 ? "mapping failed" : "remapping failed");
	if (p != at)
		log_fatal("wrong address");
}

/* What is in use is shown from the file; long stretches that hold nothing become plain memory, so that filling them
 * does not take space in the file and in memory too. */
struct private_walk {
	int fd;
	size_t start, end; /* of the stretch of file seen last, not mapped yet */
	size_t split;      /* gaps shorter than this stay part of it */
	size_t page;
};

/* The heap commits what it uses; without NORESERVE the kernel refuses a span of gaps larger than RAM and swap. */
#define PRIVATE_FILE (MAP_PRIVATE | MAP_NORESERVE)

static int
private_step(void *ctx, size_t offset, size_t length)
{
	struct private_walk *w = ctx;
	size_t start = offset & ~(w->page - 1), end = (offset + length + w->page - 1) & ~(w->page - 1);

	if (start >= w->end + w->split) {
		map_over(w->start, w->end, w->fd, PRIVATE_FILE);
		map_over(w->end, start, -1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
		w->start = start;
	}
	if (end > w->end)
		w->end = end;
	return 0;
}

bool
backing_make_private(struct heap *heap)
{
	size_t reserved = backing_reserved(), split = self.file.size / SPLIT_MAX_PARTS;
	struct private_walk w = { fd_find(), reserved, reserved, split < SPLIT_MIN ? SPLIT_MIN : split, reserved };

	if (w.fd < 0)
		return false;
	heap_each_used_range(heap, private_step, &w);
	map_over(w.start, w.end, w.fd, PRIVATE_FILE);
	map_over(w.end, self.file.size, -1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
	heap_set_backing(heap, HEAP_BACKING_PRIVATE, false);
	self.private = true;
	pool_file_close_fd(&self.file); /* nobody asks for the file again; the mappings keep it */
	return true;
}

/* --- a copy for the child ------------------------------------------------------------------------------------ */

struct clone_walk {
	int from; /* -1: copy from memory */
	int to;
	size_t start, end; /* ranges that touch are copied as one */
};

/* The kernel's own copy, which shares blocks where the file system can. Where it cannot do it for these two files,
 * w->from becomes -1 and w->start says how far it came. */
static int
copy_in_kernel(struct clone_walk *w)
{
	while (w->from >= 0 && w->start < w->end) {
		off_t in = (off_t)w->start, out = in;
		ssize_t n = copy_file_range(w->from, &in, w->to, &out, w->end - w->start, 0);

		if (n > 0) {
			w->start += (size_t)n;
		} else if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)) {
			return errno;
		} else if (!(n < 0 && errno == EINTR)) {
			w->from = -1; /* EXDEV, EINVAL, ENOSYS, ...: not with these files, or nothing came */
		}
	}
	return 0;
}

static int
copy_from_memory(struct clone_walk *w)
{
	while (w->start < w->end) {
		size_t n = w->end - w->start < COPY_STEP ? w->end - w->start : COPY_STEP;
		ssize_t done = pwrite(w->to, (char *)self.file.base + w->start, n, (off_t)w->start);

		if (done > 0)
			w->start += (size_t)done;
		else if (done == 0)
			return ENOSPC;
		else if (errno != EINTR)
			return errno;
	}
	return 0;
}

static int
copy_range(struct clone_walk *w)
{
	int error = copy_in_kernel(w);

	return error != 0 ? error : copy_from_memory(w);
}

static int
clone_step(void *ctx, size_t offset, size_t length)
{
	struct clone_walk *w = ctx;
	int error = 0;

	if (offset != w->end) {
		error = copy_range(w);
		w->start = offset;
	}
	w->end = offset + length;
	return error;
}

static int
open_clone(enum backing_where where)
{
	char path[PATH_MAX + 16];
	int fd;

	if (where == BACKING_IN_MEMORY)
		return memfd_create("vmmalloc", MFD_CLOEXEC);
	fd = sys_open_unnamed(self.dir);
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		format(path, sizeof(path), "%s/vmem.XXXXXX", self.dir);
		fd = sys_open_unlinked(path);
	}
	return fd;
}

int
backing_clone(struct heap *heap, enum backing_where where)
{
	struct clone_walk w = { -1, open_clone(where), 0, 0 };
	int error;

	if (w.to < 0)
		return -1;
	w.to = fd_raise(w.to);
	w.from = self.private ? -1 : fd_find();
	error = sys_set_size(w.to, self.file.size);
	if (error == 0)
		error = heap_each_used_range(heap, clone_step, &w);
	if (error == 0)
		error = copy_range(&w);
	if (error == 0 && self.file.backing == HEAP_BACKING_FULL)
		error = sys_allocate(w.to, 0, self.file.size);
	if (error == 0)
		return w.to;
	LOG(1, "copying the pool: %s", sys_error_text(error, (char[64]){ 0 }, 64));
	sys_close(w.to);
	return -1;
}

void
backing_clone_drop(int fd)
{
	sys_close(fd);
}

void
backing_clone_adopt(struct heap *heap, int fd)
{
	size_t reserved = backing_reserved();

	if (fd_is_ours(self.file.fd))
		pool_file_close_fd(&self.file);
	map_over(reserved, self.file.size, fd, MAP_SHARED);
	/* the guard page would keep the parent's file alive */
	if (mmap(self.file.base, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) ==
	    MAP_FAILED)
		log_fatal("mapping failed");
	if (fd_remember(fd) != 0)
		self.file.fd = -1;
	heap_set_backing(heap, self.file.backing, true);
}
