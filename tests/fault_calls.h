/* fault_calls.h -- system calls that fail when told: the nth from now on, whichever it is
 *
 * tests/fault_calls.c stands in for libc's functions, which the libraries call through their symbols. Linked into a test it
 * is armed by fault_arm(); preloaded into a program, as tests/libfault.so, by the environment.
 */
#ifndef TESTS_FAULT_CALLS_H
#define TESTS_FAULT_CALLS_H

#define FAULT_AT "PMHEAP_FAULT_AT"     /* number of the call that fails, from 0 on */
#define FAULT_TELL "PMHEAP_FAULT_TELL" /* descriptor that gets the name of the call that failed */

/* The calls of all threads from here on are counted; number `n`, from 0 on, fails. -1: none does. */
void fault_arm(int n);
/* Ends that. Name of the call that failed, NULL: none did; `error` then holds its errno value. */
const char *fault_disarm(int *error);
/* Calls counted since fault_arm(). */
int fault_count(void);

#endif
