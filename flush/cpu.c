/* cpu.c -- CPUID, auxiliary vector, hwprobe, environment and sysfs
 *
 * Owns:   nothing.
 * Rules:  U1  a feature counts only when the kernel lets programs use it: vector registers by XCR0, Zicbom by hwprobe.
 *         U2  nothing changes the working directory, opens a descriptor that stays, allocates, or is remembered.
 * Locks:  none.
 * Media:  none.
 * Fails:  what cannot be found out is taken as not there; cpu_auto_flush alone reports errors.
 */
#define _GNU_SOURCE
#include "flush/cpu.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#else
#include <sys/auxv.h>
#endif

const char *cpu_sysfs = "/sys";

/* --- environment ----------------------------------------------------------------------------------------------- */

char *
cpu_getenv(const char *name)
{
	return secure_getenv(name);
}

bool
cpu_has_environment(void)
{
	return environ != NULL;
}

static bool
is(const char *value, const char *wanted)
{
	return value != NULL && strcmp(value, wanted) == 0;
}

static int
one_or_zero(const char *value)
{
	return is(value, "1") ? 1 : is(value, "0") ? 0 : -1;
}

void
cpu_read_wishes(struct cpu_wishes *wishes, char *(*get)(const char *name))
{
	const char *value;

	*wishes = (struct cpu_wishes){0};
	wishes->no_flush = one_or_zero(get("PMEM_NO_FLUSH"));
	wishes->no_clwb = is(get("PMEM_NO_CLWB"), "1");
	wishes->no_clflushopt = is(get("PMEM_NO_CLFLUSHOPT"), "1");
	wishes->no_movnt = is(get("PMEM_NO_MOVNT"), "1");
	value = get("PMEM_NO_GENERIC_MEMCPY");
	wishes->no_generic = value != NULL && strtoll(value, NULL, 10) != 0;
	wishes->no_avx = is(get("PMEM_AVX"), "0");
	wishes->no_avx512f = is(get("PMEM_AVX512F"), "0");
	value = get("PMEM_MOVDIR64B");
	wishes->movdir64b = value != NULL && !is(value, "0");
	wishes->wc_barrier = one_or_zero(get("PMEM_WC_WORKAROUND"));
	value = get("PMEM_MOVNT_THRESHOLD");
	if (value != NULL) {
		long long n = strtoll(value, NULL, 10);

		wishes->has_threshold = n >= 0;
		wishes->threshold = n >= 0 ? (size_t)n : 0;
	}
	wishes->no_cvap = is(get("PMEM_NO_CVAP"), "1");
	wishes->no_cvadp = is(get("PMEM_NO_CVADP"), "1");
	wishes->no_zicbom = is(get("PMEM_NO_ZICBOM"), "1");
}

/* --- x86-64 ---------------------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
enum { EAX, EBX, ECX, EDX };

#define BIT(reg, n) (((reg) >> (n) & 1) != 0)
#define XCR0_AVX 0x06    /* xmm and ymm */
#define XCR0_AVX512 0xe6 /* and opmask, both halves of zmm */

static void
this_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	__cpuid_count(leaf, subleaf, regs[EAX], regs[EBX], regs[ECX], regs[EDX]);
}

static uint64_t
this_xcr0(void)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | low;
}

const struct cpu_source cpu_this = {this_cpuid, this_xcr0};

void
cpu_detect(struct cpu_x86 *cpu, const struct cpu_source *source)
{
	uint32_t r[4], leaves;
	char vendor[12];
	uint64_t xcr0 = 0;

	*cpu = (struct cpu_x86){0};
	source->cpuid(0, 0, r);
	leaves = r[EAX];
	memcpy(vendor, &r[EBX], 4);
	memcpy(vendor + 4, &r[EDX], 4);
	memcpy(vendor + 8, &r[ECX], 4);
	cpu->intel = memcmp(vendor, "GenuineIntel", 12) == 0;
	cpu->amd = memcmp(vendor, "AuthenticAMD", 12) == 0 || memcmp(vendor, "HygonGenuine", 12) == 0;
	if (leaves < 1)
		return;
	source->cpuid(1, 0, r);
	cpu->family = r[EAX] >> 8 & 0xf;
	cpu->model = r[EAX] >> 4 & 0xf;
	if (cpu->family == 0xf || cpu->family == 6)
		cpu->model |= r[EAX] >> 12 & 0xf0;
	if (cpu->family == 0xf)
		cpu->family += r[EAX] >> 20 & 0xff;
	cpu->clflush = BIT(r[EDX], 19);
	if (BIT(r[ECX], 27)) /* OSXSAVE: xgetbv exists and says what the kernel saves */
		xcr0 = source->xcr0();
	cpu->avx = BIT(r[ECX], 28) && (xcr0 & XCR0_AVX) == XCR0_AVX;
	if (leaves < 7)
		return;
	source->cpuid(7, 0, r);
	cpu->clflushopt = BIT(r[EBX], 23);
	cpu->clwb = BIT(r[EBX], 24);
	cpu->avx512f = BIT(r[EBX], 16) && (xcr0 & XCR0_AVX512) == XCR0_AVX512;
	cpu->movdir64b = BIT(r[ECX], 28);
}

/* --- aarch64 --------------------------------------------------------------------------------------------------- */

#elif defined(__aarch64__)
#ifndef HWCAP_DCPOP
#define HWCAP_DCPOP (1UL << 16)
#endif
#define DCPODP (1UL << 0) /* in AT_HWCAP2 */

void
cpu_detect(struct cpu_arm *cpu, unsigned long hwcap, unsigned long hwcap2, uint64_t ctr)
{
	cpu->cvap = (hwcap & HWCAP_DCPOP) != 0;
	cpu->cvadp = (hwcap2 & DCPODP) != 0;
	cpu->line = 4u << (ctr >> 16 & 0xf); /* DminLine: log2 of the number of 4-byte words */
}

void
cpu_detect_this(struct cpu_arm *cpu)
{
	uint64_t ctr;

	__asm__("mrs %0, ctr_el0" : "=r"(ctr));
	cpu_detect(cpu, getauxval(AT_HWCAP), getauxval(AT_HWCAP2), ctr);
}

/* --- riscv64 --------------------------------------------------------------------------------------------------- */

#elif defined(__riscv)
#define HWPROBE_SYSCALL 258
#define KEY_IMA_EXT_0 4
#define EXT_ZICBOM (UINT64_C(1) << 55)
#define KEY_ZICBOM_BLOCK_SIZE 12

static long
this_probe(struct cpu_hwprobe *pairs, size_t n)
{
	return syscall(HWPROBE_SYSCALL, pairs, n, 0, NULL, 0);
}

void
cpu_detect(struct cpu_riscv *cpu, long (*probe)(struct cpu_hwprobe *pairs, size_t n))
{
	/* Both keys are of Linux 6.16; an older kernel answers an unknown key with -1 and leaves the bit out: programs may
	 * not use cbo.clean there whatever the CPU can. */
	struct cpu_hwprobe pairs[2] = {{KEY_IMA_EXT_0, 0}, {KEY_ZICBOM_BLOCK_SIZE, 0}};
	uint64_t block;

	cpu->zicbom_block = 0;
	if (probe(pairs, 2) != 0 || pairs[0].key != KEY_IMA_EXT_0 || (pairs[0].value & EXT_ZICBOM) == 0 ||
	    pairs[1].key != KEY_ZICBOM_BLOCK_SIZE)
		return;
	block = pairs[1].value;
	if (block >= 4 && block <= 4096 && (block & (block - 1)) == 0)
		cpu->zicbom_block = (unsigned)block;
}

void
cpu_detect_this(struct cpu_riscv *cpu)
{
	cpu_detect(cpu, this_probe);
}
#endif

/* --- sysfs ----------------------------------------------------------------------------------------------------- */

struct dirent64_header {
	uint64_t d_ino;
	int64_t d_off;
	unsigned short d_reclen;
	unsigned char d_type;
	char d_name[];
};

/* "region" and a number, nothing else */
static bool
is_region(const char *name)
{
	if (strncmp(name, "region", 6) != 0 || name[6] == '\0')
		return false;
	for (name += 6; *name != '\0'; name++)
		if (!isdigit((unsigned char)*name))
			return false;
	return true;
}

/* 1: the region's caches are persistent, 0: they are not or it does not say, -1 and errno. */
static int
region_auto_flush(int devices, const char *name)
{
	static const char wanted[] = "cpu_cache\n";
	char text[33];
	struct stat st;
	ssize_t n;
	int region, file, error;

	region = openat(devices, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (region < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
	if (fstatat(region, "persistence_domain", &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) {
		close(region);
		return 0;
	}
	file = openat(region, "persistence_domain", O_RDONLY | O_CLOEXEC);
	error = errno;
	close(region);
	if (file < 0) {
		errno = error;
		return -1;
	}
	n = read(file, text, sizeof(text) - 1);
	error = errno;
	close(file);
	if (n <= 0) {
		errno = n == 0 ? EIO : error;
		return -1;
	}
	text[n] = '\0';
	if (strchr(text, '\n') == NULL) {
		errno = EINVAL;
		return -1;
	}
	return strcmp(text, wanted) == 0;
}

int
cpu_auto_flush(void)
{
	union {
		char bytes[1024];
		struct dirent64_header align;
	} buffer;
	char path[256];
	struct stat st;
	int devices, result = 0, error;
	long n;

	if (strlen(cpu_sysfs) + sizeof("/bus/nd/devices") > sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(path, cpu_sysfs);
	strcat(path, "/bus/nd/devices");
	devices = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (devices < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
	/* not opendir(3): it allocates */
	while ((n = syscall(SYS_getdents64, devices, buffer.bytes, sizeof(buffer.bytes))) > 0)
		for (long at = 0; at < n;) {
			struct dirent64_header *entry = (struct dirent64_header *)(void *)(buffer.bytes + at);

			at += entry->d_reclen;
			if (!is_region(entry->d_name) || fstatat(devices, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
			    !S_ISLNK(st.st_mode))
				continue;
			result = region_auto_flush(devices, entry->d_name);
			if (result != 1) {
				error = errno;
				close(devices);
				errno = error;
				return result;
			}
		}
	error = errno;
	close(devices);
	errno = error;
	return n < 0 ? -1 : result;
}
