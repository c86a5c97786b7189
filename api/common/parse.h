/* parse.h -- the numbers in the environment and on pmheap's command line
 *
 * Grammar of a size: blanks, sign, decimal digits, then nothing or one of K M G T (1024 and up; either case), after
 * which "B" or "iB" may stand. Nothing may follow: where the published library took "16777216abc" for a number, this
 * one does not.
 */
#ifndef API_COMMON_PARSE_H
#define API_COMMON_PARSE_H

#include <stdbool.h>

/* Bytes, PARSE_HUGE when they exceed that; negative for a number below zero. False, and 0: not of the grammar. */
#define PARSE_HUGE __LONG_LONG_MAX__
bool parse_size(const char *text, long long *bytes);

/* Blanks, sign, decimal digits, nothing behind, within int. False, and 0: not of this form. */
bool parse_int(const char *text, int *value);

#endif
