/* cmd_rm.c -- pmheap rm: pools taken away
 *
 * Media:  none left.
 * Fails:  TOOL_NEGATIVE when one of the pools stays; the others are gone.
 */
#include "api/tools/pmheap.h"

#include <getopt.h>
#include <stdio.h>

#include "api/tools/remove.h"

static const char usage[] =
	"usage: pmheap rm [-afiv] FILE...\n\n"
	"Removes pools. One that a program has open stays, whatever is asked for. Of a pool set the parts go.\n\n"
	"  -a, --all          the set file goes as well\n"
	"  -f, --force        a FILE that is missing is no failure; one that is no pool goes too\n"
	"  -i, --interactive  asks before each\n"
	"  -v, --verbose      says what went\n"
	"  -h, --help         this text\n\n"
	"Exit status: 0 all are gone, or were to be kept; 1 one of them had to stay; 2 a bad command line.\n";

static int
run(int argc, char **argv)
{
	static const struct option known[] = {
		{"all", no_argument, NULL, 'a'},         {"force", no_argument, NULL, 'f'},
		{"interactive", no_argument, NULL, 'i'}, {"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0},
	};
	struct removal how = {.command = "rm"};
	int c, status = 0;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":afivh", known, NULL)) != -1) {
		switch (c) {
		case 'a':
			how.set_file = true;
			break;
		case 'f':
			how.missing_is_fine = how.any_file = true;
			break;
		case 'i':
			how.ask = true;
			break;
		case 'v':
			how.verbose = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			complain_of_option("rm", ":afivh", c, argv);
			return TOOL_USAGE;
		}
	}
	if (optind == argc) {
		complain("rm: no FILE given (see pmheap rm --help)");
		return TOOL_USAGE;
	}
	for (int i = optind; i < argc; i++)
		if (remove_pool(&how, argv[i]) != 0)
			status = TOOL_NEGATIVE;
	return status;
}

const struct command command_rm = {"rm", "removes pools that are not open", run};
