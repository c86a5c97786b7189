/* api_tools_check.c -- pmheap check: verdicts, repair asked for, tried out, with a backup, and refused */
#define _GNU_SOURCE
#include "tests/tool_run.h"

TestSuite(api_tools_check, .init = test_dir_make, .fini = test_dir_remove);

Test(api_tools_check, closed_pool_is_consistent_and_not_changed)
{
	struct outcome *o;
	uint64_t hash;

	pool_prepare(in_dir("pool"), PMEMCTO_MIN_POOL);
	hash = file_hash(in_dir("pool"));
	o = went_well(tool("check", file_in_dir("pool")));
	assert_in(o->out, ": consistent\n");
	o = went_well(tool("check", "--json", file_in_dir("pool")));
	json_holds(o, "d['consistent'] is True and d['finding'] is None and d['repaired'] is False");
	/* Nothing to ask about either. */
	o = went_well(tool("check", "--repair", file_in_dir("pool")));
	assert_in(o->out, ": consistent\n");
	cr_expect_eq(file_hash(in_dir("pool")), hash);
	went_well(tool("check", "--repair", "--yes", "--backup", file_in_dir("copy"), file_in_dir("pool")));
	cr_expect_eq(access(in_dir("copy"), F_OK), -1, "a copy of what was not changed");
}

Test(api_tools_check, read_permission_is_enough_to_look)
{
	struct outcome *o;

	if (getuid() != 0)
		SKIP("only root can become somebody else");
	pool_prepare(in_dir("pool"), PMEMCTO_MIN_POOL);
	chmod(in_dir("pool"), 0444);
	o = went_well(tool_as_nobody("check", file_in_dir("pool")));
	assert_in(o->out, ": consistent\n");
	complained(tool_as_nobody("check", "--repair", "--yes", file_in_dir("pool")), 1, "Permission denied");
}

Test(api_tools_check, killed_pool_is_reported_and_not_changed)
{
	struct outcome *o;
	uint64_t hash;

	pool_kill(in_dir("pool"));
	hash = file_hash(in_dir("pool"));
	o = tool("check", file_in_dir("pool"));
	assert_status(o, 1);
	assert_quiet(o);
	assert_in(o->out, ": not consistent: inconsistent pool");
	assert_in(o->out, "it can be repaired");
	o = tool("check", "--repair", "--dry-run", file_in_dir("pool"));
	assert_status(o, 1);
	assert_quiet(o);
	assert_in(o->out, "blocks of");
	assert_in(o->out, "1 large");
	assert_in(o->out, "at most");
	o = tool("check", "--json", "-r", "-n", file_in_dir("pool"));
	assert_status(o, 1);
	json_holds(o, "d['consistent'] is False and d['repairable'] is True and d['repaired'] is False");
	json_holds(o,
		   "d['repair']['large'] == 1 and d['repair']['blocks'] >= 2 and d['repair']['fixed']['slab_records'] "
		   ">= 1");
	json_holds(o, "0 < d['repair']['cached_max'] <= d['repair']['bytes']");
	cr_expect_eq(file_hash(in_dir("pool")), hash);
	REFUSED(pmemcto_open(in_dir("pool"), "test"), EINVAL);
}

Test(api_tools_check, repair_makes_a_pool_that_opens)
{
	struct outcome *o;

	pool_kill(in_dir("pool"));
	o = went_well(tool("check", "--repair", "--yes", file_in_dir("pool")));
	assert_in(o->out, ": repaired\n");
	went_well(tool("check", file_in_dir("pool")));
	pmemcto_close(pool_reopen(in_dir("pool")));
	cr_expect_eq(pmemcto_check(in_dir("pool"), "test"), 1);
	pool_kill(in_dir("other"));
	o = went_well(tool("check", "-ry", "--json", file_in_dir("other")));
	json_holds(o, "d['consistent'] is True and d['repaired'] is True and d['finding'].startswith('inconsistent')");
}

/* Standard input is a file here: there is nobody to ask. */
Test(api_tools_check, without_a_terminal_only_yes_repairs)
{
	struct outcome *o;
	uint64_t hash;

	pool_kill(in_dir("pool"));
	hash = file_hash(in_dir("pool"));
	o = tool_answered("y\n", "check", "--repair", file_in_dir("pool"));
	assert_status(o, 1);
	assert_in(o->err, "no terminal");
	cr_expect_eq(file_hash(in_dir("pool")), hash);
}

Test(api_tools_check, at_a_terminal_the_answer_counts)
{
	struct outcome *o;
	char command[600];

	if (access("/usr/bin/script", X_OK) != 0)
		SKIP("script(1) is missing: no terminal can be had");
	pool_kill(in_dir("pool"));
	snprintf(command, sizeof(command), "printf 'n\\n' | script -qec '" PMHEAP " check --repair %s' /dev/null",
		 in_dir("pool"));
	o = run("", "sh", "-c", command);
	assert_in(o->out, "[y/N]");
	assert_in(o->out, "left as it is");
	cr_expect_neq(o->status, 0);
	free(o);
	snprintf(command, sizeof(command), "printf 'y\\n' | script -qec '" PMHEAP " check --repair %s' /dev/null",
		 in_dir("pool"));
	o = run("", "sh", "-c", command);
	assert_in(o->out, ": repaired");
	free(o);
	pmemcto_close(pool_reopen(in_dir("pool")));
}

Test(api_tools_check, backup_is_the_pool_as_it_was)
{
	struct outcome *o;
	uint64_t hash;

	pool_kill(in_dir("pool"));
	hash = file_hash(in_dir("pool"));
	went_well(tool("check", "-r", "-y", "-b", file_in_dir("copy"), file_in_dir("pool")));
	cr_expect_eq(file_hash(in_dir("copy")), hash);
	cr_expect_neq(file_hash(in_dir("pool")), hash);
	/* A file that is there is not written over, and then nothing is repaired. */
	pool_kill(in_dir("second"));
	hash = file_hash(in_dir("second"));
	o = tool("check", "-r", "-y", "-b", file_in_dir("copy"), file_in_dir("second"));
	assert_status(o, 1);
	assert_in(o->err, "File exists");
	cr_expect_eq(file_hash(in_dir("second")), hash);
}

Test(api_tools_check, backup_of_a_set_of_one_file_is_the_file)
{
	char text[1200];
	uint64_t hash;

	pool_kill(in_dir("pool"));
	hash = file_hash(in_dir("pool"));
	snprintf(text, sizeof(text), "PMEMPOOLSET\n%llu %s\n", (unsigned long long)file_stat(in_dir("pool")).st_size,
		 in_dir("pool"));
	run_write_file(in_dir("set"), text);
	went_well(tool("check", "-r", "-y", "-b", file_in_dir("copy"), file_in_dir("set")));
	cr_expect_eq(file_hash(in_dir("copy")), hash);
	pmemcto_close(pool_reopen(in_dir("set")));
}

Test(api_tools_check, backup_keeps_holes)
{
	int status;

	file_make(in_dir("pool"), 64 * MIB);
	pmemcto_close(pmemcto_create(in_dir("pool"), "test", 0, 0600));
	IN_CHILD(status, _exit(pmemcto_malloc(pool_reopen(in_dir("pool")), 3 * MIB) == NULL));
	cr_assert_eq(status, 0);
	went_well(tool("check", "-r", "-y", "-b", file_in_dir("copy"), file_in_dir("pool")));
	cr_expect_lt(file_stat(in_dir("copy")).st_blocks * 512, 16 * (long)MIB, "the copy has no holes");
	cr_expect_lt(file_stat(in_dir("pool")).st_blocks * 512, 16 * (long)MIB, "the repair filled holes");
	REFUSED(pmemcto_open(in_dir("copy"), "test"), EINVAL);
	went_well(tool("check", "-r", "-y", file_in_dir("copy")));
	pmemcto_close(pool_reopen(in_dir("copy")));
}

Test(api_tools_check, pool_sets_are_repaired_as_one_pool)
{
	struct outcome *o;
	char text[1200];
	int status;

	snprintf(text, sizeof(text), "PMEMPOOLSET\n16M %s\n16M %s\n", in_dir("one"), in_dir("two"));
	run_write_file(in_dir("set"), text);
	IN_CHILD(status, {
		PMEMctopool *pcp = pmemcto_create(in_dir("set"), "test", 0, 0600);
		/* more than one part holds */
		_exit(pcp == NULL || pmemcto_malloc(pcp, 10 * MIB) == NULL || pmemcto_malloc(pcp, 14 * MIB) == NULL);
	});
	cr_assert_eq(status, 0);
	o = tool("check", file_in_dir("set"));
	assert_status(o, 1);
	complained(tool("check", "-ry", "-b", file_in_dir("copy"), file_in_dir("set")), 1, "several files");
	o = went_well(tool("check", "-ry", file_in_dir("set")));
	assert_in(o->out, "2 large");
	went_well(tool("check", file_in_dir("set")));
	pmemcto_close(pool_reopen(in_dir("set")));
}

Test(api_tools_check, open_pool_is_refused)
{
	pool_prepare(in_dir("pool"), PMEMCTO_MIN_POOL);
	pid_t child = pool_hold(in_dir("pool"));
	complained(tool("check", file_in_dir("pool")), 1, "a program has the pool open");
	complained(tool("check", "--repair", "--yes", file_in_dir("pool")), 1, "a program has the pool open");
	pool_let_go(child);
}

Test(api_tools_check, what_cannot_be_repaired_says_why_and_stays)
{
	struct outcome *o;
	uint64_t hash;
	uint32_t ready = 0;

	pool_kill(in_dir("pool"));
	file_write(in_dir("pool"), AT_HEAP + 172, &ready, sizeof(ready)); /* ready_chunks, doc/media-format.md */
	hash = file_hash(in_dir("pool"));
	o = tool("check", "--repair", "--yes", file_in_dir("pool"));
	assert_status(o, 1);
	assert_in(o->out, "it cannot be repaired: the superblock");
	cr_expect_eq(file_hash(in_dir("pool")), hash);
	/* A header that is damaged is nothing to build upon. */
	pool_prepare(in_dir("second"), PMEMCTO_MIN_POOL);
	file_write(in_dir("second"), 100, "damage", 6);
	o = tool("check", "--repair", "--yes", "--json", file_in_dir("second"));
	assert_status(o, 1);
	json_holds(o, "d['repairable'] is False and 'checksum' in d['obstacle'] and 'repair' not in d");
}

Test(api_tools_check, lost_root_is_said_and_cleared)
{
	uint64_t wild = UINT64_C(0x123456789abc);
	struct outcome *o;

	pool_kill(in_dir("pool"));
	file_write(in_dir("pool"), AT_ROOT, &wild, sizeof(wild));
	o = went_well(tool("check", "-ry", file_in_dir("pool")));
	assert_in(o->out, "the root pointer 0x123456789abc was outside of the pool: it is now NULL");
	PMEMctopool *pcp = pool_reopen(in_dir("pool"));
	cr_expect_null(pmemcto_get_root_pointer(pcp));
	pmemcto_close(pcp);
}

Test(api_tools_check, bad_command_lines)
{
	pool_prepare(in_dir("pool"), PMEMCTO_MIN_POOL);
	complained(tool("check"), 2, "no FILE given");
	complained(tool("check", "a", "b"), 2, "what is 'b'?");
	complained(tool("check", "--force", "a"), 2, "unknown option '--force'");
	complained(tool("check", "-b"), 2, "needs a value");
	complained(tool("check", "-y", file_in_dir("pool")), 2, "--yes is of use with --repair only");
	complained(tool("check", "-n", file_in_dir("pool")), 2, "--dry-run is of use with --repair only");
	complained(tool("check", "-rny", file_in_dir("pool")), 2, "makes no sense");
	complained(tool("check", "/nowhere/pool"), 1, "No such file or directory");
	assert_in(went_well(tool("check", "--help"))->out, "usage: pmheap check");
}
