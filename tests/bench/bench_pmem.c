/* bench_pmem.c -- libpmem beside Debian's, glibc with flushes, and two loops that show what the CPU can do
 *
 * usage: bench_pmem OUR-LIBPMEM [THEIR-LIBPMEM] [key=value...]
 *   ms=N       milliseconds per line of the table, at least [150]
 *   min=BYTES, max=BYTES  smallest and largest size      [8, 67108864]
 *   op=NAME    one operation only: copy, copy_nodrain, set, set_nodrain, persist, flush
 *   dest=NAME  one state of the destination only: cold, next, read, dirty, again (enum dest)
 *   at=N       one offset of the destination only: 0, 8 or 3
 *   place=FOLDER of the file that is mapped              [/dev/shm]
 *
 * How it is made trustworthy (samples: pmem_sample.h):
 *   - A round is one sample of each contender, in an order drawn anew, over the same places. Small samples last
 *     microseconds, so that what disturbs the machine disturbs a whole round.
 *   - A contender's figure is the median over the rounds, a ratio the median of the rounds' ratios.
 *   - Each loop is in every round twice, as itself and as its own opponent: `A/A` is their ratio, the noise that is left.
 *     It ought to be 1.00.
 *   - nodrain and flush have one drain after the batch, inside the measured time.
 *
 * Media: a file without a name.
 */
#include "tests/bench/pmem_sample.h"

#include <dlfcn.h>

#include "flush/cpu.h"
#include "tests/bench/pmem_loops.h"

#define MIN_ROUNDS 11

enum op { COPY, COPY_NODRAIN, SET, SET_NODRAIN, PERSIST, FLUSH, OPS };
static const char *const op_names[OPS] = {"copy", "copy_nodrain", "set", "set_nodrain", "persist", "flush"};
static const char *const op_texts[OPS] = {
	"pmem_memcpy_persist", "pmem_memcpy_nodrain",    "pmem_memset_persist",
	"pmem_memset_nodrain", "store and pmem_persist", "store and pmem_flush",
};

struct contender {
	const char *name;
	void *(*copy[2])(void *, const void *, size_t); /* persist, nodrain */
	void *(*set[2])(void *, int, size_t);
	void (*persist)(const void *, size_t);
	void (*flush)(const void *, size_t);
	void (*drain)(void);
};

/* --- contenders ------------------------------------------------------------------------------------------------- */

enum { OURS, THEIRS, GLIBC, NT, NT_AGAIN, WB, WB_AGAIN, CONTENDERS };

#define LOOP(name, kind, isa)                                                                                          \
	{                                                                                                              \
		name, {kind##_persist_##isa, kind##_nodrain_##isa},                                                    \
			{kind##_set_persist_##isa, kind##_set_nodrain_##isa}, loop_persist, loop_flush, loop_drain     \
	}
static const struct contender loops[2][2] = {
	{LOOP("NT loop", nt, avx), LOOP("WB loop", wb, avx)},
	{LOOP("NT loop", nt, avx512), LOOP("WB loop", wb, avx512)},
};

static struct contender contenders[CONTENDERS] = {
	[GLIBC] = {"glibc + flush",
		   {glibc_copy_persist, glibc_copy_nodrain},
		   {glibc_set_persist, glibc_set_nodrain},
		   loop_persist,
		   loop_flush,
		   loop_drain},
};

static bool
load(struct contender *c, const char *name, const char *path)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	c->name = name;
	if (library == NULL) {
		printf("%s: %s\n", name, dlerror());
		return false;
	}
	*(void **)&c->copy[0] = dlsym(library, "pmem_memcpy_persist");
	*(void **)&c->copy[1] = dlsym(library, "pmem_memcpy_nodrain");
	*(void **)&c->set[0] = dlsym(library, "pmem_memset_persist");
	*(void **)&c->set[1] = dlsym(library, "pmem_memset_nodrain");
	*(void **)&c->persist = dlsym(library, "pmem_persist");
	*(void **)&c->flush = dlsym(library, "pmem_flush");
	*(void **)&c->drain = dlsym(library, "pmem_drain");
	return true;
}

struct cell {
	enum op op;
	struct batch batch;
};

/* Nanoseconds per call. */
static double
sample(const struct contender *c, const struct cell *cell)
{
	const struct batch *b = &cell->batch;
	uint64_t start;

	batch_prepare(b);
	start = ticks();
	for (unsigned i = 0; i < b->calls; i++) {
		char *d = b->places[i];

		switch (cell->op) {
		case COPY:
		case COPY_NODRAIN:
			c->copy[cell->op == COPY_NODRAIN](d, sample_source, b->size);
			break;
		case SET:
		case SET_NODRAIN:
			c->set[cell->op == SET_NODRAIN](d, (int)i, b->size);
			break;
		default:
			for (size_t at = 0; at < b->size; at += 64)
				((volatile char *)d)[at] = (char)i;
			(cell->op == PERSIST ? c->persist : c->flush)(d, b->size);
		}
	}
	if (cell->op == COPY_NODRAIN || cell->op == SET_NODRAIN || cell->op == FLUSH)
		c->drain();
	return ns_since(start) / b->calls;
}

/* --- a line of the table ----------------------------------------------------------------------------------------- */

static float times[CONTENDERS][SAMPLE_ROUNDS];

static double
ratio(int a, int b, unsigned n)
{
	static float quotient[SAMPLE_ROUNDS];

	for (unsigned i = 0; i < n; i++)
		quotient[i] = times[a][i] / times[b][i];
	return median(quotient, n);
}

/* How many lines, how many above the limit, the largest. */
struct tally {
	unsigned lines, above;
	double limit, worst;
};
#define EACH(n)                                                                                                        \
	{                                                                                                              \
		[0 ... DESTS - 1] = {.limit = n }                                                                      \
	}
static struct tally to_loop[DESTS] = EACH(1.03), to_theirs[DESTS] = EACH(1.02), to_itself[DESTS] = EACH(0.01);

static void
tally(struct tally *t, double value)
{
	t->lines++;
	t->above += value > t->limit;
	t->worst = value > t->worst ? value : t->worst;
}

static void
line(struct cell *cell, double ms)
{
	struct batch *b = &cell->batch;
	double end = clock_ns() + ms * 1e6, itself, loop, theirs;
	uint32_t order[CONTENDERS];
	unsigned n = 0;
	int better;

	for (uint32_t i = 0; i < CONTENDERS; i++)
		order[i] = i;
	while (n < SAMPLE_ROUNDS && (n < MIN_ROUNDS || clock_ns() < end)) {
		batch_place(b);
		shuffle(order, CONTENDERS);
		for (int i = 0; i < CONTENDERS; i++)
			times[order[i]][n] =
				contenders[order[i]].drain != NULL ? (float)sample(&contenders[order[i]], cell) : 1;
		n++;
	}
	better = median(times[NT], n) < median(times[WB], n) ? NT : WB;
	loop = ratio(OURS, better, n);
	itself = ratio(better + 1, better, n);
	printf("| %zu | %zu | %s |", b->size, b->offset, dest_names[b->dest]);
	for (int c = 0; c < CONTENDERS; c++)
		if (c != NT_AGAIN && c != WB_AGAIN) {
			double t = contenders[c].drain != NULL ? median(times[c], n) : 0;

			printf(t < 1000 ? " %.1f |" : " %.0f |", t);
		}
	printf(" %.2f |", loop);
	tally(&to_loop[b->dest], loop);
	tally(&to_itself[b->dest], itself > 1 ? itself - 1 : 1 - itself);
	if (contenders[THEIRS].drain != NULL) {
		theirs = ratio(OURS, THEIRS, n);
		printf(" %.2f |", theirs);
		tally(&to_theirs[b->dest], theirs);
	} else {
		printf(" - |");
	}
	printf(" %.3f |\n", itself);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	const char *their = "/usr/lib/x86_64-linux-gnu/libpmem.so.1", *place = "/dev/shm", *dest = NULL;
	static const size_t offsets[] = {0, 8, 3};
	size_t min = 8, max = (size_t)64 << 20;
	double ms = 150;
	struct cpu_x86 cpu;
	int only = -1, at = -1;

	for (int i = 2; i < argc; i++)
		if (strncmp(argv[i], "ms=", 3) == 0)
			ms = atof(argv[i] + 3);
		else if (strncmp(argv[i], "min=", 4) == 0)
			min = strtoull(argv[i] + 4, NULL, 0);
		else if (strncmp(argv[i], "max=", 4) == 0)
			max = strtoull(argv[i] + 4, NULL, 0);
		else if (strncmp(argv[i], "place=", 6) == 0)
			place = argv[i] + 6;
		else if (strncmp(argv[i], "dest=", 5) == 0)
			dest = argv[i] + 5;
		else if (strncmp(argv[i], "at=", 3) == 0)
			at = atoi(argv[i] + 3);
		else if (strncmp(argv[i], "op=", 3) == 0)
			for (int op = 0; op < OPS; op++)
				only = strcmp(argv[i] + 3, op_names[op]) == 0 ? op : only;
		else
			their = argv[i];
	cpu_detect(&cpu, &cpu_this);
	if (argc < 2 || !cpu.clflushopt || !cpu.avx) {
		puts(argc < 2 ? "usage: bench_pmem OUR-LIBPMEM [THEIR-LIBPMEM] [key=value...]"
			      : "skipped: the loops need a CPU with AVX and CLFLUSHOPT");
		return argc < 2 ? 2 : 0;
	}
	has_clwb = cpu.clwb;
	contenders[NT] = contenders[NT_AGAIN] = loops[cpu.avx512f][0];
	contenders[WB] = contenders[WB_AGAIN] = loops[cpu.avx512f][1];
	if (!load(&contenders[OURS], "ours", argv[1]))
		return 1;
	if (!load(&contenders[THEIRS], "Debian's", their))
		puts("Debian's libpmem1 is not installed: compared without it");

	if (!sample_open(place)) {
		perror(place);
		return 1;
	}
	printf("Nanoseconds per call, median. CPU family %#x model %#x, %s, %s; file in %s.\n", cpu.family, cpu.model,
	       cpu.avx512f ? "AVX-512" : "AVX", has_clwb ? "CLWB" : "CLFLUSHOPT", place);
	for (int op = 0; op < OPS; op++) {
		if (only >= 0 && op != only)
			continue;
		printf("\n%s\n\n| bytes | at | dest |", op_texts[op]);
		for (int c = 0; c < CONTENDERS; c++)
			if (c != NT_AGAIN && c != WB_AGAIN)
				printf(" %s |", contenders[c].name);
		printf(" to the better loop | to Debian's | A/A |\n|---|---|---|---|---|---|---|---|---|---|---|\n");
		for (int d = COLD; d < DESTS; d++)
			for (size_t o = 0; o < (op < PERSIST ? 3 : 1); o++)
				for (size_t size = min; size <= max; size *= size < 1024 ? 2 : 4) {
					struct cell cell = {(enum op)op, {size, offsets[o], (enum dest)d, 0, {NULL}}};

					if ((dest == NULL || strcmp(dest, dest_names[d]) == 0) &&
					    (at < 0 || (size_t)at == offsets[o]))
						line(&cell, size < ((size_t)16 << 20) ? ms : 10 * ms);
				}
	}
	printf("\n| dest | lines | > %.2f of the better loop | worst | > %.2f of Debian's | worst | A/A off by > %.2f "
	       "| worst |\n"
	       "|---|---|---|---|---|---|---|---|\n",
	       to_loop[0].limit, to_theirs[0].limit, to_itself[0].limit);
	for (int d = COLD; d < DESTS; d++)
		printf("| %s | %u | %u | %.2f | %u | %.2f | %u | %.3f |\n", dest_names[d], to_loop[d].lines,
		       to_loop[d].above, to_loop[d].worst, to_theirs[d].above, to_theirs[d].worst, to_itself[d].above,
		       to_itself[d].worst);
	return 0;
}
