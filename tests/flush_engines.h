/* flush_engines.h -- the copy engines that can run here, and memory with guard pages, for the tests of flush/ */
#ifndef TESTS_FLUSH_ENGINES_H
#define TESTS_FLUSH_ENGINES_H

#include <stdbool.h>
#include <stddef.h>

#include "flush/copy.h"

struct engine {
	const char *name;
	const struct copy_ops *kinds; /* [LINE_KINDS] */
	bool words;                   /* keeps the promise about 8-byte words */
	bool past_cache;              /* has stores past the cache */
};

/* Every engine that this CPU can run, and MOVDIR64B on one without it, too: see flush_engines_emulate. NULL name ends. */
const struct engine *flush_engines(void);
extern const char *const flush_kind_names[LINE_KINDS];
bool flush_kind_works(int kind); /* has this CPU the instruction? */

/* From now on executes instructions that the CPU does not know: movdir64b (%rsi), %rdi on x86-64; as nothing, the
 * write-back instructions of aarch64 and riscv64. Counts them. */
void flush_engines_emulate(void);
extern unsigned long flush_emulated;

/* `size` bytes, whole pages, between two pages that cannot be touched. */
char *guarded_map(size_t size);
void guarded_unmap(char *p, size_t size);

#endif
