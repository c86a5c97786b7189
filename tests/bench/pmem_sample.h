/* pmem_sample.h -- how bench_pmem.c and calibrate_pmem.c take a sample: places, their state, the clock, the median; x86-64
 *
 * A sample is a batch of calls between two readings of the time stamp counter, without a system call. Before it the places
 * are flushed out of all caches, then read or written as their state asks, and the source is read. All that is compared
 * in one round has the same places, so the same physical pages. Media: a file without a name.
 */
#ifndef TESTS_BENCH_PMEM_SAMPLE_H
#define TESTS_BENCH_PMEM_SAMPLE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define SAMPLE_AREA ((size_t)80 << 20)
#define SAMPLE_CALLS 128   /* of a batch, at most */
#define SAMPLE_ROUNDS 2000 /* at most */

/* Where the destination is, and its bytes are before the call. */
enum dest {
	COLD,  /* another place each time, in no cache */
	NEXT,  /* right behind the one before, as a log grows; in no cache */
	READ,  /* another place, in the cache as a read leaves it */
	DIRTY, /* another place, in the cache as a store leaves it */
	AGAIN, /* the same place, as the call before left it */
	DESTS
};
static const char *const dest_names[DESTS] = {"cold", "next", "read", "dirty", "again"};

static char *sample_area, *sample_source;
static double sample_ticks_per_ns;

struct batch {
	size_t size, offset; /* bytes; offset: of the destination in its line */
	enum dest dest;
	unsigned calls;
	char *places[SAMPLE_CALLS]; /* anew for each round */
};

static inline double
clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Maps a file without a name in the folder `place`; false: errno. */
static inline bool
sample_open(const char *place)
{
	int fd = open(place, O_TMPFILE | O_RDWR, 0600);
	uint64_t first;
	double start;

	if (fd < 0 || ftruncate(fd, SAMPLE_AREA) != 0)
		return false;
	sample_area = mmap(NULL, SAMPLE_AREA, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	sample_source = mmap(NULL, SAMPLE_AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (sample_area == MAP_FAILED || sample_source == MAP_FAILED)
		return false;
	memset(sample_source, 's', SAMPLE_AREA);
	memset(sample_area, 'a', SAMPLE_AREA);
	start = clock_ns();
	first = __rdtsc();
	while (clock_ns() < start + 50e6)
		;
	sample_ticks_per_ns = (double)(__rdtsc() - first) / (clock_ns() - start);
	return true;
}

static inline uint32_t
draw(uint32_t below)
{
	static uint64_t state = 1;

	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((state >> 32) * below >> 32);
}

static inline void
shuffle(uint32_t *a, uint32_t n)
{
	for (uint32_t i = n; i > 1; i--) {
		uint32_t j = draw(i), t = a[i - 1];

		a[i - 1] = a[j], a[j] = t;
	}
}

/* A round's calls and places. */
static inline void
batch_place(struct batch *b)
{
	/* a line between two places: what is beyond a place's end is not the next one's */
	size_t apart = ((b->size + b->offset + 63) & ~(size_t)63) + 64;
	size_t stride = b->dest == AGAIN ? 0 : b->dest == NEXT ? b->size : apart;
	size_t span, start;
	uint32_t order[SAMPLE_CALLS];

	b->calls = b->size >= 65536 ? 1
		: b->size >= 4096   ? (unsigned)(65536 / b->size)
				    : SAMPLE_CALLS >> (b->size > 1024);
	if (b->dest == AGAIN && b->calls < 8)
		b->calls = 8; /* the first finds it cold */
	span = stride * b->calls + apart;
	start = span < SAMPLE_AREA / 2 ? draw((uint32_t)((SAMPLE_AREA - span) / 64)) * (size_t)64 : 0;
	for (uint32_t i = 0; i < b->calls; i++)
		order[i] = i;
	if (b->dest != NEXT)
		shuffle(order, b->calls);
	for (unsigned i = 0; i < b->calls; i++)
		b->places[i] = sample_area + start + stride * order[i] + b->offset;
}

/* Brings the places into their state, the source into the cache. */
static inline void
batch_prepare(const struct batch *b)
{
	char sum = 0;

	for (int step = 0; step < 3; step++) { /* flush, read, write */
		if ((step == 1 && b->dest != READ && b->dest != DIRTY) || (step == 2 && b->dest != DIRTY))
			break;
		for (unsigned i = 0; i < b->calls; i++)
			for (size_t at = 0; at < b->size + 63; at += 64) {
				char *line = (char *)((uintptr_t)(b->places[i] + at) & ~(uintptr_t)63);

				if (step == 0)
					_mm_clflush(line);
				else if (step == 1)
					sum = (char)(sum + *(volatile char *)line);
				else
					*(volatile char *)line = sum;
			}
		_mm_mfence();
	}
	for (size_t at = 0; at < b->size; at += 64)
		sum = (char)(sum + ((volatile char *)sample_source)[at]);
	_mm_mfence();
}

static inline uint64_t
ticks(void)
{
	uint64_t t;

	_mm_lfence();
	t = __rdtsc();
	_mm_lfence();
	return t;
}

static inline double
ns_since(uint64_t start)
{
	return (double)(ticks() - start) / sample_ticks_per_ns;
}

static inline int
compare_floats(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static inline double
median(const float *values, unsigned n)
{
	static float sorted[SAMPLE_ROUNDS];

	memcpy(sorted, values, n * sizeof(*values));
	qsort(sorted, n, sizeof(*sorted), compare_floats);
	return sorted[n / 2];
}

#endif
