/* parts.h -- the files of a libpmemcto pool: opened and locked together, mapped one behind the other
 *
 * A pool is one file, or the files of a set in the order in which the set lists them: a single file is a set of one.
 * Part 0 is mapped whole, every further one without the 4096 bytes of its header, unless the set has but one header:
 *
 *     address   base                             base + part[1].at
 *     part 0     |header|descriptor|...... heap ......|
 *     part 1                                   |header|...... heap ......|
 *
 * Errors: 0 or an errno value; the message is set, errno too, unless said otherwise. A failed call leaves nothing open,
 *         and no file that it made.
 */
#ifndef API_PMEMCTO_PARTS_H
#define API_PMEMCTO_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "api/pmemcto/file.h"

enum parts_access {
	PARTS_READ,  /* needs no right to write, can be mapped private only; keeps writers out, not other readers */
	PARTS_WRITE, /* keeps everybody out */
};

enum parts_sharing {
	PARTS_PRIVATE, /* stores stay in this process */
	PARTS_SHARED,  /* stores are the files' */
};

struct part {
	struct cto_file file; /* its path lives as long as the parts do */
	uint64_t skip;        /* bytes at the start of the file that are not mapped */
	uint64_t at;          /* bytes of the pool before this part's first mapped one */
	uint64_t length;      /* bytes mapped */
};

struct parts {
	struct part *part;
	size_t n;
	size_t memory;      /* bytes that `part` and the paths take */
	bool single_header; /* OPTION SINGLEHDR: part 0 alone has a header */
	uint64_t size;      /* bytes of the pool, a multiple of 4096 */
	uint64_t file_size; /* bytes of all files */
	uint64_t allocated; /* bytes of blocks that they had when they were opened */
	uint64_t align;     /* of the pool's address: bytes, a power of two */
	uint64_t room;      /* bytes of addresses that the set wants for the pool; 0: says nothing of it */
};

/* Opens and locks what `path` names, a file or the parts of a set, in order. Nothing but sizes is looked at: to write, a
 * file must be long enough for a pool; the parts of a set must be as long as the set says. */
int parts_open(const char *path, enum parts_access access, struct parts *out);
/* The same to make a pool of it, with PARTS_WRITE: parts of a set that are not there are made. */
int parts_open_or_make(const char *path, struct parts *out);
/* A new pool of one file of `size` bytes, all reserved: cto_file_new(). */
int parts_new(const char *path, size_t size, struct parts *out);
/* Files that were made get their names and their mode, durably, one after the other. */
int parts_publish(struct parts *parts, mode_t mode);
/* All of them were made. */
bool parts_are_new(const struct parts *parts);

/* All n bytes at `offset` of a part's file. */
int parts_read(const struct parts *parts, size_t i, uint64_t offset, void *buf, size_t n);
/* True when all files are known to hold nothing but holes. */
bool parts_all_holes(const struct parts *parts);
/* Reserves the blocks of a range of the pool that its files do not have. */
int parts_reserve_range(const struct parts *parts, uint64_t offset, uint64_t size);
/* The same for all bytes of all files. */
int parts_reserve(const struct parts *parts);

/* Maps the whole pool for reading and writing: in place of what the caller reserved, exactly there if nothing else is
 * (else EEXIST), or anywhere. On failure those addresses are free. ENOTSUP: a device cannot be mapped private.
 * No message is set. */
int parts_map_over(const struct parts *parts, void *base, enum parts_sharing sharing);
int parts_map_at(const struct parts *parts, void *base, enum parts_sharing sharing);
int parts_map(const struct parts *parts, enum parts_sharing sharing, void **base);
void parts_unmap(const struct parts *parts, void *base);
/* Returns when the bytes there, whole pages of the mapped pool, are durable. No message is set. */
int parts_sync(const struct parts *parts, void *addr, size_t size);

/* Unlocks and closes all; errno stays. */
void parts_release(struct parts *parts);
/* The same, and the files that were made go. */
void parts_drop(struct parts *parts);
/* Closes without unlocking: in a child of fork(), where the lock is the parent's. */
void parts_abandon(struct parts *parts);

#endif
