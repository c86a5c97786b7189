/* calls.h -- what the fuzz targets of whole libraries share: their input, and the blocks that they hold
 *
 * A block is known by its address, what was asked for and a seed: the words at its two ends, and one in every 512 bytes
 * between them, say whose they are. A second block on the same bytes, or a block whose content moved wrongly, is seen.
 */
#ifndef FUZZ_CALLS_H
#define FUZZ_CALLS_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition, ...)                                                                                        \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: not so: %s: ", __FILE__, __LINE__, #condition);                        \
			fprintf(stderr, __VA_ARGS__);                                                                  \
			fprintf(stderr, "\n");                                                                         \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* --- input: its bytes in order, then zeros -------------------------------------------------------------------- */

struct input {
	const uint8_t *data;
	size_t size, pos;
};

static inline bool
input_ended(const struct input *in)
{
	return in->pos >= in->size;
}

static inline unsigned
input_byte(struct input *in)
{
	return in->pos < in->size ? in->data[in->pos++] : 0;
}

/* A size that is likely to be interesting in a pool of `pool` bytes. */
static inline size_t
input_size(struct input *in, size_t pool)
{
	unsigned kind = input_byte(in), low = input_byte(in);

	if (kind < 128)
		return low;
	if (kind < 192)
		return (size_t)(kind - 127) * low;
	if (kind < 224)
		return (size_t)low * 4096 + kind % 4 - 1;
	if (kind < 250)
		return pool / 256 * low;
	if (kind < 253)
		return pool + low;
	return SIZE_MAX - low;
}

/* --- blocks --------------------------------------------------------------------------------------------------- */

struct block {
	unsigned char *p;
	size_t size; /* bytes asked for */
	uint64_t seed;
};

static inline uint64_t
block_word(const struct block *b, size_t at)
{
	return (b->seed + at) * UINT64_C(0x9E3779B97F4A7C15);
}

/* Calls fn for each place of a word that tells whose a block is, within its first `size` bytes. */
#define FOR_EACH_MARK(at, size)                                                                                        \
	for (size_t at = 0; at + 8 <= (size); at = (at < 64 || at + 72 > (size)) ? at + 8                              \
		     : (at | 511) + 1 + 64 < (size)                              ? (at | 511) + 1                      \
										 : ((size)-64) & ~(size_t)7)

static inline void
block_mark(const struct block *b)
{
	FOR_EACH_MARK(at, b->size)
	{
		uint64_t word = block_word(b, at);

		memcpy(b->p + at, &word, 8);
	}
}

/* What block_mark() left in `b` is what stands at `p`, as far as `size` bytes go. */
static inline void
block_require(const struct block *b, const unsigned char *p, size_t size, const char *when)
{
	FOR_EACH_MARK(at, b->size)
	{
		uint64_t word;

		if (at + 8 > size)
			break;
		memcpy(&word, p + at, 8);
		REQUIRE(word == block_word(b, at), "%s: byte %zu of a block of %zu bytes", when, at, b->size);
	}
}

#define BLOCKS_MAX 192u

struct blocks {
	struct block list[BLOCKS_MAX];
	unsigned n;
	uint64_t seed;
};

/* A block that has come: on nobody else's bytes, aligned, at most [low, low + room). */
static inline struct block *
blocks_add(struct blocks *blocks, void *p, size_t size, size_t align, const void *low, size_t room)
{
	struct block b = {p, size, ++blocks->seed * 0x10001};

	REQUIRE(blocks->n < BLOCKS_MAX, "the caller looks for that");
	REQUIRE((uintptr_t)p % align == 0, "%p for alignment %zu", p, align);
	REQUIRE((uintptr_t)p > (uintptr_t)low && (uintptr_t)p - (uintptr_t)low <= room &&
			size <= room - ((uintptr_t)p - (uintptr_t)low),
		"%zu bytes at %p of a pool at %p", size, p, low);
	for (unsigned i = 0; i < blocks->n; i++)
		REQUIRE(b.p + (size ? size : 1) <= blocks->list[i].p ||
				blocks->list[i].p + (blocks->list[i].size ? blocks->list[i].size : 1) <= b.p,
			"%zu bytes at %p, and %zu at %p", size, p, blocks->list[i].size, (void *)blocks->list[i].p);
	block_mark(&b);
	blocks->list[blocks->n] = b;
	return &blocks->list[blocks->n++];
}

/* Takes a block out, after a look at what is in it. */
static inline struct block
blocks_take(struct blocks *blocks, unsigned i, const char *when)
{
	struct block b = blocks->list[i];

	block_require(&b, b.p, b.size, when);
	blocks->list[i] = blocks->list[--blocks->n];
	return b;
}

static inline void
blocks_require(const struct blocks *blocks, const char *when)
{
	for (unsigned i = 0; i < blocks->n; i++)
		block_require(&blocks->list[i], blocks->list[i].p, blocks->list[i].size, when);
}

/* Runs fn(arg) in a thread of its own, from its birth to its end. */
static inline void
run_in_thread(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, fn, arg) == 0 && pthread_join(thread, NULL) == 0, "a thread");
}

#endif
