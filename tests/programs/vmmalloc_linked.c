/* vmmalloc_linked.c -- a program that is linked with libvmmalloc: dynamically, statically, or as C++ */
#include <libvmmalloc.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As the C++ rules want it said. */
static char *
text_of(size_t size)
{
	return (char *)malloc(size);
}

static void *
thread_part(void *arg)
{
	for (int i = 0; i < 1000; i++)
		free(text_of((size_t)i));
	return arg;
}

int
main(void)
{
	pthread_t thread;
	char *p = text_of(100), line[512];
	int found = 0;

	if (p == NULL || VMMALLOC_MAJOR_VERSION != 1 || VMMALLOC_MINOR_VERSION != 1)
		return 1;
	if (pthread_create(&thread, NULL, thread_part, NULL) != 0 || pthread_join(thread, NULL) != 0)
		return 1;
	FILE *maps = fopen("/proc/self/maps", "r");
	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
		unsigned long low, high;

		if (sscanf(line, "%lx-%lx", &low, &high) == 2 && (unsigned long)p >= low && (unsigned long)p < high)
			found = strstr(line, "(deleted)") != NULL;
	}
	if (maps != NULL)
		fclose(maps);
	p = (char *)realloc(p, 100000);
	if (p == NULL || malloc_usable_size(p) < 100000)
		return 1;
	free(p);
	puts(found ? "in the pool" : "elsewhere");
	return found ? 0 : 1;
}
