/* pmheap.c -- the pmheap tool: finds the command and hands over
 *
 * Owns:   the table of commands.
 * Media:  none.
 * Fails:  TOOL_USAGE, or TOOL_NEGATIVE when standard output cannot be written, and a line on stderr.
 */
#include "api/tools/pmheap.h"

#include <stdio.h>
#include <string.h>

#include "api/include/libvmmalloc.h"

/* As `pmheap --help` lists them. */
static const struct command *const commands[] = {
	&command_run, &command_create, &command_info, &command_check, &command_map, &command_dump, &command_rm,
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

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
