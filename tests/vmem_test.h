/* vmem_test.h -- what the black-box tests of libvmem share: directories, guarded regions, pools of both kinds */
#ifndef TESTS_VMEM_TEST_H
#define TESTS_VMEM_TEST_H

#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libvmem.h"

#define MIB ((size_t)1 << 20)
#define POOL_ALIGN (4 * MIB)

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define VMEM_TEST_SLOW 8u
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define VMEM_TEST_SLOW 8u
#endif
#endif
#ifndef VMEM_TEST_SLOW
#define VMEM_TEST_SLOW 1u /* tests divide their rounds by this */
#endif

static inline const char *
test_dir(void)
{
	return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

static inline size_t
page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* `size` bytes at a 4 MiB boundary between two pages that nobody may touch. */
static inline void *
region_new(size_t size)
{
	size_t page = page_size(), whole = size + 2 * POOL_ALIGN + page;
	char *raw = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *base;

	cr_assert(raw != MAP_FAILED, "mmap: %s", strerror(errno));
	base = (char *)(((uintptr_t)raw + page + POOL_ALIGN - 1) & ~(uintptr_t)(POOL_ALIGN - 1));
	cr_assert_eq(mprotect(base, size, PROT_READ | PROT_WRITE), 0, "mprotect: %s", strerror(errno));
	return base;
}

/* A pool of either kind, with the addresses that its blocks must come from. */
struct test_pool {
	VMEM *vmp;
	char *low;
	size_t size;
};

typedef struct test_pool (*test_pool_maker)(size_t size);

static inline struct test_pool
file_pool(size_t size)
{
	struct test_pool pool = { vmem_create(test_dir(), size), NULL, size };

	cr_assert_not_null(pool.vmp, "vmem_create: %s", vmem_errormsg());
	pool.low = (char *)pool.vmp;
	return pool;
}

static inline struct test_pool
region_pool(size_t size)
{
	char *base = region_new(size);
	struct test_pool pool = { vmem_create_in_region(base, size), base, size };

	cr_assert_eq((void *)pool.vmp, (void *)base, "vmem_create_in_region: %s", vmem_errormsg());
	return pool;
}

static inline bool
in_pool(const struct test_pool *pool, const void *p, size_t size)
{
	const char *c = p;

	return c >= pool->low && c + size <= pool->low + pool->size;
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

#endif
