/* crash_alloc_steps.c -- killed at any instruction: what a heap's region looks like then can be repaired
 *
 * A child works on a heap in shared memory, one instruction at a time (ptrace(2)). After each that changed anything in the
 * heap's tables this process takes what it sees there, which is what a kill at that instruction would leave, repairs it
 * and holds it against the child's log of what was completed. Instructions that change no table leave what the one before
 * them left. PMHEAP_OPS=N: operations per test; PMHEAP_SEED=N: which ones.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "alloc/assert.h"
#include "alloc/heap.h"
#include "alloc/heap_media.h"
#include "alloc/heap_state.h"
#include "alloc/repair.h"
#include "tests/crash_log.h"
#include "tests/heap_region.h"

#define SIZE ((size_t)3 << 20) /* two chunks: they become ready one by one */

#if defined(__SANITIZE_ADDRESS__) || PMHEAP_ASSERT >= 3
#define INSTRUMENTED 1
#else
#define INSTRUMENTED 0
#endif
#define OPS 128

static struct heap_region region;  /* the child's heap */
static struct heap_region scratch; /* what is repaired */
static struct crash_log *log_;
static char *last;    /* the tables as they were looked at last */
static size_t tables; /* bytes, from the superblock on */
static uint64_t seed;

static void
begin(void)
{
	const char *given = getenv("PMHEAP_SEED");

	seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
	log_ = mmap(NULL, sizeof(*log_), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(log_, MAP_FAILED);
}

TestSuite(crash_alloc_steps, .init = begin);

static uint64_t
number_of_ops(uint64_t otherwise)
{
	const char *given = getenv("PMHEAP_OPS");
	uint64_t n = given ? strtoull(given, NULL, 0) : otherwise;

	return n < 64 ? 64 : n;
}

/* --- the child --------------------------------------------------------------------------------------------------- */

static struct heap *heap;
static struct tcache_cell cell = TCACHE_CELL_INIT;

static void *
take(void *ctx, size_t align, size_t size)
{
	(void)ctx;
	return align != 0 ? heap_aligned_alloc(heap, &cell, align, size) : heap_malloc(heap, &cell, size);
}

static void *
resize(void *ctx, void *p, size_t size)
{
	(void)ctx;
	return heap_realloc(heap, &cell, p, size);
}

static void
give(void *ctx, void *p)
{
	(void)ctx;
	heap_free(heap, &cell, p);
}

static void
work(uint64_t ops)
{
	struct crash_heap way = {NULL, region.config.base, take, resize, give};
	struct crash_work plan = {&way, log_, 0, seed++, ops, 60000, true};

	crash_work(&plan);
}

static void
attach(void)
{
	if (heap_attach(&heap, &region.config) != 0)
		_exit(2);
}

/* Everything that ever changes tables: blocks, empty slabs given back, punching, detaching, attaching, repairing. */
static void
child(uint64_t ops)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves none behind */
	heap = heap_region_create_heap(&region);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		_exit(77);
	raise(SIGSTOP);
	for (unsigned round = 0; round < 4; round++) {
		work(ops / 4);
		heap_purge_all(heap);
		work(ops / 16);
		if (round == 1) {
			struct heap_repair_report report;

			/* As if killed; then the repair is what can be killed. */
			atomic_fetch_add(&log_->lost, atomic_load(&heap->media->cache_room));
			heap_abandon(heap);
			if (heap_repair(&region.config, NULL, &report) != 0)
				_exit(3);
			attach();
		} else if (round == 2) {
			heap_thread_exit(heap, &cell);
		} else {
			heap_detach(heap);
			attach();
		}
	}
	heap_detach(heap);
	_exit(0);
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

struct seen {
	unsigned blocks;
	uint64_t bytes;
	const char *bad;
};

/* Each block that is there; those of the log must be among them, whole. */
static void
see_block(void *ctx, void *p, size_t usable)
{
	struct seen *seen = ctx;
	uint64_t off = (uint64_t)((char *)p - (char *)scratch.config.base);
	const struct crash_slot *slot = crash_log_at(log_, off, usable);

	if (slot == NULL)
		return;
	seen->blocks++;
	seen->bytes += usable;
	if (slot->off != off || slot->size > usable)
		seen->bad = "a block is not as long as it was, or begins elsewhere";
}

/* The heap must work: what it gives now lies over nothing that is live. */
static const char *
allocate_some(struct heap *repaired)
{
	static const size_t sizes[] = {1, 40, 200, 600, 3000, 40000, 100000};
	struct tcache_cell own = TCACHE_CELL_INIT;
	void *p[sizeof(sizes) / sizeof(sizes[0])];
	char why[128];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		p[i] = heap_malloc(repaired, &own, sizes[i]);
		if (p[i] != NULL &&
		    crash_log_at(log_, (uint64_t)((char *)p[i] - (char *)scratch.config.base), sizes[i]) != NULL)
			return "a new block lies over one that is live";
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (p[i] != NULL)
			heap_free(repaired, &own, p[i]);
	if (heap_check(repaired, why, sizeof(why)) != 1)
		return "the heap is not whole after new blocks";
	heap_detach(repaired);
	return NULL;
}

/* NULL, or what is wrong with the region as it is now. */
static const char *
look(uint64_t nth)
{
	struct heap_repair_report report;
	struct seen seen = {0, 0, NULL};
	struct heap *repaired;
	const char *bad;
	unsigned live;
	static char text[256];

	memcpy((char *)scratch.config.base + region.config.reserved, last, tables);
	uint64_t generation = ((struct heap_media *)(uintptr_t)last)->generation;
	if (heap_repair(&scratch.config, NULL, &report) != 0) {
		snprintf(text, sizeof(text), "no repair: %s at %" PRIu64, report.why, report.where);
		return text;
	}
	if (heap_attach(&repaired, &scratch.config) != 0)
		return "the repaired heap cannot be attached";
	if (heap_check(repaired, text, sizeof(text)) != 1)
		return text;
	if (repaired->media->generation != generation + 1)
		return "the generation does not count the repair";
	bad = crash_log_verify(log_, region.config.base, true, &live);
	heap_each_block(repaired, see_block, &seen);
	if (bad == NULL)
		bad = seen.bad;
	if (bad == NULL && seen.blocks != live)
		bad = "a live block is not there";
	if (bad == NULL && report.slots + report.large < live)
		bad = "the report counts fewer blocks than are live";
	/* Nothing is invented: what is allocated beside that was in the cache, or on its way. */
	if (bad == NULL &&
	    report.bytes > seen.bytes + report.cached_max + atomic_load(&log_->lost) + crash_log_under_way(log_))
		bad = "more is allocated than the cache can have held";
	if (bad == NULL && nth % 16 == 0)
		return allocate_some(repaired);
	heap_abandon(repaired);
	return bad;
}

static void
step_through(uint64_t ops, enum heap_backing backing, bool dirty)
{
	uint64_t steps = 0, looks = 0;
	cpu_set_t one;
	int status;
	pid_t pid;

	if (INSTRUMENTED && getenv("PMHEAP_OPS") == NULL)
		cr_skip_test(
			"instrumented code has ten times as many instructions, and alloc_repair covers the repair");
	heap_region_map(&region, SIZE, backing, dirty);
	heap_region_map(&scratch, SIZE, backing, dirty);
	/* Parent and child take turns: on one cpu that is twice as fast. */
	CPU_ZERO(&one);
	CPU_SET((unsigned)sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	pid = fork();

	if (pid == 0)
		child(ops);
	cr_assert_gt(pid, 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		cr_skip_test("ptrace(2) is not allowed here");
	cr_assert(WIFSTOPPED(status));
	const struct heap_media *media = (const void *)((char *)region.config.base + region.config.reserved);
	tables = media->pages_off - region.config.reserved;
	last = malloc(tables);
	memset(last, 0, tables);
	for (;;) {
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0) {
			kill(pid, SIGKILL);
			cr_skip_test("this machine cannot be stepped: %s", strerror(errno));
		}
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		if (!WIFSTOPPED(status))
			break;
		steps++;
		if (memcmp(last, media, tables) == 0)
			continue;
		memcpy(last, media, tables);
		const char *bad = look(looks++);
		if (bad != NULL)
			kill(pid, SIGKILL);
		cr_assert_null(bad, "after %" PRIu64 " instructions and %" PRIu64 " operations: %s", steps,
			       atomic_load(&log_->ops), bad);
	}
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child: status 0x%x", (unsigned)status);
	fprintf(stderr,
		"crash_alloc_steps: %" PRIu64 " instructions, %" PRIu64 " of them changed tables, %" PRIu64
		" operations\n",
		steps, looks, atomic_load(&log_->ops));
	cr_assert_gt(looks, 500);
}

Test(crash_alloc_steps, every_instruction_leaves_a_heap_that_can_be_repaired)
{
	fprintf(stderr, "crash_alloc_steps: PMHEAP_SEED=%" PRIu64 "\n", seed);
	step_through(number_of_ops(OPS), HEAP_BACKING_SPARSE, false);
}

/* Where the file held something else before: no table is clear but what was cleared. */
Test(crash_alloc_steps, the_same_where_nothing_was_zero)
{
	fprintf(stderr, "crash_alloc_steps: PMHEAP_SEED=%" PRIu64 "\n", seed);
	step_through(number_of_ops(OPS), HEAP_BACKING_FULL, true);
}
