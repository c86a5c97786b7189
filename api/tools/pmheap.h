/* pmheap.h -- what the commands of the pmheap tool share
 *
 * A command gets its own words only: argv[0] is the command's name. It returns the exit status of the process: 0, or
 * TOOL_NEGATIVE and TOOL_USAGE after a line on stderr. Only `run`, whose other statuses are those of a program, has
 * numbers of its own, as env(1) has them.
 */
#ifndef API_TOOLS_PMHEAP_H
#define API_TOOLS_PMHEAP_H

#include <stdbool.h>

enum {
	TOOL_NEGATIVE = 1, /* it could not be done, or the answer is no */
	TOOL_USAGE = 2,    /* the command line makes no sense */
	TOOL_FAILED = 125,
	TOOL_CANNOT_EXECUTE = 126,
	TOOL_NOT_FOUND = 127,
};

struct command {
	const char *name;
	const char *summary; /* one line for `pmheap --help` */
	int (*run)(int argc, char **argv);
};

extern const struct command command_check, command_create, command_dump, command_info, command_map, command_rm, command_run;

/* --- say.c ------------------------------------------------------------------------------------------------------ */

/* "pmheap: " text newline on stderr. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* After getopt_long(), called with a `known` that begins with ':' and opterr 0, returned `c`, which is ':' or '?': says
 * what is wrong with the option. */
void complain_of_option(const char *command, const char *known, int c, char **argv);

/* The one argument behind the options, which `what` names. NULL, and said: there is none, or more. */
const char *only_argument(const char *command, const char *what, int argc, char **argv);

/* Asks on stdout, reads a line from stdin. True: it begins with y or Y. */
bool confirm(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
