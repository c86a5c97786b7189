/* poolset.h -- the grammar of pool set files: text in, list of parts out
 *
 *     PMEMPOOLSET                   the first line, with nothing else on it
 *     OPTION word...                SINGLEHDR, NOHDRS
 *     SIZE PATH                     a part
 *     REPLICA                       what follows are the parts of a replica
 *     REPLICA HOST SET              a replica on another machine
 *
 * SIZE is a whole number of bytes above 0, with B or one of these units behind it, or AUTO:
 *     K M G T P, KiB MiB GiB TiB PiB   powers of 1024
 *     kB MB GB TB PB                   powers of 1000
 * PATH is absolute. Words are separated by blanks and tabulators, lines end in LF or CRLF. Empty lines are skipped, and
 * from '#' on nothing is read; so neither blanks nor '#' are part of a path.
 *
 * No I/O: whether the parts are there, and what may be done with them, is others' to say.
 */
#ifndef API_COMMON_POOLSET_H
#define API_COMMON_POOLSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOLSET_SIGNATURE "PMEMPOOLSET"
#define POOLSET_SIGNATURE_SIZE (sizeof(POOLSET_SIGNATURE) - 1)
#define POOLSET_MAX_PARTS 1024
#define POOLSET_MAX_TEXT ((size_t)1 << 20) /* bytes; what is larger is no set */
#define POOLSET_AUTO 0                     /* as a size */

/* A piece of the text, which is the caller's and not ended by a 0. */
struct poolset_word {
	const char *at;
	size_t length;
};

struct poolset_part {
	struct poolset_word path; /* holds no 0 */
	uint64_t size;            /* bytes, at most INT64_MAX, or POOLSET_AUTO */
	unsigned line;
};

struct poolset {
	bool single_header, no_headers; /* OPTION */
	bool replicas;                  /* there are some; their parts are not in the list */
	size_t nparts;                  /* at least 1 */
	struct poolset_part part[POOLSET_MAX_PARTS];
};

struct poolset_fault {
	unsigned line;             /* from 1 on; 0: the text as a whole */
	struct poolset_word value; /* what is wrong; empty: something is missing */
};

/* Does the text begin as that of a set does? */
bool poolset_begins(const void *text, size_t n);
/* NULL: the n bytes are a SIZE of so many bytes; else what is wrong. */
const char *poolset_parse_size(const char *text, size_t n, uint64_t *size);
/* NULL: fills `set`; else what is wrong, a sentence without value and line. Any bytes may be given; reads `n`. */
const char *poolset_parse(const char *text, size_t n, struct poolset *set, struct poolset_fault *fault);

#endif
