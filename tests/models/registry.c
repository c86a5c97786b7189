/* registry.c -- the model of the registry of live pools: a reader without a lock beside threads that change the table
 *
 * Real: api/common/registry.c, with a first table of four slots so that it grows and its entries move. Stand-ins: the
 * pthread locks, and memory.
 *
 * Rules:  a pool that lives all along is always found, under its own record; one that never was is never found; what
 *         registry_pin() gives stays alive until registry_unpin().
 * Media:  none.
 */
#include "tests/models/engine.h"

#include <string.h>

#include "api/common/registry.c"

#define HANDLES 4

static struct {
	char memory[12288];
	size_t used;
	void *handles[HANDLES];           /* page-aligned; the first three meet at one slot of the first table */
	struct live_pool *pools[HANDLES]; /* records */
	uint8_t dead[HANDLES];            /* its heap is gone: nobody may hold it */
} world __attribute__((aligned(4096)));

/* --- stand-ins ---------------------------------------------------------------------------------------------------- */

void *
sys_map_memory(size_t size)
{
	void *p = world.memory + world.used;

	world.used += (size + 15) & ~(size_t)15;
	if (world.used > sizeof(world.memory))
		mc_fail("the model is too small");
	return p;
}

/* check_models.py has the sources call these in the place of pthread_*. A read-write lock's word: readers, or the
 * writer's mark; mc_wait() can only wait for one value, so a writer waits for no readers, a reader for no writer. */
struct rwlock {
	uint32_t writer, readers;
};

int
model_mutex_lock(pthread_mutex_t *mutex)
{
	mc_wait((uint32_t *)mutex, 0);
	*(uint32_t *)mutex = 1;
	return 0;
}

int
model_mutex_unlock(pthread_mutex_t *mutex)
{
	mc_drain();
	*(uint32_t *)mutex = 0;
	return 0;
}

int
model_rwlock_rdlock(pthread_rwlock_t *rwlock)
{
	struct rwlock *l = (struct rwlock *)rwlock;

	mc_wait(&l->writer, 0);
	l->readers++;
	return 0;
}

int
model_rwlock_wrlock(pthread_rwlock_t *rwlock)
{
	struct rwlock *l = (struct rwlock *)rwlock;

	mc_wait(&l->writer, 0);
	l->writer = 1;
	mc_wait(&l->readers, 0);
	return 0;
}

int
model_rwlock_unlock(pthread_rwlock_t *rwlock)
{
	struct rwlock *l = (struct rwlock *)rwlock;

	mc_drain();
	if (l->readers != 0)
		l->readers--;
	else
		l->writer = 0;
	return 0;
}

/* --- what threads do ---------------------------------------------------------------------------------------------- */

static void
insert(unsigned i)
{
	registry_lock();
	if (registry_reserve() != 0)
		mc_fail("no memory");
	world.dead[i] = 0;
	registry_insert(world.pools[i], world.handles[i]);
	registry_unlock();
}

/* As vmem_delete() does: the heap goes while `life` is held. */
static void
take_out(unsigned i)
{
	registry_lock();
	pthread_rwlock_wrlock(&world.pools[i]->life);
	world.dead[i] = 1;
	registry_remove(world.pools[i]);
	pthread_rwlock_unlock(&world.pools[i]->life);
	registry_unlock();
}

static void
find_living(void)
{
	if (registry_find(world.handles[2]) != world.pools[2])
		mc_fail("a pool that lives is not found");
}

static void
find_living_and_missing(void)
{
	find_living();
	if (registry_find(world.handles[3]) != NULL)
		mc_fail("a pool that never was is found");
}

static void
take_out_first(void)
{
	take_out(0);
}

static void
take_out_both_others(void)
{
	take_out(0);
	take_out(1);
}

static void
take_out_and_insert(void)
{
	take_out(0);
	insert(0);
}

static void
insert_until_it_grows(void)
{
	insert(0);
	insert(1);
	insert(3);
}

static void
pin_first(void)
{
	struct live_pool *pool = registry_pin(world.handles[0]);

	if (pool == NULL)
		return;
	if (pool != world.pools[0] || world.dead[0])
		mc_fail("a pin on a pool that is gone");
	mc_choose(1);
	if (world.dead[0])
		mc_fail("a pinned pool went");
	registry_unpin(pool);
}

static void
remember_first(void)
{
	uint64_t generation = registry_generation();
	struct live_pool *pool = registry_find(world.handles[0]);

	/* cells.c, B2: what was found is good for as long as the generation stands. By the time remove has moved it and
	 * nobody looks, the owner's right to the handle is what counts: here he gave it up, so the look must see that. */
	mc_wait((const uint32_t *)&world.dead[0], 1);
	if (pool != NULL)
		mc_wait((const uint32_t *)&lock, 0);
	if (pool != NULL && generation == registry_generation())
		mc_fail("a pool went and the generation stood still");
}

static void
begin(const char *name, unsigned inserted)
{
	mc_begin(name);
	memset(&world, 0, sizeof(world));
	memset(&lock, 0, sizeof(lock));
	free_records = NULL;
	blocks = NULL;
	npools = 0;
	table = NULL;
	version = 0;
	registry_generation_now = 1;
	/* Handles whose first slot in a table of four is the same. */
	struct {
		size_t nslots;
	} four = {4};
	unsigned n = 0;
	for (uintptr_t page = 1; n < HANDLES; page++) {
		void *handle = (void *)(page << 12);

		if (first_slot((const struct table *)&four, handle) == 2)
			world.handles[n++] = handle;
	}
	for (unsigned i = 0; i < HANDLES; i++)
		world.pools[i] = registry_new();
	for (unsigned i = 0; i < HANDLES; i++)
		if (inserted >> i & 1)
			insert(i);
	mc_region(&world, sizeof(world));
	mc_region(&lock, sizeof(lock));
	mc_region(&free_records, sizeof(free_records));
	mc_region(&blocks, sizeof(blocks));
	mc_region(&npools, sizeof(npools));
	mc_region((void *)&table, sizeof(table));
	mc_region((void *)&version, sizeof(version));
	mc_region((void *)&registry_generation_now, sizeof(registry_generation_now));
}

static void
explore(void (*a)(void), void (*b)(void), void (*c)(void))
{
	mc_thread(a);
	mc_thread(b);
	if (c != NULL)
		mc_thread(c);
	mc_explore(NULL);
}

int
main(int argc, char **argv)
{
	bool all = argc > 1 && strcmp(argv[1], "all") == 0;

	begin("entries move up while one is looked for", 1 | 2 | 4);
	explore(find_living_and_missing, take_out_first, NULL);
	begin("two go, two look", 1 | 2 | 4);
	explore(find_living, take_out_both_others, all ? find_living_and_missing : NULL);
	begin("one goes and comes again", 1 | 2 | 4);
	explore(find_living, take_out_and_insert, NULL);
	begin("the table grows", 4);
	explore(find_living, insert_until_it_grows, NULL);
	begin("a pin beside the end of the pool", 1);
	explore(pin_first, take_out_first, all ? pin_first : NULL);
	begin("a pin beside the end and the return", 1);
	explore(pin_first, take_out_and_insert, NULL);
	begin("what a thread remembers of a pool", 1);
	explore(remember_first, take_out_first, NULL);
	mc_report("registry");
	return 0;
}
