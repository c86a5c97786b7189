/* api_common_error.c -- the message buffer: one per thread, kept, cut, given back */
#include <criterion/criterion.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "api/common/error.h"

Test(api_common_error, empty_before_the_first_message_and_kept_after)
{
	cr_expect_str_eq(error_get(), "");
	ERROR("value %d", 42);
	cr_expect_str_eq(error_get(), "value 42");
	cr_expect_str_eq(error_get(), "value 42");
	ERROR("x");
	cr_expect_str_eq(error_get(), "x");
}

Test(api_common_error, errno_is_named_in_english_and_kept)
{
	errno = ENOENT;
	ERROR_ERRNO("open");
	cr_expect_eq(errno, ENOENT);
	cr_expect_str_eq(error_get(), "open: No such file or directory");
	errno = 98765;
	ERROR_ERRNO("open");
	cr_expect_str_eq(error_get(), "open: Unknown error 98765");
	errno = 4711;
	ERROR("plain");
	cr_expect_eq(errno, 4711);
}

Test(api_common_error, a_message_longer_than_the_buffer_is_cut)
{
	static char text[2 * ERROR_SIZE];

	memset(text, 'x', sizeof(text) - 1);
	ERROR("%s", text);
	cr_expect_eq(strlen(error_get()), ERROR_SIZE - 1);
	errno = ENOENT;
	ERROR_ERRNO("%s", text);
	cr_expect_eq(strlen(error_get()), ERROR_SIZE - 1);
}

static void *
one_message(void *arg)
{
	if (strcmp(error_get(), "") != 0)
		return arg;
	ERROR("thread %p", arg);
	return NULL;
}

/* Lines of /proc/self/maps: a buffer that stayed would show as a mapping, or make one longer. */
static size_t
mapped_bytes(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long low, high;
	char line[512];
	size_t sum = 0;

	while (fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx", &low, &high) == 2)
			sum += high - low;
	fclose(maps);
	return sum;
}

static void
thread_with_a_message(void)
{
	pthread_t id;
	void *failed;

	cr_assert_eq(pthread_create(&id, NULL, one_message, &failed), 0);
	pthread_join(id, &failed);
	cr_expect_null(failed);
}

Test(api_common_error, a_thread_that_ends_gives_its_buffer_back)
{
	size_t before;

	ERROR("main");
	for (int i = 0; i < 10; i++)
		thread_with_a_message();
	before = mapped_bytes();
	for (int i = 0; i < 500; i++)
		thread_with_a_message();
	cr_expect_lt(mapped_bytes(), before + 100 * ERROR_SIZE);
	cr_expect_str_eq(error_get(), "main");
}
