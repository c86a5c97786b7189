/* file.h -- one file of a libpmemcto pool: made, found, locked, filled
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

struct cto_file {
	const char *path;   /* the caller's; good as long as the file is open */
	int fd;             /* holds the lock */
	bool nameless;      /* cto_file_publish() gives it its name */
	bool made;          /* the name goes when cto_file_drop() ends a creation */
	uint64_t size;      /* bytes of the file */
	uint64_t allocated; /* bytes of blocks it had when it was opened */
};

/* A new file of `size` bytes, all reserved. Its name is free now, but taken only by cto_file_publish(), if the file
 * system can do that. */
int cto_file_new(const char *path, size_t size, struct cto_file *out);
/* Opens and locks an existing regular file. To write: also for reading, and nobody else has it open. Else only for
 * reading, beside others who read. */
int cto_file_open(const char *path, bool write, struct cto_file *out);
/* A new file gets its name and mode, durably. */
int cto_file_publish(struct cto_file *file, mode_t mode);

/* Reserves the blocks of a range that the file does not have. */
int cto_file_reserve(const struct cto_file *file, uint64_t offset, uint64_t size);
/* All n bytes at `offset`. */
int cto_file_read(const struct cto_file *file, uint64_t offset, void *buf, size_t n);

/* Unlocks and closes; errno stays. */
void cto_file_release(struct cto_file *file);
/* The same, and what cto_file_new() made goes. */
void cto_file_drop(struct cto_file *file);

#endif
