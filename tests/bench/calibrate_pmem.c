/* calibrate_pmem.c -- from which length on are stores past the cache the better default on this CPU?
 *
 * usage: calibrate_pmem [rounds=N] [place=FOLDER]
 *
 * Times the library's own engine both ways (through the cache with write-back, past it) for one CPU family, in turns, the
 * smallest of the rounds counting, for cold and hot destinations, and prints the table that doc/flush.md keeps, and the
 * threshold that follows from the cold column: persistent memory is written more often than it is in the cache.
 * What it prints goes into nt_threshold() of flush/flush_x86_64.c by hand.
 *
 * Media: a file without a name.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "flush/copy.h"
#include "flush/cpu.h"
#include "flush/flush.h"

#define AREA ((size_t)256 << 20)
#define PLACES 8192u

static const size_t lengths[] = {8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 16384};

#define LENGTHS (sizeof(lengths) / sizeof(lengths[0]))

static char *area, source[32768];
static unsigned places[PLACES], cursor;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* not the time that other programs took */
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double
sample(size_t len, size_t offset, bool cold, unsigned flags)
{
	const unsigned calls = len < 4096 ? 300 : 100;
	unsigned first = cursor;
	double start;

	for (unsigned i = 0; i < (cold ? calls : 0); i++) /* out of all caches */
		for (size_t at = 0; at < len + 64; at += 64)
			_mm_clflush(area + places[(first + i) % PLACES] * (AREA / PLACES - 64) + offset + at);
	_mm_mfence();
	start = now();
	for (unsigned i = 0; i < calls; i++) {
		size_t place = cold ? places[cursor++ % PLACES] * (AREA / PLACES - 64) : 0;

		flush_copy(area + place + offset, source, len, flags);
	}
	return (now() - start) / calls;
}

int
main(int argc, char **argv)
{
	const char *place = "/dev/shm";
	unsigned rounds = 25, seed = 1;
	size_t threshold = 0;
	struct cpu_x86 cpu;
	int fd;

	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], "rounds=", 7) == 0)
			rounds = (unsigned)atoi(argv[i] + 7);
		else if (strncmp(argv[i], "place=", 6) == 0)
			place = argv[i] + 6;
	fd = open(place, O_TMPFILE | O_RDWR, 0600);
	area = fd < 0 || ftruncate(fd, AREA) != 0 ? MAP_FAILED :
		mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (area == MAP_FAILED) {
		perror(place);
		return 1;
	}
	memset(area, 1, AREA);
	for (unsigned i = 0; i < PLACES; i++)
		places[i] = i;
	for (unsigned i = PLACES - 1; i > 0; i--) {
		unsigned j = (seed = seed * 1664525 + 1013904223) % (i + 1), t = places[i];

		places[i] = places[j], places[j] = t;
	}
	cpu_detect(&cpu, &cpu_this);
	printf("CPU family %#x model %#x, engine %s, write-back %s, file in %s; ns per copy with drain, smallest of %u\n\n", cpu.family,
		cpu.model, flush_init()->engine_name, flush_init()->flush_name, place, rounds);
	printf("| bytes | cold, through | cold, past | hot, through | hot, past | cold, at 8, through | cold, at 8, past |\n");
	printf("|---|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < LENGTHS; i++) {
		double best[6];

		for (int c = 0; c < 6; c++)
			best[c] = 1e18;
		for (unsigned r = 0; r < rounds; r++)
			for (int c = 0; c < 6; c++) {
				double t = sample(lengths[i], c >= 4 ? 8 : 0, c < 2 || c >= 4, c % 2 ? FLUSH_NONTEMPORAL : FLUSH_TEMPORAL);

				best[c] = t < best[c] ? t : best[c];
			}
		printf("| %zu | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f |\n", lengths[i], best[0], best[1], best[2], best[3], best[4], best[5]);
		fflush(stdout);
		if (best[1] > 1.03 * best[0] || best[5] > 1.03 * best[4]) /* past the cache is worse: from the next length on at best */
			threshold = i + 1 < LENGTHS ? lengths[i + 1] : (size_t)-1;
	}
	printf("\nthreshold: %zd\n", (ssize_t)threshold);
	return 0;
}
