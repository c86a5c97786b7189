/* pool_open.c -- fuzz target: whatever a pool's file holds, opening and checking it ends in an answer
 *
 * A valid pool of 16 MiB is made once, in a file without a name. Each input changes fields of a copy: of header,
 * descriptor, superblock and each of the heap's tables; checksums are made right again, or not; the file is cut or
 * grows. Then
 *   O1  pmemcto_check() and pmemcto_open() come back, with a verdict, or NULL and an errno and a message.
 *   O2  they agree: what is no pool (-1) cannot be opened, with the same errno; what is good (1) can be.
 *   O3  a pool that is good can be used: blocks lie in it, aligned, on nobody else's bytes; after closing it is good.
 *   O4  a pool that is damaged (0) can be opened and closed again, or refused. Using it is not promised.
 *
 * Input: 4 bytes: what to repair, how to change the size, number of changes, seed of what is allocated; then CHANGE_SIZE
 * bytes per change (see change()). Deterministic: the pool's address is given, nothing stays behind between two inputs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "alloc/heap_media.h"
#include "api/include/libpmemcto.h"
#include "api/pmemcto/media.h"

#define POOL_SIZE ((size_t)16 << 20)
#define HEAD_SIZE 4
#define CHANGE_SIZE 9
#define MAX_CHANGES 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition, ...)                                                                                        \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "pool_open: not so: %s: ", #condition);                                        \
			fprintf(stderr, __VA_ARGS__);                                                                  \
			fprintf(stderr, " (%s)\n", pmemcto_errormsg());                                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* --- the valid pool ------------------------------------------------------------------------------------------ */

static int file;
static char path[64];
static uint8_t *valid, *image; /* what is before the pages of blocks, which are all zero */
static size_t image_size;

/* A part of the image that one kind of change goes to. */
static struct table {
	size_t offset, size;
} tables[12];
static unsigned ntables;

static void
add_table(size_t offset, size_t size)
{
	tables[ntables++] = (struct table){offset, size};
}

/* Before the library reads it: the same address in each process. */
__attribute__((constructor(101))) static void
set_hint(void)
{
	setenv("PMEM_MMAP_HINT", "200000000000", 1);
}

static uint64_t
next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void
fill_pool(PMEMctopool *pcp)
{
	void *blocks[160];
	uint64_t seed = 77;

	for (int i = 0; i < 160; i++)
		blocks[i] = pmemcto_malloc(pcp, next(&seed) % (i % 16 == 0 ? 60000 : i % 4 == 0 ? 3000 : 200));
	for (int i = 0; i < 160; i += 3)
		pmemcto_free(pcp, blocks[i]);
	pmemcto_set_root_pointer(pcp, blocks[1]);
}

static void
make_valid(void)
{
	const struct heap_media *heap;
	PMEMctopool *pcp;

	file = memfd_create("pool_open", MFD_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	REQUIRE(file >= 0 && ftruncate(file, (off_t)POOL_SIZE) == 0, "%s", strerror(errno));
	pcp = pmemcto_create(path, "fuzz", 0, 0);
	REQUIRE(pcp != NULL, "no pool to begin with");
	fill_pool(pcp);
	heap = (const struct heap_media *)((const char *)pcp + POOL_FRONT_SIZE);
	image_size = heap->pages_off;
	add_table(0, 160); /* the header's fields, without the zeros behind them */
	add_table(offsetof(struct pool_front_media, header.shutdown_state), 72);
	add_table(offsetof(struct pool_front_media, desc.layout), 8);
	add_table(offsetof(struct pool_front_media, desc.base), 96);
	add_table(POOL_FRONT_SIZE, offsetof(struct heap_media, zero));
	add_table(POOL_FRONT_SIZE + offsetof(struct heap_media, bins), sizeof(heap->bins));
	add_table(heap->nodes_off[heap->nlevels - 1], heap->chunks_off - heap->nodes_off[heap->nlevels - 1]);
	add_table(heap->chunks_off, heap->nchunks * sizeof(struct chunk_media));
	/* of those by page what stands for the first ones, where the blocks are */
	add_table(heap->page_class_off, 512);
	add_table(heap->page_map_off, 512 * 4);
	add_table(heap->slabs_off, 128 * sizeof(struct slab_media));
	add_table(heap->bits_off, 512 * 8 * HEAP_PAGE_WORDS);
	pmemcto_close(pcp);
	valid = malloc(image_size);
	image = malloc(image_size);
	REQUIRE(pread(file, valid, image_size, 0) == (ssize_t)image_size, "%s", strerror(errno));
}

/* --- changes ------------------------------------------------------------------------------------------------- */

static uint64_t
number(const uint8_t *data, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)data[i] << (8 * i);
	return value;
}

/* which table | what to do, how many bytes | where in it (3 bytes) | with what (4 bytes, sign extended). */
static void
change(const uint8_t *data)
{
	const struct table *table = &tables[data[0] % ntables];
	size_t width = (size_t)1 << (data[1] >> 6);
	size_t at = table->offset + number(data + 2, 3) % (table->size / width) * width;
	uint64_t value = (uint64_t)(int32_t)number(data + 5, 4), old = number(image + at, (unsigned)width);

	switch (data[1] % 8) {
	case 0:
		value ^= old;
		break;
	case 1:
		value += old;
		break;
	case 2: /* what stands somewhere else in the table */
		value = number(image + table->offset + value % (table->size / width) * width, (unsigned)width);
		break;
	case 3:
		value = (uint64_t)1 << (value & 63);
		break;
	case 4: /* one bit */
		value = old ^ (uint64_t)1 << (value & 63);
		break;
	default:
		break;
	}
	for (size_t i = 0; i < width; i++)
		image[at + i] = (uint8_t)(value >> (8 * i));
}

enum { FIX_HEADER = 1, FIX_DESC = 2, FIX_SUPERBLOCK = 4, FIX_CLOSED = 8 };

/* Makes right what the input does not want to be found out by. */
static void
repair(unsigned what)
{
	struct pool_front_media *front = (struct pool_front_media *)image;
	struct pool_desc_media *desc = &front->desc, copy;
	struct heap_media *heap = (struct heap_media *)(image + POOL_FRONT_SIZE);

	if (what & FIX_SUPERBLOCK) {
		heap->checksum = heap_superblock_checksum(heap);
		desc->heap_checksum = heap->checksum;
	}
	if (what & FIX_HEADER)
		front->header.checksum =
			media_checksum(&front->header, sizeof(front->header),
				       offsetof(struct pool_header_media, checksum), POOL_CHECKSUM_END);
	if (what & FIX_DESC) {
		memcpy((void *)&copy, (const void *)desc, sizeof(copy));
		copy.root = 0;
		copy.consistent = 0;
		desc->fixed_checksum = media_checksum((const void *)&copy, sizeof(copy), sizeof(copy),
						      offsetof(struct pool_desc_media, fixed_checksum));
	}
	if (what & (FIX_DESC | FIX_SUPERBLOCK | FIX_CLOSED)) {
		memcpy((void *)&copy, (const void *)desc, sizeof(copy));
		copy.consistent = 1;
		desc->closed_checksum = media_checksum((const void *)&copy, sizeof(copy),
						       offsetof(struct pool_desc_media, closed_checksum), sizeof(copy));
	}
}

/* --- use ----------------------------------------------------------------------------------------------------- */

static void
use(PMEMctopool *pcp, uint64_t seed)
{
	enum { BLOCKS = 64 };
	struct {
		uint64_t *p;
		size_t size;
	} blocks[BLOCKS];

	seed = seed * 2 + 1;
	for (unsigned i = 0; i < BLOCKS; i++) {
		size_t size = next(&seed) % (i % 8 == 0 ? 100000 : 2000) + 8;
		uint64_t *p = pmemcto_malloc(pcp, size);

		blocks[i].p = p;
		blocks[i].size = size;
		if (p == NULL)
			continue;
		REQUIRE((uintptr_t)p % 16 == 0 && (char *)p >= (char *)pcp + image_size &&
				(char *)p + size <= (char *)pcp + POOL_SIZE,
			"%zu bytes at %p", size, (void *)p);
		REQUIRE(pmemcto_malloc_usable_size(pcp, p) >= size, "%zu bytes", size);
		for (size_t at = 0; at < size / 8; at += 16)
			p[at] = i;
		p[size / 8 - 1] = i;
	}
	for (unsigned i = 0; i < BLOCKS; i++) {
		if (blocks[i].p == NULL)
			continue;
		for (size_t at = 0; at < blocks[i].size / 8; at += 16)
			REQUIRE(blocks[i].p[at] == i, "two blocks at %p", (void *)(blocks[i].p + at));
		REQUIRE(blocks[i].p[blocks[i].size / 8 - 1] == i, "two blocks at %p", (void *)blocks[i].p);
		pmemcto_free(pcp, blocks[i].p);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	PMEMctopool *pcp;
	off_t length = (off_t)POOL_SIZE;
	unsigned changes;
	int verdict, error;

	if (size < HEAD_SIZE)
		return -1;
	if (valid == NULL)
		make_valid();
	memcpy(image, valid, image_size);
	changes = data[2] % MAX_CHANGES;
	for (unsigned i = 0; i < changes && size >= HEAD_SIZE + (i + 1) * CHANGE_SIZE; i++)
		change(data + HEAD_SIZE + i * CHANGE_SIZE);
	repair(data[0]);
	if (data[1] & 1)
		length += (int8_t)data[1] / 2 * (off_t)(data[0] & 0x80 ? 1 : 65536);
	REQUIRE(ftruncate(file, 0) == 0 && pwrite(file, image, image_size, 0) == (ssize_t)image_size &&
			ftruncate(file, length) == 0,
		"%s", strerror(errno));

	errno = 0;
	verdict = pmemcto_check(path, NULL);
	error = errno;
	REQUIRE(verdict >= -1 && verdict <= 1, "%d", verdict);
	REQUIRE(verdict != -1 || error != 0, "no errno");
	errno = 0;
	pcp = pmemcto_open(path, NULL);
	REQUIRE(pcp != NULL || errno != 0, "no errno");
	if (verdict == -1)
		REQUIRE(pcp == NULL && errno == error, "check had errno %d, open %p with %d", error, (void *)pcp,
			errno);
	if (verdict == 1)
		REQUIRE(pcp != NULL, "good, but cannot be opened: errno %d", errno);
	if (pcp == NULL)
		return 0;
	if (verdict == 1)
		use(pcp, data[3]);
	errno = 0;
	pmemcto_close(pcp);
	REQUIRE(errno == 0, "errno %d", errno);
	REQUIRE(pmemcto_check(path, NULL) == verdict, "it was %d before", verdict);
	return 0;
}
