/* cmd_info.c -- pmheap info: what a file says of the pool in it
 *
 * Rules:  I1  as much as can be read is shown, up to the first step that finds damage; what is damaged is named.
 *         I2  a pool that was not closed is no failure: its blocks are counted with what sat in caches of threads.
 * Media:  reads, through the view.
 * Fails:  TOOL_NEGATIVE: the file cannot be looked at, or is no whole pool.
 */
#include "api/tools/pmheap.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/common/error.h"
#include "api/pmemcto/view.h"
#include "api/tools/json.h"
#include "api/tools/text.h"
#include "api/tools/usage.h"

static const char usage_text[] =
	"usage: pmheap info [--json | -x] FILE\n\n"
	"Shows the pool in FILE: its header and descriptor, and what its heap holds. Read permission is enough.\n\n"
	"      --json       as one JSON object\n"
	"  -x, --hex        header and descriptor also as bytes\n"
	"  -h, --help       this text\n\n"
	"FILE is a pool or a pool set. A pool that a program has open is refused; one that was not closed is shown.\n"
	"Exit status: 0 all is shown; 1 FILE cannot be read, or is no pool or a damaged one; 2 a bad command line.\n";

struct info {
	const char *path;
	bool json, hex;
	struct cto_view view;
	struct usage usage;
	bool counted; /* usage is right */
};

/* --- words ---------------------------------------------------------------------------------------------------- */

/* A process that was killed may leave pages between free and in use: only in a closed pool are they damage. The heap on a
 * device DAX is not to be seen, which is no fault of the pool. */
static bool
is_damaged(const struct info *info)
{
	const struct cto_view *view = &info->view;

	for (int step = 0; step < VIEW_STEPS; step++)
		if (view->fault[step] != NULL && !(step == VIEW_STATE && view->open) &&
		    !(step == VIEW_HEAP && view->parts.part[0].file.is_device))
			return true;
	return !view->open && info->usage.pages[SURVEY_LOST] != 0;
}

static const char *
state_name(const struct info *info)
{
	if (!info->view.signature)
		return "not a pool";
	if (info->view.part)
		return "part of a pool set";
	if (is_damaged(info))
		return "damaged";
	return info->view.open ? "not closed" : "closed";
}

static const char *
incompat_name(unsigned bit)
{
	switch (1u << bit) {
	case POOL_INCOMPAT_SINGLEHDR:
		return "single-header";
	case POOL_INCOMPAT_CKSUM_2K:
		return "checksum-2k";
	case POOL_INCOMPAT_PMHEAP:
		return "pmheap";
	default:
		return "unknown";
	}
}

static const char *
machine_name(unsigned machine)
{
	switch (machine) { /* elf(5) */
	case 62:
		return "x86-64";
	case 183:
		return "aarch64";
	case 243:
		return "riscv";
	default:
		return "unknown";
	}
}

static const struct {
	const char *label, *key;
	size_t offset;
} uuids[] = {
	{"pool set UUID", "poolset_uuid", offsetof(struct pool_header_media, poolset)},
	{"part UUID", "part_uuid", offsetof(struct pool_header_media, part)},
	{"previous part UUID", "prev_part_uuid", offsetof(struct pool_header_media, prev_part)},
	{"next part UUID", "next_part_uuid", offsetof(struct pool_header_media, next_part)},
	{"previous replica UUID", "prev_replica_uuid", offsetof(struct pool_header_media, prev_replica)},
	{"next replica UUID", "next_replica_uuid", offsetof(struct pool_header_media, next_replica)},
};

#define NUUIDS (sizeof(uuids) / sizeof(uuids[0]))

/* --- as text -------------------------------------------------------------------------------------------------- */

#define LINE "  %-22s "

static void
print_size(const char *label, uint64_t bytes)
{
	char text[TEXT_SIZE_MAX];

	printf(LINE "%s", label, text_size(text, bytes));
	if (bytes >= 1024)
		printf(" (%" PRIu64 " bytes)", bytes);
	putchar('\n');
}

static void
print_header(const struct info *info)
{
	const struct pool_header_media *header = &info->view.front.header;
	char uuid[TEXT_UUID_MAX], time[TEXT_TIME_MAX];

	printf("\nHeader\n" LINE, "signature");
	text_print_quoted(stdout, header->signature, sizeof(header->signature));
	printf("\n" LINE "%" PRIu32 "\n", "major version", header->major);
	printf(LINE "0x%" PRIx32 "\n", "compatible features", header->compat);
	printf(LINE "0x%" PRIx32, "incompatible features", header->incompat);
	for (unsigned bit = 0, n = 0; bit < 32; bit++)
		if ((header->incompat >> bit & 1) != 0)
			printf("%s%s", n++ == 0 ? " (" : ", ", incompat_name(bit));
	printf("%s\n", header->incompat != 0 ? ")" : "");
	printf(LINE "0x%" PRIx32 "\n", "read-only features", header->ro_compat);
	for (size_t i = 0; i < NUUIDS; i++)
		printf(LINE "%s\n", uuids[i].label, text_uuid(uuid, (const uint8_t *)header + uuids[i].offset));
	printf(LINE "%s\n", "created", text_time(time, header->created));
	printf(LINE "0x%016" PRIx64 "\n", "alignment of C types", header->alignment);
	printf(LINE "%u bit, %s, %s (%u)\n", "machine",
	       header->elf_class == 2           ? 64
		       : header->elf_class == 1 ? 32
						: 0,
	       header->elf_data == 1           ? "little-endian"
		       : header->elf_data == 2 ? "big-endian"
					       : "byte order unknown",
	       machine_name(header->machine), header->machine);
	printf(LINE "0x%016" PRIx64 "%s\n", "checksum", header->checksum,
	       header->checksum == media_header_checksum(header) ? "" : " (wrong)");
}

static void
print_desc(const struct info *info)
{
	const struct pool_desc_media *desc = &info->view.front.desc;
	uint64_t root = atomic_load_explicit(&desc->root, memory_order_relaxed);

	printf("\nPool\n" LINE, "layout");
	text_print_quoted(stdout, desc->layout, sizeof(desc->layout));
	printf("\n" LINE "0x%" PRIx64 "\n", "base address", desc->base);
	print_size("size", desc->size);
	if (root == 0)
		printf(LINE "none\n", "root pointer");
	else
		printf(LINE "0x%" PRIx64 " (offset 0x%" PRIx64 ")\n", "root pointer", root, root - desc->base);
	printf(LINE "%u (%s)\n", "consistent", atomic_load_explicit(&desc->consistent, memory_order_relaxed),
	       info->view.open ? "open, or was when its process ended" : "closed");
	printf(LINE "%" PRIu64 "\n", "generation", desc->generation);
	printf(LINE "%" PRIu32 "\n", "format version", desc->format_version);
	printf(LINE "0x%" PRIx32 "%s\n", "flags", desc->flags,
	       (desc->flags & POOL_FLAG_RESERVED) != 0 ? " (all blocks reserved)" : "");
	print_size("addresses kept", desc->span);
	printf(LINE "0x%" PRIx64 "\n", "heap offset", desc->heap_offset);
}

static void
print_classes(const struct usage *usage)
{
	char size[TEXT_SIZE_MAX];

	if (usage->blocks == 0 && usage->pages[SURVEY_SLAB] == 0)
		return;
	printf("\nBy class\n  %5s %9s %8s %10s %10s %6s %12s\n", "class", "size", "extents", "slots", "used", "",
	       "space");
	for (unsigned sc = 1; sc <= SC_LARGE; sc++) {
		const struct usage_class *class = &usage->classes[sc];

		if (class->extents == 0)
			continue;
		if (sc == SC_LARGE)
			printf("  %5s %9s", "-", "none");
		else
			printf("  %5u %9" PRIu32, sc, sc_size(sc));
		printf(" %8" PRIu64 " %10" PRIu64 " %10" PRIu64 " %4.0f %% %12s\n", class->extents, class->slots,
		       class->used, (double)class->used * 100 / (double)class->slots,
		       text_size(size, class->pages * HEAP_PAGE));
	}
}

static void
print_heap(const struct info *info)
{
	const struct usage *usage = &info->usage;

	printf("\nHeap\n");
	printf(LINE "%" PRIu64 "%s\n", "blocks in use", usage->blocks,
	       info->view.open ? " (with those in caches of threads that are gone)" : "");
	print_size("bytes in use", usage->bytes);
	print_size("in slabs", usage->pages[SURVEY_SLAB] * HEAP_PAGE);
	print_size("in large blocks", usage->pages[SURVEY_LARGE] * HEAP_PAGE);
	print_size("free", usage_free(usage));
	print_size("free, not in the file", usage->pages[SURVEY_HOLE] * HEAP_PAGE);
	print_size("free, never used", usage->pages[SURVEY_UNUSED] * HEAP_PAGE);
	print_size("largest free block", usage->largest_free);
	if (usage->pages[SURVEY_LOST] != 0)
		print_size("in use by nothing", usage->pages[SURVEY_LOST] * HEAP_PAGE);
	print_size("header and tables", usage->tables);
	print_classes(usage);
}

static void
print_text(const struct info *info)
{
	const struct cto_view *view = &info->view;

	printf("%s: %s\n", info->path, state_name(info));
	for (size_t i = 0; i < view->parts.n && view->parts.n > 1; i++) {
		printf("  part %-17zu %s\n", i, view->parts.part[i].file.path);
		print_size("", view->parts.part[i].file.size);
	}
	print_size("file size", view->parts.file_size);
	print_size("blocks in the file", view->parts.allocated);
	for (int step = 0; step < VIEW_STEPS; step++)
		if (view->fault[step] != NULL)
			printf(LINE "%s\n", cto_view_step_name(step), view->fault[step]);
	if (view->signature)
		print_header(info);
	if ((view->judged & 1u << VIEW_DESC) != 0)
		print_desc(info);
	if (info->counted)
		print_heap(info);
	if (info->hex) {
		printf("\nBytes\n");
		text_print_hex(stdout, 0, &view->front.header, sizeof(view->front.header) + sizeof(view->front.desc));
	}
}

/* --- as JSON -------------------------------------------------------------------------------------------------- */

static void
json_header(struct json *json, const struct info *info)
{
	const struct pool_header_media *header = &info->view.front.header;
	char text[TEXT_UUID_MAX];

	json_begin(json, "header", '{', false);
	json_bytes(json, "signature", header->signature, sizeof(header->signature));
	json_number(json, "major", header->major);
	json_number(json, "compat", header->compat);
	json_number(json, "incompat", header->incompat);
	json_number(json, "ro_compat", header->ro_compat);
	for (size_t i = 0; i < NUUIDS; i++)
		json_string(json, uuids[i].key, text_uuid(text, (const uint8_t *)header + uuids[i].offset));
	json_number(json, "created", header->created);
	json_address(json, "alignment", header->alignment);
	json_number(json, "class", header->elf_class);
	json_number(json, "data", header->elf_data);
	json_number(json, "machine", header->machine);
	json_address(json, "checksum", header->checksum);
	json_bool(json, "checksum_ok", header->checksum == media_header_checksum(header));
	json_end(json, '}');
}

static void
json_desc(struct json *json, const struct info *info)
{
	const struct pool_desc_media *desc = &info->view.front.desc;
	uint64_t root = atomic_load_explicit(&desc->root, memory_order_relaxed);

	json_begin(json, "cto", '{', false);
	json_bytes(json, "layout", desc->layout, sizeof(desc->layout));
	json_address(json, "base", desc->base);
	json_number(json, "size", desc->size);
	json_address(json, "root", root);
	if (root == 0)
		json_null(json, "root_offset");
	else
		json_number(json, "root_offset", root - desc->base);
	json_bool(json, "consistent", atomic_load_explicit(&desc->consistent, memory_order_relaxed) == 1);
	json_number(json, "generation", desc->generation);
	json_number(json, "format_version", desc->format_version);
	json_number(json, "flags", desc->flags);
	json_bool(json, "reserved", (desc->flags & POOL_FLAG_RESERVED) != 0);
	json_number(json, "span", desc->span);
	json_number(json, "heap_offset", desc->heap_offset);
	json_end(json, '}');
}

static void
json_heap(struct json *json, const struct usage *usage)
{
	json_begin(json, "heap", '{', false);
	json_number(json, "blocks", usage->blocks);
	json_number(json, "used", usage->bytes);
	json_number(json, "capacity", usage->capacity);
	json_number(json, "slabs", usage->pages[SURVEY_SLAB] * HEAP_PAGE);
	json_number(json, "large", usage->pages[SURVEY_LARGE] * HEAP_PAGE);
	json_number(json, "free", usage_free(usage));
	json_number(json, "holes", usage->pages[SURVEY_HOLE] * HEAP_PAGE);
	json_number(json, "unused", usage->pages[SURVEY_UNUSED] * HEAP_PAGE);
	json_number(json, "largest_free", usage->largest_free);
	json_number(json, "lost", usage->pages[SURVEY_LOST] * HEAP_PAGE);
	json_number(json, "tables", usage->tables);
	json_begin(json, "classes", '[', false);
	for (unsigned sc = 1; sc <= SC_LARGE; sc++) {
		const struct usage_class *class = &usage->classes[sc];

		if (class->extents == 0)
			continue;
		json_begin(json, NULL, '{', true);
		if (sc == SC_LARGE) {
			json_null(json, "class");
			json_null(json, "size");
		} else {
			json_number(json, "class", sc);
			json_number(json, "size", sc_size(sc));
		}
		json_number(json, "extents", class->extents);
		json_number(json, "slots", class->slots);
		json_number(json, "used", class->used);
		json_number(json, "pages", class->pages);
		json_end(json, '}');
	}
	json_end(json, ']');
	json_end(json, '}');
}

static void
print_json(const struct info *info)
{
	const struct cto_view *view = &info->view;
	struct json json = {.out = stdout};

	json_begin(&json, NULL, '{', false);
	json_string(&json, "path", info->path);
	json_string(&json, "state", state_name(info));
	json_number(&json, "file_size", view->parts.file_size);
	json_number(&json, "allocated", view->parts.allocated);
	json_begin(&json, "parts", '[', false);
	for (size_t i = 0; i < view->parts.n; i++) {
		json_begin(&json, NULL, '{', true);
		json_string(&json, "path", view->parts.part[i].file.path);
		json_number(&json, "size", view->parts.part[i].file.size);
		json_end(&json, '}');
	}
	json_end(&json, ']');
	json_begin(&json, "findings", '[', false);
	for (int step = 0; step < VIEW_STEPS; step++) {
		if (view->fault[step] == NULL)
			continue;
		json_begin(&json, NULL, '{', true);
		json_string(&json, "step", cto_view_step_name(step));
		json_string(&json, "fault", view->fault[step]);
		json_end(&json, '}');
	}
	json_end(&json, ']');
	if (view->signature)
		json_header(&json, info);
	if ((view->judged & 1u << VIEW_DESC) != 0)
		json_desc(&json, info);
	if (info->counted)
		json_heap(&json, &info->usage);
	json_end(&json, '}');
}

/* --- the command ---------------------------------------------------------------------------------------------- */

/* -1: go on, optind at the arguments; else the exit status. */
static int
parse_options(int argc, char **argv, struct info *info)
{
	static const struct option known[] = {
		{"json", no_argument, NULL, 'j' + 256},
		{"hex", no_argument, NULL, 'x'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":xh", known, NULL)) != -1) {
		switch (c) {
		case 'j' + 256:
			info->json = true;
			break;
		case 'x':
			info->hex = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			complain_of_option("info", ":xh", c, argv);
			return TOOL_USAGE;
		}
	}
	if (info->json && info->hex) {
		complain("info: --hex and --json do not go together");
		return TOOL_USAGE;
	}
	info->path = only_argument("info", "FILE", argc, argv);
	return info->path == NULL ? TOOL_USAGE : -1;
}

static int
run(int argc, char **argv)
{
	static struct info info;
	int status = parse_options(argc, argv, &info);

	if (status >= 0)
		return status;
	if (cto_view_open(info.path, PARTS_READ, &info.view) != 0) {
		complain("info: %s", error_get());
		return TOOL_NEGATIVE;
	}
	info.counted = usage_count(&info.view, &info.usage);
	if (info.json)
		print_json(&info);
	else
		print_text(&info);
	status = is_damaged(&info) && !info.view.part ? TOOL_NEGATIVE : 0;
	cto_view_close(&info.view);
	return status;
}

const struct command command_info = {"info", "shows what a pool is, and what is in it", run};
