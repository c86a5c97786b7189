/* pmheap.h -- what the commands of the pmheap tool share
 *
 * A command gets its own words only: argv[0] is the command's name. It returns the exit status of the process. Own
 * failures are TOOL_FAILED, as env(1) has it, so that they can be told from those of a program that was run.
 */
#ifndef API_TOOLS_PMHEAP_H
#define API_TOOLS_PMHEAP_H

enum {
	TOOL_FAILED = 125,
	TOOL_CANNOT_EXECUTE = 126,
	TOOL_NOT_FOUND = 127,
};

struct command {
	const char *name;
	const char *summary; /* one line for `pmheap --help` */
	int (*run)(int argc, char **argv);
};

extern const struct command command_run;

/* "pmheap: " text newline on stderr. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
