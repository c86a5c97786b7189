/* vmem_misuse.c -- does to a pool what a program must not do, by name: vmem_misuse DIR MISUSE
 *
 * Says "went on" and ends with 0 when nothing stopped it. A name that is none of these: status 2.
 */
#include <libvmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE ((size_t)48)

static VMEM *pool;
static char *block; /* of SIZE bytes */
static volatile char seen;

static void
use_nothing(void)
{
	vmem_free(pool, block);
}

static void
double_free(void)
{
	vmem_free(pool, block);
	vmem_free(pool, block);
}

static void
late_double_free(void)
{
	void *p[100];

	vmem_free(pool, block);
	for (int i = 0; i < 100; i++)
		p[i] = vmem_malloc(pool, SIZE + 1000);
	for (int i = 0; i < 100; i++)
		vmem_free(pool, p[i]);
	vmem_free(pool, block);
}

static void
free_interior(void)
{
	vmem_free(pool, block + 16);
}

static void
free_misaligned(void)
{
	vmem_free(pool, block + 3);
}

static void
free_foreign(void)
{
	vmem_free(pool, malloc(SIZE));
}

static void
free_stack(void)
{
	char local[64];

	vmem_free(pool, local);
}

static void
free_after_delete(void)
{
	vmem_delete(pool);
	vmem_free(pool, block);
	printf("%s\n", vmem_errormsg());
}

static void
stale_handle(void)
{
	vmem_delete(pool);
	void *p = vmem_malloc(pool, SIZE);
	printf("%p %s\n", p, vmem_errormsg());
}

static void
realloc_freed(void)
{
	vmem_free(pool, block);
	block = vmem_realloc(pool, block, 5000);
}

static void
overflow(void)
{
	block[SIZE] ^= 1; /* whatever the canary is */
	vmem_free(pool, block);
}

static void
overflow_by_an_int(void)
{
	((int *)(void *)block)[SIZE / sizeof(int)] = 1;
	vmem_free(pool, block);
}

static void
overflow_by_realloc(void)
{
	block[SIZE] ^= 1;
	block = vmem_realloc(pool, block, 5000);
}

static void
write_freed(void)
{
	vmem_free(pool, block);
	block[5] = 1;
	for (int i = 0; i < 200000; i++)
		vmem_free(pool, vmem_malloc(pool, SIZE));
}

static void
read_freed(void)
{
	vmem_free(pool, block);
	seen = block[5];
}

static void
leak(void)
{
	block = vmem_malloc(pool, 4); /* and the one before */
	block = NULL;
}

/* The first page behind the handle's own holds the superblock. */
static void
metadata(void)
{
	memset((char *)pool + sysconf(_SC_PAGESIZE), 0xff, 4096);
	printf("%d\n", vmem_check(pool));
	for (int i = 0; i < 1000; i++)
		if (vmem_malloc(pool, (size_t)1000 * (size_t)i) == NULL)
			break;
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*fn)(void);
	} misuses[] = {
		{"none", use_nothing},
		{"double_free", double_free},
		{"late_double_free", late_double_free},
		{"free_interior", free_interior},
		{"free_misaligned", free_misaligned},
		{"free_foreign", free_foreign},
		{"free_stack", free_stack},
		{"free_after_delete", free_after_delete},
		{"stale_handle", stale_handle},
		{"realloc_freed", realloc_freed},
		{"overflow", overflow},
		{"overflow_by_an_int", overflow_by_an_int},
		{"overflow_by_realloc", overflow_by_realloc},
		{"write_freed", write_freed},
		{"read_freed", read_freed},
		{"leak", leak},
		{"metadata", metadata},
	};

	for (size_t i = 0; argc == 3 && i < sizeof(misuses) / sizeof(misuses[0]); i++) {
		if (strcmp(argv[2], misuses[i].name) != 0)
			continue;
		pool = vmem_create(argv[1], VMEM_MIN_POOL);
		if (pool == NULL) {
			fprintf(stderr, "%s\n", vmem_errormsg());
			return 3;
		}
		block = vmem_malloc(pool, SIZE);
		misuses[i].fn();
		if (vmem_check(pool) != -1)
			vmem_delete(pool);
		puts("went on");
		return 0;
	}
	return 2;
}
