/* harden.c -- see harden.h
 *
 * Owns:   what the letters mean.
 * Locks:  none.
 * Media:  none.
 * Fails:  EINVAL; *flags is as it was.
 */
#include "api/common/harden.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "alloc/heap.h"
#include "alloc/watch.h"

static int
letter(char c, unsigned *flags)
{
	static const struct {
		char letter;
		unsigned flag;
	} known[] = {
		{ 'd', HEAP_GUARD_ON },     { 'r', HEAP_GUARD_RANDOM }, { 'q', HEAP_GUARD_QUARANTINE },
		{ 'z', HEAP_GUARD_ZERO },   { 'c', HEAP_GUARD_CANARY }, { '1', HEAP_GUARD_ALL },
#if WATCH_ASAN
		{ 'w', HEAP_GUARD_WATCH | HEAP_GUARD_QUARANTINE },
#endif
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].letter == c) {
			*flags |= known[i].flag | HEAP_GUARD_ON;
			return 0;
		}
	}
	return EINVAL;
}

int
harden_flags(const char *text, unsigned *flags)
{
	unsigned wanted = 0;

	if (text != NULL && strcmp(text, "0") != 0)
		for (const char *c = text; *c != '\0'; c++)
			if (letter(*c, &wanted) != 0)
				return EINVAL;
	/* What is freed must stay away for a while, or its next owner hides a late access to it. */
	if (watch_memcheck())
		wanted |= HEAP_GUARD_ON | HEAP_GUARD_WATCH | HEAP_GUARD_QUARANTINE;
	*flags = wanted;
	return 0;
}
