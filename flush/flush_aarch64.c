/* flush_aarch64.c -- write-back on Arm: to the point of persistence where there is one, else of coherency
 *
 * Owns:   the CPU's line size and operation.
 * Rules:  A1  DC CVAP where HWCAP_DCPOP, else DC CVAC; deep_flush uses DC CVADP where HWCAP2_DCPODP.
 *         A2  steps are CTR_EL0.DminLine bytes, the smallest line of any cache of the system.
 *         A3  drain is DSB: it waits for the maintenance, DMB would only order it.
 * Locks:  none; constant once flush_init has published its choice.
 * Media:  none.
 * Fails:  never.
 */
#include "flush/arch.h"

/* before the choice: 16 bytes is the smallest line the architecture allows, CVAC exists everywhere */
_Atomic unsigned line_cpu_size = 16;
_Atomic unsigned line_cpu_op = LINE_CVAC;
static unsigned deep_op = LINE_CVAC; /* read by the chosen table alone */

ARCH_FLUSH(line, LINE_ARCH)

ARCH_FLUSH(empty, LINE_EMPTY)

static void
flush_deep(const void *addr, size_t len)
{
	uintptr_t step = line_cpu_size, p = (uintptr_t)addr & -step;
	uintptr_t lines = len == 0 ? 0 : ((uintptr_t)addr - p + len - 1) / step + 1;

	for (; lines > 0; lines--, p += step)
		line_clean((const char *)p, deep_op);
}

static void
drain(void)
{
	line_fence();
}

void
arch_choose(struct flush_ops *ops, struct copy_settings *settings, const struct cpu_wishes *wishes)
{
	static const char *const names[] = {"cvac", "cvap", "cvadp"};
	enum line_kind kind = wishes->no_flush ? LINE_EMPTY : LINE_ARCH;
	struct cpu_arm cpu;

	(void)settings;
	cpu_detect_this(&cpu);
	line_cpu_size = cpu.line;
	line_cpu_op = cpu.cvap && !wishes->no_cvap ? LINE_CVAP : LINE_CVAC;
	deep_op = cpu.cvadp && !wishes->no_cvadp ? LINE_CVADP : line_cpu_op;
	ops->flush = kind == LINE_EMPTY ? flush_empty : flush_line;
	ops->deep_flush = flush_deep;
	ops->drain = drain;
	ops->persist = kind == LINE_EMPTY ? persist_empty : persist_line;
	ops->flush_name = kind == LINE_EMPTY ? "empty" : names[line_cpu_op];
	ops->can_persist = true;
	arch_use(ops, wishes->no_generic ? &copy_libc[kind] : &copy_generic[kind], wishes->no_generic ? "libc" : "generic");
}
