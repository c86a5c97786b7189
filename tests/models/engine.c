/* engine.c -- see engine.h
 *
 * Owns:   the coroutines, the search, and the functions that -fsanitize=thread calls.
 * Rules:  a step is: what the thread announced before it stopped, then all up to its next announcement. Stores into
 *         the own buffer are part of it: nobody else can see them.
 * Media:  none.
 * Fails:  exit status 1, with the path; 2 when the model itself is at fault.
 */
#include "tests/models/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STACK_SIZE ((size_t)16384)
#define MAX_RANGES 32
#define MAX_STATES ((size_t)30 << 20) /* half a gigabyte of hashes: a scenario with more is one that does not end */
#define MAX_BUFFER 3 /* stores that wait at the most; a further one is made to commit the oldest first */

struct range {
	char *p;
	size_t size;
};

struct store {
	char *p;
	uint64_t value;
	uint32_t size;
	uint32_t release;
};

struct thread {
	void *sp;
	void (*fn)(void);
	const uint32_t *wait_word; /* NULL: ready */
	uint64_t wait_value;
	uint32_t done;
	uint32_t noutcomes, outcome;
	const char *what; /* announced: for the path */
	const void *where;
	struct store buffer[MAX_BUFFER];
	uint64_t nbuffer;
};

/* All that is the engine's own part of a state. */
static struct {
	struct thread threads[MC_MAX_THREADS];
	uint32_t n, self;
} now;

static char stacks[MC_MAX_THREADS][STACK_SIZE] __attribute__((aligned(64)));
static struct range regions[MAX_RANGES], watched[MAX_RANGES], quiet[MAX_RANGES];
static size_t nregions, nwatched, nquiet;
static void *engine_sp;
static const char *scenario, *failure;
static bool exploring;
static bool at_end; /* in the model's final() */
static uint64_t total_states, total_steps;

static _Noreturn void print_failure(void);

/* --- coroutines -------------------------------------------------------------------------------------------------- */

#ifndef __x86_64__
#error "the engine changes stacks in x86-64 instructions"
#endif

void mc_switch(void **save, void *load);
__asm__(".text\n.globl mc_switch\n.type mc_switch,@function\nmc_switch:\n"
	"push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
	"mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
	"pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n.size mc_switch,.-mc_switch\n");

static struct thread *
self(void)
{
	return &now.threads[now.self];
}

static void
leave(void)
{
	mc_switch(&self()->sp, engine_sp);
}

static void
announce(const char *what, const void *where)
{
	struct thread *t = self();

	t->what = what;
	t->where = where;
	leave();
}

static void
thread_main(void)
{
	announce("begins", NULL);
	self()->fn();
	self()->done = 1;
	self()->what = "is done";
	leave();
	abort();
}

static void
resume(uint32_t i)
{
	now.self = i;
	mc_switch(&engine_sp, now.threads[i].sp);
}

/* --- store buffers ----------------------------------------------------------------------------------------------- */

static void
put(char *p, uint32_t size, uint64_t value)
{
	memcpy(p, &value, size); /* little-endian, as x86-64 is */
}

static uint64_t
get(const char *p, uint32_t size)
{
	uint64_t value = 0;

	memcpy(&value, p, size);
	return value;
}

static void
commit(struct thread *t, uint64_t i)
{
	put(t->buffer[i].p, t->buffer[i].size, t->buffer[i].value);
	t->nbuffer--;
	memmove(&t->buffer[i], &t->buffer[i + 1], (t->nbuffer - i) * sizeof(t->buffer[0]));
	memset(&t->buffer[t->nbuffer], 0, sizeof(t->buffer[0]));
}

static bool
may_commit(const struct thread *t, uint64_t i)
{
	if (t->buffer[i].release && i != 0)
		return false;
	for (uint64_t k = 0; k < i; k++)
		if (t->buffer[k].p == t->buffer[i].p)
			return false;
	return true;
}

static void
drain(struct thread *t)
{
	while (t->nbuffer != 0)
		commit(t, 0);
}

void
mc_drain(void)
{
	if (exploring)
		drain(self());
}

/* --- what threads call ------------------------------------------------------------------------------------------- */

unsigned
mc_self(void)
{
	return now.self;
}

void
mc_fail(const char *why)
{
	failure = why;
	if (at_end)
		print_failure();
	if (!exploring) {
		printf("%s: %s\n", scenario, why);
		exit(2);
	}
	leave();
	abort();
}

void
mc_wait(const uint32_t *word, uint32_t value)
{
	struct thread *t = self();

	if (!exploring)
		return;
	t->wait_word = word;
	t->wait_value = value;
	announce("waits for", word);
	t->wait_word = NULL;
	t->wait_value = 0;
	drain(t);
}

unsigned
mc_choose(unsigned n)
{
	struct thread *t = self();

	if (!exploring)
		return 0;
	t->noutcomes = n;
	announce("chooses", NULL);
	t->noutcomes = 1;
	return t->outcome;
}

void
mc_barrier_all(void)
{
	if (!exploring)
		return;
	announce("barrier", NULL);
	for (uint32_t i = 0; i < now.n; i++)
		drain(&now.threads[i]);
}

/* --- the search -------------------------------------------------------------------------------------------------- */

struct step {
	uint32_t thread;
	uint32_t which; /* outcome, or -1 - entry of the buffer that commits */
};

struct frame {
	struct step next, taken;
	const char *what;
	const void *where;
	char *snapshot;
};

static char *
copy_out(char *to, const void *from, size_t n)
{
	memcpy(to, from, n);
	return to + n;
}

static size_t
live(const struct thread *t, size_t i)
{
	return (size_t)(stacks[i] + STACK_SIZE - (char *)t->sp);
}

static size_t
state_size(void)
{
	size_t n = sizeof(now);

	for (size_t i = 0; i < nregions; i++)
		n += regions[i].size;
	for (size_t i = 0; i < now.n; i++)
		n += live(&now.threads[i], i);
	return (n + 7) & ~(size_t)7;
}

static char *
save(size_t *size)
{
	static char *scratch;
	static size_t room;

	*size = state_size();
	if (*size > room) {
		room = *size * 2;
		scratch = realloc(scratch, room);
	}
	memset(scratch + *size - 8, 0, 8);
	char *at = copy_out(scratch, &now, sizeof(now));
	for (size_t i = 0; i < nregions; i++)
		at = copy_out(at, regions[i].p, regions[i].size);
	for (size_t i = 0; i < now.n; i++)
		at = copy_out(at, now.threads[i].sp, live(&now.threads[i], i));
	return scratch;
}

static void
restore(const char *from)
{
	memcpy(&now, from, sizeof(now));
	from += sizeof(now);
	for (size_t i = 0; i < nregions; i++) {
		memcpy(regions[i].p, from, regions[i].size);
		from += regions[i].size;
	}
	for (size_t i = 0; i < now.n; i++) {
		memcpy(now.threads[i].sp, from, live(&now.threads[i], i));
		from += live(&now.threads[i], i);
	}
}

/* Two multiplications a word, folded: what is hashed is mostly zero, and must not be slow. */
static uint64_t
hash_of(const char *p, size_t n)
{
	uint64_t hash = UINT64_C(0x9e3779b97f4a7c15);

	for (size_t i = 0; i + 8 <= n; i += 8) {
		uint64_t word;

		memcpy(&word, p + i, 8);
		__uint128_t product = (__uint128_t)(hash ^ word) * UINT64_C(0xd6e8feb86659fd93);
		hash = (uint64_t)product ^ (uint64_t)(product >> 64) ^ (hash << 23 | hash >> 41);
	}
	return hash | 1;
}

/* The states met, by hash: open addressing, doubled at half full. With 10^7 states the odds that two of them share a
 * hash, so that one is not looked at, are 3 in a million. */
static uint64_t *seen;
static size_t nseen, seen_room;

static bool
meet(uint64_t hash)
{
	if (nseen == MAX_STATES) {
		printf("%s: no end after %zu states\n", scenario, nseen);
		exit(2);
	}
	if ((nseen + 1) * 2 > seen_room) {
		size_t old_room = seen_room;
		uint64_t *old = seen;

		seen_room = seen_room != 0 ? seen_room * 2 : 1 << 16;
		seen = calloc(seen_room, sizeof(*seen));
		if (seen == NULL) {
			printf("%s: out of memory after %zu states\n", scenario, nseen);
			exit(2);
		}
		nseen = 0;
		for (size_t i = 0; i < old_room; i++)
			if (old[i] != 0)
				meet(old[i]);
		free(old);
	}
	size_t i = (size_t)(hash >> 20) & (seen_room - 1);
	for (; seen[i] != 0; i = (i + 1) & (seen_room - 1))
		if (seen[i] == hash)
			return false;
	seen[i] = hash;
	nseen++;
	return true;
}

static bool
ready(const struct thread *t)
{
	return !t->done && (t->wait_word == NULL || *t->wait_word == t->wait_value);
}

/* The first possible step at or after *step; false: there is none. */
static bool
find_step(struct step *step)
{
	for (; step->thread < now.n; step->thread++, step->which = 0) {
		const struct thread *t = &now.threads[step->thread];
		uint32_t outcomes = ready(t) ? t->noutcomes : 0;

		if (step->which < outcomes)
			return true;
		if (step->which < UINT32_C(0x80000000))
			step->which = UINT32_C(0x80000000);
		for (; step->which - UINT32_C(0x80000000) < t->nbuffer; step->which++)
			if (may_commit(t, step->which - UINT32_C(0x80000000)))
				return true;
	}
	return false;
}

static void
take_step(const struct step *step)
{
	struct thread *t = &now.threads[step->thread];

	if (step->which >= UINT32_C(0x80000000)) {
		commit(t, step->which - UINT32_C(0x80000000));
		return;
	}
	t->outcome = step->which;
	resume(step->thread);
}

static struct frame *frames;
static size_t nframes, frames_room;

static _Noreturn void
print_failure(void)
{
	printf("%s: %s\n", scenario, failure);
	for (size_t i = 0; i < nframes; i++) {
		const struct frame *f = &frames[i];

		printf("  %3zu thread %u %s %p\n", i, f->taken.thread, f->what, f->where);
	}
	exit(1);
}

static void
push(const char *state, size_t size)
{
	if (nframes == frames_room) {
		frames_room = frames_room != 0 ? frames_room * 2 : 256;
		frames = realloc(frames, frames_room * sizeof(*frames));
	}
	frames[nframes] = (struct frame){{0, 0}, {0, 0}, NULL, NULL, malloc(size)};
	memcpy(frames[nframes].snapshot, state, size);
	nframes++;
}

static void
check_end(void (*final)(void))
{
	for (uint32_t i = 0; i < now.n; i++)
		if (!now.threads[i].done)
			failure = "nobody can go on";
	if (failure == NULL && final != NULL) {
		exploring = false; /* its atomic operations are no steps */
		at_end = true;
		final();
		at_end = false;
		exploring = true;
	}
	if (failure != NULL)
		print_failure();
}

void
mc_explore(void (*final)(void))
{
	uint64_t steps = 0, ends = 0;
	size_t size, deepest = 0;

	exploring = true;
	for (uint32_t i = 0; i < now.n; i++)
		resume(i); /* up to "begins" */
	char *state = save(&size);
	meet(hash_of(state, size));
	push(state, size);
	while (nframes != 0) {
		struct frame *f = &frames[nframes - 1];

		restore(f->snapshot);
		if (!find_step(&f->next)) {
			if (f->what == NULL) { /* no step was possible */
				check_end(final);
				ends++;
			}
			free(f->snapshot);
			nframes--;
			continue;
		}
		f->taken = f->next;
		f->next.which++;
		bool commits = f->taken.which >= UINT32_C(0x80000000);
		const struct thread *t = &now.threads[f->taken.thread];
		f->what = commits ? "is seen to store" : t->what;
		f->where = commits ? t->buffer[f->taken.which - UINT32_C(0x80000000)].p : t->where;
		take_step(&f->taken);
		steps++;
		if (failure != NULL)
			print_failure();
		state = save(&size);
		if (meet(hash_of(state, size))) {
			push(state, size);
			if (nframes > deepest)
				deepest = nframes;
		}
	}
	exploring = false;
	printf("  %-44s %9zu states %10llu steps %7llu ends, depth %zu\n", scenario, nseen, (unsigned long long)steps,
	       (unsigned long long)ends, deepest);
	total_states += nseen;
	total_steps += steps;
}

void
mc_begin(const char *name)
{
	scenario = name;
	failure = NULL;
	memset(&now, 0, sizeof(now));
	memset(stacks, 0, sizeof(stacks));
	nregions = nwatched = nquiet = 0;
	free(seen);
	seen = NULL;
	nseen = seen_room = 0;
}

static void
add(struct range *ranges, size_t *n, const void *p, size_t size)
{
	if (*n == MAX_RANGES)
		mc_fail("too many ranges");
	ranges[(*n)++] = (struct range){(char *)p, size};
}

void
mc_region(void *p, size_t size)
{
	add(regions, &nregions, p, size);
}

void
mc_watch(const void *p, size_t size)
{
	add(watched, &nwatched, p, size);
}

void
mc_quiet(const void *p, size_t size)
{
	add(quiet, &nquiet, p, size);
}

void
mc_thread(void (*fn)(void))
{
	struct thread *t = &now.threads[now.n];
	void **top = (void **)(stacks[now.n] + STACK_SIZE - 64);

	if (now.n == MC_MAX_THREADS)
		mc_fail("too many threads");
	t->fn = fn;
	t->noutcomes = 1;
	/* What mc_switch pops: six registers and where to go. The stack then is aligned as behind a call. */
	top -= 1;
	*--top = (void *)thread_main;
	t->sp = top - 6;
	now.n++;
}

void
mc_report(const char *model)
{
	printf("%s: %llu states, %llu steps\n", model, (unsigned long long)total_states,
	       (unsigned long long)total_steps);
	if (total_states == 0)
		exit(2);
}

/* --- what -fsanitize=thread calls -------------------------------------------------------------------------------- */

static bool
inside(const struct range *ranges, size_t n, const void *p)
{
	for (size_t i = 0; i < n; i++)
		if ((uintptr_t)p - (uintptr_t)ranges[i].p < ranges[i].size)
			return true;
	return false;
}

static void
plain(const void *p, const char *what)
{
	if (exploring && nwatched != 0 && inside(watched, nwatched, p))
		announce(what, p);
}

/* Whether an atomic operation at p is a step. */
static bool
visible(const void *p)
{
	return exploring && !inside(quiet, nquiet, p);
}

#define SEQ_CST 5
#define RELEASE 3

static uint64_t
load(const void *p, uint32_t size)
{
	if (!visible(p))
		return get(p, size);
	announce("loads", p);
	const struct thread *t = self();
	for (uint64_t i = t->nbuffer; i-- != 0;)
		if (t->buffer[i].p == p)
			return t->buffer[i].value;
	return get(p, size);
}

static void
store(void *p, uint32_t size, uint64_t value, int order)
{
	struct thread *t = self();

	if (!visible(p)) {
		put(p, size, value);
		return;
	}
	if (order == SEQ_CST) {
		announce("stores", p);
		drain(t);
		put(p, size, value);
		return;
	}
	if (t->nbuffer == MAX_BUFFER) {
		announce("stores, oldest first, for", p);
		if (t->nbuffer == MAX_BUFFER)
			commit(t, 0);
	}
	t->buffer[t->nbuffer++] = (struct store){p, value, size, order == RELEASE};
}

enum change { EXCHANGE, ADD, SUB, AND, OR, XOR };

static uint64_t
change(void *p, uint32_t size, uint64_t operand, enum change how)
{
	if (visible(p)) {
		announce("changes", p);
		drain(self());
	}
	uint64_t old = get(p, size), new = operand;
	switch (how) {
	case EXCHANGE:
		break;
	case ADD:
		new = old + operand;
		break;
	case SUB:
		new = old - operand;
		break;
	case AND:
		new = old &operand;
		break;
	case OR:
		new = old | operand;
		break;
	case XOR:
		new = old ^ operand;
		break;
	}
	put(p, size, new);
	return old;
}

static bool
compare_exchange(void *p, uint32_t size, void *expected, uint64_t wanted)
{
	if (visible(p)) {
		announce("compares", p);
		drain(self());
	}
	if (get(p, size) == get(expected, size)) {
		put(p, size, wanted);
		return true;
	}
	put(expected, size, get(p, size));
	return false;
}

/* The names are gcc's and clang's. */
#define ATOMICS(bits, type)                                                                                            \
	type __tsan_atomic##bits##_load(const volatile type *p, int order);                                            \
	type __tsan_atomic##bits##_load(const volatile type *p, int order)                                             \
	{                                                                                                              \
		(void)order;                                                                                           \
		return (type)load((const void *)p, sizeof(type));                                                      \
	}                                                                                                              \
	void __tsan_atomic##bits##_store(volatile type *p, type value, int order);                                     \
	void __tsan_atomic##bits##_store(volatile type *p, type value, int order)                                      \
	{                                                                                                              \
		store((void *)p, sizeof(type), value, order);                                                          \
	}                                                                                                              \
	int __tsan_atomic##bits##_compare_exchange_strong(volatile type *p, type *e, type value, int order, int fail); \
	int __tsan_atomic##bits##_compare_exchange_strong(volatile type *p, type *e, type value, int order, int fail)  \
	{                                                                                                              \
		(void)order;                                                                                           \
		(void)fail;                                                                                            \
		return compare_exchange((void *)p, sizeof(type), e, value);                                            \
	}                                                                                                              \
	type __tsan_atomic##bits##_compare_exchange_val(volatile type *p, type e, type value, int order, int fail);    \
	type __tsan_atomic##bits##_compare_exchange_val(volatile type *p, type e, type value, int order, int fail)     \
	{                                                                                                              \
		(void)order;                                                                                           \
		(void)fail;                                                                                            \
		compare_exchange((void *)p, sizeof(type), &e, value);                                                  \
		return e;                                                                                              \
	}                                                                                                              \
	CHANGE(bits, type, exchange, EXCHANGE)                                                                         \
	CHANGE(bits, type, fetch_add, ADD)                                                                             \
	CHANGE(bits, type, fetch_sub, SUB)                                                                             \
	CHANGE(bits, type, fetch_and, AND)                                                                             \
	CHANGE(bits, type, fetch_or, OR)                                                                               \
	CHANGE(bits, type, fetch_xor, XOR)
#define CHANGE(bits, type, name, how)                                                                                  \
	type __tsan_atomic##bits##_##name(volatile type *p, type value, int order);                                    \
	type __tsan_atomic##bits##_##name(volatile type *p, type value, int order)                                     \
	{                                                                                                              \
		(void)order;                                                                                           \
		return (type)change((void *)p, sizeof(type), value, how);                                              \
	}
ATOMICS(8, uint8_t)
ATOMICS(16, uint16_t)
ATOMICS(32, uint32_t)
ATOMICS(64, uint64_t)

void __tsan_atomic_thread_fence(int order);
void
__tsan_atomic_thread_fence(int order)
{
	if (order == SEQ_CST)
		mc_drain();
}

void __tsan_atomic_signal_fence(int order);
void
__tsan_atomic_signal_fence(int order)
{
	(void)order;
}

#define PLAIN(name, what)                                                                                              \
	void __tsan_##name(void *p);                                                                                   \
	void __tsan_##name(void *p)                                                                                    \
	{                                                                                                              \
		plain(p, what);                                                                                        \
	}
PLAIN(read1, "reads")
PLAIN(read2, "reads")
PLAIN(read4, "reads")
PLAIN(read8, "reads")
PLAIN(read16, "reads")
PLAIN(write1, "writes")
PLAIN(write2, "writes")
PLAIN(write4, "writes")
PLAIN(write8, "writes")
PLAIN(write16, "writes")
PLAIN(unaligned_read2, "reads")
PLAIN(unaligned_read4, "reads")
PLAIN(unaligned_read8, "reads")
PLAIN(unaligned_read16, "reads")
PLAIN(unaligned_write2, "writes")
PLAIN(unaligned_write4, "writes")
PLAIN(unaligned_write8, "writes")
PLAIN(unaligned_write16, "writes")

void __tsan_read_range(void *p, size_t size);
void
__tsan_read_range(void *p, size_t size)
{
	(void)size;
	plain(p, "reads");
}

void __tsan_write_range(void *p, size_t size);
void
__tsan_write_range(void *p, size_t size)
{
	(void)size;
	plain(p, "writes");
}

/* clang asks for these where it would call the C library's. */
void *__tsan_memset(void *p, int c, size_t n);
void *
__tsan_memset(void *p, int c, size_t n)
{
	return memset(p, c, n);
}

void *__tsan_memcpy(void *to, const void *from, size_t n);
void *
__tsan_memcpy(void *to, const void *from, size_t n)
{
	return memcpy(to, from, n);
}

void *__tsan_memmove(void *to, const void *from, size_t n);
void *
__tsan_memmove(void *to, const void *from, size_t n)
{
	return memmove(to, from, n);
}

void __tsan_func_entry(void *caller);
void
__tsan_func_entry(void *caller)
{
	(void)caller;
}

void __tsan_func_exit(void);
void
__tsan_func_exit(void)
{
}

void __tsan_init(void);
void
__tsan_init(void)
{
}
