/* api_vmem_funcs.c -- vmem_set_funcs, vmem_errormsg, vmem_check_version */
#include "tests/vmem_test.h"

#include <pthread.h>
#include <stdatomic.h>

static _Atomic int mallocs, frees, null_frees, others;

static void *
count_malloc(size_t size)
{
	mallocs++;
	return malloc(size);
}

static void *
no_malloc(size_t size)
{
	(void)size;
	mallocs++;
	return NULL;
}

static void
count_free(void *p)
{
	frees++;
	null_frees += p == NULL;
	free(p);
}

static void *
count_realloc(void *p, size_t size)
{
	others++;
	return realloc(p, size);
}

static char *
count_strdup(const char *s)
{
	others++;
	return strdup(s);
}

static void
use(VMEM *vmp)
{
	char *p = vmem_malloc(vmp, 100);

	cr_assert_not_null(p);
	cr_expect_gt(vmem_malloc_usable_size(vmp, p), 0);
	p = vmem_realloc(vmp, p, 1000);
	cr_assert_not_null(p);
	vmem_free(vmp, p);
	p = vmem_strdup(vmp, "text");
	vmem_free(vmp, p);
}

Test(api_vmem_funcs, without_functions_none_is_called)
{
	VMEM *vmp = file_pool(VMEM_MIN_POOL).vmp;

	vmem_set_funcs(count_malloc, count_free, count_realloc, count_strdup, NULL);
	use(vmp); /* made before: not for it */
	vmem_delete(vmp);
	cr_expect_eq(mallocs + frees + others, 0);
}

Test(api_vmem_funcs, calls_balance_over_many_pools)
{
	vmem_set_funcs(count_malloc, count_free, count_realloc, count_strdup, NULL);
	for (int i = 0; i < 20; i++) {
		VMEM *vmp = (i % 2 ? file_pool : region_pool)(VMEM_MIN_POOL).vmp;
		int before = mallocs;

		cr_expect_eq(mallocs, frees, "creation calls nothing");
		use(vmp);
		cr_expect_gt(mallocs, before);
		vmem_delete(vmp);
		cr_expect_eq(mallocs, frees);
	}
	cr_expect_eq(null_frees, 0);
	cr_expect_eq(others, 0);
}

Test(api_vmem_funcs, any_first_allocation_asks_for_the_record)
{
	vmem_set_funcs(count_malloc, count_free, NULL, NULL, NULL);
	for (int i = 0; i < 5; i++) {
		VMEM *vmp = file_pool(VMEM_MIN_POOL).vmp;
		int before = mallocs;

		switch (i) {
		case 0:
			cr_expect_not_null(vmem_malloc(vmp, 100000));
			break;
		case 1:
			cr_expect_not_null(vmem_calloc(vmp, 1, 1));
			break;
		case 2:
			cr_expect_not_null(vmem_realloc(vmp, NULL, 1));
			break;
		case 3:
			cr_expect_not_null(vmem_aligned_alloc(vmp, 64, 1));
			break;
		default:
			cr_expect_not_null(vmem_wcsdup(vmp, L"x"));
		}
		cr_expect_eq(mallocs, before + 1, "%d", i);
		vmem_delete(vmp);
	}
	cr_expect_eq(mallocs, frees);
}

Test(api_vmem_funcs, a_malloc_that_gives_null_leaves_pools_that_give_null)
{
	vmem_set_funcs(no_malloc, count_free, count_realloc, count_strdup, NULL);
	for (int i = 0; i < 20; i++) {
		VMEM *vmp = (i % 2 ? file_pool : region_pool)(VMEM_MIN_POOL).vmp;

		errno = 0;
		cr_expect_null(vmem_malloc(vmp, 100));
		cr_expect_eq(errno, ENOMEM);
		cr_expect_null(vmem_calloc(vmp, 10, 10));
		cr_expect_null(vmem_realloc(vmp, NULL, 10));
		cr_expect_null(vmem_aligned_alloc(vmp, 16, 10));
		cr_expect_null(vmem_strdup(vmp, "text"));
		vmem_free(vmp, NULL);
		cr_expect_eq(vmem_check(vmp), 1);
		vmem_delete(vmp);
	}
	cr_expect_gt(mallocs, 0);
	cr_expect_eq(frees, 0);
}

Test(api_vmem_funcs, later_changes_hold_for_new_pools)
{
	VMEM *a, *b, *c;

	vmem_set_funcs(count_malloc, count_free, NULL, NULL, NULL);
	a = file_pool(VMEM_MIN_POOL).vmp;
	vmem_set_funcs(NULL, NULL, NULL, NULL, NULL);
	b = file_pool(VMEM_MIN_POOL).vmp;
	vmem_set_funcs(no_malloc, count_free, NULL, NULL, NULL);
	c = file_pool(VMEM_MIN_POOL).vmp;
	cr_expect_not_null(vmem_malloc(a, 10));
	cr_expect_eq(mallocs, 1);
	cr_expect_not_null(vmem_malloc(b, 10));
	cr_expect_eq(mallocs, 1);
	cr_expect_null(vmem_malloc(c, 10));
	cr_expect_eq(mallocs, 2);
	vmem_delete(a);
	vmem_delete(b);
	vmem_delete(c);
	cr_expect_eq(frees, 1);
}

static void *
use_in_thread(void *vmp)
{
	for (int i = 0; i < 1000; i++)
		use(vmp);
	return NULL;
}

Test(api_vmem_funcs, threads_that_come_first_together_balance)
{
	pthread_t threads[8];
	VMEM *vmp;

	vmem_set_funcs(count_malloc, count_free, NULL, NULL, NULL);
	vmp = file_pool(VMEM_MIN_POOL).vmp;
	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, use_in_thread, vmp);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	vmem_delete(vmp);
	cr_expect_gt(mallocs, 0);
	cr_expect_eq(mallocs, frees);
	cr_expect_eq(null_frees, 0);
}

/* --- messages ------------------------------------------------------------------------------------------------- */

Test(api_vmem_funcs, no_message_before_the_first_error)
{
	VMEM *vmp;

	cr_expect_str_eq(vmem_errormsg(), "");
	vmp = file_pool(VMEM_MIN_POOL).vmp;
	use(vmp);
	vmem_delete(vmp);
	cr_expect_str_eq(vmem_errormsg(), "");
}

static void *
own_messages(void *arg)
{
	size_t number = (size_t)arg;
	char want[64];
	void *failed = NULL;

	if (strcmp(vmem_errormsg(), "") != 0)
		return arg;
	snprintf(want, sizeof(want), "size %zu smaller than 14680064", number);
	for (int i = 0; i < 2000; i++) {
		if (vmem_create(test_dir(), number) != NULL || strcmp(vmem_errormsg(), want) != 0)
			failed = arg;
		sched_yield();
		if (strcmp(vmem_errormsg(), want) != 0)
			failed = arg;
	}
	return failed;
}

Test(api_vmem_funcs, every_thread_has_its_own_message)
{
	pthread_t threads[16];

	cr_assert_not_null(vmem_check_version(10005, 1));
	for (size_t i = 0; i < 16; i++)
		pthread_create(&threads[i], NULL, own_messages, (void *)(i + 1));
	for (size_t i = 0; i < 16; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		cr_expect_null(failed, "thread %zu", i);
	}
	cr_expect_str_eq(vmem_errormsg(), "libvmem major version mismatch (need 10005, found 1)");
}

Test(api_vmem_funcs, versions)
{
	const char *text;

	cr_expect_null(vmem_check_version(1, 0));
	cr_expect_null(vmem_check_version(1, 1));
	cr_expect_null(vmem_check_version(VMEM_MAJOR_VERSION, VMEM_MINOR_VERSION));
	cr_expect_str_eq(vmem_errormsg(), "");
	text = vmem_check_version(2, 1);
	cr_assert_str_eq(text, "libvmem major version mismatch (need 2, found 1)");
	cr_expect_eq((const void *)text, (const void *)vmem_errormsg());
	cr_expect_str_eq(vmem_check_version(0, 0), "libvmem major version mismatch (need 0, found 1)");
	cr_expect_str_eq(vmem_check_version(4294967295u, 0), "libvmem major version mismatch (need 4294967295, found 1)");
	cr_expect_str_eq(vmem_check_version(1, 2), "libvmem minor version mismatch (need 2, found 1)");
	cr_expect_str_eq(vmem_check_version(1, 4294967295u),
	    "libvmem minor version mismatch (need 4294967295, found 1)");
}
