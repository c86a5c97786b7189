/* cpu.h -- what this CPU, this kernel and this environment offer; flush/'s only seam to the system
 *
 * Functions without state, so that tests can describe CPUs and machines that are not there.
 */
#ifndef FLUSH_CPU_H
#define FLUSH_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where sysfs is mounted, "/sys". Tests point it at a tree of their own, before anything asked. */
extern const char *cpu_sysfs;

/* The environment's wishes, as doc/flush.md lists them. */
struct cpu_wishes {
	int no_flush; /* 1: caches are persistent, 0: they are not, -1: ask the platform */
	bool no_clwb, no_clflushopt;
	bool no_movnt;   /* no vector engine */
	bool no_generic; /* libc instead of the generic engine */
	bool no_avx, no_avx512f, movdir64b;
	int wc_barrier; /* 1, 0, -1: as the CPU likes */
	bool has_threshold;
	size_t threshold; /* bytes */
	bool no_cvap, no_cvadp; /* aarch64 */
	bool no_zicbom;         /* riscv64 */
};

/* get: secure_getenv, or a test's. */
void cpu_read_wishes(struct cpu_wishes *wishes, char *(*get)(const char *name));
char *cpu_getenv(const char *name); /* NULL in programs that run with another's rights */
bool cpu_has_environment(void);     /* false: none, or libc is not ready yet: before its own constructor */

#if defined(__x86_64__)
struct cpu_x86 {
	bool clflush, clflushopt, clwb;
	bool avx, avx512f; /* the kernel saves their registers, too (XCR0) */
	bool movdir64b;
	bool intel, amd;
	unsigned family, model; /* with the extended bits */
};

struct cpu_source {
	void (*cpuid)(uint32_t leaf, uint32_t subleaf, uint32_t regs[4]); /* eax, ebx, ecx, edx */
	uint64_t (*xcr0)(void);                                           /* only called when the CPU says it exists */
};
extern const struct cpu_source cpu_this; /* the CPU we run on */

void cpu_detect(struct cpu_x86 *cpu, const struct cpu_source *source);
#elif defined(__aarch64__)
struct cpu_arm {
	bool cvap, cvadp;
	unsigned line; /* bytes, the smallest data cache line of the system */
};

/* hwcap, hwcap2: of getauxval(3); ctr: the register CTR_EL0. */
void cpu_detect(struct cpu_arm *cpu, unsigned long hwcap, unsigned long hwcap2, uint64_t ctr);
void cpu_detect_this(struct cpu_arm *cpu);
#elif defined(__riscv)
struct cpu_riscv {
	unsigned zicbom_block; /* bytes; 0: user programs cannot write lines back */
};

struct cpu_hwprobe {
	int64_t key;
	uint64_t value;
};
/* probe: the system call riscv_hwprobe for all CPUs: 0, or not 0. */
void cpu_detect(struct cpu_riscv *cpu, long (*probe)(struct cpu_hwprobe *pairs, size_t n));
void cpu_detect_this(struct cpu_riscv *cpu);
#endif

/* 1, 0, or -1 and errno: see flush_auto_flush, which remembers it. */
int cpu_auto_flush(void);

#endif
