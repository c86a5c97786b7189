/* cmd_map.c -- pmheap map: a picture of a pool
 *
 * Media:  reads, through the view.
 * Fails:  TOOL_NEGATIVE: the file cannot be looked at, its heap cannot be read, the picture cannot be written.
 */
#define _GNU_SOURCE
#include "api/tools/pmheap.h"

#include <errno.h>
#include <getopt.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/common/error.h"
#include "api/common/parse.h"
#include "api/pmemcto/view.h"
#include "api/tools/map.h"

#define SVG_WIDTH 1024u
#define SVG_WIDTH_MIN 256u
#define SVG_WIDTH_MAX 16384u
#define TEXT_WIDTH_MIN 8u
#define TEXT_WIDTH_MAX 1024u
#define TEXT_OFFSET 13u /* columns before the cells of a line */

static const char usage[] = "usage: pmheap map [-o FILE.svg] [-w WIDTH] [--color WHEN] FILE\n\n"
			    "Draws what lies where in the pool in FILE, lowest addresses first: slabs by the size of "
			    "their slots and how full\n"
			    "they are, large blocks, free pages, holes in the file.\n\n"
			    "  -o, --output FILE  writes an SVG picture; - is standard output\n"
			    "  -w, --width WIDTH  cells in a line [as many as the terminal has room for], or pixels of "
			    "the SVG picture [1024]\n"
			    "      --color WHEN   always, never, or auto: when standard output is a terminal, unless "
			    "NO_COLOR is set [auto]\n"
			    "  -h, --help         this text\n\n"
			    "Exit status: 0 it is drawn; 1 FILE cannot be read, or is damaged; 2 a bad command line.\n";

struct map {
	const char *path;
	const char *output; /* NULL: on the terminal */
	unsigned width;     /* 0: choose */
	enum { COLOUR_AUTO, COLOUR_ALWAYS, COLOUR_NEVER } colour;
};

static bool
parse_width(const char *text, unsigned *width)
{
	int value;

	if (!parse_int(text, &value) || value <= 0) {
		complain("map: bad width '%s': a number", text);
		return false;
	}
	*width = (unsigned)value;
	return true;
}

static bool
parse_colour(const char *text, struct map *map)
{
	if (strcmp(text, "auto") == 0)
		map->colour = COLOUR_AUTO;
	else if (strcmp(text, "always") == 0)
		map->colour = COLOUR_ALWAYS;
	else if (strcmp(text, "never") == 0)
		map->colour = COLOUR_NEVER;
	else {
		complain("map: no such choice of colour '%s' (always, never or auto)", text);
		return false;
	}
	return true;
}

static bool
valid(const struct map *map)
{
	unsigned least = map->output != NULL ? SVG_WIDTH_MIN : TEXT_WIDTH_MIN;
	unsigned most = map->output != NULL ? SVG_WIDTH_MAX : TEXT_WIDTH_MAX;

	if (map->width == 0 || (map->width >= least && map->width <= most))
		return true;
	complain("map: bad width '%u': from %u to %u", map->width, least, most);
	return false;
}

/* -1: go on; else the exit status. */
static int
parse_options(int argc, char **argv, struct map *map)
{
	static const struct option known[] = {
		{"output", required_argument, NULL, 'o'},
		{"width", required_argument, NULL, 'w'},
		{"color", required_argument, NULL, 'c' + 256},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":o:w:h", known, NULL)) != -1) {
		switch (c) {
		case 'o':
			map->output = optarg;
			break;
		case 'w':
			if (!parse_width(optarg, &map->width))
				return TOOL_USAGE;
			break;
		case 'c' + 256:
			if (!parse_colour(optarg, map))
				return TOOL_USAGE;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			complain_of_option("map", ":o:w:h", c, argv);
			return TOOL_USAGE;
		}
	}
	map->path = only_argument("map", "FILE", argc, argv);
	return map->path != NULL && valid(map) ? -1 : TOOL_USAGE;
}

/* --- on the terminal ------------------------------------------------------------------------------------------ */

/* A power of two, so that the lines begin at round offsets. */
static unsigned
choose_width(void)
{
	struct winsize size;
	unsigned columns = 80, width = TEXT_WIDTH_MIN;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0)
		columns = size.ws_col;
	while (width < 256 && width * 2 + TEXT_OFFSET <= columns)
		width *= 2;
	return width;
}

static bool
draw_text(const struct map *map, const struct cto_view *view, uint64_t *lost)
{
	const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
	bool terminal = isatty(STDOUT_FILENO) == 1;
	struct map_style style;

	style.colour = map->colour == COLOUR_ALWAYS ||
		(map->colour == COLOUR_AUTO && terminal && (no_colour == NULL || no_colour[0] == '\0') &&
		 term != NULL && strcmp(term, "dumb") != 0);
	setlocale(LC_CTYPE, "");
	style.unicode = (terminal || style.colour) && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	return map_text(view, map->path, map->width != 0 ? map->width : choose_width(), &style, stdout, lost);
}

/* --- to a file ------------------------------------------------------------------------------------------------ */

/* The picture would go over the pool. */
static bool
is_pool_file(const struct cto_view *view, const char *output)
{
	struct stat a, b;

	if (stat(output, &a) != 0)
		return false;
	for (size_t i = 0; i < view->parts.n; i++)
		if (stat(view->parts.part[i].file.path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
			return true;
	return false;
}

/* True, or it was said. */
static bool
draw_svg(const struct map *map, const struct cto_view *view, bool *memory, uint64_t *lost)
{
	bool to_stdout = strcmp(map->output, "-") == 0, good;
	unsigned width = map->width != 0 ? map->width : SVG_WIDTH;
	FILE *out;

	if (to_stdout) {
		*memory = map_svg(view, map->path, width, stdout, lost);
		return *memory;
	}
	if (is_pool_file(view, map->output)) {
		complain("map: '%s' is the pool itself", map->output);
		return false;
	}
	out = fopen(map->output, "we");
	if (out == NULL) {
		complain("map: cannot write '%s': %s", map->output, strerror(errno));
		return false;
	}
	*memory = map_svg(view, map->path, width, out, lost);
	good = !ferror(out);
	good &= fclose(out) == 0;
	if (!good)
		complain("map: cannot write '%s': %s", map->output, strerror(errno));
	return good && *memory;
}

static int
run(int argc, char **argv)
{
	static struct cto_view view;
	struct map map = {.path = NULL};
	int status = parse_options(argc, argv, &map);
	const char *fault;
	bool memory = true, good;
	uint64_t lost = 0;

	if (status >= 0)
		return status;
	if (cto_view_open(map.path, PARTS_READ, &view) != 0) {
		complain("map: %s", error_get());
		return TOOL_NEGATIVE;
	}
	fault = cto_view_fault(&view);
	if (picture_pages(&view) == 0) {
		complain("map: cannot read the heap of '%s': %s", map.path, fault);
		good = false;
	} else {
		good = map.output != NULL ? draw_svg(&map, &view, &memory, &lost)
					  : (memory = draw_text(&map, &view, &lost));
		if (!memory)
			complain("map: no memory for the picture");
		if (fault == NULL && lost != 0)
			fault = "pages of the heap are in use by nothing that can be read";
		if (good && fault != NULL && !view.open) {
			complain("map: '%s' is damaged: %s", map.path, fault);
			good = false;
		}
	}
	cto_view_close(&view);
	return good ? 0 : TOOL_NEGATIVE;
}

const struct command command_map = {"map", "draws a picture of a pool", run};
