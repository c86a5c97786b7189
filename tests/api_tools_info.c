/* api_tools_info.c -- pmheap info: a pool shown, as text and as JSON, whatever its state; files that are none */
#define _GNU_SOURCE
#include "tests/tool_run.h"

TestSuite(api_tools_info, .init = test_dir_make, .fini = test_dir_remove);

/* A closed pool with 10 blocks of 100 bytes, one of 50000, one of 2 MiB; the latter is the root. */
static void
make_known(const char *path)
{
	PMEMctopool *pcp = pmemcto_create(path, "known", 20 * MIB, 0644);
	void *big;

	cr_assert_not_null(pcp);
	for (int i = 0; i < 10; i++)
		cr_assert_not_null(pmemcto_malloc(pcp, 100));
	cr_assert_not_null(pmemcto_malloc(pcp, 50000));
	big = pmemcto_malloc(pcp, 2 * MIB);
	cr_assert_not_null(big);
	pmemcto_set_root_pointer(pcp, big);
	pmemcto_close(pcp);
}

Test(api_tools_info, closed_pool_as_text)
{
	uint64_t hash;
	struct outcome *o;

	make_known(in_dir("pool"));
	hash = file_hash(in_dir("pool"));
	o = went_well(tool("info", file_in_dir("pool")));
	assert_in(o->out, in_dir("pool"));
	assert_in(o->out, ": closed\n");
	assert_in(o->out, "20 MiB (20971520 bytes)");
	assert_in(o->out, "\"PMEMCTO\"");
	assert_in(o->out, "(checksum-2k, pmheap)");
	assert_in(o->out, "layout                 \"known\"\n");
	assert_in(o->out, "consistent             1 (closed)\n");
	assert_in(o->out, "generation             1\n");
	assert_in(o->out, "blocks in use          12\n");
	assert_in(o->out, "\nBy class\n");
	cr_assert_eq(file_hash(in_dir("pool")), hash);
}

Test(api_tools_info, closed_pool_as_json)
{
	struct outcome *o;
	char text[300];

	make_known(in_dir("pool"));
	o = went_well(tool("info", "--json", file_in_dir("pool")));
	json_holds(o, "d['state'] == 'closed' and d['findings'] == []");
	json_holds(o, "d['file_size'] == 20 << 20 and d['allocated'] >= 20 << 20 and len(d['parts']) == 1");
	json_holds(o, "d['header']['signature'] == 'PMEMCTO' and d['header']['checksum_ok'] is True");
	json_holds(o,
		   "d['header']['part_uuid'] == d['header']['next_part_uuid'] and len(d['header']['part_uuid']) == 36");
	json_holds(o,
		   "d['cto']['layout'] == 'known' and d['cto']['consistent'] is True and d['cto']['generation'] == 1");
	json_holds(o, "int(d['cto']['root'], 16) - int(d['cto']['base'], 16) == d['cto']['root_offset']");
	json_holds(o, "d['heap']['blocks'] == 12 and d['heap']['used'] == 10 * 112 + 53248 + (2 << 20)");
	json_holds(o, "d['heap']['tables'] + d['heap']['capacity'] == d['cto']['size']");
	json_holds(o,
		   "d['heap']['slabs'] + d['heap']['large'] + d['heap']['free'] + d['heap']['lost'] == "
		   "d['heap']['capacity']");
	json_holds(o, "0 < d['heap']['largest_free'] <= d['heap']['free'] and d['heap']['lost'] == 0");
	json_holds(o, "sum(c['used'] for c in d['heap']['classes']) == 12");
	json_holds(o,
		   "sum(c['pages'] for c in d['heap']['classes']) * 4096 == d['heap']['slabs'] + d['heap']['large']");
	json_holds(o, "[c['used'] for c in d['heap']['classes'] if c['size'] == 112] == [10]");
	snprintf(text, sizeof(text), "d['path'] == '%s' == d['parts'][0]['path']", in_dir("pool"));
	json_holds(o, text);
}

/* The largest free block is what can be had. */
Test(api_tools_info, largest_free_block_can_be_allocated)
{
	struct outcome *o;
	PMEMctopool *pcp;
	char *text;
	size_t largest;

	make_known(in_dir("pool"));
	o = went_well(tool("info", "--json", file_in_dir("pool")));
	text = strstr(o->out, "\"largest_free\": ");
	cr_assert_not_null(text);
	largest = strtoull(text + 16, NULL, 10);
	pcp = pmemcto_open(in_dir("pool"), "known");
	cr_assert_null(pmemcto_malloc(pcp, largest + 1));
	cr_assert_not_null(pmemcto_malloc(pcp, largest));
	pmemcto_close(pcp);
	json_holds(went_well(tool("info", "--json", file_in_dir("pool"))), "d['heap']['blocks'] == 13");
}

Test(api_tools_info, layout_of_any_bytes_is_shown)
{
	struct outcome *o;

	pmemcto_close(pmemcto_create(in_dir("pool"), "q\"b\\n\nt\tx\x01y\xffz\xc3\xa9!\xed\xa0\x80", 16 * MIB, 0600));
	o = went_well(tool("info", file_in_dir("pool")));
	assert_in(o->out, "\"q\\\"b\\\\n\\x0at\\x09x\\x01y\\xffz\xc3\xa9!\\xed\\xa0\\x80\"");
	o = went_well(tool("info", "--json", file_in_dir("pool")));
	json_holds(o, "d['cto']['layout'] == 'q\"b\\\\n\\nt\\tx\\x01y\\ufffdz\\xe9!\\ufffd\\ufffd\\ufffd'");
}

Test(api_tools_info, hex_shows_header_and_descriptor)
{
	struct outcome *o;

	make_known(in_dir("pool"));
	o = went_well(tool("info", "-x", file_in_dir("pool")));
	assert_in(o->out, "00000000  50 4d 45 4d 43 54 4f 00  01 00 00 00 ");
	assert_in(o->out, "00001000  6b 6e 6f 77 6e 00 ");
	assert_in(o->out, "|known...........|\n00001010  00 ");
	assert_in(o->out, "\n*\n00001800\n");
}

Test(api_tools_info, pool_that_was_not_closed_is_shown_as_such)
{
	struct outcome *o;

	pool_kill(in_dir("pool"));
	o = went_well(tool("info", file_in_dir("pool")));
	assert_in(o->out, ": not closed\n");
	assert_in(o->out, "inconsistent pool");
	assert_in(o->out, "consistent             0 (open");
	assert_in(o->out, "in caches of threads that are gone");
	o = went_well(tool("info", "--json", file_in_dir("pool")));
	json_holds(o, "d['state'] == 'not closed' and [f['step'] for f in d['findings']] == ['state']");
	json_holds(o, "d['cto']['consistent'] is False and d['heap']['blocks'] >= 2 and d['heap']['used'] >= 3 << 20");
}

Test(api_tools_info, open_pool_is_refused)
{
	pid_t holder;

	make_known(in_dir("pool"));
	holder = pool_hold(in_dir("pool"));
	complained(tool("info", file_in_dir("pool")), 1, "Resource temporarily unavailable");
	pool_let_go(holder);
}

Test(api_tools_info, damage_is_named_and_what_is_before_is_shown)
{
	struct outcome *o;

	make_known(in_dir("pool"));
	file_write(in_dir("pool"), AT_HEAP, "x", 1);
	o = tool("info", file_in_dir("pool"));
	assert_status(o, 1);
	assert_in(o->out, ": damaged\n");
	assert_in(o->out, "  heap                   the superblock is none\n");
	assert_in(o->out, "layout                 \"known\"\n");
	o = tool("info", "--json", file_in_dir("pool"));
	assert_status(o, 1);
	json_holds(o,
		   "d['state'] == 'damaged' and d['findings'][0]['step'] == 'heap' and 'heap' not in d and 'cto' in d");

	file_write(in_dir("pool"), AT_BASE, "x", 1);
	o = tool("info", "--json", file_in_dir("pool"));
	assert_status(o, 1);
	json_holds(o, "d['findings'][0]['step'] == 'descriptor' and 'header' in d and 'cto' in d");

	file_write(in_dir("pool"), AT_PART_UUID, "x", 1);
	o = tool("info", "--json", file_in_dir("pool"));
	assert_status(o, 1);
	json_holds(o,
		   "d['findings'][0]['step'] == 'header' and d['header']['checksum_ok'] is False and 'cto' not in d");
	assert_in(tool("info", file_in_dir("pool"))->out, " (wrong)\n");
}

/* Class bytes of the heap's pages overwritten: counted as far as they can be. */
Test(api_tools_info, damaged_tables_are_told)
{
	uint64_t page_class;
	struct outcome *o;

	make_known(in_dir("pool"));
	page_class = get_field(in_dir("pool"), AT_HEAP + 80, 8);
	file_write(in_dir("pool"), page_class, "\xff\xff\xff\xff", 4);
	o = tool("info", "--json", file_in_dir("pool"));
	assert_status(o, 1);
	json_holds(o, "d['state'] == 'damaged' and d['findings'] == [] and d['heap']['lost'] >= 4 * 4096");
	o = tool("info", file_in_dir("pool"));
	assert_status(o, 1);
	assert_in(o->out, "in use by nothing      ");
	complained(tool("dump", file_in_dir("pool")), 1, "in use by nothing that can be read");
}

Test(api_tools_info, truncated_pool_is_damaged)
{
	struct outcome *o;

	make_known(in_dir("pool"));
	for (size_t size = 16 * MIB; size != 0; size /= 4) {
		cr_assert_eq(truncate(in_dir("pool"), (off_t)size), 0);
		o = tool("info", "--json", file_in_dir("pool"));
		assert_status(o, 1);
		json_holds(o,
			   size >= 8 ? "d['state'] == 'damaged' and len(d['findings']) == 1"
				     : "d['state'] == 'not a pool'");
	}
	cr_assert_eq(truncate(in_dir("pool"), 0), 0);
	o = tool("info", file_in_dir("pool"));
	assert_status(o, 1);
	assert_in(o->out, ": not a pool\n");
}

Test(api_tools_info, part_of_a_set_is_recognised)
{
	struct outcome *o;

	make_known(in_dir("pool"));
	set_field(in_dir("pool"), AT_NEXT_UUID, 1, 8);
	o = went_well(tool("info", file_in_dir("pool")));
	assert_in(o->out, ": part of a pool set\n");
	json_holds(went_well(tool("info", "--json", file_in_dir("pool"))), "d['state'] == 'part of a pool set'");
}

Test(api_tools_info, files_that_are_no_pool)
{
	struct outcome *o;

	run_write_file(in_dir("letter"), "Dear John,\n");
	o = tool("info", file_in_dir("letter"));
	assert_status(o, 1);
	assert_in(o->out, ": not a pool\n");
	assert_in(o->out, "wrong pool type");
	complained(tool("info", file_in_dir("none")), 1, "No such file or directory");
	complained(tool("info", (char *)test_dir), 1, "Is a directory");
	complained(tool("info", "/dev/null"), 1, "neither a regular file");
}

Test(api_tools_info, reading_is_enough_and_needed)
{
	if (geteuid() != 0)
		SKIP("needs root, to become somebody else");
	make_known(in_dir("pool"));
	cr_assert_eq(chmod(in_dir("pool"), 0444), 0);
	assert_in(went_well(tool_as_nobody("info", file_in_dir("pool")))->out, ": closed\n");
	cr_assert_eq(chmod(in_dir("pool"), 0600), 0);
	complained(tool_as_nobody("info", file_in_dir("pool")), 1, "Permission denied");
}

Test(api_tools_info, bad_words)
{
	complained(tool("info"), 2, "no FILE given");
	complained(tool("info", "a", "b"), 2, "what is 'b'?");
	complained(tool("info", "-z", "a"), 2, "unknown option '-z'");
	complained(tool("info", "--json=1", "a"), 2, "takes no value");
	complained(tool("info", "--json", "-x", "a"), 2, "do not go together");
	assert_in(went_well(tool("info", "--help"))->out, "--json");
}

/* A stream that takes nothing is a failure. */
Test(api_tools_info, full_output)
{
	struct outcome *o;

	make_known(in_dir("pool"));
	o = run("", "/bin/sh", "-c", "\"$0\" info \"$1\" > /dev/full", PMHEAP, file_in_dir("pool"));
	complained(keep(o), 1, "cannot write to standard output");
}
