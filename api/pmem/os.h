/* os.h -- what libpmem alone asks of the kernel: the caller's own files, mapped shared
 *
 * No message is set here. "errno" below: left as the kernel set it.
 */
#ifndef API_PMEM_OS_H
#define API_PMEM_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum os_file_type { OS_FILE_NONE, OS_FILE_REGULAR, OS_FILE_DIRECTORY, OS_FILE_CHAR_DEVICE, OS_FILE_OTHER };

struct os_file {
	enum os_file_type type;
	unsigned major, minor; /* of a device */
};

/* What `path` names; OS_FILE_NONE: nothing. 0, or -1 and errno. */
int os_file_look(const char *path, struct os_file *file);

/* How a file was opened, and what undoes it. */
struct os_open {
	int fd;
	bool made;      /* this call made the file, and `path` is its name */
	off_t old_size; /* before os_set_size; -1: not asked for */
};

/* 0, or -1 and errno. `create`, `exclusive`: O_CREAT, O_EXCL. */
int os_open_named(const char *path, bool create, bool exclusive, mode_t mode, struct os_open *file);
/* A file without a name in the directory `path`, mode 0600. */
int os_open_unnamed(const char *path, bool exclusive, struct os_open *file);
/* Sets the length and, unless `sparse`, allocates all blocks. 0, or -1 and errno. */
int os_set_size(struct os_open *file, size_t size, bool sparse);
/* Bytes; -1 and errno. */
off_t os_size(const struct os_open *file);
void os_close(struct os_open *file);
/* Takes back what the call did: the file it made, the bytes it grew the file by. Closes. errno is kept. */
void os_undo(struct os_open *file, const char *path);

/* Reads the address that PMEM_MMAP_HINT names. */
void os_read_hint(void);

/* Maps the file for reading and writing, shared, at a multiple of `align` (a power of two); *sync: with MAP_SYNC.
 * NULL and errno. */
void *os_map(const struct os_open *file, size_t size, size_t align, bool *sync);
int os_unmap(void *p, size_t size);         /* 0, or -1 and errno */
int os_msync(uintptr_t start, size_t size); /* 0, or -1 and errno */

#endif
