/* api_vmem_stats.c -- vmem_stats_print: its lines, its options, where they go */
#include "tests/vmem_test.h"

static char text[65536];
static unsigned lines, whole_lines;

static void
collect(const char *line)
{
	size_t n = strlen(line);

	lines++;
	whole_lines += n > 0 && strchr(line, '\n') == line + n - 1;
	cr_assert_lt(strlen(text) + n, sizeof(text));
	strcat(text, line);
}

static void
print(VMEM *vmp, const char *opts)
{
	text[0] = '\0';
	lines = whole_lines = 0;
	vmem_stats_print(vmp, opts);
	cr_expect_eq(lines, whole_lines, "one call per line");
}

static bool
has(const char *part)
{
	return strstr(text, part) != NULL;
}

/* The number behind the first `title` after the first `from`. */
static unsigned long long
number(const char *from, const char *title)
{
	const char *p = strstr(text, from);

	p = p != NULL ? strstr(p, title) : NULL;
	cr_assert_not_null(p, "no %s behind %s", title, from);
	return strtoull(p + strlen(title), NULL, 10);
}

static VMEM *
pool_with_collector(void)
{
	vmem_set_funcs(NULL, NULL, NULL, NULL, collect);
	return file_pool(VMEM_MIN_POOL).vmp;
}

Test(api_vmem_stats, the_lines_come_in_their_order)
{
	static const char *const wanted[] = {
		"___ Begin jemalloc statistics ___\n", "Version: ", "Assertions ", "Run-time option settings:\n",
		"  opt.abort: ", "  opt.lg_chunk: ", "  opt.dss: ", "  opt.narenas: ", "  opt.lg_dirty_mult: ",
		"  opt.stats_print: ", "  opt.junk: ", "  opt.quarantine: ", "  opt.redzone: ", "  opt.zero: ",
		"  opt.tcache: ", "  opt.lg_tcache_max: ", "CPUs: ", "Arenas: ", "Pointer size: 8\n",
		"Quantum size: ", "Page size: ", "Min active:dirty page ratio per arena: ", "Chunk size: ",
		"Allocated: ", "Current active ceiling: ", "chunks: nchunks   highchunks    curchunks\n", "  ",
		"\n", "arenas[0]:\n", "assigned threads: ", "dss allocation precedence: ", "dirty pages: ",
		"            allocated      nmalloc      ndalloc    nrequests\n", "small:   ", "large:   ", "huge:    ",
		"total:   ", "active:  ", "mapped:  ",
		("bins:     bin  size regs pgs    allocated      nmalloc      ndalloc    nrequests       nfills"
		 "     nflushes      newruns       reruns      curruns\n"),
	};
	VMEM *vmp = pool_with_collector();
	const char *p = text;

	vmem_free(vmp, vmem_malloc(vmp, 400));
	print(vmp, NULL);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		cr_assert_eq(strncmp(p, wanted[i], strlen(wanted[i])), 0, "line %zu is not %s: %.60s", i, wanted[i], p);
		p = strchr(p, '\n') + 1;
	}
	p = strstr(p, "large:   size pages      nmalloc      ndalloc    nrequests      curruns\n");
	cr_assert_not_null(p);
	p = strstr(p, "--- End jemalloc statistics ---\n");
	cr_assert_not_null(p);
	cr_expect_str_eq(strchr(p, '\n'), "\n", "nothing behind the last line");
	vmem_delete(vmp);
}

Test(api_vmem_stats, each_letter_leaves_its_part_out)
{
	VMEM *vmp = pool_with_collector();

	print(vmp, NULL);
	cr_expect(has("Version: ") && has("arenas[0]:") && has("bins:     bin") && has("large:   size"));
	cr_expect_not(has("Merged arenas stats:"), "one arena only");
	print(vmp, "g");
	cr_expect_not(has("Version: ") || has("opt.abort") || has("Chunk size:"));
	cr_expect(has("Allocated: ") && has("arenas[0]:"));
	print(vmp, "a");
	cr_expect_not(has("arenas[0]:"));
	cr_expect(has("\n\nMerged arenas stats:\n") && has("small:   "));
	print(vmp, "b");
	cr_expect_not(has("bins:     bin"));
	cr_expect(has("large:   size"));
	print(vmp, "l");
	cr_expect_not(has("large:   size"));
	cr_expect(has("bins:     bin"));
	print(vmp, "ma");
	cr_expect_not(has("Merged arenas stats:") || has("arenas[0]:") || has("small:   "));
	print(vmp, "gbl");
	cr_expect_not(has("Version: ") || has("bins:     bin") || has("large:   size"));
	print(vmp, "xyz");
	cr_expect(has("Version: ") && has("arenas[0]:"));
	print(vmp, "gmabl");
	cr_expect_eq(lines, 6);
	vmem_delete(vmp);
}

Test(api_vmem_stats, the_numbers_follow_what_is_allocated)
{
	VMEM *vmp = pool_with_collector();
	void *small[10], *large, *huge;

	print(vmp, "g");
	cr_expect_eq(number("Begin", "Allocated: "), 0);
	cr_expect_eq(number("Begin", "mapped: "), VMEM_MIN_POOL);
	cr_expect_eq(number("arenas[0]", "small:   "), 0);
	cr_expect_eq(number("arenas[0]", "total:   "), 0);

	for (int i = 0; i < 10; i++)
		small[i] = vmem_malloc(vmp, 400);
	large = vmem_malloc(vmp, MIB);
	huge = vmem_malloc(vmp, 4 * MIB);
	print(vmp, "g");
	cr_expect_eq(number("arenas[0]", "small:   "), 10 * vmem_malloc_usable_size(vmp, small[0]));
	cr_expect_eq(number("arenas[0]", "large:   "), vmem_malloc_usable_size(vmp, large));
	cr_expect_eq(number("arenas[0]", "huge:    "), vmem_malloc_usable_size(vmp, huge));
	cr_expect_eq(number("arenas[0]", "total:   "), 10 * vmem_malloc_usable_size(vmp, small[0]) +
	    vmem_malloc_usable_size(vmp, large) + vmem_malloc_usable_size(vmp, huge));
	cr_expect_eq(number("Begin", "Allocated: "), number("arenas[0]", "total:   "));
	cr_expect_geq(number("Begin", "active: "), number("Begin", "Allocated: "));
	cr_expect_eq(number("Begin", "Current active ceiling: ") % (4 * MIB), 0);

	for (int i = 0; i < 10; i++)
		vmem_free(vmp, small[i]);
	vmem_free(vmp, large);
	vmem_free(vmp, huge);
	print(vmp, "g");
	cr_expect_eq(number("Begin", "Allocated: "), 0);
	vmem_delete(vmp);
}

Test(api_vmem_stats, stderr_is_the_default)
{
	char path[] = "/tmp/pmheap-test-XXXXXX", first[64] = "";
	int fd = mkstemp(path), old = dup(2);
	VMEM *vmp = file_pool(VMEM_MIN_POOL).vmp;
	FILE *file;

	vmem_set_funcs(NULL, NULL, NULL, NULL, collect);
	vmem_set_funcs(NULL, NULL, NULL, NULL, NULL);
	dup2(fd, 2);
	vmem_stats_print(vmp, NULL);
	dup2(old, 2);
	file = fopen(path, "r");
	cr_expect_not_null(fgets(first, sizeof(first), file));
	cr_expect_str_eq(first, "___ Begin jemalloc statistics ___\n");
	cr_expect_eq(lines, 0);
	fclose(file);
	unlink(path);
	vmem_delete(vmp);
}
