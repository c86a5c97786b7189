/* cto_sessions.c -- fuzz target: sessions of a libpmemcto pool, each ended by a close or by a death
 *
 * One pool in a file without a name. A session works in it, then closes it, or dies: what the file held at that instant is
 * put back after the close, as the page cache keeps it when a process is killed. Then
 *   S1  a pool that was closed is good for pmemcto_check() and opens; blocks, their content and the root are as they were.
 *   S2  a pool whose process died is refused by open and check with EINVAL, until it is repaired (api/pmemcto/repair.h);
 *       then S1 holds for all that was completed.
 *   S3  a block lies in the pool, aligned, on nobody else's bytes; NULL comes with ENOMEM, and errno else stays. As long as
 *       no session died, an empty pool has room for a quarter of its size: what sat in a dead session's caches is lost.
 *   S4  an open pool is not opened again (EAGAIN); a handle that was closed is refused with EINVAL.
 *   S5  the program's malloc and free functions are called in pairs.
 *
 * Deterministic: the pool's address is given, and each input begins with an empty file.
 */
#define _GNU_SOURCE
#include "fuzz/calls.h"

#include <sys/mman.h>
#include <unistd.h>
#include <wchar.h>

#include "api/include/libpmemcto.h"
#include "api/pmemcto/repair.h"

#define POOL_SIZE ((size_t)16 << 20)
#define KEPT 4711 /* of errno */

static int file = -1;
static char path[64];
static char *image;      /* of the file at an instant */
static PMEMctopool *pcp; /* NULL: closed */
static const void *last; /* the handle of the session before */
static struct blocks blocks;
static void *root;
static bool lossy; /* a session died */
static int outstanding;
static size_t printed;

/* Before the library reads it: the same address in each process. */
__attribute__((constructor(101))) static void
set_hint(void)
{
	setenv("PMEM_MMAP_HINT", "200000000000", 1);
}

static void *
program_malloc(size_t size)
{
	outstanding++;
	return malloc(size);
}

static void
program_free(void *p)
{
	outstanding--;
	free(p);
}

static void
program_print(const char *line)
{
	printed += strlen(line);
}

/* --- sessions ------------------------------------------------------------------------------------------------- */

static void
begin_file(void)
{
	if (file < 0) {
		file = memfd_create("cto_sessions", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
		image = mmap(NULL, POOL_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			     0);
	}
	REQUIRE(file >= 0 && image != MAP_FAILED && ftruncate(file, 0) == 0 && ftruncate(file, (off_t)POOL_SIZE) == 0,
		"%s", strerror(errno));
	last = NULL;
	root = NULL;
	blocks.n = 0;
	lossy = false;
}

static void
refused(const void *result, int error, const char *what)
{
	REQUIRE(result == NULL && errno == error && pmemcto_errormsg()[0] != '\0', "%s: %p, errno %d: %s", what, result,
		errno, pmemcto_errormsg());
}

static void
open_pool(void)
{
	errno = KEPT;
	pcp = pmemcto_open(path, "fuzz");
	REQUIRE(pcp != NULL && errno == KEPT, "errno %d: %s", errno, pmemcto_errormsg());
	REQUIRE(last == NULL || pcp == last, "the pool is at %p and was at %p", (void *)pcp, last);
	REQUIRE(pmemcto_get_root_pointer(pcp) == root, "the root is %p, not %p", pmemcto_get_root_pointer(pcp), root);
	blocks_require(&blocks, "after pmemcto_open");
	for (unsigned i = 0; i < blocks.n; i++)
		REQUIRE(pmemcto_malloc_usable_size(pcp, blocks.list[i].p) >= blocks.list[i].size, "%zu bytes",
			blocks.list[i].size);
}

static void
close_pool(void)
{
	last = pcp;
	errno = KEPT;
	pmemcto_close(pcp);
	REQUIRE(errno == KEPT, "errno %d: %s", errno, pmemcto_errormsg());
	pcp = NULL;
}

static void
expect_good(void)
{
	int verdict = pmemcto_check(path, "fuzz");

	REQUIRE(verdict == 1, "%d: %s", verdict, pmemcto_errormsg());
}

/* Calls copy(offset, length) for each part of the file that holds anything. */
static void
each_used_part(void (*copy)(off_t at, size_t n))
{
	for (off_t at = 0, end; (at = lseek(file, at, SEEK_DATA)) >= 0; at = end) {
		end = lseek(file, at, SEEK_HOLE);
		copy(at, (size_t)(end - at));
	}
}

static void
keep(off_t at, size_t n)
{
	REQUIRE(pread(file, image + at, n, at) == (ssize_t)n, "%s", strerror(errno));
}

static void
put_back(off_t at, size_t n)
{
	REQUIRE(pwrite(file, image + at, n, at) == (ssize_t)n, "%s", strerror(errno));
}

static void
die(void)
{
	REQUIRE(madvise(image, POOL_SIZE, MADV_DONTNEED) == 0, "madvise");
	each_used_part(keep);
	close_pool();
	each_used_part(put_back);
	lossy = true;
	errno = KEPT;
	refused(pmemcto_open(path, "fuzz"), EINVAL, "open after a death");
	errno = KEPT;
	REQUIRE(pmemcto_check(path, "fuzz") == -1 && errno == EINVAL, "errno %d: %s", errno, pmemcto_errormsg());
}

static void
repair(bool try_first)
{
	struct cto_repair_report tried, report;
	struct cto_view view;
	char why[256] = "";
	void *base;
	int error = cto_view_open(path, PARTS_WRITE, &view);

	REQUIRE(error == 0, "%s", strerror(error));
	if (try_first) {
		REQUIRE(parts_map(&view.parts, PARTS_PRIVATE, &base) == 0, "a private mapping");
		error = cto_repair(&view, base, PARTS_PRIVATE, NULL, &tried);
		parts_unmap(&view.parts, base);
		REQUIRE(error == 0, "%s: %s", strerror(error), tried.heap.why);
	}
	error = cto_repair(&view, view.base, PARTS_SHARED, NULL, &report);
	REQUIRE(error == 0, "%s: %s", strerror(error), report.heap.why);
	REQUIRE(!try_first || memcmp(&tried, &report, sizeof(report)) == 0, "tried out it did something else");
	REQUIRE(report.root == 0, "a good root was cleared");
	REQUIRE(report.heap.slots + report.heap.large >= blocks.n, "%u blocks were completed", blocks.n);
	cto_view_close(&view);

	/* what was repaired is whole for who looks at all of it, too */
	REQUIRE(cto_view_open(path, PARTS_READ, &view) == 0, "%s", pmemcto_errormsg());
	REQUIRE(parts_map(&view.parts, PARTS_PRIVATE, &base) == 0, "a private mapping");
	error = cto_judge(&view, base, NULL, why, sizeof(why));
	REQUIRE(error == 1, "%d: %s", error, why);
	parts_unmap(&view.parts, base);
	cto_view_close(&view);
}

static void
op_end_session(struct input *in)
{
	unsigned how = input_byte(in);

	if (how % 3 == 0) {
		die();
		repair(how & 64);
	} else {
		close_pool();
	}
	if (how & 128)
		expect_good();
	if (how % 3 == 1 && (how & 32)) {
		errno = KEPT;
		refused(pmemcto_open(path, "other"), EINVAL, "another layout");
	}
	open_pool();
}

/* --- calls ---------------------------------------------------------------------------------------------------- */

static void
came(void *p, size_t size, size_t align)
{
	if (p != NULL) {
		REQUIRE(errno == KEPT, "errno %d", errno);
		blocks_add(&blocks, p, size, align, pcp, POOL_SIZE);
		return;
	}
	REQUIRE(errno == ENOMEM, "errno %d", errno);
	REQUIRE(blocks.n > 0 || lossy || size > POOL_SIZE / 4 || align > POOL_SIZE / 8,
		"an empty pool has no room for %zu", size);
}

static void
op_allocate(struct input *in)
{
	unsigned call = input_byte(in);
	size_t size = input_size(in, POOL_SIZE), n;
	wchar_t wide[16] = L"wide";
	char text[300];
	unsigned char *p;

	if (blocks.n == BLOCKS_MAX)
		return;
	errno = KEPT;
	switch (call % 6) {
	case 0:
		came(pmemcto_malloc(pcp, size), size, 16);
		break;
	case 1:
		n = 1 + call / 6 % 5;
		p = pmemcto_calloc(pcp, n, size);
		if (p == NULL && size > SIZE_MAX / n) {
			REQUIRE(errno == ENOMEM, "errno %d", errno);
			break;
		}
		for (size_t at = 0; p != NULL && at < n * size; at += at < 4096 ? 1 : 509)
			REQUIRE(p[at] == 0, "byte %zu of pmemcto_calloc's %zu", at, n * size);
		came(p, n * size, 16);
		break;
	case 2:
		n = (size_t)1 << (call / 6 % 24);
		came(pmemcto_aligned_alloc(pcp, n, size), size, n < 16 ? 16 : n);
		break;
	case 3:
		n = size % sizeof(text);
		memset(text, 'x', sizeof(text));
		text[n] = '\0';
		char *copy = pmemcto_strdup(pcp, text);
		REQUIRE(copy == NULL || strcmp(copy, text) == 0, "a copy of %zu bytes", n);
		came(copy, n + 1, 16);
		break;
	case 4:
		wide[size % 4] = L'\0';
		wchar_t *wide_copy = pmemcto_wcsdup(pcp, wide);
		REQUIRE(wide_copy == NULL || wcscmp(wide_copy, wide) == 0, "a copy of %zu wide characters",
			wcslen(wide));
		came(wide_copy, (wcslen(wide) + 1) * sizeof(wchar_t), 16);
		break;
	default:
		refused(pmemcto_aligned_alloc(pcp, size & (size - 1) ? size : 0, 10), EINVAL, "no power of two");
	}
}

static void
op_realloc(struct input *in)
{
	size_t size = input_size(in, POOL_SIZE);
	struct block old;
	void *p;

	errno = KEPT;
	if (blocks.n == 0) {
		came(pmemcto_realloc(pcp, NULL, size), size, 16);
		return;
	}
	old = blocks_take(&blocks, input_byte(in) % blocks.n, "before pmemcto_realloc");
	if (old.p == root) { /* a program that moves its root says so before the old place can be another's */
		root = NULL;
		pmemcto_set_root_pointer(pcp, NULL);
	}
	p = pmemcto_realloc(pcp, old.p, size);
	if (size == 0) {
		REQUIRE(p == NULL && errno == KEPT, "pmemcto_realloc to nothing: %p, errno %d", p, errno);
		return;
	}
	if (p == NULL) {
		REQUIRE(errno == ENOMEM && size > old.size, "errno %d for %zu bytes instead of %zu", errno, size,
			old.size);
		block_require(&old, old.p, old.size, "after a failed pmemcto_realloc");
		blocks.list[blocks.n++] = old;
		return;
	}
	block_require(&old, p, size < old.size ? size : old.size, "after pmemcto_realloc");
	came(p, size, 16);
}

static void
op_free(struct input *in)
{
	struct block b;

	if (blocks.n == 0)
		return;
	b = blocks_take(&blocks, input_byte(in) % blocks.n, "before pmemcto_free");
	if (b.p == root) {
		root = NULL;
		pmemcto_set_root_pointer(pcp, NULL);
	}
	errno = KEPT;
	pmemcto_free(pcp, b.p);
	pmemcto_free(pcp, NULL);
	REQUIRE(errno == KEPT, "errno %d", errno);
}

static void *
in_thread(void *arg)
{
	struct input *in = arg;

	for (unsigned n = input_byte(in) % 32; n > 0; n--) {
		if (n % 2)
			op_allocate(in);
		else
			op_free(in);
	}
	return NULL;
}

static void
op_root(struct input *in)
{
	unsigned how = input_byte(in);

	errno = KEPT;
	if (how < 32)
		pmemcto_set_root_pointer(pcp, root = NULL);
	else if (blocks.n > 0)
		pmemcto_set_root_pointer(pcp, root = blocks.list[how % blocks.n].p);
	REQUIRE(errno == KEPT && pmemcto_get_root_pointer(pcp) == root, "errno %d, %p", errno, root);
	if (how == 255) {
		pmemcto_set_root_pointer(pcp, &how);
		REQUIRE(errno == EINVAL && pmemcto_get_root_pointer(pcp) == root, "an address outside of the pool");
	}
}

/* What is refused while the pool is open, and by a handle that is none. */
static void
op_misuse(struct input *in)
{
	char *none = (char *)pcp + 4096;
	PMEMctopool *stale = (PMEMctopool *)(void *)none;

	errno = KEPT;
	switch (input_byte(in) % 8) {
	case 0:
		refused(pmemcto_open(path, "fuzz"), EAGAIN, "open twice");
		break;
	case 1:
		REQUIRE(pmemcto_check(path, "fuzz") == -1 && errno == EAGAIN, "check of an open pool: errno %d", errno);
		break;
	case 2:
		refused(pmemcto_malloc(stale, 10), EINVAL, "malloc");
		break;
	case 3:
		refused(pmemcto_calloc(stale, 1, 10), EINVAL, "calloc");
		break;
	case 4:
		refused(pmemcto_realloc(stale, none, 10), EINVAL, "realloc");
		break;
	case 5:
		refused(pmemcto_aligned_alloc(stale, 64, 10), EINVAL, "aligned_alloc");
		break;
	case 6:
		REQUIRE(pmemcto_malloc_usable_size(pcp, &stale) == 0 && pmemcto_malloc_usable_size(pcp, NULL) == 0,
			"the size of what is not of the pool");
		REQUIRE(pmemcto_malloc_usable_size(stale, none) == 0 && errno == EINVAL,
			"a size by a handle that is none");
		break;
	default:
		refused(pmemcto_create(path, "fuzz", 0, 0), EAGAIN, "create over an open pool");
	}
}

static void
op_print(struct input *in)
{
	char opts[4];
	unsigned n = input_byte(in) % 4;

	for (unsigned i = 0; i < n; i++)
		opts[i] = "gmablx?"[input_byte(in) % 7];
	opts[n] = '\0';
	printed = 0;
	pmemcto_stats_print(pcp, n ? opts : NULL);
	REQUIRE(printed > 0, "nothing was printed with \"%s\"", opts);
}

static void
step(struct input *in)
{
	unsigned op = input_byte(in);

	if (op < 8)
		op_end_session(in);
	else if (op < 12)
		op_misuse(in);
	else if (op < 13)
		op_print(in);
	else if (op < 15)
		pmemcto_set_funcs(op == 13 ? NULL : program_malloc, op == 13 ? NULL : program_free, NULL, NULL,
				  program_print);
	else if (op < 17)
		run_in_thread(in_thread, in);
	else if (op < 24)
		op_root(in);
	else if (op < 130)
		op_allocate(in);
	else if (op < 180)
		op_realloc(in);
	else
		op_free(in);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size, 0};

	begin_file();
	pmemcto_set_funcs(NULL, NULL, NULL, NULL, program_print);
	errno = KEPT;
	pcp = pmemcto_create(path, "fuzz", 0, 0);
	REQUIRE(pcp != NULL && errno == KEPT, "errno %d: %s", errno, pmemcto_errormsg());
	for (unsigned steps = 0; !input_ended(&in) && steps < 600; steps++)
		step(&in);
	blocks_require(&blocks, "at the end");
	close_pool();
	expect_good();
	REQUIRE(outstanding == 0, "%d records of the program's malloc function were kept", outstanding);
	return 0;
}
