/* mt_pmem_threads.c -- libpmem from many threads: messages of their own, mappings that come and go, first calls at once */
#include <criterion/criterion.h>

#include <errno.h>
#include <libpmem.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "tests/pmem_files.h"

#define THREADS 16

static pthread_barrier_t barrier;

static void
run(void *(*work)(void *))
{
	pthread_t threads[THREADS];

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (intptr_t i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, work, (void *)i), 0);
	for (int i = 0; i < THREADS; i++) {
		void *result;

		pthread_join(threads[i], &result);
		cr_assert_null(result, "thread %d: %s", i, (char *)result);
	}
}

static void *
messages(void *arg)
{
	unsigned me = (unsigned)(intptr_t)arg + 10;
	char expected[100];

	if (pmem_errormsg()[0] != '\0')
		return "the first message is not empty";
	snprintf(expected, sizeof(expected), "libpmem major version mismatch (need %u, found 1)", me);
	for (int i = 0; i < 200; i++) {
		pmem_check_version(me, 0);
		if (i == 0)
			pthread_barrier_wait(&barrier);
		if (strcmp(pmem_errormsg(), expected) != 0)
			return "another thread's message";
	}
	return NULL;
}

Test(mt_pmem_threads, messages_are_each_threads_own)
{
	run(messages);
	cr_assert_str_eq(pmem_errormsg(), "");
}

static void *
mappings(void *arg)
{
	char name[32];
	const char *path;
	static char paths[THREADS][200];

	snprintf(name, sizeof(name), "file%d", (int)(intptr_t)arg);
	path = paths[(intptr_t)arg];
	snprintf(paths[(intptr_t)arg], sizeof(paths[0]), "%s/%s", files_dir, name);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 60; i++) {
		size_t len, size = 4096 * (size_t)(1 + i % 5);
		int is_pmem;
		char *p = pmem_map_file(path, size, PMEM_FILE_CREATE, 0600, &len, &is_pmem);

		if (p == NULL)
			return (void *)(uintptr_t)pmem_errormsg();
		if (len != size || is_pmem != pmem_is_pmem(p, len))
			return "wrong outputs";
		if ((uintptr_t)p % (2 << 20) != 0)
			return "not aligned";
		pmem_memset_persist(p, i, len);
		if (pmem_msync(p, len) != 0 || pmem_deep_persist(p + 100, 10) != 0)
			return "cannot be synced";
		if (p[0] != (char)i || p[len - 1] != (char)i)
			return "another's bytes";
		if (pmem_unmap(p, len) != 0)
			return "cannot be unmapped";
	}
	return NULL;
}

Test(mt_pmem_threads, map_and_unmap_at_once)
{
	files_begin("/dev/shm");
	run(mappings);
	files_end();
}

static void *
first_calls(void *arg)
{
	static char from[1000], to[THREADS][1000];
	char *mine = to[(intptr_t)arg];

	pthread_barrier_wait(&barrier);
	if (pmem_is_pmem(mine, 1000) != 0)
		return "is_pmem";
	pmem_memcpy_persist(mine, from, 1000);
	pmem_memset(mine, 7, 500, PMEM_F_MEM_NODRAIN);
	pmem_drain();
	if (pmem_has_auto_flush() < 0)
		return "auto_flush";
	return mine[499] == 7 && mine[500] == 0 ? NULL : "bytes";
}

Test(mt_pmem_threads, first_calls_at_once)
{
	run(first_calls);
}

/* Threads with the smallest stack there is can have messages: the buffers are not on it. */
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
static void *
small_stack(void *arg)
{
	(void)arg;
	return pmem_map_file("/nonexistent/file", 4096, PMEM_FILE_CREATE, 0600, NULL, NULL) == NULL && errno == ENOENT &&
		strstr(pmem_errormsg(), "/nonexistent/file") != NULL ? NULL : "no message";
}

Test(mt_pmem_threads, small_stacks_are_enough)
{
	pthread_attr_t attr;
	pthread_t thread;
	void *result;

	pthread_attr_init(&attr);
	cr_assert_eq(pthread_attr_setstacksize(&attr, (size_t)sysconf(_SC_THREAD_STACK_MIN)), 0);
	cr_assert_eq(pthread_create(&thread, &attr, small_stack, NULL), 0);
	pthread_join(thread, &result);
	cr_assert_null(result, "%s", (char *)result);
}
#endif
