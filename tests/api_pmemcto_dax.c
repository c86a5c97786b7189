/* api_pmemcto_dax.c -- pools on device DAX, alone and in sets
 *
 * The devices are /dev/zero and /dev/full; a sysfs tree in the test's directory (dax_sysfs, the seam that libpmem's tests
 * use) says that they are device DAX, and this program's own mmap gives their mappings a file to lie in. It refuses what
 * a device refuses: mappings that are private, or off the device's alignment.
 */
#define _GNU_SOURCE
#include "tests/pmemcto_sets.h"

#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "api/common/dax.h"
#include "api/pmemcto/view.h"
#include "api/tools/remove.h"
#include "flush/flush.h"

#define ZERO "/dev/zero"
#define FULL "/dev/full"

static struct {
	const char *node;
	int content; /* descriptor of the file with the device's bytes */
	size_t align;
} devices[2] = {{ZERO, -1, 0}, {FULL, -1, 0}};

static int mappings, fail_mapping = -1; /* of devices, since the last count; which one fails */

/* 0, 1, or -1: none of them. */
static int
device_of(int fd)
{
	struct stat st, node;

	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISCHR(st.st_mode))
		return -1;
	for (int i = 0; i < 2; i++)
		if (stat(devices[i].node, &node) == 0 && node.st_rdev == st.st_rdev)
			return devices[i].content >= 0 ? i : -1;
	return -1;
}

void *
mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
	int i = device_of(fd);

	if (i >= 0) {
		size_t align = devices[i].align;

		if (mappings++ == fail_mapping) {
			errno = EIO;
			return MAP_FAILED;
		}
		if ((flags & MAP_SHARED) == 0 || ((uintptr_t)at | size | (size_t)offset) % align != 0) {
			errno = EINVAL;
			return MAP_FAILED;
		}
		fd = devices[i].content;
	}
	return (void *)syscall(SYS_mmap, at, size, prot, flags, fd, offset);
}

/* The lock is that of the content: all tests, and all runs of them, share the nodes themselves. */
int
flock(int fd, int operation)
{
	static int locks[1024]; /* by descriptor: another one that holds the lock; 0: none */
	int i = device_of(fd), result;

	if (i < 0)
		return (int)syscall(SYS_flock, fd, operation);
	cr_assert_lt(fd, 1024);
	if (locks[fd] == 0) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", devices[i].content);
		locks[fd] = open(path, O_RDWR | O_CLOEXEC);
		cr_assert_gt(locks[fd], 0);
	}
	result = (int)syscall(SYS_flock, locks[fd], operation);
	if (result != 0 || operation == LOCK_UN) {
		int error = errno;

		close(locks[fd]);
		locks[fd] = 0;
		errno = error;
	}
	return result;
}

/* A device DAX has no such thing. */
int
msync(void *at, size_t size, int flags)
{
	(void)at, (void)size, (void)flags;
	errno = EINVAL;
	return -1;
}

/* --- the tree --------------------------------------------------------------------------------------------------- */

static void
run(const char *format, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	cr_assert_eq(system(command), 0, "%s", command);
}

static void
write_number(const char *name, unsigned long long value)
{
	FILE *f = fopen(in_dir(name), "w");

	cr_assert_not_null(f, "%s: %s", name, strerror(errno));
	fprintf(f, "%llu\n", value);
	fclose(f);
}

static unsigned long long
read_number(const char *name)
{
	unsigned long long value = 0;
	FILE *f = fopen(in_dir(name), "r");

	cr_assert_not_null(f);
	cr_assert_eq(fscanf(f, "%llu", &value), 1);
	fclose(f);
	return value;
}

/* A device of `size` bytes that is full of old bytes behind its first 4096. */
static void
device_make(int i, size_t size, size_t align)
{
	struct stat st = file_stat(devices[i].node);
	char name[32], *old = malloc(size);

	snprintf(name, sizeof(name), "content%d", i);
	memset(old, 0xa5, size);
	memset(old, 0, size < 4096 ? size : 4096);
	file_make(in_dir(name), size);
	file_write(in_dir(name), 0, old, size);
	free(old);
	devices[i].content = open(in_dir(name), O_RDWR);
	devices[i].align = align;
	run("mkdir -p %s/dev/char %s/devices/region%d/dax%d %s/bus/dax", test_dir, test_dir, i, i, test_dir);
	run("ln -sfn ../../devices/region%d/dax%d %s/dev/char/%u:%u", i, i, test_dir, major(st.st_rdev),
	    minor(st.st_rdev));
	run("ln -sfn ../../../bus/dax %s/devices/region%d/dax%d/subsystem", test_dir, i, i);
	snprintf(name, sizeof(name), "devices/region%d/dax%d/size", i, i);
	write_number(name, size);
	snprintf(name, sizeof(name), "devices/region%d/dax%d/align", i, i);
	write_number(name, align);
	snprintf(name, sizeof(name), "devices/region%d/deep_flush", i);
	write_number(name, 9);
	run("mkdir -p %s/bus/nd/devices && ln -sfn ../../../devices/region%d %s/bus/nd/devices/region%d", test_dir, i,
	    test_dir, i);
	dax_sysfs = test_dir;
}

static void
begin(void)
{
	test_dir_make();
	if (!flush_init()->can_persist)
		SKIP("this CPU cannot write back its caches: such devices are refused");
}

static void
end(void)
{
	for (int i = 0; i < 2; i++)
		if (devices[i].content >= 0)
			close(devices[i].content);
	run("rm -rf %s", test_dir);
}

TestSuite(api_pmemcto_dax, .init = begin, .fini = end);

/* --- one device -------------------------------------------------------------------------------------------------- */

static void
life(const char *path, size_t size, size_t large)
{
	PMEMctopool *pcp = pmemcto_create(path, "test", 0, 0600), *again;
	unsigned char *p;
	int status;

	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	p = pmemcto_calloc(pcp, 1, large);
	cr_assert_not_null(p, "%zu of %zu bytes", large, size);
	for (size_t i = 0; i < large; i++)
		cr_assert_eq(p[i], 0, "byte %zu", i);
	for (size_t i = 0; i < large; i += 1000)
		p[i] = (unsigned char)(i / 1000);
	pmemcto_set_root_pointer(pcp, p);
	errno = 4242;
	pmemcto_close(pcp);
	cr_expect_eq(errno, 4242, "%s", pmemcto_errormsg());
	IN_CHILD(status, {
		PMEMctopool *there = pmemcto_open(path, "test");
		unsigned char *q = there != NULL ? pmemcto_get_root_pointer(there) : NULL;

		for (size_t i = 0; q != NULL && i < large; i += 1000)
			if (q[i] != (unsigned char)(i / 1000))
				_exit(1);
		if (q != NULL)
			pmemcto_close(there);
		_exit(q == NULL ? 2 : 0);
	});
	cr_expect_eq(status, 0);
	again = pool_reopen(path);
	cr_expect_eq(again, pcp);
	cr_expect_eq(pmemcto_get_root_pointer(again), p);
	REFUSED(pmemcto_open(path, NULL), EAGAIN);
	pmemcto_free(again, p);
	cr_expect_not_null(pmemcto_malloc(again, large));
	pmemcto_close(again);
	/* a private view of a device cannot be had */
	errno = 0;
	cr_expect_eq(pmemcto_check(path, "test"), -1);
	cr_expect_eq(errno, ENOTSUP);
	cr_expect_not_null(strstr(pmemcto_errormsg(), "DAX"), "%s", pmemcto_errormsg());
	pmemcto_close(pool_reopen(path));
}

Test(api_pmemcto_dax, a_device_is_a_pool)
{
	uint64_t size = 0;

	device_make(0, 32 * MIB, 2 * MIB);
	life(ZERO, 32 * MIB, 20 * MIB);
	cr_expect_eq(pread(devices[0].content, &size, 8, AT_SIZE), 8);
	cr_expect_eq(size, 32 * MIB, "all of it");
	cr_expect_eq(read_number("devices/region0/deep_flush"), 1, "buffers of the region are written out");
}

Test(api_pmemcto_dax, the_alignment_of_the_device_is_kept)
{
	PMEMctopool *pcp;

	device_make(0, 32 * MIB, 16 * MIB);
	life(ZERO, 32 * MIB, 20 * MIB);
	pcp = pool_reopen(ZERO);
	cr_expect_eq((uintptr_t)pcp % (16 * MIB), 0);
	pmemcto_close(pcp);
}

Test(api_pmemcto_dax, what_is_made_durable_when)
{
	PMEMctopool *pcp;
	uint8_t mark = 7;
	int status;

	device_make(0, 32 * MIB, 2 * MIB);
	IN_CHILD(status, if (pmemcto_create(ZERO, "test", 0, 0600) == NULL) _exit(1));
	cr_assert_eq(status, 0);
	REFUSED(pmemcto_open(ZERO, "test"), EINVAL);
	cr_expect_str_eq(pmemcto_errormsg(), "inconsistent pool");
	run("dd if=/dev/zero of=%s bs=4096 count=1 conv=notrunc status=none", in_dir("content0"));
	pcp = pmemcto_create(ZERO, "test", 0, 0600);
	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	pmemcto_close(pcp);
	write_number("devices/region0/deep_flush", 9);
	pcp = pool_reopen(ZERO);
	cr_expect_eq(read_number("devices/region0/deep_flush"), 1, "the mark is durable before open returns");
	cr_expect(pread(devices[0].content, &mark, 1, AT_CONSISTENT) == 1 && mark == 0);
	pmemcto_close(pcp);
	cr_expect(pread(devices[0].content, &mark, 1, AT_CONSISTENT) == 1 && mark == 1);
}

Test(api_pmemcto_dax, devices_that_are_refused)
{
	device_make(0, 14 * MIB, 2 * MIB);
	REFUSED(pmemcto_create(ZERO, "test", 0, 0600), EINVAL);
	cr_expect_not_null(strstr(pmemcto_errormsg(), "14680064"), "%s", pmemcto_errormsg());
	REFUSED(pmemcto_create(ZERO, "test", 16 * MIB, 0600), EEXIST);
	device_make(0, 16 * MIB, 2 * MIB);
	REFUSED(pmemcto_open(ZERO, "test"), EINVAL);
	cr_expect_not_null(strstr(pmemcto_errormsg(), "zeros"), "%s", pmemcto_errormsg());
	cr_assert_eq(pwrite(devices[0].content, "x", 1, 4095), 1);
	REFUSED(pmemcto_create(ZERO, "test", 0, 0600), EEXIST);
	cr_assert_eq(pwrite(devices[0].content, "", 1, 4095), 1);
	run("rm %s/devices/region0/dax0/size", test_dir);
	REFUSED(pmemcto_create(ZERO, "test", 0, 0600), EINVAL);
	cr_expect_not_null(strstr(pmemcto_errormsg(), "size"), "%s", pmemcto_errormsg());
	write_number("devices/region0/dax0/size", ~0ull);
	REFUSED(pmemcto_create(ZERO, "test", 0, 0600), EFBIG);
	write_number("devices/region0/dax0/size", 16 * MIB);
	run("ln -sfn ../../../class/mem %s/devices/region0/dax0/subsystem", test_dir);
	REFUSED(pmemcto_create(ZERO, "test", 0, 0600), EINVAL);
	cr_expect_not_null(strstr(pmemcto_errormsg(), "neither"), "%s", pmemcto_errormsg());
	run("rm -r %s/dev", test_dir);
	REFUSED(pmemcto_create(ZERO, "test", 0, 0600), EINVAL);
}

/* --- sets ---------------------------------------------------------------------------------------------------------- */

static void
open_is_refused(const char *path, int error, const char *text)
{
	REFUSED(pmemcto_open(path, "test"), error);
	cr_expect_not_null(strstr(pmemcto_errormsg(), text), "\"%s\" does not say \"%s\"", pmemcto_errormsg(), text);
}

Test(api_pmemcto_dax, a_set_of_devices)
{
	device_make(0, 12 * MIB, 2 * MIB);
	device_make(1, 16 * MIB, 2 * MIB);
	life(set_make("set", "AUTO " ZERO "\nAUTO " FULL "\nOPTION SINGLEHDR\n"), 28 * MIB, 22 * MIB);
	cr_expect_eq(read_number("devices/region0/deep_flush"), 1);
	cr_expect_eq(read_number("devices/region1/deep_flush"), 1);
	/* their sizes may be given, if right */
	pmemcto_close(pool_reopen(set_make("set", "12M " ZERO "\nAUTO " FULL "\nOPTION SINGLEHDR\n")));
	open_is_refused(set_make("set", "12M " ZERO "\n18M " FULL "\nOPTION SINGLEHDR\n"), EINVAL, "18874368");
	open_is_refused(set_make("set", "AUTO " FULL "\nAUTO " ZERO "\nOPTION SINGLEHDR\n"), EINVAL, "wrong pool type");
	device_make(0, 12 * MIB, 2 * MIB);
	open_is_refused(set_make("set", "AUTO " ZERO "\nAUTO " FULL "\nOPTION SINGLEHDR\n"), EINVAL, "no pool");
}

Test(api_pmemcto_dax, headers_of_their_own_need_small_pages)
{
	device_make(0, 12 * MIB, 4096);
	device_make(1, 16 * MIB, 4096);
	life(set_make("set", "AUTO " ZERO "\nAUTO " FULL "\n"), 28 * MIB - 4096, 22 * MIB);
	device_make(0, 12 * MIB, 4096);
	device_make(1, 16 * MIB, 2 * MIB);
	REFUSED(pmemcto_create(in_dir("set"), "test", 0, 0600), EINVAL);
	cr_expect_not_null(strstr(pmemcto_errormsg(), "SINGLEHDR"), "%s", pmemcto_errormsg());
	/* nor may one lie off the places where the other can be mapped */
	device_make(0, 13 * MIB, MIB);
	REFUSED(pmemcto_create(set_make("set", "AUTO " ZERO "\nAUTO " FULL "\nOPTION SINGLEHDR\n"), "test", 0, 0600),
		EINVAL);
	cr_expect_not_null(strstr(pmemcto_errormsg(), "multiples of 2097152"), "%s", pmemcto_errormsg());
}

Test(api_pmemcto_dax, sets_that_are_refused)
{
	unsigned files;

	device_make(0, 12 * MIB, 2 * MIB);
	device_make(1, 2 * MIB, 2 * MIB);
	set_make("set", "20M @a\nAUTO " ZERO "\nOPTION SINGLEHDR\n");
	files = files_in_dir();
	REFUSED(pmemcto_create(in_dir("set"), "test", 0, 0600), EINVAL);
	cr_expect_not_null(strstr(pmemcto_errormsg(), "both"), "%s", pmemcto_errormsg());
	REFUSED(pmemcto_create(set_make("set", "AUTO " ZERO "\n20M @a\nOPTION SINGLEHDR\n"), "test", 0, 0600), EINVAL);
	REFUSED(pmemcto_create(set_make("set", "AUTO " ZERO "\nAUTO " ZERO "\nOPTION SINGLEHDR\n"), "test", 0, 0600),
		EAGAIN);
	REFUSED(pmemcto_create(set_make("set", "AUTO " ZERO "\nAUTO " FULL "\nOPTION SINGLEHDR\n"), "test", 0, 0600),
		EINVAL);
	cr_expect_not_null(strstr(pmemcto_errormsg(), "14680064"), "%s", pmemcto_errormsg());
	device_make(1, MIB, MIB);
	REFUSED(pmemcto_create(set_make("set", "AUTO " ZERO "\nAUTO " FULL "\nOPTION SINGLEHDR\n"), "test", 0, 0600),
		EINVAL);
	cr_expect_not_null(strstr(pmemcto_errormsg(), "1048576"), "%s", pmemcto_errormsg());
	cr_expect_eq(files_in_dir(), files);
	write_number("devices/region0/dax0/size", UINT64_C(6) << 60);
	write_number("devices/region1/dax1/size", UINT64_C(6) << 60);
	REFUSED(pmemcto_create(in_dir("set"), "test", 0, 0600), EFBIG);
}

/* Devices cannot be removed: what a creation that fails in the end wrote goes, and with it their first 2 MiB. */
Test(api_pmemcto_dax, a_device_is_looked_at_without_its_heap)
{
	struct cto_view view;
	struct survey survey;

	device_make(0, 32 * MIB, 2 * MIB);
	pmemcto_close(pmemcto_create(ZERO, "test", 0, 0600));
	cr_assert_eq(cto_view_open(ZERO, PARTS_READ, &view), 0, "%s", pmemcto_errormsg());
	for (int step = 0; step < VIEW_HEAP; step++)
		cr_assert_null(view.fault[step], "%s", view.fault[step]);
	cr_assert_not_null(strstr(view.fault[VIEW_HEAP], "device DAX"));
	cr_assert_str_eq((char *)view.front.desc.layout, "test");
	cr_assert_null(view.base);
	cr_assert_not(cto_view_survey(&view, &survey));
	cto_view_close(&view);
}

Test(api_pmemcto_dax, a_creation_that_fails_clears_the_devices)
{
	static unsigned char bytes[3 << 20];
	int total;

	device_make(0, 12 * MIB, 4096);
	device_make(1, 16 * MIB, 4096);
	set_make("set", "AUTO " ZERO "\nAUTO " FULL "\n");
	mappings = 0;
	pmemcto_close(set_create(in_dir("set")));
	total = mappings;
	cr_assert_geq(total, 6, "two to look, two for the pool, two for the headers: %d", total);
	for (int n = 0; n < total; n++) {
		bool written = n >= total - 1; /* part 0's header comes last */

		device_make(0, 12 * MIB, 4096);
		device_make(1, 16 * MIB, 4096);
		mappings = 0;
		fail_mapping = n;
		REFUSED(pmemcto_create(in_dir("set"), "test", 0, 0600), EIO);
		fail_mapping = -1;
		for (int i = 0; i < 2; i++) {
			cr_assert_eq(pread(devices[i].content, bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
			for (size_t j = 0; j < (written ? 2 * MIB : 4096); j++)
				cr_assert_eq(bytes[j], 0, "mapping %d, device %d, byte %zu", n, i, j);
			/* what the heap wrote aside */
			cr_expect_eq(bytes[sizeof(bytes) - 1], 0xa5, "mapping %d, device %d", n, i);
		}
		pmemcto_close(set_create(in_dir("set")));
	}
}

/* --- removal ------------------------------------------------------------------------------------------------------- */

static bool
is_cleared(int i)
{
	static unsigned char bytes[2 * MIB + 1];

	cr_assert_eq(pread(devices[i].content, bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, 2 * MIB - 1) == 0;
}

Test(api_pmemcto_dax, a_device_is_removed_by_clearing_it)
{
	struct removal how = {.command = "rm"}, force = {.command = "rm", .any_file = true};
	PMEMctopool *pcp;
	char *block;

	device_make(0, 32 * MIB, 2 * MIB);
	cr_expect_neq(remove_pool(&how, ZERO), 0, "it is no pool");
	cr_expect_neq(remove_pool(&force, ZERO), 0, "not even by force");
	cr_expect_not(is_cleared(0));
	pcp = pmemcto_create(ZERO, "test", 0, 0600);
	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	block = pmemcto_malloc(pcp, 20 * MIB);
	memset(block, 7, 20 * MIB);
	cr_expect_neq(remove_pool(&force, ZERO), 0, "it is open");
	pmemcto_close(pcp);
	write_number("devices/region0/deep_flush", 9);
	cr_expect_eq(remove_pool(&how, ZERO), 0);
	cr_expect(is_cleared(0));
	cr_expect_eq(read_number("devices/region0/deep_flush"), 1, "durably");
	cr_expect_eq(access(ZERO, F_OK), 0);
	cr_expect_neq(remove_pool(&how, ZERO), 0, "once");
	pcp = pmemcto_create(ZERO, "test", 0, 0600);
	cr_assert_not_null(pcp, "%s", pmemcto_errormsg());
	pmemcto_close(pcp);
}

Test(api_pmemcto_dax, a_set_of_devices_is_removed_whole)
{
	struct removal how = {.command = "rm", .set_file = true};

	device_make(0, 12 * MIB, 2 * MIB);
	device_make(1, 16 * MIB, 2 * MIB);
	set_make("set", "AUTO " ZERO "\nAUTO " FULL "\nOPTION SINGLEHDR\n");
	pmemcto_close(set_create(in_dir("set")));
	/* another set's, as the sizes show */
	set_make("other", "AUTO " ZERO "\n14M " FULL "\nOPTION SINGLEHDR\n");
	cr_expect_neq(remove_pool(&how, in_dir("other")), 0);
	cr_expect_not(is_cleared(0));
	cr_expect_eq(remove_pool(&how, in_dir("set")), 0);
	cr_expect(is_cleared(0));
	cr_expect(is_cleared(1));
	cr_expect_neq(access(in_dir("set"), F_OK), 0);
	cr_expect_eq(access(in_dir("other"), F_OK), 0);
}
