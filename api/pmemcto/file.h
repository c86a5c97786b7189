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
	bool is_device;     /* a device DAX: no blocks, no read(2) or write(2), and msync(2) has nothing to do there */
	int region;         /* of a device: the nd region that holds it, or -1 */
	uint64_t size;      /* bytes of the file */
	uint64_t allocated; /* bytes of blocks it had when it was opened */
	uint64_t align;     /* of its mappings and of places in it where they begin: bytes, a power of two */
	uint64_t device, number; /* what tells one file from all others */
};

/* It was not there before cto_file_new(). */
static inline bool
cto_file_is_new(const struct cto_file *file)
{
	return file->nameless || file->made;
}

/* A new file of `size` bytes, all reserved. Its name is free now, but taken only by cto_file_publish(), if the file
 * system can do that. */
int cto_file_new(const char *path, size_t size, struct cto_file *out);
/* Opens and locks an existing regular file, or a device DAX. To write: also for reading, and nobody else has it open. Else only for
 * reading, beside others who read. */
int cto_file_open(const char *path, bool write, struct cto_file *out);
/* A new file gets its name and mode, durably. EEXIST: somebody took the name meanwhile. */
int cto_file_publish(struct cto_file *file, mode_t mode);
/* Is that the path of this file? */
bool cto_file_is_at(const struct cto_file *file, const char *path);

/* Reserves the blocks of a range that the file does not have. */
int cto_file_reserve(const struct cto_file *file, uint64_t offset, uint64_t size);
/* All n bytes at `offset`. */
int cto_file_read(const struct cto_file *file, uint64_t offset, void *buf, size_t n);
/* Writes n bytes to the start of the file, durably. */
int cto_file_write_start(const struct cto_file *file, const void *buf, size_t n);

/* Of a device: returns when n bytes mapped at `addr` are durable. */
void cto_file_flush(const struct cto_file *file, const void *addr, size_t n);

/* Unlocks and closes; errno stays. */
void cto_file_release(struct cto_file *file);
/* The same, and what cto_file_new() made goes. */
void cto_file_drop(struct cto_file *file);

#endif
