/* api_tools_dump.c -- pmheap dump: every block in use and no other, where it lies, also when there are many */
#define _GNU_SOURCE
#include "tests/tool_run.h"

TestSuite(api_tools_dump, .init = test_dir_make, .fini = test_dir_remove);

#define BLOCKS 2000

static struct {
	char *p;
	size_t usable;
} blocks[BLOCKS];

static int
by_address(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return (*x > *y) - (*x < *y);
}

/* Blocks of all sizes, every third one freed; those left in `blocks`, sorted. Returns how many. */
static int
make_known(const char *path, char **base)
{
	PMEMctopool *pcp = pool_make(path, 64 * MIB);
	int n = 0;

	*base = (char *)pcp;
	srand(5);
	for (int i = 0; i < BLOCKS; i++) {
		size_t size = i % 200 == 7 ? (size_t)rand() % (2 * MIB)
			: i % 10 == 3      ? (size_t)rand() % 50000
					   : (size_t)rand() % 500;

		blocks[i].p = pmemcto_malloc(pcp, size);
		cr_assert_not_null(blocks[i].p);
	}
	for (int i = 0; i < BLOCKS; i++) {
		if (i % 3 == 0) {
			pmemcto_free(pcp, blocks[i].p);
			continue;
		}
		blocks[n].p = blocks[i].p;
		blocks[n].usable = pmemcto_malloc_usable_size(pcp, blocks[i].p);
		n++;
	}
	pmemcto_close(pcp);
	qsort(blocks, (size_t)n, sizeof(blocks[0]), by_address);
	return n;
}

/* The output is more than an outcome keeps. */
static FILE *
dump_lines(const char *path, const char *option)
{
	char command[1000];
	FILE *in;

	snprintf(command, sizeof(command), "%s dump %s %s", PMHEAP, option, path);
	in = popen(command, "r");
	cr_assert_not_null(in);
	return in;
}

Test(api_tools_dump, blocks_are_told_where_they_are)
{
	char *base, line[200], class[20];
	int n = make_known(in_dir("pool"), &base);
	uint64_t hash = file_hash(in_dir("pool"));
	FILE *in = dump_lines(in_dir("pool"), "");

	cr_assert_not_null(fgets(line, sizeof(line), in));
	cr_assert_str_eq(line, "# offset address size class\n");
	for (int i = 0; i < n; i++) {
		size_t offset, address, size;

		cr_assert_not_null(fgets(line, sizeof(line), in), "%d of %d lines", i, n);
		cr_assert_eq(sscanf(line, "0x%zx 0x%zx %zu %19s\n", &offset, &address, &size, class), 4, "%s", line);
		cr_assert_eq(address, (size_t)blocks[i].p, "line %d: %s", i, line);
		cr_assert_eq(offset, (size_t)(blocks[i].p - base));
		cr_assert_eq(size, blocks[i].usable);
		cr_assert_eq(strcmp(class, "-") == 0, size > MIB);
	}
	cr_assert_null(fgets(line, sizeof(line), in));
	cr_assert_eq(pclose(in), 0);
	cr_assert_eq(file_hash(in_dir("pool")), hash);
}

Test(api_tools_dump, blocks_as_json)
{
	char *base, command[2000];
	int n = make_known(in_dir("pool"), &base);
	size_t bytes = 0;

	for (int i = 0; i < n; i++)
		bytes += blocks[i].usable;
	snprintf(command, sizeof(command),
		 "%s dump --json %s | python3 -c \""
		 "import json, sys; d = json.load(sys.stdin); b = d['blocks']\n"
		 "assert d['count'] == len(b) == %d and d['bytes'] == sum(x['size'] for x in b) == %zu and d['closed'] "
		 "is True\n"
		 "assert all(x['offset'] + x['size'] <= y['offset'] for x, y in zip(b, b[1:]))\n"
		 "assert all(int(x['address'], 16) - x['offset'] == %zu for x in b)\n"
		 "assert all((x['class'] is None) == (x['size'] > 1 << 20) for x in b)\n\"",
		 PMHEAP, in_dir("pool"), n, bytes, (size_t)base);
	cr_assert_eq(system(command), 0);
}

/* More than would be kept in memory, if it were. */
Test(api_tools_dump, million_blocks)
{
	PMEMctopool *pcp = pool_make(in_dir("pool"), 64 * MIB);
	int n = 1000000 / (int)CTO_TEST_SLOW, lines = 0;
	char line[200];
	FILE *in;

	for (int i = 0; i < n; i++)
		cr_assert_not_null(pmemcto_malloc(pcp, 16));
	pmemcto_close(pcp);
	in = dump_lines(in_dir("pool"), "");
	while (fgets(line, sizeof(line), in) != NULL)
		lines++;
	cr_assert_eq(pclose(in), 0);
	cr_assert_eq(lines, n + 1);
}

/* A reader that is slow makes the work long: a terminal on stderr is told how far it is, and has a clean line at the end. */
Test(api_tools_dump, long_work_shows_progress_on_a_terminal)
{
	PMEMctopool *pcp = pool_make(in_dir("pool"), 64 * MIB);
	int master = posix_openpt(O_RDWR | O_NOCTTY), to_reader[2], status;
	static char text[1 << 16], junk[1 << 16];
	size_t n = 0;
	ssize_t got;
	pid_t child;

	for (int i = 0; i < 200000; i++)
		cr_assert_not_null(pmemcto_malloc(pcp, 200));
	pmemcto_close(pcp);
	cr_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0 && pipe(to_reader) == 0);
	child = fork();
	if (child == 0) {
		dup2(to_reader[1], 1);
		dup2(open(ptsname(master), O_RDWR | O_NOCTTY), 2);
		close(to_reader[0]);
		close(to_reader[1]);
		execl(PMHEAP, "pmheap", "dump", in_dir("pool"), (char *)NULL);
		_exit(98);
	}
	close(to_reader[1]);
	usleep(1200000);
	while (read(to_reader[0], junk, sizeof(junk)) > 0)
		continue;
	while ((got = read(master, text + n, sizeof(text) - 1 - n)) >
	       0) /* EIO when all others have closed it, pty(7) */
		n += (size_t)got;
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
	assert_in(text, "\rdumping ");
	cr_assert(n > 4 && strcmp(text + n - 4, "\r\033[K") == 0, "%s", text);
	close(master);
}

Test(api_tools_dump, empty_pool)
{
	struct outcome *o;

	pmemcto_close(pool_make(in_dir("pool"), 16 * MIB));
	o = went_well(tool("dump", file_in_dir("pool")));
	cr_assert_str_eq(o->out, "# offset address size class\n");
	json_holds(went_well(tool("dump", "--json", file_in_dir("pool"))),
		   "d['blocks'] == [] and d['count'] == d['bytes'] == 0");
}

Test(api_tools_dump, pool_that_was_not_closed_is_dumped_with_a_warning)
{
	struct outcome *o;

	pool_kill(in_dir("pool"));
	o = tool("dump", "--json", file_in_dir("pool"));
	json_holds(o, "d['closed'] is False and d['count'] >= 2 and max(b['size'] for b in d['blocks']) == 3 << 20");
	complained(o, 0, "warning: ");
}

Test(api_tools_dump, damage_is_said)
{
	struct outcome *o;
	PMEMctopool *pcp = pool_make(in_dir("pool"), 16 * MIB);

	cr_assert_not_null(pmemcto_malloc(pcp, 3 * MIB));
	pmemcto_close(pcp);
	file_write(in_dir("pool"), AT_ROOT, "x", 1);
	o = tool("dump", file_in_dir("pool"));
	assert_in(o->out, " 3145728 -\n");
	complained(o, 1, "is damaged: the descriptor is damaged: wrong checksum of the closed pool");
	file_write(in_dir("pool"), AT_HEAP, "x", 1);
	complained(tool("dump", file_in_dir("pool")), 1, "cannot read the heap");
	cr_assert_eq(truncate(in_dir("pool"), (off_t)MIB), 0);
	complained(tool("dump", file_in_dir("pool")), 1, "shorter than the pool");
	run_write_file(in_dir("letter"), "Dear John,\n");
	complained(tool("dump", file_in_dir("letter")), 1, "wrong pool type");
}

Test(api_tools_dump, open_pool_and_missing_ones_are_refused)
{
	pid_t holder;

	pool_prepare(in_dir("pool"), 16 * MIB);
	holder = pool_hold(in_dir("pool"));
	complained(tool("dump", file_in_dir("pool")), 1, "Resource temporarily unavailable");
	pool_let_go(holder);
	complained(tool("dump", file_in_dir("none")), 1, "No such file or directory");
	complained(tool("dump", (char *)test_dir), 1, "Is a directory");
}

Test(api_tools_dump, reading_is_enough_and_needed)
{
	if (geteuid() != 0)
		SKIP("needs root, to become somebody else");
	pool_prepare(in_dir("pool"), 16 * MIB);
	cr_assert_eq(chmod(in_dir("pool"), 0444), 0);
	went_well(tool_as_nobody("dump", file_in_dir("pool")));
	cr_assert_eq(chmod(in_dir("pool"), 0600), 0);
	complained(tool_as_nobody("dump", file_in_dir("pool")), 1, "Permission denied");
}

Test(api_tools_dump, bad_words_and_full_output)
{
	complained(tool("dump"), 2, "no FILE given");
	complained(tool("dump", "a", "b"), 2, "what is 'b'?");
	complained(tool("dump", "-z", "a"), 2, "unknown option '-z'");
	complained(tool("dump", "--json=1", "a"), 2, "takes no value");
	assert_in(went_well(tool("dump", "-h"))->out, "--json");
	pool_prepare(in_dir("pool"), 16 * MIB);
	complained(keep(run("", "/bin/sh", "-c", "\"$0\" dump \"$1\" > /dev/full", PMHEAP, file_in_dir("pool"))), 1,
		   "cannot write to standard output");
}
