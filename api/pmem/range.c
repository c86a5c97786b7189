/* range.c -- which addresses are persistent memory, of those that pmem_map_file() mapped
 *
 * Owns:   one array of ranges: a small one in the library, larger ones in anonymous memory.
 * Rules:  R1  sorted by address, base < end <= the next base.
 *         R2  room for one more range is there before a removal begins, since it may split one. Without memory for it
 *             the upper remainder is forgotten: what is not tracked is only made durable more slowly, by msync(2).
 *         R3  `count` is also readable without the lock: 0 says that nothing is tracked, the usual case on machines
 *             without persistent memory.
 * Locks:  range_lock for all but the reading of `count`. A leaf but for the allocation of memory by mmap(2).
 * Media:  process only.
 * Fails:  ENOMEM, with nothing changed.
 */
#include "api/pmem/range.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "api/common/os.h"

#define FIRST_CAPACITY 16

static pthread_mutex_t range_lock = PTHREAD_MUTEX_INITIALIZER;
static struct range first[FIRST_CAPACITY];
static struct range *ranges = first;
static size_t capacity = FIRST_CAPACITY;
static atomic_size_t count; /* relaxed without the lock: who was told of a range by another thread sees it counted */

/* --- with the lock ------------------------------------------------------------------------------------------------ */

/* Index of the first range that ends behind `address`. */
static size_t
find(uintptr_t address)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ranges[middle].end > address)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static bool
grow(void)
{
	size_t more = 2 * capacity;
	struct range *new;

	if (count < capacity)
		return true;
	new = sys_map_memory(more * sizeof(*new));
	if (new == NULL)
		return false;
	memcpy(new, ranges, count * sizeof(*new));
	if (ranges != first)
		sys_unmap(ranges, capacity * sizeof(*ranges));
	ranges = new;
	capacity = more;
	return true;
}

static void
insert(size_t at, const struct range *range)
{
	memmove(&ranges[at + 1], &ranges[at], (count - at) * sizeof(*ranges));
	ranges[at] = *range;
	count++;
}

static void
forget(uintptr_t base, uintptr_t end, bool room)
{
	size_t i = find(base), last;

	if (i < count && ranges[i].base < base) {
		if (ranges[i].end > end) { /* one range, cut in two */
			struct range upper = ranges[i];

			upper.base = end;
			ranges[i].end = base;
			if (room)
				insert(i + 1, &upper);
			return;
		}
		ranges[i++].end = base;
	}
	for (last = i; last < count && ranges[last].end <= end; last++)
		;
	if (last < count && ranges[last].base < end)
		ranges[last].base = end;
	memmove(&ranges[i], &ranges[last], (count - last) * sizeof(*ranges));
	count -= last - i;
}

/* --- interface ---------------------------------------------------------------------------------------------------- */

int
range_add(const struct range *range)
{
	int error = 0;
	size_t i;

	pthread_mutex_lock(&range_lock);
	i = find(range->base);
	if (i < count && ranges[i].base < range->end)
		error = EEXIST;
	else if (!grow())
		error = ENOMEM;
	else
		insert(i, range);
	pthread_mutex_unlock(&range_lock);
	return error;
}

int
range_remove(uintptr_t base, uintptr_t end, int (*unmap)(void *arg), void *arg)
{
	bool room;
	int result;

	pthread_mutex_lock(&range_lock);
	room = grow();
	result = unmap(arg);
	if (result == 0 && base < end)
		forget(base, end, room);
	pthread_mutex_unlock(&range_lock);
	return result;
}

bool
range_covers(uintptr_t base, uintptr_t end)
{
	bool covered = false;

	if (base >= end || atomic_load_explicit(&count, memory_order_relaxed) == 0)
		return false;
	pthread_mutex_lock(&range_lock);
	for (size_t i = find(base); i < count && ranges[i].base <= base; i++) {
		base = ranges[i].end;
		if (base >= end) {
			covered = true;
			break;
		}
	}
	pthread_mutex_unlock(&range_lock);
	return covered;
}

bool
range_first(uintptr_t base, uintptr_t end, struct range *out)
{
	bool found;
	size_t i;

	if (atomic_load_explicit(&count, memory_order_relaxed) == 0)
		return false;
	pthread_mutex_lock(&range_lock);
	i = find(base);
	found = i < count && ranges[i].base < end;
	if (found)
		*out = ranges[i];
	pthread_mutex_unlock(&range_lock);
	return found;
}

static void
before_fork(void)
{
	pthread_mutex_lock(&range_lock);
}

/* In parent and child: the thread that took the lock is in both. */
static void
after_fork(void)
{
	pthread_mutex_unlock(&range_lock);
}

void
range_init(void)
{
	pthread_atfork(before_fork, after_fork, after_fork);
}
