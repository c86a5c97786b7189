/* os.h -- what libpmemcto alone asks of the kernel: files that keep their names, mapped where they say
 *
 * Functions that return int give 0 or an errno value unless said otherwise; no message is set here.
 */
#ifndef API_PMEMCTO_OS_H
#define API_PMEMCTO_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* --- files. Descriptors are close-on-exec; -1 and errno. ------------------------------------------------------ */

int cto_os_open(const char *path, bool write); /* for reading, and writing */
int cto_os_open_nameless(const char *dir);     /* of mode 0, to be named by cto_os_link() */
int cto_os_open_new(const char *path);         /* must not exist; of mode 0 */
void cto_os_close(int fd);

bool cto_os_exists(const char *path); /* false also when that cannot be found out */
bool cto_os_is_directory(const char *path);
bool cto_os_same(const char *a, const char *b); /* two names of the same file or directory */
int cto_os_link(int fd, const char *path);
int cto_os_unlink(const char *path);
int cto_os_set_mode(int fd, mode_t mode);

struct cto_os_stat {
	bool regular, directory, char_device;
	unsigned major, minor;   /* of a device */
	uint64_t size;           /* bytes */
	uint64_t allocated;      /* bytes of blocks */
	uint64_t device, number; /* what tells one file from all others */
};
int cto_os_stat(int fd, struct cto_os_stat *st);
int cto_os_stat_path(const char *path, struct cto_os_stat *st);
/* True when the file is known to hold nothing but holes. */
bool cto_os_all_holes(int fd);
/* The first hole that ends behind `from`. False: there is none, or the file system does not tell. */
bool cto_os_next_hole(int fd, uint64_t from, uint64_t *begin, uint64_t *end);
/* All n bytes, or EIO. */
int cto_os_read(int fd, uint64_t offset, void *buf, size_t n);
/* From the start to the end of the file, but not more than `size` bytes: *n. */
int cto_os_read_all(int fd, void *buf, size_t size, size_t *n);
int cto_os_write(int fd, uint64_t offset, const void *buf, size_t n);

/* The lock that keeps a pool to one user, or to those who do not write; EAGAIN: somebody else has it. */
int cto_os_lock(int fd, bool write);
/* Also for those who have a copy of the descriptor by fork(2). */
void cto_os_unlock(int fd);

/* --- memory -------------------------------------------------------------------------------------------------- */

/* Maps bytes of the file for reading and writing in place of what is at `at`; not shared: stores stay in this process,
 * and a file that is open for reading alone will do. */
int cto_os_map_over(void *at, size_t size, int fd, uint64_t offset, bool shared);
/* The same with memory of this process that reads as zero. */
int cto_os_map_zeros_over(void *at, size_t size);
/* Returns when all that was written to those pages, and the file's own blocks, are durable. */
int cto_os_sync(void *addr, size_t size);
int cto_os_sync_file(int fd);
/* The directory that has the name `path`. Best effort: not all file systems can. */
void cto_os_sync_dir(const char *dir);

/* --- more ---------------------------------------------------------------------------------------------------- */

void cto_os_random(void *buf, size_t n);
uint64_t cto_os_time(void); /* seconds since 1970 */
/* The first address that no process of this machine has: a power of two. */
uintptr_t cto_os_space_end(void);

#endif
