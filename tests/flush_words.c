/* flush_words.c -- no aligned 8-byte word is ever seen half old, half new
 *
 * On x86-64 the compiled engines run one instruction at a time (the trap flag), and after each instruction every word of
 * the destination is looked at. Everywhere a second thread reads while the first one copies.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#include "flush/flush.h"
#include "tests/flush_engines.h"

#define AREA 4096

static _Alignas(4096) char area[AREA];

/* --- one instruction at a time ------------------------------------------------------------------------------------ */

#if defined(__x86_64__)
#define TRAP_FLAG 0x100

static char old[AREA], new[AREA];

static void
fill(void)
{
	for (size_t i = 0; i < AREA; i++) {
		old[i] = (char)(i % 251 | 1);
		new[i] = (char)~old[i];
	}
}

static volatile size_t watch_start, watch_end; /* whole words inside the destination */
static volatile size_t steps, torn_at;         /* torn_at: offset + 1 */
static const char *watch_new;                  /* what the destination becomes, at watch_start */

static void
step(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)info;
	(void)context;
	steps++;
	for (size_t at = watch_start; at < watch_end; at += 8)
		if (memcmp(area + at, old + at, 8) != 0 && memcmp(area + at, watch_new + at - watch_start, 8) != 0)
			torn_at = at + 1;
}

static inline void
trap(bool on)
{
	/* the red zone must stay as it is: hence no push on the compiler's stack */
	if (on)
		__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; orq %0, (%%rsp); popfq; lea 128(%%rsp), %%rsp"
		                 :
		                 : "i"(TRAP_FLAG)
		                 : "memory", "cc");
	else
		__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; andq %0, (%%rsp); popfq; lea 128(%%rsp), %%rsp"
		                 :
		                 : "i"(~TRAP_FLAG)
		                 : "memory", "cc");
}

static void
watch(size_t dest, size_t n)
{
	watch_start = (dest + 7) & ~(size_t)7;
	watch_end = (dest + n) & ~(size_t)7;
	if (watch_end < watch_start)
		watch_end = watch_start;
	steps = torn_at = 0;
}

static void
step_through(const struct engine *e, int kind, size_t dest, size_t src, size_t n, unsigned flags)
{
	static char expected[AREA];

	memcpy(area, old, AREA);
	watch(dest, n);
	watch_new = new + src + (watch_start - dest);
	trap(true);
	e->kinds[kind].copy(area + dest, new + src, n, flags);
	trap(false);
	cr_assert_eq(torn_at, 0, "%s: copy of %zu to offset %zu, flags %x, tore the word at %zu", e->name, n, dest % 64, flags,
	    torn_at - 1);
	cr_assert_gt(steps, 5);

	memcpy(area, old, AREA);
	memset(expected, 0, sizeof(expected)); /* no byte of `old` is 0 */
	watch_new = expected;
	trap(true);
	e->kinds[kind].set(area + dest, 0, n, flags);
	trap(false);
	cr_assert_eq(torn_at, 0, "%s: set of %zu at offset %zu, flags %x, tore the word at %zu", e->name, n, dest % 64, flags,
	    torn_at - 1);
}

static void
step_start(void)
{
	struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO};

	fill();
	flush_engines_emulate();
	sigaction(SIGTRAP, &action, NULL);
}

Test(flush_words, each_changes_in_one_instruction)
{
	static const size_t offsets[] = {0, 1, 4, 7, 8, 12, 24, 55, 56, 57, 63};
	static const size_t lengths[] = {1, 4, 7, 8, 9, 12, 15, 16, 17, 20, 23, 24, 25, 31, 32, 33, 40, 41, 47, 48, 56, 57, 63, 64, 65,
		72, 79, 96, 120, 127, 128, 129, 200, 264};
	static const unsigned ways[] = {FLUSH_TEMPORAL, FLUSH_NONTEMPORAL};
	unsigned turn = 0;

	step_start();
	for (const struct engine *e = flush_engines(); e->name != NULL; e++)
		for (size_t i = 0; e->words && i < sizeof(offsets) / sizeof(offsets[0]); i++)
			for (size_t j = 0; j < sizeof(lengths) / sizeof(lengths[0]); j++, turn++)
				step_through(e, turn / 2 % 2 ? LINE_CLFLUSH : LINE_EMPTY, 1024 + offsets[i], 1024 + (turn % 3 ? offsets[i] : turn % 64),
				    lengths[j], ways[turn % 2]);
}

/* The watcher does see it when a word is written in halves. */
Test(flush_words, halves_are_noticed)
{
	step_start();
	memcpy(area, old, AREA);
	watch(1024, 16);
	watch_new = new + 1024;
	trap(true);
	for (size_t i = 1024; i < 1040; i += 4)
		*(volatile uint32_t *)(void *)(area + i) = *(volatile uint32_t *)(void *)(new + i);
	trap(false);
	cr_assert_neq(torn_at, 0);
}
#endif

/* --- a second thread ---------------------------------------------------------------------------------------------- */

static atomic_bool stop;
static atomic_size_t seen_torn, looks;

/* Each word holds the same byte eight times, at all times. */
static void *
reader(void *arg)
{
	volatile uint64_t *words = (volatile uint64_t *)(void *)area;

	(void)arg;
	while (!atomic_load(&stop))
		for (size_t i = 0; i < AREA / 8; i++) {
			uint64_t w = words[i];

			if (w != (w & 0xff) * UINT64_C(0x0101010101010101))
				atomic_store(&seen_torn, i * 8 + 1);
			atomic_fetch_add_explicit(&looks, 1, memory_order_relaxed);
		}
	return NULL;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

Test(flush_words, a_reader_sees_old_or_new)
{
	static char values[2][AREA];
	pthread_t thread;

	flush_engines_emulate();
	memset(area, 0, AREA);
	memset(values[0], 0x00, AREA);
	memset(values[1], 0xff, AREA);
	cr_assert_eq(pthread_create(&thread, NULL, reader, NULL), 0);
	for (const struct engine *e = flush_engines(); e->name != NULL; e++) {
		double end = now() + 0.25; /* enough to be caught: the published library is, within milliseconds */

		for (unsigned turn = 0; e->words && (turn < 2000 || now() < end); turn++) {
			const char *from = values[turn & 1];
			int kind = turn % 3 ? LINE_EMPTY : LINE_EMPTY + 1;
			size_t offset = turn * 8 % 512, n = 8 * (1 + turn % 40);

			/* whole words only: at ragged ends a word is half old by right */
			e->kinds[kind].copy(area + offset, from, n, turn & 2 ? FLUSH_NONTEMPORAL : FLUSH_TEMPORAL);
			e->kinds[kind].set(area + 2048 + offset, from[0], n, turn & 4 ? FLUSH_NONTEMPORAL : FLUSH_TEMPORAL);
		}
		cr_assert_eq(atomic_load(&seen_torn), 0, "%s: the word at %zu was seen torn", e->name, atomic_load(&seen_torn) - 1);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	cr_assert_gt(atomic_load(&looks), 1000);
}
