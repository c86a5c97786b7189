/* heap_region.c -- regions of memory for tests of the heap: one for every kind of backing
 *
 * Owns:   mappings and memfds of tests. Media: none of its own.
 * Fails:  never returns on failure: prints the call and its errno, then aborts.
 */
#define _GNU_SOURCE
#include "alloc/os.h"
#include "tests/heap_region.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static _Noreturn void
region_stop(const char *call, int error)
{
	fprintf(stderr, "heap_region: %s: %s\n", call, strerror(error));
	abort();
}

static void *
region_mmap(void *at, size_t size, int prot, int flags, int fd)
{
	void *p = mmap(at, size, prot, flags, fd, 0);

	if (p == MAP_FAILED)
		region_stop("mmap", errno);
	return p;
}

static int
region_memfd(size_t size)
{
	int fd = memfd_create("heap_region", MFD_CLOEXEC);

	if (fd < 0)
		region_stop("memfd_create", errno);
	if (ftruncate(fd, (off_t)size) != 0)
		region_stop("ftruncate", errno);
	return fd;
}

static void
region_config(struct heap_region *region, size_t size, enum heap_backing backing)
{
	region->config = (struct heap_config){
		.size = size,
		.reserved = HEAP_PAGE,
		.backing = backing,
		.zeroed = true,
		.min_align = 16,
		.name = "test",
	};
	region->mapped = (size + HEAP_PAGE - 1) & ~(HEAP_PAGE - 1);
}

void
heap_region_map(struct heap_region *region, size_t size, enum heap_backing backing, bool dirty)
{
	if (backing == HEAP_BACKING_SPARSE) {
		heap_region_map_file(region, region_memfd((size + HEAP_PAGE - 1) & ~(HEAP_PAGE - 1)), size);
		return;
	}
	region_config(region, size, backing);
	region->fd = -1;
	if (backing == HEAP_BACKING_FULL) {
		region->fd = region_memfd(region->mapped);
		int error = posix_fallocate(region->fd, 0, (off_t)region->mapped);

		if (error)
			region_stop("posix_fallocate", error);
		region->config.base = region_mmap(NULL, region->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd);
	} else {
		region->config.base =
			region_mmap(NULL, region->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	}
	if (dirty) {
		memset(region->config.base, 0xA5, region->mapped);
		region->config.zeroed = false;
	}
}

void
heap_region_map_file(struct heap_region *region, int fd, size_t size)
{
	region_config(region, size, HEAP_BACKING_SPARSE);
	region->fd = fd;
	/* As pools lie: huge pages can map it. */
	size_t align = OS_HUGE, room = region->mapped + align;
	char *p = region_mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	char *base = p + (align - (uintptr_t)p % align) % align;

	if (base > p)
		munmap(p, (size_t)(base - p));
	munmap(base + region->mapped, (size_t)(p + room - (base + region->mapped)));
	region->config.base = region_mmap(base, region->mapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd);
}

void
heap_region_move(struct heap_region *region)
{
	void *from = region->config.base, *to;

	if (region->fd >= 0) {
		to = region_mmap(NULL, region->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd);
		munmap(from, region->mapped);
	} else {
		to = region_mmap(NULL, region->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
		if (mremap(from, region->mapped, region->mapped, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
			region_stop("mremap", errno);
	}
	region->config.base = to;
}

void
heap_region_unmap(struct heap_region *region)
{
	munmap(region->config.base, region->mapped);
	if (region->fd >= 0)
		close(region->fd);
}

int
heap_region_clone_begin(const struct heap_region *region)
{
	return region_memfd(region->mapped);
}

int
heap_region_clone_range(const struct heap_region *region, int clone_fd, size_t offset, size_t length)
{
	const char *from = (const char *)region->config.base + offset;

	for (size_t done = 0; done < length;) {
		ssize_t n = pwrite(clone_fd, from + done, length - done, (off_t)(offset + done));

		if (n <= 0)
			region_stop("pwrite", errno);
		done += (size_t)n;
	}
	return 0;
}

void
heap_region_clone_swap(struct heap_region *region, int clone_fd)
{
	region_mmap(region->config.base, region->mapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, clone_fd);
	close(region->fd);
	region->fd = clone_fd;
}

size_t
heap_region_file_bytes(const struct heap_region *region)
{
	struct stat st;

	if (fstat(region->fd, &st) != 0)
		region_stop("fstat", errno);
	return (size_t)st.st_blocks * 512;
}

struct heap *
heap_region_create_heap(const struct heap_region *region)
{
	struct heap *heap = NULL;
	int error = heap_create(&heap, &region->config);

	if (error)
		region_stop("heap_create", error);
	return heap;
}
