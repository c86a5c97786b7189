/* say.c -- what the commands of pmheap say, and ask, in the same way
 *
 * Media:  none.
 * Fails:  never; no answer is no consent.
 */
#include "api/tools/pmheap.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void
complain(const char *fmt, ...)
{
	va_list ap;

	fputs("pmheap: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void
complain_of_option(const char *command, const char *known, int c, char **argv)
{
	const char *word = argv[optind - 1];
	bool is_long = strncmp(word, "--", 2) == 0;

	if (c == ':')
		complain("%s: option '%s' needs a value (see pmheap %s --help)", command, word, command);
	else if (is_long && optopt != 0 && (optopt > 127 || strchr(known, optopt) != NULL))
		complain("%s: option '%s' takes no value (see pmheap %s --help)", command, word, command);
	else if (optopt == 0)
		complain("%s: unknown option '%s' (see pmheap %s --help)", command, word, command);
	else
		complain("%s: unknown option '-%c' (see pmheap %s --help)", command, optopt, command);
}

const char *
only_argument(const char *command, const char *what, int argc, char **argv)
{
	if (optind == argc)
		complain("%s: no %s given (see pmheap %s --help)", command, what, command);
	else if (optind + 1 < argc)
		complain("%s: one %s only, what is '%s'? (see pmheap %s --help)", command, what, argv[optind + 1],
			 command);
	else
		return argv[optind];
	return NULL;
}

bool
confirm(const char *fmt, ...)
{
	char answer[80];
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}
