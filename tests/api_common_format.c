/* api_common_format.c -- our formatter gives what snprintf(3) gives, in what it knows */
#include <criterion/criterion.h>

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "api/common/format.h"

#define SAME(...)                                                         \
	do {                                                              \
		char ours_[256], libc_[256];                              \
		int n_ = format(ours_, sizeof(ours_), __VA_ARGS__);       \
		int m_ = snprintf(libc_, sizeof(libc_), __VA_ARGS__);     \
                                                                          \
		cr_expect_str_eq(ours_, libc_);                           \
		cr_expect_eq(n_, m_);                                     \
	} while (0)

Test(api_common_format, numbers_of_every_length)
{
	SAME("%d %i %u %x %X", -5, INT_MIN, UINT_MAX, 0xbeefu, 0xBEEFu);
	SAME("%ld %li %lu %lx", LONG_MIN, LONG_MAX, ULONG_MAX, 0xdeadbeeful);
	SAME("%lld %llu %llx", LLONG_MIN, ULLONG_MAX, 1ull << 63);
	SAME("%hd %hu %hhd %hhu", (short)-3, (unsigned short)65535, (signed char)-128, (unsigned char)255);
	SAME("%zu %zd %jd %ju %td", SIZE_MAX, (ssize_t)-1, INTMAX_MIN, UINTMAX_MAX, (ptrdiff_t)-7);
	SAME("%d %u", 0, 0u);
}

Test(api_common_format, widths_and_flags)
{
	SAME("[%5d] [%-5d] [%05d] [%5d] [%05d]", 42, 42, 42, -42, -42);
	SAME("[%12llu] [%-12llu]", 123ull, 123ull);
	SAME("[%8s] [%-8s] [%s] [%.2s] [%.*s] [%-9s]", "abc", "abc", "abc", "abc", 1, "abc", "abc");
	SAME("[%*d] [%*d]", 6, 42, -6, 42);
	SAME("[%.*s]", -1, "whole");
	SAME("[%c] [%3c] [%-3c] 100%%", 'x', 'y', 'z');
}

Test(api_common_format, pointers)
{
	char text[64];
	int local;

	SAME("%p", (void *)&local);
	SAME("[%20p]", (void *)&local);
	cr_expect_eq(format(text, sizeof(text), "%p", NULL), 3);
	cr_expect_str_eq(text, "0x0");
}

Test(api_common_format, strings_that_are_not_there)
{
	const char *volatile none = NULL;
	char text[64];

	format(text, sizeof(text), "[%s]", none);
	cr_expect_str_eq(text, "[(null)]");
}

Test(api_common_format, text_is_cut_and_ended)
{
	char text[8];

	memset(text, 'x', sizeof(text));
	cr_expect_eq(format(text, 5, "%s", "abcdefgh"), 8);
	cr_expect_str_eq(text, "abcd");
	cr_expect_eq(text[5], 'x');
	cr_expect_eq(format(text, 1, "abc"), 3);
	cr_expect_str_eq(text, "");
	cr_expect_eq(format(NULL, 0, "%d", 12345), 5);
}

Test(api_common_format, what_is_not_known_stays)
{
	const char *volatile fmt = "%y %d %";
	char text[64];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
	format(text, sizeof(text), fmt, 7);
#pragma GCC diagnostic pop
	cr_expect_str_eq(text, "%y 7 %");
}
