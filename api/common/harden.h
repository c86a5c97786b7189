/* harden.h -- the environment variables that ask for guarded heaps: VMEM_HARDEN, VMMALLOC_HARDEN, PMEMCTO_HARDEN
 *
 * Empty or 0: no guard. 1: all. Else letters: d double frees found at once, r random places, q quarantine, z zero on
 * free, c canaries; each brings d with it. w, in libraries built with AddressSanitizer: that is told of each block. memcheck
 * is told without being asked for.
 */
#ifndef API_COMMON_HARDEN_H
#define API_COMMON_HARDEN_H

/* heap_config.guard for a variable's value (NULL: not set). 0, or EINVAL: that is no such value. */
int harden_flags(const char *text, unsigned *flags);

#endif
