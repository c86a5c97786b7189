/* file.h -- the nameless file behind a pool, mapped
 *
 * The file has no name from the start (or loses it before any signal), so that its space comes back when the last
 * mapping and descriptor go, however the process ends.
 * Errors: 0 or an errno value; the message is set (api/common/error.h), errno too. A failed call leaves nothing.
 */
#ifndef API_COMMON_FILE_H
#define API_COMMON_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "alloc/heap.h"

#define POOL_FILE_ALIGN ((size_t)4 << 20) /* of every pool's address */

struct pool_file {
	void *base;     /* multiple of POOL_FILE_ALIGN, mapped MAP_SHARED for reading and writing */
	size_t size;    /* bytes mapped: the size asked for, rounded up to pages; of a device its whole size */
	int fd;         /* close-on-exec; -1 after pool_file_close_fd() */
	enum heap_backing backing; /* SPARSE; FULL where pages cannot be committed one by one; GIVEN for a device */
	bool zeroed;    /* the whole content reads as zero */
};

/* Makes a file of `size` bytes in the directory `dir` and maps it. The file is sparse, but refused (ENOSPC) when
 * the free space could not hold it now. Looks at the size first, then at `dir`. */
int pool_file_create(const char *dir, size_t size, struct pool_file *out);

/* True when `path` names a character device. */
bool pool_file_is_device(const char *path);
/* Maps a whole "device DAX". EINVAL: no such device; ENOSPC: it is smaller than `size`. */
int pool_file_open_device(const char *path, size_t size, struct pool_file *out);

/* Gives the file all blocks of a range that it does not have. No message is set. */
int pool_file_allocate(int fd, size_t offset, size_t size);

/* The mapping stays. */
void pool_file_close_fd(struct pool_file *file);
/* Unmaps and closes: the space is free again. */
void pool_file_delete(struct pool_file *file);

#endif
