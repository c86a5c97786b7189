/* api_pmemcto_sets.c -- pools over pool sets: what is made, what holds across the borders of parts, and each row of the
 * tables of errors, with nothing left behind and nothing changed */
#define _GNU_SOURCE
#include "tests/pmemcto_sets.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>

#define SESSION TEST_BUILD "/tests/programs/cto_session"

TestSuite(api_pmemcto_sets, .init = test_dir_make, .fini = test_dir_remove);

/* --- one heap over several files ------------------------------------------------------------------------------ */

static void
fill(unsigned char *p, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i += 512)
		p[i] = (unsigned char)(i / 512 * 7 + seed);
	p[size - 1] = (unsigned char)seed;
}

static bool
filled(const unsigned char *p, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size - 1; i += 512)
		if (p[i] != (unsigned char)(i / 512 * 7 + seed))
			return false;
	return p[size - 1] == (unsigned char)seed;
}

struct root {
	unsigned char *large, *after;
	PMEMctopool *handle;
};

/* A block over all borders, one behind it; this process, then another, reopens. `size`: net bytes. */
static void
objects_cross_borders(const char *path, size_t size, size_t large)
{
	PMEMctopool *pcp = set_create(path);
	struct root *root = pmemcto_malloc(pcp, sizeof(*root));
	int status;

	*root = (struct root){pmemcto_malloc(pcp, large), pmemcto_malloc(pcp, 100000), pcp};
	cr_assert_not_null(root->large, "%zu of %zu bytes: %s", large, size, pmemcto_errormsg());
	cr_assert((char *)root->large > (char *)pcp && (char *)root->large + large <= (char *)pcp + size);
	fill(root->large, large, 1);
	fill(root->after, 100000, 2);
	pmemcto_set_root_pointer(pcp, root);
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(path, "test"), 1, "%s", pmemcto_errormsg());
	IN_CHILD(status, {
		PMEMctopool *again = pmemcto_open(path, "test");
		struct root *r = again != NULL ? pmemcto_get_root_pointer(again) : NULL;

		if (again == NULL || r == NULL || again != r->handle)
			_exit(1);
		if (!filled(r->large, large, 1) || !filled(r->after, 100000, 2))
			_exit(2);
		fill(r->large, large, 3);
		pmemcto_free(again, r->after);
		r->after = pmemcto_malloc(again, 200000);
		fill(r->after, 200000, 4);
		pmemcto_close(again);
	});
	cr_expect_eq(status, 0);
	pcp = pool_reopen(path);
	cr_expect_eq(pcp, root->handle);
	cr_expect(filled(root->large, large, 3) && filled(root->after, 200000, 4));
	pmemcto_free(pcp, root->large);
	cr_expect_not_null(root->large = pmemcto_malloc(pcp, large), "its space is there again");
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(path, "test"), 1, "%s", pmemcto_errormsg());
}

Test(api_pmemcto_sets, objects_cross_the_borders_of_parts)
{
	objects_cross_borders(set_make("set", "20M @a\n20M @b\n"), 40 * MIB - 4096, 35 * MIB);
	cr_expect_eq(get_field(in_dir("a"), AT_SIZE, 8), 40 * MIB - 4096);
}

Test(api_pmemcto_sets, objects_cross_the_borders_of_parts_with_one_header)
{
	objects_cross_borders(set_make("set", "OPTION SINGLEHDR\n20M @a\n20M @b\n"), 40 * MIB, 35 * MIB);
	cr_expect_eq(get_field(in_dir("a"), AT_SIZE, 8), 40 * MIB);
}

Test(api_pmemcto_sets, objects_cross_the_borders_of_many_small_parts)
{
	objects_cross_borders(set_make("set", "2M @a\n2M @b\n2M @c\n2M @d\n3M @e\n2M @f\n2M @g\n2M @h\n2M @i\n3M @j\n"),
			      22 * MIB - 9 * 4096, 18 * MIB);
}

Test(api_pmemcto_sets, odd_sizes_are_kept_and_rounded_down_for_use)
{
	objects_cross_borders(
		set_make("set", "10485860 @a\n# 100 bytes more than 10 MiB, and 4095\n10489855 @b\n2097253 @c\n"),
		22 * MIB - 2 * 4096, 18 * MIB);
	cr_expect_eq(file_stat(in_dir("b")).st_size, 10489855);
	cr_expect_eq(get_field(in_dir("a"), AT_SIZE, 8), 22 * MIB - 2 * 4096);
}

Test(api_pmemcto_sets, a_set_of_one_file)
{
	objects_cross_borders(set_make("set", "16M @a\n"), 16 * MIB, 12 * MIB);
	objects_cross_borders(set_make("set1", "OPTION SINGLEHDR\n16M @b\n"), 16 * MIB, 12 * MIB);
}

/* A model in the pool, worked on by one process after the other. */
Test(api_pmemcto_sets, sessions_in_processes_of_their_own)
{
	const char *path = set_make("set", "7M @a\n9M @b\n2M @c\n30M @d\n");

	for (int i = 0; i < 12; i++) {
		char seed[16];
		int status;

		snprintf(seed, sizeof(seed), "%d", i + 1);
		IN_CHILD(status, {
			if (i == 0)
				execl(SESSION, SESSION, "make", path, "0", (char *)NULL);
			else
				execl(SESSION, SESSION, "work", path, seed, "2000", (char *)NULL);
			_exit(127);
		});
		cr_assert_eq(status, 0, "session %d", i);
		cr_assert_eq(pmemcto_check(path, NULL), 1, "%s", pmemcto_errormsg());
	}
}

/* Every byte of the heap can be used, and lands in the file it should. */
Test(api_pmemcto_sets, bytes_lie_in_the_files_where_the_format_says)
{
	const char *path = set_make("set", "10M @a\n10M @b\n");
	PMEMctopool *pcp = set_create(path);
	unsigned char *p = pmemcto_malloc(pcp, 16 * MIB), in_file[64];
	size_t border = 10 * MIB; /* of the pool: its byte that is the first of part 1, at 4096 in its file */

	cr_assert(p < (unsigned char *)pcp + border - 32 && p + 16 * MIB > (unsigned char *)pcp + border + 32);
	for (int i = 0; i < 64; i++)
		((unsigned char *)pcp)[border - 32 + (size_t)i] = (unsigned char)(100 + i);
	pmemcto_close(pcp);
	file_read(in_dir("a"), border - 32, in_file, 32);
	file_read(in_dir("b"), 4096, in_file + 32, 32);
	for (int i = 0; i < 64; i++)
		cr_expect_eq(in_file[i], 100 + i);
}

/* --- what is made --------------------------------------------------------------------------------------------- */

Test(api_pmemcto_sets, parts_have_their_sizes_the_mode_and_all_their_blocks)
{
	static const mode_t modes[] = {0600, 0666, 0400};
	mode_t old = umask(077);

	for (size_t i = 0; i < 3; i++) {
		const char *path = set_make("set", "20M @a\n2M @b\n3000kB @c\n");
		PMEMctopool *pcp = pmemcto_create(path, "test", 0, modes[i]);

		cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
		for (int part = 0; part < 3; part++) {
			static const off_t sizes[] = {20 << 20, 2 << 20, 3000000};
			struct stat st = file_stat(in_dir(part == 0 ? "a" : part == 1 ? "b" : "c"));

			cr_expect_eq(st.st_size, sizes[part]);
			cr_expect_geq(st.st_blocks * 512, sizes[part]);
			cr_expect_eq(st.st_mode & 07777, modes[i], "mode %o", st.st_mode);
		}
		cr_expect_eq(file_stat(path).st_mode & 0777, 0600, "the set file's mode is its own");
		pmemcto_close(pcp);
		cr_expect_eq(files_in_dir(), 4);
		cr_expect_eq(get_field(in_dir("a"), AT_FLAGS, 4), 1, "all blocks reserved");
		unlink(in_dir("a"));
		unlink(in_dir("b"));
		unlink(in_dir("c"));
	}
	umask(old);
}

Test(api_pmemcto_sets, headers_form_a_ring)
{
	static const char *const names[] = {"a", "b", "c"};
	unsigned char header[3][4096];

	set_prepare("set", "8M @a\n8M @b\n8M @c\n");
	for (int i = 0; i < 3; i++) {
		uint64_t sum;

		file_read(in_dir(names[i]), 0, header[i], 4096);
		sum = fletcher64(header[i], 0, 4096, 2032, 4096);
		cr_expect_arr_eq(header[i] + AT_CHECKSUM, &sum, 8);
		cr_expect_arr_eq(header[i], "PMEMCTO", 8);
		cr_expect_eq(get_field(in_dir(names[i]), AT_INCOMPAT, 4), 0x80000002);
	}
	for (int i = 0; i < 3; i++) {
		const unsigned char *uuid = header[i] + AT_PART_UUID;

		cr_expect_arr_eq(header[i] + 24, header[0] + 24, 16, "one set");
		cr_expect_neq(memcmp(uuid, header[(i + 1) % 3] + AT_PART_UUID, 16), 0);
		cr_expect_arr_eq(uuid + 16, header[(i + 2) % 3] + AT_PART_UUID, 16, "the part before");
		cr_expect_arr_eq(uuid + 32, header[(i + 1) % 3] + AT_PART_UUID, 16, "the part behind");
		cr_expect_arr_eq(uuid + 48, header[0] + AT_PART_UUID, 16, "one replica");
		cr_expect_arr_eq(uuid + 64, header[0] + AT_PART_UUID, 16);
	}
}

Test(api_pmemcto_sets, with_singlehdr_the_first_part_alone_has_a_header)
{
	unsigned char header[4096];

	set_prepare("set", "20M @a\n20M @b\nOPTION SINGLEHDR\n");
	cr_expect_eq(get_field(in_dir("a"), AT_INCOMPAT, 4), 0x80000003);
	file_read(in_dir("a"), 0, header, 4096);
	for (int i = 1; i < 5; i++)
		cr_expect_arr_eq(header + AT_PART_UUID, header + AT_PART_UUID + 16 * i, 16);
	file_read(in_dir("b"), 0, header, 4096);
	for (int i = 0; i < 4096; i++)
		cr_assert_eq(header[i], 0, "nothing was stored there yet");
}

Test(api_pmemcto_sets, parts_that_exist_are_taken_as_they_are)
{
	unsigned char *garbage = malloc(10 * MIB), *p;
	const char *path = set_make("set", "10M @a\n10M @b\n10M @c\n");
	PMEMctopool *pcp;

	memset(garbage, 0x77, 10 * MIB);
	memset(garbage, 0, 4096);
	file_make(in_dir("b"), 10 * MIB);
	chmod(in_dir("b"), 0606);
	file_write(in_dir("b"), 0, garbage, 10 * MIB);
	pcp = set_create(path);
	cr_expect_eq(file_stat(in_dir("b")).st_mode & 07777, 0606, "it keeps its mode");
	cr_expect_eq(file_stat(in_dir("c")).st_mode & 07777, 0640);
	p = pmemcto_calloc(pcp, 1, 25 * MIB);
	cr_assert_not_null(p);
	for (size_t i = 0; i < 25 * MIB; i++)
		cr_assert_eq(p[i], 0, "byte %zu", i);
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(path, "test"), 1, "%s", pmemcto_errormsg());
	free(garbage);
}

Test(api_pmemcto_sets, sparse_parts_stay_sparse)
{
	const char *path = set_make("set", "64M @a\n64M @b\n");
	PMEMctopool *pcp;

	file_make(in_dir("a"), 64 * MIB);
	file_make(in_dir("b"), 64 * MIB);
	pcp = set_create(path);
	cr_expect_eq(get_field(in_dir("a"), AT_FLAGS, 4), 0);
	for (int i = 0; i < 1000; i++)
		cr_assert_not_null(pmemcto_malloc(pcp, 1000));
	pmemcto_close(pcp);
	cr_expect_lt(file_stat(in_dir("a")).st_blocks * 512, 8 * MIB);
	cr_expect_leq(file_stat(in_dir("b")).st_blocks * 512, 8192, "its header");
	pcp = pool_reopen(path);
	memset(pmemcto_malloc(pcp, 80 * MIB), 1, 80 * MIB);
	pmemcto_close(pcp);
	cr_expect_geq(file_stat(in_dir("b")).st_blocks * 512, 16 * MIB);
	cr_expect_lt(file_stat(in_dir("b")).st_blocks * 512, 40 * MIB);
	cr_expect_eq(pmemcto_check(path, "test"), 1, "%s", pmemcto_errormsg());
}

/* As a copy that leaves out zeros loses them. */
Test(api_pmemcto_sets, lost_blocks_of_any_part_are_reserved_again)
{
	const char *path = set_prepare("set", "10M @a\n10M @b\n");
	int fd = open(in_dir("b"), O_RDWR);

	cr_assert_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 10 * MIB - 4096), 0);
	close(fd);
	cr_expect_lt(file_stat(in_dir("b")).st_blocks * 512, MIB);
	set_is_good(path);
	cr_expect_geq(file_stat(in_dir("b")).st_blocks * 512, 10 * MIB);

	/* and of sparse parts what the heap counts on */
	file_make(in_dir("c"), 10 * MIB);
	file_make(in_dir("d"), 10 * MIB);
	path = set_make("set2", "10M @c\n10M @d\n");
	PMEMctopool *pcp = set_create(path);
	unsigned char *p = pmemcto_malloc(pcp, 15 * MIB);

	memset(p, 0, 15 * MIB);
	pmemcto_set_root_pointer(pcp, p);
	pmemcto_close(pcp);
	fd = open(in_dir("d"), O_RDWR);
	cr_assert_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 10 * MIB - 4096), 0);
	close(fd);
	pcp = pool_reopen(path);
	cr_expect_geq(file_stat(in_dir("d")).st_blocks * 512, 5 * MIB);
	cr_expect_lt(file_stat(in_dir("d")).st_blocks * 512, 9 * MIB, "no more than that");
	pmemcto_close(pcp);
}

Test(api_pmemcto_sets, errno_stays_on_success)
{
	const char *path = set_make("set", "20M @a\n20M @b\n");
	PMEMctopool *pcp;

	errno = 1234;
	pcp = pmemcto_create(path, NULL, 0, 0600);
	cr_assert_not_null(pcp);
	cr_expect_eq(errno, 1234);
	pmemcto_close(pcp);
	pcp = pmemcto_open(path, NULL);
	cr_assert_not_null(pcp);
	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(path, ""), 1);
	cr_expect_eq(errno, 1234);
	cr_expect_str_empty(pmemcto_errormsg());
}

/* --- creations that fail --------------------------------------------------------------------------------------- */

/* Nothing but what was there before is there, and that is as it was. */
static void
creation_fails(const char *text, int error, const char *message)
{
	const char *path = set_make("set", text);
	unsigned files = files_in_dir(), fds = count_fds();
	uint64_t hash = file_hash(path);

	REFUSED(pmemcto_create(path, "test", 0, 0600), error);
	cr_expect_not_null(strstr(pmemcto_errormsg(), message), "\"%s\" does not say \"%s\"", pmemcto_errormsg(),
			   message);
	cr_expect_eq(files_in_dir(), files, "%u files for %s", files_in_dir(), text);
	cr_expect_eq(count_fds(), fds);
	cr_expect_eq(file_hash(path), hash, "the set file was changed");
}

Test(api_pmemcto_sets, sizes_below_the_minimum)
{
	creation_fails("16777215 @a\n", EINVAL, "16773120");
	creation_fails("8M @a\n8M @b\n", EINVAL, "16773120");
	creation_fails("OPTION SINGLEHDR\n8M @a\n8388607 @b\n", EINVAL, "16773120");
	creation_fails("20M @a\n2097151 @b\n", EINVAL, "2097151");
	creation_fails("1 @a\n20M @b\n", EINVAL, "part");
	pmemcto_close(set_create(set_make("s1", "10M @a\n10M @b\n")));
	pmemcto_close(set_create(set_make("s2", "OPTION SINGLEHDR\n8M @c\n8M @d\n")));
	pmemcto_close(set_create(set_make("s3", "16M @e\n")));
	pmemcto_close(set_create(set_make("s4", "20M @f\n2M @g\n"))); /* the published library cannot open this one */
	for (int i = 1; i <= 4; i++) {
		char name[] = "s0";

		name[1] += i;
		pmemcto_close(pool_reopen(in_dir(name)));
	}
}

Test(api_pmemcto_sets, sizes_that_no_pool_has)
{
	creation_fails("20M @a\n900T @b\n", ENOSPC, "/b\"");
	creation_fails("9223372036854775807 @a\n9223372036854775807 @b\n9223372036854775807 @c\n", EFBIG, "/b\"");
}

Test(api_pmemcto_sets, text_that_is_no_set)
{
	creation_fails("", EINVAL, "line 1");
	creation_fails("20M @a\n20m @b\n", EINVAL,
		       "line 3: the size has an unknown unit (K to P, KiB to PiB, kB to PB, B): \"20m\"");
	creation_fails("20M a\n", EINVAL, "line 2: the path is not absolute: \"a\"");
	creation_fails("20M @a more\n", EINVAL, "\"more\"");
	creation_fails("OPTION WHAT\n20M @a\n", EINVAL, "\"WHAT\"");
	creation_fails("OPTION NOHDRS\n20M @a\n", EINVAL, "NOHDRS");
	creation_fails("OPTION SINGLEHDR NOHDRS\n20M @a\n", EINVAL, "NOHDRS");
	creation_fails("20M @a\nREPLICA\n20M @b\n", ENOTSUP, "replicas");
	creation_fails("20M @a\nREPLICA host set\n", ENOTSUP, "replicas");
	creation_fails("REPLICA\n20M @b\n", EINVAL, "line 2");
	creation_fails("20M @a\nREPLICA\n", EINVAL, "line 3");
	creation_fails("AUTO @a\n", EINVAL, "AUTO");
	creation_fails("20M @a\nAUTO /dev/null\n", EINVAL, "/dev/null");
	creation_fails("20M /dev/null\n", EINVAL, "/dev/null");
	file_make(in_dir("b"), 20 * MIB);
	creation_fails("20M @a\nAUTO @b\n", EINVAL, "AUTO");
}

Test(api_pmemcto_sets, text_that_is_no_set_is_not_opened)
{
	set_prepare("good", "20M @a\n20M @b\n");
	set_is_refused(set_make("set", "20M @a\n20M b\n"), EINVAL, "line 3");
	set_is_refused(set_make("set", "20M @a\n20M @b\nREPLICA\n20M @nothing\n"), ENOTSUP, "replicas");
	set_is_refused(set_make("set", "20M @a\n20M @b\nOPTION NOHDRS\n"), EINVAL, "NOHDRS");
	set_is_refused(set_make("set", "1M @a\n20M @b\n"), EINVAL, "1048576");
	set_is_refused(set_make("set", "AUTO @a\n20M @b\n"), EINVAL, "AUTO");
	file_make(in_dir("large"), 0);
	FILE *f = fopen(in_dir("large"), "w");
	fputs("PMEMPOOLSET\n", f);
	for (size_t i = 0; i < MIB; i++)
		fputc('#', f);
	fclose(f);
	set_is_refused(in_dir("large"), EINVAL, "larger");
	set_is_good(in_dir("good"));
}

Test(api_pmemcto_sets, a_size_is_not_given_with_a_set)
{
	const char *path = set_make("set", "20M @a\n20M @b\n");

	REFUSED(pmemcto_create(path, "test", 40 * MIB, 0600), EEXIST);
	REFUSED(pmemcto_create(path, "test", 1, 0600), EEXIST);
	cr_expect_eq(files_in_dir(), 1);
}

Test(api_pmemcto_sets, parts_that_exist_must_be_as_the_set_says)
{
	file_make(in_dir("b"), 20 * MIB + 1);
	creation_fails("20M @a\n20M @b\n20M @c\n", EINVAL, "20971521");
	cr_expect_eq(file_stat(in_dir("b")).st_size, 20 * MIB + 1);
	file_make(in_dir("b"), 20 * MIB - 1);
	creation_fails("20M @a\n20M @b\n", EINVAL, "20971519");
	file_make(in_dir("b"), 0);
	creation_fails("20M @a\n20M @b\n", EINVAL, "/b\"");
	for (size_t at = 0; at < 4096; at += 4095) {
		uint64_t hash;

		file_make(in_dir("b"), 20 * MIB);
		file_write(in_dir("b"), at, "x", 1);
		hash = file_hash(in_dir("b"));
		creation_fails("20M @a\n20M @b\n", EEXIST, "/b\"");
		creation_fails("20M @b\n20M @a\n", EEXIST, "/b\"");
		creation_fails("OPTION SINGLEHDR\n20M @a\n20M @b\n", EEXIST, "/b\"");
		cr_expect_eq(file_hash(in_dir("b")), hash);
	}
	unlink(in_dir("b"));
	mkfifo(in_dir("b"), 0600);
	creation_fails("20M @a\n20M @b\n", EINVAL, "/b\"");
	unlink(in_dir("b"));
	cr_assert_eq(symlink("nowhere", in_dir("b")), 0);
	creation_fails("20M @a\n20M @b\n", EEXIST, "/b\"");
	unlink(in_dir("b"));
	/* a pool is not overwritten, nor a part of one */
	set_prepare("pool", "20M @a\n20M @b\n");
	creation_fails("20M @a\n20M @b\n", EEXIST, "/a\"");
	creation_fails("20M @c\n20M @b\n", EEXIST, "/b\"");
	set_is_good(in_dir("pool"));
}

Test(api_pmemcto_sets, the_same_part_twice)
{
	creation_fails("20M @a\n20M @a\n", EAGAIN, "/a\"");
	creation_fails("20M @a\n20M @b\n20M @./a\n", EAGAIN, "/./a\"");
	file_make(in_dir("a"), 20 * MIB);
	chmod(in_dir("a"), 0600);
	creation_fails("20M @a\n20M @a\n", EAGAIN, "/a\"");
	cr_assert_eq(link(in_dir("a"), in_dir("b")), 0);
	creation_fails("20M @c\n20M @a\n20M @b\n", EAGAIN, "/b\"");
	cr_assert_eq(symlink("a", in_dir("d")), 0);
	creation_fails("20M @d\n20M @a\n", EAGAIN, "/a\"");
	cr_expect_eq(get_field(in_dir("a"), 0, 8), 0);
	/* another set's part */
	unlink(in_dir("b"));
	pmemcto_close(set_create(set_make("one", "20M @a\n20M @b\n")));
	PMEMctopool *pcp = pmemcto_open(in_dir("one"), "test");
	cr_assert_not_null(pcp);
	set_is_refused(set_make("two", "20M @b\n20M @c\n"), EAGAIN, "flock \"");
	creation_fails("20M @c\n20M @b\n", EAGAIN, "flock \"");
	pmemcto_close(pcp);
}

Test(api_pmemcto_sets, missing_folders_and_permissions)
{
	creation_fails("20M @a\n20M @no/b\n20M @c\n", ENOENT, "/no/b\"");
	creation_fails("20M @a\n20M @set/b\n", ENOTDIR, "/set/b\"");
	if (geteuid() == 0)
		cr_assert_eq(chmod(test_dir, 0777), 0);
	mkdir(in_dir("closed"), 0555);
	file_make(in_dir("b"), 20 * MIB);
	chmod(in_dir("b"), 0444);
	set_make("set", "");
	chmod(in_dir("set"), 0666);
	if (geteuid() == 0)
		cr_assert_eq(seteuid(65534), 0);
	creation_fails("20M @a\n20M @closed/b\n", EACCES, "/closed/b\"");
	creation_fails("20M @a\n20M @b\n", EACCES, "/b\"");
	if (getuid() == 0)
		cr_assert_eq(seteuid(0), 0);
	chmod(in_dir("b"), 0644);
	set_make("set", "20M @a\n20M @b\n");
	chmod(in_dir("set"), 0);
	if (geteuid() == 0)
		cr_assert_eq(seteuid(65534), 0);
	REFUSED(pmemcto_create(in_dir("set"), "test", 0, 0600), EACCES);
	REFUSED(pmemcto_open(in_dir("set"), "test"), EACCES);
	if (getuid() == 0)
		cr_assert_eq(seteuid(0), 0);
	chmod(in_dir("set"), 0444); /* need not be writable */
	pmemcto_close(set_create(in_dir("set")));
	cr_expect_eq(pmemcto_check(in_dir("set"), "test"), 1);
}

Test(api_pmemcto_sets, a_full_file_system)
{
	static char dir[] = "/tmp/pmheap-full-XXXXXX";
	char text[200];

	if (unshare(CLONE_NEWNS) != 0)
		SKIP("no mount namespace: %s", strerror(errno));
	cr_assert_not_null(mkdtemp(dir));
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("none", dir, "tmpfs", 0, "size=24m") != 0) {
		rmdir(dir);
		SKIP("tmpfs cannot be mounted: %s", strerror(errno));
	}
	snprintf(text, sizeof(text), "20M @a\n16M %s/b\n16M %s/c\n", dir, dir);
	creation_fails(text, ENOSPC, "/c\"");
	snprintf(text, sizeof(text), "20M @a\n16M %s/b\n", dir);
	pmemcto_close(set_create(set_make("set", text)));
	cr_expect_eq(pmemcto_check(in_dir("set"), "test"), 1);
	umount(dir);
	rmdir(dir);
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

Test(api_pmemcto_sets, parts_that_do_not_belong_together)
{
	static const char *const all[] = {"a", "b", "c", "x", "p"};
	uint64_t hash[5];

	set_prepare("set", "20M @a\n20M @b\n20M @c\n");
	set_prepare("other", "20M @x\n20M @y\n20M @z\n");
	pool_prepare(in_dir("p"), 20 * MIB);
	for (int i = 0; i < 5; i++)
		hash[i] = file_hash(in_dir(all[i]));
	set_is_refused(set_make("s", "20M @a\n20M @c\n20M @b\n"), EINVAL,
		       "/c\": this file is not the part that belongs here");
	set_is_refused(set_make("s", "20M @b\n20M @c\n20M @a\n"), EINVAL, "/b\": this file is not the first");
	set_is_refused(set_make("s", "20M @a\n20M @b\n"), EINVAL, "not the part that belongs here");
	set_is_refused(set_make("s", "20M @a\n20M @b\n20M @c\n20M @x\n"), EINVAL, "/x\"");
	set_is_refused(set_make("s", "20M @a\n20M @y\n20M @c\n"), EINVAL, "/y\"");
	set_is_refused(set_make("s", "20M @a\n20M @b\n20M @p\n"), EINVAL, "/p\"");
	set_is_refused(set_make("s", "20M @p\n20M @b\n20M @c\n"), EINVAL, "/b\"");
	set_is_refused(set_make("s", "20M @a\n20M @b\n20M @b\n"), EAGAIN, "twice");
	set_is_refused(set_make("s", "20M @a\n20M @b\n20M @nothing\n"), ENOENT, "/nothing\"");
	set_is_refused(set_make("s", "20M @a\n21M @b\n20M @c\n"), EINVAL, "22020096");
	set_is_refused(set_make("s", "20M @a\n"), EINVAL, "part of a pool set");
	for (int i = 0; i < 3; i++)
		set_is_refused(in_dir(all[i]), EINVAL, "part of a pool set");
	for (int i = 0; i < 5; i++)
		cr_expect_eq(file_hash(in_dir(all[i])), hash[i], "%s was changed", all[i]);
	set_is_good(in_dir("set"));
	set_is_good(in_dir("other"));
	/* other spellings and names of the set are fine; a set of one file is that file */
	set_is_good(set_make("s", "# copy\n20971520 @./a\n20480KiB @b\n20480K @c # c\n"));
	set_is_good(set_make("s", "20M @p\n"));
	set_is_good(in_dir("p"));
}

Test(api_pmemcto_sets, the_option_must_be_that_of_the_pool)
{
	set_prepare("single", "OPTION SINGLEHDR\n20M @a\n20M @b\n");
	set_prepare("ring", "20M @c\n20M @d\n");
	set_is_refused(set_make("s", "20M @a\n20M @b\n"), EINVAL, "/b\"");
	set_is_refused(set_make("s", "OPTION SINGLEHDR\n20M @c\n20M @d\n"), EINVAL, "SINGLEHDR");
	set_is_refused(set_make("s", "20M @a\n"), EINVAL, "SINGLEHDR");
	set_is_refused(in_dir("a"), EINVAL, "SINGLEHDR");
	set_is_refused(in_dir("b"), EINVAL, "no pool");
	set_is_refused(set_make("s", "OPTION SINGLEHDR\n20M @a\n"), EINVAL, "40");
	set_is_refused(set_make("s", "OPTION SINGLEHDR\n20M @a\n20M @b\n20M @c\n"), EINVAL, "60");
	set_is_good(in_dir("single"));
	set_is_good(in_dir("ring"));
}

Test(api_pmemcto_sets, parts_of_another_size)
{
	set_prepare("set", "20M @a\n20M @b\n");
	cr_assert_eq(truncate(in_dir("b"), 20 * MIB + 1), 0);
	set_is_refused(in_dir("set"), EINVAL, "20971521");
	cr_assert_eq(truncate(in_dir("b"), MIB), 0);
	set_is_refused(in_dir("set"), EINVAL, "1048576");
	cr_assert_eq(truncate(in_dir("b"), 0), 0);
	set_is_refused(in_dir("set"), EINVAL, "/b\"");
	/* the set file follows: the pool still knows */
	set_prepare("two", "20M @c\n20M @d\n");
	cr_assert_eq(truncate(in_dir("d"), 24 * MIB), 0);
	set_is_refused(set_make("two", "20M @c\n24M @d\n"), EINVAL, "cut or grew");
}

/* As on the published library's sets of 20M + 20M: bits by hand, in one part or in both. */
Test(api_pmemcto_sets, features)
{
	static const uint32_t compat[] = {1, 2, 3, 1111}, incompat[] = {4, 7, 1111};
	const char *path = set_prepare("set", "20M @a\n20M @b\n");
	const char *a = in_dir("a"), *b = in_dir("b");

	for (int i = 0; i < 4; i++) {
		set_header_field(a, AT_COMPAT, compat[i], 4);
		set_is_refused(path, EINVAL, "different features");
		set_header_field(b, AT_COMPAT, compat[i], 4);
		set_is_good(path);
		set_header_field(a, AT_COMPAT, 0, 4);
		set_is_refused(path, EINVAL, "different features");
		set_header_field(b, AT_COMPAT, 0, 4);
	}
	for (int i = 0; i < 3; i++) {
		set_header_field(b, AT_INCOMPAT, 0x80000002 | incompat[i], 4);
		set_is_refused(path, EINVAL, "/b\"");
		set_header_field(a, AT_INCOMPAT, 0x80000002 | incompat[i], 4);
		set_is_refused(path, EINVAL, "/a\"");
		set_header_field(b, AT_INCOMPAT, 0x80000002, 4);
		set_is_refused(path, EINVAL, "/a\"");
		set_header_field(a, AT_INCOMPAT, 0x80000002, 4);
	}
	set_header_field(a, AT_INCOMPAT, 0x80000003, 4); /* SINGLEHDR by hand */
	set_is_refused(path, EINVAL, "SINGLEHDR");
	set_header_field(b, AT_INCOMPAT, 0x80000003, 4);
	set_is_refused(path, EINVAL, "SINGLEHDR");
	set_header_field(a, AT_INCOMPAT, 0x80000002, 4);
	set_header_field(b, AT_INCOMPAT, 0x80000002, 4);
	set_header_field(a, AT_RO_COMPAT, 1111, 4);
	set_header_field(b, AT_RO_COMPAT, 1111, 4);
	set_is_good(path);
}

Test(api_pmemcto_sets, damaged_headers)
{
	static const size_t offsets[] = {0,
					 AT_MAJOR,
					 24,
					 AT_PART_UUID,
					 AT_PART_UUID + 16,
					 AT_NEXT_UUID,
					 AT_NEXT_UUID + 16,
					 AT_NEXT_UUID + 32,
					 AT_MACHINE,
					 200,
					 4050,
					 AT_CHECKSUM};
	const char *path = set_prepare("set", "10M @a\n10M @b\n10M @c\n");

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
		for (int part = 0; part < 3; part++) {
			const char *file = in_dir(part == 0 ? "a" : part == 1 ? "b" : "c");
			uint64_t old = get_field(file, offsets[i], 1);

			for (int right_sum = 0; right_sum < 2; right_sum++) {
				uint64_t sum = get_field(file, AT_CHECKSUM, 8);
				uint8_t byte = (uint8_t)(old ^ 0x40);

				if (right_sum && offsets[i] == AT_CHECKSUM)
					continue;
				if (right_sum)
					set_header_field(file, offsets[i], byte, 1);
				else
					file_write(file, offsets[i], &byte, 1);
				REFUSED(pmemcto_open(path, "test"), EINVAL);
				file_write(file, offsets[i], &old, 1);
				file_write(file, AT_CHECKSUM, &sum, 8);
			}
		}
	set_is_good(path);
}

Test(api_pmemcto_sets, a_set_that_was_not_closed_is_inconsistent)
{
	const char *path = set_make("set", "10M @a\n10M @b\n");
	int status;

	IN_CHILD(status, if (pmemcto_create(path, "test", 0, 0600) == NULL) _exit(1));
	cr_assert_eq(status, 0);
	set_is_refused(path, EINVAL, "inconsistent pool");
	unlink(in_dir("a"));
	unlink(in_dir("b"));
	set_prepare("set", "10M @a\n10M @b\n");
	IN_CHILD(status, if (pmemcto_open(path, "test") == NULL) _exit(1));
	cr_assert_eq(status, 0);
	set_is_refused(path, EINVAL, "inconsistent pool");
}

Test(api_pmemcto_sets, layouts_and_damaged_heaps)
{
	const char *path = set_make("set", "10M @a\n10M @b\n");
	PMEMctopool *pcp = set_create(path);
	unsigned char page[4096];

	pmemcto_close(pcp);
	cr_expect_eq(pmemcto_check(path, NULL), 1);
	cr_expect_eq(pmemcto_check(path, "other"), -1);
	cr_expect_eq(errno, EINVAL);
	REFUSED(pmemcto_open(path, "other"), EINVAL);
	file_read(in_dir("a"), AT_HEAP + 8192, page, 4096);
	for (int i = 0; i < 4096; i++)
		page[i] ^= 0x5a;
	file_write(in_dir("a"), AT_HEAP + 8192, page, 4096);
	cr_expect_eq(pmemcto_check(path, NULL), 0);
	cr_expect_not_null(strstr(pmemcto_errormsg(), "damaged"), "%s", pmemcto_errormsg());
}

Test(api_pmemcto_sets, the_address_must_be_free)
{
	const char *path = set_prepare("set", "10M @a\n10M @b\n");
	char *base = (char *)(uintptr_t)get_field(in_dir("a"), AT_BASE, 8);
	void *page = mmap(base + 15 * MIB, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	cr_assert_eq(page, base + 15 * MIB);
	set_is_refused(path, ENOMEM, "where the pool belongs");
	cr_expect_not(is_mapped(base, 15 * MIB));
	munmap(page, 4096);
	set_is_good(path);
	cr_expect_not(is_mapped(base, 20 * MIB));
}

/* --- locks ------------------------------------------------------------------------------------------------------ */

Test(api_pmemcto_sets, every_part_is_locked)
{
	const char *path = set_prepare("set", "10M @a\n10M @b\n");
	PMEMctopool *pcp = pool_reopen(path);
	int status;

	set_is_refused(path, EAGAIN, "flock \"");
	IN_CHILD(status, if (pmemcto_open(path, "test") != NULL || errno != EAGAIN) _exit(1));
	cr_expect_eq(status, 0);
	for (int part = 0; part < 2; part++) {
		int fd = open(in_dir(part == 0 ? "a" : "b"), O_RDONLY);

		cr_expect(flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EAGAIN);
		close(fd);
	}
	pmemcto_close(pcp);
	for (int part = 0; part < 2; part++) {
		const char *name = in_dir(part == 0 ? "a" : "b");
		int fd = open(name, O_RDONLY);
		char message[600];

		cr_assert_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
		snprintf(message, sizeof(message), "flock \"%s\": %s", name, strerror(EAGAIN));
		set_is_refused(path, EAGAIN, message);
		close(fd);
	}
	set_is_good(path);
}

Test(api_pmemcto_sets, the_set_file_is_locked_shared_while_it_is_read)
{
	const char *path = set_prepare("set", "10M @a\n10M @b\n");
	int fd = open(path, O_RDWR);
	PMEMctopool *pcp;

	cr_assert_eq(flock(fd, LOCK_SH), 0);
	set_is_good(path);
	cr_assert_eq(flock(fd, LOCK_EX), 0);
	set_is_refused(path, EAGAIN, "/set\"");
	cr_assert_eq(flock(fd, LOCK_UN), 0);
	pcp = pool_reopen(path);
	cr_expect_eq(flock(fd, LOCK_EX | LOCK_NB), 0, "only while it is read");
	close(fd);
	pmemcto_close(pcp);
}

static const char *contended;
static _Atomic int opened, busy, wrong;

static void *
contend(void *arg)
{
	(void)arg;
	for (int i = 0; i < 100; i++) {
		PMEMctopool *pcp = pmemcto_open(contended, "test");

		if (pcp == NULL && errno == EAGAIN) {
			busy++;
		} else if (pcp == NULL) {
			wrong++;
		} else {
			opened++;
			pmemcto_free(pcp, pmemcto_malloc(pcp, 100));
			pmemcto_close(pcp);
		}
	}
	return NULL;
}

Test(api_pmemcto_sets, of_many_who_open_one_has_it)
{
	pthread_t threads[4];

	contended = set_prepare("set", "6M @a\n6M @b\n6M @c\n");
	for (int i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, contend, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	cr_expect_eq(wrong, 0, "%d", wrong);
	cr_expect_eq(opened + busy, 400);
	cr_expect_gt(opened, 0);
	set_is_good(contended);
}

Test(api_pmemcto_sets, descriptors_and_mappings_go)
{
	const char *path = set_prepare("set", "6M @a\n6M @b\n6M @c\n");
	unsigned fds = count_fds();
	PMEMctopool *pcp;

	for (int i = 0; i < 20; i++) {
		set_is_good(path);
		pmemcto_open(path, "other");
		pmemcto_open(set_make("s", "6M @a\n6M @c\n6M @b\n"), "test");
		pmemcto_create(path, "test", 0, 0600);
	}
	cr_expect_eq(count_fds(), fds);
	pcp = pool_reopen(path);
	cr_expect_eq(count_fds(), fds + 3);
	pmemcto_close(pcp);
	cr_expect_eq(count_fds(), fds);
	cr_expect_not(is_mapped(pcp, 18 * MIB));
}

/* --- folders ---------------------------------------------------------------------------------------------------- */

static void
folders_end(void)
{
	unlink(in_dir("d1/000000.pmem"));
	unlink(in_dir("d1/000001.pmem"));
	unlink(in_dir("d2/000000.pmem"));
}

Test(api_pmemcto_sets, a_set_of_folders_is_one_file_with_room_to_grow)
{
	const char *path = set_make("set", "OPTION SINGLEHDR\n10M @d1\n8G @d2\n");
	PMEMctopool *pcp, *other;

	mkdir(in_dir("d1"), 0700);
	mkdir(in_dir("d2"), 0700);
	objects_cross_borders(path, 16 * MIB, 12 * MIB);
	cr_expect_eq(file_stat(in_dir("d1/000000.pmem")).st_size, 16 * MIB);
	cr_expect_eq(file_stat(in_dir("d1/000000.pmem")).st_mode & 07777, 0640);
	cr_expect_geq(get_field(in_dir("d1/000000.pmem"), 5160, 8), UINT64_C(8202) << 20, "addresses are kept for it");
	cr_expect_neq(access(in_dir("d2/000000.pmem"), F_OK), 0);
	/* nobody else gets them */
	pcp = pool_reopen(path);
	for (int i = 0; i < 10; i++) {
		char name[] = "p0";

		name[1] += i;
		other = pool_make(in_dir(name), 16 * MIB);
		cr_expect((char *)other < (char *)pcp || (char *)other >= (char *)pcp + 8202 * MIB);
		pmemcto_close(other);
	}
	pmemcto_close(pcp);
	/* the file alone is no pool without its set */
	set_is_refused(in_dir("d1/000000.pmem"), EINVAL, "SINGLEHDR");
	folders_end();
}

Test(api_pmemcto_sets, folders_that_are_refused)
{
	mkdir(in_dir("d1"), 0700);
	mkdir(in_dir("d2"), 0700);
	creation_fails("20M @d1\n", EINVAL, "SINGLEHDR");
	creation_fails("OPTION SINGLEHDR\n20M @d1\n20M @a\n", EINVAL, "both");
	creation_fails("OPTION SINGLEHDR\n20M @a\n20M @d1\n", EINVAL, "both");
	creation_fails("OPTION SINGLEHDR\n20M @d1\n20M @d2\n20M @d1/\n", EEXIST, "/d1/\"");
	creation_fails("OPTION SINGLEHDR\n8M @d1\n8388607 @d2\n", EINVAL, "16777215");
	creation_fails("OPTION SINGLEHDR\nAUTO @d1\n", EINVAL, "AUTO");
	file_make(in_dir("d1/000000.pmem"), 16 * MIB - 1);
	creation_fails("OPTION SINGLEHDR\n20M @d1\n", EINVAL, "000000.pmem");
	file_make(in_dir("d1/000000.pmem"), 16 * MIB);
	file_write(in_dir("d1/000000.pmem"), 100, "x", 1);
	creation_fails("OPTION SINGLEHDR\n20M @d1\n", EEXIST, "000000.pmem");
	unlink(in_dir("d1/000000.pmem"));
	file_make(in_dir("d1/000001.pmem"), 16 * MIB);
	creation_fails("OPTION SINGLEHDR\n20M @d1\n", EINVAL, "000001.pmem");
	unlink(in_dir("d1/000001.pmem"));
	file_make(in_dir("d2/000000.pmem"), 16 * MIB);
	creation_fails("OPTION SINGLEHDR\n20M @d1\n20M @d2\n", EINVAL, "d2/000000.pmem");
	unlink(in_dir("d2/000000.pmem"));
	set_is_refused(set_make("set", "OPTION SINGLEHDR\n20M @d1\n"), ENOENT, "000000.pmem");
	folders_end();
}
