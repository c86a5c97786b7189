/* flush_riscv64.c -- write-back on RISC-V: cbo.clean of Zicbom, where the kernel says that programs may use it
 *
 * Owns:   the CPU's block size.
 * Rules:  V1  without Zicbom nothing can be written back from here: flush does nothing, and can_persist says so, so that
 *             no address counts as persistent memory and callers use msync(2).
 *         V2  drain is a full fence.
 * Locks:  none; constant once flush_init has published its choice.
 * Media:  none.
 * Fails:  never.
 */
#include "flush/arch.h"

_Atomic unsigned line_cpu_size; /* before the choice: nothing is known to work */

ARCH_FLUSH(line, LINE_ARCH)

ARCH_FLUSH(empty, LINE_EMPTY)

static void
drain(void)
{
	line_fence();
}

void
arch_choose(struct flush_ops *ops, struct copy_settings *settings, const struct cpu_wishes *wishes)
{
	enum line_kind kind;
	struct cpu_riscv cpu;

	(void)settings;
	cpu_detect_this(&cpu);
	line_cpu_size = wishes->no_zicbom ? 0 : cpu.zicbom_block;
	kind = wishes->no_flush || line_cpu_size == 0 ? LINE_EMPTY : LINE_ARCH;
	ops->flush = kind == LINE_EMPTY ? flush_empty : flush_line;
	ops->deep_flush = flush_line;
	ops->drain = drain;
	ops->persist = kind == LINE_EMPTY ? persist_empty : persist_line;
	ops->flush_name = kind == LINE_EMPTY ? "empty" : "zicbom";
	ops->can_persist = line_cpu_size != 0 || wishes->no_flush;
	arch_use(ops, wishes->no_generic ? &copy_libc[kind] : &copy_generic[kind], wishes->no_generic ? "libc" : "generic");
}
