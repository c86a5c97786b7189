/* api_tools_rm.c -- pmheap rm: what goes, what stays, what it says */
#define _GNU_SOURCE
#include "tests/tool_run.h"

TestSuite(api_tools_rm, .init = test_dir_make, .fini = test_dir_remove);

Test(api_tools_rm, pools_go)
{
	struct outcome *o;

	pool_prepare(in_dir("a"), 16 * MIB);
	pool_prepare(in_dir("b"), 16 * MIB);
	pool_kill(in_dir("c"));
	cr_assert_str_empty(went_well(tool("rm", file_in_dir("a")))->out);
	cr_assert_eq(files_in_dir(), 2);
	o = went_well(tool("rm", "-v", file_in_dir("b"), file_in_dir("c")));
	assert_in(o->out, "removed '");
	assert_in(o->out, in_dir("b"));
	assert_in(o->out, in_dir("c"));
	cr_assert_eq(files_in_dir(), 0);
}

Test(api_tools_rm, open_pool_stays_even_by_force)
{
	pid_t holder;

	pool_prepare(in_dir("a"), 16 * MIB);
	pool_prepare(in_dir("b"), 16 * MIB);
	holder = pool_hold(in_dir("a"));
	complained(tool("rm", file_in_dir("a"), file_in_dir("b")), 1, "it is open");
	complained(tool("rm", "-f", file_in_dir("a")), 1, "it is open");
	cr_assert_eq(access(in_dir("a"), F_OK), 0);
	cr_assert_neq(access(in_dir("b"), F_OK), 0, "the others go");
	pool_let_go(holder);
	went_well(tool("rm", file_in_dir("a")));
}

Test(api_tools_rm, what_is_no_pool_goes_by_force_only)
{
	run_write_file(in_dir("letter"), "Dear John,\n");
	file_make(in_dir("empty"), 0);
	complained(tool("rm", file_in_dir("letter")), 1, "it is no pool");
	complained(tool("rm", file_in_dir("empty")), 1, "it is no pool");
	complained(tool("rm", "-f", (char *)test_dir), 1, "it is a directory");
	complained(tool("rm", "-f", "/dev/null"), 1, "it is no regular file");
	cr_assert_eq(files_in_dir(), 2);
	went_well(tool("rm", "--force", file_in_dir("letter"), file_in_dir("empty")));
	cr_assert_eq(files_in_dir(), 0);
}

Test(api_tools_rm, missing_file_is_a_failure_but_by_force)
{
	complained(tool("rm", file_in_dir("a")), 1, "No such file or directory");
	went_well(tool("rm", "-f", file_in_dir("a")));
}

Test(api_tools_rm, links_are_not_followed)
{
	pool_prepare(in_dir("a"), 16 * MIB);
	cr_assert_eq(symlink(in_dir("a"), in_dir("link")), 0);
	complained(tool("rm", file_in_dir("link")), 1, "symbolic link");
	complained(tool("rm", "-f", file_in_dir("link")), 1, "symbolic link");
	cr_assert_eq(files_in_dir(), 2);
}

Test(api_tools_rm, damaged_pool_goes)
{
	pool_prepare(in_dir("a"), 16 * MIB);
	cr_assert_eq(truncate(in_dir("a"), 100), 0);
	went_well(tool("rm", file_in_dir("a")));
	cr_assert_eq(files_in_dir(), 0);
}

Test(api_tools_rm, asks_before_each)
{
	struct outcome *o;

	pool_prepare(in_dir("a"), 16 * MIB);
	pool_prepare(in_dir("b"), 16 * MIB);
	o = tool_answered("n\ny\n", "rm", "-i", file_in_dir("a"), file_in_dir("b"));
	went_well(o);
	assert_in(o->out, "remove the pool '");
	cr_assert_eq(access(in_dir("a"), F_OK), 0);
	cr_assert_neq(access(in_dir("b"), F_OK), 0);
	went_well(tool_answered("", "rm", "-i", file_in_dir("a")));
	cr_assert_eq(access(in_dir("a"), F_OK), 0, "no answer is no");
}

Test(api_tools_rm, needs_permission)
{
	if (geteuid() != 0)
		SKIP("needs root, to become somebody else");
	pool_prepare(in_dir("a"), 16 * MIB);
	complained(tool_as_nobody("rm", file_in_dir("a")), 1, "Permission denied");
	cr_assert_eq(chmod(in_dir("a"), 0666), 0);
	complained(tool_as_nobody("rm", file_in_dir("a")), 1, "Permission denied");
	cr_assert_eq(files_in_dir(), 1);
}

Test(api_tools_rm, bad_words)
{
	complained(tool("rm"), 2, "no FILE given");
	complained(tool("rm", "-f"), 2, "no FILE given");
	complained(tool("rm", "-z"), 2, "unknown option '-z'");
	complained(tool("rm", "--all=1", "a"), 2, "takes no value");
	assert_in(went_well(tool("rm", "-h"))->out, "--interactive");
}
