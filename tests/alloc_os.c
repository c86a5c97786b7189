/* alloc_os.c -- the seam to the kernel: what each function promises, errno kept */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <criterion/criterion.h>
#include <criterion/redirect.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc/os.h"

Test(alloc_os, mapped_memory_is_zero_and_goes_back)
{
	size_t size = 5 * os_page_size();

	errno = 77;
	char *p = os_map(size);
	cr_assert_not_null(p);
	for (size_t i = 0; i < size; i++)
		cr_assert_eq(p[i], 0);
	os_unmap(p, size);
	cr_assert_neq(msync(p, size, MS_ASYNC), 0, "still mapped");
	errno = 77;
	cr_assert_null(os_map((size_t)1 << 62));
	cr_assert_eq(errno, 77);
}

/* Other people's mappings must not end the program: the memory goes back, the addresses stay. */
Test(alloc_os, memory_goes_back_when_the_process_has_all_its_mappings)
{
	size_t page = os_page_size(), room = (size_t)1 << 20;
	char *many = mmap(NULL, room * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *p = os_map(3 * page);
	size_t i = 1;

	cr_assert(many != MAP_FAILED && p != NULL);
	memset(p, 1, 3 * page);
	while (i < room && mprotect(many + i * page, page, PROT_READ) == 0)
		i += 2;
	if (i >= room)
		cr_skip_test("this system lets a process have %zu mappings", i);
	cr_assert_eq(errno, ENOMEM);
	/* the last mapping that there is may be the one in the middle */
	mprotect(many + i * page, room * page - i * page, PROT_READ);
	errno = 77;
	os_unmap(p + page, page);
	cr_assert_eq(errno, 77);
	munmap(many, room * page);
	cr_assert(p[0] == 1 && p[2 * page] == 1);
	cr_assert(msync(p + page, page, MS_ASYNC) != 0 || p[page] == 0, "neither unmapped nor empty");
	munmap(p, 3 * page);
}

Test(alloc_os, commit_and_punch_move_the_files_blocks)
{
	size_t page = os_page_size(), size = 64 * page;
	int fd = memfd_create("test", 0);
	struct stat st;

	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int error = os_commit(p, 16 * page);
	if (error == EINVAL)
		cr_skip_test("this kernel has no MADV_POPULATE_WRITE");
	cr_assert_eq(error, 0);
	fstat(fd, &st);
	cr_assert_eq((size_t)st.st_blocks * 512, 16 * page);
	memset(p, 1, 16 * page);
	cr_assert_eq(os_punch(p + 4 * page, 8 * page), 0);
	fstat(fd, &st);
	cr_assert_eq((size_t)st.st_blocks * 512, 8 * page);
	cr_assert(p[0] == 1 && p[4 * page] == 0 && p[12 * page] == 1);
}

/* A memfd of `size` bytes, mapped at a multiple of OS_HUGE. */
static char *
huge_mapping(size_t size, int *fd)
{
	char *p = mmap(NULL, size + OS_HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*fd = memfd_create("test", 0);
	cr_assert_eq(ftruncate(*fd, (off_t)size), 0);
	p += (OS_HUGE - (uintptr_t)p % OS_HUGE) % OS_HUGE;
	cr_assert_eq(mmap(p, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, *fd, 0), p);
	return p;
}

Test(alloc_os, a_huge_commit_fills_two_mebibytes_with_zero)
{
	int fd;
	char *p = huge_mapping(2 * OS_HUGE, &fd);
	struct stat st;

	errno = 77;
	int error = os_commit_huge(p);
	cr_assert_eq(errno, 77);
	if (error != 0)
		cr_skip_test("no huge page: %s", strerror(error));
	fstat(fd, &st);
	cr_assert_eq((size_t)st.st_blocks * 512, OS_HUGE);
	for (size_t i = 0; i < OS_HUGE; i += 64)
		cr_assert_eq(p[i], 0);
	memset(p, 1, OS_HUGE);
}

Test(alloc_os, a_huge_commit_beyond_the_file_is_an_error_and_no_signal)
{
	int fd;
	char *p = huge_mapping(OS_HUGE, &fd);

	cr_assert_eq(ftruncate(fd, 0), 0);
	errno = 77;
	cr_assert_neq(os_commit_huge(p), 0);
	cr_assert_eq(errno, 77);
}

Test(alloc_os, a_commit_beyond_the_file_is_an_error_and_no_signal)
{
	size_t page = os_page_size();
	int fd = memfd_create("test", 0);

	cr_assert_eq(ftruncate(fd, (off_t)page), 0);
	char *p = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	errno = 77;
	int error = os_commit(p, 4 * page);
	cr_assert(error == ENOMEM || error == EINVAL, "%d", error);
	cr_assert_eq(errno, 77);
}

Test(alloc_os, discarding_private_pages_shows_zero_again)
{
	size_t page = os_page_size();
	char *p = os_map(2 * page);

	memset(p, 1, 2 * page);
	cr_assert_eq(os_discard(p, page), 0);
	cr_assert(p[0] == 0 && p[page] == 1);
}

Test(alloc_os, time_goes_on)
{
	uint64_t before = os_now_ns();

	os_yield(0);
	os_yield(1000);
	cr_assert_geq(os_now_ns(), before + 50000, "the nap is 50 microseconds");
}

static _Atomic uint32_t word;

static void *
waiter(void *arg)
{
	while (word == 0)
		os_wait(&word, 0);
	return arg;
}

Test(alloc_os, a_sleeper_wakes)
{
	pthread_t thread;

	os_wait(&word, 1); /* the word is 0: no sleep */
	cr_assert_eq(pthread_create(&thread, NULL, waiter, NULL), 0);
	usleep(2000);
	word = 1;
	os_wake(&word, 1);
	cr_assert_eq(pthread_join(thread, NULL), 0);
}

Test(alloc_os, fatal_says_one_line_and_aborts, .init = cr_redirect_stderr, .signal = SIGABRT)
{
	os_fatal("name", "what of", (void *)0x12ab0);
}

Test(alloc_os, the_barrier_is_there_or_said_not_to_be)
{
	if (!os_barrier_ready())
		cr_skip_test("this kernel has no private expedited membarrier");
	errno = 77;
	os_barrier_all();
	cr_assert_eq(errno, 77);
}
