/* os.c -- what api/ asks of the kernel
 *
 * Owns:   every system call of api/, except those of one library alone (pool file of libpmemcto, fork).
 * Rules:  no allocation; errno is the kernel's where the header says so, else undefined.
 * Locks:  none.
 * Media:  none of its own.
 * Fails:  as the kernel does; nothing half done is left behind.
 */
#define _GNU_SOURCE
#include "api/common/os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "api/common/format.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

size_t
sys_page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

unsigned
sys_cpus(void)
{
	return (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
}

int
sys_pid(void)
{
	return (int)getpid();
}

void
sys_program_path(char *buf, size_t size)
{
	if (sys_read_link("/proc/self/exe", buf, size) != 0)
		format(buf, size, "unknown");
}

const char *
sys_error_text(int error, char *buf, size_t size)
{
	const char *text = NULL;

#if defined(__GLIBC__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 32)
	text = strerrordesc_np(error);
#else
	text = strerror_r(error, buf, size);
#endif
#else
	text = strerror(error);
#endif
	if (text != NULL)
		return text;
	format(buf, size, "Unknown error %d", error);
	return buf;
}

/* --- memory -------------------------------------------------------------------------------------------------- */

void *
sys_map_memory(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void
sys_unmap(void *p, size_t size)
{
	munmap(p, size);
}

void *
sys_reserve(size_t size, size_t align)
{
	if (size > SIZE_MAX - align) {
		errno = ENOMEM;
		return NULL;
	}
	char *p = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;

	size_t head = (align - ((uintptr_t)p & (align - 1))) & (align - 1);

	if (head != 0)
		munmap(p, head);
	munmap(p + head + size, align - head);
	return p + head;
}

void *
sys_reserve_at(void *at, size_t size)
{
	void *p = mmap(at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (p != at) { /* Linux < 4.17 takes the address for a hint */
		munmap(p, size);
		errno = EEXIST;
		return NULL;
	}
	return p;
}

/* /proc/self/maps, read in pieces: only the two addresses and the permissions at the start of each line are wanted. */
struct maps_reader {
	enum { LOW, HIGH, PERMS, REST } part;
	uintptr_t low, high;
	char perms[4]; /* "rwxp", the last an 's' where it is shared */
	unsigned nperms;
};

/* True when a line's wanted parts are complete. */
static bool
maps_feed(struct maps_reader *r, char c)
{
	uintptr_t digit = c <= '9' ? (uintptr_t)(c - '0') : (uintptr_t)(c - 'a') + 10;

	if (c == '\n') {
		*r = (struct maps_reader){ .part = LOW };
		return false;
	}
	switch (r->part) {
	case LOW:
		if (c == '-')
			r->part = HIGH;
		else
			r->low = r->low << 4 | digit;
		return false;
	case HIGH:
		if (c == ' ')
			r->part = PERMS;
		else
			r->high = r->high << 4 | digit;
		return false;
	case PERMS:
		r->perms[r->nperms++] = c;
		if (r->nperms < sizeof(r->perms))
			return false;
		r->part = REST;
		return true;
	default:
		return false;
	}
}

/* Calls fn for each mapping, in ascending order (proc(5)), until it returns true. False: there is no /proc. */
static bool
maps_each(bool (*fn)(void *ctx, const struct maps_reader *line), void *ctx)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	struct maps_reader reader = { .part = LOW };
	bool enough = false;
	char buf[1024];
	ssize_t n;

	if (fd < 0)
		return false;
	while (!enough && (n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n && !enough; i++)
			enough = maps_feed(&reader, buf[i]) && fn(ctx, &reader);
	close(fd);
	return true;
}

struct gap_search {
	uintptr_t from, gap;
	size_t size, align;
};

static bool
gap_look(void *ctx, const struct maps_reader *line)
{
	struct gap_search *search = ctx;

	if (line->low > search->gap && line->low - search->gap >= search->size)
		return true;
	if (line->high > search->gap)
		search->gap = (line->high + search->align - 1) & ~(uintptr_t)(search->align - 1);
	return search->gap < search->from; /* past the end of all addresses */
}

uintptr_t
sys_find_gap(uintptr_t from, size_t size, size_t align)
{
	struct gap_search search = { from, (from + align - 1) & ~(uintptr_t)(align - 1), size, align };

	if (!maps_each(gap_look, &search) || search.gap < from || search.gap > UINTPTR_MAX - size)
		return 0;
	return search.gap;
}

struct shared_search {
	uintptr_t p;
	bool shared;
};

static bool
shared_look(void *ctx, const struct maps_reader *line)
{
	struct shared_search *search = ctx;

	if (line->low <= search->p && search->p < line->high)
		search->shared = line->perms[3] == 's';
	return line->high > search->p;
}

bool
sys_is_shared(const void *p)
{
	struct shared_search search = { (uintptr_t)p, false };

	return maps_each(shared_look, &search) && search.shared;
}

int
sys_map_file_over(void *at, size_t size, int fd)
{
	return mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ? errno : 0;
}

int
sys_protect(void *p, size_t size, bool accessible)
{
	return mprotect(p, size, accessible ? PROT_READ | PROT_WRITE : PROT_NONE) != 0 ? errno : 0;
}

int
sys_populate(void *p, size_t size)
{
	return madvise(p, size, MADV_POPULATE_WRITE) != 0 ? errno : 0;
}

/* --- files --------------------------------------------------------------------------------------------------- */

int
sys_open_unnamed(const char *dir)
{
	return open(dir, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
}

/* mkstemp(3) makes the file with mode 0600 by itself, so the umask, which all threads share, is left alone. */
int
sys_open_unlinked(char *path_template)
{
	sigset_t all, old;
	int fd, error;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old); /* no handler may end the process while the name is there */
	fd = mkostemp(path_template, O_CLOEXEC);
	error = errno;
	if (fd >= 0)
		unlink(path_template);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = error;
	return fd;
}

int
sys_open_device(const char *path)
{
	return open(path, O_RDWR | O_CLOEXEC);
}

int
sys_open_log(const char *path)
{
	return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
}

void
sys_close(int fd)
{
	close(fd);
}

void
sys_write_all(int fd, const char *text, size_t n)
{
	while (n != 0) {
		/* write() is a cancellation point, and a trace line of malloc must not make one of malloc */
		ssize_t done = syscall(SYS_write, fd, text, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return;
		text += done;
		n -= (size_t)done;
	}
}

void
sys_poke(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), error = errno;

	if (fd >= 0) {
		sys_write_all(fd, text, strlen(text));
		close(fd);
	}
	errno = error;
}

int
sys_set_size(int fd, size_t size)
{
	struct rlimit limit;

	/* over the limit ftruncate(2) also sends SIGXFSZ, which ends the process: look first */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && size > limit.rlim_cur)
		return EFBIG;
	while (ftruncate(fd, (off_t)size) != 0)
		if (errno != EINTR)
			return errno;
	return 0;
}

int
sys_allocate(int fd, size_t offset, size_t size)
{
	return posix_fallocate(fd, (off_t)offset, (off_t)size);
}

int
sys_get_space(int fd, struct sys_space *space)
{
	struct statvfs vfs;

	while (fstatvfs(fd, &vfs) != 0)
		if (errno != EINTR)
			return errno;
	space->block_bytes = vfs.f_bsize;
	space->free_bytes = vfs.f_blocks == 0 ? UINT64_MAX : (uint64_t)vfs.f_bavail * vfs.f_frsize;
	return 0;
}

bool
sys_is_char_device(const char *path, unsigned *major_out, unsigned *minor_out)
{
	struct stat st;

	if (stat(path, &st) != 0 || !S_ISCHR(st.st_mode))
		return false;
	*major_out = major(st.st_rdev);
	*minor_out = minor(st.st_rdev);
	return true;
}

int
sys_read_small(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;

	if (fd < 0)
		return -1;
	while (len < size - 1) {
		ssize_t n = read(fd, buf + len, size - 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	close(fd);
	if (len != 0 && buf[len - 1] == '\n')
		len--;
	buf[len] = '\0';
	return 0;
}

int
sys_read_link(const char *path, char *buf, size_t size)
{
	ssize_t n = readlink(path, buf, size - 1);

	if (n < 0)
		return -1;
	buf[n] = '\0';
	return 0;
}
