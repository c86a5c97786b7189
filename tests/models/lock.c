/* lock.c -- the model of the allocator's mutex: one holder, and no sleeper that is forgotten
 *
 * Real: alloc/lock.c. Stand-in: futex(2), which compares and falls asleep in one step, and wakes any of the sleepers.
 *
 * Media:  none.
 */
#include "tests/models/engine.h"

#include <string.h>

#include "alloc/lock.c"

static struct {
	struct lock lock;
	uint32_t inside;
	uint32_t asleep[MC_MAX_THREADS];
} world;

void
os_wait(_Atomic uint32_t *word, uint32_t expected)
{
	mc_choose(1);
	mc_drain();
	if (*(uint32_t *)word != expected)
		return;
	world.asleep[mc_self()] = 1;
	mc_wait(&world.asleep[mc_self()], 0);
}

void
os_wake(_Atomic uint32_t *word, int n)
{
	unsigned first = mc_choose(MC_MAX_THREADS);

	(void)word;
	for (unsigned i = 0; i < MC_MAX_THREADS && n > 0; i++) {
		unsigned k = (first + i) % MC_MAX_THREADS;

		n -= (int)world.asleep[k];
		world.asleep[k] = 0;
	}
}

_Noreturn void
os_fatal(const char *name, const char *what, const void *p)
{
	(void)name;
	(void)p;
	mc_fail(what);
}

static void
use(unsigned times)
{
	while (times-- > 0) {
		lock_take(&world.lock);
		if (world.inside++ != 0)
			mc_fail("two hold the lock");
		mc_choose(1);
		world.inside--;
		lock_drop(&world.lock);
	}
}

static void
use_once(void)
{
	use(1);
}

static void
use_twice(void)
{
	use(2);
}

static void
scenario(const char *name, unsigned threads, void (*fn)(void))
{
	mc_begin(name);
	memset(&world, 0, sizeof(world));
	lock_init(&world.lock, LOCK_BIN);
	mc_region(&world, sizeof(world));
	for (unsigned i = 0; i < threads; i++)
		mc_thread(fn);
	mc_explore(NULL);
}

int
main(int argc, char **argv)
{
	bool all = argc > 1 && strcmp(argv[1], "all") == 0;

	scenario("three threads, once each", 3, use_once);
	scenario("two threads, twice each", 2, use_twice);
	if (all) {
		scenario("four threads, once each", 4, use_once);
		scenario("three threads, twice each", 3, use_twice);
	}
	mc_report("lock");
	return 0;
}
