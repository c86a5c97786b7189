/* file.h -- the file behind a libpmemcto pool: made, found, locked, filled
 *
 * Errors: 0 or an errno value; the message is set (api/common/error.h), errno too. A failed call leaves nothing open,
 *         and no file that it made.
 */
#ifndef API_PMEMCTO_FILE_H
#define API_PMEMCTO_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "alloc/heap.h"

struct cto_file {
	int fd;             /* holds the lock */
	bool nameless;      /* cto_file_publish() gives it its name */
	bool made;          /* the name goes when cto_file_drop() ends a creation */
	uint64_t size;      /* bytes of the file */
	uint64_t allocated; /* bytes of blocks it had when it was opened */
};

/* A new file of `size` bytes, all reserved. Its name is free now, but taken only by cto_file_publish(), if the file
 * system can do that. */
int cto_file_new(const char *path, size_t size, struct cto_file *out);
/* Opens and locks an existing file of at least PMEMCTO_MIN_POOL bytes. */
int cto_file_open(const char *path, struct cto_file *out);
/* A new file gets its name and mode, durably. */
int cto_file_publish(struct cto_file *file, const char *path, mode_t mode);

/* Reserves all blocks of the file that it does not have. */
int cto_file_reserve(const struct cto_file *file);
/* The same for a range. */
int cto_file_reserve_range(const struct cto_file *file, uint64_t offset, uint64_t size);

/* Bytes of it that a pool uses: whole pages of 4096. */
static inline uint64_t
cto_file_usable(const struct cto_file *file)
{
	return file->size & ~(uint64_t)(HEAP_PAGE - 1);
}

/* Unlocks and closes; errno stays. */
void cto_file_release(struct cto_file *file);
/* The same, and what cto_file_new() made goes. */
void cto_file_drop(struct cto_file *file, const char *path);

#endif
