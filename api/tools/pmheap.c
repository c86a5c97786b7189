/* pmheap.c -- the pmheap tool: finds the command and hands over
 *
 * Owns:   the table of commands; what all of them say in the same way.
 * Media:  none.
 * Fails:  TOOL_USAGE, or TOOL_NEGATIVE when standard output cannot be written, and a line on stderr.
 */
#include "api/tools/pmheap.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/include/libvmmalloc.h"

/* As `pmheap --help` lists them. */
static const struct command *const commands[] = {
	&command_run, &command_create, &command_info, &command_check, &command_map, &command_dump, &command_rm,
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

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

static void
help(FILE *stream)
{
	fputs("usage: pmheap COMMAND [ARGUMENT...]\n"
	      "       pmheap --help | --version\n\n"
	      "Commands (`pmheap COMMAND --help` says more):\n",
	      stream);
	for (size_t i = 0; i < NCOMMANDS; i++)
		fprintf(stream, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
}

/* Output that could not be written is a failure too. */
static int
flushed(void)
{
	bool bad = fflush(stdout) != 0 || ferror(stdout);

	if (bad)
		complain("cannot write to standard output");
	return bad ? TOOL_NEGATIVE : 0;
}

int
main(int argc, char **argv)
{
	if (argc < 2) {
		help(stderr);
		return TOOL_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		help(stdout);
		return flushed();
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("pmheap %d.%d\n", VMMALLOC_MAJOR_VERSION, VMMALLOC_MINOR_VERSION);
		return flushed();
	}
	for (size_t i = 0; i < NCOMMANDS; i++) {
		if (strcmp(argv[1], commands[i]->name) == 0) {
			int status = commands[i]->run(argc - 1, argv + 1);

			return status != 0 ? status : flushed();
		}
	}
	if (argv[1][0] == '-')
		complain("unknown option '%s' (see pmheap --help)", argv[1]);
	else
		complain("unknown command '%s' (see pmheap --help)", argv[1]);
	return TOOL_USAGE;
}
