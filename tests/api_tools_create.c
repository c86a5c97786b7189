/* api_tools_create.c -- pmheap create: each option, what it refuses, what it leaves */
#define _GNU_SOURCE
#include "tests/tool_run.h"

#include <sched.h>
#include <sys/mount.h>

TestSuite(api_tools_create, .init = test_dir_make, .fini = test_dir_remove);

static void
expect_pool(const char *path, const char *layout, size_t size)
{
	PMEMctopool *pcp;

	cr_assert_eq((size_t)file_stat(path).st_size, size);
	cr_assert_eq(pmemcto_check(path, layout), 1, "%s", pmemcto_errormsg());
	pcp = pmemcto_open(path, layout);
	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	cr_assert_null(pmemcto_get_root_pointer(pcp));
	cr_assert_not_null(pmemcto_malloc(pcp, MIB));
	pmemcto_close(pcp);
}

Test(api_tools_create, no_options_make_a_pool_of_16_mib)
{
	struct outcome *o = went_well(tool("create", file_in_dir("pool")));

	cr_assert_str_empty(o->out);
	expect_pool(in_dir("pool"), "", 16 * MIB);
	cr_assert_geq((size_t)file_stat(in_dir("pool")).st_blocks * 512, 16 * MIB, "reserved");
}

Test(api_tools_create, sizes_are_taken_as_sets_and_run_have_them)
{
	static const struct {
		const char *text;
		size_t size;
	} good[] = {
		{"16777216", 16777216}, {"16777216B", 16777216}, {"17M", 17 * MIB},      {"17MiB", 17 * MIB},
		{"17MB", 17000000},     {"17m", 17 * MIB},       {"17000k", 17408000},   {"17000kB", 17000000},
		{"16384K", 16 * MIB},   {"16384KiB", 16 * MIB},  {"16777316", 16777316},
	};
	static const char *const bad[] = {"",
					  "lots",
					  "-16M",
					  "+16M",
					  " 16M",
					  "16M ",
					  "16MX",
					  "16X",
					  "16.5M",
					  "16mB",
					  "16miB",
					  "17000KB",
					  "16iB",
					  "99999999999999999999",
					  "9223372036854775808",
					  "16777216P"};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		went_well(tool("create", "-s", (char *)(uintptr_t)good[i].text, file_in_dir("pool")));
		expect_pool(in_dir("pool"), NULL, good[i].size);
		cr_assert_eq(unlink(in_dir("pool")), 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char words[64];

		snprintf(words, sizeof(words), "bad size '%s'", bad[i]);
		complained(tool("create", "-s", (char *)(uintptr_t)bad[i], file_in_dir("pool")), 2, words);
	}
	complained(tool("create", "--size=15M", file_in_dir("pool")), 2,
		   "size '15M' is too small: a pool has at least 16M");
	complained(tool("create", "--size=16777215", file_in_dir("pool")), 2, "too small");
	complained(tool("create", "-s0", file_in_dir("pool")), 2, "bad size '0'");
	cr_assert_eq(files_in_dir(), 0);
}

Test(api_tools_create, sizes_that_cannot_be_had)
{
	complained(tool("create", "-s", "8000P", file_in_dir("pool")), 1, "cannot make");
	complained(tool("create", "-s", "1000T", file_in_dir("pool")), 1, file_in_dir("pool"));
	cr_assert_eq(files_in_dir(), 0);
}

Test(api_tools_create, layout)
{
	char longest[1025];

	went_well(tool("create", "-l", "my layout", file_in_dir("pool")));
	expect_pool(in_dir("pool"), "my layout", 16 * MIB);
	memset(longest, 'x', sizeof(longest));
	longest[1023] = '\0';
	went_well(tool("create", "--layout", longest, file_in_dir("two")));
	expect_pool(in_dir("two"), longest, 16 * MIB);
	longest[1023] = 'x';
	longest[1024] = '\0';
	complained(tool("create", "-l", longest, file_in_dir("three")), 2, "has 1024 bytes, at most 1023");
	cr_assert_eq(files_in_dir(), 2);
}

Test(api_tools_create, mode_is_exact_and_the_default_follows_the_umask)
{
	mode_t mask = umask(077);

	went_well(tool("create", "-m", "666", file_in_dir("a")));
	cr_assert_eq(file_stat(in_dir("a")).st_mode & 07777, 0666);
	went_well(tool("create", file_in_dir("b")));
	cr_assert_eq(file_stat(in_dir("b")).st_mode & 07777, 0600);
	umask(002);
	went_well(tool("create", file_in_dir("c")));
	cr_assert_eq(file_stat(in_dir("c")).st_mode & 07777, 0664);
	went_well(tool("create", "--mode=0400", file_in_dir("d")));
	cr_assert_eq(file_stat(in_dir("d")).st_mode & 07777, 0400);
	umask(mask);
	complained(tool("create", "-m", "rw", file_in_dir("e")), 2, "bad mode 'rw'");
	complained(tool("create", "-m", "888", file_in_dir("e")), 2, "bad mode '888'");
	complained(tool("create", "-m", "7777777", file_in_dir("e")), 2, "bad mode");
	complained(tool("create", "-m", "", file_in_dir("e")), 2, "bad mode ''");
}

Test(api_tools_create, verbose_says_what_was_made)
{
	struct outcome *o =
		went_well(tool("create", "-v", "-m", "640", "-l", "a \"b\"\n", "-s", "20M", file_in_dir("pool")));

	assert_in(o->out, in_dir("pool"));
	assert_in(o->out, "20 MiB (20971520 bytes), mode 0640, layout \"a \\\"b\\\"\\x0a\"\n");
}

Test(api_tools_create, inherits_layout_and_size)
{
	went_well(tool("create", "-l", "first", "-s", "20M", file_in_dir("a")));
	went_well(tool("create", "-i", file_in_dir("a"), file_in_dir("b")));
	expect_pool(in_dir("b"), "first", 20 * MIB);
	went_well(tool("create", "-i", file_in_dir("a"), "-l", "second", file_in_dir("c")));
	expect_pool(in_dir("c"), "second", 20 * MIB);
	went_well(tool("create", "-i", file_in_dir("a"), "-s", "18M", file_in_dir("d")));
	expect_pool(in_dir("d"), "first", 18 * MIB);
	pool_kill(in_dir("e"));
	went_well(tool("create", "-i", file_in_dir("e"), file_in_dir("f")));
	expect_pool(in_dir("f"), "test", 16 * MIB);
	complained(tool("create", "-i", file_in_dir("none"), file_in_dir("g")), 1, "No such file");
	file_make(in_dir("zeros"), 16 * MIB);
	complained(tool("create", "-i", file_in_dir("zeros"), file_in_dir("g")), 1, "cannot inherit from");
	cr_assert_neq(access(in_dir("g"), F_OK), 0);
}

Test(api_tools_create, file_that_is_there_says_its_size_and_is_empty)
{
	file_make(in_dir("file"), 20 * MIB);
	complained(tool("create", "-s", "20M", file_in_dir("file")), 1, "is there (");
	complained(tool("create", "-M", file_in_dir("file")), 1, "is there (");
	went_well(tool("create", "-l", "x", file_in_dir("file")));
	expect_pool(in_dir("file"), "x", 20 * MIB);
	complained(tool("create", file_in_dir("file")), 1, "begins with data");
	expect_pool(in_dir("file"), "x", 20 * MIB);
	file_make(in_dir("small"), MIB);
	complained(tool("create", file_in_dir("small")), 1, "a pool needs");
	complained(tool("create", (char *)test_dir), 1, "Is a directory");
}

Test(api_tools_create, force_takes_away_a_pool_and_nothing_else)
{
	pid_t holder;

	went_well(tool("create", "-f", "-s", "20M", file_in_dir("pool")));
	went_well(tool("create", "-f", "-s", "18M", "-l", "new", file_in_dir("pool")));
	expect_pool(in_dir("pool"), "new", 18 * MIB);
	complained(tool("create", "-f", "-s", "1M", file_in_dir("pool")), 2, "too small");
	expect_pool(in_dir("pool"), "new", 18 * MIB);
	holder = pool_hold(in_dir("pool"));
	complained(tool("create", "-f", file_in_dir("pool")), 1, "it is open");
	pool_let_go(holder);
	went_well(tool("create", "-f", "-i", file_in_dir("pool"), file_in_dir("pool")));
	expect_pool(in_dir("pool"), "new", 18 * MIB);
	run_write_file(in_dir("letter"), "Dear John,\n");
	complained(tool("create", "-f", file_in_dir("letter")), 1, "it is no pool");
	cr_assert_str_eq(run_file(in_dir("letter")), "Dear John,\n");
	complained(tool("create", "-f", (char *)test_dir), 1, "it is a directory");
}

Test(api_tools_create, places_that_cannot_have_it)
{
	complained(tool("create", file_in_dir("no/such/pool")), 1, "No such file or directory");
	complained(tool("create", "/proc/pool"), 1, "cannot make '/proc/pool'");
	complained(tool("create", ""), 1, "No such file or directory");
	if (geteuid() != 0)
		SKIP("needs root, to become somebody else");
	complained(tool_as_nobody("create", file_in_dir("pool")), 1, "Permission denied");
	complained(tool_as_nobody("create", "-f", file_in_dir("pool")), 1, "Permission denied");
	cr_assert_eq(files_in_dir(), 0);
}

/* A tmpfs of 40 MiB, in a child with mounts of its own. */
static void
small_fs(int *status, char *const argv[], const char *words)
{
	IN_CHILD(*status, {
		struct outcome *o;

		if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
		    mount("tmpfs", test_dir, "tmpfs", 0, "size=40M") != 0)
			_exit(77);
		o = tool_as(0, NULL, argv);
		if (words != NULL)
			_exit(o->status == 1 && strstr(o->err, words) != NULL && files_in_dir() == 0 ? 0 : 1);
		if (o->status != 0 || (size_t)file_stat(in_dir("pool")).st_size <= 38 * MIB ||
		    pmemcto_check(in_dir("pool"), NULL) != 1)
			_exit(1);
	});
}

Test(api_tools_create, full_file_system)
{
	int status;

	small_fs(&status, (char *const[]){"pmheap", "create", "-s", "50M", file_in_dir("pool"), NULL},
		 "No space left on device");
	if (status == 77)
		SKIP("cannot mount a small tmpfs here");
	cr_assert_eq(status, 0);
	small_fs(&status, (char *const[]){"pmheap", "create", "-M", file_in_dir("pool"), NULL}, NULL);
	cr_assert_eq(status, 0, "all that is free");
}

Test(api_tools_create, bad_words)
{
	complained(tool("create"), 2, "no FILE given");
	complained(tool("create", "a", "b"), 2, "what is 'b'?");
	complained(tool("create", "-z", "a"), 2, "unknown option '-z'");
	complained(tool("create", "--zero", "a"), 2, "unknown option '--zero'");
	complained(tool("create", "--force=yes", "a"), 2, "option '--force=yes' takes no value");
	complained(tool("create", "-s"), 2, "option '-s' needs a value");
	complained(tool("create", "--layout"), 2, "option '--layout' needs a value");
	complained(tool("create", "-s", "16M", "-M", "a"), 2, "--size and --max-size do not go together");
	assert_in(went_well(tool("create", "--help"))->out, "--max-size");
}
