/* pmem_files.h -- places for the files of the libpmem tests, and what is open */
#ifndef TESTS_PMEM_FILES_H
#define TESTS_PMEM_FILES_H

#include <criterion/criterion.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A disk file system and memory: both are mapped in other ways by the kernel. */
static const char *const file_places[] = {"/tmp", "/dev/shm"};

#define FILE_PLACES (sizeof(file_places) / sizeof(file_places[0]))

static char files_dir[64];

/* Makes an empty folder in that place; files_end() removes it with all in it. */
static inline void
files_begin(const char *place)
{
	snprintf(files_dir, sizeof(files_dir), "%s/pmem_test.XXXXXX", place);
	cr_assert_not_null(mkdtemp(files_dir));
}

static inline void
files_end(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", files_dir);
	cr_assert_eq(system(command), 0);
}

/* DIR/name, in one of a few buffers in turn. */
static inline const char *
file_path(const char *name)
{
	static char paths[8][512];
	static unsigned turn;
	char *path = paths[turn++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", files_dir, name);
	return path;
}

static inline const char *
file_make(const char *name, off_t size)
{
	const char *path = file_path(name);
	int fd = open(path, O_RDWR | O_CREAT, 0640);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, size), 0);
	close(fd);
	return path;
}

static inline struct stat
file_stat(const char *path)
{
	struct stat st;

	cr_assert_eq(stat(path, &st), 0, "%s", path);
	return st;
}

static inline bool
file_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static inline int
open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

static inline int
entries_in_dir(void)
{
	DIR *dir = opendir(files_dir);
	int n = -2;

	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

#endif
