/* criterion.h -- the part of Criterion that our tests use, where the real one cannot be had
 *
 * ThreadSanitizer's address space leaves no room for Criterion's, and a cross compiler's system does not hold it. There
 * configure.py puts this folder before the system's headers. Each test runs in a child made by fork(), one after
 * the other. Options: --list, --filter=SUITE/NAME (a glob), --json=FILE (Criterion's layout, for run_tests.py); others
 * are taken and ignored.
 *
 * Owns:   the list of tests of this program, and one page shared with the child for its verdict.
 * Rules:  a test passes when its child ends as its options say: by `signal`, or with `exit_code`, no check having
 *         failed. A failed cr_assert ends the child, from any thread of it; a failed cr_expect lets it go on.
 * Media:  process only.
 */
#ifndef CRITERION_SMALL_H
#define CRITERION_SMALL_H

#include <fnmatch.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct small_options {
	int none; /* so that a test may give no option */
	void (*init)(void);
	void (*fini)(void);
	int signal;
	int exit_code;
	bool disabled;
	const char *description;
	double timeout; /* seconds; 0: none but the runner's */
};

struct small_test {
	const char *suite, *name; /* name NULL: options of the suite */
	void (*run)(void);
	struct small_options options;
	struct small_test *next;
};

struct small_verdict {
	int failed, skipped, assertions;
	char message[1024];
};

__attribute__((weak)) struct small_test *small_tests, **small_tail;
__attribute__((weak)) struct small_verdict *small_verdict;

/* In the order of the source, as constructors of one file run. */
static inline void
small_add(struct small_test *test)
{
	if (!small_tail)
		small_tail = &small_tests;
	*small_tail = test;
	small_tail = &test->next;
}

#define SMALL_ADD(id, ...)                                        \
	static struct small_test id##_entry = {__VA_ARGS__};      \
	__attribute__((constructor)) static void id##_add(void)   \
	{                                                         \
		small_add(&id##_entry);                           \
	}

#define Test(suite_, name_, ...)                                                                                   \
	static void suite_##_##name_##_impl(void);                                                                 \
	SMALL_ADD(suite_##_##name_, .suite = #suite_, .name = #name_, .run = suite_##_##name_##_impl,              \
	          .options = {.none = 0, ##__VA_ARGS__})                                                        \
	static void suite_##_##name_##_impl(void)

#define TestSuite(suite_, ...) SMALL_ADD(suite_##_options, .suite = #suite_, .options = {.none = 0, ##__VA_ARGS__})

/* Prints and keeps the message; ends the child when `fatal`. */
static inline bool
small_check(bool fatal, bool ok, const char *file, int line, const char *what, const char *fmt, ...)
{
	char text[700];
	va_list ap;

	__atomic_fetch_add(&small_verdict->assertions, 1, __ATOMIC_RELAXED);
	if (ok)
		return true;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (__atomic_fetch_add(&small_verdict->failed, 1, __ATOMIC_RELAXED) == 0)
		snprintf(small_verdict->message, sizeof(small_verdict->message), "%s:%d: %s: %s", file, line, what, text);
	fprintf(stderr, "%s:%d: failed: %s: %s\n", file, line, what, text);
	if (fatal)
		_exit(1);
	return false;
}

static inline _Noreturn void
small_skip(const char *fmt, ...)
{
	va_list ap;

	small_verdict->skipped = 1;
	va_start(ap, fmt);
	vsnprintf(small_verdict->message, sizeof(small_verdict->message), fmt, ap);
	va_end(ap);
	_exit(0);
}

#define SMALL(fatal, cond, what, ...) small_check(fatal, cond, __FILE__, __LINE__, what, "" __VA_ARGS__)
#define SMALL_OP(fatal, a, op, b, ...) SMALL(fatal, (a)op(b), #a " " #op " " #b, __VA_ARGS__)
#define SMALL_STR(fatal, a, op, b, ...) SMALL(fatal, strcmp(a, b) op 0, "strings: " #a " " #op " " #b, __VA_ARGS__)
#define SMALL_ARR(fatal, a, op, b, n, ...) SMALL(fatal, memcmp(a, b, n) op 0, "bytes: " #a " " #op " " #b, __VA_ARGS__)

#define cr_skip_test(...) small_skip("" __VA_ARGS__)
#define cr_skip(...) small_skip("" __VA_ARGS__)
#define cr_fatal(...) SMALL(true, false, "failure", __VA_ARGS__)
#define cr_assert_fail(...) SMALL(true, false, "failure", __VA_ARGS__)
#define cr_fail(...) SMALL(false, false, "failure", __VA_ARGS__)
#define cr_log_info(...) (fprintf(stderr, "" __VA_ARGS__), (void)fputc('\n', stderr))
#define cr_log_warn(...) cr_log_info(__VA_ARGS__)
#define cr_log_error(...) cr_log_info(__VA_ARGS__)

#define cr_assert(cond, ...) SMALL(true, !!(cond), #cond, __VA_ARGS__)
#define cr_assert_not(cond, ...) SMALL(true, !(cond), "not " #cond, __VA_ARGS__)
#define cr_assert_eq(a, b, ...) SMALL_OP(true, a, ==, b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...) SMALL_OP(true, a, !=, b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...) SMALL_OP(true, a, <, b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...) SMALL_OP(true, a, <=, b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...) SMALL_OP(true, a, >, b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...) SMALL_OP(true, a, >=, b, __VA_ARGS__)
#define cr_assert_null(p, ...) SMALL_OP(true, p, ==, NULL, __VA_ARGS__)
#define cr_assert_not_null(p, ...) SMALL_OP(true, p, !=, NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) SMALL_STR(true, a, ==, b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) SMALL_STR(true, a, !=, b, __VA_ARGS__)
#define cr_assert_str_empty(a, ...) SMALL(true, *(a) == 0, "empty: " #a, __VA_ARGS__)
#define cr_assert_str_not_empty(a, ...) SMALL(true, *(a) != 0, "not empty: " #a, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...) SMALL_ARR(true, a, ==, b, n, __VA_ARGS__)
#define cr_assert_arr_neq(a, b, n, ...) SMALL_ARR(true, a, !=, b, n, __VA_ARGS__)

#define cr_expect(cond, ...) SMALL(false, !!(cond), #cond, __VA_ARGS__)
#define cr_expect_not(cond, ...) SMALL(false, !(cond), "not " #cond, __VA_ARGS__)
#define cr_expect_eq(a, b, ...) SMALL_OP(false, a, ==, b, __VA_ARGS__)
#define cr_expect_neq(a, b, ...) SMALL_OP(false, a, !=, b, __VA_ARGS__)
#define cr_expect_lt(a, b, ...) SMALL_OP(false, a, <, b, __VA_ARGS__)
#define cr_expect_leq(a, b, ...) SMALL_OP(false, a, <=, b, __VA_ARGS__)
#define cr_expect_gt(a, b, ...) SMALL_OP(false, a, >, b, __VA_ARGS__)
#define cr_expect_geq(a, b, ...) SMALL_OP(false, a, >=, b, __VA_ARGS__)
#define cr_expect_null(p, ...) SMALL_OP(false, p, ==, NULL, __VA_ARGS__)
#define cr_expect_not_null(p, ...) SMALL_OP(false, p, !=, NULL, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) SMALL_STR(false, a, ==, b, __VA_ARGS__)
#define cr_expect_str_neq(a, b, ...) SMALL_STR(false, a, !=, b, __VA_ARGS__)
#define cr_expect_str_empty(a, ...) SMALL(false, *(a) == 0, "empty: " #a, __VA_ARGS__)
#define cr_expect_str_not_empty(a, ...) SMALL(false, *(a) != 0, "not empty: " #a, __VA_ARGS__)
#define cr_expect_arr_neq(a, b, n, ...) SMALL_ARR(false, a, !=, b, n, __VA_ARGS__)
#define cr_expect_arr_eq(a, b, n, ...) SMALL_ARR(false, a, ==, b, n, __VA_ARGS__)

static inline const struct small_options *
small_suite_options(const char *suite)
{
	static const struct small_options none;

	for (const struct small_test *t = small_tests; t; t = t->next)
		if (!t->name && strcmp(t->suite, suite) == 0)
			return &t->options;
	return &none;
}

static inline _Noreturn void
small_child(const struct small_test *test, const struct small_options *suite)
{
	if (suite->init)
		suite->init();
	if (test->options.init)
		test->options.init();
	test->run();
	if (test->options.fini)
		test->options.fini();
	if (suite->fini)
		suite->fini();
	fflush(NULL);
	exit(0);
}

/* "PASSED", "FAILED", "ERRORED" or "SKIPPED"; the reason in small_verdict->message. SIGCHLD is blocked. */
static inline const char *
small_run(const struct small_test *test)
{
	const struct small_options *suite = small_suite_options(test->suite);
	int want_signal = test->options.signal ? test->options.signal : suite->signal;
	int want_code = test->options.exit_code ? test->options.exit_code : suite->exit_code;
	double timeout = test->options.timeout > 0 ? test->options.timeout : suite->timeout;
	struct timespec wait = {(time_t)(timeout > 0 ? timeout + 1 : 86400), 0};
	int status;
	sigset_t chld;
	pid_t pid;

	memset(small_verdict, 0, sizeof(*small_verdict));
	if (test->options.disabled || suite->disabled) {
		strcpy(small_verdict->message, "disabled");
		return "SKIPPED";
	}
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		sigprocmask(SIG_UNBLOCK, &chld, NULL);
		small_child(test, suite);
	}
	if (sigtimedwait(&chld, NULL, &wait) < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		sigtimedwait(&chld, NULL, &(struct timespec){0, 0});
		strcpy(small_verdict->message, "timed out");
		return "ERRORED";
	}
	waitpid(pid, &status, 0);
	if (small_verdict->skipped)
		return "SKIPPED";
	if (small_verdict->failed)
		return "FAILED";
	if (want_signal ? WIFSIGNALED(status) && WTERMSIG(status) == want_signal
	                : WIFEXITED(status) && WEXITSTATUS(status) == want_code)
		return "PASSED";
	snprintf(small_verdict->message, sizeof(small_verdict->message), "ended by %s %d",
	         WIFSIGNALED(status) ? "signal" : "exit", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return "ERRORED";
}

static inline void
small_json(FILE *out, const struct small_test *test, const char *status, bool first)
{
	fprintf(out, "%s\n  {\"name\": \"%s\", \"assertions\": %d, \"status\": \"%s\", \"messages\": [\"", first ? "" : ",",
	        test->name, small_verdict->assertions, status);
	for (const char *c = small_verdict->message; *c; c++) {
		if (*c == '"' || *c == '\\')
			fputc('\\', out);
		fputc((unsigned char)*c < ' ' ? ' ' : *c, out);
	}
	fputs("\"]}", out);
}

__attribute__((weak)) int
main(int argc, char **argv)
{
	const char *filter = "*", *json = NULL;
	int passed = 0, failed = 0, errored = 0, skipped = 0;
	bool list = false, first = true;
	FILE *out = NULL;

	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "--filter=", 9) == 0)
			filter = argv[i] + 9;
		else if (strcmp(argv[i], "--filter") == 0 && i + 1 < argc)
			filter = argv[++i];
		else if (strncmp(argv[i], "--json=", 7) == 0)
			json = argv[i] + 7;
		else if (strcmp(argv[i], "--list") == 0 || strcmp(argv[i], "-l") == 0)
			list = true;
	}
	small_verdict = mmap(NULL, sizeof(*small_verdict), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (small_verdict == MAP_FAILED || (json && !(out = fopen(json, "w")))) {
		perror(json ? json : "mmap");
		return 2;
	}
	if (out)
		fputs("{\"test_suites\": [{\"tests\": [", out);
	for (const struct small_test *t = small_tests; t; t = t->next) {
		char full[512];
		const char *status;

		if (!t->name)
			continue;
		snprintf(full, sizeof(full), "%s/%s", t->suite, t->name);
		if (fnmatch(filter, full, 0) != 0)
			continue;
		if (list) {
			puts(full);
			continue;
		}
		status = small_run(t);
		passed += status[0] == 'P';
		failed += status[0] == 'F';
		errored += status[0] == 'E';
		skipped += status[0] == 'S';
		if (status[0] != 'P')
			fprintf(stderr, "[%s] %s: %s\n", status, full, small_verdict->message);
		if (out)
			small_json(out, t, status, first);
		first = false;
	}
	if (out) {
		fprintf(out, "\n]}], \"passed\": %d, \"failed\": %d, \"errored\": %d, \"skipped\": %d}\n", passed, failed, errored,
		        skipped);
		if (fclose(out) != 0)
			return 2;
	}
	fprintf(stderr, "[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: %d\n", passed + failed + errored,
	        passed, failed + errored, errored);
	return failed + errored != 0;
}

#endif
