/* line.h -- one cache line back to memory, and the fence, per architecture
 *
 * Kinds:  how a line is written back is a compile-time constant wherever these are used, so that the loops of the
 *         copy engines hold the bare instruction.
 * Rules:  L1  line_flush covers the LINE bytes at p, a multiple of LINE, whatever the size of the CPU's own lines.
 *         L2  line_flush is ordered after earlier stores to those bytes, line_fence after all earlier line_flush and
 *             stores past the cache. No other order holds.
 */
#ifndef FLUSH_LINE_H
#define FLUSH_LINE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define LINE 64 /* bytes per step of the engines */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef struct {
	char byte[LINE];
} line_bytes;

#if defined(__x86_64__)

enum line_kind { LINE_EMPTY, LINE_CLFLUSH, LINE_CLFLUSHOPT, LINE_CLWB, LINE_KINDS };

ALWAYS_INLINE void
line_flush(const char *p, enum line_kind kind)
{
	/* the operand is the whole line: no store to it may move behind; the memory clobber keeps the sequence of lines */
	if (kind == LINE_CLWB)
		__asm__ volatile("clwb %0" : "+m"(*(line_bytes *)p) : : "memory");
	else if (kind == LINE_CLFLUSHOPT)
		__asm__ volatile("clflushopt %0" : "+m"(*(line_bytes *)p) : : "memory");
	else if (kind == LINE_CLFLUSH)
		__asm__ volatile("clflush %0" : "+m"(*(line_bytes *)p) : : "memory");
}

ALWAYS_INLINE void
line_fence(void)
{
	__asm__ volatile("sfence" : : : "memory");
}

#elif defined(__aarch64__)

enum line_kind { LINE_EMPTY, LINE_ARCH, LINE_KINDS };

/* Set by flush_aarch64.c before the choice is published; the values before that are right for every CPU, so that it
 * does not matter which a thread sees: relaxed. */
extern _Atomic unsigned line_cpu_size; /* bytes, CTR_EL0.DminLine */
extern _Atomic unsigned line_cpu_op;   /* enum line_op */
enum line_op { LINE_CVAC, LINE_CVAP, LINE_CVADP };

ALWAYS_INLINE void
line_clean(const char *p, unsigned op)
{
	/* the sys forms need no architecture flag: cvac, cvap (ARMv8.2 DPB), cvadp (ARMv8.5 DPB2) */
	if (op == LINE_CVAC)
		__asm__ volatile("dc cvac, %0" : : "r"(p) : "memory");
	else if (op == LINE_CVAP)
		__asm__ volatile("sys #3, c7, c12, #1, %0" : : "r"(p) : "memory");
	else
		__asm__ volatile("sys #3, c7, c13, #1, %0" : : "r"(p) : "memory");
}

ALWAYS_INLINE void
line_flush(const char *p, enum line_kind kind)
{
	unsigned step = atomic_load_explicit(&line_cpu_size, memory_order_relaxed);
	unsigned op = atomic_load_explicit(&line_cpu_op, memory_order_relaxed);

	if (kind != LINE_EMPTY)
		for (unsigned i = 0; i < LINE; i += step)
			line_clean(p + i, op);
}

ALWAYS_INLINE void
line_fence(void)
{
	/* a DSB waits for the completion of cache maintenance by address; a DMB orders it at most (Arm ARM, barriers) */
	__asm__ volatile("dsb sy" : : : "memory");
}

#elif defined(__riscv)

enum line_kind { LINE_EMPTY, LINE_ARCH, LINE_KINDS };

/* Set by flush_riscv64.c before the choice is published; relaxed, since either value works.
 * 0: the CPU has no write-back for user programs, as far as is known. */
extern _Atomic unsigned line_cpu_size; /* bytes, Zicbom block */

ALWAYS_INLINE void
line_flush(const char *p, enum line_kind kind)
{
	unsigned step = atomic_load_explicit(&line_cpu_size, memory_order_relaxed);

	if (kind == LINE_EMPTY || step == 0)
		return;
	for (unsigned i = 0; i < LINE; i += step)
		__asm__ volatile(".insn i 0x0f, 2, x0, %0, 1" : : "r"(p + i) : "memory"); /* cbo.clean */
}

ALWAYS_INLINE void
line_fence(void)
{
	/* whichever of the four sets a cbo.clean counts in, it is in both halves */
	__asm__ volatile("fence iorw, iorw" : : : "memory");
}

#else
#error "no way to write back a cache line is known for this architecture: see doc/flush.md"
#endif

/* Every line that [addr, addr + len) touches, once. */
ALWAYS_INLINE void
line_flush_range(const void *addr, size_t len, enum line_kind kind)
{
	const char *p = (const char *)((uintptr_t)addr & -(uintptr_t)LINE), *last;

	if (len == 0 || kind == LINE_EMPTY)
		return;
	last = (const char *)(((uintptr_t)addr + len - 1) & -(uintptr_t)LINE);
	line_flush(p, kind);
	while (p != last) {
		p += LINE;
		line_flush(p, kind);
	}
}

#endif
