/* parse.c -- see parse.h
 *
 * Owns:   nothing. No locale, no errno: it runs before other constructors.
 * Media:  process only.
 */
#include "api/common/parse.h"

#include <limits.h>
#include <stddef.h>

_Static_assert(PARSE_HUGE == LLONG_MAX, "sizes saturate at the largest long long");

/* Reads sign and digits; magnitude saturates. Returns where reading stopped, or NULL without a digit. */
static const char *
number(const char *s, bool *negative, unsigned long long *magnitude)
{
	while (*s == ' ' || (*s >= '\t' && *s <= '\r'))
		s++;
	*negative = *s == '-';
	*magnitude = 0;
	if (*s == '-' || *s == '+')
		s++;
	if (*s < '0' || *s > '9')
		return NULL;
	for (; *s >= '0' && *s <= '9'; s++) {
		if (__builtin_mul_overflow(*magnitude, 10u, magnitude) ||
		    __builtin_add_overflow(*magnitude, (unsigned)(*s - '0'), magnitude) || *magnitude > LLONG_MAX)
			*magnitude = LLONG_MAX;
	}
	return s;
}

static unsigned
suffix_shift(char c)
{
	switch (c) {
	case 'k': case 'K': return 10;
	case 'm': case 'M': return 20;
	case 'g': case 'G': return 30;
	case 't': case 'T': return 40;
	default: return 0;
	}
}

bool
parse_size(const char *text, long long *bytes)
{
	bool negative;
	unsigned long long magnitude;
	const char *s = number(text, &negative, &magnitude);

	*bytes = 0;
	if (s == NULL)
		return false;
	unsigned shift = suffix_shift(*s);
	if (shift != 0) {
		s++;
		if (s[0] == 'i' && s[1] == 'B')
			s += 2;
		else if (s[0] == 'B' || s[0] == 'b')
			s++;
	}
	if (*s != '\0')
		return false;
	if (magnitude > (unsigned long long)LLONG_MAX >> shift)
		magnitude = LLONG_MAX;
	else
		magnitude <<= shift;
	*bytes = negative ? -(long long)magnitude : (long long)magnitude;
	return true;
}

bool
parse_int(const char *text, int *value)
{
	bool negative;
	unsigned long long magnitude;
	const char *s = number(text, &negative, &magnitude);

	*value = 0;
	if (s == NULL || *s != '\0' || magnitude > INT_MAX)
		return false;
	*value = negative ? -(int)magnitude : (int)magnitude;
	return true;
}
