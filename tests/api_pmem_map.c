/* api_pmem_map.c -- pmem_map_file, pmem_unmap, pmem_is_pmem, pmem_msync and the deep functions, row by row, as a user calls them */
#define _GNU_SOURCE
#include <criterion/criterion.h>

#include <errno.h>
#include <libpmem.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/un.h>

#include "tests/pmem_files.h"

#define CREATE PMEM_FILE_CREATE
#define EXCL PMEM_FILE_EXCL
#define SPARSE PMEM_FILE_SPARSE
#define TMPFILE PMEM_FILE_TMPFILE

#define MEGABYTE ((size_t)1 << 20)

static void
set_umask(void)
{
	umask(022);
}

TestSuite(api_pmem_map, .init = set_umask);

/* A call that must fail with `error`, leave its outputs, open files and the folder alone, and name `text`. */
static void
refused(const char *path, size_t len, int flags, int error, const char *text)
{
	size_t mapped = 12345;
	int is_pmem = 67, open_before = open_files(), entries = entries_in_dir();

	errno = 0;
	cr_assert_null(pmem_map_file(path, len, flags, 0666, &mapped, &is_pmem), "%s len %zu flags %x", path, len, flags);
	cr_assert_eq(errno, error, "%s len %zu flags %x: %s instead of %s", path, len, flags, strerror(errno), strerror(error));
	cr_assert(mapped == 12345 && is_pmem == 67);
	cr_assert_eq(open_files(), open_before);
	cr_assert_eq(entries_in_dir(), entries);
	cr_assert_not_null(strstr(pmem_errormsg(), text), "\"%s\" does not say \"%s\"", pmem_errormsg(), text);
}

static void *
mapped(const char *path, size_t len, int flags, size_t expected)
{
	size_t got = 0;
	int is_pmem = 67, open_before = open_files();
	void *p;

	errno = 4242;
	p = pmem_map_file(path, len, flags, 0666, &got, &is_pmem);
	cr_assert_not_null(p, "%s len %zu flags %x: %s", path, len, flags, pmem_errormsg());
	cr_assert_eq(errno, 4242, "errno changed to %d", errno);
	cr_assert_eq(got, expected);
	cr_assert_eq(is_pmem, pmem_is_pmem(p, got));
	cr_assert_eq(open_files(), open_before);
	return p;
}

/* qemu-user follows no hints: check_cross.sh says when it runs a test there. */
static bool
is_aligned(const void *p, size_t align)
{
	return (uintptr_t)p % align == 0 || getenv("TEST_EMULATED") != NULL;
}

#define EACH_PLACE(...) \
	for (size_t place = 0; place < FILE_PLACES; place++) { \
		files_begin(file_places[place]); \
		__VA_ARGS__; \
		files_end(); \
	}

/* --- the table's rows ------------------------------------------------------------------------------------------- */

Test(api_pmem_map, row_1_path_is_null)
{
	files_begin("/tmp");
	refused(NULL, 0, 0, EINVAL, "NULL");
	refused(NULL, 1, 0x100, EINVAL, "NULL");
	files_end();
}

Test(api_pmem_map, row_2_path_cannot_be_reached)
{
	char longname[NAME_MAX + 20];
	const char *file;

	files_begin("/tmp");
	file = file_make("file", 4096);
	refused(file_path("file/below"), 0, 0x100, ENOTDIR, "below"); /* before the flags are looked at */
	memset(longname, 'n', sizeof(longname) - 1);
	longname[sizeof(longname) - 1] = '\0';
	refused(file_path(longname), 0, 0, ENAMETOOLONG, "nnn");
	cr_assert_eq(symlink("loop", file_path("loop")), 0);
	refused(file_path("loop"), 0, 0, ELOOP, "loop");
	(void)file;
	if (geteuid() != 0) {
		mkdir(file_path("closed"), 0);
		refused(file_path("closed/file"), 0, 0, EACCES, "closed");
	}
	files_end();
}

Test(api_pmem_map, row_4_neither_file_nor_folder_nor_device_dax)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd;

	files_begin("/tmp");
	cr_assert_eq(mkfifo(file_path("fifo"), 0600), 0);
	refused(file_path("fifo"), 0, 0, EINVAL, "fifo");
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(name.sun_path, file_path("socket"));
	cr_assert_eq(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	refused(file_path("socket"), 0, 0, EINVAL, "socket");
	close(fd);
	refused("/dev/zero", 0, 0, EINVAL, "/dev/zero");
	refused("/dev/null", 0, 0x1000, EINVAL, "no device DAX");
	files_end();
}

Test(api_pmem_map, row_5_unknown_flags)
{
	const char *file;

	files_begin("/tmp");
	file = file_make("file", 4096);
	refused(file, 0, 0x10, EINVAL, "10");
	refused(file, 0, 1 << 30, EINVAL, "40000000");
	refused(file, SIZE_MAX, 0x10 | CREATE, EINVAL, "flag"); /* before the length */
	refused(file_path("none"), 0, 0x10, EINVAL, "flag");    /* before it is opened */
	files_end();
}

Test(api_pmem_map, row_7_to_10_lengths_and_flags)
{
	const char *file;

	files_begin("/tmp");
	file = file_make("file", 4096);
	refused(file, SIZE_MAX, CREATE, EINVAL, "length");
	refused(file, (size_t)1 << 63, CREATE | EXCL, EINVAL, "9223372036854775808");
	refused(file, SIZE_MAX, 0, EINVAL, "non-zero 'len'");
	refused(file, 4096, 0, EINVAL, "4096");
	refused(file, 4096, EXCL, EINVAL, "non-zero 'len'");
	refused(file, 4096, TMPFILE, EINVAL, "non-zero 'len'"); /* before TMPFILE */
	refused(file, 0, CREATE, EINVAL, "zero 'len'");
	refused(file, 0, CREATE | SPARSE, EINVAL, "zero 'len'");
	refused(files_dir, 0, CREATE | TMPFILE, EINVAL, "zero 'len'");
	refused(files_dir, 0, TMPFILE, EINVAL, "TMPFILE");
	refused(file, 0, TMPFILE | EXCL, EINVAL, "TMPFILE");
	refused(file_path("none"), 0, CREATE, EINVAL, "zero 'len'"); /* nothing was made */
	cr_assert_eq(file_stat(file).st_size, 4096);
	files_end();
}

Test(api_pmem_map, row_11_temporary_files_need_a_folder)
{
	const char *file;

	files_begin("/tmp");
	file = file_make("file", 4096);
	refused(file, 4096, CREATE | TMPFILE, ENOTDIR, "file");
	refused(file_path("none"), 4096, CREATE | TMPFILE, ENOENT, "none");
	files_end();
}

Test(api_pmem_map, row_12_open_fails)
{
	files_begin("/tmp");
	refused(file_path("none"), 0, 0, ENOENT, "none");
	refused("", 0, 0, ENOENT, "open");
	refused("", 4096, CREATE, ENOENT, "open");
	refused(file_path("no/such"), 4096, CREATE, ENOENT, "no/such");
	refused(file_make("file", 4096), 4096, CREATE | EXCL, EEXIST, "file");
	refused(files_dir, 0, 0, EISDIR, files_dir);
	refused(files_dir, 4096, CREATE, EISDIR, files_dir);
	refused(files_dir, 4096, CREATE | EXCL, EEXIST, files_dir);
	if (geteuid() != 0) {
		cr_assert_eq(chmod(file_path("file"), 0400), 0);
		refused(file_path("file"), 0, 0, EACCES, "file");
	}
	files_end();
}

Test(api_pmem_map, row_13_the_length_cannot_be_had)
{
	struct statfs fs;

	/* On tmpfs only: it refuses by the number; a disk's file system may first give all it has, and other programs
	 * would find it full meanwhile. */
	files_begin("/dev/shm");
	{
		/* a file made by the call vanishes, with EXCL and without */
		refused(file_path("none"), (size_t)1 << 42, CREATE, ENOSPC, "4398046511104");
		refused(file_path("none"), (size_t)1 << 42, CREATE | EXCL, ENOSPC, "none");
		refused(files_dir, (size_t)1 << 42, CREATE | TMPFILE, ENOSPC, files_dir);
		cr_assert_not(file_exists(file_path("none")));

		/* one that was there keeps its name, length and content */
		const char *file = file_make("file", 5000);
		int fd = open(file, O_RDWR);
		char c = 0;

		cr_assert_eq(pwrite(fd, "x", 1, 4999), 1);
		refused(file, (size_t)1 << 42, CREATE, ENOSPC, "file");
		cr_assert_eq(file_stat(file).st_size, 5000);
		cr_assert(pread(fd, &c, 1, 4999) == 1 && c == 'x');
		close(fd);
	}
	files_end();
	files_begin("/tmp");
	cr_assert_eq(statfs(files_dir, &fs), 0);
	if (fs.f_type == 0xef53) /* ext4 */
		refused(file_path("none"), (size_t)1 << 62, CREATE | SPARSE | EXCL, EFBIG, "none");
	cr_assert_not(file_exists(file_path("none")));
	files_end();
}

Test(api_pmem_map, row_15_mapping_fails)
{
	EACH_PLACE({
		refused(file_make("empty", 0), 0, 0, EINVAL, "empty");
		cr_assert(file_exists(file_path("empty")));
	});
	files_begin("/dev/shm");
	refused(file_path("none"), (size_t)1 << 62, CREATE | SPARSE, ENOMEM, "none");
	refused("/proc/self/mem", 0, 0, EINVAL, "/proc/self/mem");
	refused("/sys/power/state", 0, 0, access("/sys/power/state", W_OK) == 0 ? ENODEV : errno, "/sys/power/state");
	files_end();
}

/* --- success ---------------------------------------------------------------------------------------------------- */

Test(api_pmem_map, creates_with_the_exact_length)
{
	static const size_t lengths[] = {1, 4095, 4096, 4097, 100000, 3 << 20};

	EACH_PLACE(for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		for (int sparse = 0; sparse <= SPARSE; sparse += SPARSE) {
			char *p = mapped(file_path("file"), lengths[i], CREATE | EXCL | sparse, lengths[i]);
			struct stat st = file_stat(file_path("file"));

			cr_assert_eq(st.st_size, (off_t)lengths[i]);
			cr_assert_eq(st.st_mode & 07777, 0644); /* 0666 without the umask's bits */
			if (sparse)
				cr_assert_eq(st.st_blocks, 0);
			else
				cr_assert_geq(st.st_blocks * 512, (off_t)lengths[i]);
			cr_assert(is_aligned(p, 2 * MEGABYTE));
			p[0] = 'a';
			p[lengths[i] - 1] = 'z';
			cr_assert_eq(pmem_msync(p, lengths[i]), 0);
			cr_assert_eq(pmem_unmap(p, lengths[i]), 0);
			cr_assert_eq(unlink(file_path("file")), 0);
		});
}

Test(api_pmem_map, create_sets_the_length_of_a_file_that_is_there)
{
	EACH_PLACE({
		const char *file = file_make("file", 100);
		int fd = open(file, O_RDWR);
		char *p;

		cr_assert_eq(pwrite(fd, "hello", 5, 0), 5);
		p = mapped(file, 8192, CREATE, 8192); /* grows, keeps the content and the mode */
		cr_assert(memcmp(p, "hello", 6) == 0);
		cr_assert_eq(file_stat(file).st_mode & 07777, 0640);
		cr_assert_eq(pmem_unmap(p, 8192), 0);
		p = mapped(file, 3, CREATE | SPARSE, 3); /* shrinks */
		cr_assert_eq(file_stat(file).st_size, 3);
		cr_assert_eq(pmem_unmap(p, 3), 0);
		close(fd);
	});
}

Test(api_pmem_map, maps_a_file_that_is_there)
{
	EACH_PLACE({
		const char *file = file_make("file", 123456);
		char *p = mapped(file, 0, 0, 123456);
		char c = 'x';
		int fd = open(file, O_RDWR);

		cr_assert_eq(pwrite(fd, &c, 1, 123455), 1); /* file and mapping are one */
		cr_assert_eq(p[123455], 'x');
		p[0] = 'y';
		cr_assert(pread(fd, &c, 1, 0) == 1 && c == 'y');
		close(fd);
		cr_assert_eq(pmem_unmap(p, 123456), 0);
		/* flags without effect on a file that is there */
		p = mapped(file, 0, EXCL, 123456);
		cr_assert_eq(pmem_unmap(p, 123456), 0);
		p = mapped(file, 0, SPARSE, 123456);
		cr_assert_eq(pmem_unmap(p, 123456), 0);
		cr_assert_eq(file_stat(file).st_size, 123456);
	});
}

Test(api_pmem_map, outputs_may_be_null)
{
	files_begin("/tmp");
	char *p = pmem_map_file(file_make("file", 4096), 0, 0, 0, NULL, NULL);

	cr_assert_not_null(p);
	cr_assert_eq(pmem_unmap(p, 4096), 0);
	files_end();
}

Test(api_pmem_map, temporary_files_have_no_name_and_mode_0600)
{
	static const int flags[] = {0, EXCL, SPARSE, SPARSE | EXCL};

	EACH_PLACE(for (int i = 0; i < 4; i++) {
		char *p = mapped(files_dir, 50000, CREATE | TMPFILE | flags[i], 50000);
		char line[512], link[600];
		unsigned long inode = 0;
		struct stat st;
		FILE *maps;

		cr_assert_eq(entries_in_dir(), 0);
		p[49999] = 'x';
		snprintf(link, sizeof(link), "/proc/self/map_files/%lx-%lx", (unsigned long)p, (unsigned long)p + 53248);
		if (stat(link, &st) == 0) { /* needs privileges */
			cr_assert_eq(st.st_size, 50000);
			cr_assert_eq(st.st_mode & 07777, 0600);
			/* O_EXCL: it cannot be given a name; that is what the kernel's flag means */
		}
		maps = fopen("/proc/self/maps", "r");
		snprintf(link, sizeof(link), "%lx-", (unsigned long)p);
		while (fgets(line, sizeof(line), maps) != NULL)
			if (strncmp(line, link, strlen(link)) == 0)
				sscanf(line, "%*s %*s %*s %*s %lu", &inode);
		fclose(maps);
		cr_assert_neq(inode, 0);
		cr_assert_eq(pmem_unmap(p, 50000), 0);
	});
}

Test(api_pmem_map, the_umask_stays)
{
	files_begin("/tmp");
	umask(0123);
	char *p = mapped(files_dir, 4096, CREATE | TMPFILE, 4096);

	cr_assert_eq(umask(022), 0123);
	cr_assert_eq(pmem_unmap(p, 4096), 0);
	files_end();
}

Test(api_pmem_map, through_symbolic_links)
{
	EACH_PLACE({
		cr_assert_eq(symlink("target", file_path("link")), 0);
		refused(file_path("link"), 0, 0, ENOENT, "link");
		refused(file_path("link"), 4096, CREATE | EXCL, EEXIST, "link");
		bool shm = strcmp(file_places[place], "/dev/shm") == 0; /* refuses by the number, see row 13 */
		if (shm)
			refused(file_path("link"), (size_t)1 << 42, CREATE, ENOSPC, "link"); /* the target it made is gone, too */
		cr_assert_not(file_exists(file_path("target")));
		cr_assert(file_exists(file_path("link")));
		cr_assert_eq(pmem_unmap(mapped(file_path("link"), 4096, CREATE, 4096), 4096), 0);
		cr_assert_eq(file_stat(file_path("target")).st_size, 4096);
		cr_assert_eq(pmem_unmap(mapped(file_path("link"), 0, 0, 4096), 4096), 0);
		if (shm)
			refused(file_path("link"), (size_t)1 << 42, CREATE, ENOSPC, "link"); /* now it is not ours to remove */
		cr_assert_eq(file_stat(file_path("target")).st_size, 4096);
	});
}

Test(api_pmem_map, large_ones_are_aligned_to_a_gigabyte)
{
	const size_t gigabyte = (size_t)1 << 30;

	EACH_PLACE({
		char *p = mapped(file_path("file"), 2 * gigabyte, CREATE | SPARSE, 2 * gigabyte);

		cr_assert(is_aligned(p, gigabyte));
		p[0] = p[2 * gigabyte - 1] = 1;
		cr_assert_eq(pmem_unmap(p, 2 * gigabyte), 0);
		p = mapped(file_path("file"), 2 * gigabyte - 1, CREATE | SPARSE, 2 * gigabyte - 1);
		cr_assert(is_aligned(p, 2 * MEGABYTE));
		cr_assert_eq(pmem_unmap(p, 2 * gigabyte - 1), 0);
	});
}

Test(api_pmem_map, map_sync_refused_falls_back)
{
	EACH_PLACE({
		int is_pmem = 1;
		size_t len;
		const char *file = file_make("file", 65536);
		int fd = open(file, O_RDWR);
		void *sync = mmap(NULL, 65536, PROT_READ, 0x03 | 0x80000, fd, 0); /* MAP_SHARED_VALIDATE | MAP_SYNC */
		void *p = pmem_map_file(file, 0, 0, 0, &len, &is_pmem);

		close(fd);
		cr_assert_not_null(p);
		cr_assert_eq(is_pmem, sync != MAP_FAILED, "is_pmem is %d where MAP_SYNC is %s", is_pmem,
		    sync == MAP_FAILED ? "refused" : "granted");
		cr_assert_eq(pmem_is_pmem(p, 65536), is_pmem);
		cr_assert_eq(pmem_unmap(p, len), 0);
	});
}

/* --- pmem_unmap ---------------------------------------------------------------------------------------------------- */

static sigjmp_buf touched;

static void
on_fault(int signal)
{
	siglongjmp(touched, signal);
}

static bool
faults(volatile char *p)
{
	struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER}, old;
	bool fault = true;

	sigaction(SIGSEGV, &action, &old);
	if (sigsetjmp(touched, 1) == 0) {
		(void)*p;
		fault = false;
	}
	sigaction(SIGSEGV, &old, NULL);
	return fault;
}

Test(api_pmem_map, unmap_takes_parts)
{
	EACH_PLACE({
		char *p = mapped(file_path("file"), 20 * MEGABYTE, CREATE, 20 * MEGABYTE);

		errno = 4242;
		cr_assert_eq(pmem_unmap(p, 4096), 0);
		cr_assert(faults(p) && !faults(p + 4096));
		cr_assert_eq(pmem_unmap(p + 4 * MEGABYTE, 2 * MEGABYTE), 0);
		cr_assert(!faults(p + 4 * MEGABYTE - 1) && faults(p + 4 * MEGABYTE) && !faults(p + 6 * MEGABYTE));
		cr_assert_eq(pmem_unmap(p + 8 * MEGABYTE, 2 * MEGABYTE - 1), 0); /* the kernel rounds up */
		cr_assert(faults(p + 10 * MEGABYTE - 1) && !faults(p + 10 * MEGABYTE));
		cr_assert_eq(pmem_unmap(p, 4096), 0); /* gone already */
		cr_assert_eq(errno, 4242);

		cr_assert_eq(pmem_unmap(p + 12 * MEGABYTE, 0), -1);
		cr_assert_eq(errno, EINVAL);
		cr_assert_not_null(strstr(pmem_errormsg(), "munmap"));
		errno = 0;
		cr_assert_eq(pmem_unmap(p + 12 * MEGABYTE + 100, 4096), -1);
		cr_assert_eq(errno, EINVAL);
		cr_assert_eq(pmem_unmap(p, 20 * MEGABYTE), 0);
		cr_assert(faults(p + 19 * MEGABYTE));
	});
}

/* --- pmem_is_pmem, pmem_msync, deep ------------------------------------------------------------------------------- */

Test(api_pmem_map, ordinary_memory_is_not_persistent)
{
	char *anonymous = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char stack[10];

	cr_assert_eq(pmem_is_pmem(anonymous, 8192), 0);
	cr_assert_eq(pmem_is_pmem(stack, sizeof(stack)), 0);
	cr_assert_eq(pmem_is_pmem(anonymous, 0), 0);
	cr_assert_eq(pmem_is_pmem(NULL, 1), 0);
	cr_assert_eq(pmem_is_pmem(anonymous, SIZE_MAX), 0);
}

Test(api_pmem_map, msync_of_any_piece)
{
	EACH_PLACE({
		char *p = mapped(file_path("file"), 100000, CREATE, 100000);

		for (size_t at = 0; at < 9000; at += 777)
			cr_assert_eq(pmem_msync(p + at, 1 + at), 0);
		cr_assert_eq(pmem_msync(p, 100000), 0);
		cr_assert_eq(pmem_msync(p + 5, 0), 0);
		cr_assert_eq(pmem_unmap(p, 100000), 0);
		errno = 0;
		cr_assert_eq(pmem_msync(p, 100000), -1);
		cr_assert_eq(errno, ENOMEM);
		cr_assert(strncmp(pmem_errormsg(), "msync: ", 7) == 0, "%s", pmem_errormsg());
	});
	cr_assert_eq(pmem_msync(NULL, 1), -1);
	cr_assert_eq(errno, ENOMEM);
	cr_assert_eq(pmem_msync(NULL, 0), 0);
}

Test(api_pmem_map, deep_functions_work_by_msync_elsewhere)
{
	EACH_PLACE({
		char *p = mapped(file_path("file"), 100000, CREATE, 100000);

		p[99999] = 1;
		cr_assert_eq(pmem_deep_persist(p, 100000), 0);
		cr_assert_eq(pmem_deep_persist(p + 4097, 3), 0);
		pmem_deep_flush(p, 100000);
		cr_assert_eq(pmem_deep_drain(p, 100000), 0);
		cr_assert_eq(pmem_unmap(p, 100000), 0);
		errno = 0;
		cr_assert_eq(pmem_deep_drain(p, 100000), -1);
		cr_assert_eq(errno, ENOMEM);
		cr_assert_eq(pmem_deep_drain(p, 0), 0);
		cr_assert_eq(pmem_deep_persist(p, 0), 0);
	});
	char *anonymous = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert_eq(pmem_deep_persist(anonymous, 8192), 0);
}

Test(api_pmem_map, no_hardware_drain)
{
	cr_assert_eq(pmem_has_hw_drain(), 0);
	pmem_drain();
}

Test(api_pmem_map, auto_flush_is_answered)
{
	int answer;

	errno = 4242;
	answer = pmem_has_auto_flush();
	cr_assert(answer == 0 || answer == 1);
	cr_assert_eq(errno, 4242);
	cr_assert_eq(pmem_has_auto_flush(), answer);
}

/* --- versions and messages ------------------------------------------------------------------------------------------ */

Test(api_pmem_map, versions)
{
	cr_assert_str_eq(pmem_errormsg(), "");
	errno = 4242;
	cr_assert_null(pmem_check_version(PMEM_MAJOR_VERSION, PMEM_MINOR_VERSION));
	cr_assert_null(pmem_check_version(1, 0));
	cr_assert_str_eq(pmem_errormsg(), "");
	cr_assert_eq(pmem_check_version(2, 0), pmem_errormsg());
	cr_assert_str_eq(pmem_errormsg(), "libpmem major version mismatch (need 2, found 1)");
	cr_assert_eq(pmem_check_version(0, 9), pmem_errormsg());
	cr_assert_str_eq(pmem_errormsg(), "libpmem major version mismatch (need 0, found 1)");
	cr_assert_eq(pmem_check_version(1, 2), pmem_errormsg());
	cr_assert_str_eq(pmem_errormsg(), "libpmem minor version mismatch (need 2, found 1)");
	cr_assert_eq(errno, 4242);
	cr_assert_null(pmem_check_version(1, 1)); /* success does not clear it */
	cr_assert_str_not_empty(pmem_errormsg());
}
