/* api_pmem_dax.c -- device DAX out of a sysfs tree of our own
 *
 * The device is /dev/zero, which can be mapped; the tree under a temporary folder says that it is a device DAX. All goes
 * through the one seam, dax_sysfs.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>

#include <errno.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "api/common/dax.h"
#include "api/pmem/public.h"
#include "flush/flush.h"
#include "tests/pmem_files.h"

#define DEVICE "/dev/zero"
#define DEVICE_SIZE ((size_t)4 << 20)

/* Where the tree keeps the device; the region is an ancestor. */
#define ND "devices/LNXSYSTM:00/ndbus0/region7"
#define ND_DEVICE ND "/dax7.0/dax/dax7.0"

static void
make_dir(const char *path)
{
	char command[300];

	snprintf(command, sizeof(command), "mkdir -p %s", file_path(path));
	cr_assert_eq(system(command), 0);
}

static void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(file_path(path), "w");

	cr_assert_not_null(f, "%s", path);
	fputs(text, f);
	fclose(f);
}

static const char *
read_file(const char *path)
{
	static char text[64];
	FILE *f = fopen(file_path(path), "r");
	size_t n = fread(text, 1, sizeof(text) - 1, f);

	fclose(f);
	text[n] = '\0';
	return text;
}

/* A device at `where` (below devices/), of subsystem `subsystem`. */
static void
tree_begin(const char *where, const char *subsystem)
{
	char link[256], target[256];
	struct stat st = file_stat(DEVICE);

	files_begin("/tmp");
	dax_sysfs = files_dir;
	make_dir("dev/char");
	make_dir("bus/dax");
	make_dir("class/mem");
	make_dir("bus/nd/devices");
	make_dir(where);
	snprintf(link, sizeof(link), "dev/char/%u:%u", major(st.st_rdev), minor(st.st_rdev));
	snprintf(target, sizeof(target), "../../%s", where);
	cr_assert_eq(symlink(target, file_path(link)), 0);
	snprintf(link, sizeof(link), "%s/subsystem", where);
	snprintf(target, sizeof(target), "../../../../../../%s", subsystem);
	cr_assert_eq(symlink(target, file_path(link)), 0);
}

static void
nd_tree(void)
{
	tree_begin(ND_DEVICE, "bus/dax");
	write_file(ND_DEVICE "/size", "4194304\n");
	make_dir(ND "/dax7.0/dax_region");
	write_file(ND "/dax7.0/dax_region/align", "2097152\n");
	write_file(ND "/deep_flush", "1\n");
	cr_assert_eq(symlink("../../../" ND, file_path("bus/nd/devices/region7")), 0);
}

static void
refused(size_t len, int flags, int error, const char *text)
{
	int open_before = open_files(), is_pmem = 67;
	size_t mapped = 12345;

	errno = 0;
	cr_assert_null(pmem_map_file(DEVICE, len, flags, 0, &mapped, &is_pmem));
	cr_assert_eq(errno, error, "%s instead of %s", strerror(errno), strerror(error));
	cr_assert(mapped == 12345 && is_pmem == 67);
	cr_assert_eq(open_files(), open_before);
	cr_assert_not_null(strstr(pmem_errormsg(), text), "\"%s\" does not say \"%s\"", pmem_errormsg(), text);
}

Test(api_pmem_dax, is_mapped_whole_and_is_persistent_memory)
{
	static const struct {
		size_t len;
		int flags;
	} ways[] = {
		{0, 0}, {DEVICE_SIZE, 0}, {0, PMEM_FILE_CREATE}, {DEVICE_SIZE, PMEM_FILE_CREATE | PMEM_FILE_SPARSE},
		{0, PMEM_FILE_SPARSE},
	};

	nd_tree();
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		int is_pmem = 0;
		size_t len = 0;
		char *p;

		errno = 4242;
		p = pmem_map_file(DEVICE, ways[i].len, ways[i].flags, 0, &len, &is_pmem);
		cr_assert_not_null(p, "%s", pmem_errormsg());
		cr_assert_eq(errno, 4242);
		cr_assert_eq(len, DEVICE_SIZE);
		cr_assert_eq(is_pmem, flush_ops()->can_persist);
		p[len - 1] = 1;
		pmem_persist(p, len);
		cr_assert_eq(pmem_unmap(p, len), 0);
		cr_assert_eq(pmem_is_pmem(p, len), 0);
	}
	files_end();
}

Test(api_pmem_dax, other_lengths_and_flags_are_refused)
{
	nd_tree();
	refused(DEVICE_SIZE - 4096, 0, EINVAL, "4194304");
	refused(4096, PMEM_FILE_CREATE, EINVAL, "4096");
	refused(0, PMEM_FILE_EXCL, EINVAL, "flag");
	refused(0, PMEM_FILE_CREATE | PMEM_FILE_EXCL, EINVAL, "flag");
	refused(0, PMEM_FILE_CREATE | PMEM_FILE_TMPFILE, EINVAL, "flag");
	refused(0, 0x10, EINVAL, "10");
	files_end();
}

Test(api_pmem_dax, the_size_must_be_known)
{
	tree_begin(ND_DEVICE, "bus/dax");
	refused(0, 0, EINVAL, "size");
	write_file(ND_DEVICE "/size", "junk\n");
	refused(0, 0, EINVAL, "size");
	write_file(ND_DEVICE "/size", "0\n");
	refused(0, 0, EINVAL, "size");
	write_file(ND_DEVICE "/size", "99999999999999999999999\n");
	refused(0, 0, EINVAL, "size");
	files_end();
}

Test(api_pmem_dax, other_devices_are_none)
{
	tree_begin(ND_DEVICE, "class/mem");
	refused(0, 0, EINVAL, "no device DAX");
	files_end();
	files_begin("/tmp");
	dax_sysfs = files_dir; /* nothing there: what links say cannot be read */
	refused(0, 0, ENOENT, "subsystem");
	files_end();
}

static struct dax
read_dax(void)
{
	struct stat st = file_stat(DEVICE);
	struct dax dax;

	cr_assert_eq(dax_read(DEVICE, major(st.st_rdev), minor(st.st_rdev), &dax), 0);
	return dax;
}

Test(api_pmem_dax, alignment_is_found_at_the_device_or_above)
{
	nd_tree();
	cr_assert_eq(read_dax().align, 2097152);
	write_file(ND "/dax7.0/dax_region/align", "0x40000000\n"); /* as kernels before 4.9 */
	cr_assert_eq(read_dax().align, 1 << 30);
	write_file(ND_DEVICE "/align", "4096\n"); /* its own comes first */
	cr_assert_eq(read_dax().align, 4096);
	write_file(ND_DEVICE "/align", "5000\n"); /* no power of two: nonsense */
	cr_assert_eq(read_dax().align, 0);
	files_end();
}

Test(api_pmem_dax, a_large_alignment_is_kept)
{
	char *p;

	nd_tree();
	write_file(ND_DEVICE "/align", "1073741824\n");
	p = pmem_map_file(DEVICE, 0, 0, 0, NULL, NULL);
	cr_assert_not_null(p);
	cr_assert((uintptr_t)p % ((size_t)1 << 30) == 0 || getenv("TEST_EMULATED") != NULL);
	cr_assert_eq(pmem_unmap(p, DEVICE_SIZE), 0);
	files_end();
}

/* Only an ancestor region<N> with deep_flush is one; a CXL region, or a mere number, is not. */
Test(api_pmem_dax, the_region_is_an_ancestor_with_deep_flush)
{
	nd_tree();
	cr_assert_eq(read_dax().region, 7);
	cr_assert_eq(unlink(file_path(ND "/deep_flush")), 0);
	cr_assert_eq(read_dax().region, -1);
	files_end();

	tree_begin("devices/platform/hmem.7/region7/dax7.0", "bus/dax");
	write_file("devices/platform/hmem.7/region7/dax7.0/size", "4194304\n");
	make_dir("bus/nd/devices/region7"); /* another thing of that number */
	write_file("bus/nd/devices/region7/deep_flush", "1\n");
	cr_assert_eq(read_dax().region, -1);
	files_end();
}

Test(api_pmem_dax, deep_drain_flushes_the_region)
{
	char *p;

	nd_tree();
	p = pmem_map_file(DEVICE, 0, 0, 0, NULL, NULL);
	cr_assert_not_null(p);
	p[0] = 1;
	errno = 4242;
	cr_assert_eq(pmem_deep_persist(p, DEVICE_SIZE), 0);
	cr_assert_eq(errno, 4242);
	cr_assert_str_eq(read_file(ND "/deep_flush"), "1\n"); /* written over by "1" */
	write_file(ND "/deep_flush", "9\n");
	cr_assert_eq(pmem_deep_drain(p + 100, 1), 0);
	cr_assert_str_eq(read_file(ND "/deep_flush"), "1\n");
	write_file(ND "/deep_flush", "9\n");
	cr_assert_eq(pmem_deep_drain(p, 0), 0); /* of nothing */
	cr_assert_str_eq(read_file(ND "/deep_flush"), "9\n");
	write_file(ND "/deep_flush", "0\n"); /* no buffers: nothing to write out */
	cr_assert_eq(pmem_deep_drain(p, DEVICE_SIZE), 0);
	cr_assert_str_eq(read_file(ND "/deep_flush"), "0\n");
	/* a part behind it that is no device goes through msync, and fails where nothing is mapped */
	cr_assert_eq(unlink(file_path("bus/nd/devices/region7")), 0); /* gone: success all the same */
	cr_assert_eq(pmem_deep_drain(p, DEVICE_SIZE), 0);
	cr_assert_eq(pmem_unmap(p + DEVICE_SIZE - 4096, 4096), 0);
	cr_assert_eq(pmem_deep_drain(p, DEVICE_SIZE), -1);
	cr_assert_eq(errno, ENOMEM);
	cr_assert_eq(pmem_deep_drain(p, DEVICE_SIZE - 4096), 0);
	cr_assert_eq(pmem_unmap(p, DEVICE_SIZE), 0);
	files_end();
}

Test(api_pmem_dax, a_region_that_cannot_be_written_is_fine)
{
	char *p;

	nd_tree();
	p = pmem_map_file(DEVICE, 0, 0, 0, NULL, NULL);
	cr_assert_not_null(p);
	cr_assert_eq(unlink(file_path(ND "/deep_flush")), 0);
	make_dir(ND "/deep_flush"); /* can be opened for nothing */
	cr_assert_eq(pmem_deep_drain(p, 4096), 0);
	cr_assert_eq(pmem_unmap(p, DEVICE_SIZE), 0);
	files_end();
}
