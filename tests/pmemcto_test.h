/* pmemcto_test.h -- what the black-box tests of libpmemcto share: a directory of their own, files, headers changed by hand */
#ifndef TESTS_PMEMCTO_TEST_H
#define TESTS_PMEMCTO_TEST_H

#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc/assert.h"
#include "libpmemcto.h"

#define MIB ((size_t)1 << 20)

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || PMHEAP_ASSERT >= 3
#define CTO_TEST_SLOW 8u
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define CTO_TEST_SLOW 8u
#endif
#endif
#ifndef CTO_TEST_SLOW
#define CTO_TEST_SLOW 1u /* tests divide their rounds by this */
#endif

#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer refuses mappings outside of a few ranges; this is the low end of the one that mmap uses from above. The
 * library reads the variable when it is loaded: start again. */
__attribute__((constructor, used)) static void
use_allowed_addresses(int argc, char **argv)
{
	(void)argc;
	if (getenv("PMEM_MMAP_HINT") == NULL && setenv("PMEM_MMAP_HINT", "7e9000000000", 1) == 0)
		execv("/proc/self/exe", argv);
}
#endif

/* --- a directory for this test's files ------------------------------------------------------------------------ */

static char test_dir[64];

static inline void
test_dir_make(void)
{
	snprintf(test_dir, sizeof(test_dir), "%s/pmheap-cto-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	cr_assert_not_null(mkdtemp(test_dir), "mkdtemp: %s", strerror(errno));
	chmod(test_dir, 0755);
}

/* The path of a file in it; the same pointer for the same name. */
static inline const char *
in_dir(const char *name)
{
	static char paths[32][512];
	char path[512];
	int i = 0;

	snprintf(path, sizeof(path), "%s/%s", test_dir, name);
	while (paths[i][0] != '\0' && strcmp(paths[i], path) != 0)
		cr_assert_lt(++i, 32, "room for the names of files");
	return strcpy(paths[i], path);
}

static inline unsigned
files_in_dir(void)
{
	DIR *dir = opendir(test_dir);
	struct dirent *entry;
	unsigned n = 0;

	cr_assert_not_null(dir);
	while ((entry = readdir(dir)) != NULL)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static inline void
test_dir_remove(void)
{
	DIR *dir = opendir(test_dir);
	struct dirent *entry;
	char path[512];

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s", test_dir, entry->d_name);
		if (entry->d_name[0] != '.' && unlink(path) != 0)
			rmdir(path);
	}
	if (dir != NULL)
		closedir(dir);
	rmdir(test_dir);
}

/* A skipped test does not come to its suite's .fini. */
#define SKIP(...) (test_dir_remove(), cr_skip_test(__VA_ARGS__))

/* --- files ---------------------------------------------------------------------------------------------------- */

static inline void
file_make(const char *path, size_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

	cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

static inline void
file_write(const char *path, size_t offset, const void *data, size_t n)
{
	int fd = open(path, O_WRONLY);

	cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
	cr_assert_eq(pwrite(fd, data, n, (off_t)offset), (ssize_t)n);
	close(fd);
}

static inline void
file_read(const char *path, size_t offset, void *data, size_t n)
{
	int fd = open(path, O_RDONLY);

	cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
	cr_assert_eq(pread(fd, data, n, (off_t)offset), (ssize_t)n);
	close(fd);
}

static inline struct stat
file_stat(const char *path)
{
	struct stat st;

	cr_assert_eq(stat(path, &st), 0, "%s: %s", path, strerror(errno));
	return st;
}

/* FNV-1a over all words of a file. */
static inline uint64_t
file_hash(const char *path)
{
	size_t size = (size_t)file_stat(path).st_size;
	int fd = open(path, O_RDONLY);
	const unsigned char *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	uint64_t hash = UINT64_C(0xcbf29ce484222325), word;

	cr_assert(p != MAP_FAILED);
	for (size_t i = 0; i + 8 <= size; i += 8) {
		memcpy(&word, p + i, 8);
		hash = (hash ^ word) * UINT64_C(0x100000001b3);
	}
	munmap((void *)p, size);
	close(fd);
	return hash;
}

static inline void
file_copy(const char *from, const char *to)
{
	size_t size = (size_t)file_stat(from).st_size;
	int in = open(from, O_RDONLY), out = open(to, O_RDWR | O_CREAT | O_TRUNC, 0644);
	char *buffer = malloc(MIB);

	for (size_t at = 0; at < size;) {
		ssize_t n = pread(in, buffer, size - at < MIB ? size - at : MIB, (off_t)at);

		cr_assert_gt(n, 0);
		cr_assert_eq(pwrite(out, buffer, (size_t)n, (off_t)at), n);
		at += (size_t)n;
	}
	free(buffer);
	close(in);
	close(out);
}

/* Descriptors open now, but for the one that looks. */
static inline unsigned
count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	cr_assert_not_null(dir, "/proc/self/fd: %s", strerror(errno));
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

/* Is anything of [p, p + size) mapped? */
static inline bool
is_mapped(const void *p, size_t size)
{
	unsigned char page;

	for (size_t at = 0; at < size; at += 4096)
		if (mincore((char *)(uintptr_t)p + at, 4096, &page) == 0 || errno != ENOMEM)
			return true;
	return false;
}

/* --- pools ---------------------------------------------------------------------------------------------------- */

static inline PMEMctopool *
pool_make(const char *path, size_t size)
{
	PMEMctopool *pcp = pmemcto_create(path, "test", size, 0600);

	cr_assert_not_null(pcp, "pmemcto_create %s: %s", path, pmemcto_errormsg());
	return pcp;
}

static inline PMEMctopool *
pool_reopen(const char *path)
{
	PMEMctopool *pcp = pmemcto_open(path, "test");

	cr_assert_not_null(pcp, "pmemcto_open %s: %s", path, pmemcto_errormsg());
	return pcp;
}

/* A closed pool with a little in it: root is a string. */
static inline void
pool_prepare(const char *path, size_t size)
{
	PMEMctopool *pcp = pool_make(path, size);

	pmemcto_set_root_pointer(pcp, pmemcto_strdup(pcp, "what was kept"));
	pmemcto_close(pcp);
}

/* The call gave NULL, this errno and a new message. */
#define REFUSED(call, error)                                                                                           \
	do {                                                                                                           \
		pmemcto_check_version(77, 0);                                                                          \
		errno = 0;                                                                                             \
		void *refused_ = (call);                                                                               \
		int errno_ = errno;                                                                                    \
		cr_expect_null(refused_, "%s", #call);                                                                 \
		cr_expect_eq(errno_, error, "%s: errno %d, %s", #call, errno_, pmemcto_errormsg());                    \
		cr_expect_null(strstr(pmemcto_errormsg(), "need 77"), "%s sets no message", #call);                    \
		cr_expect_str_not_empty(pmemcto_errormsg());                                                           \
	} while (0)

/* Runs `body` in a child; its exit status, or 1000 + the signal that ended it. */
#define IN_CHILD(status, body)                                                                                         \
	do {                                                                                                           \
		pid_t child_ = fork();                                                                                 \
		int raw_;                                                                                              \
		if (child_ == 0) {                                                                                     \
			body;                                                                                          \
			_exit(0);                                                                                      \
		}                                                                                                      \
		cr_assert_gt(child_, 0);                                                                               \
		while (waitpid(child_, &raw_, 0) < 0)                                                                  \
			cr_assert_eq(errno, EINTR);                                                                    \
		(status) = WIFSIGNALED(raw_) ? 1000 + WTERMSIG(raw_) : WEXITSTATUS(raw_);                              \
	} while (0)

/* --- what the published format says of the first two pages, by offset ------------------------------------------- */

enum {
	AT_MAJOR = 8, AT_COMPAT = 12, AT_INCOMPAT = 16, AT_RO_COMPAT = 20, AT_PART_UUID = 40, AT_NEXT_UUID = 72,
	AT_MACHINE = 142, AT_CHECKSUM = 4088, AT_LAYOUT = 4096, AT_BASE = 5120, AT_SIZE = 5128, AT_ROOT = 5136,
	AT_CONSISTENT = 5144, AT_FORMAT = 5152, AT_FLAGS = 5156, AT_HEAP_OFFSET = 5168,
	AT_FIXED_CHECKSUM = 5176, AT_CLOSED_CHECKSUM = 5200,
	AT_DESC_END = 6144, AT_HEAP = 8192,
};

/* Fletcher64 over [from, to) of the pool's first bytes; those listed count as zero. */
static inline uint64_t
fletcher64(const unsigned char *bytes, size_t from, size_t to, size_t zero_from, size_t zero_to)
{
	uint32_t low = 0, high = 0, word;

	for (size_t i = from; i < to; i += 4) {
		memcpy(&word, bytes + i, 4);
		if (i < zero_from || i >= zero_to)
			low += word;
		high += low;
	}
	return (uint64_t)high << 32 | low;
}

/* Makes the checksums right for what is there: header, descriptor, and that of the closed pool. */
static inline void
fix_checksums(const char *path)
{
	unsigned char front[8192], copy[8192];
	uint64_t sum;

	file_read(path, 0, front, sizeof(front));
	sum = fletcher64(front, 0, 4096, 2032, 4096);
	memcpy(front + AT_CHECKSUM, &sum, 8);
	memcpy(copy, front, sizeof(copy));
	memset(copy + AT_ROOT, 0, 8);
	copy[AT_CONSISTENT] = 0;
	sum = fletcher64(copy, 4096, AT_DESC_END, AT_FIXED_CHECKSUM, AT_DESC_END);
	memcpy(front + AT_FIXED_CHECKSUM, &sum, 8);
	memcpy(copy, front, sizeof(copy));
	copy[AT_CONSISTENT] = 1;
	sum = fletcher64(copy, 4096, AT_DESC_END, AT_CLOSED_CHECKSUM, AT_CLOSED_CHECKSUM + 8);
	memcpy(front + AT_CLOSED_CHECKSUM, &sum, 8);
	file_write(path, 0, front, sizeof(front));
}

static inline void
set_field(const char *path, size_t offset, uint64_t value, size_t bytes)
{
	file_write(path, offset, &value, bytes);
	fix_checksums(path);
}

static inline uint64_t
get_field(const char *path, size_t offset, size_t bytes)
{
	uint64_t value = 0;

	file_read(path, offset, &value, bytes);
	return value;
}

#endif
