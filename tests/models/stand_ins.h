/* stand_ins.h -- what models of alloc/ have in the place of the kernel and of files that they leave out
 *
 * A model that needs one to do something defines it itself, and says so by a macro before it includes this.
 */
#ifndef TESTS_MODELS_STAND_INS_H
#define TESTS_MODELS_STAND_INS_H

#include <pthread.h>

#include "alloc/lock.h"
#include "alloc/os.h"
#include "alloc/purge.h"
#include "tests/models/engine.h"

_Noreturn void
os_fatal(const char *name, const char *what, const void *p)
{
	(void)name;
	(void)p;
	mc_fail(what);
}

/* check_models.py has the sources call this for pthread_self(). */
pthread_t
model_self(void)
{
	return mc_self() + 1;
}

void
purge_tick(struct heap *heap)
{
	(void)heap;
}

void
lock_init(struct lock *lock, enum lock_rank rank)
{
	*(uint32_t *)&lock->word = 0;
	lock->rank = rank;
}

void
lock_renew(struct lock *lock)
{
	*(uint32_t *)&lock->word = 0;
}

size_t
os_page_size(void)
{
	return 4096;
}

#ifndef MODEL_FREEZES
void *
os_map(size_t size)
{
	(void)size;
	return NULL;
}

void
os_unmap(void *addr, size_t size)
{
	(void)addr;
	(void)size;
}

void
os_barrier_all(void)
{
	mc_fail("no barrier is wanted here");
}

void
os_yield(unsigned tries)
{
	(void)tries;
	mc_fail("nobody waits here");
}
#endif

#endif
