/* api_pmem_uw.c -- the names with U and W, and what the header makes of the plain ones */
#define PMDK_UTF8_API
#include <criterion/criterion.h>

#include <errno.h>
#include <libpmem.h>
#include <limits.h>
#include <stdlib.h>
#include <wchar.h>

#include "tests/pmem_files.h"

/* The plain names are the U ones here. */
Test(api_pmem_uw, utf8_names_are_the_plain_ones)
{
	size_t len = 0;
	void *p;

	cr_assert_eq((void *)pmem_map_file, (void *)pmem_map_fileU);
	cr_assert_eq((void *)pmem_errormsg, (void *)pmem_errormsgU);
	cr_assert_eq((void *)pmem_check_version, (void *)pmem_check_versionU);
	files_begin("/tmp");
	p = pmem_map_file(file_path("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), 4096, PMEM_FILE_CREATE, 0600, &len, NULL);
	cr_assert(p != NULL && len == 4096);
	cr_assert_eq(pmem_unmap(p, len), 0);
	cr_assert(file_exists(file_path("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80")));
	cr_assert_null(pmem_check_version(1, 1));
	cr_assert_eq(pmem_check_version(3, 0), pmem_errormsg());
	files_end();
}

static const wchar_t *
wide_path(const wchar_t *name)
{
	static wchar_t path[300];
	size_t n = 0;

	for (; files_dir[n] != '\0'; n++)
		path[n] = files_dir[n];
	path[n++] = L'/';
	wcscpy(path + n, name);
	return path;
}

Test(api_pmem_uw, wide_paths_become_utf8)
{
	static const wchar_t name[] = {L'a', 0xe4, 0x20ac, 0x1f600, 0};
	int is_pmem = 67;
	size_t len = 0;
	void *p;

	files_begin("/tmp");
	p = pmem_map_fileW(wide_path(name), 5000, PMEM_FILE_CREATE | PMEM_FILE_EXCL, 0600, &len, &is_pmem);
	cr_assert_not_null(p, "%s", pmem_errormsgU());
	cr_assert(len == 5000 && is_pmem == 0);
	cr_assert_eq(pmem_unmap(p, len), 0);
	cr_assert_eq(file_stat(file_path("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80")).st_size, 5000);
	files_end();
}

Test(api_pmem_uw, what_is_no_text_is_refused)
{
	static const wchar_t bad[][3] = {{L'x', 0xd800, 0}, {0xdfff, 0, 0}, {0x110000, 0, 0}, {(wchar_t)-1, 0, 0}};
	static wchar_t longname[PATH_MAX + 10];

	files_begin("/tmp");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		errno = 0;
		cr_assert_null(pmem_map_fileW(wide_path(bad[i]), 4096, PMEM_FILE_CREATE, 0600, NULL, NULL));
		cr_assert_eq(errno, EINVAL);
		cr_assert_eq(entries_in_dir(), 0);
	}
	errno = 0;
	cr_assert_null(pmem_map_fileW(NULL, 0, 0, 0, NULL, NULL));
	cr_assert_eq(errno, EINVAL);
	wmemset(longname, L'n', PATH_MAX + 9);
	cr_assert_null(pmem_map_fileW(longname, 0, 0, 0, NULL, NULL));
	cr_assert_eq(errno, ENAMETOOLONG);
	cr_assert_null(pmem_map_fileU(NULL, 0, 0, 0, NULL, NULL));
	cr_assert_eq(errno, EINVAL);
	files_end();
}

Test(api_pmem_uw, wide_messages)
{
	static const wchar_t name[] = {0x20ac, 0};
	const wchar_t *message;

	cr_assert_eq(wcscmp(pmem_errormsgW(), L""), 0);
	cr_assert_null(pmem_check_versionW(1, 0));
	cr_assert_eq(wcscmp(pmem_check_versionW(2, 0), L"libpmem major version mismatch (need 2, found 1)"), 0);
	cr_assert_eq(pmem_errormsgW(), pmem_errormsgW());
	files_begin("/tmp");
	cr_assert_null(pmem_map_fileW(wide_path(name), 0, 0, 0, NULL, NULL));
	message = pmem_errormsgW();
	cr_assert_not_null(wcschr(message, 0x20ac));
	cr_assert_not_null(wcsstr(message, L"No such file"));
	/* bytes that are no UTF-8 are shown as U+FFFD, one each */
	cr_assert_null(pmem_map_file(file_path("\xff\xc0\xaf\xed\xa0\x80\xe2\x82" "end"), 0, 0, 0, NULL, NULL));
	message = wcschr(pmem_errormsgW(), 0xfffd);
	cr_assert_not_null(message);
	for (int i = 0; i < 8; i++)
		cr_assert_eq(message[i], 0xfffd, "%d: %x", i, (unsigned)message[i]);
	cr_assert_eq(wcsncmp(message + 8, L"end", 3), 0);
	files_end();
}
