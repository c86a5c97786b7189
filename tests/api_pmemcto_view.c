/* api_pmemcto_view.c -- pools looked at from outside: each step's verdict, whatever the file; nothing is changed; pools
 * that are open are refused */
#define _GNU_SOURCE
#include "tests/pmemcto_test.h"

#include "api/pmemcto/view.h"

TestSuite(api_pmemcto_view, .init = test_dir_make, .fini = test_dir_remove);

#define LOOK(view, path) cr_assert_eq(cto_view_open(path, PARTS_READ, view), 0, "%s: %s", path, pmemcto_errormsg())

static void
look_refused(const char *path, enum parts_access access, int error)
{
	struct cto_view view;
	unsigned fds = count_fds();

	errno = 0;
	cr_expect_eq(cto_view_open(path, access, &view), error, "%s", path);
	cr_expect_eq(errno, error);
	cr_expect_not_null(strstr(pmemcto_errormsg(), path), "%s", pmemcto_errormsg());
	cr_expect_eq(count_fds(), fds);
}

/* The first step that is not good, and how many were judged. */
static void
expect_fault(const char *path, enum view_step step, int judged, const char *words)
{
	uint64_t hash = file_stat(path).st_size != 0 ? file_hash(path) : 0;
	struct cto_view view;

	LOOK(&view, path);
	cr_expect_eq(__builtin_popcount(view.judged), judged, "%s: %x judged", words, view.judged);
	cr_assert_not_null(view.fault[step], "%s: the %s is good", words, cto_view_step_name(step));
	cr_expect_not_null(strstr(view.fault[step], words), "%s", view.fault[step]);
	cr_expect_eq(cto_view_fault(&view), view.fault[step]);
	cto_view_close(&view);
	cr_expect(file_stat(path).st_size == 0 || file_hash(path) == hash, "looking changed the file");
}

Test(api_pmemcto_view, closed_pool_is_good_and_its_heap_can_be_surveyed)
{
	const char *path = in_dir("pool");
	struct survey_extent extent;
	struct survey survey;
	struct cto_view view;
	uint64_t hash, used = 0;

	pool_prepare(path, 16 * MIB);
	hash = file_hash(path);
	LOOK(&view, path);
	cr_assert_null(cto_view_fault(&view), "%s", cto_view_fault(&view));
	cr_assert_eq(view.judged, (1u << VIEW_STEPS) - 1);
	cr_assert(view.signature && !view.part && !view.open);
	cr_assert_eq(view.parts.file_size, 16 * MIB);
	cr_assert_eq(view.parts.size, 16 * MIB);
	cr_assert_geq(view.parts.allocated, 16 * MIB);
	cr_assert_str_eq((const char *)view.front.desc.layout, "test");
	cr_assert_neq((uintptr_t)view.base, view.front.desc.base, "anywhere");
	cr_assert(cto_view_survey(&view, &survey));
	while (survey_next(&survey, &extent))
		used += extent.used;
	cr_assert_eq(used, 1);
	cto_view_close(&view);
	cr_assert_eq(file_hash(path), hash);
	pmemcto_close(pool_reopen(path));
}

/* The heap is taken up, checked and written to where it is mapped: privately. */
Test(api_pmemcto_view, heap_is_attached_without_a_trace)
{
	const char *path = in_dir("pool");
	struct heap_config config;
	struct cto_view view;
	struct heap *heap;
	char why[100];
	uint64_t hash;

	pool_prepare(path, 16 * MIB);
	hash = file_hash(path);
	LOOK(&view, path);
	config = cto_view_heap(&view);
	cr_assert_eq(heap_attach(&heap, &config), 0);
	cr_assert_eq(heap_check(heap, why, sizeof(why)), 1, "%s", why);
	heap_abandon(heap);
	cto_view_close(&view);
	cr_assert_eq(file_hash(path), hash);
}

Test(api_pmemcto_view, open_pool_is_refused_and_may_be_looked_at_by_many)
{
	const char *path = in_dir("pool");
	PMEMctopool *pcp = pool_make(path, 16 * MIB);
	struct cto_view one, two, three;

	look_refused(path, PARTS_READ, EAGAIN);
	look_refused(path, PARTS_WRITE, EAGAIN);
	pmemcto_close(pcp);
	LOOK(&one, path);
	LOOK(&two, path);
	look_refused(path, PARTS_WRITE, EAGAIN);
	REFUSED(pmemcto_open(path, NULL), EAGAIN);
	cto_view_close(&two);
	cto_view_close(&one);
	cr_assert_eq(cto_view_open(path, PARTS_WRITE, &three), 0);
	look_refused(path, PARTS_READ, EAGAIN);
	look_refused(path, PARTS_WRITE, EAGAIN);
	cto_view_close(&three);
	pmemcto_close(pool_reopen(path));
}

Test(api_pmemcto_view, change_reaches_the_file)
{
	const char *path = in_dir("pool");
	struct cto_view view;

	pool_prepare(path, 16 * MIB);
	cr_assert_eq(cto_view_open(path, PARTS_WRITE, &view), 0);
	view.base[AT_LAYOUT] = 'T';
	cto_view_close(&view);
	cr_assert_eq(get_field(path, AT_LAYOUT, 1), 'T');
}

Test(api_pmemcto_view, dirty_pool_is_judged_to_its_end)
{
	const char *path = in_dir("pool");
	struct survey survey;
	struct cto_view view;
	int status;

	IN_CHILD(status, {
		PMEMctopool *pcp = pool_make(path, 16 * MIB);
		_exit(pmemcto_malloc(pcp, 3 * MIB) == NULL);
	});
	cr_assert_eq(status, 0);
	expect_fault(path, VIEW_STATE, VIEW_STEPS, "inconsistent pool");
	LOOK(&view, path);
	cr_assert(view.open);
	cr_assert_null(view.fault[VIEW_HEAP]);
	cr_assert(cto_view_survey(&view, &survey));
	cto_view_close(&view);
}

Test(api_pmemcto_view, what_cannot_be_looked_at)
{
	const char *path = in_dir("fifo");

	look_refused(in_dir("missing"), PARTS_READ, ENOENT);
	look_refused(test_dir, PARTS_READ, EISDIR);
	look_refused(test_dir, PARTS_WRITE, EISDIR);
	look_refused("/dev/null", PARTS_READ, EINVAL);
	cr_assert_eq(mkfifo(path, 0600), 0);
	look_refused(path, PARTS_READ, EINVAL);
}

Test(api_pmemcto_view, reading_needs_no_permission_to_write)
{
	const char *path = in_dir("pool"), *secret = in_dir("secret");
	int status;

	if (geteuid() != 0)
		SKIP("needs root, to become somebody else");
	pool_prepare(path, 16 * MIB);
	pool_prepare(secret, 16 * MIB);
	cr_assert_eq(chmod(path, 0444), 0);
	IN_CHILD(status, {
		struct cto_view view;

		if (setgid(65534) != 0 || setuid(65534) != 0)
			_exit(1);
		if (cto_view_open(path, PARTS_READ, &view) != 0 || cto_view_fault(&view) != NULL)
			_exit(2);
		cto_view_close(&view);
		if (cto_view_open(path, PARTS_WRITE, &view) != EACCES)
			_exit(3);
		if (cto_view_open(secret, PARTS_READ, &view) != EACCES)
			_exit(4);
	});
	cr_assert_eq(status, 0);
}

Test(api_pmemcto_view, files_that_are_no_pool)
{
	const char *path = in_dir("file");
	struct cto_view view;

	file_make(path, 0);
	expect_fault(path, VIEW_HEADER, 1, "begins with zeros");
	file_make(path, 100);
	expect_fault(path, VIEW_HEADER, 1, "begins with zeros");
	file_make(path, 20 * MIB);
	expect_fault(path, VIEW_HEADER, 1, "begins with zeros");
	file_write(path, 0, "#!/bin/sh\n", 10);
	expect_fault(path, VIEW_HEADER, 1, "wrong pool type");
	LOOK(&view, path);
	cr_assert_not(view.signature);
	cto_view_close(&view);
}

Test(api_pmemcto_view, truncated_and_grown_pools)
{
	const char *path = in_dir("pool");
	struct cto_view view;

	pool_prepare(path, 20 * MIB);
	cr_assert_eq(truncate(path, (off_t)(24 * MIB)), 0);
	expect_fault(path, VIEW_SIZE, 5, "longer");
	LOOK(&view, path);
	cr_assert_not_null(view.base);
	cto_view_close(&view);
	for (size_t size = 16 * MIB; size >= 8192; size /= 2) {
		cr_assert_eq(truncate(path, (off_t)size), 0);
		expect_fault(path, VIEW_SIZE, 3, "shorter");
	}
	cr_assert_eq(truncate(path, 5000), 0);
	expect_fault(path, VIEW_DESC, 2, "descriptor");
	cr_assert_eq(truncate(path, 4000), 0);
	expect_fault(path, VIEW_HEADER, 1, "header");
}

Test(api_pmemcto_view, each_step_finds_its_damage)
{
	const char *path = in_dir("pool"), *other = in_dir("other");
	struct cto_view view;

	pool_prepare(path, 16 * MIB);
	file_copy(path, other);
	file_write(other, 100, "x", 1);
	expect_fault(other, VIEW_HEADER, 1, "checksum");
	file_copy(path, other);
	set_field(other, AT_NEXT_UUID, 1, 8);
	expect_fault(other, VIEW_HEADER, 1, "part of a pool set");
	LOOK(&view, other);
	cr_assert(view.signature && view.part);
	cto_view_close(&view);
	file_copy(path, other);
	file_write(other, AT_LAYOUT, "x", 1);
	expect_fault(other, VIEW_DESC, 2, "checksum");
	file_copy(path, other);
	file_write(other, AT_ROOT, "x", 1);
	expect_fault(other, VIEW_STATE, VIEW_STEPS, "checksum of the closed pool");
	file_copy(path, other);
	file_write(other, AT_HEAP, "x", 1);
	expect_fault(other, VIEW_HEAP, VIEW_STEPS, "superblock");
	file_copy(path, other);
	file_write(other, AT_HEAP + 24, "x", 1);
	expect_fault(other, VIEW_HEAP, VIEW_STEPS, "not as it was when the pool was closed");
}
