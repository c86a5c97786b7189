/* os.h -- what api/ asks of the kernel
 *
 * The api layer's seam to the system: alloc/os.c is the allocator's, with the prefix os_; this one has sys_, since
 * both are linked into one library. Functions that return int give 0 or an errno value unless said otherwise.
 * None allocates. What opens or closes files may be a cancellation point, sys_write_all() is none.
 */
#ifndef API_COMMON_OS_H
#define API_COMMON_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

size_t sys_page_size(void); /* bytes */
unsigned sys_cpus(void); /* online */
int sys_pid(void);
/* The running program's path, cut to size - 1 bytes; "unknown" without /proc. */
void sys_program_path(char *buf, size_t size);
/* The English text of an errno value; never translated, so that it takes no lock and allocates nothing. */
const char *sys_error_text(int error, char *buf, size_t size);

/* --- memory -------------------------------------------------------------------------------------------------- */

void *sys_map_memory(size_t size); /* anonymous, private, zero; NULL and errno */
void sys_unmap(void *p, size_t size);
/* Takes `size` bytes of addresses without memory behind them, a multiple of `align` (a power of two). */
void *sys_reserve(size_t size, size_t align); /* NULL and errno */
/* The same at exactly `at`; NULL and errno EEXIST when something is there. */
void *sys_reserve_at(void *at, size_t size);
/* The first address >= from, a multiple of align, with `size` bytes free behind it; 0: none, or no /proc. */
uintptr_t sys_find_gap(uintptr_t from, size_t size, size_t align);
/* The address lies in memory that a fork's child will share; false also where /proc does not tell. */
bool sys_is_shared(const void *p);
int sys_map_file_over(void *at, size_t size, int fd); /* MAP_SHARED, read and write, in place of what is there */
int sys_protect(void *p, size_t size, bool accessible);
/* Allocates and maps pages for writing (Linux 5.14). EINVAL: the kernel cannot. */
int sys_populate(void *p, size_t size);

/* --- files --------------------------------------------------------------------------------------------------- */

int sys_open_unnamed(const char *dir);  /* O_TMPFILE; descriptor, or -1 and errno */
int sys_open_unlinked(char *path_template); /* mkstemp, unlinked before any signal; descriptor, or -1 and errno */
int sys_open_device(const char *path); /* read and write; descriptor, or -1 and errno */
int sys_open_log(const char *path);     /* emptied, for writing; descriptor, or -1 and errno */
void sys_close(int fd);
/* Writes to an existing file; whatever hinders it is of no matter, and errno stays. */
void sys_poke(const char *path, const char *text);
void sys_write_all(int fd, const char *text, size_t n); /* what cannot be written is dropped */
int sys_set_size(int fd, size_t size); /* EFBIG also at RLIMIT_FSIZE, and then without SIGXFSZ */
int sys_allocate(int fd, size_t offset, size_t size); /* posix_fallocate */

struct sys_space {
	uint64_t free_bytes;  /* for this user; UINT64_MAX: the file system does not say */
	uint64_t block_bytes;
};
int sys_get_space(int fd, struct sys_space *space);

bool sys_is_char_device(const char *path, unsigned *major, unsigned *minor);
/* Whole content of a small file without its last newline; -1: cannot. */
int sys_read_small(const char *path, char *buf, size_t size);
/* Target of a symbolic link; -1: cannot. */
int sys_read_link(const char *path, char *buf, size_t size);

#endif
