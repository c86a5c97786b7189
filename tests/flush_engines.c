/* flush_engines.c -- the copy engines that can run here, and memory with guard pages, for the tests of flush/
 *
 * Media: none.
 */
#define _GNU_SOURCE
#include "tests/flush_engines.h"

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "flush/cpu.h"

unsigned long flush_emulated;

#if defined(__x86_64__)
const char *const flush_kind_names[LINE_KINDS] = {"empty", "clflush", "clflushopt", "clwb"};

bool
flush_kind_works(int kind)
{
	struct cpu_x86 cpu;

	cpu_detect(&cpu, &cpu_this);
	return kind == LINE_CLWB ? cpu.clwb : kind == LINE_CLFLUSHOPT ? cpu.clflushopt : true;
}

const struct engine *
flush_engines(void)
{
	static struct engine engines[8];
	struct cpu_x86 cpu;
	int n = 0;

	cpu_detect(&cpu, &cpu_this);
	engines[n++] = (struct engine){"generic", copy_generic, true, false};
	engines[n++] = (struct engine){"libc", copy_libc, false, false};
	engines[n++] = (struct engine){"sse2", copy_sse2, true, true};
	if (cpu.avx)
		engines[n++] = (struct engine){"avx", copy_avx, true, true};
	if (cpu.avx512f)
		engines[n++] = (struct engine){"avx512f", copy_avx512f, true, true};
	engines[n++] = (struct engine){"movdir64b", copy_movdir64b, true, true};
	engines[n].name = NULL;
	return engines;
}

static void
emulate(int signal, siginfo_t *info, void *context)
{
	static const unsigned char movdir64b[] = {0x66, 0x0f, 0x38, 0xf8, 0x3e};
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	uint64_t line[8];
	volatile uint64_t *to = (volatile uint64_t *)regs[REG_RDI];

	(void)signal;
	(void)info;
	if (memcmp((void *)regs[REG_RIP], movdir64b, sizeof(movdir64b)) != 0 || (regs[REG_RDI] & 63) != 0)
		abort();
	memcpy(line, (void *)regs[REG_RSI], sizeof(line)); /* all is read before any is written */
	for (int i = 0; i < 8; i++)
		to[i] = line[i];
	regs[REG_RIP] += (greg_t)sizeof(movdir64b);
	flush_emulated++;
}
#else
const char *const flush_kind_names[LINE_KINDS] = {"empty", "arch"};

bool
flush_kind_works(int kind)
{
	(void)kind;
	return true;
}

const struct engine *
flush_engines(void)
{
	static const struct engine engines[] = {
		{"generic", copy_generic, true, false}, {"libc", copy_libc, false, false}, {NULL, NULL, false, false},
	};

	return engines;
}

static void
emulate(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)info;
#if defined(__riscv)
	unsigned long *pc = &((ucontext_t *)context)->uc_mcontext.__gregs[REG_PC];
	uint32_t instruction;

	memcpy(&instruction, (void *)*pc, sizeof(instruction));
	if ((instruction & 0xfff07fff) != 0x0010200f) /* cbo.clean, any register */
		abort();
	*pc += 4;
	flush_emulated++;
#else
	unsigned long long *pc = &((ucontext_t *)context)->uc_mcontext.pc;
	uint32_t instruction;

	/* qemu-user 7.2 says that the CPU has DC CVAP and DC CVADP, and does not know them */
	memcpy(&instruction, (void *)*pc, sizeof(instruction));
	if ((instruction & ~0x1fu) != 0xd50b7c20 && (instruction & ~0x1fu) != 0xd50b7d20)
		abort();
	*pc += 4;
	flush_emulated++;
#endif
}
#endif

void
flush_engines_emulate(void)
{
	struct sigaction action = {.sa_sigaction = emulate, .sa_flags = SA_SIGINFO};

	sigaction(SIGILL, &action, NULL);
}

char *
guarded_map(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, size + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p, page, PROT_NONE) != 0 || mprotect(p + page + size, page, PROT_NONE) != 0)
		abort();
	return p + page;
}

void
guarded_unmap(char *p, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	munmap(p - page, size + 2 * page);
}
