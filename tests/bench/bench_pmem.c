/* bench_pmem.c -- libpmem beside Debian's, glibc with flushes, and two loops that show what the CPU can do
 *
 * usage: bench_pmem OUR-LIBPMEM [THEIR-LIBPMEM] [key=value...]
 *   rounds=N   samples per cell; the smallest counts     [9]
 *   max=BYTES  largest size                              [67108864]
 *   op=NAME    one operation only: copy, copy_nodrain, set, set_nodrain, persist, flush
 *   place=FOLDER of the file that is mapped              [/dev/shm]
 *
 * The contenders take turns within each round, so that what disturbs the machine disturbs all. Cold: each call writes
 * to another place, which was flushed out of all caches before. Hot: the same place again. Time is the thread's own.
 * nodrain and flush have one drain after each batch of calls, inside the measured time.
 *
 * Media: a file without a name.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "flush/cpu.h"

#define AREA ((size_t)384 << 20)
#define CALLS 7 /* functions of a contender */

enum op { COPY, COPY_NODRAIN, SET, SET_NODRAIN, PERSIST, FLUSH, OPS };
static const char *const op_names[OPS] = {"copy", "copy_nodrain", "set", "set_nodrain", "persist", "flush"};
static const char *const op_texts[OPS] = {
	"pmem_memcpy_persist", "pmem_memcpy_nodrain", "pmem_memset_persist", "pmem_memset_nodrain", "store and pmem_persist",
	"store and pmem_flush",
};

struct contender {
	const char *name;
	void *(*copy[2])(void *, const void *, size_t); /* persist, nodrain */
	void *(*set[2])(void *, int, size_t);
	void (*persist)(const void *, size_t);
	void (*flush)(const void *, size_t);
	void (*drain)(void);
};

/* --- the loops: what the widest plain instructions give ---------------------------------------------------------- */

#define AVX512 __attribute__((target("avx512f,clwb,clflushopt")))
#define AVX __attribute__((target("avx,clwb,clflushopt")))

static bool has_clwb;

static inline void
write_back(const void *p)
{
	if (has_clwb)
		__asm__ volatile("clwb %0" : "+m"(*(char *)(uintptr_t)p) : : "memory");
	else
		__asm__ volatile("clflushopt %0" : "+m"(*(char *)(uintptr_t)p) : : "memory");
}

static inline void
small_copy(char *d, const char *s, size_t n)
{
	if (n >= 32) {
		__m128i a = _mm_loadu_si128((const void *)s), b = _mm_loadu_si128((const void *)(s + 16));
		__m128i c = _mm_loadu_si128((const void *)(s + n - 32)), e = _mm_loadu_si128((const void *)(s + n - 16));

		_mm_storeu_si128((void *)d, a);
		_mm_storeu_si128((void *)(d + 16), b);
		_mm_storeu_si128((void *)(d + n - 32), c);
		_mm_storeu_si128((void *)(d + n - 16), e);
	} else if (n >= 16) {
		__m128i a = _mm_loadu_si128((const void *)s), b = _mm_loadu_si128((const void *)(s + n - 16));

		_mm_storeu_si128((void *)d, a);
		_mm_storeu_si128((void *)(d + n - 16), b);
	} else if (n >= 8) {
		uint64_t a, b;

		memcpy(&a, s, 8);
		memcpy(&b, s + n - 8, 8);
		memcpy(d, &a, 8);
		memcpy(d + n - 8, &b, 8);
	} else {
		for (size_t i = 0; i < n; i++)
			((volatile char *)d)[i] = s[i];
	}
}

/* Part of a line, through the cache. */
static inline void
ragged_copy(char *d, const char *s, size_t n)
{
	small_copy(d, s, n);
	write_back(d);
	if ((((uintptr_t)d ^ (uintptr_t)(d + n - 1)) & ~(uintptr_t)63) != 0)
		write_back(d + n - 1);
}

static inline void
ragged_copy_nt(char *d, const char *s, size_t n)
{
	if ((((uintptr_t)d | n) & 7) != 0) {
		ragged_copy(d, s, n);
		return;
	}
	for (size_t i = 0; i < n; i += 8)
		_mm_stream_si64((long long *)(void *)(d + i), *(const long long *)(const void *)(s + i));
}

#define LOOPS(isa, TARGET, LINE_LOAD, LINE_STORE, LINE_STREAM) \
	TARGET static inline __attribute__((always_inline)) void nt_##isa(char *d, const char *s, size_t n) \
	{ \
		size_t head = -(uintptr_t)d & 63; \
\
		if (head != 0) { \
			head = head < n ? head : n; \
			ragged_copy_nt(d, s, head); \
			d += head, s += head, n -= head; \
		} \
		for (; n >= 64; d += 64, s += 64, n -= 64) { \
			LINE_LOAD(s); \
			LINE_STREAM(d); \
		} \
		if (n != 0) \
			ragged_copy_nt(d, s, n); \
	} \
	TARGET static inline __attribute__((always_inline)) void wb_##isa(char *d, const char *s, size_t n) \
	{ \
		size_t head = -(uintptr_t)d & 63; \
\
		if (n < 64) { \
			ragged_copy(d, s, n); \
			return; \
		} \
		if (head != 0) { \
			ragged_copy(d, s, head); \
			d += head, s += head, n -= head; \
		} \
		for (; n >= 64; d += 64, s += 64, n -= 64) { \
			LINE_LOAD(s); \
			LINE_STORE(d); \
			write_back(d); \
		} \
		if (n != 0) \
			ragged_copy(d, s, n); \
	} \
	TARGET static void *nt_persist_##isa(void *d, const void *s, size_t n) \
	{ \
		nt_##isa(d, s, n); \
		_mm_sfence(); \
		return d; \
	} \
	TARGET static void *nt_nodrain_##isa(void *d, const void *s, size_t n) \
	{ \
		nt_##isa(d, s, n); \
		return d; \
	} \
	TARGET static void *wb_persist_##isa(void *d, const void *s, size_t n) \
	{ \
		wb_##isa(d, s, n); \
		_mm_sfence(); \
		return d; \
	} \
	TARGET static void *wb_nodrain_##isa(void *d, const void *s, size_t n) \
	{ \
		wb_##isa(d, s, n); \
		return d; \
	}

#define LOAD_512(s) __m512i v = _mm512_loadu_si512(s)
#define STORE_512(d) _mm512_store_si512(d, v)
#define STREAM_512(d) _mm512_stream_si512((void *)(d), v)
#define LOAD_256(s) __m256i v = _mm256_loadu_si256((const void *)(s)), w = _mm256_loadu_si256((const void *)((s) + 32))
#define STORE_256(d) (_mm256_store_si256((void *)(d), v), _mm256_store_si256((void *)((d) + 32), w))
#define STREAM_256(d) (_mm256_stream_si256((void *)(d), v), _mm256_stream_si256((void *)((d) + 32), w))

LOOPS(avx512, AVX512, LOAD_512, STORE_512, STREAM_512)
LOOPS(avx, AVX, LOAD_256, STORE_256, STREAM_256)

/* Setting is copying from a line in a register. */
static inline void
ragged_set(char *d, int c, size_t n, bool nt)
{
	uint64_t v = (unsigned char)c * UINT64_C(0x0101010101010101);
	char line[64];

	if (nt && (((uintptr_t)d | n) & 7) == 0) {
		for (size_t i = 0; i < n; i += 8)
			_mm_stream_si64((long long *)(void *)(d + i), (long long)v);
		return;
	}
	for (int i = 0; i < 64; i += 16)
		_mm_storeu_si128((void *)(line + i), _mm_set1_epi64x((long long)v));
	ragged_copy(d, line, n);
}

#define SET_LOOPS(isa, TARGET, VALUE, STORE, STREAM) \
	TARGET static inline __attribute__((always_inline)) void set_##isa(char *d, int c, size_t n, bool nt) \
	{ \
		size_t head = -(uintptr_t)d & 63; \
\
		if (n < 64 && !nt) { \
			ragged_set(d, c, n, false); \
			return; \
		} \
		if (head != 0) { \
			head = head < n ? head : n; \
			ragged_set(d, c, head, nt); \
			d += head, n -= head; \
		} \
		VALUE(c); \
		for (; n >= 64; d += 64, n -= 64) { \
			if (nt) { \
				STREAM(d); \
			} else { \
				STORE(d); \
				write_back(d); \
			} \
		} \
		if (n != 0) \
			ragged_set(d, c, n, nt); \
	} \
	TARGET static void *nt_set_persist_##isa(void *d, int c, size_t n) \
	{ \
		set_##isa(d, c, n, true); \
		_mm_sfence(); \
		return d; \
	} \
	TARGET static void *nt_set_nodrain_##isa(void *d, int c, size_t n) \
	{ \
		set_##isa(d, c, n, true); \
		return d; \
	} \
	TARGET static void *wb_set_persist_##isa(void *d, int c, size_t n) \
	{ \
		set_##isa(d, c, n, false); \
		_mm_sfence(); \
		return d; \
	} \
	TARGET static void *wb_set_nodrain_##isa(void *d, int c, size_t n) \
	{ \
		set_##isa(d, c, n, false); \
		return d; \
	}

#define VALUE_512(c) __m512i v = _mm512_set1_epi32((unsigned char)(c) * 0x01010101)
#define VALUE_256(c) __m256i v = _mm256_set1_epi8((char)(c)), w = v

SET_LOOPS(avx512, AVX512, VALUE_512, STORE_512, STREAM_512)
SET_LOOPS(avx, AVX, VALUE_256, STORE_256, STREAM_256)

static void
loop_flush(const void *p, size_t n)
{
	for (uintptr_t line = (uintptr_t)p & ~(uintptr_t)63; line < (uintptr_t)p + n; line += 64)
		write_back((void *)line);
}

static void
loop_drain(void)
{
	_mm_sfence();
}

static void
loop_persist(const void *p, size_t n)
{
	loop_flush(p, n);
	_mm_sfence();
}

static void *
glibc_copy_persist(void *d, const void *s, size_t n)
{
	memcpy(d, s, n);
	loop_persist(d, n);
	return d;
}

static void *
glibc_copy_nodrain(void *d, const void *s, size_t n)
{
	memcpy(d, s, n);
	loop_flush(d, n);
	return d;
}

static void *
glibc_set_persist(void *d, int c, size_t n)
{
	memset(d, c, n);
	loop_persist(d, n);
	return d;
}

static void *
glibc_set_nodrain(void *d, int c, size_t n)
{
	memset(d, c, n);
	loop_flush(d, n);
	return d;
}

/* --- contenders ------------------------------------------------------------------------------------------------- */

enum { OURS, THEIRS, GLIBC, LOOP_NT, LOOP_WB, CONTENDERS };

static struct contender contenders[CONTENDERS] = {
	[GLIBC] = {"glibc+flush", {glibc_copy_persist, glibc_copy_nodrain}, {glibc_set_persist, glibc_set_nodrain}, loop_persist,
		loop_flush, loop_drain},
	[LOOP_NT] = {"NT loop", {nt_persist_avx, nt_nodrain_avx}, {nt_set_persist_avx, nt_set_nodrain_avx}, loop_persist, loop_flush,
		loop_drain},
	[LOOP_WB] = {"WB loop", {wb_persist_avx, wb_nodrain_avx}, {wb_set_persist_avx, wb_set_nodrain_avx}, loop_persist, loop_flush,
		loop_drain},
};

static bool
load(struct contender *c, const char *name, const char *path)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (library == NULL) {
		printf("%s: %s\n", name, dlerror());
		return false;
	}
	c->name = name;
	*(void **)&c->copy[0] = dlsym(library, "pmem_memcpy_persist");
	*(void **)&c->copy[1] = dlsym(library, "pmem_memcpy_nodrain");
	*(void **)&c->set[0] = dlsym(library, "pmem_memset_persist");
	*(void **)&c->set[1] = dlsym(library, "pmem_memset_nodrain");
	*(void **)&c->persist = dlsym(library, "pmem_persist");
	*(void **)&c->flush = dlsym(library, "pmem_flush");
	*(void **)&c->drain = dlsym(library, "pmem_drain");
	return true;
}

/* --- measuring --------------------------------------------------------------------------------------------------- */

static char *area, *source;
static uint32_t places[1 << 14]; /* random order of the cold places */

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* not the time that other programs took */
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static unsigned cursor;

static char *
cold_place(unsigned i, size_t stride, size_t slots, size_t offset)
{
	return area + stride * (places[i % (sizeof(places) / sizeof(places[0]))] % slots) + offset;
}

/* Nanoseconds per call of one sample. */
static double
sample(const struct contender *c, enum op op, size_t size, size_t offset, bool cold, unsigned calls)
{
	/* not a multiple of the page size: places must not all fall into the same few lines of the first cache */
	size_t slots, stride = ((size + offset + 63) & ~(size_t)63) + 4096 + 64;
	unsigned first = cursor;
	double start, end;

	slots = AREA / stride;
	if (slots > sizeof(places) / sizeof(places[0]))
		stride = AREA / (sizeof(places) / sizeof(places[0])) - 64, slots = sizeof(places) / sizeof(places[0]);
	cursor += calls;
	for (unsigned i = 0; i < (cold ? calls : 0); i++) { /* out of all caches */
		char *d = cold_place(first + i, stride, slots, offset);

		for (size_t at = 0; at < size + 64; at += 64)
			_mm_clflush(d + at);
	}
	if (!cold)
		memset(area + offset, 1, size);
	_mm_mfence();
	start = now();
	for (unsigned i = 0; i < calls; i++) {
		char *d = cold ? cold_place(first + i, stride, slots, offset) : area + offset;

		switch (op) {
		case COPY:
		case COPY_NODRAIN:
			c->copy[op == COPY_NODRAIN](d, source, size);
			break;
		case SET:
		case SET_NODRAIN:
			c->set[op == SET_NODRAIN](d, (int)i, size);
			break;
		default:
			for (size_t at = 0; at < size; at += 64)
				((volatile char *)d)[at] = (char)i;
			(op == PERSIST ? c->persist : c->flush)(d, size);
		}
	}
	if (op == COPY_NODRAIN || op == SET_NODRAIN || op == FLUSH)
		c->drain();
	end = now();
	return (end - start) / calls;
}

static unsigned over_limit, over_theirs, cells;
static double worst_limit, worst_theirs;

static void
cell(enum op op, size_t size, size_t offset, bool cold, unsigned rounds)
{
	double best[CONTENDERS], limit;
	unsigned calls = (unsigned)(size < 4096 ? 400 : 400 * 4096 / size);

	if (calls == 0)
		calls = 1;
	for (int c = 0; c < CONTENDERS; c++)
		best[c] = 1e18;
	for (unsigned r = 0; r < rounds; r++)
		for (int c = 0; c < CONTENDERS; c++) {
			int who = (c * (1 + (int)r % (CONTENDERS - 1)) + (int)r) % CONTENDERS; /* no one always after the same */
			double t = contenders[who].drain != NULL ? sample(&contenders[who], op, size, offset, cold, calls) : 0;

			best[who] = t < best[who] ? t : best[who];
		}
	limit = best[LOOP_NT] < best[LOOP_WB] ? best[LOOP_NT] : best[LOOP_WB];
	printf("%10zu %4zu %-4s", size, offset, cold ? "cold" : "hot");
	for (int c = 0; c < CONTENDERS; c++)
		printf(best[c] < 1000 ? " %10.1f" : " %10.0f", best[c]);
	printf("   %5.2f", best[OURS] / limit);
	cells++;
	over_limit += best[OURS] > 1.03 * limit;
	worst_limit = best[OURS] / limit > worst_limit ? best[OURS] / limit : worst_limit;
	if (contenders[THEIRS].drain != NULL) {
		printf("   %5.2f", best[OURS] / best[THEIRS]);
		over_theirs += best[OURS] > 1.02 * best[THEIRS];
		worst_theirs = best[OURS] / best[THEIRS] > worst_theirs ? best[OURS] / best[THEIRS] : worst_theirs;
	}
	putchar('\n');
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	const char *their = "/usr/lib/x86_64-linux-gnu/libpmem.so.1", *place = "/dev/shm";
	static const size_t offsets[] = {0, 8, 3};
	size_t max = (size_t)64 << 20;
	unsigned rounds = 9, seed = 1;
	struct cpu_x86 cpu;
	int only = -1, fd;

	for (int i = 2; i < argc; i++)
		if (strncmp(argv[i], "rounds=", 7) == 0)
			rounds = (unsigned)atoi(argv[i] + 7);
		else if (strncmp(argv[i], "max=", 4) == 0)
			max = strtoull(argv[i] + 4, NULL, 0);
		else if (strncmp(argv[i], "place=", 6) == 0)
			place = argv[i] + 6;
		else if (strncmp(argv[i], "op=", 3) == 0)
			for (int op = 0; op < OPS; op++)
				only = strcmp(argv[i] + 3, op_names[op]) == 0 ? op : only;
		else
			their = argv[i];
	cpu_detect(&cpu, &cpu_this);
	if (argc < 2 || !cpu.clflushopt || !cpu.avx) {
		puts(argc < 2 ? "usage: bench_pmem OUR-LIBPMEM [THEIR-LIBPMEM] [key=value...]" :
			"skipped: the loops need a CPU with AVX and CLFLUSHOPT");
		return argc < 2 ? 2 : 0;
	}
	has_clwb = cpu.clwb;
	if (cpu.avx512f) {
		contenders[LOOP_NT].copy[0] = nt_persist_avx512, contenders[LOOP_NT].copy[1] = nt_nodrain_avx512;
		contenders[LOOP_WB].copy[0] = wb_persist_avx512, contenders[LOOP_WB].copy[1] = wb_nodrain_avx512;
		contenders[LOOP_NT].set[0] = nt_set_persist_avx512, contenders[LOOP_NT].set[1] = nt_set_nodrain_avx512;
		contenders[LOOP_WB].set[0] = wb_set_persist_avx512, contenders[LOOP_WB].set[1] = wb_set_nodrain_avx512;
	}
	if (!load(&contenders[OURS], "ours", argv[1]))
		return 1;
	if (!load(&contenders[THEIRS], "theirs", their))
		puts("Debian's libpmem1 is not installed: compared without it");

	fd = open(place, O_TMPFILE | O_RDWR, 0600);
	area = fd < 0 || ftruncate(fd, AREA) != 0 ? MAP_FAILED :
		mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	source = mmap(NULL, AREA / 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED || source == MAP_FAILED) {
		perror(place);
		return 1;
	}
	memset(source, 's', AREA / 4);
	memset(area, 'a', AREA);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		places[i] = (uint32_t)i;
	for (size_t i = sizeof(places) / sizeof(places[0]) - 1; i > 0; i--) {
		size_t j = (seed = seed * 1664525 + 1013904223) % (i + 1);
		uint32_t t = places[i];

		places[i] = places[j], places[j] = t;
	}
	printf("Nanoseconds per call, smallest of %u rounds. CPU family %#x model %#x, %s, %s; file in %s.\n", rounds, cpu.family,
		cpu.model, cpu.avx512f ? "AVX-512" : "AVX", has_clwb ? "CLWB" : "CLFLUSHOPT", place);
	for (int op = 0; op < OPS; op++) {
		if (only >= 0 && op != only)
			continue;
		printf("\n%s\n%10s %4s %-4s", op_texts[op], "bytes", "at", "dest");
		for (int c = 0; c < CONTENDERS; c++)
			printf(" %10.10s", contenders[c].name != NULL ? contenders[c].name : "-");
		printf("   /limit /theirs\n");
		for (int cold = 1; cold >= 0; cold--)
			for (size_t o = 0; o < (op < PERSIST ? 3 : 1); o++)
				for (size_t size = 8; size <= max; size *= size < 1024 ? 2 : 4)
					cell((enum op)op, size, offsets[o], cold, rounds);
	}
	printf("\n%u cells: %u above 1.03 of the better loop (worst %.2f), %u above 1.02 of theirs (worst %.2f)\n", cells, over_limit,
		worst_limit, over_theirs, worst_theirs);
	return 0;
}
