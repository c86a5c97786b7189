/* remove.c -- see remove.h
 *
 * Rules:  R1  a file is locked when it goes: a pool that is open stays, whatever is asked for.
 *         R2  nothing goes before all files of the pool are locked and known for what they are.
 *         R3  a name goes only while it is that of the locked file.
 * Locks:  the pool's, exclusively.
 * Media:  reads signatures.
 * Fails:  TOOL_NEGATIVE and a line on stderr.
 */
#define _GNU_SOURCE
#include "api/tools/remove.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/pmemcto/media.h"
#include "api/tools/pmheap.h"

/* Why a file that is open cannot go; NULL: it can. */
static const char *
obstacle(const struct removal *how, int fd, const struct stat *st)
{
	char signature[sizeof(POOL_SIGNATURE)];

	if (S_ISDIR(st->st_mode))
		return "it is a directory";
	if (!S_ISREG(st->st_mode))
		return "it is no regular file";
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? "it is open: some program has the pool" : strerror(errno);
	if (!how->force &&
	    (pread(fd, signature, sizeof(signature), 0) != (ssize_t)sizeof(signature) ||
	     memcmp(signature, POOL_SIGNATURE, sizeof(signature)) != 0))
		return "it is no pool";
	return NULL;
}

/* A descriptor that holds the lock; -1: the file is not there, and that is all right; -2: it has to stay, as was said. */
static int
lock_file(const struct removal *how, const char *path, struct stat *st)
{
	/* neither wait for a fifo's other end nor become a terminal's owner */
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	const char *why;

	if (fd < 0 && errno == ENOENT && how->force)
		return -1;
	if (fd < 0)
		why = errno == ELOOP ? "it is a symbolic link: name the file itself" : strerror(errno);
	else if (fstat(fd, st) != 0)
		why = strerror(errno);
	else
		why = obstacle(how, fd, st);
	if (why == NULL)
		return fd;
	complain("%s: cannot remove '%s': %s", how->command, path, why);
	if (fd >= 0)
		close(fd);
	return -2;
}

/* R3. Closes the descriptor. */
static int
unlink_file(const struct removal *how, const char *path, int fd, const struct stat *st)
{
	struct stat now;
	int error = 0;

	if (lstat(path, &now) != 0)
		error = errno;
	else if (now.st_dev != st->st_dev || now.st_ino != st->st_ino)
		error = ESTALE;
	else if (unlink(path) != 0)
		error = errno;
	close(fd);
	if (error != 0) {
		complain("%s: cannot remove '%s': %s", how->command, path, strerror(error));
		return TOOL_NEGATIVE;
	}
	if (how->verbose)
		printf("removed '%s'\n", path);
	return 0;
}

int
remove_pool(const struct removal *how, const char *path)
{
	struct stat st;
	int fd = lock_file(how, path, &st);

	if (fd < 0)
		return fd == -1 ? 0 : TOOL_NEGATIVE;
	if (how->ask && !confirm("pmheap: remove the pool '%s'? [y/N] ", path)) {
		close(fd);
		return 0;
	}
	return unlink_file(how, path, fd, &st);
}
