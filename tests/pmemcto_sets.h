/* pmemcto_sets.h -- what the tests of pool sets share: set files in the test's directory, headers of parts */
#ifndef TESTS_PMEMCTO_SETS_H
#define TESTS_PMEMCTO_SETS_H

#include "tests/pmemcto_test.h"

/* A set file of that name: the lines of `text`, in which '@' stands for the test's directory and a '/'. */
static inline const char *
set_make(const char *name, const char *text)
{
	const char *path = in_dir(name);
	FILE *f = fopen(path, "w");

	cr_assert_not_null(f, "%s: %s", path, strerror(errno));
	fputs("PMEMPOOLSET\n", f);
	for (; *text != '\0'; text++) {
		if (*text == '@')
			fprintf(f, "%s/", test_dir);
		else
			fputc(*text, f);
	}
	fclose(f);
	return path;
}

static inline PMEMctopool *
set_create(const char *path)
{
	PMEMctopool *pcp = pmemcto_create(path, "test", 0, 0640);

	cr_assert_not_null(pcp, "pmemcto_create %s: %s", path, pmemcto_errormsg());
	return pcp;
}

/* A closed pool over that set: root is a string. */
static inline const char *
set_prepare(const char *name, const char *text)
{
	const char *path = set_make(name, text);
	PMEMctopool *pcp = set_create(path);

	pmemcto_set_root_pointer(pcp, pmemcto_strdup(pcp, "what was kept"));
	pmemcto_close(pcp);
	return path;
}

/* The pool opens, holds what set_prepare() put in, and is closed. */
static inline void
set_is_good(const char *path)
{
	PMEMctopool *pcp;

	cr_expect_eq(pmemcto_check(path, "test"), 1, "%s", pmemcto_errormsg());
	pcp = pool_reopen(path);
	cr_expect_str_eq((char *)pmemcto_get_root_pointer(pcp), "what was kept");
	pmemcto_close(pcp);
}

/* Opening and checking end in that errno and give a message with `text` in it. */
static inline void
set_is_refused(const char *path, int error, const char *text)
{
	REFUSED(pmemcto_open(path, "test"), error);
	cr_expect_not_null(strstr(pmemcto_errormsg(), text), "\"%s\" does not say \"%s\"", pmemcto_errormsg(), text);
	errno = 0;
	cr_expect_eq(pmemcto_check(path, "test"), -1);
	cr_expect_eq(errno, error, "check: errno %d, %s", errno, pmemcto_errormsg());
}

/* A field of a part's header, its checksum made right; set_field() is for part 0 with its descriptor. */
static inline void
set_header_field(const char *path, size_t offset, uint64_t value, size_t bytes)
{
	unsigned char header[4096];
	uint64_t sum;

	file_write(path, offset, &value, bytes);
	file_read(path, 0, header, sizeof(header));
	sum = fletcher64(header, 0, 4096, 2032, 4096);
	file_write(path, AT_CHECKSUM, &sum, sizeof(sum));
}

#endif
