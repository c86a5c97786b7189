/* vmmalloc_run.h -- starts a program as a user would, and keeps what it said
 *
 * For the tests of libvmmalloc and pmheap: environment, preload, output and exit status in one call.
 */
#ifndef TESTS_VMMALLOC_RUN_H
#define TESTS_VMMALLOC_RUN_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RELEASE_LIB TEST_BUILD "/lib/libvmmalloc.so.1"
#define DEBUG_LIB TEST_BUILD "/lib/pmdk_debug/libvmmalloc.so.1"
#define PROGRAM(name) TEST_BUILD "/tests/programs/" name
#define PMHEAP TEST_BUILD "/bin/pmheap"
#define MIN_POOL "14680064"

struct outcome {
	int status; /* exit status, or 128 + signal */
	int pid;
	char out[1 << 16], err[1 << 16];
};

/* What a program starts with, one NAME=value a line; later lines replace earlier ones, "-NAME" removes. */
#define ENV_RELEASE "LD_PRELOAD=" RELEASE_LIB "\nVMMALLOC_POOL_DIR=/dev/shm\nVMMALLOC_POOL_SIZE=16777216\n"
#define ENV_DEBUG "LD_PRELOAD=" DEBUG_LIB "\nVMMALLOC_POOL_DIR=/dev/shm\nVMMALLOC_POOL_SIZE=16777216\n"

static inline void
run_set_environment(const char *lines)
{
	char *copy = strdup(lines), *rest = NULL;

	unsetenv("LD_PRELOAD");
	for (char *line = strtok_r(copy, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		if (line[0] == '-')
			unsetenv(line + 1);
		else
			putenv(strdup(line));
	}
	free(copy);
}

static inline void
run_read_back(int fd, char *text, size_t size)
{
	ssize_t n = pread(fd, text, size - 1, 0);

	text[n < 0 ? 0 : n] = '\0';
	close(fd);
}

/* In directory `cwd` (NULL: here), argv ends with NULL. */
static inline struct outcome *
run_in(const char *cwd, const char *environment, char *const argv[])
{
	struct outcome *o = calloc(1, sizeof(*o));
	int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC), status;

	cr_assert(o != NULL && out >= 0 && err >= 0);
	o->pid = fork();
	if (o->pid == 0) {
		dup2(out, 1);
		dup2(err, 2);
		for (int fd = 3; fd < 256; fd++)
			close(fd);
		run_set_environment(environment);
		if (cwd != NULL && chdir(cwd) != 0)
			_exit(99);
		execvp(argv[0], argv);
		_exit(98);
	}
	while (waitpid(o->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	o->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	run_read_back(out, o->out, sizeof(o->out));
	run_read_back(err, o->err, sizeof(o->err));
	return o;
}

/* run("ENV=lines\n", program, arguments...), see ENV_RELEASE. */
#define run(environment, ...) run_in(NULL, environment, (char *const[]){ __VA_ARGS__, NULL })

#define assert_status(o, want)                                                                                  \
	cr_assert((o)->status == (want), "exit status %d, should be %d\n%s%s", (o)->status, want, (o)->out, (o)->err)
#define assert_quiet(o) cr_assert((o)->err[0] == '\0', "stderr should be empty: %s", (o)->err)
#define assert_err(o, text) cr_assert(strcmp((o)->err, text) == 0, "stderr should be\n%sbut is\n%s", text, (o)->err)
#define assert_in(text, part) cr_assert(strstr(text, part) != NULL, "no \"%s\" in\n%s", part, text)

/* A fresh directory that the test removes itself or leaves to /dev/shm's end. */
static inline char *
run_temp_dir(void)
{
	char *dir = strdup("/dev/shm/vmmalloc.XXXXXX");

	cr_assert(dir != NULL && mkdtemp(dir) != NULL);
	return dir;
}

static inline char *
run_file(const char *path)
{
	static char text[1 << 20];
	FILE *f = fopen(path, "r");

	cr_assert(f != NULL, "cannot open %s", path);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return text;
}

static inline void
run_write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	cr_assert(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0, "cannot write %s", path);
}

static inline bool
run_have(const char *program)
{
	char command[256];

	snprintf(command, sizeof(command), "command -v %s >/dev/null 2>&1", program);
	return system(command) == 0;
}

#endif
