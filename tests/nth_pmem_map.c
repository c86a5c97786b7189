/* nth_pmem_map.c -- pmem_map_file and its sisters when a system call fails: which, one after the other
 *
 * The program's own open, ftruncate, posix_fallocate, mmap, munmap, msync, fstat and access come before libc's, as the tests
 * of the published library rely on. They count, and fail when told.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>

#include <errno.h>
#include <libpmem.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "tests/pmem_files.h"

#define MEGABYTE ((size_t)1 << 20)

enum call { OPEN, FTRUNCATE, FALLOCATE, MMAP, MUNMAP, MSYNC, CALLS };

static bool armed;
static int counts[CALLS];
static int fail_at[CALLS], fail_with[CALLS]; /* 1: the first call from arming on; 0: none */
static char order[64];                      /* one letter per call */
static int sync_calls;                      /* mmaps with MAP_SYNC */
static bool only_sync_fails;                /* the mmap that fails is the one with MAP_SYNC */
static bool grant_sync;                     /* MAP_SYNC is granted, as on persistent memory */
static void *steal;                         /* the next mapping's address goes to someone else first */

static void
arm(void)
{
	memset(counts, 0, sizeof(counts));
	memset(fail_at, 0, sizeof(fail_at));
	memset(order, 0, sizeof(order));
	sync_calls = 0;
	only_sync_fails = grant_sync = false;
	steal = NULL;
	armed = true;
}

/* Counts a call; the errno value it is to fail with, or 0. */
static int
called(enum call call)
{
	if (!armed)
		return 0;
	if (strlen(order) < sizeof(order) - 1)
		order[strlen(order)] = "otfmuy"[call];
	return ++counts[call] == fail_at[call] ? fail_with[call] : 0;
}

int
open(const char *path, int flags, ...)
{
	int error = called(OPEN);
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	if (error != 0) {
		errno = error;
		return -1;
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int
ftruncate(int fd, off_t length)
{
	int error = called(FTRUNCATE);

	if (error != 0) {
		errno = error;
		return -1;
	}
	return (int)syscall(SYS_ftruncate, fd, length);
}

int
posix_fallocate(int fd, off_t offset, off_t length)
{
	int error = called(FALLOCATE);

	if (error != 0)
		return error;
	return syscall(SYS_fallocate, fd, 0, offset, length) == 0 ? 0 : errno;
}

void *
mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	bool sync = (flags & 0x80000) != 0 && (flags & 3) == 3;
	int error = fd >= 0 && armed && (!only_sync_fails || sync) ? called(MMAP) : 0;

	if (armed && sync)
		sync_calls++;
	if (error != 0) {
		errno = error;
		return MAP_FAILED;
	}
	if (armed && fd >= 0 && steal != NULL) {
		steal = NULL; /* another thread was faster: one page at the wanted address */
		syscall(SYS_mmap, addr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	}
	if (armed && sync && grant_sync)
		flags = MAP_SHARED;
	return (void *)syscall(SYS_mmap, addr, length, prot, flags, fd, offset);
}

int
munmap(void *addr, size_t length)
{
	int error = called(MUNMAP);

	if (error != 0) {
		errno = error;
		return -1;
	}
	return (int)syscall(SYS_munmap, addr, length);
}

int
msync(void *addr, size_t length, int flags)
{
	int error = called(MSYNC);

	if (error != 0) {
		errno = error;
		return -1;
	}
	return (int)syscall(SYS_msync, addr, length, flags);
}

/* A call that fails since `call` number `nth` fails; nothing may be left but what was there. */
static void
fails(const char *path, size_t len, int flags, enum call call, int nth, int error)
{
	int open_before = open_files(), entries = entries_in_dir(), is_pmem = 67;
	size_t mapped = 12345;
	void *p;

	pmem_check_version(9, 9); /* the message's memory is there: its mmap is not of interest */
	arm();
	fail_at[call] = nth;
	fail_with[call] = error;
	errno = 0;
	p = pmem_map_file(path, len, flags, 0600, &mapped, &is_pmem);
	armed = false;
	cr_assert_null(p, "call %d number %d", (int)call, nth);
	cr_assert_eq(errno, error, "%s instead of %s", strerror(errno), strerror(error));
	cr_assert(mapped == 12345 && is_pmem == 67);
	cr_assert_eq(open_files(), open_before);
	cr_assert_eq(entries_in_dir(), entries);
	cr_assert_not_null(strstr(pmem_errormsg(), strerrordesc_np(error)), "%s", pmem_errormsg());
}

Test(nth_pmem_map, a_file_it_made_goes_again)
{
	for (size_t place = 0; place < FILE_PLACES; place++)
		for (int flags = PMEM_FILE_CREATE; flags <= (PMEM_FILE_CREATE | PMEM_FILE_EXCL); flags += PMEM_FILE_EXCL) {
			files_begin(file_places[place]);
			fails(file_path("file"), 8192, flags, OPEN, 1, EACCES);
			fails(file_path("file"), 8192, flags, FTRUNCATE, 1, EFBIG);
			fails(file_path("file"), 8192, flags, FALLOCATE, 1, ENOSPC);
			fails(file_path("file"), 8192, flags, FALLOCATE, 1, EOPNOTSUPP);
			fails(file_path("file"), 8192, flags, MMAP, 1, ENOMEM);
			fails(file_path("file"), 8192, flags, MMAP, 2, EAGAIN); /* the one without MAP_SYNC */
			files_end();
		}
}

Test(nth_pmem_map, a_file_that_was_there_stays_as_it_was)
{
	for (size_t place = 0; place < FILE_PLACES; place++) {
		const char *file;
		char text[5] = "";
		int fd;

		files_begin(file_places[place]);
		file = file_make("file", 5000);
		fd = open(file, O_RDWR);
		cr_assert_eq(pwrite(fd, "text", 4, 100), 4);
		fails(file, 0, 0, OPEN, 1, EMFILE);
		fails(file, 0, 0, MMAP, 1, ENOMEM);
		fails(file, 0, 0, MMAP, 2, ENOMEM);
		fails(file, 100000, PMEM_FILE_CREATE, OPEN, 1, ENFILE);
		fails(file, 100000, PMEM_FILE_CREATE, OPEN, 2, EACCES);
		fails(file, 100000, PMEM_FILE_CREATE, FTRUNCATE, 1, EPERM);
		fails(file, 100000, PMEM_FILE_CREATE, FALLOCATE, 1, ENOSPC);
		cr_assert_eq(file_stat(file).st_size, 5000);
		fails(file, 100000, PMEM_FILE_CREATE, MMAP, 2, ENOMEM);
		cr_assert_eq(file_stat(file).st_size, 5000);
		fails(file, 100000, PMEM_FILE_CREATE | PMEM_FILE_EXCL, OPEN, 1, EEXIST);
		cr_assert_eq(file_stat(file).st_size, 5000);
		cr_assert(pread(fd, text, 4, 100) == 4 && strcmp(text, "text") == 0);
		close(fd);
		files_end();
	}
}

Test(nth_pmem_map, temporary_files_leave_nothing)
{
	for (size_t place = 0; place < FILE_PLACES; place++) {
		const int flags = PMEM_FILE_CREATE | PMEM_FILE_TMPFILE;

		files_begin(file_places[place]);
		fails(files_dir, 8192, flags, OPEN, 1, ENOSPC);
		fails(files_dir, 8192, flags, FTRUNCATE, 1, EFBIG);
		fails(files_dir, 8192, flags, FALLOCATE, 1, ENOSPC);
		fails(files_dir, 8192, flags, MMAP, 2, ENOMEM);
		files_end();
	}
}

/* Without O_TMPFILE, in the kernel or the file system, a named file loses its name at once. */
Test(nth_pmem_map, temporary_files_without_o_tmpfile)
{
	static const int errors[] = {EOPNOTSUPP, EISDIR};

	for (size_t place = 0; place < FILE_PLACES; place++)
		for (int i = 0; i < 2; i++) {
			mode_t mask = umask(0);
			char *p;

			files_begin(file_places[place]);
			arm();
			fail_at[OPEN] = 1;
			fail_with[OPEN] = errors[i];
			errno = 4242;
			p = pmem_map_file(files_dir, 8192, PMEM_FILE_CREATE | PMEM_FILE_TMPFILE, 0, NULL, NULL);
			armed = false;
			cr_assert_not_null(p, "%s", pmem_errormsg());
			cr_assert_eq(errno, 4242);
			cr_assert_eq(entries_in_dir(), 0);
			cr_assert_eq(umask(mask), 0);
			p[8191] = 1;
			cr_assert_eq(pmem_unmap(p, 8192), 0);
			files_end();
		}
}

/* The order and number of the calls that programs interpose. */
Test(nth_pmem_map, sizes_are_set_by_one_call_each)
{
	files_begin("/tmp");
	file_make("file", 4096);
	arm();
	cr_assert_not_null(pmem_map_file(file_path("file"), 8192, PMEM_FILE_CREATE, 0600, NULL, NULL));
	armed = false;
	cr_assert(counts[FTRUNCATE] == 1 && counts[FALLOCATE] == 1);
	cr_assert_lt(strchr(order, 't'), strchr(order, 'f'));
	arm();
	cr_assert_not_null(pmem_map_file(file_path("file"), 8192, PMEM_FILE_CREATE | PMEM_FILE_SPARSE, 0600, NULL, NULL));
	armed = false;
	cr_assert(counts[FTRUNCATE] == 1 && counts[FALLOCATE] == 0);
	arm();
	cr_assert_not_null(pmem_map_file(file_path("file"), 0, PMEM_FILE_SPARSE, 0600, NULL, NULL));
	armed = false;
	cr_assert(counts[FTRUNCATE] == 0 && counts[FALLOCATE] == 0);
	/* when allocation fails only ftruncate and posix_fallocate are seen, once each, whatever is undone */
	arm();
	fail_at[FALLOCATE] = 1;
	fail_with[FALLOCATE] = ENOSPC;
	cr_assert_null(pmem_map_file(file_path("file"), 80000, PMEM_FILE_CREATE, 0600, NULL, NULL));
	armed = false;
	cr_assert(counts[FTRUNCATE] == 1 && counts[FALLOCATE] == 1);
	cr_assert_eq(file_stat(file_path("file")).st_size, 8192);
	files_end();
}

/* MAP_SYNC is tried first; two errors lead to the plain way, others end it. */
Test(nth_pmem_map, map_sync_is_tried_first)
{
	static const int fall_back[] = {EOPNOTSUPP, EINVAL};

	files_begin("/tmp");
	file_make("file", 8192);
	for (int i = 0; i < 2; i++) {
		int is_pmem = 1;
		char *p;

		arm();
		only_sync_fails = true;
		fail_at[MMAP] = 1;
		fail_with[MMAP] = fall_back[i];
		p = pmem_map_file(file_path("file"), 0, 0, 0, NULL, &is_pmem);
		armed = false;
		cr_assert_not_null(p);
		cr_assert_eq(is_pmem, 0);
		cr_assert_eq(sync_calls, 1);
		cr_assert_eq((uintptr_t)p % (2 * MEGABYTE), 0);
		cr_assert_eq(pmem_unmap(p, 8192), 0);
	}
	fails(file_path("file"), 0, 0, MMAP, 1, EPERM);
	files_end();
}

/* On persistent memory: granted MAP_SYNC makes is_pmem true, for exactly the bytes mapped. */
Test(nth_pmem_map, map_sync_granted_is_persistent_memory)
{
	int is_pmem = 0;
	char *p, *q;

	files_begin("/tmp");
	arm();
	grant_sync = true;
	p = pmem_map_file(file_path("file"), 40000, PMEM_FILE_CREATE, 0600, NULL, &is_pmem);
	cr_assert_not_null(p);
	cr_assert_eq(is_pmem, 1);
	cr_assert_eq(pmem_is_pmem(p, 40000), 1);
	cr_assert_eq(pmem_is_pmem(p + 39999, 1), 1);
	cr_assert_eq(pmem_is_pmem(p, 40960), 1);
	cr_assert_eq(pmem_is_pmem(p, 40961), 0);
	cr_assert_eq(pmem_is_pmem(p - 1, 2), 0);
	cr_assert_eq(pmem_is_pmem(p, 0), 0);
	cr_assert_eq(pmem_is_pmem(p, SIZE_MAX), 0);
	/* deep_drain syncs it by msync, in one piece with what is not tracked left out */
	counts[MSYNC] = 0;
	cr_assert_eq(pmem_deep_persist(p, 40000), 0);
	cr_assert_eq(counts[MSYNC], 1);
	fail_at[MSYNC] = 2;
	fail_with[MSYNC] = EIO;
	errno = 0;
	cr_assert_eq(pmem_deep_persist(p, 40000), -1);
	cr_assert_eq(errno, EIO);
	cr_assert(strncmp(pmem_errormsg(), "msync: ", 7) == 0);
	/* a hole in the middle: two tracked pieces and one that is not mapped */
	cr_assert_eq(pmem_unmap(p + 8192, 4096), 0);
	cr_assert_eq(pmem_is_pmem(p, 8192), 1);
	cr_assert_eq(pmem_is_pmem(p, 8193), 0);
	cr_assert_eq(pmem_is_pmem(p + 12288, 4096), 1);
	counts[MSYNC] = fail_at[MSYNC] = 0;
	cr_assert_eq(pmem_deep_drain(p, 40000), -1);
	cr_assert_eq(errno, ENOMEM);
	cr_assert_eq(counts[MSYNC], 2, "%d", counts[MSYNC]); /* the first piece, then the hole */
	/* an unmapping that fails forgets nothing */
	fail_at[MUNMAP] = ++counts[MUNMAP];
	counts[MUNMAP]--;
	fail_with[MUNMAP] = ENOMEM;
	errno = 0;
	cr_assert_eq(pmem_unmap(p, 8192), -1);
	cr_assert_eq(errno, ENOMEM);
	cr_assert_eq(pmem_is_pmem(p, 8192), 1);
	/* unmapped behind our back: the address comes again, and is refused once */
	syscall(SYS_munmap, p, 8192);
	cr_assert_eq(pmem_unmap(p, 40000), 0);
	cr_assert_eq(pmem_is_pmem(p, 1), 0);
	q = pmem_map_file(file_path("file"), 0, 0, 0, NULL, &is_pmem);
	cr_assert(q != NULL && is_pmem == 1);
	syscall(SYS_munmap, q, 40000);
	armed = false;
	files_end();
}

Test(nth_pmem_map, unmapped_by_munmap_is_noticed)
{
	char *p, *q = NULL;

	files_begin("/tmp");
	setenv("PMEM_MMAP_HINT", "0", 1); /* too late: read at load; the kernel chooses the same address anyway */
	arm();
	grant_sync = true;
	p = pmem_map_file(file_path("file"), 40000, PMEM_FILE_CREATE, 0600, NULL, NULL);
	cr_assert_not_null(p);
	syscall(SYS_munmap, p, 40000);
	errno = 0;
	q = pmem_map_file(file_path("file"), 0, 0, 0, NULL, NULL);
	armed = false;
	cr_assert_null(q, "the kernel chose another address: %p and %p", (void *)p, (void *)q);
	cr_assert_eq(errno, ENOMEM);
	cr_assert_not_null(strstr(pmem_errormsg(),
		"duplicated persistent memory range; presumably unmapped with munmap() instead of pmem_unmap(): addr "));
	files_end();
}

/* Another thread takes the wanted address between the reservation and the mapping: no matter, and not its mapping. */
Test(nth_pmem_map, a_lost_race_for_the_address_is_run_again)
{
	char *p;

	files_begin("/tmp");
	file_make("file", 3 * MEGABYTE);
	arm();
	steal = &steal;
	p = pmem_map_file(file_path("file"), 0, 0, 0, NULL, NULL);
	armed = false;
	cr_assert_not_null(p);
	cr_assert_eq((uintptr_t)p % (2 * MEGABYTE), 0);
	cr_assert_null(steal);
	cr_assert_gt(counts[MMAP], 2);
	cr_assert_eq(pmem_unmap(p, 3 * MEGABYTE), 0);
	files_end();
}

Test(nth_pmem_map, msync_fails)
{
	char *p;

	files_begin("/tmp");
	p = pmem_map_file(file_make("file", 8192), 0, 0, 0, NULL, NULL);
	cr_assert_not_null(p);
	arm();
	fail_at[MSYNC] = 1;
	fail_with[MSYNC] = EIO;
	cr_assert_eq(pmem_msync(p, 8192), -1);
	cr_assert_eq(errno, EIO);
	fail_at[MSYNC] = 2;
	errno = 0;
	cr_assert_eq(pmem_deep_persist(p, 8192), -1);
	cr_assert_eq(errno, EIO);
	cr_assert_eq(pmem_deep_persist(p, 0), 0);
	cr_assert_eq(counts[MSYNC], 2); /* none for nothing */
	cr_assert_eq(pmem_deep_persist(p, 8192), 0);
	cr_assert_eq(counts[MSYNC], 3);
	armed = false;
	cr_assert_eq(pmem_unmap(p, 8192), 0);
	files_end();
}
