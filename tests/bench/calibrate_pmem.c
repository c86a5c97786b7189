/* calibrate_pmem.c -- from which length on are stores past the cache the better default on this CPU?
 *
 * usage: calibrate_pmem [ms=N] [place=FOLDER]
 *
 * Times the library's own engine both ways (through the cache with write-back, past it) for one CPU family: the median of
 * the rounds' ratios past/through, for each state of the destination (enum dest), for copies of whole words and for others.
 * Prints the tables that doc/flush.md keeps, and two thresholds: the length from which on the time of one call in each state
 * together is no longer past the cache (within 1 %). They go into choose_thresholds() of flush/flush_x86_64.c by hand.
 *
 * Media: a file without a name.
 */
#include "tests/bench/pmem_sample.h"

#include "flush/copy.h"
#include "flush/cpu.h"
#include "flush/flush.h"

static const size_t lengths[] = {8,   16,  24,  32,  48,   64,   96,   128,   192,
				 256, 384, 512, 768, 1024, 2048, 4096, 16384, 65536};

#define LENGTHS (sizeof(lengths) / sizeof(lengths[0]))
#define WAYS 2

static double
sample(const struct batch *b, unsigned flags)
{
	uint64_t start;

	batch_prepare(b);
	start = ticks();
	for (unsigned i = 0; i < b->calls; i++)
		flush_copy(b->places[i], sample_source, b->size, flags);
	if ((flags & FLUSH_NODRAIN) != 0)
		flush_drain();
	return ns_since(start) / b->calls;
}

/* Time past the cache over time through it; the medians of both are added to sum[]. */
static double
measure(struct batch *b, unsigned flags, double ms, double sum[WAYS])
{
	static float quotient[SAMPLE_ROUNDS], times[WAYS][SAMPLE_ROUNDS];
	double end = clock_ns() + ms * 1e6;
	unsigned n = 0;

	while (n < SAMPLE_ROUNDS && (n < 11 || clock_ns() < end)) {
		unsigned first = draw(2);

		batch_place(b);
		for (unsigned i = first; i < first + WAYS; i++)
			times[i % WAYS][n] =
				(float)sample(b, flags | (i % WAYS != 0 ? FLUSH_NONTEMPORAL : FLUSH_TEMPORAL));
		quotient[n] = times[1][n] / times[0][n];
		n++;
	}
	for (int i = 0; i < WAYS; i++)
		sum[i] += median(times[i], n);
	return median(quotient, n);
}

/* One table; the threshold. */
static size_t
table(size_t offset, double ms)
{
	size_t threshold = 0;

	printf("| bytes |");
	for (int drain = 1; drain >= 0; drain--)
		for (int d = COLD; d < DESTS; d++)
			printf(" %s%s |", drain ? "" : "nodrain ", dest_names[d]);
	printf(" all together |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < LENGTHS; i++) {
		double sum[WAYS] = {0, 0};

		printf("| %zu |", lengths[i]);
		for (int drain = 1; drain >= 0; drain--)
			for (int d = COLD; d < DESTS; d++) {
				struct batch b = {lengths[i], offset, (enum dest)d, 0, {NULL}};

				printf(" %.2f |", measure(&b, drain ? 0 : FLUSH_NODRAIN, ms, sum));
			}
		printf(" %.2f |\n", sum[1] / sum[0]);
		fflush(stdout);
		if (sum[1] > 1.01 * sum[0])
			threshold = i + 1 < LENGTHS ? lengths[i + 1] : SIZE_MAX;
	}
	return threshold;
}

int
main(int argc, char **argv)
{
	const char *place = "/dev/shm";
	size_t words, odd;
	struct cpu_x86 cpu;
	double ms = 20;

	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], "ms=", 3) == 0)
			ms = atof(argv[i] + 3);
		else if (strncmp(argv[i], "place=", 6) == 0)
			place = argv[i] + 6;
	if (!sample_open(place)) {
		perror(place);
		return 1;
	}
	cpu_detect(&cpu, &cpu_this);
	printf("CPU family %#x model %#x, engine %s, write-back %s, file in %s; time past the cache over time through "
	       "it\n",
	       cpu.family, cpu.model, flush_init()->engine_name, flush_init()->flush_name, place);
	printf("\nwhole words, destination at 8 in a line\n\n");
	words = table(8, ms);
	printf("\nodd, destination at 3 in a line\n\n");
	odd = table(3, ms);
	printf("\nthresholds: %zu for whole words, %zu for others\n", words, odd);
	return 0;
}
