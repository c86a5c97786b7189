/* tool_run.h -- pmheap run as a person would, for the tests of its commands; pools come from libpmemcto itself */
#ifndef TESTS_TOOL_RUN_H
#define TESTS_TOOL_RUN_H

#include "tests/pmemcto_test.h"
#include "tests/vmmalloc_run.h"

#define NOBODY 65534

/* A test drops its outcomes as it ends; until then they can be found, for LeakSanitizer. */
static inline void *
keep(void *p)
{
	static void *kept[512];
	static unsigned n;

	cr_assert(p != NULL && n < 512);
	return kept[n++] = p;
}

/* Takes out what the compiler's run-time library says where coverage is measured, as nobody may write that: not the
 * program's word. */
static inline void
tool_forget_profiling(char *text)
{
	static const char mark[] = "profiling:";
	char *to = text, *next;

	for (char *line = text; *line != '\0'; line = next) {
		size_t n = strcspn(line, "\n");

		next = line + n + (line[n] != '\0');
		if (strncmp(line, mark, sizeof(mark) - 1) != 0) {
			memmove(to, line, (size_t)(next - line));
			to += next - line;
		}
	}
	*to = '\0';
}

/* Runs pmheap with `input` (may be NULL) to read; as root, or as somebody who may nothing. The program is opened before, as
 * its folder need not be open to everybody. */
static inline struct outcome *
tool_as(uid_t uid, const char *input, char *const argv[])
{
	struct outcome *o = keep(calloc(1, sizeof(*o)));
	int in = memfd_create("in", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC);
	int err = memfd_create("err", MFD_CLOEXEC), program = open(PMHEAP, O_RDONLY | O_CLOEXEC), status;

	cr_assert(in >= 0 && out >= 0 && err >= 0 && program >= 0);
	if (input != NULL)
		cr_assert_eq(pwrite(in, input, strlen(input), 0), (ssize_t)strlen(input));
	o->pid = fork();
	if (o->pid == 0) {
		dup2(in, 0);
		dup2(out, 1);
		dup2(err, 2);
		run_set_environment("");
		if (uid != 0 && (setgid(uid) != 0 || setuid(uid) != 0))
			_exit(99);
		fexecve(program, argv, environ);
		_exit(98);
	}
	while (waitpid(o->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	o->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	run_read_back(out, o->out, sizeof(o->out));
	run_read_back(err, o->err, sizeof(o->err));
	if (uid != 0)
		tool_forget_profiling(o->err);
	close(in);
	close(program);
	return o;
}

#define tool(...) tool_as(0, NULL, (char *const[]){"pmheap", __VA_ARGS__, NULL})
#define tool_answered(answer, ...) tool_as(0, answer, (char *const[]){"pmheap", __VA_ARGS__, NULL})
#define tool_as_nobody(...) tool_as(NOBODY, NULL, (char *const[]){"pmheap", __VA_ARGS__, NULL})

/* It ended with this status and one line on stderr that has these words. */
static inline void
complained(struct outcome *o, int status, const char *words)
{
	assert_status(o, status);
	cr_assert(strncmp(o->err, "pmheap: ", 8) == 0, "%s", o->err);
	cr_assert(strchr(o->err, '\n') == o->err + strlen(o->err) - 1, "more than one line: %s", o->err);
	assert_in(o->err, words);
}

/* It did what it had to, without a word on stderr. */
static inline struct outcome *
went_well(struct outcome *o)
{
	assert_status(o, 0);
	assert_quiet(o);
	return o;
}

/* What it wrote is JSON of which a Python expression about `d` is true. */
static inline void
json_holds(const struct outcome *o, const char *expression)
{
	static const char program[] = "import json, sys\n"
				      "d = json.load(open(sys.argv[1]))\n"
				      "sys.exit(0 if eval(sys.argv[2]) else 'false: ' + sys.argv[2])\n";
	const char *path = in_dir("json");
	struct outcome *python;

	run_write_file(path, o->out);
	python = run("", "python3", "-c", (char *)(uintptr_t)program, (char *)(uintptr_t)path,
		     (char *)(uintptr_t)expression);
	cr_assert(python->status == 0, "%s%s", python->err, o->out);
	free(python);
	unlink(path);
}

/* in_dir() for argument lists, which are not const. */
static inline char *
file_in_dir(const char *name)
{
	return (char *)(uintptr_t)in_dir(name);
}

/* A pool whose last session was killed, with a block of 3 MiB and one of 100 bytes. */
static inline void
pool_kill(const char *path)
{
	int status;

	IN_CHILD(status, {
		PMEMctopool *pcp = pool_make(path, 16 * MIB);
		_exit(pmemcto_malloc(pcp, 3 * MIB) == NULL || pmemcto_malloc(pcp, 100) == NULL);
	});
	cr_assert_eq(status, 0);
}

/* What no command may do to it: there is a child that has the pool open. */
static inline pid_t
pool_hold(const char *path)
{
	int ready[2];
	char c;
	pid_t child;

	cr_assert_eq(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		if (pmemcto_open(path, NULL) == NULL || write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	close(ready[1]);
	cr_assert_eq(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return child;
}

static inline void
pool_let_go(pid_t child)
{
	kill(child, SIGKILL);
	cr_assert_eq(waitpid(child, NULL, 0), child);
}

#endif
