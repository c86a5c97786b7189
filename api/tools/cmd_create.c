/* cmd_create.c -- pmheap create: a pool made, empty and closed
 *
 * Rules:  N1  what can be known to be wrong is said before anything is removed (--force) or made.
 *         N2  the library makes the pool: what it refuses is refused here, in its words.
 * Media:  by pmemcto_create() and pmemcto_close().
 * Fails:  TOOL_NEGATIVE; no file is left that was not there.
 */
#define _GNU_SOURCE
#include "api/tools/pmheap.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "api/common/error.h"
#include "api/include/libpmemcto.h"
#include "api/pmemcto/set.h"
#include "api/pmemcto/view.h"
#include "api/tools/remove.h"
#include "api/tools/text.h"

#define DEFAULT_MODE 0664u /* less what the umask takes */

static const char usage[] =
	"usage: pmheap create [-s SIZE | -M] [-l LAYOUT] [-m MODE] [-i FILE] [-fv] FILE\n\n"
	"Makes an empty pool for libpmemcto, closed, all its space reserved.\n\n"
	"  -s, --size SIZE      bytes, or with K, M, G, T, P behind it; at least 16M [16M]\n"
	"  -M, --max-size       as large as what is free in the file system\n"
	"  -l, --layout LAYOUT  name that programs give to open it, up to 1023 bytes [\"\"]\n"
	"  -m, --mode MODE      permissions, octal, whatever the umask [0664 less the umask]\n"
	"  -i, --inherit FILE   layout and size of that pool, where they are not given\n"
	"  -f, --force          removes a pool that is there, if it is not open\n"
	"  -v, --verbose        says what was made\n"
	"  -h, --help           this text\n\n"
	"A FILE that is there must begin with 4096 zeros, and says the size itself: then, and of a pool set, no size "
	"is\n"
	"given. Exit status: 0 it is made; 1 it is not; 2 a bad command line.\n";

struct create {
	const char *path;
	const char *size_text; /* NULL: not given */
	const char *inherit;   /* NULL: from nobody */
	const char *layout;    /* NULL: not given */
	bool max, force, verbose;
	bool is_set;
	mode_t mode;
	uint64_t size; /* 0: that of the file or files that are there */
	char inherited[POOL_LAYOUT_SIZE];
};

/* --- options -------------------------------------------------------------------------------------------------- */

static bool
parse_mode(const char *text, mode_t *mode)
{
	char *end;
	unsigned long value;

	if (text[0] < '0' || text[0] > '7')
		return false;
	value = strtoul(text, &end, 8);
	*mode = (mode_t)value;
	return *end == '\0' && value <= 0777;
}

static bool
valid(const struct create *create)
{
	if (create->size_text != NULL && create->max) {
		complain("create: --size and --max-size do not go together");
		return false;
	}
	if (create->layout != NULL && strlen(create->layout) >= PMEMCTO_MAX_LAYOUT) {
		complain("create: the layout '%.20s...' has %zu bytes, at most %zu can be stored", create->layout,
			 strlen(create->layout), PMEMCTO_MAX_LAYOUT - 1);
		return false;
	}
	return true;
}

/* -1: go on; else the exit status. */
static int
parse_options(int argc, char **argv, struct create *create)
{
	static const struct option known[] = {
		{"size", required_argument, NULL, 's'},
		{"max-size", no_argument, NULL, 'M'},
		{"layout", required_argument, NULL, 'l'},
		{"mode", required_argument, NULL, 'm'},
		{"inherit", required_argument, NULL, 'i'},
		{"force", no_argument, NULL, 'f'},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":s:Ml:m:i:fvh", known, NULL)) != -1) {
		switch (c) {
		case 's':
			create->size_text = optarg;
			if (!text_parse_size(optarg, &create->size)) {
				complain("create: bad size '%s': a number of bytes, or with K, M, G, T or P behind it",
					 optarg);
				return TOOL_USAGE;
			}
			if (create->size / HEAP_PAGE * HEAP_PAGE < PMEMCTO_MIN_POOL) {
				complain("create: size '%s' is too small: a pool has at least %zuM", optarg,
					 PMEMCTO_MIN_POOL >> 20);
				return TOOL_USAGE;
			}
			break;
		case 'M':
			create->max = true;
			break;
		case 'l':
			create->layout = optarg;
			break;
		case 'm':
			if (!parse_mode(optarg, &create->mode)) {
				complain("create: bad mode '%s': octal digits, at most 777", optarg);
				return TOOL_USAGE;
			}
			break;
		case 'i':
			create->inherit = optarg;
			break;
		case 'f':
			create->force = true;
			break;
		case 'v':
			create->verbose = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			complain_of_option("create", ":s:Ml:m:i:fvh", c, argv);
			return TOOL_USAGE;
		}
	}
	create->path = only_argument("create", "FILE", argc, argv);
	return create->path != NULL && valid(create) ? -1 : TOOL_USAGE;
}

/* --- what is not given ---------------------------------------------------------------------------------------- */

static bool
inherit(struct create *create)
{
	static struct cto_view view;
	const char *fault;

	if (cto_view_open(create->inherit, PARTS_READ, &view) != 0) {
		complain("create: cannot inherit: %s", error_get());
		return false;
	}
	fault = view.fault[VIEW_HEADER] != NULL ? view.fault[VIEW_HEADER] : view.fault[VIEW_DESC];
	if (fault != NULL) {
		complain("create: cannot inherit from '%s': %s", create->inherit, fault);
	} else {
		memcpy(create->inherited, view.front.desc.layout, sizeof(create->inherited));
		if (create->layout == NULL)
			create->layout = create->inherited;
		if (create->size == 0 && !create->max)
			create->size = view.front.desc.size;
	}
	cto_view_close(&view);
	return fault == NULL;
}

/* What is free for us in the file system that the path is in. */
static bool
free_space(const char *path, uint64_t *bytes)
{
	const char *slash = strrchr(path, '/');
	struct statvfs vfs;
	char dir[PATH_MAX];

	if (slash == NULL)
		snprintf(dir, sizeof(dir), ".");
	else
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path + (slash == path)), path);
	if (statvfs(dir, &vfs) != 0) {
		complain("create: cannot tell what is free in '%s': %s", dir, strerror(errno));
		return false;
	}
	*bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize / HEAP_PAGE * HEAP_PAGE;
	if (*bytes < PMEMCTO_MIN_POOL) {
		complain("create: only %" PRIu64 " bytes are free in '%s': a pool has at least %zuM", *bytes, dir,
			 PMEMCTO_MIN_POOL >> 20);
		return false;
	}
	return true;
}

/* False, and said: a size is given that the file or set knows itself. What --force removes is not there any more then. */
static bool
choose_size(struct create *create)
{
	struct stat st;
	struct set set = { 0 };
	bool there = stat(create->path, &st) == 0 || errno != ENOENT;

	if (there && set_load(create->path, &set) != 0) {
		complain("create: %s", error_get());
		return false;
	}
	create->is_set = set.is_set;
	set_unload(&set);
	if (!create->is_set && (create->force || !there)) {
		if (create->size == 0 && !create->max)
			create->size = PMEMCTO_MIN_POOL;
		return true;
	}
	if (create->size_text != NULL || create->max) {
		complain("create: '%s' is %s: its size is not to be given", create->path,
			 create->is_set ? "a pool set, which has the sizes" : "there (--force removes a pool)");
		return false;
	}
	create->size = 0;
	return true;
}

/* --- the pool ------------------------------------------------------------------------------------------------- */

/* With --max-size a file system may need some of what is free for itself, to say where the file's blocks are: a little
 * less is tried then. */
static PMEMctopool *
make(struct create *create)
{
	PMEMctopool *pool;
	uint64_t step;

	if (create->max && !free_space(create->path, &create->size))
		return NULL;
	step = create->size / 256;
	for (int tries = 0;; tries++) {
		pool = pmemcto_create(create->path, create->layout, create->size, create->mode);
		if (pool != NULL || !create->max || errno != ENOSPC || tries == 16 ||
		    create->size - step < PMEMCTO_MIN_POOL)
			break;
		create->size = (create->size - step) / HEAP_PAGE * HEAP_PAGE;
	}
	if (pool == NULL)
		complain("create: cannot make '%s': %s", create->path, pmemcto_errormsg());
	return pool;
}

static void
tell(const struct create *create)
{
	char text[TEXT_SIZE_MAX];
	struct stat st;

	printf("created '%s': ", create->path);
	if (create->is_set)
		printf("pool set, ");
	else if (stat(create->path, &st) == 0)
		printf("%s (%" PRIu64 " bytes), mode %04o, ", text_size(text, (uint64_t)st.st_size),
		       (uint64_t)st.st_size, (unsigned)st.st_mode & 07777);
	printf("layout ");
	text_print_quoted(stdout, (const uint8_t *)(create->layout != NULL ? create->layout : ""), POOL_LAYOUT_SIZE);
	putchar('\n');
}

static int
run(int argc, char **argv)
{
	struct create create = {.mode = (mode_t)-1};
	struct removal removal = {.command = "create", .missing_is_fine = true};
	int status = parse_options(argc, argv, &create);
	PMEMctopool *pool;

	if (status >= 0)
		return status;
	if (create.mode == (mode_t)-1) {
		mode_t mask = umask(0);

		umask(mask);
		create.mode = DEFAULT_MODE & ~mask;
	}
	if (create.inherit != NULL && !inherit(&create))
		return TOOL_NEGATIVE;
	if (!choose_size(&create) || (create.force && remove_pool(&removal, create.path) != 0))
		return TOOL_NEGATIVE;
	pool = make(&create);
	if (pool == NULL)
		return TOOL_NEGATIVE;
	errno = 0;
	pmemcto_close(pool);
	if (errno != 0) {
		complain("create: '%s' is made, but not closed: %s", create.path, pmemcto_errormsg());
		return TOOL_NEGATIVE;
	}
	if (create.verbose)
		tell(&create);
	return 0;
}

const struct command command_create = {"create", "makes an empty pool", run};
