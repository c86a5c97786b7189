/* headers.c -- the headers of a pool's parts, taken together
 *
 * Owns:   the order in which they are written; the ring.
 * Rules:  R1  part 0's header is written when all others are durable. Who dies in between leaves files that are no pool.
 *         R2  the files of a set with OPTION SINGLEHDR have one header, that of part 0; yet none of them may begin with
 *             data when a pool is made: that data may be another pool.
 *         R3  a device that a creation failed on, or that is removed, loses its first 2 MiB, as with the published tools.
 * Locks:  the caller's, of the files.
 * Media:  struct pool_header_media, 4096 bytes at the start of every part that has one.
 * Fails:  with an errno value; headers_clear() is the caller's to call.
 */
#include "api/pmemcto/headers.h"

#include <errno.h>
#include <string.h>

#include "api/common/error.h"
#include "api/common/os.h"
#include "api/pmemcto/os.h"

#define DEVICE_CLEARED ((size_t)2 << 20)

static size_t
count(const struct parts *parts)
{
	return parts->single_header ? 1 : parts->n;
}

int
headers_judge(const struct parts *parts, const struct pool_header_media *first, const char **fault, size_t *part)
{
	struct pool_header_media two[2];
	size_t n = count(parts);

	*part = 0;
	*fault = media_header_fault(first);
	if (*fault == NULL && n == 1)
		*fault = media_alone_fault(first, parts->single_header);
	two[0] = *first;
	for (size_t i = 1; *fault == NULL && i < n; i++) {
		int error = parts_read(parts, i, 0, &two[i % 2], sizeof(two[0]));

		if (error != 0)
			return error;
		*part = i;
		*fault = media_header_fault(&two[i % 2]);
		if (*fault == NULL)
			*fault = media_neighbours_fault(&two[(i - 1) % 2], &two[i % 2]);
	}
	if (*fault == NULL && n > 1) {
		*fault = media_neighbours_fault(&two[(n - 1) % 2], first);
		/* the ring has no beginning of its own */
		if (*fault == NULL && memcmp(&first->prev_replica, &first->part, sizeof(first->part)) != 0) {
			*part = 0;
			*fault = "this file is not the first of the set's parts";
		}
	}
	return 0;
}

int
headers_expect_none(const struct parts *parts)
{
	uint8_t page[POOL_HEADER_SIZE];

	for (size_t i = 0; i < parts->n; i++) {
		const struct cto_file *file = &parts->part[i].file;
		int error;

		if (cto_file_is_new(file))
			continue;
		error = cto_file_read(file, 0, page, sizeof(page));
		if (error == 0 && (page[0] != 0 || memcmp(page, page + 1, sizeof(page) - 1) != 0)) {
			ERROR("\"%s\" begins with data: only a file whose first page is zero becomes a pool",
			      file->path);
			error = EEXIST;
		}
		if (error != 0)
			return errno = error;
	}
	return 0;
}

/* The set's parts are numbered: one random number, counted up. */
static struct pool_uuid_media
uuid_of(const struct pool_uuid_media *random, size_t i)
{
	struct pool_uuid_media uuid = *random;
	uint32_t last;

	memcpy(&last, &uuid.bytes[12], sizeof(last));
	last += (uint32_t)i;
	memcpy(&uuid.bytes[12], &last, sizeof(last));
	return uuid;
}

int
headers_write(const struct parts *parts)
{
	struct media_identity identity = {.created = cto_os_time(), .single_header = parts->single_header};
	size_t n = count(parts);
	int error = 0;

	cto_os_random(&identity.poolset, sizeof(identity.poolset));
	cto_os_random(&identity.first_part, sizeof(identity.first_part));
	for (size_t i = n; error == 0 && i-- > 0;) { /* R1 */
		struct pool_header_media header;

		memset(&header, 0, sizeof(header));
		identity.part = uuid_of(&identity.first_part, i);
		identity.prev_part = uuid_of(&identity.first_part, (i + n - 1) % n);
		identity.next_part = uuid_of(&identity.first_part, (i + 1) % n);
		media_fill_header(&header, &identity);
		error = cto_file_write_start(&parts->part[i].file, &header, sizeof(header));
	}
	return error;
}

int
headers_clear_file(const struct cto_file *file)
{
	size_t n = file->is_device ? DEVICE_CLEARED : POOL_HEADER_SIZE;
	void *zeros = sys_map_memory(n);
	int error;

	if (zeros == NULL) {
		error = errno;
		ERROR_ERRNO("clearing \"%s\"", file->path);
		return errno = error;
	}
	error = cto_file_write_start(file, zeros, n < file->size ? n : file->size);
	sys_unmap(zeros, n);
	return errno = error;
}

void
headers_clear(const struct parts *parts)
{
	int error = errno;

	for (size_t i = 0; i < parts->n; i++)
		if (!cto_file_is_new(&parts->part[i].file))
			headers_clear_file(&parts->part[i].file);
	errno = error;
}
