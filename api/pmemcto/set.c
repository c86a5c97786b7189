/* set.c -- what a path names: one pool file, or the files that a pool set lists
 *
 * Owns:   the list, with a copy of every path.
 * Rules:  S1  a set is a regular file that begins with the signature, nothing else of it counts. Who may not read a file
 *             can use it neither as a set nor as a pool, so it need not be known which it is.
 *         S2  the set file is locked, shared, only while it is read: programs that open pools do not hinder each other,
 *             who edits it under a lock is waited for by trying again (EAGAIN).
 *         S3  where the set lists directories the pool is the file 000000.pmem, of 16 MiB, in the first of them; their
 *             sizes are room for it to grow. This version does not let it grow, and refuses a pool that did.
 * Locks:  the set file's, shared.
 * Media:  the set file is read, never written.
 * Fails:  EINVAL for what is no set, ENOTSUP for a set with replicas, or the kernel's; nothing is kept.
 */
#include "api/pmemcto/set.h"

#include <errno.h>
#include <string.h>

#include "api/common/error.h"
#include "api/common/format.h"
#include "api/common/os.h"
#include "api/common/poolset.h"
#include "api/include/libpmemcto.h"
#include "api/pmemcto/os.h"

#define FIRST_FILE "/000000.pmem"
#define SECOND_FILE "/000001.pmem"
#define FIRST_FILE_SIZE PMEMCTO_MIN_POOL

/* The text, and what it says. Mapped, as it is large. */
struct reading {
	struct poolset set;
	size_t size;
	char text[POOLSET_MAX_TEXT + 1]; /* one more, to see that there is more */
};

/* --- reading ------------------------------------------------------------------------------------------------- */

/* S1. *fd: -1 when it is no set. */
static int
open_set(const char *path, int *fd)
{
	char start[POOLSET_SIGNATURE_SIZE];
	struct cto_os_stat st;
	size_t n = 0;
	int error = 0;

	*fd = cto_os_open(path, false);
	if (*fd < 0) {
		error = errno;
		ERROR_ERRNO("open \"%s\"", path);
		return errno = error;
	}
	error = cto_os_stat(*fd, &st);
	if (error == 0 && st.regular)
		error = cto_os_read_all(*fd, start, sizeof(start), &n);
	errno = error;
	if (error != 0)
		ERROR_ERRNO("read \"%s\"", path);
	if (error != 0 || !poolset_begins(start, n)) {
		cto_os_close(*fd);
		*fd = -1;
	}
	return errno = error;
}

static int
read_text(const char *path, int fd, struct reading *reading)
{
	int error = cto_os_lock(fd, false);

	if (error != 0) {
		errno = error;
		ERROR_ERRNO("flock \"%s\"", path);
		return errno = error;
	}
	error = cto_os_read_all(fd, reading->text, sizeof(reading->text), &reading->size);
	cto_os_unlock(fd);
	errno = error;
	if (error != 0)
		ERROR_ERRNO("read \"%s\"", path);
	return errno = error;
}

static int
parse(const char *path, struct reading *reading)
{
	struct poolset_fault fault;
	const char *what = poolset_parse(reading->text, reading->size, &reading->set, &fault);

	if (what != NULL) {
		if (fault.value.length != 0)
			ERROR("\"%s\", line %u: %s: \"%.*s\"", path, fault.line, what,
			      (int)(fault.value.length < 1000 ? fault.value.length : 1000), fault.value.at);
		else
			ERROR("\"%s\", line %u: %s", path, fault.line, what);
		return errno = EINVAL;
	}
	if (reading->set.replicas) {
		ERROR("\"%s\": the set has replicas, which pools of this kind cannot have", path);
		return errno = ENOTSUP;
	}
	if (reading->set.no_headers) {
		ERROR("\"%s\": OPTION NOHDRS is not for pools of this kind", path);
		return errno = EINVAL;
	}
	return 0;
}

/* --- the list ------------------------------------------------------------------------------------------------ */

/* Copies what the text says. */
static int
make_list(const char *path, const struct poolset *from, struct set *out)
{
	size_t n = from->nparts, bytes = n * sizeof(struct set_part);
	char *copy;

	for (size_t i = 0; i < n; i++)
		bytes += from->part[i].path.length + sizeof(FIRST_FILE); /* S3 needs room for that */
	out->part = sys_map_memory(bytes);
	if (out->part == NULL) {
		ERROR_ERRNO("pool set \"%s\"", path);
		return errno;
	}
	out->memory = bytes;
	out->is_set = true;
	out->single_header = from->single_header;
	out->n = n;
	copy = (char *)&out->part[n];
	for (size_t i = 0; i < n; i++) {
		out->part[i] = (struct set_part){copy, from->part[i].size};
		memcpy(copy, from->part[i].path.at, from->part[i].path.length);
		copy += from->part[i].path.length + sizeof(FIRST_FILE);
	}
	return 0;
}

/* S3: refuses a directory that was listed before, or holds more than the pool's first file. */
static int
judge_directory(const char *path, const struct set *set, size_t i)
{
	const char *dir = set->part[i].path;
	char file[4200];

	for (size_t j = 0; j < i; j++)
		if (cto_os_same(set->part[j].path, dir)) {
			ERROR("\"%s\": the directory \"%s\" is listed twice", path, dir);
			return errno = EEXIST;
		}
	for (int second = i == 0; second < 2; second++) {
		const char *name = second ? SECOND_FILE : FIRST_FILE;

		if ((size_t)format(file, sizeof(file), "%s%s", dir, name) < sizeof(file) && cto_os_exists(file)) {
			ERROR("\"%s\": \"%s\" is more than the first file of a pool, which is all that is supported",
			      path, file);
			return errno = EINVAL;
		}
	}
	return 0;
}

/* When the set lists directories, puts the file in their place. */
static int
resolve_directories(const char *path, struct set *set)
{
	size_t n = 0;
	int error;

	for (size_t i = 0; i < set->n; i++)
		n += cto_os_is_directory(set->part[i].path);
	if (n == 0)
		return 0;
	if (n != set->n || !set->single_header) {
		ERROR(n != set->n ? "\"%s\": the set lists both files and directories"
				  : "\"%s\": a set of directories needs OPTION SINGLEHDR",
		      path);
		return errno = EINVAL;
	}
	for (size_t i = 0; i < n; i++) {
		error = judge_directory(path, set, i);
		if (error != 0)
			return error;
		if (set->part[i].size == POOLSET_AUTO) {
			ERROR("\"%s\": AUTO is no size for the directory \"%s\"", path, set->part[i].path);
			return errno = EINVAL;
		}
		if (__builtin_add_overflow(set->room, set->part[i].size, &set->room))
			set->room = UINT64_MAX;
	}
	if (set->room < FIRST_FILE_SIZE) {
		ERROR("\"%s\": the directories have room for %llu bytes, a pool needs %zu", path,
		      (unsigned long long)set->room, FIRST_FILE_SIZE);
		return errno = EINVAL;
	}
	set->n = 1;
	set->part[0].size = FIRST_FILE_SIZE;
	strcat((char *)(uintptr_t)set->part[0].path, FIRST_FILE); /* make_list() left room */
	return 0;
}

int
set_load(const char *path, struct set *out)
{
	struct reading *reading;
	int error, fd;

	*out = (struct set){0};
	error = open_set(path, &fd);
	if (fd < 0)
		return error;
	reading = sys_map_memory(sizeof(*reading));
	if (reading == NULL) {
		error = errno;
		ERROR_ERRNO("pool set \"%s\"", path);
		cto_os_close(fd);
		return errno = error;
	}
	error = read_text(path, fd, reading);
	cto_os_close(fd);
	if (error == 0)
		error = parse(path, reading);
	if (error == 0)
		error = make_list(path, &reading->set, out);
	sys_unmap(reading, sizeof(*reading));
	if (error == 0) {
		error = resolve_directories(path, out);
		if (error != 0)
			set_unload(out);
	}
	return errno = error;
}

void
set_unload(struct set *set)
{
	int error = errno;

	if (set->part != NULL)
		sys_unmap(set->part, set->memory);
	*set = (struct set){0};
	errno = error;
}
