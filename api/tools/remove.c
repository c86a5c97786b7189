/* remove.c -- see remove.h
 *
 * Rules:  R1  a file is locked when it goes: a pool that is open stays, whatever is asked for.
 *         R2  nothing goes before all files of the pool are locked and known for what they are.
 *         R3  a name goes only while it is that of the locked file.
 *         R4  a device DAX stays, and is no pool any more: its first bytes become zero. Nothing but a pool's is taken
 *             for one, not even by force.
 * Locks:  the pool's, exclusively.
 * Media:  reads signatures, clears devices.
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
#include <sys/sysmacros.h>
#include <unistd.h>

#include "api/common/dax.h"
#include "api/common/error.h"
#include "api/common/poolset.h"
#include "api/pmemcto/file.h"
#include "api/pmemcto/headers.h"
#include "api/pmemcto/media.h"
#include "api/pmemcto/set.h"
#include "api/tools/pmheap.h"

/* One file of a pool. */
struct target {
	const char *path;
	bool unmarked; /* nothing in it shows that it is the pool's; else it must begin as one */
	uint64_t size; /* of an unmarked one: that it must have to go, or POOLSET_AUTO */
	int fd;        /* holds the lock; -1: there is no such file, and that is all right */
	struct stat st;
	bool is_device;
	struct cto_file device; /* then this holds the lock */
};

static bool
begins_as_pool(const struct target *target)
{
	char signature[sizeof(POOL_SIGNATURE)];

	if (target->is_device ? cto_file_read(&target->device, 0, signature, sizeof(signature)) != 0
			      : pread(target->fd, signature, sizeof(signature), 0) != (ssize_t)sizeof(signature))
		return false;
	return memcmp(signature, POOL_SIGNATURE, sizeof(signature)) == 0;
}

static bool
is_pool(const struct target *target)
{
	uint64_t size = target->is_device ? target->device.size : (uint64_t)target->st.st_size;

	if (target->unmarked)
		return target->size == POOLSET_AUTO || target->size == size;
	return begins_as_pool(target);
}

/* R4. The same for a character device. */
static const char *
device_obstacle(struct target *target)
{
	bool is_dax;
	int error = dax_recognise(target->path, major(target->st.st_rdev), minor(target->st.st_rdev), &is_dax);

	if (error != 0 || !is_dax)
		return "it is no regular file";
	error = cto_file_open(target->path, true, &target->device);
	if (error != 0)
		return error == EAGAIN ? "it is open: some program has the pool" : error_get();
	target->is_device = true;
	return is_pool(target) ? NULL : "it is no pool";
}

/* Why a file that is open cannot go; NULL: it can. */
static const char *
obstacle(const struct removal *how, struct target *target)
{
	if (fstat(target->fd, &target->st) != 0)
		return strerror(errno);
	if (S_ISDIR(target->st.st_mode))
		return "it is a directory";
	if (S_ISCHR(target->st.st_mode))
		return device_obstacle(target);
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

/* R4. */
static bool
clear_target(const struct removal *how, const struct target *target)
{
	if (headers_clear_file(&target->device) != 0) {
		complain("%s: cannot remove '%s': %s", how->command, target->path, error_get());
		return false;
	}
	if (how->verbose)
		printf("cleared '%s'\n", target->path);
	return true;
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
				good &= targets[i].is_device ? clear_target(how, &targets[i])
							     : unlink_target(how, &targets[i]);
	}
	for (size_t i = 0; i < n; i++) {
		if (targets[i].is_device)
			cto_file_release(&targets[i].device);
		if (targets[i].fd >= 0)
			close(targets[i].fd);
	}
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
		targets[i].unmarked = set->single_header && i != 0;
		targets[i].size = set->part[i].size;
	}
	if (how->set_file) {
		struct stat st;

		targets[set->n].path = path;
		if (stat(path, &st) == 0) {
			targets[set->n].unmarked = true;
			targets[set->n].size = (uint64_t)st.st_size;
		}
	}
	status = remove_targets(how, path, targets, n);
	free(targets);
	return status;
}

int
remove_pool(const struct removal *how, const char *path)
{
	struct target alone = {.path = path};
	struct set set = {0};
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
