/* api_vmem_load.c -- libvmem from outside: dlopen, the static archive, its environment, the debug build's traces */
#define _GNU_SOURCE
#include <criterion/criterion.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libvmem.h"

#define LIBRARY TEST_BUILD "/lib/libvmem.so.1"
#ifdef PMHEAP_DEBUG
#define DEBUG_LIBRARY LIBRARY
#else
#define DEBUG_LIBRARY TEST_BUILD "/lib/pmdk_debug/libvmem.so.1"
#endif
#define PROGRAM TEST_BUILD "/tests/programs/vmem_calls"

static char text[262144];

static const char *
test_dir(void)
{
	return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

/* Runs a shell command; its status, and what it wrote to both outputs in `text`. */
static int
run(const char *command)
{
	char whole[2048];
	size_t n;
	FILE *pipe;
	int status;

	snprintf(whole, sizeof(whole), "{ %s; } 2>&1", command);
	pipe = popen(whole, "r");
	cr_assert_not_null(pipe);
	n = fread(text, 1, sizeof(text) - 1, pipe);
	text[n] = '\0';
	status = pclose(pipe);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void
read_text(const char *path)
{
	FILE *file = fopen(path, "r");
	size_t n;

	cr_assert_not_null(file, "%s: %s", path, strerror(errno));
	n = fread(text, 1, sizeof(text) - 1, file);
	text[n] = '\0';
	fclose(file);
}

static bool
has(const char *part)
{
	return strstr(text, part) != NULL;
}

static void
need_debug_library(void)
{
	if (access(DEBUG_LIBRARY, R_OK) != 0)
		cr_skip_test("this configuration builds no debug library");
}

/* --- dlopen --------------------------------------------------------------------------------------------------- */

static void *(*malloc_fn)(VMEM *vmp, size_t size);
static pthread_barrier_t barrier;

static void *
use_then_wait(void *vmp)
{
	void *p = malloc_fn(vmp, 100);

	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return p; /* its cache goes back after dlclose */
}

Test(api_vmem_load, a_thread_may_end_after_dlclose)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL), *result;
	VMEM *(*create)(const char *, size_t);
	pthread_t id;
	VMEM *vmp;

	cr_assert_not_null(library, "%s", dlerror());
	create = (VMEM * (*)(const char *, size_t)) dlsym(library, "vmem_create");
	malloc_fn = (void *(*)(VMEM *, size_t))dlsym(library, "vmem_malloc");
	cr_assert(create != NULL && malloc_fn != NULL);
	vmp = create(test_dir(), VMEM_MIN_POOL);
	cr_assert_not_null(vmp);
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&id, NULL, use_then_wait, vmp);
	pthread_barrier_wait(&barrier);
	dlclose(library);
	pthread_barrier_wait(&barrier);
	pthread_join(id, &result);
	cr_expect_not_null(result);
}

Test(api_vmem_load, names_have_their_version)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	cr_assert_not_null(library, "%s", dlerror());
	cr_expect_not_null(dlvsym(library, "vmem_malloc", "LIBVMEM_1.0"));
	cr_expect_null(dlsym(library, "heap_create"), "nothing else is visible");
}

/* --- programs ------------------------------------------------------------------------------------------------- */

Test(api_vmem_load, a_program_prints_nothing)
{
	char command[512];

	snprintf(command, sizeof(command), "VMEM_LOG_LEVEL=0 " PROGRAM " calls %s", test_dir());
	cr_expect_eq(run(command), 0);
	cr_expect_str_eq(text, "");
}

Test(api_vmem_load, the_static_archive_does_the_same)
{
	char command[512];

	snprintf(command, sizeof(command), PROGRAM "_static calls %s", test_dir());
	cr_expect_eq(run(command), 0);
	cr_expect_str_eq(text, "");
}

Test(api_vmem_load, the_hint_pins_the_lowest_address)
{
	char command[512];
	unsigned long a, b, c;

	snprintf(command, sizeof(command), "PMEM_MMAP_HINT=10000123456 " PROGRAM " hint %s", test_dir());
	cr_expect_eq(run(command), 0);
	cr_assert_eq(sscanf(text, "%lx %lx %lx", &a, &b, &c), 3, "%s", text);
	cr_expect_eq(a, 0x10000400000, "%s", text); /* the next multiple of 4 MiB */
	cr_expect_eq(b, 0x10001400000, "%s", text); /* 14 MiB are taken: the first gap behind */
	cr_expect_eq(c, 0x10002400000, "%s", text);
}

Test(api_vmem_load, a_hint_that_is_no_number_is_none)
{
	char command[512];
	unsigned long a;

	snprintf(command, sizeof(command), "PMEM_MMAP_HINT=junk " PROGRAM " hint %s", test_dir());
	cr_expect_eq(run(command), 0);
	cr_assert_eq(sscanf(text, "%lx", &a), 1);
	cr_expect_neq(a, 0);
	cr_expect_eq(a % (4 << 20), 0);
}

/* --- traces --------------------------------------------------------------------------------------------------- */

Test(api_vmem_load, release_builds_ignore_the_log_variables)
{
	char path[] = "/tmp/pmheap-log-XXXXXX", command[512];
	int fd = mkstemp(path);

#ifdef PMHEAP_DEBUG
	close(fd);
	unlink(path);
	cr_skip_test("this configuration builds debug libraries only");
#endif
	unlink(path);
	close(fd);
	snprintf(command, sizeof(command), "VMEM_LOG_LEVEL=4 VMEM_LOG_FILE=%s " PROGRAM " calls %s", path, test_dir());
	cr_expect_eq(run(command), 0);
	cr_expect_str_eq(text, "");
	cr_expect_neq(access(path, F_OK), 0);
}

/* A line has the grammar  <lib>: <level> [file:line function] message. */
static bool
line_is_well_formed(const char *line, const char *end)
{
	char copy[8193], file[64], function[64];
	int number, level, tail = 0;
	size_t n = (size_t)(end - line);

	if (n >= sizeof(copy))
		return false;
	memcpy(copy, line, n);
	copy[n] = '\0';
	return sscanf(copy, "<libvmem>: <%d> [%63[^:]:%d %63[^]]] %n", &level, file, &number, function, &tail) == 4 &&
	    tail > 0 && level >= 1 && level <= 4 && number > 0 && strchr(file, '/') == NULL;
}

Test(api_vmem_load, traces_follow_the_grammar)
{
	static const char *const wanted[] = {
		"out_init] pid ", " out_init] libvmem version 1.1\n", " out_init] src version: ",
		"vmem_create] dir \"", "vmem_check] vmp 0x", "vmem_malloc] vmp 0x", " size 4321\n",
		"vmem_calloc] vmp 0x", " nmemb 3 size 7\n", "vmem_realloc] vmp 0x", " size 5432\n",
		"vmem_free] vmp 0x", "vmem_aligned_alloc] vmp 0x", " alignment 128 size 99\n",
		"vmem_malloc_usable_size] vmp 0x", "vmem_strdup] vmp 0x", "vmem_wcsdup] vmp 0x", "vmem_delete] vmp 0x",
		"vmem_pool_invalid] invalid pool handle: 0x",
	};
	char path[] = "/tmp/pmheap-log-XXXXXX", command[512];
	const char *line;

	need_debug_library();
	close(mkstemp(path));
	snprintf(command, sizeof(command), "LD_PRELOAD=" DEBUG_LIBRARY " VMEM_LOG_LEVEL=3 VMEM_LOG_FILE=%s " PROGRAM
	    " calls %s", path, test_dir());
	cr_expect_eq(run(command), 0);
	cr_expect_str_eq(text, "");
	read_text(path);
	unlink(path);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		cr_expect(has(wanted[i]), "no line has %s", wanted[i]);
	for (line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
		cr_assert_not_null(strchr(line, '\n'), "the last line ends");
		cr_assert(line_is_well_formed(line, strchr(line, '\n')), "%.100s", line);
	}
}

Test(api_vmem_load, level_1_shows_errors_only_and_0_nothing)
{
	char command[512];

	need_debug_library();
	snprintf(command, sizeof(command), "LD_PRELOAD=" DEBUG_LIBRARY " VMEM_LOG_LEVEL=1 " PROGRAM " calls %s",
	    test_dir());
	cr_expect_eq(run(command), 0);
	cr_expect(has("<libvmem>: <1> ") && has("invalid pool handle: 0x"));
	cr_expect_not(has("<libvmem>: <3> "));
	snprintf(command, sizeof(command), "LD_PRELOAD=" DEBUG_LIBRARY " VMEM_LOG_LEVEL=-5 " PROGRAM " calls %s",
	    test_dir());
	cr_expect_eq(run(command), 0);
	cr_expect_str_eq(text, "");
}

Test(api_vmem_load, statistics_go_to_the_log_without_a_prefix)
{
	char command[512];

	need_debug_library();
	snprintf(command, sizeof(command), "LD_PRELOAD=" DEBUG_LIBRARY " VMEM_LOG_LEVEL=0 " PROGRAM " stats %s",
	    test_dir());
	cr_expect_eq(run(command), 0);
	cr_expect_eq(strncmp(text, "___ Begin jemalloc statistics ___\n", 34), 0, "%s", text);
}

Test(api_vmem_load, prefixes_can_be_padded)
{
	char command[512];

	need_debug_library();
	snprintf(command, sizeof(command), "PMDK_LOG_ALIGN=80 LD_PRELOAD=" DEBUG_LIBRARY " VMEM_LOG_LEVEL=1 " PROGRAM
	    " calls %s", test_dir());
	cr_expect_eq(run(command), 0);
	cr_expect_eq(strncmp(text + 80, "pid ", 4), 0, "%s", text);
	cr_expect_eq(text[79], ' ');
}

Test(api_vmem_load, a_name_that_ends_in_a_minus_gets_the_pid)
{
	char dir[] = "/tmp/pmheap-log-XXXXXX", command[512];
	unsigned long pid;
	char name[64];

	need_debug_library();
	cr_assert_not_null(mkdtemp(dir));
	snprintf(command, sizeof(command), "LD_PRELOAD=" DEBUG_LIBRARY " VMEM_LOG_LEVEL=1 VMEM_LOG_FILE=%s/log- " PROGRAM
	    " calls %s; ls %s; cat %s/log-*; rm -r %s", dir, test_dir(), dir, dir, dir);
	cr_expect_eq(run(command), 0);
	cr_assert_eq(sscanf(text, "log-%lu", &pid), 1, "%s", text);
	snprintf(name, sizeof(name), "out_init] pid %lu: program: ", pid);
	cr_expect(has(name), "%s", text);
}

Test(api_vmem_load, a_log_that_cannot_be_opened_ends_the_program)
{
	char command[512];

	need_debug_library();
	snprintf(command, sizeof(command), "VMEM_LOG_FILE=/no/such/dir/log LD_PRELOAD=" DEBUG_LIBRARY " " PROGRAM
	    " calls %s", test_dir());
	cr_expect_neq(run(command), 0);
	cr_expect(has("Error (libvmem): VMEM_LOG_FILE=/no/such/dir/log: No such file or directory\n"), "%s", text);
}
