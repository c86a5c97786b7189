/* misuse_programs.c -- programs that misuse their pool, as they run: plain, hardened, under memcheck, with ASan
 *
 * Each misuse of tests/programs/vmem_misuse.c and cto_misuse.c must end the documented way (doc/limits.md): the line, the
 * signal. What goes unnoticed in a plain run is run too, so that the table in the page stays true.
 */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#else
#define ASAN 0
#endif

static char text[1 << 16];

/* Both streams in `text`; the wait status. */
static int
run(const char *harden, const char *wrapper, const char *program, const char *where, const char *misuse)
{
	char command[2048];
	int pipes[2], status;
	size_t n = 0;

	snprintf(command, sizeof(command), "exec %s %s/tests/programs/%s %s %s", wrapper, TEST_BUILD, program, where,
		 misuse);
	cr_assert_eq(pipe(pipes), 0);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		struct rlimit none = {0, 0};

		setrlimit(RLIMIT_CORE, &none);
		dup2(pipes[1], STDOUT_FILENO);
		dup2(pipes[1], STDERR_FILENO);
		setenv("LD_LIBRARY_PATH", TEST_BUILD "/lib", 1);
		setenv("VMEM_HARDEN", harden, 1);
		setenv("PMEMCTO_HARDEN", harden, 1);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	close(pipes[1]);
	for (ssize_t got; n < sizeof(text) - 1 && (got = read(pipes[0], text + n, sizeof(text) - 1 - n)) > 0;)
		n += (size_t)got;
	text[n] = '\0';
	close(pipes[0]);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return status;
}

struct row {
	const char *misuse;
	const char *words; /* NULL: it goes on */
};

/* One line, abort(). */
static void
expect_rows(const char *harden, const char *program, const char *name, const char *where, const struct row *rows)
{
	for (; rows->misuse != NULL; rows++) {
		char begin[32];
		int status = run(harden, "", program, where, rows->misuse);

		if (rows->words == NULL) {
			cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0 && strstr(text, "went on") != NULL,
				  "%s, HARDEN=%s: status %#x: %s", rows->misuse, harden, (unsigned)status, text);
			continue;
		}
		snprintf(begin, sizeof(begin), "%s: ", name);
		cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%s, HARDEN=%s: status %#x: %s",
			  rows->misuse, harden, (unsigned)status, text);
		cr_expect(strncmp(text, begin, strlen(begin)) == 0 && strstr(text, rows->words) != NULL &&
				  strchr(text, '\n') == text + strlen(text) - 1,
			  "%s, HARDEN=%s: not `%s' but: %s", rows->misuse, harden, rows->words, text);
	}
}

#define NO_BLOCK "double free or free of a block that is not allocated: 0x"

Test(misuse_programs, plain)
{
	static const struct row rows[] = {
		{"none", NULL},
		{"double_free", "double free of 0x"},
		{"free_misaligned", "free of a pointer inside a block: 0x"},
		{"free_foreign", "vmem_free of a pointer that is not of the pool 0x"},
		{"free_stack", "vmem_free of a pointer that is not of the pool 0x"},
		{"free_after_delete", NULL},
		{"stale_handle", NULL},
		{"overflow", NULL},
		{"read_freed", NULL},
		{"leak", NULL},
		{NULL, NULL},
	};

	expect_rows("0", "vmem_misuse", "libvmem", "/dev/shm", rows);
	run("0", "", "vmem_misuse", "/dev/shm", "stale_handle");
	cr_expect(strstr(text, "invalid pool handle"), "%s", text);
	run("0", "", "vmem_misuse", "/dev/shm", "free_after_delete");
	cr_expect(strstr(text, "invalid pool handle"), "%s", text);
	/* However it ends: the damage is named, and it does not pass for a pool that is whole. */
	run("0", "", "vmem_misuse", "/dev/shm", "metadata");
	cr_expect(strstr(text, "1\n") == NULL, "%s", text);
}

Test(misuse_programs, hardened)
{
	static const struct row rows[] = {
		{"none", NULL},
		{"double_free", NO_BLOCK},
		{"late_double_free", NO_BLOCK},
		{"free_interior", "free of a pointer inside a block: 0x"},
		{"free_misaligned", "free of a pointer inside a block: 0x"},
		{"free_foreign", "vmem_free of a pointer that is not of the pool 0x"},
		{"free_stack", "vmem_free of a pointer that is not of the pool 0x"},
		{"free_after_delete", NULL},
		{"stale_handle", NULL},
		{"realloc_freed", "realloc of a block that is not allocated: 0x"},
		{"overflow", "written behind the end of the block 0x"},
		{"overflow_by_an_int", "written behind the end of the block 0x"},
		{"overflow_by_realloc", "written behind the end of the block 0x"},
		{"write_freed", "written after its free: the block 0x"},
		{NULL, NULL},
	};
	static const struct row letters[] = {
		{"none", NULL},
		{"late_double_free", NO_BLOCK},
		{"overflow", NULL},
		{NULL, NULL},
	};

	expect_rows("1", "vmem_misuse", "libvmem", "/dev/shm", rows);
	expect_rows("drq", "vmem_misuse", "libvmem", "/dev/shm", letters);
	int status = run("y", "", "vmem_misuse", "/dev/shm", "none");
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	cr_expect_str_eq(text, "invalid VMEM_HARDEN: y\n");
}

/* --- memcheck and ASan ------------------------------------------------------------------------------------------- */

static void
expect_words(const char *wrapper, const char *program, const char *where, const char *misuse, const char *words)
{
	int status = run(ASAN ? "w" : "", wrapper, program, where, misuse);

	if (words != NULL)
		cr_expect(strstr(text, words) != NULL, "%s: not `%s' but: %s", misuse, words, text);
	else
		cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0 && strstr(text, "==") == NULL,
			  "%s: status %#x: %s", misuse, (unsigned)status, text);
}

#define VALGRIND "valgrind -q --leak-check=full --error-exitcode=9"

static void
need_valgrind(void)
{
	if (ASAN)
		cr_skip_test("valgrind runs no program with ASan");
	if (system("valgrind --version >/dev/null 2>&1") != 0)
		cr_skip_test("valgrind is not installed");
}

Test(misuse_programs, memcheck_sees_blocks_of_libvmem)
{
	need_valgrind();
	expect_words(VALGRIND, "vmem_misuse", "/dev/shm", "none", NULL);
	expect_words(VALGRIND, "vmem_misuse", "/dev/shm", "overflow_by_an_int", "Invalid write of size 4");
	cr_expect(strstr(text, "is 0 bytes after a block of size 48 alloc'd"), "%s", text);
	expect_words(VALGRIND, "vmem_misuse", "/dev/shm", "read_freed", "Invalid read of size 1");
	cr_expect(strstr(text, "is 5 bytes inside a block of size 48 free'd"), "%s", text);
	expect_words(VALGRIND, "vmem_misuse", "/dev/shm", "leak", "4 bytes in 1 blocks are definitely lost");
	cr_expect(strstr(text, "48 bytes in 1 blocks are definitely lost"), "%s", text);
	expect_words(VALGRIND, "vmem_misuse", "/dev/shm", "late_double_free", NO_BLOCK);
}

static void
cto_file(char *path, size_t size)
{
	snprintf(path, size, "/dev/shm/misuse_programs.%d", (int)getpid());
	unlink(path);
	int status = run("0", "", "cto_misuse", path, "create");
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", text);
}

Test(misuse_programs, memcheck_sees_blocks_of_libpmemcto)
{
	char path[64];

	need_valgrind();
	cto_file(path, sizeof(path));
	expect_words(VALGRIND, "cto_misuse", path, "none", NULL);
	expect_words(VALGRIND, "cto_misuse", path, "overflow", "is 0 bytes after a block of size 48 alloc'd");
	expect_words(VALGRIND, "cto_misuse", path, "use_freed_root", "free'd");
	cto_file(path, sizeof(path));
	expect_words(VALGRIND, "cto_misuse", path, "free_after_close", "pmemcto_free in a pool that is not open:");
	unlink(path);
}

/* What one hardened session leaves is an ordinary pool for the next. */
Test(misuse_programs, hardened_pools_of_libpmemcto)
{
	static const struct row first[] = {
		{"none", NULL},
		{NULL, NULL},
	};
	static const struct row stops[] = {
		{"overflow", "written behind the end of the block 0x"},
		{"double_free", NO_BLOCK},
		{"double_free_of_root", NO_BLOCK},
		{NULL, NULL},
	};
	char path[64];

	cto_file(path, sizeof(path));
	for (int i = 0; i < 3; i++) {
		expect_rows("1", "cto_misuse", "libpmemcto", path, first);
		expect_rows("0", "cto_misuse", "libpmemcto", path, first);
	}
	for (const struct row *row = stops; row->misuse != NULL; row++) {
		const struct row one[] = {*row, {NULL, NULL}};

		cto_file(path, sizeof(path));
		expect_rows("1", "cto_misuse", "libpmemcto", path, one);
	}
	unlink(path);
}

Test(misuse_programs, asan_sees_blocks)
{
	char path[64];

	if (!ASAN)
		cr_skip_test("the libraries were built without ASan");
	expect_words("", "vmem_misuse", "/dev/shm", "none", NULL);
	expect_words("", "vmem_misuse", "/dev/shm", "overflow", "AddressSanitizer: use-after-poison");
	expect_words("", "vmem_misuse", "/dev/shm", "overflow_by_an_int", "WRITE of size 4");
	expect_words("", "vmem_misuse", "/dev/shm", "read_freed", "READ of size 1");
	expect_words("", "vmem_misuse", "/dev/shm", "late_double_free", NO_BLOCK);
	cto_file(path, sizeof(path));
	expect_words("", "cto_misuse", path, "none", NULL);
	expect_words("", "cto_misuse", path, "use_freed_root", "AddressSanitizer: use-after-poison");
	unlink(path);
}
