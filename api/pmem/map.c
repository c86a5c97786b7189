/* map.c -- pmem_map_file, pmem_unmap, pmem_is_pmem, pmem_msync and the deep functions
 *
 * Owns:   the answer forced by PMEM_IS_PMEM_FORCE.
 * Rules:  P1  the checks of pmem_map_file come in the order of its manual page; its outputs are written last.
 *         P2  a mapping of a device DAX, or one with MAP_SYNC, is tracked before its address is known to the program, and
 *             is forgotten when it is unmapped, not before.
 *         P3  errno is the same before and after a call that succeeds.
 * Locks:  the tracker's.
 * Media:  the caller's: no byte of a mapping is read or written here.
 * Fails:  errno and message; the descriptor is closed, a file made by the call is gone, one that grew has its old length.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "api/common/dax.h"
#include "api/common/error.h"
#include "api/common/log.h"
#include "api/common/os.h"
#include "api/pmem/os.h"
#include "api/pmem/public.h"
#include "api/pmem/range.h"
#include "flush/cpu.h"
#include "flush/flush.h"

#define FILE_FLAGS (PMEM_FILE_CREATE | PMEM_FILE_EXCL | PMEM_FILE_SPARSE | PMEM_FILE_TMPFILE)
#define DAX_FLAGS (PMEM_FILE_CREATE | PMEM_FILE_SPARSE)

#define MEGABYTE ((size_t)1 << 20)
#define GIGABYTE ((size_t)1 << 30)

static int
invalid(void)
{
	errno = EINVAL;
	return -1;
}

/* --- is it persistent memory? ------------------------------------------------------------------------------------- */

static bool
detect(const void *addr, size_t len)
{
	uintptr_t base = (uintptr_t)addr, end = base + len;
	bool covered = end > base && range_covers(base, end);

	LOG(10, "addr %p len %zu: %d", addr, len, covered);
	/* without a way to write back cache lines the fast way is none */
	return covered && flush_chosen() && flush_ops()->can_persist;
}

int
pmem_is_pmem(const void *addr, size_t len)
{
	/* 0 and 1 force the answer, 2 does not. Relaxed: the value stands for itself; the first that is stored stays. */
	static atomic_int forced = -1;
	int force = atomic_load_explicit(&forced, memory_order_relaxed);

	LOG(10, "addr %p len %zu", addr, len);
	if (force < 0) {
		const char *text = cpu_getenv("PMEM_IS_PMEM_FORCE");
		int value = text != NULL ? atoi(text) : 2;

		value = value == 0 || value == 1 ? value : 2;
		if (!flush_chosen() && !cpu_has_environment())
			force = value; /* libc is not ready: the question will be asked again */
		else if (atomic_compare_exchange_strong_explicit(&forced, &force, value, memory_order_relaxed, memory_order_relaxed))
			force = value;
	}
	if (len == 0)
		return 0;
	return force == 2 ? detect(addr, len) : force;
}

/* --- pmem_map_file ------------------------------------------------------------------------------------------------ */

struct request {
	const char *path;
	size_t len;
	int flags;
	mode_t mode;
	bool is_dax;
	struct dax dax;
};

/* Rules for a device DAX; then it is mapped as a file that is there, whole. */
static int
check_dax(struct request *r, const struct os_file *file)
{
	bool is_dax;
	int error = dax_recognise(r->path, file->major, file->minor, &is_dax);

	if (error != 0) {
		errno = error;
		return -1;
	}
	if (!is_dax) {
		ERROR("%s: a character device, but no device DAX", r->path);
		return invalid();
	}
	if ((r->flags & ~FILE_FLAGS) != 0) {
		ERROR("invalid flag specified %x", (unsigned)r->flags);
		return invalid();
	}
	if ((r->flags & ~DAX_FLAGS) != 0) {
		ERROR("flag unsupported for Device DAX %x", (unsigned)r->flags);
		return invalid();
	}
	error = dax_read(r->path, file->major, file->minor, &r->dax);
	if (error != 0) {
		errno = error;
		return -1;
	}
	if (r->len != 0 && r->len != r->dax.size) {
		ERROR("%s: Device DAX length must be either 0 or the exact size of the device: %zu, not %zu", r->path,
		    r->dax.size, r->len);
		return invalid();
	}
	r->is_dax = true;
	r->flags = 0;
	r->len = 0;
	return 0;
}

/* Everything that can be told before the file is touched. */
static int
check_request(struct request *r)
{
	struct os_file file;

	if (r->path == NULL) {
		ERROR("path is NULL");
		return invalid();
	}
	if (os_file_look(r->path, &file) != 0) {
		ERROR_ERRNO("%s: cannot be looked at", r->path);
		return -1;
	}
	if (file.type == OS_FILE_OTHER) {
		ERROR("%s: neither a regular file, nor a directory, nor a device DAX", r->path);
		return invalid();
	}
	if (file.type == OS_FILE_CHAR_DEVICE && check_dax(r, &file) != 0)
		return -1;
	if ((r->flags & ~FILE_FLAGS) != 0) {
		ERROR("invalid flag specified %x", (unsigned)r->flags);
		return invalid();
	}
	if ((r->flags & PMEM_FILE_CREATE) != 0) {
		if (r->len > INT64_MAX) {
			ERROR("invalid file length %zu", r->len);
			return invalid();
		}
	} else if (r->len != 0) {
		ERROR("non-zero 'len' not allowed without PMEM_FILE_CREATE: %zu", r->len);
		return invalid();
	}
	if (r->len == 0 && (r->flags & PMEM_FILE_CREATE) != 0) {
		ERROR("zero 'len' not allowed with PMEM_FILE_CREATE");
		return invalid();
	}
	if ((r->flags & PMEM_FILE_TMPFILE) != 0 && (r->flags & PMEM_FILE_CREATE) == 0) {
		ERROR("PMEM_FILE_TMPFILE not allowed without PMEM_FILE_CREATE");
		return invalid();
	}
	return 0;
}

/* Opens the file and gives it its size. */
static int
open_request(struct request *r, struct os_open *file)
{
	bool create = (r->flags & PMEM_FILE_CREATE) != 0, exclusive = (r->flags & PMEM_FILE_EXCL) != 0;
	off_t size;

	if ((r->flags & PMEM_FILE_TMPFILE) != 0) {
		if (os_open_unnamed(r->path, exclusive, file) != 0) {
			ERROR_ERRNO("%s: cannot make a temporary file", r->path);
			return -1;
		}
	} else if (os_open_named(r->path, create, exclusive, r->mode, file) != 0) {
		ERROR_ERRNO("open %s", r->path);
		return -1;
	}
	if (create) {
		if (os_set_size(file, r->len, (r->flags & PMEM_FILE_SPARSE) != 0) == 0)
			return 0;
		ERROR_ERRNO("%s: cannot set the length to %zu", r->path, r->len);
	} else if (r->is_dax) {
		r->len = r->dax.size;
		return 0;
	} else if ((size = os_size(file)) >= 0) {
		r->len = (size_t)size;
		return 0;
	} else {
		ERROR_ERRNO("%s: cannot read the length", r->path);
	}
	os_undo(file, r->path);
	return -1;
}

static size_t
alignment(const struct request *r)
{
	size_t align = r->len >= 2 * GIGABYTE ? GIGABYTE : 2 * MEGABYTE;

	return r->is_dax && r->dax.align > align ? r->dax.align : align;
}

static size_t
whole_pages(size_t len)
{
	size_t page = sys_page_size();

	return (len + page - 1) & ~(page - 1);
}

/* Maps the open file and tracks it. */
static void *
map_request(const struct request *r, const struct os_open *file)
{
	struct range range = {.type = r->is_dax ? RANGE_DEV_DAX : RANGE_MAP_SYNC, .region = r->is_dax ? r->dax.region : -1};
	bool sync;
	void *p = os_map(file, r->len, alignment(r), &sync);
	int error;

	if (p == NULL) {
		ERROR_ERRNO("%s: cannot map %zu bytes", r->path, r->len);
		return NULL;
	}
	if (!r->is_dax && !sync)
		return p;
	range.base = (uintptr_t)p;
	range.end = range.base + whole_pages(r->len);
	error = range_add(&range);
	if (error == 0)
		return p;
	if (error == EEXIST)
		ERROR("duplicated persistent memory range; presumably unmapped with munmap() instead of pmem_unmap(): "
		      "addr %p len %zu", p, r->len);
	else
		ERROR("no memory to track the range: addr %p len %zu", p, r->len);
	os_unmap(p, r->len);
	errno = ENOMEM;
	return NULL;
}

void *
pmem_map_file(const char *path, size_t len, int flags, mode_t mode, size_t *mapped_lenp, int *is_pmemp)
{
	struct request r = {.path = path, .len = len, .flags = flags, .mode = mode};
	struct os_open file;
	int error = errno;
	void *p;

	LOG(3, "path \"%s\" size %zu flags %x mode %o mapped_lenp %p is_pmemp %p", path, len, (unsigned)flags, (unsigned)mode,
	    (void *)mapped_lenp, (void *)is_pmemp);
	if (check_request(&r) != 0 || open_request(&r, &file) != 0)
		return NULL;
	p = map_request(&r, &file);
	if (p == NULL) {
		os_undo(&file, path);
		return NULL;
	}
	os_close(&file);
	if (mapped_lenp != NULL)
		*mapped_lenp = r.len;
	if (is_pmemp != NULL)
		*is_pmemp = pmem_is_pmem(p, r.len);
	LOG(3, "returning %p", p);
	errno = error;
	return p;
}

/* --- pmem_unmap --------------------------------------------------------------------------------------------------- */

struct piece {
	void *addr;
	size_t len;
};

static int
unmap_piece(void *arg)
{
	struct piece *piece = arg;

	return os_unmap(piece->addr, piece->len);
}

int
pmem_unmap(void *addr, size_t len)
{
	struct piece piece = {addr, len};
	int error = errno;

	LOG(3, "addr %p len %zu", addr, len);
	if (range_remove((uintptr_t)addr, (uintptr_t)addr + whole_pages(len), unmap_piece, &piece) != 0) {
		ERROR_ERRNO("munmap: addr %p len %zu", addr, len);
		return -1;
	}
	errno = error;
	return 0;
}

/* --- durable by the kernel's hand, and deeper --------------------------------------------------------------------- */

int
pmem_msync(const void *addr, size_t len)
{
	/* msync(2) wants whole pages at the start; at the end it rounds up by itself */
	size_t before = (uintptr_t)addr & (sys_page_size() - 1);

	LOG(15, "addr %p len %zu", addr, len);
	if (os_msync((uintptr_t)addr - before, len + before) != 0) {
		ERROR_ERRNO("msync");
		return -1;
	}
	return 0;
}

int
pmem_deep_drain(const void *addr, size_t len)
{
	uintptr_t at = (uintptr_t)addr, end = at + len;
	struct range range;

	LOG(3, "addr %p len %zu", addr, len);
	while (at < end && range_first(at, end, &range)) {
		if (range.base > at) { /* what lies before it is not tracked */
			if (pmem_msync((void *)at, range.base - at) != 0)
				return -1;
			at = range.base;
		}
		if (range.end > end)
			range.end = end;
		if (range.type == RANGE_MAP_SYNC) {
			if (pmem_msync((void *)at, range.end - at) != 0)
				return -1;
		} else {
			flush_drain();
			if (range.region >= 0)
				dax_deep_flush(range.region);
		}
		at = range.end;
	}
	return at != end ? pmem_msync((void *)at, end - at) : 0;
}

int
pmem_deep_persist(const void *addr, size_t len)
{
	LOG(3, "addr %p len %zu", addr, len);
	pmem_deep_flush(addr, len);
	return pmem_deep_drain(addr, len);
}
