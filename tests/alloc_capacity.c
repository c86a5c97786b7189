/* alloc_capacity.c -- to the last page: how much of a 64 MiB region the user can have, one size at a time
 *
 * The bounds are those of doc/limits.md: 97 % of the region's bytes as usable size for every size class from 64 bytes
 * to 32 KiB, and as many blocks as fit in 97.5 % of it for 128 KiB to 4 MiB. The table of that page must
 * say what is measured; with PMHEAP_TABLE set it is printed.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc/heap.h"
#include "tests/heap_region.h"

#define POOL ((size_t)64 << 20)

struct capacity {
	size_t blocks, bytes; /* bytes: sum of usable sizes */
};

/* Blocks of one size until NULL in a fresh heap. Twice, the second time after all was freed: the slabs may be cut in
 * another way then, which moves the count by parts of a thousand. */
static struct capacity
measure(size_t size)
{
	struct heap_region region;
	struct tcache_cell cell = TCACHE_CELL_INIT;
	struct capacity got[2] = {{0, 0}, {0, 0}};
	void **blocks = malloc((POOL / size + 1) * sizeof(*blocks));

	heap_region_map(&region, POOL, HEAP_BACKING_PRIVATE, false);
	struct heap *heap = heap_region_create_heap(&region);
	for (unsigned round = 0; round < 2; round++) {
		void *p;

		while ((p = heap_malloc(heap, &cell, size))) {
			blocks[got[round].blocks++] = p;
			got[round].bytes += heap_usable_size(heap, p);
		}
		for (size_t i = 0; i < got[round].blocks; i++)
			heap_free(heap, &cell, blocks[i]);
	}
	cr_assert_geq(got[1].blocks + got[0].blocks / 500, got[0].blocks, "size %zu: %zu blocks, then, all freed, %zu",
		      size, got[0].blocks, got[1].blocks);
	heap_detach(heap);
	heap_region_unmap(&region);
	free(blocks);
	return got[0];
}

/* A row of the table in doc/limits.md: printed, and it must stand there. */
static void
publish_row(size_t size, const struct capacity *got)
{
	static char page[1 << 17];
	char row[80];

	snprintf(row, sizeof(row), "| %7zu | %7zu | %.2f %% |\n", size, got->blocks,
		 100.0 * (double)got->bytes / (double)POOL);
	if (getenv("PMHEAP_TABLE"))
		fputs(row, stderr);
	if (page[0] == '\0') {
		FILE *f = fopen(TEST_ROOT "/doc/limits.md", "r");

		cr_assert(f != NULL);
		page[fread(page, 1, sizeof(page) - 1, f)] = '\0';
		fclose(f);
	}
	/* The tables' size depends on the system's pages; the page tells of 4 KiB. */
	if (sysconf(_SC_PAGESIZE) == (long)HEAP_PAGE)
		cr_expect(strstr(page, row) != NULL, "doc/limits.md has no row %s", row);
}

Test(alloc_capacity, every_class_from_64_bytes_to_32_kib_gives_97_percent)
{
	for (unsigned sc = sc_of(64); sc <= SC_SLAB_COUNT; sc++) {
		struct capacity got = measure(sc_size(sc));

		publish_row(sc_size(sc), &got);
		cr_expect_geq(got.bytes, POOL / 100 * 97, "size %u: %zu blocks, %.2f %%", sc_size(sc), got.blocks,
			      100.0 * (double)got.bytes / (double)POOL);
	}
}

Test(alloc_capacity, sizes_of_pages_give_what_fits_in_97_5_percent)
{
	static const size_t kib[] = {128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096};

	for (size_t i = 0; i < sizeof(kib) / sizeof(kib[0]); i++) {
		size_t size = kib[i] << 10;
		struct capacity got = measure(size);

		publish_row(size, &got);
		cr_expect_geq(got.blocks, POOL / 1000 * 975 / size, "size %zu: %zu blocks", size, got.blocks);
	}
}

/* Sizes between the classes: runs of pages are then had to the page, not to the class, before NULL. */
Test(alloc_capacity, odd_sizes_leave_no_hole_that_would_fit)
{
	static const size_t sizes[] = {33000, 36865, 70000, 135169, 300001, 600001, 1000000, 1048577, 1500001, 2097153};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct capacity got = measure(sizes[i]);

		publish_row(sizes[i], &got);
		/* The class's rounding may cost an eighth of it, the last hole one block. */
		cr_expect_geq(got.bytes + 2 * sizes[i], POOL / 1000 * 970, "size %zu: %zu blocks, %.2f %%", sizes[i],
			      got.blocks, 100.0 * (double)got.bytes / (double)POOL);
	}
}

/* Small sizes that the promise leaves out give most of it, too. */
Test(alloc_capacity, tiny_sizes_give_90_percent)
{
	for (size_t size = 16; size < 64; size += 16) {
		struct capacity got = measure(size);

		publish_row(size, &got);
		cr_expect_geq(got.bytes, POOL / 100 * 90, "size %zu: %zu blocks", size, got.blocks);
	}
}
