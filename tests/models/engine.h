/* engine.h -- every interleaving of a few threads over the real code
 *
 * A model is a program that includes sources of alloc/ or api/ and is compiled with -fsanitize=thread, but linked with
 * engine.c in the place of that sanitizer's library: each atomic operation then is a call into the engine, and so is
 * each plain access. Threads are coroutines of one process. At each step the engine has the choice which of them goes
 * on; it tries all, depth first, and remembers the states that it has seen by a hash of all registered memory, the live
 * part of the stacks, and the store buffers. What it does not find in this way is not there, in these scenarios.
 *
 * Memory model: loads happen in the order of the program. A store that is not seq_cst waits in its thread's buffer,
 * and becomes visible at any later moment: after earlier stores to the same place; a release store after all
 * earlier ones. Read-modify-write operations, seq_cst stores and locks empty the buffer first. So what x86-64 does is
 * covered, and the reordering of stores that C allows beyond that; not the reordering of loads.
 */
#ifndef TESTS_MODELS_ENGINE_H
#define TESTS_MODELS_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MC_MAX_THREADS 4

/* Starts a scenario over: no region, no thread. */
void mc_begin(const char *scenario);
/* Memory that the threads change: part of the state. All of it, except what they keep on their stacks. */
void mc_region(void *p, size_t size);
/* Plain accesses there are steps too. */
void mc_watch(const void *p, size_t size);
/* Atomic operations there are no steps: counters that nothing depends on. */
void mc_quiet(const void *p, size_t size);
void mc_thread(void (*fn)(void));
/* Explores all; `final` (may be NULL) looks at each end. Ends the process, with 1 and the path, where something fails. */
void mc_explore(void (*final)(void));
/* Of all scenarios so far; 0 states is a failure. */
void mc_report(const char *model);

/* --- for the threads ------------------------------------------------------------------------------------------- */

_Noreturn void mc_fail(const char *why);
unsigned mc_self(void); /* 0, 1, ... in the order of mc_thread() */
/* A step that is taken when *word is `value`, at once with what follows. Empties the buffer. */
void mc_wait(const uint32_t *word, uint32_t value);
/* A step with n outcomes 0 to n - 1. */
unsigned mc_choose(unsigned n);
/* A step like membarrier(2): every thread's buffer is emptied. */
void mc_barrier_all(void);
/* Empties the own buffer; no step. */
void mc_drain(void);

#endif
