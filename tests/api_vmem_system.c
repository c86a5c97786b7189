/* api_vmem_system.c -- libvmem on systems that lack something: calls that an older kernel refuses, a device DAX, calls
 * that fail one after the other
 *
 * The library calls libc through its symbols, so this program's own definitions stand in for the system: each passes
 * the call on unless the test said otherwise.
 */
#define _GNU_SOURCE
#include "tests/vmem_test.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/sysmacros.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static struct {
	int tmpfile_error;   /* of open(O_TMPFILE); 0: as the system does */
	bool no_populate;    /* MADV_POPULATE_WRITE is EINVAL, as before Linux 5.14 */
	int fallocate_busy;  /* that many calls of posix_fallocate end in EINTR or ENOMEM */
	size_t fallocate_most; /* larger calls are ENOMEM; 0: no limit */
	int mkstemps, fallocates;
	bool populated;
	const char *device, *device_file; /* path of the device, and of the file that plays its part */
	char size_file[64], align_file[64]; /* as /sys has them for a device */
	const char *subsystem;
	int fail_nth; /* the nth system call of the library from now on fails; 0: none */
	bool failed;  /* and has */
} sys;

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

/* True when this call is the one that is to fail. */
static bool
fails_now(int error)
{
	if (sys.fail_nth == 0 || --sys.fail_nth != 0)
		return false;
	sys.failed = true;
	errno = error;
	return true;
}

int
open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	if ((flags & O_TMPFILE) == O_TMPFILE) {
		if (sys.tmpfile_error != 0) {
			errno = sys.tmpfile_error;
			return -1;
		}
		if (fails_now(EMFILE))
			return -1;
	}
	if (sys.device != NULL && strcmp(path, sys.device) == 0)
		path = sys.device_file;
	if (sys.device != NULL && strcmp(path, "/sys/dev/char/250:7/size") == 0)
		path = sys.size_file;
	if (sys.device != NULL && strcmp(path, "/sys/dev/char/250:7/align") == 0)
		path = sys.align_file;
	return REAL(int, open, const char *, int, ...)(path, flags, mode);
}

int
mkostemp(char *path, int flags)
{
	sys.mkstemps++;
	return REAL(int, mkostemp, char *, int)(path, flags);
}

int
madvise(void *p, size_t size, int advice)
{
	if (advice == MADV_POPULATE_WRITE) {
		sys.populated = true;
		if (sys.no_populate) {
			errno = EINVAL;
			return -1;
		}
		if (fails_now(ENOMEM))
			return -1;
	}
	return REAL(int, madvise, void *, size_t, int)(p, size, advice);
}

int
posix_fallocate(int fd, off_t offset, off_t size)
{
	sys.fallocates++;
	if (sys.fallocate_busy > 0)
		return sys.fallocate_busy-- % 2 ? EINTR : ENOMEM;
	if (sys.fallocate_most != 0 && (size_t)size > sys.fallocate_most)
		return ENOMEM;
	return REAL(int, posix_fallocate, int, off_t, off_t)(fd, offset, size);
}

int
ftruncate(int fd, off_t size)
{
	if (fails_now(EIO))
		return -1;
	return REAL(int, ftruncate, int, off_t)(fd, size);
}

void *
mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (fails_now(ENOMEM))
		return MAP_FAILED;
	return REAL(void *, mmap, void *, size_t, int, int, int, off_t)(at, size, prot, flags, fd, offset);
}

int
stat(const char *path, struct stat *st)
{
	int result = REAL(int, stat, const char *, struct stat *)(path, st);

	if (sys.device != NULL && strcmp(path, sys.device) == 0) {
		memset(st, 0, sizeof(*st));
		st->st_mode = S_IFCHR | 0600;
		st->st_rdev = makedev(250, 7);
		result = 0;
	}
	return result;
}

ssize_t
readlink(const char *path, char *buf, size_t size)
{
	if (sys.device != NULL && strcmp(path, "/sys/dev/char/250:7/subsystem") == 0) {
		size_t n = strlen(sys.subsystem);

		memcpy(buf, sys.subsystem, n < size ? n : size);
		return (ssize_t)n;
	}
	return REAL(ssize_t, readlink, const char *, char *, size_t)(path, buf, size);
}

/* Every call above is looked up once, before it counts. */
static void
use_pool(VMEM *vmp)
{
	void *p = vmem_malloc(vmp, 100), *q = vmem_malloc(vmp, 3 * MIB);

	cr_assert(p != NULL && q != NULL);
	memset(p, 1, 100);
	memset(q, 1, 3 * MIB);
	vmem_free(vmp, p);
	vmem_free(vmp, q);
	cr_expect_eq(vmem_check(vmp), 1, "%s", vmem_errormsg());
}

Test(api_vmem_system, without_o_tmpfile_the_file_is_made_by_name)
{
	static const int errors[] = { EOPNOTSUPP, EISDIR };

	for (int i = 0; i < 2; i++) {
		char path[64];
		VMEM *vmp;

		snprintf(path, sizeof(path), "%s/pmheap-XXXXXX", test_dir());
		cr_assert_not_null(mkdtemp(path));
		sys.tmpfile_error = errors[i];
		sys.mkstemps = 0;
		vmp = vmem_create(path, VMEM_MIN_POOL);
		cr_assert_not_null(vmp, "%s", vmem_errormsg());
		cr_expect_eq(sys.mkstemps, 1);
		cr_expect_eq(rmdir(path), 0, "the name is gone");
		use_pool(vmp);
		vmem_delete(vmp);
	}
	sys.tmpfile_error = EACCES; /* any other error is final */
	sys.mkstemps = 0;
	cr_expect_null(vmem_create(test_dir(), VMEM_MIN_POOL));
	cr_expect_eq(errno, EACCES);
	cr_expect_str_eq(vmem_errormsg(), "open: Permission denied");
	cr_expect_eq(sys.mkstemps, 0);
}

Test(api_vmem_system, a_kernel_that_cannot_populate_gets_a_file_with_all_its_blocks)
{
	VMEM *vmp;

	sys.no_populate = true;
	vmp = vmem_create(test_dir(), VMEM_MIN_POOL);
	cr_assert_not_null(vmp, "%s", vmem_errormsg());
	cr_expect_eq(sys.fallocates, 1);
	sys.populated = false;
	use_pool(vmp);
	cr_expect_not(sys.populated, "no page is committed one by one");
	vmem_delete(vmp);
}

Test(api_vmem_system, a_busy_fallocate_is_tried_again)
{
	VMEM *vmp;

	sys.no_populate = true;
	sys.fallocate_busy = 7;
	vmp = vmem_create(test_dir(), VMEM_MIN_POOL);
	cr_assert_not_null(vmp, "%s", vmem_errormsg());
	cr_expect_eq(sys.fallocates, 8);
	vmem_delete(vmp);
}

Test(api_vmem_system, fallocate_goes_on_in_smaller_pieces)
{
	VMEM *vmp;

	sys.no_populate = true;
	sys.fallocate_most = 5 * MIB;
	vmp = vmem_create(test_dir(), VMEM_MIN_POOL);
	cr_assert_not_null(vmp, "%s", vmem_errormsg());
	use_pool(vmp);
	vmem_delete(vmp);
}

Test(api_vmem_system, fallocate_gives_up_below_1_mib)
{
	sys.no_populate = true;
	sys.fallocate_most = MIB / 2;
	errno = 0;
	cr_expect_null(vmem_create(test_dir(), VMEM_MIN_POOL));
	cr_expect_eq(errno, ENOMEM);
	cr_expect_str_eq(vmem_errormsg(), "posix_fallocate: Cannot allocate memory");
	/* 1 call for all, then 5 for each of 1 GiB, 512 MiB, ... 1 MiB */
	cr_expect_eq(sys.fallocates, 1 + 5 * 11);
}

static void
write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	cr_assert_not_null(file);
	fputs(text, file);
	fclose(file);
}

static void
device_new(const char *size, const char *subsystem)
{
	static char path[] = "/tmp/pmheap-dax-XXXXXX";
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)(24 * MIB)), 0);
	for (size_t i = 0; i < 24 * MIB / 4096; i++) { /* a device holds what it held before */
		static char old[4096];

		memset(old, 0xa5, sizeof(old));
		cr_assert_eq(write(fd, old, sizeof(old)), (ssize_t)sizeof(old));
	}
	close(fd);
	snprintf(sys.size_file, sizeof(sys.size_file), "%s-size", path);
	snprintf(sys.align_file, sizeof(sys.align_file), "%s-align", path);
	write_file(sys.size_file, size);
	write_file(sys.align_file, "2097152\n");
	sys.device_file = path;
	sys.subsystem = subsystem;
	sys.device = "/dev/dax0.0";
}

static void
device_end(void)
{
	unlink(sys.device_file);
	unlink(sys.size_file);
	unlink(sys.align_file);
}

Test(api_vmem_system, a_device_dax_is_used_and_unmapped_whole)
{
	char line[512];
	bool mapped = false;
	FILE *maps;
	VMEM *vmp;
	char *p;

	device_new("25165824\n", "../../../../bus/dax");
	sys.populated = false;
	vmp = vmem_create("/dev/dax0.0", VMEM_MIN_POOL);
	cr_assert_not_null(vmp, "%s", vmem_errormsg());
	cr_expect_eq((uintptr_t)vmp % POOL_ALIGN, 0);
	cr_expect_eq(*(volatile unsigned char *)vmp, 0xa5, "the first page stays readable");
	p = vmem_malloc(vmp, 20 * MIB);
	cr_assert_not_null(p, "all of the device, not the %zu bytes asked for", VMEM_MIN_POOL);
	memset(p, 1, 20 * MIB);
	vmem_free(vmp, p);
	p = vmem_calloc(vmp, 1, 2 * MIB);
	cr_assert_not_null(p);
	for (size_t i = 0; i < 2 * MIB; i++)
		cr_assert_eq(p[i], 0);
	cr_expect_not(sys.populated);
	cr_expect_eq(vmem_check(vmp), 1);
	vmem_delete(vmp);
	maps = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof(line), maps) != NULL)
		mapped = mapped || strstr(line, sys.device_file) != NULL;
	fclose(maps);
	cr_expect_not(mapped, "all of it is unmapped");
	device_end();
}

Test(api_vmem_system, a_device_that_is_too_small_or_no_dax_is_refused)
{
	unsigned fds = count_fds();

	device_new("8388608\n", "../../../../bus/dax");
	errno = 0;
	cr_expect_null(vmem_create("/dev/dax0.0", VMEM_MIN_POOL));
	cr_expect_eq(errno, ENOSPC);
	cr_expect_str_eq(vmem_errormsg(), "/dev/dax0.0 has 8388608 bytes, 14680064 needed");
	sys.subsystem = "../../../../class/mem";
	errno = 0;
	cr_expect_null(vmem_create("/dev/dax0.0", VMEM_MIN_POOL));
	cr_expect_eq(errno, EINVAL);
	cr_expect_str_eq(vmem_errormsg(), "/dev/dax0.0 is not a device dax");
	cr_expect_eq(count_fds(), fds);
	device_end();
}

/* Lines of /proc/self/maps that show pool files. */
static unsigned
mapped_pools(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512], want[64];
	unsigned n = 0;

	snprintf(want, sizeof(want), " %s/#", test_dir());
	while (fgets(line, sizeof(line), maps) != NULL)
		n += strstr(line, want) != NULL;
	fclose(maps);
	return n;
}

/* The first system call fails, then the second, and so on until creation succeeds. */
Test(api_vmem_system, each_call_of_creation_may_fail_and_nothing_is_left)
{
	unsigned fds = count_fds(), maps = mapped_pools();
	int n = 1;

	for (;; n++) {
		VMEM *vmp;

		sys.fail_nth = n;
		sys.failed = false;
		errno = 0;
		vmp = vmem_create(test_dir(), VMEM_MIN_POOL);
		sys.fail_nth = 0;
		if (vmp != NULL) {
			use_pool(vmp);
			vmem_delete(vmp);
			if (!sys.failed)
				break;
		} else {
			cr_expect(sys.failed, "%d: %s", n, vmem_errormsg());
			cr_expect_neq(errno, 0, "%d", n);
			cr_expect_str_not_empty(vmem_errormsg());
		}
		cr_assert_eq(count_fds(), fds, "call %d", n);
		cr_assert_eq(mapped_pools(), maps, "call %d", n);
	}
	cr_expect_gt(n, 5);
}

Test(api_vmem_system, each_call_of_creation_in_a_region_may_fail)
{
	char *base = region_new(VMEM_MIN_POOL);
	int n = 1;

	for (;; n++) {
		VMEM *vmp;

		sys.fail_nth = n;
		sys.failed = false;
		errno = 0;
		vmp = vmem_create_in_region(base, VMEM_MIN_POOL);
		sys.fail_nth = 0;
		if (vmp != NULL) {
			use_pool(vmp);
			vmem_delete(vmp);
			if (!sys.failed)
				break;
		} else {
			cr_expect(sys.failed, "%d: %s", n, vmem_errormsg());
			cr_expect_eq(errno, ENOMEM, "%d", n);
			cr_expect_str_eq(vmem_errormsg(), "pool creation failed");
		}
		memset(base, 0x5a, VMEM_MIN_POOL); /* readable and writable, all of it */
	}
	cr_expect_gt(n, 1);
}

/* A thread without memory for a cache of its own is served all the same. */
Test(api_vmem_system, each_call_of_a_first_allocation_may_fail)
{
	for (int n = 1;; n++) {
		VMEM *vmp = vmem_create(test_dir(), VMEM_MIN_POOL);
		char *p;

		cr_assert_not_null(vmp);
		sys.fail_nth = n;
		sys.failed = false;
		errno = 4711;
		p = vmem_malloc(vmp, 100);
		cr_expect_eq(errno, p != NULL ? 4711 : ENOMEM);
		sys.fail_nth = 0;
		if (p != NULL)
			memset(p, 1, 100);
		use_pool(vmp);
		vmem_delete(vmp);
		if (!sys.failed)
			break;
	}
}
