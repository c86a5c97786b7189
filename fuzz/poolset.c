/* poolset.c -- fuzz target: any bytes are a set file or none, and what is found in one is in the text
 *
 * Holds:  a verdict of "good" means at least one part, absolute paths without blanks, '#' and 0, sizes in range; every
 *         word points into the text, and lines count up. A verdict of "bad" has a sentence, and a value that lies in the
 *         text. A good text stays good, and says the same, with a comment behind it, with CRLF line ends, and when it is
 *         written anew from what was found in it.
 * Built by configure.py --fuzz with clang's libFuzzer, and everywhere with fuzz/driver.c, which replays
 * fuzz/corpus/poolset.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/common/poolset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EXPECT(what)                                                                                                   \
	do {                                                                                                           \
		if (!(what)) {                                                                                         \
			fprintf(stderr, "poolset: not so: %s\n", #what);                                               \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static struct poolset first, second;

static void
check_word(const char *text, size_t size, struct poolset_word word)
{
	EXPECT(word.at >= text && word.at <= text + size && word.length <= (size_t)(text + size - word.at));
}

static void
check_good(const char *text, size_t size, const struct poolset *set)
{
	unsigned line = 1;

	EXPECT(set->nparts >= 1 && set->nparts <= POOLSET_MAX_PARTS);
	for (size_t i = 0; i < set->nparts; i++) {
		const struct poolset_part *part = &set->part[i];

		check_word(text, size, part->path);
		EXPECT(part->path.length > 0 && part->path.at[0] == '/');
		for (size_t j = 0; j < part->path.length; j++)
			EXPECT(memchr(" \t\n#", part->path.at[j], 5) == NULL); /* and the 0 */
		EXPECT(part->size <= INT64_MAX);
		EXPECT(part->line > line);
		line = part->line;
	}
}

/* A text that was made from the first says the same. */
static void
check_same(const char *text, size_t size)
{
	struct poolset_fault fault;

	EXPECT(poolset_parse(text, size, &second, &fault) == NULL);
	EXPECT(first.nparts == second.nparts && first.single_header == second.single_header &&
	       first.no_headers == second.no_headers && first.replicas == second.replicas);
	for (size_t i = 0; i < first.nparts; i++) {
		EXPECT(first.part[i].size == second.part[i].size);
		EXPECT(first.part[i].path.length == second.part[i].path.length);
		EXPECT(memcmp(first.part[i].path.at, second.part[i].path.at, first.part[i].path.length) == 0);
	}
}

static void
with_crlf(const char *text, size_t size)
{
	char *copy = malloc(2 * size + 1);
	size_t n = 0;

	for (size_t i = 0; i < size; i++) {
		if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r'))
			copy[n++] = '\r';
		copy[n++] = text[i];
	}
	if (n <= POOLSET_MAX_TEXT)
		check_same(copy, n);
	free(copy);
}

static void
with_comment(const char *text, size_t size)
{
	static const char comment[] = "# x\n";
	char *copy = malloc(size + sizeof(comment));

	memcpy(copy, text, size);
	memcpy(copy + size, comment, sizeof(comment) - 1);
	/* behind an open last line it belongs to that one, which may end in a lone CR: a byte of a path there */
	if (size + sizeof(comment) - 1 <= POOLSET_MAX_TEXT)
		check_same(copy, size + sizeof(comment) - 1);
	free(copy);
}

static void
written_anew(size_t size)
{
	size_t room = size + first.nparts * 32 + 128, n;
	char *copy = malloc(room);

	n = (size_t)snprintf(copy, room, "PMEMPOOLSET\n%s%s", first.single_header ? "OPTION SINGLEHDR\n" : "",
			     first.no_headers ? "OPTION NOHDRS\n" : "");
	for (size_t i = 0; i < first.nparts; i++) {
		const struct poolset_part *part = &first.part[i];

		if (part->size == POOLSET_AUTO)
			n += (size_t)snprintf(copy + n, room - n, "AUTO ");
		else
			n += (size_t)snprintf(copy + n, room - n, "%" PRIu64 " ", part->size);
		memcpy(copy + n, part->path.at, part->path.length);
		n += part->path.length;
		copy[n++] = ' '; /* a path may end in CR */
		copy[n++] = '\n';
	}
	if (first.replicas)
		n += (size_t)snprintf(copy + n, room - n, "REPLICA host set\n");
	if (n <= POOLSET_MAX_TEXT)
		check_same(copy, n);
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *what;
	struct poolset_fault fault;

	if (size == 0)
		return 0;
	memset((void *)&first, 0xa5, sizeof(first));
	what = poolset_parse(text, size, &first, &fault);
	EXPECT((what == NULL) <= poolset_begins(text, size));
	if (what != NULL) {
		EXPECT(what[0] != '\0');
		if (fault.value.length != 0)
			check_word(text, size, fault.value);
		return 0;
	}
	check_good(text, size, &first);
	with_crlf(text, size);
	with_comment(text, size);
	written_anew(size);
	return 0;
}
