/* examples_pmemcto.c -- the programs of doc/examples, each run more than once: what one run kept the next one finds */
#define _GNU_SOURCE
#include "tests/pmemcto_test.h"
#include "tests/vmmalloc_run.h"

#include <signal.h>
#include <sys/ioctl.h>

static struct outcome *last;

static void
leave(void)
{
	free(last);
	test_dir_remove();
}

TestSuite(examples_pmemcto, .init = test_dir_make, .fini = leave);

#define EXAMPLE(name) TEST_BUILD "/examples/" name

/* Runs a line of the shell in the test's directory: $E/name is an example. What came of it is good until the next one. */
static struct outcome *
shell(const char *line)
{
	char *argv[] = {"/bin/sh", "-c", (char *)(uintptr_t)line, NULL};

	free(last);
	last = run_in(test_dir, "E=" TEST_BUILD "/examples\n", argv);
	return last;
}

/* The line ends with `status`, and prints exactly `out`. */
static void
expect(const char *line, int status, const char *out)
{
	struct outcome *o = shell(line);

	cr_expect_eq(o->status, status, "%s: status %d, %s", line, o->status, o->err);
	cr_expect_str_eq(o->out, out, "%s: %s%s", line, o->out, o->err);
}

/* The number behind `word`, as printed. */
static double
number_behind(const char *text, const char *word)
{
	const char *at = strstr(text, word);

	cr_assert_not_null(at, "no \"%s\" in: %s", word, text);
	return strtod(at + strlen(word), NULL);
}

static void
expect_closed(const char *name, const char *layout)
{
	cr_expect_eq(pmemcto_check(in_dir(name), layout), 1, "%s: %s", name, pmemcto_errormsg());
}

Test(examples_pmemcto, hello_finds_its_string_in_the_second_run)
{
	expect("$E/hello", 0, "stored\n");
	expect_closed("hello.pool", "hello");
	expect("$E/hello", 0, "run 2 found \"Hello World!\"\n");
	expect("$E/hello", 0, "run 3 found \"Hello World!\"\n");
	expect_closed("hello.pool", "hello");
	cr_expect_eq(file_stat(in_dir("hello.pool")).st_mode & 0777, 0600);
}

Test(examples_pmemcto, dictionary_keeps_words_over_runs)
{
	expect("$E/dictionary d set apple fruit", 0, "");
	expect("$E/dictionary d get apple", 0, "fruit\n");
	expect("$E/dictionary d get pear", 1, "");
	expect("$E/dictionary d set apple 'a fruit, and a company'", 0, "");
	expect("$E/dictionary d get apple", 0, "a fruit, and a company\n");
	expect("seq 1 20000 | sed 's/.*/key& value &/' | $E/dictionary d load", 0, "");
	expect("$E/dictionary d count", 0, "20001\n");
	expect("$E/dictionary d get key777", 0, "value 777\n");
	expect("$E/dictionary d delete key777", 0, "");
	expect("$E/dictionary d delete key777", 1, "");
	expect("$E/dictionary d get key777", 1, "");
	expect("$E/dictionary d delete apple && seq 1 20000 | sed '/^777$/d; s/.*/key& value &/' | sort > want &&"
	       "$E/dictionary d list | sort | cmp - want",
	       0, "");
	expect("printf 'word\\n\\nlast one' | $E/dictionary d load && $E/dictionary d get word && $E/dictionary d get "
	       "last",
	       0, "\none\n");
	expect_closed("d", "dictionary-1");
}

/* All that was put in can be taken out again, and leaves the pool as it was. */
Test(examples_pmemcto, dictionary_gives_back_what_is_deleted)
{
	struct outcome *o = shell(
		"i=0; $E/dictionary d count && while [ $i -lt 3 ]; do i=$((i+1));"
		"seq 1 200 | sed 's/.*/k&/' | $E/dictionary d load || exit 3;"
		"for k in $(seq 1 200); do $E/dictionary d delete k$k || exit 4; done; done; $E/dictionary d count");

	cr_expect_eq(o->status, 0, "%d %s", o->status, o->err);
	cr_expect_str_eq(o->out, "0\n0\n");
	expect_closed("d", "dictionary-1");
}

Test(examples_pmemcto, a_full_dictionary_says_so_and_loses_nothing)
{
	struct outcome *o = shell(
		"awk 'BEGIN { for (i = 0; i < 9000; i++) printf \"key%d %08000d\\n\", i, i }' | $E/dictionary d load");
	char count[32], line[64];
	long n;

	cr_expect_eq(o->status, 2);
	cr_expect_str_eq(o->err, "the pool is full\n");
	n = strtol(shell("$E/dictionary d count")->out, NULL, 10);
	cr_expect(n > 7000 && n < 9000, "%ld entries of 8000 bytes in 64 MiB", n);
	snprintf(line, sizeof(line), "$E/dictionary d get key%ld | tail -c 8", n - 1);
	snprintf(count, sizeof(count), "%07ld\n", n - 1);
	expect(line, 0, count);
	expect("$E/dictionary d set 'one more' 'small value'; $E/dictionary d delete key0 && $E/dictionary d set short "
	       "x",
	       0, "");
	expect_closed("d", "dictionary-1");
}

Test(examples_pmemcto, ordered_tree_lists_ranges_in_order_over_runs)
{
	expect("seq 1 20000 | shuf | sed 's/.*/& no. &/' | $E/ordered_tree t load", 0, "");
	expect("seq 1 20000 | LC_ALL=C sort | sed 's/.*/& no. &/' > want && $E/ordered_tree t list | cmp - want", 0,
	       "");
	expect("$E/ordered_tree t list 1999 2", 0,
	       "1999 no. 1999\n19990 no. 19990\n19991 no. 19991\n19992 no. 19992\n19993 no. 19993\n19994 no. 19994\n"
	       "19995 no. 19995\n19996 no. 19996\n19997 no. 19997\n19998 no. 19998\n19999 no. 19999\n2 no. 2\n");
	expect("$E/ordered_tree t delete 19995 && $E/ordered_tree t list 19994 19996", 0,
	       "19994 no. 19994\n19996 no. 19996\n");
	expect("$E/ordered_tree t delete 19995", 1, "");
	expect("$E/ordered_tree t put 19995 'back again'", 0, "");
	expect("$E/ordered_tree t list 19995 19995", 0, "19995 back again\n");
	expect("$E/ordered_tree t get 19995; $E/ordered_tree t get zzz", 1, "back again\n");
	expect("$E/ordered_tree t list x y; $E/ordered_tree t list 9999", 0, "9999 no. 9999\n");
	expect_closed("t", "ordered-tree-1");
}

/* Filled in order, it is no list: 4000 keys lie within 50 levels (2 ln n is 17). */
Test(examples_pmemcto, ordered_tree_stays_shallow)
{
	expect("seq 1000 4999 | $E/ordered_tree t load && $E/ordered_tree t draw |"
	       "awk '{ match($0, /^ */); if (RLENGTH > 4 * 50) deep++ } END { print NR, deep + 0 }'",
	       0, "4000 0\n");
	expect("for k in $(seq 1000 1299); do $E/ordered_tree t delete $k || exit 9; done; $E/ordered_tree t list | "
	       "head -1",
	       0, "1300 \n");
	expect_closed("t", "ordered-tree-1");
}

Test(examples_pmemcto, lru_cache_is_warm_in_the_second_run)
{
	const char *entries = CTO_TEST_SLOW > 1 ? "50000" : "1000000";
	char line[200], words[200];
	struct outcome *first, *second;
	double cold, warm;

	snprintf(line, sizeof(line), "$E/lru_cache c %s 200000", entries);
	first = shell(line);
	cr_assert_eq(first->status, 0, "%s%s", first->out, first->err);
	snprintf(words, sizeof(words), "a new cache with %s entries in ", entries);
	cold = number_behind(first->out, words);
	expect_closed("c", "lru-cache-1");
	second = shell(line);
	cr_assert_eq(second->status, 0, "%s%s", second->out, second->err);
	snprintf(words, sizeof(words), "a cache of %s entries in ", entries);
	warm = number_behind(second->out, words) / 1000;
	cr_expect_lt(warm, cold, "it was not made anew: %f s, %f s", warm, cold);
	cr_expect_eq(number_behind(second->out, "filling it took "), cold, "%s", second->out);
	snprintf(words, sizeof(words), "%s of %s entries are right, after 2 runs and 400000 requests\n", entries,
		 entries);
	assert_in(second->out, words);
	cr_expect_gt(number_behind(second->out, "200000 requests in "), 0);
	expect_closed("c", "lru-cache-1");
}

/* With a handful of entries all but everything is given up again. */
Test(examples_pmemcto, lru_cache_gives_up_the_oldest)
{
	for (int run = 1; run <= 3; run++) {
		struct outcome *o = shell("$E/lru_cache c 100 100000");
		char words[100];

		cr_assert_eq(o->status, 0, "%s%s", o->out, o->err);
		snprintf(words, sizeof(words), "100 of 100 entries are right, after %d runs and %d requests\n", run,
			 run * 100000);
		assert_in(o->out, words);
	}
	expect_closed("c", "lru-cache-1");
}

/* --- what a user does wrong, and what happens to him ---------------------------------------------------------------- */

Test(examples_pmemcto, usage_is_told_without_a_pool)
{
	static const char *const lines[] = {"$E/dictionary", "$E/dictionary d", "$E/ordered_tree d", "$E/lru_cache",
					    "$E/lru_cache d 0"};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct outcome *o = shell(lines[i]);

		cr_expect_eq(o->status, 2, "%s", lines[i]);
		assert_in(o->err, "usage: ");
	}
	cr_expect_eq(files_in_dir(), 0);
}

Test(examples_pmemcto, an_unknown_command_closes_the_pool)
{
	expect("$E/dictionary d fly", 2, "");
	expect_closed("d", "dictionary-1");
	expect("$E/ordered_tree t fly", 2, "");
	expect_closed("t", "ordered-tree-1");
}

Test(examples_pmemcto, pools_of_another_layout_are_refused)
{
	struct outcome *o;

	expect("$E/dictionary d count", 0, "0\n");
	o = shell("$E/ordered_tree d list");
	cr_expect_eq(o->status, 2);
	assert_in(o->err, "wrong layout");
	o = shell("$E/lru_cache nowhere/c");
	cr_expect_eq(o->status, 2);
	assert_in(o->err, strerror(ENOENT));
	expect_closed("d", "dictionary-1");
}

/* `dictionary d load`, with a line read and waiting for more: its process, and in *input where it reads from. */
static pid_t
start_load(const char *line, int *input)
{
	uint64_t before = access(in_dir("d"), F_OK) == 0 ? get_field(in_dir("d"), AT_CONSISTENT, 1) : 1;
	int ends[2];
	pid_t child;

	cr_assert_eq(before, 1);
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		dup2(ends[0], STDIN_FILENO);
		if (freopen("/dev/null", "w", stderr) == NULL || chdir(test_dir) != 0)
			_exit(99);
		execl(EXAMPLE("dictionary"), "dictionary", "d", "load", (char *)NULL);
		_exit(98);
	}
	close(ends[0]);
	*input = ends[1];
	cr_assert_eq(write(*input, line, strlen(line)), (ssize_t)strlen(line));
	while (access(in_dir("d"), F_OK) != 0 || get_field(in_dir("d"), AT_CONSISTENT, 1) != 0)
		cr_assert_eq(waitpid(child, NULL, WNOHANG), 0, "it ended");
	for (int unread = 1; unread != 0;)
		cr_assert_eq(ioctl(*input, FIONREAD, &unread), 0);
	return child;
}

static int
end_load(pid_t child, int sig, int input)
{
	int status;

	do { /* again, as one that comes between its look at the flag and its read is not seen */
		kill(child, sig);
		usleep(10000);
	} while (waitpid(child, &status, WNOHANG) == 0);
	close(input);
	return status;
}

Test(examples_pmemcto, who_is_told_to_stop_closes_the_pool)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	char line[32];
	int input;

	for (int i = 0; i < 3; i++) {
		snprintf(line, sizeof(line), "word %d\n", i);
		pid_t child = start_load(line, &input);

		cr_expect_eq(end_load(child, signals[i], input), 0, "%d", signals[i]);
		expect_closed("d", "dictionary-1");
	}
	/* and who writes to somebody that is gone, too */
	expect("seq 1 50000 | $E/ordered_tree t load; $E/ordered_tree t list | head -n 1", 0, "1 \n");
	expect_closed("t", "ordered-tree-1");
}

Test(examples_pmemcto, a_pool_that_was_left_open_is_explained)
{
	struct outcome *o;
	int input;
	pid_t child = start_load("word\n", &input);

	cr_expect_eq(end_load(child, SIGKILL, input), SIGKILL);
	o = shell("$E/dictionary d count");
	cr_expect_eq(o->status, 2, "%s", o->err);
	assert_in(o->err, "d: inconsistent pool\n");
	assert_in(o->err, "pmheap check --repair d");
}
