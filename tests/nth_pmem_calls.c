/* nth_pmem_calls.c -- libpmem's functions when a system call fails: each one that they make, one after the other
 *
 * What fails says so by errno and message, and leaves descriptors, mappings and files as they were (tests/fault_state.h).
 * What order the calls come in, and which of them programs may interpose, is tests/nth_pmem_map.c's business.
 */
#define _GNU_SOURCE
#include "tests/fault_state.h"
#include "tests/pmem_files.h"

#include <libpmem.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>

#define SIZE ((size_t)3 << 20)

static char *mapped;
static size_t mapped_size;
static int made_flags;

static void
begin(void)
{
	files_begin("/dev/shm");
}

static void
end(void)
{
	fprintf(stderr, "nth_pmem_calls: %u fault points tried\n", fault_points);
	files_end();
}

TestSuite(nth_pmem_calls, .init = begin, .fini = end);

static void
forget_message(void)
{
	pmem_check_version(77, 0);
}

/* --- mapping ---------------------------------------------------------------------------------------------------- */

static bool
map_new(void)
{
	mapped = pmem_map_file(file_path("new"), SIZE, made_flags, 0600, &mapped_size, NULL);
	return mapped != NULL;
}

static bool
map_nameless(void)
{
	mapped = pmem_map_file(files_dir, SIZE, made_flags, 0600, &mapped_size, NULL);
	return mapped != NULL;
}

static bool
map_old(void)
{
	mapped = pmem_map_file(file_path("old"), made_flags ? 2 * SIZE : 0, made_flags, 0600, &mapped_size, NULL);
	return mapped != NULL;
}

static void
make_old(void)
{
	const char *path = file_make("old", (off_t)SIZE);
	int fd = open(path, O_RDWR);

	cr_assert(fd >= 0 && ftruncate(fd, (off_t)SIZE) == 0);
	cr_assert_eq(pwrite(fd, "text", 4, 12345), 4);
	close(fd);
}

static void
use_and_unmap(bool succeeded)
{
	if (!succeeded)
		return;
	mapped[mapped_size - 1] = 1;
	pmem_persist(mapped, mapped_size);
	cr_assert_eq(pmem_unmap(mapped, mapped_size), 0, "%s", pmem_errormsg());
	unlink(file_path("new"));
}

/* A place that huge pages can map, the rest of a reservation, and whether the memory is persistent: done without. */
#define MAPPING_MAY_LACK "mmap of memory munmap madvise readlink access open openat read stat fstatat "

static void
mapping(const char *name, bool (*call)(void), int flags, void (*prepare)(void))
{
	made_flags = flags;
	fault_run(&(struct fault_scenario){.name = name,
					   .folder = files_dir,
					   .prepare = prepare,
					   .call = call,
					   .after = use_and_unmap,
					   .message = pmem_errormsg,
					   .forget_message = forget_message,
					   .may_fail = MAPPING_MAY_LACK});
}

Test(nth_pmem_calls, map_file)
{
	mapping("pmem_map_file, a new file", map_new, PMEM_FILE_CREATE, NULL);
	mapping("pmem_map_file, a new sparse file", map_new, PMEM_FILE_CREATE | PMEM_FILE_SPARSE, NULL);
	mapping("pmem_map_file, a new file and no other", map_new, PMEM_FILE_CREATE | PMEM_FILE_EXCL, NULL);
	mapping("pmem_map_file, a nameless file", map_nameless, PMEM_FILE_CREATE | PMEM_FILE_TMPFILE, NULL);
	mapping("pmem_map_file, a file that is there", map_old, 0, make_old);
	mapping("pmem_map_file, a file that grows", map_old, PMEM_FILE_CREATE, make_old);
}

/* --- use -------------------------------------------------------------------------------------------------------- */

static void
map_it(void)
{
	make_old();
	made_flags = 0;
	cr_assert(map_old(), "%s", pmem_errormsg());
}

static bool
unmap_it(void)
{
	return pmem_unmap(mapped, mapped_size) == 0;
}

static bool
msync_it(void)
{
	return pmem_msync(mapped, 5000) == 0;
}

static bool
deep_persist_it(void)
{
	return pmem_deep_persist(mapped + 100, 9000) == 0;
}

static bool
deep_drain_it(void)
{
	return pmem_deep_drain(mapped, mapped_size) == 0;
}

static bool
ask(void)
{
	pmem_has_auto_flush();
	pmem_has_hw_drain();
	return pmem_is_pmem(mapped, mapped_size) == 0;
}

static void
unmap_what_is_left(bool succeeded)
{
	(void)succeeded;
	/* an unmapping that failed has forgotten nothing, one that succeeded left nothing */
	munmap(mapped, mapped_size);
}

static void using(const char *name, bool (*call)(void), const char *(*message)(void), const char *may_fail)
{
	fault_run(&(struct fault_scenario){.name = name,
					   .folder = files_dir,
					   .prepare = map_it,
					   .call = call,
					   .after = unmap_what_is_left,
					   .message = message,
					   .forget_message = forget_message,
					   .may_fail = may_fail});
}

Test(nth_pmem_calls, what_is_done_with_a_mapping)
{
	using("pmem_unmap", unmap_it, pmem_errormsg, NULL);
	using("pmem_msync", msync_it, pmem_errormsg, NULL);
	using("pmem_deep_persist", deep_persist_it, pmem_errormsg, NULL);
	using("pmem_deep_drain", deep_drain_it, pmem_errormsg, NULL);
	using("pmem_has_auto_flush, pmem_is_pmem", ask, NULL, "open openat read access readlink mmap of memory ");
}

/* --- limits and signals ------------------------------------------------------------------------------------------ */

static void
refused_by_a_limit(int resource, rlim_t limit, int wanted)
{
	static struct fault_state before, after;
	struct rlimit old, low;
	bool ok;
	int error;

	made_flags = PMEM_FILE_CREATE;
	use_and_unmap(map_new()); /* what is made once is made */
	forget_message();
	fault_state_take(&before, files_dir, INT64_MAX);
	cr_assert_eq(getrlimit(resource, &old), 0);
	low = (struct rlimit){limit, old.rlim_max};
	cr_assert_eq(setrlimit(resource, &low), 0);
	signal(SIGXFSZ, SIG_IGN);
	errno = 0;
	ok = map_new();
	error = errno;
	cr_assert_eq(setrlimit(resource, &old), 0);
	cr_assert_not(ok);
	cr_expect_eq(error, wanted, "errno %d", error);
	cr_expect_not_null(strstr(pmem_errormsg(), strerror(wanted)), "%s", pmem_errormsg());
	fault_state_take(&after, files_dir, INT64_MAX);
	fault_state_compare(&before, &after, true, "a limit");
	cr_assert(map_new());
	use_and_unmap(true);
}

Test(nth_pmem_calls, limit_of_descriptors)
{
	refused_by_a_limit(RLIMIT_NOFILE, 0, EMFILE);
}

Test(nth_pmem_calls, limit_of_file_sizes)
{
	refused_by_a_limit(RLIMIT_FSIZE, SIZE / 2, EFBIG);
}

static volatile sig_atomic_t signals;

static void
count_signal(int signo)
{
	(void)signo;
	signals++;
}

Test(nth_pmem_calls, signals_all_the_time)
{
	struct sigaction action = {.sa_handler = count_signal}; /* no SA_RESTART: calls end in EINTR */
	struct itimerval every = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
	unsigned rounds = 0, interrupted = 0;

	cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
	cr_assert_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
	made_flags = PMEM_FILE_CREATE;
	for (; signals < 300 && rounds < 200000; rounds++) {
		bool ok = map_new();

		if (!ok) { /* posix_fallocate(3) may be cut short: told, and nothing is left */
			interrupted++;
			cr_assert_eq(errno, EINTR, "%s", pmem_errormsg());
			cr_assert_eq(entries_in_dir(), 0);
		}
		use_and_unmap(ok);
	}
	cr_assert_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	fprintf(stderr, "signals_all_the_time: %d signals in %u rounds, %u told of EINTR\n", (int)signals, rounds,
		interrupted);
	cr_expect_geq(signals, 300);
}
