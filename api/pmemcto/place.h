/* place.h -- where in the address space a new pool goes
 *
 * A pool is mapped at the same address for ever, in every program that opens it; so that many can be open together
 * each is given a place of its own, at random, in a range that kernels keep for nothing: with E the end of a process's
 * address space (2^47 on x86-64) from E/8 + E/128 to E/8 * 5, which is 64 TiB less 1 TiB from 0x110000000000 on
 * x86-64. Below it lie non-PIE programs and the sanitizers' shadows, above it PIE programs (at E/3 * 2), mmap and stacks.
 * PMEM_MMAP_HINT=<hex>: not there, but at the first gap from that address on.
 *
 * Alignment: 2 MiB; 1 GiB for pools from 2 GiB on: pages of those sizes can map them.
 */
#ifndef API_PMEMCTO_PLACE_H
#define API_PMEMCTO_PLACE_H

#include <stddef.h>

struct place {
	void *base;  /* `size` bytes are taken there, without memory behind them */
	size_t size;
	size_t span; /* bytes from base on that are free, and that new pools stay out of while this one is open */
};

/* `align`: a power of two that the address must be a multiple of besides; `room`: at least so many bytes of addresses are
 * kept free for it, where that can be had. 0, or ENOMEM when no gap is to be had. */
int place_take(size_t size, size_t align, size_t room, struct place *out);

/* From the constructor: reads PMEM_MMAP_HINT. */
void place_init(void);

#endif
