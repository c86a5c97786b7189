/* cmd_dump.c -- pmheap dump: the blocks of a pool, one a line
 *
 * Rules:  B1  blocks are written as they are met, in ascending order: a pool may have more than fit into memory.
 * Media:  reads, through the view.
 * Fails:  TOOL_NEGATIVE: the file cannot be looked at, or its heap is damaged; what could be read is written.
 */
#include "api/tools/pmheap.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/common/error.h"
#include "api/pmemcto/view.h"
#include "api/tools/json.h"
#include "api/tools/progress.h"

static const char usage[] =
	"usage: pmheap dump [--json] FILE\n\n"
	"Writes the blocks in use of the pool in FILE, in ascending order, one a line: offset in the pool, address in "
	"the\n"
	"programs that open it, size in bytes, and size class or -.\n\n"
	"      --json   as one JSON object\n"
	"  -h, --help   this text\n\n"
	"Of a pool that was not closed, blocks in caches of threads that are gone are written too.\n"
	"Exit status: 0 all are written; 1 FILE cannot be read, or is damaged; 2 a bad command line.\n";

struct dump {
	const char *path;
	bool as_json;
	struct json json;
	uint64_t base; /* address of offset 0 */
	uint64_t blocks, bytes;
	uint64_t lost; /* pages */
};

static void
put_block(struct dump *dump, uint64_t offset, uint64_t size, unsigned sc)
{
	dump->blocks++;
	dump->bytes += size;
	if (dump->as_json) {
		json_begin(&dump->json, NULL, '{', true);
		json_number(&dump->json, "offset", offset);
		json_address(&dump->json, "address", dump->base + offset);
		json_number(&dump->json, "size", size);
		if (sc > SC_COUNT)
			json_null(&dump->json, "class");
		else
			json_number(&dump->json, "class", sc);
		json_end(&dump->json, '}');
	} else if (sc > SC_COUNT) {
		printf("0x%010" PRIx64 " 0x%" PRIx64 " %" PRIu64 " -\n", offset, dump->base + offset, size);
	} else {
		printf("0x%010" PRIx64 " 0x%" PRIx64 " %" PRIu64 " %u\n", offset, dump->base + offset, size, sc);
	}
}

static void
put_slab(struct dump *dump, const struct survey_extent *slab)
{
	for (uint32_t slot = 0; slot < slab->nslots; slot++) {
		uint64_t word = atomic_load_explicit(&slab->bits[slot / 64], memory_order_relaxed);

		if ((word >> (slot % 64) & 1) != 0)
			put_block(dump, slab->offset + (uint64_t)slot * slab->slot_size, slab->slot_size, slab->sc);
	}
}

/* A stream that does not take any more ends it. */
static void
put_all(struct dump *dump, struct survey *survey)
{
	struct survey_extent extent;
	struct progress progress;

	progress_begin(&progress, "dumping", survey->layout.npages);
	while (survey_next(survey, &extent) && !ferror(stdout)) {
		progress_step(&progress, extent.page);
		if (extent.kind == SURVEY_SLAB)
			put_slab(dump, &extent);
		else if (extent.kind == SURVEY_LARGE)
			put_block(dump, extent.offset, (uint64_t)extent.pages * HEAP_PAGE, extent.sc);
		else if (extent.kind == SURVEY_LOST)
			dump->lost += extent.pages;
	}
	progress_end(&progress);
}

static int
dump_view(struct dump *dump, const struct cto_view *view)
{
	struct survey survey;
	const char *fault = cto_view_fault(view);

	if (!cto_view_survey(view, &survey)) {
		complain("dump: cannot read the heap of '%s': %s", dump->path, fault);
		return TOOL_NEGATIVE;
	}
	if (view->open)
		complain("dump: warning: '%s' was not closed: blocks in caches of threads that are gone count as used",
			 dump->path);
	dump->base = view->front.desc.base;
	if (dump->as_json) {
		json_begin(&dump->json, NULL, '{', false);
		json_string(&dump->json, "path", dump->path);
		json_bool(&dump->json, "closed", !view->open);
		json_begin(&dump->json, "blocks", '[', false);
	} else {
		puts("# offset address size class");
	}
	put_all(dump, &survey);
	if (dump->as_json) {
		json_end(&dump->json, ']');
		json_number(&dump->json, "count", dump->blocks);
		json_number(&dump->json, "bytes", dump->bytes);
		json_end(&dump->json, '}');
	}
	if (view->open)
		fault = NULL;
	else if (dump->lost != 0)
		fault = "pages of the heap are in use by nothing that can be read";
	if (fault != NULL)
		complain("dump: '%s' is damaged: %s", dump->path, fault);
	return fault != NULL ? TOOL_NEGATIVE : 0;
}

static int
run(int argc, char **argv)
{
	static const struct option known[] = {
		{"json", no_argument, NULL, 'j' + 256},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	static struct cto_view view;
	struct dump dump = {.json = {.out = stdout}};
	int c, status;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", known, NULL)) != -1) {
		switch (c) {
		case 'j' + 256:
			dump.as_json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			complain_of_option("dump", ":h", c, argv);
			return TOOL_USAGE;
		}
	}
	dump.path = only_argument("dump", "FILE", argc, argv);
	if (dump.path == NULL)
		return TOOL_USAGE;
	if (cto_view_open(dump.path, PARTS_READ, &view) != 0) {
		complain("dump: %s", error_get());
		return TOOL_NEGATIVE;
	}
	status = dump_view(&dump, &view);
	cto_view_close(&view);
	return status;
}

const struct command command_dump = {"dump", "lists the blocks in use", run};
