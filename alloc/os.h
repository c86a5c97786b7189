/* os.h -- all that alloc/ asks of the kernel
 *
 * Owns:   nothing but the registration with membarrier(2).
 * Rules:  addresses and lengths are multiples of os_page_size() unless said. No function sets errno on success;
 *         those that return int give 0 or an errno value. None allocates.
 * Media:  process only.
 */
#ifndef ALLOC_OS_H
#define ALLOC_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

size_t os_page_size(void);

/* Private, zero, not reserved. NULL: no address space. */
void *os_map(size_t size);
/* Gives the memory back, and the addresses unless the process has as many mappings as it may have. */
void os_unmap(void *addr, size_t size);

/* Makes pages exist and maps them, so that no later touch can raise SIGBUS. ENOMEM: they cannot be had, also when the
 * file system is full; EINVAL: the kernel has no MADV_POPULATE_WRITE (madvise(2), Linux 5.14). */
int os_commit(void *addr, size_t size);

#define OS_HUGE ((size_t)2 << 20)
/* As os_commit for OS_HUGE bytes at a multiple of that, in one page of that size: a tenth of the time per byte on tmpfs.
 * Any errno value: not done, no more than one page is there. MADV_COLLAPSE, Linux 6.1; the kernel wants the address and
 * the offset in the file to be equal modulo OS_HUGE. */
int os_commit_huge(void *addr);

/* Gives the file's blocks back: reads as zero afterwards. 0 or errno. MADV_REMOVE. */
int os_punch(void *addr, size_t size);

/* Drops private pages: a private file mapping then shows the file again, an anonymous one zero. MADV_DONTNEED. */
int os_discard(void *addr, size_t size);

/* A full barrier on every thread of the process: what they stored before it is seen after it by the caller, and they
 * see what the caller stored before it. False where the kernel has none (membarrier(2), Linux 4.14): ask
 * os_barrier_ready() first. */
bool os_barrier_ready(void);
void os_barrier_all(void);

/* Sleeps until *word may differ from `expected`; wakes up to n sleepers. futex(2). */
void os_wait(_Atomic uint32_t *word, uint32_t expected);
void os_wake(_Atomic uint32_t *word, int n);
void os_yield(unsigned tries); /* lets another thread run: at first by sched_yield(2), after some tries by a nap */

uint64_t os_random(void); /* getrandom(2); of the clock while that has nothing yet */
uint64_t os_now_ns(void); /* monotonic */

/* "name: what [0x<p>]" and a newline on stderr, then abort(). p NULL: no address is shown. */
_Noreturn void os_fatal(const char *name, const char *what, const void *p);

/* This thread is in os_fatal's abort(), perhaps in the program's handler of SIGABRT: it may hold any lock of a heap and
 * must not enter one again. */
bool os_is_dying(void);

#endif
