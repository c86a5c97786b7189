/* foreign.c -- see foreign.h
 *
 * Owns:   the addresses of libc's functions; NULL until found.
 * Rules:  N1  dlsym(3) is a weak reference: a static program without it has no libc malloc either.
 *         N2  RTLD_NEXT: we define the same names, the next ones after us are wanted. Names that only libc has come
 *             first, since another preloaded malloc may stand between.
 *         N3  dlsym may call malloc and free; those calls never come here, since what they pass is ours.
 * Locks:  none: finding twice gives the same values.
 * Media:  process only.
 * Fails:  with one line and abort() where there is nobody to pass the block to.
 */
#define _GNU_SOURCE
#include "api/vmmalloc/foreign.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "api/common/log.h"

#pragma weak dlsym

static struct {
	void (*_Atomic free)(void *);
	void *(*_Atomic realloc)(void *, size_t);
	size_t (*_Atomic usable_size)(void *);
} libc;

static void *
find(const char *name, const char *other_name)
{
	void *p = NULL;

	if (dlsym != NULL) {
		p = dlsym(RTLD_NEXT, name);
		if (p == NULL)
			p = dlsym(RTLD_NEXT, other_name);
	}
	return p;
}

void
foreign_init(void)
{
	atomic_store(&libc.free, (void (*)(void *))find("__libc_free", "free"));
	atomic_store(&libc.realloc, (void *(*)(void *, size_t))find("__libc_realloc", "realloc"));
	atomic_store(&libc.usable_size, (size_t (*)(void *))find("malloc_usable_size", "malloc_usable_size"));
}

static _Noreturn void
nobody(const char *what, const void *p)
{
	log_fatal("%s of %p, which is no block of this heap, and there is no other", what, p);
}

void
foreign_free(void *p)
{
	if (atomic_load(&libc.free) == NULL)
		foreign_init();
	void (*function)(void *) = atomic_load(&libc.free);
	if (function == NULL)
		nobody("free", p);
	function(p);
}

void *
foreign_realloc(void *p, size_t size)
{
	if (atomic_load(&libc.realloc) == NULL)
		foreign_init();
	void *(*function)(void *, size_t) = atomic_load(&libc.realloc);
	if (function == NULL)
		nobody("realloc", p);
	return function(p, size);
}

size_t
foreign_usable_size(const void *p)
{
	if (atomic_load(&libc.usable_size) == NULL)
		foreign_init();
	size_t (*function)(void *) = atomic_load(&libc.usable_size);
	if (function == NULL)
		nobody("malloc_usable_size", p);
	return function((void *)p);
}
