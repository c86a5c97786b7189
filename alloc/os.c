/* os.c -- alloc/'s one seam to the kernel, see os.h
 *
 * Owns:   whether membarrier(2) is registered for this process; per thread, whether it is dying.
 * Media:  process only.
 */
#include "alloc/os.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

size_t
os_page_size(void)
{
	static _Atomic size_t size; /* any thread; the same value whoever stores it */
	size_t s = atomic_load_explicit(&size, memory_order_relaxed);

	if (s == 0) {
		s = (size_t)sysconf(_SC_PAGESIZE);
		atomic_store_explicit(&size, s, memory_order_relaxed);
	}
	return s;
}

void *
os_map(size_t size)
{
	int saved = errno;
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	errno = saved;
	return p == MAP_FAILED ? NULL : p;
}

void
os_unmap(void *addr, size_t size)
{
	int saved = errno;

	if (munmap(addr, size) != 0) {
		/* munmap(2), ENOMEM: it would leave a mapping in two pieces, and the process has all that it may have. The
		 * addresses stay then; the memory goes. */
		if (errno != ENOMEM || madvise(addr, size, MADV_DONTNEED) != 0)
			os_fatal("pmheap", "munmap of the allocator's own memory failed", addr);
	}
	errno = saved;
}

static int
advise(void *addr, size_t size, int advice)
{
	int saved = errno, result = 0;

	while (madvise(addr, size, advice) != 0) {
		if (errno == EINTR || errno == EAGAIN)
			continue;
		result = errno;
		break;
	}
	errno = saved;
	return result;
}

int
os_commit(void *addr, size_t size)
{
	int error = advise(addr, size, MADV_POPULATE_WRITE);

	/* EFAULT stands for the SIGBUS that a touch would have raised: no room in the file system. */
	return error == 0 || error == EINVAL ? error : ENOMEM;
}

int
os_commit_huge(void *addr)
{
	int saved = errno, error = os_commit(addr, os_page_size()); /* collapsing wants a page to begin with */

	if (error == 0 && madvise(addr, OS_HUGE, MADV_COLLAPSE) != 0)
		error = errno;
	errno = saved;
	return error;
}

int
os_punch(void *addr, size_t size)
{
	return advise(addr, size, MADV_REMOVE);
}

int
os_discard(void *addr, size_t size)
{
	return advise(addr, size, MADV_DONTNEED);
}

bool
os_barrier_ready(void)
{
	static _Atomic int state; /* 0 not asked, 1 ready, 2 none */
	int s = atomic_load_explicit(&state, memory_order_relaxed);

	if (s == 0) {
		int saved = errno;
		s = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 ? 1 : 2;
		errno = saved;
		atomic_store_explicit(&state, s, memory_order_relaxed);
	}
	return s == 1;
}

void
os_barrier_all(void)
{
	int saved = errno;

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0)
		os_fatal("pmheap", "membarrier failed after it was registered", NULL);
	errno = saved;
}

void
os_wait(_Atomic uint32_t *word, uint32_t expected)
{
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
	errno = saved;
}

void
os_wake(_Atomic uint32_t *word, int n)
{
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
	errno = saved;
}

void
os_yield(unsigned tries)
{
	/* Yielding does not let a thread of lower priority run (sched(7), SCHED_FIFO): sleep then. */
	static const struct timespec nap = {0, 50000};

	if (tries < 64) {
		sched_yield();
		return;
	}
	int saved = errno;
	syscall(SYS_nanosleep, &nap, NULL); /* the function of that name is a cancellation point */
	errno = saved;
}

uint64_t
os_random(void)
{
	uint64_t word;

	return getrandom(&word, sizeof(word), GRND_NONBLOCK) == sizeof(word) ? word : os_now_ns();
}

uint64_t
os_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static __thread bool dying;

bool
os_is_dying(void)
{
	return dying;
}

void
os_fatal(const char *name, const char *what, const void *p)
{
	dying = true;
	char line[512];
	size_t n = 0;
	const char *parts[] = {name, ": ", what};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		for (const char *s = parts[i]; *s != '\0' && n < sizeof(line) - 32; s++)
			line[n++] = *s;
	}
	if (p != NULL) {
		static const char digits[] = "0123456789abcdef";
		uintptr_t v = (uintptr_t)p;
		int shift = 60;

		memcpy(line + n, " 0x", 3);
		n += 3;
		while (shift > 0 && (v >> shift) == 0)
			shift -= 4;
		for (; shift >= 0; shift -= 4)
			line[n++] = digits[(v >> shift) & 15];
	}
	line[n++] = '\n';
	long written = syscall(SYS_write, STDERR_FILENO, line, n); /* write() is a cancellation point */
	(void)written;                                             /* nothing is left to try when stderr is closed */
	abort();
}
