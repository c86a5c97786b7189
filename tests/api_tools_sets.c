/* api_tools_sets.c -- pmheap over pool sets: made, shown as one pool, removed whole or not at all */
#define _GNU_SOURCE
#include "tests/pmemcto_sets.h"
#include "tests/tool_run.h"

TestSuite(api_tools_sets, .init = test_dir_make, .fini = test_dir_remove);

#define TWO_PARTS "20M @a\n12M @b\n"

static char *
set_file(const char *name, const char *text)
{
	return (char *)(uintptr_t)set_make(name, text);
}

static bool
is_there(const char *name)
{
	return access(in_dir(name), F_OK) == 0;
}

Test(api_tools_sets, create_makes_the_parts)
{
	char *set = set_file("set", TWO_PARTS);
	struct outcome *o;
	uint64_t hash;

	o = went_well(tool("create", "-v", "-l", "test", "-m", "640", set));
	assert_in(o->out, ": pool set, layout \"test\"\n");
	cr_assert_eq(file_stat(in_dir("a")).st_size, 20 * MIB);
	cr_assert_eq(file_stat(in_dir("b")).st_size, 12 * MIB);
	cr_assert_eq(file_stat(in_dir("b")).st_mode & 07777, 0640);
	cr_assert_eq(pmemcto_check(set, "test"), 1);
	hash = file_hash(in_dir("a"));
	complained(tool("create", set), 1, "cannot make");
	complained(tool("create", "-s", "32M", set), 1, "is a pool set, which has the sizes");
	complained(tool("create", "-f", "-s", "32M", set), 1, "is a pool set, which has the sizes");
	complained(tool("create", "-f", "-M", set), 1, "is a pool set, which has the sizes");
	cr_assert_eq(file_hash(in_dir("a")), hash, "nothing is removed for what cannot be made");
	went_well(tool("create", "-f", "-i", set, set));
	cr_assert_neq(file_hash(in_dir("a")), hash);
	cr_assert_eq(pmemcto_check(set, "test"), 1);
}

Test(api_tools_sets, create_says_what_is_wrong_with_a_set)
{
	complained(tool("create", set_file("s1", "20X @a\n")), 1, "line 2");
	complained(tool("create", set_file("s2", "20M a\n")), 1, "line 2");
	complained(tool("create", set_file("s3", "20M @a\nREPLICA\n20M @b\n")), 1, "replicas");
	complained(tool("create", set_file("s4", "8M @a\n4M @b\n")), 1, "a pool needs");
	complained(tool("create", set_file("s5", "20M @no/a\n")), 1, "No such file or directory");
	cr_assert_eq(files_in_dir(), 5);
	file_make(in_dir("a"), 20 * MIB);
	file_write(in_dir("a"), 0, "x", 1);
	complained(tool("create", "-f", set_file("s6", TWO_PARTS)), 1, "it is no pool");
	cr_assert(is_there("a") && !is_there("b"));
}

Test(api_tools_sets, info_shows_the_set_as_one_pool)
{
	char *set = (char *)(uintptr_t)set_prepare("set", TWO_PARTS);
	struct outcome *o = went_well(tool("info", set));
	char text[300];

	assert_in(o->out, ": closed\n");
	assert_in(o->out, in_dir("a"));
	assert_in(o->out, in_dir("b"));
	o = went_well(tool("info", "--json", set));
	json_holds(o, "d['state'] == 'closed' and d['findings'] == [] and d['file_size'] == 32 << 20");
	json_holds(o, "d['cto']['size'] == (32 << 20) - 4096 and d['heap']['blocks'] == 1");
	json_holds(o, "d['header']['part_uuid'] != d['header']['next_part_uuid'] == d['header']['prev_part_uuid']");
	snprintf(text, sizeof(text),
		 "[(p['path'], p['size']) for p in d['parts']] == [('%s', 20 << 20), ('%s', 12 << 20)]", in_dir("a"),
		 in_dir("b"));
	json_holds(o, text);
	o = went_well(tool("info", file_in_dir("b")));
	assert_in(o->out, ": part of a pool set\n");
	assert_in(o->out, "open the set");
}

Test(api_tools_sets, info_of_one_header_and_of_directories)
{
	json_holds(went_well(tool("info", "--json",
				  (char *)(uintptr_t)set_prepare("one", "OPTION SINGLEHDR\n" TWO_PARTS))),
		   "d['state'] == 'closed' and d['header']['incompat'] & 1 == 1 and d['cto']['size'] == 32 << 20");
	cr_assert_eq(mkdir(in_dir("dir"), 0755), 0);
	json_holds(went_well(tool("info", "--json",
				  (char *)(uintptr_t)set_prepare("dirs", "OPTION SINGLEHDR\n1G @dir\n"))),
		   "d['state'] == 'closed' and d['parts'][0]['path'].endswith('/dir/000000.pmem')");
	assert_in(went_well(tool("info", file_in_dir("a")))->out, ": part of a pool set\n");
	went_well(tool("rm", file_in_dir("dirs")));
	cr_assert_eq(rmdir(in_dir("dir")), 0, "the file is gone");
}

Test(api_tools_sets, damaged_sets_are_named)
{
	char *set = (char *)(uintptr_t)set_prepare("set", TWO_PARTS);
	struct outcome *o;

	complained(tool("info", set_file("more", TWO_PARTS "12M @c\n")), 1, "No such file or directory");
	complained(tool("info", set_file("size", "20M @a\n13M @b\n")), 1, "the set says");
	o = tool("info", "--json", set_file("order", "12M @b\n20M @a\n"));
	assert_status(o, 1);
	json_holds(o, "d['state'] == 'damaged' and d['findings'][0]['step'] == 'header'");
	complained(tool("dump", set_file("order", "12M @b\n20M @a\n")), 1, "cannot read the heap");
	set_header_field(in_dir("b"), AT_MAJOR, 7, 4);
	o = tool("info", set);
	assert_status(o, 1);
	assert_in(o->out, ": damaged\n");
}

Test(api_tools_sets, map_and_dump_reach_over_the_border)
{
	char *set = set_file("set", TWO_PARTS);
	PMEMctopool *pcp = set_create(set);
	struct outcome *o;

	cr_assert_not_null(pmemcto_malloc(pcp, 28 * MIB));
	pmemcto_close(pcp);
	o = went_well(tool("dump", set));
	assert_in(o->out, " 29360128 -\n");
	o = went_well(tool("map", set));
	assert_in(o->out, "  L  larger blocks              28 MiB");
	complained(tool("map", "-o", file_in_dir("b"), set), 1, "is the pool itself");
}

Test(api_tools_sets, set_with_an_open_part_is_refused)
{
	char *set = (char *)(uintptr_t)set_prepare("set", TWO_PARTS);
	int fd = open(in_dir("b"), O_RDONLY);

	cr_assert_eq(flock(fd, LOCK_EX), 0);
	complained(tool("info", set), 1, "Resource temporarily unavailable");
	complained(tool("rm", set), 1, "it is open");
	complained(tool("rm", "-fa", set), 1, "it is open");
	complained(tool("create", "-f", set), 1, "it is open");
	cr_assert(is_there("set") && is_there("a") && is_there("b"), "whole or not at all");
	close(fd);
	set_is_good(set);
}

Test(api_tools_sets, rm_takes_the_parts_and_the_set_when_told)
{
	struct outcome *o;

	o = went_well(tool("rm", "-v", (char *)(uintptr_t)set_prepare("set", TWO_PARTS)));
	assert_in(o->out, in_dir("a"));
	assert_in(o->out, in_dir("b"));
	cr_assert(is_there("set") && !is_there("a") && !is_there("b"));
	complained(tool("rm", file_in_dir("set")), 1, "No such file or directory");
	went_well(tool("rm", "-f", file_in_dir("set")));
	cr_assert(is_there("set"));
	went_well(tool("rm", "-a", (char *)(uintptr_t)set_prepare("set", "OPTION SINGLEHDR\n" TWO_PARTS)));
	cr_assert_eq(files_in_dir(), 0);
	set_prepare("set", TWO_PARTS);
	o = went_well(tool_answered("n\n", "rm", "-ai", file_in_dir("set")));
	assert_in(o->out, "remove the pool '");
	cr_assert_eq(files_in_dir(), 3);
	went_well(tool_answered("yes\n", "rm", "-ai", file_in_dir("set")));
	cr_assert_eq(files_in_dir(), 0);
}

Test(api_tools_sets, rm_leaves_what_is_not_the_sets)
{
	char *set = (char *)(uintptr_t)set_prepare("set", TWO_PARTS);

	cr_assert_eq(unlink(in_dir("b")), 0);
	complained(tool("rm", set), 1, "No such file or directory");
	run_write_file(in_dir("b"), "Dear John,\n");
	complained(tool("rm", set), 1, "it is no pool");
	complained(tool("rm", set_file("one", "OPTION SINGLEHDR\n" TWO_PARTS)), 1, "it is no pool");
	cr_assert(is_there("a") && is_there("b"));
	went_well(tool("rm", "-fa", set));
	cr_assert(!is_there("set") && !is_there("a") && !is_there("b"));
	complained(tool("rm", "-f", set_file("bad", "nonsense\n")), 1, "line 2");
	cr_assert(is_there("bad"));
}
