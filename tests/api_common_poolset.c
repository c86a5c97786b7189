/* api_common_poolset.c -- the grammar of set files, row by row; any bytes can be given */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api/common/poolset.h"

#define FIRST "PMEMPOOLSET\n"

static struct poolset set;
static struct poolset_fault fault;

/* The text at the end of a page behind which there is nothing. */
static const char *
parse(const char *text, size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (n + page - 1) & ~(page - 1);
	char *p = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static char *last;
	static size_t last_size;

	cr_assert(p != MAP_FAILED);
	mprotect(p + room, page, PROT_NONE);
	memcpy(p + room - n, text, n);
	if (last != NULL)
		munmap(last, last_size);
	last = p; /* words point into it until the next call */
	last_size = room + page;
	memset((void *)&set, 0xa5, sizeof(set));
	return poolset_parse(p + room - n, n, &set, &fault);
}

static void
good(const char *text)
{
	const char *what = parse(text, strlen(text));

	cr_assert_null(what, "%s: \"%.*s\" in line %u of\n%s", what, (int)fault.value.length, fault.value.at,
		       fault.line, text);
}

static void
bad(const char *text, unsigned line, const char *value)
{
	const char *what = parse(text, strlen(text));

	cr_assert_not_null(what, "good:\n%s", text);
	cr_expect_eq(fault.line, line, "line %u instead of %u: %s in\n%s", fault.line, line, what, text);
	cr_expect(fault.value.length == strlen(value) && memcmp(fault.value.at, value, strlen(value)) == 0,
		  "value \"%.*s\" instead of \"%s\": %s", (int)fault.value.length, fault.value.at, value, what);
}

static void
part_is(size_t i, uint64_t size, const char *path, unsigned line)
{
	cr_assert_lt(i, set.nparts);
	cr_expect_eq(set.part[i].size, size, "%llu", (unsigned long long)set.part[i].size);
	cr_expect_eq(set.part[i].line, line);
	cr_expect(set.part[i].path.length == strlen(path) && memcmp(set.part[i].path.at, path, strlen(path)) == 0);
}

Test(api_common_poolset, parts_in_their_order)
{
	good(FIRST "20M /a\n100M /b/c\n\t 2097152  \t/d \t\nAUTO /dev/dax0.0");
	cr_assert_eq(set.nparts, 4);
	part_is(0, 20 << 20, "/a", 2);
	part_is(1, 100 << 20, "/b/c", 3);
	part_is(2, 2097152, "/d", 4);
	part_is(3, POOLSET_AUTO, "/dev/dax0.0", 5);
	cr_expect(!set.single_header && !set.no_headers && !set.replicas);
}

Test(api_common_poolset, the_first_line_is_the_signature_alone)
{
	static const char *const first[] = {
		"",
		"P",
		"PMEMPOOLSE",
		"PMEMPOOLSET",
		"PMEMPOOLSET ",
		"PMEMPOOLSET \n",
		"PMEMPOOLSETS\n",
		" PMEMPOOLSET\n",
		"pmempoolset\n",
		"PMEMPOOLSET\t\n",
		"PMEMPOOLSET#\n",
		"PMEMPOOLSET\r",
		"PMEMPOOLSET\r\r\n",
		"\nPMEMPOOLSET\n",
	};
	char text[64];

	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		snprintf(text, sizeof(text), "%s%s", first[i], strchr(first[i], '\n') != NULL ? "20M /a\n" : "");
		cr_expect_not_null(parse(text, strlen(text)), "good: \"%s\"", text);
		cr_expect_leq(fault.line, 1);
	}
}

Test(api_common_poolset, begins_looks_at_eleven_bytes)
{
	cr_expect(poolset_begins("PMEMPOOLSET", 11));
	cr_expect(poolset_begins("PMEMPOOLSETS", 12));
	cr_expect_not(poolset_begins("PMEMPOOLSET", 10));
	cr_expect_not(poolset_begins("PMEMPOOLSES", 11));
}

Test(api_common_poolset, empty_lines_and_comments)
{
	good(FIRST "\n# 3M relative\n20M /a# b c d\n  \t \n \t# x\n#\n\n21M\t/b #\n#");
	cr_assert_eq(set.nparts, 2);
	part_is(0, 20 << 20, "/a", 4);
	part_is(1, 21 << 20, "/b", 9);
}

Test(api_common_poolset, lines_may_end_in_crlf)
{
	good("PMEMPOOLSET\r\n\r\n20M /a\r\nOPTION SINGLEHDR\r\n# c\r\n21M /b\r\n");
	cr_assert_eq(set.nparts, 2);
	part_is(1, 21 << 20, "/b", 6);
	cr_expect(set.single_header);
}

Test(api_common_poolset, units)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} sizes[] = {
		{"1", 1},
		{"007", 7},
		{"1B", 1},
		{"3K", 3072},
		{"3M", UINT64_C(3) << 20},
		{"3G", UINT64_C(3) << 30},
		{"3T", UINT64_C(3) << 40},
		{"3P", UINT64_C(3) << 50},
		{"3KiB", 3072},
		{"3MiB", UINT64_C(3) << 20},
		{"3GiB", UINT64_C(3) << 30},
		{"3TiB", UINT64_C(3) << 40},
		{"3PiB", UINT64_C(3) << 50},
		{"3kB", 3000},
		{"3MB", 3000000},
		{"3GB", UINT64_C(3000000000)},
		{"3TB", UINT64_C(3000000000000)},
		{"3PB", UINT64_C(3000000000000000)},
		{"9223372036854775807", INT64_MAX},
		{"8191P", UINT64_C(8191) << 50},
	};
	char text[80];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		snprintf(text, sizeof(text), FIRST "%s /a\n", sizes[i].text);
		good(text);
		part_is(0, sizes[i].bytes, "/a", 2);
	}
}

Test(api_common_poolset, sizes_that_are_none)
{
	static const char *const sizes[] = {
		"20m",
		"1.5G",
		"20X",
		"0",
		"0M",
		"-1",
		"+1",
		"0x10",
		"M",
		"1k",
		"1KB",
		"1kiB",
		"1Kib",
		"1MIB",
		"1Mi",
		"1b",
		"1BB",
		"1KiBB",
		"1E",
		"1EiB",
		"auto",
		"AUTO1",
		"9223372036854775808",
		"18446744073709551616",
		"99999999999999999999999999999",
		"8192P",
		"9000000000000000000K",
		"18446744073709551615PiB",
		"1,5",
		"SIZE",
		"1iB",
		"1i",
		"1 M",
	};
	char text[80];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		snprintf(text, sizeof(text), FIRST "20M /x\n%s /a\n", sizes[i]);
		bad(text, 3, strchr(sizes[i], ' ') != NULL ? "M" : sizes[i]);
	}
}

Test(api_common_poolset, paths_are_absolute_and_one_word)
{
	bad(FIRST "20M a\n", 2, "a");
	bad(FIRST "20M ./a\n", 2, "./a");
	bad(FIRST "\n20M /a b\n", 3, "b");
	bad(FIRST "20M /a /b\n", 2, "/b");
	bad(FIRST "20M\n", 2, "20M");
	bad(FIRST "20M \t#/a\n", 2, "20M");
	bad(FIRST "/a 20M\n", 2, "/a");
	bad(FIRST "/a\n", 2, "/a");
	good(FIRST "20M /\xc3\xa4\"'\\$x\n"); /* bytes are bytes */
}

Test(api_common_poolset, options)
{
	good(FIRST "OPTION SINGLEHDR\n20M /a\n");
	cr_expect(set.single_header && !set.no_headers);
	good(FIRST "20M /a\nOPTION\tNOHDRS # x\n20M /b\n");
	cr_expect(!set.single_header && set.no_headers);
	cr_expect_eq(set.nparts, 2);
	good(FIRST "OPTION  SINGLEHDR \t NOHDRS\n20M /a\n");
	cr_expect(set.single_header && set.no_headers);
	good(FIRST "OPTION SINGLEHDR\nOPTION SINGLEHDR\n20M /a\n");
	good(FIRST "OPTIONSINGLEHDR\n20M /a\n"); /* the published library takes it */
	cr_expect(set.single_header);
	bad(FIRST "OPTION\n20M /a\n", 2, "");
	bad(FIRST "OPTION # SINGLEHDR\n20M /a\n", 2, "");
	bad(FIRST "20M /a\nOPTION SINGLEHDR singlehdr\n", 3, "singlehdr");
	bad(FIRST "OPTIONS SINGLEHDR\n20M /a\n", 2, "S");
	bad(FIRST "OPTION SINGLEHDRS\n20M /a\n", 2, "SINGLEHDRS");
	bad(FIRST "option SINGLEHDR\n20M /a\n", 2, "option");
	bad(FIRST "OPTION SINGLEHDR\n", 2, ""); /* no parts */
}

Test(api_common_poolset, replicas)
{
	good(FIRST "20M /a\nREPLICA\n20M /b\n21M /c\nREPLICA\n20M /d\n");
	cr_expect(set.replicas);
	cr_expect_eq(set.nparts, 1, "those of the pool itself");
	good(FIRST "20M /a\nREPLICA host set\n");
	cr_expect(set.replicas);
	good(FIRST "20M /a\nREPLICA host set\nREPLICA\n20M /b\nOPTION SINGLEHDR\nREPLICA me@host\tset # x");
	cr_expect(set.replicas && set.single_header);
	bad(FIRST "REPLICA\n20M /a\n", 2, "");
	bad(FIRST "REPLICA host set\n20M /a\n", 2, "");
	bad(FIRST "20M /a\nREPLICA\n", 3, "");
	bad(FIRST "20M /a\nREPLICA\nREPLICA\n20M /b\n", 4, "");
	bad(FIRST "20M /a\nREPLICA\n\nREPLICA host set\n", 5, "");
	bad(FIRST "20M /a\nREPLICAx\n20M /b\n", 3, "REPLICAx");
	bad(FIRST "20M /a\nREPLICA host\n20M /b\n", 3, "host");
	bad(FIRST "20M /a\nREPLICA host set more\n20M /b\n", 3, "more");
	bad(FIRST "20M /a\nREPLICA host set\n20M /b\n", 4, "/b");
	bad(FIRST "20M /a\nREPLICA\n20m /b\n", 4, "20m"); /* judged, though not used */
}

Test(api_common_poolset, a_set_has_parts)
{
	bad(FIRST, 1, "");
	bad(FIRST "\n# nothing\n", 3, "");
}

Test(api_common_poolset, bytes_of_value_0_are_refused_outside_of_comments)
{
	static const char in_path[] = FIRST "20M /a\0b\n", in_comment[] = FIRST "20M /a # \0\n",
			  alone[] = FIRST "20M /a\n\0";

	cr_expect_not_null(parse(in_path, sizeof(in_path) - 1));
	cr_expect_eq(fault.line, 2);
	cr_expect_null(parse(in_comment, sizeof(in_comment) - 1));
	cr_expect_not_null(parse(alone, sizeof(alone) - 1));
	cr_expect_eq(fault.line, 3);
}

Test(api_common_poolset, no_more_than_1024_parts)
{
	size_t n = 12;
	char *text = malloc(12 + 1025 * 8 + 1);

	memcpy(text, FIRST, 13);
	for (int i = 0; i < 1024; i++)
		n += (size_t)sprintf(text + n, "2M /%03x\n", i);
	good(text);
	cr_expect_eq(set.nparts, 1024);
	part_is(1023, 2 << 20, "/3ff", 1025);
	sprintf(text + n, "2M /x\n");
	bad(text, 1026, "/x");
	free(text);
}

Test(api_common_poolset, no_more_than_a_mebibyte)
{
	char *text = malloc(POOLSET_MAX_TEXT + 1);

	memset(text, '#', POOLSET_MAX_TEXT + 1);
	memcpy(text, FIRST "2M /a\n", 18);
	cr_expect_null(parse(text, POOLSET_MAX_TEXT));
	cr_expect_not_null(parse(text, POOLSET_MAX_TEXT + 1));
	free(text);
}
