/* vmem_calls.c -- a program of libvmem, started by tests/api_vmem_load.c: what its argument says, in a directory */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libvmem.h"

/* Each function once, so that a debug build shows each name. */
static int
calls(const char *dir)
{
	VMEM *vmp = vmem_create(dir, VMEM_MIN_POOL);
	char *p, *q;

	if (vmp == NULL || vmem_check(vmp) != 1)
		return 1;
	p = vmem_malloc(vmp, 4321);
	q = vmem_calloc(vmp, 3, 7);
	p = vmem_realloc(vmp, p, 5432);
	vmem_free(vmp, q);
	q = vmem_aligned_alloc(vmp, 128, 99);
	if (p == NULL || q == NULL || vmem_malloc_usable_size(vmp, q) < 99)
		return 2;
	if (vmem_strdup(vmp, "text") == NULL || vmem_wcsdup(vmp, L"text") == NULL)
		return 3;
	vmem_free(vmp, p);
	vmem_delete(vmp);
	vmem_delete(vmp);
	return strstr(vmem_errormsg(), "invalid pool handle: 0x") == vmem_errormsg() && errno == EINVAL ? 0 : 4;
}

static int
hint(const char *dir)
{
	for (int i = 0; i < 3; i++)
		printf("%p\n", (void *)vmem_create(dir, VMEM_MIN_POOL));
	return 0;
}

static int
stats(const char *dir)
{
	VMEM *vmp = vmem_create(dir, VMEM_MIN_POOL);

	if (vmp == NULL)
		return 1;
	vmem_stats_print(vmp, "gabl");
	return 0;
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*fn)(const char *dir);
	} table[] = { { "calls", calls }, { "hint", hint }, { "stats", stats } };

	for (size_t i = 0; argc == 3 && i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(argv[1], table[i].name) == 0)
			return table[i].fn(argv[2]);
	fprintf(stderr, "usage: vmem_calls calls|hint|stats DIR\n");
	return 64;
}
