/* x86_64.h -- the choice for a CPU that need not be this one, for tests */
#ifndef FLUSH_X86_64_H
#define FLUSH_X86_64_H

#include "flush/copy.h"
#include "flush/cpu.h"
#include "flush/scalar.h"

void x86_choose(struct flush_ops *ops, struct copy_settings *settings, const struct cpu_x86 *cpu,
    const struct cpu_wishes *wishes);

#endif
