/* vmmalloc_plugins.c -- blocks that cross between heaps: vmmalloc_plugins CASE PLUGIN
 *
 * PLUGIN is a shared library with give(size), which is malloc, and take(p), which is free.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(cond)                                                                \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __func__, __LINE__, #cond); \
			exit(1);                                                   \
		}                                                                  \
	} while (0)

/* A namespace has a libc of its own, whose blocks the program's libc cannot resize, and can take small ones of only:
 * so it is without us too. */
static void
use_namespace(void *plugin)
{
	void *(*give)(size_t) = (void *(*)(size_t))dlsym(plugin, "give");
	void (*take)(void *) = (void (*)(void *))dlsym(plugin, "take");

	CHECK(give != NULL && take != NULL);
	for (size_t size = 1; size < 100000; size = size * 3 + 1) {
		char *p = give(size), *q = malloc(size);

		CHECK(p != NULL && q != NULL && malloc_usable_size(p) >= size);
		memset(p, 1, size);
		memset(q, 2, size);
		CHECK(p[0] == 1 && p[size - 1] == 1);
		if (size < 1000)
			free(p);
		else
			take(p);
		free(q);
	}
}

/* What the plugin gave is sized, grown and freed by us, at small, middle and large sizes. */
static void
use(void *plugin)
{
	void *(*give)(size_t) = (void *(*)(size_t))dlsym(plugin, "give");
	static const size_t sizes[] = { 1, 24, 100, 1000, 5000, 100000, 1000000 };
	enum { N = sizeof(sizes) / sizeof(sizes[0]) };
	char *blocks[N];

	CHECK(give != NULL);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < N; i++) {
			blocks[i] = give(sizes[i]);
			CHECK(blocks[i] != NULL && malloc_usable_size(blocks[i]) >= sizes[i]);
			memset(blocks[i], i, sizes[i]);
		}
		for (int i = 0; i < N; i++) {
			blocks[i] = realloc(blocks[i], sizes[i] * 2);
			CHECK(blocks[i] != NULL && blocks[i][0] == i && blocks[i][sizes[i] - 1] == i);
			if (i % 2 == 0)
				blocks[i] = realloc(blocks[i], 8);
			CHECK(blocks[i] != NULL && blocks[i][0] == i);
		}
		for (int i = 0; i < N; i++)
			free(blocks[i]);
	}
}

/* The other way: the plugin frees what we and, through us, libc gave. */
static void
hand_over(void *plugin)
{
	void (*take)(void *) = (void (*)(void *))dlsym(plugin, "take");

	CHECK(take != NULL);
	for (size_t size = 1; size < 2000000; size = size * 3 + 1) {
		char *p = malloc(size);

		CHECK(p != NULL);
		memset(p, 1, size);
		take(p);
	}
	char *copy = strdup("from libc, which calls our malloc");
	CHECK(copy != NULL);
	take(copy);
}

int
main(int argc, char **argv)
{
	void *plugin = NULL;

	CHECK(argc == 3);
	if (strcmp(argv[1], "plain") == 0)
		plugin = dlopen(argv[2], RTLD_NOW);
	else if (strcmp(argv[1], "lazy") == 0)
		plugin = dlopen(argv[2], RTLD_LAZY);
	else if (strcmp(argv[1], "deepbind") == 0)
		plugin = dlopen(argv[2], RTLD_NOW | RTLD_DEEPBIND);
	else if (strcmp(argv[1], "namespace") == 0)
		plugin = dlmopen(LM_ID_NEWLM, argv[2], RTLD_NOW);
	if (plugin == NULL) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	if (strcmp(argv[1], "namespace") == 0) {
		use_namespace(plugin);
		return 0;
	}
	use(plugin);
	hand_over(plugin);
	CHECK(dlclose(plugin) == 0);
	return 0;
}
