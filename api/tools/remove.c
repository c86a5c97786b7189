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
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/common/error.h"
#include "api/pmemcto/media.h"
#include "api/pmemcto/set.h"
#include "api/tools/pmheap.h"

/* One file of a pool. */
struct target {
	const char *path;
	uint64_t
		size; /* that it must have to go, where nothing else shows that it is the pool's; 0: it must begin as one */
	int fd;       /* holds the lock; -1: there is no such file, and that is all right */
	struct stat st;
};

static bool
is_pool(const struct target *target)
{
	char signature[sizeof(POOL_SIGNATURE)];

	if (target->size != 0)
		return (uint64_t)target->st.st_size == target->size;
	return pread(target->fd, signature, sizeof(signature), 0) == (ssize_t)sizeof(signature) &&
		memcmp(signature, POOL_SIGNATURE, sizeof(signature)) == 0;
}

/* Why a file that is open cannot go; NULL: it can. */
static const char *
obstacle(const struct removal *how, struct target *target)
{
	if (fstat(target->fd, &target->st) != 0)
		return strerror(errno);
	if (S_ISDIR(target->st.st_mode))
		return "it is a directory";
	if (!S_ISREG(target->st.st_mode))
		return "it is no regular file";
	if (flock(target->fd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? "it is open: some program has the pool" : strerror(errno);
	return how->any_file || is_pool(target) ? NULL : "it is no pool";
}

static bool
lock_target(const struct removal *how, struct target *target)
{
	const char *why;

	/* neither wait for a fifo's other end nor become a terminal's owner */
	target->fd = open(target->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (target->fd >= 0)
		why = obstacle(how, target);
	else if (errno == ENOENT && how->missing_is_fine)
		return true;
	else
		why = errno == ELOOP ? "it is a symbolic link: name the file itself" : strerror(errno);
	if (why == NULL)
		return true;
	complain("%s: cannot remove '%s': %s", how->command, target->path, why);
	return false;
}

/* R3. */
static bool
unlink_target(const struct removal *how, const struct target *target)
{
	struct stat now;
	int error = 0;

	if (lstat(target->path, &now) != 0)
		error = errno;
	else if (now.st_dev != target->st.st_dev || now.st_ino != target->st.st_ino)
		error = ESTALE;
	else if (unlink(target->path) != 0)
		error = errno;
	if (error != 0)
		complain("%s: cannot remove '%s': %s", how->command, target->path, strerror(error));
	else if (how->verbose)
		printf("removed '%s'\n", target->path);
	return error == 0;
}

/* R2. */
static int
remove_targets(const struct removal *how, const char *path, struct target *targets, size_t n)
{
	bool good = true;

	for (size_t i = 0; i < n; i++)
		targets[i].fd = -1;
	for (size_t i = 0; good && i < n; i++)
		good = lock_target(how, &targets[i]);
	if (good && (!how->ask || confirm("pmheap: remove the pool '%s'? [y/N] ", path))) {
		for (size_t i = 0; i < n; i++)
			if (targets[i].fd >= 0)
				good &= unlink_target(how, &targets[i]);
	}
	for (size_t i = 0; i < n; i++)
		if (targets[i].fd >= 0)
			close(targets[i].fd);
	return good ? 0 : TOOL_NEGATIVE;
}

/* The parts, and with --all the set file behind them: what is left when something fails is found by it. */
static int
remove_set(const struct removal *how, const char *path, const struct set *set)
{
	size_t n = set->n + how->set_file;
	struct target *targets = calloc(n, sizeof(*targets));
	int status;

	if (targets == NULL) {
		complain("%s: cannot remove '%s': %s", how->command, path, strerror(errno));
		return TOOL_NEGATIVE;
	}
	for (size_t i = 0; i < set->n; i++) {
		targets[i].path = set->part[i].path;
		targets[i].size = set->single_header && i != 0 ? set->part[i].size : 0;
	}
	if (how->set_file) {
		struct stat st;

		targets[set->n].path = path;
		targets[set->n].size = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
	}
	status = remove_targets(how, path, targets, n);
	free(targets);
	return status;
}

int
remove_pool(const struct removal *how, const char *path)
{
	struct target alone = {.path = path};
	struct set set = { 0 };
	struct stat st;
	int status;

	/* What is not there is no set. */
	if ((stat(path, &st) == 0 || errno != ENOENT) && set_load(path, &set) != 0) {
		complain("%s: cannot remove '%s': %s", how->command, path, error_get());
		return TOOL_NEGATIVE;
	}
	status = set.is_set ? remove_set(how, path, &set) : remove_targets(how, path, &alone, 1);
	set_unload(&set);
	return status;
}
