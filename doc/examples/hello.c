/* hello.c -- the program of libpmemcto(7): run twice, it finds the second time what it kept the first
 *
 * usage: hello            keeps its pool in hello.pool, in the current folder
 *
 * cc hello.c -o hello $(pkg-config --cflags --libs libpmemcto)
 */
#include <errno.h>
#include <libpmemcto.h>
#include <stdio.h>

struct root {
	char *str;
	int runs;
};

int
main(void)
{
	PMEMctopool *pool = pmemcto_open("hello.pool", "hello");
	if (pool == NULL && errno == ENOENT)
		pool = pmemcto_create("hello.pool", "hello", PMEMCTO_MIN_POOL, 0600);
	if (pool == NULL) {
		fprintf(stderr, "%s\n", pmemcto_errormsg());
		return 1;
	}

	struct root *root = pmemcto_get_root_pointer(pool);
	if (root != NULL) {
		printf("run %d found \"%s\"\n", ++root->runs, root->str);
	} else if ((root = pmemcto_calloc(pool, 1, sizeof(*root))) != NULL) {
		root->str = pmemcto_strdup(pool, "Hello World!");
		root->runs = 1;
		pmemcto_set_root_pointer(pool, root);
		puts("stored");
	}

	errno = 0;
	pmemcto_close(pool);
	if (errno != 0)
		fprintf(stderr, "%s\n", pmemcto_errormsg());
	return errno != 0;
}
