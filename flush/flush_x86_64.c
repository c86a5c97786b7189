/* flush_x86_64.c -- which instruction and which engine serve on an x86-64 CPU
 *
 * Owns:   nothing.
 * Rules:  X1  last one wins: CLFLUSH, CLFLUSHOPT, CLWB; SSE2, AVX, AVX-512, MOVDIR64B.
 *         X2  drain is SFENCE, also when caches are persistent (stores past the cache must get there); but nothing
 *             for CLFLUSH on Intel CPUs, which order it with stores (SDM, CLFLUSH).
 *         X3  deep_flush writes back whatever the platform says of its caches.
 * Locks:  none.
 * Media:  none.
 * Fails:  a CPU without CLFLUSH cannot persist; none of this architecture is known.
 */
#include "flush/x86_64.h"

#include "flush/arch.h"

ARCH_FLUSH(empty, LINE_EMPTY)
ARCH_FLUSH(clflush, LINE_CLFLUSH)
ARCH_FLUSH(clflushopt, LINE_CLFLUSHOPT)
ARCH_FLUSH(clwb, LINE_CLWB)

static void
drain_fence(void)
{
	line_fence();
}

static void
drain_empty(void)
{
	keep_order();
}

static void (*const flush_functions[LINE_KINDS])(const void *, size_t) = {
	[LINE_EMPTY] = flush_empty,
	[LINE_CLFLUSH] = flush_clflush,
	[LINE_CLFLUSHOPT] = flush_clflushopt,
	[LINE_CLWB] = flush_clwb,
};

static void (*const persist_functions[LINE_KINDS])(const void *, size_t) = {
	[LINE_EMPTY] = persist_empty,
	[LINE_CLFLUSH] = persist_clflush,
	[LINE_CLFLUSHOPT] = persist_clflushopt,
	[LINE_CLWB] = persist_clwb,
};

static const char *const flush_names[LINE_KINDS] = {
	[LINE_EMPTY] = "empty",
	[LINE_CLFLUSH] = "clflush",
	[LINE_CLFLUSHOPT] = "clflushopt",
	[LINE_CLWB] = "clwb",
};

/* By measurement with tests/bench/calibrate_pmem.c, tables in doc/flush.md. Unmeasured families keep the threshold of the
 * published library. */
static void
choose_thresholds(struct copy_settings *settings, const struct cpu_x86 *cpu, const struct cpu_wishes *wishes)
{
	bool zen3 = cpu->amd && cpu->family >= 0x19; /* and later; measured on Zen 4 */

	settings->nt_threshold = wishes->has_threshold ? wishes->threshold : zen3 ? 0 : 256;
	settings->nt_odd_threshold = wishes->has_threshold ? wishes->threshold : zen3 ? 512 : 256;
}

void
x86_choose(struct flush_ops *ops, struct copy_settings *settings, const struct cpu_x86 *cpu,
    const struct cpu_wishes *wishes)
{
	enum line_kind deep = LINE_CLFLUSH, kind;

	if (cpu->clflushopt && !wishes->no_clflushopt)
		deep = LINE_CLFLUSHOPT;
	if (cpu->clwb && !wishes->no_clwb)
		deep = LINE_CLWB;
	kind = wishes->no_flush ? LINE_EMPTY : deep;

	choose_thresholds(settings, cpu, wishes);
	/* The barrier helps where half-filled write-combining buffers are written out one by one, which Intel's CPUs
	 * without AVX-512 were seen to do; on AMD's it costs a factor of 3.5 to 9. */
	settings->wc_barrier = wishes->wc_barrier >= 0 ? wishes->wc_barrier : cpu->intel;
	settings->clflush_unordered = !cpu->intel;

	ops->flush = flush_functions[kind];
	ops->deep_flush = flush_functions[deep];
	ops->drain = drain_fence;
	ops->persist = persist_functions[kind];
	if (kind == LINE_CLFLUSH && !settings->clflush_unordered) { /* X2 */
		ops->drain = drain_empty;
		ops->persist = flush_clflush;
	}
	ops->flush_name = flush_names[kind];
	ops->can_persist = cpu->clflush || cpu->clflushopt || cpu->clwb || wishes->no_flush;

	if (wishes->no_movnt)
		arch_use(ops, wishes->no_generic ? &copy_libc[kind] : &copy_generic[kind],
		    wishes->no_generic ? "libc" : "generic");
	else if (cpu->movdir64b && wishes->movdir64b)
		arch_use(ops, &copy_movdir64b[kind], "movdir64b");
	else if (cpu->avx512f && !wishes->no_avx512f)
		arch_use(ops, &copy_avx512f[kind], "avx512f");
	else if (cpu->avx && !wishes->no_avx)
		arch_use(ops, &copy_avx[kind], "avx");
	else
		arch_use(ops, &copy_sse2[kind], "sse2");
}

void
arch_choose(struct flush_ops *ops, struct copy_settings *settings, const struct cpu_wishes *wishes)
{
	struct cpu_x86 cpu;

	cpu_detect(&cpu, &cpu_this);
	x86_choose(ops, settings, &cpu, wishes);
}
