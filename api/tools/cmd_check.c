/* cmd_check.c -- pmheap check: is a pool whole, and can it be made so
 *
 * Rules:  K1  judging and trying out happen in private mappings: nothing of the files changes before the person, or --yes,
 *             has said so, and without --repair not even the right to write is needed.
 *         K2  what a repair would do is known before it is asked for: it was done once, privately.
 *         K3  from the judgement to the end the pool is locked, so that what was judged is what is repaired.
 * Media:  through api/pmemcto/repair.c.
 * Fails:  TOOL_NEGATIVE, and on stdout or stderr why.
 */
#include "api/tools/pmheap.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/common/error.h"
#include "api/pmemcto/repair.h"
#include "api/tools/backup.h"
#include "api/tools/json.h"
#include "api/tools/progress.h"
#include "api/tools/text.h"

static const char usage[] =
	"usage: pmheap check [--json] FILE\n"
	"       pmheap check --repair [--dry-run | --yes] [--backup COPY] [--json] FILE\n\n"
	"Looks at every page of the pool in FILE, and says whether it is consistent. Read permission is enough.\n\n"
	"  -r, --repair       a pool that is not consistent is made so, from what is certain in it; asks before\n"
	"  -n, --dry-run      with --repair: only says what that would do\n"
	"  -y, --yes          with --repair: does not ask\n"
	"  -b, --backup COPY  with --repair: copies FILE before, to a new file\n"
	"      --json         the result as one JSON object\n"
	"  -h, --help         this text\n\n"
	"FILE is a pool or a pool set. A pool that a program has open is refused.\n"
	"Exit status: 0 the pool is consistent, or was repaired; 1 it is not, or cannot be looked at; 2 a bad command "
	"line.\n";

struct check {
	const char *path;
	bool repair, dry_run, yes, json;
	const char *backup; /* or NULL */
	struct cto_view view;
	struct progress progress;
	bool progressing;
	/* what was found */
	char why[256];   /* empty: consistent */
	bool repairable; /* known when it is not consistent */
	bool repaired;
	char obstacle[256]; /* not repairable: why */
	struct cto_repair_report report;
};

/* --- options --------------------------------------------------------------------------------------------------- */

/* -1: go on; else the exit status. */
static int
parse_options(int argc, char **argv, struct check *check)
{
	static const struct option known[] = {
		{"repair", no_argument, NULL, 'r'},
		{"dry-run", no_argument, NULL, 'n'},
		{"yes", no_argument, NULL, 'y'},
		{"backup", required_argument, NULL, 'b'},
		{"json", no_argument, NULL, 'j' + 0x100},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":rnyb:h", known, NULL)) != -1) {
		switch (c) {
		case 'r':
			check->repair = true;
			break;
		case 'n':
			check->dry_run = true;
			break;
		case 'y':
			check->yes = true;
			break;
		case 'b':
			check->backup = optarg;
			break;
		case 'j' + 0x100:
			check->json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			complain_of_option("check", ":rnyb:h", c, argv);
			return TOOL_USAGE;
		}
	}
	check->path = only_argument("check", "FILE", argc, argv);
	if (check->path == NULL)
		return TOOL_USAGE;
	if (!check->repair && (check->dry_run || check->yes || check->backup != NULL)) {
		complain("check: %s is of use with --repair only (see pmheap check --help)",
			 check->dry_run       ? "--dry-run"
				 : check->yes ? "--yes"
					      : "--backup");
		return TOOL_USAGE;
	}
	if (check->dry_run && (check->yes || check->backup != NULL)) {
		complain("check: --dry-run changes nothing: %s makes no sense with it",
			 check->yes ? "--yes" : "--backup");
		return TOOL_USAGE;
	}
	return -1;
}

/* --- looking --------------------------------------------------------------------------------------------------- */

static void
tell(void *ctx, const char *pass, uint64_t done, uint64_t total)
{
	struct check *check = ctx;

	if (done == 0) {
		if (check->progressing)
			progress_end(&check->progress);
		progress_begin(&check->progress, pass, total);
		check->progressing = true;
	}
	progress_step(&check->progress, done);
}

static void
end_progress(struct check *check)
{
	if (check->progressing)
		progress_end(&check->progress);
	check->progressing = false;
}

/* A fresh private mapping of the pool; NULL, and said: there is none. */
static void *
map_privately(struct check *check)
{
	void *base;
	int error = parts_map(&check->view.parts, PARTS_PRIVATE, &base);

	if (error == 0)
		return base;
	complain("check: mmap \"%s\": %s", check->path, strerror(error));
	return NULL;
}

/* Fills `why`. -1: it cannot be found out, and it was said. */
static int
judge(struct check *check)
{
	struct heap_progress progress = {tell, check};
	const char *fault = cto_view_fault(&check->view);

	if (fault != NULL) { /* what lies behind a wrong step is not looked at */
		snprintf(check->why, sizeof(check->why), "%s", fault);
		return 0;
	}
	void *base = map_privately(check);
	if (base == NULL)
		return -1;
	int whole = cto_judge(&check->view, base, &progress, check->why, sizeof(check->why));
	end_progress(check);
	parts_unmap(&check->view.parts, base);
	if (whole < 0)
		complain("check: %s", error_get());
	return whole < 0 ? -1 : 0;
}

static void
keep_obstacle(struct check *check)
{
	const struct heap_repair_report *heap = &check->report.heap;

	if (heap->where != 0)
		snprintf(check->obstacle, sizeof(check->obstacle), "%s, at offset 0x%" PRIx64, heap->why, heap->where);
	else
		snprintf(check->obstacle, sizeof(check->obstacle), "%s", heap->why);
}

/* K2. Fills `repairable`, and `obstacle` or the report. -1: it cannot be found out, and it was said. */
static int
try_out(struct check *check)
{
	struct heap_progress progress = {tell, check};
	const struct cto_view *view = &check->view;

	for (int step = VIEW_HEADER; step <= VIEW_SIZE; step++) {
		if (view->fault[step] != NULL) {
			snprintf(check->obstacle, sizeof(check->obstacle), "%s", view->fault[step]);
			return 0;
		}
	}
	void *base = map_privately(check);
	if (base == NULL)
		return -1;
	int error = cto_repair(view, base, PARTS_PRIVATE, &progress, &check->report);
	end_progress(check);
	parts_unmap(&view->parts, base);
	check->repairable = error == 0;
	if (error == EINVAL)
		keep_obstacle(check);
	else if (error != 0)
		complain("check: %s", error_get());
	return error == 0 || error == EINVAL ? 0 : -1;
}

/* --- saying ---------------------------------------------------------------------------------------------------- */

static void
print_report(const struct check *check, bool done)
{
	const struct heap_repair_report *heap = &check->report.heap;
	char bytes[TEXT_SIZE_MAX], cached[TEXT_SIZE_MAX];

	printf("  %" PRIu64 " blocks of %s %s where they are: %" PRIu64 " in %" PRIu64 " slabs, %" PRIu64 " large\n",
	       heap->slots + heap->large, text_size(bytes, heap->bytes), done ? "stayed" : "stay", heap->slots,
	       heap->slabs, heap->large);
	printf("  at most %s of that %s in caches of threads that are gone: nobody has their addresses\n",
	       text_size(cached, heap->cached_max), heap->cached_max == 0 ? "is" : "are");
	if (heap->recovered != 0)
		printf("  %" PRIu64 " pages that no block was in %s free again\n", heap->recovered,
		       done ? "are" : "become");
	for (int kind = 0; kind < HEAP_REPAIR_KINDS; kind++) {
		if (heap->fixed[kind] != 0)
			printf("  %s made anew: %" PRIu64 " %s wrong\n", heap_repair_name((enum heap_repair_kind)kind),
			       heap->fixed[kind], heap->fixed[kind] == 1 ? "was" : "were");
	}
	if (check->report.root != 0)
		printf("  the root pointer 0x%" PRIx64 " %s outside of the pool: %s NULL\n", check->report.root,
		       done ? "was" : "is", done ? "it is now" : "it becomes");
}

/* A name as a key: "page classes" is page_classes. */
static const char *
json_key(const char *name, char key[32])
{
	snprintf(key, 32, "%s", name);
	for (char *c = key; *c != '\0'; c++)
		if (*c == ' ')
			*c = '_';
	return key;
}

static void
print_json(const struct check *check)
{
	char key[32];
	const struct heap_repair_report *heap = &check->report.heap;
	struct json json = {.out = stdout};
	bool consistent = check->why[0] == '\0';

	json_begin(&json, NULL, '{', false);
	json_string(&json, "path", check->path);
	json_bool(&json, "consistent", consistent || check->repaired);
	json_string(&json, "finding", consistent ? NULL : check->why);
	json_bool(&json, "repairable", check->repairable);
	json_string(&json, "obstacle", check->obstacle[0] == '\0' ? NULL : check->obstacle);
	json_bool(&json, "repaired", check->repaired);
	if (check->repairable) {
		json_begin(&json, "repair", '{', false);
		json_number(&json, "blocks", heap->slots + heap->large);
		json_number(&json, "bytes", heap->bytes);
		json_number(&json, "slabs", heap->slabs);
		json_number(&json, "large", heap->large);
		json_number(&json, "cached_max", heap->cached_max);
		json_number(&json, "recovered_pages", heap->recovered);
		json_begin(&json, "fixed", '{', true);
		for (int kind = 0; kind < HEAP_REPAIR_KINDS; kind++)
			json_number(&json, json_key(heap_repair_name((enum heap_repair_kind)kind), key),
				    heap->fixed[kind]);
		json_end(&json, '}');
		json_bool(&json, "root_cleared", check->report.root != 0);
		json_end(&json, '}');
	}
	json_end(&json, '}');
}

/* --- repairing -------------------------------------------------------------------------------------------------- */

/* The person's consent. False, and said: there is none. */
static bool
agreed(const struct check *check)
{
	if (check->yes)
		return true;
	if (isatty(STDIN_FILENO) != 1) {
		complain("check: nobody to ask whether to repair: standard input is no terminal (--yes does not ask)");
		return false;
	}
	if (!confirm("Repair %s? [y/N] ", check->path)) {
		puts("left as it is");
		return false;
	}
	return true;
}

/* The exit status. */
static int
repair(struct check *check)
{
	struct heap_progress progress = {tell, check};

	if (!agreed(check))
		return TOOL_NEGATIVE;
	/* not check->path: that may be the text of a set of one file */
	if (check->backup != NULL &&
	    backup_file("check", check->view.parts.part[0].file.path, check->backup) != 0)
		return TOOL_NEGATIVE;
	int error = cto_repair(&check->view, check->view.base, PARTS_SHARED, &progress, &check->report);
	end_progress(check);
	if (error != 0) {
		complain("check: \"%s\" was not repaired: %s", check->path,
			 error == EINVAL ? check->report.heap.why : error_get());
		return TOOL_NEGATIVE;
	}
	check->repaired = true;
	return 0;
}

/* The exit status, when all that can be known without changing anything is known. */
static int
conclude(struct check *check)
{
	bool consistent = check->why[0] == '\0';
	int status = consistent ? 0 : TOOL_NEGATIVE;

	if (!check->json) {
		printf("%s: %s%s%s\n", check->path, consistent ? "consistent" : "not consistent",
		       consistent ? "" : ": ", check->why);
		if (!consistent && !check->repairable)
			printf("  it cannot be repaired: %s\n", check->obstacle);
		else if (!consistent && !check->repair)
			printf("  it can be repaired: pmheap check --repair\n");
		else if (!consistent && (check->dry_run || !check->yes)) {
			puts("  a repair would do this:");
			print_report(check, false);
		}
		fflush(stdout);
	}
	if (!consistent && check->repairable && check->repair && !check->dry_run) {
		status = repair(check);
		if (status == 0 && !check->json) {
			printf("%s: repaired\n", check->path);
			print_report(check, true);
		}
	}
	if (check->json)
		print_json(check);
	return status;
}

static int
run(int argc, char **argv)
{
	struct check check = {.path = NULL};
	int status = parse_options(argc, argv, &check);

	if (status >= 0)
		return status;
	bool change = check.repair && !check.dry_run;
	int error = cto_view_open(check.path, change ? PARTS_WRITE : PARTS_READ, &check.view);
	if (error != 0) {
		complain("check: %s%s", error_get(), error == EAGAIN ? ": a program has the pool open" : "");
		return TOOL_NEGATIVE;
	}
	status = TOOL_NEGATIVE;
	if (check.backup != NULL && check.view.parts.n > 1)
		complain("check: \"%s\" is a set of several files: copy them one by one", check.path);
	else if (judge(&check) == 0 && (check.why[0] == '\0' || try_out(&check) == 0))
		status = conclude(&check);
	cto_view_close(&check.view);
	return status;
}

const struct command command_check = {"check", "says whether a pool is consistent, and repairs one that is not", run};
