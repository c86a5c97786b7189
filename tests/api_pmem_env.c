/* api_pmem_env.c -- the environment: forced answers, hints, engines by name, persistent caches; and being loaded
 *
 * Each test starts a program that a user might have built. Which routine serves is read from the debug build's trace.
 */
#define _GNU_SOURCE
#include "tests/pmem_run.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <sys/resource.h>

#include "tests/pmem_files.h"

#define IS_OUTPUT(expected, run_) \
	do { \
		const struct pmem_run *r_ = run_; \
\
		cr_assert_eq(r_->status, 0, "status %d: %s", r_->status, r_->err); \
		cr_assert_str_eq(r_->out, expected); \
		cr_assert_str_empty(r_->err); \
	} while (0)

/* --- PMEM_IS_PMEM_FORCE --------------------------------------------------------------------------------------------- */

Test(api_pmem_env, is_pmem_can_be_forced)
{
	IS_OUTPUT("0 0 0\n0\n", pmem_run(PMEM_RELEASE, NULL, "is_pmem"));
	IS_OUTPUT("1 0 1\n1\n", pmem_run(PMEM_RELEASE, LIST("PMEM_IS_PMEM_FORCE=1"), "is_pmem"));
	IS_OUTPUT("1 0 1\n1\n", pmem_run(PMEM_RELEASE, LIST("PMEM_IS_PMEM_FORCE=01"), "is_pmem"));
	IS_OUTPUT("1 0 1\n1\n", pmem_run(PMEM_RELEASE, LIST("PMEM_IS_PMEM_FORCE= 1x"), "is_pmem"));
	IS_OUTPUT("0 0 0\n0\n", pmem_run(PMEM_RELEASE, LIST("PMEM_IS_PMEM_FORCE=0"), "is_pmem"));
	IS_OUTPUT("0 0 0\n0\n", pmem_run(PMEM_RELEASE, LIST("PMEM_IS_PMEM_FORCE=2"), "is_pmem"));
}

Test(api_pmem_env, the_first_question_reads_the_environment)
{
	IS_OUTPUT("1\n1\n", pmem_run(PMEM_RELEASE, LIST("PMEM_IS_PMEM_FORCE=0"), "is_pmem_set", "1"));
	IS_OUTPUT("0\n0\n", pmem_run(PMEM_RELEASE, LIST("PMEM_IS_PMEM_FORCE=1"), "is_pmem_set", "0"));
}

Test(api_pmem_env, threads_that_ask_first_agree)
{
	IS_OUTPUT("16\n", pmem_run(PMEM_RELEASE, LIST("PMEM_IS_PMEM_FORCE=1"), "is_pmem_threads"));
	IS_OUTPUT("0\n", pmem_run(PMEM_RELEASE, NULL, "is_pmem_threads"));
}

/* map_file asks, too, and what it says is forced as well. 0 as text or nothing at all: never */
Test(api_pmem_env, forced_for_mapped_files)
{
	const struct pmem_run *run;

	files_begin("/tmp");
	run = pmem_run(PMEM_RELEASE, LIST("PMEM_IS_PMEM_FORCE=1"), "map", file_path("file"), "40000");
	cr_assert_not_null(strstr(run->out, " 40000 1 1\n"), "%s", run->out);
	run = pmem_run(PMEM_RELEASE, LIST("PMEM_IS_PMEM_FORCE="), "map", file_path("file"), "40000");
	cr_assert_not_null(strstr(run->out, " 40000 0 0\n"), "%s", run->out);
	files_end();
}

/* --- PMEM_MMAP_HINT ------------------------------------------------------------------------------------------------- */

static unsigned long long
address_with(const char *hint, const char *len)
{
	const struct pmem_run *run = pmem_run(PMEM_RELEASE, hint != NULL ? LIST(hint) : NULL, "map", file_path("file"), len);
	unsigned long long address = 0;

	cr_assert_eq(sscanf(run->out, "0x%llx", &address), 1, "%s", run->out);
	return address;
}

Test(api_pmem_env, hints_choose_the_address)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	cr_skip_test("the sanitizer's own memory lies at the addresses of this test");
#endif
	files_begin("/tmp");
	cr_assert_eq(address_with("PMEM_MMAP_HINT=10000000000", "8192"), 0x10000000000ull);
	cr_assert_eq(address_with("PMEM_MMAP_HINT=0x10000000000", "8192"), 0x10000000000ull);
	cr_assert_eq(address_with("PMEM_MMAP_HINT=10000000000junk", "8192"), 0x10000000000ull);
	cr_assert_eq(address_with("PMEM_MMAP_HINT=10000000001", "8192"), 0x10000200000ull);
	cr_assert_eq(address_with("PMEM_MMAP_HINT=10000000001", "2147483648"), 0x10040000000ull);
	cr_assert_eq(address_with("PMEM_MMAP_HINT=0", "8192"), 0x200000ull);
	cr_assert_eq(address_with("PMEM_MMAP_HINT=1234", "8192"), 0x200000ull);
	files_end();
}

Test(api_pmem_env, hints_that_are_none_are_ignored)
{
	files_begin("/tmp");
	cr_assert_gt(address_with("PMEM_MMAP_HINT=xyz", "8192"), 0x10000000000ull);
	cr_assert_gt(address_with("PMEM_MMAP_HINT=", "8192"), 0x10000000000ull);
	cr_assert_gt(address_with("PMEM_MMAP_HINT=123456789abcdef0123", "8192"), 0x10000000000ull);
	files_end();
}

Test(api_pmem_env, a_hint_at_the_end_of_all_addresses_fails)
{
	const struct pmem_run *run;

	files_begin("/tmp");
	run = pmem_run(PMEM_RELEASE, LIST("PMEM_MMAP_HINT=ffffffffffe00001"), "map", file_path("file"), "8192");
	cr_assert_eq(atoi(run->out), ENOMEM, "%s", run->out);
	cr_assert_not(file_exists(file_path("file")));
	files_end();
}

/* --- engines -------------------------------------------------------------------------------------------------------- */

#if defined(__x86_64__)

static bool
cpu_has(const char *flag)
{
	char line[8192], *at;
	FILE *f = fopen("/proc/cpuinfo", "r");
	bool found = false;
	size_t n = strlen(flag);

	while (!found && fgets(line, sizeof(line), f) != NULL)
		for (at = strncmp(line, "flags", 5) == 0 ? line : NULL; at != NULL && (at = strstr(at, flag)) != NULL; at += n)
			found |= at[-1] == ' ' && (at[n] == ' ' || at[n] == '\n');
	fclose(f);
	return found;
}

/* With that environment (up to three settings) and copy arguments, the trace shows routine `expected`. */
static void
routine(const char *expected, const char *size, const char *flags, const char *a, const char *b, const char *c)
{
	const char *const env[] = {"PMEM_LOG_LEVEL=15", a != NULL ? a : "A=1", b != NULL ? b : "B=1", c != NULL ? c : "C=1", NULL};
	const struct pmem_run *run = pmem_run(PMEM_DEBUG, env, "copy", size, flags);
	char wanted[100];

	cr_assert_eq(run->status, 0);
	cr_assert_str_eq(run->out, "ok\nok\n");
	snprintf(wanted, sizeof(wanted), " memmove_%s] ", expected);
	cr_assert_not_null(strstr(run->err, wanted), "no %s with %s %s %s:\n%.3000s", wanted, env[1], env[2], env[3], run->err);
	snprintf(wanted, sizeof(wanted), " memset_%s] ", expected);
	cr_assert_not_null(strstr(run->err, wanted), "no %s", wanted);
}

Test(api_pmem_env, every_engine_can_be_chosen)
{
	static const char *const engines[][3] = {
		{"sse2", "PMEM_AVX=0", "PMEM_AVX512F=0"}, {"avx", "PMEM_AVX512F=0", NULL}, {"avx512f", NULL, NULL},
	};
	char expected[64];

	need_debug_build();
	for (int i = 0; i < 3; i++) {
		if (i > 0 && !cpu_has(engines[i][0])) {
			cr_log_info("this CPU has no %s", engines[i][0]);
			continue;
		}
		for (int kind = 0; kind < 3; kind++) {
			static const char *const kinds[][2] = {
				{"clflush", "PMEM_NO_CLFLUSHOPT=1"}, {"clflushopt", "PMEM_NO_CLWB=1"}, {"clwb", NULL},
			};

			if ((kind >= 1 && !cpu_has("clflushopt")) || (kind == 2 && !cpu_has("clwb")))
				continue;
			setenv("PMEM_NO_CLWB", kind < 2 ? "1" : "0", 1);
			snprintf(expected, sizeof(expected), "mov_%s_%s", engines[i][0], kinds[kind][0]);
			routine(expected, "300", "4", engines[i][1], engines[i][2], kinds[kind][1]);
			snprintf(expected, sizeof(expected), "mov_%s_noflush", engines[i][0]);
			routine(expected, "300", "32", engines[i][1], engines[i][2], kinds[kind][1]);
			setenv("PMEM_WC_WORKAROUND", "1", 1);
			snprintf(expected, sizeof(expected), "movnt_%s_%s%s", engines[i][0], kinds[kind][0], i < 2 ? "_wcbarrier" : "");
			routine(expected, "300", "2", engines[i][1], engines[i][2], kinds[kind][1]);
			setenv("PMEM_WC_WORKAROUND", "0", 1);
			snprintf(expected, sizeof(expected), "movnt_%s_%s%s", engines[i][0], kinds[kind][0], i < 2 ? "_nobarrier" : "");
			routine(expected, "300", "2", engines[i][1], engines[i][2], kinds[kind][1]);
		}
	}
}

Test(api_pmem_env, the_generic_engine_and_libc)
{
	need_debug_build();
	routine("mov_generic_clflush", "300", "0", "PMEM_NO_MOVNT=1", "PMEM_NO_CLWB=1", "PMEM_NO_CLFLUSHOPT=1");
	setenv("PMEM_NO_CLWB", "1", 1);
	routine("libc_clflush", "300", "0", "PMEM_NO_MOVNT=1", "PMEM_NO_GENERIC_MEMCPY=1", "PMEM_NO_CLFLUSHOPT=1");
}

Test(api_pmem_env, persistent_caches)
{
	need_debug_build();
	setenv("PMEM_AVX512F", "0", 1);
	setenv("PMEM_AVX", "0", 1);
	routine("mov_sse2_empty", "256", "0", "PMEM_NO_FLUSH=1", NULL, NULL);
	routine("mov_sse2_empty", "16777216", "0", "PMEM_NO_FLUSH=1", NULL, NULL);
	routine("mov_sse2_empty", "256", "8", "PMEM_NO_FLUSH=1", NULL, NULL); /* WC */
	routine("movnt_sse2_empty_nobarrier", "256", "2", "PMEM_NO_FLUSH=1", "PMEM_WC_WORKAROUND=0", NULL);
	routine("mov_sse2_noflush", "256", "34", "PMEM_NO_FLUSH=1", NULL, NULL);
}

Test(api_pmem_env, the_threshold_rules)
{
	need_debug_build();
	setenv("PMEM_AVX512F", "0", 1);
	setenv("PMEM_AVX", "0", 1);
	setenv("PMEM_NO_CLWB", "1", 1);
	setenv("PMEM_NO_CLFLUSHOPT", "1", 1);
	setenv("PMEM_WC_WORKAROUND", "0", 1);
	routine("mov_sse2_clflush", "1023", "0", "PMEM_MOVNT_THRESHOLD=1024", NULL, NULL);
	routine("movnt_sse2_clflush_nobarrier", "1024", "0", "PMEM_MOVNT_THRESHOLD=1024", NULL, NULL);
	routine("movnt_sse2_clflush_nobarrier", "1", "0", "PMEM_MOVNT_THRESHOLD=0", NULL, NULL);
	routine("mov_sse2_clflush", "99999", "0", "PMEM_MOVNT_THRESHOLD=1000000", NULL, NULL);
	routine("movnt_sse2_clflush_nobarrier", "4096", "0", "PMEM_MOVNT_THRESHOLD=-15", NULL, NULL);
}
#endif

Test(api_pmem_env, all_functions_work_with_every_engine)
{
	static const char *const settings[] = {"A=1", "PMEM_AVX512F=0", "PMEM_AVX=0", "PMEM_NO_MOVNT=1", "PMEM_NO_FLUSH=1",
		"PMEM_NO_CLWB=1", "PMEM_NO_CLFLUSHOPT=1", "PMEM_MOVNT_THRESHOLD=0", "PMEM_MOVNT_THRESHOLD=99999",
		"PMEM_WC_WORKAROUND=1", "PMEM_NO_GENERIC_MEMCPY=1"};

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		for (size_t j = i; j < sizeof(settings) / sizeof(settings[0]); j += 2)
			IS_OUTPUT("ok\n", pmem_run(PMEM_RELEASE, LIST(settings[i], settings[j]), "sweep"));
}

/* --- persistent caches by sysfs ------------------------------------------------------------------------------------- */

/* A region<N> as the kernel shows it; in a private view of /sys/bus/nd/devices. */
static bool
show_region(const char *text)
{
	FILE *f;

	mkdir(file_path("devices"), 0755);
	mkdir(file_path("region0.real"), 0755);
	cr_assert_eq(symlink(file_path("region0.real"), file_path("devices/region0")), 0);
	f = fopen(file_path("region0.real/persistence_domain"), "w");
	fputs(text, f);
	fclose(f);
	return pmem_run_bind(file_path("devices"), "/sys/bus/nd/devices");
}

static void
auto_flush_shown(const char *text, const char *expected, const char *routine_shown)
{
	const struct pmem_run *run;

	if (access("/sys/bus/nd/devices", F_OK) != 0)
		cr_skip_test("this kernel has no /sys/bus/nd/devices to put a view over");
	files_begin("/tmp");
	if (!show_region(text))
		cr_skip_test("a private view of /sys needs privileges: %s", strerror(errno));
	run = pmem_run(PMEM_RELEASE, NULL, "auto_flush");
	cr_assert(strncmp(run->out, expected, strlen(expected)) == 0, "%s instead of %s", run->out, expected);
	run = pmem_run(PMEM_RELEASE, LIST("PMEM_NO_FLUSH=0"), "auto_flush"); /* the answer does not depend on it */
	cr_assert(strncmp(run->out, expected, strlen(expected)) == 0, "%s instead of %s", run->out, expected);
	if (access(PMEM_DEBUG "/libpmem.so.1", F_OK) == 0) {
		run = pmem_run(PMEM_DEBUG, LIST("PMEM_LOG_LEVEL=3"), "nothing");
		cr_assert_not_null(strstr(run->err, "flush: "));
		cr_assert_eq(strstr(run->err, "flush: empty") != NULL, strcmp(routine_shown, "empty") == 0, "%s", run->err);
	}
	files_end();
}

Test(api_pmem_env, caches_are_persistent)
{
	auto_flush_shown("cpu_cache\n", "1 0\n", "empty");
}

Test(api_pmem_env, caches_are_not_persistent)
{
	auto_flush_shown("memory_controller\n", "0 0\n", "some");
}

Test(api_pmem_env, it_cannot_be_told)
{
	char expected[32];

	snprintf(expected, sizeof(expected), "-1 %d\ncannot tell", EIO);
	auto_flush_shown("", expected, "some");
}

/* --- loading -------------------------------------------------------------------------------------------------------- */

Test(api_pmem_env, works_before_any_constructor)
{
	const struct pmem_run *run;

	IS_OUTPUT("ok 0 0\n", pmem_run(PMEM_RELEASE, NULL, "early"));
	IS_OUTPUT("ok 0 0\n", pmem_run(PMEM_RELEASE, LIST("PMEM_NO_MOVNT=1"), "early"));
	/* so early there is no environment yet; what it says counts once it is there */
	IS_OUTPUT("ok 0 1\n", pmem_run(PMEM_RELEASE, LIST("PMEM_IS_PMEM_FORCE=1"), "early"));
	need_debug_build();
	run = pmem_run(PMEM_DEBUG, LIST("PMEM_NO_MOVNT=1", "PMEM_LOG_LEVEL=3"), "early");
	cr_assert_not_null(strstr(run->err, "copy: generic"), "%s", run->err);
}

static int directory_changes;

int
chdir(const char *path)
{
	(void)path;
	directory_changes++;
	errno = EPERM;
	return -1;
}

int
fchdir(int fd)
{
	(void)fd;
	directory_changes++;
	errno = EPERM;
	return -1;
}

/* Loaded and unloaded again and again: errno, directory, open files and the number of mappings stay. */
Test(api_pmem_env, loading_leaves_the_process_alone)
{
	int files = open_files();
	void *library;

	for (int i = 0; i < 50; i++) {
		const char *(*check_version)(unsigned, unsigned);

		errno = 4242;
		library = dlopen(PMEM_RELEASE "/libpmem.so.1", RTLD_NOW);
		cr_assert_not_null(library, "%s", dlerror());
		cr_assert_eq(errno, 4242);
		*(void **)&check_version = dlsym(library, "pmem_check_version");
		cr_assert_null(check_version(1, 1));
		cr_assert_not_null(check_version(2, 1));
		cr_assert_eq(dlclose(library), 0);
		cr_assert_eq(open_files(), files);
	}
	cr_assert_eq(directory_changes, 0);
}

/* --- the debug build's lines ------------------------------------------------------------------------------------------ */

Test(api_pmem_env, debug_lines_have_their_form)
{
	const struct pmem_run *run;
	char expected[200], *line;

	need_debug_build();
	run = pmem_run(PMEM_DEBUG, LIST("PMEM_LOG_LEVEL=1"), "version");
	cr_assert_str_eq(run->out, "libpmem major version mismatch (need 9, found 1)\n");
	snprintf(expected, sizeof(expected), "pid %d: program: " PMEM_CALLS "\n", run->pid);
	cr_assert_not_null(strstr(run->err, expected), "%s", run->err);
	cr_assert(strncmp(run->err, "<libpmem>: <1> [out.c:", 22) == 0, "%s", run->err);
	line = strchr(run->err, '\n') + 1;
	cr_assert(strncmp(line, "<libpmem>: <1> [out.c:", 22) == 0, "%s", line);
	cr_assert_not_null(strstr(line, "] libpmem version 1.1\n"), "%s", line);
	line = strchr(line, '\n') + 1;
	cr_assert(strncmp(line, "<libpmem>: <1> [out.c:", 22) == 0, "%s", line);
	cr_assert_not_null(strstr(line, "] src version: "), "%s", line);
	line = strchr(line, '\n') + 1;
	cr_assert_not_null(strstr(line, "<libpmem>: <1> [pmem.c:"), "%s", line);
	cr_assert_not_null(strstr(line, " pmem_check_version] libpmem major version mismatch (need 9, found 1)\n"), "%s", line);
	cr_assert_eq(strchr(line, '\n')[1], '\0', "more lines than one error: %s", line);
}

Test(api_pmem_env, debug_levels_and_alignment)
{
	const struct pmem_run *run;

	need_debug_build();
	IS_OUTPUT("", pmem_run(PMEM_DEBUG, NULL, "nothing"));
	IS_OUTPUT("", pmem_run(PMEM_DEBUG, LIST("PMEM_LOG_LEVEL=-3"), "nothing"));
	IS_OUTPUT("", pmem_run(PMEM_DEBUG, LIST("PMEM_LOG_LEVEL=x"), "nothing"));
	run = pmem_run(PMEM_DEBUG, LIST("PMEM_LOG_LEVEL=3"), "version");
	cr_assert_not_null(strstr(run->err, " pmem_init] \n"), "%s", run->err); /* TEXT may be empty */
	cr_assert_not_null(strstr(run->err, " pmem_fini] \n"), "%s", run->err);
	cr_assert_not_null(strstr(run->err, " pmem_check_version] major_required 9 minor_required 0\n"), "%s", run->err);
	run = pmem_run(PMEM_DEBUG, LIST("PMEM_LOG_LEVEL=1", "PMDK_LOG_ALIGN=60"), "version");
	for (const char *line = run->err; *line != '\0'; line = strchr(line, '\n') + 1)
		cr_assert(line[59] == ' ' && line[60] != ' ' && line[60] != '\n', "%s", line);
}

Test(api_pmem_env, debug_file)
{
	char setting[200], path[300];
	const struct pmem_run *run;

	need_debug_build();
	files_begin("/tmp");
	snprintf(setting, sizeof(setting), "PMEM_LOG_FILE=%s", file_path("log"));
	IS_OUTPUT("", pmem_run(PMEM_DEBUG, LIST("PMEM_LOG_LEVEL=1", setting), "nothing"));
	cr_assert_gt(file_stat(file_path("log")).st_size, 100);
	snprintf(setting, sizeof(setting), "PMEM_LOG_FILE=%s", file_path("log-"));
	run = pmem_run(PMEM_DEBUG, LIST("PMEM_LOG_LEVEL=1", setting), "nothing");
	snprintf(path, sizeof(path), "log-%d", run->pid);
	cr_assert_gt(file_stat(file_path(path)).st_size, 100);
	snprintf(setting, sizeof(setting), "PMEM_LOG_FILE=%s", file_path("no/log"));
	run = pmem_run(PMEM_DEBUG, LIST("PMEM_LOG_LEVEL=1", setting), "nothing");
	cr_assert_eq(run->status, 128 + 6);
	snprintf(path, sizeof(path), "Error (libpmem): %s: No such file or directory\n", setting);
	cr_assert_str_eq(run->err, path);
	files_end();
}

Test(api_pmem_env, release_builds_never_log)
{
	char setting[200];

#ifdef PMHEAP_DEBUG
	cr_skip_test("this configuration builds debug libraries only");
#endif
	files_begin("/tmp");
	snprintf(setting, sizeof(setting), "PMEM_LOG_FILE=%s", file_path("log"));
	IS_OUTPUT("ok\nok\n", pmem_run(PMEM_RELEASE, LIST("PMEM_LOG_LEVEL=15", setting), "copy", "300", "0"));
	cr_assert_not(file_exists(file_path("log")));
	files_end();
}

/* Flags of other libraries are let through; the debug build notes them. */
Test(api_pmem_env, unknown_flags_are_ignored)
{
	const struct pmem_run *run;

	IS_OUTPUT("ok\nok\n", pmem_run(PMEM_RELEASE, NULL, "copy", "300", "0x80000000"));
	need_debug_build();
	run = pmem_run(PMEM_DEBUG, LIST("PMEM_LOG_LEVEL=1"), "copy", "300", "0x80000000");
	cr_assert_str_eq(run->out, "ok\nok\n");
	cr_assert_not_null(strstr(run->err, "invalid flags 0x80000000"));
}

/* --- libpmemobj ------------------------------------------------------------------------------------------------------- */

static void
libpmemobj_on(const char *libdir, const char *place, const char *setting)
{
	char library[300];
	const struct pmem_run *run;

	files_begin(place);
	snprintf(library, sizeof(library), "%s/libpmem.so.1", libdir);
	run = pmem_run_in(libdir, setting != NULL ? LIST(setting) : NULL, LIST(TEST_BUILD "/tests/programs/pmemobj_tree",
		file_path("pool"), library));
	if (run->status == 77)
		cr_skip_test("%s", run->out);
	cr_assert_eq(run->status, 0, "%s%s", run->out, run->err);
	files_end();
}

Test(api_pmem_env, libpmemobj_runs_on_it)
{
	libpmemobj_on(PMEM_RELEASE, "/tmp", NULL);
	libpmemobj_on(PMEM_RELEASE, "/dev/shm", NULL);
	libpmemobj_on(PMEM_RELEASE, "/dev/shm", "PMEM_IS_PMEM_FORCE=1");
}

Test(api_pmem_env, libpmemobj_runs_on_the_debug_build)
{
	need_debug_build();
	libpmemobj_on(PMEM_DEBUG, "/dev/shm", "PMEM_IS_PMEM_FORCE=1");
}
