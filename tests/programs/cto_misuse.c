/* cto_misuse.c -- does to a libpmemcto pool what a program must not do, by name: cto_misuse FILE MISUSE
 *
 * "create" makes the pool with one block of 48 bytes as its root and closes it; the others open it. Says "went on" when
 * nothing stopped it.
 */
#include <libpmemcto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE ((size_t)48)

int
main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	const char *what = argv[2];
	int create = strcmp(what, "create") == 0;
	PMEMctopool *pool =
		create ? pmemcto_create(argv[1], "misuse", PMEMCTO_MIN_POOL, 0600) : pmemcto_open(argv[1], "misuse");
	if (pool == NULL) {
		fprintf(stderr, "%s\n", pmemcto_errormsg());
		return 3;
	}
	char *root = pmemcto_get_root_pointer(pool);
	char *block = pmemcto_malloc(pool, SIZE);
	if (create) {
		memset(block, 1, SIZE);
		pmemcto_set_root_pointer(pool, block);
	} else if (strcmp(what, "none") == 0) {
		root[SIZE - 1]++;
		for (int i = 0; i < 20000; i++)
			pmemcto_free(pool, pmemcto_malloc(pool, (size_t)i % 900));
		pmemcto_free(pool, block);
	} else if (strcmp(what, "overflow") == 0) {
		block[SIZE] ^= 1; /* whatever the canary is */
		pmemcto_free(pool, block);
	} else if (strcmp(what, "double_free") == 0) {
		pmemcto_free(pool, block);
		pmemcto_free(pool, pmemcto_malloc(pool, SIZE));
		pmemcto_free(pool, block);
	} else if (strcmp(what, "double_free_of_root") == 0) {
		pmemcto_free(pool, root);
		pmemcto_free(pool, pmemcto_malloc(pool, 1000));
		pmemcto_free(pool, root);
	} else if (strcmp(what, "use_freed_root") == 0) {
		pmemcto_free(pool, root);
		root[3]++;
	} else if (strcmp(what, "free_after_close") == 0) {
		pmemcto_close(pool);
		pmemcto_free(pool, block);
		return 0;
	} else {
		return 2;
	}
	pmemcto_close(pool);
	puts("went on");
	return 0;
}
