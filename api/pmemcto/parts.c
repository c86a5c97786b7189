/* parts.c -- the files of a libpmemcto pool: opened and locked together, mapped one behind the other
 *
 * Owns:   the list of a pool's files, and where each lies in the pool.
 * Rules:  L1  part[0].at is 0, and every part begins where the one before it ends; `size` is the sum of their lengths.
 *         L2  what is opened is locked at once and stays so until all are closed; in the set's order, so that two who
 *             open the same set do not wait for each other's half (they would not wait at all: EAGAIN).
 *         L3  between reserving addresses and mapping the files there is no moment when they are free for others.
 * Locks:  those of the files.
 * Media:  writes nothing into the files.
 * Fails:  with an errno value; what was opened before is closed.
 */
#include "api/pmemcto/parts.h"

#include <errno.h>
#include <string.h>

#include "alloc/heap.h"
#include "api/common/error.h"
#include "api/common/os.h"
#include "api/include/libpmemcto.h"
#include "api/pmemcto/media.h"
#include "api/pmemcto/os.h"

/* --- the list ------------------------------------------------------------------------------------------------ */

/* Room for one part, and its path. */
static int
list_new(const char *path, struct parts *out)
{
	size_t length = strlen(path) + 1;
	char *copy;

	*out = (struct parts){.memory = sizeof(struct part) + length};
	out->part = sys_map_memory(out->memory);
	if (out->part == NULL) {
		int error = errno;

		ERROR_ERRNO("pool \"%s\"", path);
		return errno = error;
	}
	copy = (char *)&out->part[1];
	memcpy(copy, path, length);
	out->part[0].file.path = copy;
	return 0;
}

static void
list_free(struct parts *parts)
{
	int error = errno;

	sys_unmap(parts->part, parts->memory);
	*parts = (struct parts){0};
	errno = error;
}

/* L1, when all files are open. */
static void
place_parts(struct parts *parts)
{
	parts->size = parts->file_size = parts->allocated = 0;
	for (size_t i = 0; i < parts->n; i++) {
		struct part *part = &parts->part[i];

		part->skip = i == 0 || parts->single_header ? 0 : POOL_HEADER_SIZE;
		part->at = parts->size;
		part->length = (part->file.size & ~(uint64_t)(HEAP_PAGE - 1)) - part->skip;
		parts->size += part->length;
		parts->file_size += part->file.size;
		parts->allocated += part->file.allocated;
	}
}

/* --- opening and closing ------------------------------------------------------------------------------------- */

int
parts_open(const char *path, enum parts_access access, struct parts *out)
{
	int error = list_new(path, out);

	if (error != 0)
		return error;
	error = cto_file_open(out->part[0].file.path, access == PARTS_WRITE, &out->part[0].file);
	if (error != 0) {
		list_free(out);
		return errno = error;
	}
	out->n = 1;
	/* who only looks may see what is left of a pool */
	if (access == PARTS_WRITE && out->part[0].file.size < PMEMCTO_MIN_POOL) {
		ERROR("\"%s\" has %llu bytes, a pool needs %zu", path, (unsigned long long)out->part[0].file.size,
		      PMEMCTO_MIN_POOL);
		parts_release(out);
		return errno = EINVAL;
	}
	place_parts(out);
	return 0;
}

int
parts_new(const char *path, size_t size, struct parts *out)
{
	int error = list_new(path, out);

	if (error != 0)
		return error;
	error = cto_file_new(out->part[0].file.path, size, &out->part[0].file);
	if (error != 0) {
		list_free(out);
		return errno = error;
	}
	out->n = 1;
	place_parts(out);
	return 0;
}

int
parts_publish(struct parts *parts, mode_t mode)
{
	for (size_t i = 0; i < parts->n; i++) {
		int error = cto_file_publish(&parts->part[i].file, mode);

		if (error != 0)
			return error;
	}
	return 0;
}

void
parts_release(struct parts *parts)
{
	for (size_t i = parts->n; i-- > 0;)
		cto_file_release(&parts->part[i].file);
	list_free(parts);
}

void
parts_drop(struct parts *parts)
{
	for (size_t i = parts->n; i-- > 0;)
		cto_file_drop(&parts->part[i].file);
	list_free(parts);
}

void
parts_abandon(struct parts *parts)
{
	for (size_t i = parts->n; i-- > 0;)
		cto_os_close(parts->part[i].file.fd);
	list_free(parts);
}

/* --- content ------------------------------------------------------------------------------------------------- */

int
parts_read(const struct parts *parts, size_t i, uint64_t offset, void *buf, size_t n)
{
	return cto_file_read(&parts->part[i].file, offset, buf, n);
}

bool
parts_all_holes(const struct parts *parts)
{
	for (size_t i = 0; i < parts->n; i++)
		if (!cto_os_all_holes(parts->part[i].file.fd))
			return false;
	return true;
}

int
parts_reserve_range(const struct parts *parts, uint64_t offset, uint64_t size)
{
	for (size_t i = 0; i < parts->n; i++) {
		const struct part *part = &parts->part[i];
		uint64_t from = offset > part->at ? offset : part->at, to = offset + size;
		int error;

		if (to > part->at + part->length)
			to = part->at + part->length;
		if (from >= to)
			continue;
		error = cto_file_reserve(&part->file, part->skip + (from - part->at), to - from);
		if (error != 0)
			return error;
	}
	return 0;
}

int
parts_reserve(const struct parts *parts)
{
	for (size_t i = 0; i < parts->n; i++) {
		const struct cto_file *file = &parts->part[i].file;
		int error = cto_file_reserve(file, 0, file->size);

		if (error != 0)
			return error;
	}
	return 0;
}

/* --- mappings ------------------------------------------------------------------------------------------------ */

int
parts_map_over(const struct parts *parts, void *base, enum parts_sharing sharing)
{
	for (size_t i = 0; i < parts->n; i++) {
		const struct part *part = &parts->part[i];
		int error = cto_os_map_over((char *)base + part->at, part->length, part->file.fd, part->skip,
					    sharing == PARTS_SHARED);

		if (error != 0) {
			sys_unmap(base, parts->size);
			return error;
		}
	}
	return 0;
}

int
parts_map_at(const struct parts *parts, void *base, enum parts_sharing sharing)
{
	if (sys_reserve_at(base, parts->size) == NULL)
		return errno;
	return parts_map_over(parts, base, sharing);
}

int
parts_map(const struct parts *parts, enum parts_sharing sharing, void **base)
{
	int error;

	*base = sys_reserve(parts->size, sys_page_size());
	if (*base == NULL)
		return errno;
	error = parts_map_over(parts, *base, sharing);
	if (error != 0)
		*base = NULL;
	return error;
}

void
parts_unmap(const struct parts *parts, void *base)
{
	sys_unmap(base, parts->size);
}
