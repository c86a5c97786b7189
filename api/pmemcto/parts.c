/* parts.c -- the files of a libpmemcto pool: opened and locked together, mapped one behind the other
 *
 * Owns:   the list of a pool's files, and where each lies in the pool.
 * Rules:  L1  part[0].at is 0, and every part begins where the one before it ends; `size` is the sum of their lengths.
 *         L2  what is opened is locked at once and stays so until all are closed; in the set's order, so that two who
 *             open the same set do not wait for each other's half (they would not wait at all: EAGAIN).
 *         L3  between reserving addresses and mapping the files there is no moment when they are free for others.
 *         L4  a part lies where its file can be mapped: places in files and in the pool are multiples of the system's page,
 *             or of what a device asks for. So sets whose parts have headers of 4096 bytes, or odd numbers of pages of
 *             4096 bytes, are refused where pages are larger.
 *         L5  a private mapping has no holes of the file in it. On tmpfs a load from one takes a page of the file system,
 *             so looking at a pool would make its file larger, and be SIGBUS when the file system is full.
 * Locks:  those of the files.
 * Media:  writes nothing into the files. A new file is as long as the set says, and reserved.
 * Fails:  with an errno value; what was opened before is closed.
 */
#include "api/pmemcto/parts.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "alloc/heap.h"
#include "api/common/error.h"
#include "api/common/os.h"
#include "api/common/poolset.h"
#include "api/include/libpmemcto.h"
#include "api/pmemcto/media.h"
#include "api/pmemcto/os.h"
#include "api/pmemcto/set.h"

#define MOST_HOLES 16384u /* per part; sysctl vm.max_map_count is 65530 */

/* --- the list ------------------------------------------------------------------------------------------------ */

/* Room for the parts and their paths. The parts count when they are open. */
static int
list_new(const struct set_part *parts, size_t n, struct parts *out)
{
	char *copy;

	*out = (struct parts){.memory = n * sizeof(struct part)};
	for (size_t i = 0; i < n; i++)
		out->memory += strlen(parts[i].path) + 1;
	out->part = sys_map_memory(out->memory);
	if (out->part == NULL) {
		ERROR_ERRNO("pool \"%s\"", parts[0].path);
		return errno;
	}
	copy = (char *)&out->part[n];
	for (size_t i = 0; i < n; i++) {
		out->part[i].file.path = strcpy(copy, parts[i].path);
		copy += strlen(copy) + 1;
	}
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

/* L1, when all files are open. L4. */
static int
place_parts(struct parts *parts)
{
	uint64_t page = sys_page_size();

	parts->align = page;
	for (size_t i = 0; i < parts->n; i++) {
		struct part *part = &parts->part[i];
		const struct cto_file *file = &part->file;

		part->skip = i == 0 || parts->single_header ? 0 : POOL_HEADER_SIZE;
		part->at = parts->size;
		part->length = (file->size & ~(uint64_t)(HEAP_PAGE - 1)) - part->skip;
		if (part->length > (uint64_t)SSIZE_MAX - parts->size) {
			ERROR("\"%s\" makes the set larger than what can be mapped", file->path);
			return errno = EFBIG;
		}
		parts->size += part->length;
		parts->file_size += file->size;
		parts->allocated += file->allocated;
		if (file->align > parts->align)
			parts->align = file->align;
		if ((part->skip | part->at) % file->align != 0) {
			ERROR("\"%s\" can be mapped at multiples of %llu only: %s", file->path,
			      (unsigned long long)file->align,
			      part->skip % file->align != 0 ? "the set needs OPTION SINGLEHDR"
							    : "the parts before it have another size");
			return errno = EINVAL;
		}
	}
	return 0;
}

/* --- sets ---------------------------------------------------------------------------------------------------- */

/* What can be told from the set alone, before a file is touched. */
static int
judge_set(const char *path, const struct set *set)
{
	uint64_t size = 0;

	for (size_t i = 0; i < set->n; i++) {
		const struct set_part *part = &set->part[i];

		if (part->size == POOLSET_AUTO)
			return 0; /* devices: judge_size() will tell */
		if (part->size < PMEMCTO_MIN_PART) {
			ERROR("\"%s\": part \"%s\" of %llu bytes is smaller than %zu", path, part->path,
			      (unsigned long long)part->size, PMEMCTO_MIN_PART);
			return errno = EINVAL;
		}
		size += part->size & ~(uint64_t)(HEAP_PAGE - 1);
		if (size > (uint64_t)SSIZE_MAX) { /* neither of the two is more, so the sum cannot overflow */
			ERROR("\"%s\": part \"%s\" makes the set larger than what can be mapped", path, part->path);
			return errno = EFBIG;
		}
		if (i != 0 && !set->single_header)
			size -= POOL_HEADER_SIZE;
	}
	if (size < PMEMCTO_MIN_POOL) {
		ERROR("\"%s\": the set has %llu bytes without headers, a pool needs %zu", path,
		      (unsigned long long)size, PMEMCTO_MIN_POOL);
		return errno = EINVAL;
	}
	return 0;
}

static int
judge_set_file(const struct parts *parts, size_t i, uint64_t wanted)
{
	const struct cto_file *file = &parts->part[i].file;

	if (wanted != POOLSET_AUTO && wanted != file->size) {
		ERROR("\"%s\" has %llu bytes, the set says %llu", file->path, (unsigned long long)file->size,
		      (unsigned long long)wanted);
		return errno = EINVAL;
	}
	if (file->size < PMEMCTO_MIN_PART) {
		ERROR("\"%s\" of %llu bytes is smaller than %zu", file->path, (unsigned long long)file->size,
		      PMEMCTO_MIN_PART);
		return errno = EINVAL;
	}
	if (file->is_device != parts->part[0].file.is_device) {
		ERROR("\"%s\": the set lists both files and device DAX", file->path);
		return errno = EINVAL;
	}
	return 0;
}

/* The lock would tell too, but not of a file that has no permissions or no name yet. */
static int
already_listed(const struct parts *parts, const char *path)
{
	for (size_t i = 0; i < parts->n; i++)
		if (cto_file_is_at(&parts->part[i].file, path)) {
			errno = EAGAIN;
			ERROR_ERRNO("\"%s\" is listed twice", path);
			return errno;
		}
	return 0;
}

static int
expect_device(const char *path)
{
	struct cto_os_stat st;

	if (cto_os_stat_path(path, &st) == 0 && st.char_device)
		return 0;
	ERROR("\"%s\": AUTO is a size for device DAX only", path);
	return errno = EINVAL;
}

enum how { OPEN_TO_READ, OPEN_TO_WRITE, OPEN_OR_MAKE };

static int
open_set_file(const struct set_part *wanted, enum how how, struct parts *parts)
{
	struct cto_file *file = &parts->part[parts->n].file;
	int error = already_listed(parts, file->path);

	if (error != 0)
		return error;
	if (wanted->size == POOLSET_AUTO)
		error = expect_device(file->path);
	if (error != 0)
		return error;
	if (how == OPEN_OR_MAKE && !cto_os_exists(file->path) && errno == ENOENT)
		error = cto_file_new(file->path, wanted->size, file);
	else
		error = cto_file_open(file->path, how != OPEN_TO_READ, file);
	if (error != 0)
		return error;
	parts->n++;
	return judge_set_file(parts, parts->n - 1, wanted->size);
}

static int
open_set(const struct set *set, enum how how, struct parts *out)
{
	int error = list_new(set->part, set->n, out);

	if (error != 0)
		return error;
	out->single_header = set->single_header;
	out->room = set->room;
	for (size_t i = 0; error == 0 && i < set->n; i++)
		error = open_set_file(&set->part[i], how, out);
	if (error == 0)
		error = place_parts(out);
	if (error != 0)
		parts_drop(out);
	return error;
}

/* --- opening and closing ------------------------------------------------------------------------------------- */

static int
judge_size(const char *path, const struct parts *parts)
{
	if (parts->size >= PMEMCTO_MIN_POOL)
		return 0;
	ERROR("\"%s\" has %llu bytes, a pool needs %zu", path, (unsigned long long)parts->size, PMEMCTO_MIN_POOL);
	return errno = EINVAL;
}

static int
open_single(const char *path, bool write, struct parts *out)
{
	struct set_part alone = {path, 0};
	int error = list_new(&alone, 1, out);

	if (error != 0)
		return error;
	error = cto_file_open(out->part[0].file.path, write, &out->part[0].file);
	if (error != 0) {
		list_free(out);
		return errno = error;
	}
	out->n = 1;
	error = place_parts(out);
	if (error != 0)
		parts_release(out);
	return error;
}

static int
open_any(const char *path, enum how how, struct parts *out)
{
	struct set set;
	int error = set_load(path, &set);

	if (error != 0)
		return error;
	if (set.is_set) {
		error = judge_set(path, &set);
		if (error == 0)
			error = open_set(&set, how, out);
		set_unload(&set);
	} else {
		error = open_single(path, how != OPEN_TO_READ, out);
	}
	/* who only looks may see what is left of a pool */
	if (error == 0 && how != OPEN_TO_READ) {
		error = judge_size(path, out);
		if (error != 0)
			parts_drop(out);
	}
	return errno = error;
}

int
parts_open(const char *path, enum parts_access access, struct parts *out)
{
	return open_any(path, access == PARTS_WRITE ? OPEN_TO_WRITE : OPEN_TO_READ, out);
}

int
parts_open_or_make(const char *path, struct parts *out)
{
	return open_any(path, OPEN_OR_MAKE, out);
}

int
parts_new(const char *path, size_t size, struct parts *out)
{
	struct set_part alone = {path, size};
	int error = list_new(&alone, 1, out);

	if (error != 0)
		return error;
	error = cto_file_new(out->part[0].file.path, size, &out->part[0].file);
	if (error != 0) {
		list_free(out);
		return errno = error;
	}
	out->n = 1;
	error = place_parts(out);
	if (error != 0)
		parts_drop(out);
	return error;
}

/* A name that is taken when a file is to get it: by this very set, which lists it twice? */
static int
publish_one(struct parts *parts, size_t i, mode_t mode)
{
	struct cto_file *file = &parts->part[i].file;
	int error = cto_file_publish(file, mode);

	for (size_t j = 0; error == EEXIST && j < i; j++)
		if (cto_file_is_at(&parts->part[j].file, file->path)) {
			errno = error = EAGAIN;
			ERROR_ERRNO("\"%s\" is listed twice", file->path);
		}
	return errno = error;
}

int
parts_publish(struct parts *parts, mode_t mode)
{
	for (size_t i = 0; i < parts->n; i++) {
		int error = cto_file_is_new(&parts->part[i].file) ? publish_one(parts, i, mode) : 0;

		if (error != 0)
			return error;
	}
	return 0;
}

bool
parts_are_new(const struct parts *parts)
{
	for (size_t i = 0; i < parts->n; i++)
		if (!cto_file_is_new(&parts->part[i].file))
			return false;
	return true;
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
		if (parts->part[i].file.is_device || !cto_os_all_holes(parts->part[i].file.fd))
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

/* L5, as far as the kernel's limit on the number of mappings allows: each hole is one. */
static void
cover_holes(const struct part *part, char *base)
{
	uint64_t page = sys_page_size(), at = part->skip, end = part->skip + part->length, hole, data;

	for (unsigned n = 0; n < MOST_HOLES && at < end && cto_os_next_hole(part->file.fd, at, &hole, &data); n++) {
		at = data;
		hole = (hole + page - 1) / page * page;
		if (hole < part->skip)
			hole = part->skip;
		data = data < end ? data / page * page : end;
		if (hole < data &&
		    cto_os_map_zeros_over(base + part->at + (hole - part->skip), data - hole) != 0)
			break;
	}
}

int
parts_map_over(const struct parts *parts, void *base, enum parts_sharing sharing)
{
	if (sharing == PARTS_PRIVATE && parts->part[0].file.is_device) {
		sys_unmap(base, parts->size);
		return ENOTSUP;
	}
	for (size_t i = 0; i < parts->n; i++) {
		const struct part *part = &parts->part[i];
		int error = cto_os_map_over((char *)base + part->at, part->length, part->file.fd, part->skip,
					    sharing == PARTS_SHARED);

		if (error != 0) {
			sys_unmap(base, parts->size);
			return error;
		}
		if (sharing == PARTS_PRIVATE)
			cover_holes(part, base);
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

	*base = sys_reserve(parts->size, parts->align);
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

int
parts_sync(const struct parts *parts, void *addr, size_t size)
{
	if (!parts->part[0].file.is_device)
		return cto_os_sync(addr, size);
	for (size_t i = 0; i < parts->n; i++)
		cto_file_flush(&parts->part[i].file, addr, i == 0 ? size : 0);
	return 0;
}
