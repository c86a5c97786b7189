/* vmmalloc_threads.c -- threads that come and go, end oddly, or are there to the last: vmmalloc_threads CASE */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(cond)                                                                \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __func__, __LINE__, #cond); \
			_exit(1);                                                  \
		}                                                                  \
	} while (0)

static void *
some_blocks(void *arg)
{
	void *blocks[100];
	size_t n = (uintptr_t)arg % 90 + 10;

	for (size_t i = 0; i < n; i++) {
		blocks[i] = malloc(i * 37 % 3000 + 1);
		CHECK(blocks[i] != NULL);
	}
	for (size_t i = 1; i < n; i++)
		free(blocks[i]);
	return blocks[0]; /* another thread frees it */
}

/* Thousands of threads in a small pool: nothing of them stays. */
static void
case_short(void)
{
	size_t early = 0, late;

	for (unsigned round = 0; round < 1500; round++) {
		pthread_t threads[4];
		void *p;

		for (unsigned i = 0; i < 4; i++)
			CHECK(pthread_create(&threads[i], NULL, some_blocks, (void *)(uintptr_t)(round * 4 + i)) == 0);
		for (unsigned i = 0; i < 4; i++) {
			CHECK(pthread_join(threads[i], &p) == 0);
			free(p);
		}
		if (round == 100)
			early = mallinfo2().uordblks + mallinfo2().hblkhd;
	}
	late = mallinfo2().uordblks + mallinfo2().hblkhd;
	CHECK(late <= early + 64 * 1024);
}

/* Destructors that allocate in every round, registered after and before the allocator's own turn. */
static pthread_key_t keys[40];
static atomic_int destroyed;

static void
destructor(void *value)
{
	uintptr_t *count = value;

	atomic_fetch_add(&destroyed, 1);
	if (--*count > 0) {
		uintptr_t *next = malloc(sizeof(*next));

		CHECK(next != NULL);
		*next = *count;
		for (int i = 0; i < 40; i++) {
			if (pthread_getspecific(keys[i]) == NULL) {
				CHECK(pthread_setspecific(keys[i], next) == 0);
				break;
			}
		}
	}
	free(value);
	free(calloc(1, 500));
}

static void *
keyed(void *arg)
{
	for (int i = 0; i < 40; i += 3) {
		uintptr_t *count = malloc(sizeof(*count));

		*count = 4;
		CHECK(count != NULL && pthread_setspecific(keys[i], count) == 0);
	}
	return arg;
}

static void
case_destructors(void)
{
	size_t early = 0;

	for (int i = 0; i < 40; i++)
		CHECK(pthread_key_create(&keys[i], destructor) == 0);
	for (int round = 0; round < 300; round++) {
		pthread_t thread;

		CHECK(pthread_create(&thread, NULL, keyed, NULL) == 0 && pthread_join(thread, NULL) == 0);
		if (round == 30)
			early = mallinfo2().uordblks;
	}
	CHECK(atomic_load(&destroyed) >= 300 * 14);
	/* what the last round's destructors set is never freed by anybody: at most one block a key and thread */
	CHECK(mallinfo2().uordblks <= early + (size_t)300 * 14 * 16);
}

static atomic_bool stop;

static void *
endless(void *arg)
{
	void *p = NULL;

	for (unsigned i = 0; !atomic_load(&stop); i++) {
		p = realloc(p, i % 5000 + 1);
		free(malloc(i % 700));
	}
	free(p);
	return arg;
}

/* The process ends while threads allocate. */
static void
case_exit(void)
{
	pthread_t thread;

	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&thread, NULL, endless, NULL) == 0);
	usleep(20000);
	exit(0);
}

static void
at_exit(void)
{
	void *p = malloc(10000);

	CHECK(p != NULL);
	p = realloc(p, 100000);
	CHECK(p != NULL && malloc_usable_size(p) >= 100000);
	free(p);
}

__attribute__((destructor(101))) static void
last_destructor(void)
{
	at_exit();
	(void)!write(1, "served\n", 7);
}

static void
case_atexit(void)
{
	CHECK(atexit(at_exit) == 0);
}

/* A main thread that ends before the others. */
static void *
outlive(void *arg)
{
	usleep(20000);
	for (int i = 0; i < 1000; i++)
		free(malloc((size_t)i));
	return arg;
}

static void
case_main_ends_first(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, outlive, NULL) == 0);
	pthread_exit(NULL);
}

/* Signals come at any point of malloc and free; handlers do not allocate. */
static atomic_int signals;

static void
on_signal(int number)
{
	(void)number;
	atomic_fetch_add(&signals, 1);
}

static void *
shooter(void *arg)
{
	for (int i = 0; i < 3000; i++) {
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
		if (i % 10 == 0)
			sched_yield();
	}
	atomic_store(&stop, 1);
	return NULL;
}

static void
case_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	pthread_t self = pthread_self(), thread;

	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	CHECK(pthread_create(&thread, NULL, shooter, &self) == 0);
	endless(NULL);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(atomic_load(&signals) > 0);
}

static void *
cancelled(void *arg)
{
	for (;;) {
		void *p = malloc(100);

		pthread_cleanup_push(free, p);
		pthread_testcancel();
		pthread_cleanup_pop(1);
	}
	return arg;
}

static void
case_cancel(void)
{
	for (int i = 0; i < 200; i++) {
		pthread_t thread;

		CHECK(pthread_create(&thread, NULL, cancelled, NULL) == 0);
		CHECK(pthread_cancel(thread) == 0 && pthread_join(thread, NULL) == 0);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "short", case_short },
	{ "destructors", case_destructors },
	{ "exit", case_exit },
	{ "atexit", case_atexit },
	{ "main_ends_first", case_main_ends_first },
	{ "signals", case_signals },
	{ "cancel", case_cancel },
};

int
main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(argv[1], cases[i].name) == 0) {
			cases[i].run();
			return 0;
		}
	}
	fprintf(stderr, "no such case\n");
	return 2;
}
