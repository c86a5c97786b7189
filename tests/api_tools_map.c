/* api_tools_map.c -- pmheap map: the picture shows what is where, on a terminal, without one, and as SVG */
#define _GNU_SOURCE
#include "tests/tool_run.h"

#include <sys/ioctl.h>
#include <termios.h>

TestSuite(api_tools_map, .init = test_dir_make, .fini = test_dir_remove);

/* From the front on: small slots, a block of 4 MiB, 4 MiB free, a block of 4 MiB. */
static void
make_known(const char *path)
{
	PMEMctopool *pcp = pmemcto_create(path, "map", 32 * MIB, 0644);
	void *p[3];

	cr_assert_not_null(pcp);
	for (int i = 0; i < 2000; i++)
		cr_assert_not_null(pmemcto_malloc(pcp, 64));
	for (int i = 0; i < 3; i++)
		p[i] = pmemcto_malloc(pcp, 4 * MIB);
	cr_assert(p[0] < p[1] && p[1] < p[2]);
	pmemcto_free(pcp, p[1]);
	pmemcto_close(pcp);
}

/* A sparse file of 64 MiB with a hole in its used part. */
static void
make_sparse(const char *path)
{
	PMEMctopool *pcp;

	file_make(path, 64 * MIB);
	pcp = pmemcto_create(path, "sparse", 0, 0644);
	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	cr_assert_not_null(pmemcto_malloc(pcp, 5 * MIB));
	pmemcto_close(pcp);
}

/* Lines of cells, without what is before them. */
static char *
cells_of(const struct outcome *o, size_t width)
{
	char *cells = keep(calloc(1, sizeof(o->out))), *at = cells;

	for (const char *line = strchr(o->out, '\n') + 1; strncmp(line, "0x", 2) == 0; line = strchr(line, '\n') + 1) {
		const char *end = strchr(line, '\n');

		cr_assert(end - line - 13 == (ptrdiff_t)width || strncmp(end + 1, "0x", 2) != 0, "%s", line);
		memcpy(at, line + 13, (size_t)(end - line - 13));
		at += end - line - 13;
	}
	return cells;
}

Test(api_tools_map, letters_where_no_terminal_is)
{
	uint64_t hash;
	struct outcome *o;
	char *cells, *at;

	make_known(in_dir("pool"));
	hash = file_hash(in_dir("pool"));
	o = went_well(tool("map", file_in_dir("pool"))); /* 64 cells in a line, 32 KiB each: 16 lines */
	cr_assert_null(strchr(o->out, '\033'));
	assert_in(o->out, ": 32 MiB, a cell is 32 KiB, largest free block ");
	cells = cells_of(o, 64);
	cr_assert_eq(strlen(cells), 1024);
	cr_assert_eq(cells[0], 'T');
	at = cells + strspn(cells, "T");
	cr_assert_eq(*at, 'A', "slots of 64 bytes: %s", cells);
	at += strspn(at, "Aa.");
	cr_assert_geq(strspn(at, "L"), 126, "4 MiB: %s", at);
	cr_assert_leq(strspn(at, "L"), 129);
	at += strspn(at, "L");
	cr_assert_geq(strspn(at, "."), 126, "4 MiB free: %s", at);
	at += strspn(at, ".");
	cr_assert_geq(strspn(at, "L"), 126, "4 MiB: %s", at);
	at += strspn(at, "Ll");
	cr_assert_eq(strspn(at, ".-"), strlen(at), "%s", at);
	assert_in(o->out, "  A  slots to 64 bytes ");
	assert_in(o->out, "  L  larger blocks ");
	assert_in(o->out, "  8 MiB, 8 MiB in use (100 %)\n");
	assert_in(o->out, "  -  never used ");
	cr_assert_eq(file_hash(in_dir("pool")), hash);
}

Test(api_tools_map, width_decides_the_cells)
{
	struct outcome *o;

	make_known(in_dir("pool"));
	o = went_well(tool("map", "-w", "32", file_in_dir("pool")));
	cr_assert_eq(strlen(cells_of(o, 32)), 512);
	o = went_well(tool("map", "--width=100", file_in_dir("pool")));
	cr_assert_eq(strlen(cells_of(o, 100)), 2048);
	complained(tool("map", "-w", "0", file_in_dir("pool")), 2, "bad width '0'");
	complained(tool("map", "-w", "-5", file_in_dir("pool")), 2, "bad width '-5'");
	complained(tool("map", "-w", "wide", file_in_dir("pool")), 2, "bad width 'wide'");
	complained(tool("map", "-w", "7", file_in_dir("pool")), 2, "from 8 to 1024");
	complained(tool("map", "-w", "1025", file_in_dir("pool")), 2, "from 8 to 1024");
	complained(tool("map", "-w", "100", "-o", "-", file_in_dir("pool")), 2, "from 256 to 16384");
}

Test(api_tools_map, holes_of_a_sparse_file_show)
{
	struct outcome *o;

	make_sparse(in_dir("pool"));
	o = went_well(tool("map", file_in_dir("pool")));
	cr_assert_not_null(strchr(cells_of(o, 64), 'o'));
	assert_in(o->out, "  o  free, not in the file ");
	assert_in(went_well(tool("map", "-o", "-", file_in_dir("pool")))->out, "free, not in the file");
}

Test(api_tools_map, colours_when_asked_for)
{
	make_known(in_dir("pool"));
	setenv("LC_ALL", "C.UTF-8", 1);
	assert_in(went_well(tool("map", "--color=always", file_in_dir("pool")))->out, "\033[38;5;");
	assert_in(went_well(tool("map", "--color=always", file_in_dir("pool")))->out, "█");
	cr_assert_null(strchr(went_well(tool("map", "--color=never", file_in_dir("pool")))->out, '\033'));
	setenv("LC_ALL", "C", 1);
	cr_assert_null(strstr(went_well(tool("map", "--color=always", file_in_dir("pool")))->out, "█"),
		       "no UTF-8, no blocks");
	complained(tool("map", "--color=red", file_in_dir("pool")), 2, "no such choice of colour 'red'");
}

/* What pmheap writes to a terminal of so many columns. */
static char *
on_terminal(int columns, const char *term, const char *no_color)
{
	struct winsize size = {.ws_row = 50, .ws_col = (unsigned short)columns};
	int master = posix_openpt(O_RDWR | O_NOCTTY), status;
	char *text = keep(calloc(1, 1 << 17));
	size_t n = 0;
	ssize_t got;
	pid_t child;

	cr_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	cr_assert_eq(ioctl(master, TIOCSWINSZ, &size), 0);
	child = fork();
	if (child == 0) {
		int slave = open(ptsname(master), O_RDWR | O_NOCTTY);

		dup2(slave, 1);
		setenv("LC_ALL", "C.UTF-8", 1);
		setenv("TERM", term, 1);
		if (no_color != NULL)
			setenv("NO_COLOR", no_color, 1);
		execl(PMHEAP, "pmheap", "map", in_dir("pool"), (char *)NULL);
		_exit(98);
	}
	while ((got = read(master, text + n, (1 << 17) - 1 - n)) > 0) /* EIO when all others have closed it, pty(7) */
		n += (size_t)got;
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
	close(master);
	return text;
}

Test(api_tools_map, terminal_has_colours_and_blocks)
{
	char *text;

	make_known(in_dir("pool"));
	text = on_terminal(150, "xterm", NULL);
	assert_in(text, "\033[38;5;");
	assert_in(text, "█");
	assert_in(text, "a cell is 16 KiB"); /* 128 in a line */
	text = on_terminal(60, "xterm", NULL);
	assert_in(text, "a cell is 64 KiB"); /* 32 in a line */
	text = on_terminal(150, "xterm", "1");
	cr_assert_null(strchr(text, '\033'));
	assert_in(text, "█");
	cr_assert_null(strchr(on_terminal(150, "dumb", NULL), '\033'));
	assert_in(on_terminal(150, "xterm", ""), "\033[38;5;");
}

/* As XML, of which a Python expression about its root `r`, its text `t` and its paths `p` is true. */
static void
svg_holds(const char *path, const char *expression)
{
	static const char program[] = "import sys, xml.etree.ElementTree as e\n"
				      "r = e.parse(sys.argv[1]).getroot()\n"
				      "n = '{http://www.w3.org/2000/svg}'\n"
				      "t = [''.join(x.itertext()) for x in r.iter(n + 'text')]\n"
				      "p = {x.get('fill'): x.get('d') for x in r.iter(n + 'path')}\n"
				      "titles = [x.text for x in r.iter(n + 'title')]\n"
				      "assert r.tag == n + 'svg'\n"
				      "sys.exit(0 if eval(sys.argv[2]) else 'false: ' + sys.argv[2])\n";
	struct outcome *o = run("", "python3", "-c", (char *)(uintptr_t)program, (char *)(uintptr_t)path,
				(char *)(uintptr_t)expression);

	cr_assert(o->status == 0, "%s", o->err);
	free(o);
}

Test(api_tools_map, svg_is_well_formed_and_tells_each_extent)
{
	struct outcome *o;

	make_known(in_dir("pool"));
	o = went_well(tool("map", "-o", file_in_dir("map.svg"), file_in_dir("pool")));
	cr_assert_str_empty(o->out);
	svg_holds(in_dir("map.svg"), "int(r.get('width')) > 1024 and int(r.get('height')) > 400 and len(p) > 6");
	svg_holds(in_dir("map.svg"), "any('larger blocks' in x for x in t) and any('never used' in x for x in t)");
	svg_holds(in_dir("map.svg"), "sum('block of 4 MiB' in x for x in titles) >= 2");
	svg_holds(in_dir("map.svg"), "any('slots of 64 bytes in use' in x for x in titles)");
	svg_holds(in_dir("map.svg"), "any(x.startswith('32 MiB, 8.1 MiB in use') for x in t)");
	went_well(tool("map", "-o", file_in_dir("small.svg"), "-w", "300", file_in_dir("pool")));
	svg_holds(in_dir("small.svg"), "any('larger blocks' in x for x in t)");
	o = went_well(tool("map", "-o", "-", file_in_dir("pool")));
	cr_assert_str_eq(run_file(in_dir("map.svg")), o->out);
}

/* The picture does not grow with the pool: 8 GiB, sparse, with a million blocks. */
Test(api_tools_map, large_pool_is_summed_up)
{
	PMEMctopool *pcp;

	file_make(in_dir("pool"), (size_t)8 << 30);
	pcp = pmemcto_create(in_dir("pool"), NULL, 0, 0600);
	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	for (size_t i = 0; i < 400000 / CTO_TEST_SLOW; i++)
		cr_assert_not_null(pmemcto_malloc(pcp, 16 + i * 31 % 400));
	pmemcto_close(pcp);
	went_well(tool("map", "-o", file_in_dir("map.svg"), file_in_dir("pool")));
	cr_assert_lt(file_stat(in_dir("map.svg")).st_size, 1000000);
	svg_holds(in_dir("map.svg"), "any(x.startswith('8 GiB') for x in t)");
	assert_in(went_well(tool("map", file_in_dir("pool")))->out, "a cell is 8 MiB");
}

Test(api_tools_map, names_are_escaped)
{
	make_known(in_dir("a<b>&\"c\xff"));
	went_well(tool("map", "-o", file_in_dir("map.svg"), file_in_dir("a<b>&\"c\xff")));
	svg_holds(in_dir("map.svg"), "t[0].endswith('/a<b>&\"c?')");
}

Test(api_tools_map, output_that_cannot_be_written)
{
	uint64_t hash;

	make_known(in_dir("pool"));
	hash = file_hash(in_dir("pool"));
	complained(tool("map", "-o", file_in_dir("no/map.svg"), file_in_dir("pool")), 1, "No such file or directory");
	complained(tool("map", "-o", "/dev/full", file_in_dir("pool")), 1, "cannot write '/dev/full'");
	complained(tool("map", "-o", file_in_dir("pool"), file_in_dir("pool")), 1, "is the pool itself");
	cr_assert_eq(symlink(in_dir("pool"), in_dir("link")), 0);
	complained(tool("map", "-o", file_in_dir("link"), file_in_dir("pool")), 1, "is the pool itself");
	cr_assert_eq(file_hash(in_dir("pool")), hash);
}

Test(api_tools_map, pool_that_was_not_closed_and_damaged_ones)
{
	struct outcome *o;

	pool_kill(in_dir("pool"));
	o = went_well(tool("map", file_in_dir("pool")));
	assert_in(o->out, "not closed");
	file_write(in_dir("pool"), AT_HEAP, "x", 1);
	complained(tool("map", file_in_dir("pool")), 1, "cannot read the heap");
	complained(tool("map", "-o", file_in_dir("map.svg"), file_in_dir("pool")), 1, "cannot read the heap");
	cr_assert_neq(access(in_dir("map.svg"), F_OK), 0);
	run_write_file(in_dir("letter"), "Dear John,\n");
	complained(tool("map", file_in_dir("letter")), 1, "wrong pool type");
	pool_prepare(in_dir("root"), 16 * MIB);
	file_write(in_dir("root"), AT_ROOT, "x", 1);
	complained(tool("map", file_in_dir("root")), 1, "is damaged");
}

/* Pages that nothing owns are shown, however few. */
Test(api_tools_map, lost_pages_show)
{
	struct outcome *o;
	uint64_t page_class, pages, page;
	unsigned char byte = 0;

	make_known(in_dir("pool"));
	page_class = get_field(in_dir("pool"), AT_HEAP + 80, 8);
	pages = get_field(in_dir("pool"), AT_HEAP + 56, 8);
	page = (pages - pages) / 4096;
	file_read(in_dir("pool"), page_class + page, &byte, 1);
	cr_assert_neq(byte, 0, "the first page is in use");
	byte = 255;
	file_write(in_dir("pool"), page_class + page, &byte, 1);
	o = tool("map", file_in_dir("pool"));
	complained(o, 1, "is damaged: pages of the heap are in use by nothing");
	cr_assert_not_null(strchr(cells_of(o, 64), '!'));
	assert_in(o->out, "  !  in use by nothing ");
	o = tool("map", "-o", file_in_dir("map.svg"), file_in_dir("pool"));
	complained(o, 1, "is damaged: pages of the heap are in use by nothing");
	svg_holds(in_dir("map.svg"), "'in use by nothing' in ' '.join(t)");
}

Test(api_tools_map, open_pool_and_permissions)
{
	pid_t holder;

	make_known(in_dir("pool"));
	holder = pool_hold(in_dir("pool"));
	complained(tool("map", file_in_dir("pool")), 1, "Resource temporarily unavailable");
	pool_let_go(holder);
	complained(tool("map", file_in_dir("none")), 1, "No such file or directory");
	if (geteuid() != 0)
		SKIP("needs root, to become somebody else");
	went_well(tool_as_nobody("map", file_in_dir("pool")));
	cr_assert_eq(chmod(in_dir("pool"), 0600), 0);
	complained(tool_as_nobody("map", file_in_dir("pool")), 1, "Permission denied");
}

Test(api_tools_map, bad_words)
{
	complained(tool("map"), 2, "no FILE given");
	complained(tool("map", "a", "b"), 2, "what is 'b'?");
	complained(tool("map", "-z", "a"), 2, "unknown option '-z'");
	complained(tool("map", "-o"), 2, "option '-o' needs a value");
	assert_in(went_well(tool("map", "--help"))->out, "--output");
}
