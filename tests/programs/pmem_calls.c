/* pmem_calls.c -- one call of libpmem, named by the first argument, for tests that need a process of its own
 *
 * Prints what the call gave. Media: what the arguments name.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <libpmem.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* Runs before the constructors of all libraries: what works here works in any constructor. */
static char early_to[300], early_from[300];
static int early_asked;

static void
early(int argc, char **argv, char **env)
{
	(void)env;
	if (argc < 2 || strcmp(argv[1], "early") != 0)
		return;
	memset(early_from, 'e', sizeof(early_from));
	pmem_memcpy_persist(early_to, early_from, 100);
	pmem_memmove_nodrain(early_to + 100, early_from, 100);
	pmem_memset(early_to + 200, 'e', 100, 0);
	pmem_persist(early_to, sizeof(early_to));
	pmem_deep_flush(early_to, 1);
	pmem_drain();
	early_asked = pmem_is_pmem(early_to, 1) + pmem_has_hw_drain();
}

__attribute__((section(".preinit_array"), used)) static void (*preinit)(int, char **, char **) = early;

static void *
ask(void *arg)
{
	pthread_barrier_wait(arg);
	return (void *)(intptr_t)pmem_is_pmem(early_to, 1);
}

int
main(int argc, char **argv)
{
	static char to[20 << 20], from[20 << 20];
	const char *what = argc > 1 ? argv[1] : "";
	unsigned long long n = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;

	if (strcmp(what, "early") == 0) {
		printf("%s %d %d\n", memcmp(early_to, early_from, sizeof(early_to)) == 0 ? "ok" : "wrong", early_asked,
			pmem_is_pmem(early_to, 1));
	} else if (strcmp(what, "is_pmem") == 0) {
		printf("%d %d %d\n", pmem_is_pmem(to, 1), pmem_is_pmem(to, 0), pmem_is_pmem(NULL, sizeof(to)));
		setenv("PMEM_IS_PMEM_FORCE", "1", 1); /* too late */
		printf("%d\n", pmem_is_pmem(to, 1));
	} else if (strcmp(what, "is_pmem_set") == 0) { /* in main, before the first call */
		setenv("PMEM_IS_PMEM_FORCE", argv[2], 1);
		printf("%d\n", pmem_is_pmem(to, 1));
		unsetenv("PMEM_IS_PMEM_FORCE");
		printf("%d\n", pmem_is_pmem(to, 1));
	} else if (strcmp(what, "is_pmem_threads") == 0) {
		pthread_barrier_t barrier;
		pthread_t threads[16];
		intptr_t sum = 0;

		pthread_barrier_init(&barrier, NULL, 16);
		for (int i = 0; i < 16; i++)
			pthread_create(&threads[i], NULL, ask, &barrier);
		for (int i = 0; i < 16; i++) {
			void *answer;

			pthread_join(threads[i], &answer);
			sum += (intptr_t)answer;
		}
		printf("%d\n", (int)sum);
	} else if (strcmp(what, "auto_flush") == 0) {
		int answer = pmem_has_auto_flush(), error = errno;

		printf("%d %d\n", answer, answer < 0 ? error : 0);
		if (answer < 0)
			puts(pmem_errormsg());
	} else if (strcmp(what, "copy") == 0) { /* size flags */
		unsigned flags = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) : 0;

		memset(from, 'x', n);
		pmem_memcpy(to, from, n, flags);
		printf("%s\n", memcmp(to, from, n) == 0 ? "ok" : "wrong");
		memset(from, 'y', n);
		pmem_memset(to, 'y', n, flags);
		printf("%s\n", memcmp(to, from, n) == 0 ? "ok" : "wrong");
	} else if (strcmp(what, "sweep") == 0) { /* every function, many sizes */
		for (size_t size = 0; size < 5000; size += size < 300 ? 7 : 501)
			for (size_t at = 0; at < 70; at += 23) {
				for (size_t i = 0; i < size; i++)
					from[i] = (char)(i * 3 + size);
				memset(to, 0, size + 200);
				pmem_memcpy_persist(to + at, from, size);
				if (memcmp(to + at, from, size) != 0 || to[at + size] != 0)
					return 1;
				pmem_memmove_nodrain(to + at + 3, to + at, size);
				if (memcmp(to + at + 3, from, size) != 0)
					return 2;
				pmem_memset_nodrain(to, 5, size);
				pmem_memset_persist(to, 6, size / 2);
				pmem_memmove_persist(to + 6000, to, size);
				pmem_memcpy_nodrain(to + 12000, to + 6000, size);
				for (size_t i = 0; i < size; i++)
					if (to[12000 + i] != (i < size / 2 ? 6 : 5))
						return 3;
				pmem_drain();
				pmem_flush(to, size);
				pmem_persist(to + 1, size);
			}
		puts("ok");
	} else if (strcmp(what, "map") == 0) { /* path len: prints the address */
		size_t len;
		int is_pmem;
		void *p = pmem_map_file(argv[2], (size_t)strtoull(argv[3], NULL, 0), PMEM_FILE_CREATE | PMEM_FILE_SPARSE, 0600, &len,
			&is_pmem);

		if (p == NULL)
			printf("%d %s\n", errno, pmem_errormsg());
		else
			printf("%p %zu %d %d\n", p, len, is_pmem, pmem_is_pmem(p, len));
	} else if (strcmp(what, "version") == 0) {
		printf("%s\n", pmem_check_version(9, 0));
	} else if (strcmp(what, "fork") == 0) {
		printf("%d\n", fork() == 0 ? pmem_is_pmem(to, 1) : 0);
	} else if (strcmp(what, "nothing") != 0) {
		return 2;
	}
	return 0;
}
