/* api_pmemcto_damage.c -- each byte of a pool's front and superblock, and many of its tables, become something else
 *
 * Opening refuses, or the check reports, or it does not matter: then the pool can be used. Repairing refuses or makes a pool
 * that is whole. Nothing crashes. PMHEAP_SEED=N: which bytes of the tables.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <time.h>

#include "alloc/heap_media.h"
#include "api/pmemcto/repair.h"
#include "tests/crash_log.h"
#include "tests/pmemcto_test.h"

TestSuite(api_pmemcto_damage, .init = test_dir_make, .fini = test_dir_remove);

#define BLOCKS 300

static char *file;     /* the pool's file, mapped */
static char *pristine; /* its front, superblock and tables */
static size_t head;    /* bytes of those */
static struct {
	unsigned refused, reported, harmless, repaired, hopeless;
} counts;

static void
make(const char *path)
{
	PMEMctopool *pcp = pool_make(path, PMEMCTO_MIN_POOL);
	void *p[BLOCKS];

	for (size_t i = 0; i < BLOCKS; i++) {
		p[i] = pmemcto_malloc(pcp, i * i % 50000);
		cr_assert_not_null(p[i]);
		memset(p[i], 'x', i * i % 50000);
	}
	for (size_t i = 0; i < BLOCKS; i += 3)
		pmemcto_free(pcp, p[i]);
	pmemcto_set_root_pointer(pcp, p[1]);
	pmemcto_close(pcp);

	int fd = open(path, O_RDWR);
	file = mmap(NULL, PMEMCTO_MIN_POOL, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	cr_assert_neq(file, MAP_FAILED);
	close(fd);
	head = ((struct heap_media *)(file + AT_HEAP))->pages_off;
	pristine = malloc(head);
	memcpy(pristine, file, head);
}

static void
restore(void)
{
	memcpy(file, pristine, head);
}

static void
use(const char *path)
{
	PMEMctopool *pcp = pmemcto_open(path, "test");

	cr_assert_not_null(pcp, "whole, but: %s", pmemcto_errormsg());
	void *p = pmemcto_malloc(pcp, 100), *q = pmemcto_malloc(pcp, 40000);
	cr_assert(p != NULL && q != NULL);
	pmemcto_free(pcp, p);
	pmemcto_free(pcp, q);
	pmemcto_close(pcp);
}

/* In a private mapping, so that the file stays as it is. */
static void
try_repair(const char *path)
{
	struct cto_repair_report report;
	struct cto_view view;

	cr_assert_eq(cto_view_open(path, PARTS_READ, &view), 0, "%s", pmemcto_errormsg());
	if (view.base == NULL) {
		cr_assert_not_null(cto_view_fault(&view));
		counts.hopeless++;
	} else if (cto_repair(&view, view.base, PARTS_PRIVATE, NULL, &report) == 0) {
		counts.repaired++;
	} else {
		cr_assert_str_not_empty(report.heap.why);
		counts.hopeless++;
	}
	cto_view_close(&view);
}

static void
look(const char *path)
{
	int checked = pmemcto_check(path, "test");

	try_repair(path);
	if (checked < 0)
		counts.refused++;
	else if (checked == 0)
		counts.reported++;
	else
		counts.harmless++;
	if (checked < 0)
		cr_assert_null(pmemcto_open(path, "test"), "the check refuses what can be opened");
	else if (checked == 1)
		use(path);
}

static void
say(const char *what)
{
	fprintf(stderr,
		"api_pmemcto_damage: %s: %u refused, %u reported, %u harmless; %u could be repaired, %u could not\n",
		what, counts.refused, counts.reported, counts.harmless, counts.repaired, counts.hopeless);
}

Test(api_pmemcto_damage, every_byte_of_the_front)
{
	const char *path = in_dir("pool");

	make(path);
	for (size_t i = 0; i < AT_HEAP; i += i < 256 || i >= 5100 ? 1 : CTO_TEST_SLOW) {
		file[i] ^= (char)(1u << i % 8);
		look(path);
		restore();
	}
	say("front");
	cr_expect_eq(counts.harmless, 0);
	cr_expect_eq(counts.reported, 0, "the front is judged by opening");
}

Test(api_pmemcto_damage, every_byte_of_the_superblock)
{
	const char *path = in_dir("pool");

	make(path);
	for (size_t i = 0; i < sizeof(struct heap_media); i++) {
		file[AT_HEAP + i] ^= (char)0xff;
		look(path);
		restore();
	}
	say("superblock");
	cr_expect_eq(counts.harmless, 0, "a checksum is over all of it");
	cr_expect_gt(counts.repaired, sizeof(struct heap_media) / 2);
}

Test(api_pmemcto_damage, bytes_of_the_tables)
{
	const char *path = in_dir("pool"), *given = getenv("PMHEAP_SEED");
	uint64_t random = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 1000003u;

	fprintf(stderr, "api_pmemcto_damage: PMHEAP_SEED=%" PRIu64 "\n", random);
	make(path);
	size_t tables = AT_HEAP + sizeof(struct heap_media);
	for (unsigned n = 0; n < 3000 / CTO_TEST_SLOW; n++) {
		uint64_t r = crash_random(&random);
		size_t at = tables + r % (head - tables);

		if (n % 2 != 0) /* the beginnings of tables, where most is */
			at = at / 4096 * 4096 + at % 512;
		if (at < tables)
			at += tables;
		file[at] ^= (char)((r >> 56) | 1);
		look(path);
		restore();
	}
	say("tables");
	cr_expect_gt(counts.reported, 0);
}

/* The rest of what a repair says and does. */
Test(api_pmemcto_damage, a_root_outside_of_the_pool_is_cleared)
{
	const char *path = in_dir("pool");
	struct cto_repair_report report;
	struct cto_view view;

	make(path);
	memset(file + AT_ROOT, 0x77, 8);
	REFUSED(pmemcto_open(path, "test"), EINVAL);
	cr_assert_eq(cto_view_open(path, PARTS_WRITE, &view), 0);
	cr_assert_eq(cto_repair(&view, view.base, PARTS_SHARED, NULL, &report), 0, "%s", report.heap.why);
	cto_view_close(&view);
	cr_expect_eq(report.root, UINT64_C(0x7777777777777777));
	PMEMctopool *pcp = pool_reopen(path);
	cr_expect_null(pmemcto_get_root_pointer(pcp));
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(path, "test"), 1);
}

Test(api_pmemcto_damage, what_cannot_be_repaired_is_not_changed)
{
	const char *path = in_dir("pool");
	struct cto_repair_report report;
	struct cto_view view;

	make(path);
	struct heap_media *media = (struct heap_media *)(file + AT_HEAP);
	media->ready_chunks = 0;
	file[AT_CONSISTENT] = 0;
	uint64_t hash = file_hash(path);
	cr_assert_eq(cto_view_open(path, PARTS_WRITE, &view), 0);
	cr_expect_eq(cto_repair(&view, view.base, PARTS_SHARED, NULL, &report), EINVAL);
	cto_view_close(&view);
	cr_expect_eq(file_hash(path), hash);
}
