/* flush_cpu.c -- what is made of CPUID, XCR0, auxiliary vector, hwprobe, environment and sysfs, for machines not here */
#define _GNU_SOURCE
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "flush/copy.h"
#include "flush/cpu.h"
#include "flush/flush.h"
#include "tests/flush_engines.h"

/* --- environment -------------------------------------------------------------------------------------------------- */

static char *environment[32]; /* NAME=value */

static char *
get(const char *name)
{
	size_t n = strlen(name);

	for (int i = 0; environment[i] != NULL; i++)
		if (strncmp(environment[i], name, n) == 0 && environment[i][n] == '=')
			return environment[i] + n + 1;
	return NULL;
}

static struct cpu_wishes
wishes_of(const char *setting)
{
	struct cpu_wishes wishes;

	environment[0] = (char *)setting;
	cpu_read_wishes(&wishes, get);
	environment[0] = NULL;
	return wishes;
}

Test(flush_cpu, nothing_set_wishes_nothing)
{
	struct cpu_wishes w = wishes_of(NULL);

	cr_assert_eq(w.no_flush, -1);
	cr_assert_eq(w.wc_barrier, -1);
	cr_assert_not(w.no_clwb || w.no_clflushopt || w.no_movnt || w.no_generic || w.no_avx || w.no_avx512f ||
		      w.movdir64b || w.has_threshold || w.no_cvap || w.no_cvadp || w.no_zicbom);
}

Test(flush_cpu, switches_act_on_their_exact_value)
{
	cr_assert_eq(wishes_of("PMEM_NO_FLUSH=1").no_flush, 1);
	cr_assert_eq(wishes_of("PMEM_NO_FLUSH=0").no_flush, 0);
	cr_assert_eq(wishes_of("PMEM_NO_FLUSH=").no_flush, -1);
	cr_assert_eq(wishes_of("PMEM_NO_FLUSH=01").no_flush, -1);
	cr_assert(wishes_of("PMEM_NO_CLWB=1").no_clwb);
	cr_assert_not(wishes_of("PMEM_NO_CLWB=11").no_clwb);
	cr_assert(wishes_of("PMEM_NO_CLFLUSHOPT=1").no_clflushopt);
	cr_assert_not(wishes_of("PMEM_NO_CLFLUSHOPT=yes").no_clflushopt);
	cr_assert(wishes_of("PMEM_NO_MOVNT=1").no_movnt);
	cr_assert_not(wishes_of("PMEM_NO_MOVNT=2").no_movnt);
	cr_assert(wishes_of("PMEM_NO_GENERIC_MEMCPY=7").no_generic);
	cr_assert_not(wishes_of("PMEM_NO_GENERIC_MEMCPY=x").no_generic);
	cr_assert(wishes_of("PMEM_AVX=0").no_avx);
	cr_assert_not(wishes_of("PMEM_AVX=").no_avx);
	cr_assert(wishes_of("PMEM_AVX512F=0").no_avx512f);
	cr_assert_not(wishes_of("PMEM_AVX512F=00").no_avx512f);
	cr_assert(wishes_of("PMEM_MOVDIR64B=1").movdir64b);
	cr_assert(wishes_of("PMEM_MOVDIR64B=").movdir64b);
	cr_assert_not(wishes_of("PMEM_MOVDIR64B=0").movdir64b);
	cr_assert_eq(wishes_of("PMEM_WC_WORKAROUND=1").wc_barrier, 1);
	cr_assert_eq(wishes_of("PMEM_WC_WORKAROUND=0").wc_barrier, 0);
	cr_assert_eq(wishes_of("PMEM_WC_WORKAROUND=on").wc_barrier, -1);
	cr_assert(wishes_of("PMEM_NO_CVAP=1").no_cvap);
	cr_assert(wishes_of("PMEM_NO_CVADP=1").no_cvadp);
	cr_assert(wishes_of("PMEM_NO_ZICBOM=1").no_zicbom);
}

Test(flush_cpu, the_threshold_is_a_number)
{
	struct cpu_wishes w = wishes_of("PMEM_MOVNT_THRESHOLD=1024");

	cr_assert(w.has_threshold && w.threshold == 1024);
	w = wishes_of("PMEM_MOVNT_THRESHOLD=-15");
	cr_assert_not(w.has_threshold);
	w = wishes_of("PMEM_MOVNT_THRESHOLD=garbage");
	cr_assert(w.has_threshold && w.threshold == 0);
}

/* --- x86-64 ------------------------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#include "flush/x86_64.h"

static struct {
	uint32_t leaves, leaf1[4], leaf7[4];
	char vendor[13];
	uint64_t xcr0;
	bool xcr0_read;
} fake;

static void
fake_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	memset(regs, 0, 4 * sizeof(regs[0]));
	cr_assert_leq(leaf, fake.leaves, "a leaf that the CPU does not have");
	if (leaf == 0) {
		regs[0] = fake.leaves;
		memcpy(&regs[1], fake.vendor, 4);
		memcpy(&regs[3], fake.vendor + 4, 4);
		memcpy(&regs[2], fake.vendor + 8, 4);
	} else if (leaf == 1) {
		memcpy(regs, fake.leaf1, sizeof(fake.leaf1));
	} else if (leaf == 7 && subleaf == 0) {
		memcpy(regs, fake.leaf7, sizeof(fake.leaf7));
	}
}

static uint64_t
fake_xcr0(void)
{
	fake.xcr0_read = true;
	return fake.xcr0;
}

static struct cpu_x86
detect(void)
{
	static const struct cpu_source source = {fake_cpuid, fake_xcr0};
	struct cpu_x86 cpu;

	fake.xcr0_read = false;
	cpu_detect(&cpu, &source);
	return cpu;
}

/* A CPU with everything. */
static void
fake_all(void)
{
	memset(&fake, 0, sizeof(fake));
	strcpy(fake.vendor, "GenuineIntel");
	fake.leaves = 7;
	fake.leaf1[0] = 0x000806f8; /* family 6, model 0x8f */
	fake.leaf1[2] = 1u << 27 | 1u << 28;
	fake.leaf1[3] = 1u << 19;
	fake.leaf7[1] = 1u << 16 | 1u << 23 | 1u << 24;
	fake.leaf7[2] = 1u << 28;
	fake.xcr0 = 0xe7;
}

Test(flush_cpu, all_features_are_found)
{
	struct cpu_x86 cpu;

	fake_all();
	cpu = detect();
	cr_assert(cpu.clflush && cpu.clflushopt && cpu.clwb && cpu.avx && cpu.avx512f && cpu.movdir64b);
	cr_assert(cpu.intel && !cpu.amd);
	cr_assert_eq(cpu.family, 6);
	cr_assert_eq(cpu.model, 0x8f);
	strcpy(fake.vendor, "AuthenticAMD");
	fake.leaf1[0] = 0x00a10f11;
	cpu = detect();
	cr_assert(cpu.amd && !cpu.intel);
	cr_assert_eq(cpu.family, 0x19);
	cr_assert_eq(cpu.model, 0x11);
}

Test(flush_cpu, vector_registers_count_when_the_kernel_saves_them)
{
	fake_all();
	fake.xcr0 = 0x07;
	cr_assert(detect().avx && !detect().avx512f);
	fake.xcr0 = 0x67; /* not the upper 16 registers */
	cr_assert(detect().avx && !detect().avx512f);
	fake.xcr0 = 0xe3; /* not ymm, of which zmm is the continuation */
	cr_assert(!detect().avx && !detect().avx512f);
	fake.xcr0 = 0x03;
	cr_assert(!detect().avx && !detect().avx512f);
	fake_all();
	fake.leaf1[2] &= ~(1u << 27); /* without OSXSAVE xgetbv would trap */
	cr_assert(!detect().avx && !detect().avx512f && !fake.xcr0_read);
}

Test(flush_cpu, old_cpus_have_fewer_leaves)
{
	fake_all();
	fake.leaves = 1;
	cr_assert(detect().clflush && detect().avx && !detect().clwb && !detect().avx512f);
	fake.leaves = 0;
	cr_assert(!detect().clflush && !detect().avx);
}

static struct flush_ops
choose(const char *setting)
{
	static struct copy_settings settings;
	struct cpu_wishes wishes = wishes_of(setting);
	struct cpu_x86 cpu = detect();
	struct flush_ops ops;

	if (wishes.no_flush < 0)
		wishes.no_flush = 0;
	x86_choose(&ops, &settings, &cpu, &wishes);
	return ops;
}

static struct copy_settings
settings_for(const char *setting)
{
	struct copy_settings settings;
	struct cpu_wishes wishes = wishes_of(setting);
	struct cpu_x86 cpu = detect();
	struct flush_ops ops;

	wishes.no_flush = 0;
	x86_choose(&ops, &settings, &cpu, &wishes);
	return settings;
}

Test(flush_cpu, the_last_instruction_wins)
{
	fake_all();
	cr_assert_str_eq(choose(NULL).flush_name, "clwb");
	cr_assert_str_eq(choose("PMEM_NO_CLWB=1").flush_name, "clflushopt");
	cr_assert_str_eq(choose("PMEM_NO_CLFLUSHOPT=1").flush_name, "clwb");
	cr_assert_str_eq(choose("PMEM_NO_FLUSH=1").flush_name, "empty");
	fake.leaf7[1] &= ~(1u << 24);
	cr_assert_str_eq(choose(NULL).flush_name, "clflushopt");
	cr_assert_str_eq(choose("PMEM_NO_CLFLUSHOPT=1").flush_name, "clflush");
	strcpy(fake.vendor, "AuthenticAMD"); /* the vendor does not matter */
	cr_assert_str_eq(choose(NULL).flush_name, "clflushopt");
}

Test(flush_cpu, the_widest_engine_wins)
{
	fake_all();
	cr_assert_str_eq(choose(NULL).engine_name, "avx512f");
	cr_assert_str_eq(choose("PMEM_AVX512F=0").engine_name, "avx");
	cr_assert_str_eq(choose("PMEM_AVX=0").engine_name, "avx512f");
	cr_assert_str_eq(choose("PMEM_MOVDIR64B=1").engine_name, "movdir64b");
	cr_assert_str_eq(choose("PMEM_NO_MOVNT=1").engine_name, "generic");
	cr_assert_str_eq(choose("PMEM_NO_GENERIC_MEMCPY=1").engine_name, "avx512f");
	environment[1] = (char *)"PMEM_NO_GENERIC_MEMCPY=1";
	cr_assert_str_eq(choose("PMEM_NO_MOVNT=1").engine_name, "libc");
	environment[1] = (char *)"PMEM_AVX=0";
	cr_assert_str_eq(choose("PMEM_AVX512F=0").engine_name, "sse2");
	environment[1] = NULL;
	fake.xcr0 = 3;
	cr_assert_str_eq(choose(NULL).engine_name, "sse2");
	cr_assert_str_eq(choose("PMEM_MOVDIR64B=1").engine_name, "movdir64b"); /* needs no vector registers */
	fake.leaf7[2] = 0;
	cr_assert_str_eq(choose("PMEM_MOVDIR64B=1").engine_name, "sse2");
}

Test(flush_cpu, thresholds_and_barrier_by_family)
{
	fake_all();
	cr_assert_eq(settings_for(NULL).nt_threshold, 256);
	cr_assert_eq(settings_for(NULL).nt_odd_threshold, 256);
	cr_assert(settings_for(NULL).wc_barrier);
	cr_assert_not(settings_for("PMEM_WC_WORKAROUND=0").wc_barrier);
	cr_assert_not(settings_for(NULL).clflush_unordered);
	strcpy(fake.vendor, "AuthenticAMD");
	fake.leaf1[0] = 0x00800f11; /* Zen */
	cr_assert_eq(settings_for(NULL).nt_threshold, 256);
	cr_assert_not(settings_for(NULL).wc_barrier);
	cr_assert(settings_for("PMEM_WC_WORKAROUND=1").wc_barrier);
	cr_assert(settings_for(NULL).clflush_unordered);
	fake.leaf1[0] = 0x00a10f11; /* Zen 4 */
	cr_assert_lt(settings_for(NULL).nt_threshold, 256);
	cr_assert_gt(settings_for(NULL).nt_odd_threshold, 256); /* ends through the cache cost the wait anyway */
	cr_assert_eq(settings_for("PMEM_MOVNT_THRESHOLD=5").nt_threshold, 5);
	cr_assert_eq(settings_for("PMEM_MOVNT_THRESHOLD=5").nt_odd_threshold, 5);
	cr_assert_lt(settings_for("PMEM_MOVNT_THRESHOLD=-5").nt_threshold, 256);
}

/* Is there an SFENCE before the return of a function that is little else? (Where the compiler does not optimize, it stores
 * arguments first, and counts calls when it measures coverage.) */
static bool
fences(void (*function)(void))
{
	const void *code = (void *)(uintptr_t)function, *ret = memchr(code, 0xc3, 128);

	return ret != NULL && memmem(code, (size_t)((const char *)ret - (const char *)code), "\x0f\xae\xf8", 3) != NULL;
}

Test(flush_cpu, drain_and_persist_fence_unless_clflush_is_ordered)
{
	struct flush_ops ops;

	fake_all();
	cr_assert(fences(choose(NULL).drain));
	cr_assert(fences(choose("PMEM_NO_CLWB=1").drain));
	ops = choose(NULL);
	cr_assert_neq(ops.persist, ops.flush); /* it has the fence */
	environment[1] = (char *)"PMEM_NO_CLFLUSHOPT=1";
	cr_assert_not(fences(choose("PMEM_NO_CLWB=1").drain));
	ops = choose("PMEM_NO_CLWB=1");
	cr_assert_eq(ops.persist, ops.flush);
	environment[2] = (char *)"PMEM_NO_FLUSH=1";
	cr_assert(fences(choose("PMEM_NO_CLWB=1").drain));
#ifdef __OPTIMIZE__ /* else it has the whole loop over lines in it, for no kind of flush */
	ops = choose("PMEM_NO_CLWB=1");
	cr_assert(fences((void (*)(void))ops.persist)); /* nothing else */
#endif
	environment[2] = NULL;
	strcpy(fake.vendor, "AuthenticAMD");
	cr_assert(fences(choose("PMEM_NO_CLWB=1").drain));
}

Test(flush_cpu, deep_flush_is_done_whatever_the_caches)
{
	fake_all();
	cr_assert(choose(NULL).flush == choose(NULL).deep_flush);
	cr_assert(choose("PMEM_NO_FLUSH=1").flush != choose(NULL).flush);
	cr_assert(choose("PMEM_NO_FLUSH=1").deep_flush == choose(NULL).deep_flush);
}

Test(flush_cpu, a_cpu_without_any_flush_cannot_persist)
{
	fake_all();
	cr_assert(choose(NULL).can_persist);
	fake.leaf1[3] = 0;
	fake.leaf7[1] = 0;
	cr_assert_not(choose(NULL).can_persist);
	cr_assert(choose("PMEM_NO_FLUSH=1").can_persist);
}
#endif

/* --- aarch64 and riscv64 ------------------------------------------------------------------------------------------ */

#if !defined(__x86_64__)
/* An emulator may not know the instructions that its CPU is said to have. */
__attribute__((constructor)) static void
help_the_emulator(void)
{
	flush_engines_emulate();
}
#endif

#if defined(__aarch64__)
Test(flush_cpu, arm_features_and_line)
{
	struct cpu_arm cpu;

	cpu_detect(&cpu, 0, 0, (uint64_t)4 << 16);
	cr_assert(!cpu.cvap && !cpu.cvadp);
	cr_assert_eq(cpu.line, 64);
	cpu_detect(&cpu, 1ul << 16, 1, 0);
	cr_assert(cpu.cvap && cpu.cvadp);
	cr_assert_eq(cpu.line, 4);
	cpu_detect(&cpu, ~(1ul << 16), ~1ul, (uint64_t)5 << 16 | 0xffff);
	cr_assert(!cpu.cvap && !cpu.cvadp);
	cr_assert_eq(cpu.line, 128);
}

Test(flush_cpu, arm_choice_follows_the_environment)
{
	struct cpu_arm cpu;

	cpu_detect_this(&cpu);
	cr_assert(cpu.line >= 16 && cpu.line <= 2048);
	setenv("PMEM_NO_CVAP", "1", 1);
	cr_assert_str_eq(flush_init()->flush_name, "cvac");
	cr_assert_str_eq(flush_init()->engine_name, "generic");
	cr_assert(flush_init()->can_persist);
}

Test(flush_cpu, arm_uses_the_point_of_persistence)
{
	struct cpu_arm cpu;

	unsetenv("PMEM_NO_CVAP");
	cpu_detect_this(&cpu);
	cr_assert_str_eq(flush_init()->flush_name, cpu.cvap ? "cvap" : "cvac");
}
#elif defined(__riscv)
static struct cpu_hwprobe answers[2];
static long answer;

static long
fake_probe(struct cpu_hwprobe *pairs, size_t n)
{
	cr_assert_eq(n, 2);
	cr_assert_eq(pairs[0].key, 4);
	cr_assert_eq(pairs[1].key, 12);
	memcpy(pairs, answers, sizeof(answers));
	return answer;
}

static unsigned
block(int64_t key0, uint64_t value0, int64_t key1, uint64_t value1, long result)
{
	struct cpu_riscv cpu;

	answers[0] = (struct cpu_hwprobe){key0, value0};
	answers[1] = (struct cpu_hwprobe){key1, value1};
	answer = result;
	cpu_detect(&cpu, fake_probe);
	return cpu.zicbom_block;
}

Test(flush_cpu, zicbom_counts_when_the_kernel_says_so)
{
	const uint64_t zicbom = UINT64_C(1) << 55;

	cr_assert_eq(block(4, zicbom, 12, 64, 0), 64);
	cr_assert_eq(block(4, zicbom | 7, 12, 32, 0), 32);
	cr_assert_eq(block(4, ~zicbom, 12, 64, 0), 0);
	cr_assert_eq(block(4, zicbom, -1, 0, 0), 0); /* a kernel that does not know the key */
	cr_assert_eq(block(-1, zicbom, 12, 64, 0), 0);
	cr_assert_eq(block(4, zicbom, 12, 0, 0), 0);
	cr_assert_eq(block(4, zicbom, 12, 48, 0), 0);
	cr_assert_eq(block(4, zicbom, 12, 64, -1), 0);
}

Test(flush_cpu, without_zicbom_nothing_can_persist)
{
	setenv("PMEM_NO_ZICBOM", "1", 1);
	cr_assert_not(flush_init()->can_persist);
	cr_assert_str_eq(flush_init()->flush_name, "empty");
}

Test(flush_cpu, with_persistent_caches_it_can)
{
	setenv("PMEM_NO_ZICBOM", "1", 1);
	setenv("PMEM_NO_FLUSH", "1", 1);
	cr_assert(flush_init()->can_persist);
}
#endif

/* --- sysfs -------------------------------------------------------------------------------------------------------- */

static char tree[] = "/tmp/flush_cpu.XXXXXX";

static void
tree_begin(void)
{
	char path[256];

	cr_assert_not_null(mkdtemp(tree));
	cpu_sysfs = tree;
	for (const char *part = "/bus\0/bus/nd\0/bus/nd/devices\0/real\0"; *part != '\0'; part += strlen(part) + 1) {
		snprintf(path, sizeof(path), "%s%s", tree, part);
		cr_assert_eq(mkdir(path, 0755), 0);
	}
}

static void
tree_end(void)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf %s", tree);
	cr_assert_eq(system(command), 0);
}

/* A region as sysfs shows it; text NULL: without persistence_domain. */
static void
region(const char *name, const char *text, bool link)
{
	char path[256], target[256];
	FILE *f;

	if (link) {
		snprintf(target, sizeof(target), "../../../real/%s", name);
		snprintf(path, sizeof(path), "%s/bus/nd/devices/%s", tree, name);
		cr_assert_eq(symlink(target, path), 0);
		snprintf(path, sizeof(path), "%s/real/%s", tree, name);
	} else {
		snprintf(path, sizeof(path), "%s/bus/nd/devices/%s", tree, name);
	}
	cr_assert_eq(mkdir(path, 0755), 0);
	if (text == NULL)
		return;
	strcat(path, "/persistence_domain");
	f = fopen(path, "w");
	cr_assert_not_null(f);
	fputs(text, f);
	fclose(f);
}

Test(flush_cpu, caches_are_persistent_when_every_region_says_so)
{
	tree_begin();
	cr_assert_eq(cpu_auto_flush(), 0); /* no region */
	region("region0", "cpu_cache\n", true);
	cr_assert_eq(cpu_auto_flush(), 1);
	region("region12", "cpu_cache\n", true);
	cr_assert_eq(cpu_auto_flush(), 1);
	region("region1", "memory_controller\n", true);
	cr_assert_eq(cpu_auto_flush(), 0);
	tree_end();
}

Test(flush_cpu, what_is_no_region_does_not_count)
{
	tree_begin();
	region("region0", "cpu_cache\n", true);
	region("region", "x\n", true);
	region("myregion1", "x\n", true);
	region("region1a", "x\n", true);
	region("namespace0.0", "x\n", true);
	region("region7", "x\n", false); /* a folder, no link */
	cr_assert_eq(cpu_auto_flush(), 1);
	tree_end();
}

Test(flush_cpu, other_texts_are_no)
{
	static const char *const texts[] = {
		"memory_controller\n", "cpu_caches\n", "cpu_cache \n", "\n", "CPU_CACHE\n", "cpu_cache\n\n", NULL};
	char name[24], path[256];

	tree_begin();
	for (int i = 0; i < 7; i++) {
		snprintf(name, sizeof(name), "region%d", i);
		region(name, texts[i], true);
		cr_assert_eq(cpu_auto_flush(), 0, "%d", i);
		snprintf(path, sizeof(path), "%s/bus/nd/devices/region%d", tree, i);
		unlink(path);
	}
	tree_end();
}

Test(flush_cpu, an_unreadable_answer_is_an_error)
{
	char path[256];

	tree_begin();
	region("region0", "", true);
	errno = 0;
	cr_assert_eq(cpu_auto_flush(), -1);
	cr_assert_eq(errno, EIO);
	snprintf(path, sizeof(path), "%s/bus/nd/devices/region0", tree);
	unlink(path);
	region("region1", "cpu_cache", true);
	cr_assert_eq(cpu_auto_flush(), -1);
	cr_assert_eq(errno, EINVAL);
	unlink(path);
	tree_end();
}

Test(flush_cpu, no_sysfs_means_no)
{
	cpu_sysfs = "/nonexistent";
	cr_assert_eq(cpu_auto_flush(), 0);
}

Test(flush_cpu, many_regions_are_all_asked)
{
	char name[32], before[4096], after[4096];

	tree_begin();
	for (int i = 0; i < 120; i++) { /* more than one read of the directory holds */
		snprintf(name, sizeof(name), "region%d", i);
		region(name, "cpu_cache\n", true);
	}
	cr_assert_not_null(getcwd(before, sizeof(before)));
	int lowest = dup(0);
	close(lowest);
	cr_assert_eq(cpu_auto_flush(), 1);
	cr_assert_not_null(getcwd(after, sizeof(after)));
	cr_assert_str_eq(before, after);
	cr_assert_eq(dup(0), lowest, "a descriptor stayed open");
	region("region120", "memory_controller\n", true);
	cr_assert_eq(cpu_auto_flush(), 0);
	tree_end();
}

/* What load-time detection found is what pmem_has_auto_flush() says later, also when an error came first. */
Test(flush_cpu, the_answer_is_remembered)
{
	tree_begin();
	region("region0", "cpu_cache\n", true);
	errno = 42;
	cr_assert_eq(flush_auto_flush(), 1);
	cr_assert_eq(errno, 42);
	cpu_sysfs = "/nonexistent";
	cr_assert_eq(flush_auto_flush(), 1);
	tree_end();
}

Test(flush_cpu, init_keeps_errno_and_chooses_once)
{
	const struct flush_ops *ops;

	errno = 42;
	ops = flush_init();
	cr_assert_eq(errno, 42);
	cr_assert(ops == flush_ops());
	cr_assert(ops == flush_init());
}

Test(flush_cpu, no_flush_when_the_platform_flushes)
{
	tree_begin();
	unsetenv("PMEM_NO_FLUSH");
	region("region0", "cpu_cache\n", true);
	cr_assert_str_eq(flush_init()->flush_name, "empty");
	tree_end();
}

/* The functions work before anything was chosen. */
Test(flush_cpu, the_first_call_chooses)
{
	char to[200], from[200];

	memset(from, 'f', sizeof(from));
	cr_assert_str_eq(flush_ops()->engine_name, "not chosen");
	cr_assert_eq(flush_ops()->copy_persist(to, from, sizeof(to)), to);
	cr_assert_arr_eq(to, from, sizeof(to));
	cr_assert_str_neq(flush_ops()->engine_name, "not chosen");
}

#define FIRST(name, call)                                                                                              \
	Test(flush_cpu, first_##name)                                                                                  \
	{                                                                                                              \
		char to[64] = "", from[64] = "from";                                                                   \
                                                                                                                       \
		cr_assert_str_eq(flush_ops()->engine_name, "not chosen");                                              \
		call;                                                                                                  \
		cr_assert_str_neq(flush_ops()->engine_name, "not chosen");                                             \
		(void)to;                                                                                              \
		(void)from;                                                                                            \
	}

FIRST(flush, flush_range(to, 64))
FIRST(deep_flush, flush_ops()->deep_flush(to, 64))
FIRST(drain, flush_drain())
FIRST(copy_nodrain, cr_assert(flush_ops()->copy_nodrain(to, from, 64) == to && to[3] == 'm'))
FIRST(copy, cr_assert(flush_copy(to, from, 64, 0) == to && to[3] == 'm'))
FIRST(set_persist, cr_assert(flush_ops()->set_persist(to, 'x', 64) == to && to[63] == 'x'))
FIRST(set_nodrain, cr_assert(flush_ops()->set_nodrain(to, 'x', 64) == to && to[63] == 'x'))
FIRST(set, cr_assert(flush_set(to, 'x', 64, 0) == to && to[63] == 'x'))
FIRST(persist, flush_persist(to, 64))
