/* vmmalloc_calls.c -- what the malloc family must do, one case per run: vmmalloc_calls CASE
 *
 * Runs with libvmmalloc preloaded or linked; says what did not hold and exits 1.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

#define CHECK(cond)                                                                        \
	do {                                                                               \
		if (!(cond)) {                                                             \
			fprintf(stderr, "%s:%d: %s\n", __func__, __LINE__, #cond);         \
			exit(1);                                                           \
		}                                                                          \
	} while (0)

__attribute__((weak)) void cfree(void *p); /* libc has it no more */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);
void *__libc_memalign(size_t align, size_t size);

/* The compiler must not see through a size or a pointer. */
static void *
opaque(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

static size_t
huge(size_t n)
{
	__asm__ volatile("" : "+r"(n));
	return n;
}

static bool
aligned_to(const void *p, size_t align)
{
	return p != NULL && (uintptr_t)p % align == 0;
}

/* Fills caches with freed blocks until they go back to their slabs: there every one of them is looked at. */
static void
flush_caches(size_t size)
{
	enum { N = 4000 };
	static void *blocks[N];

	for (int i = 0; i < N; i++)
		blocks[i] = malloc(size);
	for (int i = 0; i < N; i++)
		free(blocks[i]);
}

/* In a mapping whose file is the pool's: nameless and in the given directory. */
static bool
in_pool(void *p)
{
	char line[512];
	bool found = false;
	FILE *maps = fopen("/proc/self/maps", "r");

	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
		unsigned long low, high;

		if (sscanf(line, "%lx-%lx", &low, &high) == 2 && (uintptr_t)p >= low && (uintptr_t)p < high)
			found = strstr(line, "(deleted)") != NULL;
	}
	if (maps != NULL)
		fclose(maps);
	return found;
}

static void
case_malloc(void)
{
	void *blocks[20], *zero = malloc(0), *zero2 = malloc(0);
	size_t sum = 0, n = 0;

	CHECK(zero != NULL && zero2 != NULL && zero != zero2);
	CHECK(in_pool(zero));
	free(zero);
	free(zero2);
	for (size_t size = 4 * MIB; size >= 8; size /= 2) {
		void *p = malloc(size);

		blocks[n++] = p;
		if (p != NULL) {
			memset(p, 0x5a, size);
			CHECK(malloc_usable_size(p) >= size);
			sum += size;
		}
	}
	CHECK(sum > 7 * MIB);
	while (n > 0)
		free(blocks[--n]);
	errno = 0;
	CHECK(malloc(huge(SIZE_MAX)) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(malloc(huge(PTRDIFF_MAX)) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(malloc(huge(MIB << 20)) == NULL && errno == ENOMEM);
	errno = EXDEV;
	free(opaque(malloc(10)));
	free(NULL);
	CHECK(errno == EXDEV);
}

static void
case_calloc(void)
{
	enum { N = 100, SIZE = 3584 };
	unsigned char *blocks[N];

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < N; i++) {
			blocks[i] = calloc(1, SIZE);
			CHECK(blocks[i] != NULL);
			for (int j = 0; j < SIZE; j++)
				CHECK(blocks[i][j] == 0);
			memset(blocks[i], 0xff, SIZE);
		}
		for (int i = 0; i < N; i++)
			free(blocks[i]);
	}
	unsigned char *large = malloc(3 * MIB);
	CHECK(large != NULL);
	memset(large, 0xff, 3 * MIB);
	free(large);
	large = calloc(3, MIB);
	CHECK(large != NULL);
	for (size_t i = 0; i < 3 * MIB; i++)
		CHECK(large[i] == 0);
	free(large);
	void *a = calloc(0, 5), *b = calloc(5, 0);
	CHECK(a != NULL && b != NULL && a != b);
	free(a);
	free(b);
	errno = 0;
	CHECK(calloc(huge(SIZE_MAX / 2), 3) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(calloc(huge(MIB << 20), 1) == NULL && errno == ENOMEM);
}

static void
case_realloc(void)
{
	char *p = realloc(opaque(NULL), 4);

	CHECK(p != NULL);
	memcpy(p, "abc", 4);
	p = realloc(p, 40);
	CHECK(p != NULL && memcmp(p, "abc", 4) == 0);
	errno = 0;
	CHECK(realloc(opaque(p), huge(PTRDIFF_MAX)) == NULL && errno == ENOMEM);
	CHECK(memcmp(p, "abc", 4) == 0);
	for (size_t size = 64; size <= 4 * MIB; size *= 2) {
		p = realloc(p, size);
		CHECK(p != NULL && memcmp(p, "abc", 4) == 0);
		p[size - 1] = 1;
	}
	for (size_t size = 4 * MIB; size >= 4; size /= 2) {
		p = realloc(p, size);
		CHECK(p != NULL && memcmp(p, "abc", 4) == 0);
	}
	errno = EXDEV;
	CHECK(realloc(opaque(p), 0) == NULL && errno == EXDEV);
	p = realloc(NULL, 0);
	CHECK(p != NULL);
	free(p);
	errno = 0;
	CHECK(reallocarray(NULL, huge(SIZE_MAX / 2), 3) == NULL && errno == ENOMEM);
	int *q = reallocarray(NULL, 10, sizeof(int));
	CHECK(q != NULL && malloc_usable_size(q) >= 10 * sizeof(int));
	CHECK(cfree != NULL);
	cfree(q);
}

static void
case_alignment(void)
{
	for (size_t size = 0; size <= 4096; size += size < 64 ? 1 : 61) {
		void *p = malloc(size), *q = calloc(1, size);

		CHECK(aligned_to(p, 16) && aligned_to(q, 16));
		free(p);
		free(q);
	}
}

enum align_kind { MEMALIGN, POSIX_MEMALIGN, ALIGNED_ALLOC };

static void *
get_aligned(enum align_kind kind, size_t align, size_t size)
{
	/* The compiler knows posix_memalign, and takes for granted that a failed one leaves p alone. */
	int (*volatile call)(void **, size_t, size_t) = posix_memalign;
	void *p = (void *)1;
	int error;

	switch (kind) {
	case MEMALIGN:
		return memalign(align, size);
	case ALIGNED_ALLOC:
		return aligned_alloc(align, size);
	default:
		errno = EXDEV;
		error = (*call)(&p, align, size);
		CHECK(errno == EXDEV);
		CHECK((error == 0) == (p != NULL));
		errno = error;
		return p;
	}
}

static void
aligned_case(enum align_kind kind)
{
	enum { N = 100 };
	void *blocks[N];

	for (size_t align = 4 * MIB; align >= 1; align /= 2) {
		int n = 0;

		while (n < N && (blocks[n] = get_aligned(kind, align, 4)) != NULL) {
			CHECK(aligned_to(blocks[n], align));
			memset(blocks[n++], 1, 4);
		}
		CHECK(n >= 1);
		if (n < N)
			CHECK(errno == ENOMEM);
		while (n > 0)
			free(blocks[--n]);
	}
	for (size_t align = 1; align <= 65536; align *= 2) {
		void *p = get_aligned(kind, align, 3 * align + 1); /* no multiple of the alignment */

		CHECK(aligned_to(p, align) && malloc_usable_size(p) >= 3 * align + 1);
		p = realloc(p, 10 * align);
		CHECK(p != NULL);
		free(p);
		p = get_aligned(kind, align, 0);
		CHECK(aligned_to(p, align));
		free(p);
	}
	CHECK(get_aligned(kind, huge(0), 8) == NULL && errno == EINVAL);
	CHECK(get_aligned(kind, huge(3), 8) == NULL && errno == EINVAL);
	CHECK(get_aligned(kind, huge(48), 8) == NULL && errno == EINVAL);
	CHECK(get_aligned(kind, huge((size_t)1 << 40), 8) == NULL && errno == ENOMEM);
	CHECK(get_aligned(kind, huge((size_t)1 << 63), 8) == NULL && errno == ENOMEM);
	CHECK(get_aligned(kind, 64, huge(SIZE_MAX)) == NULL && errno == ENOMEM);
}

static void
case_memalign(void)
{
	aligned_case(MEMALIGN);
}

static void
case_posix_memalign(void)
{
	aligned_case(POSIX_MEMALIGN);
}

static void
case_aligned_alloc(void)
{
	aligned_case(ALIGNED_ALLOC);
}

static void
case_valloc(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (size_t size = 4; size <= 8192; size *= 2) {
		void *p = valloc(size), *q = pvalloc(size);
		size_t rounded = (size + page - 1) / page * page;

		CHECK(aligned_to(p, page) && malloc_usable_size(p) >= size);
		CHECK(aligned_to(q, page) && malloc_usable_size(q) == rounded);
		free(p);
		free(q);
	}
	void *p = valloc(0), *q = pvalloc(0);
	CHECK(aligned_to(p, page) && malloc_usable_size(p) >= page);
	CHECK(aligned_to(q, page) && malloc_usable_size(q) == page);
	free(p);
	free(q);
	errno = 0;
	CHECK(pvalloc(huge(SIZE_MAX - 10)) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(valloc(huge(SIZE_MAX - 10)) == NULL && errno == ENOMEM);
}

static void
case_usable_size(void)
{
	static const struct {
		size_t size, excess;
	} table[] = {
		{ 10, 8 }, { 100, 16 }, { 200, 32 }, { 500, 64 }, { 1000, 128 }, { 2000, 256 }, { 3000, 512 },
		{ 1 * MIB, 4 * MIB }, { 2 * MIB, 4 * MIB }, { 3 * MIB, 4 * MIB }, { 4 * MIB, 4 * MIB },
		{ 5 * MIB, 4 * MIB }, { 6 * MIB, 4 * MIB }, { 7 * MIB, 4 * MIB }, { 8 * MIB, 4 * MIB },
		{ 9 * MIB, 4 * MIB },
	};

	CHECK(malloc_usable_size(NULL) == 0);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		void *p = malloc(table[i].size);

		CHECK(p != NULL);
		size_t usable = malloc_usable_size(p);
		CHECK(usable >= table[i].size && usable - table[i].size <= table[i].excess);
		memset(p, 0xff, usable);
		free(p);
	}
}

/* Each size in turn fills the pool; all of it is there again for the next. */
static void
case_check_allocations(void)
{
	size_t max = 3670016, least_bytes = 0;
	void **blocks = malloc(max * sizeof(*blocks) / 8);

	max /= 8;
	CHECK(blocks != NULL);
	for (size_t size = 4 * MIB; size >= 4; size /= 2) {
		size_t n = 0;

		while (n < max && (blocks[n] = malloc(size)) != NULL) {
			memset(blocks[n], (int)(n & 0xff), size);
			n++;
		}
		CHECK(n >= 1);
		for (size_t i = 0; i < n; i++) {
			unsigned char *p = blocks[i];

			CHECK(p[0] == (i & 0xff) && p[size - 1] == (i & 0xff) && p[size / 2] == (i & 0xff));
		}
		if (size == 1024)
			least_bytes = n * size;
		for (size_t i = 0; i < n; i++)
			free(blocks[i]);
	}
	CHECK(least_bytes > 8 * MIB);
}

static void
case_out_of_memory(void)
{
	void **last = NULL, **p;
	size_t n = 0;

	while ((p = malloc(8)) != NULL) {
		*p = last;
		last = p;
		n++;
	}
	CHECK(errno == ENOMEM && n >= 1);
	while (last != NULL) {
		p = last;
		last = *p;
		free(p);
	}
	FILE *f = fopen("/proc/self/maps", "r");
	CHECK(f != NULL && fgetc(f) != EOF);
	fclose(f);
	DIR *d = opendir("/");
	CHECK(d != NULL && readdir(d) != NULL);
	closedir(d);
	printf("%zu\n", n);
}

/* Whoever calls libc's names gets blocks of the same heap. */
static void
case_libc_names(void)
{
	void *p = __libc_malloc(100), *q = __libc_calloc(3, 50), *r = __libc_memalign(4096, 10);

	CHECK(in_pool(p) && in_pool(q) && aligned_to(r, 4096) && in_pool(r));
	free(p);
	q = realloc(q, 5000);
	CHECK(q != NULL);
	__libc_free(q);
	free(r);
	p = malloc(30);
	p = __libc_realloc(p, 3000);
	CHECK(p != NULL && malloc_usable_size(p) >= 3000);
	free(p);
}

static void
case_glibc_extras(void)
{
	char *text = NULL;
	size_t length = 0;
	void *small = malloc(1000), *large = malloc(2 * MIB);

	CHECK(small != NULL && large != NULL);
	memset(large, 1, 2 * MIB);
	struct mallinfo2 before = mallinfo2();
	CHECK(before.uordblks + before.hblkhd >= 1000 + 2 * MIB);
	CHECK(before.arena + before.hblkhd >= before.uordblks + before.hblkhd);
	free(large);
	struct mallinfo2 after = mallinfo2();
	CHECK(after.uordblks + after.hblkhd + 2 * MIB <= before.uordblks + before.hblkhd);
	CHECK(mallopt(M_MMAP_THRESHOLD, 4096) == 1);
	malloc_trim(0);
	CHECK(mallinfo2().keepcost <= after.keepcost);
	malloc_stats();
	FILE *f = open_memstream(&text, &length);
	CHECK(f != NULL && malloc_info(0, f) == 0 && malloc_info(1, f) == EINVAL);
	fclose(f);
	CHECK(strncmp(text, "<malloc", 7) == 0 && strstr(text, "</malloc>") != NULL);
	free(text);
	free(small);
}

static void
case_double_free(void)
{
	void *p = malloc(100), *again = opaque(p);

	free(p);
	free(again);
}

static void
case_double_free_later(void)
{
	void *p = malloc(100), *q = malloc(100), *again = opaque(p);

	free(p);
	free(q);
	free(again);
	flush_caches(100);
}

static void
case_double_free_large(void)
{
	void *p = malloc(2 * MIB), *again = opaque(p);

	free(p);
	free(again);
}

static void
case_inner_free(void)
{
	char *p = malloc(100);

	free(opaque(p + 16));
	flush_caches(100);
}

static void
case_misaligned_free(void)
{
	char *p = malloc(100);

	free(opaque(p + 1));
}

static void
on_abort(int sig)
{
	void *p[100];

	(void)sig;
	for (size_t i = 0; i < 100; i++) {
		p[i] = malloc(i * i * 20);
		CHECK(p[i] != NULL);
	}
	for (size_t i = 0; i < 100; i++)
		free(p[i]);
	_exit(42);
}

/* A crash reporter allocates while the misuse is being diagnosed. */
static void
case_handler_of_abort(void)
{
	static const size_t sizes[] = {64, 5000, 300000, 3000000};
	char *volatile p;

	signal(SIGABRT, on_abort);
	for (size_t i = 0; i < 4; i++) {
		if (fork() == 0) {
			p = malloc(sizes[i]);
			char *volatile again = p;
			free(p);
			free(again);
			_exit(1);
		}
		int status;
		wait(&status);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	}
}

static void
case_stack_free(void)
{
	char block[64] __attribute__((aligned(16)));

	memset(block, 0, sizeof(block));
	free(opaque(block + 16));
}

static void
case_where(void)
{
	void *p = malloc(100);

	CHECK(in_pool(p));
	free(p);
}

/* The descriptors that the program sees: the pool's is far from what programs count on. */
static void
case_descriptors(void)
{
	int fd = dup(0), n = 0;
	DIR *d = opendir("/proc/self/fd");

	CHECK(fd == 3 && d != NULL);
	close(fd);
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		n += e->d_name[0] != '.' && atoi(e->d_name) > 10;
	closedir(d);
	printf("%d\n", n);
}

static void
case_malloc_4321(void)
{
	void *p = malloc(4321);

	CHECK(p != NULL);
	free(p);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "malloc", case_malloc },
	{ "calloc", case_calloc },
	{ "realloc", case_realloc },
	{ "alignment", case_alignment },
	{ "memalign", case_memalign },
	{ "posix_memalign", case_posix_memalign },
	{ "aligned_alloc", case_aligned_alloc },
	{ "valloc", case_valloc },
	{ "usable_size", case_usable_size },
	{ "check_allocations", case_check_allocations },
	{ "out_of_memory", case_out_of_memory },
	{ "libc_names", case_libc_names },
	{ "glibc_extras", case_glibc_extras },
	{ "double_free", case_double_free },
	{ "double_free_later", case_double_free_later },
	{ "double_free_large", case_double_free_large },
	{ "inner_free", case_inner_free },
	{ "misaligned_free", case_misaligned_free },
	{ "stack_free", case_stack_free },
	{ "handler_of_abort", case_handler_of_abort },
	{ "where", case_where },
	{ "descriptors", case_descriptors },
	{ "malloc_4321", case_malloc_4321 },
};

int
main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(argv[1], cases[i].name) == 0) {
			cases[i].run();
			return 0;
		}
	}
	fprintf(stderr, "no such case\n");
	return 2;
}
