/* media_pmemcto.c -- a pool's bytes: they lie where media.h says; a closed heap works at any address; damage anywhere in
 * the heap's tables is reported, not fallen over
 *
 * A program of its own makes the pools, as it has libpmemcto; this one has the allocator.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc/heap.h"
#include "alloc/heap_media.h"
#include "api/pmemcto/media.h"

#define SESSION TEST_BUILD "/tests/programs/cto_session"
#define MIB ((size_t)1 << 20)

static char file[64];

static void
file_remove(void)
{
	if (file[0] != '\0')
		unlink(file);
}

TestSuite(media_pmemcto, .fini = file_remove);

static void
session(const char *a, const char *c, const char *d)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		execl(SESSION, SESSION, a, file, c, d, (char *)NULL);
		_exit(127);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
}

/* A pool of 16 MiB with a thousand blocks or so, closed. */
static void
make_pool(void)
{
	snprintf(file, sizeof(file), "%s/pmheap-media-%d", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
	unlink(file);
	session("make", "16", NULL);
	session("work", "42", "3000");
}

/* A private view of the pool, anywhere. */
static char *
map_pool(size_t *size)
{
	int fd = open(file, O_RDWR);
	struct stat st;
	char *p;

	cr_assert_geq(fd, 0);
	cr_assert_eq(fstat(fd, &st), 0);
	*size = (size_t)st.st_size;
	p = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	cr_assert(p != MAP_FAILED);
	close(fd);
	return p;
}

static struct heap_config
config_of(char *base)
{
	const struct pool_front_media *front = (const struct pool_front_media *)base;

	return (struct heap_config){
		.base = base,
		.size = front->desc.size,
		.reserved = front->desc.heap_offset,
		.backing = HEAP_BACKING_GIVEN,
		.min_align = 16,
		.name = "media_pmemcto",
	};
}

#define FIELD(type, field, off, size)                                        \
	cr_expect_eq(offsetof(struct type, field), (size_t)(off), #field);   \
	cr_expect_eq(sizeof(((struct type *)0)->field), (size_t)(size), #field)

Test(media_pmemcto, fields_lie_where_they_always_did)
{
	FIELD(pool_header_media, signature, 0, 8);
	FIELD(pool_header_media, major, 8, 4);
	FIELD(pool_header_media, compat, 12, 4);
	FIELD(pool_header_media, incompat, 16, 4);
	FIELD(pool_header_media, ro_compat, 20, 4);
	FIELD(pool_header_media, poolset, 24, 16);
	FIELD(pool_header_media, part, 40, 16);
	FIELD(pool_header_media, prev_part, 56, 16);
	FIELD(pool_header_media, next_part, 72, 16);
	FIELD(pool_header_media, prev_replica, 88, 16);
	FIELD(pool_header_media, next_replica, 104, 16);
	FIELD(pool_header_media, created, 120, 8);
	FIELD(pool_header_media, alignment, 128, 8);
	FIELD(pool_header_media, elf_class, 136, 1);
	FIELD(pool_header_media, elf_data, 137, 1);
	FIELD(pool_header_media, machine, 142, 2);
	FIELD(pool_header_media, shutdown_state, 4024, 64);
	FIELD(pool_header_media, checksum, 4088, 8);
	FIELD(pool_desc_media, layout, 0, 1024);
	FIELD(pool_desc_media, base, 1024, 8);
	FIELD(pool_desc_media, size, 1032, 8);
	FIELD(pool_desc_media, root, 1040, 8);
	FIELD(pool_desc_media, consistent, 1048, 1);
	FIELD(pool_desc_media, format_version, 1056, 4);
	FIELD(pool_desc_media, flags, 1060, 4);
	FIELD(pool_desc_media, span, 1064, 8);
	FIELD(pool_desc_media, heap_offset, 1072, 8);
	FIELD(pool_desc_media, fixed_checksum, 1080, 8);
	FIELD(pool_desc_media, generation, 1088, 8);
	FIELD(pool_desc_media, heap_checksum, 1096, 8);
	FIELD(pool_desc_media, closed_checksum, 1104, 8);
	cr_expect_eq(sizeof(struct pool_front_media), 8192);
	cr_expect_eq(POOL_FORMAT_VERSION, 1);
}

/* Fletcher's sum of 1, 2, 3: low 6, high 1 + 3 + 6. */
Test(media_pmemcto, checksum_of_known_words)
{
	static const uint8_t words[] = { 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0 };

	cr_expect_eq(media_checksum(words, 12, 12, 12), UINT64_C(10) << 32 | 6);
	cr_expect_eq(media_checksum(words, 12, 12, 8), UINT64_C(7) << 32 | 3, "the rest counts as zero");
	cr_expect_eq(media_checksum(words, 12, 0, 12), UINT64_C(3) << 32 | 3, "8 bytes left out");
	cr_expect_eq(media_checksum(words, 0, 0, 0), 0);
}

/* --- another address ----------------------------------------------------------------------------------------- */

static size_t nblocks, nbytes;

static void
count_block(void *ctx, void *p, size_t usable)
{
	const char *base = ctx;

	cr_assert_geq((char *)p, base);
	nblocks++;
	nbytes += usable;
}

static void *to_free[4000];

static void
collect_block(void *ctx, void *p, size_t usable)
{
	size_t *n = ctx;

	(void)usable;
	if (*n < 4000)
		to_free[(*n)++] = p;
}

Test(media_pmemcto, a_closed_heap_works_at_another_address)
{
	struct tcache_cell cell = TCACHE_CELL_INIT;
	struct heap_config config;
	struct heap *heap;
	char *first, *second, why[256] = "";
	size_t size, n = 0, blocks, bytes;

	make_pool();
	first = map_pool(&size);
	second = map_pool(&size);
	config = config_of(first);
	cr_assert_eq(heap_attach(&heap, &config), 0);
	cr_expect_eq(heap_check(heap, why, sizeof(why)), 1, "%s", why);
	heap_each_block(heap, count_block, first);
	blocks = nblocks;
	bytes = nbytes;
	cr_expect_gt(blocks, 100);
	heap_abandon(heap);
	munmap(first, size);

	config = config_of(second);
	cr_assert_neq(first, second);
	cr_assert_eq(heap_attach(&heap, &config), 0);
	cr_expect_eq(heap_check(heap, why, sizeof(why)), 1, "%s", why);
	nblocks = nbytes = 0;
	heap_each_block(heap, count_block, second);
	cr_expect_eq(nblocks, blocks);
	cr_expect_eq(nbytes, bytes);
	for (int i = 0; i < 2000; i++) {
		void *p = heap_malloc(heap, &cell, (size_t)i);

		cr_assert_not_null(p);
		memset(p, 1, (size_t)i);
	}
	heap_each_block(heap, collect_block, &n);
	cr_expect_eq(n, blocks + 2000);
	for (size_t i = 0; i < n; i++)
		heap_free(heap, &cell, to_free[i]);
	cr_expect_eq(heap_check(heap, why, sizeof(why)), 1, "%s", why);
	heap_detach(heap);
	cr_assert_eq(heap_attach(&heap, &config), 0);
	cr_expect_not_null(heap_malloc(heap, &cell, 15 * MIB), "empty again");
	heap_abandon(heap);
}

/* Words that look like addresses of the place where the pool lives would be stale at another. */
Test(media_pmemcto, no_address_in_the_heaps_tables)
{
	const struct pool_front_media *front;
	const struct heap_media *media;
	size_t size, hits = 0;
	char *pool;

	make_pool();
	pool = map_pool(&size);
	front = (const struct pool_front_media *)pool;
	media = (const struct heap_media *)(pool + front->desc.heap_offset);
	for (size_t at = front->desc.heap_offset; at < media->pages_off; at += 4) {
		uint64_t word;

		memcpy(&word, pool + at, sizeof(word));
		hits += word - front->desc.base < size;
	}
	cr_expect_eq(hits, 0);
}

/* --- damage -------------------------------------------------------------------------------------------------- */

static sigjmp_buf escape;

static void
on_signal(int sig)
{
	siglongjmp(escape, sig);
}

/* What a check makes of the pool with the byte at `at` changed: 1, 0, or -1 when it is not even attached. */
static int
verdict(char *pool, size_t at, unsigned char change)
{
	struct heap_config config = config_of(pool);
	struct heap *heap;
	int result, sig;

	pool[at] = (char)(pool[at] ^ change);
	sig = sigsetjmp(escape, 1);
	if (sig != 0)
		cr_assert_fail("byte %zu ^ %x: signal %d", at, change, sig);
	result = heap_attach(&heap, &config);
	if (result != 0) {
		cr_assert_eq(result, EINVAL);
		result = -1;
	} else {
		uint64_t checksum = ((struct pool_front_media *)pool)->desc.heap_checksum;

		result = heap_check(heap, NULL, 0);
		heap_abandon(heap);
		((struct heap_media *)(pool + config.reserved))->checksum = checksum;
	}
	pool[at] = (char)(pool[at] ^ change);
	return result;
}

Test(media_pmemcto, damage_anywhere_in_the_heaps_tables_is_reported_without_a_crash)
{
	const struct pool_front_media *front;
	const struct heap_media *media;
	size_t size, seen = 0, looked = 0, step = 37;
	char *pool;

	make_pool();
	pool = map_pool(&size);
	front = (const struct pool_front_media *)pool;
	media = (const struct heap_media *)(pool + front->desc.heap_offset);
	signal(SIGSEGV, on_signal);
	signal(SIGBUS, on_signal);
	signal(SIGFPE, on_signal);
	signal(SIGABRT, on_signal);
	cr_assert_eq(verdict(pool, media->pages_off, 0), 1);
	for (size_t at = front->desc.heap_offset; at < front->desc.heap_offset + sizeof(*media); at++) {
		if (at - front->desc.heap_offset - offsetof(struct heap_media, checksum) < 8)
			continue;
		cr_assert_eq(verdict(pool, at, 0xff), -1, "superblock byte %zu", at);
	}
	for (size_t at = media->nodes_off[0]; at < media->pages_off; at += step) {
		static const unsigned char changes[] = { 0x01, 0x80, 0xff };

		for (int i = 0; i < 3; i++) {
			looked++;
			seen += verdict(pool, at, changes[i]) != 1;
		}
	}
	/* most of the tables stand for pages that are free: what is there means nothing */
	cr_expect_gt(seen, 100, "%zu of %zu", seen, looked);
}
