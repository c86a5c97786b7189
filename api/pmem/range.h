/* range.h -- which addresses are persistent memory, of those that pmem_map_file() mapped
 *
 * Any thread. A range is [base, end), whole pages; ranges do not overlap.
 */
#ifndef API_PMEM_RANGE_H
#define API_PMEM_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum range_type {
	RANGE_MAP_SYNC, /* a file of a DAX file system, mapped with MAP_SYNC */
	RANGE_DEV_DAX,  /* a device DAX */
};

struct range {
	uintptr_t base, end;
	enum range_type type;
	int region; /* number of the nd region behind a device DAX; -1: none is known */
};

/* 0; EEXIST: a part of it is tracked already; ENOMEM. */
int range_add(const struct range *range);

/* Runs `unmap(arg)` and, when that gives 0, forgets [base, end): what is left of a range around it stays tracked. No other
 * thread can track these addresses in between. Gives what unmap gave. */
int range_remove(uintptr_t base, uintptr_t end, int (*unmap)(void *arg), void *arg);

/* Is every byte of [base, end), not empty, tracked? */
bool range_covers(uintptr_t base, uintptr_t end);

/* The lowest range that has a byte in [base, end); false: none. */
bool range_first(uintptr_t base, uintptr_t end, struct range *out);

/* From the constructor: a child made by fork() finds the table unlocked. */
void range_init(void);

#endif
