/* api_vmem_delete.c -- vmem_delete and vmem_check: stale handles, overlapping pools, space given back */
#include "tests/vmem_test.h"

#include <sys/statvfs.h>
#include <sys/wait.h>

static void
expect_invalid(const VMEM *vmp)
{
	char want[64];

	snprintf(want, sizeof(want), "invalid pool handle: 0x%lx", (unsigned long)(uintptr_t)vmp);
	cr_expect_str_eq(vmem_errormsg(), want);
	cr_expect_eq(errno, EINVAL);
	errno = 0;
}

static void
every_call_refuses(VMEM *vmp)
{
	errno = 0;
	vmem_delete(vmp);
	expect_invalid(vmp);
	cr_expect_eq(vmem_check(vmp), -1);
	expect_invalid(vmp);
	cr_expect_null(vmem_malloc(vmp, 10));
	expect_invalid(vmp);
	cr_expect_null(vmem_calloc(vmp, 10, 10));
	expect_invalid(vmp);
	cr_expect_null(vmem_realloc(vmp, NULL, 10));
	expect_invalid(vmp);
	cr_expect_null(vmem_aligned_alloc(vmp, 64, 10));
	expect_invalid(vmp);
	cr_expect_null(vmem_strdup(vmp, "text"));
	expect_invalid(vmp);
	cr_expect_null(vmem_wcsdup(vmp, L"text"));
	expect_invalid(vmp);
	cr_expect_eq(vmem_malloc_usable_size(vmp, (char *)vmp + 8192), 0);
	expect_invalid(vmp);
	vmem_stats_print(vmp, NULL);
	expect_invalid(vmp);
	vmem_free(vmp, NULL);
	cr_expect_eq(errno, 0);
}

Test(api_vmem_delete, a_deleted_region_pool_is_refused)
{
	struct test_pool pool = region_pool(VMEM_MIN_POOL);

	void *p = vmem_malloc(pool.vmp, 100);

	cr_assert_not_null(p);
	vmem_delete(pool.vmp);
	every_call_refuses(pool.vmp);
	vmem_free(pool.vmp, p); /* of no effect */
	cr_expect_eq(errno, 0);
}

Test(api_vmem_delete, a_deleted_file_pool_is_refused)
{
	struct test_pool pool = file_pool(VMEM_MIN_POOL);

	cr_assert_not_null(vmem_malloc(pool.vmp, 100));
	vmem_delete(pool.vmp);
	every_call_refuses(pool.vmp);
}

Test(api_vmem_delete, what_never_was_a_pool_is_refused)
{
	char local[64];

	every_call_refuses(NULL);
	every_call_refuses((VMEM *)local);
	every_call_refuses((VMEM *)(uintptr_t)4096);
	every_call_refuses((VMEM *)(uintptr_t)0xdeadbeefdeadbeef);
}

Test(api_vmem_delete, another_pools_table_place_is_not_taken_for_this_one)
{
	/* more pools than a thread's table holds; deleted ones must stay refused whatever is used in between */
	enum { N = 40 };
	struct test_pool pools[N];

	for (int i = 0; i < N; i++) {
		pools[i] = file_pool(VMEM_MIN_POOL);
		cr_assert_not_null(vmem_malloc(pools[i].vmp, 100));
	}
	for (int i = 0; i < N; i += 2)
		vmem_delete(pools[i].vmp);
	for (int i = 0; i < N; i++) {
		void *p = vmem_malloc(pools[i].vmp, 100);

		cr_expect_eq(p != NULL, i % 2 == 1);
		if (p != NULL)
			cr_expect(in_pool(&pools[i], p, 100));
	}
	for (int i = 1; i < N; i += 2)
		vmem_delete(pools[i].vmp);
}

Test(api_vmem_delete, live_blocks_need_not_be_freed_and_space_comes_back)
{
	struct statvfs before, after;
	VMEM *vmp = file_pool(64 * MIB).vmp;
	char *p = vmem_malloc(vmp, 32 * MIB);

	cr_assert_not_null(p);
	memset(p, 1, 32 * MIB);
	statvfs(test_dir(), &before);
	vmem_delete(vmp);
	statvfs(test_dir(), &after);
	/* others may use the file system too: half of it must show */
	cr_expect_gt((double)after.f_bfree * (double)after.f_frsize,
	    (double)before.f_bfree * (double)before.f_frsize + 16.0 * (double)MIB);
}

Test(api_vmem_delete, check_says_1_on_a_fresh_and_on_a_used_pool)
{
	struct test_pool pools[] = { file_pool(VMEM_MIN_POOL), region_pool(VMEM_MIN_POOL) };

	for (int i = 0; i < 2; i++) {
		VMEM *vmp = pools[i].vmp;
		void *p[1000];

		errno = 4711;
		cr_expect_eq(vmem_check(vmp), 1);
		for (size_t k = 0; k < 1000; k++)
			p[k] = vmem_malloc(vmp, k * 13);
		for (size_t k = 0; k < 1000; k += 3)
			vmem_free(vmp, p[k]);
		cr_expect_eq(vmem_check(vmp), 1);
		cr_expect_eq(errno, 4711);
		vmem_delete(vmp);
	}
}

/* What the original's group vmem_check asks. */
Test(api_vmem_delete, overlapping_pools_are_made_and_reported)
{
	char *base = region_new(VMEM_MIN_POOL * 2);
	VMEM *a = vmem_create_in_region(base, VMEM_MIN_POOL), *b;

	cr_assert_not_null(a);
	cr_expect_eq(vmem_check(a), 1);
	b = vmem_create_in_region(base + 7 * MIB, VMEM_MIN_POOL);
	cr_assert_not_null(b, "%s", vmem_errormsg());
	cr_expect_eq(vmem_check(a), 0);
	cr_expect(strstr(vmem_errormsg(), "overlaps") != NULL, "%s", vmem_errormsg());
	cr_expect_eq(vmem_check(b), 0);
	vmem_delete(b);
	cr_expect_eq(vmem_check(b), -1);
	vmem_delete(a);
	cr_expect_eq(vmem_check(a), -1);
}

Test(api_vmem_delete, a_pool_overwritten_by_another_can_be_deleted)
{
	char *base = region_new(VMEM_MIN_POOL * 2);
	VMEM *a = vmem_create_in_region(base + 8192, VMEM_MIN_POOL), *b;
	void *p;

	for (int i = 0; i < 1000; i++)
		cr_assert_not_null(vmem_malloc(a, 100));
	/* all of a's front is b's now */
	cr_assert_eq(mprotect(base, 16 * 4096, PROT_READ | PROT_WRITE), 0);
	b = vmem_create_in_region(base, VMEM_MIN_POOL);
	cr_assert_not_null(b, "%s", vmem_errormsg());
	p = vmem_malloc(b, MIB);
	cr_assert_not_null(p);
	memset(p, 0xff, MIB);
	vmem_delete(a);
	cr_expect_eq(vmem_check(a), -1);
	vmem_delete(b);
	cr_expect_eq(vmem_check(b), -1);
}

Test(api_vmem_delete, check_finds_damage_and_does_not_crash)
{
	struct test_pool pool = region_pool(VMEM_MIN_POOL);
	size_t page = page_size();

	cr_assert_not_null(vmem_malloc(pool.vmp, 100));
	memset(pool.low + page, 0, 16 * page);
	cr_expect_eq(vmem_check(pool.vmp), 0);
	cr_expect_str_not_empty(vmem_errormsg());
	vmem_delete(pool.vmp);
}

Test(api_vmem_delete, a_region_pool_in_private_memory_works_in_a_forks_child)
{
	struct test_pool pool = region_pool(VMEM_MIN_POOL);
	int *p = vmem_malloc(pool.vmp, sizeof(int)), status;
	pid_t child;

	*p = 1;
	child = fork();
	cr_assert_neq(child, -1);
	if (child == 0) {
		int *q = vmem_malloc(pool.vmp, 100000);

		*p = 2;
		vmem_free(pool.vmp, q);
		vmem_free(pool.vmp, p);
		_exit(q != NULL && vmem_check(pool.vmp) == 1 ? 0 : 1);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
	cr_expect_eq(*p, 1);
	cr_expect_eq(vmem_check(pool.vmp), 1);
	vmem_free(pool.vmp, p);
	vmem_delete(pool.vmp);
}
