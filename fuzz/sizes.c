/* sizes.c -- fuzz target: each grammar of numbers takes what its description says, and nothing else
 *
 * One input is one text, as it may stand in the environment (api/common/parse.h), on pmheap's command line
 * (api/tools/text.h) or in a pool set (api/common/poolset.h). Each parser is held against an extended regular expression
 * of its grammar, matched by libc, and arithmetic in 128 bits: written apart from the parsers, and slow.
 *
 *   N1  a text is taken exactly when it is of the grammar and its value is in range.
 *   N2  the value is that of the text; where the grammar saturates, the bound.
 *   N3  what is not taken leaves 0.
 */
#include <limits.h>
#include <regex.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/common/parse.h"
#include "api/common/poolset.h"
#include "api/tools/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST ((size_t)64) /* bytes of a text that are looked at */

#define REQUIRE(condition, text)                                                                                       \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "sizes: not so for \"%s\": %s\n", text, #condition);                           \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

enum { SIGN = 1, DIGITS, UNIT, GROUPS };

static regex_t signed_size, signed_int, set_size;

__attribute__((constructor)) static void
compile_grammars(void)
{
	static const char blanks[] = "^[ \t\n\v\f\r]*";
	char text[128];

	snprintf(text, sizeof(text), "%s([+-]?)([0-9]+)([kKmMgGtT]?(iB|B|b)?)$", blanks);
	if (regcomp(&signed_size, text, REG_EXTENDED) != 0)
		abort();
	snprintf(text, sizeof(text), "%s([+-]?)([0-9]+)()$", blanks);
	if (regcomp(&signed_int, text, REG_EXTENDED) != 0 ||
	    regcomp(&set_size, "^()([0-9]+)(B|[KMGTP]|[KMGTP]iB|[kMGTP]B)?$", REG_EXTENDED) != 0)
		abort();
}

/* The value of digits, less than 2^84: beyond every bound there is, and even so many TiB are a number of 128 bits. */
static __int128
value_of(const char *text, regmatch_t digits)
{
	__int128 value = 0;

	for (regoff_t i = digits.rm_so; i < digits.rm_eo; i++)
		if (value >> 80 == 0)
			value = value * 10 + (text[i] - '0');
	return value;
}

/* The power of `base` that the letter stands for. */
static __int128
unit_value(const char *letters, char letter, unsigned base)
{
	__int128 value = 1;
	const char *at = letter != '\0' ? strchr(letters, letter) : NULL;

	for (const char *c = letters; at != NULL && c <= at; c++)
		value *= base;
	return value;
}

static char
upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static void
check_environment_size(const char *text)
{
	regmatch_t part[GROUPS + 1];
	long long bytes = 4711;
	bool taken = parse_size(text, &bytes);
	bool is_size = regexec(&signed_size, text, GROUPS, part, 0) == 0;

	/* the B of bytes stands behind a unit only, the one thing the expression above does not say */
	if (is_size && strchr("iBb", text[part[UNIT].rm_so]) != NULL && text[part[UNIT].rm_so] != '\0')
		is_size = false;
	REQUIRE(taken == is_size, text);
	if (!taken) {
		REQUIRE(bytes == 0, text);
		return;
	}
	__int128 want = value_of(text, part[DIGITS]) * unit_value("KMGT", upper(text[part[UNIT].rm_so]), 1024);
	if (want > PARSE_HUGE)
		want = PARSE_HUGE;
	REQUIRE(bytes == (text[part[SIGN].rm_so] == '-' ? -want : want), text);
}

static void
check_int(const char *text)
{
	regmatch_t part[GROUPS + 1];
	int value = 4711;
	bool taken = parse_int(text, &value);
	bool is_int = regexec(&signed_int, text, GROUPS, part, 0) == 0;
	__int128 want = is_int ? value_of(text, part[DIGITS]) : 0;

	is_int = is_int && want <= INT_MAX;
	REQUIRE(taken == is_int, text);
	if (taken)
		REQUIRE(value == (text[part[SIGN].rm_so] == '-' ? -want : want), text);
	else
		REQUIRE(value == 0, text);
}

static bool
set_size_of(const char *text, __int128 *want)
{
	regmatch_t part[GROUPS + 1];

	*want = 0;
	if (regexec(&set_size, text, GROUPS, part, 0) != 0)
		return false;
	const char *unit = text + part[DIGITS].rm_eo;
	bool decimal = unit[0] != '\0' && unit[1] == 'B';
	__int128 factor = *unit == 'B' ? 1 : unit_value("KMGTP", upper(*unit), decimal ? 1000 : 1024);
	*want = value_of(text, part[DIGITS]);
	if (*want > INT64_MAX || factor > INT64_MAX)
		return false;
	*want *= factor;
	return *want > 0 && *want <= INT64_MAX;
}

static void
check_set_size(const char *text)
{
	uint64_t bytes = 4711;
	__int128 want;
	bool is_size = set_size_of(text, &want);
	bool taken = poolset_parse_size(text, strlen(text), &bytes) == NULL;

	REQUIRE(taken == is_size, text);
	REQUIRE(!taken || bytes == want, text);
}

/* The same grammar, but that a letter alone may be a small one; what the tool writes is short and begins with digits. */
static void
check_tool_size(const char *text)
{
	size_t n = strlen(text);
	char copy[MOST + 1], shown[TEXT_SIZE_MAX];
	uint64_t bytes = 4711;
	__int128 want;

	strcpy(copy, text);
	if (n > 1 && strchr("kmgtp", text[n - 1]) != NULL && strspn(text, "0123456789") == n - 1)
		copy[n - 1] = upper(text[n - 1]);
	bool is_size = set_size_of(copy, &want) && n < TEXT_SIZE_MAX;
	bool taken = text_parse_size(text, &bytes);
	REQUIRE(taken == is_size, text);
	if (!taken)
		return;
	REQUIRE(bytes == want, text);
	text_size(shown, bytes);
	REQUIRE(strspn(shown, "0123456789") > 0 && strtoull(shown, NULL, 10) <= bytes && strlen(shown) < TEXT_SIZE_MAX,
		text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[MOST + 1];
	size_t n = size < MOST ? size : MOST;

	if (n > 0)
		memcpy(text, data, n);
	text[n] = '\0';
	check_environment_size(text);
	check_int(text);
	check_set_size(text);
	check_tool_size(text);
	return 0;
}
