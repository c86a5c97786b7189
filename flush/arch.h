/* arch.h -- what flush_<arch>.c gives to flush.c */
#ifndef FLUSH_ARCH_H
#define FLUSH_ARCH_H

#include "flush/copy.h"
#include "flush/cpu.h"
#include "flush/flush.h"

/* The best that this CPU can within the wishes; wishes->no_flush is 0 or 1. */
void arch_choose(struct flush_ops *ops, struct copy_settings *settings, const struct cpu_wishes *wishes);

/* Fills in the six functions of an engine. */
static inline void
arch_use(struct flush_ops *ops, const struct copy_ops *copy, const char *engine_name)
{
	ops->copy_persist = copy->copy_persist;
	ops->copy_nodrain = copy->copy_nodrain;
	ops->copy = copy->copy;
	ops->set_persist = copy->set_persist;
	ops->set_nodrain = copy->set_nodrain;
	ops->set = copy->set;
	ops->engine_name = engine_name;
}

#define ARCH_FLUSH(name, kind) \
	static void flush_##name(const void *addr, size_t len) \
	{ \
		line_flush_range(addr, len, kind); \
	} \
	static void persist_##name(const void *addr, size_t len) \
	{ \
		line_flush_range(addr, len, kind); \
		line_fence(); \
	}

#endif
